//! Protobuf, written as it goes: a log record has some thirty attributes, and making a message of each
//! first costs ten times as much.
//!
//! A message's length stands in front of it. It is mostly below 128, so room for one byte is left, and
//! a longer message is moved when it is complete.

/// Bytes of a message.
#[derive(Debug, Default)]
pub(super) struct Wire(pub(super) Vec<u8>);

impl Wire {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.0.push(number.to_le_bytes()[0]);
    }

    fn tag(&mut self, field: u32, kind: u32) {
        self.varint(u64::from(field << 3 | kind));
    }

    /// An enum, a bool or an `int64` (negative numbers as two's complement).
    pub(super) fn number(&mut self, field: u32, number: u64) {
        self.tag(field, 0);
        self.varint(number);
    }

    pub(super) fn fixed64(&mut self, field: u32, number: u64) {
        self.tag(field, 1);
        self.0.extend(number.to_le_bytes());
    }

    pub(super) fn fixed32(&mut self, field: u32, number: u32) {
        self.tag(field, 5);
        self.0.extend(number.to_le_bytes());
    }

    /// Bytes, or text in UTF-8.
    pub(super) fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.tag(field, 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// A message within this one.
    pub(super) fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        self.tag(field, 2);
        let place = self.0.len();
        self.0.push(0);
        write(self);
        let length = self.0.len() - place - 1;
        let mut head = Self::default();
        head.varint(length as u64);
        self.0.splice(place..=place, head.0);
    }

    /// An attribute: a `KeyValue` whose `AnyValue` is written by `value`.
    fn attribute(&mut self, field: u32, name: &[&str], value: impl FnOnce(&mut Self)) {
        self.message(field, |attribute| {
            attribute.tag(1, 2);
            let length: usize = name.iter().map(|part| part.len()).sum();
            attribute.varint(length as u64);
            for part in name {
                attribute.0.extend_from_slice(part.as_bytes());
            }
            attribute.message(2, value);
        });
    }
}

/// Attributes of a message that has them in this field.
pub(super) struct Attributes<'w> {
    pub(super) wire: &'w mut Wire,
    pub(super) field: u32,
    /// In front of all names.
    pub(super) prefix: &'static str,
}

impl Attributes<'_> {
    /// Text; nothing where it is empty. What is no UTF-8 is replaced.
    pub(super) fn text(&mut self, name: &str, text: &[u8]) {
        if !text.is_empty() {
            let text = String::from_utf8_lossy(text);
            self.wire
                .attribute(self.field, &[self.prefix, name], |value| {
                    value.bytes(1, text.as_bytes());
                });
        }
    }

    pub(super) fn number(&mut self, name: &str, number: u64) {
        self.wire
            .attribute(self.field, &[self.prefix, name], |value| {
                value.number(3, number);
            });
    }

    pub(super) fn boolean(&mut self, name: &str, is_so: bool) {
        self.wire
            .attribute(self.field, &[self.prefix, name], |value| {
                value.number(2, is_so.into());
            });
    }

    /// A list of texts; nothing where it is empty.
    pub(super) fn texts(&mut self, name: &str, texts: impl Iterator<Item: AsRef<str>>) {
        let mut list = Wire::default();
        for text in texts {
            list.message(1, |value| value.bytes(1, text.as_ref().as_bytes()));
        }
        if !list.0.is_empty() {
            self.wire
                .attribute(self.field, &[self.prefix, name], |value| {
                    value.bytes(5, &list.0);
                });
        }
    }
}

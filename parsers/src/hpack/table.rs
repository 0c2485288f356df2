//! The static table (RFC 7541 appendix A) and the dynamic one (§2.3.2).
//!
//! The dynamic table's text is a log: entries are appended and never moved while a block is read, so
//! that fields can be told as places in it. What evicted entries leave behind is cleared between
//! blocks, once it is more than what is alive.

#![deny(clippy::arithmetic_side_effects)]

use std::collections::VecDeque;

use super::field::{Class, FieldRef, Marks, Span, classify};

/// Entries of the static table.
pub(super) const STATIC_ENTRIES: usize = 61;

const STATIC: [(&str, &str); STATIC_ENTRIES] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

const STATIC_BYTES: usize = built::text_bytes();
static STATIC_TEXT: [u8; STATIC_BYTES] = built::text();
static STATIC_FIELDS: [FieldRef; STATIC_ENTRIES] = built::fields();

/// An entry of the static table, counted from zero.
#[inline]
pub(super) fn static_field(index: usize) -> Option<&'static FieldRef> {
    STATIC_FIELDS.get(index)
}

/// Places of the static table's entries, those with shorter names first.
static BY_LENGTH: [u8; STATIC_ENTRIES] = built::by_length();
/// Where names of each length begin in `BY_LENGTH`, and where the longest end.
static STARTS: [u8; LONGEST_NAME + 2] = built::starts();
const LONGEST_NAME: usize = built::longest_name();

/// Entries of the static table whose names are as long, in order: place counted from zero, name and
/// value.
pub(super) fn static_entries(
    name_bytes: usize,
) -> impl Iterator<Item = (usize, &'static [u8], &'static [u8])> {
    let start = |length: usize| STARTS.get(length).map(|at| usize::from(*at));
    let range = start(name_bytes).zip(start(name_bytes.saturating_add(1)));
    let places = range.and_then(|(start, end)| BY_LENGTH.get(start..end));
    places.unwrap_or_default().iter().filter_map(|place| {
        let place = usize::from(*place);
        let (name, value) = STATIC.get(place)?;
        Some((place, name.as_bytes(), value.as_bytes()))
    })
}

/// Fields that were sent before.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Table {
    text: Vec<u8>,
    /// Oldest first.
    entries: VecDeque<FieldRef>,
    /// Text up to here may belong to entries.
    kept: usize,
    /// Of all entries (RFC 7541 §4.1).
    bytes: usize,
    max: usize,
}

impl Table {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            ..Self::default()
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// The entry that is `age` entries older than the newest.
    #[inline]
    pub(super) fn get(&self, age: usize) -> Option<&FieldRef> {
        let newest = self.entries.len().checked_sub(1)?;
        self.entries.get(newest.checked_sub(age)?)
    }

    #[inline]
    pub(super) fn text(&self, span: Span) -> &[u8] {
        let (text, start) = if span.start & Span::STATIC == 0 {
            (self.text.as_slice(), span.start as usize)
        } else {
            (
                STATIC_TEXT.as_slice(),
                (span.start & !Span::STATIC) as usize,
            )
        };
        let end = start.saturating_add(span.length as usize);
        text.get(start..end).unwrap_or_default()
    }

    /// Appends text that belongs to no entry yet.
    pub(super) fn append<E>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<Span, E> {
        let start = self.text.len();
        write(&mut self.text)?;
        // Blocks are bounded far below 2³¹ bytes; what did not fit would be an empty text.
        let place = |at: usize| u32::try_from(at).unwrap_or_default();
        Ok(Span {
            start: place(start),
            length: place(self.text.len().saturating_sub(start)),
        })
    }

    /// Adds an entry and gives back how many went for it (RFC 7541 §4.4). One that is larger than
    /// the table empties it and is not added.
    pub(super) fn insert(&mut self, field: FieldRef) -> usize {
        let room = field.entry_bytes();
        let evicted = self.evict_until(self.max.saturating_sub(room));
        if room <= self.max {
            self.bytes = self.bytes.saturating_add(room);
            self.entries.push_back(field);
            self.kept = self.text.len();
        }
        evicted
    }

    /// Changes the size and gives back how many entries went (RFC 7541 §4.3).
    pub(super) fn set_max(&mut self, max: usize) -> usize {
        self.max = max;
        self.evict_until(max)
    }

    fn evict_until(&mut self, bytes: usize) -> usize {
        let mut evicted: usize = 0;
        while self.bytes > bytes
            && let Some(entry) = self.entries.pop_front()
        {
            self.bytes = self.bytes.saturating_sub(entry.entry_bytes());
            evicted = evicted.saturating_add(1);
        }
        evicted
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }

    /// Drops the text of no entry; places told before are void.
    pub(super) fn sweep(&mut self) {
        const SLACK_BYTES: usize = 4 << 10;
        // What one long block took is given back; usual blocks keep their memory.
        const CAPACITY_SLACK_BYTES: usize = 32 << 10;
        if self.entries.is_empty() {
            self.kept = 0;
        }
        self.text.truncate(self.kept);
        if self.text.capacity()
            > self
                .bytes
                .saturating_mul(2)
                .saturating_add(CAPACITY_SLACK_BYTES)
            || self.kept > self.bytes.saturating_mul(2).saturating_add(SLACK_BYTES)
        {
            self.compact(SLACK_BYTES);
        }
    }

    fn compact(&mut self, slack: usize) {
        let fresh = Vec::with_capacity(self.bytes.saturating_add(slack));
        let old = std::mem::replace(&mut self.text, fresh);
        let text = &mut self.text;
        for entry in &mut self.entries {
            for span in [&mut entry.name, &mut entry.value] {
                if span.start & Span::STATIC == 0 {
                    let start = span.start as usize;
                    let end = start.saturating_add(span.length as usize);
                    span.start = u32::try_from(text.len()).unwrap_or_default();
                    text.extend_from_slice(old.get(start..end).unwrap_or_default());
                }
            }
        }
        self.kept = text.len();
    }
}

/// The static table as text and fields, worked out by the compiler.
#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "evaluated while compiling: a fault would not build"
)]
mod built {
    use super::{
        Class, FieldRef, LONGEST_NAME, Marks, STATIC, STATIC_BYTES, STATIC_ENTRIES, Span, classify,
    };

    pub(super) const fn longest_name() -> usize {
        let (mut longest, mut at) = (0, 0);
        while at < STATIC_ENTRIES {
            if STATIC[at].0.len() > longest {
                longest = STATIC[at].0.len();
            }
            at += 1;
        }
        longest
    }

    pub(super) const fn by_length() -> [u8; STATIC_ENTRIES] {
        let mut places = [0; STATIC_ENTRIES];
        let (mut end, mut length) = (0, 0);
        while length <= LONGEST_NAME {
            let mut at = 0;
            while at < STATIC_ENTRIES {
                if STATIC[at].0.len() == length {
                    places[end] = at as u8;
                    end += 1;
                }
                at += 1;
            }
            length += 1;
        }
        places
    }

    pub(super) const fn starts() -> [u8; LONGEST_NAME + 2] {
        let mut starts = [0; LONGEST_NAME + 2];
        let mut length = 0;
        while length <= LONGEST_NAME {
            starts[length + 1] = starts[length];
            let mut at = 0;
            while at < STATIC_ENTRIES {
                starts[length + 1] += (STATIC[at].0.len() == length) as u8;
                at += 1;
            }
            length += 1;
        }
        starts
    }

    pub(super) const fn text_bytes() -> usize {
        let (mut bytes, mut at) = (0, 0);
        while at < STATIC_ENTRIES {
            bytes += STATIC[at].0.len() + STATIC[at].1.len();
            at += 1;
        }
        bytes
    }

    pub(super) const fn text() -> [u8; STATIC_BYTES] {
        let mut text = [0; STATIC_BYTES];
        let (mut end, mut at) = (0, 0);
        while at < STATIC_ENTRIES {
            end = copy(&mut text, end, STATIC[at].0.as_bytes());
            end = copy(&mut text, end, STATIC[at].1.as_bytes());
            at += 1;
        }
        text
    }

    const fn copy(text: &mut [u8; STATIC_BYTES], start: usize, piece: &[u8]) -> usize {
        let mut at = 0;
        while at < piece.len() {
            text[start + at] = piece[at];
            at += 1;
        }
        start + at
    }

    pub(super) const fn fields() -> [FieldRef; STATIC_ENTRIES] {
        let nowhere = Span {
            start: 0,
            length: 0,
        };
        let mut fields = [FieldRef {
            name: nowhere,
            value: nowhere,
            class: Class::Regular,
            marks: Marks::NONE,
        }; STATIC_ENTRIES];
        let (mut end, mut at) = (0, 0);
        while at < STATIC_ENTRIES {
            let (name, value) = (STATIC[at].0.as_bytes(), STATIC[at].1.as_bytes());
            fields[at].name = Span {
                start: Span::STATIC | end as u32,
                length: name.len() as u32,
            };
            end += name.len();
            fields[at].value = Span {
                start: Span::STATIC | end as u32,
                length: value.len() as u32,
            };
            end += value.len();
            fields[at].class = classify(name);
            at += 1;
        }
        fields
    }
}

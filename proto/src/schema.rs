//! What messages are made of, for code that learns the names of fields only when it runs: field
//! masks and filter expressions.

use std::collections::HashMap;
use std::sync::LazyLock;

use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

/// All messages and enums of the files.
#[derive(Debug, Default)]
pub struct Schema {
    messages: HashMap<String, Message>,
    enums: HashMap<String, HashMap<String, i32>>,
}

/// A kind of message.
#[derive(Debug)]
pub struct Message {
    /// Its full name: `flow.Flow`.
    pub name: String,
    /// Its fields, as they stand in the file.
    pub fields: Vec<Field>,
}

/// A field of a message.
#[derive(Debug)]
pub struct Field {
    /// Its name, as it stands in the file.
    pub name: String,
    /// Its number.
    pub number: u32,
    /// What it holds.
    pub kind: Kind,
    /// Whether it holds any number of these.
    pub is_repeated: bool,
    /// Whether it is one of several of which at most one is there.
    pub is_alternative: bool,
}

/// What a field holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `bool`
    Bool,
    /// `bytes`
    Bytes,
    /// `double`
    Double,
    /// An enum of this full name.
    Enum(String),
    /// `int32`, `int64`
    Int,
    /// A message of this full name.
    Message(String),
    /// `string`
    Text,
    /// `uint32`, `uint64`
    Uint,
}

/// The schema of all files.
pub fn schema() -> &'static Schema {
    static SCHEMA: LazyLock<Schema> = LazyLock::new(Schema::read);
    &SCHEMA
}

impl Schema {
    fn read() -> Self {
        let mut schema = Self::default();
        // The bytes are those that the build has made; tests read them.
        let files = FileDescriptorSet::decode(crate::DESCRIPTORS).unwrap_or_default();
        for file in &files.file {
            for message in &file.message_type {
                schema.add(file.package(), message);
            }
            for kind in &file.enum_type {
                schema.add_enum(file.package(), kind);
            }
        }
        schema
    }

    fn add(&mut self, within: &str, message: &DescriptorProto) {
        let name = format!("{within}.{}", message.name());
        for nested in &message.nested_type {
            self.add(&name, nested);
        }
        for kind in &message.enum_type {
            self.add_enum(&name, kind);
        }
        let fields = message.field.iter().filter_map(field).collect();
        let message = Message {
            name: name.clone(),
            fields,
        };
        self.messages.insert(name, message);
    }

    fn add_enum(&mut self, within: &str, kind: &prost_types::EnumDescriptorProto) {
        let values = kind.value.iter();
        let values = values.map(|value| (value.name().to_owned(), value.number()));
        let name = format!("{within}.{}", kind.name());
        self.enums.insert(name, values.collect());
    }

    /// The kind of message of that full name.
    pub fn message(&self, name: &str) -> Option<&Message> {
        self.messages.get(name)
    }

    /// The number of a value of an enum, both by their names.
    pub fn enum_value(&self, name: &str, value: &str) -> Option<i32> {
        self.enums.get(name)?.get(value).copied()
    }
}

impl Message {
    /// The field of that name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

fn field(field: &FieldDescriptorProto) -> Option<Field> {
    let full_name = || field.type_name().trim_start_matches('.').to_owned();
    let kind = match field.r#type() {
        Type::Bool => Kind::Bool,
        Type::Bytes => Kind::Bytes,
        Type::Double => Kind::Double,
        Type::Enum => Kind::Enum(full_name()),
        Type::Int32 | Type::Int64 => Kind::Int,
        Type::Message => Kind::Message(full_name()),
        Type::String => Kind::Text,
        Type::Uint32 | Type::Uint64 => Kind::Uint,
        // No file uses any other.
        _ => return None,
    };
    Some(Field {
        name: field.name().to_owned(),
        number: u32::try_from(field.number()).ok()?,
        kind,
        is_repeated: field.label() == Label::Repeated,
        is_alternative: field.oneof_index.is_some(),
    })
}

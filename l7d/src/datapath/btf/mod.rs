//! The kernel's description of its own types (BTF): where fields of structures are, and what the
//! numbers of enumerations are called. Bytes in, answers out; nothing is copied.
//!
//! Format: `Documentation/bpf/btf.rst`. A module's types continue those of the kernel (split BTF), so
//! that they are read together with them.

mod reader;

use reader::{Kind, Reader};

/// Anonymous structures within structures, and names for types, that are followed at most.
const DEPTH: usize = 16;

/// Why bytes are no BTF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BtfError {
    /// The header does not begin as one does.
    #[error("no BTF: it begins with {0:#06x}")]
    Magic(u16),
    /// Something ends too early.
    #[error("BTF ends at byte {0}, within a type")]
    Truncated(usize),
    /// A kind of type of which nobody knows how long it is.
    #[error("BTF has a type of kind {kind}, number {id}")]
    Kind {
        /// Number of the type.
        id: usize,
        /// Its kind.
        kind: u32,
    },
}

/// A field of a structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Bytes from the start of the structure.
    pub offset: u32,
    /// Its length in bytes; 0 where its type has none of its own.
    pub size: u32,
}

/// Types of the kernel, or of a module.
#[derive(Debug)]
pub struct Btf<'b> {
    base: Option<&'b Self>,
    reader: Reader<'b>,
    /// Where each type begins; the first has number 1, or the number behind the base's last.
    places: Vec<u32>,
}

/// One type.
#[derive(Debug, Clone, Copy)]
struct Type<'b> {
    owner: &'b Btf<'b>,
    at: usize,
    name: u32,
    kind: Kind,
    /// Members, values or parameters.
    count: usize,
    /// Whether members have the lengths of bit fields beside their offsets; of an enumeration, whether
    /// its values are signed.
    flag: bool,
    /// Length in bytes, or the number of another type.
    size_or_id: u32,
}

impl<'b> Btf<'b> {
    /// Reads the kernel's types.
    pub fn parse(bytes: &'b [u8]) -> Result<Self, BtfError> {
        Self::with_base(bytes, None)
    }

    /// Reads a module's types, which refer to the kernel's.
    pub fn of_module(bytes: &'b [u8], kernel: &'b Self) -> Result<Self, BtfError> {
        Self::with_base(bytes, Some(kernel))
    }

    fn with_base(bytes: &'b [u8], base: Option<&'b Self>) -> Result<Self, BtfError> {
        let reader = Reader::open(bytes)?;
        let places = reader.places()?;
        Ok(Self {
            base,
            reader,
            places,
        })
    }

    /// A field by its path: `Field` of `net`, `ns.inum`. Members of anonymous structures are members of
    /// what they are in.
    pub fn field(&self, structure: &str, path: &str) -> Option<Field> {
        let mut found = self.named(structure, &[Kind::Struct])?;
        let mut offset = 0;
        let mut size = 0;
        for name in path.split('.') {
            let (bits, member) = found.member(name, DEPTH)?;
            offset += bits / 8;
            size = member.size(DEPTH);
            found = member.resolved(DEPTH)?;
        }
        Some(Field { offset, size })
    }

    /// Length of a structure in bytes.
    pub fn size(&self, structure: &str) -> Option<u32> {
        Some(self.named(structure, &[Kind::Struct])?.size_or_id)
    }

    /// Names and values of an enumeration.
    pub fn values(&self, enumeration: &str) -> Vec<(&str, u32)> {
        let found = self.named(enumeration, &[Kind::Enum]);
        found.map(|found| found.values()).unwrap_or_default()
    }

    /// The names of enumerations.
    pub fn enumerations(&self) -> impl Iterator<Item = &str> {
        self.own()
            .filter(|found| found.kind == Kind::Enum)
            .map(|found| found.name())
    }

    /// How many arguments a tracepoint gives to programs.
    pub fn tracepoint_arguments(&self, tracepoint: &str) -> Option<usize> {
        let name = format!("btf_trace_{tracepoint}");
        let pointer = self.named(&name, &[Kind::Typedef])?.resolved(DEPTH)?;
        let prototype = pointer.owner.by_id(pointer.size_or_id)?;
        // The first is the tracepoint's own.
        (prototype.kind == Kind::Prototype).then(|| prototype.count.saturating_sub(1))
    }

    /// Whether there is a function of that name that programs can be attached to.
    pub fn has_function(&self, name: &str) -> bool {
        self.named(name, &[Kind::Function]).is_some()
    }

    fn named(&self, name: &str, kinds: &[Kind]) -> Option<Type<'_>> {
        let own = self
            .own()
            .find(|found| kinds.contains(&found.kind) && found.name() == name);
        own.or_else(|| self.base?.named(name, kinds))
    }

    fn own(&self) -> impl Iterator<Item = Type<'_>> {
        self.places.iter().filter_map(|at| self.at(*at))
    }

    fn at(&self, at: u32) -> Option<Type<'_>> {
        let at = usize::try_from(at).ok()?;
        let head = self.reader.head(at)?;
        Some(Type {
            owner: self,
            at,
            name: head.name,
            kind: Kind::of(head.kind)?,
            count: head.count,
            flag: head.flag,
            size_or_id: head.size_or_id,
        })
    }

    /// Types that a module's own come behind; 0, which is `void`, counts.
    fn types_before(&self) -> usize {
        self.base
            .map_or(1, |base| base.types_before() + base.places.len())
    }

    fn by_id(&self, id: u32) -> Option<Type<'_>> {
        let before = self.types_before();
        match usize::try_from(id).ok()?.checked_sub(before) {
            Some(own) => self.at(*self.places.get(own)?),
            None => self.base?.by_id(id),
        }
    }

    fn string(&self, offset: u32) -> &str {
        let before = self.base.map_or(0, Self::string_bytes);
        match offset.checked_sub(before) {
            Some(own) => self.reader.string(own),
            None => self.base.map_or("", |base| base.string(offset)),
        }
    }

    fn string_bytes(&self) -> u32 {
        let before = self.base.map_or(0, Self::string_bytes);
        before.saturating_add(self.reader.string_bytes())
    }
}

impl<'b> Type<'b> {
    fn name(&self) -> &'b str {
        self.owner.string(self.name)
    }

    /// The bits before a member, and its type.
    fn member(&self, name: &str, depth: usize) -> Option<(u32, Self)> {
        let depth = depth.checked_sub(1)?;
        if !matches!(self.kind, Kind::Struct | Kind::Union) {
            return None;
        }
        (0..self.count).find_map(|index| {
            let [named, id, offset] = self.owner.reader.member(self.at, index)?;
            let bits = if self.flag {
                offset & 0x00ff_ffff
            } else {
                offset
            };
            let member = self.owner.by_id(id)?;
            match self.owner.string(named) {
                "" => {
                    let (inner, found) = member.resolved(depth)?.member(name, depth)?;
                    Some((bits + inner, found))
                }
                own if own == name => Some((bits, member)),
                _ => None,
            }
        })
    }

    /// The type behind names and qualifiers.
    fn resolved(self, depth: usize) -> Option<Self> {
        let depth = depth.checked_sub(1)?;
        match self.kind {
            Kind::Typedef => self.owner.by_id(self.size_or_id)?.resolved(depth),
            _ => Some(self),
        }
    }

    fn size(self, depth: usize) -> u32 {
        match self.resolved(depth) {
            Some(found) => match found.kind {
                Kind::Sized | Kind::Struct | Kind::Union | Kind::Enum => found.size_or_id,
                Kind::Pointer => 8,
                Kind::Typedef | Kind::Prototype | Kind::Function | Kind::Other => 0,
            },
            None => 0,
        }
    }

    fn values(&self) -> Vec<(&'b str, u32)> {
        (0..self.count)
            .filter_map(|index| self.owner.reader.value(self.at, index))
            .map(|(name, value)| (self.owner.string(name), value))
            .collect()
    }
}

#[cfg(test)]
mod tests;

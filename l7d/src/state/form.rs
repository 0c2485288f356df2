//! The form of a file of state:
//!
//! ```text
//! "l7dstate"  version u32  bytes of the lines u64  bytes of the head u32  CRC-32 of both u32
//! CRC-32 of all this u32
//! lines: an object each, in JSON
//! head: what these are, in JSON
//! ```
//!
//! Numbers are little-endian. The head stands at the end, as it says how many lines there are, which is not
//! known before they have been written. CRC-32 finds every change within 32 bits and every wrong length.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::host::cluster::Kind;

/// What every file begins with.
const MAGIC: [u8; 8] = *b"l7dstate";
/// The version of this form and of what lines mean.
pub(super) const VERSION: u32 = 1;
/// Bytes before the lines.
pub(super) const FRONT_BYTES: usize = 32;
/// Heads are some hundred bytes.
pub(super) const HEAD_BYTES_MAX: u32 = 64 << 10;

/// Whose knowledge it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The node that has written it.
    pub node: String,
    /// Its cluster's name.
    pub cluster: String,
    /// The API server that has told it.
    pub server: String,
}

/// What a file says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Whose knowledge it is.
    #[serde(flatten)]
    pub origin: Origin,
    /// The kind of its objects.
    pub kind: String,
    /// How many there are.
    pub objects: u64,
    /// When it was written, in seconds since 1970.
    pub saved: u64,
}

impl Head {
    /// When it was written.
    pub fn time(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.saved)
    }
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It cannot be read.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Another program's.
    #[error("no state of l7d's")]
    Magic,
    /// A later l7d's.
    #[error("of version {0}; this l7d reads version {VERSION}")]
    Version(u32),
    /// Cut off, or with something behind its end.
    #[error("{is} bytes long; it says that it has {says}")]
    Length {
        /// Bytes that are there.
        is: u64,
        /// Bytes that should be.
        says: u64,
    },
    /// Larger than any.
    #[error("{0} bytes long, which is too much")]
    TooLarge(u64),
    /// Changed since it was written.
    #[error("broken: its checksum is another one")]
    Checksum,
    /// What it says makes no sense, though nothing is broken.
    #[error("{0}")]
    Content(String),
    /// Of somebody else.
    #[error(
        "of node {} in cluster {} ({}); this is node {} in cluster {} ({})",
        is.node, is.cluster, is.server, wanted.node, wanted.cluster, wanted.server
    )]
    Foreign {
        /// Whose it is.
        is: Box<Origin>,
        /// Who we are.
        wanted: Box<Origin>,
    },
}

/// What stands in front of lines and head with this checksum over both.
pub(super) fn front(lines: u64, head: u32, content: u32) -> [u8; FRONT_BYTES] {
    let mut front = [0; FRONT_BYTES];
    let fields = MAGIC
        .into_iter()
        .chain(VERSION.to_le_bytes())
        .chain(lines.to_le_bytes())
        .chain(head.to_le_bytes())
        .chain(content.to_le_bytes());
    for (byte, value) in front.iter_mut().zip(fields) {
        *byte = value;
    }
    if let Some((fields, sum)) = front.split_last_chunk_mut::<4>() {
        *sum = crc32fast::hash(fields).to_le_bytes();
    }
    front
}

/// Takes the next bytes of a text that is long enough.
fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], Fault> {
    let is = bytes.len() as u64;
    let Some((first, rest)) = bytes.split_first_chunk::<N>() else {
        let says = FRONT_BYTES as u64;
        return Err(Fault::Length { is, says });
    };
    *bytes = rest;
    Ok(*first)
}

/// The lines and the head of a file.
///
/// # Errors
/// Whatever is not as it was written.
pub(super) fn read(bytes: &[u8]) -> Result<(&[u8], Head), Fault> {
    let mut rest = bytes;
    if take::<8>(&mut rest)? != MAGIC {
        return Err(Fault::Magic);
    }
    let version = u32::from_le_bytes(take(&mut rest)?);
    let lines = u64::from_le_bytes(take(&mut rest)?);
    let head = u32::from_le_bytes(take(&mut rest)?);
    let content = u32::from_le_bytes(take(&mut rest)?);
    let own = u32::from_le_bytes(take(&mut rest)?);
    let fields = bytes.get(..FRONT_BYTES - 4).unwrap_or_default();
    if crc32fast::hash(fields) != own {
        return Err(Fault::Checksum);
    }
    if version != VERSION {
        return Err(Fault::Version(version));
    }
    let says = lines.saturating_add(u64::from(head));
    let is = rest.len() as u64;
    if is != says || head > HEAD_BYTES_MAX {
        let front = FRONT_BYTES as u64;
        return Err(Fault::Length {
            is: is + front,
            says: says.saturating_add(front),
        });
    }
    if crc32fast::hash(rest) != content {
        return Err(Fault::Checksum);
    }
    let at = usize::try_from(lines).unwrap_or(usize::MAX);
    let (lines, head) = rest.split_at_checked(at).ok_or(Fault::Checksum)?;
    let head = serde_json::from_slice(head).map_err(|error| Fault::Content(error.to_string()))?;
    Ok((lines, head))
}

/// Whether a file is what it is taken for.
///
/// # Errors
/// When it is somebody else's, or of another kind.
pub(super) fn check(head: &Head, kind: Kind, wanted: &Origin) -> Result<(), Fault> {
    if head.origin != *wanted {
        return Err(Fault::Foreign {
            is: Box::new(head.origin.clone()),
            wanted: Box::new(wanted.clone()),
        });
    }
    if head.kind != kind.name() {
        let is = &head.kind;
        return Err(Fault::Content(format!("of kind {is}, not {kind}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn origin() -> Origin {
        Origin {
            node: "a".to_owned(),
            cluster: "default".to_owned(),
            server: "https://10.96.0.1".to_owned(),
        }
    }

    fn file(lines: &[u8]) -> Vec<u8> {
        let head = Head {
            origin: origin(),
            kind: "Pod".to_owned(),
            objects: 1,
            saved: 1_700_000_000,
        };
        let head = serde_json::to_vec(&head).expect("a head");
        let content = [lines, &head].concat();
        let length = u32::try_from(head.len()).expect("small");
        let front = front(lines.len() as u64, length, crc32fast::hash(&content));
        [&front[..], &content].concat()
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(lines: Vec<u8>) {
            let file = file(&lines);
            let (read, head) = read(&file).expect("a file");
            prop_assert_eq!(read, &lines[..]);
            prop_assert!(check(&head, Kind::Pod, &origin()).is_ok());
        }

        #[test]
        fn any_cut_and_any_addition_is_found(lines: Vec<u8>, at: prop::sample::Index, more in 1_usize..9) {
            let mut file = file(&lines);
            prop_assert!(read(&file[..at.index(file.len())]).is_err());
            file.resize(file.len() + more, 0);
            prop_assert!(read(&file).is_err());
        }

        #[test]
        fn any_changed_byte_is_found(lines: Vec<u8>, at: prop::sample::Index, change in 1_u8..) {
            let mut file = file(&lines);
            let at = at.index(file.len());
            file[at] ^= change;
            prop_assert!(read(&file).is_err());
        }

        #[test]
        fn anything_at_all_is_read_without_harm(bytes: Vec<u8>) {
            let _whatever = read(&bytes);
            let _whatever = read(&[&MAGIC[..], &bytes].concat());
        }
    }

    #[test]
    fn who_else_wrote_it_is_told() {
        let mut file = file(b"{}\n");
        let (_, head) = read(&file).expect("a file");
        let other = Origin {
            node: "b".to_owned(),
            ..origin()
        };
        let fault = check(&head, Kind::Pod, &other).expect_err("foreign");
        assert!(
            fault
                .to_string()
                .starts_with("of node a in cluster default")
        );
        let fault = check(&head, Kind::Node, &origin()).expect_err("of pods");
        assert_eq!(fault.to_string(), "of kind Pod, not Node");
        file[8] = 2;
        let sum = crc32fast::hash(&file[..28]).to_le_bytes();
        file[28..32].copy_from_slice(&sum);
        assert!(matches!(read(&file), Err(Fault::Version(2))));
        assert!(matches!(
            read(b"something else entirely"),
            Err(Fault::Magic)
        ));
        assert!(matches!(read(b""), Err(Fault::Length { is: 0, .. })));
    }
}

//! Extensions that a message announces in its OPT record (RFC 6891).

#![deny(clippy::arithmetic_side_effects)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::record::Record;

/// The OPT record of a message.
#[derive(Debug, Clone, Copy)]
pub struct Edns<'b> {
    record: Record<'b>,
}

/// An option of an OPT record, as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EdnsOption<'b> {
    /// Its number in the registry of options.
    pub code: u16,
    /// Its value.
    pub value: &'b [u8],
}

/// What an option tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionContent<'b> {
    /// For whom a resolver asks (RFC 7871 §6).
    ClientSubnet {
        /// The network; bits behind `source` are zero.
        address: IpAddr,
        /// How many bits of the address the sender tells.
        source: u8,
        /// For how many bits the answer holds.
        scope: u8,
    },
    /// Against forged answers (RFC 7873 §4).
    Cookie {
        /// The client's eight bytes.
        client: [u8; 8],
        /// The server's 8 to 32 bytes; none while the client knows none.
        server: &'b [u8],
    },
    /// Why there is no better answer (RFC 8914 §2).
    ExtendedError {
        /// Its number in the registry of extended errors.
        info: u16,
        /// Words for people; UTF-8 if it keeps the rule.
        text: &'b [u8],
    },
    /// Any other option, and those whose value is not of their form.
    Other,
}

/// Options that are read or written here.
pub(super) const CLIENT_SUBNET: u16 = 8;
pub(super) const COOKIE: u16 = 10;
pub(super) const EXTENDED_ERROR: u16 = 15;

impl<'b> Edns<'b> {
    pub(super) fn new(record: Record<'b>) -> Self {
        Self { record }
    }

    /// The largest UDP payload in bytes that the sender can take; less than 512 counts as 512.
    pub fn payload_bytes(&self) -> u16 {
        self.record.class().0
    }

    /// The version of the extensions; there is only 0.
    pub fn version(&self) -> u8 {
        let [_, version, _, _] = self.record.ttl().to_be_bytes();
        version
    }

    /// The upper eight bits of the response code.
    pub fn extended_rcode(&self) -> u8 {
        let [rcode, _, _, _] = self.record.ttl().to_be_bytes();
        rcode
    }

    /// DO: the sender can read DNSSEC (RFC 3225 §3).
    pub fn is_dnssec_ok(&self) -> bool {
        self.record.ttl() & 0x8000 != 0
    }

    /// Its flags as written, DO the highest.
    pub fn flags(&self) -> u16 {
        let [_, _, high, low] = self.record.ttl().to_be_bytes();
        u16::from_be_bytes([high, low])
    }

    /// Its options, as far as they are whole.
    pub fn options(&self) -> EdnsOptions<'b> {
        EdnsOptions {
            rest: self.record.data(),
        }
    }
}

/// The options of an OPT record.
#[derive(Debug, Clone)]
pub struct EdnsOptions<'b> {
    rest: &'b [u8],
}

impl EdnsOptions<'_> {
    /// Whether all that is left is whole options.
    pub fn is_whole(mut self) -> bool {
        while self.next().is_some() {}
        self.rest.is_empty()
    }
}

impl<'b> Iterator for EdnsOptions<'b> {
    type Item = EdnsOption<'b>;

    fn next(&mut self) -> Option<EdnsOption<'b>> {
        let [a, b, c, d, behind @ ..] = self.rest else {
            return None;
        };
        let length = usize::from(u16::from_be_bytes([*c, *d]));
        let (value, rest) = behind.split_at_checked(length)?;
        self.rest = rest;
        Some(EdnsOption {
            code: u16::from_be_bytes([*a, *b]),
            value,
        })
    }
}

impl<'b> EdnsOption<'b> {
    /// What it tells.
    pub fn content(&self) -> OptionContent<'b> {
        let content = match self.code {
            CLIENT_SUBNET => self.client_subnet(),
            COOKIE => self.cookie(),
            EXTENDED_ERROR => self.extended_error(),
            _ => None,
        };
        content.unwrap_or(OptionContent::Other)
    }

    fn client_subnet(&self) -> Option<OptionContent<'b>> {
        let [family_high, family, source, scope, prefix @ ..] = self.value else {
            return None;
        };
        let mut room = [0; 16];
        room.get_mut(..prefix.len())?.copy_from_slice(prefix);
        let (address, bits) = match u16::from_be_bytes([*family_high, *family]) {
            1 => {
                let address = Ipv4Addr::from(*room.first_chunk::<4>()?);
                (IpAddr::V4(address), 32)
            }
            2 => (IpAddr::V6(Ipv6Addr::from(room)), 128),
            _ => return None,
        };
        let is_exact = prefix.len() == usize::from(*source).div_ceil(8);
        (is_exact && *source <= bits && *scope <= bits).then_some(OptionContent::ClientSubnet {
            address,
            source: *source,
            scope: *scope,
        })
    }

    fn cookie(&self) -> Option<OptionContent<'b>> {
        let (client, server) = self.value.split_first_chunk::<8>()?;
        matches!(server.len(), 0 | 8..=32).then_some(OptionContent::Cookie {
            client: *client,
            server,
        })
    }

    fn extended_error(&self) -> Option<OptionContent<'b>> {
        let (info, text) = self.value.split_first_chunk::<2>()?;
        Some(OptionContent::ExtendedError {
            info: u16::from_be_bytes(*info),
            text,
        })
    }
}

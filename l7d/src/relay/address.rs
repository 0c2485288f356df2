//! Where an agent listens, as peers tell it.

use std::net::IpAddr;
use std::path::PathBuf;

/// The port of agents, where an address names none.
const PORT: u16 = 4244;

/// Where to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A unix socket.
    Socket(PathBuf),
    /// A host, by name or address, and a port.
    Host(String, u16),
}

/// Why text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address: HOST:PORT, an IP address or unix://PATH")]
pub struct NoAddress(String);

impl Address {
    /// Reads `host:port`, a bare address, `unix://path` or the path of a socket.
    ///
    /// # Errors
    /// When it is none of them.
    pub fn parse(text: &str) -> Result<Self, NoAddress> {
        let fault = || NoAddress(text.to_owned());
        let path = text
            .strip_prefix("unix://")
            .or_else(|| text.strip_prefix("unix:"));
        if let Some(path) = path {
            return match path {
                "" => Err(fault()),
                path => Ok(Self::Socket(path.into())),
            };
        }
        if text.starts_with('/') {
            return Ok(Self::Socket(text.into()));
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self::Host(ip.to_string(), PORT));
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(fault)?;
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let port = port.parse().map_err(|_no_number| fault())?;
        if host.is_empty() || port == 0 {
            return Err(fault());
        }
        Ok(Self::Host(host.to_owned(), port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_peers_write_them() {
        let host = |host: &str, port| Ok(Address::Host(host.to_owned(), port));
        assert_eq!(Address::parse("10.0.0.1:4244"), host("10.0.0.1", 4244));
        assert_eq!(Address::parse("10.0.0.1"), host("10.0.0.1", 4244));
        assert_eq!(Address::parse("fd00::1"), host("fd00::1", 4244));
        assert_eq!(Address::parse("[fd00::1]:80"), host("fd00::1", 80));
        assert_eq!(
            Address::parse("hubble-peer.kube-system:443"),
            host("hubble-peer.kube-system", 443)
        );
        let socket = Address::Socket("/run/x.sock".into());
        for text in ["unix:///run/x.sock", "unix:/run/x.sock", "/run/x.sock"] {
            assert_eq!(Address::parse(text), Ok(socket.clone()));
        }
        for text in [
            "",
            "unix://",
            ":80",
            "host",
            "host:",
            "host:0",
            "host:99999",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}

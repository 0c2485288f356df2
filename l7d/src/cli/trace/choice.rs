//! Which connections are meant, and which flows have to be read for them.

use std::net::{IpAddr, SocketAddr};

use proto::flow::FlowFilter;

use crate::cli::failure::Failure;
use crate::story::{Peer, Story};

/// A pod, a service or an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Who {
    /// An address, with a port or any.
    Address(IpAddr, Option<u16>),
    /// The beginning of a name, in a namespace or any.
    Name(Option<String>, String),
}

/// Which connections are meant.
#[derive(Debug, Default)]
pub(super) struct Choice {
    pub(super) of: Option<Who>,
    pub(super) to: Option<Who>,
    pub(super) port: Option<u16>,
    pub(super) number: Option<u64>,
    pub(super) failed: bool,
}

impl Who {
    /// Reads `POD`, `NAMESPACE/POD`, `IP` or `IP:PORT`.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self::Address(
                address.ip().to_canonical(),
                Some(address.port()),
            ));
        }
        if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Ok(Self::Address(ip.to_canonical(), None));
        }
        let (namespace, name) = match text.split_once('/') {
            Some((namespace, name)) => (Some(namespace.to_owned()), name),
            None => (None, text),
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '*');
        if !name.chars().all(is_name) || (name.is_empty() && namespace.is_none()) {
            return Err(Failure::usage(format!("{text:?} is no pod and no address"))
                .advise("POD, NAMESPACE/POD, an address, or an address with a port"));
        }
        Ok(Self::Name(namespace, name.to_owned()))
    }

    fn is_at(&self, addr: SocketAddr) -> bool {
        matches!(self, Self::Address(ip, port)
            if addr.ip() == *ip && port.is_none_or(|port| port == addr.port()))
    }

    fn is(&self, peer: &Peer) -> bool {
        match self {
            Self::Address(..) => self.is_at(peer.addr),
            Self::Name(namespace, wanted) => {
                let (of, name) = match peer.name.split_once('/') {
                    Some((of, name)) => (Some(of), name),
                    None => (None, peer.name.as_ref()),
                };
                let is_there = namespace.as_deref().is_none_or(|wanted| of == Some(wanted));
                is_there && !name.is_empty() && name.starts_with(wanted.as_str())
            }
        }
    }

    /// Filters that let its flows pass, on any server: as source, or as destination.
    fn filters(&self) -> Vec<FlowFilter> {
        let filter = FlowFilter::default;
        match self {
            Self::Address(ip, _) => {
                let ip = || vec![ip.to_string()];
                vec![
                    FlowFilter {
                        source_ip: ip(),
                        ..filter()
                    },
                    FlowFilter {
                        destination_ip: ip(),
                        ..filter()
                    },
                ]
            }
            // An empty namespace is any.
            Self::Name(namespace, name) => {
                let name = format!("{}/{name}", namespace.as_deref().unwrap_or_default());
                let name = || vec![name.clone()];
                vec![
                    FlowFilter {
                        source_pod: name(),
                        ..filter()
                    },
                    FlowFilter {
                        destination_pod: name(),
                        ..filter()
                    },
                    FlowFilter {
                        source_service: name(),
                        ..filter()
                    },
                    FlowFilter {
                        destination_service: name(),
                        ..filter()
                    },
                ]
            }
        }
    }
}

impl Choice {
    /// Whether it means one connection alone.
    pub(super) fn is_single(&self) -> bool {
        self.number.is_some()
    }

    /// Whether answered look-ups of DNS are asked for themselves.
    pub(super) fn wants_lookups(&self) -> bool {
        let is_dns = |port| port == Some(53);
        let asked =
            |who: &Option<Who>| matches!(who, Some(Who::Address(_, port)) if port.is_some());
        is_dns(self.port) || self.to.is_some() || self.is_single() || asked(&self.of)
    }

    /// Whether a story is meant.
    pub(super) fn has(&self, story: &Story) -> bool {
        let is_number = |number| story.numbers.values().any(|one| *one == number);
        let serves =
            |who: &Who| who.is(&story.server) || story.service.is_some_and(|at| who.is_at(at));
        let mine = |who: &Who| who.is(&story.client) || serves(who);
        let asked = story.service.map(|service| service.port());
        let is_port = |port| port == story.server.addr.port() || Some(port) == asked;
        self.number.is_none_or(is_number)
            && self.of.as_ref().is_none_or(mine)
            && self.to.as_ref().is_none_or(serves)
            && self.port.is_none_or(is_port)
    }

    /// Filters for a server; none where every flow may matter.
    pub(super) fn filters(&self) -> Vec<FlowFilter> {
        if let Some(number) = self.number {
            let connection = FlowFilter {
                connection: vec![format!("{number:x}")],
                ..FlowFilter::default()
            };
            // What its client had asked for is no part of it.
            let answers = FlowFilter {
                protocol: vec!["dns".to_owned()],
                reply: vec![true],
                ..FlowFilter::default()
            };
            return vec![connection, answers];
        }
        let who = self.of.as_ref().or(self.to.as_ref());
        who.map(Who::filters).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(name: &str, addr: &str) -> Peer {
        Peer {
            addr: addr.parse().unwrap(),
            name: name.into(),
        }
    }

    #[test]
    fn reads_pods_and_addresses() {
        let read = |text| Who::parse(text).ok();
        let name =
            |of: Option<&str>, name: &str| Some(Who::Name(of.map(str::to_owned), name.to_owned()));
        assert_eq!(read("web"), name(None, "web"));
        assert_eq!(read("shop/web"), name(Some("shop"), "web"));
        assert_eq!(read("shop/"), name(Some("shop"), ""));
        let v4 = "10.0.0.1".parse().unwrap();
        assert_eq!(read("10.0.0.1"), Some(Who::Address(v4, None)));
        assert_eq!(read("10.0.0.1:80"), Some(Who::Address(v4, Some(80))));
        let v6 = "fd00::1".parse().unwrap();
        assert_eq!(read("fd00::1"), Some(Who::Address(v6, None)));
        assert_eq!(read("[fd00::1]:80"), Some(Who::Address(v6, Some(80))));
        assert_eq!(read(""), None);
        assert_eq!(read("what is this"), None);
    }

    #[test]
    fn a_name_is_the_beginning_of_one() {
        let web = peer("shop/web-6c9f", "10.0.0.1:80");
        let is = |text: &str| Who::parse(text).unwrap().is(&web);
        assert!(is("web") && is("shop/web") && is("shop/") && is("10.0.0.1:80"));
        assert!(!is("eb") && !is("other/web") && !is("10.0.0.1:81"));
    }
}

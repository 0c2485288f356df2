//! The addresses that an answer gives for the name that was asked about.

#![deny(clippy::arithmetic_side_effects)]

use std::net::IpAddr;

use super::codes::{Class, RecordType};
use super::message::{Message, Records};
use super::name::Name;

/// The names that lead from the question to its answers: the name asked about, then where each CNAME
/// leads (RFC 1034 §3.6.2).
///
/// Only records about one of these names answer the question; whatever else a response holds was not
/// asked for, and nobody may conclude anything from it.
#[derive(Debug, Clone)]
pub struct Chain<'b> {
    class: Class,
    records: Records<'b>,
    links: [Option<Link<'b>>; Chain::NAMES_MAX],
    is_cut: bool,
}

#[derive(Debug, Clone, Copy)]
struct Link<'b> {
    name: Name<'b>,
    /// Of the name: long names that differ at their ends only are not compared for each record.
    digest: u64,
    /// The least lifetime of the CNAMEs that lead here.
    ttl: u32,
}

/// An address that belongs to the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer<'b> {
    /// The name that has it: the last of the chain, if servers keep the rules.
    pub name: Name<'b>,
    /// The address.
    pub address: IpAddr,
    /// For how many seconds the way from the question to the address holds: the least lifetime of its
    /// record and of the CNAMEs before it.
    pub ttl: u32,
}

impl<'b> Chain<'b> {
    /// Most names of a chain; resolvers give up at about as many CNAMEs.
    pub const NAMES_MAX: usize = 17;
    /// Most CNAMEs of a response that are looked at: each is, for each name of the chain.
    const ALIASES_MAX: usize = 64;

    /// The chain of a response with one question. `None` of queries, updates, and where there are
    /// several questions or none.
    pub fn of(message: &Message<'b>) -> Option<Self> {
        let question = message.question()?;
        if !message.header().is_response() || message.opcode() != super::Opcode::QUERY {
            return None;
        }
        let mut chain = Self {
            class: question.class(),
            records: message.answers(),
            links: [None; Self::NAMES_MAX],
            is_cut: false,
        };
        chain.follow(question.name());
        Some(chain)
    }

    fn follow(&mut self, name: Name<'b>) {
        let mut next = Some(Link {
            name,
            digest: name.digest(),
            ttl: u32::MAX,
        });
        for place in 0..Self::NAMES_MAX {
            let Some(link) = next else { return };
            if self.find(link.name).is_some() {
                // A loop has no end, and no address at its end.
                self.is_cut = true;
                return;
            }
            if let Some(free) = self.links.get_mut(place) {
                *free = Some(link);
            }
            next = self.alias(&link);
        }
        self.is_cut = next.is_some();
    }

    /// Where the name of a link leads. Of several CNAMEs, which must not be (RFC 2181 §10.1), the
    /// first counts. Records may come in any order.
    fn alias(&self, link: &Link<'b>) -> Option<Link<'b>> {
        self.records
            .clone()
            .filter(|record| record.kind() == RecordType::CNAME && record.class() == self.class)
            .take(Self::ALIASES_MAX)
            .filter(|record| record.name() == link.name)
            .find_map(|record| {
                let name = record.target()?;
                Some(Link {
                    name,
                    digest: name.digest(),
                    ttl: link.ttl.min(lifetime(record.ttl())),
                })
            })
    }

    fn find(&self, name: Name<'b>) -> Option<&Link<'b>> {
        let links = || self.links.iter().map_while(Option::as_ref);
        links()
            .find(|link| link.name.is_same_place(&name))
            .or_else(|| {
                let digest = name.digest();
                links().find(|link| link.digest == digest && link.name == name)
            })
    }

    /// The names, the one asked about first.
    pub fn names(&self) -> impl Iterator<Item = Name<'b>> {
        self.links.iter().flatten().map(|link| link.name)
    }

    /// Whether it was given up: it goes in a circle, or is longer than [`Chain::NAMES_MAX`].
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The addresses of all its names. None of a chain that was given up.
    pub fn addresses(&self) -> impl Iterator<Item = Answer<'b>> {
        let records = self.records.clone().filter(|_| !self.is_cut);
        records.filter_map(|record| {
            let address = record.address()?;
            if record.class() != self.class {
                return None;
            }
            let link = self.find(record.name())?;
            Some(Answer {
                name: record.name(),
                address,
                ttl: link.ttl.min(lifetime(record.ttl())),
            })
        })
    }
}

/// RFC 2181 §8: with the highest bit set it counts as zero.
fn lifetime(ttl: u32) -> u32 {
    if ttl > u32::MAX >> 1 { 0 } else { ttl }
}

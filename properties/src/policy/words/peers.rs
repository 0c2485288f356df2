//! The words for the other end.

use super::{Name, Selector};

/// The one kind of peers of an element.
#[derive(Debug, Clone)]
pub enum Peers {
    /// `fromEndpoints`, `toEndpoints`.
    Endpoints(Vec<Selector>),
    /// `fromEntities`, `toEntities`.
    Entities(Vec<String>),
    /// `fromCIDR`, `toCIDR`.
    Cidrs(Vec<String>),
    /// `fromCIDRSet`, `toCIDRSet`.
    CidrSets(Vec<CidrSet>),
    /// `toFQDNs`.
    Fqdns(Vec<Name>),
    /// `fromNodes`, `toNodes`.
    Nodes(Vec<Selector>),
    /// `toServices`.
    Services(Vec<ServicePeer>),
}

/// `cidr` and `except`.
#[derive(Debug, Clone)]
pub struct Block {
    /// The whole.
    pub cidr: String,
    /// What is not meant of it.
    pub except: Vec<String>,
}

/// An element of `fromCIDRSet` or `toCIDRSet`.
#[derive(Debug, Clone)]
pub struct CidrSet {
    /// The whole.
    pub of: Source,
    /// `except`: what is not meant of it.
    pub except: Vec<String>,
}

/// Where prefixes come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// `cidr`.
    Prefix(String),
    /// `cidrGroupRef`.
    Group(String),
    /// `cidrGroupSelector`.
    Groups(Selector),
}

/// An element of `toServices`.
#[derive(Debug, Clone)]
pub struct ServicePeer {
    /// `namespace`; without one it may be any.
    pub namespace: Option<String>,
    /// Which there.
    pub which: Which,
}

/// Services of a namespace.
#[derive(Debug, Clone)]
pub enum Which {
    /// `k8sService`.
    Named(String),
    /// `k8sServiceSelector`.
    Labelled(Selector),
}

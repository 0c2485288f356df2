//! What a packet came packed in: the tunnel, the VLAN.

use std::fmt;
use std::net::IpAddr;

/// What was around a packet on the wire.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize,
)]
pub struct Encapsulation {
    /// The innermost tunnel.
    pub tunnel: Option<Tunnel>,
    /// Tags of VLANs, of the wire or of the frame in the tunnel.
    pub vlan: Option<Vlan>,
}

/// A tunnel that a packet came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Tunnel {
    /// How it packs.
    pub kind: TunnelKind,
    /// Network, key or session number; 0 where it has none.
    pub id: u32,
    /// Its end that sent.
    pub source: IpAddr,
    /// Its end that is to get it.
    pub destination: IpAddr,
    /// UDP ports of both, where it goes over UDP.
    pub ports: Option<(u16, u16)>,
}

/// Ways of packing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum TunnelKind {
    /// Mirrored frames of a switch, in GRE.
    Erspan,
    /// Ethernet in IP (RFC 3378).
    EtherIp,
    /// RFC 8926.
    Geneve,
    /// RFC 2784, RFC 2890, and the variant of PPTP (RFC 2637).
    Gre,
    /// 3GPP TS 29.281.
    GtpU,
    /// IP in IP of either versions (RFC 2003, RFC 4213, RFC 2473).
    IpIp,
    /// MPLS in IP (RFC 4023).
    MplsIp,
    /// RFC 7348.
    Vxlan,
}

/// Numbers of VLANs (IEEE 802.1Q); written as `5`, and as `5.6` where there are two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Vlan {
    /// The outermost.
    pub outer: u16,
    /// The innermost, where there are several (IEEE 802.1ad).
    pub inner: Option<u16>,
}

impl Encapsulation {
    /// Whether the packet came as it is.
    pub fn is_none(&self) -> bool {
        self.tunnel.is_none() && self.vlan.is_none()
    }

    /// Notes a tag. One of VLAN 0 tells a priority only (IEEE 802.1Q §6.9).
    pub(super) fn pass_tag(&mut self, tag: u16) {
        let number = tag & 0x0fff;
        if number == 0 {
            return;
        }
        match &mut self.vlan {
            Some(vlan) => vlan.inner = Some(number),
            None => {
                self.vlan = Some(Vlan {
                    outer: number,
                    inner: None,
                });
            }
        }
    }
}

impl TunnelKind {
    /// Its name, as users write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Erspan => "ERSPAN",
            Self::EtherIp => "EtherIP",
            Self::Geneve => "GENEVE",
            Self::Gre => "GRE",
            Self::GtpU => "GTP-U",
            Self::IpIp => "IP-in-IP",
            Self::MplsIp => "MPLS-in-IP",
            Self::Vxlan => "VXLAN",
        }
    }
}

impl fmt::Display for Vlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.outer)?;
        match self.inner {
            Some(inner) => write!(f, ".{inner}"),
            None => Ok(()),
        }
    }
}

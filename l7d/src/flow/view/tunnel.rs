//! What a packet came packed in, as a flow has it.
//!
//! Hubble names VXLAN and Geneve. Tunnels of other kinds have `UNKNOWN` there, with the same
//! addresses, and their name in the extension `tunnel`; for VLANs there is the extension `vlan` only.

use proto::flow::{self as pb, Layer4, layer4, tunnel::Protocol};

use super::ip;
use crate::record::{Record, Tunnel, TunnelKind};

/// The tunnel's own addresses; the flow's are those of the packet in it.
pub(super) fn of(record: &Record) -> Option<pb::Tunnel> {
    let tunnel = record.encapsulation.as_deref()?.tunnel.as_ref()?;
    Some(pb::Tunnel {
        protocol: protocol(tunnel.kind).unwrap_or(Protocol::Unknown).into(),
        ip: Some(ip(tunnel.source, tunnel.destination)),
        l4: tunnel.ports.map(udp),
        vni: tunnel.id,
    })
}

/// Adds what Hubble has no field for.
pub(super) fn extend(record: &Record, fields: &mut Vec<(&str, String)>) {
    let Some(encapsulation) = record.encapsulation.as_deref() else {
        return;
    };
    if let Some(Tunnel { kind, .. }) = encapsulation.tunnel
        && protocol(kind).is_none()
    {
        fields.push(("tunnel", kind.name().to_owned()));
    }
    if let Some(vlan) = encapsulation.vlan {
        fields.push(("vlan", vlan.to_string()));
    }
}

fn protocol(kind: TunnelKind) -> Option<Protocol> {
    match kind {
        TunnelKind::Geneve => Some(Protocol::Geneve),
        TunnelKind::Vxlan => Some(Protocol::Vxlan),
        _ => None,
    }
}

fn udp((source_port, destination_port): (u16, u16)) -> Layer4 {
    Layer4 {
        protocol: Some(layer4::Protocol::Udp(pb::Udp {
            source_port: source_port.into(),
            destination_port: destination_port.into(),
        })),
    }
}

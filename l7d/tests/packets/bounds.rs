//! Each byte of the headers of usual packets at its bounds, and the packets cut off at each byte.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::frames::{Head, OWN_V4, OWN_V6, icmp, sctp, tcp, udp};
use crate::kernel::{Kernel, Place};
use crate::single::check;
use crate::world::{Direction, Owner};

/// Frames with every kind of header, and whose they are.
pub(crate) fn frames() -> Vec<(Direction, Vec<u8>)> {
    let peers: [(IpAddr, IpAddr); 2] = [
        (OWN_V4.into(), Ipv4Addr::new(192, 0, 2, 9).into()),
        (
            OWN_V6.into(),
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9).into(),
        ),
    ];
    let mut frames = Vec::new();
    for (own, peer) in peers {
        let kinds = if own.is_ipv4() {
            (1, 8, 3)
        } else {
            (58, 128, 1)
        };
        let quoted = Head::new(own, peer, 6).frame(&tcp(443, 50_000, 0x02, 5, 0));
        let payloads = [
            (6, tcp(50_000, 80, 0x02, 5, 0)),
            (6, tcp(50_000, 22, 0x02, 10, 3)),
            (17, udp(50_000, 53, None, 20)),
            (132, sctp(50_000, 5000, 4)),
            (kinds.0, icmp(kinds.1, 0, 77, b"ping")),
            (kinds.0, icmp(kinds.2, 3, 0, &quoted[14..])),
        ];
        for (protocol, payload) in payloads {
            let mut head = Head::new(own, peer, protocol);
            frames.push((Direction::Egress, head.frame(&payload)));
            if own.is_ipv4() {
                head.options = 8;
            } else {
                head.extensions = vec![(0, 0), (60, 1), (43, 0)];
                head.place = Some((0, false, 3));
            }
            frames.push((Direction::Egress, head.frame(&payload)));
            std::mem::swap(&mut head.source, &mut head.destination);
            head.padding = 9;
            frames.push((Direction::Ingress, head.frame(&payload)));
        }
        let mut tagged = Head::new(own, peer, 6);
        tagged.tags = vec![0x88a8, 0x8100];
        frames.push((
            Direction::Egress,
            tagged.frame(&tcp(50_000, 22, 0x02, 5, 0)),
        ));
    }
    frames
}

/// Gives each frame to `judge` cut off at each byte.
pub(crate) fn cut(
    mut judge: impl FnMut(Owner, Direction, &[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for (direction, frame) in frames() {
        for length in 14..=frame.len() {
            for owner in [Owner::Closed, Owner::Open] {
                judge(owner, direction, &frame[..length])?;
            }
        }
    }
    Ok(())
}

/// Gives each frame to `judge` with each byte of its headers at its bounds.
pub(crate) fn bend(
    mut judge: impl FnMut(Owner, Direction, &[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for (direction, frame) in frames() {
        for at in 12..frame.len().min(110) {
            let was = frame[at];
            let bounds = [
                0,
                1,
                0x0f,
                0x10,
                0x7f,
                0x80,
                0xf0,
                0xff,
                was.wrapping_add(1),
                was.wrapping_sub(1),
            ];
            for bound in bounds {
                let mut frame = frame.clone();
                frame[at] = bound;
                let owner = if bound % 2 == 0 {
                    Owner::Closed
                } else {
                    Owner::Open
                };
                judge(owner, direction, &frame)?;
            }
        }
    }
    Ok(())
}

#[test]
fn packets_that_are_cut_off_at_any_byte_are_judged_as_what_is_left() -> anyhow::Result<()> {
    let mut kernel = Kernel::new(Place::Pod)?;
    let mut judged = 0;
    cut(|owner, direction, frame| {
        judged += usize::from(check(&mut kernel, owner, direction, frame)?.is_some());
        Ok(())
    })?;
    assert!(
        judged > frames().len(),
        "whole ones and padded ones: {judged}"
    );
    Ok(())
}

#[test]
fn every_byte_of_a_header_may_have_any_of_its_bounds() -> anyhow::Result<()> {
    let mut kernel = Kernel::new(Place::Pod)?;
    let mut judged = 0;
    bend(|owner, direction, frame| {
        judged += usize::from(check(&mut kernel, owner, direction, frame)?.is_some());
        Ok(())
    })?;
    assert!(judged > 5000, "{judged}");
    Ok(())
}

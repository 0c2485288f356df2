//! What each worker begins with: listeners and sockets of its own, and its part of what another process
//! gave up, which may have had more workers or fewer.

use std::net::TcpListener;
use std::os::fd::{AsRawFd as _, RawFd};

use super::dns::{self, DatagramSockets, SavedQueries};
use super::handover::{Belongings, Datagrams};
use super::{Error, Family, Settings, listener};

/// Everything, shared out.
pub(super) struct Shares {
    pub(super) workers: Vec<Belongings>,
    /// The first listener of each family.
    pub(super) listeners: Vec<(Family, RawFd)>,
    /// Of each worker the first sockets of each family.
    pub(super) datagrams: Vec<[Option<DatagramSockets>; 2]>,
    pub(super) port: u16,
    pub(super) limitation: Option<String>,
}

/// Gives every worker what it needs, and deals out what is there already.
pub(super) fn out(belongings: Belongings, settings: &Settings) -> Result<Shares, Error> {
    let Belongings {
        listeners,
        datagrams,
        connections,
    } = belongings;
    let count = settings.workers.max(1);
    let (listeners, port) = enough_listeners(listeners, settings, count)?;
    let mut workers: Vec<Belongings> = (0..count).map(|_| Belongings::default()).collect();
    let first = first_of_families(&listeners);
    deal(&mut workers, listeners, |worker, listener| {
        worker.listeners.push(listener);
    });
    deal(&mut workers, connections, |worker, moved| {
        worker.connections.push(moved);
    });
    let [v4, v6] = [Family::V4, Family::V6].map(|family| first.iter().any(|(of, _)| *of == family));
    let families = [v4.then_some(Family::V4), v6.then_some(Family::V6)];
    let limitation = share_datagrams(&mut workers, datagrams, families)?;
    let raw = workers.iter().map(first_datagram_sockets).collect();
    Ok(Shares {
        workers,
        listeners: first,
        datagrams: raw,
        port,
        limitation,
    })
}

/// One after the other, each to the next worker: families come in equal numbers and one behind the other,
/// so that each worker gets as many of one as of the other.
fn deal<T>(workers: &mut [Belongings], things: Vec<T>, give: impl Fn(&mut Belongings, T)) {
    let count = workers.len().max(1);
    for (number, thing) in things.into_iter().enumerate() {
        if let Some(worker) = workers.get_mut(number % count) {
            give(worker, thing);
        }
    }
}

fn is_v4(listener: &TcpListener) -> bool {
    listener.local_addr().is_ok_and(|address| address.is_ipv4())
}

/// At least one for each worker, all at one port: first those of IPv4, then those of IPv6.
fn enough_listeners(
    mut listeners: Vec<TcpListener>,
    settings: &Settings,
    count: usize,
) -> Result<(Vec<TcpListener>, u16), Error> {
    let (mark, sharing) = (settings.marks.reply, settings.sharing);
    if listeners.is_empty() {
        let pairs = listener::bind_all(count, mark, sharing)?;
        let port = pairs.first().map_or(0, |pair| pair.port);
        let (v4, v6): (Vec<_>, Vec<_>) = pairs.into_iter().map(|pair| (pair.v4, pair.v6)).unzip();
        listeners.extend(v4);
        listeners.extend(v6.into_iter().flatten());
        return Ok((listeners, port));
    }
    listeners.sort_by_key(|listener| !is_v4(listener));
    let port = listeners
        .first()
        .and_then(|listener| listener.local_addr().ok())
        .map_or(0, |address| address.port());
    let (mut v4, mut v6): (Vec<_>, Vec<_>) = listeners.into_iter().partition(is_v4);
    for listeners in [&mut v4, &mut v6] {
        while !listeners.is_empty() && listeners.len() < count {
            let one_more = listener::one_more(listeners, mark, sharing)?;
            listeners.push(one_more);
        }
    }
    v4.append(&mut v6);
    Ok((v4, port))
}

fn first_of_families(listeners: &[TcpListener]) -> Vec<(Family, RawFd)> {
    let first = |family, wants_v4| {
        let listener = listeners.iter().find(|one| is_v4(one) == wants_v4)?;
        Some((family, listener.as_raw_fd()))
    };
    [first(Family::V4, true), first(Family::V6, false)]
        .into_iter()
        .flatten()
        .collect()
}

fn first_datagram_sockets(worker: &Belongings) -> [Option<DatagramSockets>; 2] {
    [Family::V4, Family::V6].map(|family| {
        let mut sockets = worker.datagrams.iter().map(|datagrams| &datagrams.sockets);
        let found = sockets.find(|sockets| sockets.family() == family);
        found.map(dns::Sockets::raw)
    })
}

/// Every worker has sockets of each family; told is why it has none.
fn share_datagrams(
    workers: &mut [Belongings],
    datagrams: Vec<Datagrams>,
    families: [Option<Family>; 2],
) -> Result<Option<String>, Error> {
    let (v4, v6): (Vec<_>, Vec<_>) = datagrams
        .into_iter()
        .partition(|datagrams| datagrams.sockets.family() == Family::V4);
    for of_family in [v4, v6] {
        deal(workers, of_family, |worker, datagrams| {
            worker.datagrams.push(datagrams);
        });
    }
    for worker in workers {
        let has = first_datagram_sockets(worker);
        let missing = families.into_iter().zip(has);
        for (family, has) in missing {
            let Some(family) = family.filter(|_| has.is_none()) else {
                continue;
            };
            match dns::Sockets::open(family) {
                Ok(sockets) => worker.datagrams.push(Datagrams {
                    sockets,
                    queries: SavedQueries::default(),
                }),
                Err(error) if error.is_for_want_of_rights() => {
                    let told = format!(
                        "no DNS over UDP through the proxy: {error}; watched queries pass by, and ports whose queries \
                         are to be judged do as datapath.onProxyDown says"
                    );
                    tracing::warn!("{told}");
                    return Ok(Some(told));
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(None)
}

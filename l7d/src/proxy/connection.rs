//! A connection's task: admitted, connected, or taken over from another process, up to its door.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use parsers::http1::Reading;
use tokio::net::TcpStream;

use super::door::Watched;
use super::handover::{Addresses, Moved, SavedConnection};
use super::worker::{Stay, Worker};
use super::{Admission, Upstream, crowd, forward, network, upstream};
use crate::config::Transport;
use crate::policy::Door;
use crate::record::{EndpointId, Outcome};
use crate::session::{Ends, Session};

/// A connection that goes on in another process, and where it goes.
pub(super) struct Leaving {
    pub(super) server: Option<TcpStream>,
    pub(super) saved: SavedConnection,
    pub(super) addresses: Addresses,
}

/// Two sockets that are relayed between.
pub(super) struct Pair<'c> {
    pub(super) client: &'c mut TcpStream,
    pub(super) server: TcpStream,
    pub(super) addresses: Addresses,
}

impl Worker {
    pub(super) async fn serve(
        self: Rc<Self>,
        mut client: TcpStream,
        from: SocketAddr,
        _stay: Stay,
    ) {
        if let Ok(original) = client.local_addr() {
            let addresses = Addresses {
                client: from,
                server: original,
            };
            let leaving = self.begin_relay(&mut client, addresses).await;
            self.give_up(client, leaving);
        }
    }

    /// Goes on with a connection of another process.
    pub(super) async fn adopt(self: Rc<Self>, moved: Moved, _stay: Stay) {
        self.stats.adopted.fetch_add(1, Ordering::Relaxed);
        let addresses = moved.addresses;
        match moved.open() {
            Ok((mut client, server, saved)) => {
                let leaving = match server {
                    Some(server) => {
                        let pair = Pair {
                            client: &mut client,
                            server,
                            addresses,
                        };
                        self.go_on(pair, saved).await
                    }
                    // Nothing has been done for it yet.
                    None => self.begin_relay(&mut client, addresses).await,
                };
                self.give_up(client, leaving);
            }
            Err(error) => tracing::debug!(%error, "a connection that was taken over is gone"),
        }
    }

    fn give_up(&self, client: TcpStream, leaving: Option<Leaving>) {
        let Some(Leaving {
            server,
            saved,
            addresses,
        }) = leaving
        else {
            return;
        };
        match Moved::new(client, server, addresses, &saved) {
            Ok(moved) => self.given_up.borrow_mut().connections.push(moved),
            Err(error) => {
                self.stats.cut_by_handover.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%error, "a connection cannot be given up, and is cut");
            }
        }
    }

    /// Who is there, which door, and what the kernel calls it.
    fn admit(&self, from: SocketAddr, original: SocketAddr) -> Option<Admission> {
        let admission = self.directory.admit(Transport::Tcp, from, original)?;
        let number = self.directory.number(from, admission.upstream.server);
        let ends = admission.ends.with_connection(number);
        Some(Admission { ends, ..admission })
    }

    /// Relays a connection for which nothing has been done, in its endpoint's line.
    async fn begin_relay(&self, client: &mut TcpStream, addresses: Addresses) -> Option<Leaving> {
        let (endpoint, relay) = self.let_in(client, addresses)?;
        self.turns.in_turn(endpoint, Box::pin(relay)).await
    }

    /// Whose connection it is, and what is done for it if somebody's it is and there is a place.
    fn let_in<'c>(
        &'c self,
        client: &'c mut TcpStream,
        addresses: Addresses,
    ) -> Option<(EndpointId, impl Future<Output = Option<Leaving>> + 'c)> {
        let Some(admission) = self.admit(addresses.client, addresses.server) else {
            self.stats.strays.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        let place = match admission.door {
            Door::Watch => None,
            Door::Enforce(_) => match self.crowd.enter(&admission.ends) {
                Ok(place) => Some(place),
                Err(full) => {
                    self.turn_away(client, admission.ends, full);
                    return None;
                }
            },
        };
        let endpoint = admission.ends.judged();
        Some((endpoint, self.relay(client, addresses, admission, place)))
    }

    /// Until it ends, or leaves; then its place is free.
    #[expect(
        clippy::manual_async_fn,
        reason = "arguments of an async function take their room twice"
    )]
    pub(super) fn relay<'c>(
        &'c self,
        client: &'c mut TcpStream,
        addresses: Addresses,
        admission: Admission,
        place: Option<crowd::Place>,
    ) -> impl Future<Output = Option<Leaving>> + 'c {
        async move {
            let _place = place;
            let Admission {
                mut ends,
                door,
                upstream,
            } = admission;
            // What is needed for a moment only is boxed, and what differs by door: an idle connection
            // has room for no more than its own door.
            let connected = tokio::select! {
                biased;
                connected = Box::pin(upstream::connect(&upstream, &self.settings.marks)) => connected,
                () = Box::pin(self.told_to_leave_unconnected()) => {
                    return Some(Leaving {
                        server: None,
                        saved: SavedConnection::Accepted,
                        addresses,
                    });
                }
            };
            let server = match connected {
                Ok(server) => server,
                Err(error) => {
                    self.tell_unreached(client, ends, &door, &upstream, &error);
                    return None;
                }
            };
            forward::no_delay(client);
            forward::no_delay(&server);
            ends.set_network(network::ask(client, &server));
            let pair = Pair {
                client,
                server,
                addresses: Addresses {
                    server: upstream.server,
                    ..addresses
                },
            };
            // Blocks that capture, since the arguments of an async function take their room twice.
            match door {
                Door::Watch => {
                    let session = self.session(ends, Reading::Lenient);
                    let watched = Watched::boxed(session, Default::default());
                    Box::pin(async move { self.watch(pair, watched).await }).await
                }
                Door::Enforce(judge) => {
                    Box::pin(async move { self.enforce(judge, ends, pair, None).await }).await
                }
            }
        }
    }

    fn tell_unreached(
        &self,
        client: &TcpStream,
        ends: Ends,
        door: &Door,
        upstream: &Upstream,
        error: &std::io::Error,
    ) {
        tracing::debug!(%error, server = %upstream.server, "the server is not reached");
        self.stats.upstream_failures.fetch_add(1, Ordering::Relaxed);
        let reading = match door {
            Door::Watch => Reading::Lenient,
            Door::Enforce(_) => Reading::Strict,
        };
        let mut session = self.session(ends, reading);
        if let Some(event) = network::unreached(error) {
            session.note_tcp(event);
        }
        session.finish(Outcome::UpstreamRefused);
        forward::reset(client);
    }

    /// An endpoint with too many connections: the new one is reset, and a record says why.
    fn turn_away(&self, client: &TcpStream, ends: Ends, full: crowd::Full) {
        self.stats.refused.fetch_add(1, Ordering::Relaxed);
        let mut session = self.session(ends, Reading::Strict);
        session.give_up(full.why());
        session.finish(Outcome::Limit);
        forward::reset(client);
    }

    pub(super) fn session(&self, ends: Ends, reading: Reading) -> Session {
        let recorder = match reading {
            Reading::Lenient => &self.watcher,
            Reading::Strict => &self.recorder,
        };
        let recorder = Rc::clone(recorder);
        Session::new(recorder, ends, self.settings.limits, reading)
    }
}

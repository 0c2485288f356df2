//! What the proxy asks about a connection.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use tokio::sync::{mpsc, oneshot, watch};

use super::apply::World;
use super::learn::Learning;
use crate::clock::Monotonic;
use crate::config::Transport;
use crate::datapath;
use crate::identity::{Identities, Names};
use crate::policy::{Audit, Door, Live};
use crate::proxy::{Admission, Learnt, Upstream};
use crate::record::{Direction, EndpointId, IdentityNumber, Party, canonical};
use crate::session::{Ends, Verdicts};

/// What the kernel side can be asked about a connection, once it is there.
#[derive(Clone, Default)]
pub(super) struct Kernel(Arc<OnceLock<KernelTables>>);

/// Tables that the kernel programs write.
pub(super) struct KernelTables {
    /// Where processes of this host wanted to connect.
    pub(super) originals: datapath::Originals,
    /// The connections that the kernel knows.
    pub(super) connections: datapath::ConnectionTable,
}

impl Kernel {
    /// It is there; the first call counts.
    pub(super) fn set(&self, tables: KernelTables) {
        if self.0.set(tables).is_err() {
            tracing::error!("the kernel's tables were there already");
        }
    }

    fn original(&self, transport: Transport, client: SocketAddr) -> Option<SocketAddr> {
        self.0.get()?.originals.look_up(transport, client)
    }

    fn number(&self, transport: Transport, client: SocketAddr, server: SocketAddr) -> Option<u64> {
        let connections = &self.0.get()?.connections;
        connections.number(transport, client, server)
    }
}

/// Answers by the identities and the policy of the moment.
pub(super) struct Directory {
    identities: Identities,
    live: Arc<Live>,
    kernel: Kernel,
    names: Arc<Names>,
    learnings: mpsc::Sender<Learning>,
}

impl Directory {
    pub(super) fn new(world: &World, kernel: Kernel, learnings: mpsc::Sender<Learning>) -> Self {
        let identities = world.identities().clone();
        Self {
            identities,
            live: Arc::clone(world.live()),
            kernel,
            names: Arc::clone(world.names()),
            learnings,
        }
    }

    /// Who both are, which door, and how to connect. `client` may be known by another address than the one
    /// that the server is to see.
    fn between(
        &self,
        transport: Transport,
        (client, seen_by_server): (SocketAddr, Option<SocketAddr>),
        server: SocketAddr,
        was_judged: bool,
    ) -> Admission {
        let source = self.identities.party(client);
        let destination = self.identities.party(server);
        let number = transport.number();
        let door = if was_judged {
            self.live.judging_door(&source, &destination, number)
        } else {
            self.live.door(&source, &destination, number)
        };
        let direction = match &door {
            Door::Enforce(judge) => judge.direction(),
            Door::Watch if is_local(&destination) => Direction::Ingress,
            Door::Watch => Direction::Egress,
        };
        let is_inside =
            destination.identity != IdentityNumber::WORLD && destination.identity.0 < 1 << 24;
        Admission {
            upstream: Upstream {
                server,
                client: seen_by_server,
                is_inside,
            },
            ends: Ends::new(source, destination, direction),
            door,
        }
    }
}

impl crate::proxy::Directory for Directory {
    fn admit(
        &self,
        transport: Transport,
        client: SocketAddr,
        original: SocketAddr,
    ) -> Option<Admission> {
        // Who comes to loopback came through the socket hooks, or was not redirected at all.
        let came_by_socket = original.ip().is_loopback();
        let server = if came_by_socket {
            self.kernel.original(transport, client)?
        } else {
            original
        };
        let client_by_network = (!came_by_socket).then_some(client);
        Some(self.between(transport, (client, client_by_network), server, false))
    }

    fn readmit(
        &self,
        client: SocketAddr,
        server: SocketAddr,
        was_judged: bool,
    ) -> Option<Admission> {
        // It is connected: how is a matter of the past.
        let (client, server) = (canonical(client), canonical(server));
        Some(self.between(Transport::Tcp, (client, None), server, was_judged))
    }

    fn number(&self, client: SocketAddr, server: SocketAddr) -> u64 {
        let number = self.kernel.number(Transport::Tcp, client, server);
        number.unwrap_or(0)
    }

    fn learn(
        &self,
        client: &Party,
        name: &str,
        answers: &mut dyn Iterator<Item = (IpAddr, u32)>,
    ) -> Learnt {
        // Who asks from elsewhere is another node's business.
        if !is_local(client) && client.identity != IdentityNumber::HOST {
            return Learnt::Known;
        }
        let (ip, now) = (client.addr.ip(), Monotonic::now());
        let matters = self.live.is_about_name(name);
        if !self.names.learn(ip, (name, matters), answers, now) {
            return Learnt::Known;
        }
        let (done, learning) = oneshot::channel();
        let known = self.names.known(ip, name);
        match self.learnings.try_send(Learning { known, done }) {
            Ok(()) => Learnt::Pending(learning),
            Err(error) => {
                tracing::warn!(%error, name, "policies hear of a name later than the client");
                Learnt::Known
            }
        }
    }

    fn auditor(&self) -> Option<Box<dyn Verdicts>> {
        Some(Box::new(Audit(Arc::clone(&self.live))))
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.live.changes()
    }
}

fn is_local(party: &Party) -> bool {
    party
        .endpoint
        .as_ref()
        .is_some_and(|endpoint| endpoint.id != EndpointId(0))
}

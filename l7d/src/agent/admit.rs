//! What the proxy asks about a connection.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use super::apply::World;
use super::learn::Learning;
use crate::clock::Monotonic;
use crate::config::Transport;
use crate::datapath;
use crate::identity::{Identities, Names};
use crate::policy::{Audit, Door, Live};
use crate::proxy::{Admission, Learnt, Upstream};
use crate::record::{Direction, EndpointId, IdentityNumber, Party};
use crate::session::{Ends, Verdicts};

/// Where processes of this host wanted to connect, once the kernel side is there to ask.
#[derive(Clone, Default)]
pub(super) struct Originals(Arc<parking_lot::RwLock<Option<datapath::Originals>>>);

impl Originals {
    pub(super) fn set(&self, originals: datapath::Originals) {
        *self.0.write() = Some(originals);
    }

    fn look_up(&self, transport: Transport, client: SocketAddr) -> Option<SocketAddr> {
        self.0.read().as_ref()?.look_up(transport, client)
    }
}

/// Answers by the identities and the policy of the moment.
pub(super) struct Directory {
    identities: Identities,
    live: Arc<Live>,
    originals: Originals,
    names: Arc<Names>,
    learnings: mpsc::Sender<Learning>,
}

impl Directory {
    pub(super) fn new(
        world: &World,
        originals: Originals,
        learnings: mpsc::Sender<Learning>,
    ) -> Self {
        let identities = world.identities().clone();
        Self {
            identities,
            live: Arc::clone(world.live()),
            originals,
            names: Arc::clone(world.names()),
            learnings,
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
            self.originals.look_up(transport, client)?
        } else {
            original
        };
        let source = self.identities.party(client);
        let destination = self.identities.party(server);
        let door = self.live.door(&source, &destination, transport.number());
        let direction = match &door {
            Door::Enforce(judge) => judge.direction(),
            Door::Watch if is_local(&destination) => Direction::Ingress,
            Door::Watch => Direction::Egress,
        };
        let is_inside =
            destination.identity != IdentityNumber::WORLD && destination.identity.0 < 1 << 24;
        Some(Admission {
            upstream: Upstream {
                server,
                client: (!came_by_socket).then_some(client),
                is_inside,
            },
            ends: Ends::new(source, destination, direction),
            door,
        })
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

//! Another program on this node that enforces the same policies.

use super::apply::World;
use super::{Agent, Error};
use crate::config::Enforcement;
use crate::datapath::host_network;

/// The interface that Cilium's agent makes on every node.
const CILIUM_INTERFACE: &str = "cilium_host";

impl World {
    /// Looks whether Cilium is on this node; true where that is news.
    pub(super) fn look_for_cilium(&mut self) -> bool {
        let has_cilium = host_network::interface_index(CILIUM_INTERFACE).is_ok();
        let is_news = has_cilium != self.has_cilium;
        self.has_cilium = has_cilium;
        is_news
    }

    /// For whom policies are enforced: for nobody where Cilium does it, unless both are to.
    pub(super) fn enforcement(&self) -> Enforcement {
        if self.leaves_it_to_cilium() {
            Enforcement::Never
        } else {
            self.config().policies.enforcement
        }
    }

    fn leaves_it_to_cilium(&self) -> bool {
        self.has_cilium && !self.config().policies.beside_cilium
    }

    /// Why policies are not enforced, where that is so and nobody has asked for it.
    pub(super) fn restraint(&self) -> Option<String> {
        let is_wanted = self.config().policies.enforcement != Enforcement::Never;
        (is_wanted && self.leaves_it_to_cilium() && self.policies() > 0).then(|| {
            format!(
                "Cilium is on this node (interface {CILIUM_INTERFACE}) and enforces policies: l7d only \
                 observes; `policies.besideCilium: enforce` makes both enforce them"
            )
        })
    }
}

impl Agent {
    /// Begins or ends to enforce policies, where Cilium has gone or come.
    pub(super) fn follow_cilium(&mut self) -> Result<(), Error> {
        if !self.world.look_for_cilium() {
            return Ok(());
        }
        let whether = if self.world.has_cilium {
            "has come"
        } else {
            "has gone"
        };
        tracing::info!("Cilium {whether} on this node");
        self.world.compile();
        self.apply_world()
    }
}

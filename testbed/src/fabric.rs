//! A network that nodes share: worlds know nothing of each other without one.

use crate::world::Host;

/// A bridge in one host's namespace, into which others are plugged.
#[derive(Debug, Clone)]
pub struct Fabric {
    hub: Host,
}

impl Fabric {
    /// The address of the host that has the bridge.
    pub const HUB: &str = "198.51.100.254";

    /// Makes the bridge; it is gone with the host.
    ///
    /// # Errors
    /// When a tool refuses.
    pub fn new(hub: Host) -> anyhow::Result<Self> {
        // One of its own: otherwise it is the lowest of its ports', and changes when that one's plug is
        // pulled, which the others would only notice seconds later.
        hub.ip("link add fabric address 02:00:c6:33:64:fe type bridge")?;
        hub.ip(&format!("addr add {}/24 dev fabric", Self::HUB))?;
        hub.ip("link set fabric up")?;
        Ok(Self { hub })
    }

    /// Plugs a node in, as `fabric`; gives its address.
    ///
    /// # Errors
    /// When a tool refuses.
    pub fn connect(&self, node: &Host, number: u8) -> anyhow::Result<String> {
        let address = Self::address(number);
        let namespace = node.namespace();
        self.hub.ip(&format!(
            "link add port{number} type veth peer name fabric netns {namespace}"
        ))?;
        self.mend(number)?;
        node.ip(&format!("addr add {address}/24 dev fabric"))?;
        node.ip("link set fabric up")?;
        Ok(address)
    }

    /// Address of a node that is plugged in.
    pub fn address(number: u8) -> String {
        format!("198.51.100.{number}")
    }

    /// Pulls a node's plug: what is for it vanishes, and nobody is told.
    ///
    /// # Errors
    /// When a tool refuses.
    pub fn cut(&self, number: u8) -> anyhow::Result<()> {
        self.hub.ip(&format!("link set port{number} nomaster"))
    }

    /// Plugs it in again.
    ///
    /// # Errors
    /// When a tool refuses.
    pub fn mend(&self, number: u8) -> anyhow::Result<()> {
        self.hub
            .ip(&format!("link set port{number} master fabric up"))
    }
}

//! The configuration file, read again while the agent runs.
//!
//! Endpoints, services, ports, uplinks, `hostFirewall` and the modes of policies are taken over at once. What the agent was built from at
//! its start (sockets, marks, workers…) is not: a change there is told, and waits for a restart. A
//! file that cannot be used changes nothing.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::config::{self, Config};
use crate::host::{self, Inventory};

use super::apply::World;
use super::{Agent, Error};

/// What tells one state of a file from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
    inode: u64,
}

impl Stamp {
    /// Of the file that is there now; a link is followed, as mounted configuration changes by one.
    pub(super) fn of(file: Option<&PathBuf>) -> Option<Self> {
        let metadata = std::fs::metadata(file?).ok()?;
        Some(Self {
            modified: metadata.modified().ok(),
            bytes: metadata.len(),
            inode: metadata.ino(),
        })
    }
}

/// What tells one state of this host's addresses from another, for the price of two files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AddressesStamp([Option<Vec<u8>>; 2]);

impl AddressesStamp {
    /// Of this moment.
    pub(super) fn take() -> Self {
        Self(
            ["/proc/self/net/fib_trie", "/proc/self/net/if_inet6"]
                .map(|file| std::fs::read(file).ok()),
        )
    }
}

impl World {
    /// Whether the configuration file is another than when this was last asked. It is looked at now and
    /// then: its folder may be a busy one, and every opening of a file there would wake a watcher.
    pub(super) fn has_new_file(&mut self) -> bool {
        let stamp = Stamp::of(self.file.as_ref());
        if stamp.is_none() || stamp == self.stamp {
            return false;
        }
        self.stamp = stamp;
        true
    }

    /// Reads the configuration file again: whether something changed that can change while running.
    fn reload_config(&mut self) -> bool {
        let Some(file) = self.file.clone() else {
            return false;
        };
        let fresh = match config::read_config_file(&file) {
            Ok(fresh) => fresh,
            Err(error) => {
                self.refused_config = error.to_string().lines().map(str::to_owned).collect();
                for fault in &self.refused_config {
                    tracing::error!("configuration refused, the former one stays: {fault}");
                }
                return false;
            }
        };
        self.refused_config.clear();
        match self.take_over(fresh) {
            Ok(has_changed) => has_changed,
            Err(error) => {
                tracing::error!("configuration refused, the former one stays: {error}");
                self.refused_config.push(error.to_string());
                false
            }
        }
    }

    fn take_over(&mut self, fresh: Config) -> Result<bool, host::Error> {
        for section in needing_restart(&self.config, &fresh) {
            let warning = format!("{section} has changed in the configuration: restart the agent");
            tracing::warn!("{warning}");
            self.refused_config.push(warning);
        }
        let next = Config {
            endpoints: fresh.endpoints,
            namespaces: fresh.namespaces,
            services: fresh.services,
            visibility: fresh.visibility,
            host: config::Host {
                ports: fresh.host.ports,
                cgroup: self.config.host.cgroup.clone(),
            },
            datapath: config::Datapath {
                uplinks: fresh.datapath.uplinks,
                host_firewall: fresh.datapath.host_firewall,
                ..self.config.datapath.clone()
            },
            policies: config::Policies {
                enforcement: fresh.policies.enforcement,
                audit: fresh.policies.audit,
                ..self.config.policies.clone()
            },
            ..self.config.clone()
        };
        if next == self.config {
            return Ok(false);
        }
        self.take_inventory(&next)?;
        self.config = next;
        Ok(true)
    }

    fn take_inventory(&mut self, config: &Config) -> Result<(), host::Error> {
        self.addresses_stamp = AddressesStamp::take();
        let addresses = super::apply::host_addresses();
        let (numbers, numbering) = (&mut self.numbers, &mut self.numbering);
        let inventory = Inventory::from_config(config, numbers, numbering, addresses)?;
        self.numbers.retain(|id| inventory.has(id));
        self.inventory = inventory;
        Ok(())
    }

    /// Finds out whether this host's own addresses have changed, where policies are enforced for them:
    /// a new one would be open.
    pub(super) fn has_new_addresses(&mut self) -> bool {
        if !self.config.datapath.host_firewall || self.addresses_stamp == AddressesStamp::take() {
            return false;
        }
        let config = self.config.clone();
        match self.take_inventory(&config) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(%error, "this host's new addresses are not known");
                false
            }
        }
    }
}

/// Sections that differ and are only read at the start.
fn needing_restart(former: &Config, fresh: &Config) -> Vec<&'static str> {
    let datapath = config::Datapath {
        uplinks: former.datapath.uplinks.clone(),
        host_firewall: former.datapath.host_firewall,
        ..fresh.datapath.clone()
    };
    let policies = config::Policies {
        enforcement: former.policies.enforcement,
        audit: former.policies.audit.clone(),
        ..fresh.policies.clone()
    };
    [
        ("node", former.node != fresh.node),
        ("cluster", former.cluster != fresh.cluster),
        ("api", former.api != fresh.api),
        ("runtimeDir", former.runtime_dir != fresh.runtime_dir),
        ("datapath", former.datapath != datapath),
        ("proxy", former.proxy != fresh.proxy),
        ("tap", former.tap != fresh.tap),
        ("dns", former.dns != fresh.dns),
        ("flows", former.flows != fresh.flows),
        ("policies", former.policies != policies),
        ("host.cgroup", former.host.cgroup != fresh.host.cgroup),
    ]
    .into_iter()
    .filter_map(|(section, differs)| differs.then_some(section))
    .collect()
}

impl Agent {
    /// Reads configuration and policies again, and applies what has changed.
    pub(super) fn reload(&mut self) -> Result<(), Error> {
        let has_new_config = self.world.reload_config();
        let has_new_policies = self.world.reload_policies();
        if has_new_config || has_new_policies {
            self.world.compile();
            self.apply_world()?;
        }
        if has_new_config {
            self.apply_ports()?;
            self.follow_interfaces();
            let endpoints = self.world.config().endpoints.len();
            tracing::info!(endpoints, "configuration applied");
        }
        if has_new_policies {
            tracing::info!(policies = self.world.policies(), "policies applied");
        }
        self.publish_status();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_a_restart_is_named() {
        let former = Config::default();
        let mut fresh = former.clone();
        fresh.visibility.push(config::WatchedPort {
            port: 80,
            transport: config::Transport::Tcp,
            mode: config::Visibility::Tap,
        });
        fresh.datapath.uplinks.push("eth0".to_owned());
        fresh.datapath.host_firewall = true;
        assert!(needing_restart(&former, &fresh).is_empty());
        fresh.datapath.table += 1;
        fresh.proxy.workers += 1;
        assert_eq!(needing_restart(&former, &fresh), ["datapath", "proxy"]);
    }
}

//! The configuration file, read again while the agent runs.
//!
//! Endpoints, services, nodes, ports, uplinks, exports, `hostFirewall` and the modes of policies are taken
//! over at once. What the agent was built from at its start (sockets, marks, workers…) is not: a change
//! there is told, and waits for a restart. A file that cannot be used changes nothing.

use std::sync::Arc;

use crate::config::{self, Config};
use crate::host;
use crate::netfilter::Tracer;

use super::apply::World;
use super::{Agent, Error, exports, flows};

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
    /// Reads the configuration file again: whether something changed that can change while running.
    fn reload_config(&mut self) -> bool {
        if self.source.file().is_none() {
            return false;
        }
        let fresh = match self.source.read() {
            Ok(fresh) => fresh,
            Err(error) => {
                self.refused_config = error.to_string().lines().map(str::to_owned).collect();
                self.refused_config.extend(self.confinement.advice(&error));
                for fault in &self.refused_config {
                    tracing::error!("configuration refused, the former one stays: {fault}");
                }
                return false;
            }
        };
        self.refused_config.clear();
        let node = Arc::new(flows::node_view(&fresh));
        if let Err(error) = exports::specs(&fresh, &node) {
            tracing::error!("configuration refused, the former one stays: {error}");
            self.refused_config.push(error.to_string());
            return false;
        }
        let beyond = self.confinement.out_of_reach(&fresh);
        if !beyond.is_empty() {
            for fault in &beyond {
                tracing::error!("configuration refused, the former one stays: {fault}");
            }
            self.refused_config.extend(beyond);
            return false;
        }
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
            nodes: fresh.nodes,
            exports: fresh.exports,
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
            drops: config::Drops {
                netfilter_rules: fresh.drops.netfilter_rules,
                ..self.config.drops
            },
            flows: config::Flows {
                aggregation: fresh.flows.aggregation,
                ..self.config.flows.clone()
            },
            memory_budget: fresh.memory_budget,
            metrics: config::Metrics {
                listen: self.config.metrics.listen.clone(),
                labels: self.config.metrics.labels,
                ..fresh.metrics
            },
            policies: config::Policies {
                enforcement: fresh.policies.enforcement,
                closes_new_pods: fresh.policies.closes_new_pods,
                beside_cilium: fresh.policies.beside_cilium,
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
        self.inventory.set_config(config, addresses)
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
    let drops = config::Drops {
        netfilter_rules: former.drops.netfilter_rules,
        ..fresh.drops
    };
    let flows = config::Flows {
        aggregation: former.flows.aggregation,
        ..fresh.flows.clone()
    };
    let metrics = config::Metrics {
        listen: fresh.metrics.listen.clone(),
        labels: fresh.metrics.labels,
        ..former.metrics.clone()
    };
    let policies = config::Policies {
        enforcement: former.policies.enforcement,
        closes_new_pods: former.policies.closes_new_pods,
        beside_cilium: former.policies.beside_cilium,
        audit: former.policies.audit.clone(),
        ..fresh.policies.clone()
    };
    [
        ("node", former.node != fresh.node),
        ("cluster", former.cluster != fresh.cluster),
        ("api", former.api != fresh.api),
        ("runtimeDir", former.runtime_dir != fresh.runtime_dir),
        ("stateDir", former.state_dir != fresh.state_dir),
        ("datapath", former.datapath != datapath),
        ("proxy", former.proxy != fresh.proxy),
        ("tap", former.tap != fresh.tap),
        ("dns", former.dns != fresh.dns),
        ("flows", former.flows != flows),
        ("drops", former.drops != drops),
        (
            "metrics.listen or metrics.labels",
            former.metrics != metrics,
        ),
        ("policies", former.policies != policies),
        ("kubernetes", former.kubernetes != fresh.kubernetes),
        ("host.cgroup", former.host.cgroup != fresh.host.cgroup),
    ]
    .into_iter()
    .filter_map(|(section, differs)| differs.then_some(section))
    .collect()
}

impl Agent {
    /// Asks netfilter for its rules where that is wanted now.
    pub(super) fn ask_netfilter(&mut self) {
        let is_wanted = self.world.config().drops.netfilter_rules;
        if !is_wanted {
            self.netfilter = None;
        } else if self.netfilter.is_none() {
            match Tracer::start(&self.sink) {
                Ok(tracer) => self.netfilter = Some(tracer),
                Err(error) => tracing::error!(%error, "netfilter is not asked for its rules"),
            }
        }
    }

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
            self.datapath.set_aggregation(self.aggregation())?;
            self.follow_interfaces();
            self.ask_netfilter();
            self.publish_nodes();
            self.apply_exports()?;
            self.apply_metrics();
            self.count_pods();
            let endpoints = self.world.config.endpoints.len();
            tracing::info!(endpoints, "configuration applied");
        }
        self.tell_changes();
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
        fresh.datapath.uplinks = config::Uplinks::Found;
        fresh.datapath.host_firewall = true;
        fresh.drops.netfilter_rules = true;
        fresh.flows.aggregation.level = config::AggregationLevel::Maximum;
        fresh.metrics.max_series += 1;
        fresh.metrics.hubble.clear();
        assert!(needing_restart(&former, &fresh).is_empty());
        fresh.datapath.table += 1;
        fresh.proxy.workers += 1;
        assert_eq!(needing_restart(&former, &fresh), ["datapath", "proxy"]);
    }
}

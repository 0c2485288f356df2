//! How the agent is, for `l7d status` and metrics.

use std::sync::atomic::Ordering;

use super::Agent;
use crate::config::KernelFeature;
use crate::netfilter::Tracer;
use crate::server::KernelDrops;

impl Agent {
    /// What the kernel has dropped so far.
    fn kernel_drops(&self) -> Vec<KernelDrops> {
        let drops = self.datapath.drops();
        let counts = drops.map(|drops| drops.counts()).unwrap_or_default();
        let drops = counts.into_iter().map(|count| KernelDrops {
            reason: count.reason.to_string(),
            told: count.counts.told,
            untold: count.counts.untold,
            normal: count.counts.normal,
            others: count.counts.others,
        });
        drops.collect()
    }

    /// What the kernel drops and does not let us see.
    fn unseen_drops(&self) -> Vec<String> {
        let mut unseen = match self.datapath.drops() {
            // Told with the other features.
            Err(_) if self.features.absent().contains(&KernelFeature::Btf) => Vec::new(),
            Ok(drops) => drops.missing().to_vec(),
            Err(reason) => vec![format!(
                "no drop reasons of the kernel: only what policies drop is told: {reason}"
            )],
        };
        unseen.extend(self.netfilter.as_ref().and_then(Tracer::trouble));
        unseen
    }

    /// Writes down how things are, for `l7d status`.
    pub(super) fn publish_status(&self) {
        let table = self.world.identities().load();
        let stats = self.proxy.stats();
        let names = self.world.names();
        let tapped = self.tap.stats();
        let translations = self.translations.counts();
        let replaced: Vec<String> = self
            .features
            .replaced()
            .chain(self.unseen_drops())
            .collect();
        let warnings = replaced
            .iter()
            .chain(self.network.limitations())
            .chain(&self.world.confinement.limitations())
            .chain(self.proxy.limitation())
            .chain(self.world.warnings())
            .chain(&self.world.refused_config)
            .chain(&self.world.refused)
            .cloned()
            .chain(self.world.restraint())
            .chain(self.world.awaited())
            .chain(self.is_held_up.then(|| {
                "a proxy worker is held up: redirected ports do as without a proxy".to_owned()
            }))
            .chain(self.world.store().refused_objects())
            .chain(self.world.inventory.troubles())
            .chain(self.shortages())
            .chain(self.unhooked(&table))
            .chain(self.held())
            .chain(self.folded_series())
            .chain(self.given_up())
            .collect();
        *self.shared_status.lock() = crate::server::AgentStatus {
            endpoints: table.local().len(),
            attached: self.world.attached.len(),
            policies: self.world.policies(),
            policy_revision: self.world.live().load().compiled.revision(),
            maps: self.map_rooms(),
            map_refusals: self.datapath.refusals(),
            aggregation: self.aggregation().level.name().to_owned(),
            memory: self.memory(),
            rights: self.world.confinement.summary(),
            proxied: stats.active.load(Ordering::Relaxed),
            proxied_total: stats.accepted.load(Ordering::Relaxed),
            tapped: tapped.active.load(Ordering::Relaxed),
            tapped_total: tapped.followed.load(Ordering::Relaxed),
            tap_evicted: tapped.evicted.load(Ordering::Relaxed),
            tap_gaps: tapped.gaps.load(Ordering::Relaxed),
            tap_gap_bytes: tapped.gap_bytes.load(Ordering::Relaxed),
            tap_skipped_bytes: tapped.skipped_bytes.load(Ordering::Relaxed),
            refused: stats.refused.load(Ordering::Relaxed),
            upstream_failures: stats.upstream_failures.load(Ordering::Relaxed),
            taken_over: stats.adopted.load(Ordering::Relaxed),
            taken_over_unread: stats.demoted.load(Ordering::Relaxed),
            cut_by_handover: stats.cut_by_handover.load(Ordering::Relaxed)
                + self.datapath.connection_counts().cut(),
            panics: stats.panicked.load(Ordering::Relaxed),
            kernel_drops: self.kernel_drops(),
            names: names.count(),
            names_evicted: names.evicted(),
            translated: translations.translated,
            untranslated: translations.untranslated,
            translations_unknown: translations.unknown,
            cluster: self
                .follower
                .as_ref()
                .map(|follower| follower.status(&self.world)),
            warnings,
            ..crate::server::AgentStatus::default()
        };
    }
}

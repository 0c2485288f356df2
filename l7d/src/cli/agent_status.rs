//! What an l7d agent tells beyond the Hubble API, as lines below the status.

use crate::print::status::Section;
use crate::server::{AgentStatus, ClusterStatus, KernelDrops, KindRow, MemoryStatus, StateStatus};

/// What an agent tells of itself; `None` where the server is no l7d agent.
pub(super) fn read(header: Option<&str>) -> Option<AgentStatus> {
    serde_json::from_str(header?).ok()
}

/// The lines of an agent's own status.
pub(super) fn sections(status: &AgentStatus) -> Vec<Section> {
    let line = |name: &str, value: String| (name.to_owned(), value);
    let agent = Section {
        title: "Agent".to_owned(),
        lines: vec![
            line(
                "Endpoints",
                format!(
                    "{}, {} interfaces hooked",
                    status.endpoints, status.attached
                ),
            ),
            line(
                "Policies",
                format!("{}, revision {}", status.policies, status.policy_revision),
            ),
            line(
                "Audited policies",
                match status.audited {
                    0 => "none".to_owned(),
                    audited => format!("{audited}, would have denied {}", status.would_deny),
                },
            ),
            line("Aggregation", status.aggregation.clone()),
            line("Rights", status.rights.clone()),
            line("Maps", maps(status)),
            line("Memory", memory(&status.memory)),
            line("Proxied", proxied(status)),
            line("Tapped", tapped(status)),
            line(
                "Left out by the tap",
                format!("{} bytes of bodies", status.tap_skipped_bytes),
            ),
            line("Clients sent away", status.sent_away.to_string()),
            line("Refused requests", status.refused.to_string()),
            line("Unreached servers", status.upstream_failures.to_string()),
            line(
                "DNS names",
                match status.names_evicted {
                    0 => status.names.to_string(),
                    evicted => format!("{}, {evicted} gave way", status.names),
                },
            ),
            line("Kernel drops", kernel_drops(&status.kernel_drops)),
            line("Flows kept", flows(status)),
            line("Translated connections", translated(status)),
        ],
    };
    let warnings = Section {
        title: "Warnings".to_owned(),
        lines: status
            .warnings
            .iter()
            .enumerate()
            .map(|(index, warning)| ((index + 1).to_string(), warning.clone()))
            .collect(),
    };
    let cluster = status.cluster.as_ref().map(cluster).unwrap_or_default();
    [agent, cluster, warnings]
        .into_iter()
        .filter(|section| !section.lines.is_empty())
        .collect()
}

/// How the agent follows its cluster.
fn cluster(status: &ClusterStatus) -> Section {
    let of = |kinds: &mut dyn Iterator<Item = &KindRow>| {
        let each = kinds.map(|row| format!("{} {}", row.objects, row.kind));
        each.collect::<Vec<_>>().join(", ")
    };
    let is = |state: &'static str| move |row: &&KindRow| row.state == state;
    let kinds = &status.kinds;
    let mut lines = vec![
        ("API", status.server.clone()),
        (
            "Its policies",
            if status.state.is_in_force {
                let StateStatus { saved, .. } = &status.state;
                format!(
                    "in force as they were kept on disk, {saved}{}",
                    age(&status.state)
                )
            } else if status.in_force {
                "in force".to_owned()
            } else {
                "not in force before everything has been told once".to_owned()
            },
        ),
        ("Known", of(&mut kinds.iter().filter(|row| row.objects > 0))),
    ];
    let absent: Vec<&str> = kinds.iter().filter(is("absent")).map(kind).collect();
    if !absent.is_empty() {
        lines.push(("No such resource", absent.join(", ")));
    }
    let listing: Vec<&str> = kinds.iter().filter(is("listing")).map(kind).collect();
    if !listing.is_empty() {
        lines.push(("Being read", listing.join(", ")));
    }
    for row in kinds.iter().filter(is("away")) {
        let KindRow {
            kind,
            since,
            trouble,
            ..
        } = row;
        lines.push(("Away", format!("{kind}, since {since}: {trouble}")));
    }
    let sum = |of: fn(&KindRow) -> u64| kinds.iter().map(of).sum::<u64>();
    lines.push((
        "Read",
        format!(
            "{} changes, {} lists, {} watches, {} expired, {} failures, {} objects left out",
            sum(|row| row.changes),
            sum(|row| row.lists),
            sum(|row| row.watches),
            sum(|row| row.expired),
            sum(|row| row.failures),
            sum(|row| row.malformed),
        ),
    ));
    lines.push((
        "Written",
        format!(
            "{} statuses, {} events, {} not taken",
            status.statuses_written, status.events_written, status.writes_failed
        ),
    ));
    lines.extend(kept(&status.state));
    let lines = lines.into_iter();
    Section {
        title: "Cluster".to_owned(),
        lines: lines
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    }
}

/// What is kept of it on disk.
fn kept(state: &StateStatus) -> Vec<(&'static str, String)> {
    let StateStatus { folder, saved, .. } = state;
    let mut lines = Vec::new();
    if !saved.is_empty() {
        lines.push(("Kept on disk", format!("{folder}, {saved}{}", age(state))));
    }
    if !state.trouble.is_empty() {
        let trouble = &state.trouble;
        lines.push(("Not kept on disk", trouble.clone()));
    }
    for aside in &state.set_aside {
        lines.push(("Set aside", aside.clone()));
    }
    lines
}

/// How old it is.
fn age(state: &StateStatus) -> String {
    let age = state.age_seconds;
    age.map_or_else(String::new, |age| {
        let (hours, minutes) = (age / 3600, age / 60 % 60);
        if hours > 0 {
            format!(" ({hours} h {minutes} min ago)")
        } else if minutes > 0 {
            format!(" ({minutes} min ago)")
        } else {
            format!(" ({age} s ago)")
        }
    })
}

fn kind(row: &KindRow) -> &str {
    &row.kind
}

/// What is taken of the budget, and what is given up for it.
fn memory(memory: &MemoryStatus) -> String {
    let taken = format!(
        "{} bytes of the process, {} of its maps",
        memory.process, memory.maps
    );
    match (memory.budget, memory.step) {
        (None, _) => taken,
        (Some(budget), 0) => format!("{taken}, of {budget}; nothing is given up"),
        (Some(budget), step) => {
            format!(
                "{taken}, of {budget}; given up: {} ({step} of 4)",
                memory.given_up
            )
        }
    }
}

/// How full the flow ring is.
fn flows(status: &AgentStatus) -> String {
    let bytes = match status.flow_bytes_max {
        u64::MAX => format!("{} bytes", status.flow_bytes),
        max => format!("{} of {max} bytes", status.flow_bytes),
    };
    format!("{} of {}, {bytes}", status.flows, status.flows_max)
}

/// What the kernel dropped of endpoints, by reason, most first; then what else it let go.
fn kernel_drops(drops: &[KernelDrops]) -> String {
    let mut lost: Vec<&KernelDrops> = drops
        .iter()
        .filter(|drops| drops.told + drops.untold > 0)
        .collect();
    lost.sort_by_key(|drops| std::cmp::Reverse(drops.told + drops.untold));
    let mut parts: Vec<String> = lost
        .iter()
        .map(|drops| match drops.untold {
            0 => format!("{} {}", drops.reason, drops.told),
            untold => format!(
                "{} {} ({untold} over the budget)",
                drops.reason,
                drops.told + untold
            ),
        })
        .collect();
    if parts.is_empty() {
        parts.push("none of endpoints".to_owned());
    }
    let sum = |of: fn(&KernelDrops) -> u64| drops.iter().map(of).sum::<u64>();
    let (normal, others) = (sum(|drops| drops.normal), sum(|drops| drops.others));
    parts.push(format!("{normal} normal ends, {others} of others"));
    parts.join(", ")
}

/// How full the kernel's maps are.
fn maps(status: &AgentStatus) -> String {
    let each = status.maps.iter();
    let mut parts: Vec<String> = each
        .map(|room| format!("{} {} of {}", room.map, room.used, room.max))
        .collect();
    if status.map_refusals > 0 {
        parts.push(format!(
            "{} entries found no room so far",
            status.map_refusals
        ));
    }
    parts.join(", ")
}

/// What netfilter said of connections.
fn translated(status: &AgentStatus) -> String {
    let AgentStatus {
        translated,
        untranslated,
        translations_unknown,
        ..
    } = status;
    format!("{translated}, {untranslated} as they are, {translations_unknown} unknown")
}

/// How many connections are tapped, and what of them is missing.
fn proxied(status: &AgentStatus) -> String {
    let counts = [
        (status.proxied, "now"),
        (status.proxied_total, "so far"),
        (status.taken_over, "taken over from the agent before"),
        (status.taken_over_unread, "of them unread since"),
        (status.cut_by_handover, "cut with an agent"),
        (status.panics, "ended by a fault of l7d's own"),
    ];
    let told = counts.iter().enumerate();
    // The first two always.
    let told = told.filter(|(place, (count, _))| *place < 2 || *count > 0);
    let told: Vec<String> = told
        .map(|(_, (count, what))| format!("{count} {what}"))
        .collect();
    told.join(", ")
}

fn tapped(status: &AgentStatus) -> String {
    let mut text = format!("{} now, {} so far", status.tapped, status.tapped_total);
    let gaps = (status.tap_gaps > 0)
        .then(|| format!("{} gaps of {} bytes", status.tap_gaps, status.tap_gap_bytes));
    let evicted = (status.tap_evicted > 0).then(|| format!("{} given up", status.tap_evicted));
    for more in [gaps, evicted].into_iter().flatten() {
        text.push_str(", ");
        text.push_str(&more);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_told_by_what_is_known_and_what_is_away() {
        let row = |kind: &str, state: &str, objects| KindRow {
            kind: kind.to_owned(),
            state: state.to_owned(),
            objects,
            changes: 2,
            ..KindRow::default()
        };
        let away = KindRow {
            since: "2026-11-21T10:00:00Z".to_owned(),
            trouble: "connection refused".to_owned(),
            ..row("Node", "away", 3)
        };
        let status = ClusterStatus {
            server: "https://192.0.2.1:6443".to_owned(),
            in_force: true,
            kinds: vec![
                row("Pod", "following", 40),
                away,
                row("CiliumNetworkPolicy", "absent", 0),
                row("Service", "listing", 0),
            ],
            statuses_written: 1,
            state: StateStatus {
                folder: "/var/lib/l7d/cluster".to_owned(),
                is_in_force: true,
                saved: "2026-11-21T09:59:00Z".to_owned(),
                age_seconds: Some(3720),
                trouble: "No space left on device".to_owned(),
                set_aside: vec!["/var/lib/l7d/cluster/Pod: broken".to_owned()],
                ..StateStatus::default()
            },
            ..ClusterStatus::default()
        };
        let lines: Vec<String> = cluster(&status)
            .lines
            .iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        assert_eq!(
            lines,
            [
                "API: https://192.0.2.1:6443",
                "Its policies: in force as they were kept on disk, 2026-11-21T09:59:00Z (1 h 2 min ago)",
                "Known: 40 Pod, 3 Node",
                "No such resource: CiliumNetworkPolicy",
                "Being read: Service",
                "Away: Node, since 2026-11-21T10:00:00Z: connection refused",
                "Read: 8 changes, 0 lists, 0 watches, 0 expired, 0 failures, 0 objects left out",
                "Written: 1 statuses, 0 events, 0 not taken",
                "Kept on disk: /var/lib/l7d/cluster, 2026-11-21T09:59:00Z (1 h 2 min ago)",
                "Not kept on disk: No space left on device",
                "Set aside: /var/lib/l7d/cluster/Pod: broken",
            ]
        );
    }

    #[test]
    fn an_agent_tells_what_it_holds_and_what_is_wrong() {
        let status = AgentStatus {
            flows: 3,
            flows_max: 4095,
            flow_bytes: 1200,
            flow_bytes_max: 1 << 20,
            warnings: vec!["nothing has `app: user-servce`".to_owned()],
            ..AgentStatus::default()
        };
        let json = serde_json::to_string(&status).expect("json");
        let read = read(Some(&json)).expect("an agent");
        assert_eq!(read, status);
        let sections = sections(&read);
        let kept = "3 of 4095, 1200 of 1048576 bytes";
        assert!(
            sections[0]
                .lines
                .contains(&("Flows kept".to_owned(), kept.to_owned()))
        );
        assert_eq!(sections[1].lines[0].1, "nothing has `app: user-servce`");
    }

    #[test]
    fn drops_of_the_kernel_are_told_by_reason_with_what_was_only_counted() {
        let drops = |reason: &str, told, untold, others| KernelDrops {
            reason: reason.to_owned(),
            told,
            untold,
            others,
            normal: 2,
        };
        assert_eq!(
            kernel_drops(&[]),
            "none of endpoints, 0 normal ends, 0 of others"
        );
        let all = [
            drops("NO_SOCKET", 3, 0, 1),
            drops("XDP", 5, 7, 0),
            drops("TCP_RESET", 0, 0, 0),
        ];
        assert_eq!(
            kernel_drops(&all),
            "XDP 12 (7 over the budget), NO_SOCKET 3, 6 normal ends, 1 of others"
        );
    }

    #[test]
    fn another_server_tells_nothing() {
        assert_eq!(read(None), None);
        assert_eq!(read(Some("no json")), None);
    }
}

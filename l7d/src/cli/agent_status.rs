//! What an l7d agent tells beyond the Hubble API, as lines below the status.

use crate::print::status::Section;
use crate::server::AgentStatus;

/// Response header that carries it.
pub(super) const HEADER: &str = "l7d-agent-status";

/// The lines of an agent's own status; none where the server is no l7d agent.
pub(super) fn sections(header: Option<&str>) -> Vec<Section> {
    let Some(status) = header.and_then(|json| serde_json::from_str::<AgentStatus>(json).ok())
    else {
        return Vec::new();
    };
    let line = |name: &str, value: String| (name.to_owned(), value);
    let lost: u64 = status.lost.iter().map(|(_, count)| count).sum();
    let places = status.lost.iter().filter(|(_, count)| *count > 0);
    let places: Vec<String> = places
        .map(|(place, count)| format!("{place} {count}"))
        .collect();
    let lost = if lost == 0 {
        "0".to_owned()
    } else {
        format!("{lost} ({})", places.join(", "))
    };
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
            line("Maps", maps(&status)),
            line(
                "Proxied",
                format!("{} now, {} so far", status.proxied, status.proxied_total),
            ),
            line("Tapped", tapped(&status)),
            line(
                "Left out by the tap",
                format!("{} bytes of bodies", status.tap_skipped_bytes),
            ),
            line("Refused requests", status.refused.to_string()),
            line("Unreached servers", status.upstream_failures.to_string()),
            line(
                "Datagrams",
                format!(
                    "{} passed, {} lost",
                    status.datagrams, status.datagrams_lost
                ),
            ),
            line(
                "DNS names",
                match status.names_evicted {
                    0 => status.names.to_string(),
                    evicted => format!("{}, {evicted} gave way", status.names),
                },
            ),
            line("Records seen", status.seen.to_string()),
            line("Records lost", lost),
        ],
    };
    let warnings = Section {
        title: "Warnings".to_owned(),
        lines: status
            .warnings
            .into_iter()
            .enumerate()
            .map(|(index, warning)| ((index + 1).to_string(), warning))
            .collect(),
    };
    [agent, warnings]
        .into_iter()
        .filter(|section| !section.lines.is_empty())
        .collect()
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

/// How many connections are tapped, and what of them is missing.
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
    fn an_agent_tells_what_was_lost_where_and_what_is_wrong() {
        let status = AgentStatus {
            lost: vec![("kernel_ring".to_owned(), 3), ("decode".to_owned(), 0)],
            warnings: vec!["nothing has `app: user-servce`".to_owned()],
            ..AgentStatus::default()
        };
        let json = serde_json::to_string(&status).expect("json");
        let sections = sections(Some(&json));
        assert!(
            sections[0]
                .lines
                .contains(&("Records lost".to_owned(), "3 (kernel_ring 3)".to_owned()))
        );
        assert_eq!(sections[1].lines[0].1, "nothing has `app: user-servce`");
    }

    #[test]
    fn another_server_tells_nothing() {
        assert!(sections(None).is_empty());
        assert!(sections(Some("no json")).is_empty());
    }
}

//! What audited policies would have denied.

use std::io::{self, Write};

use proto::agent::{AuditedPolicy, AuditedRule};

use super::list::Columns;
use super::style::Safe;
use crate::clock::Timestamp;

/// Rules of a policy, and peers of a rule, that are shown unless all are asked for.
const SHOWN: usize = 5;

/// Writes a report: the policies that are safe to enforce first.
pub fn report(
    out: &mut impl Write,
    columns: Columns,
    policies: &[AuditedPolicy],
) -> io::Result<()> {
    if policies.is_empty() {
        return writeln!(out, "No policy is only audited.");
    }
    let now = Timestamp::now().to_parts().0;
    let shown = match columns {
        Columns::Usual => SHOWN,
        Columns::Wide => usize::MAX,
    };
    let (quiet, loud): (Vec<_>, Vec<_>) = policies.iter().partition(|one| one.would_deny == 0);
    for policy in quiet {
        writeln!(
            out,
            "{}: nothing to deny{}",
            title(policy),
            since(policy, now)
        )?;
    }
    for policy in loud {
        write!(
            out,
            "{}: would have denied {}{}",
            title(policy),
            policy.would_deny,
            since(policy, now)
        )?;
        if let Some(last) = &policy.last {
            write!(out, ", last {} ago", span(now - last.seconds))?;
        }
        writeln!(out)?;
        for rule in policy.rules.iter().take(shown) {
            write_rule(out, rule, shown)?;
        }
        if policy.rules.len() > shown {
            writeln!(out, "  and {} more rules", policy.rules.len() - shown)?;
        }
    }
    Ok(())
}

fn write_rule(out: &mut impl Write, rule: &AuditedRule, shown: usize) -> io::Result<()> {
    let name = match rule.rule.as_str() {
        "" => "no rule allows it",
        path => path,
    };
    writeln!(out, "  {:>6}  {}", rule.would_deny, Safe(name))?;
    let mut others = rule.others;
    for (place, peer) in rule.peers.iter().enumerate() {
        if place >= shown {
            others += peer.would_deny;
            continue;
        }
        writeln!(
            out,
            "  {:>6}    {} -> {}:{}",
            peer.would_deny,
            Safe(&peer.source),
            Safe(&peer.destination),
            peer.port
        )?;
    }
    if others > 0 {
        writeln!(out, "  {others:>6}    between others")?;
    }
    Ok(())
}

fn title(policy: &AuditedPolicy) -> String {
    let name = match policy.namespace.as_str() {
        "" => policy.name.clone(),
        namespace => format!("{namespace}/{}", policy.name),
    };
    format!("{} ({})", Safe(&name), Safe(&policy.kind))
}

fn since(policy: &AuditedPolicy, now: i64) -> String {
    policy.since.as_ref().map_or_else(String::new, |since| {
        format!(" in {}", span(now - since.seconds))
    })
}

/// A time in its two largest units.
fn span(seconds: i64) -> String {
    let units = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let mut left = seconds.max(0);
    let mut parts = Vec::new();
    for (length, unit) in units {
        let count = left / length;
        left %= length;
        if count > 0 && parts.len() < 2 {
            parts.push(format!("{count}{unit}"));
        }
    }
    if parts.is_empty() {
        parts.push("0s".to_owned());
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::agent::AuditedPeer;

    #[test]
    fn what_is_safe_to_enforce_comes_first() {
        let now = Timestamp::now().to_parts().0;
        let at = |seconds| {
            Some(proto::Timestamp {
                seconds: now - seconds,
                nanos: 0,
            })
        };
        let quiet = AuditedPolicy {
            kind: "CiliumNetworkPolicy".to_owned(),
            namespace: "shop".to_owned(),
            name: "quiet".to_owned(),
            since: at(7 * 86_400),
            ..AuditedPolicy::default()
        };
        let loud = AuditedPolicy {
            name: "loud".to_owned(),
            since: at(90),
            would_deny: 3,
            last: at(5),
            rules: vec![AuditedRule {
                would_deny: 3,
                peers: vec![AuditedPeer {
                    source: "shop/web".to_owned(),
                    destination: "shop/db".to_owned(),
                    port: 5432,
                    would_deny: 2,
                }],
                others: 1,
                ..AuditedRule::default()
            }],
            ..quiet.clone()
        };
        let mut out = Vec::new();
        report(&mut out, Columns::Usual, &[loud, quiet]).expect("written");
        let text = String::from_utf8(out).expect("text");
        assert_eq!(
            text,
            "shop/quiet (CiliumNetworkPolicy): nothing to deny in 7d\n\
             shop/loud (CiliumNetworkPolicy): would have denied 3 in 1m 30s, last 5s ago\n\
             \x20      3  no rule allows it\n\
             \x20      2    shop/web -> shop/db:5432\n\
             \x20      1    between others\n"
        );
    }

    #[test]
    fn spans_have_two_units() {
        assert_eq!(span(0), "0s");
        assert_eq!(span(3 * 86_400 + 3601), "3d 1h");
    }
}

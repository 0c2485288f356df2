//! Marks, rules and tables that l7d shares a node's numbers with.

use crate::cli::doctor::facts::{Facts, Look, Rule};
use crate::cli::doctor::report::{Finding, Function, State};
use crate::config::{Datapath, Marks};
use crate::datapath::host_network;

const AFFECTED: [Function; 2] = [Function::Proxy, Function::Dns];

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let datapath = &facts.configured.config.datapath;
    vec![
        chosen(datapath),
        routing(facts, datapath),
        netfilter(facts, &datapath.marks),
    ]
}

fn chosen(datapath: &Datapath) -> Finding {
    const CHECK: &str = "marks.chosen";
    let Marks {
        mask,
        reply,
        upstream,
        upstream_local,
        ..
    } = datapath.marks;
    match host_network::check_marks(datapath) {
        Ok(()) => Finding::ok(
            CHECK,
            format!("{reply:#x}, {upstream:#x}, {upstream_local:#x} in mask {mask:#x}"),
        ),
        Err(error) => Finding::ok(CHECK, format!("mask {mask:#x}"))
            .no(error.to_string())
            .advise("bits that nobody else uses, in datapath.marks")
            .on(&Function::OF_PACKETS, State::No),
    }
}

/// Whether a rule that asks for a mark means packets of the proxy.
fn means_ours(rule: &Rule, marks: &Marks) -> bool {
    let ours = [marks.reply, marks.upstream, marks.upstream_local];
    rule.mark.is_some_and(|(value, mask)| {
        mask & marks.mask != 0 && ours.iter().any(|mark| mark & mask == value)
    })
}

fn routing(facts: &Facts, datapath: &Datapath) -> Finding {
    const CHECK: &str = "marks.routing";
    let rules = &facts.network.rules;
    let is_own = |rule: &Rule| rule.interface.as_ref() == Some(&datapath.portal);
    if let Some(rule) = rules.iter().find(|rule| means_ours(rule, &datapath.marks)) {
        let (value, mask) = rule.mark.unwrap_or_default();
        let Rule {
            priority, table, ..
        } = rule;
        return Finding::ok(
            CHECK,
            format!("rule {priority}: fwmark {value:#x}/{mask:#x} lookup {table}"),
        )
        .no("it takes packets of the proxy for its own and sends them elsewhere: proxied connections \
             hang")
        .advise("other bits in datapath.marks, or another mark for that rule")
        .on(&AFFECTED, State::No);
    }
    let table = datapath.table.to_string();
    let foreign = rules.iter().find(|rule| {
        !is_own(rule) && (rule.table == table || rule.priority == datapath.rule_priority)
    });
    if let Some(Rule {
        priority, table, ..
    }) = foreign
    {
        return Finding::ok(
            CHECK,
            format!("rule {priority}: lookup {table} is somebody else's"),
        )
        .part("it has the number of l7d's own rule or table")
        .advise("other numbers in datapath.table and datapath.rulePriority")
        .on(&AFFECTED, State::Part);
    }
    Finding::ok(
        CHECK,
        format!(
            "none of {} rules is for l7d's marks, table or priority",
            rules.len()
        ),
    )
}

fn netfilter(facts: &Facts, marks: &Marks) -> Finding {
    const CHECK: &str = "marks.netfilter";
    let tables = match &facts.network.tables {
        Look::Seen(tables) => tables,
        Look::Hidden(how) => return Finding::unseen(CHECK, how.clone()),
    };
    let foreign = tables
        .markings
        .iter()
        .find(|marking| marking.bits & marks.mask != 0);
    match foreign {
        None => Finding::ok(CHECK, "no rule of nftables sets l7d's bits"),
        Some(marking) => Finding::ok(CHECK, format!("{} sets {:#x}", marking.place, marking.bits))
            .no(format!(
                "those are bits of l7d's mask {:#x}: its hooks take such packets for the proxy's own, and \
                 let them pass unjudged",
                marks.mask
            ))
            .advise("other bits in datapath.marks")
            .on(&[Function::Packets, Function::Proxy, Function::Dns, Function::Tap], State::Part),
    }
}

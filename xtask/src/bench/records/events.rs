//! Records that reach user space: how many a second, at which price, and from when on some are lost.

use std::fmt::Write as _;

use super::Plan;
use super::kernel::{Floor, ratio};
use super::lab::{Agent, Lab};
use super::traffic;

/// New flows per second; last as many as one sender can make.
const RATES: [Option<u32>; 5] = [Some(5_000), Some(20_000), Some(50_000), Some(100_000), None];

/// Measures, and adds the table.
pub(super) fn measure(plan: Plan, _: &Floor, text: &mut String) -> anyhow::Result<()> {
    text.push_str(
        "\n## Records per second\n\nDatagrams from a pod to the outside, each a new flow, so that each makes records. \
         CPU is that of the agent's threads, by the scheduler's own clock; lost is what found no room in any buffer.\n\n\
         | flows/s wanted | reached | records/s | lost | agent CPU | per record | RSS |\n|---|---|---|---|---|---|---|\n",
    );
    let lab = Lab::new(Some(Agent::at("medium")))?;
    traffic::swallow_new_flows(&lab.world.outside())?;
    traffic::new_flows(&lab.client.host, Some(1000), plan.time / 4)?;
    for rate in RATES {
        let [seen_before, lost_before] = lab.ledger()?;
        let cpu_before = lab.cpu()?;
        let reached = traffic::new_flows(&lab.client.host, rate, plan.time)?;
        // What is still on its way is read at once: this asks behind it.
        let [seen, lost] = lab.ledger()?;
        let cpu = lab.cpu()? - cpu_before;
        let records = ratio(seen - seen_before, 1);
        writeln!(
            text,
            "| {} | {reached:.0} | {:.0} | {} | {:.1} % of a core | {:.2} µs | {:.1} MiB |",
            rate.map_or("all that one sender can".to_owned(), |rate| rate
                .to_string()),
            records / plan.time.as_secs_f64(),
            lost - lost_before,
            100.0 * cpu / plan.time.as_secs_f64(),
            cpu * 1e6 / records,
            super::super::figures::rss_mib(lab.pid()?),
        )?;
    }
    Ok(())
}

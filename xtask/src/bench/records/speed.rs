//! What traffic loses by being seen.

use std::fmt::Write as _;

use super::kernel::Floor;
use super::lab::{Agent, LEVELS, Lab};
use super::traffic::{self, Path};
use super::{Plan, median};

/// What is compared: no agent, the agent as it comes, and at every level that tells more.
fn subjects() -> Vec<(String, Option<Agent>)> {
    let mut subjects = vec![
        ("off".to_owned(), None),
        ("on".to_owned(), Some(Agent::at("medium"))),
    ];
    for level in LEVELS.into_iter().filter(|level| *level == "none") {
        subjects.push((format!("on, {level}"), Some(Agent::at(level))));
    }
    subjects
}

/// A measure of speed: its name, how it is shown, and how it is taken.
type Speed = (
    &'static str,
    fn(f64) -> String,
    fn(Path<'_>, std::time::Duration) -> anyhow::Result<f64>,
);

const SPEEDS: [Speed; 3] = [
    (
        "TCP in bulk",
        |gbits| format!("{gbits:.2} Gbit/s"),
        traffic::bulk,
    ),
    (
        "UDP, 64 bytes",
        |rate| format!("{:.1} kpps", rate / 1000.0),
        traffic::datagrams,
    ),
    (
        "TCP round trips",
        |rate| format!("{:.1} k/s", rate / 1000.0),
        traffic::round_trips,
    ),
];
const PATHS: [&str; 2] = ["pod to pod", "pod to outside"];

/// Measures, and adds the table.
pub(super) fn measure(plan: Plan, _: &Floor, text: &mut String) -> anyhow::Result<()> {
    let subjects = subjects();
    let labs = subjects.iter().map(|(_, agent)| Lab::new(*agent));
    let labs = labs.collect::<anyhow::Result<Vec<_>>>()?;
    writeln!(
        text,
        "\n## Speeds\n\nWith no agent, with one as it comes, and with one that tells every packet where it can: each in \
         a world of its own; they take turns, {} s each, {} rounds. Medians, and the median of the rounds' ratios to \
         no agent, from the least to the greatest. The bar is a loss of 3 %.\n\n\
         | path | load | agent | speed | of none | rounds |\n|---|---|---|---|---|---|",
        plan.time.as_secs(),
        plan.rounds
    )?;
    for path in PATHS {
        for speed in SPEEDS {
            let (name, shown, _) = speed;
            let figures = take_turns(plan, &labs, path, speed)?;
            rows(&subjects, path, name, &figures, shown, text)?;
        }
    }
    Ok(())
}

/// Figures by subject, then by round.
fn take_turns(
    plan: Plan,
    labs: &[Lab],
    path: &str,
    (_, _, take): Speed,
) -> anyhow::Result<Vec<Vec<f64>>> {
    let mut figures = vec![Vec::new(); labs.len()];
    for round in 0..plan.rounds {
        let mut turns: Vec<(&Lab, &mut Vec<f64>)> = labs.iter().zip(&mut figures).collect();
        // Every other round the other way round, so that no place is the better one.
        if round % 2 == 1 {
            turns.reverse();
        }
        for (lab, figures) in turns {
            figures.push(on(lab, path, |path| take(path, plan.time))?);
        }
    }
    Ok(figures)
}

fn on(
    lab: &Lab,
    name: &str,
    take: impl Fn(Path<'_>) -> anyhow::Result<f64>,
) -> anyhow::Result<f64> {
    let outside = lab.world.outside();
    let (server, address) = if name == "pod to pod" {
        (&lab.server.host, &*lab.server.v4)
    } else {
        (&outside, "192.0.2.2")
    };
    take(Path {
        client: &lab.client.host,
        server,
        address: address.parse()?,
    })
}

fn rows(
    subjects: &[(String, Option<Agent>)],
    path: &str,
    load: &str,
    figures: &[Vec<f64>],
    shown: fn(f64) -> String,
    text: &mut String,
) -> anyhow::Result<()> {
    let none = figures.first().cloned().unwrap_or_default();
    for ((subject, _), figures) in subjects.iter().zip(figures) {
        let mut ratios: Vec<f64> = figures
            .iter()
            .zip(&none)
            .map(|(mine, none)| mine / none)
            .collect();
        ratios.sort_by(f64::total_cmp);
        let [least, greatest] =
            [ratios.first(), ratios.last()].map(|ratio| ratio.copied().unwrap_or(0.0));
        writeln!(
            text,
            "| {path} | {load} | {subject} | {} | {:.3} | {least:.3} to {greatest:.3} |",
            shown(median(figures.clone())),
            median(ratios)
        )?;
    }
    Ok(())
}

//! `cargo xtask soak`: the long forms of what the tests do in short, part by part.

mod hostile;
mod hour;
mod lab;
mod longer;
mod packets;

use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args;

use crate::run::say;

/// What is asked for.
#[derive(Args)]
pub(crate) struct Asked {
    /// Which parts; all without names
    names: Vec<String>,
    /// How long each part runs, in seconds
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// What chance begins with; another one each time, and said, where it is not given
    #[arg(long)]
    seed: Option<u64>,
    /// Build and install nothing: take the release that is there
    #[arg(long)]
    built: bool,
    /// Of `hostile` this attack alone; may be given again
    #[arg(long, value_name = "NAME")]
    attack: Vec<String>,
}

/// How a part is run.
pub(crate) struct Run {
    pub(crate) time: Duration,
    pub(crate) seed: u64,
    /// The release is there.
    pub(crate) is_built: bool,
    /// Attacks that are asked for; all where there are none.
    pub(crate) attacks: Vec<String>,
}

/// Something that is done for a long time.
struct Part {
    name: &'static str,
    what: &'static str,
    run: fn(&Run) -> anyhow::Result<()>,
}

const PARTS: [Part; 8] = [
    Part {
        name: "fuzz-packets",
        what: "drawn packets against the kernel programs, and a model beside them",
        run: packets::run,
    },
    Part {
        name: "hostile",
        what: "attacks on one endpoint, and what another one's requests take meanwhile",
        run: hostile::run,
    },
    Part {
        name: "hour",
        what: "four fifths of the load that is possible: memory, descriptors and maps stay as they are",
        run: hour::run,
    },
    Part {
        name: "takeover",
        what: "an agent that is replaced twenty times while a thousand connections talk",
        run: longer::takeovers,
    },
    Part {
        name: "crash",
        what: "an agent that is killed twenty times under load, and one that runs out of memory as often",
        run: longer::crashes,
    },
    Part {
        name: "disk",
        what: "disks that fill up, and disks that do not answer, ten times each",
        run: longer::disks,
    },
    Part {
        name: "restarts",
        what: "a service that systemd reloads and restarts ten times each while three hundred connections talk",
        run: longer::restarts,
    },
    Part {
        name: "policies",
        what: "ten thousand policy changes under load",
        run: longer::policies,
    },
];

/// Runs the parts one after the other; the first that fails ends it.
pub(crate) fn run(asked: &Asked) -> anyhow::Result<()> {
    let is_known = |name: &&String| PARTS.iter().any(|part| part.name == *name);
    if let Some(name) = asked.names.iter().find(|name| !is_known(name)) {
        let known: Vec<String> = PARTS
            .iter()
            .map(|part| format!("  {:<14} {}", part.name, part.what))
            .collect();
        bail!("no part `{name}`; there are:\n{}", known.join("\n"));
    }
    let run = Run {
        time: Duration::from_secs(asked.seconds),
        seed: asked.seed.unwrap_or_else(any_seed),
        is_built: asked.built,
        attacks: asked.attack.clone(),
    };
    for part in &PARTS {
        if asked.names.is_empty() || asked.names.iter().any(|name| name == part.name) {
            say(&format!("{}: {}, seed {}", part.name, part.what, run.seed));
            let began = Instant::now();
            (part.run)(&run)?;
            let seconds = began.elapsed().as_secs();
            say(&format!("{}: good, {seconds} s", part.name));
        }
    }
    Ok(())
}

fn any_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(1, |since| u64::from(since.subsec_nanos()) + 1)
}

//! Many policies, identities and endpoints: what it costs to compile them, and to follow a change.

use std::fmt::Write as _;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::bench::build_release;
use crate::run::{say, target};

/// Changes, as the example names them and as readers do.
const CHANGES: [(&str, &str); 3] = [
    (
        "pod_of_another_node",
        "a pod of another node comes, with labels of its own",
    ),
    (
        "pod_of_this_node",
        "a pod of this node comes, of a kind that is not here yet",
    ),
    (
        "policy_for_everybody",
        "a policy comes that selects every endpoint",
    ),
];

/// Asks the example of that name, and adds what it tells.
pub(super) fn measure(text: &mut String) -> anyhow::Result<()> {
    build_release(&["--package", "l7d", "--example", "policy_scale"])?;
    say("compiling at scale");
    let output = Command::new(target().join("release/examples/policy_scale")).output()?;
    ensure!(
        output.status.success(),
        "the example has failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let figures: Value = serde_json::from_slice(&output.stdout)?;
    let number = |name: &str| {
        figures
            .get(name)
            .and_then(Value::as_f64)
            .context(name.to_owned())
    };
    writeln!(
        text,
        "\n## Many of them\n\n{} policies, {} identities, {} endpoints: {} sets of rules with {} entries in the \
         kernel's map. From nothing: read in {} ms, compiled in {} ms (one thread, {} MiB), written into the map in \
         {} ms. What a change costs then, the median of 15:\n\n\
         | change | compiled | in the kernel | slowest of 15 |\n|---|---|---|---|",
        number("policies")?,
        number("identities")?,
        number("endpoints")?,
        number("sets")?,
        number("entries")?,
        number("read_ms")?,
        number("compile_ms")?,
        number("compiled_mib")?,
        number("write_ms")?,
    )?;
    for (name, told) in CHANGES {
        let change = figures.get(name).context(name)?;
        let number = |name: &str| {
            change
                .get(name)
                .and_then(Value::as_f64)
                .context(name.to_owned())
        };
        writeln!(
            text,
            "| {told} | {} ms | {} ms | {} ms |",
            number("compile_ms")?,
            number("in_force_ms")?,
            number("slowest_ms")?
        )?;
    }
    Ok(())
}

//! `cargo xtask house`: the map of the code with its figures, and the rules of who imports whom.

use std::path::{Path, PathBuf};

use anyhow::bail;

use crate::run::workspace;

/// Modules of `l7d` by layer; imports point sideways or down.
const LAYERS: [(&str, usize); 33] = [
    ("cli", 4),
    ("agent", 4),
    ("export", 3),
    ("metrics", 3),
    ("relay", 3),
    ("server", 3),
    ("print", 3),
    ("map", 3),
    ("ui", 3),
    ("flow", 2),
    ("datapath", 1),
    ("nat", 1),
    ("proxy", 1),
    ("replay", 1),
    ("tap", 1),
    ("tls", 1),
    ("session", 1),
    ("exchange", 1),
    ("identity", 1),
    ("netfilter", 1),
    ("policy", 1),
    ("host", 1),
    ("kube", 1),
    ("state", 1),
    ("story", 1),
    ("whatif", 1),
    ("reception", 0),
    ("record", 0),
    ("clock", 0),
    ("config", 0),
    ("renewed", 0),
    ("backoff", 0),
    ("patience", 0),
];

/// Where unsafe code may be.
const UNSAFE: [&str; 14] = [
    "l7d-ebpf/src",
    "l7d/src/agent/fd_store.rs",
    "l7d/src/agent/memory/heap.rs",
    "l7d/src/agent/rights/seccomp.rs",
    "l7d/src/agent/slices.rs",
    "l7d/src/cli/doctor/gather/clock.rs",
    "l7d/src/datapath/batch.rs",
    "l7d/src/datapath/connections/element.rs",
    "l7d/src/host/interfaces/socket.rs",
    "l7d/src/proxy/dns/receive.rs",
    "l7d/src/proxy/dns/send.rs",
    "l7d/src/proxy/transparent.rs",
    "testbed/src",
    "xtask/src/house.rs",
];
const REFUSED_NAMES: [&str; 11] = [
    "util", "utils", "common", "helper", "helpers", "misc", "shared", "core", "base", "types",
    "manager",
];
const FILE_LINES: usize = 400;

/// Prints the map and fails on broken rules.
#[expect(clippy::print_stdout, reason = "the map is this command's result")]
pub(crate) fn run() -> anyhow::Result<()> {
    let mut faults = Vec::new();
    let mut sources = Vec::new();
    let root = workspace();
    for member in [
        "apiserver-double",
        "capture",
        "charts",
        "l7d",
        "l7d-ebpf",
        "parsers",
        "policy-l7",
        "properties",
        "proto",
        "testbed",
        "xtask",
    ] {
        let mut files = Vec::new();
        collect(&root.join(member), &mut files);
        files.sort();
        let mut total = 0;
        let mut long = Vec::new();
        for file in &files {
            let name = file
                .strip_prefix(&root)
                .unwrap_or(file)
                .display()
                .to_string();
            let text = std::fs::read_to_string(file)?;
            let lines = text.lines().count();
            total += lines;
            if lines > FILE_LINES {
                long.push(format!("{name} {lines}"));
            }
            faults.extend(check(&name, file, &text));
            sources.push(text);
        }
        println!("{member:<12} {:>3} files {total:>6} lines", files.len());
        for file in long {
            println!("             over {FILE_LINES}: {file}");
        }
    }
    faults.extend(undocumented_rules(&root)?);
    faults.extend(crate::threats::faults(&root, &sources)?);
    if faults.is_empty() {
        return Ok(());
    }
    bail!("{}", faults.join("\n"));
}

/// Where rules are named that a client on an enforced port can break.
const RULES: [&str; 5] = [
    "parsers/src/http1",
    "parsers/src/http2",
    "parsers/src/hpack",
    "l7d/src/proxy/enforce",
    "parsers/src/dns/strict.rs",
];

/// Rules that `docs/attacks.md` does not name: whoever meets one in a flow looks there. A rule is a
/// string followed by the section that it comes from, or made by the middlebox's `too_many`.
fn undocumented_rules(root: &Path) -> anyhow::Result<Vec<String>> {
    let page = std::fs::read_to_string(root.join("docs/attacks.md"))?;
    let mut files = Vec::new();
    for folder in RULES {
        collect(&root.join(folder), &mut files);
    }
    let mut faults = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file)?;
        // Tests name what is none.
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        let words: Vec<&str> = text.split('"').collect();
        for rule in words.windows(3).filter_map(rule_of) {
            if !page.contains(&format!("`{rule}`")) {
                faults.push(format!(
                    "{}: docs/attacks.md does not name `{rule}`",
                    file.display()
                ));
            }
        }
    }
    Ok(faults)
}

/// The rule among a string, what follows it, and the next string.
fn rule_of<'t>(words: &[&'t str]) -> Option<&'t str> {
    let [rule, between, next] = words else {
        return None;
    };
    let is_word =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    let looks_like_one = rule.contains('-') && rule.bytes().all(is_word);
    let has_section = between.trim() == "," && next.starts_with("RFC ");
    // A section that several rules share has a name.
    let has_named_section = between
        .trim_start()
        .strip_prefix(", ")
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()));
    let is_flood = rule.starts_with("too-many-");
    (looks_like_one && (has_section || has_named_section || is_flood)).then_some(*rule)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    if folder.is_file() {
        files.push(folder.to_owned());
    }
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                collect(&path, files);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn check(name: &str, file: &Path, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let stem = file
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    if REFUSED_NAMES.contains(&stem) {
        faults.push(format!("{name}: a name that says nothing"));
    }
    let has_unsafe = text.lines().any(|line| {
        let code = line.trim_start();
        !code.starts_with("//") && (code.contains("unsafe {") || code.contains("unsafe impl"))
    });
    if has_unsafe && !UNSAFE.iter().any(|place| name.starts_with(place)) {
        faults.push(format!("{name}: unsafe code outside of its places"));
    }
    let Some(inner) = name.strip_prefix("l7d/src/") else {
        return faults;
    };
    let own = inner.split(['/', '.']).next().unwrap_or_default();
    if let Some((_, layer)) = LAYERS.iter().find(|(module, _)| *module == own) {
        faults.extend(upward(name, *layer, text));
    }
    if inner == "proxy/watch.rs" && text.contains("policy") {
        faults.push(format!(
            "{name}: the watching relay must not know of policies"
        ));
    }
    if own != "datapath" && text.contains("aya::") {
        faults.push(format!("{name}: aya outside of datapath"));
    }
    if own != "kube" && names_client(text) {
        faults.push(format!("{name}: the client of Kubernetes outside of kube"));
    }
    faults
}

/// Whether code names the crate `kube`, and not our own module.
fn names_client(text: &str) -> bool {
    let is_ours = |line: &str| line.contains("crate::kube::{self") || line.contains("crate::kube;");
    let mut code = text.lines().map(str::trim_start);
    !text.lines().any(is_ours)
        && code.any(|line| {
            let begins = line.match_indices("kube::").map(|(at, _)| at);
            let mut begins = begins.filter(|at| {
                let before = line.get(..*at).unwrap_or_default();
                !before.ends_with("crate::")
                    && !before.ends_with(|c: char| c.is_alphanumeric() || c == '_')
            });
            !line.starts_with("//") && begins.next().is_some()
        })
}

fn upward(name: &str, layer: usize, text: &str) -> Vec<String> {
    let imports = text.lines().filter_map(|line| {
        let code = line.trim_start();
        let module = code
            .split("crate::")
            .nth(1)?
            .split([':', ';', ' ', '{', ',', ')', '('])
            .next()?;
        (!code.starts_with("//")).then_some(module)
    });
    imports
        .filter(|module| {
            LAYERS
                .iter()
                .any(|(known, of)| known == module && *of > layer)
        })
        .map(|module| format!("{name}: imports {module}, which is above it"))
        .collect()
}

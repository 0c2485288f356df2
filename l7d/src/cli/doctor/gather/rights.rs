//! What this process may do.

use rustix::process::{Resource, getrlimit};
use rustix::thread::capabilities;

use super::{field, look, text};
use crate::agent;
use crate::cli::doctor::facts::{Look, Rights};

pub(super) fn gather() -> Rights {
    let status = text("/proc/self/status").unwrap_or_default();
    let held = capabilities(None).map_or(0, |sets| sets.effective.bits());
    let seccomp = text("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    let lockdown = text("/sys/kernel/security/lockdown");
    Rights {
        is_root: rustix::process::geteuid().is_root(),
        capabilities: held,
        seccomp: seccomp.split_whitespace().map(str::to_owned).collect(),
        is_filtered: field(&status, "Seccomp").is_some_and(|mode| mode == "2"),
        landlock: agent::landlock_version(),
        modules: modules(),
        lockdown: lockdown.as_deref().and_then(chosen).map(str::to_owned),
        profile: text("/proc/self/attr/current")
            .map(|profile| profile.trim_end_matches('\0').to_owned())
            .filter(|profile| !profile.is_empty() && profile != "unconfined"),
        locked_memory: getrlimit(Resource::Memlock).current,
    }
}

fn modules() -> Look<Vec<String>> {
    let read = std::fs::read_to_string("/sys/kernel/security/lsm");
    let names = |text: &String| text.trim_end().split(',').map(str::to_owned).collect();
    match look(read, "reading /sys/kernel/security") {
        Ok(Look::Seen(text)) => Look::Seen(names(&text)),
        Ok(Look::Hidden(right)) => Look::Hidden(right),
        Err(_not_mounted) => Look::Hidden(
            "mount securityfs: mount -t securityfs none /sys/kernel/security".to_owned(),
        ),
    }
}

/// Of `none [integrity] confidentiality`, the one in brackets.
fn chosen(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_choice_is_in_brackets() {
        assert_eq!(
            super::chosen("none [integrity] confidentiality"),
            Some("integrity")
        );
        assert_eq!(super::chosen("none"), None);
    }
}

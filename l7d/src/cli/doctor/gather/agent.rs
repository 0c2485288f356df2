//! The agent that runs here, and what agents have left in the kernel.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use l7d_ebpf::ABI_VERSION;
use tokio::net::UnixStream;

use super::{field, look, text};
use crate::cli::doctor::facts::{Agent, Look, Running};
use crate::cli::server::ServerFlags;
use crate::cli::status;
use crate::config::Config;

/// A kernel's log has a record for each read; its buffer holds some thousands.
const RECORDS: usize = 1 << 17;

pub(super) async fn gather(config: &Config) -> Agent {
    Agent {
        running: running(&config.api.socket).await,
        pins: pins(&config.datapath.pin_dir),
        own_pins: format!("v{ABI_VERSION}"),
        refused: refused(),
    }
}

async fn running(socket: &Path) -> Look<Option<Running>> {
    let connected = UnixStream::connect(socket).await;
    let stream = match look(
        connected,
        "root, or the group of its socket, may ask the agent",
    ) {
        Ok(Look::Seen(stream)) => stream,
        Ok(Look::Hidden(right)) => return Look::Hidden(right),
        // Nobody is behind it.
        Err(_gone) => return Look::Seen(None),
    };
    // Of a process in a namespace of its own there is no number here.
    let process = stream.peer_cred().ok().and_then(|peer| peer.pid());
    let capabilities = process
        .filter(|process| *process > 0)
        .and_then(|process| text(format!("/proc/{process}/status")))
        .and_then(|status| u64::from_str_radix(field(&status, "CapEff")?, 16).ok());
    let flags = ServerFlags {
        server: Some(format!("unix://{}", socket.display())),
        ..ServerFlags::default()
    };
    // What is settled for other commands is not meant here.
    let told = match flags.settle(|_name| None) {
        Ok(server) => status::told(&server).await,
        Err(failure) => Err(failure),
    };
    match told {
        Ok((version, status)) => {
            let status = status.unwrap_or_default();
            Look::Seen(Some(Running {
                version,
                warnings: status.warnings,
                rights: status.rights,
                capabilities,
            }))
        }
        Err(failure) => Look::Hidden(format!(
            "somebody listens at {} and does not answer as an agent: {failure}",
            socket.display()
        )),
    }
}

/// Folders such as `v12`.
fn pins(folder: &Path) -> Look<Vec<String>> {
    let entries = match look(
        std::fs::read_dir(folder),
        "root may read the folder of pins",
    ) {
        Ok(Look::Seen(entries)) => entries,
        Ok(Look::Hidden(right)) => return Look::Hidden(right),
        Err(_none) => return Look::Seen(Vec::new()),
    };
    let names = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut versions: Vec<String> = names
        .filter(|name| {
            name.strip_prefix('v')
                .is_some_and(|rest| rest.parse::<u32>().is_ok())
        })
        .collect();
    versions.sort();
    Look::Seen(versions)
}

/// What the kernel's log says of filters of an l7d, where nobody else takes these messages (auditd).
fn refused() -> Look<Vec<u32>> {
    const RIGHT: &str = "run it with CAP_SYSLOG: the kernel's log";
    let log = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/kmsg");
    let Ok(mut log) = log else {
        return Look::Hidden(RIGHT.to_owned());
    };
    let mut found = BTreeSet::new();
    let mut record = vec![0; 8192];
    for _ in 0..RECORDS {
        match log.read(&mut record) {
            Ok(length) => {
                let text = String::from_utf8_lossy(record.get(..length).unwrap_or_default());
                found.extend(refusal(&text));
            }
            // What was overwritten meanwhile.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return hidden(&error, RIGHT),
        }
    }
    Look::Seen(found.into_iter().collect())
}

fn hidden(error: &io::Error, right: &str) -> Look<Vec<u32>> {
    Look::Hidden(format!("{right} ({error})"))
}

/// The number of a call, where a record says that a filter of an l7d refused it (`audit_seccomp`).
fn refusal(record: &str) -> Option<u32> {
    let of = |key: &str| {
        let mut words = record.split_ascii_whitespace();
        words.find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    };
    let is_ours = of("exe")?.trim_matches('"').ends_with("/l7d");
    (of("type")? == "1326" && is_ours).then(|| of("syscall")?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_call_is_found_in_the_log() {
        let record = |exe: &str, kind: u32| {
            format!(
                "5,1,2,-;audit: type={kind} audit(17.152:2): auid=42 uid=0 pid=9 comm=\"worker 1\" \
                 exe=\"{exe}\" sig=0 arch=c000003e syscall=272 compat=0 ip=0x55 code=0x50000\n"
            )
        };
        assert_eq!(refusal(&record("/usr/bin/l7d", 1326)), Some(272));
        assert_eq!(refusal(&record("/usr/bin/other", 1326)), None);
        assert_eq!(refusal(&record("/usr/bin/l7d", 1400)), None);
    }
}

//! Which files the agent has a use for, by its configuration: the one list of where it may write.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{Config, ExportTarget, Tcp};
use crate::patience::within;

/// A disk that takes longer does not answer. Who asks has a heartbeat to keep.
const PATIENCE: Duration = Duration::from_millis(300);

/// Files and folders, and everything below them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Places {
    /// What it reads.
    pub(super) read: Vec<PathBuf>,
    /// Where it makes, changes and removes files. `docs/rights.md` has the same list.
    pub(super) written: Vec<PathBuf>,
    /// What is there already and is written to, but not made or removed.
    pub(super) set: Vec<PathBuf>,
    /// Where programs are that it starts, and their libraries. Nothing here is written to.
    pub(super) run: Vec<PathBuf>,
}

/// Programs, libraries and what these read.
const SYSTEM: [&str; 9] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/nix/store",
    "/gnu/store",
    "/run/current-system",
];
/// Settings of the machine, what the kernel tells, and what a cluster gives a pod.
const TOLD: [&str; 9] = [
    "/etc",
    "/proc",
    "/sys",
    "/dev/null",
    "/dev/urandom",
    "/run/secrets",
    "/var/run/secrets",
    // Name services.
    "/run/systemd/resolve",
    "/run/nscd",
];
/// What libraries take files from, as paths.
const VARIABLES: [&str; 3] = ["SSL_CERT_FILE", "SSL_CERT_DIR", "KUBECONFIG"];

impl Places {
    /// By a configuration, which is `file`'s.
    pub(super) fn of(config: &Config, file: Option<&Path>) -> Self {
        let mut places = Self::followed(config);
        places.read.extend(TOLD.map(PathBuf::from));
        places.read.extend(file.map(folder_of));
        // A link, often, to where another service writes it anew.
        let resolvers = std::fs::canonicalize("/etc/resolv.conf").ok();
        places.read.extend(resolvers.as_deref().map(folder_of));
        for variable in VARIABLES {
            let value = std::env::var_os(variable).unwrap_or_default();
            let named = std::env::split_paths(&value).filter(|path| !path.as_os_str().is_empty());
            places.read.extend(named);
        }
        let policies = &config.policies;
        places.read.extend(policies.directory.clone());
        places
            .read
            .extend(policies.files.iter().map(|file| folder_of(file)));
        let listeners = [&config.api.tcp, &config.metrics.listen];
        for tcp in listeners.into_iter().flatten() {
            places.read.extend(certificates(tcp));
        }
        places.read.extend(config.host.cgroup.clone());
        if let Some(access) = &config.kubernetes {
            let needed = crate::kube::needed(access);
            places.read.extend(needed.read);
            places.run.extend(needed.run);
            places.written.push(config.state_dir.clone());
        }
        let Config {
            api,
            runtime_dir,
            datapath,
            ..
        } = config;
        places.written.push(runtime_dir.clone());
        places.written.push(folder_of(&api.socket));
        places.written.push(datapath.pin_dir.clone());
        places.set.push(datapath.sysctl_dir.clone());
        // Plug-ins for credentials may be scripts.
        places.set.push("/dev/null".into());
        let path = std::env::var_os("PATH").unwrap_or_default();
        places.run.extend(SYSTEM.map(PathBuf::from));
        places
            .run
            .extend(std::env::split_paths(&path).filter(|path| path.is_absolute()));
        places
    }

    /// Those of what a changed configuration has the running agent use at once.
    pub(super) fn followed(config: &Config) -> Self {
        let mut places = Self::default();
        places
            .read
            .extend(config.metrics.openapi.iter().map(|file| folder_of(file)));
        for export in &config.exports {
            match &export.target {
                ExportTarget::File(file, _) => places.written.push(folder_of(&file.path)),
                ExportTarget::Otlp(otlp) => {
                    let identity = otlp.identity.iter().flat_map(|(of, key)| [of, key]);
                    let files = otlp.ca.iter().chain(identity);
                    places.read.extend(files.map(|file| folder_of(file)));
                }
                ExportTarget::Stdout(_) => {}
            }
        }
        places
    }
}

fn certificates(tcp: &Tcp) -> Vec<PathBuf> {
    let tls = tcp.tls.iter();
    tls.flat_map(|tls| {
        [
            Some(&tls.certificate),
            Some(&tls.key),
            tls.client_ca.as_ref(),
        ]
    })
    .flatten()
    .map(|file| folder_of(file))
    .collect()
}

/// Files are replaced by others of their name: what counts is the folder.
fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        Some(_) | None => PathBuf::from("."),
    }
}

/// Whether a path is one of these real ones, or below one, whatever links lead there. One whose disk does not
/// answer is not.
pub(super) fn covers(places: &[PathBuf], path: &Path) -> bool {
    let wanted = path.to_owned();
    let real = within(PATIENCE, "l7d-places", move || {
        // Of what is not there yet, the folder that it would be made in.
        wanted.ancestors().find_map(|path| path.canonicalize().ok())
    });
    let real = real.ok().flatten();
    real.is_some_and(|path| places.iter().any(|place| path.starts_with(place)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Config {
        crate::config::read_config("test", yaml).expect("a configuration")
    }

    #[test]
    fn an_agent_writes_below_its_own_folders_only() {
        let config = read("exports: [ { name: a, file: { path: /var/log/l7d/flows.json } } ]");
        let places = Places::of(&config, Some(Path::new("/etc/l7d/l7d.yaml")));
        assert_eq!(
            places.written,
            ["/var/log/l7d", "/run/l7d", "/run/l7d", "/sys/fs/bpf/l7d"].map(PathBuf::from)
        );
        assert_eq!(
            places.set,
            ["/proc/sys/net", "/dev/null"].map(PathBuf::from)
        );
    }

    #[test]
    fn what_is_known_of_a_cluster_is_kept_where_one_is_followed() {
        for (yaml, expected) in [
            ("stateDir: /srv/state\nkubernetes: {}\n", true),
            ("stateDir: /srv/state\n", false),
        ] {
            let places = Places::of(&read(yaml), None);
            let is_written = places.written.contains(&"/srv/state".into());
            assert_eq!(is_written, expected, "{yaml}");
        }
    }

    #[test]
    fn nothing_is_run_where_something_is_written() {
        let places = Places::of(&Config::default(), None);
        for written in &places.written {
            assert!(
                !places.run.iter().any(|run| written.starts_with(run)),
                "{written:?}"
            );
        }
    }

    #[test]
    fn what_a_configuration_names_is_read_by_its_folder() {
        let config = read(
            "policies: { directory: /srv/policies, files: [/srv/one/web.yaml] }\n\
             api: { tcp: { listen: \"0.0.0.0:4244\", tls: { certificate: /srv/tls/a.crt, key: /srv/tls/a.key, clientCa: /srv/ca/ca.crt } } }\n\
             exports: [ { name: a, otlp: { endpoint: \"https://x:4317\", ca: /srv/otlp/ca.crt } } ]\n",
        );
        let places = Places::of(&config, Some(Path::new("/srv/conf/l7d.yaml")));
        for folder in ["conf", "policies", "one", "tls", "ca", "otlp"] {
            let folder = Path::new("/srv").join(folder);
            assert!(places.read.contains(&folder), "{}", folder.display());
        }
    }

    #[test]
    fn a_path_is_known_whatever_links_lead_there() {
        let scratch = tempfile::tempdir().expect("a folder");
        let real = scratch.path().join("real");
        std::fs::create_dir(&real).expect("a folder");
        let link = scratch.path().join("link");
        std::os::unix::fs::symlink(&real, &link).expect("a link");
        let known = [real.canonicalize().expect("it is there")];
        for (path, expected) in [
            (real.join("new/deep"), true),
            (link.join("new"), true),
            (scratch.path().join("really"), false),
            (scratch.path().to_owned(), false),
        ] {
            assert_eq!(covers(&known, &path), expected, "{}", path.display());
        }
    }
}

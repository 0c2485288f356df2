//! What is settled once for all commands that ask a server: `l7d config` writes it into a file, and
//! commands read it from there.
//!
//! A flag counts before the environment, that before the file, and the file before the default.

mod file;
mod key;

use std::path::{Path, PathBuf};

use super::failure::Failure;

pub(super) use file::{SettingsFile, scalar, yaml};
pub(super) use key::{KEYS, Key, Kind};

/// Folder and file in the folder of configurations.
const OWN: &str = "l7d/config.yaml";
/// Those of the Hubble command line, which are read where there is none of ours.
const HUBBLES: [&str; 2] = ["hubble/config.yaml", ".hubble/config.yaml"];

/// The value of a variable of the environment: ours, or the Hubble command line's.
pub(super) fn of_environment(env: impl Fn(&str) -> Option<String>, key: &str) -> Option<String> {
    let name = key.to_uppercase().replace('-', "_");
    let values = ["L7D", "HUBBLE"].map(|prefix| env(&format!("{prefix}_{name}")));
    values.into_iter().flatten().find(|value| !value.is_empty())
}

/// Where settings are, and where they are written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The file that counts.
    pub(super) read: Option<PathBuf>,
    /// The file that a change goes to.
    pub(super) write: Option<PathBuf>,
}

impl Place {
    /// What a flag names, else what the environment does, else what is there in the home of
    /// configurations. The folder that one happens to stand in is never looked at: it may be anybody's.
    pub(super) fn find(named: Option<&Path>, env: impl Fn(&str) -> Option<String>) -> Self {
        let named = named.map(Path::to_owned);
        if let Some(path) = named.or_else(|| of_environment(&env, "config").map(PathBuf::from)) {
            return Self {
                read: Some(path.clone()),
                write: Some(path),
            };
        }
        let given = |name: &str| {
            env(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let home = given("HOME");
        let folder =
            given("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config")));
        let own = folder.as_ref().map(|folder| folder.join(OWN));
        let [hubble, former] = HUBBLES;
        let others = [
            folder.map(|folder| folder.join(hubble)),
            home.map(|home| home.join(former)),
        ];
        let mut all = [own.clone()].into_iter().chain(others).flatten();
        Self {
            read: all.find(|path| path.exists()),
            write: own,
        }
    }

    /// What the file says; nothing where there is none.
    pub(super) fn load(&self) -> Result<SettingsFile, Failure> {
        match &self.read {
            Some(path) => SettingsFile::read(path),
            None => Ok(SettingsFile::default()),
        }
    }
}

/// Whether it is settled that commands tell what they do.
pub(super) fn is_debug(env: impl Fn(&str) -> Option<String>) -> bool {
    let of_file = || Place::find(None, &env).load().ok()?.text("debug");
    let settled = of_environment(&env, "debug").or_else(of_file);
    settled.is_some_and(|value| value == "true" || value == "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_counts_before_hubbles_and_what_is_named_before_both() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap().to_owned();
        let env = |name: &str| (name == "HOME").then(|| home.clone());
        let own = folder.path().join(".config/l7d/config.yaml");
        let place = Place::find(None, env);
        assert_eq!((place.read, place.write.as_ref()), (None, Some(&own)));
        for file in [
            ".hubble/config.yaml",
            ".config/hubble/config.yaml",
            ".config/l7d/config.yaml",
        ] {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "").unwrap();
            let place = Place::find(None, env);
            assert_eq!((place.read, place.write.as_ref()), (Some(path), Some(&own)));
        }
        let named = Path::new("/etc/l7d-client.yaml");
        assert_eq!(Place::find(Some(named), env).write.as_deref(), Some(named));
        let env = |name: &str| (name == "HUBBLE_CONFIG").then(|| "x.yaml".to_owned());
        assert_eq!(
            Place::find(None, env).read.as_deref(),
            Some(Path::new("x.yaml"))
        );
    }
}

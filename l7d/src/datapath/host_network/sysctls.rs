//! Sysctls that we change, and the values they had before.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::Error;

/// Changed sysctls of the network, with their former values on disk, so that a crash or a second start
/// never forgets them.
#[derive(Debug)]
pub(super) struct Sysctls {
    /// Where they are: `/proc/sys/net`, or where a container has it writable.
    folder: PathBuf,
    state: PathBuf,
    former: BTreeMap<String, String>,
}

impl Sysctls {
    /// Those below `folder`; reads what an earlier start remembered.
    pub(super) fn open(folder: &Path, state: &Path) -> Result<Self, Error> {
        let fault = |cause| Error::State {
            path: state.to_owned(),
            cause,
        };
        let former = match std::fs::read_to_string(state) {
            Ok(text) => serde_json::from_str(&text).map_err(|error| fault(error.into()))?,
            Err(error) if error.kind() == ErrorKind::NotFound => BTreeMap::new(),
            Err(cause) => return Err(fault(cause)),
        };
        Ok(Self {
            folder: folder.to_owned(),
            state: state.to_owned(),
            former,
        })
    }

    /// Lets packets in by `interface` whatever address they come from.
    pub(super) fn pass_anything(&mut self, interface: &str) -> Result<(), Error> {
        self.set(&format!("ipv4/conf/{interface}/rp_filter"), "0")
    }

    /// Switches a sysctl off if it is on.
    pub(super) fn set_if_nonzero(&mut self, name: &str) -> Result<(), Error> {
        if self.read(name)? == "0" {
            Ok(())
        } else {
            self.set(name, "0")
        }
    }

    /// Sets a sysctl, remembering its first former value before the change.
    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let before = self.read(name)?;
        if before == value {
            return Ok(());
        }
        let is_first = !self.former.contains_key(name);
        if is_first {
            self.former.insert(name.to_owned(), before.clone());
            self.save()?;
        }
        let written = self.write(name, value);
        if is_first && written.is_err() {
            self.former.remove(name);
            self.save()?;
        }
        written.map_err(|error| error.wanted(name, value, before))
    }

    /// Switches a sysctl of an interface on, unless it is on for all of them.
    pub(super) fn switch_on(&mut self, interface: &str, name: &str) -> Result<(), Error> {
        if self.read(&format!("ipv4/conf/all/{name}"))? == "1" {
            return Ok(());
        }
        self.set(&format!("ipv4/conf/{interface}/{name}"), "1")
    }

    /// Puts all former values back; sysctls of interfaces that are gone went with them.
    pub(super) fn restore(&mut self) -> Result<Vec<String>, Error> {
        let mut restored = Vec::new();
        for (name, value) in &self.former {
            match self.write(name, value) {
                Ok(()) => restored.push(format!("sysctl net/{name} = {value}")),
                Err(Error::Sysctl { cause, .. }) if cause.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        self.former.clear();
        match std::fs::remove_file(&self.state) {
            Err(cause) if cause.kind() != ErrorKind::NotFound => Err(Error::State {
                path: self.state.clone(),
                cause,
            }),
            Ok(()) | Err(_) => Ok(restored),
        }
    }

    /// Written beside and renamed, so that a crash leaves the old file or the new one.
    fn save(&self) -> Result<(), Error> {
        let fault = |cause| Error::State {
            path: self.state.clone(),
            cause,
        };
        let text =
            serde_json::to_string_pretty(&self.former).map_err(|error| fault(error.into()))?;
        if let Some(folder) = self.state.parent() {
            std::fs::create_dir_all(folder).map_err(fault)?;
        }
        let fresh = self.state.with_extension("new");
        std::fs::write(&fresh, text).map_err(fault)?;
        std::fs::rename(&fresh, &self.state).map_err(fault)
    }

    fn read(&self, name: &str) -> Result<String, Error> {
        let path = self.folder.join(name);
        match std::fs::read_to_string(&path) {
            Ok(value) => Ok(value.trim().to_owned()),
            Err(cause) => Err(Error::Sysctl { path, cause }),
        }
    }

    fn write(&self, name: &str, value: &str) -> Result<(), Error> {
        let path = self.folder.join(name);
        std::fs::write(&path, value).map_err(|cause| Error::Sysctl { path, cause })
    }
}

impl Error {
    /// The same, with what to do where nothing can be written.
    fn wanted(self, name: &str, value: &str, before: String) -> Self {
        let is_closed = |cause: &std::io::Error| {
            let kind = cause.kind();
            kind == ErrorKind::ReadOnlyFilesystem || kind == ErrorKind::PermissionDenied
        };
        match self {
            Self::Sysctl { cause, .. } if is_closed(&cause) => Self::SysctlClosed {
                name: format!("net/{name}"),
                value: value.to_owned(),
                before,
                cause,
            },
            error => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_is_told_with_what_to_do() {
        let path = PathBuf::from("/proc/sys/net/ipv4/tcp_early_demux");
        let cause = ErrorKind::ReadOnlyFilesystem.into();
        let error = Error::Sysctl { path, cause };
        let told = error.wanted("ipv4/tcp_early_demux", "0", "1".to_owned());
        let told = told.to_string();
        for part in [
            "net/ipv4/tcp_early_demux is 1 and must be 0",
            "datapath.sysctlDir",
            "sysctl -w net/ipv4/tcp_early_demux=0",
        ] {
            assert!(told.contains(part), "{told}");
        }
    }

    #[test]
    fn what_is_right_already_is_not_written() -> Result<(), Error> {
        let home = tempfile::tempdir().expect("a folder");
        let state = home.path().join("state.json");
        let mut sysctls = Sysctls::open(Path::new("/proc/sys/net"), &state)?;
        let name = "ipv4/conf/lo/rp_filter";
        let now = sysctls.read(name)?;
        sysctls.set(name, &now)?;
        assert!(!state.exists());
        Ok(())
    }

    #[test]
    fn what_is_changed_elsewhere_is_put_back_there() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = home.path().join("net");
        std::fs::create_dir_all(folder.join("ipv4")).expect("made");
        let file = folder.join("ipv4/tcp_early_demux");
        std::fs::write(&file, "1\n").expect("written");
        let value = || std::fs::read_to_string(&file).expect("there");
        let state = home.path().join("state/host-network.json");
        let mut sysctls = Sysctls::open(&folder, &state).expect("new");
        sysctls.set_if_nonzero("ipv4/tcp_early_demux").expect("set");
        assert_eq!(value(), "0");
        let mut later = Sysctls::open(&folder, &state).expect("remembered");
        let restored = later.restore().expect("restored");
        assert_eq!(restored, ["sysctl net/ipv4/tcp_early_demux = 1"]);
        assert_eq!(value(), "1");
    }
}

//! Names of interfaces. Records bear numbers; whoever reads a flow knows names.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;

/// Where the system lists its interfaces.
const SYSTEM: &str = "/sys/class/net";

/// What interfaces are called. A name stays when its interface has gone: records of it are still there.
#[derive(Debug, Clone, Default)]
pub struct Interfaces(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    names: RwLock<BTreeMap<u32, String>>,
    /// Somebody asked for one that is not known.
    is_asked: AtomicBool,
}

impl Interfaces {
    /// An interface is called so from now on.
    pub fn learn(&self, index: u32, name: &str) {
        self.0.names.write().insert(index, name.to_owned());
    }

    /// What an interface is called; the next [`Interfaces::refresh`] looks for one that is not known.
    pub fn name(&self, index: u32) -> Option<String> {
        let name = self.0.names.read().get(&index).cloned();
        if name.is_none() {
            self.0.is_asked.store(true, Ordering::Relaxed);
        }
        name
    }

    /// Looks at the system's interfaces where somebody asked for one that is not known.
    pub fn refresh(&self) {
        if self.0.is_asked.swap(false, Ordering::Relaxed) {
            self.read(Path::new(SYSTEM));
        }
    }

    fn read(&self, folder: &Path) {
        let Ok(entries) = std::fs::read_dir(folder) else {
            return;
        };
        let mut names = self.0.names.write();
        for entry in entries.flatten() {
            let index = std::fs::read_to_string(entry.path().join("ifindex"));
            let index = index.ok().and_then(|text| text.trim().parse().ok());
            if let (Some(index), Ok(name)) = (index, entry.file_name().into_string()) {
                names.insert(index, name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_somebody_asks_for_is_looked_for_and_its_name_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let interface = folder.path().join("eth0");
        std::fs::create_dir(&interface).expect("made");
        std::fs::write(interface.join("ifindex"), "7\n").expect("written");
        let interfaces = Interfaces::default();
        assert_eq!(interfaces.name(7), None);
        interfaces.read(folder.path());
        std::fs::remove_dir_all(&interface).expect("removed");
        interfaces.learn(8, "veth1");
        interfaces.read(folder.path());
        assert_eq!(interfaces.name(7).as_deref(), Some("eth0"));
        assert_eq!(interfaces.name(8).as_deref(), Some("veth1"));
    }
}

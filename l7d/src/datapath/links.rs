//! Pins of hooks, and those that another version left.

use std::path::{Path, PathBuf};

/// Folder of a version in which its links are pinned.
const LINKS: &str = "links";

/// Folder of a version that remembers its filters.
pub(super) fn filters(version: &Path) -> PathBuf {
    version.join("filters")
}

/// Where the hooks of this version are pinned.
#[derive(Debug)]
pub(super) struct Links {
    home: PathBuf,
    folder: PathBuf,
    has_tcx: bool,
    /// Folders of other versions, whose hooks run until those of this one are there.
    former: Vec<PathBuf>,
}

/// Whether an agent's hooks are pinned below a folder, of whatever version.
pub fn has_former(pin_dir: &Path) -> bool {
    let folders = std::fs::read_dir(pin_dir).into_iter().flatten();
    let mut links = folders
        .filter_map(Result::ok)
        .filter_map(|entry| std::fs::read_dir(entry.path().join(LINKS)).ok());
    links.any(|mut pins| pins.next().is_some())
}

impl Links {
    /// Below `pin_dir`, each version has a folder. Without tcx, hooks of interfaces are no links.
    pub(super) fn new(pin_dir: &Path, version: &str, has_tcx: bool) -> Self {
        let folders = std::fs::read_dir(pin_dir).into_iter().flatten();
        let former = folders
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .filter(|path| path.is_dir() && !path.ends_with(version))
            .collect();
        let home = pin_dir.join(version);
        Self {
            folder: home.join(LINKS),
            home,
            has_tcx,
            former,
        }
    }

    pub(super) fn has_tcx(&self) -> bool {
        self.has_tcx
    }

    pub(super) fn filters(&self) -> PathBuf {
        filters(&self.home)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn pin(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.join(name)
    }

    /// The hook of this version is attached: the same one of another version ends.
    pub(super) fn replace_former(&self, pin: &Path) {
        let Some(name) = pin.file_name() else { return };
        for folder in &self.former {
            remove(&folder.join(LINKS).join(name));
        }
    }

    /// All hooks of this version are attached: whatever others left ends, their maps with them.
    pub(super) fn retire_former(&self) {
        for folder in &self.former {
            super::filters::retire(self, &filters(folder));
            match std::fs::remove_dir_all(folder) {
                Ok(()) => {
                    tracing::info!(folder = %folder.display(), "another version's hooks and maps are gone");
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::warn!(folder = %folder.display(), %error, "another version's hooks stay");
                }
            }
        }
    }
}

/// Removes a pin, and with it what it holds.
pub(super) fn remove(pin: &Path) {
    match std::fs::remove_file(pin) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(pin = %pin.display(), %error, "a stale pin stays"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_of_other_versions_are_former_ones() {
        let home = tempfile::tempdir().expect("a folder");
        for version in ["v4", "v5"] {
            std::fs::create_dir_all(home.path().join(version).join(LINKS)).expect("made");
        }
        std::fs::write(home.path().join("v4/links/7-to_pod"), "").expect("written");
        std::fs::write(home.path().join("v4/links/8-to_pod"), "").expect("written");
        let links = Links::new(home.path(), "v5", true);
        links.replace_former(&links.pin("7-to_pod"));
        assert!(!home.path().join("v4/links/7-to_pod").exists());
        assert!(home.path().join("v4/links/8-to_pod").exists());
        links.retire_former();
        assert!(!home.path().join("v4").exists());
        assert!(home.path().join("v5").exists());
    }
}

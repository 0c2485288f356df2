//! Policies in force: of files, as what was read last of each, so that a bad edit never replaces a good
//! policy, and of a cluster.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use policy_l7::{CidrGroup, Identity, Policy};

use super::objects::PolicyObjects;
use crate::host::Page;
use crate::host::cluster::{Kind, Name, Outcomes, Update};

/// Policies as last read from their files, and as a cluster told them.
#[derive(Debug, Default)]
pub struct PolicyStore {
    files: Vec<PathBuf>,
    directory: Option<PathBuf>,
    good: BTreeMap<PathBuf, Good>,
    objects: PolicyObjects,
    /// Whether the cluster's policies wait until it is known whom they mean.
    is_waiting: bool,
}

#[derive(Debug)]
struct Good {
    text: String,
    policies: Vec<Arc<Policy>>,
    cidr_groups: Vec<CidrGroup>,
}

/// What one reading of the files found.
#[derive(Debug, Default)]
pub struct LoadReport {
    /// Whether any policy differs from before.
    pub changed: bool,
    /// What is wrong, ready to print; the former version of such a file stays in force.
    pub errors: Vec<String>,
    /// Files that are wrong and have no former version.
    pub unusable: Vec<PathBuf>,
}

impl PolicyStore {
    /// Policies come from these files, and from every `.yaml`, `.yml` and `.json` file of the
    /// directory.
    pub fn new(files: Vec<PathBuf>, directory: Option<PathBuf>) -> Self {
        Self {
            files,
            directory,
            good: BTreeMap::new(),
            objects: PolicyObjects::default(),
            is_waiting: false,
        }
    }

    /// Holds back what a cluster tells of policies, or no longer.
    pub fn set_waiting(&mut self, is_waiting: bool) {
        self.is_waiting = is_waiting;
    }

    /// Takes over what a cluster tells of policies; whether anything that is in force is different now.
    pub fn follow(&mut self, update: Update) -> bool {
        self.objects.apply(update) && !self.is_waiting
    }

    /// What became of the cluster's policies, where these are all identities.
    pub fn outcomes(&self, identities: &[Identity]) -> Outcomes {
        if self.is_waiting {
            return Outcomes::new();
        }
        self.objects.outcomes(identities)
    }

    /// The cluster's objects of a kind, behind a name.
    pub fn told(&self, kind: Kind, after: Option<&Name>, most: usize) -> Page {
        self.objects.told(kind, after, most)
    }

    /// The cluster's policies that are refused, and why.
    pub fn refused_objects(&self) -> impl Iterator<Item = String> {
        self.objects.refused()
    }

    /// All policies in force: those of files in the order of their names, and those of the cluster.
    pub fn policies(&self) -> Vec<Policy> {
        self.shared().map(|policy| Policy::clone(policy)).collect()
    }

    /// The same, without copies.
    pub fn shared(&self) -> impl Iterator<Item = &Arc<Policy>> {
        let of_files = self.good.values().flat_map(|good| &good.policies);
        of_files.chain(self.known().into_iter().flat_map(PolicyObjects::policies))
    }

    /// The cluster's objects, unless they are held back.
    fn known(&self) -> Option<&PolicyObjects> {
        (!self.is_waiting).then_some(&self.objects)
    }

    /// All CIDR groups that policies may refer to.
    pub fn cidr_groups(&self) -> Vec<CidrGroup> {
        let groups = self.good.values().flat_map(|good| &good.cidr_groups);
        let of_cluster = self.known().into_iter();
        let of_cluster = of_cluster.flat_map(PolicyObjects::cidr_groups);
        groups.chain(of_cluster).cloned().collect()
    }

    /// Folders to watch for changes.
    pub fn watched_folders(&self) -> Vec<PathBuf> {
        let of_files = self.files.iter().map(|file| match file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            Some(_) | None => PathBuf::from("."),
        });
        let mut folders: Vec<PathBuf> = of_files.chain(self.directory.clone()).collect();
        folders.sort();
        folders.dedup();
        folders
    }

    /// Reads everything again.
    pub fn reload(&mut self) -> LoadReport {
        let mut report = LoadReport::default();
        let paths = match self.paths() {
            Ok(paths) => paths,
            Err(message) => {
                report.errors.push(message);
                return report;
            }
        };
        let before = self.good.len();
        self.good.retain(|path, _| paths.contains(path));
        report.changed = self.good.len() != before;
        for path in paths {
            self.reload_file(path, &mut report);
        }
        report
    }

    fn reload_file(&mut self, path: PathBuf, report: &mut LoadReport) {
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => {
                report
                    .errors
                    .push(format!("{}: cannot be read: {error}", path.display()));
                self.keep_or_give_up(path, report);
                return;
            }
        };
        if self.good.get(&path).is_some_and(|good| good.text == text) {
            return;
        }
        match policy_l7::read_objects(&path.display().to_string(), &text) {
            Ok(objects) => {
                let policies = objects.policies.into_iter().map(Arc::new).collect();
                let good = Good {
                    text,
                    policies,
                    cidr_groups: objects.cidr_groups,
                };
                self.good.insert(path, good);
                report.changed = true;
            }
            Err(errors) => {
                report.errors.extend(errors.iter().map(ToString::to_string));
                self.keep_or_give_up(path, report);
            }
        }
    }

    fn keep_or_give_up(&self, path: PathBuf, report: &mut LoadReport) {
        if !self.good.contains_key(&path) {
            report.unusable.push(path);
        }
    }

    fn paths(&self) -> Result<Vec<PathBuf>, String> {
        let mut paths = self.files.clone();
        if let Some(directory) = &self.directory {
            let entries = std::fs::read_dir(directory).map_err(|error| {
                format!(
                    "{}: the policy folder cannot be read: {error}; what was in force stays so",
                    directory.display()
                )
            })?;
            for entry in entries {
                let entry = entry.map_err(|error| format!("{}: {error}", directory.display()))?;
                if is_policy_file(&entry.path()) {
                    paths.push(entry.path());
                }
            }
        }
        paths.sort();
        paths.dedup();
        Ok(paths)
    }
}

/// Editors' leftovers and hidden files (`.web.yaml.swp`, `..data`) are not policies.
fn is_policy_file(path: &Path) -> bool {
    let hidden = path
        .file_name()
        .and_then(|name| name.to_str())
        .is_none_or(|name| name.starts_with('.'));
    let extension = path.extension().and_then(|extension| extension.to_str());
    !hidden && matches!(extension, Some("yaml" | "yml" | "json")) && path.is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: web, namespace: shop}\nspec:\n  endpointSelector: {matchLabels: {app: web}}\n  ingress:\n  - fromEndpoints: [{matchLabels: {app: client}}]\n";

    fn store(folder: &Path) -> PolicyStore {
        PolicyStore::new(Vec::new(), Some(folder.to_owned()))
    }

    #[test]
    fn a_bad_edit_keeps_the_good_policy() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("web.yaml");
        std::fs::write(&file, GOOD).expect("written");
        let mut store = store(folder.path());
        assert!(store.reload().changed);
        assert_eq!(store.policies().len(), 1);

        std::fs::write(&file, GOOD.replace("fromEndpoints", "fromEndpoint")).expect("written");
        let report = store.reload();
        assert!(!report.changed);
        assert!(
            report
                .errors
                .iter()
                .any(|error| error.contains("fromEndpoints")),
            "{report:?}"
        );
        assert!(report.unusable.is_empty());
        assert_eq!(store.policies().len(), 1);
    }

    #[test]
    fn a_file_that_was_never_good_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("web.yaml"), "kind: [").expect("written");
        let report = store(folder.path()).reload();
        assert_eq!(report.unusable, [folder.path().join("web.yaml")]);
    }

    #[test]
    fn a_removed_file_takes_its_policies_along() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("web.yaml");
        std::fs::write(&file, GOOD).expect("written");
        let mut store = store(folder.path());
        store.reload();
        std::fs::remove_file(&file).expect("removed");
        assert!(store.reload().changed);
        assert!(store.policies().is_empty());
    }

    #[test]
    fn hidden_and_foreign_files_are_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in [".web.yaml", "web.yaml~", "README.md"] {
            std::fs::write(folder.path().join(name), "kind: [").expect("written");
        }
        let report = store(folder.path()).reload();
        assert!(report.errors.is_empty(), "{report:?}");
    }

    #[test]
    fn an_unreadable_folder_keeps_what_is_in_force() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("web.yaml"), GOOD).expect("written");
        let mut store = store(folder.path());
        store.reload();
        std::fs::remove_dir_all(folder.path()).expect("removed");
        let report = store.reload();
        assert_eq!(report.errors.len(), 1);
        assert_eq!(store.policies().len(), 1);
    }
}

//! Endpoints and policies from files: what a capture is held against, and what is explained.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use policy_l7::{
    AuditScope, Compiled, Enforcement, Inputs, Labels, Named, Objects, Policy, Surroundings,
    compile, dangling, lint, resolve,
};

use crate::cli::failure::Failure;
use crate::config::{self, Config};
use crate::host::Inventory;
use crate::identity::{Identities, TableBuilder};
use crate::policy::{Live, PolicyStore};

/// Names of addresses, and the policies, if any were given.
#[derive(Default)]
pub(super) struct Names {
    pub(super) identities: Identities,
    pub(super) policy: Option<Arc<Live>>,
}

impl Names {
    /// Reads files of endpoints, and policies from files and folders.
    pub(super) fn read(endpoints: &[PathBuf], policies: &[PathBuf]) -> Result<Self, Failure> {
        if endpoints.is_empty() {
            if policies.is_empty() {
                return Ok(Self::default());
            }
            return Err(Failure::usage("--policy needs --endpoints")
                .advise("a policy selects endpoints by their labels: name a file that has them"));
        }
        let candidate = Candidate::read(endpoints, policies)?;
        candidate.warn()?;
        let compiled = Arc::new(candidate.compile(&BTreeSet::new()));
        let identities = Identities::new(candidate.table(&compiled).build());
        let policy = (!policies.is_empty()).then(|| Arc::new(Live::new(compiled)));
        Ok(Self { identities, policy })
    }
}

/// Endpoints, and policies that may be put into force for them.
pub(super) struct Candidate {
    inventory: Inventory,
    objects: Objects,
    enforcement: Enforcement,
    audit: AuditScope,
}

impl Candidate {
    /// Reads files of endpoints, and policies from files and folders.
    pub(super) fn read(endpoints: &[PathBuf], policies: &[PathBuf]) -> Result<Self, Failure> {
        let config = read_endpoints(endpoints)?;
        Self::new(config, read_objects(policies)?)
    }

    /// Policies that may be put into force for the endpoints of a configuration.
    pub(super) fn new(mut config: Config, mut objects: Objects) -> Result<Self, Failure> {
        be_everywhere(&mut config);
        let inventory = Inventory::from_config(&config, Vec::new())
            .map_err(|error| Failure::failed(UNUSABLE, error))?;
        objects.cidr_groups.append(&mut config.cidr_groups);
        Ok(Self {
            inventory,
            objects,
            enforcement: config.policies.enforcement,
            audit: config.policies.audit,
        })
    }

    /// Who is there, as the checks of policies want it.
    pub(super) fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// Groups of prefixes that policies may refer to.
    pub(super) fn cidr_groups(&self) -> &[policy_l7::CidrGroup] {
        &self.objects.cidr_groups
    }

    /// Says on standard error which selectors match nothing, and what is referred to in vain.
    pub(super) fn warn(&self) -> io::Result<()> {
        let mut err = io::stderr().lock();
        let policies = &self.objects.policies;
        for finding in lint::unmatched(policies, &self.inventory.identities()) {
            writeln!(err, "l7d: {finding}")?;
        }
        let services = self.inventory.services();
        for finding in dangling(policies, &self.surroundings(&services)) {
            writeln!(err, "l7d: {finding}")?;
        }
        Ok(())
    }

    fn surroundings<'s>(&'s self, services: &'s [policy_l7::Service]) -> Surroundings<'s> {
        Surroundings {
            cidr_groups: &self.objects.cidr_groups,
            services,
        }
    }

    /// The policies, compiled for these endpoints and what is known of addresses by their names.
    pub(super) fn compile(&self, named: &BTreeSet<Named>) -> Compiled {
        compile(&Inputs {
            policies: &self.objects.policies,
            surroundings: self.surroundings(&self.inventory.services()),
            identities: &self.inventory.identities(),
            endpoints: &self.inventory.local_endpoints(),
            port_names: &self.inventory.port_names(),
            enforcement: self.enforcement,
            audit: &self.audit,
            named,
            revision: 1,
        })
    }

    /// Named ports of endpoints by their labels.
    pub(super) fn named_ports(&self) -> Vec<(Labels, Vec<(String, u16)>)> {
        let endpoints = self.inventory.local_endpoints().into_iter();
        endpoints
            .map(|endpoint| (endpoint.labels, endpoint.named_ports))
            .collect()
    }

    /// Names of addresses.
    pub(super) fn table(&self, compiled: &Compiled) -> TableBuilder {
        self.inventory.table(compiled.prefixes())
    }
}

const UNUSABLE: &str = "the endpoints cannot be used";

/// Who is there, in l7d's own form or as Kubernetes objects; what says nothing about that is counted
/// on standard error.
pub(super) fn read_endpoints(paths: &[PathBuf]) -> Result<Config, Failure> {
    let told = config::read_inventory(paths).map_err(|error| Failure::failed(UNUSABLE, error))?;
    if !told.skipped.is_empty() {
        let kinds: Vec<String> = told
            .skipped
            .iter()
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        writeln!(
            io::stderr().lock(),
            "l7d: passed over, as they say nothing about endpoints: {}",
            kinds.join(", ")
        )?;
    }
    Ok(told.config)
}

/// There are no interfaces here: each endpoint is one whose policy counts.
fn be_everywhere(config: &mut Config) {
    for endpoint in &mut config.endpoints {
        endpoint.interface.get_or_insert(config::Interface::Found);
    }
}

/// Policies of files, and of folders of them. What they refer to is found among the groups of the
/// same files, and the services of these endpoints.
pub(super) fn read_policies(
    paths: &[PathBuf],
    endpoints: &[PathBuf],
) -> Result<Vec<Policy>, Failure> {
    let objects = read_objects(paths)?;
    if !objects.policies.iter().any(Policy::has_references) {
        return Ok(objects.policies);
    }
    let told = Candidate::new(read_endpoints(endpoints)?, objects)?;
    told.warn()?;
    let services = told.inventory.services();
    let surroundings = told.surroundings(&services);
    let policies = told.objects.policies.iter();
    Ok(policies
        .map(|policy| resolve(policy, &surroundings))
        .collect())
}

/// Policies, and the groups that they refer to, of files and of folders of them.
pub(super) fn read_objects(paths: &[PathBuf]) -> Result<Objects, Failure> {
    let mut objects = Objects::default();
    for path in paths {
        let (files, folder) = if path.is_dir() {
            (Vec::new(), Some(path.clone()))
        } else {
            (vec![path.clone()], None)
        };
        let mut store = PolicyStore::new(files, folder);
        let report = store.reload();
        if !report.errors.is_empty() {
            return Err(Failure::failed(
                "the policies cannot be used",
                report.errors.join("\n"),
            ));
        }
        objects.policies.extend(store.policies());
        objects.cidr_groups.extend(store.cidr_groups());
    }
    Ok(objects)
}

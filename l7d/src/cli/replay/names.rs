//! Who is who in a capture, and which policies it is held against.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use policy_l7::identity::Numbering;
use policy_l7::{Compiled, Inputs, compile, lint};

use crate::cli::failure::Failure;
use crate::config::{self, Config};
use crate::host::Inventory;
use crate::identity::{EndpointNumbers, Identities};
use crate::policy::{Live, PolicyStore};

/// Names of addresses, and the policies, if any were given.
#[derive(Default)]
pub(super) struct Names {
    pub(super) identities: Identities,
    pub(super) policy: Option<Arc<Live>>,
}

impl Names {
    /// Reads a file of endpoints, in the form of the agent's configuration, and policies from files
    /// and folders.
    pub(super) fn read(endpoints: Option<&PathBuf>, policies: &[PathBuf]) -> Result<Self, Failure> {
        let Some(file) = endpoints else {
            if policies.is_empty() {
                return Ok(Self::default());
            }
            return Err(Failure::usage("--policy needs --endpoints")
                .advise("a policy selects endpoints by their labels: name a file that has them"));
        };
        let mut config = config::read_config_file(file)
            .map_err(|error| Failure::failed("the endpoints cannot be used", error))?;
        be_everywhere(&mut config);
        let mut numbering = Numbering::default();
        let inventory = Inventory::from_config(
            &config,
            &mut EndpointNumbers::default(),
            &mut numbering,
            Vec::new(),
        )
        .map_err(|error| Failure::failed("the endpoints cannot be used", error))?;
        let compiled = Arc::new(compiled(&inventory, policies)?);
        let identities = Identities::new(inventory.table(compiled.prefixes()).build());
        let policy = (!policies.is_empty()).then(|| Arc::new(Live::new(compiled)));
        Ok(Self { identities, policy })
    }
}

/// A capture has no interfaces: each endpoint is one whose policy counts.
fn be_everywhere(config: &mut Config) {
    for endpoint in &mut config.endpoints {
        endpoint
            .interface
            .get_or_insert_with(|| "capture".to_owned());
    }
}

fn compiled(inventory: &Inventory, paths: &[PathBuf]) -> Result<Compiled, Failure> {
    let mut policies = Vec::new();
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
        policies.extend(store.policies());
    }
    let identities = inventory.identities();
    let mut err = io::stderr().lock();
    for finding in lint(&policies, &identities) {
        writeln!(
            err,
            "l7d: {}: {}: {}",
            finding.policy, finding.field, finding.message
        )?;
    }
    Ok(compile(&Inputs {
        policies: &policies,
        identities: &identities,
        endpoints: &inventory.local_endpoints(),
        named: &BTreeSet::new(),
        revision: 1,
    }))
}

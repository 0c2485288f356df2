//! What is allowed, and why.
//!
//! In: policies ([`read_objects`]) and who there is ([`Identity`], [`Endpoint`]). Out:
//! ([`compile()`]) entries for the kernel, and a judge of requests; every verdict names the policy
//! and the rule. No sockets, no kernel, no Kubernetes client: what is judged is a borrowed
//! [`Subject`], made from a live request, a recorded flow or a test case alike.
//!
//! ```
//! use policy_l7::{Direction, Endpoint, Inputs, compile, identity, read_objects};
//!
//! let policies = read_objects("web.yaml", r#"
//! apiVersion: cilium.io/v2
//! kind: CiliumNetworkPolicy
//! metadata: { name: web, namespace: shop }
//! spec:
//!   endpointSelector: { matchLabels: { app: web } }
//!   ingress:
//!   - fromEntities: [ world ]
//!     toPorts: [ { ports: [ { port: "80", protocol: TCP } ] } ]
//! "#).unwrap().policies;
//! let labels = ["app=web", "io.kubernetes.pod.namespace=shop"];
//! let endpoint = Endpoint {
//!     id: 16,
//!     identity: 300,
//!     labels: labels.iter().map(|label| label.parse().unwrap()).collect(),
//!     named_ports: Vec::new(),
//! };
//! let compiled = compile(&Inputs {
//!     policies: &policies,
//!     identities: &identity::reserved(),
//!     endpoints: &[endpoint],
//!     ..Inputs::default()
//! });
//! let verdict = |port| compiled.judge_connection(16, Direction::Ingress, identity::WORLD, 6, port);
//! assert!(matches!(verdict(80), policy_l7::ConnectionVerdict::Allow { rule: Some(_) }));
//! assert!(matches!(verdict(81), policy_l7::ConnectionVerdict::Deny { rule: None }));
//! ```

#![forbid(unsafe_code)]

mod cnp;
mod compile;
mod crowd;
mod error;
mod fqdn;
pub mod identity;
mod judge;
mod knp;
pub mod labels;
pub mod lint;
mod names;
mod objects;
mod paths;
mod pattern;
mod places;
mod resolve;
mod rule;
mod selector;
pub mod suggest;
mod whatif;
pub mod yaml;

pub use compile::{
    Action, AuditScope, Compiled, Compiler, Endpoint, EndpointPolicy, Enforcement, Entry, Inputs,
    Key, PolicySet, PortName, RuleId, SideMode, compile,
};
pub use error::{Error, nearest};
pub use fqdn::{NameSelectors, Named};
pub use identity::Identity;
pub use judge::{
    Connection, ConnectionVerdict, Deciding, Denial, Edited, Edits, Headers, HttpRequest,
    JudgedProtocol, Permit, Subject,
};
pub use labels::{Label, LabelError, Labels};
pub use lint::Finding;
pub use objects::{Objects, read_cidr_group, read_objects, read_objects_among_others};
pub use places::{Place, Places};
pub use resolve::{CidrGroup, Service, Surroundings, dangling, resolve};
pub use rule::{Direction, Policy, PolicyKind, Provenance};
pub use whatif::Needs;

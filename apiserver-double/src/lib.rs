//! A Kubernetes API server for tests.
//!
//! [`Double`] serves the API of a cluster that does not exist: objects are kept in memory, and what clients
//! depend on is as in a real one. There is one counter of versions over everything; a list is of one version
//! however many pages it takes; a watch tells every change behind a version once and in order, or says
//! `410 Gone`; writes meet conflicts, preconditions, defaults and RBAC rules; kinds of
//! `CustomResourceDefinition`s are there from the moment on that these are. `kubectl` works with it.
//!
//! Nothing runs in this cluster: there is no scheduler, kubelet or controller. Tests play their parts with
//! [`Double::put`] and [`Double::remove`], which may write what those may, `status` above all.
//!
//! What real servers do on bad days it does on command: [`Misbehaviour`], [`Double::compact`],
//! [`Double::stop`], [`Double::restore`].
//!
//! | file | what it decides |
//! |---|---|
//! | `server`, `connection` | when there is a server, and on which address |
//! | `asked` | what a request asks for |
//! | `handler` | who answers it |
//! | `store` | versions, lists, changes, and what a write may do |
//! | `watch` | which changes a watch tells, and as what |
//! | `patch` | what a patch makes of an object, and whose fields are whose |
//! | `admission` | what the server itself writes into objects |
//! | `form` | tables for `kubectl get`, and lists of metadata |
//! | `access` | who may do what |
//! | `faults` | misbehaviour |
//! | `given` | a server that is given, before which this one stands |

#![forbid(unsafe_code)]

mod access;
mod admission;
mod answer;
mod asked;
mod connection;
mod discovery;
mod events;
mod faults;
mod form;
mod given;
mod handler;
mod kinds;
mod patch;
mod place;
mod protobuf;
mod refusal;
mod selector;
mod server;
mod store;
mod watch;

pub use access::Permission;
pub use asked::Verb;
pub use faults::{Misbehaviour, On};
pub use refusal::Refusal;
pub use server::{Asked, Bind, Double, Options, Tls, User};
pub use store::Snapshot;

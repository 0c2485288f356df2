//! Which door a connection takes, and the judge of the enforced one.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;

use policy_l7::{
    Compiled, Connection, ConnectionVerdict, Edited, Edits, HttpRequest, JudgedProtocol, Subject,
};

use super::live::{Live, State};
use crate::record::{
    self, Direction, EndpointId, IdentityNumber, Outcome, Party, PolicyRef, Verdict,
};
use crate::session::RequestVerdict;

/// The way a proxied connection takes.
#[derive(Debug)]
pub enum Door {
    /// Looked at, never judged.
    Watch,
    /// Every request is judged before its bytes go on.
    Enforce(Judge),
}

const UDP: u8 = 17;

/// What is expected to be spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Policy is about names that are looked up.
    Dns,
    /// It is about requests, or about nothing that is read: then requests are the most likely.
    Http,
    /// It is about both: the first bytes tell which.
    HttpOrTls,
    /// It is about the names of servers.
    Tls,
}

/// Judges the requests of one connection by the policy of the moment of each request.
///
/// Both ends may have a policy: the sender's egress and the receiver's ingress are asked, and both
/// must allow.
#[derive(Debug)]
pub struct Judge {
    live: Arc<Live>,
    /// IP protocol.
    protocol: u8,
    port: u16,
    egress: Option<Side>,
    ingress: Option<Side>,
    /// Of what is judged more than once; a datagram is not.
    kept: Option<Box<Kept>>,
}

/// What is kept from one request to the next. A worker alone asks.
#[derive(Debug)]
struct Kept {
    /// The other end, as the sender sees it and as the receiver does.
    remotes: [SocketAddr; 2],
    view: RefCell<Option<View>>,
}

/// One endpoint's view of the connection.
#[derive(Debug, Clone, Copy)]
struct Side {
    endpoint: EndpointId,
    direction: policy_l7::Direction,
    remote: IdentityNumber,
}

/// What one version of the policies has about the connection: looked up once for all its requests.
#[derive(Debug)]
struct View {
    of: Arc<Compiled>,
    /// The sender's, and the receiver's.
    sides: [Option<(Side, Connection)>; 2],
}

/// A request that policy allowed. Only [`Judge::judge`] makes one, and whoever goes on with a request that
/// the judge of a former process had allowed.
#[derive(Debug)]
#[must_use = "a permit is what lets a request's bytes go on"]
pub struct Permit {
    policies: Arc<[PolicyRef]>,
    /// Whose policies they are, if there are any.
    direction: Option<Direction>,
    edits: Edits,
    /// What would have denied it if nothing were only audited.
    audited: Option<Box<Denial>>,
    /// Kept alive so that the policy that allowed the request is the one its record names: the
    /// sender's, and the receiver's.
    by: [Option<policy_l7::Permit>; 2],
}

/// A request that policy denied.
#[derive(Debug)]
pub struct Denial {
    /// The policies that would have had to allow it.
    pub policies: Arc<[PolicyRef]>,
    /// Which side denied.
    pub direction: Direction,
    /// Whether policy denied it, or what else is wrong with it.
    pub outcome: Outcome,
    /// The rule that came nearest and what differed, for the reader; may be empty.
    pub detail: String,
}

impl Permit {
    /// For a request that a former process has judged, and recorded, and whose head the server has.
    pub fn inherited() -> Self {
        Self {
            policies: record::no_policies(),
            direction: None,
            edits: Edits::default(),
            audited: None,
            by: [None, None],
        }
    }

    /// The policies that allowed it.
    pub fn policies(&self) -> &Arc<[PolicyRef]> {
        &self.policies
    }

    /// What is to be changed of the request.
    pub fn edits(&self) -> &Edits {
        &self.edits
    }

    /// What would have denied it if nothing were only audited.
    pub fn audited(&self) -> Option<&Denial> {
        self.audited.as_deref()
    }

    /// Whose policies allowed it: the receiver's where it has any; none where nobody's had to.
    pub fn direction(&self) -> Option<Direction> {
        self.direction
    }
}

impl From<&Permit> for RequestVerdict {
    fn from(permit: &Permit) -> Self {
        if let Some(denial) = &permit.audited {
            return Self {
                verdict: Verdict::Audit,
                direction: Some(denial.direction),
                detail: denial.detail.clone(),
                policies: Arc::clone(&denial.policies),
                ..Self::unjudged()
            };
        }
        Self {
            direction: permit.direction,
            detail: permit.edits.to_string(),
            policies: Arc::clone(&permit.policies),
            ..Self::unjudged()
        }
    }
}

impl From<Denial> for RequestVerdict {
    fn from(denial: Denial) -> Self {
        Self {
            verdict: Verdict::Dropped,
            outcome: denial.outcome,
            direction: Some(denial.direction),
            detail: denial.detail,
            policies: denial.policies,
        }
    }
}

impl Judge {
    /// The judge of a connection, whether or not anything is to be judged on it.
    pub(super) fn new(live: &Arc<Live>, source: &Party, destination: &Party, protocol: u8) -> Self {
        Self {
            live: Arc::clone(live),
            protocol,
            port: destination.addr.port(),
            egress: Side::of(source, policy_l7::Direction::Egress, destination),
            ingress: Side::of(destination, policy_l7::Direction::Ingress, source),
            kept: (protocol != UDP).then(|| {
                Box::new(Kept {
                    remotes: [destination.addr, source.addr],
                    view: RefCell::new(None),
                })
            }),
        }
    }

    /// The judge of a connection, if policy at either end wants its requests judged.
    pub(super) fn for_connection(
        live: &Arc<Live>,
        source: &Party,
        destination: &Party,
        protocol: u8,
    ) -> Option<Self> {
        let judge = Self::new(live, source, destination, protocol);
        let is_judged = live.with(|state| {
            judge.sides().any(|side| {
                !matches!(
                    judge.connection_verdict(&state.compiled, side),
                    ConnectionVerdict::Allow { .. }
                )
            })
        });
        is_judged.then_some(judge)
    }

    fn sides(&self) -> impl Iterator<Item = Side> {
        [self.egress, self.ingress].into_iter().flatten()
    }

    fn connection_verdict(&self, compiled: &Compiled, side: Side) -> ConnectionVerdict {
        let Subject {
            endpoint,
            direction,
            remote,
            protocol,
            port,
        } = self.subject(side);
        compiled.judge_connection(endpoint, direction, remote, protocol, port)
    }

    fn subject(&self, side: Side) -> Subject {
        Subject {
            endpoint: side.endpoint.0,
            direction: side.direction,
            remote: side.remote.0,
            protocol: self.protocol,
            port: self.port,
        }
    }

    /// What policy expects to be spoken.
    pub fn expected(&self) -> Expected {
        let is_expected = |protocol| {
            self.live.with(|state| {
                self.sides().any(|side| {
                    let subject = self.subject(side);
                    state.compiled.judges_in(&subject, protocol)
                })
            })
        };
        let is_http = is_expected(JudgedProtocol::Http);
        match (is_http, is_expected(JudgedProtocol::Tls)) {
            (true, true) => Expected::HttpOrTls,
            (false, true) => Expected::Tls,
            (false, false) if is_expected(JudgedProtocol::Dns) => Expected::Dns,
            (_, false) => Expected::Http,
        }
    }

    /// The side whose rules are shown on records: the receiver's where it has any.
    pub fn direction(&self) -> Direction {
        let redirects = |side: Option<Side>| {
            side.is_some_and(|side| {
                self.live.with(|state| {
                    matches!(
                        self.connection_verdict(&state.compiled, side),
                        ConnectionVerdict::Redirect { .. }
                    )
                })
            })
        };
        if redirects(self.ingress) || self.egress.is_none() {
            Direction::Ingress
        } else {
            Direction::Egress
        }
    }

    /// Judges one request by the policy of this moment.
    ///
    /// # Errors
    /// The [`Denial`], when either end's policy does not allow the request.
    pub fn judge(&self, request: &HttpRequest<'_>) -> Result<Permit, Denial> {
        // The receiver's policy sees what the sender's makes of the request.
        self.ask(
            |connection, edits| {
                let headers = Edited {
                    fields: request.headers,
                    edits,
                };
                let request = HttpRequest {
                    headers: &headers,
                    ..*request
                };
                connection.judge_http(&request)
            },
            |connection| connection.audit_http(request),
        )
    }

    /// Judges one DNS query by the policy of this moment: by its name, in lower case and with its last
    /// dot.
    ///
    /// # Errors
    /// The [`Denial`], when either end's policy does not allow the name.
    pub fn judge_name(&self, name: &[u8]) -> Result<Permit, Denial> {
        self.ask(
            |connection, _| connection.judge_dns(name),
            |connection| connection.audit_dns(name),
        )
    }

    /// Asks both ends' policies: `in_force` of what they allow, and then `audited` of what they would
    /// deny if nothing were only audited.
    pub(super) fn ask(
        &self,
        in_force: impl Fn(&Connection, &Edits) -> Result<policy_l7::Permit, Box<policy_l7::Denial>>,
        audited: impl Fn(&Connection) -> Option<Box<policy_l7::Denial>>,
    ) -> Result<Permit, Denial> {
        self.live.with(|state| {
            let mut permit = Permit {
                policies: record::no_policies(),
                direction: None,
                edits: Edits::default(),
                audited: None,
                by: [None, None],
            };
            let (mut kept, once);
            let view = if let Some(of) = &self.kept {
                kept = of.view.borrow_mut();
                let is_other = |view: &View| !Arc::ptr_eq(&view.of, &state.compiled);
                if kept.as_ref().is_some_and(is_other) {
                    *kept = None;
                }
                &*kept.get_or_insert_with(|| self.look(&state.compiled))
            } else {
                once = self.look(&state.compiled);
                &once
            };
            let sides = &view.sides;
            for (side, by) in sides.iter().zip(0..) {
                let Some((side, connection)) = side else {
                    continue;
                };
                let of_side = in_force(connection, &permit.edits)
                    .map_err(|denial| side.denial(state, &denial))?;
                permit.take(state, *side, by, of_side);
            }
            permit.audited = sides.iter().flatten().find_map(|(side, connection)| {
                let denial = audited(connection)?;
                Some(Box::new(side.denial(state, &denial)))
            });
            Ok(permit)
        })
    }

    /// What a policy has about the connection.
    fn look(&self, policy: &Arc<Compiled>) -> View {
        // Which identity an address has may be another one with other policies.
        let remote = |at: usize| {
            let remotes = self.kept.as_ref().map(|kept| &kept.remotes);
            self.live.identity_of(*remotes?.get(at)?)
        };
        let look = |side: Option<Side>, at| {
            let mut side = side?;
            side.remote = remote(at).unwrap_or(side.remote);
            Some((side, policy.connection(&self.subject(side))))
        };
        View {
            of: Arc::clone(policy),
            sides: [look(self.egress, 0), look(self.ingress, 1)],
        }
    }
}

impl Permit {
    /// One side has allowed it. The receiver's rule is shown, unless it has none and everything goes
    /// there.
    fn take(&mut self, state: &State, side: Side, at: usize, mut of_side: policy_l7::Permit) {
        self.edits.append(of_side.take_edits());
        if let Some(rule) = of_side.rule() {
            self.policies = state.refs(rule);
            self.direction = Some(side.record_direction());
        }
        if let Some(by) = self.by.get_mut(at) {
            *by = Some(of_side);
        }
    }
}

impl Side {
    fn of(party: &Party, direction: policy_l7::Direction, other: &Party) -> Option<Self> {
        let endpoint = party.endpoint.as_deref()?;
        (endpoint.id != EndpointId(0)).then_some(Self {
            endpoint: endpoint.id,
            direction,
            remote: other.identity,
        })
    }

    fn denial(self, state: &State, denial: &policy_l7::Denial) -> Denial {
        Denial {
            policies: state.refs_of(denial.policies()),
            direction: self.record_direction(),
            outcome: if denial.is_ambiguous() {
                Outcome::AmbiguousPath
            } else {
                Outcome::PolicyDenied
            },
            detail: denial.to_string(),
        }
    }

    fn record_direction(self) -> Direction {
        match self.direction {
            policy_l7::Direction::Egress => Direction::Egress,
            policy_l7::Direction::Ingress => Direction::Ingress,
        }
    }
}

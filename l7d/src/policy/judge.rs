//! Which door a connection takes, and the judge of the enforced one.

use std::sync::Arc;

use policy_l7::{Compiled, ConnectionVerdict, HttpRequest, JudgedProtocol, Subject};

use super::live::{Live, State};
use crate::record::{Direction, EndpointId, IdentityNumber, Party, PolicyRef};

/// The way a proxied connection takes.
#[derive(Debug)]
pub enum Door {
    /// Looked at, never judged.
    Watch,
    /// Every request is judged before its bytes go on.
    Enforce(Judge),
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
}

/// One endpoint's view of the connection.
#[derive(Debug, Clone, Copy)]
struct Side {
    endpoint: EndpointId,
    direction: policy_l7::Direction,
    remote: IdentityNumber,
}

/// A request that policy allowed. Only [`Judge::judge`] makes one.
#[derive(Debug)]
#[must_use = "a permit is what lets a request's bytes go on"]
pub struct Permit {
    policies: Arc<[PolicyRef]>,
    // Kept alive so that the policy that allowed the request is the one its record names.
    _egress: Option<policy_l7::Permit>,
    _ingress: Option<policy_l7::Permit>,
}

/// A request that policy denied.
#[derive(Debug)]
pub struct Denial {
    /// The policies that would have had to allow it.
    pub policies: Arc<[PolicyRef]>,
    /// Which side denied.
    pub direction: Direction,
    /// The rule that came nearest and what differed, for the reader; may be empty.
    pub detail: String,
}

impl Permit {
    /// The policies that allowed it.
    pub fn policies(&self) -> &Arc<[PolicyRef]> {
        &self.policies
    }
}

impl Judge {
    /// The judge of a connection, if policy at either end wants its requests judged.
    pub(super) fn for_connection(
        live: &Arc<Live>,
        source: &Party,
        destination: &Party,
        protocol: u8,
    ) -> Option<Self> {
        let judge = Self {
            live: Arc::clone(live),
            protocol,
            port: destination.addr.port(),
            egress: Side::of(source, policy_l7::Direction::Egress, destination),
            ingress: Side::of(destination, policy_l7::Direction::Ingress, source),
        };
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

    /// The protocol that policy expects requests in.
    pub fn protocol(&self) -> JudgedProtocol {
        let expected = |state: &State| {
            let sides = self.sides().map(|side| self.subject(side));
            sides
                .filter_map(|subject| state.compiled.judged_protocol(&subject))
                .max()
        };
        self.live.with(expected).unwrap_or(JudgedProtocol::Http)
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
        self.judge_by(|compiled, subject| compiled.judge_http(subject, request))
    }

    /// Judges one DNS query by the policy of this moment: by its name, in lower case and with its last
    /// dot.
    ///
    /// # Errors
    /// The [`Denial`], when either end's policy does not allow the name.
    pub fn judge_name(&self, name: &[u8]) -> Result<Permit, Denial> {
        self.judge_by(|compiled, subject| compiled.judge_dns(subject, name))
    }

    fn judge_by(
        &self,
        ask: impl Fn(&Arc<Compiled>, &Subject) -> Result<policy_l7::Permit, Box<policy_l7::Denial>>,
    ) -> Result<Permit, Denial> {
        self.live.with(|state| {
            let of_side = |side: Option<Side>| {
                let Some(side) = side else { return Ok(None) };
                match ask(&state.compiled, &self.subject(side)) {
                    Ok(permit) => Ok(Some(permit)),
                    Err(denial) => Err(Denial {
                        policies: state.refs_of(denial.policies()),
                        direction: side.record_direction(),
                        detail: denial.to_string(),
                    }),
                }
            };
            let egress = of_side(self.egress)?;
            let ingress = of_side(self.ingress)?;
            let rule = ingress
                .as_ref()
                .or(egress.as_ref())
                .and_then(policy_l7::Permit::rule);
            let policies = rule.map_or_else(crate::record::no_policies, |rule| state.refs(rule));
            Ok(Permit {
                policies,
                _egress: egress,
                _ingress: ingress,
            })
        })
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

    fn record_direction(self) -> Direction {
        match self.direction {
            policy_l7::Direction::Egress => Direction::Egress,
            policy_l7::Direction::Ingress => Direction::Ingress,
        }
    }
}

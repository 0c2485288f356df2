//! Which door a connection takes, and the judge of the enforced one.

use std::sync::Arc;

use policy_l7::{Compiled, ConnectionVerdict, HttpRequest, Subject};

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
    ) -> Option<Self> {
        let port = destination.addr.port();
        let egress = Side::of(source, policy_l7::Direction::Egress, destination);
        let ingress = Side::of(destination, policy_l7::Direction::Ingress, source);
        let judged = live.with(|state| {
            [egress, ingress].into_iter().flatten().any(|side| {
                !matches!(
                    side.connection_verdict(&state.compiled, port),
                    ConnectionVerdict::Allow { .. }
                )
            })
        });
        judged.then(|| Self {
            live: Arc::clone(live),
            port,
            egress,
            ingress,
        })
    }

    /// The side whose rules are shown on records: the receiver's where it has any.
    pub fn direction(&self) -> Direction {
        let redirects = |side: Option<Side>| {
            side.is_some_and(|side| {
                self.live.with(|state| {
                    matches!(
                        side.connection_verdict(&state.compiled, self.port),
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
        self.live.with(|state| {
            let egress = self.judge_side(state, self.egress, request)?;
            let ingress = self.judge_side(state, self.ingress, request)?;
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

    fn judge_side(
        &self,
        state: &State,
        side: Option<Side>,
        request: &HttpRequest<'_>,
    ) -> Result<Option<policy_l7::Permit>, Denial> {
        let Some(side) = side else { return Ok(None) };
        let subject = Subject {
            endpoint: side.endpoint.0,
            direction: side.direction,
            remote: side.remote.0,
            port: self.port,
            request: *request,
        };
        match state.compiled.judge_http(&subject) {
            Ok(permit) => Ok(Some(permit)),
            Err(denial) => Err(Denial {
                policies: state.refs_of(denial.policies()),
                direction: side.record_direction(),
                detail: denial.to_string(),
            }),
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

    fn connection_verdict(self, compiled: &Compiled, port: u16) -> ConnectionVerdict {
        const TCP: u8 = 6;
        compiled.judge_connection(self.endpoint.0, self.direction, self.remote.0, TCP, port)
    }

    fn record_direction(self) -> Direction {
        match self.direction {
            policy_l7::Direction::Egress => Direction::Egress,
            policy_l7::Direction::Ingress => Direction::Ingress,
        }
    }
}

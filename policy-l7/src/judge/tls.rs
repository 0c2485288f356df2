//! May a TLS connection to this server name pass?

use std::sync::Arc;

use super::connection::Connection;
use super::dns::distance;
use super::{Candidate, Denial, NEAREST_OF_MAX, Permit, Subject};
use crate::compile::{Compiled, RuleId, Scope, ScopeL7};

impl Connection {
    /// Judges a TLS connection by the server name of its `ClientHello`, in lower case and with a last
    /// dot behind it; without a name, nothing that `serverNames` lists is asked for.
    ///
    /// # Errors
    /// The denial, with the rule that came nearest.
    pub fn judge_server_name(&self, name: Option<&[u8]>) -> Result<Permit, Box<Denial>> {
        self.judge(
            |scope| scope.allows_server(name),
            |scope| scope.nearest_tls(name),
        )
    }

    /// What would deny the connection if nothing were only audited.
    pub fn audit_server_name(&self, name: Option<&[u8]>) -> Option<Box<Denial>> {
        self.audit(
            |scope| scope.allows_server(name),
            |scope| scope.nearest_tls(name),
        )
    }

    /// Judges a connection whose bytes nobody can read: only what allows everything allows it.
    ///
    /// # Errors
    /// The denial.
    pub fn judge_unread(&self) -> Result<Permit, Box<Denial>> {
        self.judge(Scope::allows_unread, Scope::nearest_of_other_protocol)
    }

    /// What would deny it if nothing were only audited.
    pub fn audit_unread(&self) -> Option<Box<Denial>> {
        self.audit(Scope::allows_unread, Scope::nearest_of_other_protocol)
    }
}

impl Compiled {
    /// [`Connection::judge_server_name`] on a connection of its own.
    ///
    /// # Errors
    /// The denial.
    pub fn judge_server_name(
        self: &Arc<Self>,
        subject: &Subject,
        name: Option<&[u8]>,
    ) -> Result<Permit, Box<Denial>> {
        self.connection(subject).judge_server_name(name)
    }

    /// [`Connection::judge_unread`] on a connection of its own.
    ///
    /// # Errors
    /// The denial.
    pub fn judge_unread(self: &Arc<Self>, subject: &Subject) -> Result<Permit, Box<Denial>> {
        self.connection(subject).judge_unread()
    }
}

impl Scope {
    fn allows_unread(&self) -> Option<RuleId> {
        matches!(self.l7, ScopeL7::Nothing).then_some(self.rule)
    }

    fn allows_server(&self, name: Option<&[u8]>) -> Option<RuleId> {
        match &self.l7 {
            ScopeL7::Nothing => Some(self.rule),
            ScopeL7::Tls { names, ids } => {
                let asked = name?;
                let first = names.iter().position(|of| of.name.matches(asked))?;
                ids.get(first).copied()
            }
            ScopeL7::Dns { .. } | ScopeL7::Http { .. } => None,
        }
    }

    /// The name that shares the longest end with the one asked for.
    fn nearest_tls(&self, name: Option<&[u8]>) -> Option<Candidate> {
        let ScopeL7::Tls { names, ids } = &self.l7 else {
            return self.nearest_of_other_protocol();
        };
        let asked = name.map(|name| name.strip_suffix(b".").unwrap_or(name));
        let listed = names.iter().zip(ids.iter()).take(NEAREST_OF_MAX);
        let far = |of: &str| asked.map_or(usize::MAX, |asked| distance(asked, of.as_bytes()));
        let (of, id) = listed.min_by_key(|(of, _)| far(&of.name.source))?;
        let wanted = &of.name.source;
        Some(Candidate {
            distance: far(wanted),
            id: *id,
            difference: match asked {
                Some(asked) => format!("server name {} is not {wanted}", asked.escape_ascii()),
                None => format!("the client names no server, and so not {wanted}"),
            },
        })
    }
}

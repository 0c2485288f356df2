//! A TLS connection is judged by the one name that it asks for.

use parsers::tls::ClientHello;
use policy_l7::Connection;

use super::judge::{Denial, Judge, Permit};

impl Judge {
    /// Asks the policy of this moment about a hello. One in which another reader could find another
    /// name is denied whatever the names.
    ///
    /// # Errors
    /// The [`Denial`], with the rule of TLS that it breaks or the rule of a policy that came nearest.
    pub fn judge_hello(&self, hello: &ClientHello) -> Result<Permit, Denial> {
        let name = hello
            .sole_server_name()
            .map_err(|error| self.unfit(error.to_string()))?;
        self.judge_server_name(name)
    }

    /// Judges a TLS connection by the name that its client asks for, as sent; without a name, none
    /// of the names that policies list is asked for.
    ///
    /// # Errors
    /// The [`Denial`], when either end's policy does not allow the name.
    pub fn judge_server_name(&self, name: Option<&[u8]>) -> Result<Permit, Denial> {
        let lower = name.map(|name| [&name.to_ascii_lowercase()[..], b"."].concat());
        let lower = lower.as_deref();
        self.ask(
            |connection, _| connection.judge_server_name(lower),
            |connection| connection.audit_server_name(lower),
        )
    }

    /// Judges a connection whose bytes nobody can read: allowed where everything is.
    ///
    /// # Errors
    /// The [`Denial`], when either end's policy wants to know what is said.
    pub fn judge_unread(&self) -> Result<Permit, Denial> {
        self.ask(
            |connection, _| connection.judge_unread(),
            Connection::audit_unread,
        )
    }
}

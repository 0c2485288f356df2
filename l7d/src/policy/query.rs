//! A DNS query is judged by the one name that it asks for.

use parsers::dns::{Message, Name, check_query};

use super::judge::{Denial, Judge, Permit};
use crate::record::{self, Outcome};

impl Judge {
    /// Asks the policy of this moment about a query. One that could mean more than its name says is
    /// denied whatever the policy.
    ///
    /// # Errors
    /// The [`Denial`], with the rule of DNS that it breaks or the rule of a policy that came nearest.
    pub fn judge_query(&self, query: &Message<'_>) -> Result<Permit, Denial> {
        let question = check_query(query).map_err(|error| self.unfit(error.to_string()))?;
        let mut room = [0; Name::TEXT_MAX];
        match question.name().to_lower(&mut room) {
            Some(name) => self.judge_name(name.as_bytes()),
            None => Err(self.unfit("the name cannot be read".to_owned())),
        }
    }

    /// The denial of what cannot be judged, for a reason that is not policy's.
    pub fn unfit(&self, detail: String) -> Denial {
        Denial {
            policies: record::no_policies(),
            direction: self.direction(),
            outcome: Outcome::ParseError,
            detail,
        }
    }
}

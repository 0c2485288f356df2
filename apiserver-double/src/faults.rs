//! Misbehaviour on command.

use std::time::Duration;

use parking_lot::Mutex;

use crate::asked::Verb;

/// What the server does instead of what it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misbehaviour {
    /// Answers later.
    Delay(Duration),
    /// Never answers; the connection stays.
    Hang,
    /// Closes the connection without an answer.
    Drop,
    /// `429 Too Many Requests`, with the seconds of `Retry-After`.
    TooManyRequests(u64),
    /// `500 Internal Server Error`.
    InternalError,
    /// `410 Gone`: at once for lists, as an event behind so many events for watches.
    Expire(usize),
    /// `410 Gone` at once, as the answer's own status, for watches too: servers do so where they know before
    /// the first event that a version is too old.
    Refuse,
    /// Cuts the answer to a list off behind so many objects.
    BreakList(usize),
    /// Ends a watch behind so many events.
    CloseWatch(usize),
    /// Cuts a watch off in the middle of a line, behind so many events.
    BreakWatch(usize),
    /// Sends nothing any more behind so many events; the connection stays.
    SilenceWatch(usize),
    /// Writes a line that is no JSON behind so many events, and goes on.
    GarbleWatch(usize),
}

impl Misbehaviour {
    const fn is_of_watch(&self) -> bool {
        matches!(
            self,
            Self::Expire(_)
                | Self::CloseWatch(_)
                | Self::BreakWatch(_)
                | Self::SilenceWatch(_)
                | Self::GarbleWatch(_)
        )
    }

    /// Behind so many events.
    pub(crate) const fn events(&self) -> usize {
        match self {
            Self::Expire(events)
            | Self::CloseWatch(events)
            | Self::BreakWatch(events)
            | Self::SilenceWatch(events)
            | Self::GarbleWatch(events) => *events,
            _ => 0,
        }
    }
}

/// Which requests are meant; what is not said is any.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct On {
    /// What is asked.
    pub verb: Option<Verb>,
    /// About which kind, in the plural.
    pub resource: Option<&'static str>,
}

impl On {
    /// All requests.
    pub const ANY: Self = Self {
        verb: None,
        resource: None,
    };

    /// One verb about one kind.
    pub const fn of(verb: Verb, resource: &'static str) -> Self {
        Self {
            verb: Some(verb),
            resource: Some(resource),
        }
    }

    fn means(&self, verb: Option<Verb>, resource: &str) -> bool {
        self.verb.is_none_or(|wanted| Some(wanted) == verb)
            && self.resource.is_none_or(|wanted| wanted == resource)
    }
}

#[derive(Debug)]
struct Fault {
    on: On,
    what: Misbehaviour,
    /// None until it is lifted.
    times: Option<usize>,
}

/// What is wrong at present.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Vec<Fault>>);

impl Faults {
    pub(crate) fn add(&self, on: On, what: Misbehaviour, times: Option<usize>) {
        self.0.lock().push(Fault { on, what, times });
    }

    pub(crate) fn lift(&self) {
        self.0.lock().clear();
    }

    /// What goes wrong with a request, before it is answered; what goes wrong later in a watch is asked
    /// for by [`Self::of_watch`].
    pub(crate) fn of_request(&self, verb: Option<Verb>, resource: &str) -> Option<Misbehaviour> {
        self.find(|fault| {
            let is_later = verb == Some(Verb::Watch) && fault.what.is_of_watch();
            let is_watchs = verb != Some(Verb::Watch)
                && fault.what.is_of_watch()
                && !matches!(fault.what, Misbehaviour::Expire(_));
            let is_lists =
                verb != Some(Verb::List) && matches!(fault.what, Misbehaviour::BreakList(_));
            fault.on.means(verb, resource) && !is_later && !is_watchs && !is_lists
        })
    }

    /// What goes wrong with a watch that runs.
    pub(crate) fn of_watch(&self, resource: &str) -> Option<Misbehaviour> {
        self.find(|fault| fault.what.is_of_watch() && fault.on.means(Some(Verb::Watch), resource))
    }

    fn find(&self, is_meant: impl Fn(&Fault) -> bool) -> Option<Misbehaviour> {
        let mut faults = self.0.lock();
        let index = faults.iter().position(is_meant)?;
        let fault = faults.get_mut(index)?;
        let what = fault.what.clone();
        if let Some(times) = &mut fault.times {
            *times = times.saturating_sub(1);
            if *times == 0 {
                faults.remove(index);
            }
        }
        Some(what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_meet_whom_they_are_meant_for_as_often_as_said() {
        let faults = Faults::default();
        faults.add(
            On::of(Verb::List, "pods"),
            Misbehaviour::InternalError,
            Some(2),
        );
        faults.add(On::ANY, Misbehaviour::CloseWatch(1), None);
        assert_eq!(faults.of_request(Some(Verb::List), "nodes"), None);
        for _ in 0..2 {
            assert_eq!(
                faults.of_request(Some(Verb::List), "pods"),
                Some(Misbehaviour::InternalError)
            );
        }
        assert_eq!(faults.of_request(Some(Verb::List), "pods"), None);
        assert_eq!(faults.of_request(Some(Verb::Watch), "pods"), None, "later");
        assert_eq!(faults.of_watch("pods"), Some(Misbehaviour::CloseWatch(1)));
        faults.lift();
        assert_eq!(faults.of_watch("pods"), None);
    }
}

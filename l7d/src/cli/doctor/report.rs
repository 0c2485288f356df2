//! What is concluded: findings, and what they mean for what l7d does.

use serde::Serialize;

/// How something works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// In full.
    Ok,
    /// It could not be looked at.
    Unseen,
    /// In part.
    Part,
    /// Not at all.
    No,
}

impl State {
    /// The word in the table.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unseen => "?",
            Self::Part => "part",
            Self::No => "no",
        }
    }
}

/// What l7d does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Function {
    /// Records of packets and connections, and their policies.
    Packets,
    /// Requests of ports that are only watched.
    Tap,
    /// Requests of enforced ports, and their policies.
    Proxy,
    /// Names over UDP.
    Dns,
    /// What the kernel drops.
    Drops,
    /// Services whose addresses are translated.
    Services,
    /// Processes of this host.
    Host,
    /// What the API server tells.
    Cluster,
    /// Flows and metrics for others.
    Clients,
}

impl Function {
    /// All, in the order of the report.
    pub(super) const ALL: [Self; 9] = [
        Self::Packets,
        Self::Tap,
        Self::Proxy,
        Self::Dns,
        Self::Drops,
        Self::Services,
        Self::Host,
        Self::Cluster,
        Self::Clients,
    ];
    /// Everything that begins with a packet.
    pub(super) const OF_PACKETS: [Self; 7] = [
        Self::Packets,
        Self::Tap,
        Self::Proxy,
        Self::Dns,
        Self::Drops,
        Self::Services,
        Self::Host,
    ];

    /// What people call it.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Packets => "packets and connections, and their policies",
            Self::Tap => "requests on watched ports (tap)",
            Self::Proxy => "requests on enforced ports (proxy), and their policies",
            Self::Dns => "DNS over UDP (proxy)",
            Self::Drops => "what the kernel drops, and why",
            Self::Services => "who serves behind translated addresses",
            Self::Host => "processes of this host (host.ports)",
            Self::Cluster => "pods and policies of the cluster",
            Self::Clients => "flows and metrics for clients",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Finding {
    /// What it is called, for scripts: area and name.
    pub(super) check: &'static str,
    pub(super) state: State,
    /// What was found.
    pub(super) found: String,
    /// What does not work because of it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) meaning: String,
    /// What to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) advice: String,
    /// What of l7d's functions works how because of it.
    #[serde(skip)]
    pub(super) on: Vec<(Function, State)>,
}

impl Finding {
    /// As it should be.
    pub(super) fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self {
            check,
            state: State::Ok,
            found: found.into(),
            meaning: String::new(),
            advice: String::new(),
            on: Vec::new(),
        }
    }

    /// Could not be looked at, and with which right it can.
    pub(super) fn unseen(check: &'static str, how: impl Into<String>) -> Self {
        Self {
            state: State::Unseen,
            advice: how.into(),
            ..Self::ok(check, "not looked at")
        }
    }

    /// Something works in part only.
    pub(super) fn part(mut self, meaning: impl Into<String>) -> Self {
        self.state = State::Part;
        self.meaning = meaning.into();
        self
    }

    /// Something does not work.
    pub(super) fn no(mut self, meaning: impl Into<String>) -> Self {
        self.state = State::No;
        self.meaning = meaning.into();
        self
    }

    /// What to do.
    pub(super) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }

    /// What of l7d works how because of it.
    pub(super) fn on(mut self, functions: &[Function], state: State) -> Self {
        self.on
            .extend(functions.iter().map(|function| (*function, state)));
        self
    }

    /// The part of its name that groups findings.
    pub(super) fn area(&self) -> &'static str {
        self.check.split('.').next().unwrap_or(self.check)
    }
}

/// How one of l7d's functions works here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Working {
    pub(super) function: Function,
    pub(super) title: &'static str,
    pub(super) state: State,
    /// Findings that it does not work in full because of.
    pub(super) because: Vec<&'static str>,
}

/// Everything that was concluded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// l7d's.
    pub(super) version: String,
    pub(super) node: String,
    pub(super) kernel: String,
    pub(super) functions: Vec<Working>,
    pub(super) findings: Vec<Finding>,
}

impl Report {
    /// The worst of all.
    pub(super) fn state(&self) -> State {
        let states = self.findings.iter().map(|finding| finding.state);
        states.max().unwrap_or(State::Ok)
    }
}

/// What findings mean for functions.
pub(super) fn working(functions: &[Function], findings: &[Finding]) -> Vec<Working> {
    let one = |function: &Function| {
        let mut state = State::Ok;
        let mut because = Vec::new();
        for finding in findings {
            let on = finding.on.iter().filter(|(of, _)| of == function);
            let Some(effect) = on.map(|(_, effect)| *effect).max() else {
                continue;
            };
            if effect > State::Ok {
                state = state.max(effect);
                because.push(finding.check);
            }
        }
        Working {
            function: *function,
            title: function.title(),
            state,
            because,
        }
    };
    functions.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_as_well_as_the_worst_that_concerns_it() {
        let findings = [
            Finding::ok("a.fine", "yes").on(&[Function::Tap], State::Ok),
            Finding::ok("a.poor", "")
                .part("less")
                .on(&[Function::Tap, Function::Dns], State::Part),
            Finding::ok("a.bad", "")
                .part("nothing of DNS")
                .on(&[Function::Dns], State::No),
        ];
        let works = working(&[Function::Tap, Function::Dns, Function::Proxy], &findings);
        let told: Vec<_> = works
            .iter()
            .map(|of| (of.state, of.because.as_slice()))
            .collect();
        assert_eq!(
            told,
            [
                (State::Part, ["a.poor"].as_slice()),
                (State::No, &["a.poor", "a.bad"]),
                (State::Ok, &[]),
            ]
        );
    }
}

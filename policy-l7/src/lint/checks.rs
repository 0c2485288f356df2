//! Every check: its code, which never changes, and how bad what it finds is.

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Right as it stands, but perhaps not what its author thinks.
    Info,
    /// Probably a mistake.
    Warning,
    /// Cannot be honoured.
    Error,
}

impl Severity {
    /// As people write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One kind of finding.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Check {
    /// Stable name.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is found, in a line.
    pub summary: &'static str,
}

macro_rules! checks {
    ($($name:ident $code:literal $severity:ident $summary:literal)*) => {
        $(pub(super) const $name: &Check = &Check {
            code: $code,
            severity: Severity::$severity,
            summary: $summary,
        };)*
        /// Every check, by its code.
        pub const CHECKS: &[&Check] = &[INVALID, $($name),*];
    };
}

/// What a reader of policies refuses.
pub const INVALID: &Check = &Check {
    code: "invalid-policy",
    severity: Severity::Error,
    summary: "the file is no policy that can be honoured",
};

checks! {
    ALLOW_UNDER_DENY "allow-under-deny" Warning "a deny rule covers an allow rule, which then allows nothing"
    CIDR_OF_PODS "cidr-of-pods" Warning "a CIDR rule is about addresses of pods, which CIDR rules never match"
    DANGLING "dangling-reference" Warning "a service or a CIDR group that there is none of"
    DENY_CLOSES "deny-closes-direction" Warning "a policy that only denies closes the whole direction"
    DIRECTION_IGNORED "direction-ignored" Warning "rules of a direction that `policyTypes` leaves out"
    DNS_ALLOWS_NOTHING "dns-rule-allows-nothing" Warning "a DNS rule without a name allows no name"
    DUPLICATE_POLICY "duplicate-policy" Error "two objects of one kind have one name"
    DUPLICATE_RULE "duplicate-rule" Info "two rules of a policy say the same"
    EGRESS_WITHOUT_DNS "egress-without-dns" Info "egress is closed and port 53 with it"
    EMPTY_RULE "empty-rule" Warning "`{}` beside other rules allows nothing"
    FQDN_NOT_LEARNT "fqdn-not-learnt" Warning "no DNS rule lets the addresses of a name be learnt"
    GLOB_IN_PATTERN "glob-in-pattern" Warning "a `*` repeats what stands before it, it is no wildcard"
    HOST_DOT "host-dot" Info "a dot in a host stands for any character"
    HOST_WITH_PORT "host-with-port" Warning "a host with a usual port, which clients leave out"
    HTTP_RULE_COVERED "http-rule-covered" Warning "another HTTP rule of the list allows what this one does"
    IGNORED_LABEL "ignored-label" Warning "a selector on a label that makes no identity"
    L7_INEFFECTIVE "l7-rule-ineffective" Warning "a wider rule allows what the list of requests restricts"
    METHOD_UNKNOWN "method-unknown" Warning "a method that no client sends"
    NAMED_PORT_UNKNOWN "named-port-unknown" Warning "no selected endpoint has a port of that name"
    PATH_IS_EXACT "path-is-exact" Info "a path without a pattern matches only itself"
    PATH_IS_PREFIX "path-looks-like-prefix" Warning "a path that ends with a slash matches only itself"
    PATH_NOT_NORMAL "path-not-normal" Warning "a path that is never asked for in this form"
    PORT_NOT_SERVED "port-not-served" Warning "no selected endpoint serves the port"
    PROTOCOL_CONFLICT "protocol-conflict" Error "requests of one port would be judged in two protocols"
    REGEX_ALWAYS "regex-matches-everything" Info "a pattern that restricts nothing"
    REGEX_NEVER "regex-matches-nothing" Warning "a pattern that no request fits"
    SELECTS_NOTHING "selector-matches-nothing" Warning "a selector that nobody known fits"
    SUPERFLUOUS_ANCHOR "superfluous-anchor" Info "patterns match from end to end without `^` and `$`"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_and_unique() {
        let codes: Vec<&str> = CHECKS.iter().skip(1).map(|check| check.code).collect();
        let mut sorted = codes.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(codes, sorted);
    }
}

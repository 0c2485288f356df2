//! The one form that every policy becomes.

use regex_automata::meta::Regex;
use regex_automata::util::syntax;
use regex_syntax::hir::literal::Extractor;
use regex_syntax::hir::{Dot, Hir, HirKind, Repetition};

use crate::names::DnsRule;
use crate::selector::{Peers, Selector};
use crate::yaml::At;

/// A policy object as read.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    pub(crate) provenance: Provenance,
    /// Where the object stands in its file.
    pub(crate) at: At,
    /// What it would deny passes, and is told.
    pub(crate) is_audited: bool,
    pub(crate) specs: Vec<Spec>,
}

impl Policy {
    /// Kind, namespace and name.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// Where the object stands in its file.
    pub fn at(&self) -> At {
        self.at
    }
}

/// Which object, and which rule of it, decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// Kind of object.
    pub kind: PolicyKind,
    /// Namespace, empty for cluster-wide policies.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// Derived labels, sorted.
    pub labels: Vec<String>,
    /// Path of the rule in the object, such as `spec.egress[0].toPorts[0]`; empty for the whole.
    pub rule: String,
}

/// Kinds of policy objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyKind {
    /// `cilium.io/v2`, cluster scope.
    CiliumClusterwideNetworkPolicy,
    /// `cilium.io/v2`, namespaced.
    CiliumNetworkPolicy,
    /// `networking.k8s.io/v1`.
    NetworkPolicy,
}

impl PolicyKind {
    /// As Kubernetes spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CiliumClusterwideNetworkPolicy => "CiliumClusterwideNetworkPolicy",
            Self::CiliumNetworkPolicy => "CiliumNetworkPolicy",
            Self::NetworkPolicy => "NetworkPolicy",
        }
    }
}

/// One `spec`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spec {
    /// Endpoints it is for.
    pub(crate) subject: Selector,
    /// What no rule allows is denied on the way in.
    pub(crate) ingress_default_deny: bool,
    /// What no rule allows is denied on the way out.
    pub(crate) egress_default_deny: bool,
    pub(crate) rules: Vec<Rule>,
}

impl Spec {
    /// Where nothing is denied by default, L7 rules only look: each list ends with a rule that
    /// allows every request, so that a request is seen and never denied by them.
    pub(crate) fn let_pass_what_is_only_looked_at(&mut self) {
        for rule in &mut self.rules {
            let denies = match rule.direction {
                Direction::Egress => self.egress_default_deny,
                Direction::Ingress => self.ingress_default_deny,
            };
            if denies {
                continue;
            }
            let path_in_object = rule.path.clone();
            match &mut rule.l7 {
                L7::Nothing => {}
                L7::Http(rules) => rules.push(HttpRule {
                    path_in_object,
                    method: None,
                    path: None,
                    host: None,
                    headers: Vec::new(),
                }),
                L7::Dns(rules) => rules.push(DnsRule::everything(path_in_object)),
            }
        }
    }
}

/// Direction from the view of the endpoint that a policy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// Away from it.
    Egress,
    /// Towards it.
    Ingress,
}

/// Peers, ports, and what is said about them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rule {
    /// Path in the object.
    pub(crate) path: String,
    pub(crate) direction: Direction,
    pub(crate) is_deny: bool,
    pub(crate) peers: Peers,
    /// Empty means every port of every protocol.
    pub(crate) ports: Vec<Ports>,
    pub(crate) l7: L7,
}

/// What is said of the requests of a connection, in the protocol that it is said in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum L7 {
    /// Queries are judged.
    Dns(Vec<DnsRule>),
    /// Requests are judged.
    Http(Vec<HttpRule>),
    /// They are not judged.
    Nothing,
}

/// Ports of one protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ports {
    /// IP protocol; `None` is TCP, UDP and SCTP.
    pub(crate) protocol: Option<u8>,
    pub(crate) range: PortRange,
}

impl Ports {
    /// What they are called, where that has to be looked up.
    pub(crate) fn name(&self) -> Option<&str> {
        match &self.range {
            PortRange::Named(name) => Some(name),
            PortRange::Any | PortRange::Between(..) => None,
        }
    }
}

/// Which ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PortRange {
    /// All of them.
    Any,
    /// From the first to the last.
    Between(u16, u16),
    /// What a pod calls so.
    Named(String),
}

/// One HTTP rule: everything in it must match.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HttpRule {
    /// Path in the object.
    pub(crate) path_in_object: String,
    pub(crate) method: Option<Pattern>,
    pub(crate) path: Option<Pattern>,
    pub(crate) host: Option<Pattern>,
    pub(crate) headers: Vec<HeaderRule>,
}

/// A header that must be there, with this value if one is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeaderRule {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
}

/// A regular expression that must match the whole text; the simple ones are compared.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    pub(crate) source: String,
    pub(crate) form: Form,
}

/// What an expression comes down to.
#[derive(Debug, Clone)]
pub(crate) enum Form {
    /// This text.
    Literal(Box<[u8]>),
    /// This text, then anything (`.*`).
    Open(Box<[u8]>),
    /// Anything else.
    Regex {
        regex: Regex,
        /// What it matches begins with one of these.
        begins: Vec<Box<[u8]>>,
    },
}

/// Largest compiled size of one expression: a hostile one is refused when it is loaded.
const REGEX_BYTES_MAX: usize = 1 << 20;
/// Most beginnings of one expression; beyond it, a shorter or the empty one stands for them.
const BEGINNINGS_MAX: usize = 16;

/// Bytes, not characters: what is judged is what was sent, whatever its encoding.
pub(crate) fn bytes_syntax() -> syntax::Config {
    syntax::Config::new().unicode(false).utf8(false)
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Pattern {
    /// Compiles an expression, anchored at both ends as Envoy's are.
    pub(crate) fn new(source: &str) -> Result<Self, String> {
        // On its own first: `a)|(.*` is only an expression, and another one, between our anchors.
        let hir = syntax::parse_with(source, &bytes_syntax()).map_err(|error| error.to_string())?;
        let form = match Form::simple(&hir) {
            Some(form) => form,
            None => Form::Regex {
                regex: anchored(source)?,
                begins: begins(&hir),
            },
        };
        Ok(Self {
            source: source.to_owned(),
            form,
        })
    }

    /// Whether the whole of `text` matches.
    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        match &self.form {
            Form::Literal(literal) => **literal == *text,
            Form::Open(begin) => text
                .strip_prefix(&**begin)
                .is_some_and(|rest| !rest.contains(&b'\n')),
            Form::Regex { regex, .. } => regex.is_match(text),
        }
    }
}

impl Form {
    fn simple(hir: &Hir) -> Option<Self> {
        // As in RE2, a dot is not a line feed.
        let anything = Hir::repetition(Repetition {
            min: 0,
            max: None,
            greedy: true,
            sub: Box::new(Hir::dot(Dot::AnyByteExceptLF)),
        });
        match hir.kind() {
            HirKind::Literal(literal) => Some(Self::Literal(literal.0.clone())),
            HirKind::Concat(parts) => match parts.as_slice() {
                [begin, rest] if *rest == anything => match begin.kind() {
                    HirKind::Literal(literal) => Some(Self::Open(literal.0.clone())),
                    _ => None,
                },
                _ => None,
            },
            _ if *hir == anything => Some(Self::Open(Box::default())),
            _ => None,
        }
    }
}

fn anchored(source: &str) -> Result<Regex, String> {
    let config = Regex::config()
        .nfa_size_limit(Some(REGEX_BYTES_MAX))
        .utf8_empty(false);
    Regex::builder()
        .configure(config)
        .syntax(bytes_syntax())
        .build(&format!("^(?:{source})$"))
        .map_err(|error| match std::error::Error::source(&error) {
            Some(cause) => cause.to_string(),
            None => error.to_string(),
        })
}

fn begins(hir: &Hir) -> Vec<Box<[u8]>> {
    let mut extractor = Extractor::new();
    extractor.limit_total(BEGINNINGS_MAX);
    let found = extractor.extract(hir);
    match found.literals() {
        Some(literals) => literals
            .iter()
            .map(|literal| Box::from(literal.as_bytes()))
            .collect(),
        // More than are worth to be told apart.
        None => vec![Box::default()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_the_whole_text() {
        let pattern = Pattern::new("/api/.*|/health").expect("a pattern");
        for (text, expected) in [
            ("/api/x", true),
            ("/health", true),
            ("/healthz", false),
            ("/x/api/y", false),
        ] {
            assert_eq!(pattern.matches(text.as_bytes()), expected, "{text}");
        }
        assert!(!Pattern::new("GET").expect("a pattern").matches(b"get"));
        assert!(Pattern::new("(").is_err());
        assert!(
            Pattern::new("((a{1,500}){1,500}){1,500}").is_err(),
            "too large"
        );
    }
}

//! Patterns of DNS names, clusters and nodes, in which `*` stands for any run of `[-.0-9a-z]`.

/// A pattern of a name: one trailing dot, the case of letters and blanks around it mean nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern(String);

impl NamePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What cannot stand in it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let pattern = text.trim();
        let pattern = pattern.strip_suffix('.').unwrap_or(pattern);
        let pattern = pattern.to_lowercase();
        let is_fit = |c: char| {
            c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '.' | '-' | '*')
        };
        match pattern.chars().find(|c| !is_fit(*c)) {
            Some(odd) => Err(format!("`{text}`: {odd:?} cannot stand in a pattern")),
            None if pattern.is_empty() => Err("the pattern is empty".to_owned()),
            None if pattern.ends_with('.') => Err(format!("`{text}` ends with several dots")),
            None => Ok(Self(pattern)),
        }
    }

    /// Whether it is a pattern of all of this name.
    pub fn matches(&self, name: &str) -> bool {
        glob(&self.0, name)
    }
}

/// A pattern of a node: `node`, `cluster/node`, `cluster/` or `/node`; what is left out is any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePattern {
    cluster: Option<NamePattern>,
    node: Option<NamePattern>,
}

impl NodePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("the pattern is empty".to_owned());
        }
        let (cluster, node) = text.split_once('/').unwrap_or(("", text));
        if node.contains('/') {
            return Err(format!("`{text}` has more than one slash"));
        }
        let part = |part: &str| {
            let is_any = part.is_empty();
            (!is_any).then(|| NamePattern::parse(part)).transpose()
        };
        Ok(Self {
            cluster: part(cluster)?,
            node: part(node)?,
        })
    }

    /// Whether a flow's node is one of these: a name without a cluster is of the one that is called
    /// `default`. A flow that says nothing of its node is of none.
    pub fn matches(&self, name: &str) -> bool {
        let (cluster, node) = name.split_once('/').unwrap_or(("default", name));
        let fits = |pattern: &Option<NamePattern>, part: &str| {
            pattern
                .as_ref()
                .map_or(!part.is_empty(), |pattern| pattern.matches(part))
        };
        fits(&self.cluster, cluster) && fits(&self.node, node)
    }
}

/// One pass: only the last star is ever given more, since one before it could reach no place that the
/// last one cannot.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let is_fit = |byte: u8| {
        byte == b'-' || byte == b'.' || byte.is_ascii_digit() || byte.is_ascii_lowercase()
    };
    let (mut at, mut in_pattern) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(in_pattern), text.get(at)) {
            (None, None) => return true,
            (Some(b'*'), _) => {
                star = Some((in_pattern, at));
                in_pattern += 1;
            }
            (Some(want), Some(have)) if want == have => {
                in_pattern += 1;
                at += 1;
            }
            _ => {
                let Some((of, covered)) = star else {
                    return false;
                };
                if !text.get(covered).is_some_and(|byte| is_fit(*byte)) {
                    return false;
                }
                star = Some((of, covered + 1));
                in_pattern = of + 1;
                at = covered + 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_pattern_covers_the_whole_name() {
        let matches =
            |pattern: &str, name: &str| NamePattern::parse(pattern).unwrap().matches(name);
        assert!(matches("*.Example.com. ", "a.b.example.com"));
        assert!(matches("api-*", "api-"));
        assert!(!matches("*", "a_b"), "an underscore is none of them");
        assert!(!matches("example", "example.com"));
        for text in ["", ".", "a!", "a..", "a b"] {
            assert!(NamePattern::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_node_pattern_may_leave_out_the_cluster_or_the_node() {
        let matches =
            |pattern: &str, name: &str| NodePattern::parse(pattern).unwrap().matches(name);
        assert!(matches("n1", "n1") && matches("N1", "c1/n1") && matches("/n1", "c1/n1"));
        assert!(matches("default/n*", "n1") && !matches("default/n1", "c1/n1"));
        assert!(matches("c1/", "c1/n1") && !matches("c2/", "c1/n1"));
        assert!(!matches("/", "") && matches("/", "n1"));
        for text in ["", "a/b/c", "n!"] {
            assert!(NodePattern::parse(text).is_err(), "{text}");
        }
    }
}

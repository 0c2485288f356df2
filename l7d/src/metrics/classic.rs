//! Prometheus's older text format (0.0.4), for readers that do not ask for `OpenMetrics`.

use std::collections::BTreeSet;

/// The same in the older format: there a counter's family is called like its lines, with `_total`, and
/// units and the end are not told.
pub(super) fn classic(text: &str) -> String {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let counters: BTreeSet<&str> = types
        .filter_map(|line| line.strip_suffix(" counter"))
        .collect();
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        let told = ["# HELP ", "# TYPE "].into_iter().find_map(|mark| {
            let (name, rest) = line.strip_prefix(mark)?.split_once(' ')?;
            Some((mark, name, rest))
        });
        match told {
            Some((mark, name, rest)) if counters.contains(name) => {
                out.extend([mark, name, "_total ", rest]);
            }
            Some(_) | None => out.push_str(without_exemplar(line)),
        }
        out.push('\n');
    }
    out
}

/// A line without the exemplar behind its value; what stands in quotes is a label's value.
fn without_exemplar(line: &str) -> &str {
    let mut is_quoted = false;
    let mut is_escaped = false;
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_quoted,
            b'"' => is_quoted = !is_quoted,
            b'#' if !is_quoted && at > 0 => return line.get(..at).unwrap_or(line).trim_end(),
            _ => {}
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exemplars_are_left_out() {
        let open = "a_total{b=\"# \\\" #\"} 1.0 # {traceID=\"7f\"} 1.0 1520879607.789\nb{c=\"d\"} 2\n# EOF\n";
        assert_eq!(classic(open), "a_total{b=\"# \\\" #\"} 1.0\nb{c=\"d\"} 2\n");
    }

    #[test]
    fn counters_are_called_like_their_lines() {
        let open = "# HELP a_seconds What.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\n\
                    a_seconds_total 1\n# HELP b Else.\n# TYPE b gauge\nb 2\n# EOF\n";
        let expected = "# HELP a_seconds_total What.\n# TYPE a_seconds_total counter\na_seconds_total 1\n\
                        # HELP b Else.\n# TYPE b gauge\nb 2\n";
        assert_eq!(classic(open), expected);
    }
}

//! `JUnit` XML, in the form that pipelines read: suites, cases, failures.

use std::fmt::{self, Display, Write as _};
use std::io::{self, Write};

use super::{Ran, totals, way};

/// One suite for each file.
pub fn junit(out: &mut impl Write, ran: &[Ran<'_>]) -> io::Result<()> {
    let (all, failed) = totals(ran);
    writeln!(out, r#"<?xml version="1.0" encoding="UTF-8"?>"#)?;
    writeln!(
        out,
        r#"<testsuites name="l7d policy test" tests="{all}" failures="{failed}">"#
    )?;
    for suite in ran {
        let file = Escaped(suite.file);
        writeln!(
            out,
            r#"  <testsuite name="{file}" tests="{}" failures="{}">"#,
            suite.cases.len(),
            suite.failed()
        )?;
        for case in &suite.cases {
            let (name, line) = (Escaped(case.name), case.line);
            write!(
                out,
                r#"    <testcase classname="{file}" name="{name}" file="{file}" line="{line}""#
            )?;
            let Some(fault) = &case.fault else {
                writeln!(out, "/>")?;
                continue;
            };
            let way = way(&case.answer, false)?;
            writeln!(
                out,
                ">\n      <failure message=\"{}\">{}</failure>\n    </testcase>",
                Escaped(fault),
                Escaped(&way)
            )?;
        }
        writeln!(out, "  </testsuite>")?;
    }
    writeln!(out, "</testsuites>")
}

/// Text with what has a meaning in XML written otherwise; characters that XML 1.0 §2.2 does not have
/// are shown as U+FFFD.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\t' | '\n' => f.write_char(c)?,
                '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => f.write_char('\u{fffd}')?,
                _ => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Escaped;

    #[test]
    fn what_has_a_meaning_in_xml_is_written_otherwise() {
        assert_eq!(
            Escaped("a<b> & \"c\"\u{1}").to_string(),
            "a&lt;b&gt; &amp; &quot;c&quot;\u{fffd}"
        );
    }
}

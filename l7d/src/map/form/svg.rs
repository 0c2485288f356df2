//! A picture that stands alone: light or dark as its reader's system is, no fonts, no scripts.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::drawing::{Card, Drawing, Line};
use crate::map::diff::Change;
use crate::map::node::NodeKind;
use crate::map::overview::State;

/// Colours are named once; what is bad is told by words and dashes as well.
const STYLE: &str = "\
svg{--back:#fbfbf9;--card:#fff;--edge:#d5d5d0;--text:#1b1c1e;--soft:#63666b;--line:#98a1ab;--good:#2b7a4b;--warn:#9a5b00;--bad:#c62828;
--h0:#3b7dd8;--h1:#1f8a7d;--h2:#8458cf;--h3:#56802f;--h4:#b8478a;--h5:#0f86a8;--h6:#7b6646;--h7:#5f6bc4;
font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif;background:var(--back)}
@media(prefers-color-scheme:dark){svg{--back:#131519;--card:#1c1f25;--edge:#363b44;--text:#e9eaec;--soft:#a0a6ae;--line:#67717d;--good:#67c98b;--warn:#eeb04a;--bad:#ff7a70;
--h0:#6ea5f2;--h1:#4cc0b0;--h2:#ad8cf0;--h3:#8fbf62;--h4:#e381ba;--h5:#4fbfe0;--h6:#b9a27c;--h7:#98a2f0}}
.back{fill:var(--back)}.card{fill:var(--card);stroke:var(--edge)}.failing .card{stroke:var(--bad);stroke-width:1.5}.stranger .card{stroke-dasharray:4 3}
.title{font-size:13px;font-weight:600;fill:var(--text)}.soft{font-size:11px;fill:var(--soft)}.badge{font-size:11px;font-weight:600;fill:var(--bad);text-anchor:end}
.line{fill:none;stroke:var(--line);stroke-linecap:round}.head{fill:var(--line)}
.notable .line{stroke:var(--warn)}.notable .head{fill:var(--warn)}.failing .line{stroke:var(--bad)}.failing .head{fill:var(--bad)}.cut .line{stroke-dasharray:5 4.5}
.added .line{stroke:var(--good)}.added .head{fill:var(--good)}.gone .line{stroke-dasharray:1 5}.gone{opacity:.65}
.label{font-size:11px;text-anchor:middle;fill:var(--soft);paint-order:stroke;stroke:var(--back);stroke-width:4px;stroke-linejoin:round}
.trouble{fill:var(--warn);font-weight:600}.failing .trouble{fill:var(--bad)}
.h0{fill:var(--h0)}.h1{fill:var(--h1)}.h2{fill:var(--h2)}.h3{fill:var(--h3)}.h4{fill:var(--h4)}.h5{fill:var(--h5)}.h6{fill:var(--h6)}.h7{fill:var(--h7)}
";

/// Writes a picture; `title` says what it is of.
pub fn write(out: &mut impl Write, drawing: &Drawing, title: &str) -> io::Result<()> {
    let mut text = String::new();
    // Writing to memory does not fail.
    let _infallible = svg(&mut text, drawing, title);
    out.write_all(text.as_bytes())
}

fn svg(text: &mut String, drawing: &Drawing, title: &str) -> std::fmt::Result {
    let Drawing { width, height, .. } = drawing;
    writeln!(
        text,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\"><title>{}</title>",
        Xml(title)
    )?;
    writeln!(text, "<style>{STYLE}</style>")?;
    writeln!(
        text,
        "<rect class=\"back\" width=\"{width}\" height=\"{height}\"/>"
    )?;
    drawing.lines.iter().try_for_each(|one| line(text, one))?;
    drawing.cards.iter().try_for_each(|one| card(text, one))?;
    text.push_str("</svg>\n");
    Ok(())
}

fn state(state: State) -> &'static str {
    match state {
        State::Good => "good",
        State::Notable => "notable",
        State::Failing => "failing",
    }
}

fn line(text: &mut String, line: &Line) -> std::fmt::Result {
    let cut = if line.is_cut { " cut" } else { "" };
    let change = match line.change {
        Some(Change::Added) => " added",
        Some(Change::Gone) => " gone",
        Some(Change::Worse | Change::Better) | None => "",
    };
    writeln!(
        text,
        "<g class=\"{}{cut}{change}\"><title>{}</title><path class=\"line\" stroke-width=\"{}\" d=\"{}\"/>\
         <path class=\"head\" d=\"{}\"/>",
        state(line.state),
        Xml(&line.tip),
        line.thickness,
        line.path,
        line.head
    )?;
    if let Some(label) = &line.label {
        let (x, y) = (label.at.x, label.at.y);
        if !label.text.is_empty() {
            write!(
                text,
                "<text class=\"label\" x=\"{x}\" y=\"{:.1}\">{}</text>",
                y - 5.0,
                Xml(&label.text)
            )?;
        }
        if !label.trouble.is_empty() {
            write!(
                text,
                "<text class=\"label trouble\" x=\"{x}\" y=\"{:.1}\">{}</text>",
                y + 13.5,
                Xml(&label.trouble)
            )?;
        }
    }
    text.push_str("</g>\n");
    Ok(())
}

fn card(text: &mut String, card: &Card) -> std::fmt::Result {
    let stranger = match card.kind {
        NodeKind::Workload | NodeKind::Namespace | NodeKind::Service => "",
        NodeKind::Name | NodeKind::Address | NodeKind::Entity | NodeKind::Others => " stranger",
    };
    writeln!(
        text,
        "<g class=\"{}{stranger}\" transform=\"translate({} {})\"><title>{}</title>\
         <rect class=\"card\" width=\"{}\" height=\"{}\" rx=\"7\"/>",
        state(card.state),
        card.x,
        card.y,
        Xml(&card.tip),
        card.width,
        card.height
    )?;
    if stranger.is_empty() {
        writeln!(
            text,
            "<rect class=\"h{}\" x=\"5\" y=\"9\" width=\"3.5\" height=\"{}\" rx=\"1.7\"/>",
            card.hue,
            card.height - 18.0
        )?;
    }
    let middle = if card.subtitle.is_empty() { 28.5 } else { 21.0 };
    write!(
        text,
        "<text class=\"title\" x=\"15\" y=\"{middle}\">{}</text><text class=\"soft\" x=\"15\" y=\"37\">{}</text>",
        Xml(&card.title),
        Xml(&card.subtitle)
    )?;
    if !card.badge.is_empty() {
        write!(
            text,
            "<text class=\"badge\" x=\"{}\" y=\"{middle}\">{}</text>",
            card.width - 10.0,
            Xml(&card.badge)
        )?;
    }
    text.push_str("</g>\n");
    Ok(())
}

/// Text in XML: what could be markup is not, what XML cannot have is left out.
struct Xml<'t>(&'t str);

impl std::fmt::Display for Xml<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\n' | '\t' => f.write_char(c)?,
                c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                    f.write_char('\u{fffd}')?;
                }
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_never_markup() {
        let hostile = "</title><script>alert(\"1\")</script>&\u{1b}'\u{ffff}";
        let shown = Xml(hostile).to_string();
        assert_eq!(
            shown,
            "&lt;/title&gt;&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;\u{fffd}&#39;\u{fffd}"
        );
    }
}

//! Cards and lines with their places: the picture itself, before anybody writes it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::words;
use crate::map::diff::Change;
use crate::map::layout::{self, Link, Point, Size, Way};
use crate::map::node::NodeKind;
use crate::map::overview::{EdgeFigures, NodeFigures, Overview, State, float};

/// Around the picture.
const MARGIN: f64 = 20.0;
/// Cards.
const CARD_HEIGHT: f64 = 48.0;
const CARD_LEAST: f64 = 112.0;
const CARD_MOST: f64 = 196.0;
/// Left of a card's text, and right of it.
const PADDING: f64 = 14.0;
/// Heights of text, in pixels.
const TITLE: f64 = 13.0;
const SMALL: f64 = 11.0;
/// How much wider bold text is.
const BOLD: f64 = 1.09;
/// Most characters of what is written upon a line.
const LABEL_CHARS: usize = 32;
/// In larger maps only lines that are not well have something written upon them.
const LABELLED_MOST: usize = 48;
/// Colours of namespaces.
const HUES: usize = 8;

/// A picture.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Drawing {
    /// In pixels.
    pub width: f64,
    /// In pixels.
    pub height: f64,
    /// Nodes.
    pub cards: Vec<Card>,
    /// What they ask of each other; what fails comes last, and so lies above.
    pub lines: Vec<Line>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Card {
    /// The node's.
    pub id: String,
    /// Left.
    pub x: f64,
    /// Top.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
    /// Its name, cut to its width.
    pub title: String,
    /// Namespace, and how much it is asked.
    pub subtitle: String,
    /// How much of that fails; mostly empty.
    pub badge: String,
    /// Which of the colours of namespaces.
    pub hue: usize,
    /// What it is.
    pub kind: NodeKind,
    /// How it serves.
    pub state: State,
    /// Everything, for whoever points at it.
    pub tip: String,
}

/// What one node asks of another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// The client's node.
    pub client: String,
    /// The server's node.
    pub server: String,
    /// As SVG's `d`.
    pub path: String,
    /// The arrow's head.
    pub head: String,
    /// Width of the line.
    pub thickness: f64,
    /// How it goes.
    pub state: State,
    /// Whether nothing gets through.
    pub is_cut: bool,
    /// What is different from before, in a comparison.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
    /// What is written upon it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<Label>,
    /// Everything, for whoever points at it.
    pub tip: String,
}

/// What is written upon a line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Label {
    /// Its middle.
    pub at: Point,
    /// What is asked, above the line.
    pub text: String,
    /// What fails, below the line; mostly empty.
    pub trouble: String,
}

/// What is written upon lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Labels {
    /// What is asked, how fast it is, and what fails.
    Full,
    /// What fails alone: the page tells the rest to whoever points at a line.
    Trouble,
}

/// Changes of edges by client and server.
pub type Changes = BTreeMap<(String, String), Change>;

impl Drawing {
    /// The picture of a map.
    pub fn new(map: &Overview, changes: &Changes, labels: Labels) -> Self {
        let cards: Vec<Card> = map
            .nodes
            .iter()
            .map(|node| card(node, map.seconds))
            .collect();
        let width = cards
            .iter()
            .map(|card| card.width)
            .fold(CARD_LEAST, f64::max);
        let sizes = vec![
            Size {
                width,
                height: CARD_HEIGHT,
            };
            cards.len()
        ];
        let pencil = Pencil {
            map,
            changes,
            labels,
            is_crowded: map.edges.len() > LABELLED_MOST,
        };
        let links: Vec<Link> = map.edges.iter().map(|edge| pencil.link(edge)).collect();
        let placed = layout::place(&sizes, &links);
        let cards = cards.into_iter().zip(&placed.nodes).map(|(card, at)| Card {
            x: at.x + MARGIN,
            y: at.y + MARGIN,
            width,
            ..card
        });
        let busiest = map
            .edges
            .iter()
            .map(|edge| edge.load.count)
            .max()
            .unwrap_or(0);
        let drawn = map.edges.iter().zip(&placed.ways);
        let mut drawn: Vec<Line> = drawn
            .map(|(edge, way)| pencil.line(edge, way, busiest))
            .collect();
        drawn.sort_by_key(|one| one.state);
        Self {
            width: placed.size.width + 2.0 * MARGIN,
            height: placed.size.height + 2.0 * MARGIN,
            cards: cards.collect(),
            lines: drawn,
        }
    }
}

/// What lines are drawn by.
struct Pencil<'m> {
    map: &'m Overview,
    changes: &'m Changes,
    labels: Labels,
    is_crowded: bool,
}

impl Pencil<'_> {
    fn change(&self, edge: &EdgeFigures) -> Option<Change> {
        let key = (edge.client.clone(), edge.server.clone());
        self.changes.get(&key).copied()
    }

    /// What is asked, and what fails.
    fn label(&self, edge: &EdgeFigures) -> Option<(String, String)> {
        let change = self.change(edge);
        if self.labels == Labels::Trouble {
            let shown = (edge.state != State::Good).then(|| words::trouble(edge))?;
            // Why is told beside the picture.
            let short = shown.split(':').next().unwrap_or_default();
            return Some((String::new(), short.to_owned()));
        }
        if self.is_crowded && edge.state == State::Good && change.is_none() {
            return None;
        }
        let word = match change {
            Some(Change::Added) => "new · ",
            Some(Change::Gone) => "gone · ",
            Some(Change::Worse) => "worse · ",
            Some(Change::Better) => "better · ",
            None => "",
        };
        let text = format!("{word}{}", words::caption(edge, self.map.seconds));
        Some((
            words::cut_end(&text, LABEL_CHARS),
            words::cut_end(&words::trouble(edge), LABEL_CHARS),
        ))
    }

    fn link(&self, edge: &EdgeFigures) -> Link {
        let nodes = &self.map.nodes;
        let place = |id: &String| nodes.iter().position(|node| node.id == *id).unwrap_or(0);
        let label = self.label(edge).map(|(text, trouble)| Size {
            width: steps(width(&text, SMALL).max(width(&trouble, SMALL * BOLD)) + 12.0),
            height: match (text.as_str(), trouble.as_str()) {
                ("", _) => 24.0,
                (_, "") => 26.0,
                _ => 34.0,
            },
        });
        Link {
            from: place(&edge.client),
            to: place(&edge.server),
            // Of what is asked, not how often: else a picture would move while it is looked at.
            weight: 1 + edge.load.unit as u64,
            label: label.unwrap_or_default(),
        }
    }

    fn line(&self, edge: &EdgeFigures, way: &Way, busiest: u64) -> Line {
        let moved = |point: &Point| Point {
            x: point.x + MARGIN,
            y: point.y + MARGIN,
        };
        let points: Vec<Point> = way.points.iter().map(moved).collect();
        let share = float(edge.load.count) / float(busiest.max(1));
        let thickness = tenth(1.3 + 1.9 * (1.0 + 9.0 * share).log10());
        let label = self.label(edge).zip(way.label);
        Line {
            client: edge.client.clone(),
            server: edge.server.clone(),
            path: path(&points, edge.client == edge.server),
            head: head(&points, thickness, edge.client == edge.server),
            thickness,
            state: edge.state,
            is_cut: edge.is_cut,
            change: self.change(edge),
            label: label.map(|((text, trouble), at)| Label {
                at: moved(&at),
                text,
                trouble,
            }),
            tip: self.tip(edge),
        }
    }

    fn tip(&self, edge: &EdgeFigures) -> String {
        let name = |id: &str| {
            let node = self.map.node(id);
            node.map_or_else(|| id.to_owned(), NodeFigures::shown)
        };
        let mut lines = vec![
            format!("{} → {}", name(&edge.client), name(&edge.server)),
            words::headline(edge, self.map.seconds),
        ];
        lines.extend(edge.reasons.iter().take(4).map(|reason| {
            let by = match reason.by.as_str() {
                "" => String::new(),
                by => format!(" by {by}"),
            };
            format!("{} × {}{by}", words::whole(reason.count), reason.text)
        }));
        lines.join("\n")
    }
}

fn card(node: &NodeFigures, seconds: f64) -> Card {
    let whence = match node.kind {
        NodeKind::Workload => node.namespace.clone(),
        NodeKind::Service => format!("{} · service", node.namespace),
        NodeKind::Namespace => "namespace".to_owned(),
        NodeKind::Name => "outside".to_owned(),
        NodeKind::Address => "address".to_owned(),
        NodeKind::Entity | NodeKind::Others => String::new(),
    };
    let pace = (node.asked.count > 0).then(|| words::pace(&node.asked, seconds));
    let parts = [whence, pace.unwrap_or_default()];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    let failed = 100.0 * float(node.asked.failed) / float(node.asked.count.max(1));
    let badge = match node.asked.failed {
        0 => String::new(),
        _ => format!("{} fail", words::percent(failed)),
    };
    let beside = match badge.as_str() {
        "" => 0.0,
        badge => width(badge, SMALL * BOLD) + 10.0,
    };
    let room = CARD_MOST - 2.0 * PADDING;
    let title = fit(&node.name, TITLE * BOLD, room - beside);
    let subtitle = fit(&parts.join(" · "), SMALL, room);
    let needed = (width(&title, TITLE * BOLD) + beside).max(width(&subtitle, SMALL));
    Card {
        id: node.id.clone(),
        x: 0.0,
        y: 0.0,
        width: tenth((needed + 2.0 * PADDING).clamp(CARD_LEAST, CARD_MOST)),
        height: CARD_HEIGHT,
        tip: format!("{}\n{}", node.shown(), parts.join(" · ")),
        title,
        subtitle,
        badge,
        hue: hue(match node.kind {
            NodeKind::Namespace => &node.name,
            _ => &node.namespace,
        }),
        kind: node.kind,
        state: node.state,
    }
}

/// The same colour for the same namespace, in every map.
fn hue(namespace: &str) -> usize {
    let mix = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(16_777_619);
    let hash = namespace.bytes().fold(2_166_136_261, mix);
    usize::try_from(hash >> 8).unwrap_or(0) % HUES
}

fn fit(text: &str, size: f64, room: f64) -> String {
    let mut most = text.chars().count();
    let mut fitting = text.to_owned();
    while most > 3 && width(&fitting, size) > room {
        most -= 1;
        fitting = words::cut(text, most);
    }
    fitting
}

/// How wide text is, about, in the fonts that systems use.
fn width(text: &str, size: f64) -> f64 {
    let em = |c: char| match c {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' | '·' => 0.29,
        'f' | 't' | 'r' | ' ' | '(' | ')' | '/' | '-' => 0.36,
        'm' | 'w' | 'M' | 'W' | '%' | '→' | '…' => 0.88,
        'A'..='Z' | '<' | '>' | '+' => 0.67,
        c if c > '\u{2e80}' => 1.05,
        _ => 0.57,
    };
    text.chars().map(em).sum::<f64>() * size
}

/// In steps, so that a figure's next digit moves nothing.
fn steps(width: f64) -> f64 {
    (width / 20.0).ceil() * 20.0
}

fn tenth(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

/// Level at each point, and smooth between. Writing to memory does not fail.
fn path(points: &[Point], is_around: bool) -> String {
    let Some((first, rest)) = points.split_first() else {
        return String::new();
    };
    let mut path = format!("M{} {}", tenth(first.x), tenth(first.y));
    if let (true, Some(last)) = (is_around, rest.first()) {
        let below = first.y + 34.0;
        let _infallible = write!(
            path,
            "C{} {below} {} {below} {} {}",
            tenth(first.x),
            tenth(last.x),
            tenth(last.x),
            tenth(last.y)
        );
        return path;
    }
    let mut from = *first;
    for to in rest {
        if (from.y - to.y).abs() < 0.05 {
            let _infallible = write!(path, "H{}", tenth(to.x));
        } else {
            let bend = (to.x - from.x) / 2.0;
            let _infallible = write!(
                path,
                "C{} {} {} {} {} {}",
                tenth(from.x + bend),
                tenth(from.y),
                tenth(to.x - bend),
                tenth(to.y),
                tenth(to.x),
                tenth(to.y)
            );
        }
        from = *to;
    }
    path
}

/// A triangle whose tip is the line's end.
fn head(points: &[Point], thickness: f64, is_around: bool) -> String {
    let [.., before, tip] = points else {
        return String::new();
    };
    let long = 6.5 + thickness;
    let half = 2.6 + thickness / 2.0;
    if is_around {
        let (x, y) = (tip.x, tip.y + long);
        return format!(
            "M{} {}L{} {}L{} {}Z",
            tenth(tip.x),
            tenth(tip.y),
            tenth(x - half),
            tenth(y),
            tenth(x + half),
            tenth(y)
        );
    }
    let back = if before.x <= tip.x { -long } else { long };
    format!(
        "M{} {}l{} {}v{}Z",
        tenth(tip.x),
        tenth(tip.y),
        tenth(back),
        tenth(-half),
        tenth(2.0 * half)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_to_its_room() {
        assert_eq!(fit("cart", TITLE, 100.0), "cart");
        let cut = fit("a-name-that-is-much-too-long-for-any-card", TITLE, 100.0);
        assert!(width(&cut, TITLE) <= 100.0 && cut.contains('…'), "{cut}");
    }

    #[test]
    fn lines_are_level_at_their_ends() {
        let points = [
            Point { x: 0.0, y: 0.0 },
            Point { x: 40.0, y: 20.0 },
            Point { x: 90.0, y: 20.0 },
        ];
        assert_eq!(path(&points, false), "M0 0C20 0 20 20 40 20H90");
        assert!(head(&points, 1.5, false).starts_with("M90 20l-8"));
    }

    #[test]
    fn a_namespace_has_one_colour() {
        assert_eq!(hue("shop"), hue("shop"));
        let all: std::collections::BTreeSet<usize> = (0..100)
            .map(|number| hue(&format!("ns-{number}")))
            .collect();
        assert_eq!(all.len(), HUES);
    }
}

//! What is answered to which path. Everything is asked with GET, and nothing changes for it.

use std::sync::Arc;

use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH,
    LOCATION, SET_COOKIE,
};
use hyper::{Method, Response, StatusCode, Uri};
use serde::Serialize;

use super::detail::Detail;
use super::flows::{Query, Show};
use super::guard::{Admission, Guard};
use super::model::{Health, Model, Part, Shared};
use super::row::Row;
use crate::clock::Timestamp;
use crate::map::form::Drawing;
use crate::map::form::drawing::{Changes, Labels};
use crate::map::form::words;
use crate::map::overview::{EdgeFigures, Load, NodeFigures, Overview, State};
use crate::map::timeline::Bar;

/// Files of the page: path, kind, and the file itself.
const FILES: [(&str, &str, &str); 7] = [
    ("/", "text/html", include_str!("page/index.html")),
    ("/page.css", "text/css", include_str!("page/page.css")),
    ("/page.js", "text/javascript", include_str!("page/page.js")),
    (
        "/graph.js",
        "text/javascript",
        include_str!("page/graph.js"),
    ),
    (
        "/panel.js",
        "text/javascript",
        include_str!("page/panel.js"),
    ),
    (
        "/table.js",
        "text/javascript",
        include_str!("page/table.js"),
    ),
    ("/dom.js", "text/javascript", include_str!("page/dom.js")),
];

/// Nothing but our own files and answers, and no text ever becomes markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

/// Rows of one answer at most.
const ROWS_MOST: usize = 500;
const ROWS: usize = 200;
/// Pairs of nodes that are drawn; of more, those that fail or bear most.
const DRAWN_MOST: usize = 250;
/// Words and characters that are looked for.
const WORDS_MOST: usize = 8;
const QUERY_CHARS: usize = 512;

/// An answer.
pub(super) type Answer = Response<String>;

/// What is shown of a map.
#[derive(Serialize)]
struct MapAnswer {
    health: Health,
    namespaces: Vec<String>,
    is_recording: bool,
    first_ms: u64,
    last_ms: u64,
    seconds: f64,
    flows: u64,
    folded: u64,
    /// Pairs of nodes that are not drawn.
    hidden: usize,
    drawing: Drawing,
    pairs: Vec<Pair>,
    bars: Vec<BarAnswer>,
    bar_seconds: u64,
}

/// A pair of nodes, in a few words.
#[derive(Serialize)]
struct Pair {
    client: String,
    server: String,
    client_name: String,
    server_name: String,
    state: State,
    is_cut: bool,
    protocol: String,
    pace: String,
    load: Load,
    failed: String,
    p50_us: Option<u64>,
    p99_us: Option<u64>,
    trouble: String,
    by: String,
}

#[derive(Serialize)]
struct BarAnswer {
    start_ms: u64,
    calls: u64,
    failed: u64,
    drops: u64,
}

#[derive(Serialize)]
struct EdgeAnswer {
    edge: EdgeFigures,
    headline: String,
    trouble: String,
    bars: Vec<BarAnswer>,
    bar_seconds: u64,
}

#[derive(Serialize)]
struct FlowsAnswer {
    rows: Vec<Row>,
    is_more: bool,
    end: u64,
}

/// Answers a request.
pub(super) fn answer(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    guard: &Guard,
    model: &Shared,
) -> Answer {
    let mut answer = admitted(method, uri, headers, guard, model);
    let fixed = [
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ];
    for (name, value) in fixed {
        let headers = answer.headers_mut();
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    answer
}

fn admitted(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    guard: &Guard,
    model: &Shared,
) -> Answer {
    match guard.admit(headers, uri.query().unwrap_or_default()) {
        Admission::Admitted => {}
        Admission::Remember(cookie) => return remember(&cookie),
        Admission::Misdirected => {
            return text(
                StatusCode::MISDIRECTED_REQUEST,
                "this page is served by the names localhost and 127.0.0.1 alone\n",
            );
        }
        Admission::Unknown => {
            return text(
                StatusCode::UNAUTHORIZED,
                "open the address that l7d has printed: it has a token in it\n",
            );
        }
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "GET\n");
        let headers = answer.headers_mut();
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    let asked = Asked::of(uri);
    match uri.path() {
        "/api/map" => map(&asked, model),
        "/api/edge" => edge(&asked, model),
        "/api/flows" => flows(&asked, model),
        "/api/flow" => flow(&asked, model),
        path => file(path, headers),
    }
}

/// Keeps the token where scripts cannot see it, and out of the address bar.
fn remember(cookie: &str) -> Answer {
    let mut answer = text(StatusCode::SEE_OTHER, "");
    let headers = answer.headers_mut();
    headers.insert(LOCATION, HeaderValue::from_static("/"));
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        headers.insert(SET_COOKIE, cookie);
    }
    answer
}

fn text(status: StatusCode, text: &str) -> Answer {
    let mut answer = Response::new(text.to_owned());
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn file(path: &str, headers: &HeaderMap) -> Answer {
    let Some((_, kind, content)) = FILES.iter().find(|(name, ..)| *name == path) else {
        return text(StatusCode::NOT_FOUND, "there is no such page\n");
    };
    // Another version of the program has other files.
    let tag = format!("\"{:08x}\"", crc32fast::hash(content.as_bytes()));
    let is_known = headers
        .get(IF_NONE_MATCH)
        .is_some_and(|value| value.as_bytes() == tag.as_bytes());
    let mut answer = if is_known {
        let mut answer = Response::new(String::new());
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        answer
    } else {
        Response::new((*content).to_owned())
    };
    let kind = format!("{kind}; charset=utf-8");
    let headers = answer.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, kind.as_str()),
        (CACHE_CONTROL, "no-cache"),
        (ETAG, &tag),
    ] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    answer
}

fn json(value: &impl Serialize) -> Answer {
    match serde_json::to_string(value) {
        Ok(body) => {
            let mut answer = Response::new(body);
            let headers = answer.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            answer
        }
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
    }
}

/// What a query asks.
struct Asked(Vec<(String, String)>);

impl Asked {
    fn of(uri: &Uri) -> Self {
        let pairs = uri.query().unwrap_or_default().split('&');
        let pairs = pairs.filter_map(|pair| pair.split_once('='));
        let decoded = pairs.map(|(name, value)| (decoded(name), decoded(value)));
        Self(decoded.collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self
            .0
            .iter()
            .find(|(known, value)| known == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }

    fn owned(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }

    fn part(&self) -> Part {
        Part {
            seconds: self.number("seconds"),
            by_namespace: self.get("by") == Some("namespace"),
            namespace: self.owned("namespace"),
            node: self.owned("node"),
        }
    }
}

/// `application/x-www-form-urlencoded`, as browsers write it.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex = |byte: Option<u8>| char::from(byte?).to_digit(16);
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                if let (Some(high), Some(low)) = (hex(rest.next()), hex(rest.next())) {
                    bytes.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                }
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn bars(bars: &[Bar]) -> Vec<BarAnswer> {
    let bar = |bar: &Bar| BarAnswer {
        start_ms: bar.start.0 / 1_000_000,
        calls: bar.calls,
        failed: bar.failed,
        drops: bar.drops,
    };
    bars.iter().map(bar).collect()
}

fn map(asked: &Asked, model: &Shared) -> Answer {
    let part = asked.part();
    // What takes time is done when flows may come again.
    let (mut map, health, namespaces, is_recording, (own, width)) = {
        let model = &*model.lock();
        (
            model.overview(&part),
            model.health.clone(),
            model.namespaces.iter().cloned().collect(),
            model.is_recording(),
            model.bars(&part, None),
        )
    };
    let hidden = keep_most_important(&mut map);
    let name = |id: &str| {
        map.node(id)
            .map_or_else(|| id.to_owned(), NodeFigures::shown)
    };
    let pair = |edge: &EdgeFigures| Pair {
        client: edge.client.clone(),
        server: edge.server.clone(),
        client_name: name(&edge.client),
        server_name: name(&edge.server),
        state: edge.state,
        is_cut: edge.is_cut,
        protocol: edge.protocol(),
        pace: words::pace(&edge.load, map.seconds),
        load: edge.load,
        failed: match edge.load.failed {
            0 => String::new(),
            _ => words::percent(edge.failed_percent),
        },
        p50_us: edge.p50_us,
        p99_us: edge.p99_us,
        trouble: words::trouble(edge),
        by: edge
            .reasons
            .first()
            .map(|reason| reason.by.clone())
            .unwrap_or_default(),
    };
    let mut pairs: Vec<Pair> = map.edges.iter().map(pair).collect();
    pairs.sort_by_key(|pair| {
        (
            std::cmp::Reverse(pair.state),
            !pair.is_cut,
            std::cmp::Reverse(pair.load.failed),
            std::cmp::Reverse(pair.load.count),
        )
    });
    json(&MapAnswer {
        health,
        namespaces,
        is_recording,
        first_ms: map.first / 1_000_000,
        last_ms: map.last / 1_000_000,
        seconds: map.seconds,
        flows: map.flows,
        folded: map.folded,
        hidden,
        drawing: Drawing::new(&map, &Changes::new(), Labels::Trouble),
        pairs,
        bars: bars(&own),
        bar_seconds: width,
    })
}

/// A picture of more is none; how many are left out.
fn keep_most_important(map: &mut Overview) -> usize {
    let count = map.edges.len();
    if count <= DRAWN_MOST {
        return 0;
    }
    let key = |edge: &EdgeFigures| {
        (
            std::cmp::Reverse(edge.state),
            std::cmp::Reverse(edge.load.count),
        )
    };
    let mut keys: Vec<_> = map.edges.iter().map(key).collect();
    keys.sort_unstable();
    let last = keys.get(DRAWN_MOST - 1).copied();
    // Of those that matter as much as the last one, so many have room.
    let before = keys.iter().filter(|key| Some(**key) < last).count();
    let mut room = DRAWN_MOST - before;
    map.edges.retain(|edge| {
        let order = Some(key(edge)).cmp(&last);
        let is_kept = order.is_lt() || (order.is_eq() && room > 0);
        room -= usize::from(order.is_eq() && is_kept);
        is_kept
    });
    let edges = std::mem::take(&mut map.edges);
    map.nodes.retain(|node| {
        let mut used = edges.iter();
        used.any(|edge| edge.client == node.id || edge.server == node.id)
    });
    map.edges = edges;
    count - map.edges.len()
}

fn edge(asked: &Asked, model: &Shared) -> Answer {
    let (Some(client), Some(server)) = (asked.get("client"), asked.get("server")) else {
        return text(StatusCode::BAD_REQUEST, "client and server are missing\n");
    };
    let part = Part {
        node: None,
        ..asked.part()
    };
    let (edge, (own, bar_seconds)) = {
        let model = &*model.lock();
        let edge = model.edge(&part, client, server);
        (edge, model.bars(&part, Some((client, server))))
    };
    let Some(edge) = edge else {
        return text(
            StatusCode::NOT_FOUND,
            "nothing was seen between them in this time\n",
        );
    };
    json(&EdgeAnswer {
        headline: words::headline(&edge, f64::from(u32::try_from(bar_seconds).unwrap_or(1))),
        trouble: words::trouble(&edge),
        bars: bars(&own),
        bar_seconds,
        edge,
    })
}

fn flows(asked: &Asked, model: &Shared) -> Answer {
    let words = asked.get("words").unwrap_or_default();
    let words: String = words.chars().take(QUERY_CHARS).collect();
    let words = words.to_lowercase();
    let limit = asked
        .number("limit")
        .and_then(|limit| usize::try_from(limit).ok());
    let model = &*model.lock();
    let query = Query {
        show: match asked.get("show") {
            Some("failures") => Show::Failures,
            Some("all") => Show::All,
            _ => Show::Exchanges,
        },
        client: asked.owned("client"),
        server: asked.owned("server"),
        namespace: asked.owned("namespace"),
        node: asked.owned("node"),
        words: words
            .split_whitespace()
            .take(WORDS_MOST)
            .map(str::to_owned)
            .collect(),
        before: asked.number("before"),
        since: match asked.number("seconds") {
            Some(_) => model.start(&asked.part()),
            None => Timestamp::default(),
        },
        limit: limit.unwrap_or(ROWS).min(ROWS_MOST),
    };
    let (found, is_more) = model.flows.find(&query);
    json(&FlowsAnswer {
        rows: found
            .iter()
            .map(|(kept, flow)| Row::new(kept, flow))
            .collect(),
        is_more,
        end: model.flows.end(),
    })
}

fn flow(asked: &Asked, model: &Shared) -> Answer {
    let kept = asked
        .number("number")
        .and_then(|number| Model::flow(&model.lock(), number));
    match kept {
        Some(kept) => json(&Detail::new(&kept, &kept.flow())),
        None => text(StatusCode::NOT_FOUND, "this flow is not kept any more\n"),
    }
}

impl Model {
    fn flow(&self, number: u64) -> Option<Arc<super::flows::Kept>> {
        self.flows.get(number)
    }
}

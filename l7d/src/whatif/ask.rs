//! What somebody asked for.

use policy_l7::Headers;

use crate::replay::flowlog;

/// What Hubble and l7d write in the place of what they hide.
const REDACTED: &str = "HUBBLE_REDACTED";

/// What a flow says was asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ask {
    /// A connection, or packets without messages that were read.
    Connection,
    /// A DNS query, by its name in lower case with the last dot.
    Dns(String),
    /// An HTTP request.
    Http(HttpAsk),
}

/// An HTTP request, as far as a flow tells it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HttpAsk {
    /// Method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Authority.
    pub host: String,
    /// Those fields that policies ask about, sorted, names in lower case; `None` is a hidden value.
    pub headers: Vec<(String, Option<String>)>,
    /// Whether the flow tells headers at all.
    pub tells_headers: bool,
}

impl HttpAsk {
    /// Reads the request of a flow; of the headers only those with these names, in lower case.
    pub(super) fn new(http: &flowlog::Http<'_>, wanted: &[String]) -> Self {
        let (host, path) = split_url(&http.url);
        let mut headers = Vec::new();
        if !wanted.is_empty() {
            for field in &http.headers {
                let name = field.key.to_ascii_lowercase();
                if wanted.contains(&name) {
                    let value = (field.value != REDACTED).then(|| field.value.to_string());
                    headers.push((name, value));
                }
            }
            headers.sort();
        }
        Self {
            method: http.method.to_string(),
            path: path.to_owned(),
            host: host.to_owned(),
            headers,
            tells_headers: !http.headers.is_empty(),
        }
    }

    /// Path without its query.
    pub fn path_alone(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }

    /// Whether rules about one of these headers would have to guess.
    pub(super) fn hides(&self, wanted: &[String]) -> bool {
        !wanted.is_empty()
            && (!self.tells_headers || self.headers.iter().any(|(_, value)| value.is_none()))
    }
}

/// `scheme://user@authority/path?query` → authority and the rest, which is never empty.
fn split_url(url: &str) -> (&str, &str) {
    let Some((_, rest)) = url.split_once("://") else {
        return ("", if url.is_empty() { "/" } else { url });
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    (host, if path.is_empty() { "/" } else { path })
}

/// The fields of a recorded request, where what is not told is assumed.
pub(super) struct Assumed<'a> {
    pub(super) ask: &'a HttpAsk,
    /// What is assumed of rules about what is not told.
    pub(super) is_met: bool,
}

impl Headers for Assumed<'_> {
    fn each(&self, visit: &mut dyn FnMut(&[u8], &[u8])) {
        for (name, value) in &self.ask.headers {
            visit(
                name.as_bytes(),
                value.as_deref().unwrap_or_default().as_bytes(),
            );
        }
    }

    fn assumed(&self, name: &[u8]) -> Option<bool> {
        let is_hidden = |(have, value): &(String, Option<String>)| {
            value.is_none() && have.as_bytes().eq_ignore_ascii_case(name)
        };
        let is_unknown = !self.ask.tells_headers || self.ask.headers.iter().any(is_hidden);
        is_unknown.then_some(self.is_met)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_host_and_path() {
        for (url, host, path) in [
            (
                "http://web.shop:80/items?id=1",
                "web.shop:80",
                "/items?id=1",
            ),
            ("https://a:b@web", "web", "/"),
            ("http://web?x", "web", "?x"),
            ("/items", "", "/items"),
            ("", "", "/"),
        ] {
            assert_eq!(split_url(url), (host, path), "{url}");
        }
    }
}

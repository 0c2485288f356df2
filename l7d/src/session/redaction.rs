//! What is hidden before anything is recorded: nothing behind this has ever seen it.

use std::borrow::Cow;

use crate::config::{Redact, UserInfo};
use crate::record::{Text, Thrift};

/// What Hubble writes in the place of what it hides.
const REDACTED: &[u8] = b"HUBBLE_REDACTED";

/// Headers whose value is a URL, or a path with its query: they are hidden like the request's own.
const URL_HEADERS: [&[u8]; 8] = [
    b"content-location",
    b"location",
    b"referer",
    b"x-forwarded-uri",
    b"x-original-uri",
    b"x-original-url",
    b"x-request-uri",
    b"x-rewrite-url",
];

/// Hides header values, queries and user names.
#[derive(Debug, Clone, Default)]
pub struct Redaction {
    keeps_headers: bool,
    hides_query: bool,
    user_info: UserInfo,
    allow: Option<Vec<Vec<u8>>>,
    deny: Vec<Vec<u8>>,
    thrift: Thrift,
}

impl Redaction {
    /// As configured; names are lower case.
    pub fn new(redact: &Redact) -> Self {
        let bytes = |names: &[String]| names.iter().map(|name| name.clone().into_bytes()).collect();
        Self {
            keeps_headers: redact.headers,
            hides_query: redact.query,
            user_info: redact.user_info,
            allow: redact.allow.as_deref().map(bytes),
            deny: bytes(&redact.deny),
            thrift: Thrift::default(),
        }
    }

    /// The same, with what is given up while memory is short.
    #[must_use]
    pub fn sparing(self, thrift: &Thrift) -> Self {
        Self {
            thrift: thrift.clone(),
            ..self
        }
    }

    /// Whether connections that are only looked at are read.
    pub(super) fn reads_watched(&self) -> bool {
        self.thrift.reads_watched()
    }

    /// Whether headers are recorded at all.
    pub fn keeps_headers(&self) -> bool {
        self.keeps_headers && self.thrift.keeps_headers()
    }

    /// Writes one header line.
    pub fn write_header(&self, text: &mut Text, name: &[u8], value: &[u8]) {
        text.push(name);
        text.push(b": ");
        if self.hides(name) {
            text.push(REDACTED);
        } else if is_one_of(&URL_HEADERS, name) {
            self.write_url(text, value);
        } else {
            write_unfolded(text, value);
        }
        text.push(b"\r\n");
    }

    fn hides(&self, name: &[u8]) -> bool {
        let is_kept = |allow: &Vec<Vec<u8>>| is_one_of(allow, name);
        is_one_of(&self.deny, name) || !self.allow.as_ref().is_none_or(is_kept)
    }

    /// Writes an authority without what is hidden of its user.
    pub fn write_authority(&self, text: &mut Text, authority: &[u8]) {
        let at = authority.iter().rposition(|byte| *byte == b'@');
        let (user, host) = authority.split_at(at.unwrap_or_default());
        let colon = user.iter().position(|byte| *byte == b':');
        match (self.user_info, at, colon) {
            (UserInfo::All, Some(_), _) => {
                text.push(REDACTED);
            }
            (UserInfo::Password, _, Some(colon)) => {
                write_unfolded(text, user.get(..=colon).unwrap_or_default());
                text.push(REDACTED);
            }
            (UserInfo::All, None, _) | (UserInfo::Password | UserInfo::Nothing, _, _) => {
                write_unfolded(text, user);
            }
        }
        write_unfolded(text, host);
    }

    /// Writes path, query and fragment.
    pub fn write_path(&self, text: &mut Text, path: &[u8]) {
        let end = path
            .iter()
            .position(|byte| matches!(byte, b'?' | b'#'))
            .filter(|_| self.hides_query);
        write_unfolded(
            text,
            path.get(..end.unwrap_or(path.len())).unwrap_or_default(),
        );
    }

    /// What of a request's target is not shown: of its user, and its query. Who writes about the request
    /// in other words hides it there.
    pub fn hidden<'r>(&self, authority: &'r [u8], path: &'r [u8]) -> [&'r [u8]; 2] {
        let at = authority.iter().rposition(|byte| *byte == b'@');
        let user = authority.get(..at.unwrap_or_default()).unwrap_or_default();
        let user = match self.user_info {
            UserInfo::All => user,
            UserInfo::Password => {
                let colon = user.iter().position(|byte| *byte == b':');
                user.get(colon.map_or(user.len(), |colon| colon + 1)..)
                    .unwrap_or_default()
            }
            UserInfo::Nothing => &[],
        };
        let query = path.iter().position(|byte| matches!(byte, b'?' | b'#'));
        let query = query.filter(|_| self.hides_query).unwrap_or(path.len());
        [user, path.get(query..).unwrap_or_default()]
    }

    /// Text about a request without what is hidden of it, which stands there as bytes are written in
    /// text.
    pub fn without<'t>(text: &'t str, hidden: [&[u8]; 2]) -> Cow<'t, str> {
        hidden
            .into_iter()
            .fold(Cow::Borrowed(text), |text, secret| {
                if secret.is_empty() || text.is_empty() {
                    return text;
                }
                let secret = secret.escape_ascii().to_string();
                if !text.contains(&secret) {
                    return text;
                }
                Cow::Owned(text.replace(&secret, &REDACTED.escape_ascii().to_string()))
            })
    }

    /// Writes a URL with or without scheme and authority (RFC 3986 §4.1).
    fn write_url(&self, text: &mut Text, url: &[u8]) {
        let path = url
            .iter()
            .position(|byte| matches!(byte, b'?' | b'#'))
            .unwrap_or(url.len());
        let slashes = url
            .get(..path)
            .and_then(|url| url.windows(2).position(|pair| pair == b"//"));
        // Elsewhere two slashes are a part of the path.
        let begins_authority = |at: &usize| *at == 0 || url.get(at - 1) == Some(&b':');
        let Some(start) = slashes.filter(begins_authority).map(|at| at + 2) else {
            return self.write_path(text, url);
        };
        let (scheme, rest) = url.split_at(start);
        let end = rest
            .iter()
            .position(|byte| matches!(byte, b'/' | b'?' | b'#'))
            .unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        write_unfolded(text, scheme);
        self.write_authority(text, authority);
        self.write_path(text, path);
    }
}

fn is_one_of(names: &[impl AsRef<[u8]>], name: &[u8]) -> bool {
    let mut names = names.iter();
    names.any(|known| known.as_ref().eq_ignore_ascii_case(name))
}

/// Writes a value in one line. Line ends in it, which a folded one has, become blanks (RFC 9112 §5.2):
/// what stands behind them is no header.
fn write_unfolded(text: &mut Text, value: &[u8]) {
    let mut lines = value.split(|byte| matches!(byte, b'\r' | b'\n'));
    text.push(lines.next().unwrap_or_default());
    for line in lines {
        text.push(b" ");
        text.push(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(write: impl FnOnce(&mut Text)) -> String {
        let mut text = Text::default();
        let mark = text.mark();
        write(&mut text);
        String::from_utf8_lossy(text.slice(text.since(mark))).into_owned()
    }

    fn header(redact: &Redact, name: &str, value: &str) -> String {
        let redaction = Redaction::new(redact);
        let line = of(|text| redaction.write_header(text, name.as_bytes(), value.as_bytes()));
        let value = line.strip_prefix(&format!("{name}: "));
        let value = value.and_then(|value| value.strip_suffix("\r\n"));
        value.expect("one line").to_owned()
    }

    #[test]
    fn a_folded_value_makes_no_header_of_its_own() {
        let mut redact = Redact::default();
        let folded = "a\r\n Authorization: b";
        assert_eq!(header(&redact, "X", folded), "a   Authorization: b");
        assert_eq!(header(&redact, "Referer", folded), "a   Authorization: b");
        redact.deny.push("x".to_owned());
        assert_eq!(header(&redact, "X", folded), "HUBBLE_REDACTED");
    }

    #[test]
    fn credentials_are_hidden_by_default_and_shown_with_hubbles_defaults() {
        for name in ["Authorization", "COOKIE", "set-cookie", "X-Api-Key"] {
            assert_eq!(
                header(&Redact::default(), name, "s3cret"),
                "HUBBLE_REDACTED"
            );
            assert_eq!(header(&Redact::as_hubble(), name, "s3cret"), "s3cret");
        }
        assert_eq!(header(&Redact::default(), "Accept", "*/*"), "*/*");
    }

    #[test]
    fn a_list_of_what_is_kept_hides_everything_else() {
        let allow = |names: &[&str]| Redact {
            allow: Some(names.iter().map(|name| (*name).to_owned()).collect()),
            ..Redact::default()
        };
        assert_eq!(header(&allow(&["accept"]), "Accept", "a"), "a");
        assert_eq!(header(&allow(&["accept"]), "X-Id", "a"), "HUBBLE_REDACTED");
        assert_eq!(header(&allow(&[]), "Accept", "a"), "HUBBLE_REDACTED");
        // What is denied stays hidden though it is kept as well.
        let both = allow(&["cookie"]);
        assert_eq!(header(&both, "Cookie", "a"), "HUBBLE_REDACTED");
    }

    #[test]
    fn of_the_user_in_a_url_as_much_is_shown_as_is_wanted() {
        let shown = |user_info, authority: &str| {
            let redaction = Redaction::new(&Redact {
                user_info,
                ..Redact::default()
            });
            of(|text| redaction.write_authority(text, authority.as_bytes()))
        };
        for (wanted, named, alone) in [
            (
                UserInfo::All,
                "HUBBLE_REDACTED@shop:80",
                "HUBBLE_REDACTED@shop",
            ),
            (
                UserInfo::Password,
                "ada:HUBBLE_REDACTED@shop:80",
                "ada@shop",
            ),
            (UserInfo::Nothing, "ada:pw@x@shop:80", "ada@shop"),
        ] {
            assert_eq!(shown(wanted, "ada:pw@x@shop:80"), named);
            assert_eq!(shown(wanted, "ada@shop"), alone);
            assert_eq!(shown(wanted, "shop:80"), "shop:80");
            assert_eq!(shown(wanted, "[2001:db8::1]:80"), "[2001:db8::1]:80");
        }
    }

    #[test]
    fn a_query_is_hidden_wherever_a_url_stands() {
        let hiding = Redact {
            query: true,
            ..Redact::default()
        };
        let path = |redact: &Redact, path: &str| {
            let redaction = Redaction::new(redact);
            of(|text| redaction.write_path(text, path.as_bytes()))
        };
        assert_eq!(path(&hiding, "/a/b?token=1#c"), "/a/b");
        assert_eq!(path(&hiding, "/a#token=1"), "/a");
        assert_eq!(path(&Redact::default(), "/a?b=1"), "/a?b=1");
        for (sent, shown) in [
            (
                "https://ada:pw@shop/a?b=1",
                "https://HUBBLE_REDACTED@shop/a",
            ),
            ("//shop?b=1", "//shop"),
            ("/a?next=http://x@y/", "/a"),
            ("/a//b?c", "/a//b"),
            ("", ""),
        ] {
            assert_eq!(header(&hiding, "Location", sent), shown, "{sent}");
        }
        let kept = header(&Redact::default(), "Referer", "http://a:b@c/d?e");
        assert_eq!(kept, "http://HUBBLE_REDACTED@c/d?e");
    }

    #[test]
    fn words_about_a_request_do_not_tell_what_is_hidden_of_it() {
        let redaction = Redaction::new(&Redact {
            query: true,
            ..Redact::default()
        });
        let hidden = redaction.hidden(b"ada:pw@shop", b"/a?key=\xff");
        let told = "path /a?key=\\xff is not /b(\\?.*)?, host ada:pw@shop is not shop";
        assert_eq!(
            Redaction::without(told, hidden),
            "path /aHUBBLE_REDACTED is not /b(\\?.*)?, host HUBBLE_REDACTED@shop is not shop"
        );
        let shown = Redaction::new(&Redact::as_hubble()).hidden(b"ada@shop", b"/a?b");
        assert_eq!(Redaction::without(told, shown), told);
    }
}

//! Who may ask.
//!
//! On a loopback address any page of the web could have a browser ask under a name of its own that
//! leads here (DNS rebinding): only names of this machine are answered. Elsewhere a token, which the
//! first address has and a cookie keeps, or a certificate. No answer may be read by pages of others.

use std::net::SocketAddr;

use hyper::header::{AUTHORIZATION, COOKIE, HOST, HeaderMap};

/// A shorter token can be guessed.
pub(super) const TOKEN_LEAST: usize = 16;
/// The cookie that keeps the token.
const COOKIE_NAME: &str = "l7d_token";

/// What is asked of who asks.
#[derive(Debug)]
pub(super) struct Guard {
    is_loopback: bool,
    port: u16,
    token: Option<String>,
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is answered.
    Admitted,
    /// The address has the token: it is kept in a cookie, and taken out of the address.
    Remember(String),
    /// By this name nobody is here.
    Misdirected,
    /// The token is missing or wrong.
    Unknown,
}

impl Guard {
    pub(super) fn new(bound: SocketAddr, token: Option<&str>) -> Self {
        Self {
            is_loopback: bound.ip().is_loopback(),
            port: bound.port(),
            token: token.map(str::to_owned),
        }
    }

    /// Judges a request by its headers and its query.
    pub(super) fn admit(&self, headers: &HeaderMap, query: &str) -> Admission {
        if self.is_loopback && !is_local(headers) {
            return Admission::Misdirected;
        }
        let Some(token) = &self.token else {
            return Admission::Admitted;
        };
        let is_known = |given: &str| is_same(given.as_bytes(), token.as_bytes());
        let bearer = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let bearer = bearer.and_then(|value| value.strip_prefix("Bearer "));
        if bearer.is_some_and(is_known) || self.cookies(headers).any(is_known) {
            return Admission::Admitted;
        }
        let asked = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("token="));
        if asked.is_some_and(is_known) {
            return Admission::Remember(self.cookie(token));
        }
        Admission::Unknown
    }

    fn name(&self) -> String {
        // Cookies do not know of ports: two pages of one machine have two.
        format!("{COOKIE_NAME}_{}", self.port)
    }

    fn cookies<'h>(&self, headers: &'h HeaderMap) -> impl Iterator<Item = &'h str> {
        let prefix = format!("{}=", self.name());
        headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split("; "))
            .filter_map(move |pair| pair.strip_prefix(&prefix))
    }

    fn cookie(&self, token: &str) -> String {
        let name = self.name();
        format!("{name}={token}; HttpOnly; SameSite=Strict; Path=/")
    }
}

/// Whether a browser asked for a name of this machine.
fn is_local(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|value| value.to_str().ok());
    let Some(host) = host else {
        return false;
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    let ip: Result<std::net::IpAddr, _> = address.parse();
    name.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback())
}

/// In a time that tells nothing of where they differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let differing = one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b));
    one.len() == other.len() && std::hint::black_box(differing) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderName, HeaderValue};

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let pair = |(name, value): &(HeaderName, &str)| {
            (name.clone(), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn on_loopback_only_this_machines_names_are_answered() {
        let guard = Guard::new("127.0.0.1:8080".parse().unwrap(), None);
        for (host, is_admitted) in [
            ("localhost:8080", true),
            ("LOCALHOST", true),
            ("127.0.0.1:8080", true),
            ("[::1]:8080", true),
            ("evil.example:8080", false),
            ("127.0.0.1.evil.example", false),
            ("localhost.evil.example:80", false),
            ("192.0.2.1", false),
        ] {
            let admission = guard.admit(&headers(&[(HOST, host)]), "");
            assert_eq!(admission == Admission::Admitted, is_admitted, "{host}");
        }
        assert_eq!(guard.admit(&HeaderMap::new(), ""), Admission::Misdirected);
    }

    #[test]
    fn a_token_is_known_from_the_address_a_cookie_or_a_header() {
        let token = "0123456789abcdef";
        let guard = Guard::new("192.0.2.1:8080".parse().unwrap(), Some(token));
        let admit = |pairs: &[(HeaderName, &str)], query| guard.admit(&headers(pairs), query);
        assert_eq!(admit(&[], ""), Admission::Unknown);
        assert_eq!(admit(&[], "token=0123456789abcdeF"), Admission::Unknown);
        assert_eq!(admit(&[], "token="), Admission::Unknown);
        let Admission::Remember(cookie) = admit(&[], "a=1&token=0123456789abcdef") else {
            panic!("not remembered");
        };
        assert!(
            cookie.ends_with("; HttpOnly; SameSite=Strict; Path=/"),
            "{cookie}"
        );
        let pair = format!("x=1; {}", cookie.split(';').next().unwrap());
        assert_eq!(admit(&[(COOKIE, &pair)], ""), Admission::Admitted);
        let bearer = format!("Bearer {token}");
        assert_eq!(admit(&[(AUTHORIZATION, &bearer)], ""), Admission::Admitted);
    }
}

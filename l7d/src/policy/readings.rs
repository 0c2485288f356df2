//! A request is judged in every reading that a server may have of its path.

use parsers::target;
use policy_l7::{Headers, HttpRequest};

use super::judge::{Denial, Judge, Permit};

/// What a request says of itself.
#[derive(Clone, Copy)]
pub struct Request<'r> {
    /// Method.
    pub method: &'r [u8],
    /// Path and query as sent; the target of CONNECT.
    pub path: &'r [u8],
    /// Authority as sent.
    pub host: &'r [u8],
    /// Header fields.
    pub headers: &'r dyn Headers,
}

impl Judge {
    /// Asks the policy of this moment about the path as sent, as normalised, and as a server reads it
    /// that decodes separators before it splits the path. All of them must be allowed.
    ///
    /// # Errors
    /// The [`Denial`], when one of them is not.
    pub fn judge_readings(&self, asked: &Request<'_>) -> Result<Permit, Denial> {
        let normal = target::normalise(asked.path);
        let mut request = HttpRequest {
            method: asked.method,
            paths: &[asked.path],
            host: asked.host,
            headers: asked.headers,
        };
        if *normal.path == *asked.path && !normal.is_ambiguous {
            return self.judge(&request);
        }
        let decoded = decode_separators(&normal.path);
        let decoded = target::normalise(&decoded);
        let readings: [&[u8]; 3] = [asked.path, &normal.path, &decoded.path];
        request.paths = &readings;
        self.judge(&request)
    }
}

/// The reading of a server that decodes separators before it splits the path.
fn decode_separators(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, tail)) = rest.split_first() {
        let (byte, after) = match rest {
            [b'%', b'2', b'F' | b'f', after @ ..] | [b'%', b'5', b'C' | b'c', after @ ..] => {
                (b'/', after)
            }
            [b'\\', after @ ..] => (b'/', after),
            _ => (*first, tail),
        };
        decoded.push(byte);
        rest = after;
    }
    decoded
}

//! First bytes of both sides → SOCKS, or not.

use super::NO_METHOD;
use super::address::{Front, Target};

/// Most bytes that a client says without waiting for an answer: greeting, credentials, request.
const UNANSWERED_MAX: usize = 2048;

/// Whether bytes are a greeting of version 5, and nothing more.
pub fn is_greeting(bytes: &[u8]) -> bool {
    begins_with_5(bytes) == Beginning::Whole(bytes.len())
}

/// Whether a connection begins with SOCKS: both sides must have said so. `None` while they still
/// may.
///
/// A greeting is a few bytes that other protocols could begin with too; it is the server's answer to
/// it, one of the methods that were offered, that tells.
pub fn looks_like(client: &[u8], server: &[u8]) -> Option<bool> {
    let begin = match client.first() {
        Some(5) => begins_with_5(client),
        Some(4) => begins_with_4(client),
        Some(_) => return Some(false),
        // Who waits to be greeted does not speak first.
        None => return (!server.is_empty()).then_some(false),
    };
    match begin {
        Beginning::Another => Some(false),
        Beginning::Incomplete => (!server.is_empty()).then_some(false),
        Beginning::Whole(length) if server.is_empty() => {
            let further = client.get(length..).unwrap_or_default();
            // Version 5 goes on with credentials or the request, if it does not wait.
            let goes_on = matches!(further, [] | [1 | 5, ..]) || client.first() == Some(&4);
            (!goes_on || client.len() > UNANSWERED_MAX).then_some(false)
        }
        Beginning::Whole(_) => answers(client, server),
    }
}

/// What a client's first bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beginning {
    Another,
    Incomplete,
    /// Its first words, of that length.
    Whole(usize),
}

fn begins_with_5(bytes: &[u8]) -> Beginning {
    let (count, methods) = match bytes {
        [5] => return Beginning::Incomplete,
        [5, count, methods @ ..] if *count > 0 => (usize::from(*count), methods),
        _ => return Beginning::Another,
    };
    // Assigned ones and those for private use (RFC 1928 §3).
    let is_method = |method: &u8| matches!(method, 0..=9 | 0x80..=0xfe);
    if !methods.iter().take(count).all(is_method) {
        Beginning::Another
    } else if methods.len() < count {
        Beginning::Incomplete
    } else {
        Beginning::Whole(count.saturating_add(2))
    }
}

fn begins_with_4(bytes: &[u8]) -> Beginning {
    let rest = match bytes {
        [4] => return Beginning::Incomplete,
        [4, 1 | 2, rest @ ..] => rest,
        _ => return Beginning::Another,
    };
    let mut front = Front::new(rest);
    match Target::read_of_4(&mut front) {
        Ok(None) => Beginning::Incomplete,
        Ok(Some(target)) if target.port != 0 => {
            Beginning::Whole(front.consumed().saturating_add(2))
        }
        Ok(Some(_)) | Err(_) => Beginning::Another,
    }
}

/// Whether the server's first bytes answer what the client began with.
fn answers(client: &[u8], server: &[u8]) -> Option<bool> {
    match (client, server) {
        (_, []) | ([5, ..], [5]) | ([4, ..], [0]) => None,
        ([5, count, offered @ ..], [5, method, ..]) => {
            let is_offered = offered.iter().take((*count).into()).any(|o| o == method);
            Some(is_offered || *method == NO_METHOD)
        }
        ([4, ..], [0, 90..=93, ..]) => Some(true),
        _ => Some(false),
    }
}

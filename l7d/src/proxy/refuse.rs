//! Answers that the proxy gives in the place of the server.

/// What a refused client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Refusal {
    /// Status code.
    pub(super) status: u16,
    /// Whether the connection ends with it.
    pub(super) closes: bool,
    /// Whether the request was HEAD: the answer has no body (RFC 9110 §9.3.2).
    pub(super) is_head: bool,
}

impl Refusal {
    /// An answer after which the connection ends.
    pub(super) fn closing(status: u16) -> Self {
        Self {
            status,
            closes: true,
            is_head: false,
        }
    }

    /// The bytes of the answer. The body is the one that Cilium's clients know.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let (reason, body) = match self.status {
            403 => ("Forbidden", "Access denied\r\n"),
            408 => ("Request Timeout", "Request head took too long\r\n"),
            431 => (
                "Request Header Fields Too Large",
                "Request head too large\r\n",
            ),
            501 => ("Not Implemented", "Not implemented\r\n"),
            _ => ("Bad Request", "Ambiguous or malformed request\r\n"),
        };
        let connection = if self.closes {
            "connection: close\r\n"
        } else {
            ""
        };
        let mut bytes = format!(
            "HTTP/1.1 {} {reason}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n{connection}\r\n",
            self.status,
            body.len()
        )
        .into_bytes();
        if !self.is_head {
            bytes.extend_from_slice(body.as_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denied_request_gets_the_known_answer() {
        let refusal = Refusal {
            status: 403,
            closes: false,
            is_head: false,
        };
        assert_eq!(
            refusal.to_bytes(),
            b"HTTP/1.1 403 Forbidden\r\ncontent-type: text/plain\r\ncontent-length: 15\r\n\r\nAccess denied\r\n"
        );
    }

    #[test]
    fn an_answer_to_head_has_no_body() {
        let bytes = Refusal {
            status: 403,
            closes: true,
            is_head: true,
        }
        .to_bytes();
        assert!(bytes.ends_with(b"connection: close\r\n\r\n"));
    }
}

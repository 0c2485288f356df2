//! Requests and trailers: judged, written anew, or answered here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use parsers::Fault;
use parsers::grpc;
use parsers::hpack::Field;
use parsers::http2::{ErrorCode, Head, Priority, check_request};
use policy_l7::Edits;

use super::reply::{Answer, Reply};
use super::streams::{HELD_BYTES, Known};
use super::{After, Court, Middlebox};
use crate::policy::{Judge, Permit, Request};
use crate::record::Outcome;
use crate::session::RequestVerdict;
use crate::session::http2::{Fields, asked};

/// A request that begins.
pub(super) struct Opening<'h, 'c> {
    pub(super) stream: u32,
    pub(super) priority: Option<Priority>,
    pub(super) head: &'h Head<'c>,
    /// More streams are open than are followed.
    pub(super) is_one_too_many: bool,
    /// The client was told that no more streams begin: it asks again elsewhere.
    pub(super) is_too_late: bool,
}

/// Why a request does not go on, and what its client is told.
struct Refused {
    judged: RequestVerdict,
    how: How,
}

enum How {
    Answer(Answer),
    Reset(ErrorCode),
}

impl Middlebox {
    /// Judges a request by the policy of this moment.
    pub(super) fn open(&mut self, court: &mut Court<'_>, opening: &Opening<'_, '_>) -> After {
        let Opening { stream, head, .. } = *opening;
        match may_go_on(court.judge, opening) {
            Ok(permit) => {
                let judged = RequestVerdict::from(&permit);
                court.calls.begin_judged(court.out, stream, head, &judged);
                self.write_head(stream, &permit, head, opening.priority);
                self.streams.open(stream, Some(permit), head.is_last());
                // Recorded already, with its verdict.
                After::Hidden
            }
            Err(refused) => {
                self.refuse(court, opening, refused);
                After::Forget(stream)
            }
        }
    }

    fn refuse(&mut self, court: &mut Court<'_>, opening: &Opening<'_, '_>, refused: Refused) {
        let Opening { stream, head, .. } = *opening;
        let Refused { judged, how } = refused;
        let outcome = judged.outcome;
        let Court { calls, out, .. } = court;
        calls.begin_judged(*out, stream, head, &judged);
        self.refused += 1;
        self.streams.open(stream, None, head.is_last());
        match how {
            How::Answer(answer) => {
                let (code, status) = answer.statuses();
                calls.answer_refused(*out, stream, code, status, outcome);
                if has_short_body(head) {
                    self.streams.hold(stream, answer);
                } else {
                    self.replies.push(Reply::Answer {
                        stream,
                        answer,
                        is_unfinished: !head.is_last(),
                    });
                }
            }
            How::Reset(code) => {
                calls.end(*out, stream, outcome);
                self.replies.push(Reply::Reset { stream, code });
            }
        }
    }

    /// Fields after a payload go the way of their request.
    pub(super) fn take_trailers(&mut self, stream: u32, head: &Head<'_>) -> After {
        match self.streams.state(stream) {
            Known::Permitted(_) if head.fault().is_some() => {
                return After::Break(stream, ErrorCode::PROTOCOL_ERROR);
            }
            Known::Permitted(_) => {}
            Known::Refused => {
                self.swallow(stream, 0, true);
                return After::Hidden;
            }
            Known::Done(_) | Known::Unknown => {
                return After::Break(stream, ErrorCode::STREAM_CLOSED);
            }
        }
        self.encode(head, &Edits::default());
        if let Known::Permitted(permit) = self.streams.state(stream) {
            self.outgoing
                .write_block(permit, stream, true, None, &self.block);
        }
        self.streams.end(stream);
        After::Told
    }

    fn write_head(
        &mut self,
        stream: u32,
        permit: &Permit,
        head: &Head<'_>,
        priority: Option<Priority>,
    ) {
        self.encode(head, permit.edits());
        self.outgoing
            .write_block(permit, stream, head.is_last(), priority, &self.block);
    }

    /// Writes a header block anew, with what policy changes. Raw bytes become the text that every
    /// reader of gRPC knows too.
    fn encode(&mut self, head: &Head<'_>, edits: &Edits) {
        let raw: Vec<String> = head
            .list()
            .iter()
            .filter_map(|field| field.raw_value())
            .map(|value| STANDARD_NO_PAD.encode(value))
            .collect();
        let mut text = raw.iter();
        let fields = head.list().iter().map(|field| Field {
            value: match field.raw_value() {
                Some(_) => text.next().map(String::as_bytes).unwrap_or_default(),
                None => field.value,
            },
            ..field
        });
        let kept = fields.filter(|field| edits.keep(field.name));
        let added = edits.additions();
        let added = added.map(|(name, value)| Field::new(name.as_bytes(), value.as_bytes()));
        self.block.clear();
        self.encoder.encode(kept.chain(added), &mut self.block);
    }
}

/// What may be read in two ways is refused before anybody judges it.
fn may_go_on(judge: &Judge, opening: &Opening<'_, '_>) -> Result<Permit, Refused> {
    let head = opening.head;
    let limit = match (opening.is_one_too_many, opening.is_too_late) {
        (true, _) => Some("too-many-streams (RFC 9113 §5.1.2)"),
        (false, true) => Some("after-goaway (RFC 9113 §6.8)"),
        (false, false) => None,
    };
    if let Some(limit) = limit {
        return Err(Refused {
            judged: RequestVerdict::refused(Outcome::Limit, limit),
            how: How::Reset(ErrorCode::REFUSED_STREAM),
        });
    }
    if let Err(error) = check_request(head) {
        let (outcome, how) = match error.fault {
            Fault::TooLarge => (Outcome::Limit, How::Answer(Answer::Status(error.status()))),
            Fault::Ambiguous | Fault::Unsupported => (
                Outcome::ParseError,
                How::Answer(Answer::Status(error.status())),
            ),
            // RFC 9113 §8.1.1.
            Fault::Malformed | Fault::NotThisProtocol | Fault::Truncated => {
                (Outcome::ParseError, How::Reset(ErrorCode::PROTOCOL_ERROR))
            }
        };
        return Err(Refused {
            judged: RequestVerdict::refused(outcome, error.to_string()),
            how,
        });
    }
    let asked = asked(head);
    let request = Request {
        method: asked.method,
        path: asked.path,
        host: asked.authority.unwrap_or_default(),
        headers: &Fields(head),
    };
    judge.judge_readings(&request).map_err(|denial| Refused {
        judged: denial.into(),
        how: How::Answer(denied(head)),
    })
}

/// Whether a body follows at once that is worth waiting for.
fn has_short_body(head: &Head<'_>) -> bool {
    let length = head.content_length();
    let is_short = length.is_some_and(|length| length <= HELD_BYTES as u64);
    is_short && !head.is_last() && head.header(b"expect").is_none()
}

/// Clients of gRPC look at its status only.
fn denied(head: &Head<'_>) -> Answer {
    const PERMISSION_DENIED: u32 = 7;
    if head.header(b"content-type").is_some_and(grpc::is_grpc) {
        Answer::Grpc(PERMISSION_DENIED)
    } else {
        Answer::Status(403)
    }
}

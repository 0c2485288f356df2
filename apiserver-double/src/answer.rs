//! Answers of HTTP, whole or piece by piece.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::refusal::Refusal;

/// The connection is cut before the answer has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cut off on command")]
pub(crate) struct Cut;

/// The body of an answer.
#[derive(Debug)]
pub(crate) struct Pieces {
    from: Source,
    /// What came before the cut has been sent.
    is_flushed: bool,
}

#[derive(Debug)]
enum Source {
    /// All that there will be; cut off behind it where that is so.
    Known(VecDeque<Bytes>, bool),
    /// As it comes.
    Stream(mpsc::Receiver<Result<Bytes, Cut>>),
    /// Cut off.
    Ended,
}

impl Pieces {
    pub(crate) const fn known(pieces: VecDeque<Bytes>, is_cut: bool) -> Self {
        Self {
            from: Source::Known(pieces, is_cut),
            is_flushed: false,
        }
    }

    pub(crate) const fn stream(pieces: mpsc::Receiver<Result<Bytes, Cut>>) -> Self {
        Self {
            from: Source::Stream(pieces),
            is_flushed: false,
        }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let next = match &mut self.from {
            Source::Known(pieces, is_cut) => match pieces.pop_front() {
                Some(piece) => Some(Ok(piece)),
                None => is_cut.then_some(Err(Cut)),
            },
            Source::Stream(pieces) => std::task::ready!(pieces.poll_recv(context)),
            Source::Ended => Some(Err(Cut)),
        };
        if next == Some(Err(Cut)) && !self.is_flushed {
            // The connection would be closed before anything has been sent.
            self.is_flushed = true;
            self.from = Source::Ended;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(next.map(|piece| piece.map(Frame::data)))
    }
}

/// An answer in JSON.
pub(crate) fn json(code: StatusCode, pieces: Pieces) -> Response<Pieces> {
    with_type(code, "application/json", pieces)
}

/// An object.
pub(crate) fn object(code: StatusCode, value: &Value) -> Response<Pieces> {
    json(code, whole(value.to_string()))
}

/// Something that is no JSON.
pub(crate) fn with_type(code: StatusCode, form: &'static str, pieces: Pieces) -> Response<Pieces> {
    let mut response = Response::new(pieces);
    *response.status_mut() = code;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(form));
    response
}

pub(crate) fn whole(bytes: impl Into<Bytes>) -> Pieces {
    Pieces::known(VecDeque::from([bytes.into()]), false)
}

/// Says why not.
pub(crate) fn refusal(refusal: &Refusal) -> Response<Pieces> {
    let code = StatusCode::from_u16(refusal.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if *refusal == Refusal::PageNotFound {
        return with_type(
            code,
            "text/plain; charset=utf-8",
            whole("404 page not found\n"),
        );
    }
    let mut response = object(code, &refusal.status());
    if let Some(seconds) = refusal.retry_after() {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

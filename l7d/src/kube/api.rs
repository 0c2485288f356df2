//! Requests to an API server, each bounded in time and size.

use std::pin::Pin;
use std::time::Duration;

use hyper::body::{Body as _, Bytes};
use hyper::header::{ACCEPT, CONTENT_TYPE, DATE, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use tokio::time::{Instant, timeout, timeout_at};

use super::Timeouts;
use super::failure::Failure;
use super::wire::Status;

/// A refusal is some lines long.
const REFUSAL_MAX: usize = 64 << 10;
const AGENT: &str = concat!("l7d/", env!("CARGO_PKG_VERSION"));

/// An API server, and how long it may take.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) client: Client,
    pub(crate) timeouts: Timeouts,
}

/// Something that is written.
pub(crate) struct Write {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) content_type: &'static str,
    pub(crate) json: String,
}

/// The body of an answer, piece by piece.
pub(crate) struct Pieces {
    body: Body,
    /// What its sender's clock said.
    date: Option<i64>,
}

/// RFC 9110 §5.6.7: what is sent today is a date of RFC 5322.
fn seconds(date: &HeaderValue) -> Option<i64> {
    let parsed = jiff::fmt::rfc2822::parse(date.to_str().ok()?);
    Some(parsed.ok()?.timestamp().as_second())
}

impl Pieces {
    /// The next piece; none at the end.
    pub(crate) async fn next(&mut self, deadline: Instant) -> Result<Option<Bytes>, Failure> {
        let since = Instant::now();
        loop {
            let frame =
                std::future::poll_fn(|context| Pin::new(&mut self.body).poll_frame(context));
            let frame = timeout_at(deadline, frame)
                .await
                .map_err(|_elapsed| Failure::Silent(since.elapsed()))?;
            match frame {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Some(Err(error)) => return Err(Failure::of_error(&error)),
            }
        }
    }

    /// Everything, as text; none when it is larger than `most`.
    async fn whole(&mut self, most: usize, idle: Duration) -> Result<Option<Vec<u8>>, Failure> {
        let mut whole = Vec::new();
        while let Some(piece) = self.next(Instant::now() + idle).await? {
            if whole.len() + piece.len() > most {
                return Ok(None);
            }
            whole.extend_from_slice(&piece);
        }
        Ok(Some(whole))
    }
}

impl Api {
    /// A whole answer; none when it is larger than `most` bytes.
    pub(crate) async fn read(&self, path: &str, most: usize) -> Result<Option<Vec<u8>>, Failure> {
        let mut pieces = self.open(path).await?;
        pieces.whole(most, self.timeouts.idle).await
    }

    /// A whole answer, empty when it is larger than `most` bytes, and the time of the server's clock, in
    /// seconds since 1970, where it tells (`Date`, RFC 9110 §6.6.1).
    pub(crate) async fn read_with_date(
        &self,
        path: &str,
        most: usize,
    ) -> Result<(Vec<u8>, Option<i64>), Failure> {
        let mut pieces = self.open(path).await?;
        let whole = pieces.whole(most, self.timeouts.idle).await?;
        Ok((whole.unwrap_or_default(), pieces.date))
    }

    /// An answer that comes bit by bit.
    pub(crate) async fn open(&self, path: &str) -> Result<Pieces, Failure> {
        let request = Request::get(path).header(ACCEPT, "application/json");
        self.send(request, Body::empty()).await
    }

    /// Writes something.
    pub(crate) async fn write(&self, write: Write) -> Result<(), Failure> {
        let request = Request::builder()
            .method(write.method)
            .uri(write.path)
            .header(CONTENT_TYPE, write.content_type)
            .header(ACCEPT, "application/json");
        let mut pieces = self
            .send(request, Body::from(write.json.into_bytes()))
            .await?;
        // Read to its end, so that the connection serves the next one.
        pieces.whole(1 << 20, self.timeouts.idle).await?;
        Ok(())
    }

    async fn send(
        &self,
        request: hyper::http::request::Builder,
        body: Body,
    ) -> Result<Pieces, Failure> {
        let request = request.header(USER_AGENT, AGENT).body(body);
        let request = request.map_err(|error| Failure::Unreadable(error.to_string()))?;
        let answer = timeout(self.timeouts.answer, self.client.send(request))
            .await
            .map_err(|_elapsed| Failure::Silent(self.timeouts.answer))?
            .map_err(|error| Failure::of_error(&error))?;
        if answer.status().is_success() {
            let date = answer.headers().get(DATE).and_then(seconds);
            let body = answer.into_body();
            return Ok(Pieces { body, date });
        }
        Err(self.refusal(answer).await)
    }

    async fn refusal(&self, answer: Response<Body>) -> Failure {
        let code = answer.status();
        let header = answer.headers().get(RETRY_AFTER);
        let retry = header.and_then(|value| value.to_str().ok()?.parse().ok());
        let body = Pieces {
            body: answer.into_body(),
            date: None,
        }
        .whole(REFUSAL_MAX, self.timeouts.idle)
        .await;
        let text = body.ok().flatten().unwrap_or_default();
        let status = serde_json::from_slice::<Status>(&text);
        let mut status = status.unwrap_or_else(|_no_status| Status {
            message: first_line(&text),
            ..Status::default()
        });
        status.code = code.as_u16();
        if status.message.is_empty() {
            code.canonical_reason()
                .unwrap_or("refused")
                .clone_into(&mut status.message);
        }
        Failure::of_status(status, retry)
    }
}

fn first_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let line = text.lines().next().unwrap_or_default();
    line.chars().take(200).collect()
}

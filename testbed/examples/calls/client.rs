//! The client's connections, and calls one after another on each stream.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{Method, Request, Uri};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::{Bytes, MESSAGE, MESSAGE_BYTES, WINDOW_BYTES};

/// How long each answer took.
pub(crate) type Answered = Vec<Duration>;

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A call of one message and an answer of one.
    Unary,
    /// A message on a stream that is open, and the same message back.
    Stream,
}

/// Open connections.
pub(crate) struct Connections {
    pub(crate) senders: Vec<SendRequest<Bytes>>,
    /// On each connection.
    pub(crate) streams: usize,
    pub(crate) uri: Uri,
}

/// A stream whose messages come back.
pub(crate) struct Chat {
    pub(crate) asking: SendStream<Bytes>,
    pub(crate) answers: Answers,
}

/// The receiving side of a stream, in which messages may have been cut anew.
pub(crate) struct Answers {
    body: RecvStream,
    bytes: usize,
}

impl Connections {
    pub(crate) async fn open(url: &str, count: usize, streams: usize) -> anyhow::Result<Self> {
        let uri: Uri = url.parse()?;
        let authority = uri.authority().context("a URL with a server")?;
        let mut senders = Vec::new();
        for _ in 0..count {
            let port = authority.port_u16().unwrap_or(80);
            let stream = TcpStream::connect((authority.host(), port)).await?;
            stream.set_nodelay(true)?;
            let (sender, connection) = h2::client::Builder::new()
                .initial_window_size(WINDOW_BYTES)
                .initial_connection_window_size(WINDOW_BYTES)
                .handshake(stream)
                .await?;
            tokio::task::spawn_local(connection);
            senders.push(sender);
        }
        Ok(Self {
            senders,
            streams,
            uri,
        })
    }
}

async fn begin(
    sender: SendRequest<Bytes>,
    uri: Uri,
) -> anyhow::Result<(ResponseFuture, SendStream<Bytes>)> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(uri)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "calls")
        .body(())?;
    Ok(sender.ready().await?.send_request(request, false)?)
}

/// One unary call.
pub(crate) async fn call(sender: SendRequest<Bytes>, uri: Uri) -> anyhow::Result<()> {
    let (answer, mut asking) = begin(sender, uri).await?;
    asking.send_data(MESSAGE, true)?;
    let mut answers = Answers::of(answer).await?;
    answers.next().await?;
    answers.end().await
}

/// Opens a stream, and waits for its first message to come back.
pub(crate) async fn open(sender: SendRequest<Bytes>, uri: Uri) -> anyhow::Result<Chat> {
    let (answer, mut asking) = begin(sender, uri).await?;
    asking.send_data(MESSAGE, false)?;
    let mut answers = Answers::of(answer).await?;
    answers.next().await?;
    Ok(Chat { asking, answers })
}

impl Answers {
    async fn of(answer: ResponseFuture) -> anyhow::Result<Self> {
        let answer = answer.await?;
        anyhow::ensure!(answer.status() == 200, "refused: {answer:?}");
        let body = answer.into_body();
        Ok(Self { body, bytes: 0 })
    }

    /// Waits for a whole message.
    pub(crate) async fn next(&mut self) -> anyhow::Result<()> {
        while self.bytes < MESSAGE_BYTES {
            let bytes = self.body.data().await.context("a message")??.len();
            self.body.flow_control().release_capacity(bytes)?;
            self.bytes += bytes;
        }
        self.bytes -= MESSAGE_BYTES;
        Ok(())
    }

    /// Waits for a good end.
    pub(crate) async fn end(mut self) -> anyhow::Result<()> {
        while let Some(bytes) = self.body.data().await {
            anyhow::ensure!(bytes?.is_empty(), "more than was asked for");
        }
        let trailers = self.body.trailers().await?.context("trailers")?;
        anyhow::ensure!(
            trailers
                .get("grpc-status")
                .is_some_and(|status| status == "0"),
            "failed: {trailers:?}"
        );
        Ok(())
    }
}

/// Calls, or messages, one after another on each stream.
pub(crate) async fn ask(
    connections: Connections,
    shape: Shape,
    time: Duration,
) -> anyhow::Result<Answered> {
    let deadline = Instant::now() + time;
    let mut streams = JoinSet::new();
    for sender in &connections.senders {
        for _ in 0..connections.streams {
            let (sender, uri) = (sender.clone(), connections.uri.clone());
            streams.spawn_local(async move {
                match shape {
                    Shape::Unary => calls(sender, uri, deadline).await,
                    Shape::Stream => messages(sender, uri, deadline).await,
                }
            });
        }
    }
    let mut answered = Answered::new();
    while let Some(of_stream) = streams.join_next().await {
        answered.extend(of_stream??);
    }
    Ok(answered)
}

async fn calls(
    sender: SendRequest<Bytes>,
    uri: Uri,
    deadline: Instant,
) -> anyhow::Result<Answered> {
    let mut answered = Answered::new();
    let mut began = Instant::now();
    while began < deadline {
        call(sender.clone(), uri.clone()).await?;
        answered.push(began.elapsed());
        began = Instant::now();
    }
    Ok(answered)
}

async fn messages(
    sender: SendRequest<Bytes>,
    uri: Uri,
    deadline: Instant,
) -> anyhow::Result<Answered> {
    let mut chat = open(sender, uri).await?;
    let mut answered = Answered::new();
    let mut began = Instant::now();
    while began < deadline {
        chat.asking.send_data(MESSAGE, false)?;
        chat.answers.next().await?;
        answered.push(began.elapsed());
        began = Instant::now();
    }
    chat.asking.send_data(Bytes::new(), true)?;
    chat.answers.end().await?;
    Ok(answered)
}

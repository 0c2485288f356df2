//! The server: `Get` answers one message with one, `Chat` every message with itself.

use anyhow::Context as _;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Response};
use tokio::net::{TcpListener, TcpStream};

use crate::{Bytes, MESSAGE, WINDOW_BYTES};

/// Serves until it is killed.
#[expect(clippy::print_stdout, reason = "who started it waits for this")]
pub(crate) async fn serve(port: u16) -> anyhow::Result<()> {
    let listener = TcpListener::bind(("::", port)).await?;
    println!("serving");
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::task::spawn_local(async move {
            if let Err(error) = connection(stream).await {
                complain(&error);
            }
        });
    }
}

#[expect(clippy::print_stderr, reason = "its log says why a bench failed")]
fn complain(error: &anyhow::Error) {
    eprintln!("{error:#}");
}

async fn connection(stream: TcpStream) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut connection = h2::server::Builder::new()
        .initial_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .handshake(stream)
        .await
        .context("the preface")?;
    while let Some(call) = connection.accept().await {
        let (request, respond) = call.context("a connection")?;
        let is_chat = request.uri().path().ends_with("/Chat");
        tokio::task::spawn_local(async move {
            let answered = answer(request.into_body(), respond, is_chat).await;
            if let Err(error) = answered.context("a call") {
                complain(&error);
            }
        });
    }
    Ok(())
}

async fn answer(
    mut asked: RecvStream,
    mut respond: SendResponse<Bytes>,
    is_chat: bool,
) -> anyhow::Result<()> {
    let mut head = Response::new(());
    let kind = HeaderValue::from_static("application/grpc");
    head.headers_mut().insert("content-type", kind);
    let mut body = if is_chat {
        let mut body = respond.send_response(head, false)?;
        while let Some(bytes) = asked.data().await {
            let bytes = bytes?;
            asked.flow_control().release_capacity(bytes.len())?;
            // The end comes in an empty frame; those that do not end a stream look like a flood.
            if !bytes.is_empty() {
                body.send_data(bytes, false)?;
            }
        }
        body
    } else {
        while let Some(bytes) = asked.data().await {
            asked.flow_control().release_capacity(bytes?.len())?;
        }
        let mut body = respond.send_response(head, false)?;
        body.send_data(MESSAGE, false)?;
        body
    };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    Ok(body.send_trailers(trailers)?)
}

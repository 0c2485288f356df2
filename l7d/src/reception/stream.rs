//! A connection with its place, and a listener's connections that got one.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::stream::{Stream, unfold};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use tonic::transport::server::Connected;

use super::{Guest, Place, Places};

/// Within this time a guest says what it wants: the preface of HTTP/2, or the better part of a request.
const GREETING: Duration = Duration::from_secs(10);
/// How much that is: the shortest request of HTTP/1.1 has 18 bytes, the preface of HTTP/2 24 (RFC 9113
/// §3.4).
const GREETING_BYTES: usize = 18;
/// Where no connection can be accepted, the next one is tried after this time.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A connection that has a place, which it leaves when it is dropped.
#[derive(Debug)]
pub struct Admitted<S> {
    stream: S,
    place: Place,
    /// Until when it must have said how much more.
    greeting: Option<(Pin<Box<Sleep>>, usize)>,
}

impl<S> Admitted<S> {
    /// From now on it has some time to say what it wants.
    pub fn new(stream: S, place: Place) -> Self {
        Self {
            stream,
            place,
            greeting: Some((Box::pin(sleep(GREETING)), GREETING_BYTES)),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Admitted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let Some((deadline, missing)) = &mut self.greeting else {
            return read;
        };
        *missing = missing.saturating_sub(buffer.filled().len() - before);
        if *missing == 0 {
            self.greeting = None;
            return read;
        }
        if read.is_pending() {
            ready!(deadline.as_mut().poll(context));
            self.greeting = None;
            self.place.note_silence();
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Admitted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl<S: Connected> Connected for Admitted<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

/// The connections of a listener that found a place. `accept` takes the next one and says whose it is.
pub fn admitted<S, F>(
    places: Arc<Places>,
    accept: impl Fn() -> F,
) -> impl Stream<Item = io::Result<Admitted<S>>>
where
    F: Future<Output = io::Result<(S, Guest)>>,
{
    unfold((places, accept), |(places, accept)| async move {
        loop {
            match accept().await {
                Ok((stream, guest)) => {
                    if let Ok(place) = places.enter(guest) {
                        return Some((Ok(Admitted::new(stream, place)), (places, accept)));
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "a client cannot be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::super::Refusal;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_says_too_little_in_time_is_sent_away() {
        let places = Places::new(4);
        let (mut guest, stream) = duplex(64);
        let place = places.enter(Guest::Somebody).expect("a place");
        let mut admitted = Admitted::new(stream, place);
        let reading = tokio::spawn(async move {
            let mut text = Vec::new();
            admitted.read_to_end(&mut text).await
        });
        for byte in b"GET /metr" {
            guest.write_all(&[*byte]).await.expect("there is room");
            sleep(Duration::from_secs(1)).await;
        }
        let error = reading.await.expect("it ends").expect_err("it is cut");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(places.refused(Refusal::Silent), 1);
        assert_eq!(places.taken.lock().all, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_said_what_it_wants_may_be_silent() {
        let places = Places::new(4);
        let (mut guest, stream) = duplex(64);
        let place = places.enter(Guest::Somebody).expect("a place");
        let mut admitted = Admitted::new(stream, place);
        guest
            .write_all(b"GET /metrics HTTP/1.1\r\n")
            .await
            .expect("there is room");
        let mut some = [0; 23];
        admitted.read_exact(&mut some).await.expect("read");
        let reading =
            tokio::spawn(async move { admitted.read_exact(&mut some[..2]).await.map(drop) });
        sleep(Duration::from_hours(1)).await;
        guest.write_all(b"\r\n").await.expect("it is still there");
        reading.await.expect("it ends").expect("read");
        assert_eq!(places.refused_at_all(), 0);
    }
}

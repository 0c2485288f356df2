//! One connection: its two sockets, and its state as bytes.

use std::io;
use std::net::SocketAddr;
use std::net::TcpStream as StdStream;
use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;

use super::{FORMAT, SavedConnection};
use crate::proxy::lane::SavedLane;

/// Who a connection is between: where the client comes from, and its server, or where it wanted to go
/// while that has not been reached. A socket that both sides have closed does not tell any more.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(in crate::proxy) struct Addresses {
    pub(in crate::proxy) client: SocketAddr,
    pub(in crate::proxy) server: SocketAddr,
}

/// A connection between two processes.
#[derive(Debug)]
pub(in crate::proxy) struct Moved {
    pub(super) client: OwnedFd,
    /// None where it has not been reached.
    pub(super) server: Option<OwnedFd>,
    pub(in crate::proxy) addresses: Addresses,
    /// Version of the form of the state.
    pub(super) format: u16,
    pub(super) is_judged: bool,
    /// What has come and not gone on, to the server and to the client: readable whatever the version.
    pub(super) rest: [Vec<u8>; 2],
    pub(super) state: Vec<u8>,
}

/// Why a connection cannot move.
#[derive(Debug, thiserror::Error)]
pub(in crate::proxy) enum Error {
    #[error("its socket: {0}")]
    Socket(#[from] io::Error),
    #[error("its state cannot be written: {0}")]
    Write(String),
    #[error(
        "its state has version {0}, and this agent reads {FORMAT}; what was judged cannot go on unread"
    )]
    Version(u16),
    #[error("its state cannot be read: {0}")]
    Read(String),
}

impl Moved {
    pub(in crate::proxy) fn new(
        client: TcpStream,
        server: Option<TcpStream>,
        addresses: Addresses,
        saved: &SavedConnection,
    ) -> Result<Self, Error> {
        let mut state = Vec::new();
        ciborium::into_writer(saved, &mut state)
            .map_err(|error| Error::Write(error.to_string()))?;
        let rest = match saved {
            SavedConnection::Watched { lanes, .. } | SavedConnection::Unread { lanes } => {
                lanes.each_ref().map(|lane| lane.rest().to_vec())
            }
            _ => [Vec::new(), Vec::new()],
        };
        let server = server.map(TcpStream::into_std).transpose()?;
        Ok(Self {
            client: client.into_std()?.into(),
            server: server.map(OwnedFd::from),
            addresses,
            format: FORMAT,
            is_judged: saved.is_judged(),
            rest,
            state,
        })
    }

    /// The sockets, for the runtime of this thread, and the state; of a state that cannot be read, what
    /// lets the connection go on unread, unless it was judged.
    pub(in crate::proxy) fn open(
        self,
    ) -> Result<(TcpStream, Option<TcpStream>, SavedConnection), Error> {
        let saved = if self.format == FORMAT {
            ciborium::from_reader(self.state.as_slice())
                .map_err(|error| Error::Read(error.to_string()))
        } else {
            Err(Error::Version(self.format))
        };
        let saved = match saved {
            Ok(saved) => saved,
            Err(error) if self.is_judged => return Err(error),
            Err(error) => {
                tracing::debug!(%error, "a connection goes on unread");
                let lanes = self.rest.map(SavedLane::unread);
                SavedConnection::Unread { lanes }
            }
        };
        let stream = |fd: OwnedFd| TcpStream::from_std(StdStream::from(fd));
        let server = self.server.map(stream).transpose()?;
        Ok((stream(self.client)?, server, saved))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(runtime: &tokio::runtime::Runtime) -> (TcpStream, TcpStream) {
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
                .await
                .expect("a port");
            let address = listener.local_addr().expect("bound");
            let (one, other) = tokio::join!(TcpStream::connect(address), listener.accept());
            (one.expect("connected"), other.expect("accepted").0)
        })
    }

    fn moved(runtime: &tokio::runtime::Runtime, saved: &SavedConnection) -> Moved {
        let (client, server) = pair(runtime);
        let addresses = Addresses {
            client: client.peer_addr().expect("connected"),
            server: server.peer_addr().expect("connected"),
        };
        Moved::new(client, Some(server), addresses, saved).expect("a state that can be written")
    }

    #[test]
    fn a_state_of_another_version_is_left_out_unless_it_was_judged() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let rest = b"for the server".to_vec();
        let lanes = [SavedLane::unread(rest.clone()), SavedLane::default()];
        let watched = moved(&runtime, &SavedConnection::Unread { lanes });
        let judged = moved(&runtime, &SavedConnection::Connected);
        let _context = runtime.enter();
        let (_, _, saved) = Moved {
            format: FORMAT + 1,
            ..watched
        }
        .open()
        .expect("it goes on");
        let SavedConnection::Unread { lanes: [up, down] } = saved else {
            panic!("it goes on unread");
        };
        assert_eq!((up.rest(), down.rest()), (rest.as_slice(), &[][..]));
        let refused = Moved {
            format: FORMAT + 1,
            ..judged
        }
        .open();
        assert!(matches!(refused, Err(Error::Version(version)) if version == FORMAT + 1));
    }
}

//! The relay that looks.
//!
//! Bytes go on first and are looked at afterwards. There is nothing here that could refuse, delay,
//! time out or alter: no verdict is in scope, and what cannot be followed is relayed on.

use std::cell::RefCell;
use std::pin::pin;

use parsers::Direction as Way;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use super::forward::{Broken, Pool, Received, join, receive, send};
use super::network;
use super::splice::WORTHWHILE_BYTES;
use crate::session::Session;

/// Relays both directions until both have ended.
pub(super) async fn relay(
    client: &mut TcpStream,
    server: &mut TcpStream,
    session: &mut Session,
    pool: &Pool,
) -> Result<(), Broken> {
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let session = RefCell::new(session);
    let up = pump(Way::ToServer, from_client, to_server, &session, pool);
    let down = pump(Way::ToClient, from_server, to_client, &session, pool);
    join(pin!(up), pin!(down)).await
}

async fn pump(
    way: Way,
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    session: &RefCell<&mut Session>,
    pool: &Pool,
) -> Result<(), Broken> {
    loop {
        let (received, buffer) = receive(&mut from, || pool.take(), pool)
            .await
            .map_err(|error| Broken::Read(way, error))?;
        let Received::Bytes(count) = received else {
            pool.give(buffer);
            session.borrow_mut().note_tcp(network::closed(way));
            return to
                .shutdown()
                .await
                .map_err(|error| Broken::Write(way, error));
        };
        let bytes = buffer.get(..count).unwrap_or_default();
        send(&to, bytes)
            .await
            .map_err(|error| Broken::Write(way, error))?;
        {
            let mut session = session.borrow_mut();
            let (client, server) = match way {
                Way::ToServer => (from.as_ref(), to.as_ref()),
                Way::ToClient => (to.as_ref(), from.as_ref()),
            };
            network::look(&mut session, client, server);
            session.observe(way, bytes);
        }
        pool.give(buffer);
        let left = session.borrow().unseen_body(way);
        if left >= WORTHWHILE_BYTES {
            let moved = |bytes| session.borrow_mut().skip(way, bytes);
            // Boxed: long bodies are rare, and every connection would have room for one.
            Box::pin(
                pool.pipes
                    .pass(way, from.as_ref(), to.as_ref(), left, moved),
            )
            .await?;
        }
    }
}

//! The relay that looks.
//!
//! Bytes go on first and are looked at afterwards. There is nothing here that could refuse, delay,
//! time out or alter: no verdict is in scope, and what cannot be followed is relayed on.
//!
//! What has come and not gone on is in the lanes: the future may be dropped and made again.

use std::cell::RefCell;
use std::pin::pin;

use parsers::Direction as Way;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use super::forward::{Broken, Pool, Received, join, receive};
use super::lane::Lane;
use super::network;
use super::splice::{Run, WORTHWHILE_BYTES};
use crate::session::Session;

/// Relays both directions until both have ended.
pub(super) async fn relay(
    client: &mut TcpStream,
    server: &mut TcpStream,
    session: &mut Session,
    [up, down]: &mut [Lane; 2],
    pool: &Pool,
) -> Result<(), Broken> {
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let session = RefCell::new(session);
    let up = pump(Way::ToServer, from_client, to_server, up, &session, pool);
    let down = pump(Way::ToClient, from_server, to_client, down, &session, pool);
    join(pin!(up), pin!(down)).await
}

async fn pump(
    way: Way,
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    lane: &mut Lane,
    session: &RefCell<&mut Session>,
    pool: &Pool,
) -> Result<(), Broken> {
    let written = |error| Broken::Write(way, error);
    while !lane.is_over {
        if lane.is_empty() {
            let (received, buffer) = receive(&mut from, pool, lane.reach())
                .await
                .map_err(|error| Broken::Read(way, error))?;
            let Received::Bytes(count) = received else {
                pool.give(buffer);
                lane.is_over = true;
                session.borrow_mut().note_tcp(network::closed(way));
                return to.shutdown().await.map_err(written);
            };
            lane.hold(buffer, count);
        }
        lane.send(&to).await.map_err(written)?;
        {
            let mut session = session.borrow_mut();
            let (client, server) = match way {
                Way::ToServer => (from.as_ref(), to.as_ref()),
                Way::ToClient => (to.as_ref(), from.as_ref()),
            };
            network::look(&mut session, client, server);
            if !lane.is_observed {
                session.observe(way, lane.bytes());
            }
        }
        lane.release(pool);
        let left = session.borrow().unseen_body(way);
        if left >= WORTHWHILE_BYTES {
            let moved = |bytes| session.borrow_mut().skip(way, bytes);
            let (from, to) = (from.as_ref(), to.as_ref());
            let run = Run {
                way,
                from,
                to,
                left,
            };
            // Boxed: long bodies are rare, and every connection would have room for one.
            Box::pin(pool.pipes.pass(run, &mut lane.piped, moved)).await?;
        }
    }
    Ok(())
}

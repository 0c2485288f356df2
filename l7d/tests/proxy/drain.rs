//! A proxy that is told to stop cuts no request that it can let finish.

use std::time::Duration;

use crate::enforce::{GET, OK};
use crate::http2::speaker::{END, OPEN, Speaker};
use crate::policed::plan;
use crate::world::{End, HANG, Plan, Server, World};

fn draining(server: std::net::SocketAddr) -> World {
    World::start(Plan {
        drain: HANG,
        ..plan(server)
    })
}

#[test]
fn a_stream_that_is_open_ends_and_no_other_begins() {
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    let server = Server::once(move |peer| tell.send(peer).unwrap());
    let mut world = draining(server.address);
    let mut client = Speaker::client(world.connect());
    let mut server = Speaker::server(told.recv_timeout(HANG).unwrap());
    client.expect(&["SETTINGS"]);
    client.ask(1, OPEN, "PUT", "/open/x");
    server.expect(&["HEADERS 1 :method=PUT :scheme=http :authority=web :path=/open/x"]);
    let stopping = world.begin_stop();
    client.expect(&["GOAWAY 1 NO_ERROR the proxy ends"]);
    client.ask(3, END, "GET", "/get");
    client.expect(&["RST_STREAM 3 REFUSED_STREAM"]);
    client.data(1, END, b"the rest");
    server.expect(&["DATA 1 end 8"]);
    server.answer(1, END, "200");
    client.expect(&["HEADERS 1 end :status=200 server=plain", "end"]);
    drop(client);
    stopping.join().unwrap();
}

#[test]
fn an_answer_that_is_under_way_arrives_and_the_connection_closes_behind_it() {
    let (front, rest) = OK.split_at(20);
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    let server = Server::once(move |mut peer| {
        peer.expect(GET);
        peer.send(front);
        tell.send(peer).unwrap();
    });
    let mut world = draining(server.address);
    let mut client = world.connect();
    client.send(GET);
    client.expect(front);
    let mut peer = told.recv_timeout(HANG).unwrap();
    let stopping = world.begin_stop();
    peer.send(rest);
    client.expect(rest);
    assert_eq!(client.rest(), (Vec::new(), End::Closed));
    drop(client);
    stopping.join().unwrap();
}

#[test]
fn what_does_not_end_in_time_is_cut() {
    let server = Server::once(|mut peer| {
        peer.expect(GET);
        peer.rest();
    });
    let mut world = World::start(Plan {
        drain: Duration::from_millis(50),
        ..plan(server.address)
    });
    let mut client = world.connect();
    client.send(GET);
    world.wait_for("request GET http://web/get");
    world.begin_stop().join().unwrap();
    client.rest();
}

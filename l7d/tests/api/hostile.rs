//! Clients that want more than is good for others: the others are served, and who is sent away is counted.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use l7d::config::Tcp;
use l7d::metrics;
use l7d::reception::Refusal;
use prometheus_client::registry::Registry;
use proto::flow::FlowFilter;
use proto::observer::observer_client::ObserverClient;
use proto::observer::{GetFlowsRequest, ServerStatusRequest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::served::{Served, free_port, run};

/// Who floods, and another client.
const HOSTILE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A connection from an address of loopback.
async fn connect(from: Ipv4Addr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(IpAddr::V4(from), 0))?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn client(from: Ipv4Addr, to: SocketAddr) -> ObserverClient<Channel> {
    let channel = Endpoint::from_static("http://localhost")
        .connect_with_connector(tower::service_fn(move |_uri| async move {
            connect(from, to).await.map(TokioIo::new)
        }))
        .await
        .unwrap();
    ObserverClient::new(channel)
}

/// Somebody else gets an answer.
async fn is_served(mut other: ObserverClient<Channel>) {
    let status = other.server_status(ServerStatusRequest {}).await.unwrap();
    assert_eq!(status.into_inner().max_flows, 63);
}

#[test]
fn a_giant_message_is_refused_and_its_connection_goes_on() {
    let served = Served::new(63);
    run(async {
        let mut hostile = client(HOSTILE, served.tcp).await;
        let filter = FlowFilter {
            source_pod: vec!["x".repeat(1 << 20)],
            ..FlowFilter::default()
        };
        let request = GetFlowsRequest {
            whitelist: vec![filter],
            ..GetFlowsRequest::default()
        };
        let refused = hostile.get_flows(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
        is_served(hostile).await;
    });
}

#[test]
fn a_client_with_many_calls_leaves_half_of_them_to_others() {
    let served = Served::new(63);
    run(async {
        let mut open = Vec::new();
        let mut refused = Vec::new();
        for _connection in 0..5 {
            let hostile = client(HOSTILE, served.tcp).await;
            for _call in 0..100 {
                let request = GetFlowsRequest {
                    follow: true,
                    ..GetFlowsRequest::default()
                };
                match hostile.clone().get_flows(request).await {
                    Ok(answer) => open.push(answer),
                    Err(status) => refused.push(status.code()),
                }
            }
        }
        assert_eq!((open.len(), refused.len()), (256, 244));
        assert!(refused.iter().all(|code| *code == Code::ResourceExhausted));
        assert_eq!(served.calls.places.refused(Refusal::Crowd), 244);
        is_served(client(OTHER, served.tcp).await).await;
        is_served(served.observer().await).await;
    });
}

#[test]
fn a_client_with_many_connections_leaves_half_of_them_to_others() {
    let served = Served::new(63);
    run(async {
        let mut crowd = Vec::new();
        for _ in 0..300 {
            crowd.push(connect(HOSTILE, served.tcp).await.unwrap());
        }
        // Connections are accepted in their order: when this one is served, all others have been judged.
        is_served(client(OTHER, served.tcp).await).await;
        assert_eq!(served.calls.connections.refused(Refusal::Crowd), 300 - 128);
        // The first one that was sent away.
        let mut rest = Vec::new();
        let ended = crowd.remove(128).read_to_end(&mut rest).await;
        assert!(ended.is_err() || rest.is_empty(), "{rest:?}");
    });
}

/// Frames of HTTP/2 (RFC 9113 §6).
const SETTINGS: u8 = 4;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// POST, http, the path and a name, none of them kept in a table (RFC 7541 §6.2.2).
fn head() -> Vec<u8> {
    let mut head = vec![0x83, 0x86];
    for (name, value) in [(0x04, "/observer.Observer/GetFlows"), (0x01, "localhost")] {
        head.push(name);
        head.push(u8::try_from(value.len()).unwrap());
        head.extend(value.as_bytes());
    }
    head
}

#[test]
fn of_ten_thousand_streams_at_once_as_many_are_open_as_may_be() {
    let served = Served::new(63);
    run(async {
        let stream = connect(HOSTILE, served.tcp).await.unwrap();
        let (mut reader, mut writer) = stream.into_split();
        let writing = tokio::spawn(async move {
            let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
            bytes.extend(frame(SETTINGS, 0, 0, &[]));
            for call in 0..10_000 {
                // END_HEADERS: a message is to come, and never does.
                bytes.extend(frame(HEADERS, 0x4, 2 * call + 1, &head()));
            }
            // The server need not read to the end.
            writer.write_all(&bytes).await.map(|()| writer)
        });
        // As many as a connection may have are open, and wait for their messages.
        let mut resets = 0;
        let mut first = [0; 9];
        while resets < 10_000 - 128 {
            reader.read_exact(&mut first).await.unwrap();
            let length = u32::from_be_bytes([0, first[0], first[1], first[2]]);
            let mut payload = vec![0; length.try_into().unwrap()];
            reader.read_exact(&mut payload).await.unwrap();
            match first[3] {
                RST_STREAM => resets += 1,
                // Another way to refuse them.
                GOAWAY => break,
                _ => {}
            }
        }
        drop(writing.await);
        is_served(client(OTHER, served.tcp).await).await;
        is_served(served.observer().await).await;
    });
}

#[test]
fn slow_scrapers_leave_places_to_others_and_are_counted() {
    run(async {
        let listen = free_port();
        let tcp = Tcp {
            listen,
            tls: None,
            insecure: false,
        };
        let exposition = Arc::new(metrics::Exposition::new(Registry::default()));
        let stop = watch::Sender::new(false);
        metrics::serve(&tcp, exposition, stop.subscribe())
            .await
            .unwrap();
        let mut slow = Vec::new();
        for _ in 0..100 {
            let mut stream = connect(HOSTILE, listen).await.unwrap();
            // Those that found no place may be gone already.
            if stream.write_all(b"GET /met").await.is_ok() {
                slow.push(stream);
            }
        }
        let mut scraper = connect(OTHER, listen).await.unwrap();
        let request = b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        scraper.write_all(request).await.unwrap();
        let mut answer = String::new();
        scraper.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        let refused = r#"l7d_metrics_refused_total{what="connection",reason="crowd"} 68"#;
        assert!(answer.contains(refused), "{answer}");
    });
}

#[test]
fn a_head_without_end_is_refused() {
    run(async {
        let listen = free_port();
        let tcp = Tcp {
            listen,
            tls: None,
            insecure: false,
        };
        let exposition = Arc::new(metrics::Exposition::new(Registry::default()));
        let stop = watch::Sender::new(false);
        metrics::serve(&tcp, exposition, stop.subscribe())
            .await
            .unwrap();
        let mut scraper = connect(HOSTILE, listen).await.unwrap();
        let mut head = b"GET /metrics HTTP/1.1\r\nx: ".to_vec();
        head.resize(1 << 20, b'a');
        // It is not read to its end.
        let _cut = scraper.write_all(&head).await;
        let mut answer = Vec::new();
        let _reset = scraper.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 431 "),
            "{answer}"
        );
    });
}

//! Headers that a policy changes: just these, and everything else to the byte.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

use l7d::policy::Live;

use crate::enforce::{DENIED, OK};
use crate::http2::speaker::{END, OPEN, Speaker};
use crate::nginx::Nginx;
use crate::policed::{compiled, plan};
use crate::world::{HANG, Plan, Server, World};

const POLICY: &str = r#"
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: marks, namespace: shop }
spec:
  endpointSelector: { matchLabels: { app: web } }
  ingress:
  - fromEndpoints: [ { matchLabels: { app: client } } ]
    toPorts:
    - ports: [ { port: "80", protocol: TCP } ]
      rules:
        http:
        - path: "/open/.*"
          headerMatches:
          - { name: X-Added, value: one, mismatch: ADD }
          - { name: X-Gone, value: none, mismatch: DELETE }
          - { name: X-Set, value: right, mismatch: REPLACE }
          - { name: X-Told, value: known, mismatch: LOG }
        - path: "/strict"
          headerMatches: [ { name: X-Set, value: right } ]
"#;
const CHANGES: &str = "header x-added added, header x-gone removed, header x-set replaced, header x-told is missing or differs";

fn changing(server: SocketAddr) -> World {
    World::start(Plan {
        live: Arc::new(Live::new(compiled(POLICY, 1))),
        ..plan(server)
    })
}

#[test]
fn of_an_http1_request_only_these_headers_change() {
    const ASKED: &[u8] = b"POST /open/a?b HTTP/1.1\r\nHOST: web\r\nx-gone:  1\r\nX-Keep:\t a  b \r\nContent-Length: 3\r\nX-SET: wrong\r\nx-Gone: 2\r\nX-Set: right\r\n\r\nabc";
    const HEARD: &[u8] = b"POST /open/a?b HTTP/1.1\r\nHOST: web\r\nX-Keep:\t a  b \r\nContent-Length: 3\r\nx-added: one\r\nx-set: right\r\n\r\nabc";
    // What fits already goes on as it came.
    const FITS: &[u8] = b"GET /open/b HTTP/1.1\r\nHost: web\r\nX-ADDED:  one\r\nX-Set: right\r\nX-Told: known\r\n\r\n";
    const DIFFERS: &[u8] = b"GET /strict HTTP/1.1\r\nHost: web\r\nX-Set: wrong\r\n\r\n";
    for step in [1, 7, 1000] {
        let server = Server::once(|mut peer| {
            peer.expect(HEARD);
            peer.expect(FITS);
            peer.send(&[OK, OK].concat());
            peer.expect(HEARD);
            peer.send(OK);
        });
        let world = changing(server.address);
        let mut client = world.connect();
        for piece in [ASKED, FITS].concat().chunks(step) {
            client.send(piece);
        }
        client.expect(&[OK, OK].concat());
        for piece in [DIFFERS, ASKED].concat().chunks(step) {
            client.send(piece);
        }
        client.expect(&[DENIED, OK].concat());
        drop(client);
        server.join();
        let records = world.records(8);
        let asked = format!("request POST http://web/open/a?b passed Forwarded {CHANGES} marks");
        assert_eq!(records[0], asked);
        assert_eq!(
            records[1],
            "request GET http://web/open/b passed Forwarded marks"
        );
        let denied = records.iter().find(|record| record.contains("/strict"));
        assert!(
            denied.is_some_and(|record| record.contains("header X-Set is missing or differs")),
            "{records:#?}"
        );
        assert_eq!(records.len(), 8, "{records:#?}");
    }
}

#[test]
fn of_an_http2_request_only_these_headers_change() {
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    let server = Server::once(move |peer| tell.send(peer).unwrap());
    let world = changing(server.address);
    let mut client = Speaker::client(world.connect());
    let mut server = Speaker::server(told.recv_timeout(HANG).unwrap());
    client.expect(&["SETTINGS"]);
    let fields = |path| {
        vec![
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "web"),
            (":path", path),
            ("x-gone", "1"),
            ("x-keep", "a"),
            ("x-set", "wrong"),
        ]
    };
    client.say_head(1, OPEN, &fields("/open/a"));
    client.data(1, END, b"abc");
    client.say_head(3, END, &fields("/strict"));
    client.say_head(5, END, &fields("/open/b"));
    let changed = "x-keep=a x-added=one x-set=right";
    server.expect(&[
        &format!("HEADERS 1 :method=GET :scheme=http :authority=web :path=/open/a {changed}"),
        "DATA 1 end 3",
        &format!("HEADERS 5 end :method=GET :scheme=http :authority=web :path=/open/b {changed}"),
    ]);
    client.expect(&["HEADERS 3 end :status=403 content-length=0"]);
    drop((client, server));
    let records = world.records(6);
    let asked = format!("request GET http://web/open/a passed Forwarded {CHANGES} marks");
    assert_eq!(records[0], asked, "{records:#?}");
}

#[test]
fn curl_asks_and_nginx_hears_what_the_policy_makes_of_it() {
    let log = "$request_method $uri $server_protocol [$http_x_added] [$http_x_gone] [$http_x_set] [$http_x_keep]";
    for (version, listen, protocol) in [
        ("--http1.1", "", "HTTP/1.1"),
        ("--http2-prior-knowledge", "http2", "HTTP/2.0"),
    ] {
        let nginx = Nginx::start(log, |_, address| {
            format!("listen {address} {listen}; return 200 served;")
        });
        let world = changing(nginx.address);
        for (path, expected) in [("/open/a", "200"), ("/strict", "403"), ("/open/b", "200")] {
            let output = Command::new("curl")
                .args(["--silent", "--max-time", "20", "--output", "/dev/null"])
                .args(["--write-out", "%{http_code}", version])
                .args(["-H", "X-Gone: 1", "-H", "X-Set: wrong", "-H", "X-Keep: a"])
                .arg(format!("http://{}{path}", world.entry))
                .output()
                .unwrap();
            let code = String::from_utf8_lossy(&output.stdout);
            assert_eq!(code, expected, "{version} {path}: {output:?}");
        }
        let heard = |path| format!("GET {path} {protocol} [one] [-] [right] [a]");
        assert_eq!(nginx.log(), [heard("/open/a"), heard("/open/b")]);
    }
}

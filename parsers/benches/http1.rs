//! HTTP/1 heads through [`Connection`], beside bare httparse on the same bytes.
//!
//! Three sizes: what a service sends (`short`), a browser (`usual`), a browser with cookies (`long`).
//! Figures are bytes of heads per second, on one core.

use std::mem::MaybeUninit;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use parsers::http1::{Connection, Event, Reading, Step};
use parsers::{Direction, Limits};

const EXCHANGES: usize = 500;

/// Requests and responses, one behind the other.
struct Traffic {
    requests: Vec<u8>,
    responses: Vec<u8>,
}

fn traffic(request: &str, response: &str) -> Traffic {
    Traffic {
        requests: request.repeat(EXCHANGES).into_bytes(),
        responses: response.repeat(EXCHANGES).into_bytes(),
    }
}

fn kinds() -> [(&'static str, Traffic); 3] {
    let short = traffic(
        "GET /api/v1/users/17 HTTP/1.1\r\nHost: users.shop.svc:8080\r\nAccept: application/json\r\nUser-Agent: Go-http-client/1.1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 0\r\nServer: envoy\r\n\r\n",
    );
    let browser = "GET /shop/items?category=hats&page=2&sort=price HTTP/1.1\r\nHost: www.shop.example.com\r\nConnection: keep-alive\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\nAccept-Encoding: gzip, deflate, br\r\nAccept-Language: en-US,en;q=0.9\r\nReferer: https://www.shop.example.com/shop\r\nUpgrade-Insecure-Requests: 1\r\n";
    let answer = "HTTP/1.1 200 OK\r\nDate: Mon, 21 Oct 2024 20:13:21 GMT\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 0\r\nConnection: keep-alive\r\nVary: Accept-Encoding\r\nCache-Control: private, max-age=0, must-revalidate\r\nETag: W/\"2d-3b1f5a\"\r\nX-Request-Id: 4f1d6b2a9c8e4f0d\r\nStrict-Transport-Security: max-age=31536000\r\nServer: nginx\r\n";
    let cookies = "item=7c9e6679f1c24de88b4f0e3d5a6b0017; ".repeat(16);
    let usual = traffic(&format!("{browser}\r\n"), &format!("{answer}\r\n"));
    let long = traffic(
        &format!("{browser}Cookie: {cookies}{cookies}\r\n\r\n"),
        &format!("{answer}Set-Cookie: {cookies}\r\nContent-Security-Policy: {cookies}\r\n\r\n"),
    );
    [("short", short), ("usual", usual), ("long", long)]
}

/// Reads everything and touches what a record would take.
fn read(traffic: &Traffic, reading: Reading) -> usize {
    let mut connection = Connection::new(Limits::default(), reading);
    let mut touched = 0;
    let (mut asked, mut answered) = (&*traffic.requests, &*traffic.responses);
    while !asked.is_empty() {
        for (direction, bytes) in [
            (Direction::ToServer, &mut asked),
            (Direction::ToClient, &mut answered),
        ] {
            let Ok(Step::Event { consumed, event }) = connection.step(direction, bytes) else {
                return touched;
            };
            match event {
                Event::Request(head) => touched += head.method().len() + head.path().len(),
                Event::Response(head) => touched += usize::from(head.code()),
                _ => {}
            }
            *bytes = bytes.get(consumed..).unwrap_or_default();
        }
    }
    touched
}

/// The same heads by httparse alone.
fn parse(traffic: &Traffic) -> usize {
    let mut touched = 0;
    let mut rest = &*traffic.requests;
    while !rest.is_empty() {
        let mut room = [const { MaybeUninit::uninit() }; 128];
        let mut request = httparse::Request::new(&mut []);
        let config = httparse::ParserConfig::default();
        let Ok(httparse::Status::Complete(end)) =
            config.parse_request_with_uninit_headers(&mut request, rest, &mut room)
        else {
            return touched;
        };
        touched += request.path.map_or(0, str::len);
        rest = rest.get(end..).unwrap_or_default();
    }
    let mut rest = &*traffic.responses;
    while !rest.is_empty() {
        let mut room = [const { MaybeUninit::uninit() }; 128];
        let mut response = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let Ok(httparse::Status::Complete(end)) =
            config.parse_response_with_uninit_headers(&mut response, rest, &mut room)
        else {
            return touched;
        };
        touched += usize::from(response.code.unwrap_or(0));
        rest = rest.get(end..).unwrap_or_default();
    }
    touched
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("http1");
    for (name, traffic) in kinds() {
        let bytes = traffic.requests.len() + traffic.responses.len();
        group.throughput(Throughput::Bytes(bytes as u64));
        for (how, reading) in [("looking", Reading::Lenient), ("judging", Reading::Strict)] {
            group.bench_function(format!("{name}/{how}"), |bencher| {
                bencher.iter(|| read(&traffic, reading));
            });
        }
        group.bench_function(format!("{name}/httparse"), |bencher| {
            bencher.iter(|| parse(&traffic));
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);

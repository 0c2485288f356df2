//! The Hubble API under load, for `cargo xtask bench api`: a server with the API's own thread over a ring
//! that something feeds, and clients that read it. Each of both prints one JSON object of figures.
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a program whose output is its purpose; it measures what we wrote ourselves"
)]

mod flows;
mod read;
mod serve;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| -> u64 {
        let text = arguments.get(at).expect("a number is missing");
        text.parse().expect("a number")
    };
    let socket = arguments.get(1).expect("a socket is missing");
    match arguments.first().map(String::as_str) {
        Some("serve") => serve::run(socket.into(), number(2)),
        Some("read") => read::one(socket, arguments.get(2).map_or("", String::as_str)),
        Some("follow") => read::many(socket, number(2), number(3)),
        _ => println!(
            "serve SOCKET RECORDS | read SOCKET [typed|encoded|masked|denied|expression] | \
             follow SOCKET CLIENTS FLOWS"
        ),
    }
}

/// Seconds of CPU time that this process, or this thread of it, has taken.
fn cpu_seconds(clock: rustix::time::ClockId) -> f64 {
    let time = rustix::time::clock_gettime(clock);
    let seconds = u32::try_from(time.tv_sec).unwrap_or(u32::MAX);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
    f64::from(seconds) + f64::from(nanos) / 1e9
}

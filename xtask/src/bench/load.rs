//! The work: the servers, and wrk.

use anyhow::Context as _;
use testbed::{Pod, Process, World};

use super::subject::Version;
use super::{CONNECTIONS, Cell, Report, SIZES, Stage, dns, grpc};

/// The server of what is asked for.
pub(super) fn serve(version: Version, world: &World, pod: &Pod) -> anyhow::Result<Process> {
    match version {
        Version::Dns => dns::serve(world, pod),
        Version::Http1 => nginx("", world, pod),
        Version::Http2 => nginx(" http2", world, pod),
        Version::Grpc => grpc::serve(pod),
    }
}

/// nginx with bodies of the sizes, under every path.
fn nginx(http2: &str, world: &World, pod: &Pod) -> anyhow::Result<Process> {
    let folder = world.folder();
    for (_, bytes) in SIZES {
        std::fs::write(folder.join(format!("{bytes}")), vec![b'x'; bytes])?;
    }
    let file = folder.join("server.conf");
    let root = folder.display();
    std::fs::write(
        &file,
        format!(
            "daemon off; user root; worker_processes 1; worker_rlimit_nofile 19000; pid {root}/server.pid; error_log {root}/server.err;\n\
             events {{ worker_connections 16384; }}\n\
             http {{ access_log off; sendfile on; tcp_nopush on; keepalive_timeout 300; keepalive_requests 1000000;\n\
             server {{ listen 80{http2}; location ~ ^/path[0-9]+/(.*)$ {{ alias {root}/$1; }} }} }}\n"
        ),
    )?;
    let mut command = pod.host.command("nginx");
    command.arg("-c").arg(&file);
    let process = pod.host.start("nginx", command)?;
    pod.host.wait_listening(80)?;
    Ok(process)
}

/// Lets wrk ask for a while.
pub(super) fn run(stage: &Stage, cell: &Cell, seconds: u32) -> anyhow::Result<Report> {
    let duration = format!("{seconds}s");
    let connections = CONNECTIONS.to_string();
    let url = stage.url(cell);
    let words = [
        "wrk",
        "--latency",
        "-t1",
        "-c",
        &connections,
        "-d",
        &duration,
        &url,
    ];
    let output = stage.client.host.output(&words)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let requests = text
        .lines()
        .find_map(|line| line.split_once(" requests in "))
        .and_then(|(count, _)| count.trim().parse::<f64>().ok())
        .with_context(|| format!("wrk told no count:\n{text}"))?;
    // A subject that answers with errors is fast for the wrong reason.
    let is_good = !text.contains("Non-2xx") && !text.contains("Socket errors") && requests > 0.0;
    anyhow::ensure!(is_good, "wrk saw errors at {url}:\n{text}");
    Ok(Report {
        requests,
        times: ["50%", "99%"].map(|which| percentile(&text, which)),
    })
}

fn percentile(report: &str, which: &str) -> String {
    let line = report
        .lines()
        .find(|line| line.trim_start().starts_with(which));
    line.and_then(|line| line.split_whitespace().nth(1))
        .unwrap_or("-")
        .to_owned()
}

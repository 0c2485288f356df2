//! The table that the README quotes.

use std::fmt::Write as _;

use super::idle::Idle;
use super::subject::Subject;
use super::{CONNECTIONS, SECONDS};

/// One row.
pub(super) struct Row {
    pub(super) subject: Subject,
    pub(super) cell: &'static str,
    pub(super) requests_per_second: f64,
    /// Times of a request as the load tells them: the median or the mean, and the 99th percentile or
    /// the greatest.
    pub(super) times: [String; 2],
    pub(super) cpu_us: f64,
    pub(super) softirq_us: f64,
    pub(super) rss_mib: f64,
}

/// Markdown.
pub(super) fn write(rows: &[Row], idle: &Idle) -> anyhow::Result<String> {
    let mut text = format!(
        "# HTTP/1 through one worker\n\nWritten by `cargo xtask bench http1`: wrk ({CONNECTIONS} connections, \
         {SECONDS} s a cell) in one pod, nginx in another, on one node. CPU is user and system time of the proxy \
         process; softirq is that of the whole machine, client and server included, so that a row is to be compared \
         with `direct`. Every proxy judges the path by a hundred rules and logs each request; l7d keeps a flow of it \
         instead. HAProxy, nginx and Envoy are asked openly; through l7d the client asks the server, which sees the \
         client's own address.\n\n\
         | body | through | requests/s | of direct | p50 | p99 | CPU per request | against HAProxy | softirq per request | RSS |\n\
         |---|---|---|---|---|---|---|---|---|---|\n"
    );
    add(rows, &mut text)?;
    writeln!(
        text,
        "\nMemory of the agent: {:.1} MiB idle, {:.1} MiB with {} idle connections through the proxy.",
        idle.alone_mib, idle.crowded_mib, idle.connections
    )?;
    Ok(text)
}

/// Appends a line for each row.
pub(super) fn add(rows: &[Row], text: &mut String) -> anyhow::Result<()> {
    for row in rows {
        let [usual, worst] = &row.times;
        let of = |subject: Subject| {
            rows.iter()
                .find(|peer| peer.subject == subject && peer.cell == row.cell)
        };
        let share = ratio(
            row.requests_per_second,
            of(Subject::Direct).map(|direct| direct.requests_per_second),
        );
        let peer = of(Subject::Haproxy).or_else(|| of(Subject::Dnsdist));
        let price = ratio(row.cpu_us, peer.map(|peer| peer.cpu_us));
        writeln!(
            text,
            "| {} | {} | {:.0} | {share} | {} | {} | {:.1} µs | {price} | {:.1} µs | {:.1} MiB |",
            row.cell,
            row.subject.name(),
            row.requests_per_second,
            usual,
            worst,
            row.cpu_us,
            row.softirq_us,
            row.rss_mib
        )?;
    }
    Ok(())
}

fn ratio(figure: f64, to: Option<f64>) -> String {
    match to {
        Some(to) if to > 0.0 && figure > 0.0 => format!("{:.2}", figure / to),
        Some(_) | None => "-".to_owned(),
    }
}

//! `cargo xtask bench api`: how many flows clients of the Hubble API get, and what that costs the agent.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::Context as _;
use serde_json::Value;

use super::build_release;
use crate::run::{say, target, workspace};

const RECORDS: u32 = 100_000;
const ROUNDS: u32 = 7;
const FOLLOWERS: u64 = 50;
const RATE: u64 = 20_000;
const SECONDS: u64 = 10;

/// What one client asks for, and what the row says of it.
const REQUESTS: [(&str, &str); 5] = [
    ("encoded", "all of them, counted and not decoded"),
    ("typed", "all of them, decoded by a client in Rust"),
    (
        "masked",
        "with the field mask of the stock command line, decoded",
    ),
    ("denied", "of one drop reason: each eighth"),
    ("expression", "the same by an expression"),
];

/// Measures, and writes `docs/bench-api.md`.
pub(crate) fn run() -> anyhow::Result<()> {
    build_release(&["--package", "l7d", "--example", "api"])?;
    let folder = target().join("tmp/bench-api");
    std::fs::create_dir_all(&folder)?;
    let mut text = format!(
        "# The Hubble API\n\nWritten by `cargo xtask bench api`. One thread serves all clients, as in the agent; \
         server and clients are processes of one machine, and share its cores. Records are those of HTTP \
         requests and answers, packets, verdicts and drops of 200 pods.\n\n\
         ## One client\n\n`GetFlows` of {RECORDS} recorded flows, median of {ROUNDS}. The time of the \
         server is what its process takes.\n\n\
         | flows | given per second | server, µs of CPU per flow of the ring | client, µs of CPU per flow given |\n|---|---|---|---|\n"
    );
    for (how, words) in REQUESTS {
        say(&format!("one client: {how}"));
        one(&folder, how, words, &mut text)?;
    }
    say("many followers");
    many(&folder, &mut text)?;
    super::publish("api", &text)
}

/// The server's process; it ends when its standard input does.
struct Server {
    process: Child,
    orders: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
    socket: PathBuf,
}

fn example() -> Command {
    Command::new(target().join("release/examples/api"))
}

impl Server {
    fn start(folder: &Path) -> anyhow::Result<Self> {
        let socket = folder.join("api.sock");
        let mut process = example()
            .arg("serve")
            .arg(&socket)
            .arg(RECORDS.to_string())
            .current_dir(workspace())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("the example `api`")?;
        let orders = process.stdin.take();
        let answers = process.stdout.take().context("no standard output")?;
        let mut server = Self {
            process,
            orders,
            answers: BufReader::new(answers).lines(),
            socket,
        };
        server.line()?;
        Ok(server)
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let line = self.answers.next().context("the server has ended")?;
        Ok(line?)
    }

    fn order(&mut self, order: &str) -> anyhow::Result<()> {
        let orders = self.orders.as_mut().context("no standard input")?;
        Ok(writeln!(orders, "{order}")?)
    }

    fn client(&self, words: &[&str]) -> Command {
        let [how, rest @ ..] = words else {
            return example();
        };
        let mut command = example();
        command.arg(how).arg(&self.socket).args(rest);
        command
    }

    /// CPU time that the process has taken, in seconds.
    fn cpu(&self) -> anyhow::Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        // The state, behind the name in brackets, is field 3; 14 and 15 are the times.
        let behind = stat.rsplit(')').next().unwrap_or_default();
        let times = behind.split_whitespace().skip(14 - 3).take(2);
        let ticks = times.map(|word| word.parse::<u32>().unwrap_or_default());
        let second = u32::try_from(rustix::param::clock_ticks_per_second())?;
        Ok(f64::from(ticks.sum::<u32>()) / f64::from(second))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.orders.take());
        // It ends by itself, or has ended.
        let _ended = self.process.wait();
    }
}

fn figure(figures: &Value, name: &str) -> f64 {
    figures
        .get(name)
        .and_then(Value::as_f64)
        .unwrap_or_default()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn one(folder: &Path, how: &str, words: &str, text: &mut String) -> anyhow::Result<()> {
    let server = Server::start(folder)?;
    let (mut rates, mut clients) = (Vec::new(), Vec::new());
    let before = server.cpu()?;
    for _ in 0..ROUNDS {
        let output = server.client(&["read", how]).output()?;
        let figures: Value = serde_json::from_slice(&output.stdout)
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        let flows = figure(&figures, "flows");
        rates.push(flows / figure(&figures, "seconds"));
        clients.push(figure(&figures, "cpu") * 1e6 / flows);
    }
    let looked = f64::from(RECORDS) * f64::from(ROUNDS);
    let of_server = (server.cpu()? - before) * 1e6 / looked;
    let (rate, client) = (median(rates), median(clients));
    writeln!(
        text,
        "| {words} | {rate:.0} | {of_server:.2} | {client:.2} |"
    )?;
    Ok(())
}

fn many(folder: &Path, text: &mut String) -> anyhow::Result<()> {
    let mut server = Server::start(folder)?;
    let all = RATE * SECONDS;
    let mut clients = server
        .client(&["follow", &FOLLOWERS.to_string(), &all.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let output = clients.stdout.take().context("no standard output")?;
    let mut lines = BufReader::new(output).lines();
    lines.next().context("the clients have ended")??;
    server.order(&format!("{RATE} {SECONDS}"))?;
    let fed: Value = serde_json::from_str(&server.line()?)?;
    let read: Value = serde_json::from_str(&lines.next().context("the clients have ended")??)?;
    clients.wait()?;
    let given = figure(&read, "given");
    let share = |name: &str| figure(&fed, name) / figure(&fed, "seconds") * 100.0;
    writeln!(
        text,
        "\n## Many followers\n\n{FOLLOWERS} clients follow everything, each with a connection of its own, while {RATE} \
         flows a second come for {SECONDS} seconds.\n\n\
         | what | |\n|---|---|\n\
         | flows given, of {} | {given:.0} |\n\
         | flows lost, as clients were told | {:.0} |\n\
         | flows lost, as the agent's ledger has it | {:.0} |\n\
         | CPU of the thread that serves | {:.0} % |\n\
         | µs of it per flow given | {:.2} |\n\
         | CPU of all clients | {:.0} % |\n\
         | longest time that recording the flows of a millisecond has taken | {:.1} ms |",
        all * FOLLOWERS,
        figure(&read, "lost"),
        figure(&fed, "lost"),
        share("cpu"),
        figure(&fed, "cpu") * 1e6 / given,
        figure(&read, "cpu") / figure(&fed, "seconds") * 100.0,
        figure(&fed, "slowest_ms"),
    )?;
    Ok(())
}

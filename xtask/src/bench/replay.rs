//! `cargo xtask bench replay`: the recorded captures many times over, read by l7d and by tshark.
//!
//! Each repetition has other addresses, so that its connections are new ones. Both print the same
//! fields of every message; one thread each.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use capture::{Reader, Writer};

use crate::run::{say, target, workspace};
use crate::setup;

/// Repetitions of the small capture; the large one has ten times as many.
const REPETITIONS: u16 = 20;
const LINK_ETHERNET: u32 = 1;

/// What GNU time tells of a program.
struct Used {
    wall: f64,
    cpu: f64,
    rss_mib: f64,
}

/// Measures both and writes `docs/bench-replay.md`.
pub(crate) fn run() -> anyhow::Result<()> {
    setup::dissector()?;
    setup::stopwatch()?;
    super::build_release(&["--package", "l7d"])?;
    let mut text = String::from(
        "# Captures\n\nWritten by `cargo xtask bench replay`: the captures of testdata/pcaps over and over, each time with \
         other addresses; method, path, status, names and codes of every message printed to nowhere, one thread each. No other \
         program that Debian or PyPI offers prints these fields of HTTP/1, HTTP/2, gRPC and DNS without tshark's help.\n\n\
         | packets | MiB | by | wall | CPU | packets/s of CPU | against tshark | RSS |\n|---|---|---|---|---|---|---|---|\n",
    );
    for repetitions in [REPETITIONS, REPETITIONS * 10] {
        let file = target().join(format!("bench-{repetitions}.pcap"));
        let packets = compose(&file, repetitions)?;
        let mebibytes = std::fs::metadata(&file)?.len() >> 20;
        say(&format!("{packets} packets, {mebibytes} MiB"));
        let tshark = measure(&tshark(&file))?;
        let l7d = measure(&l7d(&file))?;
        for (name, used) in [("tshark", &tshark), ("l7d", &l7d)] {
            writeln!(
                text,
                "| {packets} | {mebibytes} | {name} | {:.2} s | {:.2} s | {:.0} | {:.1} | {:.0} MiB |",
                used.wall,
                used.cpu,
                f64::from(packets) / used.cpu,
                tshark.cpu / used.cpu,
                used.rss_mib
            )?;
        }
        std::fs::remove_file(&file)?;
    }
    print(&text);
    std::fs::write(workspace().join("docs/bench-replay.md"), text)?;
    Ok(())
}

/// Writes the captures that many times over; returns the number of packets.
fn compose(to: &Path, repetitions: u16) -> anyhow::Result<u32> {
    let folder = workspace().join("testdata/pcaps");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|file| {
        file.extension()
            .is_some_and(|extension| extension == "pcap")
    });
    files.sort();
    let out = std::io::BufWriter::new(std::fs::File::create(to)?);
    let mut writer = Writer::new(out, LINK_ETHERNET)?;
    let mut packets = 0;
    for repetition in 0..repetitions {
        for file in &files {
            let mut reader = Reader::open(file)?;
            while reader.advance()? {
                let packet = reader.packet().context("a packet")?;
                let mut data = packet.data.to_vec();
                renumber(&mut data, repetition);
                let time = packet.time_ns + u64::from(repetition) * 60_000_000_000;
                writer.write(time, &data)?;
                packets += 1;
            }
        }
    }
    Ok(packets)
}

/// Gives both ends of an IPv4 packet in Ethernet addresses of their own.
fn renumber(frame: &mut [u8], repetition: u16) {
    let is_ipv4 = frame.get(12..14) == Some(&[8, 0]);
    for place in [26, 30] {
        if let (true, Some(address)) = (is_ipv4, frame.get_mut(place + 1..place + 3)) {
            address.copy_from_slice(&repetition.to_be_bytes());
        }
    }
}

fn l7d(file: &Path) -> Vec<String> {
    let program = target().join("release/l7d").display().to_string();
    let words = ["replay", "--quiet", "-o", "messages"];
    let mut command = vec![program];
    command.extend(words.map(str::to_owned));
    command.push(file.display().to_string());
    command
}

fn tshark(file: &Path) -> Vec<String> {
    let mut command: Vec<String> = ["tshark", "-n", "-r"].map(str::to_owned).into();
    command.push(file.display().to_string());
    command.extend(["-T", "fields"].map(str::to_owned));
    for field in [
        "ip.src",
        "ip.dst",
        "http.request.method",
        "http.request.uri",
        "http.response.code",
        "http2.headers.method",
        "http2.headers.path",
        "http2.headers.status",
        "grpc.message_length",
        "dns.qry.name",
        "dns.flags.rcode",
        "dns.a",
    ] {
        command.extend(["-e".to_owned(), field.to_owned()]);
    }
    command
}

fn measure(words: &[String]) -> anyhow::Result<Used> {
    let output = Command::new("time")
        .args(["-f", "used %e %U %S %M"])
        .args(words)
        .stdout(std::process::Stdio::null())
        .output()
        .context("time")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    anyhow::ensure!(output.status.success(), "{words:?}: {said}");
    let line = said
        .lines()
        .find_map(|line| line.strip_prefix("used "))
        .with_context(|| said.clone())?;
    let numbers: Vec<f64> = line
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect();
    let [wall, user, system, kib] = numbers[..] else {
        anyhow::bail!("time told no figures: {line}");
    };
    Ok(Used {
        wall,
        cpu: user + system,
        rss_mib: kib / 1024.0,
    })
}

#[expect(clippy::print_stdout, reason = "the table is this command's result")]
fn print(text: &str) {
    println!("{text}");
}

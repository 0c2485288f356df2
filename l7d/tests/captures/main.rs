//! `l7d replay` over the recorded captures: the flows it shows, and what it makes of files that are
//! cut, compressed, taken apart or full of holes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../testdata")
        .join(name)
}

fn captures() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(testdata("pcaps"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "pcap")
        })
        .collect();
    files.sort();
    assert!(files.len() > 40, "{files:?}");
    files
}

fn capture(name: &str) -> PathBuf {
    testdata("pcaps").join(format!("{name}.pcap"))
}

fn replay(arguments: &[&str], files: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_l7d"))
        .arg("replay")
        .args(arguments)
        .args(files)
        .env_clear()
        .output()
        .unwrap()
}

fn shown(arguments: &[&str], files: &[&Path]) -> String {
    let output = replay(arguments, files);
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Packets of a capture: time and bytes.
fn packets(file: &Path) -> (u32, Vec<(u64, Vec<u8>)>) {
    let mut reader = capture::Reader::open(file).unwrap();
    let mut packets = Vec::new();
    let mut link_type = 1;
    while reader.advance().unwrap() {
        let packet = reader.packet().unwrap();
        link_type = packet.link_type;
        packets.push((packet.time_ns, packet.data.to_vec()));
    }
    (link_type, packets)
}

fn write(file: &Path, link_type: u32, packets: &[&(u64, Vec<u8>)]) {
    let mut writer = capture::Writer::new(Vec::new(), link_type).unwrap();
    for (time, data) in packets {
        writer.write(*time, data).unwrap();
    }
    std::fs::write(file, writer.into_inner()).unwrap();
}

#[test]
fn every_capture_shows_its_flows() {
    let mut differing = Vec::new();
    for file in captures() {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let flows = shown(&["--quiet"], &[&file]);
        let golden = testdata("flows").join(format!("{name}.txt"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, &flows).unwrap();
        }
        if std::fs::read_to_string(&golden).unwrap_or_default() != flows {
            differing.push(name);
        }
    }
    assert!(
        differing.is_empty(),
        "these show other flows than testdata/flows has: {differing:?}; UPDATE_GOLDEN=1 writes them, to be read as a difference"
    );
}

#[test]
fn a_capture_is_the_same_by_pipe_compressed_and_in_parts() {
    let folder = tempfile::tempdir().unwrap();
    let file = capture("http1-keep-alive");
    let expected = shown(&["--quiet"], &[&file]);

    let mut child = Command::new(env!("CARGO_BIN_EXE_l7d"))
        .args(["replay", "--quiet", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let bytes = std::fs::read(&file).unwrap();
    child.stdin.take().unwrap().write_all(&bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);

    let compressed = folder.path().join("c.pcap.gz");
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&bytes).unwrap();
    std::fs::write(&compressed, encoder.finish().unwrap()).unwrap();
    assert_eq!(shown(&["--quiet"], &[&compressed]), expected);

    let (link_type, packets) = packets(&file);
    let (odd, even) = (folder.path().join("odd"), folder.path().join("even"));
    let part = |remainder| {
        let numbered = packets.iter().enumerate();
        let picked = numbered.filter(move |(number, _)| number % 2 == remainder);
        picked.map(|(_, packet)| packet).collect::<Vec<_>>()
    };
    write(&odd, link_type, &part(0));
    write(&even, link_type, &part(1));
    assert_eq!(shown(&["--quiet"], &[&odd, &even]), expected);
}

#[test]
fn a_damaged_capture_shows_what_is_before_the_damage_and_says_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(capture("http1-keep-alive")).unwrap();
    let file = folder.path().join("cut.pcap");
    std::fs::write(&file, bytes.get(..bytes.len() - 3).unwrap()).unwrap();
    let output = replay(&["--protocol", "http"], &[&file]);
    assert_eq!(output.status.code(), Some(1));
    let told = said(&output);
    assert!(told.contains("cut.pcap: at byte "), "{told}");
    assert!(told.contains("the file ends inside of"), "{told}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("http-response"));
    let output = replay(&[], &[Path::new("nowhere.pcap")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("nowhere.pcap"), "{}", said(&output));
}

/// Messages and how often each is there, without those that say that they are not known.
fn messages(file: &Path) -> BTreeMap<String, usize> {
    let mut messages = BTreeMap::new();
    for line in shown(&["--quiet", "-o", "messages"], &[file]).lines() {
        if !line.contains("<unknown") {
            *messages.entry(line.to_owned()).or_default() += 1;
        }
    }
    messages
}

#[test]
fn nothing_is_invented_where_packets_are_missing() {
    let folder = tempfile::tempdir().unwrap();
    let holed = folder.path().join("holed.pcap");
    for file in captures() {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let whole = messages(&file);
        let (link_type, packets) = packets(&file);
        // Another set of holes each time, the same in every run.
        for step in [2, 3, 7] {
            for start in 0..step {
                let numbered = packets.iter().enumerate();
                let kept = numbered.filter(|(number, _)| number % step != start);
                let kept: Vec<_> = kept.map(|(_, packet)| packet).collect();
                write(&holed, link_type, &kept);
                for (message, count) in messages(&holed) {
                    let in_whole = whole.get(&message).copied().unwrap_or(0);
                    assert!(
                        count <= in_whole,
                        "{name} without every {step}th packet from {start}: {message}"
                    );
                }
            }
        }
    }
}

const ENDPOINTS: &str = "
endpoints:
- { name: client, namespace: shop, labels: { app: client }, ips: [10.244.1.10] }
- { name: server, namespace: shop, labels: { app: server }, ips: [10.244.1.11] }
";

const POLICY: &str = "
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: pages-only, namespace: shop }
spec:
  endpointSelector: { matchLabels: { app: server } }
  ingress:
  - fromEndpoints: [ { matchLabels: { app: client } } ]
    toPorts:
    - ports: [ { port: \"80\", protocol: TCP } ]
      rules: { http: [ { method: GET, path: \"/index.html\" } ] }
";

#[test]
fn a_policy_is_tried_on_a_capture() {
    let folder = tempfile::tempdir().unwrap();
    let (endpoints, policy) = (folder.path().join("e.yaml"), folder.path().join("p.yaml"));
    std::fs::write(&endpoints, ENDPOINTS).unwrap();
    std::fs::write(&policy, POLICY).unwrap();
    let arguments = [
        "--quiet",
        "--endpoints",
        endpoints.to_str().unwrap(),
        "--policy",
        policy.to_str().unwrap(),
        "--print-policy-names",
    ];
    for (name, protocol) in [
        ("http1-keep-alive", "HTTP/1.1"),
        ("http2-prior-knowledge", "HTTP/2"),
    ] {
        let flows = shown(&arguments, &[&capture(name)]);
        let redirected: Vec<&str> = flows
            .lines()
            .filter(|line| line.contains("policy-verdict"))
            .collect();
        assert!(!redirected.is_empty(), "{flows}");
        for line in redirected {
            let shown = "policy-verdict:L3-L4 INGRESS ALLOWED BY pages-only";
            assert!(line.contains(shown), "{line}");
        }
        let requests: Vec<&str> = flows
            .lines()
            .filter(|line| line.contains("http-request"))
            .collect();
        assert!(!requests.is_empty(), "{flows}");
        for line in requests {
            let verdict = if line.contains("/index.html)") {
                "http-request FORWARDED BY pages-only"
            } else {
                "http-request DROPPED BY pages-only"
            };
            let is_named = line.contains("shop/client") && line.contains("shop/server");
            assert!(line.contains(verdict) && is_named, "{line}");
            assert!(line.contains(protocol), "{line}");
        }
    }
    std::fs::write(
        &policy,
        POLICY.replace("endpointSelector", "endpointSelektor"),
    )
    .unwrap();
    let output = replay(&arguments, &[&capture("http1-keep-alive")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("endpointSelector"),
        "{}",
        said(&output)
    );
}

#[test]
fn a_capture_is_served_to_clients_of_the_api() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("unix://{}/replay.sock", folder.path().display());
    let file = capture("grpc-unary");
    let mut server = Command::new(env!("CARGO_BIN_EXE_l7d"))
        .args(["replay", "--serve", &address])
        .arg(&file)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(server.stderr.take().unwrap()).lines();
    let is_ready = lines
        .map_while(Result::ok)
        .any(|line| line.contains("serving"));
    assert!(is_ready);
    let output = Command::new(env!("CARGO_BIN_EXE_l7d"))
        .args(["observe", "--server", &address, "--last", "1000"])
        .env_clear()
        .output()
        .unwrap();
    let pid = rustix::process::Pid::from_child(&server);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert!(server.wait().unwrap().success());
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        shown(&["--quiet"], &[&file])
    );
}

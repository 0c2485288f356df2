//! First inputs, taken out of the captures in `testdata/pcaps` and the policies beside them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use parsers::netlink::conntrack::{self, Connection, Tuple};
use parsers::packet::{FragmentLimits, Frames, Transport};
use properties::TURN;

use crate::run::workspace;

/// Inputs of one capture, by target.
#[derive(Default)]
struct Seeds(Vec<(&'static str, Vec<u8>)>);

/// Bytes of one TCP connection: the opener's, and the other side's.
#[derive(Default)]
struct Conversation {
    opener: Option<(IpAddr, u16)>,
    sides: [Vec<u8>; 2],
}

/// Handshakes of a kind that no capture holds: a name, a user, version 4 with a name.
const SOCKS: [[&[u8]; 2]; 3] = [
    [
        b"\x05\x01\0\x05\x01\0\x03\x03web\0PGET",
        b"\x05\0\x05\0\0\x01\x0a\0\0\x01\0PHTTP",
    ],
    [
        b"\x05\x01\x02\x01\x01u\x01p\x05\x02\0\x01\x0a\0\0\x01\0P",
        b"\x05\x02\x01\0\x05\0\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0P",
    ],
    [
        b"\x04\x01\0P\0\0\0\x01u\0web\0GET",
        b"\0\x5a\0\0\0\0\0\0HTTP",
    ],
];

/// Longer inputs would only be cut.
const LENGTH: usize = 8192;

/// Writes the inputs to a folder for each target.
pub(super) fn make(folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    for entry in std::fs::read_dir(workspace().join("testdata/pcaps"))? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "pcap")
        {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let mut seeds = of_capture(&path)?;
            seeds.add("capture_file", std::fs::read(&path)?);
            write(folder, &name, &seeds)?;
        }
    }
    let mut policies = Seeds::default();
    for entry in std::fs::read_dir(workspace().join("testdata/policies"))? {
        let path = entry?.path();
        if path.is_file() {
            policies.add("policy_yaml", std::fs::read(path)?);
        }
    }
    write(folder, "policy", &policies)?;
    let mut handshakes = Seeds::default();
    for [client, server] in SOCKS {
        handshakes.add("socks_split", [client, TURN, server].concat());
    }
    write(folder, "handshake", &handshakes)?;
    let mut connections = Seeds::default();
    for [original, reply] in [
        [
            ("10.0.0.1:4000", "10.96.0.1:80"),
            ("10.0.0.2:8080", "192.0.2.1:61000"),
        ],
        [
            ("[fd00::1]:4000", "[fd00:96::1]:53"),
            ("[fd00::2]:53", "[fd00::1]:4000"),
        ],
    ] {
        let tuple = |(source, destination): (&str, &str)| {
            anyhow::Ok(Tuple::new(17, source.parse()?, destination.parse()?))
        };
        let (original, reply) = (tuple(original)?, tuple(reply)?);
        let mut datagram = Vec::new();
        conntrack::ask(&mut datagram, &original, 1);
        conntrack::tell(&mut datagram, &Connection { original, reply }, 1);
        conntrack::refuse(&mut datagram, 2, 2);
        connections.add("conntrack_message", datagram);
    }
    write(folder, "connection", &connections)
}

impl Seeds {
    fn add(&mut self, target: &'static str, mut bytes: Vec<u8>) {
        bytes.truncate(LENGTH);
        if !bytes.is_empty() {
            self.0.push((target, bytes));
        }
    }
}

fn write(folder: &Path, name: &str, seeds: &Seeds) -> anyhow::Result<()> {
    for (number, (target, bytes)) in seeds.0.iter().enumerate() {
        let folder = folder.join(target);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(format!("{name}-{number}")), bytes)?;
    }
    Ok(())
}

fn of_capture(path: &Path) -> anyhow::Result<Seeds> {
    /// A capture of a burst says the same a thousand times.
    const FRAMES_MAX: u64 = 12;
    let mut seeds = Seeds::default();
    let mut reader = capture::Reader::open(path)?;
    let mut frames = Frames::new(FragmentLimits::default());
    let mut conversations = BTreeMap::<_, Conversation>::new();
    while reader.advance()? {
        let Some(frame) = reader.packet() else { break };
        if frame.number <= FRAMES_MAX {
            // The target's first byte past its list of link types: it tries each.
            seeds.add("frame", [&[0xff], frame.data].concat());
        }
        let Ok(Some(packet)) = frames.read(frame.link_type, frame.data, frame.time_ns) else {
            continue;
        };
        match packet.transport {
            Transport::Udp(udp) => seeds.add("dns_message", udp.payload.to_vec()),
            Transport::Tcp(tcp) => {
                let from = (packet.source, tcp.source_port);
                let to = (packet.destination, tcp.destination_port);
                let conversation = conversations
                    .entry((from.min(to), from.max(to)))
                    .or_default();
                let opener = *conversation.opener.get_or_insert(from);
                let [client, server] = &mut conversation.sides;
                let side = if from == opener { client } else { server };
                // In the order of the capture: seeds need not be right.
                side.extend_from_slice(tcp.payload);
            }
            _ => {}
        }
    }
    for Conversation { sides, .. } in conversations.into_values() {
        of_conversation(sides, &mut seeds);
    }
    Ok(seeds)
}

/// Conversations go to every target that eats streams: which protocol they are is the target's to say.
fn of_conversation([client, server]: [Vec<u8>; 2], seeds: &mut Seeds) {
    const HALF: usize = LENGTH / 2;
    let part = |side: &[u8]| {
        side.get(..side.len().min(HALF))
            .unwrap_or_default()
            .to_vec()
    };
    let both = [&part(&client)[..], TURN, &part(&server)].concat();
    let target = match client.first_chunk() {
        Some(b"PRI") => "http2_split",
        Some([22, 3, _]) => "tls_hello",
        Some([0, _, _]) => "dns_message",
        Some([4 | 5, _, _]) => "socks_split",
        _ => "http1_split",
    };
    seeds.add(target, both);
    if target == "http1_split" {
        let path = client
            .split(|byte| *byte == b' ')
            .nth(1)
            .unwrap_or_default();
        seeds.add("http_path", path.to_vec());
        seeds.add("path_template", path.to_vec());
    }
    if target == "http2_split" {
        of_frames(&client, seeds);
        of_frames(&server, seeds);
    }
}

/// Header blocks and payloads of one direction of HTTP/2.
fn of_frames(side: &[u8], seeds: &mut Seeds) {
    use parsers::http2::{Flags, Frame, FrameHeader, PREFACE};
    let mut rest = side.strip_prefix(PREFACE).unwrap_or(side);
    while let Some(header) = FrameHeader::read(rest) {
        let Some((frame, after)) = rest.split_at_checked(header.frame_bytes()) else {
            return;
        };
        rest = after;
        let payload = frame.get(FrameHeader::BYTES..).unwrap_or_default();
        match Frame::read(header, payload) {
            Ok(Frame::Data { data, .. }) => seeds.add("grpc_split", data.to_vec()),
            Ok(Frame::Headers { fragment, .. }) if header.flags.has(Flags::END_HEADERS) => {
                seeds.add("hpack_block", fragment.to_vec());
            }
            _ => {}
        }
    }
}

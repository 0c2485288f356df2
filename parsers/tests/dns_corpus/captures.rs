//! Captures, their datagrams and streams.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use parsers::Direction;
use parsers::packet::{FragmentLimits, Frames, Transport};
use parsers::reassembly::{Piece, Reassembly, ReassemblyLimits};

pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut found: Vec<_> = entries.map(|e| e.expect("an entry").path()).collect();
    found.sort();
    found
}

pub(crate) struct Capture {
    reader: capture::Reader,
    frames: Frames,
}

impl Capture {
    pub(crate) fn open(path: &Path) -> Option<Self> {
        Some(Self {
            reader: capture::Reader::open(path).ok()?,
            frames: Frames::new(FragmentLimits::default()),
        })
    }

    /// The rest of the packets, as far as the file can be read.
    pub(crate) fn for_each(mut self, mut look: impl FnMut(u64, IpAddr, IpAddr, Transport<'_>)) {
        while let Ok(true) = self.reader.advance() {
            let Some(packet) = self.reader.packet() else {
                return;
            };
            let seen = self
                .frames
                .read(packet.link_type, packet.data, packet.time_ns);
            if let Ok(Some(seen)) = seen {
                look(packet.number, seen.source, seen.destination, seen.transport);
            }
        }
    }
}

pub(crate) fn captures(folder: &Path) -> Vec<(PathBuf, PathBuf)> {
    files(&folder.join("pcap"))
        .into_iter()
        .map(|capture| {
            let name = capture
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            (capture, folder.join("truth").join(format!("{name}.jsonl")))
        })
        .collect()
}

pub(crate) type Flow = (IpAddr, u16, IpAddr, u16);

/// One connection's messages, by direction.
pub(crate) struct Stream {
    reassembly: Reassembly,
    pub(crate) bytes: [Vec<u8>; 2],
    pub(crate) has_gap: bool,
}

pub(crate) fn streams(file: &Path) -> BTreeMap<Flow, Stream> {
    let mut found: BTreeMap<Flow, Stream> = BTreeMap::new();
    let Some(capture) = Capture::open(file) else {
        return found;
    };
    let limits = ReassemblyLimits::default();
    capture.for_each(|_, source, destination, transport| {
        let Transport::Tcp(tcp) = transport else {
            return;
        };
        let there = (source, tcp.source_port, destination, tcp.destination_port);
        let back = (destination, tcp.destination_port, source, tcp.source_port);
        let (flow, direction) = if tcp.source_port > tcp.destination_port {
            (there, Direction::ToServer)
        } else {
            (back, Direction::ToClient)
        };
        let stream = found.entry(flow).or_insert_with(|| Stream {
            reassembly: Reassembly::new(limits),
            bytes: [Vec::new(), Vec::new()],
            has_gap: false,
        });
        let (bytes, has_gap) = (&mut stream.bytes, &mut stream.has_gap);
        stream
            .reassembly
            .handle_segment(direction, &tcp, &mut |way, piece| match piece {
                Piece::Bytes(more) => bytes[usize::from(way == Direction::ToClient)].extend(more),
                Piece::Gap(_) => *has_gap = true,
                Piece::End => {}
            });
    });
    for stream in found.values_mut() {
        let (bytes, has_gap) = (&mut stream.bytes, &mut stream.has_gap);
        stream.reassembly.close(&mut |way, piece| match piece {
            Piece::Bytes(more) => bytes[usize::from(way == Direction::ToClient)].extend(more),
            Piece::Gap(_) => *has_gap = true,
            Piece::End => {}
        });
    }
    found
}

pub(crate) fn end(address: IpAddr, port: u16) -> String {
    match address {
        IpAddr::V4(address) => format!("{address}:{port}"),
        IpAddr::V6(address) => format!("[{address}]:{port}"),
    }
}

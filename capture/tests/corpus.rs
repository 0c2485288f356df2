//! Captures of others, when the folder is there: as many frames as their list says.

use std::path::Path;

/// The list counts custom blocks as frames; they hold no packets.
const WITH_CUSTOM_BLOCKS: (&str, u64) = ("gopacket__pcapgo__tests__le__test102.pcapng", 3);

#[test]
fn every_capture_has_as_many_packets_as_its_list_says() {
    let Some(folder) = std::env::var_os("L7D_CORPORA") else {
        eprintln!("L7D_CORPORA names no folder: nothing is compared");
        return;
    };
    let folder = Path::new(&folder);
    let list = std::fs::read_to_string(folder.join("manifest.tsv")).unwrap();
    let mut faults = Vec::new();
    let mut captures = 0;
    for line in list.lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let (Some(file), Some(frames)) = (columns.first(), columns.get(8)) else {
            continue;
        };
        captures += 1;
        let mut reader = match capture::Reader::open(&folder.join(file)) {
            Ok(reader) => reader,
            Err(error) => {
                faults.push(format!("{error}"));
                continue;
            }
        };
        let mut count = 0;
        let end = loop {
            match reader.advance() {
                Ok(true) => count += 1,
                Ok(false) => break String::new(),
                Err(error) => break error.to_string(),
            }
        };
        let not_packets = if file.ends_with(WITH_CUSTOM_BLOCKS.0) {
            WITH_CUSTOM_BLOCKS.1
        } else {
            0
        };
        if frames.parse() != Ok(count + not_packets) {
            faults.push(format!("{file}: {count} packets, {frames} expected; {end}"));
        } else if !end.is_empty() {
            eprintln!("{end}");
        }
    }
    assert!(captures > 0);
    assert!(faults.is_empty(), "of {captures}:\n{}", faults.join("\n"));
}

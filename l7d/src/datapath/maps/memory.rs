//! What maps take of the kernel's memory, as the kernel counts it.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;

/// Maps that are asked for anew at a look: each takes seven system calls, and few of them ever change.
const AT_ONCE: usize = 4;

/// The maps that this process had when it was made.
#[derive(Debug, Default)]
pub struct MapMemory {
    /// Whoever was asked the longest time ago comes first.
    files: VecDeque<MapFile>,
}

/// What the kernel tells of a map.
#[derive(Debug)]
struct MapFile {
    path: PathBuf,
    /// Bytes, when it was asked.
    bytes: u64,
}

impl MapMemory {
    /// Finds all maps among the descriptors of this process. They stay open as long as it runs.
    pub fn find() -> Self {
        let mut known = BTreeSet::new();
        let entries = std::fs::read_dir("/proc/self/fdinfo");
        let files = entries.into_iter().flatten().flatten().filter_map(|entry| {
            let path = entry.path();
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let id = number(&text, "map_id:")?;
            let bytes = number(&text, "memlock:").unwrap_or(0);
            // Several descriptors may be of one map.
            known.insert(id).then_some(MapFile { path, bytes })
        });
        Self {
            files: files.collect(),
        }
    }

    /// Asks some of them anew, in turn.
    pub fn look(&mut self) {
        for _ in 0..AT_ONCE.min(self.files.len()) {
            if let Some(mut file) = self.files.pop_front() {
                let text = std::fs::read_to_string(&file.path).unwrap_or_default();
                file.bytes = number(&text, "memlock:").unwrap_or(file.bytes);
                self.files.push_back(file);
            }
        }
    }

    /// Bytes that they took when they were asked. Before Linux 6.4 the kernel tells what they may take at
    /// most.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// The number behind a word.
fn number(text: &str, word: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(word))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_behind_their_word() {
        let text = "pos:\t0\nmap_type:\t9\nmemlock:\t5248\nmap_id:\t7\n";
        assert_eq!(number(text, "memlock:"), Some(5248));
        assert_eq!(number(text, "map_id:"), Some(7));
        assert_eq!(number("pos:\t0\n", "map_id:"), None);
    }
}

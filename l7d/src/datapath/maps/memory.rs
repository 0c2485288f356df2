//! What maps take of the kernel's memory, as the kernel counts it.

use std::collections::BTreeSet;
use std::path::PathBuf;

/// The maps that this process had when it was made.
#[derive(Debug, Default)]
pub struct MapMemory {
    files: Vec<PathBuf>,
}

impl MapMemory {
    /// Finds all maps among the descriptors of this process. They stay open as long as it runs.
    pub fn find() -> Self {
        let mut known = BTreeSet::new();
        let entries = std::fs::read_dir("/proc/self/fdinfo");
        let files = entries.into_iter().flatten().flatten();
        let files = files.map(|entry| entry.path()).filter(|file| {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            // Several descriptors may be of one map.
            number(&text, "map_id:").is_some_and(|id| known.insert(id))
        });
        Self {
            files: files.collect(),
        }
    }

    /// Bytes that they take now. Before Linux 6.4 the kernel tells what they may take at most.
    pub fn bytes(&self) -> u64 {
        let each = self.files.iter().filter_map(|file| {
            let text = std::fs::read_to_string(file).ok()?;
            number(&text, "memlock:")
        });
        each.sum()
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

//! Fenced blocks of the guide, and whether what commands say is what it shows.
//!
//! The word behind a fence's language says what becomes of the block:
//!
//! | mark | |
//! |---|---|
//! | `run` | commands, without privileges, in a scratch folder that has the project's `testdata` and `demo` |
//! | `file=NAME` | a file there |
//! | `run=node` | commands on a node with pods, as root |
//! | `run=node-background` | a command that goes on: the agent |
//! | `run=node-stopped` | commands when the agent has ended |
//! | `run=pod:NAME` | commands in a pod |
//! | `node-file=PATH` | a file on the node |
//! | `shown` | nothing is to be run: a part of a file |
//! | `not-run=WORD` | commands that no test runs; the page's last table tells why, by the word |
//!
//! Lines that begin with `$ ` are commands; a backslash joins the next line. What stands below a
//! command is what it writes; nothing there means that anything will do. `…` stands for any text
//! within a line, and alone in a line for any lines. `# exits with N` behind a command is its exit
//! code, which is 0 otherwise.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a page that cannot be read as one is a failed test"
)]

use std::path::PathBuf;

/// The page.
pub(crate) fn page() -> String {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/guide.md");
    std::fs::read_to_string(file).expect("the guide")
}

/// A fenced block.
#[derive(Debug)]
pub(crate) struct Block {
    /// Line of its fence, for whoever looks for it.
    pub(crate) line: usize,
    /// What stands behind the language.
    pub(crate) mark: String,
    pub(crate) body: String,
}

/// A command, and what the page says of it.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) text: String,
    expected: Vec<String>,
    exit: i32,
}

/// All blocks of a page.
pub(crate) fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in page.lines().enumerate() {
        match (line.strip_prefix("```"), open.as_mut()) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(words), None) => {
                open = Some(Block {
                    line: number + 1,
                    mark: words
                        .split_once(' ')
                        .map_or("", |(_, mark)| mark)
                        .to_owned(),
                    body: String::new(),
                });
            }
            (None, Some(block)) => {
                block.body.push_str(line);
                block.body.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

impl Block {
    /// Its commands.
    pub(crate) fn commands(&self) -> Vec<Command> {
        let mut commands: Vec<Command> = Vec::new();
        let mut is_open = false;
        for line in self.body.lines() {
            let last = commands.last_mut();
            match (line.strip_prefix("$ "), last) {
                (_, Some(last)) if is_open => {
                    last.text.push('\n');
                    last.text.push_str(line);
                }
                (Some(text), _) => commands.push(Command::new(text)),
                (None, Some(last)) => last.expected.push(line.trim_end().to_owned()),
                (None, None) => panic!("line {}: it begins with no command: {line}", self.line),
            }
            is_open = line.ends_with('\\');
        }
        for command in &mut commands {
            if let Some((_, code)) = command.text.split_once("# exits with ") {
                command.exit = code.trim().parse().expect("an exit code");
            }
        }
        assert!(!commands.is_empty(), "line {}: no commands", self.line);
        commands
    }
}

impl Command {
    fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            expected: Vec::new(),
            exit: 0,
        }
    }

    /// Whether a command has done what the page says; what differs otherwise.
    pub(crate) fn compare(&self, exit: Option<i32>, output: &str) -> Result<(), String> {
        let lines: Vec<&str> = output.trim_end().lines().map(str::trim_end).collect();
        let expected: Vec<&str> = self.expected.iter().map(String::as_str).collect();
        let is_told = expected.is_empty() || are_like(&expected, &lines);
        if exit == Some(self.exit) && is_told {
            return Ok(());
        }
        Err(format!(
            "$ {}\nexit code {exit:?}, not {}; it wrote\n{output}\nand the guide says\n{}",
            self.text,
            self.exit,
            expected.join("\n")
        ))
    }
}

/// Whether lines are as expected ones.
fn are_like(expected: &[&str], lines: &[&str]) -> bool {
    match (expected.split_first(), lines.split_first()) {
        (None, None) => true,
        (Some((&"…", rest)), _) => (0..=lines.len())
            .filter_map(|skip| lines.get(skip..))
            .any(|others| are_like(rest, others)),
        (None, Some(_)) | (Some(_), None) => false,
        (Some((first, rest)), Some((line, others))) => {
            is_like(first, line) && are_like(rest, others)
        }
    }
}

/// Whether a line is as an expected one.
fn is_like(expected: &str, line: &str) -> bool {
    let parts: Vec<&str> = expected.split('…').collect();
    let [first, middle @ .., last] = parts.as_slice() else {
        return expected == line;
    };
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    for part in middle {
        let Some((_, behind)) = rest.split_once(*part) else {
            return false;
        };
        rest = behind;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_have_their_output_and_exit_code() {
        let page = "x\n```console run\n$ a \\\n  b\none\n…\nthr…e\n$ c # exits with 1\n```\n";
        let blocks = blocks(page);
        assert_eq!((blocks[0].line, blocks[0].mark.as_str()), (2, "run"));
        let commands = blocks[0].commands();
        assert_eq!(commands[0].text, "a \\\n  b");
        assert!(commands[0].compare(Some(0), "one\ntwo\n2\nthree\n").is_ok());
        assert!(commands[0].compare(Some(0), "one\nthree").is_ok());
        assert!(commands[0].compare(Some(0), "one\ntwo\n").is_err());
        assert!(commands[0].compare(Some(1), "one\nthree").is_err());
        assert!(commands[1].compare(Some(1), "whatever").is_ok());
        assert!(commands[1].compare(Some(0), "").is_err());
    }

    #[test]
    fn three_dots_stand_for_text_within_a_line() {
        assert!(is_like("a … b … c", "a 1 b 2 c"));
        assert!(!is_like("a … b … c", "a 1 c 2 b"));
        assert!(!is_like("a", "a b"));
        assert!(is_like("…", "anything"));
    }
}

//! Programs that run in a namespace and end with their test.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// A running program; killed, with what it started, when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    output: PathBuf,
}

impl Process {
    /// Starts a program in a process group of its own; what it writes goes to `output`.
    pub(crate) fn start(
        mut command: Command,
        output: PathBuf,
        input: Stdio,
    ) -> anyhow::Result<Self> {
        use std::os::unix::process::CommandExt as _;
        let shown = format!("{command:?}");
        let file = File::create(&output).with_context(|| output.display().to_string())?;
        let child = command
            .stdin(input)
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0)
            .spawn()
            .with_context(|| format!("{shown} cannot be started"))?;
        Ok(Self { child, output })
    }

    /// Writes to its standard input, where it has one.
    ///
    /// # Errors
    /// When it has none, or has closed it.
    pub fn say(&mut self, text: &str) -> anyhow::Result<()> {
        let input = self.child.stdin.as_mut().context("nobody listens")?;
        Ok(input.write_all(text.as_bytes())?)
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written so far.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// Waits until it has written `text`.
    ///
    /// # Errors
    /// When it ends or takes longer than 20 seconds; the message holds its output.
    pub fn wait_for(&mut self, text: &str) -> anyhow::Result<()> {
        self.wait_for_count(text, 1)
    }

    /// Waits until it has written `text` that many times.
    ///
    /// # Errors
    /// When it ends or takes longer than 20 seconds; the message holds its output.
    pub fn wait_for_count(&mut self, text: &str, count: usize) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let output = self.output();
            if output.matches(text).count() >= count {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status} before it wrote `{text}`:\n{output}");
            }
            if Instant::now() > deadline {
                bail!("it has not written `{text}`:\n{output}");
            }
            crate::world::pause();
        }
    }

    /// Sends a signal to the program itself.
    ///
    /// # Errors
    /// When it is gone already.
    pub fn signal(&self, signal: rustix::process::Signal) -> anyhow::Result<()> {
        let pid = self.group().context("a process id")?;
        rustix::process::kill_process(pid, signal).context("signal")
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn wait(&mut self) -> anyhow::Result<std::process::ExitStatus> {
        self.child.wait().context("wait")
    }

    fn group(&self) -> Option<rustix::process::Pid> {
        i32::try_from(self.child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Errors mean that it is gone already.
        if let Some(group) = self.group() {
            let _gone = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _status = self.child.wait();
    }
}

//! Helm, run as users run it.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use anyhow::Context as _;
use serde_json::Value;

use crate::Document;

/// The cluster's version that is rendered for: helm alone assumes one that was current when it was built.
const KUBERNETES: &str = "1.33.0";

/// The helm that `cargo xtask setup` has installed.
#[derive(Debug)]
pub struct Helm {
    binary: PathBuf,
}

/// What helm says of values that it does not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(pub String);

impl Helm {
    /// Finds it.
    ///
    /// # Errors
    /// Where it is not installed.
    pub fn find() -> anyhow::Result<Self> {
        let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
        let target = std::env::var_os("CARGO_TARGET_DIR");
        let target = target.map_or_else(|| workspace.join("target"), PathBuf::from);
        let binary = target.join("tools/helm/package/bin/helm");
        anyhow::ensure!(
            binary.is_file(),
            "{} is not there: run `cargo xtask setup`",
            binary.display()
        );
        Ok(Self { binary })
    }

    /// What an install with these values makes, in helm's order.
    ///
    /// # Errors
    /// Where helm cannot be run, or what it wrote cannot be read.
    pub fn template(&self, values: &Value) -> anyhow::Result<Result<Vec<Document>, Refused>> {
        let chart = crate::folder();
        let chart = chart.to_str().context("the chart's path")?;
        let words = ["template", "l7d", chart, "--namespace", "l7d-system"];
        let more = ["--kube-version", KUBERNETES, "--values", "-"];
        let output = self.run(&[&words[..], &more].concat(), &values.to_string())?;
        if output.status.success() {
            let text = String::from_utf8(output.stdout)?;
            Ok(Ok(Document::read_all(&text)?))
        } else {
            let said = String::from_utf8_lossy(&output.stderr);
            Ok(Err(Refused(said.trim().to_owned())))
        }
    }

    /// The same, where it must work.
    ///
    /// # Errors
    /// As before, and what helm refused.
    pub fn rendered(&self, values: &Value) -> anyhow::Result<Vec<Document>> {
        let rendered = self.template(values)?;
        rendered.map_err(|Refused(said)| anyhow::anyhow!("values {values}: {said}"))
    }

    /// Runs it with this input.
    ///
    /// # Errors
    /// Where it cannot be run.
    pub fn run(&self, words: &[&str], input: &str) -> anyhow::Result<Output> {
        let mut command = Command::new(&self.binary);
        command.args(words).env_remove("KUBECONFIG");
        command.stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("helm")?;
        let mut stdin = child.stdin.take().context("helm's input")?;
        // Helm reads its values before it writes anything.
        stdin.write_all(input.as_bytes())?;
        drop(stdin);
        Ok(child.wait_with_output()?)
    }
}

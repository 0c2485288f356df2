//! The web page in headless Chromium. Pictures stay in the target folder, under `tmp/page`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// A running page, gone when dropped.
struct Served {
    child: Child,
    url: String,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _ended = self.child.wait();
    }
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/page")
}

/// Serves a file's flows, or those of standard input, which is handed out.
fn serve(file: &str) -> (Served, Option<ChildStdin>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_l7d"));
    command
        .args(["ui", "--listen", "127.0.0.1:0", "--input-file", file])
        .env_clear()
        .stdin(if file == "-" {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let input = child.stdin.take();
    let told = BufReader::new(child.stderr.take().unwrap());
    let mut served = Served {
        child,
        url: String::new(),
    };
    let url = |line: String| line.strip_prefix("l7d: the page is at ").map(str::to_owned);
    served.url = told.lines().find_map(|line| url(line.unwrap())).unwrap();
    (served, input)
}

/// A browser takes what CPU there is: several at once take longer than one after the other.
static TURN: Mutex<()> = Mutex::new(());

/// Plays a scene with a page.
fn play(scene: &str, served: &Served) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page");
    std::fs::create_dir_all(&folder).unwrap();
    let profiles = tempfile::tempdir_in(&folder).unwrap();
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let output = Command::new("/usr/bin/python3")
        .arg(here().join("scenes.py"))
        .args([scene, &served.url])
        .arg(profiles.path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    // Pictures are kept also of what went wrong.
    for entry in std::fs::read_dir(profiles.path()).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_some_and(|extension| extension == "png") {
            std::fs::copy(&file, folder.join(file.file_name().unwrap())).unwrap();
        }
    }
    assert!(
        output.status.success(),
        "{scene}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn leads_from_what_fails_to_one_flow_and_why() {
    let flows = here().join("../golden/map-flows.jsonl");
    let (served, _) = serve(flows.to_str().unwrap());
    play("looks", &served);
}

#[test]
fn needs_no_pointer() {
    let flows = here().join("../golden/map-flows.jsonl");
    let (served, _) = serve(flows.to_str().unwrap());
    play("keys", &served);
}

#[test]
fn shows_hostile_texts_as_texts() {
    let (served, _) = serve(here().join("hostile.jsonl").to_str().unwrap());
    play("hostile", &served);
}

#[test]
fn is_not_overrun_by_what_happens() {
    let (served, input) = serve("-");
    let mut input = input.unwrap();
    let recorded = std::fs::read_to_string(here().join("../golden/map-flows.jsonl")).unwrap();
    // Flows of now, as many as are taken, until the page is gone.
    let writer = std::thread::spawn(move || {
        loop {
            let now = jiff::Timestamp::now().to_string();
            let now = now.split('.').next().unwrap();
            for line in recorded.lines() {
                let (before, after) = line.split_once("\"time\":\"").unwrap();
                let line = format!("{before}\"time\":\"{now}{}", after.get(19..).unwrap());
                if writeln!(input, "{line}").is_err() {
                    return;
                }
            }
        }
    });
    play("flood", &served);
    drop(served);
    writer.join().unwrap();
}

//! Settings, manual pages, and what the environment adds to both.

use std::process::Output;

use crate::fake_server::FakeServer;
use crate::{err, l7d, out};

/// Runs a command whose home is a folder of the test.
fn at_home(home: &tempfile::TempDir, arguments: &[&str]) -> Output {
    let mut command = l7d();
    command.env("HOME", home.path()).args(arguments);
    command.output().unwrap()
}

fn good(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", err(output));
    out(output)
}

#[test]
fn what_is_settled_counts_for_all_commands() {
    let home = tempfile::tempdir().unwrap();
    let server = FakeServer::start();
    let address = server.address();
    good(&at_home(&home, &["config", "set", "server", &address]));
    good(&at_home(&home, &["config", "set", "request-timeout", "3s"]));
    assert_eq!(
        good(&at_home(&home, &["config", "get", "server"])),
        format!("{address}\n")
    );
    let shown = good(&at_home(&home, &["observe"]));
    assert!(shown.contains("asked for 20, 0 filters"), "{shown}");
    let status = good(&at_home(&home, &["status"]));
    assert!(
        status.starts_with(&format!("Healthcheck (via {address}): Ok\n")),
        "{status}"
    );
    // The environment counts before the file, and a flag before both.
    let view = |extra: &[&str]| {
        let mut command = l7d();
        command.env("HOME", home.path()).env("HUBBLE_TIMEOUT", "7s");
        good(
            &command
                .args(["config", "view"])
                .args(extra)
                .output()
                .unwrap(),
        )
    };
    let all = view(&[]);
    assert!(
        all.contains("request-timeout: 3s\n") && all.contains("\ntimeout: 7s\n"),
        "{all}"
    );
    assert!(
        all.contains("tls: false\ntls-allow-insecure: false\ntls-ca-cert-files: []\n"),
        "{all}"
    );
    assert!(view(&["--timeout", "9s"]).contains("\ntimeout: 9s\n"));
    good(&at_home(&home, &["config", "reset", "server"]));
    let file = std::fs::read_to_string(home.path().join(".config/l7d/config.yaml")).unwrap();
    assert_eq!(file, "request-timeout: 3s\n");
    good(&at_home(&home, &["config", "reset"]));
    let file = std::fs::read_to_string(home.path().join(".config/l7d/config.yaml")).unwrap();
    assert_eq!(file, "");
}

#[test]
fn settings_of_the_hubble_command_line_are_read_and_filters_in_them_count() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join(".config/hubble");
    std::fs::create_dir_all(&folder).unwrap();
    let allow = r#"allowlist: ['{"verdict":["DROPPED"]}']"#;
    std::fs::write(folder.join("config.yaml"), format!("{allow}\ntls: true\n")).unwrap();
    let filters = good(&at_home(&home, &["observe", "--print-raw-filters"]));
    assert!(filters.contains(r#"{"verdict":["DROPPED"]}"#), "{filters}");
    assert_eq!(good(&at_home(&home, &["config", "get", "tls"])), "true\n");
    // A change goes into a file of ours, and brings along what there was.
    good(&at_home(
        &home,
        &["config", "set", "tls-ca-cert-files", "a.pem,b.pem"],
    ));
    assert_eq!(
        good(&at_home(&home, &["config", "get", "tls-ca-cert-files"])),
        "- a.pem\n- b.pem\n"
    );
    assert_eq!(good(&at_home(&home, &["config", "get", "tls"])), "true\n");
    let untouched = std::fs::read_to_string(folder.join("config.yaml")).unwrap();
    assert!(!untouched.contains("a.pem"), "{untouched}");
}

#[test]
fn a_setting_that_makes_no_sense_is_refused() {
    let home = tempfile::tempdir().unwrap();
    for (arguments, message) in [
        (
            ["config", "set", "sever", "x"],
            "l7d: unknown key: sever\n  hint: did you mean server?\n",
        ),
        (
            ["config", "set", "tls", "maybe"],
            "l7d: cannot set tls to maybe: expected true or false\n",
        ),
        (
            ["config", "set", "timeout", "soon"],
            "l7d: cannot set timeout to soon: expected a duration like 5s or 1m30s\n",
        ),
    ] {
        let output = at_home(&home, &arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(err(&output), message);
    }
    let file = home.path().join("broken.yaml");
    std::fs::write(&file, "- a\n").unwrap();
    let output = at_home(&home, &["status", "--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        err(&output).contains("broken.yaml: expected lines such as"),
        "{}",
        err(&output)
    );
}

#[test]
fn a_name_that_nobody_was_seen_by_is_told_on_standard_error() {
    let server = FakeServer::start();
    let output = l7d()
        .args([
            "observe",
            "-n",
            "shpo",
            "--until",
            "1s",
            "--server",
            &server.address(),
        ])
        .output()
        .unwrap();
    // The server's one flow is shown, so that nothing seems to be wrong.
    assert_eq!((output.status.code(), err(&output).as_str()), (Some(0), ""));
    let mut child = l7d()
        .args(["observe", "-f", "-n", "shpo", "--server", &server.address()])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    assert!(lines.next().unwrap().unwrap().contains("2 filters"));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        err(&output),
        "l7d: no flow of namespace \"shpo\" was seen, did you mean \"shop\"?\n"
    );
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().to_str().unwrap();
    let output = l7d().args(["man", "--into", into]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    for page in [
        "l7d",
        "l7d-observe",
        "l7d-observe-agent-events",
        "l7d-list-nodes",
        "l7d-config-set",
    ] {
        let text = std::fs::read_to_string(folder.path().join(format!("{page}.1"))).unwrap();
        assert!(text.contains(&format!(".TH {page} 1")), "{page}: {text}");
    }
    let output = l7d().arg("man").output().unwrap();
    assert!(out(&output).contains(".TH l7d 1"), "{}", out(&output));
}

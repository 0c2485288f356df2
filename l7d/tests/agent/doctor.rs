//! `l7d doctor` on a machine with real faults.

use serde_json::Value;

use crate::lifecycle::two_pods;
use crate::node::{Node, output};

/// What it says on a node, and its exit code.
fn ask(node: &Node, wrapper: &[&str]) -> anyhow::Result<(Value, Option<i32>)> {
    let config = node.config_file().display().to_string();
    let own = [
        env!("CARGO_BIN_EXE_l7d"),
        "doctor",
        "-o",
        "json",
        "--config",
        &config,
    ];
    let output = node.world.node().output(&[wrapper, &own].concat())?;
    let report = serde_json::from_slice(&output.stdout)
        .map_err(|error| anyhow::anyhow!("{error}: {output:?}"))?;
    Ok((report, output.status.code()))
}

/// Null where there is none: no test expects that.
fn finding<'r>(report: &'r Value, check: &str) -> &'r Value {
    let findings = report["findings"].as_array().map(Vec::as_slice);
    let mut found = findings.unwrap_or_default().iter();
    let found = found.find(|finding| finding["check"] == check);
    found.unwrap_or(&Value::Null)
}

fn function<'r>(report: &'r Value, name: &str) -> &'r Value {
    let functions = report["functions"].as_array().map(Vec::as_slice);
    let mut found = functions.unwrap_or_default().iter();
    let found = found.find(|of| of["function"] == name);
    found.unwrap_or(&Value::Null)
}

/// Checks of a state.
fn of_state<'r>(report: &'r Value, state: &str) -> Vec<&'r str> {
    let findings = report["findings"].as_array().map(Vec::as_slice);
    let found = findings.unwrap_or_default().iter();
    let found = found.filter(|finding| finding["state"] == state);
    found
        .filter_map(|finding| finding["check"].as_str())
        .collect()
}

#[test]
fn a_node_before_its_first_agent_has_nothing_in_the_way() -> anyhow::Result<()> {
    let node = two_pods()?;
    let (report, code) = ask(&node, &[])?;
    assert_eq!(of_state(&report, "no"), [""; 0], "{report}");
    assert_eq!(code, Some(0));
    assert_eq!(function(&report, "packets")["state"], "ok", "{report}");
    assert_eq!(finding(&report, "rights.capabilities")["state"], "ok");
    assert_eq!(finding(&report, "kernel.needed")["state"], "ok");
    let cni = finding(&report, "network.cni")["found"].to_string();
    assert!(cni.contains("veths"), "{cni}");
    Ok(())
}

#[test]
fn who_has_no_rights_is_told_what_could_not_be_looked_at() -> anyhow::Result<()> {
    let node = two_pods()?;
    let nobody = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ];
    // Its configuration is in a folder of root's.
    let binary = env!("CARGO_BIN_EXE_l7d");
    let host = node.world.node();
    let asked = host.output(&[nobody.as_slice(), &[binary, "doctor", "-o", "json"]].concat())?;
    let report: Value = serde_json::from_slice(&asked.stdout)?;
    for check in ["rights.capabilities", "kernel.needed", "marks.netfilter"] {
        let found = finding(&report, check);
        assert_eq!(found["state"], "unseen", "{found}");
        assert_ne!(found["advice"], Value::Null, "{found}");
    }
    assert_eq!(function(&report, "packets")["state"], "unseen", "{report}");
    assert_eq!(finding(&report, "kernel.version")["state"], "ok");
    Ok(())
}

#[test]
fn a_sysctl_that_somebody_has_set_back_is_found() -> anyhow::Result<()> {
    let node = two_pods()?;
    let _agent = node.agent()?;
    let (report, _) = ask(&node, &[])?;
    let running = finding(&report, "agent.running");
    assert!(
        running["found"]
            .to_string()
            .contains(env!("CARGO_PKG_VERSION")),
        "{running}"
    );
    assert_eq!(
        finding(&report, "network.rp-filter")["state"],
        "ok",
        "{report}"
    );
    assert_eq!(finding(&report, "agent.pins")["state"], "ok", "{report}");
    assert!(
        finding(&report, "agent.rights")
            .to_string()
            .contains("seccomp")
    );

    node.world.node().set("net/ipv4/conf/all/rp_filter", "1")?;
    let (report, code) = ask(&node, &[])?;
    let found = finding(&report, "network.rp-filter");
    assert_eq!(found["state"], "no", "{found}");
    assert!(
        found["advice"]
            .to_string()
            .contains("net.ipv4.conf.all.rp_filter=0"),
        "{found}"
    );
    assert_eq!(function(&report, "proxy")["state"], "no", "{report}");
    assert_eq!(code, Some(1));
    Ok(())
}

#[test]
fn marks_of_others_are_found_in_routing_and_in_netfilter() -> anyhow::Result<()> {
    let node = two_pods()?;
    let host = node.world.node();
    host.ip("rule add fwmark 0x1000/0x1000 lookup 50 priority 200")?;
    let (report, code) = ask(&node, &[])?;
    let found = finding(&report, "marks.routing");
    assert_eq!(found["state"], "no", "{found}");
    assert!(
        found["found"]
            .to_string()
            .contains("rule 200: fwmark 0x1000/0x1000"),
        "{found}"
    );
    assert_eq!(code, Some(1));
    host.ip("rule del priority 200")?;
    assert_eq!(finding(&ask(&node, &[])?.0, "marks.routing")["state"], "ok");

    output(
        &host,
        &[
            "nft",
            "table inet qos { chain passing { type filter hook forward priority 0; meta mark set meta mark or 0x2000; }; }",
        ],
    )?;
    let (report, _) = ask(&node, &[])?;
    let found = finding(&report, "marks.netfilter");
    assert_eq!(found["state"], "no", "{found}");
    assert!(
        found["found"]
            .to_string()
            .contains("inet qos passing sets 0x2000"),
        "{found}"
    );
    Ok(())
}

#[test]
fn a_folder_in_no_bpf_filesystem_and_a_port_that_is_taken_are_found() -> anyhow::Result<()> {
    let mut node = two_pods()?;
    let pins = format!("pinDir: {}", node.pin_dir().display());
    let elsewhere = format!("pinDir: {}", node.world.folder().join("pins").display());
    node.amend(&pins, &elsewhere);
    node.configure("metrics: { listen: \"127.0.0.1:9965\" }\n")?;
    let _server = crate::node::serve(&node.world.node(), 9965)?;
    let (report, code) = ask(&node, &[])?;
    let found = finding(&report, "kernel.bpf-filesystem");
    assert_eq!(found["state"], "no", "{found}");
    assert!(
        found["advice"].to_string().contains("mount -t bpf"),
        "{found}"
    );
    assert_eq!(
        finding(&report, "network.metrics-port")["state"],
        "no",
        "{report}"
    );
    assert_eq!(function(&report, "packets")["state"], "no", "{report}");
    assert_eq!(code, Some(1));
    Ok(())
}

#[test]
fn what_an_agent_has_left_is_found() -> anyhow::Result<()> {
    let node = two_pods()?;
    drop(node.agent()?);
    let (report, code) = ask(&node, &[])?;
    let found = finding(&report, "agent.pins");
    assert_eq!(found["state"], "part", "{found}");
    assert!(found["advice"].to_string().contains("--cleanup"), "{found}");
    let because = function(&report, "proxy")["because"].to_string();
    assert!(because.contains("agent.pins"), "{report}");
    assert_eq!(code, Some(0), "what works in part is no failure");
    Ok(())
}

#[test]
fn a_process_without_the_capabilities_of_an_agent_is_told_which() -> anyhow::Result<()> {
    let node = two_pods()?;
    let few = [
        "setpriv",
        "--bounding-set=-all,+net_admin",
        "--inh-caps=-all",
    ];
    let (report, code) = ask(&node, &few)?;
    let found = finding(&report, "rights.capabilities");
    assert_eq!(found["found"], "no CAP_BPF, CAP_PERFMON", "{found}");
    assert_eq!(code, Some(1));
    Ok(())
}

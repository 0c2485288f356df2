//! Packets that belong to nothing.

use super::Siege;

#[test]
fn a_scan_is_told_with_who_scans() -> anyhow::Result<()> {
    let siege = Siege::begin("")?;
    siege.endure(("half_open", 9, 20_000), 0, &["Policy denied DROPPED"])?;
    let status = siege.node.l7d("status", &["-o", "json"])?;
    let status: serde_json::Value = serde_json::from_str(&status)?;
    let maps = status["l7d"]["maps"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let table = maps.iter().find(|map| map["map"] == "CONNTRACK");
    let used = table.and_then(|map| map["used"].as_u64());
    // What is denied is not remembered: an attacker fills no table with it.
    assert!(used.is_some_and(|used| used < 2000), "{status}");
    Ok(())
}

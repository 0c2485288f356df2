//! Packets that belong to nothing.

use super::Siege;

#[test]
fn a_scan_is_told_with_who_scans() -> anyhow::Result<()> {
    let siege = Siege::begin("")?;
    siege.endure(("half_open", 9, 20_000), 0, &["Policy denied DROPPED"])?;
    // What is denied is not remembered: an attacker fills no table with it.
    assert!(siege.remembered()? < 2000, "{}", siege.remembered()?);
    Ok(())
}

#[test]
fn connections_that_nobody_completes_leave_others_theirs() -> anyhow::Result<()> {
    let siege = Siege::begin("")?;
    siege.endure(("syns", 8080, 20_000), 0, &["TCP Flags: SYN"])?;
    Ok(())
}

#[test]
fn resets_of_connections_that_never_were_end_no_others() -> anyhow::Result<()> {
    let siege = Siege::begin("")?;
    siege.endure(("rsts", 8080, 20_000), 0, &["TCP Flags: RST"])?;
    Ok(())
}

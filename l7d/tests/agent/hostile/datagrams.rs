//! Look-ups, on an enforced port.

use super::Siege;

#[test]
fn a_flood_of_lookups_is_told_and_bounded() -> anyhow::Result<()> {
    let siege = Siege::begin("")?;
    // Nobody answers: each waits for its answer, and of one client only so many are kept.
    siege.endure(("lookups", 53, 20_000), 0, &["n1.flood."])?;
    Ok(())
}

#[test]
fn ever_new_names_with_ever_new_addresses_are_learnt_within_bounds() -> anyhow::Result<()> {
    let mut siege = Siege::begin("")?;
    siege.resolve()?;
    siege.endure(("lookups", 53, 20_000), 0, &["dns-request proxy FORWARDED"])?;
    siege.assert_told(&["--verdict", "FORWARDED"], "198.18.")
}

#[test]
fn answers_that_are_sent_as_queries_make_no_loop() -> anyhow::Result<()> {
    let siege = Siege::begin("")?;
    let mut attack = siege.endure(
        ("dns_loop", 53, 2000),
        0,
        &["proxy DROPPED (DNS Query loop."],
    )?;
    attack.wait_for("0 heard")?;
    Ok(())
}

#[test]
fn names_without_end_and_datagrams_without_measure_are_refused_by_rule() -> anyhow::Result<()> {
    let mut siege = Siege::begin("")?;
    siege.resolve()?;
    for (kind, rules) in [
        (
            "dns_pointers",
            ["dns-pointer-not-backwards", "dns-too-many-pointers"],
        ),
        (
            "dns_oversize",
            ["dns-name-cut-short", "dns-bytes-behind-query"],
        ),
    ] {
        siege.endure((kind, 53, 1000), 0, &["dns-request proxy DROPPED"])?;
        for rule in rules {
            siege.assert_told(&["--verdict", "DROPPED"], rule)?;
        }
    }
    Ok(())
}

#[test]
fn lengths_that_come_slowly_over_tcp_end_with_their_rule() -> anyhow::Result<()> {
    let mut siege = Siege::begin(", headTimeout: 1s")?;
    siege.resolve()?;
    siege.endure(("dns_slow", 53, 300), 300, &["dns-request proxy DROPPED"])?;
    siege.assert_told(&["--verdict", "DROPPED"], "a query took too long")
}

#[test]
fn refusals_that_nobody_reads_hold_their_queries_up() -> anyhow::Result<()> {
    let mut siege = Siege::begin("")?;
    siege.resolve()?;
    let why = ["proxy DROPPED (DNS Query secret.denied."];
    siege.endure(("dns_unread", 53, 20_000), 1, &why)?;
    Ok(())
}

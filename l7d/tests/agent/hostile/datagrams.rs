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

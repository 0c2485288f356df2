//! Over HTTP/1, on an enforced port.

use super::Siege;
use crate::node::wait_until;

#[test]
fn slow_and_long_heads_end_with_their_rule() -> anyhow::Result<()> {
    let siege = Siege::begin(", headTimeout: 1s")?;
    // Their buffers take what was written to them: a page each, and not all that a connection may hold.
    siege.endure(("slow_heads", 8080, 900), 0, &["head-timeout"])?;
    siege.endure(
        ("long_heads", 8080, 20),
        20,
        &["too-many-headers", "head-too-long"],
    )?;
    Ok(())
}

#[test]
fn clients_that_do_not_read_hold_two_buffers_each() -> anyhow::Result<()> {
    let siege = Siege::begin("")?;
    siege.endure(("unread", 8080, 200), 200, &["http-request"])?;
    Ok(())
}

#[test]
fn windows_that_close_and_open_hold_two_buffers_each() -> anyhow::Result<()> {
    let siege = Siege::begin("")?;
    siege.endure(("sips", 8080, 100), 100, &["http-request"])?;
    Ok(())
}

#[test]
fn segments_of_one_byte_are_put_together() -> anyhow::Result<()> {
    let siege = Siege::begin("")?;
    let mut attack = siege.endure(("bytewise", 8080, 40), 1, &["http-request"])?;
    attack.wait_for("40 answered")?;
    Ok(())
}

#[test]
fn connections_that_are_reset_leave_nothing_behind() -> anyhow::Result<()> {
    let siege = Siege::begin("")?;
    let before = siege.descriptors()?;
    siege.endure(("resets", 8080, 500), 500, &["http-request"])?;
    // Those of who follows flows, and of the client's last connection, may be there yet.
    wait_until(
        || siege.descriptors(),
        |found| found.as_ref().is_ok_and(|open| *open <= before + 4),
    )
}

#[test]
fn one_endpoint_cannot_have_all_connections() -> anyhow::Result<()> {
    let siege = Siege::begin(", connectionsPerEndpoint: 100")?;
    siege.endure(
        ("connections", 8080, 400),
        100,
        &["too many connections of one client"],
    )?;
    Ok(())
}

//! Over HTTP/2, on an enforced port.

use super::Siege;

#[test]
fn floods_of_frames_end_with_their_rule() -> anyhow::Result<()> {
    let siege = Siege::begin("")?;
    for (kind, count, rule) in [
        ("http2_resets", 900, "too-many-resets"),
        ("http2_pings", 5000, "too-many-control-frames"),
        ("http2_priority", 5000, "too-many-control-frames"),
        ("http2_windows", 60_000, "too-many-window-updates"),
        ("http2_settings", 100, "too-many-settings"),
        ("http2_empty", 300, "too-many-empty-frames"),
        ("http2_continuation", 100, "header-block-too-long"),
        ("http2_bomb", 4000, "header-list-too-long"),
    ] {
        siege.endure((kind, 80, count), 1, &[rule])?;
    }
    Ok(())
}

#[test]
fn streams_that_may_not_be_answered_hold_the_buffers_of_their_connection() -> anyhow::Result<()> {
    let siege = Siege::begin("")?;
    siege.endure(("http2_unread", 80, 90), 1, &["http-request"])?;
    Ok(())
}

#[test]
fn windows_that_open_byte_by_byte_cost_others_nothing() -> anyhow::Result<()> {
    let siege = Siege::begin("")?;
    siege.endure(("http2_dribble", 80, 90), 1, &["http-request"])?;
    Ok(())
}

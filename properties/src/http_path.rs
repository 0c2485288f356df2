//! Paths: normalising what is normal changes nothing, and leaves nothing that steps out.

use parsers::target::normalise;

pub(crate) fn holds(data: &[u8]) {
    let target = [b"/", data].concat();
    let once = normalise(&target);
    let twice = normalise(&once.path);
    if !once.is_ambiguous {
        assert_eq!(
            once.path,
            twice.path,
            "of {:?}",
            target.escape_ascii().to_string()
        );
    }
    let path = once
        .path
        .split(|byte| matches!(byte, b'?' | b'#'))
        .next()
        .unwrap_or_default();
    assert!(path.starts_with(b"/"));
    let is_up = path
        .split(|byte| *byte == b'/')
        .any(|segment| segment == b"..");
    assert!(!is_up, "dots are left");
    assert!(once.path.len() <= target.len() + 1);
}

//! What the kernel's reasons mean to whoever operates a node: what happened, what to look at, and which
//! of Hubble's numbers means the same.
//!
//! Numbers differ from kernel to kernel and names hardly do, so everything here goes by name. A name that
//! is not here is told as it is.

mod places;
mod table;

use l7d_ebpf::drops::{CLASS_COUNTED, CLASS_HOOK, CLASS_IGNORED, CLASS_TOLD};

use places::PLACES;
use table::ALL;

/// What becomes of the drops of a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A loss: each has a record.
    Told,
    /// A normal end of a packet: it is counted.
    Counted,
    /// No drop of a packet.
    Ignored,
    /// Where hooks drop: ours have told it.
    Hook,
}

impl Class {
    /// As the kernel programs read it.
    pub fn number(self) -> u8 {
        match self {
            Self::Told => CLASS_TOLD,
            Self::Counted => CLASS_COUNTED,
            Self::Ignored => CLASS_IGNORED,
            Self::Hook => CLASS_HOOK,
        }
    }
}

/// What a reason means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meaning {
    /// Its name, without the kernel's prefix.
    pub name: &'static str,
    /// What becomes of such drops.
    pub class: Class,
    /// Hubble's number of the same reason, 0 without any.
    pub hubble: u8,
    /// What happened, and what to look at.
    pub text: &'static str,
}

/// What a name means; `None` for one that is not known here.
pub fn of(name: &str) -> Option<&'static Meaning> {
    let at = ALL.binary_search_by_key(&name, |meaning| meaning.name);
    ALL.get(at.ok()?)
}

/// What a name means where a function has dropped for it: some reasons are used for several things.
pub fn at(name: &str, place: &str) -> Option<&'static Meaning> {
    let special = PLACES
        .iter()
        .find(|(reason, places, _)| *reason == name && places.contains(&place));
    special.map_or_else(|| of(name), |(_, _, meaning)| Some(meaning))
}

/// All of them, sorted by name.
pub fn all() -> &'static [Meaning] {
    ALL
}

/// Those of special places, with the functions.
pub fn special() -> &'static [(&'static str, &'static [&'static str], Meaning)] {
    PLACES
}

const fn told(name: &'static str, hubble: u8, text: &'static str) -> Meaning {
    Meaning {
        name,
        class: Class::Told,
        hubble,
        text,
    }
}

const fn counted(name: &'static str, text: &'static str) -> Meaning {
    Meaning {
        name,
        class: Class::Counted,
        hubble: 0,
        text,
    }
}

const fn ignored(name: &'static str, text: &'static str) -> Meaning {
    Meaning {
        name,
        class: Class::Ignored,
        hubble: 0,
        text,
    }
}

const fn hook(name: &'static str, text: &'static str) -> Meaning {
    Meaning {
        name,
        class: Class::Hook,
        hubble: 0,
        text,
    }
}

// Hubble's numbers.
const INVALID_SOURCE_MAC: u8 = 130;
const INVALID_SOURCE_IP: u8 = 132;
const INVALID_PACKET: u8 = 134;
const UNSUPPORTED_L3: u8 = 139;
const UNKNOWN_L4: u8 = 142;
const INVALID_EXTENSION_HEADER: u8 = 156;
const DROP_HORIZON: u8 = 162;
const NO_ROUTE: u8 = 169;
const NO_SOCKET: u8 = 178;
const INVALID_VNI: u8 = 183;
const TTL_EXCEEDED: u8 = 196;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_unique() {
        let pair = ALL.windows(2).find(|pair| pair[0].name >= pair[1].name);
        assert_eq!(pair, None);
    }

    #[test]
    fn each_is_documented() {
        let page = include_str!("../../../../../docs/drops.md");
        for Meaning { name, text, .. } in ALL {
            let row = page
                .lines()
                .find(|line| line.starts_with(&format!("| `{name}` |")))
                .unwrap_or_default();
            assert!(row.ends_with(&format!("| {text} |")), "{name}: {row}");
        }
    }

    #[test]
    fn each_says_what_happened_in_a_line() {
        for meaning in ALL {
            let text = meaning.text;
            assert!(text.len() > 10 && !text.contains('\n'), "{}", meaning.name);
            assert!(!text.ends_with('.'), "{}", meaning.name);
        }
    }

    #[test]
    fn a_place_may_give_a_reason_another_meaning() {
        let hubble = |place| at("IP_INHDR", place).map(|meaning| meaning.hubble);
        assert_eq!(hubble("ip_forward"), Some(TTL_EXCEEDED));
        assert_eq!(hubble("ip_rcv_core"), Some(INVALID_PACKET));
        assert_eq!(of("NO_SUCH_REASON"), None);
    }
}

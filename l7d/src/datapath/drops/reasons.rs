//! What the running kernel calls its reasons, and what each of them means here.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::meaning::{self, Class, Meaning};
use crate::datapath::btf::Btf;

/// The kernel's enumeration, and what its names begin with.
const CORE: &str = "skb_drop_reason";
const PREFIX: &str = "SKB_DROP_REASON_";
const SHORT_PREFIX: &str = "SKB_";
/// What the enumerations of subsystems end with: `ovs_drop_reason`.
const SUBSYSTEM: &str = "drop_reason";
/// Names that are no reasons: limits of the enumerations.
const LIMITS: [&str; 2] = ["MAX", "SUBSYS_MASK"];

/// Names of reasons by the kernel's numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct Reasons(BTreeMap<u32, Arc<str>>);

impl Reasons {
    /// As the kernel and its modules name them.
    pub(super) fn read<'b>(kernel: &'b Btf<'b>, modules: &[Btf<'b>]) -> Self {
        let mut names = BTreeMap::new();
        for (name, number) in kernel.values(CORE) {
            let short = name.strip_prefix(PREFIX);
            let short = short.or_else(|| name.strip_prefix(SHORT_PREFIX));
            let short = short.unwrap_or(name);
            if !LIMITS.contains(&short) {
                names.insert(number, Arc::from(short));
            }
        }
        for types in std::iter::once(kernel).chain(modules) {
            add_subsystems(types, &mut names);
        }
        Self(names)
    }

    /// Whether there are any.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The name of a reason, or its number where the kernel has none.
    pub(super) fn name(&self, reason: u32) -> Arc<str> {
        let named = self.0.get(&reason).map(Arc::clone);
        named.unwrap_or_else(|| Arc::from(format!("{reason:#x}")))
    }

    /// The number of a name; 0, which is no reason, where this kernel has none.
    pub(super) fn number(&self, name: &str) -> u32 {
        let found = self.0.iter().find(|(_, named)| &***named == name);
        found.map_or(0, |(number, _)| *number)
    }

    /// What becomes of the drops of each.
    pub(super) fn classes(&self) -> impl Iterator<Item = (u32, Class)> {
        let class = |name: &str| meaning::of(name).map_or(Class::Told, |meaning| meaning.class);
        self.0
            .iter()
            .map(move |(number, name)| (*number, class(name)))
    }

    /// What a reason means that a function has given.
    pub(super) fn meaning(&self, reason: u32, place: &str) -> Option<&'static Meaning> {
        meaning::at(&self.name(reason), place)
    }
}

/// Values with a subsystem in their high bits, whoever has them: subsystems may come with modules, and
/// with kernels that nobody knows yet.
fn add_subsystems(types: &Btf<'_>, names: &mut BTreeMap<u32, Arc<str>>) {
    let of_reasons = types
        .enumerations()
        .filter(|name| name.ends_with(SUBSYSTEM) && *name != CORE);
    for enumeration in of_reasons {
        for (name, number) in types.values(enumeration) {
            let is_value = number & 0xffff != 0 && number >> 16 != 0;
            if is_value && !name.starts_with("__") {
                names.entry(number).or_insert_with(|| Arc::from(name));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernels_reasons_have_names_and_most_have_a_meaning() {
        let Ok(bytes) = std::fs::read("/sys/kernel/btf/vmlinux") else {
            eprintln!("this kernel has no BTF");
            return;
        };
        let btf = Btf::parse(&bytes).expect("BTF");
        let reasons = Reasons::read(&btf, &[]);
        if reasons.is_empty() {
            eprintln!("this kernel names no reasons");
            return;
        }
        let number = reasons.number("NO_SOCKET");
        assert_eq!(&*reasons.name(number), "NO_SOCKET");
        assert_eq!(&*reasons.name(0x7fff_0001), "0x7fff0001");
        let unknown: Vec<_> = reasons
            .0
            .values()
            .filter(|name| meaning::of(name).is_none())
            .collect();
        assert!(unknown.len() * 4 < reasons.0.len(), "{unknown:?}");
    }
}

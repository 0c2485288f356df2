//! What this kernel can do, asked once at the start: what is missing is named with what it costs,
//! and what takes its place is told once and shown in `l7d status`.

use std::collections::BTreeSet;

use aya::maps::MapType;
use aya::programs::ProgramType;
use aya::sys::{BpfHelper, is_helper_supported, is_map_supported, is_program_supported};

use crate::config::KernelFeature;

/// Something that a kernel may lack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// The kernel's name for it, and the first version that has it.
    pub name: &'static str,
    /// Whether it is there.
    pub state: State,
}

/// Whether something is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is there.
    Present,
    /// It is not: what happens instead.
    Replaced(&'static str),
    /// It may be there, but the configuration says not to use it: what happens instead.
    Unused(&'static str),
    /// It is not, and nothing takes its place: what does not work.
    Missing(&'static str),
}

/// What the agent cannot run without.
#[derive(Debug, thiserror::Error)]
#[error("this kernel ({kernel}) lacks {}: {}; kernel 5.9 or newer is needed, with CONFIG_BPF_SYSCALL and CONFIG_NET_CLS_BPF", .feature.name, .reason)]
pub struct Unfit {
    kernel: String,
    feature: Feature,
    reason: &'static str,
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Features {
    all: Vec<Feature>,
    /// What is not there, or not to be used.
    absent: BTreeSet<KernelFeature>,
}

/// What nothing replaces: its name, whether it is there as far as the kernel says, and what does not work
/// without it.
type Needed = (&'static str, fn() -> Option<bool>, &'static str);

const NEEDED: [Needed; 5] = [
    (
        "BPF ring buffer (5.8)",
        || map(MapType::RingBuf),
        "no record would arrive",
    ),
    (
        "LPM trie maps (4.11)",
        || map(MapType::LpmTrie),
        "no policy could be kept",
    ),
    (
        "LRU hash maps (4.10)",
        || map(MapType::LruHash),
        "no connection could be kept",
    ),
    (
        "tc classifiers (4.1)",
        || program(ProgramType::SchedClassifier),
        "no packet would be seen",
    ),
    (
        "socket lookup programs (5.9)",
        || program(ProgramType::SkLookup),
        "no datagram could be redirected",
    ),
];

/// What programs on interfaces call that not every kernel of the last years had.
const HELPERS: [(&str, BpfHelper); 4] = [
    ("bpf_sk_assign (5.7)", BpfHelper::BPF_FUNC_sk_assign),
    (
        "bpf_skc_lookup_tcp (5.2)",
        BpfHelper::BPF_FUNC_skc_lookup_tcp,
    ),
    (
        "bpf_ringbuf_reserve (5.8)",
        BpfHelper::BPF_FUNC_ringbuf_reserve,
    ),
    (
        "bpf_skb_change_type (4.8)",
        BpfHelper::BPF_FUNC_skb_change_type,
    ),
];

/// What something takes the place of: its name, whether it is there as far as the kernel says, and what
/// happens without it.
type Optional = (
    KernelFeature,
    &'static str,
    fn(&str) -> Option<bool>,
    &'static str,
);

const OPTIONAL: [Optional; 6] = [
    (
        KernelFeature::Tcx,
        "tcx links (6.6)",
        |kernel| Some(is_at_least(kernel, (6, 6))),
        "clsact filters carry the hooks",
    ),
    (
        KernelFeature::ReuseportAssign,
        "bpf_sk_assign to SO_REUSEPORT groups (6.6)",
        |kernel| Some(is_at_least(kernel, (6, 6))),
        "the proxy's workers share one listener",
    ),
    (
        KernelFeature::CgroupHooks,
        "socket hooks (5.8)",
        |_| {
            let addresses = program(ProgramType::CgroupSockAddr)?;
            Some(addresses && program(ProgramType::SockOps)?)
        },
        "host.ports has no effect: this host's own processes are not redirected",
    ),
    (
        KernelFeature::CoarseClock,
        "bpf_ktime_get_coarse_ns (5.11)",
        |_| helper(BpfHelper::BPF_FUNC_ktime_get_coarse_ns),
        "each packet costs a reading of the precise clock more",
    ),
    (
        KernelFeature::Btf,
        "the kernel's own BTF (CONFIG_DEBUG_INFO_BTF)",
        |_| Some(std::path::Path::new("/sys/kernel/btf/vmlinux").exists()),
        "only what policies drop is told, not what the kernel drops",
    ),
    (
        KernelFeature::ConntrackNetlink,
        "netfilter's connections by netlink (CONFIG_NF_CT_NETLINK)",
        |_| match crate::nat::probe() {
            Ok(()) => Some(true),
            Err(error) => (error.kind() != std::io::ErrorKind::PermissionDenied).then_some(false),
        },
        "flows tell services without their backends, and translated clients by the node's address",
    ),
];

const NO_PROGRAMS: &str = "the programs on interfaces could not be loaded";
const IPV6: (&str, &str) = ("IPv6", "only IPv4 connections are proxied");
const IPVS: (&str, &str) = (
    "IPVS connections in netfilter (net.ipv4.vs.conntrack = 1)",
    "flows tell services that IPVS translates without their backends",
);

impl Features {
    /// Asks the kernel, and takes what is not to be used for absent. Needs the privileges that loading
    /// programs needs.
    ///
    /// # Errors
    /// When something is missing that nothing replaces.
    pub fn probe(without: &BTreeSet<KernelFeature>) -> Result<Self, Unfit> {
        let kernel = release();
        let mut features = Self::default();
        for (name, is_there, otherwise) in NEEDED {
            let is_there = is_there().unwrap_or(ASSUMED);
            features.note(feature(name, is_there, State::Missing(otherwise)));
        }
        for (name, id) in HELPERS {
            let otherwise = State::Missing(NO_PROGRAMS);
            let is_there = helper(id).unwrap_or(ASSUMED);
            features.note(feature(name, is_there, otherwise));
        }
        for (what, name, is_there, otherwise) in OPTIONAL {
            let found = if without.contains(&what) {
                feature(name, false, State::Unused(otherwise))
            } else {
                let is_there = is_there(&kernel).unwrap_or(ASSUMED);
                feature(name, is_there, State::Replaced(otherwise))
            };
            if found.state != State::Present {
                features.absent.insert(what);
            }
            features.note(found);
        }
        let (name, otherwise) = IPV6;
        features.note(feature(name, has_ipv6(), State::Replaced(otherwise)));
        let (name, otherwise) = IPVS;
        let sees = crate::nat::sees_ipvs();
        features.note(feature(name, sees, State::Replaced(otherwise)));
        features.refuse_missing(kernel)
    }

    fn note(&mut self, feature: Feature) {
        match feature.state {
            State::Present | State::Missing(_) => {}
            State::Replaced(instead) => {
                tracing::warn!(feature = feature.name, "not in this kernel: {instead}");
            }
            State::Unused(instead) => {
                tracing::warn!(feature = feature.name, "not to be used: {instead}");
            }
        }
        self.all.push(feature);
    }

    fn refuse_missing(self, kernel: String) -> Result<Self, Unfit> {
        let missing = self.all.iter().find_map(|feature| match feature.state {
            State::Missing(reason) => Some((feature.clone(), reason)),
            State::Present | State::Replaced(_) | State::Unused(_) => None,
        });
        match missing {
            None => Ok(self),
            Some((feature, reason)) => Err(Unfit {
                kernel,
                feature,
                reason,
            }),
        }
    }

    /// What is not there, or not to be used.
    pub fn absent(&self) -> &BTreeSet<KernelFeature> {
        &self.absent
    }

    /// What takes the place of features that are not there.
    pub fn replaced(&self) -> impl Iterator<Item = String> + '_ {
        self.all.iter().filter_map(|feature| match feature.state {
            State::Replaced(instead) => Some(format!("no {}: {instead}", feature.name)),
            State::Unused(instead) => {
                Some(format!("datapath.without: no {}: {instead}", feature.name))
            }
            State::Present | State::Missing(_) => None,
        })
    }
}

fn feature(name: &'static str, is_there: bool, otherwise: State) -> Feature {
    let state = if is_there { State::Present } else { otherwise };
    Feature { name, state }
}

/// A feature, as far as this process can find out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surveyed {
    /// The kernel's name for it, and the first version that has it.
    pub name: &'static str,
    /// Which one, of those that something takes the place of.
    pub feature: Option<KernelFeature>,
    /// Whether it is there; `None` where this process may not ask.
    pub is_there: Option<bool>,
    /// Whether nothing takes its place.
    pub is_needed: bool,
    /// What happens without it.
    pub otherwise: &'static str,
}

/// Asks the kernel about everything, as far as it can be asked without the agent's rights.
pub fn survey() -> Vec<Surveyed> {
    let kernel = release();
    let needed = |name, is_there, otherwise| Surveyed {
        name,
        feature: None,
        is_there,
        is_needed: true,
        otherwise,
    };
    let surroundings = [
        (IPV6, Some(has_ipv6())),
        (IPVS, Some(crate::nat::sees_ipvs())),
    ];
    let surroundings = surroundings.map(|((name, otherwise), is_there)| Surveyed {
        is_needed: false,
        ..needed(name, is_there, otherwise)
    });
    let helpers = HELPERS.map(|(name, id)| needed(name, helper(id), NO_PROGRAMS));
    let optional = OPTIONAL.map(|(feature, name, is_there, otherwise)| Surveyed {
        feature: Some(feature),
        is_needed: false,
        ..needed(name, is_there(&kernel), otherwise)
    });
    NEEDED
        .map(|(name, is_there, otherwise)| needed(name, is_there(), otherwise))
        .into_iter()
        .chain(helpers)
        .chain(optional)
        .chain(surroundings)
        .collect()
}

/// A probe that cannot be made (for want of privilege, mostly) is no proof of absence: what is then tried
/// fails with an error of its own, which says more.
const ASSUMED: bool = true;

fn map(kind: MapType) -> Option<bool> {
    is_map_supported(kind).ok()
}

fn program(kind: ProgramType) -> Option<bool> {
    is_program_supported(kind).ok()
}

fn helper(helper: BpfHelper) -> Option<bool> {
    is_helper_supported(ProgramType::SchedClassifier, helper).ok()
}

/// Whether this host speaks IPv6 on loopback.
pub fn has_ipv6() -> bool {
    std::fs::read_to_string("/proc/net/if_inet6").is_ok_and(|addresses| !addresses.is_empty())
}

/// The running kernel's version.
pub fn release() -> String {
    let name = rustix::system::uname();
    name.release().to_string_lossy().into_owned()
}

/// Compares a release such as `6.1.0-13-amd64`.
pub fn is_at_least(release: &str, wanted: (u32, u32)) -> bool {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= wanted
}

#[cfg(test)]
mod tests {
    use aya_obj::ProgramSection;

    use super::*;

    #[test]
    fn releases_compare_by_number() {
        for (release, expected) in [
            ("6.18.0", true),
            ("6.6", true),
            ("6.5.13-amd64", false),
            ("10.0", true),
            ("5.15.0-91-generic", false),
            ("odd", false),
        ] {
            assert_eq!(is_at_least(release, (6, 6)), expected, "{release}");
        }
    }

    /// Helpers that programs may call: the kernel's number for each, and the first version that has it
    /// for programs of the kinds that call it (`include/uapi/linux/bpf.h` by version).
    const FIRST_KERNELS: [(i32, &str, (u32, u32)); 22] = [
        (1, "map_lookup_elem", (3, 19)),
        (2, "map_update_elem", (3, 19)),
        (3, "map_delete_elem", (3, 19)),
        (5, "ktime_get_ns", (4, 1)),
        (8, "get_smp_processor_id", (4, 1)),
        (14, "get_current_pid_tgid", (4, 2)),
        (16, "get_current_comm", (4, 2)),
        (23, "redirect", (4, 4)),
        (26, "skb_load_bytes", (4, 5)),
        (32, "skb_change_type", (4, 8)),
        (35, "get_current_task", (4, 8)),
        (39, "skb_pull_data", (4, 9)),
        (46, "get_socket_cookie", (4, 19)),
        (86, "sk_release", (4, 20)),
        (99, "skc_lookup_tcp", (5, 2)),
        (113, "probe_read_kernel", (5, 5)),
        (118, "jiffies64", (5, 5)),
        (124, "sk_assign", (5, 9)),
        (130, "ringbuf_output", (5, 8)),
        (131, "ringbuf_reserve", (5, 8)),
        (132, "ringbuf_submit", (5, 8)),
        (133, "ringbuf_discard", (5, 8)),
    ];

    /// The oldest kernel that is said to do.
    const OLDEST: (u32, u32) = (5, 9);

    #[test]
    fn programs_call_nothing_that_the_oldest_kernel_lacks() {
        /// A call of a helper, and not of another function of the object (`src_reg` is 1 then).
        const CALL: u8 = 0x85;
        if crate::datapath::OBJECT.is_empty() {
            eprintln!("no kernel programs in this build: nothing was checked");
            return;
        }
        let object = aya_obj::Object::parse(crate::datapath::OBJECT).expect("an object");
        // Those of the kernel's own functions are loaded only where it has BTF and reasons of drops.
        let optional: BTreeSet<usize> = object
            .programs
            .values()
            .filter(|of| {
                matches!(
                    of.section,
                    ProgramSection::BtfTracePoint | ProgramSection::FEntry { .. }
                )
            })
            .map(|of| of.section_index)
            .collect();
        let functions = object.functions.values();
        let instructions = functions
            .filter(|of| !optional.contains(&of.section_index.0))
            .flat_map(|of| &of.instructions);
        let calls = instructions.filter(|of| of.code == CALL && of.src_reg() == 0);
        let called: BTreeSet<i32> = calls.map(|of| of.imm).collect();
        assert!(called.contains(&124), "the portal assigns sockets");
        // In a branch that the verifier drops where the kernel lacks it: `KernelFeature::CoarseClock`.
        let coarse_clock = BpfHelper::BPF_FUNC_ktime_get_coarse_ns as i32;
        for id in called.into_iter().filter(|id| *id != coarse_clock) {
            let known = FIRST_KERNELS.iter().find(|(known, ..)| *known == id);
            let (_, name, first) = known.unwrap_or_else(|| panic!("helper {id} is in no table"));
            assert!(*first <= OLDEST, "bpf_{name} came with {first:?}");
        }
    }

    #[test]
    fn what_takes_the_place_of_something_is_told() {
        let features = Features {
            all: vec![
                feature("tcx links (6.6)", false, State::Replaced("clsact")),
                feature("IPv6", true, State::Replaced("-")),
                feature("BTF", false, State::Unused("no reasons")),
            ],
            absent: BTreeSet::new(),
        };
        let told: Vec<_> = features.replaced().collect();
        assert_eq!(
            told,
            [
                "no tcx links (6.6): clsact",
                "datapath.without: no BTF: no reasons"
            ]
        );
    }

    #[test]
    fn a_kernel_that_lacks_what_nothing_replaces_is_refused_by_name() {
        let mut features = Features::default();
        features.note(feature("IPv6", true, State::Missing("-")));
        let kernel = || "5.4.0".to_owned();
        assert!(features.clone().refuse_missing(kernel()).is_ok());
        features.note(feature("rings (5.8)", false, State::Missing("no record")));
        let error = features
            .refuse_missing(kernel())
            .expect_err("nothing replaces it");
        let said = error.to_string();
        assert!(
            said.starts_with("this kernel (5.4.0) lacks rings (5.8): no record;"),
            "{said}"
        );
    }
}

//! What this kernel can do, asked once at the start: what is missing is named with what it costs,
//! and what takes its place is told once and shown in `l7d status`.

use aya::maps::MapType;
use aya::programs::ProgramType;
use aya::sys::{BpfHelper, is_helper_supported, is_map_supported, is_program_supported};

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
}

impl Features {
    /// Asks the kernel. Needs the privileges that loading programs needs.
    ///
    /// # Errors
    /// When something is missing that nothing replaces.
    pub fn probe() -> Result<Self, Unfit> {
        let kernel = release();
        let all = vec![
            feature(
                "BPF ring buffer (5.8)",
                map(MapType::RingBuf),
                State::Missing("no record would arrive"),
            ),
            feature(
                "LPM trie maps (4.11)",
                map(MapType::LpmTrie),
                State::Missing("no policy could be kept"),
            ),
            feature(
                "tc classifiers (4.1)",
                program(ProgramType::SchedClassifier),
                State::Missing("no packet would be seen"),
            ),
            feature(
                "bpf_sk_assign (5.7)",
                helper(BpfHelper::BPF_FUNC_sk_assign),
                State::Missing("no connection could be redirected"),
            ),
            feature(
                "socket lookup programs (5.9)",
                program(ProgramType::SkLookup),
                State::Missing("no datagram could be redirected"),
            ),
            feature(
                "tcx links (6.6)",
                is_at_least(&kernel, (6, 6)),
                State::Replaced(
                    "clsact filters carry the hooks: a restart replaces them one by one, not in place",
                ),
            ),
            feature(
                "bpf_sk_assign to SO_REUSEPORT groups (6.6)",
                is_at_least(&kernel, (6, 6)),
                State::Replaced("one proxy worker takes all connections"),
            ),
            feature(
                "socket hooks (5.8)",
                program(ProgramType::CgroupSockAddr) && program(ProgramType::SockOps),
                State::Replaced(
                    "host.ports has no effect: this host's own processes are not redirected",
                ),
            ),
            feature(
                "IPv6",
                has_ipv6(),
                State::Replaced("only IPv4 connections are proxied"),
            ),
        ];
        for feature in &all {
            match feature.state {
                State::Present => {}
                State::Replaced(instead) => {
                    tracing::warn!(feature = feature.name, "not in this kernel: {instead}");
                }
                State::Missing(reason) => {
                    let feature = feature.clone();
                    return Err(Unfit {
                        kernel,
                        feature,
                        reason,
                    });
                }
            }
        }
        Ok(Self { all })
    }

    /// What takes the place of features that are not there.
    pub fn replaced(&self) -> impl Iterator<Item = String> + '_ {
        self.all.iter().filter_map(|feature| match feature.state {
            State::Replaced(instead) => Some(format!("no {}: {instead}", feature.name)),
            State::Present | State::Missing(_) => None,
        })
    }
}

fn feature(name: &'static str, is_there: bool, otherwise: State) -> Feature {
    let state = if is_there { State::Present } else { otherwise };
    Feature { name, state }
}

// A probe that cannot be made (for want of privilege, mostly) is no proof of absence: what is then
// tried fails with an error of its own, which says more.

fn map(kind: MapType) -> bool {
    is_map_supported(kind).unwrap_or(true)
}

fn program(kind: ProgramType) -> bool {
    is_program_supported(kind).unwrap_or(true)
}

fn helper(helper: BpfHelper) -> bool {
    is_helper_supported(ProgramType::SchedClassifier, helper).unwrap_or(true)
}

/// Whether this host speaks IPv6 on loopback.
pub fn has_ipv6() -> bool {
    std::fs::read_to_string("/proc/net/if_inet6").is_ok_and(|addresses| !addresses.is_empty())
}

fn release() -> String {
    let name = rustix::system::uname();
    name.release().to_string_lossy().into_owned()
}

/// Compares a release such as `6.1.0-13-amd64`.
fn is_at_least(release: &str, wanted: (u32, u32)) -> bool {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= wanted
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn what_takes_the_place_of_something_is_told() {
        let features = Features {
            all: vec![
                feature("tcx links (6.6)", false, State::Replaced("clsact")),
                feature("IPv6", true, State::Replaced("-")),
            ],
        };
        let told: Vec<_> = features.replaced().collect();
        assert_eq!(told, ["no tcx links (6.6): clsact"]);
    }
}

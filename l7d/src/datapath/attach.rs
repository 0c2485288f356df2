//! Hooks on interfaces and cgroups: attached once, pinned, updated in place by the next start.

use std::fs::File;
use std::path::Path;

use aya::Ebpf;
use aya::programs::links::{FdLink, LinkError, PinnedLink};
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions};
use aya::programs::{
    CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, CgroupSockAddr, LinkOrder, ProgramError,
    SchedClassifier, SkLookup, SockOps, TcAttachType,
};

use super::Error;
use super::filters;
use super::links::{self, Links, remove};

/// A program at one side of an interface.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hook {
    /// What it is pinned as: programs that stand for each other have the same, so that one is replaced
    /// by the other in place.
    pub(super) pin: &'static str,
    program: &'static str,
    pub(super) side: TcAttachType,
}

/// A hook of an interface.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'p> {
    pub(super) interface: &'p str,
    pub(super) index: u32,
    pub(super) hook: &'p Hook,
}

impl Place<'_> {
    /// Under which it is remembered.
    pub(super) fn name(self) -> String {
        format!("{}-{}", self.index, self.hook.pin)
    }

    pub(super) fn fault(self, cause: ProgramError) -> Error {
        Error::Attach {
            program: self.hook.program,
            target: self.interface.to_owned(),
            cause,
        }
    }
}

impl Hook {
    const fn new(pin: &'static str, program: &'static str, side: TcAttachType) -> Self {
        Self { pin, program, side }
    }
}

/// A pod's host interface: its ingress is what the pod sends.
pub(super) const POD: [Hook; 2] = [
    Hook::new("from_pod", "from_pod", TcAttachType::Ingress),
    Hook::new("to_pod", "to_pod", TcAttachType::Egress),
];
/// An interface that leads out of the node.
pub(super) const UPLINK: [Hook; 2] = [
    Hook::new("from_network", "from_network", TcAttachType::Ingress),
    Hook::new("to_network", "to_network", TcAttachType::Egress),
];
/// The same where policies of the node are enforced.
pub(super) const GUARDED_UPLINK: [Hook; 2] = [
    Hook::new("from_network", "guard_in", TcAttachType::Ingress),
    Hook::new("to_network", "guard_out", TcAttachType::Egress),
];
/// The portal.
pub(super) const PORTAL: [Hook; 1] = [Hook::new("portal", "portal", TcAttachType::Ingress)];

const CLASSIFIERS: [&str; 7] = [
    "from_pod",
    "to_pod",
    "from_network",
    "to_network",
    "guard_in",
    "guard_out",
    "portal",
];
const SOCK_ADDRS: [&str; 4] = ["connect4", "connect6", "peer4", "peer6"];
/// Those that only datagrams need.
const DATAGRAM_ADDRS: [&str; 4] = ["sendmsg4", "sendmsg6", "recvmsg4", "recvmsg6"];
const LEAVING: &str = "leaving";
const SOCK_OPS: &str = "established";
const SK_LOOKUP: &str = "datagram";

/// Hands the programs on packets to the kernel's verifier.
pub(super) fn load_programs(ebpf: &mut Ebpf) -> Result<(), Error> {
    for name in CLASSIFIERS {
        let program: &mut SchedClassifier = program(ebpf, name)?;
        program.load().map_err(|cause| Error::Program {
            program: name,
            cause,
        })?;
    }
    let sk_lookup: &mut SkLookup = program(ebpf, SK_LOOKUP)?;
    sk_lookup.load().map_err(|cause| Error::Program {
        program: SK_LOOKUP,
        cause,
    })
}

/// Hands the programs on sockets of this host's processes to the verifier.
pub(super) fn load_socket_hooks(ebpf: &mut Ebpf) -> Result<(), Error> {
    for name in SOCK_ADDRS.into_iter().chain(DATAGRAM_ADDRS) {
        let program: &mut CgroupSockAddr = program(ebpf, name)?;
        program.load().map_err(|cause| Error::Program {
            program: name,
            cause,
        })?;
    }
    let sock_ops: &mut SockOps = program(ebpf, SOCK_OPS)?;
    sock_ops.load().map_err(|cause| Error::Program {
        program: SOCK_OPS,
        cause,
    })?;
    let leaving: &mut CgroupSkb = program(ebpf, LEAVING)?;
    leaving.load().map_err(|cause| Error::Program {
        program: LEAVING,
        cause,
    })
}

pub(super) fn program<'e, P>(ebpf: &'e mut Ebpf, name: &'static str) -> Result<&'e mut P, Error>
where
    &'e mut P: TryFrom<&'e mut aya::programs::Program, Error = ProgramError>,
{
    ebpf.program_mut(name)
        .ok_or(Error::NoProgram(name))?
        .try_into()
        .map_err(|cause| Error::Program {
            program: name,
            cause,
        })
}

/// Attaches hooks to an interface, or makes those of an earlier start run the programs of this one.
pub(super) fn interface(
    ebpf: &mut Ebpf,
    links: &Links,
    interface: &str,
    index: u32,
    hooks: &[Hook],
) -> Result<(), Error> {
    for hook in hooks {
        let place = Place {
            interface,
            index,
            hook,
        };
        let program: &mut SchedClassifier = program(ebpf, hook.program)?;
        if links.has_tcx() {
            link(program, links, place)?;
        } else {
            filters::attach(program, links, place)?;
        }
    }
    Ok(())
}

/// Attaches by a link that is pinned, and ends what a start without links has left.
fn link(program: &mut SchedClassifier, links: &Links, place: Place<'_>) -> Result<(), Error> {
    let pin = links.pin(place.name());
    if !adopt(program, &pin) {
        let fault = |cause| place.fault(cause);
        let last = TcAttachOptions::TcxOrder(LinkOrder::default());
        let attached = program.attach_with_options(place.interface, place.hook.side, last);
        let link = program.take_link(attached.map_err(fault)?).map_err(fault)?;
        let link = FdLink::try_from(link).map_err(|cause| Error::Link { cause })?;
        pin_at(link, &pin)?;
        links.replace_former(&pin);
    }
    filters::detach(links, &place.name());
    Ok(())
}

/// Replaces the program of a pinned link; a link whose interface is gone is removed.
fn adopt(program: &mut SchedClassifier, pin: &Path) -> bool {
    let Ok(pinned) = PinnedLink::from_pin(pin) else {
        return false;
    };
    let adopted = SchedClassifierLink::try_from(FdLink::from(pinned))
        .is_ok_and(|link| program.attach_to_link(link).is_ok());
    if !adopted {
        remove(pin);
    }
    adopted
}

/// Attaches the socket hooks to a cgroup.
pub(super) fn cgroup(ebpf: &mut Ebpf, links: &Links, path: &Path) -> Result<(), Error> {
    sock_addrs(ebpf, links, path, &SOCK_ADDRS)?;
    on_cgroup(links, path, SOCK_OPS, |cgroup| {
        let program: &mut SockOps = program(ebpf, SOCK_OPS)?;
        let id = program.attach(cgroup, CgroupAttachMode::Single);
        linked(path, SOCK_OPS, id.and_then(|id| program.take_link(id)))
    })
}

/// Attaches those of the socket hooks that only datagrams need. `connect` is theirs as well.
pub(super) fn cgroup_datagrams(ebpf: &mut Ebpf, links: &Links, path: &Path) -> Result<(), Error> {
    cgroup(ebpf, links, path)?;
    sock_addrs(ebpf, links, path, &DATAGRAM_ADDRS)?;
    on_cgroup(links, path, LEAVING, |cgroup| {
        let program: &mut CgroupSkb = program(ebpf, LEAVING)?;
        let id = program.attach(
            cgroup,
            CgroupSkbAttachType::Egress,
            CgroupAttachMode::Single,
        );
        linked(path, LEAVING, id.and_then(|id| program.take_link(id)))
    })
}

fn sock_addrs(
    ebpf: &mut Ebpf,
    links: &Links,
    path: &Path,
    names: &[&'static str],
) -> Result<(), Error> {
    for name in names {
        on_cgroup(links, path, name, |cgroup| {
            let program: &mut CgroupSockAddr = program(ebpf, name)?;
            let id = program.attach(cgroup, CgroupAttachMode::Single);
            linked(path, name, id.and_then(|id| program.take_link(id)))
        })?;
    }
    Ok(())
}

/// Attaches a program to a cgroup and pins its link. Links are always one of several: the mode only
/// concerns attachments without links, and kernels refuse its flag for links.
fn on_cgroup(
    links: &Links,
    path: &Path,
    name: &str,
    attach: impl FnOnce(&File) -> Result<FdLink, Error>,
) -> Result<(), Error> {
    let cgroup = File::open(path).map_err(|cause| Error::Cgroup {
        path: path.to_owned(),
        cause,
    })?;
    repin(links, attach(&cgroup)?, &format!("cgroup-{name}"))
}

fn linked<L>(
    path: &Path,
    name: &'static str,
    link: Result<L, ProgramError>,
) -> Result<FdLink, Error>
where
    FdLink: TryFrom<L, Error = LinkError>,
{
    let link = link.map_err(|cause| Error::Attach {
        program: name,
        target: path.display().to_string(),
        cause,
    })?;
    FdLink::try_from(link).map_err(|cause| Error::Link { cause })
}

/// Attaches the choice of sockets for redirected datagrams to this process's network namespace.
pub(super) fn network_namespace(ebpf: &mut Ebpf, links: &Links) -> Result<(), Error> {
    const NAMESPACE: &str = "/proc/self/ns/net";
    let fault = |cause| Error::Attach {
        program: SK_LOOKUP,
        target: NAMESPACE.to_owned(),
        cause,
    };
    let namespace = File::open(NAMESPACE).map_err(|cause| Error::Namespace { cause })?;
    let program: &mut SkLookup = program(ebpf, SK_LOOKUP)?;
    let id = program.attach(&namespace).map_err(fault)?;
    let link = program.take_link(id).map_err(fault)?;
    repin(links, FdLink::from(link), SK_LOOKUP)
}

/// Pins a link in the place of an earlier one, which ends with its pin. For a moment both run:
/// the second sees a connection that is redirected already, and leaves it.
fn repin(links: &Links, link: FdLink, name: &str) -> Result<(), Error> {
    let pin = links.pin(name);
    remove(&pin);
    pin_at(link, &pin)?;
    links.replace_former(&pin);
    Ok(())
}

fn pin_at(link: FdLink, pin: &Path) -> Result<(), Error> {
    let pinned = link.pin(pin).map_err(|cause| Error::Pin {
        path: pin.to_owned(),
        cause,
    })?;
    drop(pinned);
    Ok(())
}

/// Removes the pins of an interface that is gone.
pub(super) fn forget(links: &Links, index: u32) {
    for hook in POD.iter().chain(&UPLINK).chain(&PORTAL) {
        let name = format!("{index}-{}", hook.pin);
        remove(&links.pin(&name));
        filters::detach(links, &name);
    }
}

/// Removes everything that the kernel keeps for us: hooks detach with their pins, filters are taken
/// off. Says what was removed.
pub fn cleanup(pin_dir: &Path) -> Result<Vec<String>, Error> {
    let versions = std::fs::read_dir(pin_dir).into_iter().flatten().flatten();
    let filters =
        versions.flat_map(|version| filters::detach_all(&links::filters(&version.path())));
    let mut removed: Vec<String> = filters.collect();
    match std::fs::remove_dir_all(pin_dir) {
        Ok(()) => {
            removed.push(format!(
                "programs, links and maps below {}",
                pin_dir.display()
            ));
            Ok(removed)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(removed),
        Err(cause) => Err(Error::Remove {
            path: pin_dir.to_owned(),
            cause,
        }),
    }
}

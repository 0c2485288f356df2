//! Hooks on interfaces of kernels without tcx: filters of the clsact queueing discipline.
//!
//! A filter stays on its interface whoever made it, and has a place there, which is always the same:
//! a later start replaces it in place. A folder of its name in the bpf filesystem, which takes nothing
//! but pins and folders, remembers it; it is gone with the running kernel, as the filter is.

use std::path::Path;

use aya::programs::links::FdLink;
use aya::programs::tc::{
    NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle, qdisc_add_clsact,
};
use aya::programs::{Link as _, ProgramError, SchedClassifier, TcAttachType};

use super::Error;
use super::attach::{POD, PORTAL, Place, UPLINK};
use super::host_network::{self, interface_name};
use super::links::{Links, remove};

/// Among the filters of an interface: in front of those that the kernel numbers by itself.
const PRIORITY: u16 = 1077;
const HANDLE: TcHandle = TcHandle::new(0, 1077);
/// Remembers that the queueing discipline is ours as well.
const QDISC: &str = "qdisc";

/// Attaches a program, in the place of one that an earlier start left there.
pub(super) fn attach(
    program: &mut SchedClassifier,
    links: &Links,
    place: Place<'_>,
) -> Result<(), Error> {
    // Before the filter: a name without a filter does no harm, a filter without one would stay.
    remember(links, &place.name())?;
    let Place {
        interface, hook, ..
    } = place;
    let former = SchedClassifierLink::attached(interface, hook.side, PRIORITY, HANDLE, None);
    let replaced = match former {
        Ok(former) => program.attach_to_link(former),
        Err(cause) => Err(ProgramError::IOError(cause)),
    };
    let id = if let Ok(id) = replaced {
        id
    } else {
        if qdisc_add_clsact(interface).is_ok() {
            remember(links, &format!("{}-{QDISC}", place.index))?;
        }
        let fresh = TcAttachOptions::Netlink(NlOptions {
            priority: PRIORITY,
            handle: HANDLE,
            classid: None,
        });
        let attached = program.attach_with_options(interface, hook.side, fresh);
        attached.map_err(|cause| place.fault(cause))?
    };
    let link = program.take_link(id).map_err(|cause| place.fault(cause))?;
    // What is no link of a descriptor is given up by this conversion without being detached.
    let _stays = FdLink::try_from(link);
    remove(&links.pin(place.name()));
    Ok(())
}

fn remember(links: &Links, name: &str) -> Result<(), Error> {
    let folder = links.filters().join(name);
    std::fs::create_dir_all(&folder).map_err(|cause| Error::PinFolder { folder, cause })
}

/// Takes a filter off, where there is one.
pub(super) fn detach(links: &Links, name: &str) {
    detach_in(&links.filters(), name);
}

/// Takes all filters off that a folder remembers, and tells which.
pub(super) fn detach_all(filters: &Path) -> Vec<String> {
    let mut names = names(filters);
    // The queueing disciplines behind their filters.
    names.sort_by_key(|name| name.ends_with(QDISC));
    names
        .into_iter()
        .filter(|name| detach_in(filters, name))
        .map(|name| format!("filter {name}"))
        .collect()
}

/// Another version's filters: those that this one has replaced are its own now, the others go.
pub(super) fn retire(links: &Links, former: &Path) {
    for name in names(former) {
        let own = links.filters().join(&name);
        if name.ends_with(QDISC) {
            let _remembered = std::fs::create_dir_all(own);
        } else if !own.exists() {
            detach_in(former, &name);
        }
    }
}

fn names(filters: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(filters).into_iter().flatten();
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect()
}

/// Whether something was remembered under that name; then it is gone.
fn detach_in(filters: &Path, name: &str) -> bool {
    if std::fs::remove_dir(filters.join(name)).is_err() {
        return false;
    }
    let Some((index, what)) = name.split_once('-') else {
        return false;
    };
    // A filter is gone with its interface.
    let Some(interface) = index.parse().ok().and_then(interface_name) else {
        return true;
    };
    let done = match side(what) {
        Some(side) => SchedClassifierLink::attached(&interface, side, PRIORITY, HANDLE, None)
            .map_err(ProgramError::IOError)
            .and_then(SchedClassifierLink::detach)
            .map_err(|error| error.to_string()),
        None => remove_qdisc(&interface).map_err(|error| error.to_string()),
    };
    if let Err(error) = done {
        tracing::warn!(interface, filter = what, error, "cannot be taken off");
    }
    true
}

fn side(name: &str) -> Option<TcAttachType> {
    let mut hooks = POD.iter().chain(&UPLINK).chain(&PORTAL);
    hooks.find(|hook| hook.pin == name).map(|hook| hook.side)
}

/// Unless somebody else has filters there.
fn remove_qdisc(interface: &str) -> Result<(), host_network::Error> {
    for side in ["ingress", "egress"] {
        let filters = host_network::run("tc", &["filter", "show", "dev", interface, side], None)?;
        if !filters.stdout.is_empty() {
            return Ok(());
        }
    }
    host_network::run("tc", &["qdisc", "del", "dev", interface, "clsact"], None).map(drop)
}

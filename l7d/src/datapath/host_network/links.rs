//! Interfaces of this network namespace.

use std::net::IpAddr;

use super::{Error, run};

/// The index of an interface.
pub fn interface_index(name: &str) -> Result<u32, Error> {
    rustix::net::netdevice::name_to_index(socket()?, name)
        .map_err(|_no_such_device| Error::NoInterface(name.to_owned()))
}

/// The name of an interface, unless it is gone.
pub(in crate::datapath) fn interface_name(index: u32) -> Option<String> {
    rustix::net::netdevice::index_to_name(socket().ok()?, index).ok()
}

fn socket() -> Result<std::os::fd::OwnedFd, Error> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(|error| Error::Tool {
        tool: "a socket",
        cause: error.into(),
    })
}

/// All addresses of this host's interfaces.
pub fn interface_addresses() -> Result<Vec<IpAddr>, Error> {
    let output = run("ip", &["-j", "address", "show"], None)?;
    let links: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let addresses = links
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|link| link.get("addr_info")?.as_array())
        .flatten()
        .filter_map(|info| info.get("local")?.as_str()?.parse().ok());
    Ok(addresses.collect())
}

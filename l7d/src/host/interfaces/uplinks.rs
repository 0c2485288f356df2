//! Interfaces that lead out of the node: those of its default routes.

use std::collections::BTreeSet;

/// `RTF_UP` of `include/uapi/linux/route.h`.
const UP: u32 = 1;
/// `RTF_REJECT`: the route is there so that nothing goes that way.
const REJECT: u32 = 0x200;

/// Interfaces with a default route, IPv4 or IPv6, of the main table; those that cannot be read are none.
pub fn uplinks() -> Vec<String> {
    let read = |file| std::fs::read_to_string(file).unwrap_or_default();
    let v4 = read("/proc/self/net/route");
    let v6 = read("/proc/self/net/ipv6_route");
    let found: BTreeSet<&str> = v4
        .lines()
        .filter_map(of_v4)
        .chain(v6.lines().filter_map(of_v6))
        .collect();
    found.into_iter().map(str::to_owned).collect()
}

/// `Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT`, numbers in hexadecimal.
fn of_v4(line: &str) -> Option<&str> {
    let mut fields = line.split_ascii_whitespace();
    let interface = fields.next()?;
    let destination = fields.next()?;
    let _gateway = fields.next()?;
    let flags = u32::from_str_radix(fields.next()?, 16).ok()?;
    let mask = fields.nth(3)?;
    let is_default = destination == "00000000" && mask == "00000000";
    (is_default && is_open(flags)).then_some(interface)
}

/// Destination, its length, source, its length, next hop, metric, reference count, use, flags, interface.
fn of_v6(line: &str) -> Option<&str> {
    let mut fields = line.split_ascii_whitespace();
    let destination = fields.next()?;
    let bits = fields.next()?;
    let flags = u32::from_str_radix(fields.nth(6)?, 16).ok()?;
    let interface = fields.next()?;
    let is_default = bits == "00" && destination.bytes().all(|byte| byte == b'0');
    (is_default && is_open(flags) && interface != "lo").then_some(interface)
}

fn is_open(flags: u32) -> bool {
    flags & UP != 0 && flags & REJECT == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_routes_are_found() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
            eth0\t0000000A\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n\
            tun0\t00000000\t0100080A\t0003\t0\t0\t50\t00000080\t0\t0\t0\n\
            down0\t00000000\t0100000A\t0002\t0\t0\t100\t00000000\t0\t0\t0\n";
        assert_eq!(
            table.lines().filter_map(of_v4).collect::<Vec<_>>(),
            ["eth0"]
        );
    }

    #[test]
    fn default_routes_of_ipv6_are_found_and_those_that_reject_are_not() {
        let zero = "0".repeat(32);
        let hop = "fe800000000000000000000000000001";
        let table = format!(
            "{zero} 00 {zero} 00 {hop} 00000400 00000001 00000000 00000003     eth1\n\
             {zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200       lo\n\
             20010db8000000000000000000000000 40 {zero} 00 {zero} 00000100 00000001 00000000 00000001     eth2\n"
        );
        assert_eq!(
            table.lines().filter_map(of_v6).collect::<Vec<_>>(),
            ["eth1"]
        );
    }
}

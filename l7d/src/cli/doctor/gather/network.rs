//! The node's network, by `ip`, `/proc` and the configuration of plug-ins.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{look, nftables, text};
use crate::cli::doctor::facts::{Interface, Look, Network, Plugin, Rule};
use crate::config::Config;
use crate::host::interfaces;

/// Where runtimes look for plug-ins.
const PLUGINS: &str = "/etc/cni/net.d";
/// State of a socket that listens, in `/proc/net/tcp` (`include/net/tcp_states.h`).
const LISTENING: &str = "0A";

pub(super) fn gather(config: &Config) -> Network {
    let tools = ["ip", "nft"].into_iter().filter(|tool| is_missing(tool));
    let missing_tools: Vec<String> = tools.map(str::to_owned).collect();
    let interfaces = interfaces_of(&json("ip", &["-j", "-d", "link", "show"]));
    let rules = ["-4", "-6"].map(|family| json("ip", &[family, "-j", "rule", "show"]));
    let mut names: Vec<&str> = interfaces.iter().map(|of| of.name.as_str()).collect();
    names.extend(["all", "default"]);
    Network {
        sysctls: sysctls(&config.datapath.sysctl_dir, &names),
        can_write_sysctls: can_write(&config.datapath.sysctl_dir),
        missing_tools,
        plugins: plugins(Path::new(PLUGINS)),
        rules: rules.iter().flat_map(rules_of).collect(),
        tables: nftables::gather(),
        legacy_tables: legacy_tables(Path::new("/proc/net")),
        uplinks: interfaces::uplinks(),
        listening: ["/proc/net/tcp", "/proc/net/tcp6"]
            .into_iter()
            .filter_map(text)
            .flat_map(|table| listening(&table))
            .collect(),
        interfaces,
    }
}

fn is_missing(tool: &str) -> bool {
    let asked = Command::new(tool).arg("-V").output();
    asked.is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

/// What a tool writes, or null.
fn json(tool: &str, arguments: &[&str]) -> Value {
    let output = Command::new(tool).args(arguments).output();
    let output = output.ok().filter(|output| output.status.success());
    output
        .and_then(|output| serde_json::from_slice(&output.stdout).ok())
        .unwrap_or_default()
}

fn interfaces_of(links: &Value) -> Vec<Interface> {
    let each = links.as_array().into_iter().flatten();
    each.filter_map(|link| {
        let of = |key: &str| link.get(key).and_then(Value::as_str).map(str::to_owned);
        let kind = link.pointer("/linkinfo/info_kind").and_then(Value::as_str);
        Some(Interface {
            name: of("ifname")?,
            kind: kind.unwrap_or_default().to_owned(),
            master: of("master"),
        })
    })
    .collect()
}

fn rules_of(rules: &Value) -> Vec<Rule> {
    let number = |text: &str| {
        let digits = text.strip_prefix("0x");
        digits.map_or_else(
            || text.parse().ok(),
            |hex| u32::from_str_radix(hex, 16).ok(),
        )
    };
    let each = rules.as_array().into_iter().flatten();
    each.filter_map(|rule| {
        let of = |key: &str| rule.get(key).and_then(Value::as_str);
        // Without a mask all bits count.
        let bits = of("fwmask").and_then(number).unwrap_or(u32::MAX);
        let mark = of("fwmark").and_then(number);
        Some(Rule {
            priority: u32::try_from(rule.get("priority")?.as_u64()?).ok()?,
            mark: mark.map(|mark| (mark, bits)),
            interface: of("iif").map(str::to_owned),
            table: of("table").unwrap_or_default().to_owned(),
        })
    })
    .collect()
}

/// Those that say something to l7d, by their names below `net`.
fn sysctls(folder: &Path, interfaces: &[&str]) -> BTreeMap<String, String> {
    let single = [
        "ipv4/tcp_early_demux",
        "ipv4/ip_forward",
        "ipv6/conf/all/forwarding",
        "ipv4/vs/conntrack",
        "netfilter/nf_conntrack_count",
        "netfilter/nf_conntrack_max",
    ];
    let each = interfaces
        .iter()
        .map(|name| format!("ipv4/conf/{name}/rp_filter"));
    let names = single.into_iter().map(str::to_owned).chain(each);
    names
        .filter_map(|name| text(folder.join(&name)).map(|value| (name, value)))
        .collect()
}

fn can_write(folder: &Path) -> Look<bool> {
    use rustix::fs::{Access, access};
    if !rustix::process::geteuid().is_root() {
        return Look::Hidden("run it as the agent is run (root)".to_owned());
    }
    let file = folder.join("ipv4/conf/all/rp_filter");
    Look::Seen(access(file, Access::WRITE_OK).is_ok())
}

fn plugins(folder: &Path) -> Look<Vec<Plugin>> {
    let entries = match look(std::fs::read_dir(folder), "root may read /etc/cni/net.d") {
        Ok(Look::Seen(entries)) => entries,
        Ok(Look::Hidden(right)) => return Look::Hidden(right),
        Err(_no_folder) => return Look::Seen(Vec::new()),
    };
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let is_one = |path: &std::path::PathBuf| {
        path.extension()
            .is_some_and(|of| of == "conf" || of == "conflist" || of == "json")
    };
    let mut plugins = Vec::new();
    for path in files.iter().filter(|path| is_one(path)) {
        match look(
            std::fs::read(path),
            "root may read the files of /etc/cni/net.d",
        ) {
            Ok(Look::Seen(bytes)) => plugins.push(Plugin {
                file: path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
                types: types_of(&serde_json::from_slice(&bytes).unwrap_or_default()),
            }),
            Ok(Look::Hidden(right)) => return Look::Hidden(right),
            Err(_gone) => {}
        }
    }
    Look::Seen(plugins)
}

/// Of a single plug-in, or of a list.
fn types_of(file: &Value) -> Vec<String> {
    let of = |plugin: &Value| Some(plugin.get("type")?.as_str()?.to_owned());
    let list = file.get("plugins").and_then(Value::as_array);
    match list {
        Some(plugins) => plugins.iter().filter_map(of).collect(),
        None => of(file).into_iter().collect(),
    }
}

/// The kernel makes a table when iptables-legacy first asks for it, and lists it there (`x_tables.c`).
fn legacy_tables(folder: &Path) -> Look<Vec<String>> {
    let mut tables = Vec::new();
    for (file, family) in [("ip_tables_names", ""), ("ip6_tables_names", " (IPv6)")] {
        match look(
            std::fs::read_to_string(folder.join(file)),
            "root may read /proc/net/ip_tables_names",
        ) {
            Ok(Look::Seen(names)) => {
                tables.extend(names.lines().map(|name| format!("{name}{family}")));
            }
            Ok(Look::Hidden(right)) => return Look::Hidden(right),
            // The module is not there.
            Err(_none) => {}
        }
    }
    Look::Seen(tables)
}

/// `sl local_address rem_address st …`, numbers in hexadecimal.
fn listening(table: &str) -> Vec<u16> {
    let lines = table.lines().skip(1);
    lines
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace().skip(1);
            let local = fields.next()?;
            let state = fields.nth(1)?;
            let port = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
            (state == LISTENING).then_some(port)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_ip_tells_is_read() {
        let links = json!([
            { "ifname": "lo" },
            { "ifname": "veth1", "master": "cni0", "linkinfo": { "info_kind": "veth" } }
        ]);
        let veth = Interface {
            name: "veth1".to_owned(),
            kind: "veth".to_owned(),
            master: Some("cni0".to_owned()),
        };
        assert_eq!(interfaces_of(&links)[1], veth);
        let rules = json!([
            { "priority": 99, "iif": "l7d0", "table": "1077" },
            { "priority": 100, "fwmark": "0x200", "fwmask": "0xf00", "table": "2004" },
            { "priority": 101, "fwmark": "0x7", "table": "main" }
        ]);
        let marks: Vec<_> = rules_of(&rules).into_iter().map(|rule| rule.mark).collect();
        assert_eq!(marks, [None, Some((0x200, 0xf00)), Some((7, u32::MAX))]);
        assert!(rules_of(&Value::Null).is_empty());
    }

    #[test]
    fn plug_ins_are_read_in_the_order_of_runtimes() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in [
            ("20-b.conf", r#"{ "type": "bridge" }"#),
            (
                "10-a.conflist",
                r#"{ "plugins": [ { "type": "calico" }, { "type": "portmap" } ] }"#,
            ),
            ("00-notes.txt", "no plug-in"),
        ] {
            std::fs::write(folder.path().join(name), text).expect("written");
        }
        let Look::Seen(found) = plugins(folder.path()) else {
            panic!("they can be read");
        };
        let types: Vec<_> = found.iter().map(|plugin| plugin.types.join("+")).collect();
        assert_eq!(types, ["calico+portmap", "bridge"]);
        assert_eq!(plugins(&folder.path().join("none")), Look::Seen(Vec::new()));
    }

    #[test]
    fn tables_of_the_former_iptables_are_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let none = legacy_tables(folder.path());
        assert_eq!(none, Look::Seen(Vec::new()));
        for (file, names) in [
            ("ip_tables_names", "filter\nnat\n"),
            ("ip6_tables_names", "nat\n"),
        ] {
            std::fs::write(folder.path().join(file), names).expect("written");
        }
        let names = ["filter", "nat", "nat (IPv6)"].map(str::to_owned);
        assert_eq!(legacy_tables(folder.path()), Look::Seen(names.into()));
    }

    #[test]
    fn sockets_that_listen_are_found() {
        let table = "  sl  local_address rem_address   st tx_queue\n   \
             0: 0100007F:1094 00000000:0000 0A 00000000:00000000\n   \
             1: 0100007F:1095 0100007F:D431 01 00000000:00000000\n";
        assert_eq!(listening(table), [4244]);
    }
}

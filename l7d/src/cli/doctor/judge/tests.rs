use std::path::Path;

use super::judge;
use crate::cli::doctor::facts::{
    Agent, Configured, Disk, Facts, Feature, Interface, Kernel, Look, Machine, Marking, Network,
    Plugin, Rights, Rule, Running, Tables,
};
use crate::cli::doctor::report::{Finding, Function, Report, State};
use crate::cli::doctor::text;
use crate::config::{Config, KernelFeature};
use crate::datapath::features;
use crate::kube::Server;

const MIB: u64 = 1 << 20;
/// `CAP_DAC_OVERRIDE`, `NET_BIND_SERVICE`, `NET_ADMIN`, `NET_RAW`, `PERFMON`, `BPF`.
const AGENTS: u64 = 1 << 1 | 1 << 10 | 1 << 12 | 1 << 13 | 1 << 38 | 1 << 39;

fn configuration(yaml: &str) -> Configured {
    let config = crate::config::read_config("l7d.yaml", yaml).expect("a configuration");
    Configured {
        file: Some("/etc/l7d/l7d.yaml".into()),
        trouble: None,
        config: Config {
            node: "node-1".to_owned(),
            ..config
        },
    }
}

fn kernel() -> Kernel {
    // As the machine of the tests has them, by name; that they are there is this fixture's.
    let features = features::survey().into_iter().map(|of| Feature {
        name: of.name.to_owned(),
        replaced: of.feature,
        is_there: Some(true),
        is_needed: of.is_needed,
        otherwise: of.otherwise.to_owned(),
    });
    Kernel {
        release: "6.12.9-amd64".to_owned(),
        features: features.collect(),
        has_bpf_filesystem: true,
        cgroup: Some("/sys/fs/cgroup".into()),
        jit: Some(1),
        has_programs: true,
    }
}

fn network() -> Network {
    let interface = |name: &str, kind: &str, master: Option<&str>| Interface {
        name: name.to_owned(),
        kind: kind.to_owned(),
        master: master.map(str::to_owned),
    };
    let sysctls = [
        ("ipv4/conf/all/rp_filter", "1"),
        ("ipv4/conf/eth0/rp_filter", "1"),
        ("ipv4/conf/l7d0/rp_filter", "0"),
        ("ipv4/tcp_early_demux", "1"),
        ("ipv4/ip_forward", "1"),
        ("netfilter/nf_conntrack_count", "1200"),
        ("netfilter/nf_conntrack_max", "262144"),
    ];
    Network {
        missing_tools: Vec::new(),
        interfaces: vec![
            interface("eth0", "", None),
            interface("cni0", "bridge", None),
            interface("veth1", "veth", Some("cni0")),
        ],
        plugins: Look::Seen(vec![Plugin {
            file: "10-flannel.conflist".to_owned(),
            types: vec!["flannel".to_owned(), "portmap".to_owned()],
        }]),
        rules: vec![Rule {
            priority: 32766,
            table: "main".to_owned(),
            ..Rule::default()
        }],
        tables: Look::Seen(Tables {
            is_kube_proxy_iptables: true,
            ..Tables::default()
        }),
        sysctls: sysctls
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        legacy_tables: Look::Seen(Vec::new()),
        can_write_sysctls: Look::Seen(true),
        uplinks: vec!["eth0".to_owned()],
        listening: vec![22],
    }
}

/// A node on which everything works, before its first agent.
fn healthy() -> Facts {
    Facts {
        version: "0.1.0".to_owned(),
        configured: configuration("datapath: { connections: 65536, uplinks: auto }"),
        kernel: kernel(),
        rights: Rights {
            is_root: true,
            capabilities: AGENTS,
            seccomp: vec!["errno".to_owned(), "log".to_owned(), "allow".to_owned()],
            is_filtered: false,
            landlock: Ok(6),
            modules: Look::Seen(vec!["capability".to_owned(), "landlock".to_owned()]),
            lockdown: Some("none".to_owned()),
            profile: None,
            locked_memory: Some(8 << 20),
        },
        network: network(),
        machine: Machine {
            time: 1_795_000_000,
            is_synchronised: Some(true),
            memory: Some(4096 * MIB),
            memory_left: None,
            descriptors: Some(1 << 20),
            state: Disk::Writable { free: 9000 * MIB },
        },
        agent: Agent {
            running: Look::Seen(None),
            pins: Look::Seen(Vec::new()),
            own_pins: "v12".to_owned(),
            refused: Look::Seen(Vec::new()),
        },
        cluster: None,
    }
}

fn running() -> Running {
    Running {
        version: "v0.1.0".to_owned(),
        warnings: Vec::new(),
        rights: "system calls: 200 allowed (seccomp); files: its own (landlock 6)".to_owned(),
        capabilities: Some(AGENTS),
    }
}

/// The one finding of a name.
fn find<'r>(report: &'r Report, check: &str) -> &'r Finding {
    let found = report
        .findings
        .iter()
        .find(|finding| finding.check == check);
    found.unwrap_or_else(|| panic!("no {check}"))
}

fn works(report: &Report, function: Function) -> State {
    let found = report.functions.iter().find(|of| of.function == function);
    found.expect("it is told of").state
}

fn assert_golden(name: &str, report: &Report, color: bool, brief: bool) {
    let mut written = Vec::new();
    text::write(&mut written, report, color, brief).expect("written");
    let written = String::from_utf8(written).expect("text");
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &written).expect("written");
    }
    let expected = std::fs::read_to_string(&path).expect("the golden file");
    assert_eq!(written, expected, "{name}");
}

#[test]
fn a_node_on_which_everything_works_is_told_in_full() {
    let report = judge(&healthy());
    assert_eq!(report.state(), State::Ok, "{report:?}");
    assert_golden("doctor-healthy.txt", &report, false, false);
}

#[test]
fn whoever_may_not_look_is_told_with_which_right_one_may() {
    let mut facts = healthy();
    for feature in &mut facts.kernel.features {
        feature.is_there = None;
    }
    facts.rights.is_root = false;
    facts.rights.capabilities = 0;
    facts.rights.modules = Look::Hidden("mount securityfs".to_owned());
    facts.network.tables = Look::Hidden("run it with CAP_NET_ADMIN: rules of nftables".to_owned());
    facts.network.can_write_sysctls = Look::Hidden("run it as the agent is run (root)".to_owned());
    facts.agent.running = Look::Hidden("root may ask the agent".to_owned());
    facts.agent.pins = Look::Hidden("root may read the folder of pins".to_owned());
    facts.agent.refused = Look::Hidden("run it with CAP_SYSLOG".to_owned());
    let report = judge(&facts);
    assert_eq!(report.state(), State::Unseen, "{report:?}");
    for finding in report
        .findings
        .iter()
        .filter(|of| of.state == State::Unseen)
    {
        assert!(!finding.advice.is_empty(), "{finding:?}");
    }
    assert_golden("doctor-unprivileged.txt", &report, false, true);
}

#[test]
fn what_is_wrong_is_told_with_what_it_means_and_what_to_do() {
    let mut facts = healthy();
    facts.configured = configuration(
        "datapath: { connections: 65536, uplinks: auto }\nhost: { ports: [ { port: 80 } ] }\nmetrics: { listen: \"127.0.0.1:9965\" }\n\
         kubernetes: { kubeconfig: /etc/l7d/kubeconfig }\n",
    );
    facts.kernel.has_bpf_filesystem = false;
    facts.kernel.cgroup = None;
    facts.kernel.jit = Some(0);
    for feature in &mut facts.kernel.features {
        if feature.replaced == Some(KernelFeature::Btf) {
            feature.is_there = Some(false);
        }
    }
    facts.rights.capabilities = AGENTS & !(1 << 13);
    facts.rights.landlock = Err("this kernel has no landlock (5.13)".to_owned());
    facts.network.can_write_sysctls = Look::Seen(false);
    facts.network.listening.push(9965);
    facts.network.rules.push(Rule {
        priority: 100,
        mark: Some((0x1000, 0x1000)),
        table: "50".to_owned(),
        ..Rule::default()
    });
    facts.network.tables = Look::Seen(Tables {
        markings: vec![Marking {
            place: "inet qos forward".to_owned(),
            bits: 0x2010,
        }],
        ..Tables::default()
    });
    facts.network.sysctls.insert(
        "netfilter/nf_conntrack_count".to_owned(),
        "262000".to_owned(),
    );
    facts.machine.is_synchronised = Some(false);
    facts.machine.memory_left = Some(64 * MIB);
    facts.machine.descriptors = Some(1024);
    facts.agent.pins = Look::Seen(vec!["v11".to_owned()]);
    facts.agent.refused = Look::Seen(vec![272]);
    facts.cluster = Some(Err("https://192.0.2.1:6443: connection refused".to_owned()));
    facts.network.legacy_tables = Look::Seen(vec!["filter".to_owned(), "nat".to_owned()]);
    facts.machine.state = Disk::Silent;
    let report = judge(&facts);
    assert_eq!(report.state(), State::No);
    for finding in report.findings.iter().filter(|of| of.state > State::Ok) {
        assert!(
            !finding.meaning.is_empty() && !finding.advice.is_empty(),
            "{finding:?}"
        );
    }
    assert_golden("doctor-faults.txt", &report, false, false);
    assert_golden("doctor-faults-color.txt", &report, true, true);
}

#[test]
fn a_running_agent_is_told_of_and_what_others_have_set_back() {
    let mut facts = healthy();
    facts.agent.running = Look::Seen(Some(Running {
        warnings: vec!["endpoint web: interface veth9 does not exist".to_owned()],
        ..running()
    }));
    facts.agent.pins = Look::Seen(vec!["v12".to_owned()]);
    let report = judge(&facts);
    let filter = find(&report, "network.rp-filter");
    assert_eq!(filter.state, State::No);
    assert!(filter.found.contains("l7d0, eth0"), "{filter:?}");
    assert!(
        filter.advice.contains("net.ipv4.conf.all.rp_filter=0"),
        "{filter:?}"
    );
    assert_eq!(works(&report, Function::Proxy), State::No);
    assert_eq!(works(&report, Function::Tap), State::Ok);
    assert_eq!(find(&report, "agent.pins").state, State::Ok);
    assert_eq!(find(&report, "agent.warning").state, State::Part);
    assert_golden("doctor-running.txt", &report, false, false);
}

#[test]
fn what_the_agent_sets_itself_is_no_fault_before_it_runs() {
    let mut facts = healthy();
    assert_eq!(find(&judge(&facts), "network.rp-filter").state, State::Ok);
    facts.network.can_write_sysctls = Look::Seen(false);
    assert_eq!(find(&judge(&facts), "network.rp-filter").state, State::No);
    facts
        .network
        .sysctls
        .insert("ipv4/conf/all/rp_filter".to_owned(), "0".to_owned());
    facts
        .network
        .sysctls
        .insert("ipv4/tcp_early_demux".to_owned(), "0".to_owned());
    assert_eq!(judge(&facts).state(), State::Ok);
}

#[test]
fn a_mark_of_others_is_a_fault_only_where_it_means_packets_of_the_proxy() {
    for (mark, expected) in [
        (Some((0x1000, 0x1000)), State::No),
        (Some((0x3000, 0xf000)), State::No),
        // Calico's, and one that packets of the proxy never have.
        (Some((0x0001_0000, 0x0001_0000)), State::Ok),
        (Some((0x4000, 0x7000)), State::Ok),
        (None, State::Ok),
    ] {
        let mut facts = healthy();
        facts.network.rules.push(Rule {
            priority: 10,
            mark,
            table: "10".to_owned(),
            ..Rule::default()
        });
        let report = judge(&facts);
        assert_eq!(find(&report, "marks.routing").state, expected, "{mark:?}");
    }
}

#[test]
fn a_filter_of_the_surroundings_that_refuses_bpf_is_named() {
    let mut facts = healthy();
    facts.rights.is_filtered = true;
    assert_eq!(find(&judge(&facts), "rights.seccomp").state, State::Ok);
    for feature in &mut facts.kernel.features {
        feature.is_there = None;
    }
    assert_eq!(find(&judge(&facts), "rights.seccomp").state, State::No);
}

#[test]
fn the_disk_of_the_state_counts_where_a_cluster_is_followed() {
    let mut facts = healthy();
    facts.machine.state = Disk::Silent;
    assert_eq!(judge(&facts).state(), State::Ok);
    facts.configured = configuration("kubernetes: { kubeconfig: /etc/kubeconfig }");
    facts.cluster = Some(Ok(Server {
        version: "https://192.0.2.1:6443 v1.34.1".to_owned(),
        ahead: Some(2),
    }));
    for (state, expected) in [
        (Disk::Silent, State::Part),
        (
            Disk::Unwritable("/var/lib: read-only".to_owned()),
            State::Part,
        ),
        (Disk::Writable { free: MIB }, State::Part),
        (Disk::Writable { free: 100 * MIB }, State::Ok),
    ] {
        facts.machine.state = state;
        let report = judge(&facts);
        assert_eq!(find(&report, "machine.state").state, expected);
        assert_eq!(works(&report, Function::Cluster), expected);
    }
}

#[test]
fn a_clock_that_is_not_the_api_servers_is_told() {
    let mut facts = healthy();
    for (ahead, expected) in [
        (Some(3), "agrees"),
        (Some(42), "42 s ahead of"),
        (Some(-3600), "3600 s behind"),
    ] {
        let version = String::new();
        facts.cluster = Some(Ok(Server { version, ahead }));
        let report = judge(&facts);
        let found = &find(&report, "cluster.clock").found;
        assert!(found.contains(expected), "{found}");
    }
}

#[test]
fn every_state_of_a_report_has_its_form_for_scripts() {
    let report = judge(&healthy());
    let json = serde_json::to_value(&report).expect("json");
    assert_eq!(json["functions"][0]["function"], "packets");
    assert_eq!(json["functions"][0]["state"], "ok");
    assert_eq!(json["findings"][1]["check"], "kernel.version");
    assert!(json["findings"][1].get("meaning").is_none());
}

//! An agent and a relay that speak TLS, both sides with certificates, which are renewed while they run.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use rustix::process::Signal;
use testbed::{Fabric, Process, World};

use super::{node, relay};
use crate::node::{Agent, Node, output, wait_until};

const AGENT: &str = "*.default.hubble-grpc.cilium.io";
const RELAY: &str = "*.hubble-relay.cilium.io";

/// Authorities and certificates, in a folder of their own each.
struct Authority {
    folder: PathBuf,
}

impl Authority {
    /// An authority of this name, and a certificate of it for each of these.
    fn new(world: &World, name: &str) -> anyhow::Result<Self> {
        let folder = world.folder().join(name);
        std::fs::create_dir_all(&folder)?;
        let mut script = format!(
            "cd {} && new='openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes' \
             && $new -x509 -days 2 -keyout ca.key -out ca.pem -subj /CN={name}",
            folder.display()
        );
        for (file, host) in [
            ("agent", AGENT),
            ("relay", RELAY),
            ("client", "client.example"),
        ] {
            write!(
                script,
                " && $new -keyout {file}.key -out {file}.csr -subj /CN={file} \
                 && echo 'subjectAltName=DNS:{host}' > {file}.ext \
                 && openssl x509 -req -in {file}.csr -days 2 -CA ca.pem -CAkey ca.key \
                 -CAcreateserial -extfile {file}.ext -out {file}.pem"
            )?;
        }
        output(&world.node(), &["sh", "-c", &script])?;
        Ok(Self { folder })
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// Puts these files in the place of those, each at once, as a mounted secret's change.
    fn install(&self, into: &Path, names: &[&str]) -> anyhow::Result<()> {
        std::fs::create_dir_all(into)?;
        for name in names {
            let fresh = into.join(format!("{name}.new"));
            std::fs::copy(self.folder.join(name), &fresh)?;
            std::fs::rename(fresh, into.join(name))?;
        }
        Ok(())
    }
}

struct Secured {
    used: PathBuf,
    former: Authority,
    next: Authority,
    agent: Agent,
    node: Node,
    _relay: Process,
    world: World,
}

const ALL: [&str; 5] = ["ca.pem", "agent.pem", "agent.key", "relay.pem", "relay.key"];

fn secured() -> anyhow::Result<Secured> {
    let world = World::new()?;
    let fabric = Fabric::new(world.node())?;
    let (former, next) = (
        Authority::new(&world, "former")?,
        Authority::new(&world, "next")?,
    );
    let used = world.folder().join("used");
    former.install(&used, &ALL)?;
    let file = |name: &str| used.join(name).display().to_string();
    let listener = format!(
        "tls: {{ certificate: {}, key: {}, clientCa: {} }}",
        file("agent.pem"),
        file("agent.key"),
        file("ca.pem")
    );
    let node = node(&fabric, 1, &[1], &listener)?;
    let agent = node.agent()?;
    let (service, ca) = (format!("{}:4244", Fabric::address(1)), file("ca.pem"));
    let (certificate, key) = (file("relay.pem"), file("relay.key"));
    let arguments = [
        ("--peer-service", &service),
        ("--tls-hubble-server-ca-files", &ca),
        ("--tls-hubble-client-cert-file", &certificate),
        ("--tls-hubble-client-key-file", &key),
        ("--tls-relay-server-cert-file", &certificate),
        ("--tls-relay-server-key-file", &key),
        ("--tls-relay-client-ca-files", &ca),
    ];
    let arguments: Vec<&str> = arguments
        .iter()
        .flat_map(|(flag, value)| [*flag, value.as_str()])
        .collect();
    let relay = relay(&world.node(), "198.51.100.254:4245", &arguments)?;
    Ok(Secured {
        used,
        former,
        next,
        agent,
        node,
        _relay: relay,
        world,
    })
}

impl Secured {
    /// Asks a server with an authority's certificates: whom they trust, and what they show.
    fn ask(&self, server: &str, name: &str, of: &Authority) -> anyhow::Result<Output> {
        let (ca, certificate, key) = (
            of.file("ca.pem"),
            of.file("client.pem"),
            of.file("client.key"),
        );
        let words = [
            &[env!("CARGO_BIN_EXE_l7d"), "status", "--server", server][..],
            &["--tls-server-name", name, "--tls-ca-cert-files", &ca],
            &[
                "--tls-client-cert-file",
                &certificate,
                "--tls-client-key-file",
                &key,
            ],
        ];
        self.world.node().output(&words.concat())
    }

    /// What the relay says, where it is asked so.
    fn ask_relay(&self, of: &Authority) -> anyhow::Result<Output> {
        self.ask(
            "tls://198.51.100.254:4245",
            "any.hubble-relay.cilium.io",
            of,
        )
    }

    fn ask_agent(&self, of: &Authority) -> anyhow::Result<Output> {
        self.ask(
            "tls://198.51.100.1:4244",
            "node-1.default.hubble-grpc.cilium.io",
            of,
        )
    }

    fn wait_for_node(&self, of: &Authority) -> anyhow::Result<()> {
        let asked = || {
            let output = self.ask_relay(of).map(|output| output.stdout);
            String::from_utf8_lossy(&output.unwrap_or_default()).into_owned()
        };
        wait_until(asked, |status| status.contains("Connected Nodes: 1/1"))
    }
}

#[test]
fn both_sides_show_certificates_and_others_are_refused() -> anyhow::Result<()> {
    let secured = secured()?;
    secured.wait_for_node(&secured.former)?;
    assert!(secured.ask_agent(&secured.former)?.status.success());

    let host = secured.world.node();
    let ca = secured.former.file("ca.pem");
    let trusting = [
        env!("CARGO_BIN_EXE_l7d"),
        "status",
        "--server",
        "tls://198.51.100.254:4245",
        "--tls-server-name",
        "any.hubble-relay.cilium.io",
        "--tls-ca-cert-files",
        &ca,
    ];
    assert!(
        !host.output(&trusting)?.status.success(),
        "nothing was shown"
    );
    let strange = secured.ask_relay(&secured.next)?;
    let said = String::from_utf8_lossy(&strange.stderr);
    assert!(said.contains("certificate"), "{said}");
    let wrong_name = secured.ask(
        "tls://198.51.100.254:4245",
        "relay.example",
        &secured.former,
    )?;
    let said = String::from_utf8_lossy(&wrong_name.stderr);
    assert!(said.contains("--tls-server-name"), "{said}");

    let (certificate, key) = (
        secured.former.file("client.pem"),
        secured.former.file("client.key"),
    );
    let words = [
        &trusting[..4],
        &[
            "--tls-allow-insecure",
            "--tls-client-cert-file",
            &certificate,
        ],
        &["--tls-client-key-file", &key],
    ];
    assert!(
        host.output(&words.concat())?.status.success(),
        "whoever it is, was said"
    );
    Ok(())
}

#[test]
fn renewed_certificates_are_used_from_the_next_connection_on() -> anyhow::Result<()> {
    let mut secured = secured()?;
    secured.wait_for_node(&secured.former)?;

    // A key that does not belong to the certificate changes nothing.
    secured.next.install(&secured.used, &["agent.key"])?;
    assert!(secured.ask_agent(&secured.former)?.status.success());

    secured.next.install(&secured.used, &ALL)?;
    for asked in [
        secured.ask_agent(&secured.next)?,
        secured.ask_relay(&secured.next)?,
    ] {
        assert!(
            asked.status.success(),
            "{}",
            String::from_utf8_lossy(&asked.stderr)
        );
    }
    assert!(!secured.ask_agent(&secured.former)?.status.success());
    assert!(!secured.ask_relay(&secured.former)?.status.success());

    // The relay's own side: an agent that has another certificate now is found again.
    secured.agent.process.signal(Signal::TERM)?;
    secured.agent.process.wait()?;
    secured.agent = secured.node.agent()?;
    secured.wait_for_node(&secured.next)
}

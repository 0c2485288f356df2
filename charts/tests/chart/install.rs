//! A release from install to uninstall, at an API server: what is looked up there must not change.

use apiserver_double::{Double, Options};
use charts::Helm;
use serde_json::{Value, json};
use tempfile::TempDir;

/// An API server, and helm's way to it.
struct Cluster {
    api: Double,
    folder: TempDir,
}

impl Cluster {
    fn new() -> Self {
        let api = Double::with(Options::default()).expect("an API server");
        let folder = tempfile::tempdir().expect("a folder");
        let config = api.kubeconfig(None);
        std::fs::write(folder.path().join("kubeconfig"), config).expect("written");
        Self { api, folder }
    }

    /// Runs helm on the release, with these values.
    fn helm(&self, words: &[&str], values: &str) {
        let helm = Helm::find().expect("helm");
        let file = self.folder.path().join("kubeconfig").display().to_string();
        let at = ["--namespace", "l7d-system", "--kubeconfig", &file];
        let output = helm.run(&[words, &at].concat(), values).expect("helm runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {said}");
    }

    fn apply(&self, command: &[&str], values: &Value) {
        let chart = charts::folder().display().to_string();
        let words = [command, &["l7d", &chart, "--values", "-"]].concat();
        self.helm(&words, &values.to_string());
    }

    /// An entry of a Secret; nothing where there is none.
    fn entry(&self, secret: &str, key: &str) -> Option<String> {
        let object = self.api.object("Secret", "l7d-system", secret)?;
        Some(object["data"][key].as_str()?.to_owned())
    }

    /// Certificates of the authority, of agents and of the relay.
    fn certificates(&self) -> [Option<String>; 3] {
        ["l7d-authority", "l7d-agent-tls", "l7d-relay-server-tls"]
            .map(|secret| self.entry(secret, "tls.crt"))
    }
}

#[test]
fn an_upgrade_keeps_certificates_and_token_until_they_are_for_other_names() {
    let cluster = Cluster::new();
    let exposed = json!({ "relay": { "ui": { "exposed": true } } });
    cluster.apply(&["install", "--create-namespace"], &exposed);
    let first = cluster.certificates();
    assert!(first.iter().all(Option::is_some), "{first:?}");
    let token = cluster.entry("l7d-relay-ui-token", "token");
    assert!(token.is_some());
    cluster.apply(
        &["upgrade"],
        &json!({ "relay": { "replicas": 3, "ui": { "exposed": true } } }),
    );
    assert_eq!(cluster.certificates(), first);
    assert_eq!(cluster.entry("l7d-relay-ui-token", "token"), token);
    // Agents' are for names with the cluster's in it; the relay's are not, nor is the authority anybody's.
    cluster.apply(&["upgrade"], &json!({ "clusterName": "north" }));
    let [authority, agents, relay] = cluster.certificates();
    assert_eq!([&authority, &relay], [&first[0], &first[2]]);
    assert_ne!(agents, first[1]);
    // Whoever takes the authority away wants all of its certificates anew.
    assert!(cluster.api.remove("Secret", "l7d-system", "l7d-authority"));
    cluster.apply(&["upgrade"], &json!({ "clusterName": "north" }));
    let fresh = cluster.certificates();
    assert!(fresh.iter().all(Option::is_some), "{fresh:?}");
    let former = [authority, agents, relay];
    assert!(
        fresh
            .iter()
            .zip(&former)
            .all(|(fresh, former)| fresh != former)
    );
    cluster.helm(&["uninstall", "l7d"], "");
    for kind in [
        "ClusterRole",
        "ClusterRoleBinding",
        "DaemonSet",
        "Deployment",
        "Secret",
    ] {
        let left = cluster.api.objects(kind);
        let is_ours = |object: &Value| object.to_string().contains("l7d-agent");
        assert!(!left.iter().any(is_ours), "{kind}: {left:?}");
    }
}

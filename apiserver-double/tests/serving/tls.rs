//! TLS, over which `kubectl` sends tokens.

use std::process::Command;

use anyhow::Context as _;
use apiserver_double::{Double, Options, Tls, User};
use serde_json::json;

#[test]
fn a_user_is_known_by_token_over_tls() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str| folder.path().join(name);
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args([
            "-subj",
            "/CN=double",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
        ])
        .arg(file("key"))
        .arg("-out")
        .arg(file("certificate"))
        .output()
        .context("openssl")?;
    anyhow::ensure!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let double = Double::with(Options {
        tls: Some(Tls {
            certificate: std::fs::read_to_string(file("certificate"))?,
            key: std::fs::read_to_string(file("key"))?,
        }),
        ..Options::default()
    })?;
    for object in [
        json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": "reader" },
            "rules": [{ "apiGroups": [""], "resources": ["namespaces"], "verbs": ["list"] }] }),
        json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": { "name": "reader" },
            "roleRef": { "kind": "ClusterRole", "name": "reader" },
            "subjects": [{ "kind": "User", "name": "jane" }] }),
    ] {
        double.put(&object)?;
    }
    let token = double.token(User {
        name: "jane".to_owned(),
        groups: Vec::new(),
    });
    std::fs::write(file("config"), double.kubeconfig(Some(&token)))?;
    let kubectl = |arguments: &[&str]| {
        let mut command = Command::new("kubectl");
        command
            .args(arguments)
            .env("KUBECONFIG", file("config"))
            .env("HOME", folder.path());
        command.output().context("kubectl")
    };
    let listed = kubectl(&["get", "namespaces", "-o", "name"])?;
    assert!(
        String::from_utf8_lossy(&listed.stdout).contains("namespace/default"),
        "{listed:?}"
    );
    let refused = kubectl(&["get", "nodes"])?;
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("User \"jane\" cannot list"),
        "{refused:?}"
    );
    Ok(())
}

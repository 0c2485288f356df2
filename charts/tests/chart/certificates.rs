//! Certificates: whoever makes them, they are for the names that relay and agents ask for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use charts::Document;
use l7d::server::tls_name;
use serde_json::{Value, json};

use crate::rendering::{items, list, one, refused, rendered, texts};

/// A Secret's entries as files; the folder lives as long as the result.
fn files(secret: &Document) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, value) in secret.at("/data").as_object().expect("entries") {
        let bytes = STANDARD
            .decode(value.as_str().expect("text"))
            .expect("base64");
        std::fs::write(folder.path().join(name), bytes).expect("written");
    }
    let path = folder.path().to_owned();
    (folder, path)
}

/// What OpenSSL says of a certificate for a name.
fn verifies(folder: &Path, name: &str) -> bool {
    let mut command = Command::new("openssl");
    command.args([
        "verify",
        "-x509_strict",
        "-verify_hostname",
        name,
        "-CAfile",
    ]);
    command
        .arg(folder.join("ca.crt"))
        .arg(folder.join("tls.crt"));
    command.output().expect("openssl").status.success()
}

/// Whether the key belongs to the certificate.
fn belongs(folder: &Path) -> bool {
    let public = |words: &[&str], file: &str| {
        let mut command = Command::new("openssl");
        command.args(words).arg(folder.join(file));
        command.output().expect("openssl").stdout
    };
    let of_certificate = public(&["x509", "-noout", "-pubkey", "-in"], "tls.crt");
    let of_key = public(&["pkey", "-pubout", "-in"], "tls.key");
    !of_key.is_empty() && of_certificate == of_key
}

/// Names that somebody asks for, by the Secret that answers.
fn asked(cluster: &str) -> Vec<(&'static str, String)> {
    vec![
        ("l7d-agent-tls", tls_name(cluster, "worker-1.example.org")),
        ("l7d-agent-tls", tls_name(cluster, "hubble-peer")),
        ("l7d-relay-server-tls", "l7d-relay".to_owned()),
        (
            "l7d-relay-server-tls",
            "l7d-relay.l7d-system.svc".to_owned(),
        ),
        ("l7d-relay-server-tls", "localhost".to_owned()),
        (
            "l7d-relay-server-tls",
            "ui.hubble-relay.cilium.io".to_owned(),
        ),
        (
            "l7d-relay-client-tls",
            "relay-client.hubble-relay.cilium.io".to_owned(),
        ),
    ]
}

#[test]
fn those_of_helm_are_for_the_names_that_are_asked_and_of_one_authority() {
    let documents = rendered(&json!({ "clusterName": "north.1" }));
    let mut authorities = BTreeSet::new();
    for (secret, name) in asked("north.1") {
        let secret = one(&documents, "Secret", secret);
        authorities.insert(secret.text("/data/ca.crt").to_owned());
        let (_folder, path) = files(secret);
        assert!(verifies(&path, &name), "{}: {name}", secret.name());
        assert!(
            !verifies(&path, "elsewhere.example.org"),
            "{}",
            secret.name()
        );
        assert!(belongs(&path), "{}", secret.name());
    }
    let authority = one(&documents, "Secret", "l7d-authority");
    assert_eq!(
        authorities,
        BTreeSet::from([authority.text("/data/tls.crt").to_owned()])
    );
    // Nobody but whoever upgrades has a use for the authority's key.
    let mounted = |document: &Document| {
        document
            .value
            .to_string()
            .contains("\"secretName\":\"l7d-authority\"")
    };
    assert!(!documents.iter().any(mounted));
}

#[test]
fn those_of_cert_manager_are_for_the_same_names() {
    let values = json!({ "clusterName": "north.1", "tls": { "provider": "certManager" } });
    let documents = rendered(&values);
    let is_covered = |names: &[&str], name: &str| {
        let wild = name.split_once('.').map(|(_, rest)| format!("*.{rest}"));
        names.contains(&name) || wild.is_some_and(|wild| names.contains(&wild.as_str()))
    };
    for (secret, name) in asked("north.1") {
        let certificate = one(&documents, "Certificate", secret);
        assert_eq!(certificate.text("/spec/secretName"), secret);
        assert_eq!(certificate.text("/spec/issuerRef/name"), "l7d-authority");
        let names = texts(certificate.at("/spec/dnsNames"));
        assert!(is_covered(&names, &name), "{secret}: {name} of {names:?}");
    }
    let issuer = one(&documents, "Issuer", "l7d-authority");
    let authority = one(
        &documents,
        "Certificate",
        issuer.text("/spec/ca/secretName"),
    );
    assert_eq!(authority.at("/spec/isCA"), &json!(true));
    let theirs = json!({ "name": "ours", "kind": "ClusterIssuer", "group": "cert-manager.io" });
    let values =
        json!({ "tls": { "provider": "certManager", "certManager": { "issuerRef": theirs } } });
    let documents = rendered(&values);
    assert!(!documents.iter().any(|document| document.kind() == "Issuer"));
    let certificate = one(&documents, "Certificate", "l7d-agent-tls");
    assert_eq!(certificate.at("/spec/issuerRef"), &theirs);
}

#[test]
fn those_of_ones_own_must_all_be_named() {
    let named = json!({ "agent": "a", "relayClient": "b", "relayServer": "c" });
    let values = |secrets: &Value, more: bool| json!({ "tls": { "provider": "secrets", "secrets": secrets, "clientCertificates": more } });
    let documents = rendered(&values(&named, false));
    assert!(!documents.iter().any(|document| document.kind() == "Secret"));
    let said = refused(&values(&named, true));
    assert!(
        said.contains("name the one of tls.secrets.client"),
        "{said}"
    );
    let said = refused(&values(&json!({}), false));
    assert!(said.contains("name the one of tls.secrets."), "{said}");
}

#[test]
fn without_tls_there_is_no_certificate_and_plaintext_is_said() {
    let documents = rendered(&json!({ "tls": { "enabled": false } }));
    let secrets = documents
        .iter()
        .filter(|document| document.kind() == "Secret");
    assert_eq!(secrets.count(), 0, "{:?}", list(&documents));
    let (_, relay) = one(&documents, "Deployment", "l7d-relay")
        .pod()
        .expect("a pod");
    let arguments = texts(&relay["containers"][0]["args"]);
    assert!(arguments.contains(&"--disable-server-tls"), "{arguments:?}");
    assert!(
        !arguments
            .iter()
            .any(|argument| argument.starts_with("--tls")),
        "{arguments:?}"
    );
}

#[test]
fn who_wants_certificates_of_clients_gets_one_for_them() {
    let documents = rendered(&json!({
        "tls": { "clientCertificates": true },
        "hubbleUi": { "enabled": true },
    }));
    one(&documents, "Secret", "l7d-client-tls");
    let (_, relay) = one(&documents, "Deployment", "l7d-relay")
        .pod()
        .expect("a pod");
    let arguments = texts(&relay["containers"][0]["args"]);
    let asks = "--tls-relay-client-ca-files=/etc/l7d-tls/server/ca.crt";
    assert!(arguments.contains(&asks), "{arguments:?}");
    let (_, page) = one(&documents, "Deployment", "l7d-hubble-ui")
        .pod()
        .expect("a pod");
    let environment = items(&page["containers"][1]["env"]);
    let names: Vec<&str> = environment
        .filter_map(|entry| entry["name"].as_str())
        .collect();
    assert!(names.contains(&"TLS_RELAY_CLIENT_CERT_FILE"), "{names:?}");
}

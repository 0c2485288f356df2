//! `kubectl`, whichever there is; and whether a real server would say the same: where
//! `L7D_TESTS_KUBECONFIG` names a configuration, these tests run against its cluster, each in a namespace
//! of its own. There the user must be allowed to define kinds and to impersonate.

use std::io::Write as _;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context as _;
use apiserver_double::Double;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::at;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A cluster, a namespace in it, and `kubectl` for both.
struct Kubectl {
    /// None where the cluster is a real one.
    _double: Option<Double>,
    folder: TempDir,
    config: PathBuf,
    namespace: String,
}

/// Ends with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}

impl Kubectl {
    fn new() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let (double, config) = if let Some(config) = std::env::var_os("L7D_TESTS_KUBECONFIG") {
            (None, PathBuf::from(config))
        } else {
            let double = Double::start()?;
            let config = folder.path().join("config");
            std::fs::write(&config, double.kubeconfig(None))?;
            (Some(double), config)
        };
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("l7d-test-{}-{number}", std::process::id());
        let kubectl = Self {
            _double: double,
            folder,
            config,
            namespace,
        };
        kubectl.run(&["create", "namespace", &kubectl.namespace], "")?;
        Ok(kubectl)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command
            .args(["--namespace", &self.namespace])
            .args(arguments)
            .env("KUBECONFIG", &self.config)
            .env("HOME", self.folder.path())
            .current_dir(self.folder.path());
        command
    }

    fn output(&self, arguments: &[&str], input: &str) -> anyhow::Result<Output> {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("kubectl: `cargo xtask setup` installs it")?;
        child
            .stdin
            .take()
            .context("its input")?
            .write_all(input.as_bytes())?;
        Ok(child.wait_with_output()?)
    }

    /// What it wrote; it must succeed, and complain about nothing.
    fn run(&self, arguments: &[&str], input: &str) -> anyhow::Result<String> {
        let output = self.output(arguments, input)?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(
            output.status.success() && complaint.is_empty(),
            "{arguments:?}: {complaint}"
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Deletes something that is in no namespace, which may be worth a warning.
    fn delete(&self, kind: &str, name: &str) -> anyhow::Result<()> {
        let output = self.output(&["delete", kind, name], "")?;
        anyhow::ensure!(output.status.success(), "{output:?}");
        Ok(())
    }

    /// What it says when it fails.
    fn refused(&self, arguments: &[&str], input: &str) -> anyhow::Result<String> {
        let output = self.output(arguments, input)?;
        anyhow::ensure!(!output.status.success(), "{arguments:?} went through");
        Ok(String::from_utf8(output.stderr)?)
    }

    /// An object as it is; null where there is none.
    fn object(&self, kind: &str, name: &str) -> anyhow::Result<Value> {
        let text = self.run(&["get", kind, name, "-o", "json", "--ignore-not-found"], "")?;
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).context(text)
    }
}

impl Drop for Kubectl {
    fn drop(&mut self) {
        let namespace = self.namespace.clone();
        let _gone = self.output(&["delete", "namespace", &namespace, "--wait=false"], "");
    }
}

#[test]
fn objects_are_made_shown_changed_and_deleted() -> anyhow::Result<()> {
    let kubectl = Kubectl::new()?;
    let run = |arguments: &[&str]| kubectl.run(arguments, "");
    run(&["create", "configmap", "settings", "--from-literal=a=1"])?;
    run(&["create", "serviceaccount", "robot"])?;
    run(&["create", "secret", "generic", "key", "--from-literal=k=v"])?;
    assert_eq!(at(&kubectl.object("secret", "key")?, "/data/k"), "dg==");
    assert_eq!(
        run(&["get", "configmap", "settings", "-o", "jsonpath={.data.a}"])?,
        "1"
    );
    assert!(run(&["get", "configmaps"])?.contains("settings"));
    run(&["label", "configmap", "settings", "tier=front"])?;
    run(&["annotate", "configmap", "settings", "note=x"])?;
    let selected = run(&["get", "configmaps", "-l", "tier=front", "-o", "name"])?;
    assert_eq!(selected, "configmap/settings\n");
    run(&["label", "configmap", "settings", "tier-"])?;
    assert_eq!(
        at(
            &kubectl.object("configmap", "settings")?,
            "/metadata/labels/tier"
        ),
        "-"
    );
    run(&[
        "patch",
        "configmap",
        "settings",
        "-p",
        r#"{"data":{"b":"2"}}"#,
    ])?;
    let remove = r#"[{"op":"remove","path":"/data/a"}]"#;
    run(&[
        "patch",
        "configmap",
        "settings",
        "--type",
        "json",
        "-p",
        remove,
    ])?;
    let described = run(&["describe", "configmap", "settings"])?;
    assert!(described.contains("b:"), "{described}");
    assert_eq!(
        kubectl.object("configmap", "settings")?["data"],
        json!({ "b": "2" })
    );
    run(&["delete", "configmap", "settings"])?;
    assert_eq!(kubectl.object("configmap", "settings")?, Value::Null);
    assert_eq!(
        kubectl.refused(&["get", "configmap", "settings"], "")?,
        "Error from server (NotFound): configmaps \"settings\" not found\n"
    );
    Ok(())
}

#[test]
fn a_namespace_takes_along_what_is_in_it() -> anyhow::Result<()> {
    let kubectl = Kubectl::new()?;
    let name = format!("{}-more", kubectl.namespace);
    kubectl.run(&["create", "namespace", &name], "")?;
    kubectl.run(&["create", "configmap", "inside", "-n", &name], "")?;
    kubectl.delete("namespace", &name)?;
    assert_eq!(kubectl.object("namespace", &name)?, Value::Null);
    let late = kubectl.refused(&["create", "configmap", "late", "-n", &name], "")?;
    assert!(
        late.contains(&format!("namespaces \"{name}\" not found")),
        "{late}"
    );
    Ok(())
}

fn deployment(image: &str, port: u16, sidecar: bool) -> String {
    let mut containers =
        vec![json!({ "name": "web", "image": image, "ports": [{ "containerPort": port }] })];
    if sidecar {
        containers.push(json!({ "name": "side", "image": "side" }));
    }
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "web" },
        "spec": {
            "replicas": 0,
            "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "containers": containers },
            },
        },
    })
    .to_string()
}

/// Image and port of each container.
fn containers(kubectl: &Kubectl) -> anyhow::Result<Vec<String>> {
    let web = kubectl.object("deployment", "web")?;
    let containers = web.pointer("/spec/template/spec/containers");
    let containers = containers.and_then(Value::as_array).context("containers")?;
    let shown = containers.iter().map(|container| {
        format!(
            "{} {}",
            at(container, "/image"),
            container
                .pointer("/ports/0/containerPort")
                .unwrap_or(&Value::Null)
        )
    });
    Ok(shown.collect())
}

#[test]
fn what_is_applied_again_is_changed_and_what_is_left_out_goes() -> anyhow::Result<()> {
    let kubectl = Kubectl::new()?;
    let apply = |text: &str| kubectl.run(&["apply", "-f", "-"], text);
    assert_eq!(
        apply(&deployment("one", 80, true))?,
        "deployment.apps/web created\n"
    );
    assert_eq!(containers(&kubectl)?, ["one 80", "side null"]);
    assert_eq!(
        apply(&deployment("one", 80, true))?,
        "deployment.apps/web unchanged\n"
    );
    assert_eq!(
        apply(&deployment("two", 81, false))?,
        "deployment.apps/web configured\n"
    );
    assert_eq!(containers(&kubectl)?, ["two 81"]);
    kubectl.run(&["set", "image", "deployment/web", "web=three"], "")?;
    assert_eq!(containers(&kubectl)?, ["three 81"]);
    kubectl.run(&["delete", "-f", "-"], &deployment("two", 81, false))?;
    assert_eq!(kubectl.object("deployment", "web")?, Value::Null);
    Ok(())
}

#[test]
fn server_side_apply_knows_whose_fields_are_whose() -> anyhow::Result<()> {
    let kubectl = Kubectl::new()?;
    let me = ["apply", "--server-side", "--field-manager", "me", "-f", "-"];
    kubectl.run(&me, &deployment("one", 80, true))?;
    kubectl.run(&me, &deployment("two", 80, false))?;
    assert_eq!(containers(&kubectl)?, ["two 80"]);
    let other = [
        "apply",
        "--server-side",
        "--field-manager",
        "other",
        "-f",
        "-",
    ];
    let refused = kubectl.refused(&other, &deployment("three", 80, false))?;
    assert!(refused.contains("conflict with \"me\""), "{refused}");
    let forced = [&other[..], &["--force-conflicts"]].concat();
    kubectl.run(&forced, &deployment("three", 80, false))?;
    assert_eq!(containers(&kubectl)?, ["three 80"]);
    Ok(())
}

/// A definition in a group of this test's own.
fn definition(group: &str) -> String {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("things.{group}") },
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": { "plural": "things", "singular": "thing", "kind": "Thing" },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "subresources": { "status": {} },
                "additionalPrinterColumns": [
                    { "name": "Colour", "type": "string", "jsonPath": ".spec.colour" },
                ],
                "schema": { "openAPIV3Schema": {
                    "type": "object",
                    "properties": { "spec": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
                }},
            }],
        },
    })
    .to_string()
}

#[test]
fn a_defined_kind_is_there_as_soon_as_its_definition() -> anyhow::Result<()> {
    let kubectl = Kubectl::new()?;
    let group = format!("{}.test.l7d.io", kubectl.namespace);
    let thing = format!(
        "apiVersion: {group}/v1\nkind: Thing\nmetadata: {{name: p}}\nspec: {{colour: red}}\n"
    );
    let early = kubectl.refused(&["apply", "-f", "-"], &thing)?;
    assert!(early.contains("no matches for kind"), "{early}");
    let things = format!("things.{group}");
    let name = format!("crd/{things}");
    kubectl.run(&["create", "-f", "-"], &definition(&group))?;
    kubectl.run(&["wait", "--for", "condition=Established", &name], "")?;
    let created = kubectl.run(&["apply", "-f", "-"], &thing)?;
    assert_eq!(created, format!("thing.{group}/p created\n"));
    kubectl.run(&["apply", "-f", "-"], &thing.replace("red", "green"))?;
    let shown = kubectl.run(&["get", &things], "")?;
    assert!(
        shown.contains("COLOUR") && shown.contains("green"),
        "{shown}"
    );
    assert_eq!(kubectl.object(&things, "p")?["metadata"]["generation"], 2);
    let described = kubectl.run(&["describe", &things, "p"], "")?;
    assert!(described.contains("green"), "{described}");
    kubectl.run(&["delete", &things, "p"], "")?;
    kubectl.delete("crd", &things)?;
    Ok(())
}

#[test]
fn changes_are_followed() -> anyhow::Result<()> {
    let kubectl = Kubectl::new()?;
    kubectl.run(&["create", "configmap", "a"], "")?;
    let mut command = kubectl.command(&[
        "get",
        "configmaps",
        "-w",
        "-L",
        "app",
        "--no-headers",
        "--field-selector",
        "metadata.name!=kube-root-ca.crt",
    ]);
    let mut child = Running(command.stdout(Stdio::piped()).spawn()?);
    let mut lines = BufReader::new(child.0.stdout.take().context("its output")?).lines();
    let mut next = || anyhow::Ok(lines.next().context("it has ended")??);
    assert!(next()?.starts_with("a "));
    kubectl.run(&["label", "configmap", "a", "app=api"], "")?;
    let line = next()?;
    assert!(line.starts_with("a ") && line.ends_with("api"), "{line}");
    kubectl.run(&["create", "configmap", "b"], "")?;
    assert!(next()?.starts_with("b "));
    Ok(())
}

#[test]
fn an_object_is_edited() -> anyhow::Result<()> {
    let kubectl = Kubectl::new()?;
    kubectl.run(
        &["create", "configmap", "a", "--from-literal=value=before"],
        "",
    )?;
    let mut command = kubectl.command(&["edit", "configmap", "a"]);
    let status = command
        .env("KUBE_EDITOR", "sed -i s/before/after/")
        .stdout(Stdio::null())
        .status()?;
    assert!(status.success());
    assert_eq!(
        at(&kubectl.object("configmap", "a")?, "/data/value"),
        "after"
    );
    Ok(())
}

#[test]
fn a_user_is_told_what_it_may() -> anyhow::Result<()> {
    let kubectl = Kubectl::new()?;
    let run = |arguments: &[&str]| kubectl.run(arguments, "");
    run(&[
        "create",
        "role",
        "reader",
        "--verb=list,watch",
        "--resource=pods",
    ])?;
    let account = format!("{}:l7d", kubectl.namespace);
    let subject = format!("--serviceaccount={account}");
    run(&["create", "rolebinding", "reader", "--role=reader", &subject])?;
    let user = format!("--as=system:serviceaccount:{account}");
    assert_eq!(run(&["auth", "can-i", "list", "pods", &user])?, "yes\n");
    let no = kubectl.output(&["auth", "can-i", "list", "secrets", &user], "")?;
    assert!(String::from_utf8_lossy(&no.stdout).starts_with("no"));
    let refused = kubectl.refused(&["get", "secrets", &user], "")?;
    let expected = format!(
        "Error from server (Forbidden): secrets is forbidden: User \"system:serviceaccount:{account}\" cannot list \
         resource \"secrets\" in API group \"\" in the namespace \"{}\"\n",
        kubectl.namespace
    );
    assert_eq!(refused, expected);
    Ok(())
}

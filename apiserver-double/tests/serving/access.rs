//! Rules of RBAC.

use apiserver_double::{Double, Permission, User};
use serde_json::json;

use crate::client::{at, config_map, send};

fn rules(double: &Double) -> anyhow::Result<()> {
    let group = "rbac.authorization.k8s.io/v1";
    let subject = json!([{ "kind": "ServiceAccount", "name": "l7d", "namespace": "kube-system" }]);
    for object in [
        json!({ "apiVersion": group, "kind": "ClusterRole", "metadata": { "name": "reader" }, "rules": [
            { "apiGroups": [""], "resources": ["pods", "nodes"], "verbs": ["list", "watch"] },
        ]}),
        json!({ "apiVersion": group, "kind": "ClusterRoleBinding", "metadata": { "name": "reader" },
            "roleRef": { "kind": "ClusterRole", "name": "reader" }, "subjects": subject }),
        json!({ "apiVersion": group, "kind": "Role", "metadata": { "name": "one", "namespace": "default" }, "rules": [
            { "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"], "resourceNames": ["a"] },
        ]}),
        json!({ "apiVersion": group, "kind": "RoleBinding", "metadata": { "name": "one", "namespace": "default" },
            "roleRef": { "kind": "Role", "name": "one" }, "subjects": subject }),
    ] {
        double.put(&object)?;
    }
    Ok(())
}

#[test]
fn a_user_may_what_rules_say_and_is_told_what_not() -> anyhow::Result<()> {
    let double = Double::start()?;
    rules(&double)?;
    for name in ["a", "b"] {
        double.put(&config_map(name, "1"))?;
    }
    let user = User::service_account("kube-system", "l7d");
    let token = format!("Bearer {}", double.token(user.clone()));
    let code =
        |path: &str| anyhow::Ok(send(&double, "GET", path, &[("Authorization", &token)], "")?.code);
    assert_eq!(code("/api/v1/pods")?, 200);
    assert_eq!(code("/api/v1/namespaces/default/configmaps/a")?, 200);
    assert_eq!(code("/api/v1/namespaces/default/configmaps/b")?, 403);
    assert_eq!(code("/apis")?, 200);
    let refused = send(
        &double,
        "GET",
        "/api/v1/secrets",
        &[("Authorization", &token)],
        "",
    )?
    .json()?;
    assert_eq!(
        at(&refused, "/message"),
        "secrets is forbidden: User \"system:serviceaccount:kube-system:l7d\" cannot list resource \"secrets\" in \
         API group \"\" at the cluster scope"
    );
    let unknown = send(
        &double,
        "GET",
        "/api/v1/pods",
        &[("Authorization", "Bearer nobody")],
        "",
    )?;
    assert_eq!(unknown.code, 401);
    let impersonated = send(
        &double,
        "GET",
        "/api/v1/secrets",
        &[("Impersonate-User", &user.name)],
        "",
    )?;
    assert_eq!(impersonated.code, 403);

    let done = double.used(&user);
    let unused: Vec<String> = double
        .granted(&user)
        .difference(&done)
        .map(Permission::to_string)
        .collect();
    assert_eq!(unused, ["list nodes", "watch nodes", "watch pods"]);
    Ok(())
}

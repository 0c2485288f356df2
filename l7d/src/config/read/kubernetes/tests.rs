use super::*;

fn told(text: &str) -> Told {
    let mut told = Told::default();
    told.read("cluster.yaml", text).expect("a cluster");
    told
}

const PODS: &str = "\
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Pod
  metadata:
    name: web-7d9c-x2x4z
    namespace: shop
    labels: { app: web, env: prod, pod-template-hash: 7d9c }
    annotations: { note: \"kept by nobody\" }
    ownerReferences:
    - { apiVersion: apps/v1, kind: ReplicaSet, name: web-7d9c, controller: true }
  spec:
    serviceAccountName: web
    containers:
    - name: web
      env: [ { name: A, value: b } ]
      ports:
      - { name: http, containerPort: 8080, protocol: TCP }
      - { containerPort: 5353, protocol: UDP }
  status: { phase: Running, podIP: 10.244.1.12, podIPs: [ { ip: 10.244.1.12 }, { ip: \"fd00::12\" } ] }
- apiVersion: v1
  kind: Pod
  metadata: { name: proxy, namespace: kube-system }
  spec: { hostNetwork: true }
  status: { phase: Running, podIP: 192.0.2.1 }
- apiVersion: v1
  kind: Pod
  metadata: { name: migrate, namespace: shop }
  status: { phase: Succeeded, podIP: 10.244.1.12 }
- apiVersion: v1
  kind: Pod
  metadata:
    name: report-28437120-abcde
    namespace: shop
    ownerReferences: [ { kind: Job, name: report-28437120, controller: true } ]
  status: { phase: Pending }
---
apiVersion: v1
kind: NamespaceList
items:
- metadata: { name: shop, labels: { team: blue } }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec:
  clusterIP: 10.96.0.7
  clusterIPs: [ 10.96.0.7 ]
  externalIPs: [ 192.0.2.7 ]
  ports: [ { port: 80, targetPort: http, nodePort: 30080 }, { port: 53, protocol: UDP } ]
status: { loadBalancer: { ingress: [ { hostname: web.example.com }, { ip: 192.0.2.8, ipMode: VIP } ] } }
---
apiVersion: v1
kind: Service
metadata: { name: headless, namespace: shop }
spec: { clusterIP: None, clusterIPs: [ None ] }
---
{ \"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": { \"name\": \"x\" }, \"data\": { \"a\": \"b\" } }
";

#[test]
fn objects_of_kubernetes_tell_who_is_there() {
    let Told {
        config, skipped, ..
    } = told(PODS);
    let [web, report] = config.endpoints.as_slice() else {
        panic!("{:?}", config.endpoints)
    };
    assert_eq!((web.namespace.as_str(), web.ips.len()), ("shop", 2));
    let labels: Vec<&str> = web.labels.keys().map(String::as_str).collect();
    assert_eq!(labels, ["app", "env", "pod-template-hash"]);
    assert_eq!(web.service_account.as_deref(), Some("web"));
    assert_eq!(
        web.workload,
        Some(("Deployment".to_owned(), "web".to_owned()))
    );
    assert_eq!(web.named_ports.get("http"), Some(&8080));
    assert!(web.ports.contains(&(17, 5353)));
    assert!(report.ips.is_empty(), "it has none yet");
    assert_eq!(
        report.workload,
        Some(("CronJob".to_owned(), "report".to_owned()))
    );
    assert_eq!(config.namespaces["shop"]["team"], "blue");
    let web = &config.services[0];
    let ports: Vec<_> = web
        .ports
        .iter()
        .map(|p| (p.port, p.protocol, p.node_port))
        .collect();
    assert_eq!(ports, [(80, 6, Some(30_080)), (53, 17, None)]);
    let ips: Vec<String> = web.ips.iter().map(ToString::to_string).collect();
    assert_eq!(ips, ["10.96.0.7", "192.0.2.7", "192.0.2.8"]);
    assert!(config.services[1].ips.is_empty());
    assert_eq!(skipped, [("ConfigMap".to_owned(), 1)].into());
}

#[test]
fn groups_of_prefixes_are_told_beside_them() {
    let text = "{apiVersion: cilium.io/v2, kind: CiliumCIDRGroup, metadata: {name: office}, spec: {externalCIDRs: [192.0.2.0/24]}}";
    let groups = told(text).config.cidr_groups;
    assert_eq!((groups.len(), groups[0].name.as_str()), (1, "office"));
    assert_eq!(groups[0].prefixes[0].to_string(), "192.0.2.0/24");
}

#[test]
fn files_of_both_forms_add_up_and_nobody_stands_twice() {
    let mut told = told(PODS);
    told.read("own.yaml", "endpoints: [{name: db, ips: [10.0.0.9]}]")
        .expect("another");
    assert_eq!(told.config.endpoints.len(), 3);
    let again = told.read("again.yaml", "endpoints: [{name: db, ips: [10.0.0.8]}]");
    assert_eq!(
        again.expect_err("a fault").to_string(),
        "again.yaml:1:1: default/db stands in own.yaml:1 already"
    );
}

#[test]
fn what_is_wrong_in_an_object_is_named_at_its_line() {
    let mut told = Told::default();
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nstatus:\n  podIP: 10.0.0\n";
    assert_eq!(
        told.read("f", text).expect_err("a fault").to_string(),
        "f:5:10: status.podIP: `10.0.0` is not an IP address: invalid IP address syntax"
    );
}

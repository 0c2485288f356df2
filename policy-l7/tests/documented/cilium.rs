//! The example policies of Cilium, by what its documentation says of them.

use policy_l7::read_objects;

use crate::{check, read, suite};

/// Files, and what is said of them.
const FILES: [(&str, &str); 43] = [
    (
        "policies/host/demo-host-policy.yaml",
        "
        world → default reserved:host node:node-access=ssh: 22 passes
        world → default reserved:host node:node-access=ssh: icmp 8 passes
        world → default reserved:host node:node-access=ssh: 80 fails
        shop app=web → default reserved:host node:node-access=ssh: 80 passes
        remote-node → default reserved:host node:node-access=ssh: 80 passes
        world → default reserved:host node:node-access=none: 80 passes
        world → shop app=web node:node-access=ssh: 80 passes
        ",
    ),
    (
        "policies/host/lock-down-ingress.yaml",
        "
        world → default reserved:host node:type=ingress-worker: 6443 passes
        world → default reserved:host node:type=ingress-worker: udp 8472 passes
        world → default reserved:host node:type=ingress-worker: 8472 fails
        health → default reserved:host node:type=ingress-worker: 80 passes
        shop app=web → default reserved:host node:type=ingress-worker: 80 fails
        ",
    ),
    (
        "policies/l7/dns/dns.yaml",
        "
        default org=alliance → kube-system k8s-app=kube-dns: udp 53 dns cilium.io. passes
        default org=alliance → kube-system k8s-app=kube-dns: udp 53 dns sub.cilium.io. passes
        default org=alliance → kube-system k8s-app=kube-dns: udp 53 dns a.api.cilium.io. passes
        default org=alliance → kube-system k8s-app=kube-dns: udp 53 dns a.sub.cilium.io. fails
        default org=alliance → kube-system k8s-app=kube-dns: udp 53 dns example.org. fails
        default org=alliance → world 198.51.100.1 special-a-service.api.cilium.io.: 80 passes
        default org=alliance → world 198.51.100.1 service1.api.cilium.io.: 443 fails
        default org=alliance → world 198.51.100.1 anysub.cilium.io.: 80 fails
        default org=alliance → world 198.51.100.1: 80 fails
        ",
    ),
    (
        "policies/l7/dns/dns-upgrade.yaml",
        "
        default org=alliance → world 198.51.100.1 sub.cilium.io.: 443 passes
        default org=alliance → world 198.51.100.1 a.sub.cilium.io.: 443 fails
        ",
    ),
    (
        "policies/l7/dns/dns-visibility.yaml",
        "
        default org=alliance → kube-system k8s-app=kube-dns: udp 53 dns any.example. passes
        default org=alliance → world 198.51.100.1 a.sub.cilium.io.: 443 passes
        default org=alliance → world 198.51.100.1 example.org.: 443 fails
        ",
    ),
    (
        "policies/l7/http/http.yaml",
        "
        default a=b → default app=myService: 80 GET /path1 passes
        default a=b → default app=myService: 80 GET /path1/ fails
        default a=b → default app=myService: 80 PUT /path2 fails
        default a=b → default app=myService: 80 PUT /path2 h X-My-Header:true passes
        default a=b → default app=myService: 80 PUT /path2 h X-My-Header:false fails
        ",
    ),
    (
        "policies/l7/http/l7_multi.yaml",
        "
        default env=prod → default app=service: 80 GET /public fails
        default env=prod → world: 80 POST /x external-service.org passes
        default env=prod → world: 80 POST /x another.org fails
        ",
    ),
    (
        "policies/l7/http/simple/l7.yaml",
        "
        default env=prod → default app=service: 80 GET /public passes
        default env=prod → default app=service: 80 GET /private fails
        default env=prod → default app=service: 80 PUT /public fails
        default env=test → default app=service: 80 fails
        ",
    ),
    (
        "policies/l4/cidr_l4_combined.yaml",
        "
        default role=crawler → world 192.0.2.9: 80 passes
        default role=crawler → world 192.0.2.9: 443 fails
        default role=crawler → world 192.0.3.9: 80 fails
        ",
    ),
    (
        "policies/l4/from_init.yaml",
        "
        init → default app=myService: 80 passes
        default a=b → default app=myService: udp 53 passes
        default a=b → default app=myService: 80 fails
        ",
    ),
    (
        "policies/l4/icmp.yaml",
        "
        default app=myService → world: icmp 8 passes
        default app=myService → world: icmp 13 fails
        default app=myService → world: 80 fails
        ",
    ),
    (
        "policies/l4/init.yaml",
        "
        default reserved:init → world: udp 53 passes
        default reserved:init → world: 80 fails
        host → default reserved:init: 80 passes
        world → default reserved:init: 80 fails
        ",
    ),
    (
        "policies/l4/l3_l4_combined.yaml",
        "
        default role=frontend → default role=backend: 80 passes
        default role=frontend → default role=backend: 81 fails
        default role=other → default role=backend: 80 fails
        ",
    ),
    (
        "policies/l4/l4.yaml",
        "
        default app=myService → world: 80 passes
        default app=myService → world: udp 80 fails
        default app=myService → world: 81 fails
        ",
    ),
    (
        "policies/l4/l4_port_range.yaml",
        "
        default app=myService → world: 80 passes
        default app=myService → world: 444 passes
        default app=myService → world: 79 fails
        default app=myService → world: 445 fails
        ",
    ),
    (
        "policies/l4/multi_rule.yaml",
        "
        default role=frontend → default role=backend: 81 passes
        default role=other → default role=backend: 80 passes
        default role=other → default role=backend: 81 fails
        ",
    ),
    (
        "policies/l3/cidr/cidr.yaml",
        "
        default app=myService → world 20.1.1.1: 80 passes
        default app=myService → world 20.1.1.2: 80 fails
        default app=myService → world 10.1.1.1: 80 passes
        default app=myService → world 10.96.1.1: 80 fails
        ",
    ),
    (
        "policies/l3/egress-allow-all/egress-allow-all.yaml",
        "
        default role=frontend → default a=b: 80 passes
        default role=frontend → other a=b: 80 fails
        default role=frontend → world: 80 fails
        ",
    ),
    (
        "policies/l3/egress-default-deny/egress-default-deny.yaml",
        "
        default role=restricted → default a=b: 80 fails
        default role=restricted → world: 80 fails
        default a=b → default role=restricted: 80 passes
        ",
    ),
    (
        "policies/l3/egress-deny/egress-deny.yaml",
        "
        default role=frontend → default role=backend: 80 fails
        default role=frontend → default role=other: 80 passes
        default role=frontend → world: 80 passes
        ",
    ),
    (
        "policies/l3/entities/apiserver.yaml",
        "
        default env=dev → kube-apiserver: 6443 passes
        default env=dev → host: 6443 fails
        default env=dev → world: 6443 fails
        ",
    ),
    (
        "policies/l3/entities/from_world_deny.yaml",
        "
        world → default a=b: 80 fails
        world 192.0.2.1 → default a=b: 80 fails
        other a=b → default a=b: 80 passes
        ",
    ),
    (
        "policies/l3/entities/host.yaml",
        "
        default env=dev → host: 80 passes
        default env=dev → remote-node: 80 fails
        ",
    ),
    (
        "policies/l3/entities/nodes.yaml",
        "
        host → default env=dev: 80 passes
        remote-node → default env=dev: 80 passes
        default a=b → default env=dev: 80 fails
        world → default env=dev: 80 fails
        ",
    ),
    (
        "policies/l3/entities/world.yaml",
        "
        world → default role=public: 80 passes
        default a=b → default role=public: 80 fails
        ",
    ),
    (
        "policies/l3/fqdn/fqdn.yaml",
        "
        default app=test-app → kube-system k8s-app=kube-dns: udp 53 dns a.b. passes
        default app=test-app → world 192.0.2.1 my-remote-service.com.: 443 passes
        default app=test-app → world 192.0.2.1 www.my-remote-service.com.: 443 fails
        ",
    ),
    (
        "policies/l3/ingress-allow-all/ingress-allow-all.yaml",
        "
        default a=b → default role=victim: 80 passes
        other a=b → default role=victim: 80 fails
        world → default role=victim: 80 fails
        ",
    ),
    (
        "policies/l3/match-expressions/and-statement.yaml",
        "
        production cilium.example.com/policy=strict → default a=b: 80 passes
        production a=b → default a=b: 80 fails
        default cilium.example.com/policy=strict → default a=b: 80 fails
        ",
    ),
    (
        "policies/l3/match-expressions/or-statement.yaml",
        "
        production a=b → default a=b: 80 passes
        default cilium.example.com/policy=strict → default a=b: 80 passes
        other cilium.example.com/policy=strict → default a=b: 80 fails
        ",
    ),
    (
        "policies/l3/requires/endpoints.yaml",
        "
        default role=frontend → default env=prod: 80 passes
        default role=other → default env=prod: 80 fails
        ",
    ),
    (
        "policies/l3/simple/l3.yaml",
        "
        default role=frontend → default role=backend: 80 passes
        default role=other → default role=backend: 80 fails
        ",
    ),
    (
        "policies/l3/simple/l3_egress.yaml",
        "
        default role=frontend → default role=backend: 80 passes
        default role=frontend → default role=other: 80 fails
        ",
    ),
    (
        "policies/kubernetes/clusterwide/clusterscope-policy.yaml",
        "
        ns2 name=luke → ns1 name=leia: 80 passes
        ns2 name=vader → ns1 name=leia: 80 fails
        ",
    ),
    (
        "policies/kubernetes/clusterwide/wildcard-from-endpoints.yaml",
        "
        ns1 a=b → kube-system k8s-app=kube-dns: udp 53 passes
        ns1 a=b → kube-system k8s-app=kube-dns: tcp 53 fails
        world → kube-system k8s-app=kube-dns: udp 53 fails
        ",
    ),
    (
        "policies/kubernetes/clusterwide/health.yaml",
        "
        remote-node → default reserved:health: 4240 passes
        default a=b → default reserved:health: 4240 fails
        ",
    ),
    (
        "policies/kubernetes/namespace/isolate-namespaces.yaml",
        "
        ns1 a=b → ns1 a=c: 80 passes
        ns2 a=b → ns2 a=c: 80 passes
        ns1 a=b → ns2 a=c: 80 fails
        ns2 a=b → ns1 a=c: 80 fails
        ",
    ),
    (
        "policies/kubernetes/namespace/kubedns-policy.yaml",
        "
        public a=b → kube-system k8s-app=kube-dns: udp 53 passes
        public a=b → kube-system k8s-app=other: udp 53 fails
        public a=b → public a=c: 80 fails
        ",
    ),
    (
        "policies/kubernetes/namespace/namespace-labels-policy.yaml",
        "
        here ns/faction=alliance a=b → default name=rebel-base: 80 passes
        here ns/faction=empire a=b → default name=rebel-base: 80 fails
        default name=rebel-base → here ns/faction=alliance a=b: 80 passes
        ",
    ),
    (
        "policies/kubernetes/namespace/namespace-policy.yaml",
        "
        ns2 name=luke → ns1 name=leia: 80 passes
        ns2 name=vader → ns1 name=leia: 80 fails
        ns1 name=luke → ns1 name=leia: 80 fails
        ",
    ),
    (
        "policies/kubernetes/serviceaccount/serviceaccount-policy.yaml",
        "
        default io.cilium.k8s.policy.serviceaccount=luke → default io.cilium.k8s.policy.serviceaccount=leia: 80 GET /public passes
        default io.cilium.k8s.policy.serviceaccount=luke → default io.cilium.k8s.policy.serviceaccount=leia: 80 GET /private fails
        default io.cilium.k8s.policy.serviceaccount=vader → default io.cilium.k8s.policy.serviceaccount=leia: 80 fails
        ",
    ),
    (
        "kubernetes/servicemesh/policy/external-lockdown.yaml",
        "
        other a=b → default a=b: 80 passes
        world → default a=b: 80 fails
        ",
    ),
    (
        "minikube/sw_l3_l4_l7_policy.yaml",
        "
        default org=empire class=tiefighter → default org=empire class=deathstar: 80 POST /v1/request-landing passes
        default org=empire class=tiefighter → default org=empire class=deathstar: 80 PUT /v1/exhaust-port fails
        default org=alliance class=xwing → default org=empire class=deathstar: 80 fails
        ",
    ),
    (
        "minikube/sw_l3_l4_policy.yaml",
        "
        default org=empire class=tiefighter → default org=empire class=deathstar: 80 passes
        default org=alliance class=xwing → default org=empire class=deathstar: 80 fails
        ",
    ),
];

/// What cannot be honoured is refused, by the name of the field.
const REFUSED: [(&str, &str); 2] = [
    ("policies/auth/auth.yaml", "auth"),
    ("policies/l3/requires/requires.yaml", "fromRequires"),
];

#[test]
fn the_examples_of_cilium_do_what_its_documentation_says() {
    let Some(folder) = suite("cilium-policies/examples") else {
        return;
    };
    for (file, cases) in FILES {
        let text = read(&folder.join(file));
        check(file, &text, cases);
    }
}

#[test]
fn every_example_of_cilium_is_read_or_refused_by_the_name_of_a_field() {
    let Some(folder) = suite("cilium-policies/examples") else {
        return;
    };
    let mut folders = vec![folder.clone()];
    let mut seen = 0;
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).expect("a folder") {
            let path = entry.expect("an entry").path();
            let text = match path.extension().and_then(|extension| extension.to_str()) {
                _ if path.is_dir() => {
                    folders.push(path);
                    continue;
                }
                Some("yaml" | "json") => read(&path),
                _ => continue,
            };
            if !text.contains("NetworkPolicy") {
                continue;
            }
            seen += 1;
            let name = path
                .strip_prefix(&folder)
                .expect("within")
                .to_string_lossy();
            let refused = REFUSED.iter().find(|(file, _)| *file == name);
            match (read_objects(&name, &text), refused) {
                (Ok(_), None) => {}
                (Ok(_), Some((_, field))) => panic!("{name} is read in spite of {field}"),
                (Err(errors), refused) => {
                    let field = refused.map_or("nothing", |(_, field)| *field);
                    let is_named = errors.iter().any(|error| error.to_string().contains(field));
                    assert!(is_named, "{errors:#?}");
                }
            }
        }
    }
    assert!(seen > 50, "{seen} files");
}

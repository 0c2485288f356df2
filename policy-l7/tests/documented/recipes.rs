//! Policies of our own for the situations that most people write policies for.

use std::path::Path;

use crate::{check, read};

const RECIPES: [(&str, &str); 15] = [
    (
        "closed-app",
        "
        shop app=cart → shop app=ledger: 5432 fails
        host → shop app=ledger: 5432 fails
        shop app=cart → shop app=front: 80 passes
        shop app=cart → bank app=ledger: 5432 passes
        shop app=ledger → shop app=cart: 80 passes
        ",
    ),
    (
        "closed-namespace",
        "
        shop app=cart → shop app=ledger: 5432 passes
        shop app=cart → shop app=ledger: 5433 fails
        shop app=front → shop app=ledger: 5432 fails
        shop app=ledger → shop app=cart: 5432 fails
        shop app=cart → world: 443 fails
        bank app=cart → bank app=ledger: 5432 passes
        ",
    ),
    (
        "own-namespace",
        "
        shop app=cart → shop app=ledger: 5432 passes
        bank app=cart → shop app=ledger: 5432 fails
        world → shop app=ledger: 5432 fails
        shop app=cart → bank app=ledger: 5432 passes
        ",
    ),
    (
        "labelled-namespace",
        "
        bank ns/stage=live app=x → shop app=cart: 80 passes
        bank ns/stage=trial app=x → shop app=cart: 80 fails
        ops ns/team=watch role=scraper → shop app=cart port:metrics=9090: 9090 passes
        ops ns/team=watch role=scraper → shop app=cart port:metrics=9090: 80 fails
        ops ns/team=watch role=scraper → shop app=cart: 9090 fails
        ops ns/team=watch role=other → shop app=cart port:metrics=9090: 9090 fails
        ops role=scraper → shop app=cart port:metrics=9090: 9090 fails
        ",
    ),
    (
        "all-namespaces",
        "
        bank app=x → shop app=cart: 80 passes
        shop app=x → shop app=cart: 80 passes
        world 192.0.2.1 → shop app=cart: 80 fails
        host → shop app=cart: 80 fails
        ",
    ),
    (
        "unlabelled-namespace",
        "
        bank app=x → shop app=cart: 80 passes
        bank ns/trial=yes app=x → shop app=cart: 80 fails
        world → shop app=cart: 80 fails
        host → shop app=cart: 80 fails
        ",
    ),
    (
        "from-outside",
        "
        world 192.0.2.1 → shop app=front: 443 passes
        world 2001:db8::1 → shop app=front: 443 passes
        world 192.0.2.1 → shop app=front: 80 fails
        shop app=cart → shop app=front: 443 fails
        remote-node → shop app=front: 443 fails
        ",
    ),
    (
        "several-selectors",
        "
        shop app=cart tier=back → shop app=ledger: 5432 passes
        shop app=cart tier=front → shop app=ledger: 5432 fails
        shop app=audit → shop app=ledger: 5432 passes
        shop app=report → shop app=ledger: udp 9 passes
        bank app=report → shop app=ledger: 5432 fails
        ",
    ),
    (
        "egress-limits",
        "
        shop app=cart → kube-system k8s-app=kube-dns: udp 53 dns api.pay.example. passes
        shop app=cart → kube-system k8s-app=kube-dns: tcp 53 dns rates.example. passes
        shop app=cart → kube-system k8s-app=kube-dns: udp 53 dns a.api.pay.example. fails
        shop app=cart → kube-system k8s-app=kube-dns: udp 53 dns pay.example. fails
        shop app=cart → shop k8s-app=kube-dns: udp 53 fails
        shop app=cart → world 203.0.113.5 api.pay.example.: 443 passes
        shop app=cart → world 203.0.113.5 api.pay.example.: 80 fails
        shop app=cart → world 203.0.113.5 web.pay.example.: 443 fails
        shop app=cart → world 198.51.100.5: 80 passes
        shop app=cart → world 198.51.100.200: 80 fails
        shop app=cart → world 198.51.100.200 api.pay.example.: 443 passes
        ",
    ),
    (
        "block-with-except",
        "
        shop app=cart → world 10.1.2.3: 8000 passes
        shop app=cart → world 10.1.2.3: 8099 passes
        shop app=cart → world 10.1.2.3: 8100 fails
        shop app=cart → world 10.1.2.3: udp 514 passes
        shop app=cart → world 10.1.2.3: tcp 514 fails
        shop app=cart → world 10.9.2.3: 8000 fails
        shop app=cart → world 192.0.2.1: 8000 fails
        shop app=cart → shop app=ledger: 8000 fails
        ",
    ),
    (
        "deny-inside-allow",
        "
        shop app=cart → shop app=front: 80 passes
        shop app=cart → bank app=ledger: 80 fails
        shop app=cart → world 192.0.2.7: 25 fails
        shop app=cart → world 192.0.2.7: 80 passes
        shop app=cart → world 203.0.113.1: 25 passes
        shop app=front → shop app=ledger: 80 passes
        ",
    ),
    (
        "requests",
        "
        shop app=x → shop app=cart: 80 GET /items passes
        shop app=x → shop app=cart: 80 GET /items/7 passes
        shop app=x → shop app=cart: 80 GET /items/x fails
        shop app=x → shop app=cart: 80 GET /items?all fails
        shop app=x → shop app=cart: 80 PUT /items/7 fails
        shop app=x → shop app=cart: 80 PUT /items/7 cart X-Role:editor passes
        shop app=x → shop app=cart: 80 PUT /items/7 cart X-Role:editors fails
        shop app=x → shop app=cart: 80 DELETE /items/7 cart X-Role:editor fails
        shop role=operator → shop app=cart: 80 DELETE /items/7 passes
        bank app=x → shop app=cart: 80 fails
        world → shop app=cart: 8081 passes
        ",
    ),
    (
        "looking",
        "
        world → shop app=cart: 80 GET /seen passes
        world → shop app=cart: 80 GET /unseen passes
        world → shop app=cart: 81 passes
        shop app=cart → world: 81 passes
        ",
    ),
    (
        "ping",
        "
        world → shop app=cart: sctp 5 passes
        world → shop app=cart: icmp 8 fails
        bank app=x → shop app=front: icmp 8 passes
        bank app=x → shop app=front: icmp 13 fails
        bank app=x → shop app=front: 80 fails
        world → shop app=front: icmp 8 fails
        ",
    ),
    (
        "nodes",
        "
        remote-node → shop app=cart: 80 passes
        kube-apiserver → shop app=cart: 80 passes
        host → shop app=cart: 80 fails
        shop app=x → shop app=cart: 80 fails
        ",
    ),
];

#[test]
fn our_recipes_do_what_is_said_of_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/policies/recipes");
    for (name, cases) in RECIPES {
        let path = folder.join(name).with_extension("yaml");
        let text = read(&path);
        check(name, &text, cases);
    }
    let files = std::fs::read_dir(folder).expect("the recipes").count();
    assert_eq!(files, RECIPES.len(), "a recipe without a case");
}

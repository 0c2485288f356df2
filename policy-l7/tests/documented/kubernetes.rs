//! The recipes for network policies of Kubernetes, by what their pages say.

use crate::{check, read, suite};

/// Beginning of a page's name, which of its policies, and what the page says of it.
const PAGES: [(&str, usize, &str); 15] = [
    (
        "01-",
        0,
        "
        default run=client → default app=web: 80 fails
        default run=client → default app=other: 80 passes
        ",
    ),
    (
        "02-",
        0,
        "
        default run=client → default app=bookstore role=api: 80 fails
        default app=bookstore role=frontend → default app=bookstore role=api: 80 passes
        ",
    ),
    (
        "02a",
        0,
        "
        default run=client → default app=web: 80 passes
        ",
    ),
    (
        "03-",
        0,
        "
        default run=client → default app=web: 80 fails
        default app=web → other app=web: 80 passes
        ",
    ),
    (
        "04-",
        0,
        "
        foo run=client → default app=web: 80 fails
        default run=client → default app=web: 80 passes
        ",
    ),
    (
        "05-",
        0,
        "
        secondary run=client → default app=web: 80 passes
        world → default app=web: 80 fails
        ",
    ),
    (
        "06-",
        0,
        "
        dev ns/purpose=testing run=client → default app=web: 80 fails
        prod ns/purpose=production run=client → default app=web: 80 passes
        ",
    ),
    (
        "07-",
        0,
        "
        default run=client → default app=web: 80 fails
        default type=monitoring → default app=web: 80 fails
        other ns/team=operations run=client → default app=web: 80 fails
        other ns/team=operations type=monitoring → default app=web: 80 passes
        ",
    ),
    (
        "08-",
        0,
        "
        world → default app=web: 80 passes
        other run=client → default app=web: 80 passes
        ",
    ),
    (
        "09-",
        0,
        "
        default run=client → default app=apiserver: 8000 fails
        default run=client → default app=apiserver: 5000 fails
        default role=monitoring → default app=apiserver: 8000 fails
        default role=monitoring → default app=apiserver: 5000 passes
        ",
    ),
    (
        "10-",
        0,
        "
        default app=inventory role=web → default app=bookstore role=db: 6379 passes
        default app=bookstore role=search → default app=bookstore role=db: 6379 passes
        default app=bookstore role=api → default app=bookstore role=db: 6379 passes
        default app=other → default app=bookstore role=db: 6379 fails
        default app=inventory role=api → default app=bookstore role=db: 6379 fails
        ",
    ),
    (
        "11-",
        0,
        "
        default app=foo → default app=web: 80 fails
        default app=foo → kube-system k8s-app=kube-dns: udp 53 fails
        default app=foo → world: 80 fails
        default app=web → world: 80 passes
        ",
    ),
    (
        "11-",
        1,
        "
        default app=foo → kube-system k8s-app=kube-dns: udp 53 passes
        default app=foo → kube-system k8s-app=kube-dns: tcp 53 passes
        default app=foo → default app=web: 80 fails
        default app=foo → world: 80 fails
        ",
    ),
    (
        "12-",
        0,
        "
        default app=foo → default app=web: 80 fails
        default app=foo → world: 80 fails
        other app=foo → default app=web: 80 passes
        ",
    ),
    // Its page promises the cluster's own pods too, which its policy does not name.
    (
        "14-",
        0,
        "
        default app=foo → kube-system k8s-app=kube-dns: udp 53 passes
        default app=foo → world: 80 fails
        ",
    ),
];

#[test]
fn the_recipes_of_kubernetes_do_what_their_pages_say() {
    let Some(folder) = suite("k8s-network-policy-recipes") else {
        return;
    };
    let pages: Vec<_> = std::fs::read_dir(folder)
        .expect("the recipes")
        .map(|page| page.expect("a page").path())
        .collect();
    for (begin, which, cases) in PAGES {
        let name = |path: &std::path::PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with(begin))
        };
        let path = pages.iter().find(|path| name(path)).expect(begin);
        let page = read(path);
        let policies = policies(&page);
        check(begin, policies.get(which).expect("a policy"), cases);
    }
}

/// The policies of a page: what is fenced and has a kind.
fn policies(page: &str) -> Vec<String> {
    let fenced = page.split("```yaml").skip(1);
    fenced
        .filter_map(|rest| rest.split("```").next())
        .filter(|text| text.contains("kind: NetworkPolicy"))
        .map(str::to_owned)
        .collect()
}

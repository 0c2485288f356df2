//! Requests to services: what the proxy and the tap tell has the same names.

use testbed::Attach;

use super::flows::{Flow, until};
use super::rules::KubeProxy;
use super::{ADDRESSES, SERVICES, Shop};
use crate::node::{curl, serve};

/// Requests and answers of clients that asked the service's address.
fn exchanged(mode: &str, client: Attach) -> anyhow::Result<Vec<Flow>> {
    let shop = Shop::new(client)?;
    shop.node.configure(&format!(
        "visibility: [ {{ port: 8080, mode: {mode} }} ]\n{SERVICES}"
    ))?;
    let _server = serve(shop.pod("api-a"), 8080)?;
    let _agent = shop.start(KubeProxy::Nftables, &shop.services("tcp", &["api-a"]))?;
    for address in ["10.96.0.10", "[fd00:96::10]"] {
        for _ in 0..3 {
            let url = format!("http://{address}/item");
            let (code, answer) = curl(shop.pod("web"), &[&url])?;
            anyhow::ensure!(code == 0, "{mode} {address}: {answer}");
        }
    }
    until(&shop.node, &["--type", "l7"], |flows| flows.len() >= 12)
}

#[test]
fn requests_that_the_proxy_or_the_tap_reads_name_the_service() -> anyhow::Result<()> {
    for mode in ["proxy", "tap"] {
        let flows = exchanged(mode, Attach::Bridged)?;
        for flow in &flows {
            let (client, server) = if flow.is_reply() {
                ("destination", "source")
            } else {
                ("source", "destination")
            };
            assert_eq!(flow.service(server), "shop/api", "{mode} {flow:?}");
            assert_eq!(flow.text(&format!("/{client}/pod_name")), "web", "{flow:?}");
            assert_eq!(
                flow.text(&format!("/{server}/pod_name")),
                "api-a",
                "{flow:?}"
            );
            let asked = flow.extension("service_address");
            let is_known = ADDRESSES.iter().any(|address| asked.contains(address));
            assert!(is_known, "{mode} {flow:?}");
        }
    }
    Ok(())
}

//! A pod's further addresses, as Multus writes them into the annotation of the Network Plumbing Working
//! Group's "Kubernetes Network Custom Resource Definition De-facto Standard" (version 1, section 5): a list of
//! networks, each with the addresses that the pod has there.
//!
//! The kubelet knows the first network only, so `status.podIPs` has no others. Unlike the status,
//! annotations can be written by whoever may write pods: they are read where the configuration says so.

use std::net::IpAddr;

use serde::Deserialize;

/// An annotation is no longer than all of them together may be (256 KiB), and this one has some hundred
/// bytes for each network.
const BYTES_MAX: usize = 64 << 10;
/// A pod with more networks than this is none.
const ADDRESSES_MAX: usize = 32;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Annotated {
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    annotations: Option<Annotations>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Annotations {
    #[serde(rename = "k8s.v1.cni.cncf.io/network-status")]
    now: Option<String>,
    /// Its name before version 1.1.
    #[serde(rename = "k8s.v1.cni.cncf.io/networks-status")]
    former: Option<String>,
}

#[derive(Deserialize)]
struct Network {
    /// Networks without addresses have none.
    #[serde(default)]
    ips: Option<Vec<String>>,
}

/// Addresses that the annotation of a pod names; none without it.
///
/// # Errors
/// What is wrong with it.
pub(super) fn addresses(json: &str) -> Result<Vec<IpAddr>, String> {
    let object: Annotated = serde_json::from_str(json).map_err(|error| error.to_string())?;
    let annotations = object.metadata.annotations.unwrap_or_default();
    let Some(text) = annotations.now.or(annotations.former) else {
        return Ok(Vec::new());
    };
    read(&text).map_err(|what| format!("annotation k8s.v1.cni.cncf.io/network-status: {what}"))
}

fn read(text: &str) -> Result<Vec<IpAddr>, String> {
    if text.len() > BYTES_MAX {
        return Err(format!("longer than {BYTES_MAX} bytes"));
    }
    let networks: Vec<Network> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut found: Vec<IpAddr> = Vec::new();
    for text in networks
        .iter()
        .flat_map(|network| network.ips.iter().flatten())
    {
        let ip = address(text)?;
        if !found.contains(&ip) {
            found.push(ip);
        }
        if found.len() > ADDRESSES_MAX {
            return Err(format!("more than {ADDRESSES_MAX} addresses"));
        }
    }
    Ok(found)
}

/// An address that a pod can have; some plug-ins write it with its prefix.
fn address(text: &str) -> Result<IpAddr, String> {
    let bare = text.split_once('/').map_or(text, |(bare, _)| bare);
    let ip: IpAddr = bare
        .parse()
        .map_err(|error| format!("`{text}` is not an IP address: {error}"))?;
    let is_link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    if ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || is_link_local {
        return Err(format!("`{text}` is no address that belongs to one pod"));
    }
    Ok(ip)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(annotation: &str) -> Result<Vec<String>, String> {
        let object = json!({
            "metadata": { "name": "x", "annotations": { "k8s.v1.cni.cncf.io/network-status": annotation } },
        });
        let found = addresses(&object.to_string())?;
        Ok(found.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn addresses_of_all_networks_are_read() {
        // As Multus 4 writes it.
        let annotation = r#"[{
            "name": "cbr0", "interface": "eth0", "ips": ["10.244.1.2", "fd00:244:1::2"],
            "mac": "ce:0d:9c:3c:1e:2a", "default": true, "dns": {}, "gateway": ["10.244.1.1"]
        },{
            "name": "default/storage", "interface": "net1", "ips": ["192.0.2.7/24"], "mac": "22:6e:4b:5c:b9:9d", "dns": {}
        },{
            "name": "default/without", "interface": "net2", "mac": "22:6e:4b:5c:b9:9e", "dns": {}
        }]"#;
        let expected = ["10.244.1.2", "fd00:244:1::2", "192.0.2.7"];
        assert_eq!(of(annotation).expect("addresses"), expected);
        assert_eq!(addresses(r#"{"metadata":{"name":"x"}}"#), Ok(Vec::new()));
        let former = json!({ "metadata": { "annotations": {
            "k8s.v1.cni.cncf.io/networks-status": r#"[{"ips":["192.0.2.9"]}]"#,
        } } });
        assert_eq!(addresses(&former.to_string()).map(|ips| ips.len()), Ok(1));
    }

    #[test]
    fn what_is_no_pods_address_is_refused() {
        for (ips, why) in [
            (r#"["10.0.0"]"#, "is not an IP address"),
            (r#"["0.0.0.0"]"#, "no address that belongs to one pod"),
            (r#"["127.0.0.1"]"#, "no address that belongs to one pod"),
            (
                r#"["169.254.169.254"]"#,
                "no address that belongs to one pod",
            ),
            (r#"["ff02::1"]"#, "no address that belongs to one pod"),
            (r#"["fe80::1"]"#, "no address that belongs to one pod"),
            ("7", "invalid type"),
        ] {
            let told = of(&format!(r#"[{{"ips":{ips}}}]"#)).expect_err(ips);
            assert!(told.contains(why), "{ips}: {told}");
        }
        let many: Vec<String> = (0..40).map(|last| format!("10.0.0.{last}")).collect();
        let told = of(&json!([{ "ips": many }]).to_string());
        assert!(told.expect_err("many").contains("more than 32"));
        let told = of(&" ".repeat(BYTES_MAX + 1));
        assert!(told.expect_err("long").contains("longer than"));
    }
}

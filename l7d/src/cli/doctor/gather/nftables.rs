//! What nftables has: traces of kube-proxy, and rules that write marks.

use std::process::Command;

use serde_json::Value;

use crate::cli::doctor::facts::{Look, Marking, Tables};

/// Our own table, whose rules are known.
const OWN: &str = "l7d";

pub(super) fn gather() -> Look<Tables> {
    // Without the elements of sets, which may be thousands.
    let listing = Command::new("nft")
        .args(["-j", "-t", "list", "ruleset"])
        .output();
    match listing {
        Ok(output) if output.status.success() => Look::Seen(read(
            &serde_json::from_slice(&output.stdout).unwrap_or_default(),
        )),
        Ok(_refused) => Look::Hidden("run it with CAP_NET_ADMIN: rules of nftables".to_owned()),
        Err(_none) => Look::Hidden("install nftables".to_owned()),
    }
}

fn read(ruleset: &Value) -> Tables {
    let mut tables = Tables::default();
    let objects = ruleset.get("nftables").and_then(Value::as_array);
    for object in objects.into_iter().flatten() {
        let text = |kind: &str, key: &str| {
            let of = object.get(kind).and_then(|of| of.get(key));
            of.and_then(Value::as_str).unwrap_or_default()
        };
        tables.is_kube_proxy_nftables |= text("table", "name") == "kube-proxy";
        tables.is_kube_proxy_iptables |= text("chain", "name") == "KUBE-SERVICES";
        let Some(rule) = object.get("rule").filter(|_| text("rule", "table") != OWN) else {
            continue;
        };
        let expressions = rule.get("expr").and_then(Value::as_array);
        let written = expressions.into_iter().flatten().filter_map(written);
        let bits = written.fold(0, |all, bits| all | bits);
        if bits != 0 {
            let place = ["family", "table", "chain"].map(|key| text("rule", key));
            tables.markings.push(Marking {
                place: place.join(" "),
                bits,
            });
        }
    }
    tables
}

/// The bits that an expression sets in the packet's mark.
fn written(expression: &Value) -> Option<u32> {
    let mangle = expression.get("mangle")?;
    let key = mangle.pointer("/key/meta/key").and_then(Value::as_str);
    (key == Some("mark")).then(|| set(mangle.get("value").unwrap_or(&Value::Null)))
}

/// `mark & M | B` sets B; a constant sets itself; what comes from elsewhere is not known.
fn set(value: &Value) -> u32 {
    if let Some(number) = value.as_u64() {
        return u32::try_from(number).unwrap_or_default();
    }
    let operands = |name: &str| {
        let operands = value.get(name).and_then(Value::as_array);
        operands.into_iter().flatten().map(set)
    };
    let either = operands("|")
        .chain(operands("^"))
        .fold(0, |all, bits| all | bits);
    let both = operands("&").reduce(|all, bits| all & bits);
    either | both.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bits_that_a_rule_sets_are_found() {
        let mark = json!({ "meta": { "key": "mark" } });
        for (value, expected) in [
            (json!(0x1000), 0x1000),
            (json!({ "|": [mark, 0x4000] }), 0x4000),
            (
                json!({ "|": [{ "&": [mark, 0xffff_3fffu32] }, 0x2000] }),
                0x2000,
            ),
            (json!({ "^": [{ "&": [mark, 0xffff_fff0u32] }, 0x8] }), 0x8),
            (json!({ "&": [mark, 0xffffu32] }), 0),
            (json!({ "ct": { "key": "mark" } }), 0),
        ] {
            assert_eq!(set(&value), expected, "{value}");
        }
    }

    #[test]
    fn traces_of_kube_proxy_and_places_of_marks_are_told() {
        let rule = |table: &str, value: u32| {
            json!({ "rule": { "family": "inet", "table": table, "chain": "pre", "expr": [
                { "mangle": { "key": { "meta": { "key": "mark" } }, "value": value } } ] } })
        };
        let ruleset = json!({ "nftables": [
            { "metainfo": {} },
            { "table": { "family": "ip", "name": "kube-proxy" } },
            { "chain": { "family": "ip", "table": "nat", "name": "KUBE-SERVICES" } },
            rule("qos", 0x10),
            rule("l7d", 0x1000),
        ] });
        let tables = read(&ruleset);
        assert!(tables.is_kube_proxy_nftables && tables.is_kube_proxy_iptables);
        let marking = Marking {
            place: "inet qos pre".to_owned(),
            bits: 0x10,
        };
        assert_eq!(tables.markings, [marking]);
    }
}

//! Resources of others that the chart makes: cert-manager's (`cert-manager.io/v1`) and Prometheus Operator's
//! (`monitoring.coreos.com/v1`), with the fields that it may use, after their API references.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde::{Deserialize, Serialize};

macro_rules! strict {
    ($($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $field:ident: $type:ty,)* })*) => { $(
        $(#[$doc])*
        #[derive(Debug, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "camelCase")]
        pub(crate) struct $name { $(
            #[serde(skip_serializing_if = "is_none")]
            $(#[$of])*
            $field: $type,
        )* }
    )* };
}

/// Whether it is an `Option` that has nothing; everything else is written.
fn is_none<T: Serialize>(value: &T) -> bool {
    serde_json::to_value(value).is_ok_and(|value| value.is_null())
}

strict! {
    /// A certificate that cert-manager is to make.
    Certificate { api_version: String, kind: String, metadata: ObjectMeta, spec: CertificateSpec, }
    CertificateSpec {
        secret_name: String,
        issuer_ref: IssuerRef,
        common_name: Option<String>,
        dns_names: Option<Vec<String>>,
        ip_addresses: Option<Vec<String>>,
        duration: Option<String>,
        renew_before: Option<String>,
        #[serde(rename = "isCA")] is_ca: Option<bool>,
        private_key: Option<PrivateKey>,
        usages: Option<Vec<Usage>>,
    }
    IssuerRef { name: String, kind: Option<String>, group: Option<String>, }
    PrivateKey {
        algorithm: Option<Algorithm>,
        size: Option<u16>,
        rotation_policy: Option<RotationPolicy>,
    }
    /// Who makes certificates.
    Issuer { api_version: String, kind: String, metadata: ObjectMeta, spec: IssuerSpec, }
    IssuerSpec { self_signed: Option<SelfSigned>, ca: Option<Authority>, }
    SelfSigned {}
    Authority { secret_name: String, }

    /// Pods that are to be scraped.
    PodMonitor { api_version: String, kind: String, metadata: ObjectMeta, spec: PodMonitorSpec, }
    PodMonitorSpec {
        selector: LabelSelector,
        namespace_selector: Option<NamespaceSelector>,
        pod_metrics_endpoints: Vec<Endpoint>,
    }
    NamespaceSelector { any: Option<bool>, match_names: Option<Vec<String>>, }
    Endpoint {
        port: Option<String>,
        path: Option<String>,
        scheme: Option<Scheme>,
        interval: Option<String>,
        scrape_timeout: Option<String>,
        honor_labels: Option<bool>,
        tls_config: Option<TlsConfig>,
        relabelings: Option<Vec<Relabeling>>,
        metric_relabelings: Option<Vec<Relabeling>>,
    }
    TlsConfig {
        server_name: Option<String>,
        ca: Option<SecretOrConfigMap>,
        cert: Option<SecretOrConfigMap>,
        key_secret: Option<KeyOf>,
    }
    SecretOrConfigMap { secret: Option<KeyOf>, config_map: Option<KeyOf>, }
    KeyOf { name: String, key: String, }
    Relabeling {
        source_labels: Option<Vec<String>>,
        target_label: Option<String>,
        regex: Option<String>,
        replacement: Option<String>,
        action: Option<String>,
        separator: Option<String>,
    }

    /// Rules of Prometheus.
    PrometheusRule { api_version: String, kind: String, metadata: ObjectMeta, spec: RuleSpec, }
    RuleSpec { groups: Vec<RuleGroup>, }
    RuleGroup { name: String, interval: Option<String>, rules: Vec<Rule>, }
    Rule {
        alert: Option<String>,
        record: Option<String>,
        expr: String,
        #[serde(rename = "for")] wait: Option<String>,
        labels: Option<BTreeMap<String, String>>,
        annotations: Option<BTreeMap<String, String>>,
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Algorithm {
    Rsa,
    Ecdsa,
}

#[derive(Debug, Serialize, Deserialize)]
enum RotationPolicy {
    Always,
    Never,
}

#[derive(Debug, Serialize, Deserialize)]
enum Usage {
    #[serde(rename = "digital signature")]
    DigitalSignature,
    #[serde(rename = "server auth")]
    ServerAuth,
    #[serde(rename = "client auth")]
    ClientAuth,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Scheme {
    Http,
    Https,
}

//! What netfilter makes of a connection's addresses, as a flow has it.
//!
//! Hubble has `IP.source_xlated` for the address by which the other end knows the sender, and names
//! the service of a backend. Everything else has no field there: `backend` and `backend_pod` of who
//! serves behind a service's address, `service_address` of what the client asks where the flow shows
//! the backend, `client_xlated` with the port, and `client` and `client_pod` where the flow shows the
//! client by the address that hides it.

use crate::record::{Party, Record};

/// The address by which the destination knows the source, where that is not the source's own.
pub(super) fn source_xlated(record: &Record) -> String {
    let after = record.source_after();
    after
        .map(|after| after.ip().to_string())
        .unwrap_or_default()
}

/// Adds what Hubble has no field for.
pub(super) fn extend(record: &Record, fields: &mut Vec<(&str, String)>) {
    let Some((translation, stand)) = record.translated() else {
        return;
    };
    if translation.has_other_destination() {
        if stand.is_behind {
            fields.push(("service_address", translation.destination.addr.to_string()));
        } else {
            let backend = &translation.destination_after;
            fields.push(("backend", backend.addr.to_string()));
            fields.extend(pod(backend).map(|pod| ("backend_pod", pod)));
        }
    }
    if translation.has_other_source() {
        fields.push(("client_xlated", translation.source_after.to_string()));
        if stand.is_masked {
            let client = &translation.source;
            fields.push(("client", client.addr.to_string()));
            fields.extend(pod(client).map(|pod| ("client_pod", pod)));
        }
    }
}

fn pod(party: &Party) -> Option<String> {
    let (namespace, name) = (party.namespace(), party.name());
    (!name.is_empty()).then(|| format!("{namespace}/{name}"))
}

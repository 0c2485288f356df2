//! Where the API listens.

use std::path::PathBuf;

use policy_l7::yaml::{Cursor, Map, Reader};

use super::values::path;
use crate::config::{Api, Tcp, Tls};

pub(super) fn api(reader: &mut Reader, map: &mut Map<'_>, api: &mut Api) {
    path(reader, map, "socket", &mut api.socket);
    let Some(at) = map.get("tcp") else { return };
    let Some(mut inner) = reader.map(&at) else {
        return;
    };
    if inner.need(reader, "listen").is_some() {
        api.tcp = listener(reader, &mut inner);
    }
    inner.end(reader);
}

/// `listen`, `tls` and `insecure` of a mapping; nothing where it does not say where to listen.
pub(super) fn listener(reader: &mut Reader, map: &mut Map<'_>) -> Option<Tcp> {
    let at = map.get("listen");
    let listen = at
        .as_ref()
        .and_then(|at| reader.parse(at, "an address such as 127.0.0.1:4244"));
    let insecure = map.get("insecure").and_then(|at| reader.boolean(&at));
    let tls = map.get("tls").and_then(|at| tls(reader, &at));
    let tcp = Tcp {
        listen: listen?,
        tls,
        insecure: insecure.unwrap_or(false),
    };
    if tcp.tls.is_none() && !tcp.insecure && !tcp.listen.ip().is_loopback() {
        reader.fault(
            &at?,
            "plaintext on an address that is not loopback: give `tls`, or set `insecure: true`",
        );
    }
    Some(tcp)
}

fn tls(reader: &mut Reader, at: &Cursor<'_>) -> Option<Tls> {
    let mut map = reader.map(at)?;
    let certificate = map
        .need(reader, "certificate")
        .and_then(|at| reader.text(&at));
    let key = map.need(reader, "key").and_then(|at| reader.text(&at));
    let client_ca = map
        .get("clientCa")
        .and_then(|at| reader.text(&at))
        .map(PathBuf::from);
    map.end(reader);
    Some(Tls {
        certificate: certificate?.into(),
        key: key?.into(),
        client_ca,
    })
}

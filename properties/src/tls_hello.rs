//! TLS: what was said of the first bytes stays true when more come.

use parsers::Limits;
use parsers::tls::read_client_hello;

use crate::cuts;

pub(crate) fn holds(data: &[u8]) {
    let limits = Limits {
        client_hello_bytes: 2048,
        ..Limits::default()
    };
    let whole = read_client_hello(data, &limits);
    if let Ok(Some(hello)) = &whole {
        let name = hello.server_name().map_or(0, <[u8]>::len);
        let protocols: usize = hello.protocols().map(|protocol| protocol.len() + 1).sum();
        assert!(name + protocols <= data.len());
        // Who decides by the name never takes another one.
        if let Ok(sole) = hello.sole_server_name() {
            assert_eq!(sole, hello.server_name());
        }
    }
    for cut in cuts::ways(data).into_iter().flatten() {
        let part = read_client_hello(data.get(..cut).unwrap_or_default(), &limits);
        assert!(part == Ok(None) || part == whole, "{part:?} {whole:?}");
    }
}

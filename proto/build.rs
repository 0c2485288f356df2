//! Compiles the protobuf files, without a protoc of the system.

use std::path::PathBuf;

use tonic_build::manual::{Method, Service, ServiceBuilder};

const FILES: [&str; 5] = [
    "agent.proto",
    "flow.proto",
    "observer.proto",
    "peer.proto",
    "relay.proto",
];

/// The Observer again, with flows whose bytes somebody else has made or is to read.
fn observer() -> Service {
    let prost = "tonic_prost::ProstCodec";
    let methods = [
        ("get_agent_events", "GetAgentEvents", true, prost),
        ("get_debug_events", "GetDebugEvents", true, prost),
        ("get_flows", "GetFlows", true, "crate::encoded::Codec"),
        ("get_namespaces", "GetNamespaces", false, prost),
        ("get_nodes", "GetNodes", false, prost),
        ("server_status", "ServerStatus", false, prost),
    ];
    let service = Service::builder().package("observer").name("Observer");
    let add = |service: ServiceBuilder,
               (name, route, is_stream, codec): (&str, &str, bool, &str)| {
        let output = if route == "GetFlows" {
            "crate::encoded::Encoded".to_owned()
        } else {
            format!("crate::observer::{route}Response")
        };
        let method = Method::builder()
            .name(name)
            .route_name(route)
            .input_type(format!("crate::observer::{route}Request"))
            .output_type(output)
            .codec_path(codec);
        let method = if is_stream {
            method.server_streaming()
        } else {
            method
        };
        service.method(method.build())
    };
    methods.into_iter().fold(service, add).build()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    let bytes = prost::Message::encode_to_vec(&descriptors);
    std::fs::write(out.join("descriptors.bin"), &bytes)?;
    tonic_prost_build::configure()
        .compile_well_known_types(true)
        .extern_path(".google.protobuf.Any", "crate::Any")
        .extern_path(".google.protobuf.Timestamp", "crate::Timestamp")
        .extern_path(".google.protobuf", "::pbjson_types")
        .compile_fds(descriptors)?;
    tonic_build::manual::Builder::new().compile(&[observer()]);
    pbjson_build::Builder::new()
        .register_descriptors(&bytes)?
        .preserve_proto_field_names()
        .ignore_unknown_fields()
        .build(&[".agent", ".flow", ".observer", ".peer", ".relay"])?;
    Ok(())
}

//! Command lines → requests, against a golden file: `$ ARGUMENTS`, then the request as JSON or the
//! message of the refusal. `UPDATE_GOLDEN=1` writes what is, to be read as a difference.

use clap::Parser;
use jiff::Timestamp;
use proto::observer::GetFlowsRequest;

use super::{FlowsArgs, request};
use crate::cli::failure::Failure;

#[derive(Debug, Parser)]
#[command(name = "observe")]
struct Line {
    #[command(flatten)]
    flows: FlowsArgs,
}

fn asked(arguments: &[&str]) -> Result<GetFlowsRequest, Failure> {
    let line = std::iter::once("observe").chain(arguments.iter().copied());
    let line = Line::try_parse_from(line).map_err(|e| Failure::usage(e.kind()))?;
    let now: Timestamp = "2026-03-04T09:15:30Z".parse().unwrap();
    request::flows(&line.flows, now)
}

/// Command lines, separated by blanks; `_` stands for a blank within an argument.
const LINES: &[&str] = &[
    "",
    "--last 5",
    "--first 5",
    "--all",
    "-f",
    "-f --last 3",
    "-f --until 5m",
    "--since 5m",
    "--since 5m_ago --until 2026-03-04T09:14Z",
    "--since 1h --last 7",
    "--until yesterday",
    "--first 1 --last 2",
    "--first 1 --all",
    "--all --last 2",
    "--first 1 -f",
    "--since soon",
    "--input-file - ",
    "--input-file - --last 9",
    "-o json",
    "-o jsonpb --field-mask verdict,source.pod_name",
    "--field-mask verdict",
    "--use-default-field-masks=false",
    "--pod web",
    "--pod shop/web --pod shop/cart",
    "--from-pod shop/web --to-pod shop/cart",
    "--pod a -n b",
    "-n b --pod a",
    "-n b -n c --pod a",
    "-n b",
    "-A",
    "-A --pod a",
    "--from-namespace b --to-namespace c",
    "--from-namespace b --pod a",
    "--from-all-namespaces",
    "--service s -n b",
    "--pod c/a -n b",
    "--to-pod a -n b",
    "-n b -A",
    "--not --pod a --verdict DROPPED",
    "--not --port 80 --not --port 443",
    "--not --not --pod a",
    "--pod a --not",
    "--ip 10.0.0.1 --port 80",
    "--from-ip 10.0.0.0/8 --to-ip ::1",
    "--snat-ip 192.0.2.1",
    "-4",
    "-4 -6",
    "--ip-version none",
    "--ip-version v5",
    "--from-ip 1.1.1.1 --ip 2.2.2.2",
    "--fqdn *.example.com",
    "--fqdn a --from-pod b",
    "-l app=web,tier!=db",
    "--from-label a --to-label reserved:world",
    "--label a --from-label b",
    "--workload Deployment/web --workload cart --workload Job/",
    "--identity host --identity 4711 --identity 0x10",
    "--identity nobody",
    "--cluster prod-*",
    "--node-name node-* --node-label zone=a",
    "--protocol http --http-status 5+ --http-method get",
    "--http-path ^/items --http-url https?:// --http-header X-Id:_a:b",
    "--http-header nocolon",
    "--tcp-flags SYN,ack --tcp-flags RST",
    "--tcp-flags FOO",
    "-t l7 -t trace:to-proxy -t trace:7 -t drop:133 -t 77",
    "-t agent:policy-updated",
    "-t lseven",
    "-t trace:sideways",
    "--verdict DROPPED --drop-reason-desc POLICY_DENIED",
    "--verdict dropped",
    "--traffic-direction ingress",
    "--traffic-direction sideways",
    "--trace-id 4bf92f3577b34da6a3ce929d0e0e4736 --uuid u",
    "--ip-trace-id 77 --interface eth0",
    "--ip-trace-id 0",
    "--encrypted",
    "--unencrypted --encrypted",
    "--reply",
    "--not-reply",
    "--cel-expression _flow.verdict==1",
    r#"--allowlist {"source_pod":["a/"]}{"verdict":["DROPPED"]} --pod x"#,
    r#"--denylist {"sourceIp":["::1"]}"#,
    r#"--allowlist {"source_pods":["a/"]}"#,
    "--allowlist xx",
    "--nonsense",
    "-o yaml",
];

#[test]
fn makes_requests_of_command_lines() {
    let mut shown = String::new();
    for line in LINES {
        let owned: Vec<String> = line
            .split_whitespace()
            .map(|word| {
                if word.starts_with("_flow") {
                    word.to_owned()
                } else {
                    blank(word)
                }
            })
            .collect();
        let arguments: Vec<&str> = owned.iter().map(String::as_str).collect();
        let result = match asked(&arguments) {
            Ok(mut request) => {
                let mask = request.field_mask.take_if(|mask| mask.paths.len() > 20);
                let json = serde_json::to_string(&request).unwrap();
                format!(
                    "{json}{}",
                    if mask.is_some() {
                        " + fields shown"
                    } else {
                        ""
                    }
                )
            }
            Err(failure) => failure.message().trim_end().to_owned(),
        };
        shown.extend(["$ ", line, "\n", &result, "\n"]);
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/requests.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &shown).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap();
    for (shown, golden) in shown.lines().zip(golden.lines()) {
        assert_eq!(shown, golden);
    }
    assert_eq!(shown.lines().count(), golden.lines().count());
}

/// Underlines between letters belong to names; one that stands for a blank follows a digit, a
/// colon or a letter of `5m_ago` and `X-Id:_a`.
fn blank(word: &str) -> String {
    word.replace("m_ago", "m ago").replace(":_", ": ")
}

use proto::observer::GetFlowsResponse;

use super::*;

/// The recorded responses that the goldens were made from.
fn responses() -> Vec<GetFlowsResponse> {
    include_str!("../../tests/golden/flows.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn shown(style: Style, responses: &[GetFlowsResponse]) -> (String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut printer = Printer::new(&mut out, &mut err, style);
    for response in responses {
        printer.flows(response).unwrap();
    }
    printer.finish().unwrap();
    drop(printer);
    (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

#[test]
fn x() {
    let _ = shown(Style::default(), &responses());
}

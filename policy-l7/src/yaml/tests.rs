use super::*;

#[test]
fn an_unknown_field_is_named_with_its_place_and_what_was_meant() {
    let nodes = parse("a.yaml", "name: web\nintreface: veth0\n").expect("yaml");
    let mut reader = Reader::new("a.yaml");
    let mut map = reader.map(&nodes[0].root()).expect("a mapping");
    map.get("name");
    map.get("interface");
    map.end(&mut reader);
    let errors = reader.into_errors();
    assert_eq!(
        errors[0].to_string(),
        "a.yaml:2:1: intreface: unknown field (did you mean `interface`?)"
    );
}

#[test]
fn values_that_are_not_wanted_are_not_kept() {
    let extent = Extent {
        skipped: &["status", "x"],
        ..Extent::default()
    };
    let text = "a: 1\nstatus: {b: [1, {c: 2}], x: 1}\nx: {y: 5}\nd: [{x: [1]}, {x: 7}]\n";
    let nodes = parse_within("f", text, extent).expect("yaml");
    let kept = parse("f", "a: 1\nd: [{}, {x: 7}]\n").expect("yaml");
    let shown = |nodes: &[Node]| nodes.iter().map(outline).collect::<String>();
    assert_eq!(shown(&nodes), shown(&kept));
    let deep = format!("x: {}", "[".repeat(1000));
    assert!(parse_within("f", &deep, extent).is_err());
}

fn outline(node: &Node) -> String {
    match &node.value {
        Value::Scalar { text, .. } => text.clone(),
        Value::List(items) => format!("{:?}", items.iter().map(outline).collect::<Vec<_>>()),
        Value::Map(entries) => {
            let shown = entries
                .iter()
                .map(|(key, value)| outline(key) + ":" + &outline(value));
            format!("{{{}}}", shown.collect::<Vec<_>>().join(","))
        }
    }
}

#[test]
fn hostile_documents_are_refused() {
    let deep = "[".repeat(1000);
    for text in ["a: &x [1]\nb: *x\n", "a: 1\na: 2\n", deep.as_str()] {
        assert!(parse("f", text).is_err(), "{text}");
    }
}

#[test]
fn a_key_may_stand_once_in_each_mapping_however_many_there_are() {
    let keys: Vec<String> = (0..50_000)
        .map(|key| format!("k{key}: {{k1: 1}}"))
        .collect();
    let keys = keys.join("\n");
    assert!(parse("f", &keys).is_ok());
    let error = parse("f", &format!("{keys}\nk7: 1\n")).expect_err("twice");
    assert_eq!(error.to_string(), "f:50001:1: key `k7` stands twice");
}

#[test]
fn documents_are_split_and_empty_ones_left_out() {
    let nodes = parse("f", "---\na: 1\n---\n---\nb: 2\n").expect("yaml");
    assert_eq!(nodes.len(), 2);
}

#[test]
fn a_value_can_be_had_as_json() {
    let text = "{ a: [1, \"true\", true, 'b\"c'], d: {}, e: [], f: \"\\u0007\" }";
    let nodes = parse("test", text).expect("yaml");
    assert_eq!(
        nodes[0].root().to_json(),
        r#"{"a":["1","true",true,"b\"c"],"d":{},"e":[],"f":"\u0007"}"#
    );
}

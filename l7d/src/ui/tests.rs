use std::sync::Arc;

use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use proto::flow::layer7::Record;
use proto::flow::{
    Endpoint, Flow, Http, HttpHeader, Ip, L7FlowType, Layer4, Layer7, Policy, Tcp, Verdict, layer4,
};
use serde_json::Value;

use super::*;

fn flow(client: &str, server: &str, path: &str, code: u32) -> Flow {
    let end = |name: &str| Endpoint {
        namespace: "shop".to_owned(),
        pod_name: name.to_owned(),
        ..Endpoint::default()
    };
    Flow {
        time: Some(proto::Timestamp {
            seconds: 1_772_615_727,
            nanos: 0,
        }),
        verdict: Verdict::Forwarded.into(),
        ip: Some(Ip {
            source: "10.0.0.2".to_owned(),
            destination: "10.0.0.1".to_owned(),
            ..Ip::default()
        }),
        source: Some(end(server)),
        destination: Some(end(client)),
        is_reply: Some(true.into()),
        l4: Some(Layer4 {
            protocol: Some(layer4::Protocol::Tcp(Tcp {
                source_port: 8080,
                destination_port: 40_000,
                ..Tcp::default()
            })),
        }),
        l7: Some(Layer7 {
            r#type: L7FlowType::Response.into(),
            latency_ns: 3_000_000,
            record: Some(Record::Http(Http {
                code,
                method: "GET".to_owned(),
                url: path.to_owned(),
                ..Http::default()
            })),
        }),
        ..Flow::default()
    }
}

fn model(flows: &[Flow]) -> model::Shared {
    let mut model = Model::new("a test".to_owned(), Templates::default());
    for flow in flows {
        model.take(flow);
    }
    Arc::new(Mutex::new(model))
}

fn guard() -> Guard {
    Guard::new("127.0.0.1:1".parse().unwrap(), None)
}

fn local() -> HeaderMap {
    let host = HeaderValue::from_static("localhost:1");
    [(HOST, host)].into_iter().collect()
}

fn ask(model: &model::Shared, path: &str) -> api::Answer {
    api::answer(
        &Method::GET,
        &path.parse().unwrap(),
        &local(),
        &guard(),
        model,
    )
}

fn json(model: &model::Shared, path: &str) -> Value {
    let answer = ask(model, path);
    assert_eq!(answer.status(), StatusCode::OK, "{path}: {}", answer.body());
    assert_eq!(answer.headers()[CONTENT_TYPE], "application/json");
    serde_json::from_str(answer.body()).unwrap()
}

#[test]
fn every_answer_forbids_what_is_not_our_own() {
    let model = model(&[]);
    for path in [
        "/",
        "/page.js",
        "/api/map",
        "/api/flow?number=9",
        "/nowhere",
    ] {
        let answer = ask(&model, path);
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        let policy = header("content-security-policy");
        for rule in [
            "default-src 'none'",
            "script-src 'self'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(policy.contains(rule), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(header("x-content-type-options"), "nosniff");
    }
    let posted = api::answer(
        &Method::POST,
        &"/".parse().unwrap(),
        &local(),
        &guard(),
        &model,
    );
    assert_eq!(posted.status(), StatusCode::METHOD_NOT_ALLOWED);
    let foreign = api::answer(
        &Method::GET,
        &"/".parse().unwrap(),
        &HeaderMap::new(),
        &guard(),
        &model,
    );
    assert_eq!(foreign.status(), StatusCode::MISDIRECTED_REQUEST);
}

#[test]
fn the_page_is_small_and_asks_no_other_host() {
    let model = model(&[]);
    let mut bytes = 0;
    for path in [
        "/",
        "/page.css",
        "/page.js",
        "/graph.js",
        "/panel.js",
        "/table.js",
        "/dom.js",
    ] {
        let answer = ask(&model, path);
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let text = answer.body().replace("http://www.w3.org/2000/svg", "");
        assert!(
            !text.contains("http://") && !text.contains("https://"),
            "{path}"
        );
        for sink in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
        ] {
            assert!(!text.contains(sink), "{path} has {sink}");
        }
        bytes += text.len();
    }
    assert!(bytes < 64 << 10, "{bytes} bytes");
}

#[test]
fn hostile_texts_stay_texts() {
    const HOSTILE: &str = "</script><img src=x onerror=alert(1)>\u{202e}\u{1b}]0;x\u{7}";
    let mut hostile = flow("web", "cart", &format!("/{HOSTILE}"), 500);
    hostile.ingress_allowed_by = vec![Policy {
        name: HOSTILE.to_owned(),
        ..Policy::default()
    }];
    if let Some(Layer7 {
        record: Some(Record::Http(http)),
        ..
    }) = &mut hostile.l7
    {
        http.headers.push(HttpHeader {
            key: HOSTILE.to_owned(),
            value: HOSTILE.to_owned(),
        });
    }
    if let Some(source) = &mut hostile.source {
        source.pod_name = HOSTILE.to_owned();
    }
    let model = model(&[hostile]);
    let map = json(&model, "/api/map");
    let shown = map["pairs"][0]["server_name"].as_str().unwrap();
    assert!(shown.starts_with("shop/</script><img src=x"), "{shown}");
    assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown:?}");
    let rows = json(&model, "/api/flows?show=all");
    assert_eq!(rows["rows"].as_array().unwrap().len(), 1);
    assert!(!rows["rows"][0]["what"].as_str().unwrap().contains('\u{1b}'));
    let detail = json(&model, "/api/flow?number=1");
    let headers = detail["sections"].as_array().unwrap().last().unwrap();
    assert_eq!(headers["rows"][0][1], HOSTILE);
}

#[test]
fn what_a_browser_gets_is_bounded_whatever_happens() {
    let mut flows = Vec::new();
    for number in 0..6000 {
        let (client, server) = (format!("c{}", number % 90), format!("s{}", number % 70));
        flows.push(flow(
            &client,
            &server,
            &format!("/{}", "x".repeat(300)),
            200,
        ));
    }
    flows.push(flow("the", "one", "/", 503));
    let model = model(&flows);
    let map = json(&model, "/api/map");
    let lines = map["drawing"]["lines"].as_array().unwrap();
    assert_eq!(
        (lines.len(), map["hidden"].as_u64().unwrap() > 0),
        (250, true)
    );
    assert_eq!(
        map["pairs"][0]["server"], "workload:shop/one",
        "what fails is kept"
    );
    let answer = ask(&model, "/api/flows?show=all&limit=100000");
    assert!(answer.body().len() < 512 << 10, "{}", answer.body().len());
    assert!(ask(&model, "/api/map").body().len() < 512 << 10);
    let rows: Value = serde_json::from_str(answer.body()).unwrap();
    assert_eq!(rows["rows"].as_array().unwrap().len(), 500);
    assert_eq!(rows["is_more"], true);
}

#[test]
fn a_flow_is_found_from_its_pair_and_explained() {
    let model = model(&[
        flow("web", "cart", "/a", 200),
        flow("web", "cart", "/b", 503),
    ]);
    let pair = "client=workload%3Ashop%2Fweb&server=workload%3Ashop%2Fcart";
    let edge = json(&model, &format!("/api/edge?{pair}"));
    assert_eq!(edge["edge"]["reasons"][0]["text"], "HTTP 503");
    let rows = json(&model, &format!("/api/flows?show=failures&{pair}"));
    let number = rows["rows"][0]["number"].as_u64().unwrap();
    assert_eq!((number, rows["rows"].as_array().unwrap().len()), (2, 1));
    let detail = json(&model, &format!("/api/flow?number={number}"));
    assert_eq!(
        detail["meaning"]["title"],
        "The server answered with a failure"
    );
    let found = json(&model, "/api/flows?words=503+%2Fb");
    assert_eq!(found["rows"].as_array().unwrap().len(), 1);
    let other = ask(&model, "/api/edge?client=a&server=b");
    assert_eq!(other.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn only_this_machine_sees_a_page_without_a_token() {
    let (_stop, stopped) = watch::channel(false);
    let attempt = |address: &str, token: Option<&str>| {
        let listen = Listen {
            address: address.parse().unwrap(),
            tls: None,
            token: token.map(str::to_owned),
        };
        let source = Source {
            shown: String::new(),
            channel: tonic::transport::Endpoint::from_static("http://127.0.0.1:1").connect_lazy(),
            authorization: None,
        };
        serve(listen, source, Templates::default(), stopped.clone())
    };
    assert!(matches!(
        attempt("0.0.0.0:0", None).await,
        Err(Error::Open(_))
    ));
    assert!(matches!(
        attempt("0.0.0.0:0", Some("short")).await,
        Err(Error::Token(5))
    ));
    let url = attempt("127.0.0.1:0", Some("0123456789abcdef"))
        .await
        .unwrap();
    assert!(url.ends_with("/?token=0123456789abcdef"), "{url}");
}

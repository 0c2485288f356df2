//! Which flows a request gets, and how each comes.

use l7d::clock::Timestamp;
use l7d::record::Sink as _;
use pbjson_types::FieldMask;
use proto::flow::{FlowFilter, Verdict};
use proto::observer::GetFlowsRequest;
use proto::observer::get_flows_response::ResponseTypes;
use tonic::Code;

use crate::served::{Served, dropped, flow, port, ports, run};

#[expect(clippy::unnecessary_wraps, reason = "as fields of messages have it")]
fn at(nanos: i32) -> Option<proto::Timestamp> {
    Some(proto::Timestamp { seconds: 7, nanos })
}

/// Five flows, a nanosecond apart.
fn five() -> Served {
    let served = Served::new(63);
    for number in 1..=5_u16 {
        let time = Timestamp(7_000_000_000 + u64::from(number));
        served.ring.record(&dropped(number, time));
    }
    served
}

#[test]
fn a_request_gets_the_window_that_it_names() {
    let served = five();
    let all = GetFlowsRequest::default;
    for (request, expected) in [
        (all(), vec![1, 2, 3, 4, 5]),
        (
            GetFlowsRequest {
                number: u64::MAX,
                ..all()
            },
            vec![1, 2, 3, 4, 5],
        ),
        (GetFlowsRequest { number: 2, ..all() }, vec![4, 5]),
        (
            GetFlowsRequest {
                number: 2,
                first: true,
                ..all()
            },
            vec![1, 2],
        ),
        (
            GetFlowsRequest {
                since: at(3),
                ..all()
            },
            vec![3, 4, 5],
        ),
        (
            GetFlowsRequest {
                since: at(3),
                number: 2,
                ..all()
            },
            vec![3, 4],
        ),
        (
            GetFlowsRequest {
                since: at(9),
                ..all()
            },
            vec![],
        ),
        (
            GetFlowsRequest {
                until: at(2),
                ..all()
            },
            vec![1, 2],
        ),
        (
            GetFlowsRequest {
                since: at(2),
                until: at(3),
                ..all()
            },
            vec![2, 3],
        ),
        // Until does not count while the newest are looked for.
        (
            GetFlowsRequest {
                number: 3,
                until: at(4),
                ..all()
            },
            vec![3, 4],
        ),
    ] {
        let shown = format!("{request:?}");
        let got = run(async { ports(served.flows(request).await).await });
        assert_eq!(got, expected, "{shown}");
    }
}

#[test]
fn who_follows_gets_what_was_asked_for_and_then_what_comes() {
    let served = five();
    run(async {
        let request = GetFlowsRequest {
            number: 2,
            follow: true,
            ..GetFlowsRequest::default()
        };
        let mut stream = served.flows(request).await;
        for expected in [4, 5] {
            assert_eq!(port(&flow(&mut stream).await), expected);
        }
        served.record([6, 7]);
        for expected in [6, 7] {
            assert_eq!(port(&flow(&mut stream).await), expected);
        }
    });
}

#[test]
fn filters_choose_and_numbers_count_what_they_chose() {
    let served = five();
    let filter = |ports: &[&str]| FlowFilter {
        source_port: ports.iter().map(|port| (*port).to_owned()).collect(),
        ..FlowFilter::default()
    };
    let request = GetFlowsRequest {
        whitelist: vec![filter(&["1", "2"]), filter(&["4"])],
        blacklist: vec![filter(&["1"])],
        number: 2,
        ..GetFlowsRequest::default()
    };
    assert_eq!(
        run(async { ports(served.flows(request).await).await }),
        [2, 4]
    );
}

#[test]
fn a_flow_has_what_clients_need_in_itself_and_around_it() {
    let served = five();
    run(async {
        let mut client = served.observer().await;
        let request = GetFlowsRequest {
            number: 1,
            ..GetFlowsRequest::default()
        };
        let answer = client.get_flows(request).await.unwrap();
        let response = answer.into_inner().message().await.unwrap().unwrap();
        assert_eq!(response.node_name, "n1");
        assert_eq!(response.time, at(5));
        let Some(ResponseTypes::Flow(flow)) = response.response_types else {
            panic!("no flow");
        };
        assert_eq!((flow.time, flow.node_name.as_str()), (at(5), "n1"));
        assert_eq!(flow.verdict(), Verdict::Dropped);
        assert_eq!(flow.summary, "TCP Flags: SYN");
        assert!(flow.is_reply.is_none(), "a drop does not know");
        let uuid: uuid::Uuid = flow.uuid.parse().unwrap();
        assert_eq!(uuid.get_version_num(), 4);
        assert_eq!(flow.emitter.unwrap().name, "l7d");
        assert_eq!(flow.source.unwrap().cluster_name, "default");
    });
}

#[test]
fn a_mask_leaves_out_what_it_does_not_name() {
    let served = five();
    run(async {
        let paths = ["verdict", "source.pod_name"].map(str::to_owned).to_vec();
        let request = GetFlowsRequest {
            number: 1,
            field_mask: Some(FieldMask { paths }),
            ..GetFlowsRequest::default()
        };
        let mut stream = served.flows(request).await;
        let response = stream.message().await.unwrap().unwrap();
        assert_eq!((response.node_name.as_str(), response.time), ("n1", at(5)));
        let Some(ResponseTypes::Flow(flow)) = response.response_types else {
            panic!("no flow");
        };
        let expected = proto::flow::Flow {
            verdict: Verdict::Dropped.into(),
            source: Some(proto::flow::Endpoint {
                pod_name: "web".to_owned(),
                ..proto::flow::Endpoint::default()
            }),
            ..proto::flow::Flow::default()
        };
        assert_eq!(flow, expected);
    });
}

#[test]
fn a_request_that_makes_no_sense_is_refused_before_the_first_flow() {
    let served = five();
    let all = GetFlowsRequest::default;
    let filter = FlowFilter {
        http_path: vec!["(".to_owned()],
        ..FlowFilter::default()
    };
    let mask = FieldMask {
        paths: vec!["verdct".to_owned()],
    };
    for (request, code, message) in [
        (
            GetFlowsRequest {
                first: true,
                follow: true,
                ..all()
            },
            Code::InvalidArgument,
            "first cannot be specified with follow",
        ),
        (
            GetFlowsRequest {
                whitelist: vec![filter.clone()],
                ..all()
            },
            Code::Unknown,
            "invalid filter: http_path: `(`",
        ),
        (
            GetFlowsRequest {
                blacklist: vec![filter],
                ..all()
            },
            Code::Unknown,
            "invalid filter: http_path: `(`",
        ),
        (
            GetFlowsRequest {
                field_mask: Some(mask),
                ..all()
            },
            Code::Unknown,
            "invalid fieldmask: `verdct`: flow.Flow has no field `verdct`, did you mean `verdict`?",
        ),
        (
            GetFlowsRequest {
                since: Some(proto::Timestamp {
                    seconds: -1,
                    nanos: 0,
                }),
                ..all()
            },
            Code::InvalidArgument,
            "since and until",
        ),
    ] {
        let status = run(async { served.observer().await.get_flows(request).await }).unwrap_err();
        assert_eq!(status.code(), code, "{status:?}");
        assert!(status.message().starts_with(message), "{status:?}");
    }
}

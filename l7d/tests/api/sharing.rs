//! Many clients at once: none of them does another one any harm.

use l7d::record::Place;
use proto::flow::{FlowFilter, LostEventSource};
use proto::observer::GetFlowsRequest;
use proto::observer::get_flows_response::ResponseTypes;

use crate::served::{Served, flow, port, run};

fn following() -> GetFlowsRequest {
    GetFlowsRequest {
        follow: true,
        ..GetFlowsRequest::default()
    }
}

#[test]
fn each_of_many_gets_everything() {
    let served = Served::new(8191);
    run(async {
        let mut streams = Vec::new();
        for _ in 0..20 {
            streams.push(served.flows(following()).await);
        }
        served.record(1..=2000);
        for stream in &mut streams {
            for expected in 1..=2000 {
                assert_eq!(port(&flow(stream).await), expected);
            }
        }
    });
    let tally = served.ring.ledger().tally(Place::Clients);
    assert_eq!((tally.delivered, tally.lost), (20 * 2000, 0));
}

#[test]
fn who_does_not_read_falls_behind_alone_and_is_told_by_how_much() {
    let served = Served::new(255);
    let (rounds, each) = (400_u16, 100_u16);
    let all = u64::from(rounds) * u64::from(each);
    run(async {
        let mut slow = served.flows(following()).await;
        let mut fast = served.flows(following()).await;
        for round in 0..rounds {
            served.record((1..=each).map(|number| round * each + number));
            for number in 1..=each {
                assert_eq!(port(&flow(&mut fast).await), round * each + number);
            }
        }
        let (mut given, mut lost) = (0, 0);
        while given + lost < all {
            match slow.message().await.unwrap().unwrap().response_types {
                Some(ResponseTypes::Flow(_)) => given += 1,
                Some(ResponseTypes::LostEvents(event)) => {
                    assert_eq!(event.source(), LostEventSource::HubbleRingBuffer);
                    assert!(event.first.is_some() && event.last.is_some());
                    lost += event.num_events_lost;
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(lost > 0, "it has read {given} without a pause");
        assert_eq!(given + lost, all);
    });
}

#[test]
fn whoever_filters_much_leaves_others_their_turn() {
    let served = Served::new(65_535);
    served.record(1..=60_000);
    run(async {
        let mut costly = following();
        costly.number = 1;
        costly.whitelist = vec![FlowFilter {
            http_url: vec!["(a|b)*c$".to_owned()],
            source_label: vec!["app in (nobody)".to_owned()],
            ..FlowFilter::default()
        }];
        let mut hopeless = Vec::new();
        for _ in 0..8 {
            hopeless.push(served.flows(costly.clone()).await);
        }
        let mut stream = served.flows(following()).await;
        served.record([60_001]);
        assert_eq!(port(&flow(&mut stream).await), 60_001);
    });
}

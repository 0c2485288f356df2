//! SOCKS: however both sides are cut and mixed, the handshake tells the same; what was told to be
//! SOCKS stays so when more comes.

use parsers::socks::{Event, Handshake, Step, looks_like};

use crate::cuts;

/// What is told, and the bytes that are left of both sides.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    events: Vec<String>,
    left: [usize; 2],
}

/// Shows one more piece of each side in turn, and reads what can be read.
fn read(data: &[u8], cuts: [&[usize]; 2]) -> Told {
    let sides = cuts::sides(data);
    let mut handshake = Handshake::default();
    let mut events = Vec::new();
    let (mut starts, mut ends) = ([0; 2], [0; 2]);
    let rounds = cuts.iter().map(|cuts| cuts.len()).max().unwrap_or(0);
    for round in 0..=rounds {
        for (end, ((_, bytes), cuts)) in ends.iter_mut().zip(sides.iter().zip(cuts)) {
            let cut = cuts.get(round).copied().unwrap_or(bytes.len());
            *end = cut.min(bytes.len()).max(*end);
        }
        loop {
            let before = starts;
            let places = starts.iter_mut().zip(ends);
            for ((way, bytes), (start, end)) in sides.into_iter().zip(places) {
                let waiting = bytes.get(*start..end).unwrap_or_default();
                match handshake.step(way, waiting) {
                    Ok(Step::NeedMore) => {}
                    Ok(Step::Event { consumed, event }) => {
                        assert!((1..=waiting.len()).contains(&consumed));
                        *start += consumed;
                        events.push(shown(&event));
                    }
                    Err(error) => {
                        events.push(error.rule.to_owned());
                        return Told {
                            events,
                            left: [0; 2],
                        };
                    }
                }
            }
            if starts == before {
                break;
            }
        }
    }
    let [(_, client), (_, server)] = sides;
    let [of_client, of_server] = starts;
    Told {
        events,
        left: [client.len() - of_client, server.len() - of_server],
    }
}

fn shown(event: &Event<'_>) -> String {
    match event {
        Event::Request(command, target) => format!("{command:?} {target}"),
        other => format!("{other:?}"),
    }
}

pub(crate) fn holds(data: &[u8]) {
    let [(_, client), (_, server)] = cuts::sides(data);
    let whole = read(data, [&[], &[]]);
    for ways in [cuts::ways(client), cuts::ways(server)] {
        for way in ways {
            assert_eq!(whole, read(data, [&way, &[]]));
            assert_eq!(whole, read(data, [&[], &way]));
            assert_eq!(whole, read(data, [&way, &way]));
        }
    }
    let is_socks = looks_like(client, server);
    for cut in cuts::some(server) {
        let part = looks_like(client, server.get(..cut).unwrap_or_default());
        assert!(part != Some(true) || is_socks == Some(true));
    }
}

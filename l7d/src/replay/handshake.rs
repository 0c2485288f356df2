//! How far away both ends are from where a capture was made, by the handshake: nobody waits for a
//! process in it.

use parsers::Direction as Way;
use parsers::packet::{Tcp, TcpFlags};

use crate::clock::Timestamp;
use crate::record::Network;

/// A handshake as far as it was seen.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Handshake {
    syn: Option<Timestamp>,
    syn_ack: Option<Timestamp>,
    /// What was sent twice measures nothing: which of the two was answered is not known.
    is_repeated: bool,
    is_over: bool,
}

impl Handshake {
    /// Takes the next segment; gives what the whole handshake has told with its last one.
    pub(super) fn take(&mut self, way: Way, tcp: &Tcp<'_>, now: Timestamp) -> Option<Network> {
        if self.is_over {
            return None;
        }
        let has = |flag| tcp.flags.has(flag);
        match (way, has(TcpFlags::SYN), has(TcpFlags::ACK)) {
            (Way::ToServer, true, false) => {
                self.is_repeated |= self.syn.replace(now).is_some();
                None
            }
            (Way::ToClient, true, true) => {
                self.is_repeated |= self.syn_ack.replace(now).is_some();
                None
            }
            (Way::ToServer, false, true) => {
                self.is_over = true;
                let (syn, syn_ack) = (self.syn?, self.syn_ack?);
                (!self.is_repeated).then(|| Network {
                    client_rtt_us: micros(syn_ack, now),
                    server_rtt_us: micros(syn, syn_ack),
                    ..Network::default()
                })
            }
            _ => None,
        }
    }
}

/// Never 0, which is what nobody measured.
fn micros(from: Timestamp, to: Timestamp) -> u32 {
    let micros = to.0.saturating_sub(from.0) / 1000;
    u32::try_from(micros).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(flags: u8) -> Tcp<'static> {
        Tcp {
            source_port: 1,
            destination_port: 2,
            sequence: 0,
            acknowledged: 0,
            flags: TcpFlags(flags),
            window: 0,
            payload: &[],
            missing: 0,
        }
    }

    fn seen(segments: &[(Way, u8, u64)]) -> Option<Network> {
        let mut handshake = Handshake::default();
        let take = |(way, flags, micros): &(Way, u8, u64)| {
            handshake.take(*way, &tcp(*flags), Timestamp(micros * 1000))
        };
        segments.iter().filter_map(take).last()
    }

    const SYN: u8 = 2;
    const SYN_ACK: u8 = 18;
    const ACK: u8 = 16;

    #[test]
    fn a_handshake_tells_both_round_trips() {
        let [up, down] = [Way::ToServer, Way::ToClient];
        let seen_once = seen(&[(up, SYN, 10), (down, SYN_ACK, 310), (up, ACK, 350)]).unwrap();
        let rtts = (seen_once.server_rtt_us, seen_once.client_rtt_us);
        assert_eq!(rtts, (300, 40));
    }

    #[test]
    fn what_was_sent_twice_tells_nothing() {
        let [up, down] = [Way::ToServer, Way::ToClient];
        let twice = [
            (up, SYN, 10),
            (up, SYN, 1010),
            (down, SYN_ACK, 1310),
            (up, ACK, 1350),
        ];
        assert_eq!(seen(&twice), None);
        assert_eq!(seen(&[(down, SYN_ACK, 5), (up, ACK, 7)]), None);
    }
}

//! What TCP knows of the way that a message took, and of why there is no answer.

/// The network's part in how a message fared. Zero is what nobody measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Network {
    /// The shortest round trip between here and the client, in microseconds. It is on top of a latency
    /// that was measured here.
    pub client_rtt_us: u32,
    /// The shortest round trip between here and the server, in microseconds. It is within a latency
    /// that was measured here.
    pub server_rtt_us: u32,
    /// Segments that were sent again so far, by either side as far as it is known.
    pub retransmits: u32,
    /// What ended the connection.
    pub event: Option<TcpEvent>,
}

/// What TCP saw of the end of a connection. The names are stable: they appear in flows (extension
/// `tcp_event`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum TcpEvent {
    /// The client said first that it was done.
    ClosedByClient,
    /// The server said first that it was done.
    ClosedByServer,
    /// Nobody answered the SYN.
    NoAnswer,
    /// The server answered the SYN with a reset: nobody listens.
    Refused,
    /// The client reset it.
    ResetByClient,
    /// The server reset it.
    ResetByServer,
    /// A router, or this node, said that there is no way to the server.
    Unreachable,
}

impl TcpEvent {
    fn turned(self) -> Self {
        match self {
            Self::ClosedByClient => Self::ClosedByServer,
            Self::ClosedByServer => Self::ClosedByClient,
            Self::ResetByClient => Self::ResetByServer,
            Self::ResetByServer => Self::ResetByClient,
            Self::NoAnswer | Self::Refused | Self::Unreachable => self,
        }
    }

    /// Stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClosedByClient => "closed_by_client",
            Self::ClosedByServer => "closed_by_server",
            Self::NoAnswer => "no_answer",
            Self::Refused => "refused",
            Self::ResetByClient => "reset_by_client",
            Self::ResetByServer => "reset_by_server",
            Self::Unreachable => "unreachable",
        }
    }
}

impl Network {
    /// The same where client and server change places.
    #[must_use]
    pub fn turned(self) -> Self {
        Self {
            client_rtt_us: self.server_rtt_us,
            server_rtt_us: self.client_rtt_us,
            event: self.event.map(TcpEvent::turned),
            ..self
        }
    }

    /// Notes what ended the connection; what is known already counts, but for one side's good end
    /// before the other cut it.
    pub fn note(&mut self, event: TcpEvent) {
        let is_close = |event| matches!(event, TcpEvent::ClosedByClient | TcpEvent::ClosedByServer);
        let counts = match self.event {
            None => true,
            Some(known) => is_close(known) && !is_close(event),
        };
        if counts {
            self.event = Some(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_good_end_counts_and_a_cut_more() {
        let mut network = Network::default();
        network.note(TcpEvent::ClosedByServer);
        network.note(TcpEvent::ClosedByClient);
        assert_eq!(network.event, Some(TcpEvent::ClosedByServer));
        network.note(TcpEvent::ResetByClient);
        network.note(TcpEvent::ResetByServer);
        assert_eq!(network.event, Some(TcpEvent::ResetByClient));
    }
}

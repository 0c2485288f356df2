//! Netfilter's connections: whatever a datagram holds is read to its end, and what was understood
//! of it reads the same when it is written again.

use parsers::netlink::Messages;
use parsers::netlink::conntrack::{Answer, answer, ask, question, tell};

pub(crate) fn holds(data: &[u8]) {
    let mut messages = 0_usize;
    for message in Messages::new(data) {
        messages += 1;
        let Ok(message) = message else { continue };
        assert!(message.payload.len() < data.len());
        let mut again = Vec::new();
        if let Ok(Some(tuple)) = question(&message)
            && has_ports(tuple.protocol)
        {
            ask(&mut again, &tuple, message.sequence);
            let read = Messages::new(&again).next();
            let read = read.and_then(Result::ok).map(|read| question(&read));
            assert_eq!(read, Some(Ok(Some(tuple))), "a question that was written");
        }
        if let Ok(Some(Answer::Connection(connection))) = answer(&message)
            && has_ports(connection.original.protocol)
            && has_ports(connection.reply.protocol)
        {
            again.clear();
            tell(&mut again, &connection, message.sequence);
            let read = Messages::new(&again).next();
            let read = read.and_then(Result::ok).map(|read| answer(&read));
            let told = Answer::Connection(connection);
            assert_eq!(read, Some(Ok(Some(told))), "a connection that was told");
        }
    }
    assert!(messages <= data.len() / 16 + 1, "more messages than bytes");
}

/// ICMP tells one identifier where others tell two ports: what has both of them is no connection.
fn has_ports(protocol: u8) -> bool {
    protocol != 1 && protocol != 58
}

//! A translation, written into a record.

use std::sync::Arc;

use super::pending::Ticket;
use crate::record::{Event, Party, Record, Sink, Translation};

/// By which address a client is told whose packets bear the node's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    /// As policy judged it: the server's view.
    AsJudged,
    /// By its own.
    Named,
}

/// A record that waits, and where it goes.
pub(super) struct Waiting {
    pub(super) record: Box<Record>,
    pub(super) clients: Clients,
    pub(super) sink: Arc<dyn Sink>,
    /// Gone when it is told.
    pub(super) _ticket: Ticket,
}

impl Waiting {
    pub(super) fn tell(mut self, translation: Option<Arc<Translation>>) {
        if let Some(translation) = translation {
            write(&mut self.record, translation, self.clients);
        }
        self.sink.record(&self.record);
    }
}

/// Notes the translation; who serves behind a service has its name, and a client that the node's
/// address hides has its own, but where policy has judged the packet: its verdict is about the ends
/// that it saw.
pub(super) fn write(record: &mut Record, translation: Arc<Translation>, clients: Clients) {
    let stand = translation.stand(record.source.addr, record.destination.addr);
    if let Some(stand) = stand {
        let is_judged = matches!(
            record.event,
            Event::PolicyVerdict { .. } | Event::Drop { .. }
        );
        let (client, server) = if stand.is_forward {
            (&mut record.source, &mut record.destination)
        } else {
            (&mut record.destination, &mut record.source)
        };
        if stand.is_masked && clients == Clients::Named && !is_judged {
            client.clone_from(&translation.source);
        }
        name_service(server, &translation);
    }
    record.translation = Some(translation);
}

fn name_service(server: &mut Party, translation: &Translation) {
    if let Some(service) = &translation.destination.service {
        server.service = Some(Arc::clone(service));
    }
}

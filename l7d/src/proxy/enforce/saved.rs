//! A relay that judges, as it goes to another process.
//!
//! What permits cover goes along as bytes that are owed to the server; a permit itself goes along as the
//! fact that there is one. What nobody has judged yet is judged there, by the policy of that moment.

use std::cell::{Cell, RefCell};
use std::io;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::inbox::{Inbox, SavedInbox};
use super::middlebox::{Middlebox, SavedMiddlebox};
use super::{Relay, UnderWay};
use crate::policy::Judge;
use crate::proxy::lane::{Lane, SavedLane};
use crate::proxy::worker::Worker;
use crate::session::{SavedSession, Session};

/// What one enforced connection has read, and what is left to do for it.
#[derive(Serialize, Deserialize)]
pub(in crate::proxy) struct SavedRelay {
    session: SavedSession,
    inbox: SavedInbox,
    middlebox: Option<Box<SavedMiddlebox>>,
    down: SavedLane,
    words: SavedLane,
}

impl<'w> Relay<'w> {
    /// Takes everything out for another process.
    pub(in crate::proxy) fn save(self, mut under_way: UnderWay) -> io::Result<SavedRelay> {
        let middlebox = self.middlebox.into_inner();
        Ok(SavedRelay {
            session: self.session.into_inner().save(),
            inbox: under_way.inbox.save()?,
            middlebox: middlebox.map(|middlebox| Box::new(middlebox.save())),
            down: under_way.down.save()?,
            words: under_way.words.save()?,
        })
    }

    /// Goes on where another process stopped. `session` makes one of what was saved of it.
    pub(in crate::proxy) fn restore(
        worker: &'w Worker,
        judge: Judge,
        saved: SavedRelay,
        session: impl FnOnce(SavedSession) -> Session,
    ) -> (Self, UnderWay) {
        let SavedRelay {
            session: saved_session,
            inbox,
            middlebox,
            down,
            words,
        } = saved;
        let session = session(saved_session);
        let clock = session.clock();
        let middlebox = middlebox.map(|saved| Box::new(Middlebox::restore(*saved, clock)));
        let down = Lane::restore(down);
        let relay = Self {
            worker,
            judge,
            session: RefCell::new(session),
            middlebox: RefCell::new(middlebox),
            answered: Notify::new(),
            has_server_ended: Cell::new(down.is_over),
            is_late: worker.is_ending(),
            is_ending: Cell::new(false),
        };
        let under_way = UnderWay {
            inbox: Inbox::restore(inbox, &worker.pool),
            down,
            words: Lane::restore(words),
        };
        (relay, under_way)
    }
}

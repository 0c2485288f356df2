//! HTTP/2: the sockets around the middlebox.

use std::sync::atomic::Ordering;
use std::time::Duration;

use parsers::Direction as Way;
use parsers::http2::PREFACE;
use tokio::io::AsyncWriteExt as _;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::Instant;

use super::inbox::{Inbox, More};
use super::middlebox::{self, Middlebox, Replies};
use super::{Relay, ToClient, close};
use crate::proxy::forward::Broken;
use crate::proxy::network;
use crate::record::Outcome;

/// How long the last words on a connection wait for the end of a frame of the server.
const GOODBYE_PATIENCE: Duration = Duration::from_secs(1);

impl Relay<'_> {
    /// Whether the client speaks HTTP/2; none while its first bytes could be either.
    pub(super) fn speaks_http2(&self, inbox: &mut Inbox) -> Option<bool> {
        let mut session = self.session.borrow_mut();
        if session.is_http2() {
            return Some(true);
        }
        if inbox.is_known {
            return Some(false);
        }
        let bytes = inbox.bytes();
        if bytes.starts_with(PREFACE) {
            session.begin_http2();
            return Some(true);
        }
        if PREFACE.starts_with(bytes) {
            return None;
        }
        inbox.is_known = true;
        session.begin_http1();
        Some(false)
    }

    /// Relays the client's frames.
    pub(super) async fn judge_frames(
        &self,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
        to_client: &ToClient<'_>,
        inbox: &mut Inbox,
    ) -> Result<(), Broken> {
        if inbox.is_over {
            return Ok(());
        }
        inbox.flush(&to).await?;
        self.begin_frames(inbox);
        let mut is_ending = false;
        loop {
            let broken = self.take_frames(inbox);
            self.is_ending.set(broken.is_some());
            inbox.send_frames(&to).await?;
            inbox.release(&self.worker.pool);
            if let Some(broken) = broken {
                return self.say_goodbye(broken, to_client).await;
            }
            self.speak(to_client).await?;
            let has_said_all = self.has_nothing_to_say(Replies::is_empty);
            if is_ending && has_said_all && !self.has_open_streams() {
                close(to_client).await?;
                return Err(Broken::Refused);
            }
            let read = tokio::select! {
                biased;
                read = self.read_frames(&mut from, inbox) => read?,
                () = self.told_to_end(), if !is_ending => {
                    is_ending = true;
                    self.announce_end();
                    continue;
                }
                () = self.answered.notified(), if is_ending => continue,
            };
            match read {
                More::Bytes => {}
                More::End => {
                    inbox.is_over = true;
                    let end = network::closed(Way::ToServer);
                    self.session.borrow_mut().note_tcp(end);
                    return to
                        .shutdown()
                        .await
                        .map_err(|error| Broken::Write(Way::ToServer, error));
                }
                More::TooSlow => {
                    let broken = middlebox::Broken::too_slow();
                    self.is_ending.set(true);
                    return self.say_goodbye(broken, to_client).await;
                }
            }
        }
    }

    /// No new streams (RFC 9113 §6.8); those that are open go on to their ends.
    fn announce_end(&self) {
        let newest = self.newest_stream();
        if let Some(middlebox) = self.middlebox.borrow_mut().as_deref_mut() {
            middlebox.end_after(newest);
        }
    }

    fn newest_stream(&self) -> u32 {
        let mut session = self.session.borrow_mut();
        let parts = session.http2_parts();
        parts.map_or(0, |parts| parts.connection.newest_stream())
    }

    fn has_open_streams(&self) -> bool {
        let mut session = self.session.borrow_mut();
        let parts = session.http2_parts();
        parts.is_some_and(|parts| parts.connection.open_streams() > 0)
    }

    fn begin_frames(&self, inbox: &mut Inbox) {
        if self.middlebox.borrow().is_some() {
            return;
        }
        let session = self.session.borrow();
        let mut middlebox = Middlebox::new(session.clock());
        // Upgraded: the request that asked for it is stream 1.
        if let Some(permit) = inbox.permit.take() {
            middlebox.adopt(permit);
        }
        *self.middlebox.borrow_mut() = Some(Box::new(middlebox));
    }

    /// Takes what has come off the inbox.
    fn take_frames(&self, inbox: &mut Inbox) -> Option<middlebox::Broken> {
        let mut session = self.session.borrow_mut();
        let mut middlebox = self.middlebox.borrow_mut();
        let middlebox = middlebox.as_deref_mut()?;
        let mut broken = None;
        let mut count = 0;
        if let Some(mut parts) = session.http2_parts() {
            while !inbox.filled.is_empty() {
                let start = inbox.filled.start;
                match middlebox.take(&mut parts, &self.judge, start, inbox.bytes()) {
                    Ok(None) => break,
                    Ok(Some(consumed)) => {
                        inbox.filled.start += consumed;
                        inbox.deadline = None;
                        count += consumed;
                    }
                    Err(found) => {
                        broken = Some(found);
                        break;
                    }
                }
            }
        }
        session.count(Way::ToServer, count);
        let refused = std::mem::take(&mut middlebox.refused);
        std::mem::swap(&mut inbox.frames.outgoing, &mut middlebox.outgoing);
        self.worker
            .stats
            .refused
            .fetch_add(refused, Ordering::Relaxed);
        broken
    }

    /// Waits for bytes, no longer than the present header block or frame may take.
    async fn read_frames(
        &self,
        from: &mut ReadHalf<'_>,
        inbox: &mut Inbox,
    ) -> Result<More, Broken> {
        let is_in_block = {
            let middlebox = self.middlebox.borrow();
            middlebox
                .as_deref()
                .is_some_and(|middlebox| middlebox.is_in_block)
        };
        if !is_in_block {
            inbox.block_deadline = None;
            return self.read_more(from, inbox).await;
        }
        let timeout = self.worker.settings.head_timeout;
        let deadline = *inbox
            .block_deadline
            .get_or_insert_with(|| Instant::now() + timeout);
        match tokio::time::timeout_at(deadline, self.read_more(from, inbox)).await {
            Err(_elapsed) => Ok(More::TooSlow),
            Ok(read) => read,
        }
    }

    /// Says what waits for the client, if there is a place for it now. Where so much waits that no
    /// more is kept, the client's next frames wait too.
    async fn speak(&self, to_client: &ToClient<'_>) -> Result<(), Broken> {
        loop {
            if self.has_nothing_to_say(Replies::is_empty) {
                return Ok(());
            }
            if self.session.borrow().has_lost_server() {
                return Err(Broken::Unjudged);
            }
            {
                let mut client = to_client.lock().await;
                if let Some((_, words)) = self.words_within(0) {
                    client
                        .say(words)
                        .await
                        .map_err(|error| Broken::Write(Way::ToClient, error))?;
                }
            }
            if self.has_nothing_to_say(|replies| !replies.is_full()) {
                return Ok(());
            }
            if self.has_server_ended.get() {
                return Err(Broken::Refused);
            }
            self.answered.notified().await;
        }
    }

    fn has_nothing_to_say(&self, ask: impl Fn(&Replies) -> bool) -> bool {
        let middlebox = self.middlebox.borrow();
        middlebox
            .as_deref()
            .is_none_or(|middlebox| ask(&middlebox.replies))
    }

    /// What is to be said to the client, and how many of the server's last `count` bytes come before
    /// it; none if there is nothing to say or no place for it. Only for who holds the client's side.
    pub(super) fn words_within(&self, count: usize) -> Option<(usize, Vec<u8>)> {
        let mut middlebox = self.middlebox.borrow_mut();
        let replies = &mut middlebox.as_deref_mut()?.replies;
        if replies.is_empty() {
            return None;
        }
        let mut session = self.session.borrow_mut();
        let since = usize::try_from(session.bytes_since_boundary()?).ok()?;
        let before = count.checked_sub(since)?;
        let connection = session.http2_parts()?.connection;
        let update = connection
            .owes_size_update(Way::ToClient)
            .then(|| connection.table_limit(Way::ToClient));
        let mut words = Vec::new();
        replies.write(update, &mut words);
        Some((before, words))
    }

    /// The client broke a rule of the connection: it is told which, and the connection ends.
    async fn say_goodbye(
        &self,
        broken: middlebox::Broken,
        to_client: &ToClient<'_>,
    ) -> Result<(), Broken> {
        let middlebox::Broken { code, error } = broken;
        let outcome = if error.fault == parsers::Fault::TooLarge {
            Outcome::Limit
        } else {
            Outcome::ParseError
        };
        self.worker.stats.refused.fetch_add(1, Ordering::Relaxed);
        self.session
            .borrow_mut()
            .tell_broken(outcome, &error.to_string());
        let newest = self.newest_stream();
        if let Some(middlebox) = self.middlebox.borrow_mut().as_deref_mut() {
            middlebox.replies.say_goodbye(newest, code, error.rule);
        }
        let said = async {
            while !self.has_nothing_to_say(Replies::is_empty) && !self.has_server_ended.get() {
                self.speak(to_client).await?;
                if self.has_nothing_to_say(Replies::is_empty) {
                    break;
                }
                self.answered.notified().await;
            }
            close(to_client).await
        };
        if let Ok(result) = tokio::time::timeout(GOODBYE_PATIENCE, said).await {
            result?;
        }
        Err(Broken::Refused)
    }
}

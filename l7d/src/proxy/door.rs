//! The two doors of a connection, from its first byte or from where another process stopped.

use std::rc::Rc;
use std::sync::atomic::Ordering;

use parsers::http1::Reading;

use super::connection::{Leaving, Pair};
use super::handover::{Addresses, SavedConnection};
use super::lane::Lane;
use super::worker::Worker;
use super::{Admission, enforce, forward, watch};
use crate::policy::{Door, Expected, Judge};
use crate::session::{Ends, SavedSession, Session};

/// What a watched connection has. In a box: arguments of an async function take their room twice.
pub(super) struct Watched {
    session: Session,
    lanes: [Lane; 2],
}

impl Watched {
    pub(super) fn boxed(session: Session, lanes: [Lane; 2]) -> Box<Self> {
        Box::new(Self { session, lanes })
    }
}

impl Worker {
    /// Goes on with a connection whose server is there.
    pub(super) async fn go_on(&self, pair: Pair<'_>, saved: SavedConnection) -> Option<Leaving> {
        let is_judged = saved.is_judged();
        let Addresses { client, server } = pair.addresses;
        let Admission { ends, door, .. } = self.directory.readmit(client, server, is_judged)?;
        // Whoever was let in stays, however many they are.
        let _place = is_judged.then(|| self.crowd.enter(&ends));
        let endpoint = ends.judged();
        let resumed = Box::pin(self.resume(pair, saved, ends, door));
        self.turns.in_turn(endpoint, resumed).await
    }

    async fn resume(
        &self,
        pair: Pair<'_>,
        saved: SavedConnection,
        ends: Ends,
        door: Door,
    ) -> Option<Leaving> {
        match (saved, door) {
            (SavedConnection::Watched { session, .. }, Door::Enforce(_)) => {
                let mut session = self.restored(*session, ends);
                let end = Err(forward::Broken::Policy);
                forward::finish(end, pair.client, &pair.server, &mut session);
                None
            }
            (SavedConnection::Watched { session, lanes }, Door::Watch) => {
                let session = self.restored(*session, ends);
                let watched = Watched::boxed(session, lanes.map(Lane::restore));
                Box::pin(self.watch(pair, watched)).await
            }
            (SavedConnection::Unread { lanes }, Door::Watch) => {
                self.stats.demoted.fetch_add(1, Ordering::Relaxed);
                let session = self.mid_stream(ends);
                let watched = Watched::boxed(session, lanes.map(Lane::restore));
                Box::pin(self.watch(pair, watched)).await
            }
            (saved, Door::Enforce(judge)) => {
                Box::pin(self.enforce(judge, ends, pair, Some(saved))).await
            }
            // The directory gives a judge to whoever had one, and to nobody else.
            (_, Door::Watch) => None,
        }
    }

    /// A session of another process, with the way of records that it had there.
    fn restored(&self, saved: SavedSession, ends: Ends) -> Session {
        let recorder = if saved.is_strict() {
            &self.recorder
        } else {
            &self.watcher
        };
        Session::restore(saved, Rc::clone(recorder), ends)
    }

    /// A session of another process of which nothing can be read.
    fn mid_stream(&self, ends: Ends) -> Session {
        Session::mid_stream(Rc::clone(&self.watcher), ends, self.settings.limits)
    }

    pub(super) async fn watch(
        &self,
        mut pair: Pair<'_>,
        mut watched: Box<Watched>,
    ) -> Option<Leaving> {
        let end = tokio::select! {
            biased;
            end = self.watch_until_enforced(&mut pair, &mut watched) => Some(end),
            () = self.told_to_leave() => None,
        };
        if let Some(end) = end {
            forward::finish(end, pair.client, &pair.server, &mut watched.session);
            return None;
        }
        let Watched { session, mut lanes } = *watched;
        let [up, down] = &mut lanes;
        let saved = up
            .save()
            .and_then(|up| Ok([up, down.save()?]))
            .map(|lanes| SavedConnection::Watched {
                session: Box::new(session.save()),
                lanes,
            });
        self.leaving(pair, saved)
    }

    /// Watches, unless the policy changes so that the connection must be judged: then it is cut,
    /// and the client's next one is.
    async fn watch_until_enforced(
        &self,
        pair: &mut Pair<'_>,
        watched: &mut Watched,
    ) -> Result<(), forward::Broken> {
        let Watched { session, lanes } = watched;
        let mut changes = self.directory.changes();
        let Addresses { client, server } = pair.addresses;
        let to_be_judged = async {
            while changes.changed().await.is_ok() {
                let admission = self.directory.readmit(client, server, false);
                if admission.is_some_and(|admission| matches!(admission.door, Door::Enforce(_))) {
                    return;
                }
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            end = watch::relay(pair.client, &mut pair.server, session, lanes, &self.pool) => end,
            () = to_be_judged => Err(forward::Broken::Policy),
        }
    }

    /// Relays what is judged in the protocol that policy speaks of; `saved` is what another process has
    /// done of that.
    pub(super) async fn enforce(
        &self,
        judge: Judge,
        ends: Ends,
        pair: Pair<'_>,
        saved: Option<SavedConnection>,
    ) -> Option<Leaving> {
        match saved {
            Some(SavedConnection::Dns(saved)) => {
                let relay = enforce::DnsRelay::new(self, judge, ends);
                let (relay, streams) = relay.restore(*saved);
                return Box::pin(self.run_dns(Box::new(relay), Box::new(streams), pair)).await;
            }
            Some(SavedConnection::Tls(saved)) => {
                let session = |saved| self.restored(saved, ends);
                let (relay, under_way) = enforce::TlsRelay::restore(self, judge, *saved, session);
                return Box::pin(self.run_tls(Box::new(relay), Box::new(under_way), pair)).await;
            }
            Some(SavedConnection::Judged(saved)) => {
                let session = |saved| self.restored(saved, ends);
                let (relay, under_way) = enforce::Relay::restore(self, judge, *saved, session);
                return Box::pin(self.run_http(Box::new(relay), Box::new(under_way), pair)).await;
            }
            // The server is there, and nothing has been read.
            None | Some(_) => {}
        }
        let is_tls = match judge.expected() {
            Expected::Dns => {
                let relay = enforce::DnsRelay::new(self, judge, ends);
                let streams = enforce::DnsStreams::default();
                return Box::pin(self.run_dns(Box::new(relay), Box::new(streams), pair)).await;
            }
            Expected::Http => false,
            Expected::HttpOrTls => tokio::select! {
                biased;
                is_tls = enforce::begins_with_tls(pair.client, &pair.server) => is_tls,
                () = self.told_to_leave() => {
                    return self.leaving(pair, Ok(SavedConnection::Connected));
                }
            },
            Expected::Tls => true,
        };
        if is_tls {
            let session = self.session(ends, Reading::Lenient);
            let relay = enforce::TlsRelay::new(self, judge, session);
            let under_way = enforce::TlsUnderWay::default();
            Box::pin(self.run_tls(Box::new(relay), Box::new(under_way), pair)).await
        } else {
            let session = self.session(ends, Reading::Strict);
            let relay = enforce::Relay::new(self, judge, session);
            let under_way = enforce::UnderWay::default();
            Box::pin(self.run_http(Box::new(relay), Box::new(under_way), pair)).await
        }
    }

    async fn run_http(
        &self,
        relay: Box<enforce::Relay<'_>>,
        mut under_way: Box<enforce::UnderWay>,
        mut pair: Pair<'_>,
    ) -> Option<Leaving> {
        let run = relay.run(pair.client, &mut pair.server, &mut under_way);
        if run.await.is_some() {
            return None;
        }
        let saved = relay.save(*under_way);
        let saved = saved.map(|saved| SavedConnection::Judged(Box::new(saved)));
        self.leaving(pair, saved)
    }

    async fn run_tls(
        &self,
        mut relay: Box<enforce::TlsRelay<'_>>,
        mut under_way: Box<enforce::TlsUnderWay>,
        mut pair: Pair<'_>,
    ) -> Option<Leaving> {
        let run = relay.run(pair.client, &mut pair.server, &mut under_way);
        if run.await.is_some() {
            return None;
        }
        let saved = relay.save(*under_way);
        let saved = saved.map(|saved| SavedConnection::Tls(Box::new(saved)));
        self.leaving(pair, saved)
    }

    async fn run_dns(
        &self,
        relay: Box<enforce::DnsRelay<'_>>,
        mut streams: Box<enforce::DnsStreams>,
        mut pair: Pair<'_>,
    ) -> Option<Leaving> {
        let run = relay.run(pair.client, &mut pair.server, &mut streams);
        if run.await.is_some() {
            return None;
        }
        let saved = relay.save(*streams);
        let saved = saved.map(|saved| SavedConnection::Dns(Box::new(saved)));
        self.leaving(pair, saved)
    }

    fn leaving(&self, pair: Pair<'_>, saved: std::io::Result<SavedConnection>) -> Option<Leaving> {
        match saved {
            Ok(saved) => Some(Leaving {
                server: Some(pair.server),
                saved,
                addresses: pair.addresses,
            }),
            Err(error) => {
                self.stats.cut_by_handover.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%error, "a connection cannot be given up, and is cut");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of a future, which is never made.
    fn size_of_future<A, F: Future>(_make: impl FnOnce(A) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn an_idle_connection_is_small() {
        let watch = size_of_future(|(worker, pair, watched)| Worker::watch(worker, pair, watched));
        let watch = watch + size_of::<Watched>();
        let enforce = size_of_future(|(worker, relay, under_way, pair)| {
            Worker::run_http(worker, relay, under_way, pair)
        });
        let enforce = enforce + size_of::<enforce::Relay<'_>>() + size_of::<enforce::UnderWay>();
        let serve = size_of_future(|(worker, client, from, stay)| {
            Worker::serve(worker, client, from, stay)
        });
        let serve = serve
            + size_of_future(|(worker, client, addresses, admission, place)| {
                Worker::relay(worker, client, addresses, admission, place)
            });
        let relay = size_of::<enforce::Relay<'_>>();
        let session = size_of::<Session>();
        assert!(
            watch <= 2304 && enforce <= 3264 && serve <= 1040 && relay <= 640 && session <= 528,
            "watch {watch} enforce {enforce} serve {serve} relay {relay} session {session}"
        );
    }
}

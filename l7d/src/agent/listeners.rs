//! The thread of everything that others ask: the Hubble API and metrics. Clients never hold up who
//! records.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;

use tokio::sync::watch;

use super::{Agent, Error};
use crate::config::{Api, Config, Tcp};
use crate::metrics::{self, CallsLayer};
use crate::server;

/// What is served.
pub(super) struct Listeners {
    pub(super) api: Api,
    pub(super) sources: server::Sources,
    pub(super) metrics: Option<(Tcp, Arc<metrics::Exposition>)>,
    /// Tells when to end.
    pub(super) stop: watch::Receiver<bool>,
}

impl Listeners {
    /// Starts the thread, and returns when it listens. Once it has ended nobody listens any more.
    pub(super) fn start(self) -> Result<JoinHandle<()>, Error> {
        let (teller, started) = sync_channel(1);
        let serve = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let result = match runtime {
                Ok(runtime) => runtime.block_on(async {
                    self.listen().await?;
                    // Whoever waits for the result is still there.
                    let _told = teller.send(Ok(()));
                    let mut stop = self.stop.clone();
                    let _end = stop.wait_for(|stop| *stop).await;
                    Ok(())
                }),
                Err(cause) => Err(Error::Runtime(cause)),
            };
            if let Err(error) = result {
                let _told = teller.send(Err(error));
            }
        };
        let thread = std::thread::Builder::new().name("l7d-api".to_owned());
        let thread = thread.spawn(serve).map_err(Error::Runtime)?;
        let gone = |_gone| Err(Error::Runtime(std::io::ErrorKind::BrokenPipe.into()));
        started.recv().unwrap_or_else(gone)?;
        Ok(thread)
    }

    async fn listen(&self) -> Result<(), Error> {
        server::start(&self.api, &self.sources, &self.stop).await?;
        if let Some((tcp, exposition)) = &self.metrics {
            metrics::serve(tcp, Arc::clone(exposition), self.stop.clone()).await?;
        }
        Ok(())
    }
}

impl Agent {
    /// What others may ask of it.
    pub(super) fn listeners(&self, config: &Config, stop: watch::Receiver<bool>) -> Listeners {
        let sources = self.sources();
        let exposition = self.counting.as_ref().map(|counting| {
            let mut registry = counting.registry(&metrics::Sources {
                ring: Arc::clone(&self.ring),
                status: Arc::clone(&sources.status),
                kernel_drops: self.datapath.drops().ok().cloned(),
                calls: Arc::clone(&sources.calls.0),
            });
            registry.register_collector(self.exports.board().collector());
            metrics::Exposition::new(registry)
        });
        let listen = config.metrics.listen.clone();
        Listeners {
            api: config.api.clone(),
            metrics: listen.zip(exposition.map(Arc::new)),
            sources,
            stop,
        }
    }

    fn sources(&self) -> server::Sources {
        let status = Arc::clone(&self.shared_status);
        let names = self.world.name_lister();
        let would_deny = Arc::clone(self.world.would_deny());
        let counted = Arc::clone(&would_deny);
        let ring = Arc::clone(&self.ring);
        let exports = Arc::clone(self.exports.board());
        let calls = CallsLayer::default();
        let kept = Arc::clone(&calls.0);
        server::Sources {
            calls,
            ring: Arc::clone(&self.ring),
            events: Arc::clone(self.changes.events()),
            node: Arc::clone(&self.node),
            status: Arc::new(move || {
                let (audited, would_deny) = counted.totals();
                let status = server::AgentStatus {
                    audited,
                    would_deny,
                    sent_away: kept.connections.refused_at_all() + kept.places.refused_at_all(),
                    exports: exports.list().iter().map(server::ExportRow::of).collect(),
                    ..status.lock().clone()
                };
                status.with_flows(&ring)
            }),
            names: Arc::new(move || names.list()),
            audits: Arc::new(move || would_deny.list()),
            peers: self.peers.subscribe(),
        }
    }
}

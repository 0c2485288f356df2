//! The thread of everything that others ask: the Hubble API and metrics. Clients never hold up who
//! records.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use tokio::sync::watch;

use super::Error;
use crate::config::{Api, Tcp};
use crate::{metrics, server};

/// What is served.
pub(super) struct Listeners {
    pub(super) api: Api,
    pub(super) sources: server::Sources,
    pub(super) metrics: Option<(Tcp, Arc<metrics::Exposition>)>,
    /// Tells when to end.
    pub(super) stop: watch::Receiver<bool>,
}

impl Listeners {
    /// Starts the thread, and returns when it listens.
    pub(super) fn start(self) -> Result<(), Error> {
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
        thread.spawn(serve).map_err(Error::Runtime)?;
        let gone = |_gone| Err(Error::Runtime(std::io::ErrorKind::BrokenPipe.into()));
        started.recv().unwrap_or_else(gone)
    }

    async fn listen(&self) -> Result<(), Error> {
        server::start(&self.api, &self.sources, &self.stop).await?;
        if let Some((tcp, exposition)) = &self.metrics {
            metrics::serve(tcp, Arc::clone(exposition), self.stop.clone()).await?;
        }
        Ok(())
    }
}

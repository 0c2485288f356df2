//! Where the API server is, and as whom it is asked.

use std::path::{Path, PathBuf};

use futures_util::FutureExt as _;
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::Client;
use kube::client::ConfigExt as _;
use kube::config::{Config, KubeConfigOptions, Kubeconfig, KubeconfigError};
use tower::{BoxError, ServiceBuilder};

use super::{Error, Timeouts};
use crate::config;

/// An API server that can be asked.
pub(crate) struct Access {
    pub(crate) client: Client,
    /// Its URL.
    pub(crate) server: String,
    /// Namespace of our pod, or of the context.
    pub(crate) namespace: String,
}

impl Access {
    /// Makes what requests need. Nothing is asked yet.
    pub(crate) fn new(access: &config::Kubernetes, timeouts: &Timeouts) -> Result<Self, Error> {
        let config = find(access)?;
        if let Some(proxy) = &config.proxy_url {
            return Err(Error::Proxy(proxy.to_string()));
        }
        let server = config.cluster_url.to_string();
        let namespace = config.default_namespace.clone();
        let unusable = |error: kube::Error| Error::Unusable {
            server: server.clone(),
            cause: Box::new(error),
        };
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(timeouts.connect));
        let keepalive = &timeouts.keepalive;
        connector.set_keepalive(Some(keepalive.first));
        connector.set_keepalive_interval(Some(keepalive.interval));
        connector.set_keepalive_retries(Some(keepalive.tries));
        let connector = config
            .rustls_https_connector_with_connector(connector)
            .map_err(unusable)?;
        // Not the crate's usual layers: pauses are ours, and failures are told once and not for each request.
        let service = ServiceBuilder::new()
            .layer(config.base_uri_layer())
            .option_layer(config.auth_layer().map_err(unusable)?)
            .layer(config.extra_headers_layer().map_err(unusable)?)
            .map_err(BoxError::from)
            .service(Http::builder(TokioExecutor::new()).build(connector));
        Ok(Self {
            client: Client::new(service, namespace.clone()),
            server: server.trim_end_matches('/').to_owned(),
            namespace,
        })
    }
}

/// What was asked for, or what there is: a pod's service account, `$KUBECONFIG`, `~/.kube/config`.
fn find(access: &config::Kubernetes) -> Result<Config, Error> {
    let options = KubeConfigOptions {
        context: access.context.clone(),
        ..KubeConfigOptions::default()
    };
    if let Some(path) = &access.kubeconfig {
        let config = Kubeconfig::read_from(path);
        let config =
            config.and_then(|config| at_once(Config::from_custom_kubeconfig(config, &options)));
        return config.map_err(|cause| Error::Kubeconfig {
            path: path.clone(),
            cause: Box::new(cause),
        });
    }
    let in_cluster = if access.context.is_none() {
        match Config::incluster() {
            Ok(config) => return Ok(config),
            Err(error) => Some(error.to_string()),
        }
    } else {
        None
    };
    let config = at_once(Config::from_kubeconfig(&options));
    config.map_err(|cause| Error::Nowhere {
        in_cluster: in_cluster.unwrap_or_else(|| "a context was asked for".to_owned()),
        kubeconfig: Box::new(cause),
    })
}

/// Folders that are needed to find the server and to be let in, besides a pod's service account.
#[derive(Debug, Default)]
pub struct Needed {
    /// Of files that are read.
    pub read: Vec<PathBuf>,
    /// Of programs that tell credentials.
    pub run: Vec<PathBuf>,
}

/// What is needed for it, as far as its files can be read: what is wrong with them is told when they are
/// used.
pub fn needed(access: &config::Kubernetes) -> Needed {
    let mut needed = Needed::default();
    let home = std::env::var_os("HOME").map(PathBuf::from);
    needed.read.extend(home.map(|home| home.join(".kube")));
    let config = match &access.kubeconfig {
        Some(path) => {
            needed.read.extend(path.parent().map(Path::to_owned));
            Kubeconfig::read_from(path)
        }
        None => Kubeconfig::read(),
    };
    let Ok(config) = config else {
        return needed;
    };
    let clusters = config.clusters.into_iter().filter_map(|of| of.cluster);
    let mut files: Vec<String> = clusters.filter_map(|of| of.certificate_authority).collect();
    for user in config.auth_infos.into_iter().filter_map(|of| of.auth_info) {
        let of_user = [user.client_certificate, user.client_key, user.token_file];
        files.extend(of_user.into_iter().flatten());
        let command = user.exec.and_then(|exec| exec.command).map(PathBuf::from);
        let folder = command
            .as_deref()
            .and_then(Path::parent)
            .map(Path::to_owned);
        needed
            .run
            .extend(folder.filter(|folder| folder.is_absolute()));
    }
    // A file is replaced by another one of its name.
    let folders = files.iter().filter_map(|file| Path::new(file).parent());
    needed.read.extend(folders.map(Path::to_owned));
    needed
}

/// Reading files waits for nothing.
fn at_once(
    reading: impl Future<Output = Result<Config, KubeconfigError>>,
) -> Result<Config, KubeconfigError> {
    let read = reading.now_or_never();
    read.unwrap_or(Err(KubeconfigError::FindPath))
}

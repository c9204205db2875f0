//! One HTTP connection.

use super::{HttpsError, WebUrl};
use crate::net::{Connector, Plan};
use bytes::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// An HTTP connection. The tasks that drive it end when they are dropped.
pub(crate) struct Line<B> {
    pub(crate) sender: http1::SendRequest<B>,
    /// Held to be dropped along; only a WebSocket takes it out.
    #[cfg_attr(not(all(feature = "client", feature = "websocket")), allow(dead_code))]
    pub(crate) tasks: JoinSet<()>,
}

impl<B> Line<B>
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Connects to the host of an address, which has to prove to be that host where TLS is used.
    pub(crate) async fn open(connector: &Connector, url: &WebUrl) -> Result<Line<B>, HttpsError> {
        let connected = connector.connect_to(&url.host, Plan::single(&url.host, url.port, false)).await?;
        let mut transport = connected.transport;
        if url.secure {
            let shaken =
                timeout(connector.options().attempt_timeout, transport.https_client(connector.tls(), &url.host));
            transport = shaken.await.map_err(|_| HttpsError::TimedOut)??;
        }
        let mut settings = http1::Builder::new();
        settings.max_buf_size(16 * 1024).max_headers(64);
        let (sender, connection) = settings.handshake(TokioIo::new(transport)).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "an HTTP connection ended early");
            }
        });
        Ok(Line { sender, tasks })
    }
}

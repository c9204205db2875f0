//! Connections from other servers.

use super::{super::Server, link::Link};
use crate::net::Transport;
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::net::{TcpListener, TcpStream};

impl Server {
    /// Listens for other servers that use STARTTLS, usually on port 5269. Returns the address bound.
    ///
    /// # Errors
    /// Besides those of binding, `InvalidInput` when the server does not federate.
    pub async fn listen_servers(&self, address: SocketAddr) -> io::Result<SocketAddr> {
        self.listen_for_servers(address, false).await
    }

    /// Listens for other servers that begin with TLS (XEP-0368), usually on port 5270. Returns the address bound.
    ///
    /// # Errors
    /// Besides those of binding, `InvalidInput` when the server does not federate or has no certificate.
    pub async fn listen_servers_tls(&self, address: SocketAddr) -> io::Result<SocketAddr> {
        self.listen_for_servers(address, true).await
    }

    /// How many streams to other servers are open or being opened.
    pub fn streams_to_servers(&self) -> usize {
        self.federator().map_or(0, |federator| federator.table.opened())
    }

    async fn listen_for_servers(&self, address: SocketAddr, direct: bool) -> io::Result<SocketAddr> {
        self.may_serve_servers(direct)?;
        self.serve_servers(TcpListener::bind(address).await?, direct)
    }

    fn may_serve_servers(&self, direct: bool) -> io::Result<()> {
        let missing = match (&self.inner().federation, &self.inner().tls) {
            (None, _) => "this server does not federate",
            (_, None) if direct => "direct TLS needs a certificate",
            _ => return Ok(()),
        };
        Err(io::Error::new(io::ErrorKind::InvalidInput, missing))
    }

    pub(in crate::server) fn serve_servers(&self, listener: TcpListener, direct: bool) -> io::Result<SocketAddr> {
        self.may_serve_servers(direct)?;
        let bound = listener.local_addr()?;
        let Some(federator) = self.federator() else { return Ok(bound) };
        let (server, stop) = (self.clone(), federator.stop.clone());
        federator.links.spawn(async move {
            let _ = stop.run_until_cancelled(server.accept_servers(listener, direct)).await;
        });
        tracing::info!(address = %bound, direct, "listening for servers");
        Ok(bound)
    }

    async fn accept_servers(&self, listener: TcpListener, direct: bool) {
        let Some(federator) = self.federator() else { return };
        loop {
            let Ok(permit) = Arc::clone(&federator.incoming).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let server = self.clone();
                    federator.links.spawn(async move {
                        server.accept_server(stream, peer, direct).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    // Out of descriptors: spinning would not bring any back (ABUSE A100).
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn accept_server(self, stream: TcpStream, peer: SocketAddr, direct: bool) {
        let Some(federator) = self.federator() else { return };
        self.inner().stats.accepted.fetch_add(1, Ordering::Relaxed);
        let Some(place) = federator.newcomers.enter(peer.ip(), federator.limits.unauthenticated_per_ip) else {
            tracing::debug!(%peer, "too many unauthenticated connections");
            return;
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "set_nodelay");
        }
        Link::incoming(self.clone(), Transport::Plain(stream), direct, Some(place)).await;
    }
}

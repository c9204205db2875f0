//! Accepting HTTP connections, each within the server's bounds.

use super::patient::{Patient, Steady};
use super::{Server, WebPeer};
use crate::net::Transport;
use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tower_service::Service as _;

/// The connection's place among all connections. What outlives the HTTP in it (a WebSocket) takes it along.
#[derive(Clone)]
pub(super) struct ConnectionPermit(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl ConnectionPermit {
    pub(super) fn take(&self) -> Option<OwnedSemaphorePermit> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Server {
    /// Listens for HTTP without TLS, on loopback or behind a reverse proxy ([`Http::trusted_proxy`]). Returns the
    /// address bound.
    ///
    /// [`Http::trusted_proxy`]: super::Http::trusted_proxy
    pub async fn listen_http(&self, address: SocketAddr) -> io::Result<SocketAddr> {
        self.listen_web(address, false).await
    }

    /// Listens for HTTPS, with the server's certificates. Returns the address bound.
    ///
    /// # Errors
    /// Besides those of binding, `InvalidInput` when the server was given no certificate.
    pub async fn listen_https(&self, address: SocketAddr) -> io::Result<SocketAddr> {
        self.needs_certificate()?;
        self.listen_web(address, true).await
    }

    async fn listen_web(&self, address: SocketAddr, tls: bool) -> io::Result<SocketAddr> {
        self.listen_web_on(TcpListener::bind(address).await?, tls)
    }

    pub(in crate::server) fn listen_web_on(&self, listener: TcpListener, tls: bool) -> io::Result<SocketAddr> {
        let bound = listener.local_addr()?;
        let (server, stop, router) = (self.clone(), self.inner().stop.clone(), self.router());
        self.inner().tasks.spawn(async move {
            let _ = stop.run_until_cancelled(server.accept_web_loop(listener, tls, router)).await;
        });
        tracing::info!(address = %bound, tls, "listening for HTTP");
        Ok(bound)
    }

    async fn accept_web_loop(&self, listener: TcpListener, tls: bool, router: Router) {
        loop {
            // As for other connections: a full house does not accept.
            let Ok(permit) = Arc::clone(&self.inner().connections).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, peer)) => self.accept_web_tcp(stream, peer, tls, router.clone(), permit),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn accept_web_tcp(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        tls: bool,
        router: Router,
        permit: OwnedSemaphorePermit,
    ) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "set_nodelay");
        }
        let ip = peer.ip().to_canonical();
        // All the clients of a proxy have its address.
        let trusted = self.http().settings.trusts(ip);
        let place = self.inner().web_connections.enter(ip, self.limits().http.connections_per_ip);
        if place.is_none() && !trusted {
            tracing::debug!(%ip, "too many HTTP connections");
            return;
        }
        let server = self.clone();
        self.inner().tasks.spawn(async move {
            let permit = ConnectionPermit(Arc::new(Mutex::new(Some(permit))));
            if let Err(error) = Box::pin(server.serve_web(Transport::Plain(stream), ip, tls, router, permit)).await {
                tracing::debug!(%ip, %error, "an HTTP connection ended early");
            }
            drop(place);
        });
    }

    async fn serve_web(
        &self,
        mut transport: Transport,
        ip: IpAddr,
        tls: bool,
        router: Router,
        permit: ConnectionPermit,
    ) -> Result<(), axum::BoxError> {
        let (limits, stop) = (self.limits(), &self.inner().stop);
        if let (true, Some(tls)) = (tls, &self.inner().tls) {
            let shaken = timeout(limits.phase, transport.https_server(tls));
            transport = match stop.run_until_cancelled(shaken).await {
                Some(shaken) => shaken??,
                None => return Ok(()),
            };
        }
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let peer = self.http().settings.peer(ip, tls, request.headers());
            let stall = limits.http.stall;
            let mut request = request.map(|body| Body::new(Steady::new(body, stall)));
            request.extensions_mut().insert::<WebPeer>(peer);
            request.extensions_mut().insert(permit.clone());
            router.clone().call(request)
        });
        let io = TokioIo::new(Patient::new(transport, limits.http.stall));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.http.headers_time)
            .max_headers(limits.http.headers)
            .max_buf_size(limits.http.headers_bytes.max(8192))
            .serve_connection(io, service)
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            served = connection.as_mut() => served?,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                timeout(limits.closing, connection).await??;
            }
        }
        Ok(())
    }
}

//! Accepting connections, and the server's own clock.

use super::{
    Server, StreamCondition, StreamError,
    places::{self, Places},
    seconds,
    session::{Role, Session, Vigil},
};
use crate::{
    net::{Service, Transport},
    payload::{Payload, ping::Ping},
    xml::{Writer, ns},
};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::OwnedSemaphorePermit,
};

/// How a connection came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// TCP; TLS by STARTTLS.
    StartTls,
    /// TLS from the first byte (XEP-0368).
    DirectTls,
    /// A pipe inside the process.
    Memory,
    /// A component (XEP-0114), over TCP.
    Component,
    /// A component inside the process.
    ComponentMemory,
    /// Framed in HTTP (WebSocket, BOSH), whose TLS protects it or not.
    #[cfg(feature = "http")]
    Web {
        /// Whether TLS does.
        secured: bool,
    },
}

/// Who is expected at a listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Audience {
    /// Clients that use STARTTLS: [`Server::listen`].
    Clients,
    /// Clients that begin with TLS: [`Server::listen_tls`].
    ClientsTls,
    /// Other servers that use STARTTLS: [`Server::listen_servers`].
    Servers,
    /// Other servers that begin with TLS: [`Server::listen_servers_tls`].
    ServersTls,
    /// Components: [`Server::listen_components`].
    Components,
    /// HTTP without TLS: [`Server::listen_http`].
    #[cfg(feature = "http")]
    Http,
    /// HTTPS: [`Server::listen_https`].
    #[cfg(feature = "http")]
    Https,
}

/// Connections that have not authenticated yet, by address.
pub(crate) type Newcomers = Places<IpAddr>;

/// A place among the newcomers of an address.
pub(crate) type Place = places::Place<IpAddr>;

impl Server {
    /// Listens for clients that use STARTTLS (RFC 6120 §5), usually on port 5222. Returns the address bound.
    pub async fn listen(&self, address: SocketAddr) -> io::Result<SocketAddr> {
        self.listen_for(address, Entry::StartTls).await
    }

    /// Listens for clients that begin with TLS (XEP-0368), usually on port 5223. Returns the address bound.
    ///
    /// # Errors
    /// Besides those of binding, `InvalidInput` when the server was given no certificate.
    pub async fn listen_tls(&self, address: SocketAddr) -> io::Result<SocketAddr> {
        self.needs_certificate()?;
        self.listen_for(address, Entry::DirectTls).await
    }

    /// Listens for components (XEP-0114), usually on port 5347. Their streams are not encrypted, so the address should be
    /// a loopback one, or lie in a network that is encrypted by other means. Returns the address bound.
    pub async fn listen_components(&self, address: SocketAddr) -> io::Result<SocketAddr> {
        self.listen_for(address, Entry::Component).await
    }

    /// Listens on a socket that was made elsewhere: by a service manager, which keeps it while one process of the server
    /// hands over to the next, or by a parent process. Returns its address.
    ///
    /// # Errors
    /// `InvalidInput` for an audience that needs a certificate or federation, when the server was given none.
    pub fn listen_on(&self, listener: std::net::TcpListener, audience: Audience) -> io::Result<SocketAddr> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let entry = match audience {
            Audience::Clients => Entry::StartTls,
            Audience::ClientsTls => {
                self.needs_certificate()?;
                Entry::DirectTls
            }
            Audience::Servers => return self.serve_servers(listener, false),
            Audience::ServersTls => return self.serve_servers(listener, true),
            Audience::Components => Entry::Component,
            #[cfg(feature = "http")]
            Audience::Http => return self.listen_web_on(listener, false),
            #[cfg(feature = "http")]
            Audience::Https => {
                self.needs_certificate()?;
                return self.listen_web_on(listener, true);
            }
        };
        self.serve(listener, entry)
    }

    pub(super) fn needs_certificate(&self) -> io::Result<()> {
        match self.inner().tls {
            Some(_) => Ok(()),
            None => Err(io::Error::new(io::ErrorKind::InvalidInput, "TLS needs a certificate")),
        }
    }

    async fn listen_for(&self, address: SocketAddr, entry: Entry) -> io::Result<SocketAddr> {
        self.serve(TcpListener::bind(address).await?, entry)
    }

    fn serve(&self, listener: TcpListener, entry: Entry) -> io::Result<SocketAddr> {
        let bound = listener.local_addr()?;
        let (server, stop) = (self.clone(), self.inner().stop.clone());
        self.inner().tasks.spawn(async move {
            let _ = stop.run_until_cancelled(server.accept_loop(listener, entry)).await;
        });
        tracing::info!(address = %bound, ?entry, "listening");
        Ok(bound)
    }

    async fn accept_loop(&self, listener: TcpListener, entry: Entry) {
        loop {
            // A full house does not accept: the rest wait in the kernel's queue, which is bounded too.
            let Ok(permit) = Arc::clone(&self.inner().connections).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, peer)) => self.accept_tcp(stream, peer, entry, permit),
                Err(error) => {
                    // Out of descriptors: spinning would not bring any back (ABUSE A100).
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn accept_tcp(&self, stream: TcpStream, peer: SocketAddr, entry: Entry, permit: OwnedSemaphorePermit) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "set_nodelay");
        }
        self.accept(Transport::Plain(stream), peer.ip(), entry, Some(permit));
    }

    /// Runs a connection, if its address may have another.
    pub(super) fn accept(&self, transport: Transport, ip: IpAddr, entry: Entry, permit: Option<OwnedSemaphorePermit>) {
        self.inner().stats.accepted.fetch_add(1, Ordering::Relaxed);
        // What is in the process is no newcomer from anywhere.
        let place = if matches!(entry, Entry::Memory | Entry::ComponentMemory) {
            None
        } else {
            let place = self.inner().newcomers.enter(ip, self.inner().limits.unauthenticated_per_ip);
            if place.is_none() {
                tracing::debug!(%ip, "too many unauthenticated connections");
                return;
            }
            place
        };
        let server = self.clone();
        // The negotiation is large and short: it has a box of its own, which is gone when the session begins.
        self.inner().tasks.spawn(async move {
            let connection = match entry {
                Entry::Component | Entry::ComponentMemory => Box::pin(server.attach(transport, ip, place)).await,
                _ => Box::pin(server.negotiate(transport, ip, entry, place)).await,
            };
            drop(server);
            if let Some(connection) = connection {
                connection.await;
            }
            drop(permit);
        });
    }

    /// Advances the tick and looks after silent sessions, as long as the server is there.
    pub(super) fn start_keeper(&self) {
        let (weak, stop) = (self.downgrade(), self.inner().stop.clone());
        let keeper = async move {
            let mut seconds = tokio::time::interval(Duration::from_secs(1));
            seconds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                seconds.tick().await;
                let Some(server) = weak.upgrade() else { return };
                let tick = server.inner().tick.fetch_add(1, Ordering::Relaxed) + 1;
                server.end_hibernations(tick);
                if tick.is_multiple_of(server.keepalive_every()) {
                    server.keep_alive(tick);
                }
            }
        };
        tokio::spawn(async move {
            let _ = stop.run_until_cancelled(keeper).await;
        });
    }

    /// How often all sessions are looked at: a few times in the shortest time that counts.
    fn keepalive_every(&self) -> u32 {
        let limits = self.limits();
        (seconds(limits.keepalive.min(limits.keepalive_answer)) / 4).max(1)
    }

    /// Asks a client or a component whether it is there. It must answer any request (RFC 6120 §8.2.3); what it answers
    /// does not matter.
    fn ping(&self, session: &Session) -> Vec<u8> {
        let to = session.jid();
        let from = match session.role() {
            // From its own domain it would be the one to get its answer.
            Role::Component => self.domains().next().unwrap_or_default(),
            _ => to.domain(),
        };
        let mut out = Writer::new(ns::CLIENT);
        out.open("iq", ns::CLIENT);
        let id = crate::stanza::generate_id();
        for (name, value) in [("from", from), ("to", to.as_str()), ("type", "get"), ("id", &id)] {
            out.attr(name, value);
        }
        Ping.write(&mut out);
        out.close();
        out.finish()
    }

    /// Finds out whether those who have been silent are there. Who has stream management is asked for an
    /// acknowledgement (XEP-0198 §4). Others get white space (RFC 6120 §4.6.1), of which TCP says in its own time
    /// whether it arrived, and after as long a silence again a ping (XEP-0199 §4.1). Any byte is a sign of life.
    fn keep_alive(&self, tick: u32) {
        let limits = self.limits();
        let (silence, patience) = (seconds(limits.keepalive).max(1), seconds(limits.keepalive_answer));
        let (twice, every) = (silence.saturating_mul(2), self.keepalive_every());
        let is_now = |silent: u32, at: u32| silent >= at && silent - at < every;
        self.inner().directory.for_each(|session| {
            let silent = tick.saturating_sub(session.silent_since());
            let dead = match session.keep_vigil(tick, limits) {
                Vigil::Fine => return,
                Vigil::Dead => true,
                Vigil::Silent => silent >= twice && session.is_stuck(),
            };
            let timeout = StreamError::new(StreamCondition::ConnectionTimeout);
            match session.role() {
                _ if dead => {
                    session.close(Some(&timeout));
                    session.kill();
                }
                // Another server may have nothing to say for hours: TCP alone tells.
                Role::Server if silent % silence < every => session.push_raw(limits, b" "),
                Role::Server => {}
                _ if silent >= twice.saturating_add(patience) => session.close(Some(&timeout)),
                _ if is_now(silent, twice) => {
                    // A stanza, which counts if its client has just enabled stream management.
                    session.push(limits, |out| out.extend_from_slice(&self.ping(session)));
                }
                _ if is_now(silent, silence) => session.push_raw(limits, b" "),
                _ => {}
            }
        });
    }
}

/// The service that a listener of clients stands for.
pub(super) const SERVICE: Service = Service::Client;

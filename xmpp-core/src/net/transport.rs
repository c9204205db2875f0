//! The byte stream below an XMPP stream: TCP, TLS over it, or a pipe in memory.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

#[cfg(doc)]
use super::tls::CertificateProblem;
use super::tls::{self, ClientTls, ServerTls, TlsError};
#[cfg(feature = "websocket")]
use super::websocket::WebSocket;
use super::{Service, pipe::Pipe};
use crate::sasl::ChannelBindings;
#[cfg(feature = "server")]
use crate::xml::XmlLimits;

/// A connection of either role. TLS is boxed, so that a plain connection costs no more than its socket.
#[derive(Debug)]
#[non_exhaustive]
pub enum Transport {
    /// TCP without TLS.
    Plain(TcpStream),
    /// A pipe to a peer in the same process, for tests and embedding.
    Memory(Pipe),
    /// TLS as the initiator.
    ClientTls(Box<SecureClient>),
    /// TLS as the receiver.
    ServerTls(Box<SecureServer>),
    /// The messages of a WebSocket (RFC 7395), as the bytes that they stand for.
    #[cfg(feature = "websocket")]
    WebSocket(Box<WebSocket>),
}

/// What TLS runs over.
#[derive(Debug)]
pub(crate) enum Raw {
    Tcp(TcpStream),
    Memory(Pipe),
}

/// TLS as the initiator.
#[derive(Debug)]
pub struct SecureClient {
    pub(crate) stream: tokio_rustls::client::TlsStream<Raw>,
}

/// TLS as the receiver.
#[derive(Debug)]
pub struct SecureServer {
    pub(crate) stream: tokio_rustls::server::TlsStream<Raw>,
    /// `tls-server-end-point` of the certificate that this connection was served with; a reload doesn't change it.
    pub(crate) end_point: Option<Arc<[u8]>>,
}

/// Calls a poll function on whatever the stream is.
macro_rules! on_stream {
    ($self:expr, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Transport::Plain($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            Transport::Memory($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            Transport::ClientTls(tls) => {
                let $stream = Pin::new(&mut tls.stream);
                $call
            }
            Transport::ServerTls(tls) => {
                let $stream = Pin::new(&mut tls.stream);
                $call
            }
            #[cfg(feature = "websocket")]
            Transport::WebSocket(socket) => {
                let $stream = Pin::new(&mut **socket);
                $call
            }
        }
    };
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, s => s.poll_read(cx, buf))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        on_stream!(self, s => s.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_stream!(self, s => s.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Transport::Plain(s) => s.is_write_vectored(),
            Transport::Memory(s) => s.is_write_vectored(),
            Transport::ClientTls(s) => s.stream.is_write_vectored(),
            Transport::ServerTls(s) => s.stream.is_write_vectored(),
            #[cfg(feature = "websocket")]
            Transport::WebSocket(_) => false,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, s => s.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, s => s.poll_shutdown(cx))
    }
}

impl AsyncRead for Raw {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Raw::Tcp(s) => Pin::new(s).poll_read(cx, buf),
            Raw::Memory(s) => Pin::new(s).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Raw {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Raw::Tcp(s) => Pin::new(s).poll_write(cx, buf),
            Raw::Memory(s) => Pin::new(s).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Raw::Tcp(s) => Pin::new(s).poll_write_vectored(cx, bufs),
            Raw::Memory(s) => Pin::new(s).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Raw::Tcp(s) => s.is_write_vectored(),
            Raw::Memory(s) => s.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Raw::Tcp(s) => Pin::new(s).poll_flush(cx),
            Raw::Memory(s) => Pin::new(s).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Raw::Tcp(s) => Pin::new(s).poll_shutdown(cx),
            Raw::Memory(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}

impl From<TcpStream> for Transport {
    fn from(stream: TcpStream) -> Transport {
        Transport::Plain(stream)
    }
}

impl Transport {
    /// Two connected ends in memory, with `room` octets in each direction; memory is held only while octets are.
    pub fn pair(room: usize) -> (Transport, Transport) {
        let (a, b) = Pipe::pair(room);
        (Transport::Memory(a), Transport::Memory(b))
    }

    /// Whether TLS protects the connection.
    pub fn is_secure(&self) -> bool {
        matches!(self.below(), Transport::ClientTls(_) | Transport::ServerTls(_))
    }

    /// What carries the octets: itself, unless it is framed.
    fn below(&self) -> &Transport {
        match self {
            #[cfg(feature = "websocket")]
            Transport::WebSocket(socket) => socket.below().map_or(self, Transport::below),
            _ => self,
        }
    }

    /// New bounds on what the peer may send, for a transport that has its own part in them.
    #[cfg(feature = "server")]
    pub(crate) fn set_limits(&mut self, _limits: XmlLimits) {
        #[cfg(feature = "websocket")]
        if let Transport::WebSocket(socket) = self {
            socket.set_limits(_limits);
        }
    }

    fn tcp(&self) -> Option<&TcpStream> {
        let raw = match self.below() {
            Transport::Plain(tcp) => return Some(tcp),
            Transport::ClientTls(tls) => tls.stream.get_ref().0,
            Transport::ServerTls(tls) => tls.stream.get_ref().0,
            _ => return None,
        };
        match raw {
            Raw::Tcp(tcp) => Some(tcp),
            Raw::Memory(_) => None,
        }
    }

    /// The address of the peer; `None` in memory or when the connection is gone.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.tcp()?.peer_addr().ok()
    }

    /// The own address of the connection; `None` in memory or when the connection is gone.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.tcp()?.local_addr().ok()
    }

    /// What SASL can bind to this connection; nothing without TLS.
    pub fn bindings(&self) -> ChannelBindings {
        match self.below() {
            Transport::ClientTls(tls) => tls::client_bindings(tls.stream.get_ref().1),
            Transport::ServerTls(tls) => {
                tls::server_bindings(tls.stream.get_ref().1, tls.end_point.as_deref().map(<[u8]>::to_vec))
            }
            _ => ChannelBindings::default(),
        }
    }

    /// The certificates that the peer showed, DER, its own first. On the receiver's side they are **not verified** and
    /// only there if [`request_peer_certificate`] asked for them; see [`verify_peer`](Transport::verify_peer).
    ///
    /// [`request_peer_certificate`]: super::tls::ServerTlsBuilder::request_peer_certificate
    pub fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        let chain = match self.below() {
            Transport::ClientTls(tls) => tls.stream.get_ref().1.peer_certificates(),
            Transport::ServerTls(tls) => tls.stream.get_ref().1.peer_certificates(),
            _ => None,
        };
        chain.unwrap_or_default()
    }

    /// Whether the peer proved to be `domain`, by the rules and with the trust of `tls`: what SASL EXTERNAL between
    /// servers rests on (XEP-0178 §3). Without a certificate the answer is [`CertificateProblem::Missing`].
    pub fn verify_peer(&self, tls: &ClientTls, domain: &str) -> Result<(), TlsError> {
        tls.verify(self.peer_certificates(), domain)
    }

    /// The host name that the initiator asked for (SNI), on the receiver's side. A receiver that serves several domains
    /// compares it with the stream's `to` (RFC 7590 §3.6).
    pub fn server_name(&self) -> Option<&str> {
        match self.below() {
            Transport::ServerTls(tls) => tls.stream.get_ref().1.server_name(),
            _ => None,
        }
    }

    /// The negotiated ALPN identifier, if any.
    pub fn alpn(&self) -> Option<&[u8]> {
        match self.below() {
            Transport::ClientTls(tls) => tls.stream.get_ref().1.alpn_protocol(),
            Transport::ServerTls(tls) => tls.stream.get_ref().1.alpn_protocol(),
            _ => None,
        }
    }

    /// The TLS version and cipher suite, as in `TLS 1.3 TLS13_AES_256_GCM_SHA384`.
    pub fn tls_summary(&self) -> Option<String> {
        let common: &rustls::CommonState = match self.below() {
            Transport::ClientTls(tls) => tls.stream.get_ref().1,
            Transport::ServerTls(tls) => tls.stream.get_ref().1,
            _ => return None,
        };
        let version = match common.protocol_version()? {
            rustls::ProtocolVersion::TLSv1_2 => "TLS 1.2".to_owned(),
            rustls::ProtocolVersion::TLSv1_3 => "TLS 1.3".to_owned(),
            other => format!("{other:?}"),
        };
        Some(format!("{version} {:?}", common.negotiated_cipher_suite()?.suite()))
    }

    fn into_raw(self) -> Result<Raw, TlsError> {
        match self {
            Transport::Plain(tcp) => Ok(Raw::Tcp(tcp)),
            Transport::Memory(pipe) => Ok(Raw::Memory(pipe)),
            Transport::ClientTls(_) | Transport::ServerTls(_) => Err(TlsError::AlreadySecure),
            // RFC 7395 §3.9: its TLS is below it, or nowhere.
            #[cfg(feature = "websocket")]
            Transport::WebSocket(_) => Err(TlsError::Configuration("no TLS inside of a WebSocket".to_owned())),
        }
    }

    /// Becomes the TLS initiator after STARTTLS was agreed (RFC 6120 §5.4.3). The peer must prove to be `domain`.
    ///
    /// The caller has dropped whatever it read beyond `<proceed/>`, and lets nothing that it learnt before survive.
    /// Not bounded in time: wrap it in the deadline of the negotiation. Not cancel-safe; dropping it closes the
    /// connection.
    pub async fn upgrade_client(self, tls: &ClientTls, domain: &str) -> Result<Transport, TlsError> {
        tls.connect(self.into_raw()?, domain, false).await
    }

    /// Becomes the TLS receiver after `<proceed/>` was sent (RFC 6120 §5.4.3). See [`upgrade_client`] for what the
    /// caller guarantees.
    ///
    /// [`upgrade_client`]: Transport::upgrade_client
    pub async fn upgrade_server(self, tls: &ServerTls) -> Result<Transport, TlsError> {
        tls.accept(self.into_raw()?, Service::Client, false).await
    }

    /// As [`upgrade_server`](Transport::upgrade_server), for a connection from another server: it is asked for its
    /// certificate, which is left to [`verify_peer`](Transport::verify_peer) to judge.
    pub async fn upgrade_peer(self, tls: &ServerTls) -> Result<Transport, TlsError> {
        tls.accept(self.into_raw()?, Service::Server, false).await
    }

    /// HTTPS as the receiver: ALPN is `http/1.1`.
    #[cfg(feature = "http")]
    pub(crate) async fn https_server(self, tls: &ServerTls) -> Result<Transport, TlsError> {
        tls.accept_http(self.into_raw()?).await
    }

    /// HTTPS as the initiator: the host has to prove to be `host`.
    #[cfg(feature = "https")]
    pub(crate) async fn https_client(self, tls: &ClientTls, host: &str) -> Result<Transport, TlsError> {
        tls.connect_http(self.into_raw()?, host).await
    }

    /// Direct TLS as the initiator (XEP-0368): as [`upgrade_client`](Transport::upgrade_client), with the ALPN
    /// identifier of the service that `tls` is for.
    pub async fn direct_client(self, tls: &ClientTls, domain: &str) -> Result<Transport, TlsError> {
        tls.connect(self.into_raw()?, domain, true).await
    }

    /// Direct TLS as the receiver (XEP-0368). An initiator that offers only ALPN identifiers of other protocols is
    /// refused; one that offers none is served (RFC 7301 §3.2).
    pub async fn direct_server(self, tls: &ServerTls, service: Service) -> Result<Transport, TlsError> {
        tls.accept(self.into_raw()?, service, true).await
    }
}

//! A connection, and as little looking at XML as a load generator gets by with: known strings in a stream.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use memchr::memmem;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::args::Target;
use crate::error::{Error, Result};

/// How long any single answer may take before the run is given up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// No answer that the generator waits for is longer.
const LONGEST_ANSWER: usize = 64 * 1024;
/// Loopback source addresses in use, so that tens of thousands of connections don't run out of ports.
const SOURCES: usize = 32;

pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_read(cx, buf),
            Stream::Tls(s) => Pin::new(s).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_write(cx, data),
            Stream::Tls(s) => Pin::new(s).poll_write(cx, data),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_flush(cx),
            Stream::Tls(s) => Pin::new(s).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_shutdown(cx),
            Stream::Tls(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}

/// A connection and what it has sent us that nobody has looked at yet.
pub(crate) struct Conn {
    pub(crate) stream: Stream,
    unread: Vec<u8>,
}

impl Conn {
    /// Connects from one of several loopback addresses, chosen by `number`.
    pub(crate) async fn open(target: &Target, port: u16, number: usize) -> Result<Conn> {
        let to = SocketAddr::new(target.host, port);
        let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if matches!(target.host, IpAddr::V4(ip) if ip.is_loopback()) {
            let from = Ipv4Addr::new(127, 0, 0, 2 + (number % SOURCES) as u8);
            socket.bind(SocketAddr::new(IpAddr::V4(from), 0))?;
        }
        socket.set_nodelay(true)?;
        let stream = in_time("connection", async { Ok(socket.connect(to).await?) }).await?;
        Ok(Conn { stream: Stream::Plain(stream), unread: Vec::new() })
    }

    /// Puts TLS on the connection.
    pub(crate) async fn secure(self, domain: &str, connector: &TlsConnector) -> Result<Conn> {
        let Stream::Plain(tcp) = self.stream else { return Err(Error::Usage("TLS inside TLS".to_owned())) };
        let name = ServerName::try_from(domain.to_owned())
            .map_err(|_| Error::Usage(format!("{domain:?} is no name for a TLS server")))?;
        let tls = in_time("TLS handshake", async { Ok(connector.connect(name, tcp).await?) }).await?;
        Ok(Conn { stream: Stream::Tls(Box::new(tls)), unread: Vec::new() })
    }

    pub(crate) async fn send(&mut self, data: &str) -> Result<()> {
        self.stream.write_all(data.as_bytes()).await?;
        Ok(self.stream.flush().await?)
    }

    /// Reads until one of `ends` has come, and returns everything up to and with it. What the others are for:
    /// a failure shall be seen at once and not as a time-out.
    pub(crate) async fn until(&mut self, what: &'static str, ends: &[&str]) -> Result<String> {
        in_time(what, async {
            loop {
                let end =
                    ends.iter().filter_map(|e| memmem::find(&self.unread, e.as_bytes()).map(|at| at + e.len())).min();
                if let Some(end) = end {
                    let text = String::from_utf8_lossy(self.unread.get(..end).unwrap_or_default()).into_owned();
                    self.unread.drain(..end);
                    return Ok(text);
                }
                let mut chunk = [0; 4096];
                let n = self.stream.read(&mut chunk).await?;
                self.unread.extend_from_slice(chunk.get(..n).unwrap_or_default());
                if n == 0 || self.unread.len() > LONGEST_ANSWER {
                    let said = String::from_utf8_lossy(&self.unread).chars().take(500).collect::<String>();
                    return Err(Error::Server(format!("gave no {what}, but {said:?}")));
                }
            }
        })
        .await
    }

    /// What has come and was not looked at: empty before load starts, or counts would be wrong.
    pub(crate) fn forget_unread(&mut self) {
        self.unread = Vec::new();
    }
}

/// Gives `work` twenty seconds.
pub(crate) async fn in_time<T>(what: &'static str, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(PATIENCE, work).await.map_err(|_| Error::Timeout(what))?
}

/// The text between the first `<name …>` and its end tag.
pub(crate) fn text_of<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let after = xml.split_once(&format!("<{name}"))?.1.split_once('>')?.1;
    after.split_once(&format!("</{name}>")).map(|t| t.0)
}

/// Counts a string in a stream that arrives in pieces. It starts with `<` and has no other.
pub(crate) struct Count {
    needle: &'static [u8],
    matched: usize,
}

impl Count {
    pub(crate) const fn of(needle: &'static str) -> Count {
        Count { needle: needle.as_bytes(), matched: 0 }
    }

    /// How often the string ended in `piece`.
    pub(crate) fn feed(&mut self, piece: &[u8]) -> usize {
        let mut found = 0;
        let mut rest = piece;
        loop {
            if self.matched == 0 {
                let Some(at) = memchr::memchr(b'<', rest) else { return found };
                rest = rest.get(at + 1..).unwrap_or_default();
                self.matched = 1;
            }
            while let (Some(&byte), Some(&wanted)) = (rest.first(), self.needle.get(self.matched)) {
                if byte != wanted {
                    self.matched = 0;
                    break;
                }
                self.matched += 1;
                rest = rest.get(1..).unwrap_or_default();
            }
            if self.matched == self.needle.len() {
                found += 1;
                self.matched = 0;
            } else if self.matched > 0 {
                return found;
            }
        }
    }
}

/// TLS 1.3 that believes any certificate and resumes nothing: each login is measured with its whole handshake.
pub(crate) fn tls_connector() -> Result<TlsConnector> {
    let provider = Arc::new(ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("only TLS 1.3 is spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_whatever_the_cuts() {
        let stream = b"<message><body>a</body></message></messag</message><</message></messages>";
        for cut in 1..stream.len() {
            let mut count = Count::of("</message>");
            let total: usize = stream.chunks(cut).map(|piece| count.feed(piece)).sum();
            assert_eq!(total, 3, "cut every {cut} bytes");
        }
    }

    #[test]
    fn text_of_an_element_with_attributes() {
        let xml = "<iq type='result'><bind xmlns='b'><jid>u1@localhost/x</jid></bind></iq>";
        assert_eq!(text_of(xml, "jid"), Some("u1@localhost/x"));
        assert_eq!(text_of(xml, "challenge"), None);
    }
}

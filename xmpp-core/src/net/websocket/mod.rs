//! XMPP over WebSocket (RFC 7395) as a byte stream: each message is an element on the wire, and whoever reads and
//! writes sees the stream of RFC 6120.

#[cfg(feature = "client")]
mod connect;
#[cfg(feature = "client")]
mod discover;
mod meter;
#[cfg(all(test, feature = "http", feature = "client", feature = "self-signed"))]
mod tests;

#[cfg(feature = "client")]
pub(crate) use super::https::WebUrl;
#[cfg(feature = "client")]
pub use connect::WebSocketError;
#[cfg(feature = "client")]
pub(crate) use connect::{Redirect, connect};
#[cfg(feature = "client")]
pub(crate) use discover::discover;

use super::Transport;
use crate::stream::framing::{Frame, Framing, Side};
use crate::stream::{StreamCondition, StreamError};
use crate::xml::{XmlError, XmlLimits};
use meter::Meter;
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tungstenite::Message;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};

/// The name of the subprotocol (RFC 7395 §3.1).
pub(crate) const SUBPROTOCOL: &str = "xmpp";

/// The answer to a `Sec-WebSocket-Key` (RFC 6455 §4.2.2).
#[cfg(any(feature = "client", feature = "http"))]
pub(crate) fn accept_key(key: &[u8]) -> String {
    use base64::Engine;
    use sha1::Digest;
    let salted = sha1::Sha1::new().chain_update(key).chain_update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    base64::engine::general_purpose::STANDARD.encode(salted.finalize())
}

/// A read buffer is held as long as the connection: idle ones are many.
const READ_BUFFER: usize = 1024;
/// Frames up to here are written together.
const WRITE_BUFFER: usize = 8 * 1024;
/// Octets of frames without content, such as pings and empty fragments, until a message is complete.
const EMPTY_OCTETS: usize = 1 << 20;
/// Time for the other end to answer our close frame.
const CLOSING: Duration = Duration::from_secs(3);

/// A WebSocket, whose messages it translates.
#[derive(Debug)]
pub struct WebSocket {
    /// Taken out on drop alone.
    socket: Option<Socket>,
    framing: Framing,
    /// Translated, to be read from `start` on.
    inbox: Vec<u8>,
    start: usize,
    /// The peer sends nothing more that counts.
    ended: bool,
    /// The peer's frames are no WebSocket's any more: what comes is thrown away.
    deaf: bool,
    /// Something is written and not flushed, because the connection took nothing.
    blocked: bool,
    /// What our close frame says.
    code: CloseCode,
    close_sent: bool,
    /// Where the server's wish to be left for another is noted.
    #[cfg(feature = "client")]
    redirect: Option<Redirect>,
}

#[derive(Debug)]
struct Socket {
    io: Transport,
    context: WebSocketContext,
    meter: Meter,
}

/// The connection as blocking I/O that would block instead of waiting.
struct Now<'a, 'b> {
    io: &'a mut Transport,
    cx: &'a mut Context<'b>,
    meter: &'a mut Meter,
}

fn now<T>(polled: Poll<io::Result<T>>) -> io::Result<T> {
    match polled {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl Read for Now<'_, '_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.meter.empty() > EMPTY_OCTETS {
            return Err(StreamError::new(StreamCondition::PolicyViolation).with_text("frames without content").into());
        }
        let mut buffer = ReadBuf::new(bytes);
        now(Pin::new(&mut *self.io).poll_read(self.cx, &mut buffer))?;
        self.meter.feed(buffer.filled());
        Ok(buffer.filled().len())
    }
}

impl Write for Now<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        now(Pin::new(&mut *self.io).poll_write(self.cx, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        now(Pin::new(&mut *self.io).poll_flush(self.cx))
    }
}

impl Socket {
    fn run<T>(
        &mut self,
        cx: &mut Context<'_>,
        call: impl FnOnce(&mut WebSocketContext, &mut Now<'_, '_>) -> tungstenite::Result<T>,
    ) -> Poll<tungstenite::Result<T>> {
        let Socket { io, context, meter } = self;
        match call(context, &mut Now { io, cx, meter }) {
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            done => Poll::Ready(done),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(self.run(cx, |context, io| context.flush(io))) {
            Err(error) if !over(&error) => Poll::Ready(Err(into_io(error))),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Reads and drops until the peer closes. After an error in its frames there are no frames to be found any more.
    fn poll_drained(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut buffer = [0; 1024];
        loop {
            let mut read = ReadBuf::new(&mut buffer);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

/// Whether the closing handshake is done.
fn over(error: &tungstenite::Error) -> bool {
    matches!(error, tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed)
}

fn into_io(error: tungstenite::Error) -> io::Error {
    match error {
        tungstenite::Error::Io(error) => error,
        other => io::Error::other(other),
    }
}

impl WebSocket {
    /// A WebSocket after its opening handshake, of which `read` was read beyond that. The peer's messages are bounded
    /// by `limits`.
    pub(crate) fn new(io: Transport, read: Vec<u8>, side: Side, limits: XmlLimits) -> WebSocket {
        let role = match side {
            Side::Client => Role::Client,
            Side::Server => Role::Server,
        };
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_message_size(Some(limits.stanza_bytes as usize))
            .max_frame_size(Some(limits.stanza_bytes as usize));
        let mut meter = Meter::default();
        meter.feed(&read);
        let context = WebSocketContext::from_partially_read(read, role, Some(config));
        WebSocket {
            socket: Some(Socket { io, context, meter }),
            framing: Framing::new(side, limits),
            inbox: Vec::new(),
            start: 0,
            ended: false,
            deaf: false,
            blocked: false,
            code: CloseCode::Normal,
            close_sent: false,
            #[cfg(feature = "client")]
            redirect: None,
        }
    }

    /// New bounds on the peer's messages.
    #[cfg(feature = "server")]
    pub(crate) fn set_limits(&mut self, limits: XmlLimits) {
        self.framing.set_limits(limits);
        if let Some(socket) = &mut self.socket {
            socket.context.set_config(|config| {
                config.max_message_size = Some(limits.stanza_bytes as usize);
                config.max_frame_size = Some(limits.stanza_bytes as usize);
            });
        }
    }

    /// What it runs over.
    pub(super) fn below(&self) -> Option<&Transport> {
        self.socket.as_ref().map(|socket| &socket.io)
    }

    /// Takes one message into the inbox, or notes the end.
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(socket) = &mut self.socket else { return Poll::Ready(Ok(())) };
        let message = match ready!(socket.run(cx, |context, io| context.read(io))) {
            Ok(message) => message,
            Err(error) => return Poll::Ready(self.broken(error)),
        };
        match message {
            Message::Text(text) => {
                if let Err(error) = self.framing.incoming(&text, &mut self.inbox) {
                    return Poll::Ready(Err(error.into()));
                }
                #[cfg(feature = "client")]
                if let (Some(redirect), Some(uri)) = (&self.redirect, self.framing.see_other_uri()) {
                    redirect.set(uri, socket.io.is_secure());
                }
            }
            Message::Binary(_) => {
                // RFC 7395 §3.2, RFC 6455 §7.4.1.
                self.code = CloseCode::Unsupported;
                let error = StreamError::new(StreamCondition::BadFormat).with_text("messages have to be text");
                return Poll::Ready(self.refuse(error));
            }
            Message::Close(_) => {
                // Without a <close/> before: the stream is over all the same (RFC 7395 §3.6).
                self.ended = true;
                self.close_sent = true;
                let _ = socket.poll_flush(cx);
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
        Poll::Ready(Ok(()))
    }

    /// The connection is over, or is no WebSocket any more.
    fn broken(&mut self, error: tungstenite::Error) -> io::Result<()> {
        use tungstenite::error::{CapacityError, Error, ProtocolError};
        let error = match error {
            error if over(&error) => {
                self.ended = true;
                return Ok(());
            }
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                self.ended = true;
                return Ok(());
            }
            Error::Capacity(CapacityError::MessageTooLong { .. }) => {
                self.code = CloseCode::Size;
                XmlError::Limit("stanza-too-big").into()
            }
            Error::Utf8(_) => {
                self.code = CloseCode::Invalid;
                XmlError::UnsupportedEncoding.into()
            }
            Error::Protocol(error) => {
                self.code = CloseCode::Protocol;
                StreamError::new(StreamCondition::BadFormat).with_text(error.to_string())
            }
            other => {
                let error = into_io(other);
                let Some(found) = StreamError::found_by_transport(&error) else { return Err(error) };
                self.code = CloseCode::Policy;
                found.clone()
            }
        };
        self.refuse(error)
    }

    /// Nothing more is taken from this peer.
    fn refuse(&mut self, error: StreamError) -> io::Result<()> {
        self.deaf = true;
        Err(error.into())
    }

    fn write_frame(&mut self, cx: &mut Context<'_>, frame: Frame) -> io::Result<()> {
        let Some(socket) = &mut self.socket else { return Err(io::ErrorKind::NotConnected.into()) };
        let message = match frame {
            Frame::Text(text) | Frame::Close(text) => Message::Text(text.into()),
            Frame::KeepAlive => Message::Ping(Default::default()),
        };
        match socket.run(cx, |context, io| context.write(io, message)) {
            Poll::Pending => {
                self.blocked = true;
                Ok(())
            }
            Poll::Ready(Ok(())) => Ok(()),
            Poll::Ready(Err(error)) if over(&error) => Err(io::ErrorKind::BrokenPipe.into()),
            Poll::Ready(Err(error)) => Err(into_io(error)),
        }
    }
}

impl AsyncRead for WebSocket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let unread = this.inbox.get(this.start..).unwrap_or_default();
            if !unread.is_empty() {
                let count = unread.len().min(buf.remaining());
                buf.put_slice(unread.get(..count).unwrap_or_default());
                this.start += count;
                if this.start == this.inbox.len() {
                    this.inbox = Vec::new();
                    this.start = 0;
                }
                return Poll::Ready(Ok(()));
            }
            if this.deaf {
                return this.socket.as_mut().map_or(Poll::Ready(Ok(())), |socket| socket.poll_drained(cx));
            }
            if this.ended {
                return Poll::Ready(Ok(()));
            }
            ready!(this.poll_message(cx))?;
        }
    }
}

impl AsyncWrite for WebSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let Some(socket) = &mut this.socket else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        if this.close_sent {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        // While the connection takes nothing, no more than one frame waits.
        if this.blocked {
            ready!(socket.poll_flush(cx))?;
            this.blocked = false;
        }
        let mut rest = bytes;
        while !this.blocked {
            let Some(frame) = this.framing.outgoing(&mut rest).map_err(io::Error::other)? else { break };
            this.write_frame(cx, frame)?;
        }
        Poll::Ready(Ok(bytes.len() - rest.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(socket) = &mut this.socket else { return Poll::Ready(Ok(())) };
        ready!(socket.poll_flush(cx))?;
        this.blocked = false;
        Poll::Ready(Ok(()))
    }

    /// Begins the closing handshake (RFC 6455 §7.1.2). The other end's answer comes as the end of what is read.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(socket) = &mut this.socket else { return Poll::Ready(Ok(())) };
        if this.close_sent {
            return socket.poll_flush(cx);
        }
        this.close_sent = true;
        let frame = CloseFrame { code: this.code, reason: Default::default() };
        match ready!(socket.run(cx, |context, io| context.close(io, Some(frame)))) {
            Err(error) if !over(&error) => Poll::Ready(Err(into_io(error))),
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl Drop for WebSocket {
    /// A connection that is dropped at once may be reset before the peer has seen why; it gets a moment to answer.
    fn drop(&mut self) {
        let Some(mut socket) = self.socket.take().filter(|_| self.close_sent && !self.ended) else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let deaf = self.deaf;
        let finish = async move {
            let mut flushed = false;
            std::future::poll_fn(|cx| {
                if !flushed {
                    let _ = ready!(socket.poll_flush(cx));
                    flushed = true;
                }
                if deaf {
                    return socket.poll_drained(cx).map(|_| ());
                }
                while ready!(socket.run(cx, |context, io| context.read(io))).is_ok() {}
                Poll::Ready(())
            })
            .await;
            let _ = tokio::io::AsyncWriteExt::shutdown(&mut socket.io).await;
        };
        runtime.spawn(async move {
            let _ = tokio::time::timeout(CLOSING, finish).await;
        });
    }
}

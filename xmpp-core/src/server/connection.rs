//! The driver of a bound session: reads, routes, writes. One future a connection, written out by hand because its
//! size is what an idle session costs.

use super::{
    Server, buffers,
    line::{Line, Scanned},
    management::Loss,
    router::Routed,
    session::{Blocked, Outgoing, Role, Session},
    throttle::Bucket,
};
use crate::{
    net::Transport,
    stream::{STREAM_END, StreamCondition, StreamError},
    xml::{Event, Scanner, Stanza, Writer, ns},
};
use std::{
    future::Future,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A bound session and its socket.
pub(crate) struct Connection {
    server: Server,
    session: Arc<Session>,
    transport: Transport,
    scanner: Scanner,
    /// Read and not yet scanned.
    input: Option<Box<Input>>,
    /// What is routed at the moment and has to wait.
    line: Option<Box<Line>>,
    /// Taken from the outbox, written up to `written`.
    writing: Vec<u8>,
    written: usize,
    bucket: Bucket,
    hearing: Hearing,
    /// Our end tag is written, or about to be.
    closing: bool,
    progress: Progress,
}

/// How far the connection has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Progress {
    /// It works.
    Open,
    /// It broke.
    Lost,
    /// It ended as it should.
    Over,
    /// The session has been told, and may be somebody else's by now.
    Left,
}

/// Bytes read, with what has been scanned of them.
pub(crate) struct Input {
    pub(crate) buffer: Box<[u8]>,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// Reads in a row before others have their turn.
const TURN: u32 = 4;

/// What becomes of what the peer sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hearing {
    /// It is routed.
    Open,
    /// It is read and thrown away: a stream error was sent. Not to read would reset the connection and lose the error.
    Deaf,
    /// The peer's end tag has come.
    Ended,
}

impl Connection {
    pub(crate) fn new(
        server: Server,
        session: Arc<Session>,
        transport: Transport,
        scanner: Scanner,
        input: Option<Input>,
    ) -> Connection {
        let (rate, burst) = server.limits().rate(session.role());
        let bucket = Bucket::new(rate, burst);
        Connection {
            server,
            session,
            transport,
            scanner,
            input: input.map(Box::new),
            line: None,
            writing: Vec::new(),
            written: 0,
            bucket,
            hearing: Hearing::Open,
            closing: false,
            progress: Progress::Open,
        }
    }

    /// Writes all there is to write. Ready when our side of the stream is closed, or with an error.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while let Some(rest) = self.writing.get(self.written..).filter(|rest| !rest.is_empty()) {
                let Poll::Ready(count) = Pin::new(&mut self.transport).poll_write(cx, rest)? else {
                    return self.blocked(cx);
                };
                if count == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.written += count;
            }
            if Pin::new(&mut self.transport).poll_flush(cx)?.is_pending() {
                return self.blocked(cx);
            }
            buffers::give_write(std::mem::take(&mut self.writing));
            self.written = 0;
            match ready!(self.session.poll_outgoing(cx, self.server.tick())) {
                Outgoing::Bytes(bytes) => self.writing = bytes,
                Outgoing::Close { bytes, error } => {
                    self.writing = bytes;
                    self.begin_closing(error);
                }
                Outgoing::Ended => {
                    if self.hearing == Hearing::Deaf {
                        // Nothing follows an error: the peer need not wait for the connection to end.
                        let _ = Pin::new(&mut self.transport).poll_shutdown(cx);
                    }
                    return Poll::Ready(Ok(()));
                }
                Outgoing::Lost(loss) => {
                    if loss == Loss::Resumed {
                        self.say_conflict(cx);
                    }
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                }
                Outgoing::Killed => return Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            }
        }
    }

    /// The socket takes nothing. The end of the stream has its time limit even then.
    fn blocked(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.session.poll_blocked(cx) {
            Blocked::Open => {}
            Blocked::Closing { error } => self.begin_closing(error),
            Blocked::Lost => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Blocked::Killed => return Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
        }
        Poll::Pending
    }

    fn begin_closing(&mut self, error: bool) {
        if std::mem::replace(&mut self.closing, true) {
            return;
        }
        if error && self.hearing == Hearing::Open {
            self.hearing = Hearing::Deaf;
        }
        self.server.kill_later(&self.session);
    }

    /// Reads, scans and routes. Ready when the peer has ended its stream, or with an error.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut turn = TURN;
        loop {
            if self.poll_line(cx) {
                return Poll::Pending;
            }
            if let Some(input) = self.input.take() {
                self.scan(input);
                continue;
            }
            if self.hearing == Hearing::Ended {
                return Poll::Ready(Ok(()));
            }
            ready!(self.bucket.poll_allowed(cx));
            if turn == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            turn -= 1;
            let mut buffer = buffers::take_read();
            let mut read = ReadBuf::new(&mut buffer);
            let polled = Pin::new(&mut self.transport).poll_read(cx, &mut read);
            let count = read.filled().len();
            match polled {
                Poll::Ready(Ok(())) if count > 0 => {
                    self.session.heard_at(self.server.tick());
                    self.bucket.spend(count);
                    self.input = Some(Box::new(Input { buffer, start: 0, end: count }));
                    continue;
                }
                _ => buffers::give_read(buffer),
            }
            let error = match ready!(polled) {
                Ok(()) => io::ErrorKind::UnexpectedEof.into(),
                Err(error) => error,
            };
            match StreamError::found_by_transport(&error) {
                Some(found) if self.hearing == Hearing::Open => self.refuse(found),
                _ => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Lets what waits go on; whether nothing else can be routed meanwhile.
    fn poll_line(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(line) = &mut self.line else { return false };
        for _ in 0..line.poll(cx, &self.server) {
            self.session.count_handled();
        }
        let full = line.is_full();
        if line.is_empty() {
            self.line = None;
        }
        full
    }

    /// Routes a stanza, and keeps its memory for the next one if nobody else did.
    fn route(&mut self, stanza: Stanza) -> Result<Routed, StreamError> {
        let handle = stanza.clone();
        let ahead = self.line.as_ref().and_then(|line| line.place());
        let routed = self.server.receive(&self.session, stanza, ahead);
        self.scanner.recycle(handle);
        routed
    }

    /// Scans the input until what comes next has to wait or the input is used up.
    fn scan(&mut self, mut input: Box<Input>) {
        let mut rest = input.buffer.get(input.start..input.end).unwrap_or_default();
        while self.hearing == Hearing::Open {
            let held = self.line.as_mut().and_then(|line| line.held.take());
            let Some(next) = held.or_else(|| self.scanner.scan(&mut rest).transpose()) else { break };
            let alone = self.session.role() != Role::Client;
            if let Some(line) = self.line.as_mut().filter(|line| line.count() > 0 && (alone || !line.takes(&next))) {
                line.held = Some(next);
                input.start = input.end - rest.len();
                self.input = Some(input);
                return;
            }
            if let Err(error) = self.take(next) {
                self.refuse(&error);
            } else if self.line.as_ref().is_some_and(|line| line.is_full()) {
                input.start = input.end - rest.len();
                self.input = Some(input);
                return;
            }
        }
        buffers::give_read(input.buffer);
    }

    /// Takes what was scanned.
    fn take(&mut self, next: Scanned) -> Result<(), StreamError> {
        let stanza = match next? {
            Event::Stanza(stanza) if StreamError::matches(stanza.root()) => {
                // RFC 6120 §4.9.1.1: it ends the stream, and an error is not answered with another.
                self.hearing = Hearing::Deaf;
                self.session.close(None);
                return Ok(());
            }
            Event::Stanza(stanza) => stanza,
            Event::Close => {
                self.hearing = Hearing::Ended;
                self.session.close(None);
                return Ok(());
            }
            Event::Open(_) => return Err(StreamError::new(StreamCondition::BadFormat)),
        };
        match (self.route(stanza)?, &mut self.line) {
            // XEP-0198 §4: handled, and only now.
            (Routed::Done, Some(line)) if line.count() > 0 => line.push(None), // It is counted after those before it.
            (Routed::Done, _) => self.session.count_handled(),
            (Routed::Waits(pending), line) => line.get_or_insert_default().push(Some(pending)),
            (Routed::NoStanza, _) => {}
        }
        Ok(())
    }

    /// Ends the stream because the client broke its rules.
    fn refuse(&mut self, error: &StreamError) {
        tracing::debug!(jid = %self.session.jid(), %error, "a peer broke the rules of its stream");
        self.hearing = Hearing::Deaf;
        self.session.close(Some(error));
    }

    /// The connection is over; unless it was lost under a session that can be resumed, the session is too. In that case
    /// what is being routed is waited for, for it is to be counted.
    fn poll_end(&mut self, cx: &mut Context<'_>, lost: bool) -> Poll<()> {
        let lost = lost && self.hearing == Hearing::Open;
        if lost
            && self.session.is_resumable()
            && let Some(line) = &mut self.line
        {
            for _ in 0..line.poll(cx, &self.server) {
                self.session.count_handled();
            }
            if line.count() > 0 {
                return Poll::Pending;
            }
            self.line = None;
        }
        self.progress = Progress::Left;
        let writing = std::mem::take(&mut self.writing);
        self.server.disconnected(&self.session, lost, &writing, self.written);
        if let Some(line) = self.line.take() {
            self.server.detach_line(line);
        }
        Poll::Ready(())
    }

    /// Another connection goes on with the session (XEP-0198 §5). What the peer is told of it must not wait.
    fn say_conflict(&mut self, cx: &mut Context<'_>) {
        let mut out = Writer::new(ns::CLIENT);
        StreamError::new(StreamCondition::Conflict).with_text("resumed elsewhere").write(&mut out);
        let mut out = out.finish();
        out.extend_from_slice(STREAM_END.as_bytes());
        let _ = Pin::new(&mut self.transport).poll_write(cx, &out);
        let _ = Pin::new(&mut self.transport).poll_flush(cx);
    }
}

impl Future for Connection {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if this.progress == Progress::Open {
            // Reading first: the answers to what came are then written in one go.
            let read = this.poll_read(cx);
            let written = this.poll_write(cx);
            let broken = matches!(read, Poll::Ready(Err(_))) || matches!(written, Poll::Ready(Err(_)));
            let over = broken || (read.is_ready() && written.is_ready());
            if !over {
                return Poll::Pending;
            }
            // TLS's close_notify, if there is room for it; the peer has nothing to wait for any more.
            let _ = Pin::new(&mut this.transport).poll_shutdown(cx);
            this.progress = if broken { Progress::Lost } else { Progress::Over };
        }
        let lost = this.progress == Progress::Lost;
        this.poll_end(cx, lost)
    }
}

impl Drop for Connection {
    /// A task that panics, or whose runtime shuts down, is dropped in the middle: then the connection is lost. What is
    /// being routed goes on without it and counts as handled, so that the client does not send it again.
    fn drop(&mut self) {
        if self.progress == Progress::Left {
            return;
        }
        let lost = self.progress != Progress::Over && self.hearing == Hearing::Open;
        let writing = std::mem::take(&mut self.writing);
        let line = self.line.take();
        // A panic while another one is unwinding must not get out of here; what is handed on may need a runtime.
        let handed_on = catch_unwind(AssertUnwindSafe(|| {
            for _ in 0..line.as_ref().map_or(0, |line| line.count()) {
                self.session.count_handled();
            }
            self.server.disconnected(&self.session, lost, &writing, self.written);
            if let Some(line) = line {
                self.server.detach_line(line);
            }
        }));
        if handed_on.is_err() {
            tracing::error!(jid = %self.session.jid(), "a connection was dropped, and not all it held could be handed on");
            let _ = catch_unwind(AssertUnwindSafe(|| self.server.session_ended(&self.session)));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{
        jid::Jid,
        server::{Envelope, Kinds, MemoryAccounts, ServerRegistrar, Stage, Station, Verdict, session::Role},
        stream::management::Enable,
        xml::XmlLimits,
    };
    use std::{
        future::poll_fn,
        sync::{Mutex, mpsc},
    };

    /// A connection of a server that tells what could not be delivered, and its other end.
    fn scene() -> (Connection, mpsc::Receiver<String>, Transport) {
        let (lost, log) = mpsc::channel();
        let lost = Mutex::new(lost);
        let extension = move |r: &mut ServerRegistrar| {
            let note = move |envelope: &mut Envelope, _: &Server| {
                lost.lock().unwrap().send(envelope.stanza().root().attr("id").unwrap().into_owned()).unwrap();
                Verdict::Handled
            };
            r.station(Station::new("test:log", Stage::Undelivered, Kinds::ALL, note));
        };
        let server = Server::builder("localhost").accounts(MemoryAccounts::new()).with(extension).build().unwrap();
        let session = Arc::new(Session::new(Jid::new("juliet@localhost/x").unwrap(), Role::Client, 0));
        server.session_started(&session).unwrap();
        let (transport, peer) = Transport::pair(64);
        let scanner = Scanner::new(XmlLimits::authenticated());
        (Connection::new(server, session, transport, scanner, None), log, peer)
    }

    fn message(connection: &Connection, id: u32) {
        let text = format!("<message id='{id}' from='romeo@localhost/y' to='juliet@localhost/x'/>");
        connection.session.push(connection.server.limits(), |out| out.extend(text.into_bytes()));
    }

    #[tokio::test]
    async fn what_was_accepted_is_handed_on_when_the_task_is_dropped() {
        let (mut connection, log, _peer) = scene();
        message(&connection, 1);
        // The pipe is too small for it: it is being written.
        poll_fn(|cx| {
            assert!(Pin::new(&mut connection).poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        message(&connection, 2);
        let server = connection.server.clone();
        drop(connection);
        assert_eq!(log.try_iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(server.sessions(), 0);
    }

    #[tokio::test]
    async fn what_was_accepted_is_handed_on_when_the_task_panics() {
        let (connection, log, _peer) = scene();
        message(&connection, 1);
        let server = connection.server.clone();
        let task = tokio::spawn(async move {
            let _connection = connection;
            std::panic::resume_unwind(Box::new("a fault"));
        });
        assert!(task.await.unwrap_err().is_panic());
        assert_eq!(log.try_iter().collect::<Vec<_>>(), ["1"]);
        assert_eq!(server.sessions(), 0);
    }

    #[tokio::test]
    async fn xep0198_5_a_session_hibernates_when_its_task_is_dropped() {
        let (connection, log, _peer) = scene();
        let (server, session) = (connection.server.clone(), Arc::clone(&connection.session));
        session.enable(&Enable { resume: true, max: None }, server.limits(), false).unwrap();
        message(&connection, 1);
        drop(connection);
        assert_eq!((server.sessions(), server.hibernating()), (1, 1));
        assert_eq!(log.try_iter().count(), 0);
        server.reap(&session);
        assert_eq!(log.try_iter().collect::<Vec<_>>(), ["1"]);
    }
}

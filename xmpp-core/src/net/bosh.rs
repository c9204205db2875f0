//! XMPP over BOSH (XEP-0124, XEP-0206) as a byte stream: requests of HTTP on one side, a pipe on the other.

use super::https::{Line, WebUrl};
use super::{Connector, Transport, WebSocketError};
use crate::stream::bosh::{BoshClient, BoshClientConfig, CONTENT_TYPE, Errand};
use crate::xml::XmlLimits;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Frame, SizeHint};
use hyper::header;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// Bytes that the pipe holds in each direction.
const PIPE: usize = 16 * 1024;
/// Bytes for the client beyond which no more answers are taken.
const BACKLOG: usize = 64 * 1024;
/// Connections that are kept for the next request.
const KEPT: usize = 2;
/// Beyond what the server may wait, an answer has so long to come.
const MARGIN: Duration = Duration::from_secs(20);
/// Time for the session to end when the client has left.
const CLOSING: Duration = Duration::from_secs(3);

/// Reaches the host, and returns a transport whose stream goes out to it in requests.
pub(crate) async fn connect(
    connector: &Connector,
    url: &WebUrl,
    limits: XmlLimits,
) -> Result<Transport, WebSocketError> {
    // Who cannot be reached at all is known before anything is asked of it.
    let line = Line::open(connector, url).await?;
    let mut config = BoshClientConfig::new(u64::from_le_bytes(crate::random::bytes()));
    config.stanza_bytes = limits.stanza_bytes;
    let (ours, theirs) = Transport::pair(PIPE);
    let http = Http {
        connector: connector.clone(),
        url: url.clone(),
        time: config.wait + MARGIN,
        // Several stanzas can come together.
        answer_bytes: usize::try_from(limits.stanza_bytes).unwrap_or(usize::MAX).saturating_mul(4),
    };
    let driver = Driver {
        machine: BoshClient::new(config),
        began: Instant::now(),
        http,
        lines: vec![line],
        posted: None,
        attempts: JoinSet::new(),
        stream: ours,
        downstream: Vec::new(),
        written: 0,
        hung_up: None,
        over: false,
    };
    tokio::spawn(driver.run());
    Ok(theirs)
}

type Connection = Line<Letter>;

/// The content of a request. That it was taken, or never will be, is heard by the request after it.
struct Letter {
    content: Option<Bytes>,
    taken: Option<oneshot::Sender<()>>,
}

impl Body for Letter {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.taken = None;
        Poll::Ready(self.content.take().map(|content| Ok(Frame::data(content))))
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(
            self.content.as_ref().map_or(0, |content| u64::try_from(content.len()).unwrap_or(u64::MAX)),
        )
    }
}

/// What an attempt needs to know.
#[derive(Clone)]
struct Http {
    connector: Connector,
    url: WebUrl,
    time: Duration,
    answer_bytes: usize,
}

/// What became of an attempt: status and content, and the connection if it can be used again.
type Fate = Option<(u16, Bytes, Option<Connection>)>;

struct Driver {
    machine: BoshClient,
    began: Instant,
    http: Http,
    /// Connections without a request.
    lines: Vec<Connection>,
    attempts: JoinSet<(u64, Fate)>,
    /// Ends when the latest request is written: the next one is not to overtake it while it still connects.
    posted: Option<oneshot::Receiver<()>>,
    stream: Transport,
    /// For the client, and how much of it is written.
    downstream: Vec<u8>,
    written: usize,
    /// When the client left.
    hung_up: Option<Instant>,
    over: bool,
}

enum Happening {
    Written(Box<[u8]>, usize),
    HungUp,
    Attempted(u64, Fate),
}

impl Driver {
    async fn run(mut self) {
        while !self.over {
            let deadline = self.machine.deadline();
            let wake = deadline.map(|deadline| self.began + deadline);
            let last = self.hung_up.map(|since| since + CLOSING);
            let until = wake.into_iter().chain(last).min();
            let happening = tokio::select! {
                happening = poll_fn(|cx| self.poll_happening(cx)) => Some(happening),
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => None,
            };
            if last.is_some_and(|last| last <= Instant::now()) {
                return;
            }
            let now = self.began.elapsed();
            let errands = match happening {
                Some(Happening::Written(buffer, count)) => {
                    self.machine.written(buffer.get(..count).unwrap_or_default(), now)
                }
                Some(Happening::HungUp) => {
                    self.hung_up = Some(Instant::now());
                    self.machine.hung_up(now)
                }
                Some(Happening::Attempted(ticket, Some((status, content, line)))) => {
                    self.lines.extend(line.filter(|_| self.lines.len() < KEPT));
                    self.machine.answered(ticket, status, &content, now)
                }
                Some(Happening::Attempted(ticket, None)) => self.machine.failed(ticket, now),
                None => self.machine.timeout(now),
            };
            errands.into_iter().for_each(|errand| self.perform(errand));
        }
        // What it was told last is for the client to read, if it still does.
        let told = poll_fn(|cx| self.poll_write(cx));
        let _ = timeout(CLOSING, told).await;
        let _ = poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx)).await;
    }

    fn perform(&mut self, errand: Errand) {
        match errand {
            Errand::Send(ticket, body) => {
                // One that the host has closed meanwhile is of no use.
                self.lines.retain(|line| !line.sender.is_closed());
                let (taken, posted) = oneshot::channel();
                let before = self.posted.replace(posted);
                let letter = Letter { content: Some(body), taken: Some(taken) };
                let attempt = self.http.clone().post(self.lines.pop(), letter, before);
                self.attempts.spawn(async move { (ticket, attempt.await) });
            }
            Errand::Deliver(bytes) if self.hung_up.is_none() => self.downstream.extend_from_slice(&bytes),
            Errand::Deliver(_) => {}
            Errand::Over(end) => {
                if let Err(error) = end {
                    tracing::debug!(%error, "a BOSH session has ended");
                }
                self.over = true;
            }
        }
    }

    fn poll_happening(&mut self, cx: &mut Context<'_>) -> Poll<Happening> {
        let _ = self.poll_write(cx);
        if self.downstream.len() - self.written < BACKLOG
            && let Poll::Ready(Some(attempted)) = self.attempts.poll_join_next(cx)
        {
            // None of them panics, nor is aborted before all are.
            let Ok((ticket, fate)) = attempted else { return Poll::Pending };
            return Poll::Ready(Happening::Attempted(ticket, fate));
        }
        if self.hung_up.is_none() && self.machine.has_room() {
            return self.poll_read(cx);
        }
        Poll::Pending
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Happening> {
        let mut buffer = [0; 4096];
        let mut read = ReadBuf::new(&mut buffer);
        let polled = Pin::new(&mut self.stream).poll_read(cx, &mut read);
        match polled {
            Poll::Ready(Ok(())) if !read.filled().is_empty() => {
                Poll::Ready(Happening::Written(read.filled().into(), read.filled().len()))
            }
            Poll::Ready(_) => Poll::Ready(Happening::HungUp),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(rest) = self.downstream.get(self.written..).filter(|rest| !rest.is_empty()) {
            match Pin::new(&mut self.stream).poll_write(cx, rest) {
                Poll::Ready(Ok(count)) if count > 0 => self.written += count,
                // Nobody reads any more, as reading tells.
                Poll::Ready(_) => self.written = self.downstream.len(),
                Poll::Pending => return Poll::Pending,
            }
        }
        self.downstream = Vec::new();
        self.written = 0;
        Poll::Ready(())
    }
}

impl Http {
    /// One request, on a connection that is there or on a new one.
    async fn post(self, line: Option<Connection>, letter: Letter, before: Option<oneshot::Receiver<()>>) -> Fate {
        let exchange = async {
            let mut line = match line {
                Some(line) => line,
                None => Line::open(&self.connector, &self.url).await?,
            };
            let request = self.url.post().header(header::CONTENT_TYPE, CONTENT_TYPE).body(letter);
            let request = request.map_err(|_| WebSocketError::Url(String::new()))?;
            line.sender.ready().await?;
            if let Some(before) = before {
                let _ = before.await;
            }
            let response = line.sender.send_request(request).await?;
            let status = response.status().as_u16();
            let content = Limited::new(response.into_body(), self.answer_bytes).collect().await;
            let content = content.map_err(|_| WebSocketError::TimedOut)?.to_bytes();
            let line = (!line.sender.is_closed()).then_some(line);
            Ok::<_, WebSocketError>((status, content, line))
        };
        match timeout(self.time, exchange).await {
            Ok(Ok(fate)) => Some(fate),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a BOSH request");
                None
            }
            Err(_) => None,
        }
    }
}

//! BOSH over the HTTP listener (XEP-0124, XEP-0206): requests find their session, which is a task with a
//! [`BoshSession`] and a pipe to an ordinary stream of the server.

mod reply;
mod session;

use super::{Server, WebPeer};
use crate::net::Transport;
use crate::server::listener::{Newcomers, Place};
use crate::stream::bosh::{Body, BoshCondition, BoshSession, Reply};
use crate::xml::XmlLimits;
use axum::body::{Body as Stream, Bytes};
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use reply::Delivery;
use session::Task;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Bytes that the pipe between a session and its stream holds in each direction.
const PIPE: usize = 16 * 1024;
/// Requests that have come for a session and that it has not looked at.
const INBOX: usize = 8;
/// What scripts of other origins may do.
const METHODS: [Method; 2] = [Method::POST, Method::OPTIONS];

/// All sessions of a server.
#[derive(Default)]
pub(in crate::server) struct Sessions {
    by_sid: Mutex<HashMap<String, Entrance>>,
    by_ip: Newcomers,
}

/// The way to one session.
#[derive(Clone)]
struct Entrance {
    inbox: mpsc::Sender<Parcel>,
    /// Whether it began under TLS, and is to stay there (XEP-0124 §19.1).
    secured: bool,
    authenticated: Arc<AtomicBool>,
}

/// A request for a session.
struct Parcel {
    /// A wrapper, or why it is none.
    body: Result<Body, BoshCondition>,
    reply: oneshot::Sender<Delivery>,
}

impl Sessions {
    fn by_sid(&self) -> MutexGuard<'_, HashMap<String, Entrance>> {
        self.by_sid.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, sid: &str, secured: bool) -> Option<Entrance> {
        // A session that began under TLS does not go on without; nor does it end because somebody tries.
        self.by_sid().get(sid).filter(|entrance| secured || !entrance.secured).cloned()
    }

    fn forget(&self, sid: &str) {
        self.by_sid().remove(sid);
    }
}

/// Takes a request (XEP-0124 §5).
pub(super) async fn post(
    State(server): State<Server>,
    Extension(peer): Extension<WebPeer>,
    request: Request,
) -> Response {
    let settings = &server.http().settings;
    let (head, body) = request.into_parts();
    let origin = match settings.check_origin(&head.headers) {
        Ok(origin) => origin,
        Err(refused) => return refused,
    };
    let mut response = match server.take_bosh(peer, body).await {
        Ok(delivery) => delivery.into_response(),
        Err(reply) => Delivery::from(reply).into_response(),
    };
    settings.allow_origin(origin, response.headers_mut());
    response
}

/// Tells a browser whether its scripts may post.
pub(super) async fn options(State(server): State<Server>, headers: HeaderMap) -> Response {
    server.http().settings.preflight(&headers, &METHODS)
}

/// Tells a person who looks that this is the right place.
pub(super) async fn get() -> Response {
    let headers = [(header::ALLOW, "POST, OPTIONS"), (header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    let text = "XMPP over BOSH (XEP-0124, XEP-0206): give this address to an XMPP client.\n";
    (StatusCode::METHOD_NOT_ALLOWED, headers, text).into_response()
}

impl Server {
    async fn take_bosh(&self, peer: WebPeer, stream: Stream) -> Result<Delivery, Reply> {
        // One who trickles has as long as a whole phase of a negotiation, twice.
        let read = tokio::time::timeout(self.limits().phase * 2, self.read_bosh(peer, stream)).await;
        let (entrance, body) = read.unwrap_or(Err(BoshCondition::PolicyViolation)).map_err(Reply::terminal)?;
        let entrance = match (entrance, &body) {
            (Some(entrance), _) => entrance,
            (None, Ok(body)) if body.sid().is_none() => return self.open_bosh(peer, body).await,
            (None, Ok(_)) => return Err(Reply::terminal(BoshCondition::ItemNotFound)),
            (None, Err(condition)) => return Err(Reply::terminal(*condition)),
        };
        let (reply, answered) = oneshot::channel();
        let gone = |_| Reply::terminal(BoshCondition::ItemNotFound);
        entrance.inbox.send(Parcel { body, reply }).await.map_err(|_| gone(()))?;
        answered.await.map_err(|_| gone(()))
    }

    /// Reads a request, and finds its session. Only who has authenticated may send much.
    async fn read_bosh(
        &self,
        peer: WebPeer,
        mut stream: Stream,
    ) -> Result<(Option<Entrance>, Result<Body, BoshCondition>), BoshCondition> {
        let limits = self.limits();
        let mut bytes = Vec::new();
        let mut entrance = None;
        let mut lookout = Lookout::default();
        let mut allowed = &limits.unauthenticated;
        while let Some(frame) = stream.frame().await {
            let Ok(data) = frame.map_err(|_| BoshCondition::BadRequest)?.into_data() else { continue };
            bytes.extend_from_slice(&data);
            let much = bytes.len() > room(&limits.unauthenticated);
            if entrance.is_none() && (lookout.is_due(bytes.len()) || much) {
                entrance = self.entrance(&bytes, peer);
                allowed = limits_of(entrance.as_ref(), limits);
            }
            if bytes.len() > room(allowed) {
                return Ok((entrance, Err(BoshCondition::PolicyViolation)));
            }
        }
        if entrance.is_none() {
            entrance = self.entrance(&bytes, peer);
            allowed = limits_of(entrance.as_ref(), limits);
        }
        let body = Body::parse(&bytes, allowed).map_err(|error| {
            tracing::debug!(ip = %peer.ip, %error, "a BOSH request");
            BoshCondition::BadRequest
        });
        Ok((entrance, body))
    }

    fn entrance(&self, bytes: &[u8], peer: WebPeer) -> Option<Entrance> {
        self.inner().bosh.find(&Body::peek_sid(bytes)?, peer.secured)
    }

    async fn open_bosh(&self, peer: WebPeer, body: &Body) -> Result<Delivery, Reply> {
        let inner = self.inner();
        let limits = &inner.limits.http;
        if inner.stop.is_cancelled() {
            return Err(Reply::terminal(BoshCondition::SystemShutdown));
        }
        let place = inner.bosh.by_ip.enter(peer.ip, limits.bosh_sessions_per_ip);
        let place = place.ok_or_else(|| Reply::terminal(BoshCondition::PolicyViolation))?;
        let full = || Reply::terminal(BoshCondition::RemoteConnectionFailed);
        let permit = Arc::clone(&inner.connections).try_acquire_owned().map_err(|_| full())?;
        let sid = crate::random::token();
        let (session, effects) = BoshSession::open(body, 0, &sid, limits.bosh.clone(), Duration::ZERO)?;
        let (inbox, parcels) = mpsc::channel(INBOX);
        let authenticated = Arc::new(AtomicBool::new(false));
        {
            let mut by_sid = inner.bosh.by_sid();
            if by_sid.len() >= limits.bosh_sessions {
                return Err(full());
            }
            let entrance = Entrance { inbox, secured: peer.secured, authenticated: Arc::clone(&authenticated) };
            by_sid.insert(sid.clone(), entrance);
        }
        let (ours, theirs) = Transport::pair(PIPE);
        self.accept_web(theirs, peer, Some(permit));
        let (reply, answered) = oneshot::channel();
        let task = Task::new(self.clone(), sid, session, ours, parcels, authenticated, place);
        inner.tasks.spawn(task.run(reply, effects));
        answered.await.map_err(|_| full())
    }
}

/// When to look once more for what the beginning of a request says: each time that there is twice as much of it, so
/// that whoever sends it octet by octet has no more looked through than twice what was sent.
#[derive(Default)]
struct Lookout {
    due: usize,
}

impl Lookout {
    fn is_due(&mut self, bytes: usize) -> bool {
        let due = bytes >= self.due;
        if due {
            self.due = bytes.saturating_mul(2);
        }
        due
    }
}

fn limits_of<'a>(entrance: Option<&Entrance>, limits: &'a crate::server::Limits) -> &'a XmlLimits {
    match entrance.is_some_and(|entrance| entrance.authenticated.load(Ordering::Relaxed)) {
        true => &limits.authenticated,
        false => &limits.unauthenticated,
    }
}

fn room(limits: &XmlLimits) -> usize {
    usize::try_from(Body::room(limits)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::Lookout;

    #[test]
    fn abuse_a023_a_request_that_trickles_in_is_not_looked_through_for_each_octet() {
        let mut lookout = Lookout::default();
        let looked_through: usize = (1..=20_000).filter(|bytes| lookout.is_due(*bytes)).sum();
        assert!(looked_through <= 2 * 20_000, "{looked_through}");
        // One that comes as a whole is looked at.
        assert!(Lookout::default().is_due(1));
    }
}

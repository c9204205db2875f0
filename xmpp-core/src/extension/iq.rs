//! Handlers of iq requests (RFC 6120 §8.2.3): found by type, target and payload, answered exactly once.

use crate::{
    BoxFuture,
    jid::Jid,
    payload::Payload,
    stanza::StanzaError,
    xml::{ElementRef, Stanza, Writer, ns},
};
use std::{collections::HashMap, future::Future, ops::BitOr, sync::Arc};

/// To whom a request may be addressed for a handler to see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target(u8);

#[allow(non_upper_case_globals)] // They read as the variants of an enum, and combine with `|`.
impl Target {
    /// The server itself, by its domain.
    pub const Server: Target = Target(1);
    /// The sender's own account: its bare address, or no address at all (RFC 6120 §10.3.3).
    pub const OwnAccount: Target = Target(2);
    /// Another local account's bare address; the handler decides who may ask.
    pub const Account: Target = Target(4);
    /// This client, by its full address.
    pub const Client: Target = Target(8);

    /// Both, in a constant.
    pub const fn or(self, other: Target) -> Target {
        Target(self.0 | other.0)
    }

    /// Whether any of `other` is among these.
    pub fn contains(self, other: Target) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for Target {
    type Output = Target;
    fn bitor(self, other: Target) -> Target {
        self.or(other)
    }
}

/// A request as its handler sees it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IqContext {
    /// Who asks: a full address stamped by the server, or what a remote server vouches for. `None` on a client for
    /// what its own account sent without `from`.
    pub from: Option<Jid>,
    /// The address asked.
    pub to: Option<Jid>,
    /// Which kind of address that is.
    pub target: Target,
    /// The whole stanza.
    pub stanza: Stanza,
    /// The session that asks, if it is one of this server.
    #[cfg(feature = "server")]
    pub(crate) origin: Option<Arc<dyn std::any::Any + Send + Sync>>,
}

impl IqContext {
    /// The request's payload element.
    pub fn payload(&self) -> Option<ElementRef<'_>> {
        self.stanza.root().children().next()
    }
}

/// What a handler answers on success: nothing, or a payload.
pub struct Reply {
    payload: Option<WritePayload>,
    then: Option<Then>,
}

type WritePayload = Box<dyn FnOnce(&mut Writer) + Send>;
/// What is to be done when an answer is queued.
pub(crate) type Then = Box<dyn FnOnce() + Send>;

impl Reply {
    /// An empty result.
    pub fn empty() -> Reply {
        Reply { payload: None, then: None }
    }
    /// A result whose payload the closure writes.
    pub fn write(f: impl FnOnce(&mut Writer) + Send + 'static) -> Reply {
        Reply { payload: Some(Box::new(f)), then: None }
    }
    /// A result with this payload.
    pub fn payload<P: Payload + Send + 'static>(payload: P) -> Reply {
        Reply::write(move |out| payload.write(out))
    }
    /// Calls `f` when the answer is queued: for what has to come behind it. Where there is nobody left to answer, it is
    /// dropped or called; it must not block.
    #[must_use]
    pub fn then(mut self, f: impl FnOnce() + Send + 'static) -> Reply {
        self.then = Some(Box::new(f));
        self
    }
    pub(crate) fn take_then(&mut self) -> Option<Then> {
        self.then.take()
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.payload.is_some() { "Reply(payload)" } else { "Reply(empty)" })
    }
}

impl From<()> for Reply {
    fn from((): ()) -> Reply {
        Reply::empty()
    }
}

impl<P: Payload + Send + 'static> From<P> for Reply {
    fn from(payload: P) -> Reply {
        Reply::payload(payload)
    }
}

/// A handler's answer.
pub type Answer = Result<Reply, StanzaError>;

/// A handler's answer, now or later.
pub enum IqOutcome {
    /// The answer.
    Ready(Answer),
    /// The answer comes when this resolves; it is polled by the task that received the request, within a time limit.
    Wait(BoxFuture<'static, Answer>),
}

type Handler = Arc<dyn Fn(IqContext) -> IqOutcome + Send + Sync>;

struct Entry {
    name: &'static str,
    set: bool,
    target: Target,
    handler: Handler,
}

/// All iq handlers of an entity, by namespace.
#[derive(Default)]
pub(crate) struct IqTable {
    by_namespace: HashMap<&'static str, Vec<Entry>>,
    /// Addresses that get no more handlers.
    closed: Option<Target>,
}

impl IqTable {
    pub(crate) fn add(&mut self, ns: &'static str, name: &'static str, set: bool, target: Target, handler: Handler) {
        let closed = self.closed.map_or(0, |closed| closed.0);
        let target = Target(target.0 & !closed);
        self.by_namespace.entry(ns).or_default().push(Entry { name, set, target, handler });
    }

    /// No more handlers are added for these addresses.
    #[cfg(feature = "client")]
    pub(crate) fn close(&mut self, targets: Target) {
        self.closed = Some(targets);
    }

    /// Whether there is a handler for the payload of this request, whatever the request's type.
    pub(crate) fn knows(&self, request: ElementRef<'_>, target: Target) -> bool {
        let payload = request.children().next();
        payload.is_some_and(|payload| {
            let entries = self.by_namespace.get(payload.ns()).map(Vec::as_slice).unwrap_or_default();
            entries.iter().any(|entry| entry.name == payload.name() && entry.target.contains(target))
        })
    }

    /// The handler's outcome, or what RFC 6120 §8.4 and §8.3.3 answer when there is none: `feature-not-implemented`
    /// for an element unknown in a known namespace, `service-unavailable` for an unknown namespace.
    pub(crate) fn dispatch(&self, cx: IqContext) -> IqOutcome {
        let request = cx.stanza.root();
        let set = request.attr("type").as_deref() == Some("set");
        let mut children = request.children();
        let (Some(payload), None) = (children.next(), children.next()) else {
            return IqOutcome::Ready(
                Err(StanzaError::bad_request().with_text("a request carries exactly one element")),
            );
        };
        let Some(entries) = self.by_namespace.get(payload.ns()) else {
            return IqOutcome::Ready(Err(StanzaError::service_unavailable()));
        };
        let named = entries.iter().filter(|entry| entry.name == payload.name() && entry.target.contains(cx.target));
        let mut known = false;
        for entry in named {
            if entry.set == set {
                let handler = Arc::clone(&entry.handler);
                return handler(cx);
            }
            known = true;
        }
        let error = if known { StanzaError::feature_not_implemented() } else { StanzaError::service_unavailable() };
        IqOutcome::Ready(Err(error))
    }
}

/// Wraps a typed synchronous handler.
pub(crate) fn sync_handler<T, R, F>(f: F) -> Handler
where
    T: Payload + 'static,
    R: Into<Reply>,
    F: Fn(IqContext, T) -> Result<R, StanzaError> + Send + Sync + 'static,
{
    Arc::new(move |cx| IqOutcome::Ready(read::<T>(&cx).and_then(|payload| f(cx, payload)).map(Into::into)))
}

/// Wraps a typed asynchronous handler.
pub(crate) fn async_handler<T, R, F, Fut>(f: F) -> Handler
where
    T: Payload + 'static,
    R: Into<Reply>,
    F: Fn(IqContext, T) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R, StanzaError>> + Send + 'static,
{
    Arc::new(move |cx| match read::<T>(&cx) {
        Ok(payload) => {
            let answer = f(cx, payload);
            IqOutcome::Wait(Box::pin(async move { answer.await.map(Into::into) }))
        }
        Err(error) => IqOutcome::Ready(Err(error)),
    })
}

/// Wraps a typed handler that decides itself whether its answer takes time.
pub(crate) fn outcome_handler<T, F>(f: F) -> Handler
where
    T: Payload + 'static,
    F: Fn(IqContext, T) -> IqOutcome + Send + Sync + 'static,
{
    Arc::new(move |cx| match read::<T>(&cx) {
        Ok(payload) => f(cx, payload),
        Err(error) => IqOutcome::Ready(Err(error)),
    })
}

fn read<T: Payload>(cx: &IqContext) -> Result<T, StanzaError> {
    let payload = cx.payload().ok_or_else(StanzaError::bad_request)?;
    T::read(payload).map_err(StanzaError::from)
}

/// The addresses of an answer.
#[derive(Clone, Copy)]
pub(crate) struct Names<'a> {
    /// From a server, the address that was asked, as it was asked. A client leaves it to its server: what others call
    /// it may not be what the server knows it by.
    pub(crate) from: Option<&'a str>,
    /// Who asked.
    pub(crate) to: Option<&'a str>,
}

/// Writes the result of `request` to `out`, for a stream with the given content namespace.
pub(crate) fn answer_result(request: &Stanza, names: Names<'_>, reply: Reply, out: &mut Writer) {
    open_answer(request, names, "result", out);
    if let Some(write) = reply.payload {
        write(out);
    }
    out.close();
}

/// Writes an error in answer to any stanza but an error (RFC 6120 §8.3.1: the caller has checked).
pub(crate) fn answer_error(request: &Stanza, names: Names<'_>, error: &StanzaError, out: &mut Writer) {
    open_answer(request, names, "error", out);
    error.write(out);
    out.close();
}

/// Opens the answer: same name and id.
fn open_answer(request: &Stanza, names: Names<'_>, kind: &str, out: &mut Writer) {
    let root = request.root();
    out.open(root.name(), ns::CLIENT);
    out.attr("type", kind);
    out.attr_opt("id", root.attr("id").as_deref());
    out.attr_opt("from", names.from);
    out.attr_opt("to", names.to);
}

//! The route of a stanza through the server: named stages, interceptors, verdicts (RFC 6120 §10, RFC 6121 §8).

use super::{
    Server,
    crowd::Crowd,
    session::{Role, Session},
};
use crate::{
    BoxFuture,
    extension::Reply,
    jid::Jid,
    stanza::{StanzaError, StanzaKind},
    xml::Stanza,
};
use std::{collections::HashMap, sync::Arc};

/// The stages of the route, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// A client's stanza has been validated and stamped with its `from`.
    FromClient,
    /// Services of the sender's account and of the host: iq handlers, broadcast presence.
    Services,
    /// On behalf of the sender: blocking, archive, carbons.
    Outgoing,
    /// Where the recipient is: here, at a component, at a remote server.
    Locate,
    /// On behalf of the recipient: blocking, archive, push.
    Incoming,
    /// Into a session, by full or bare address.
    Deliver,
    /// Nobody took it: store it, or let it bounce.
    Undelivered,
}

/// A stanza on its route.
#[derive(Clone, Debug)]
pub struct Envelope {
    pub(crate) stanza: Stanza,
    pub(crate) kind: StanzaKind,
    pub(crate) from: Jid,
    pub(crate) to: Option<Jid>,
    pub(crate) sender: Option<Arc<Session>>,
    /// Whether the recipient's address has to be written into the stanza, which lacks it.
    pub(crate) unaddressed: bool,
    /// Of a stanza for many: what all of them get.
    pub(crate) crowd: Option<Arc<Crowd>>,
}

impl Envelope {
    /// The stanza as it came: its `from` may be missing.
    pub fn stanza(&self) -> &Stanza {
        &self.stanza
    }
    /// Message, presence or iq.
    pub fn kind(&self) -> StanzaKind {
        self.kind
    }
    /// The authenticated sender.
    pub fn from(&self) -> &Jid {
        &self.from
    }
    /// The recipient; `None` only for presence to be broadcast, and for what a client asks of its own account.
    pub fn to(&self) -> Option<&Jid> {
        self.to.as_ref()
    }
    /// The `type` attribute as it came, "" if there is none.
    pub fn type_str(&self) -> std::borrow::Cow<'_, str> {
        self.stanza.root().attr("type").unwrap_or_default()
    }
    /// Whether this is an error, which must never be answered (RFC 6120 §8.3.1).
    pub fn is_error(&self) -> bool {
        self.type_str() == "error"
    }
    /// Whether a client connected here sent it.
    pub fn is_from_client(&self) -> bool {
        self.sender.as_ref().is_some_and(|sender| sender.role() == Role::Client)
    }
    /// Puts another stanza in its place, for the stages that follow.
    pub fn replace(&mut self, stanza: Stanza) {
        self.stanza = stanza;
    }
}

/// What an interceptor decides.
#[derive(Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// On to the next.
    Continue,
    /// On to the next, with this stanza in the place of the one that came.
    ContinueWith(Stanza),
    /// The stanza has been taken care of; the route ends.
    Handled,
    /// An iq request is answered with this; the route ends.
    Reply(Reply),
    /// The sender gets this error; the route ends. Errors and answers are dropped instead.
    Reject(StanzaError),
    /// The stanza vanishes, counted under this reason.
    Drop(&'static str),
}

/// A verdict, now or later.
pub enum Decision {
    /// The verdict.
    Ready(Verdict),
    /// The verdict comes when this resolves, within [`Limits::handler`](super::Limits::handler). Meanwhile nothing
    /// else of this sender is routed.
    Wait(BoxFuture<'static, Verdict>),
    /// The same, for messages, but those that the sender sends meanwhile may come up to this station and be taken up by it,
    /// in order; none goes on before the one ahead of it has. Some stations before this one have then seen them early. For
    /// stores that write many things at once, and keep the order in which they were first polled.
    InOrder(BoxFuture<'static, Verdict>),
    /// The stanza goes on at once, but is not handed to a session, a service or another server before this resolves; if the
    /// verdict then ends the route, it ends with that. Within [`Limits::handler`](super::Limits::handler); another stanza
    /// in its place is not taken. Where a station in between ends the route, that counts, and this is waited for.
    Meanwhile(BoxFuture<'static, Verdict>),
}

impl Verdict {
    /// Whether it is not on to the next.
    pub(crate) fn ends_the_route(&self) -> bool {
        !matches!(self, Verdict::Continue | Verdict::ContinueWith(_))
    }
}

impl From<Verdict> for Decision {
    fn from(verdict: Verdict) -> Decision {
        Decision::Ready(verdict)
    }
}

impl From<Result<Verdict, StanzaError>> for Decision {
    fn from(result: Result<Verdict, StanzaError>) -> Decision {
        Decision::Ready(result.unwrap_or_else(Verdict::Reject))
    }
}

/// One step of the route.
pub type Interceptor = Arc<dyn Fn(&mut Envelope, &Server) -> Decision + Send + Sync>;

/// Says of a stanza that a station has nothing to do with it.
type Passing = Arc<dyn Fn(&Envelope, &Server) -> bool + Send + Sync>;

/// Which kinds of stanzas an interceptor sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kinds {
    /// Messages.
    pub const MESSAGE: Kinds = Kinds(1);
    /// Presence.
    pub const PRESENCE: Kinds = Kinds(2);
    /// Iqs.
    pub const IQ: Kinds = Kinds(4);
    /// All stanzas.
    pub const ALL: Kinds = Kinds(7);

    /// Either.
    pub const fn or(self, other: Kinds) -> Kinds {
        Kinds(self.0 | other.0)
    }

    pub(crate) fn contain(self, kind: StanzaKind) -> bool {
        let bit = match kind {
            StanzaKind::Message => Kinds::MESSAGE,
            StanzaKind::Presence => Kinds::PRESENCE,
            StanzaKind::Iq => Kinds::IQ,
        };
        self.0 & bit.0 != 0
    }
}

/// A named interceptor with its place.
///
/// ```
/// use xmpp_core::{
///     server::{Envelope, Kinds, Server, ServerRegistrar, Stage, Station, Verdict},
///     stanza::StanzaError,
///     xml::ns,
/// };
///
/// /// Refuses messages in capitals, on behalf of the recipient.
/// fn quiet(r: &mut ServerRegistrar) {
///     r.station(Station::new("example:quiet", Stage::Incoming, Kinds::MESSAGE, |envelope: &mut Envelope, _: &Server| {
///         let body = envelope.stanza().root().child("body", ns::CLIENT).map(|body| body.text().into_owned());
///         match body.is_some_and(|body| body.len() > 10 && body == body.to_uppercase()) {
///             true => Verdict::Reject(StanzaError::not_acceptable().with_text("do not shout")),
///             false => Verdict::Continue,
///         }
///     }));
/// }
/// ```
#[derive(Clone)]
pub struct Station {
    name: &'static str,
    stage: Stage,
    kinds: Kinds,
    before: Vec<&'static str>,
    after: Vec<&'static str>,
    passing: Option<Passing>,
    for_elsewhere: bool,
    pub(crate) interceptor: Interceptor,
}

impl std::fmt::Debug for Station {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}: {}", self.stage, self.name)
    }
}

impl Station {
    /// An interceptor at `stage`. Names are unique; by them others say where they stand.
    pub fn new<D: Into<Decision>>(
        name: &'static str,
        stage: Stage,
        kinds: Kinds,
        interceptor: impl Fn(&mut Envelope, &Server) -> D + Send + Sync + 'static,
    ) -> Station {
        let interceptor: Interceptor = Arc::new(move |envelope, server| interceptor(envelope, server).into());
        let (before, after) = (Vec::new(), Vec::new());
        Station { name, stage, kinds, before, after, passing: None, for_elsewhere: false, interceptor }
    }
    /// Stands before another of its stage, if that one is registered.
    #[must_use]
    pub fn before(mut self, name: &'static str) -> Station {
        self.before.push(name);
        self
    }
    /// Stands after another of its stage, if that one is registered.
    #[must_use]
    pub fn after(mut self, name: &'static str) -> Station {
        self.after.push(name);
        self
    }
    /// Lets stanzas pass for which `f` says true, whoever is to get them: its interceptor would answer
    /// [`Verdict::Continue`] for all recipients. Where one stanza goes to many
    /// ([`Server::send_to_each`]) that is asked once, and the interceptor is not asked for each; elsewhere it is asked
    /// nothing. [`Envelope::to`] is one of the recipients, and not to be looked at.
    #[must_use]
    pub fn passing(mut self, f: impl Fn(&Envelope, &Server) -> bool + Send + Sync + 'static) -> Station {
        self.passing = Some(Arc::new(f));
        self
    }
    /// Has nothing to do with what is for accounts here.
    pub(crate) fn for_elsewhere(mut self) -> Station {
        self.for_elsewhere = true;
        self
    }
    pub(crate) fn is_for_elsewhere(&self) -> bool {
        self.for_elsewhere
    }
    pub(crate) fn lets_pass(&self, envelope: &Envelope, server: &Server) -> bool {
        self.passing.as_ref().is_some_and(|passing| passing(envelope, server))
    }
    pub(crate) fn stage(&self) -> Stage {
        self.stage
    }
    pub(crate) fn sees(&self, kind: StanzaKind) -> bool {
        self.kinds.contain(kind)
    }
}

/// Why the stations of a route cannot be put in order: a mistake in the program that composes them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// Two stations have one name.
    #[error("two stations of the route are named {0}")]
    SameName(&'static str),
    /// Stations that want to stand before each other.
    #[error("the stations {0:?} of the route each want to stand before another of them")]
    Circle(Vec<&'static str>),
}

/// Puts stations in order: by stage, then as `before` and `after` demand, else as registered.
pub(crate) fn sort(stations: Vec<Station>) -> Result<Vec<Station>, RouteError> {
    let mut index = HashMap::new();
    for (number, station) in stations.iter().enumerate() {
        if index.insert(station.name, number).is_some() {
            return Err(RouteError::SameName(station.name));
        }
    }
    let mut predecessors: Vec<Vec<usize>> = vec![Vec::new(); stations.len()];
    for (number, station) in stations.iter().enumerate() {
        predecessors[number].extend(station.after.iter().filter_map(|name| index.get(name)));
        for other in station.before.iter().filter_map(|name| index.get(name)) {
            predecessors[*other].push(number);
        }
    }
    let mut order: Vec<usize> = Vec::with_capacity(stations.len());
    let mut remaining: Vec<usize> = (0..stations.len()).collect();
    remaining.sort_by_key(|&number| stations[number].stage);
    while !remaining.is_empty() {
        // The first whose predecessors of the same stage are placed; stages order the others.
        let free = remaining.iter().position(|&number| {
            let stage = stations[number].stage;
            predecessors[number].iter().all(|before| stations[*before].stage != stage || order.contains(before))
        });
        let first_stage = stations[remaining[0]].stage;
        match free {
            Some(position) if stations[remaining[position]].stage == first_stage => {
                order.push(remaining.remove(position));
            }
            _ => {
                let circle = remaining.iter().filter(|&&number| stations[number].stage == first_stage);
                return Err(RouteError::Circle(circle.map(|&number| stations[number].name).collect()));
            }
        }
    }
    let mut slots: Vec<Option<Station>> = stations.into_iter().map(Some).collect();
    Ok(order.into_iter().filter_map(|number| slots[number].take()).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn station(name: &'static str, stage: Stage) -> Station {
        Station::new(name, stage, Kinds::ALL, |_: &mut Envelope, _: &Server| Verdict::Continue)
    }

    fn names(stations: Vec<Station>) -> Vec<&'static str> {
        sort(stations).unwrap().iter().map(|station| station.name).collect()
    }

    #[test]
    fn stages_come_first_then_before_and_after_then_registration() {
        let stations = vec![
            station("deliver", Stage::Deliver),
            station("carbons", Stage::Outgoing),
            station("archive", Stage::Outgoing).before("carbons"),
            station("blocking", Stage::Outgoing).before("archive"),
            station("log", Stage::FromClient).after("nobody"),
        ];
        assert_eq!(names(stations), ["log", "blocking", "archive", "carbons", "deliver"]);
    }

    #[test]
    fn a_circle_is_an_error_that_names_it() {
        let stations = vec![
            station("a", Stage::Incoming).before("b"),
            station("b", Stage::Incoming).before("a"),
            station("c", Stage::Deliver),
        ];
        assert_eq!(sort(stations).unwrap_err(), RouteError::Circle(vec!["a", "b"]));
    }

    #[test]
    fn a_name_is_unique() {
        let stations = vec![station("a", Stage::Incoming), station("a", Stage::Deliver)];
        assert_eq!(sort(stations).unwrap_err(), RouteError::SameName("a"));
    }
}

//! Subscriptions at the server (RFC 6121 §3): the stations that follow the chart.

use super::{
    Decide, Versioned,
    chart::{self, Act, Direction, State, Step},
    server::{Rosters, send, too_many},
};
use crate::{
    invitation::{Claim, InvitationKey},
    presence,
};
use std::sync::Arc;
use xmpp_core::{
    jid::BareJid,
    server::{Decision, Envelope, Kinds, Server, ServerRegistrar, Stage, Station, Verdict},
    stanza::{Presence, PresenceType, StanzaError, generate_id},
    xml::{Stanza, ns},
};

pub(super) fn register(r: &mut ServerRegistrar, rosters: &Arc<Rosters>) {
    let (going, coming) = (Arc::clone(rosters), Arc::clone(rosters));
    let out = move |envelope: &mut Envelope, server: &Server| outbound(envelope, server, &going);
    r.station(Station::new("im:subscriptions-out", Stage::Services, Kinds::PRESENCE, out).before("im:presence"));
    let inward = move |envelope: &mut Envelope, server: &Server| inbound(envelope, server, &coming);
    let station = Station::new("im:subscriptions-in", Stage::Incoming, Kinds::PRESENCE, inward);
    r.station(station.after("im:blocking-in").passing(|envelope, _| shows(envelope)));
}

fn act_of(envelope: &Envelope) -> Option<Act> {
    Some(match envelope.type_str().as_ref() {
        "subscribe" => Act::Subscribe,
        "unsubscribe" => Act::Unsubscribe,
        "subscribed" => Act::Subscribed,
        "unsubscribed" => Act::Unsubscribed,
        _ => return None,
    })
}

/// Whether this is presence that says how somebody is, and nothing about a subscription.
fn shows(envelope: &Envelope) -> bool {
    matches!(envelope.type_str().as_ref(), "" | "unavailable" | "error")
}

/// One stanza about a subscription, as the user on whose behalf it is treated sees it.
struct Matter {
    user: BareJid,
    contact: BareJid,
    act: Act,
    /// With bare addresses (§3.1.2).
    stanza: Stanza,
}

impl Matter {
    fn new(envelope: &Envelope, act: Act, user: BareJid, contact: BareJid) -> Matter {
        let (from, to) = (envelope.from().bare_str(), envelope.to().map(|to| to.bare_str()));
        let stanza = envelope.stanza().rewrite(ns::CLIENT).from(Some(from)).to(to).to_stanza();
        Matter { user, contact, act, stanza }
    }
}

/// From a client of ours.
fn outbound(envelope: &mut Envelope, server: &Server, rosters: &Arc<Rosters>) -> Decision {
    let (Some(act), true) = (act_of(envelope), envelope.is_from_client()) else { return Verdict::Continue.into() };
    let Some(contact) = envelope.to().map(|to| to.to_bare()) else {
        return Verdict::Reject(StanzaError::bad_request()).into();
    };
    let user = envelope.from().to_bare();
    if user == contact {
        return Verdict::Reject(StanzaError::not_allowed().with_text("everybody sees their own presence")).into();
    }
    let (matter, server, rosters) = (Matter::new(envelope, act, user, contact), server.clone(), Arc::clone(rosters));
    Decision::Wait(Box::pin(async move {
        match rosters.go(&server, matter).await {
            Ok(()) => Verdict::Handled,
            Err(error) => Verdict::Reject(error),
        }
    }))
}

/// To an account here.
fn inbound(envelope: &mut Envelope, server: &Server, rosters: &Arc<Rosters>) -> Decision {
    let Some(to) = envelope.to().filter(|to| to.local().is_some() && !shows(envelope)).cloned() else {
        return Verdict::Continue.into();
    };
    let (server, rosters) = (server.clone(), Arc::clone(rosters));
    if envelope.type_str() == "probe" {
        let (prober, id) = (envelope.from().clone(), envelope.stanza().root().attr("id").map(|id| id.into_owned()));
        return Decision::Wait(Box::pin(async move {
            match presence::answer_probe(&rosters, &server, &prober, &to, id.as_deref()).await {
                Ok(()) => Verdict::Handled,
                Err(error) => Verdict::Reject(error),
            }
        }));
    }
    let Some(act) = act_of(envelope) else { return Verdict::Continue.into() };
    let (user, contact) = (to.to_bare(), envelope.from().to_bare());
    if user == contact {
        return Verdict::Drop("a subscription to oneself").into();
    }
    let matter = Matter::new(envelope, act, user, contact);
    Decision::Wait(Box::pin(async move {
        match rosters.come(&server, matter).await {
            Ok(true) => Verdict::Handled,
            Ok(false) => Verdict::Drop("a subscription of nobody"),
            Err(error) => Verdict::Reject(error),
        }
    }))
}

/// A step that was taken, from which state, and what to push.
struct Taken {
    from: State,
    step: Step,
    change: Option<Versioned>,
}

impl Taken {
    fn grants(&self) -> bool {
        !self.from.subscription().is_from() && self.step.state.subscription().is_from()
    }
    fn revokes(&self) -> bool {
        self.from.subscription().is_from() && !self.step.state.subscription().is_from()
    }
}

impl Rosters {
    /// Takes the chart's step; the caller has the turn.
    async fn step(&self, direction: Direction, matter: &Matter, invited: bool) -> Result<Taken, StanzaError> {
        let request = (direction, matter.act) == (Direction::Inbound, Act::Subscribe);
        let request = request.then(|| self.to_keep(matter));
        let (mut taken, limit) = (None, self.limits.items);
        let decide: Decide<'_> = Box::new(|before| {
            let from = before.record.state();
            let approved = before.record.is_approved();
            let mut step = chart::step(direction, matter.act, from, approved || invited);
            if invited {
                // It approves this request and no other.
                step.approved = approved;
            }
            let after = before.record.after(&matter.contact, &step, request);
            if before.record.item.is_none() && after.item.is_some() && before.items >= limit {
                return None;
            }
            taken = Some((from, step));
            Some(after)
        });
        let change = self.change(&matter.user, &matter.contact, decide).await?;
        let (from, step) = taken.ok_or_else(too_many)?;
        Ok(Taken { from, step, change })
    }

    /// A request as it is kept: whole, as long as there is room (§3.1.3).
    fn to_keep(&self, matter: &Matter) -> Stanza {
        if matter.stanza.as_str().len() <= self.limits.request_bytes {
            return matter.stanza.clone();
        }
        Presence::subscribe(matter.user.clone()).from(matter.contact.clone()).build().into_stanza()
    }

    /// From the user to the contact: routed, then pushed (§3.1.2, §3.1.5, §3.2.2, §3.3.2, §3.4.2).
    async fn go(&self, server: &Server, matter: Matter) -> Result<(), StanzaError> {
        let _turn = self.turn(&matter.user).await;
        self.check_account(server, &matter.user).await?;
        let taken = self.step(Direction::Outbound, &matter, false).await?;
        let Matter { user, contact, stanza, .. } = matter;
        if taken.revokes() {
            presence::send_unavailable(server, &user, &contact);
        }
        if taken.step.pass {
            server.send((&user).into(), (&contact).into(), stanza);
        }
        self.push(server, &user, taken.change.as_ref());
        if taken.grants() {
            presence::send_current(server, &user, &contact);
        }
        Ok(())
    }

    /// From the contact to the user: delivered, then pushed (§3.1.3, §3.1.6, §3.2.3, §3.3.3). False where there is no
    /// such account.
    async fn come(&self, server: &Server, matter: Matter) -> Result<bool, StanzaError> {
        let turn = self.turn(&matter.user).await;
        if !exists(server, &matter.user).await? {
            return Ok(false);
        }
        let invitation = self.invitation(&matter).await?;
        let taken = self.step(Direction::Inbound, &matter, invitation.is_some()).await;
        self.settle(invitation.as_ref(), taken.is_ok()).await;
        let taken = taken?;
        if taken.step.pass {
            self.deliver(server, &matter);
        }
        let Matter { user, contact, .. } = matter;
        if taken.revokes() {
            presence::send_unavailable(server, &user, &contact);
        }
        self.push(server, &user, taken.change.as_ref());
        if let Some(answer) = taken.step.answer {
            send(server, &user, &contact, answer);
            if answer == Act::Subscribed {
                presence::send_current(server, &user, &contact);
            }
        }
        drop(turn);
        let state = taken.step.state;
        if invitation.is_some() && !state.subscription().is_to() && !state.is_pending_out() {
            let stanza =
                Presence::subscribe(contact.clone()).from(user.clone()).id(generate_id()).build().into_stanza();
            self.go(server, Matter { user, contact, act: Act::Subscribe, stanza }).await?;
        }
        Ok(true)
    }

    /// The invitation by which a contact asks who is not subscribed yet; the caller has the turn.
    async fn invitation(&self, matter: &Matter) -> Result<Option<(InvitationKey, Claim)>, StanzaError> {
        let Some(invitations) = self.invitations.as_ref().filter(|_| matter.act == Act::Subscribe) else {
            return Ok(None);
        };
        let record = self.store.record(&matter.user, &matter.contact).await?;
        if record.state().subscription().is_from() {
            return Ok(None);
        }
        Ok(invitations.of_request(&matter.user, &matter.stanza).await)
    }

    /// The invitation is used up, or good for another time.
    async fn settle(&self, invitation: Option<&(InvitationKey, Claim)>, used: bool) {
        let (Some(invitations), Some((key, claim))) = (&self.invitations, invitation) else { return };
        if used { invitations.finish(key).await } else { invitations.release(key, claim).await }
    }

    /// Requests are for who can answer them now; what has become of a subscription is for who shows the roster (§2.2).
    fn deliver(&self, server: &Server, matter: &Matter) {
        let from = || (&matter.contact).into();
        if matter.act.presence_type() == PresenceType::Subscribe {
            let available = server.resources(matter.user.as_str()).into_iter().filter(|one| one.priority.is_some());
            available.for_each(|resource| _ = server.hand(from(), &resource.jid, matter.stanza.clone()));
        } else {
            let interested = self.interested(server, &matter.user);
            interested.for_each(|resource| _ = server.hand(from(), &resource.jid, matter.stanza.clone()));
        }
    }
}

/// Whether there is an account, or the session of somebody who needs none. Sessions of an account that was removed may
/// be there for a while.
pub(super) async fn exists(server: &Server, user: &BareJid) -> Result<bool, StanzaError> {
    if server.admits_anonymous(user.domain()) && !server.resources(user.as_str()).is_empty() {
        return Ok(true);
    }
    server.account_exists(user).await.map_err(|error| {
        tracing::error!(%user, "{error}");
        StanzaError::internal_server_error()
    })
}

//! Invitations, and requests for voice (§7.8, §8.6, XEP-0249).

use super::{
    Muc, Room,
    feed::{Read, Reader, Weigh},
};
use crate::payload::{Continue, Decline, DirectInvitation, Invite, UserInfo};
use xmpp_core::{
    client::SendError,
    jid::{BareJid, Jid},
    payload::form::{DataForm, Field, FormKind},
    stanza::{Message, MessageType},
};

/// The type of the form by which somebody asks for voice.
const REQUEST: &str = "http://jabber.org/protocol/muc#request";

/// Somebody invites us into a room.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Invitation {
    /// The room.
    pub room: BareJid,
    /// Who invites. Of an invitation that came through the room it is the room that says so.
    pub from: Option<Jid>,
    /// Why.
    pub reason: Option<String>,
    /// The password of the room.
    pub password: Option<String>,
    /// A conversation of two goes on in the room (§7.9).
    pub continues: bool,
    /// The thread of that.
    pub thread: Option<String>,
    /// It came through the room (§7.8.2), which can be told that we do not come; otherwise past it (XEP-0249).
    pub is_mediated: bool,
}

impl Invitation {
    /// The invitation in a message. One through the room counts only from the room's own address.
    pub fn read(message: &Message) -> Option<Invitation> {
        if message.type_() == MessageType::Error {
            return None;
        }
        let from = message.from()?;
        if let Some(Ok(info)) = message.payload::<UserInfo>()
            && let Some(invite) = info.invites.into_iter().next()
        {
            if from.resource().is_some() || from.local().is_none() {
                return None;
            }
            let (continues, thread) = (invite.continues.is_some(), invite.continues.and_then(|it| it.thread));
            let room = from.to_bare();
            let (from, reason, password) = (invite.from, invite.reason, info.password);
            return Some(Invitation { room, from, reason, password, continues, thread, is_mediated: true });
        }
        let DirectInvitation { jid, password, reason, continues, thread } = message.payload()?.ok()?;
        let from = Some(from.clone());
        Some(Invitation { room: jid, from, reason, password, continues, thread, is_mediated: false })
    }
}

impl Weigh for Invitation {
    fn weight(&self) -> usize {
        let texts = [&self.reason, &self.password, &self.thread].into_iter().flatten().map(String::len);
        let jids = self.from.as_ref().map_or(0, |from| from.as_str().len()) + self.room.as_str().len();
        size_of::<Invitation>().saturating_add(jids).saturating_add(texts.sum())
    }
}

/// Invitations, in order.
#[derive(Debug)]
pub struct Invitations {
    pub(super) reader: Reader<Invitation>,
}

impl Invitations {
    /// The next; `None` when the client has ended. Those beyond what waits, 64 of 512 KiB in all, are lost, oldest first.
    /// Cancel-safe.
    pub async fn next(&mut self) -> Option<Invitation> {
        loop {
            if let Read::One(invitation) = self.reader.next().await? {
                return Some(invitation);
            }
        }
    }
}

impl Muc {
    /// Says that we do not come (§7.8.2); an invitation past the room has nobody to be told.
    ///
    /// # Errors
    /// Those of [`Client::send`](xmpp_core::client::Client::send).
    pub async fn decline(&self, invitation: &Invitation, reason: Option<&str>) -> Result<(), SendError> {
        if !invitation.is_mediated {
            return Ok(());
        }
        let decline = Decline { to: invitation.from.clone(), reason: reason.map(str::to_owned), from: None };
        let info = UserInfo { decline: Some(decline), ..UserInfo::default() };
        self.client.send(Message::normal(invitation.room.clone()).payload(&info)).await
    }
}

impl Room {
    /// Invites somebody through the room (§7.8.2), which makes them a member where it must and we may.
    ///
    /// # Errors
    /// Those of [`Client::send`](xmpp_core::client::Client::send). What the room refuses is told by
    /// [`RoomEvent::NotDelivered`](super::RoomEvent::NotDelivered).
    pub async fn invite(&self, who: impl Into<Jid>, reason: Option<&str>) -> Result<(), SendError> {
        self.invite_into(who.into(), reason, None).await
    }

    /// As [`invite`](Self::invite), into the continuation of a conversation of two (§7.9).
    pub async fn invite_to_continue(&self, who: impl Into<Jid>, thread: Option<&str>) -> Result<(), SendError> {
        self.invite_into(who.into(), None, Some(Continue { thread: thread.map(str::to_owned) })).await
    }

    async fn invite_into(&self, who: Jid, reason: Option<&str>, continues: Option<Continue>) -> Result<(), SendError> {
        let invite = Invite { from: None, to: Some(who), reason: reason.map(str::to_owned), continues };
        let info = UserInfo { invites: vec![invite], ..UserInfo::default() };
        self.client().send(Message::normal(self.jid().clone()).payload(&info)).await
    }

    /// Invites somebody past the room (XEP-0249), with the password by which we came in. Who is no member of a room for
    /// members is not let in by that.
    ///
    /// # Errors
    /// Those of [`Client::send`](xmpp_core::client::Client::send).
    pub async fn invite_directly(&self, who: impl Into<Jid>, reason: Option<&str>) -> Result<(), SendError> {
        let invitation = DirectInvitation {
            jid: self.jid().clone(),
            password: self.password(),
            reason: reason.map(str::to_owned),
            continues: false,
            thread: None,
        };
        self.client().send(Message::normal(who.into()).payload(&invitation)).await
    }

    /// Asks the moderators for voice (§7.13).
    ///
    /// # Errors
    /// Those of [`Client::send`](xmpp_core::client::Client::send).
    pub async fn request_voice(&self) -> Result<(), SendError> {
        let form = DataForm::typed(FormKind::Submit, REQUEST).with(Field::new("muc#role").value("participant"));
        self.client().send(Message::normal(self.jid().clone()).payload(&form)).await
    }

    /// Gives voice to who has asked for it, or says nothing (§8.6).
    ///
    /// # Errors
    /// Those of [`Client::send`](xmpp_core::client::Client::send).
    pub async fn answer_voice(&self, request: &VoiceRequest, allow: bool) -> Result<(), SendError> {
        let mut form = DataForm::typed(FormKind::Submit, REQUEST)
            .with(Field::new("muc#role").value("participant"))
            .with(Field::new("muc#roomnick").value(request.nick.as_str()))
            .with(Field::new("muc#request_allow").value(if allow { "true" } else { "false" }));
        if let Some(jid) = &request.jid {
            form = form.with(Field::new("muc#jid").value(jid.as_str()));
        }
        self.client().send(Message::normal(self.jid().clone()).payload(&form)).await
    }
}

/// A visitor asks for voice (§8.6).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VoiceRequest {
    /// The visitor.
    pub nick: String,
    /// Who that is.
    pub jid: Option<Jid>,
}

impl VoiceRequest {
    pub(super) fn read(form: &DataForm) -> Option<VoiceRequest> {
        // Some services mark the field as hidden, some do not.
        if form.value("FORM_TYPE") != Some(REQUEST) {
            return None;
        }
        let nick = form.value("muc#roomnick")?.to_owned();
        Some(VoiceRequest { nick, jid: form.value("muc#jid").and_then(|jid| Jid::lenient(jid).ok()) })
    }
}

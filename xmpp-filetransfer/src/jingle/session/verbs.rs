//! What we do in a session.

use super::{Misuse, Phase, Sent, SentId, Session, SessionContent, Unanswered, apply::Op, receive};
use crate::jingle::{Action, Content, ContentId, Creator, Jingle, Reason, Senders};
use xmpp_core::xml::Stanza;

impl Session {
    /// Accepts the session (§6.5): with these of the contents that were [offered](Self::offered), as we want them. Others that
    /// it was asked for with are no longer there.
    ///
    /// # Errors
    /// [`Misuse::NotNow`] unless we were asked and have not accepted; [`Misuse::NoContent`], [`Misuse::Incomplete`].
    pub fn accept(&mut self, contents: Vec<Content>) -> Result<Sent, Misuse> {
        self.check_alive()?;
        if self.is_initiator() || self.phase != Phase::Pending {
            return Err(Misuse::NotNow);
        }
        receive::check_whole(&contents).map_err(|_| Misuse::Incomplete)?;
        for content in &contents {
            let known = self.content(&content.id).ok_or(Misuse::NoContent)?;
            if known.offered_by != Creator::Initiator || !known.definition.is_session() {
                return Err(Misuse::NoContent);
            }
        }
        let mut jingle = self.message(Action::SessionAccept, contents.clone());
        jingle.responder = Some(self.me.clone().into());
        self.act(jingle, Op::AcceptSession(contents))
    }

    /// Offers further contents (§7.2.2), made by our end. The peer answers with [`ContentAccepted`](super::Event::ContentAccepted)
    /// or [`ContentRejected`](super::Event::ContentRejected).
    ///
    /// # Errors
    /// [`Misuse::Incomplete`], [`Misuse::NameTaken`], [`Misuse::TooMany`].
    pub fn add_content(&mut self, contents: Vec<Content>) -> Result<Sent, Misuse> {
        self.check_alive()?;
        receive::check_whole(&contents).map_err(|_| Misuse::Incomplete)?;
        for content in &contents {
            if content.id.creator != self.end {
                return Err(Misuse::Incomplete);
            }
            let said = self.unanswered.iter().any(|sent| sent.is_about(&content.id));
            if said || self.content(&content.id).is_some() {
                return Err(Misuse::NameTaken);
            }
        }
        self.check_room(&contents).map_err(|_| Misuse::TooMany)?;
        let jingle = self.message(Action::ContentAdd, contents.clone());
        self.act(jingle, Op::Add(contents))
    }

    /// Accepts contents that the peer has added (§7.2.1), as we want them.
    ///
    /// # Errors
    /// [`Misuse::NoContent`] where one is not there or was not offered by the peer, [`Misuse::Waiting`].
    pub fn accept_content(&mut self, contents: Vec<Content>) -> Result<Sent, Misuse> {
        self.check_open(contents.iter().map(|content| &content.id))?;
        let jingle = self.message(Action::ContentAccept, contents.clone());
        self.act(jingle, Op::Accept(contents))
    }

    /// Rejects contents that the peer has offered (§7.2.4).
    ///
    /// # Errors
    /// [`Misuse::NoContent`], [`Misuse::Waiting`], [`Misuse::LastContent`].
    pub fn reject_content(&mut self, ids: Vec<ContentId>, reason: Option<Reason>) -> Result<Sent, Misuse> {
        self.check_open(ids.iter())?;
        self.leave(Action::ContentReject, ids, reason)
    }

    /// Takes contents away (§7.2.5).
    ///
    /// # Errors
    /// [`Misuse::NoContent`], [`Misuse::LastContent`].
    pub fn remove_content(&mut self, ids: Vec<ContentId>, reason: Option<Reason>) -> Result<Sent, Misuse> {
        self.check_known(ids.iter())?;
        self.leave(Action::ContentRemove, ids, reason)
    }

    fn leave(&mut self, action: Action, ids: Vec<ContentId>, reason: Option<Reason>) -> Result<Sent, Misuse> {
        if !self.contents.iter().any(|content| !content.leaving && !ids.contains(content.id())) {
            return Err(Misuse::LastContent);
        }
        let named = |id: &ContentId| Content {
            // Whose file it was (XEP-0234 §6.5): what tells offers from requests stays with the content.
            senders: self.content(id).and_then(|content| content.definition.senders),
            ..Content::of(id.clone())
        };
        let contents = ids.iter().map(named).collect();
        let mut jingle = self.message(action, contents);
        jingle.reason = reason;
        let sent = self.act(jingle, Op::Drop(ids.clone()))?;
        for content in self.contents.iter_mut().filter(|content| ids.contains(content.id())) {
            content.leaving = true;
        }
        Ok(sent)
    }

    /// Changes who sends (§7.2.3).
    ///
    /// # Errors
    /// [`Misuse::NoContent`], [`Misuse::Waiting`].
    pub fn modify_content(&mut self, changes: Vec<(ContentId, Senders)>) -> Result<Sent, Misuse> {
        self.check_idle(changes.iter().map(|(id, _)| id))?;
        let content = |(id, senders): &(ContentId, Senders)| Content::of(id.clone()).with_senders(*senders);
        let jingle = self.message(Action::ContentModify, changes.iter().map(content).collect());
        self.act(jingle, Op::Modify(changes))
    }

    /// Proposes other transports (§7.2.15). The peer answers with [`TransportAccepted`](super::Event::TransportAccepted) or
    /// [`TransportRejected`](super::Event::TransportRejected); until then the former ones hold.
    ///
    /// # Errors
    /// [`Misuse::NoContent`]; [`Misuse::Waiting`] where a proposal is open, which may be the peer's.
    pub fn replace_transport(&mut self, proposals: Vec<(ContentId, Stanza)>) -> Result<Sent, Misuse> {
        self.check_idle(proposals.iter().map(|(id, _)| id))?;
        if proposals.iter().any(|(id, _)| self.content(id).is_some_and(|content| content.replacement.is_some())) {
            return Err(Misuse::Waiting);
        }
        let contents = proposals.iter().map(|(id, it)| Content::of(id.clone()).with_transport(it.clone())).collect();
        let jingle = self.message(Action::TransportReplace, contents);
        self.act(jingle, Op::Propose(proposals))
    }

    /// Accepts the transports that the peer proposes (§7.2.12), each with our own definition of it.
    ///
    /// # Errors
    /// [`Misuse::NoContent`]; [`Misuse::NotNow`] where none is proposed; [`Misuse::Waiting`].
    pub fn accept_transport(&mut self, answers: Vec<(ContentId, Stanza)>) -> Result<Sent, Misuse> {
        self.check_proposed(answers.iter().map(|(id, _)| id))?;
        let contents = answers.iter().map(|(id, it)| Content::of(id.clone()).with_transport(it.clone())).collect();
        let jingle = self.message(Action::TransportAccept, contents);
        self.act(jingle, Op::AcceptTransport(answers.into_iter().map(|(id, it)| (id, Some(it))).collect()))
    }

    /// Rejects the transports that the peer proposes (§7.2.14).
    ///
    /// # Errors
    /// As [`accept_transport`](Self::accept_transport).
    pub fn reject_transport(&mut self, ids: Vec<ContentId>, reason: Option<Reason>) -> Result<Sent, Misuse> {
        self.check_proposed(ids.iter())?;
        let proposed = |id: &ContentId| Content {
            transport: self.content(id).and_then(|it| it.replacement.as_ref()).map(|it| it.transport.clone()),
            ..Content::of(id.clone())
        };
        let contents = ids.iter().map(proposed).collect();
        let mut jingle = self.message(Action::TransportReject, contents);
        jingle.reason = reason;
        self.act(jingle, Op::RejectTransport(ids))
    }

    /// Tells of transports, such as further candidates (§7.2.13).
    ///
    /// # Errors
    /// [`Misuse::NoContent`].
    pub fn transport_info(&mut self, infos: Vec<(ContentId, Stanza)>) -> Result<Sent, Misuse> {
        self.inform(Action::TransportInfo, infos, Content::with_transport)
    }

    /// Tells of applications (§7.2.6).
    ///
    /// # Errors
    /// [`Misuse::NoContent`].
    pub fn description_info(&mut self, infos: Vec<(ContentId, Stanza)>) -> Result<Sent, Misuse> {
        self.inform(Action::DescriptionInfo, infos, Content::with_description)
    }

    /// Tells of security preconditions (§7.2.7).
    ///
    /// # Errors
    /// [`Misuse::NoContent`].
    pub fn security_info(&mut self, infos: Vec<(ContentId, Stanza)>) -> Result<Sent, Misuse> {
        self.inform(Action::SecurityInfo, infos, Content::with_security)
    }

    fn inform(
        &mut self,
        action: Action,
        infos: Vec<(ContentId, Stanza)>,
        with: fn(Content, Stanza) -> Content,
    ) -> Result<Sent, Misuse> {
        self.check_known(infos.iter().map(|(id, _)| id))?;
        self.check_unanswered()?;
        let contents = infos.into_iter().map(|(id, info)| with(Content::of(id), info)).collect();
        let jingle = self.message(action, contents);
        Ok(self.note(jingle, Vec::new(), None, Vec::new()))
    }

    /// Tells of the session (§7.2.9); `None` asks for a sign of life (§6.8).
    ///
    /// # Errors
    /// [`Misuse::Ended`], [`Misuse::TooMany`].
    pub fn session_info(&mut self, info: Option<Stanza>) -> Result<Sent, Misuse> {
        self.check_alive()?;
        self.check_unanswered()?;
        let mut jingle = self.message(Action::SessionInfo, Vec::new());
        jingle.others.extend(info);
        Ok(self.note(jingle, Vec::new(), None, Vec::new()))
    }

    /// Ends the session (§6.7), at once: what the peer says from now on is refused.
    ///
    /// # Errors
    /// [`Misuse::Ended`].
    pub fn terminate(&mut self, reason: Reason) -> Result<Sent, Misuse> {
        self.check_alive()?;
        let mut jingle = self.message(Action::SessionTerminate, Vec::new());
        jingle.reason = Some(reason);
        self.phase = Phase::Ended;
        Ok(self.note(jingle, Vec::new(), None, Vec::new()))
    }

    fn message(&self, action: Action, contents: Vec<Content>) -> Jingle {
        let mut jingle = Jingle::new(action, self.sid.clone());
        jingle.contents = contents;
        jingle
    }

    /// The responder's doings hold at once, the initiator's when they are acknowledged.
    fn act(&mut self, jingle: Jingle, op: Op) -> Result<Sent, Misuse> {
        self.check_unanswered()?;
        let ids: Vec<ContentId> = jingle.contents.iter().map(|content| content.id.clone()).collect();
        let of = |content: &&SessionContent| ids.contains(content.id());
        let before = match self.end {
            Creator::Initiator => Vec::new(),
            Creator::Responder => self.contents.iter().filter(of).cloned().collect(),
        };
        if self.end == Creator::Responder {
            let sent = SentId(self.next);
            self.apply(&op, Creator::Responder, Some(sent));
        }
        Ok(self.note(jingle, ids, Some(op), before))
    }

    pub(super) fn note(
        &mut self,
        jingle: Jingle,
        contents: Vec<ContentId>,
        op: Option<Op>,
        before: Vec<SessionContent>,
    ) -> Sent {
        let id = SentId(self.next);
        self.next += 1;
        self.unanswered.push(Unanswered { id, action: jingle.action, contents, op, before });
        Sent { id, jingle }
    }

    fn check_alive(&self) -> Result<(), Misuse> {
        if self.has_ended() { Err(Misuse::Ended) } else { Ok(()) }
    }

    fn check_unanswered(&self) -> Result<(), Misuse> {
        if self.unanswered.len() >= self.limits.unanswered { Err(Misuse::TooMany) } else { Ok(()) }
    }

    /// Contents that are there, or that the peer will know before what is said of them.
    fn check_known<'a>(&self, ids: impl Iterator<Item = &'a ContentId> + Clone) -> Result<(), Misuse> {
        self.check_alive()?;
        let mut known: Vec<&ContentId> = ids.collect();
        known.sort_unstable();
        if known.is_empty() || known.windows(2).any(|pair| matches!(pair, [one, other] if one == other)) {
            return Err(Misuse::Incomplete);
        }
        for id in known {
            let is_added = || self.doing(Action::ContentAdd, id).is_some();
            match self.content(id) {
                Some(content) if !content.leaving => {}
                None if is_added() => {}
                _ => return Err(Misuse::NoContent),
            }
        }
        Ok(())
    }

    /// Contents that nothing unanswered of ours is about.
    fn check_idle<'a>(&self, ids: impl Iterator<Item = &'a ContentId> + Clone) -> Result<(), Misuse> {
        self.check_known(ids.clone())?;
        for id in ids {
            // What begins the session is about all of them, and changes nothing.
            let busy = self.unanswered.iter().any(|sent| sent.op.is_some() && sent.is_about(id));
            if busy {
                return Err(Misuse::Waiting);
            }
        }
        Ok(())
    }

    /// Contents that the peer has offered and we have not answered.
    fn check_open<'a>(&self, ids: impl Iterator<Item = &'a ContentId> + Clone) -> Result<(), Misuse> {
        self.check_idle(ids.clone())?;
        for id in ids {
            let content = self.content(id).ok_or(Misuse::NoContent)?;
            if content.offered_by == self.end || content.accepted {
                return Err(Misuse::NotNow);
            }
        }
        Ok(())
    }

    /// Contents that the peer has proposed another transport for.
    fn check_proposed<'a>(&self, ids: impl Iterator<Item = &'a ContentId> + Clone) -> Result<(), Misuse> {
        self.check_idle(ids.clone())?;
        for id in ids {
            let proposed = self.content(id).and_then(|content| content.replacement.as_ref());
            if proposed.is_none_or(|it| it.by == self.end) {
                return Err(Misuse::NotNow);
            }
        }
        Ok(())
    }
}

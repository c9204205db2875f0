//! What the peer says, judged and done.

use super::{Ending, Event, Phase, Session, SessionContent, Unanswered, apply::Op};
use crate::jingle::{Action, Content, ContentId, Creator, Jingle, JingleError};

/// Contents that are offered: at least one, each with application and transport (§6.2, §7.2.8).
pub(super) fn check_whole(contents: &[Content]) -> Result<(), JingleError> {
    check_named(contents)?;
    if contents.iter().any(|content| content.description.is_none()) {
        return Err(JingleError::Malformed("a content lacks its description"));
    }
    if contents.iter().any(|content| content.transport.is_none()) {
        return Err(JingleError::Malformed("a content lacks its transport"));
    }
    Ok(())
}

/// Contents that something is said of: at least one, and each once (§7.3).
fn check_named(contents: &[Content]) -> Result<(), JingleError> {
    if contents.is_empty() {
        return Err(JingleError::Malformed("there is no content"));
    }
    let mut ids: Vec<&ContentId> = contents.iter().map(|content| &content.id).collect();
    ids.sort_unstable();
    if ids.windows(2).any(|pair| matches!(pair, [one, other] if one == other)) {
        return Err(JingleError::Malformed("a content is there twice"));
    }
    Ok(())
}

fn ids(contents: &[Content]) -> Vec<ContentId> {
    contents.iter().map(|content| content.id.clone()).collect()
}

impl Session {
    /// Takes a message of the peer. The sender is to have been compared with [`peer`](Self::peer) before. What it returns is
    /// empty where there is nothing to tell, as for a ping.
    ///
    /// # Errors
    /// What to answer the iq with. Nothing has changed then. Everything else is answered with an empty result.
    pub fn receive(&mut self, jingle: &Jingle) -> Result<Vec<Event>, JingleError> {
        if self.has_ended() || jingle.sid != self.sid {
            return Err(JingleError::UnknownSession);
        }
        if let Some(mut heard) = self.heard(jingle) {
            let events = heard.receive(jingle)?;
            *self = heard;
            return Ok(events);
        }
        match jingle.action {
            Action::SessionInitiate => Err(JingleError::OutOfOrder),
            Action::SessionAccept => self.on_session_accept(jingle),
            Action::SessionInfo => self.on_session_info(jingle),
            Action::SessionTerminate => {
                self.phase = Phase::Ended;
                Ok(vec![Event::Ended(Ending::Terminated(jingle.reason.clone()))])
            }
            Action::ContentAdd => self.on_content_add(jingle),
            Action::ContentAccept => self.on_content_accept(jingle),
            Action::ContentReject => self.on_content_reject(jingle),
            Action::ContentRemove => self.on_content_remove(jingle),
            Action::ContentModify => self.on_content_modify(jingle),
            Action::TransportReplace => self.on_transport_replace(jingle),
            Action::TransportAccept => self.on_transport_accept(jingle),
            Action::TransportReject => self.on_transport_reject(jingle),
            Action::TransportInfo => self.on_transport_info(jingle),
            Action::DescriptionInfo => self.on_description_info(jingle),
            Action::SecurityInfo => self.on_security_info(jingle),
        }
    }

    fn theirs(&mut self, op: &Op) -> Vec<ContentId> {
        self.apply(op, self.end.other(), None)
    }

    /// How it is when what this answers was heard, which it says, though the acknowledgement is looked at later: some send both
    /// in one go. `None` where it answers nothing that waits for one.
    fn heard(&self, jingle: &Jingle) -> Option<Session> {
        let is_answered = |sent: &Unanswered| {
            let fits = matches!(
                (&sent.op, jingle.action),
                (Some(Op::Propose(_)), Action::TransportAccept | Action::TransportReject)
                    | (Some(Op::Add(_)), Action::ContentAccept | Action::ContentReject)
            );
            fits && jingle.contents.iter().any(|content| sent.is_about(&content.id))
        };
        // What a responder does holds at once.
        let place = self.unanswered.iter().position(is_answered).filter(|_| self.is_initiator())?;
        let mut heard = self.clone();
        if let Some(op) = heard.unanswered.remove(place).op {
            heard.apply(&op, Creator::Initiator, None);
        }
        Some(heard)
    }

    /// A content that the message is about.
    fn find(&self, id: &ContentId) -> Result<&SessionContent, JingleError> {
        self.content(id).ok_or(JingleError::OutOfOrder)
    }

    /// All contents that the message is about, each named once.
    fn find_all(&self, contents: &[Content]) -> Result<(), JingleError> {
        check_named(contents)?;
        contents.iter().try_for_each(|content| self.find(&content.id).map(drop))
    }

    /// Contents that the application still takes part in.
    fn alive(&self, contents: &[Content]) -> Vec<Content> {
        let is_alive = |content: &&Content| self.content(&content.id).is_some_and(|it| !it.leaving);
        contents.iter().filter(is_alive).cloned().collect()
    }

    /// Something of ours that is under way and counts more (§7.2.16).
    fn check_tie(&self, action: Action, contents: &[Content]) -> Result<(), JingleError> {
        let tied = self.is_initiator() && contents.iter().any(|it| self.doing(action, &it.id).is_some());
        if tied { Err(JingleError::TieBreak) } else { Ok(()) }
    }

    fn with_void(&self, mut events: Vec<Event>, jingle: &Jingle) -> Vec<Event> {
        if self.contents.is_empty() {
            events.push(Event::Void { reason: jingle.reason.clone() });
        }
        events
    }

    fn on_session_accept(&mut self, jingle: &Jingle) -> Result<Vec<Event>, JingleError> {
        if !self.is_initiator() || self.phase != Phase::Pending {
            return Err(JingleError::OutOfOrder);
        }
        check_whole(&jingle.contents)?;
        self.find_all(&jingle.contents)?;
        self.check_answer(&jingle.contents)?;
        let contents = self.alive(&jingle.contents);
        let dropped = self.theirs(&Op::AcceptSession(jingle.contents.clone()));
        let others = jingle.others.clone();
        Ok(self.with_void(vec![Event::Accepted { contents, dropped, others }], jingle))
    }

    fn on_content_add(&mut self, jingle: &Jingle) -> Result<Vec<Event>, JingleError> {
        check_whole(&jingle.contents)?;
        for content in &jingle.contents {
            if content.id.creator == self.end {
                return Err(JingleError::Malformed("who adds a content has made it"));
            }
            if self.content(&content.id).is_some() {
                return Err(JingleError::OutOfOrder);
            }
            if self.is_initiator() && self.adds_alike(content) {
                return Err(JingleError::TieBreak);
            }
        }
        self.check_room(&jingle.contents)?;
        self.theirs(&Op::Add(jingle.contents.clone()));
        Ok(vec![Event::ContentAdded { contents: jingle.contents.clone(), others: jingle.others.clone() }])
    }

    /// Whether we are adding a content to the same purpose: of the same name and application.
    fn adds_alike(&self, theirs: &Content) -> bool {
        let ops = self.unanswered.iter().filter_map(|sent| sent.op.as_ref());
        let mut added = ops.filter_map(|op| match op {
            Op::Add(contents) => Some(contents),
            _ => None,
        });
        added.any(|ours| ours.iter().any(|it| it.id.name == theirs.id.name && it.application() == theirs.application()))
    }

    /// Contents that we have offered and that wait for an answer.
    fn check_ours(&self, contents: &[Content]) -> Result<(), JingleError> {
        check_named(contents)?;
        for content in contents {
            let known = self.find(&content.id)?;
            if known.offered_by != self.end || known.accepted {
                return Err(JingleError::OutOfOrder);
            }
        }
        Ok(())
    }

    fn on_content_accept(&mut self, jingle: &Jingle) -> Result<Vec<Event>, JingleError> {
        self.check_ours(&jingle.contents)?;
        self.check_answer(&jingle.contents)?;
        let alive = self.alive(&jingle.contents);
        self.theirs(&Op::Accept(jingle.contents.clone()));
        Ok(if alive.is_empty() { Vec::new() } else { vec![Event::ContentAccepted(alive)] })
    }

    fn on_content_reject(&mut self, jingle: &Jingle) -> Result<Vec<Event>, JingleError> {
        let lost = |content: &&Content| self.content(&content.id).is_none() && self.takes_away(&content.id);
        if jingle.contents.iter().any(|content| lost(&content)) {
            check_named(&jingle.contents)?;
        } else {
            self.check_ours(&jingle.contents)?;
        }
        let alive = ids(&self.alive(&jingle.contents));
        self.drop_all(&ids(&jingle.contents));
        let reason = jingle.reason.clone();
        let events = if alive.is_empty() { vec![] } else { vec![Event::ContentRejected { contents: alive, reason }] };
        Ok(self.with_void(events, jingle))
    }

    fn on_content_remove(&mut self, jingle: &Jingle) -> Result<Vec<Event>, JingleError> {
        check_named(&jingle.contents)?;
        self.check_tie(Action::ContentRemove, &jingle.contents)?;
        let gone = ids(&jingle.contents);
        let alive = ids(&self.alive(&jingle.contents));
        let is_known = |id: &ContentId| self.content(id).is_some() || self.takes_away(id);
        // Some of them may have gone in another way meanwhile.
        if !gone.iter().any(is_known) {
            return Err(JingleError::OutOfOrder);
        }
        self.drop_all(&gone);
        let reason = jingle.reason.clone();
        let events = if alive.is_empty() { vec![] } else { vec![Event::ContentRemoved { contents: alive, reason }] };
        Ok(self.with_void(events, jingle))
    }

    /// Whether we have taken the content away as responder, and the initiator may not know. What it says of that counts (§7.2.16).
    fn takes_away(&self, id: &ContentId) -> bool {
        !self.is_initiator() && self.doing(Action::ContentRemove, id).is_some()
    }

    fn drop_all(&mut self, gone: &[ContentId]) {
        self.theirs(&Op::Drop(gone.to_vec()));
        for sent in &mut self.unanswered {
            sent.before.retain(|content| !gone.contains(content.id()));
        }
    }

    fn on_content_modify(&mut self, jingle: &Jingle) -> Result<Vec<Event>, JingleError> {
        let mut changes = Vec::new();
        for content in &jingle.contents {
            let senders = content.senders.ok_or(JingleError::Malformed("who sends is not said"))?;
            changes.push((content.id.clone(), senders));
        }
        self.find_all(&jingle.contents)?;
        self.check_tie(Action::ContentModify, &jingle.contents)?;
        self.theirs(&Op::Modify(changes.clone()));
        changes.retain(|(id, _)| self.content(id).is_some_and(|content| !content.leaving));
        Ok(if changes.is_empty() { Vec::new() } else { vec![Event::ContentModified(changes)] })
    }

    fn on_transport_replace(&mut self, jingle: &Jingle) -> Result<Vec<Event>, JingleError> {
        let mut proposals = Vec::new();
        for content in &jingle.contents {
            let transport = content.transport.clone().ok_or(JingleError::Malformed("a content lacks its transport"))?;
            proposals.push((content.id.clone(), transport));
        }
        self.find_all(&jingle.contents)?;
        self.check_tie(Action::TransportReplace, &jingle.contents)?;
        for content in &jingle.contents {
            let proposed = self.find(&content.id)?.replacement.as_ref();
            // The initiator's proposal takes the place of ours.
            if proposed.is_some_and(|it| it.by != self.end || self.is_initiator()) {
                return Err(JingleError::OutOfOrder);
            }
        }
        let bytes = proposals.iter().map(|(_, transport)| transport.as_str().len()).sum::<usize>();
        if self.contents.iter().map(|content| content.bytes()).sum::<usize>() + bytes > self.limits.bytes {
            return Err(JingleError::TooMany);
        }
        self.theirs(&Op::Propose(proposals));
        let contents = self.alive(&jingle.contents);
        let reason = jingle.reason.clone();
        Ok(if contents.is_empty() { Vec::new() } else { vec![Event::TransportProposed { contents, reason }] })
    }

    /// Contents that we have proposed another transport for.
    fn check_our_proposals(&self, contents: &[Content]) -> Result<(), JingleError> {
        check_named(contents)?;
        for content in contents {
            let proposed = self.find(&content.id)?.replacement.as_ref();
            if proposed.is_none_or(|it| it.by != self.end) {
                return Err(JingleError::OutOfOrder);
            }
        }
        Ok(())
    }

    fn on_transport_accept(&mut self, jingle: &Jingle) -> Result<Vec<Event>, JingleError> {
        self.check_our_proposals(&jingle.contents)?;
        self.check_answer(&jingle.contents)?;
        let answers = jingle.contents.iter().map(|it| (it.id.clone(), it.transport.clone())).collect();
        self.theirs(&Op::AcceptTransport(answers));
        let contents = self.alive(&jingle.contents);
        Ok(if contents.is_empty() { Vec::new() } else { vec![Event::TransportAccepted(contents)] })
    }

    fn on_transport_reject(&mut self, jingle: &Jingle) -> Result<Vec<Event>, JingleError> {
        self.check_our_proposals(&jingle.contents)?;
        self.theirs(&Op::RejectTransport(ids(&jingle.contents)));
        let contents = ids(&self.alive(&jingle.contents));
        let reason = jingle.reason.clone();
        Ok(if contents.is_empty() { Vec::new() } else { vec![Event::TransportRejected { contents, reason }] })
    }

    fn on_transport_info(&mut self, jingle: &Jingle) -> Result<Vec<Event>, JingleError> {
        self.find_all(&jingle.contents)?;
        for content in &jingle.contents {
            let namespace = content.transport_ns().ok_or(JingleError::Malformed("a content lacks its transport"))?;
            if !self.find(&content.id)?.goes_by(namespace) {
                return Err(JingleError::UnsupportedInfo);
            }
        }
        Ok(self.tell(&jingle.contents, Event::TransportInfo))
    }

    fn on_description_info(&mut self, jingle: &Jingle) -> Result<Vec<Event>, JingleError> {
        self.find_all(&jingle.contents)?;
        for content in &jingle.contents {
            let namespace = content.application().ok_or(JingleError::Malformed("a content lacks its description"))?;
            if self.find(&content.id)?.definition.application() != Some(namespace) {
                return Err(JingleError::UnsupportedInfo);
            }
        }
        Ok(self.tell(&jingle.contents, Event::DescriptionInfo))
    }

    fn on_security_info(&mut self, jingle: &Jingle) -> Result<Vec<Event>, JingleError> {
        self.find_all(&jingle.contents)?;
        for content in &jingle.contents {
            let said = content.security.as_ref().ok_or(JingleError::Malformed("a content lacks its security"))?;
            let known = self.find(&content.id)?.definition.security.as_ref();
            if known.is_none_or(|known| known.root().ns() != said.root().ns()) {
                return Err(JingleError::UnsupportedInfo);
            }
        }
        Ok(self.tell(&jingle.contents, Event::SecurityInfo))
    }

    fn tell(&self, contents: &[Content], event: impl FnOnce(Vec<Content>) -> Event) -> Vec<Event> {
        let alive = self.alive(contents);
        if alive.is_empty() { Vec::new() } else { vec![event(alive)] }
    }

    /// An empty one is a ping (§6.8).
    fn on_session_info(&mut self, jingle: &Jingle) -> Result<Vec<Event>, JingleError> {
        if jingle.others.iter().any(|info| !self.understood.contains(info.root().ns())) {
            return Err(JingleError::UnsupportedInfo);
        }
        Ok(jingle.others.iter().cloned().map(Event::Info).collect())
    }
}

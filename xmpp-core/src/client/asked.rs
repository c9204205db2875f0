//! Iqs that a component's application takes as events: requests that wait for what it says, and answers.

use crate::{
    extension::{Answer, Target},
    stanza::{Iq, StanzaError},
    xml::Stanza,
};
use std::sync::Arc;
use tokio::sync::mpsc;

/// A request that no handler takes, from a component's events
/// ([`ComponentRegistrar::iq_events`](super::ComponentRegistrar::iq_events)). It is answered exactly once (RFC 6120 §8.2.3): by
/// [`answer`](Self::answer), by whatever is sent for it after [`leave`](Self::leave), and with `service-unavailable` if it is
/// dropped.
#[derive(Debug)]
pub struct ComponentRequest {
    iq: Iq,
    answering: Option<Answering>,
}

/// The way back, while one is owed.
#[derive(Debug)]
struct Answering {
    answers: mpsc::UnboundedSender<Answered>,
    place: Arc<()>,
}

/// What the application says to a request.
pub(super) struct Answered {
    pub(super) request: Stanza,
    pub(super) answer: Answer,
    /// It counts until it has been written down.
    _place: Arc<()>,
}

impl ComponentRequest {
    /// The request.
    pub fn iq(&self) -> &Iq {
        &self.iq
    }

    /// Answers it. What was sent before this leaves before the answer.
    pub fn answer(mut self, answer: Answer) {
        self.say(answer);
    }

    /// Takes it away unanswered: the application sees to it that an answer is sent, such as by passing the request on to
    /// somebody whose answer comes as a [`ComponentEvent::Answer`](super::ComponentEvent::Answer).
    pub fn leave(mut self) -> Iq {
        self.answering = None;
        self.iq.clone()
    }

    fn say(&mut self, answer: Answer) {
        let Some(Answering { answers, place }) = self.answering.take() else { return };
        // When the component has ended there is nobody to tell.
        let _ = answers.send(Answered { request: self.iq.stanza().clone(), answer, _place: place });
    }
}

impl Drop for ComponentRequest {
    fn drop(&mut self) {
        self.say(Err(StanzaError::service_unavailable()));
    }
}

/// How iqs become events.
pub(super) struct IqEvents {
    /// To which addresses requests do.
    pub(super) targets: Target,
    sender: mpsc::UnboundedSender<Answered>,
    answers: mpsc::UnboundedReceiver<Answered>,
    /// As many others hold it as there are requests that the application has not answered.
    place: Arc<()>,
    limit: usize,
}

impl IqEvents {
    /// At most `limit` requests may wait for the application.
    pub(super) fn new(targets: Target, limit: usize) -> IqEvents {
        let (sender, answers) = mpsc::unbounded_channel();
        IqEvents { targets, sender, answers, place: Arc::new(()), limit }
    }

    /// A request for the application; given back if too many wait.
    pub(super) fn request(&self, iq: Iq) -> Result<ComponentRequest, Iq> {
        if Arc::strong_count(&self.place) > self.limit {
            return Err(iq);
        }
        let answering = Answering { answers: self.sender.clone(), place: Arc::clone(&self.place) };
        Ok(ComponentRequest { iq, answering: Some(answering) })
    }

    /// The next answer of the application. Cancel-safe.
    pub(super) async fn answered(events: &mut Option<IqEvents>) -> Answered {
        match events {
            // Never `None`: the other end is here.
            Some(events) => match events.answers.recv().await {
                Some(answered) => answered,
                None => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }

    /// An answer that is there already.
    pub(super) fn ready(&mut self) -> Option<Answered> {
        self.answers.try_recv().ok()
    }
}

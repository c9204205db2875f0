//! What was said before somebody came (§7.2.13).

use crate::payload::HistoryRequest;
use std::collections::VecDeque;
use xmpp_core::{payload::DateTime, xml::Stanza};

/// A message as it is shown to who comes later: from the occupant, with the time when it was said.
#[derive(Clone, Debug)]
pub struct Past {
    /// The message.
    pub stanza: Stanza,
    /// When it was said.
    pub at: DateTime,
    /// The room's id for it, by which it can be retracted.
    pub id: Option<String>,
}

/// The last messages of a room, in memory.
#[derive(Clone, Debug, Default)]
pub struct History {
    past: VecDeque<Past>,
    bytes: usize,
}

impl History {
    /// Oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Past> {
        self.past.iter()
    }
    /// How many there are.
    pub fn len(&self) -> usize {
        self.past.len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.past.is_empty()
    }

    /// Remembers a message, and forgets the oldest so that at most so many, and so many bytes, are kept.
    pub fn push(&mut self, past: Past, messages: usize, bytes: usize) {
        self.bytes = self.bytes.saturating_add(past.stanza.as_str().len());
        self.past.push_back(past);
        while self.past.len() > messages || self.bytes > bytes {
            let Some(oldest) = self.past.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(oldest.stanza.as_str().len());
        }
    }

    /// Forgets a message, or puts another in its place.
    pub fn replace(&mut self, id: &str, instead: Option<Stanza>) {
        let Some(index) = self.past.iter().position(|past| past.id.as_deref() == Some(id)) else { return };
        match instead {
            Some(stanza) => {
                if let Some(past) = self.past.get_mut(index) {
                    self.bytes = self.bytes.saturating_sub(past.stanza.as_str().len());
                    self.bytes = self.bytes.saturating_add(stanza.as_str().len());
                    past.stanza = stanza;
                }
            }
            None => {
                if let Some(past) = self.past.remove(index) {
                    self.bytes = self.bytes.saturating_sub(past.stanza.as_str().len());
                }
            }
        }
    }

    /// What is sent to who enters: the newest that all of the bounds allow (§7.2.14), oldest first.
    pub fn wanted(&self, request: Option<&HistoryRequest>, at_most: u32, now: DateTime) -> Vec<&Past> {
        let none = HistoryRequest::default();
        let request = request.unwrap_or(&none);
        let messages = request.maxstanzas.unwrap_or(at_most).min(at_most);
        let mut chars = request.maxchars.map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
        let since_seconds = request.seconds.map(|seconds| now.unix_millis().saturating_sub(i64::from(seconds) * 1000));
        let since = request.since.map(|since| since.unix_millis()).max(since_seconds).unwrap_or(i64::MIN);
        let mut wanted = Vec::new();
        for past in self.past.iter().rev().take(usize::try_from(messages).unwrap_or(usize::MAX)) {
            let length = past.stanza.as_str().chars().count();
            if past.at.unix_millis() < since || length > chars {
                break;
            }
            chars -= length;
            wanted.push(past);
        }
        wanted.reverse();
        wanted
    }
}

//! Executions that wait for their next stage.

use super::{CommandLimits, NS};
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};
use xmpp_core::{jid::Jid, payload::form::DataForm, stanza::StanzaError};

/// One of them.
pub(super) struct Execution {
    pub(super) node: String,
    pub(super) asker: Jid,
    pub(super) asked: Option<Jid>,
    /// What was filled in, a form for each stage that is behind it.
    pub(super) submitted: Vec<DataForm>,
    /// The bytes of the requests that brought them.
    pub(super) bytes: usize,
    /// Whether the stage that it waits for is the last.
    pub(super) last: bool,
}

/// All of them. An execution that is being worked on is not among them: two requests for one never meet.
pub(super) struct Executions {
    limits: CommandLimits,
    waiting: Mutex<HashMap<String, (Instant, Execution)>>,
    counter: AtomicU64,
    names: RandomState,
}

impl Executions {
    pub(super) fn new(limits: CommandLimits) -> Executions {
        Executions { limits, waiting: Mutex::default(), counter: AtomicU64::default(), names: RandomState::new() }
    }

    /// A name that no other has.
    pub(super) fn name(&self) -> String {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        format!("{number}-{:016x}", self.names.hash_one(number))
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<String, (Instant, Execution)>> {
        self.waiting.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Takes one out, if it is this asker's (XEP-0050 §3.3) and has not waited too long.
    pub(super) fn take(
        &self,
        name: &str,
        node: &str,
        asker: &Jid,
        asked: Option<&Jid>,
    ) -> Result<Execution, StanzaError> {
        let mut waiting = self.waiting();
        let own = |one: &Execution| one.node == node && one.asker == *asker && one.asked.as_ref() == asked;
        if !waiting.get(name).is_some_and(|(_, execution)| own(execution)) {
            return Err(StanzaError::bad_request().with_application_element("bad-sessionid", NS));
        }
        match waiting.remove(name) {
            Some((since, execution)) if since.elapsed() < self.limits.lifetime => Ok(execution),
            _ => Err(StanzaError::not_allowed().with_application_element("session-expired", NS)),
        }
    }

    /// Puts one in, to wait for its next stage.
    pub(super) fn put(&self, name: &str, execution: Execution) -> Result<(), StanzaError> {
        let limits = &self.limits;
        if execution.submitted.len() >= limits.stages || execution.bytes > limits.bytes {
            return Err(StanzaError::not_acceptable().with_text("too much has been filled in"));
        }
        let mut waiting = self.waiting();
        let of_asker = |(_, one): &&(Instant, Execution)| one.asker.bare_str() == execution.asker.bare_str();
        if waiting.len() >= limits.executions || waiting.values().filter(of_asker).count() >= limits.per_asker {
            waiting.retain(|_, (since, _)| since.elapsed() < limits.lifetime);
        }
        if waiting.len() >= limits.executions || waiting.values().filter(of_asker).count() >= limits.per_asker {
            return Err(StanzaError::resource_constraint().with_text("too many commands are being executed"));
        }
        waiting.insert(name.to_owned(), (Instant::now(), execution));
        Ok(())
    }
}

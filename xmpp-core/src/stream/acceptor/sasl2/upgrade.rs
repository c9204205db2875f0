//! Credentials for another hash (XEP-0480).

use super::{Acceptor, Stage, State, Task};
use crate::{
    sasl::{SALT_LENGTH, SaslCondition, SaslFailure, ScramCredentials},
    stream::sasl2::{self, SASL2, SCRAM_UPGRADE},
    xml::{ElementRef, Writer, ns},
};

impl Acceptor {
    /// What was found of an account that may be upgraded; `None` if nobody asked for that.
    pub(in super::super) fn upgrade_found(
        &mut self,
        found: &Result<Option<ScramCredentials>, ()>,
    ) -> Option<Vec<Task>> {
        let run = self.sasl2.as_mut()?;
        let Stage::Checking(hash) = run.stage else { return None };
        if !matches!(found, Ok(None)) {
            return Some(self.sasl2_advance());
        }
        run.stage = Stage::Offered(hash);
        run.continued = true;
        let data = run.data.take();
        self.state = State::Sasl;
        let mut out = Writer::new(ns::CLIENT);
        out.open("continue", SASL2);
        if let Some(data) = data {
            out.text_element("additional-data", SASL2, &sasl2::encode(&data));
        }
        out.open("tasks", SASL2);
        out.text_element("task", SASL2, &sasl2::upgrade_task(hash));
        out.close();
        out.close();
        Some(vec![Task::Send(out.finish())])
    }

    /// `<next/>`: the client begins the task that it was given (XEP-0388 §2.6.3).
    pub(super) fn next_task(&mut self, root: ElementRef<'_>) -> Vec<Task> {
        let (Some(run), task) = (&mut self.sasl2, root.attr("task")) else { return Vec::new() };
        let Stage::Offered(hash) = run.stage else { return Vec::new() };
        if task.as_deref().and_then(sasl2::upgrade_hash) != Some(hash) {
            return self.refused(SaslFailure::new(SaslCondition::MalformedRequest, "this task was not asked for"));
        }
        let iterations = self.config.iterations;
        let salt: Vec<u8> = (self.entropy.0)().into_bytes().into_iter().take(SALT_LENGTH).collect();
        let mut out = Writer::new(ns::CLIENT);
        out.open("task-data", SASL2);
        out.open("salt", SCRAM_UPGRADE);
        out.attr_display("iterations", &iterations);
        out.text(&sasl2::encode(&salt));
        out.close();
        out.close();
        run.stage = Stage::Salted { hash, salt, iterations };
        vec![Task::Send(out.finish())]
    }

    pub(super) fn task_data(&mut self, root: ElementRef<'_>) -> Vec<Task> {
        let (Some(run), Some((user, _))) = (&mut self.sasl2, &self.user) else { return Vec::new() };
        let Stage::Salted { hash, salt, iterations } = &run.stage else { return Vec::new() };
        let salted = root.child("hash", SCRAM_UPGRADE).and_then(|hash| sasl2::decode(hash).ok());
        let derived =
            salted.and_then(|salted| ScramCredentials::from_salted_password(*hash, &salted, salt, *iterations));
        match derived {
            Some(credentials) => {
                let user = user.clone();
                run.stage = Stage::Saving;
                self.state = State::Asked;
                vec![Task::StoreCredentials(user, Box::new(credentials))]
            }
            None => self.refused(SaslCondition::MalformedRequest),
        }
    }

    /// The answer to [`Task::StoreCredentials`].
    pub fn credentials_stored(&mut self, stored: Result<(), ()>) -> Vec<Task> {
        match (self.sasl2.as_ref().map(|run| &run.stage), stored) {
            (Some(Stage::Saving), Ok(())) => self.sasl2_advance(),
            (Some(Stage::Saving), Err(())) => self.refused(SaslCondition::TemporaryAuthFailure),
            _ => Vec::new(),
        }
    }
}

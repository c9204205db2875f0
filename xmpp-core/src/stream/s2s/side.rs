//! What either end of a stream between servers does in the same way: taking what comes, and ending.

use super::{Answer, S2sTask, Verification, exchange::Exchange};
use crate::{
    stream::{STREAM_END, StreamError},
    xml::{ElementRef, Event, Stanza, StreamHeader, Writer, ns},
};

/// One end of a stream between servers.
pub(super) trait Side {
    fn exchange(&mut self) -> &mut Exchange;

    fn is_closed(&self) -> bool;

    /// The peer's stream header.
    fn opened(&mut self, header: &StreamHeader) -> Vec<S2sTask>;

    /// A first-level element that is no stream error.
    fn element(&mut self, stanza: Stanza) -> Vec<S2sTask>;

    /// Nothing is taken any more. Returns what has to stand before the error and the end tag, unless there is no stream
    /// to end.
    fn shut(&mut self) -> Option<Vec<u8>>;

    /// What the peer sent.
    fn take(&mut self, event: Event) -> Vec<S2sTask> {
        if self.is_closed() {
            return Vec::new();
        }
        match event {
            Event::Open(header) => self.opened(&header),
            Event::Close => self.close(None),
            Event::Stanza(stanza) if StreamError::matches(stanza.root()) => self.failed(stanza.root()),
            Event::Stanza(stanza) => self.element(stanza),
        }
    }

    /// RFC 6120 §4.9.1.1: an error is not answered with another.
    fn failed(&mut self, root: ElementRef<'_>) -> Vec<S2sTask> {
        let error = StreamError::read(root);
        let mut tasks = self.close(None);
        if let Some(S2sTask::Close(reason)) = tasks.last_mut() {
            *reason = Some(error);
        }
        tasks
    }

    /// What the authoritative server said of a key.
    fn answered(&mut self, verification: &Verification, answer: Answer) -> Vec<S2sTask> {
        if self.is_closed() {
            return Vec::new();
        }
        let mut tasks = Vec::new();
        let judged = self.exchange().verified(verification, answer, &mut tasks);
        self.judged(judged, tasks)
    }

    /// Carries out what was judged right, and ends the stream for what was not.
    fn judged(&mut self, judged: Result<(), StreamError>, mut tasks: Vec<S2sTask>) -> Vec<S2sTask> {
        if let Err(error) = judged {
            tasks.extend(self.close(Some(&error)));
        }
        tasks
    }

    /// Ends the stream, with an error or without.
    fn close(&mut self, error: Option<&StreamError>) -> Vec<S2sTask> {
        if self.is_closed() {
            return Vec::new();
        }
        let close = S2sTask::Close(error.cloned());
        let Some(out) = self.shut() else { return vec![close] };
        let mut out = Writer::with_buffer(ns::SERVER, out);
        if let Some(error) = error {
            error.write(&mut out);
        }
        let mut out = out.finish();
        out.extend_from_slice(STREAM_END.as_bytes());
        vec![S2sTask::Send(out), close]
    }
}

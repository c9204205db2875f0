//! Either end's machine, as the driver of a stream knows it.

use crate::{
    stream::{
        StreamError,
        s2s::{Answer, Incoming, Outgoing, Pair, S2sTask, Verification},
    },
    xml::Event,
};

/// Either end.
pub(super) enum Machine {
    Incoming(Incoming),
    Outgoing(Outgoing),
}

impl Machine {
    pub(super) fn event(&mut self, event: Event) -> Vec<S2sTask> {
        match self {
            Machine::Incoming(machine) => machine.event(event),
            Machine::Outgoing(machine) => machine.event(event),
        }
    }

    pub(super) fn secured(&mut self, judge: impl Fn(&str) -> bool + Send + 'static) -> Vec<S2sTask> {
        match self {
            Machine::Incoming(machine) => machine.secured(judge),
            Machine::Outgoing(machine) => machine.secured(judge),
        }
    }

    pub(super) fn verified(&mut self, verification: &Verification, answer: Answer) -> Vec<S2sTask> {
        match self {
            Machine::Incoming(machine) => machine.verified(verification, answer),
            Machine::Outgoing(machine) => machine.verified(verification, answer),
        }
    }

    pub(super) fn request(&mut self, pair: Pair) -> Vec<S2sTask> {
        match self {
            Machine::Incoming(machine) => machine.request(pair),
            Machine::Outgoing(machine) => machine.request(pair),
        }
    }

    pub(super) fn verify(&mut self, verification: Verification) -> Vec<S2sTask> {
        match self {
            // A key is never verified on the stream that it came over (XEP-0288 §2.2).
            Machine::Incoming(_) => Vec::new(),
            Machine::Outgoing(machine) => machine.verify(verification),
        }
    }

    pub(super) fn abandon(&mut self, pair: &Pair) {
        match self {
            Machine::Incoming(machine) => machine.abandon(pair),
            Machine::Outgoing(machine) => machine.abandon(pair),
        }
    }

    pub(super) fn abandon_verification(&mut self, verification: &Verification) {
        if let Machine::Outgoing(machine) = self {
            machine.abandon_verification(verification);
        }
    }

    pub(super) fn is_authenticated(&self) -> bool {
        match self {
            Machine::Incoming(machine) => machine.is_authenticated(),
            Machine::Outgoing(machine) => machine.is_authenticated(),
        }
    }

    pub(super) fn end(&mut self, error: Option<&StreamError>) -> Vec<S2sTask> {
        match self {
            Machine::Incoming(machine) => machine.end(error),
            Machine::Outgoing(machine) => machine.end(error),
        }
    }

    pub(super) fn remote(&self) -> &str {
        match self {
            Machine::Incoming(machine) => machine.remote().unwrap_or("?"),
            Machine::Outgoing(machine) => &machine.pair().remote,
        }
    }
}

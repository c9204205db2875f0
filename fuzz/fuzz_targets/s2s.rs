//! Both ends of a stream between servers against any peer: they never panic, end their stream at most once, pass no
//! stanza from a domain that was not admitted, and what they say is well-formed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};
use xmpp_core::{
    stanza::StanzaError,
    stream::{
        STREAM_END, StreamError,
        s2s::{Answer, DialbackSecret, Incoming, Outgoing, Pair, Policies, Policy, S2sConfig, S2sTask, Verification},
    },
    xml::{Event, Scanner, XmlLimits},
};

enum Machine {
    Incoming(Incoming),
    Outgoing(Outgoing),
}

impl Machine {
    fn event(&mut self, event: Event) -> Vec<S2sTask> {
        match self {
            Machine::Incoming(machine) => machine.event(event),
            Machine::Outgoing(machine) => machine.event(event),
        }
    }

    fn secured(&mut self) -> Vec<S2sTask> {
        let judge = |domain: &str| domain == "proved.example";
        match self {
            Machine::Incoming(machine) => machine.secured(judge),
            Machine::Outgoing(machine) => machine.secured(judge),
        }
    }

    fn verified(&mut self, verification: &Verification, answer: Answer) -> Vec<S2sTask> {
        match self {
            Machine::Incoming(machine) => machine.verified(verification, answer),
            Machine::Outgoing(machine) => machine.verified(verification, answer),
        }
    }

    fn end(&mut self, error: &StreamError) -> Vec<S2sTask> {
        match self {
            Machine::Incoming(machine) => machine.end(Some(error)),
            Machine::Outgoing(machine) => machine.end(Some(error)),
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&how, mut input)) = data.split_first() else { return };
    let mut config = S2sConfig::new(DialbackSecret::new(b"secret"), Arc::new(|domain| domain.starts_with("our")));
    let mut policies = Policies::new(Policy::default().require_tls(how & 1 != 0));
    policies.set("strict.example", Policy::default().require_valid_certificate(true));
    policies.set("blocked.example", Policy::default().block(true));
    config.policies = Arc::new(policies);
    config.tls = how & 2 != 0;
    config.bidi = how & 4 != 0;
    let (mut machine, mut tasks) = if how & 8 != 0 {
        (Machine::Incoming(Incoming::new(config, || "token".into())), Vec::new())
    } else {
        let mut machine = Outgoing::new(config, Pair::new("ours.example", "proved.example"), true, how & 16 != 0);
        let tasks = machine.start();
        (Machine::Outgoing(machine), tasks)
    };
    if how & 32 != 0 {
        tasks = machine.secured();
    }
    let mut scanner = Scanner::new(XmlLimits::unauthenticated());
    let (mut said, mut over, mut admitted) = (Vec::new(), false, HashSet::new());
    loop {
        let mut queue = VecDeque::from(tasks);
        while let Some(task) = queue.pop_front() {
            assert!(!over, "{task:?} after the end");
            match task {
                S2sTask::Send(bytes) => said.extend(bytes),
                S2sTask::Restart => scanner.restart(),
                S2sTask::StartTls => queue.extend(machine.secured()),
                S2sTask::Verify(verification) => {
                    let answer = match verification.key.as_str() {
                        "good" => Answer::Valid,
                        "bad" => Answer::Invalid,
                        _ => Answer::Failed(StanzaError::remote_server_timeout()),
                    };
                    queue.extend(machine.verified(&verification, answer));
                }
                S2sTask::Admitted(pair, _) => {
                    assert!(pair.local.starts_with("our") && !pair.remote.starts_with("our"), "{pair}");
                    assert!(pair.remote != "blocked.example" && pair.remote != "strict.example", "{pair}");
                    admitted.insert(pair);
                }
                S2sTask::Stanza(arrived) => {
                    let pair = Pair::new(arrived.to.domain(), arrived.from.domain());
                    assert!(admitted.contains(&pair), "{pair} was not admitted");
                }
                S2sTask::Close(_) => over = true,
                _ => {}
            }
        }
        if over {
            break;
        }
        tasks = match scanner.scan(&mut input) {
            Ok(Some(event)) => machine.event(event),
            Ok(None) => break,
            Err(error) => machine.end(&StreamError::from(error)),
        };
    }
    let said = String::from_utf8(said).expect("what is sent is UTF-8");
    assert!(said.matches(STREAM_END).count() <= 1, "{said}");
    let mut scanner = Scanner::new(XmlLimits::authenticated());
    for stream in said.split("<?xml version='1.0'?>") {
        scanner.restart();
        let mut rest = stream.as_bytes();
        while scanner.scan(&mut rest).expect(&said).is_some() {}
    }
});

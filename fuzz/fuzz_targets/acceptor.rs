//! A server's negotiation against any client: it never panics, and ends its stream at most once.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::{
    collections::VecDeque,
    sync::{Arc, LazyLock},
};
use xmpp_core::{
    sasl::{ChannelBindings, Hash, Mechanism, ScramCredentials},
    stanza::StanzaError,
    stream::{Acceptor, AcceptorConfig, STREAM_END, StreamError, Task},
    xml::{Scanner, XmlLimits},
};

static STORED: LazyLock<Vec<ScramCredentials>> = LazyLock::new(|| {
    Hash::ALL.iter().map(|&hash| ScramCredentials::derive(hash, "secret", b"0123456789abcdef", 4096)).collect()
});

fuzz_target!(|data: &[u8]| {
    let Some((&how, mut input)) = data.split_first() else { return };
    let all: Vec<_> = Mechanism::ALL.into_iter().filter(|one| *one != Mechanism::Anonymous).collect();
    let domains = vec![("localhost".into(), all), ("anon.localhost".into(), vec![Mechanism::Anonymous])];
    let mut config = AcceptorConfig::new(domains, Arc::from(*b"0123456789abcdef0123456789abcdef"));
    config.tls = how & 1 != 0;
    config.plaintext = how & 4 != 0;
    let mut acceptor = Acceptor::new(config, || "token".into());
    let mut scanner = Scanner::new(XmlLimits::unauthenticated());
    let mut tasks = if how & 2 != 0 { acceptor.secured(bindings()) } else { Vec::new() };
    let (mut said, mut over) = (Vec::new(), false);
    loop {
        let mut queue = VecDeque::from(tasks);
        while let Some(task) = queue.pop_front() {
            assert!(!over, "{task:?} after the end");
            match task {
                Task::Send(bytes) => said.extend(bytes),
                Task::Restart => scanner.restart(),
                Task::StartTls => queue.extend(acceptor.secured(bindings())),
                Task::Credentials(user, hash) => {
                    let stored = STORED.iter().find(|one| one.hash == hash).cloned();
                    let known = user.local() == Some("juliet");
                    let found = if user.local() == Some("faulty") { Err(()) } else { Ok(stored.filter(|_| known)) };
                    queue.extend(acceptor.credentials(found));
                }
                Task::CheckPassword(user, password) => {
                    queue.extend(acceptor.password(Ok(user.local() == Some("juliet") && *password == "secret")));
                }
                Task::Bind(user, resource) => {
                    let jid = user.with_resource(resource.as_deref().unwrap_or("made"));
                    queue.extend(acceptor.bound(jid.map_err(|_| StanzaError::bad_request())));
                }
                Task::Accepted(_) | Task::Close => over = true,
                _ => {}
            }
        }
        if over {
            break;
        }
        tasks = match scanner.scan(&mut input) {
            Ok(Some(event)) => acceptor.event(event),
            Ok(None) => break,
            Err(error) => acceptor.fail(&StreamError::from(error)),
        };
    }
    let said = String::from_utf8(said).expect("what is sent is UTF-8");
    assert!(said.matches(STREAM_END).count() <= 1, "{said}");
    // It is well-formed up to where it stands: a scanner of the other side reads it, stream after stream.
    let mut scanner = Scanner::new(XmlLimits::authenticated());
    for stream in said.split("<?xml version='1.0'?>") {
        scanner.restart();
        let mut rest = stream.as_bytes();
        while scanner.scan(&mut rest).expect(&said).is_some() {}
    }
});

fn bindings() -> ChannelBindings {
    let mut bindings = ChannelBindings::default();
    bindings.exporter = Some([7; 32]);
    bindings
}

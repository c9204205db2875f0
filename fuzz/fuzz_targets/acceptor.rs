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
    stream::{Acceptor, AcceptorConfig, Bound, ClientTokens, ResumeError, STREAM_END, StreamError, Task},
    xml::{Scanner, Writer, XmlLimits},
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
    config.management = how & 8 != 0;
    config.tokens = (how & 16 != 0).then_some(1000);
    config.upgrades = if how & 32 != 0 { vec![Hash::Sha512, Hash::Sha256] } else { Vec::new() };
    config.bind_features = vec!["urn:xmpp:sm:3".into()];
    // Of whichever client asks.
    let mut stored = ClientTokens::default();
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
                Task::Generation(user) => {
                    queue.extend(acceptor.generation(if user.local() == Some("faulty") { Err(()) } else { Ok(0) }));
                }
                // Some are let in, some are disabled, and sometimes nobody knows.
                Task::Admit(_) => queue.extend(acceptor.admitted(match how & 192 {
                    192 => Err(()),
                    128 => Ok(false),
                    _ => Ok(true),
                })),
                Task::Credentials(user, hash) => {
                    let stored = STORED.iter().find(|one| one.hash == hash).cloned();
                    let known = user.local() == Some("juliet");
                    // Of SHA-256 there are none, so that there is something to upgrade.
                    let known = known && !(how & 32 != 0 && hash == Hash::Sha256);
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
                Task::Bind2(request) => {
                    let jid = request.user.with_resource(request.tag.as_deref().unwrap_or("made"));
                    let mut out = Writer::new("urn:xmpp:bind:0");
                    request.features().for_each(|feature| out.element(feature));
                    let bound = jid.map_err(|_| StanzaError::bad_request()).map(|jid| Bound::new(jid, out.finish()));
                    queue.extend(acceptor.bound2(bound));
                }
                Task::Tokens(..) => queue.extend(acceptor.tokens(Ok(stored.clone()), 1_000_000)),
                Task::StoreTokens { tokens, .. } => {
                    stored = tokens;
                    queue.extend(acceptor.tokens_stored(Ok(true)));
                }
                Task::StoreCredentials(..) => queue.extend(acceptor.credentials_stored(Ok(()))),
                Task::Resume { previous, .. } => queue.extend(acceptor.resumed(match previous.as_str() {
                    "late" => Err(ResumeError::NotFound(Some(3))),
                    _ => Err(ResumeError::NotFound(None)),
                })),
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

//! No stanza goes round in circles: whatever is sent, and whatever interceptors make of it, every route ends.
#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use proptest::prelude::*;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use support::{END, Raw, builder};
use xmpp_core::{
    extension::Reply,
    server::{Envelope, Kinds, Server, ServerRegistrar, Stage, Station, Verdict},
    stanza::StanzaError,
};

const STAGES: [Stage; 7] = [
    Stage::FromClient,
    Stage::Services,
    Stage::Outgoing,
    Stage::Locate,
    Stage::Incoming,
    Stage::Deliver,
    Stage::Undelivered,
];

/// What an unreasonable interceptor does with everything it sees.
#[derive(Clone, Copy, Debug)]
enum Whim {
    Pass,
    Reply,
    Reject,
    Panic,
    /// Sends it back in the name of its recipient.
    Deliver,
}

fn interceptor(whim: Whim, seen: Arc<AtomicUsize>) -> impl Fn(&mut Envelope, &Server) -> Verdict + Send + Sync {
    move |envelope, server| {
        seen.fetch_add(1, Ordering::Relaxed);
        match whim {
            Whim::Pass => Verdict::Continue,
            Whim::Reply => Verdict::Reply(Reply::empty()),
            Whim::Reject => Verdict::Reject(StanzaError::forbidden()),
            Whim::Panic => std::panic::resume_unwind(Box::new("a whim")),
            Whim::Deliver => match envelope.to() {
                Some(to) if server.deliver(envelope, to) => Verdict::Handled,
                _ => Verdict::Continue,
            },
        }
    }
}

fn stanza() -> impl Strategy<Value = String> {
    let names = prop::sample::select(vec!["message", "presence", "iq"]);
    let types = vec!["", "get", "set", "result", "error", "chat", "groupchat", "headline", "subscribe", "probe", "?"];
    let addresses = vec![
        "",
        "localhost",
        "localhost/x",
        "romeo@localhost",
        "romeo@localhost/y",
        "romeo@localhost/gone",
        "juliet@localhost/x",
        "juliet@localhost",
        "nobody@localhost",
        "nobody@localhost/z",
        "elsewhere",
        "a@elsewhere/b",
    ];
    let ids = prop::sample::select(vec![" id='1'", "", " id=''"]);
    let payloads = vec![
        "",
        "<ping xmlns='urn:xmpp:ping'/>",
        "<error/>",
        "<a xmlns='b'/><a xmlns='b'/>",
        "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>",
        "<session xmlns='urn:ietf:params:xml:ns:xmpp-session'/>",
        "<query xmlns='http://jabber.org/protocol/disco#info' node='x'/>",
    ];
    (names, prop::sample::select(types), prop::sample::select(addresses), ids, prop::sample::select(payloads)).prop_map(
        |(name, kind, to, id, payload)| {
            let attribute = |name: &str, value: &str| match value {
                "" => String::new(),
                value => format!(" {name}='{value}'"),
            };
            format!("<{name}{}{}{id}>{payload}</{name}>", attribute("type", kind), attribute("to", to))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_route_ends(
        sent in prop::collection::vec(stanza(), 1..20),
        whims in prop::collection::vec((0_usize..STAGES.len(), prop::sample::select(vec![
            Whim::Pass, Whim::Reply, Whim::Reject, Whim::Panic, Whim::Deliver,
        ])), 0..3),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let seen = Arc::new(AtomicUsize::new(0));
            let counting = Arc::clone(&seen);
            let extension = move |r: &mut ServerRegistrar| {
                for (name, (stage, whim)) in ["one", "two", "three"].into_iter().zip(&whims) {
                    let interceptor = interceptor(*whim, Arc::clone(&counting));
                    r.station(Station::new(name, STAGES[*stage], Kinds::ALL, interceptor));
                }
            };
            let server = builder().with(extension).build().unwrap();
            let mut juliet = Raw::session(&server, "juliet@localhost/x").await;
            let romeo = Raw::session(&server, "romeo@localhost/y").await;
            juliet.send(&sent.concat()).await;
            // What waits for Romeo when he leaves finds another way, and that ends too.
            drop(romeo);
            juliet.send(END).await;
            let answers = juliet.rest().await;
            assert!(answers.ends_with(END), "{answers}");
            server.shutdown(support::PATIENCE).await;
            let answers = answers.matches("type='error'").count() + answers.matches("type='result'").count();
            assert!(answers <= sent.len() * 2, "{answers} answers to {sent:?}");
            let steps = seen.load(Ordering::Relaxed);
            assert!(steps <= sent.len() * 12, "{steps} steps for {sent:?}");
        });
    }
}

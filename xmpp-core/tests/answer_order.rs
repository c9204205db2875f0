//! What a handler has sent before it answers leaves before the answer: of clients and of components.
#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod machine;
mod support;

use std::sync::{Arc, OnceLock};
use support::{PATIENCE, Raw};
use tokio::{sync::mpsc, time::timeout};
use xmpp_core::{
    client::{Backoff, Client, Component, ComponentEvent, ComponentEvents, ComponentRegistrar, Event, Events},
    extension::{Registrar, Reply, Target},
    jid::Jid,
    net::Transport,
    payload::{last::LastQuery, ping::Ping},
    stanza::{Iq, Message, MessageBuilder, StanzaError},
};

/// More than are taken up in one go.
const PAGE: usize = 300;
const ASKER: &str = "romeo@localhost/orchard";

/// A component that is served by hand.
async fn component(
    queue: usize,
    room: usize,
    extension: impl FnOnce(&mut ComponentRegistrar),
) -> (Component, ComponentEvents, Raw) {
    let (sender, mut pipes) = mpsc::unbounded_channel();
    let connect = move || {
        let (ours, theirs) = Transport::pair(room);
        sender.send(theirs).unwrap();
        ours
    };
    let builder = Component::builder("plays.localhost".parse().unwrap(), "secret").pipe(connect).queue(queue);
    let (component, mut events) = builder.with(extension).no_reconnect().connect().unwrap();
    let mut raw = Raw::over(timeout(PATIENCE, pipes.recv()).await.unwrap().unwrap());
    raw.until("to='plays.localhost'").await;
    raw.send(
        "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' \
         from='plays.localhost' id='x'>",
    )
    .await;
    raw.until("</handshake>").await;
    raw.send("<handshake/>").await;
    assert!(matches!(timeout(PATIENCE, events.next()).await.unwrap(), Some(ComponentEvent::Online)));
    (component, events, raw)
}

fn ask(id: &str, to: &str, payload: &str) -> String {
    format!("<iq type='get' id='{id}' from='{ASKER}' to='{to}'>{payload}</iq>")
}

const LAST: &str = "<query xmlns='jabber:iq:last'/>";
const PING: &str = "<ping xmlns='urn:xmpp:ping'/>";
const VERSION: &str = "<query xmlns='jabber:iq:version'/>";

fn line(number: usize) -> MessageBuilder {
    Message::chat(ASKER.parse::<Jid>().unwrap()).body(format!("{number}."))
}

/// Where in the text something is.
fn place(text: &str, needle: &str) -> usize {
    text.find(needle).unwrap_or_else(|| panic!("no {needle} in {text}"))
}

/// Sends so many messages, and answers then.
fn page(r: &mut Registrar, sender: &Arc<OnceLock<Component>>, messages: usize) {
    let sender = Arc::clone(sender);
    r.iq_get_async::<LastQuery, _, _>(Target::Account, move |_, _| {
        let sender = sender.get().unwrap().clone();
        async move {
            for number in 0..messages {
                sender.send(line(number)).await.unwrap();
            }
            Ok(())
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rfc6120_10_1_an_answer_comes_behind_what_was_sent_before_it() {
    let sender = Arc::new(OnceLock::new());
    let (component, _events, mut raw) = component(1024, 1 << 20, |r| page(r, &sender, PAGE)).await;
    sender.set(component).unwrap();
    for round in 0..30 {
        raw.send(&ask(&format!("i{round}"), "hamlet@plays.localhost", LAST)).await;
        let heard = raw.until(&format!("id='i{round}'")).await;
        let answer = place(&heard, &format!("id='i{round}'"));
        for number in 0..PAGE {
            assert!(place(&heard, &format!("<body>{number}.")) < answer, "round {round}: {number}");
        }
    }
}

#[tokio::test]
async fn a_full_queue_holds_up_what_is_sent_and_the_answer_behind_it_and_nothing_else() {
    let sender = Arc::new(OnceLock::new());
    // The server does not read: its pipe is full at once, and so is the queue.
    let (component, _events, mut raw) = component(4, 512, |r| page(r, &sender, 100)).await;
    sender.set(component).unwrap();
    for handler in 0..10 {
        raw.send(&ask(&format!("i{handler}"), "hamlet@plays.localhost", LAST)).await;
    }
    let mut heard = String::new();
    while heard.matches("type='result'").count() < 10 {
        heard += &raw.hear().await;
    }
    // Of each handler all has left when its answer comes, whatever others have sent meanwhile.
    for (answers, (answer, _)) in heard.match_indices("type='result'").enumerate() {
        for number in [0, 50, 99] {
            let before = heard[..answer].matches(&format!("<body>{number}.")).count();
            assert!(before > answers, "{before} of {number} before answer {answers}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_takes_no_time_does_not_wait_for_what_the_application_sends() {
    let (component, _events, mut raw) = component(2, 256, |_| {}).await;
    let flood = tokio::spawn(async move {
        for number in 0.. {
            if component.send(line(number)).await.is_err() {
                return;
            }
        }
    });
    for round in 0..50 {
        raw.send(&ask(&format!("i{round}"), "hamlet@plays.localhost/castle", PING)).await;
        raw.until(&format!("id='i{round}'")).await;
    }
    flood.abort();
}

/// A client that is served by hand, up to the session.
async fn client(extension: impl FnOnce(&mut Registrar)) -> (Client, Events, Raw) {
    let (sender, mut pipes) = mpsc::unbounded_channel();
    let connect = move || {
        let (ours, theirs) = Transport::pair(1 << 20);
        sender.send(theirs).unwrap();
        ours
    };
    let builder = Client::builder("juliet@localhost/x".parse().unwrap(), "secret").pipe(connect).allow_plaintext();
    let soon = Backoff { first: PATIENCE, max: PATIENCE };
    let (client, mut events) = builder.with(extension).backoff(soon).connect().unwrap();
    let mut raw = Raw::over(timeout(PATIENCE, pipes.recv()).await.unwrap().unwrap());
    let mut server = machine::Server::new();
    loop {
        let heard = raw.hear().await;
        let said = server.hear(&heard);
        let end = said.find("[juliet");
        raw.send(&said[..end.unwrap_or(said.len())].replace("[restart]", "")).await;
        if end.is_some() {
            break;
        }
    }
    assert!(matches!(timeout(PATIENCE, events.next()).await.unwrap(), Some(Event::Online { .. })));
    (client, events, raw)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rfc6120_10_1_a_clients_answer_comes_behind_what_was_sent_before_it() {
    let sender: Arc<OnceLock<Client>> = Arc::new(OnceLock::new());
    let own = Arc::clone(&sender);
    let (client, _events, mut raw) = client(move |r: &mut Registrar| {
        r.iq_get_async::<LastQuery, _, _>(Target::Client, move |_, _| {
            let sender = own.get().unwrap().clone();
            async move {
                for number in 0..PAGE {
                    sender.send(line(number)).await.unwrap();
                }
                Ok(())
            }
        });
    })
    .await;
    sender.set(client).unwrap();
    for round in 0..30 {
        raw.send(&ask(&format!("i{round}"), "juliet@localhost/x", LAST)).await;
        let heard = raw.until(&format!("id='i{round}'")).await;
        let answer = place(&heard, &format!("id='i{round}'"));
        for number in 0..PAGE {
            assert!(place(&heard, &format!("<body>{number}.")) < answer, "round {round}: {number}");
        }
    }
}

async fn next(events: &mut ComponentEvents) -> ComponentEvent {
    timeout(PATIENCE, events.next()).await.unwrap().unwrap()
}

#[tokio::test]
async fn rfc6120_8_2_3_requests_and_answers_as_events_are_answered_once() {
    let handlers = |r: &mut ComponentRegistrar| {
        r.iq_get::<LastQuery, _>(Target::Client, |_, _| Ok(()));
        r.iq_events(Target::Client);
    };
    let (component, mut events, mut raw) = component(1024, 1 << 20, handlers).await;
    let hamlet = "hamlet@plays.localhost/castle";
    // An extension's handler goes first; core does not answer for these addresses, but for the domain.
    raw.send(&ask("handled", hamlet, LAST)).await;
    raw.until("id='handled'").await;
    raw.until("/>").await;
    raw.send(&ask("domain", "plays.localhost", VERSION)).await;
    raw.until("id='domain'").await;
    raw.until("</iq>").await;
    raw.send(&ask("two", hamlet, &format!("{PING}{LAST}"))).await;
    assert!(raw.until("</iq>").await.contains("<bad-request"));
    raw.send(&ask("unknown", "hamlet@plays.localhost", VERSION)).await;
    assert!(raw.until("</iq>").await.contains("<service-unavailable"), "not an address of that kind");

    raw.send(&ask("one", hamlet, PING)).await;
    raw.send(&format!("<message from='{ASKER}' to='{hamlet}'><body>between</body></message>")).await;
    raw.send(&(ask("two", hamlet, PING) + &ask("three", hamlet, VERSION) + &ask("four", hamlet, PING))).await;
    // In order with everything else.
    assert!(matches!(next(&mut events).await, ComponentEvent::Malformed(_)));
    let ComponentEvent::Request(request) = next(&mut events).await else { panic!("no request") };
    assert_eq!((request.iq().id().as_ref(), request.iq().from().unwrap().as_str()), ("one", ASKER));
    assert!(matches!(next(&mut events).await, ComponentEvent::Message(_)));
    component.send(line(0)).await.unwrap();
    request.answer(Ok(Reply::empty()));
    let heard = raw.until("id='one'").await + &raw.until("/>").await;
    assert!(place(&heard, "<body>0.") < place(&heard, "id='one'"), "{heard}");
    assert!(heard.contains("type='result'") && heard.contains(hamlet), "{heard}");
    let ComponentEvent::Request(request) = next(&mut events).await else { panic!("no request") };
    request.answer(Err(StanzaError::item_not_found()));
    assert!(raw.until("</iq>").await.contains("<item-not-found"));
    // Dropped, it is answered; left, it is not.
    let ComponentEvent::Request(request) = next(&mut events).await else { panic!("no request") };
    drop(request);
    let heard = raw.until("</iq>").await;
    assert!(heard.contains("id='three'") && heard.contains("<service-unavailable"), "{heard}");
    let ComponentEvent::Request(request) = next(&mut events).await else { panic!("no request") };
    assert_eq!(request.leave().id(), "four");

    // What the component has asked for itself is its own, from whom it was asked; all else is for the application.
    let asking = component.clone();
    let asked = Iq::get(ASKER.parse::<Jid>().unwrap()).id("own").payload(&Ping);
    let answer = tokio::spawn(async move { asking.request(asked).await });
    raw.until("id='own'").await;
    let result = |id: &str, from: &str| format!("<iq type='result' id='{id}' from='{from}' to='plays.localhost'/>");
    raw.send(&(result("own", "tybalt@localhost/x") + &result("own", ASKER) + &result("other", ASKER))).await;
    timeout(PATIENCE, answer).await.unwrap().unwrap().unwrap();
    for (id, from) in [("own", "tybalt@localhost/x"), ("other", ASKER)] {
        let ComponentEvent::Answer(answer) = next(&mut events).await else { panic!("no answer") };
        assert_eq!((answer.id().as_ref(), answer.from().unwrap().as_str()), (id, from));
    }

    // When it ends, what waits in its events is answered.
    raw.send(&ask("late", hamlet, PING)).await;
    raw.send(&ask("sync", hamlet, LAST)).await;
    raw.until("id='sync'").await;
    drop(events);
    let closing = tokio::spawn(async move { component.close().await });
    let heard = raw.until("</stream:stream>").await;
    assert!(heard.contains("id='late'") && !heard.contains("id='four'"), "{heard}");
    raw.send("</stream:stream>").await;
    assert!(timeout(PATIENCE, closing).await.unwrap().unwrap());
}

#[tokio::test]
async fn abuse_a064_requests_that_the_application_does_not_answer_are_bounded() {
    let (_component, mut events, mut raw) = component(1, 1 << 20, |r| r.iq_events(Target::Client)).await;
    let mut kept = Vec::new();
    loop {
        raw.send(&ask("i", "hamlet@plays.localhost/castle", PING)).await;
        raw.send("<iq type='result' id='next' from='localhost' to='plays.localhost'/>").await;
        match next(&mut events).await {
            ComponentEvent::Request(request) => kept.push(request),
            ComponentEvent::Answer(_) => break,
            other => panic!("{other:?}"),
        }
        assert!(matches!(next(&mut events).await, ComponentEvent::Answer(_)));
    }
    assert!(raw.until("</iq>").await.contains("<resource-constraint"));
    assert!(kept.len() < 2_000, "{}", kept.len());
    // Each of the others is answered, and makes room.
    let count = kept.len();
    drop(kept);
    let mut heard = String::new();
    while heard.matches("<service-unavailable").count() < count {
        heard += &raw.hear().await;
    }
    raw.send(&ask("i", "hamlet@plays.localhost/castle", PING)).await;
    assert!(matches!(next(&mut events).await, ComponentEvent::Request(_)));
}

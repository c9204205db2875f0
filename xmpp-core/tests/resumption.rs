//! Stream management in the client (XEP-0198), against a server spoken by hand over a pipe.
#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod machine;
mod support;

use std::time::Duration;
use support::{PATIENCE, Raw};
use tokio::{
    net::TcpListener,
    sync::mpsc,
    time::{sleep, timeout},
};
use xmpp_core::{
    client::{
        Backoff, Client, ClientBuilder, ConnectionError, Event, Events, RequestError, SavedSession, Unacknowledged,
    },
    jid::Jid,
    net::{StaticResolver, Transport},
    payload::{Payload, delay::Delay, ping::Ping},
    stanza::{Iq, Message},
};

const R: &str = "<r xmlns='urn:xmpp:sm:3'/>";

type Pipes = mpsc::UnboundedReceiver<Transport>;

/// A client whose connections come out of a queue, to be served by hand.
fn client(change: impl FnOnce(ClientBuilder) -> ClientBuilder) -> (Client, Events, Pipes) {
    let (sender, pipes) = mpsc::unbounded_channel();
    let connect = move || {
        let (ours, theirs) = Transport::pair(65_536);
        sender.send(theirs).unwrap();
        ours
    };
    let quick = Backoff { first: Duration::from_millis(5), max: Duration::from_millis(20) };
    let builder = Client::builder("juliet@localhost/x".parse().unwrap(), "secret").pipe(connect).backoff(quick);
    let (client, events) = change(builder).connect().unwrap();
    (client, events, pipes)
}

async fn next(events: &mut Events) -> Event {
    timeout(PATIENCE, events.next()).await.unwrap().unwrap()
}

/// Negotiates up to the session, new or resumed. The server is the machine's: it knows juliet's session `her-id`, of
/// which it has handled 3 stanzas, and remembers the same of `too-late`.
async fn negotiate(transport: Transport) -> Raw {
    let mut raw = Raw::over(transport);
    let mut server = machine::Server::with(|config| (config.plaintext, config.management) = (true, true));
    loop {
        let heard = raw.hear().await;
        let said = server.hear(&heard);
        let end = said.find("[juliet");
        raw.send(&said[..end.unwrap_or(said.len())].replace("[restart]", "")).await;
        if end.is_some() {
            return raw;
        }
    }
}

async fn connection(pipes: &mut Pipes) -> Raw {
    negotiate(timeout(PATIENCE, pipes.recv()).await.unwrap().unwrap()).await
}

/// A new session with stream management, which has this id.
async fn managed(pipes: &mut Pipes, events: &mut Events, id: &str) -> Raw {
    let mut raw = connection(pipes).await;
    assert!(matches!(next(events).await, Event::Online { .. }));
    assert_eq!(raw.until("/>").await, "<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
    raw.send(&format!("<enabled xmlns='urn:xmpp:sm:3' id='{id}' resume='true' max='600'/>")).await;
    raw
}

fn ack(h: u32) -> String {
    format!("<a xmlns='urn:xmpp:sm:3' h='{h}'/>")
}

async fn say(client: &Client, bodies: std::ops::Range<u32>) {
    for body in bodies {
        client.send(Message::chat("romeo@localhost".parse::<Jid>().unwrap()).body(body.to_string())).await.unwrap();
    }
}

fn bodies(text: &str) -> Vec<u32> {
    text.split("<body>").skip(1).map(|body| body.split_once('<').unwrap().0.parse().unwrap()).collect()
}

async fn offline(events: &mut Events) -> ConnectionError {
    match next(events).await {
        Event::Offline { error, .. } => error,
        other => panic!("{other:?}"),
    }
}

async fn unacknowledged(events: &mut Events) -> Vec<Unacknowledged> {
    match next(events).await {
        Event::Unacknowledged(lost) => lost,
        other => panic!("{other:?}"),
    }
}

async fn message(events: &mut Events) -> String {
    match next(events).await {
        Event::Message(message) => message.body().unwrap().into_owned(),
        other => panic!("{other:?}"),
    }
}

fn ping(client: &Client) -> tokio::task::JoinHandle<Result<Iq, RequestError>> {
    let (client, ping) = (client.clone(), Iq::get_own().id("ping").payload(&Ping));
    tokio::spawn(async move { client.request(ping).await })
}

#[tokio::test]
async fn xep0198_4_the_server_is_asked_once_for_a_batch() {
    let (client, mut events, mut pipes) = client(|builder| builder);
    let mut raw = managed(&mut pipes, &mut events, "id").await;
    say(&client, 0..1).await;
    assert_eq!(bodies(&raw.until(R).await), [0]);
    say(&client, 1..8).await;
    let text = raw.until("<body>7</body></message>").await;
    assert!(!text.contains(R), "asked while an answer is to come: {text}");
    raw.send(&ack(1)).await;
    raw.until(R).await;
    // All is acknowledged: there is nothing to ask for.
    raw.send(&ack(8)).await;
    assert!(raw.is_quiet().await);
}

#[tokio::test]
async fn xep0198_5_a_lost_session_is_resumed_without_a_word() {
    let (client, mut events, mut pipes) = client(|builder| builder);
    let mut raw = managed(&mut pipes, &mut events, "her-id").await;
    raw.send("<message><body>a</body></message>").await;
    assert_eq!(message(&mut events).await, "a");
    say(&client, 0..5).await;
    raw.until("<body>4</body></message>").await;
    let asked = ping(&client);
    raw.until("</iq>").await;
    drop(raw);
    // The server has handled three, and what it sends again is what we do not have.
    let mut raw = connection(&mut pipes).await;
    assert!(matches!(next(&mut events).await, Event::Resumed { jid, .. } if jid.as_str() == "juliet@localhost/x"));
    say(&client, 5..6).await;
    let text = raw.until("<body>5</body></message>").await;
    assert_eq!(bodies(&text), [3, 4, 5]);
    assert!(text.contains("id='ping'"), "the request is sent again too: {text}");
    raw.send("<iq type='result' id='ping' from='juliet@localhost'/><message><body>b</body></message>").await;
    assert!(timeout(PATIENCE, asked).await.unwrap().unwrap().is_ok(), "it has waited on");
    assert_eq!(message(&mut events).await, "b");
    raw.send(R).await;
    raw.until(&ack(3)).await;
    assert!(client.jid().is_some());
}

#[tokio::test]
async fn xep0198_5_the_request_names_what_was_handled_and_what_comes_again_is_dropped() {
    let (client, mut events, mut pipes) = client(|builder| builder);
    let mut raw = quiet(&client, &mut events, &mut pipes).await;
    for body in ["a", "b", "c"] {
        raw.send(&format!("<message><body>{body}</body></message>")).await;
    }
    raw.send(R).await;
    assert_eq!(message(&mut events).await, "a");
    // Only one of three has been taken.
    raw.until("h='1'/>").await;
    drop(raw);
    let mut raw = Raw::over(timeout(PATIENCE, pipes.recv()).await.unwrap().unwrap());
    let mut server = machine::Server::with(|config| (config.plaintext, config.management) = (true, true));
    let (mut text, mut done) = (String::new(), false);
    while !done {
        let heard = raw.hear().await;
        text += &heard;
        let said = server.hear(&heard);
        done = said.contains("[juliet");
        raw.send(&said[..said.find("[juliet").unwrap_or(said.len())].replace("[restart]", "")).await;
    }
    assert!(text.contains("<resume xmlns='urn:xmpp:sm:3' previd='her-id' h='1'/>"), "{text}");
    for body in ["b", "c", "d"] {
        raw.send(&format!("<message><body>{body}</body></message>")).await;
    }
    assert_eq!((message(&mut events).await, message(&mut events).await), ("b".into(), "c".into()));
    let event = next(&mut events).await;
    assert!(matches!(event, Event::Resumed { .. }), "{event:?}");
    assert_eq!(message(&mut events).await, "d");
    raw.send(R).await;
    raw.until(&ack(4)).await;
}

#[tokio::test]
async fn xep0198_5_a_refusal_with_a_count_leaves_no_doubt() {
    let (client, mut events, mut pipes) = client(|builder| builder);
    let mut raw = managed(&mut pipes, &mut events, "too-late").await;
    say(&client, 0..5).await;
    raw.until("<body>4</body></message>").await;
    let asked = ping(&client);
    raw.until("</iq>").await;
    drop(raw);
    let mut raw = connection(&mut pipes).await;
    assert!(matches!(offline(&mut events).await, ConnectionError::Io(_)));
    assert!(matches!(next(&mut events).await, Event::Online { .. }));
    raw.until("/>").await;
    let text = raw.until("<body>4</body></message>").await;
    assert_eq!(bodies(&text), [3, 4], "what the server has not handled is sent in the new session");
    // The request was not handled either.
    raw.until("id='ping'").await;
    raw.send("<iq type='result' id='ping' from='juliet@localhost'/>").await;
    assert!(timeout(PATIENCE, asked).await.unwrap().unwrap().is_ok());
}

#[tokio::test]
async fn xep0198_4_what_may_have_arrived_is_reported_and_not_sent_again() {
    let (client, mut events, mut pipes) = client(|builder| builder);
    let mut raw = managed(&mut pipes, &mut events, "forgotten").await;
    say(&client, 0..4).await;
    raw.until(R).await;
    raw.send(&ack(1)).await;
    raw.until("<body>3</body></message>").await;
    let asked = ping(&client);
    raw.until("</iq>").await;
    drop(raw);
    let mut raw = connection(&mut pipes).await;
    offline(&mut events).await;
    assert!(matches!(next(&mut events).await, Event::Online { .. }));
    let lost = unacknowledged(&mut events).await;
    let text: String = lost.iter().map(|one| one.stanza.as_str()).collect();
    assert_eq!(bodies(&text), [1, 2, 3]);
    assert!(lost.iter().all(|one| one.doubtful));
    assert!(matches!(timeout(PATIENCE, asked).await.unwrap().unwrap(), Err(RequestError::Disconnected)));
    raw.until("/>").await;
    assert!(raw.is_quiet().await, "nothing is sent by itself");
    client.send_again(lost).await.unwrap();
    let text = raw.until("<body>3</body>").await + &raw.until("</message>").await;
    assert_eq!(bodies(&text), [1, 2, 3]);
    let again = support::stanzas(&text);
    let stamps = again.iter().filter(|one| one.root().children().any(Delay::matches)).count();
    assert_eq!(stamps, 3, "the time of the first attempt is told: {text}");
}

#[tokio::test]
async fn abuse_a065_an_ack_of_what_was_never_sent_ends_the_session() {
    for (first, wrong) in [(0, 2), (1, 0), (1, u32::MAX)] {
        let (client, mut events, mut pipes) = client(|builder| builder);
        let mut raw = managed(&mut pipes, &mut events, "her-id").await;
        say(&client, 0..1).await;
        raw.until(R).await;
        raw.send(&ack(first)).await;
        raw.send(&ack(wrong)).await;
        let text = raw.ends_with("undefined-condition").await;
        assert!(text.contains(&format!("<handled-count-too-high xmlns='urn:xmpp:sm:3' h='{wrong}' send-count='1'/>")));
        assert!(matches!(offline(&mut events).await, ConnectionError::Protocol(_)));
        // Counts that differ are not gone on with.
        managed(&mut pipes, &mut events, "other").await;
    }
}

#[tokio::test]
async fn abuse_a065_a_resumption_with_a_wrong_count_is_none() {
    let (client, mut events, mut pipes) = client(|builder| builder);
    let mut raw = managed(&mut pipes, &mut events, "her-id").await;
    say(&client, 0..1).await;
    raw.until(R).await;
    drop(raw);
    let mut raw = connection(&mut pipes).await;
    assert!(raw.ends_with("undefined-condition").await.contains("send-count='1'"), "three were never sent");
    offline(&mut events).await;
    let _raw = managed(&mut pipes, &mut events, "other").await;
    assert_eq!(unacknowledged(&mut events).await.len(), 1);
}

#[tokio::test]
async fn abuse_a066_what_the_server_must_not_send_ends_the_session() {
    for (sent, condition) in [
        ("<a xmlns='urn:xmpp:sm:3'/>", "bad-format"),
        ("<a xmlns='urn:xmpp:sm:3' h='x'/>", "bad-format"),
        ("<sm xmlns='urn:xmpp:sm:3'/>", "unsupported-stanza-type"),
        ("<resume xmlns='urn:xmpp:sm:3' previd='a' h='0'/>", "unsupported-stanza-type"),
        ("<a xmlns='urn:xmpp:sm:2' h='0'/>", "unsupported-stanza-type"),
    ] {
        let (_client, mut events, mut pipes) = client(|builder| builder);
        let mut raw = managed(&mut pipes, &mut events, "her-id").await;
        raw.send(sent).await;
        raw.ends_with(condition).await;
    }
    let (_client, mut events, mut pipes) = client(ClientBuilder::no_stream_management);
    let mut raw = connection(&mut pipes).await;
    assert!(matches!(next(&mut events).await, Event::Online { .. }));
    raw.send(R).await;
    assert!(!raw.ends_with("unsupported-stanza-type").await.contains("<enable"));
}

#[tokio::test]
async fn abuse_a066_a_flood_of_requests_is_answered_by_the_batch() {
    let (_client, mut events, mut pipes) = client(|builder| builder);
    let mut raw = managed(&mut pipes, &mut events, "id").await;
    raw.send(&R.repeat(1000)).await;
    raw.send("<iq type='get' id='end' from='a@b/c'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    let text = raw.until("id='end'").await;
    let answers = text.matches("<a ").count();
    assert!((1..=100).contains(&answers), "{answers}");
}

#[tokio::test]
async fn xep0198_3_without_leave_to_enable_there_is_a_session_without() {
    let (client, mut events, mut pipes) = client(|builder| builder);
    let mut raw = connection(&mut pipes).await;
    assert!(matches!(next(&mut events).await, Event::Online { .. }));
    say(&client, 0..2).await;
    raw.until("<body>1</body></message>").await;
    let failed = "<failed xmlns='urn:xmpp:sm:3'><unexpected-request \
                  xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>";
    raw.send(failed).await;
    raw.send("<message><body>a</body></message>").await;
    assert_eq!(message(&mut events).await, "a");
    say(&client, 2..3).await;
    assert!(!raw.until("<body>2</body></message>").await.contains(R));
    drop(raw);
    offline(&mut events).await;
    let mut raw = managed(&mut pipes, &mut events, "id").await;
    assert!(raw.is_quiet().await, "what was written counts as sent");
}

#[tokio::test(start_paused = true)]
async fn xep0198_4_only_what_the_application_is_done_with_is_acknowledged() {
    let (_client, mut events, mut pipes) = client(ClientBuilder::manual_acks);
    let mut raw = managed(&mut pipes, &mut events, "id").await;
    raw.send("<message><body>a</body></message><message><body>b</body></message>").await;
    raw.send(R).await;
    assert_eq!(message(&mut events).await, "a");
    // The answer waits for a moment, not for ever.
    assert_eq!(raw.until("/>").await, ack(0));
    events.acknowledge();
    assert_eq!(message(&mut events).await, "b");
    raw.send(R).await;
    assert_eq!(raw.until("/>").await, ack(1));
    events.acknowledge();
    assert_eq!(raw.until("/>").await, ack(2), "the rest is told without another request");
}

#[tokio::test]
async fn abuse_a064_a_server_that_acknowledges_nothing_is_sent_no_more_than_the_queue() {
    let (client, mut events, mut pipes) = client(|builder| builder.queue(4));
    let mut raw = managed(&mut pipes, &mut events, "id").await;
    let sending = tokio::spawn(async move {
        say(&client, 0..20).await;
        client
    });
    let mut text = raw.until("<body>3</body></message>").await;
    assert!(raw.is_quiet().await);
    assert!(!sending.is_finished(), "who sends, waits");
    for body in 4..20 {
        raw.send(&ack(body - 3)).await;
        text += &raw.until(&format!("<body>{body}</body></message>")).await;
    }
    assert_eq!(bodies(&text), (0..20).collect::<Vec<_>>());
    timeout(PATIENCE, sending).await.unwrap().unwrap();
}

#[tokio::test]
async fn xep0198_4_close_knows_whether_the_server_has_everything() {
    let (client, mut events, mut pipes) = client(|builder| builder);
    let mut raw = managed(&mut pipes, &mut events, "id").await;
    raw.send("<message><body>a</body></message>").await;
    assert_eq!(message(&mut events).await, "a");
    say(&client, 0..2).await;
    let closing = tokio::spawn(async move { client.close().await });
    let text = raw.until("<body>1</body></message>").await;
    assert!(!text.contains("</stream:stream>"), "the acknowledgement is awaited: {text}");
    raw.send(&ack(2)).await;
    assert!(raw.until("</stream:stream>").await.ends_with(&format!("{}</stream:stream>", ack(1))));
    drop(raw);
    assert!(timeout(PATIENCE, closing).await.unwrap().unwrap(), "no end tag is needed to know it");
    assert!(events.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn xep0198_4_what_close_could_not_deliver_is_reported() {
    let (client, mut events, mut pipes) = client(|builder| builder);
    let mut raw = managed(&mut pipes, &mut events, "id").await;
    say(&client, 0..2).await;
    raw.until("<body>1</body></message>").await;
    assert!(!client.close().await);
    assert_eq!(unacknowledged(&mut events).await.len(), 2);
    assert!(events.next().await.is_none());
    // And what waits for a connection that never comes.
    let (client, mut events, _pipes) = self::client(|builder| builder);
    say(&client, 0..3).await;
    assert!(!client.close().await);
    let lost = unacknowledged(&mut events).await;
    assert!(lost.len() == 3 && lost.iter().all(|one| !one.doubtful));
}

#[tokio::test(start_paused = true)]
async fn close_waits_for_no_network_when_the_queue_is_full() {
    let (client, mut events, _pipes) = client(|builder| builder.queue(2));
    let sender = client.clone();
    let sending = tokio::spawn(async move {
        let mut taken = 0;
        while sender.send(Message::chat("romeo@localhost".parse::<Jid>().unwrap()).body("x")).await.is_ok() {
            taken += 1;
        }
        taken
    });
    sleep(Duration::from_millis(50)).await;
    assert!(!sending.is_finished(), "who sends, waits");
    assert!(!timeout(PATIENCE, client.close()).await.unwrap());
    let taken = timeout(PATIENCE, sending).await.unwrap().unwrap();
    assert!(taken >= 4, "the queue, and what the task has taken from it");
    assert_eq!(unacknowledged(&mut events).await.len(), taken, "what was taken over is told");
}

/// A session in which all is quiet.
async fn quiet(client: &Client, events: &mut Events, pipes: &mut Pipes) -> Raw {
    let mut raw = managed(pipes, events, "her-id").await;
    say(client, 0..3).await;
    raw.until("<body>2</body></message>").await;
    raw.send(&ack(3)).await;
    // Whether the request for it came before or after the last of them.
    if !raw.is_quiet().await {
        raw.hear().await;
    }
    raw
}

#[tokio::test(start_paused = true)]
async fn rfc6120_4_6_1_a_dead_connection_is_found_in_time_and_the_session_resumed() {
    let (client, mut events, mut pipes) = client(|builder| builder.keepalive(Duration::from_secs(40)));
    let mut raw = quiet(&client, &mut events, &mut pipes).await;
    // Any byte is a sign of life.
    for _ in 0..10 {
        sleep(Duration::from_secs(30)).await;
        raw.send(" ").await;
    }
    let begin = tokio::time::Instant::now();
    sleep(Duration::from_secs(39)).await;
    assert!(raw.is_quiet().await);
    assert_eq!(raw.until("/>").await, R, "stream management asks for nothing but its count");
    assert_eq!(begin.elapsed().as_secs(), 40);
    // No answer, and the connection stays open.
    let other = pipes.recv().await.unwrap();
    assert_eq!(begin.elapsed().as_secs(), 80);
    let mut other = negotiate(other).await;
    assert!(matches!(next(&mut events).await, Event::Resumed { .. }));
    // Having lost one in silence, it asks earlier.
    let begin = tokio::time::Instant::now();
    sleep(Duration::from_secs(10)).await;
    assert_eq!(other.until("/>").await, R);
    assert_eq!(begin.elapsed().as_secs(), 20);
}

#[tokio::test(start_paused = true)]
async fn rfc6120_4_6_2_a_message_into_a_dead_connection_finds_it() {
    let (client, mut events, mut pipes) = client(|builder| builder.keepalive(Duration::from_secs(3600)));
    let _raw = quiet(&client, &mut events, &mut pipes).await;
    sleep(Duration::from_secs(600)).await;
    let begin = tokio::time::Instant::now();
    say(&client, 3..4).await;
    let other = pipes.recv().await.unwrap();
    assert_eq!(begin.elapsed().as_secs(), 60, "not after an hour");
    let mut other = negotiate(other).await;
    assert!(matches!(next(&mut events).await, Event::Resumed { .. }));
    assert_eq!(bodies(&other.until("</message>").await), [3]);
}

#[tokio::test]
async fn xep0198_5_a_session_is_saved_and_gone_on_with() {
    let (client, mut events, mut pipes) = self::client(|builder| builder);
    assert_eq!(client.session().await, None);
    let mut raw = managed(&mut pipes, &mut events, "her-id").await;
    raw.send("<message><body>a</body></message>").await;
    assert_eq!(message(&mut events).await, "a");
    say(&client, 0..5).await;
    raw.until("<body>4</body></message>").await;
    let now = client.session().await.unwrap();
    assert_eq!((now.handled, now.acknowledged, now.stanzas.len(), now.doubtful), (1, 0, 5, 5));
    let saved = client.suspend().await.unwrap();
    assert!(!raw.rest().await.contains("</stream:stream>"), "the stream is not closed");
    assert_eq!(saved, now);

    let (client, mut events, mut pipes) = self::client(|builder| builder.session(saved.clone()));
    let mut raw = connection(&mut pipes).await;
    assert!(matches!(next(&mut events).await, Event::Resumed { jid, .. } if jid.as_str() == "juliet@localhost/x"));
    say(&client, 5..6).await;
    assert_eq!(bodies(&raw.until("<body>5</body></message>").await), [3, 4, 5]);

    // The server does not have it: what may have arrived is told, by its sender's client alone.
    let mut other = SavedSession { id: "forgotten".into(), doubtful: 2, ..saved.clone() };
    other.stanzas[0].sent = false;
    let (_client, mut events, mut pipes) = self::client(|builder| builder.session(other));
    let mut raw = connection(&mut pipes).await;
    assert!(matches!(next(&mut events).await, Event::Online { .. }));
    let lost = unacknowledged(&mut events).await;
    assert_eq!(bodies(lost[0].stanza.as_str()), [1]);
    assert_eq!(lost.len(), 1);
    assert_eq!(bodies(&raw.until("<body>4</body></message>").await), [2, 3, 4], "the others certainly have not");

    // More was sent after it was saved.
    let mut stale = saved.clone();
    stale.stanzas.truncate(1);
    let (client, mut events, mut pipes) = self::client(|builder| builder.session(stale));
    let mut raw = connection(&mut pipes).await;
    assert!(matches!(next(&mut events).await, Event::Resumed { .. }));
    say(&client, 7..8).await;
    raw.until(R).await;
    raw.send(&ack(4)).await;
    assert!(raw.is_quiet().await, "the counts go on from the server's");

    let mut damaged = saved;
    damaged.stanzas[0].xml.push_str("</stream:stream>");
    let builder = Client::builder("juliet@localhost/x".parse().unwrap(), "secret");
    assert!(builder.session(damaged).connect().is_err());
}

#[tokio::test]
async fn xep0198_5_what_was_handled_last_is_saved_as_handled() {
    let (client, mut events, mut pipes) = self::client(|builder| builder);
    let mut raw = managed(&mut pipes, &mut events, "her-id").await;
    raw.send("<message><body>a</body></message>").await;
    assert_eq!(message(&mut events).await, "a");
    assert_eq!(client.session().await.unwrap().handled, 1);
    raw.send("<message><body>b</body></message>").await;
    assert_eq!(message(&mut events).await, "b");
    assert_eq!(client.suspend().await.unwrap().handled, 2);
}

#[tokio::test]
async fn xep0198_5_what_is_handled_while_offline_is_saved_as_handled() {
    let (client, mut events, mut pipes) = self::client(|builder| builder);
    let mut raw = managed(&mut pipes, &mut events, "her-id").await;
    raw.send("<message><body>a</body></message><message><body>b</body></message>").await;
    assert_eq!(message(&mut events).await, "a");
    drop(raw);
    // The next connection says nothing.
    let _pipe = timeout(PATIENCE, pipes.recv()).await.unwrap().unwrap();
    assert_eq!(client.session().await.unwrap().handled, 1);
    assert_eq!(message(&mut events).await, "b");
    assert_eq!(client.session().await.unwrap().handled, 2);
}

#[tokio::test]
async fn xep0198_3_the_preferred_place_comes_first_and_then_the_usual_way() {
    let (usual, preferred) = (TcpListener::bind("127.0.0.1:0"), TcpListener::bind("127.0.0.1:0"));
    let (usual, preferred) = (usual.await.unwrap(), preferred.await.unwrap());
    let builder = Client::builder("juliet@localhost/x".parse().unwrap(), "secret").allow_plaintext();
    let builder = builder.resolver(StaticResolver::new()).server("127.0.0.1", usual.local_addr().unwrap().port());
    let quick = Backoff { first: Duration::from_millis(5), max: Duration::from_millis(20) };
    let (client, mut events) = builder.backoff(quick).connect().unwrap();
    let mut raw = negotiate(usual.accept().await.unwrap().0.into()).await;
    assert!(matches!(next(&mut events).await, Event::Online { .. }));
    let place = preferred.local_addr().unwrap();
    raw.send(&format!("<enabled xmlns='urn:xmpp:sm:3' id='her-id' resume='1' location='{place}'/>")).await;
    say(&client, 0..3).await;
    raw.until("<body>2</body></message>").await;
    drop(raw);
    let raw = negotiate(timeout(PATIENCE, preferred.accept()).await.unwrap().unwrap().0.into()).await;
    assert!(matches!(next(&mut events).await, Event::Resumed { .. }));
    drop((preferred, raw));
    let _raw = negotiate(timeout(PATIENCE, usual.accept()).await.unwrap().unwrap().0.into()).await;
    loop {
        match next(&mut events).await {
            Event::Resumed { .. } => break,
            Event::Offline { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn xep0198_5_another_sessions_resumption_is_not_taken() {
    let (_client, mut events, mut pipes) = client(|builder| builder);
    drop(managed(&mut pipes, &mut events, "her-id").await);
    // Whoever answers with another id three times is asked no more.
    let mut attempts = 0;
    loop {
        let mut raw = Raw::over(timeout(PATIENCE, pipes.recv()).await.unwrap().unwrap());
        let mut server = machine::Server::with(|config| (config.plaintext, config.management) = (true, true));
        let ended = loop {
            let heard = raw.hear().await;
            if heard.contains("<resume ") {
                raw.send("<resumed xmlns='urn:xmpp:sm:3' previd='his-id' h='0'/>").await;
                raw.ends_with("unsupported-stanza-type").await;
                break true;
            }
            let said = server.hear(&heard);
            let end = said.find("[juliet");
            raw.send(&said[..end.unwrap_or(said.len())].replace("[restart]", "")).await;
            if end.is_some() {
                break false;
            }
        };
        if !ended {
            break;
        }
        attempts += 1;
    }
    assert_eq!(attempts, 3);
}

#[tokio::test]
async fn xep0352_4_2_every_stream_begins_active_and_is_told_otherwise() {
    const INACTIVE: &str = "<inactive xmlns='urn:xmpp:csi:0'/>";
    let (client, mut events, mut pipes) = client(|builder| builder);
    let mut raw = managed(&mut pipes, &mut events, "her-id").await;
    // Nothing is said of what the server takes for granted.
    client.set_active(true).await.unwrap();
    say(&client, 0..3).await;
    let said = raw.until("<body>2</body></message>").await;
    assert!(!said.contains("active"), "{said}");
    client.set_active(false).await.unwrap();
    raw.until(INACTIVE).await;
    drop(raw);
    let mut raw = connection(&mut pipes).await;
    assert!(matches!(next(&mut events).await, Event::Resumed { .. }));
    raw.until(INACTIVE).await;
    client.set_active(true).await.unwrap();
    let said = raw.until("<active xmlns='urn:xmpp:csi:0'/>").await;
    assert!(!said.contains(INACTIVE), "{said}");
}

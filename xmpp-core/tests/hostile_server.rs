//! Hostile and clumsy servers against a whole client, over a pipe.
#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod machine;
mod support;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use support::{PATIENCE, Raw};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
    time::{sleep, timeout},
};
use xmpp_core::{
    client::{Backoff, Client, ClientBuilder, ClientRegistrar, ConnectionError, Event, Events, RequestError},
    extension::{Reply, Target},
    jid::Jid,
    net::{StaticResolver, Transport},
    payload::{last::LastQuery, ping::Ping, version::VersionQuery},
    stanza::{Iq, Message},
};

type Pipes = mpsc::UnboundedReceiver<Transport>;

/// A client whose connections come out of a queue, to be served by hand.
fn client(room: usize, change: impl FnOnce(ClientBuilder) -> ClientBuilder) -> (Client, Events, Pipes) {
    let (sender, pipes) = mpsc::unbounded_channel();
    let connect = move || {
        let (ours, theirs) = Transport::pair(room);
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

/// Serves the next connection up to the session.
async fn welcome(pipes: &mut Pipes, events: &mut Events) -> Raw {
    served(timeout(PATIENCE, pipes.recv()).await.unwrap().unwrap(), events).await
}

/// Serves this connection up to the session.
async fn served(connection: impl Into<Transport>, events: &mut Events) -> Raw {
    let mut raw = Raw::over(connection);
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
    assert!(matches!(next(events).await, Event::Online { .. }));
    raw
}

async fn offline(events: &mut Events) -> (ConnectionError, Option<Duration>) {
    match next(events).await {
        Event::Offline { error, retry } => (error, retry),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn rfc6120_8_1_2_1_forged_and_unsolicited_answers_are_nobodys() {
    let (client, mut events, mut pipes) = client(65_536, |builder| builder);
    let mut raw = welcome(&mut pipes, &mut events).await;
    let asking = tokio::spawn({
        let client = client.clone();
        async move { client.request(Iq::get("romeo@localhost/y".parse::<Jid>().unwrap()).id("q1").payload(&Ping)).await }
    });
    raw.until("</iq>").await;
    for forged in [
        "<iq type='result' id='q1' from='mallory@localhost/m'/>",
        "<iq type='result' id='q1' from='romeo@localhost/z'/>",
        "<iq type='result' id='q1' from='romeo@localhost'/>",
        "<iq type='result' id='q1' from='localhost'/>",
        "<iq type='result' id='q1'/>",
        "<iq type='result' id='other' from='romeo@localhost/y'/>",
        "<iq type='error' id='q1' from='juliet@localhost'/>",
    ] {
        raw.send(forged).await;
    }
    raw.send("<iq type='get' id='s' from='localhost'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    let answer = raw.until("/>").await;
    assert!(answer.contains("type='result'") && answer.contains("id='s'"), "no forged answer is answered: {answer}");
    assert!(!asking.is_finished());
    raw.send("<iq type='result' id='q1' from='romeo@localhost/y'/>").await;
    assert!(timeout(PATIENCE, asking).await.unwrap().unwrap().is_ok());
}

#[tokio::test]
async fn rfc6120_8_4_requests_are_answered_exactly_once() {
    let (_client, mut events, mut pipes) = client(65_536, |builder| builder);
    let mut raw = welcome(&mut pipes, &mut events).await;
    for (sent, condition) in [
        ("<iq type='get' id='1' from='a@b/c'><x xmlns='urn:unknown'/></iq>", "service-unavailable"),
        ("<iq type='set' id='1' from='a@b/c'><ping xmlns='urn:xmpp:ping'/></iq>", "feature-not-implemented"),
        ("<iq type='get' id='1' from='a@b/c'/>", "bad-request"),
        ("<iq type='nonsense' id='1' from='a@b/c'><x xmlns='urn:y'/></iq>", "bad-request"),
    ] {
        raw.send(sent).await;
        let answer = raw.until("</iq>").await;
        assert!(answer.contains(&format!("<{condition} ")) && answer.contains("to='a@b/c'"), "{sent}: {answer}");
        // What is no iq request of anybody may still be shown to the application.
        while let Ok(Some(event)) = timeout(Duration::from_millis(20), events.next()).await {
            assert!(matches!(event, Event::Malformed(_)), "{event:?}");
        }
    }
    assert!(raw.is_quiet().await);
}

#[tokio::test]
async fn abuse_a105_a_fault_in_a_clients_handler_is_that_requests_error() {
    let faulty = |builder: ClientBuilder| {
        builder.with(|r: &mut ClientRegistrar| {
            r.iq_set::<Ping, ()>(Target::Client, |_, _| panic!("in a handler"));
            r.iq_get::<LastQuery, _>(Target::Client, |_, _| Ok(Reply::write(|_| panic!("in a payload"))));
            r.iq_get_async::<VersionQuery, (), _>(Target::Client, |_, _| async { panic!("while waiting") });
            r.incoming(|_, _| panic!("in a hook"));
        })
    };
    let (_client, mut events, mut pipes) = client(65_536, faulty);
    let mut raw = welcome(&mut pipes, &mut events).await;
    for sent in [
        "<iq type='set' id='1' from='a@b/c'><ping xmlns='urn:xmpp:ping'/></iq>",
        "<iq type='get' id='1' from='a@b/c'><query xmlns='jabber:iq:last'/></iq>",
        "<iq type='get' id='1' from='a@b/c'><query xmlns='jabber:iq:version'/></iq>",
    ] {
        raw.send(sent).await;
        let answer = raw.until("</iq>").await;
        assert_eq!(answer.matches("<iq").count(), 1, "{answer}");
        assert!(answer.contains("<internal-server-error ") && answer.contains("to='a@b/c'"), "{sent}: {answer}");
    }
    raw.send("<message><body>on</body></message>").await;
    assert!(matches!(next(&mut events).await, Event::Message(_)));
}

#[tokio::test]
async fn rfc6120_4_9_3_conflict_ends_the_retrying_and_shutdown_does_not() {
    let error = |name: &str| {
        format!(
            "<stream:error><{name} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>\
             <text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>a\r\nb</text></stream:error></stream:stream>"
        )
    };
    let (_client, mut events, mut pipes) = client(65_536, |builder| builder);
    let mut raw = welcome(&mut pipes, &mut events).await;
    raw.send(&error("system-shutdown")).await;
    let (reason, retry) = offline(&mut events).await;
    assert!(matches!(reason, ConnectionError::Stream(_)) && retry.is_some());
    assert!(!reason.to_string().contains(['\r', '\n']), "{reason}");
    assert_eq!(raw.rest().await, "</stream:stream>");
    let mut raw = welcome(&mut pipes, &mut events).await;
    raw.send(&error("conflict")).await;
    assert_eq!(offline(&mut events).await.1, None);
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn rfc6120_4_9_3_19_redirections_in_circles_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counting.fetch_add(1, Ordering::SeqCst);
            let mut buffer = [0; 1024];
            let _ = stream.read(&mut buffer).await;
            let answer = format!(
                "<stream:stream from='localhost' id='1' version='1.0' xmlns='jabber:client' \
                 xmlns:stream='http://etherx.jabber.org/streams'><stream:error><see-other-host \
                 xmlns='urn:ietf:params:xml:ns:xmpp-streams'>{address}</see-other-host></stream:error></stream:stream>"
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let builder = Client::builder("juliet@localhost/x".parse().unwrap(), "secret");
    let long = Backoff { first: Duration::from_secs(3600), max: Duration::from_secs(3600) };
    let builder = builder.allow_plaintext().resolver(StaticResolver::new()).server("127.0.0.1", address.port());
    let (_client, mut events) = builder.backoff(long).connect().unwrap();
    let (error, retry) = offline(&mut events).await;
    assert!(error.to_string().contains("see-other-host") && retry.is_some(), "{error}");
    assert!((2..=5).contains(&count.load(Ordering::SeqCst)), "{count:?}");
}

#[tokio::test]
async fn abuse_a010_a_stanza_too_big_ends_the_session_with_its_error() {
    let (_client, mut events, mut pipes) = client(65_536, |builder| builder.max_stanza_bytes(1666));
    // Servers take more from each other than from us, and add to it.
    let mut raw = welcome(&mut pipes, &mut events).await;
    raw.send(&format!("<message><body>{}</body></message>", "x".repeat(4900))).await;
    assert!(matches!(next(&mut events).await, Event::Message(_)));
    raw.send(&format!("<message><body>{}</body></message>", "x".repeat(5000))).await;
    raw.ends_with("policy-violation").await;
    let (error, retry) = offline(&mut events).await;
    assert!(matches!(error, ConnectionError::Protocol(_)) && retry.is_some());
}

#[tokio::test]
async fn a_server_that_asks_and_never_reads_is_not_heard_for_ever() {
    let (_client, mut events, mut pipes) = client(65_536, |builder| builder);
    let mut raw = welcome(&mut pipes, &mut events).await;
    let pings = "<iq type='get' id='p' from='a@b/c'><ping xmlns='urn:xmpp:ping'/></iq>".repeat(500);
    let mut sent = 0;
    while let Ok(Ok(())) = timeout(Duration::from_millis(500), raw.transport.write_all(pings.as_bytes())).await {
        sent += pings.len();
        assert!(sent < 20_000_000, "the client takes without end");
    }
}

#[tokio::test]
async fn rfc6120_4_4_close_writes_what_was_taken_over_and_awaits_the_end_tag() {
    let (client, mut events, mut pipes) = client(65_536, |builder| builder);
    let mut raw = welcome(&mut pipes, &mut events).await;
    client.send(Message::chat("romeo@localhost".parse::<Jid>().unwrap()).body("bye")).await.unwrap();
    let closing = tokio::spawn(async move { client.close().await });
    let text = raw.until("</stream:stream>").await;
    assert!(text.contains("<body>bye</body>"), "{text}");
    raw.send("<message><body>one more</body></message></stream:stream>").await;
    assert!(matches!(next(&mut events).await, Event::Message(_)));
    assert!(timeout(PATIENCE, closing).await.unwrap().unwrap());
    assert!(events.next().await.is_none());
    assert_eq!(raw.rest().await, "");
}

#[tokio::test]
async fn rfc6120_4_4_a_connection_reset_behind_the_end_tag_was_closed_in_good_order() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let builder = Client::builder("juliet@localhost/x".parse().unwrap(), "secret");
    let builder = builder.allow_plaintext().server("127.0.0.1", listener.local_addr().unwrap().port());
    let (client, mut events) = builder.connect().unwrap();
    let (stream, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    stream.set_zero_linger().unwrap();
    let mut raw = served(stream, &mut events).await;
    let closing = tokio::spawn(async move { client.close().await });
    raw.until("</stream:stream>").await;
    raw.send("</stream:stream>").await;
    drop(raw);
    assert!(timeout(PATIENCE, closing).await.unwrap().unwrap());
}

#[tokio::test]
async fn dropping_the_last_handle_closes_the_stream() {
    let (client, mut events, mut pipes) = client(65_536, |builder| builder);
    let mut raw = welcome(&mut pipes, &mut events).await;
    let other = client.clone();
    drop(client);
    assert!(raw.is_quiet().await);
    other.send(Message::chat("romeo@localhost".parse::<Jid>().unwrap()).body("bye")).await.unwrap();
    drop(other);
    assert!(raw.until("</stream:stream>").await.contains("<body>bye</body>"));
    // A server that does not answer is not waited for long.
    assert!(timeout(PATIENCE, events.next()).await.unwrap().is_none());
}

#[tokio::test]
async fn what_a_lost_connection_has_not_begun_to_write_is_sent_once_on_the_next() {
    let (client, mut events, mut pipes) = client(700, |builder| builder);
    let mut raw = welcome(&mut pipes, &mut events).await;
    for number in 0..50 {
        let body = format!("{number:02} {}", "x".repeat(100));
        client.send(Message::chat("romeo@localhost".parse::<Jid>().unwrap()).body(body)).await.unwrap();
    }
    // Some of it is read, some lies in the pipe, the rest has not begun.
    let first = raw.until("<body>03").await + &raw.until("</message>").await;
    sleep(Duration::from_millis(50)).await;
    drop(raw);
    assert!(offline(&mut events).await.1.is_some());
    let mut raw = welcome(&mut pipes, &mut events).await;
    let second = raw.until("<body>49").await + &raw.until("</message>").await;
    let numbers =
        |text: &str| -> Vec<u32> { text.split("<body>").skip(1).map(|body| body[..2].parse().unwrap()).collect() };
    let (first, second) = (numbers(&first), numbers(&second));
    assert_eq!(first, [0, 1, 2, 3]);
    assert!(second.windows(2).all(|pair| pair[0] + 1 == pair[1]), "in order and once: {second:?}");
    // 700 bytes hold no more than six of them.
    assert!(second[0] > 3 && second[0] <= 11, "{second:?}");
    assert!(raw.is_quiet().await);
}

#[tokio::test]
async fn requests_end_with_their_session_and_are_not_asked_again() {
    let (client, mut events, mut pipes) = client(65_536, |builder| builder);
    let mut raw = welcome(&mut pipes, &mut events).await;
    let ask = |id: &str| {
        let (client, id) = (client.clone(), id.to_owned());
        tokio::spawn(
            async move { client.request(Iq::get("localhost".parse::<Jid>().unwrap()).id(id).payload(&Ping)).await },
        )
    };
    let lost = ask("lost");
    raw.until("</iq>").await;
    drop(raw);
    assert!(matches!(timeout(PATIENCE, lost).await.unwrap().unwrap(), Err(RequestError::Disconnected)));
    offline(&mut events).await;
    let mut raw = welcome(&mut pipes, &mut events).await;
    let again = ask("again");
    let text = raw.until("</iq>").await;
    assert!(text.contains("id='again'") && !text.contains("lost"), "{text}");
    raw.send("<iq type='result' id='again' from='localhost'/>").await;
    assert!(timeout(PATIENCE, again).await.unwrap().unwrap().is_ok());
}

#[tokio::test]
async fn requests_time_out_and_can_be_dropped_at_any_time() {
    let (client, mut events, mut pipes) = client(65_536, |builder| builder.request_timeout(Duration::from_secs(3)));
    let mut raw = welcome(&mut pipes, &mut events).await;
    let request = |id: &str| Iq::get("localhost".parse::<Jid>().unwrap()).id(id).payload(&Ping);
    let slow = timeout(PATIENCE, client.request(request("slow"))).await.unwrap();
    assert!(matches!(slow, Err(RequestError::TimedOut)));
    let mut ids = BTreeSet::new();
    for number in 0..50_u64 {
        // Dropped before it is polled, while it is queued, and after it was written.
        let _ = timeout(Duration::from_micros(number * 40), client.request(request(&format!("d{number}")))).await;
    }
    raw.send("<iq type='result' id='slow' from='localhost'/><iq type='result' id='d49' from='localhost'/>").await;
    let asking = tokio::spawn({
        let client = client.clone();
        let request = request("last");
        async move { client.request(request).await }
    });
    let text = raw.until("id='last'").await;
    for id in text.split("id='").skip(1).map(|rest| rest.split_once('\'').unwrap().0) {
        assert!(ids.insert(id.to_owned()), "{id} was sent twice");
    }
    raw.send("<iq type='result' id='last' from='localhost'/>").await;
    assert!(timeout(PATIENCE, asking).await.unwrap().unwrap().is_ok());
}

#[tokio::test]
async fn a_full_event_queue_stops_the_reading_and_loses_nothing() {
    let (_client, mut events, mut pipes) = client(4096, |builder| builder.queue(4));
    let mut raw = welcome(&mut pipes, &mut events).await;
    let sending = tokio::spawn(async move {
        for number in 0..2000 {
            raw.send(&format!("<message id='{number}'><body>{}</body></message>", "x".repeat(200))).await;
        }
        raw
    });
    sleep(Duration::from_millis(200)).await;
    assert!(!sending.is_finished(), "2000 messages were taken in advance");
    for number in 0..2000 {
        let Event::Message(message) = next(&mut events).await else { panic!() };
        assert_eq!(message.id().unwrap(), number.to_string());
    }
    sending.await.unwrap();
}

#[tokio::test]
async fn xep0199_4_a_silent_server_is_asked_and_then_given_up() {
    let (_client, mut events, mut pipes) =
        client(8, |builder| builder.keepalive(Duration::from_secs(1)).no_reconnect());
    let mut server = welcome(&mut pipes, &mut events).await;
    assert!(server.until("</iq>").await.contains("urn:xmpp:ping"));
    let (error, _) = offline(&mut events).await;
    assert!(matches!(error, ConnectionError::TimedOut), "{error}");
}

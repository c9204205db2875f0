//! The end of a server, seen by those who are connected (RFC 6120 §4.9.3.19, §4.9.3.20).
#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use std::time::Duration;
use support::{END, HEADER, PASSWORD, PATIENCE, Raw, builder, server};
use tokio::time::{Instant, timeout};
use xmpp_core::{
    client::{Backoff, Client, Event},
    stream::{OtherHost, component_handshake},
};

#[tokio::test(start_paused = true)]
async fn rfc6120_4_9_3_20_many_are_told_one_after_another() {
    let server = server();
    let mut sessions = Vec::new();
    for number in 0..129 {
        sessions.push(Raw::session(&server, &format!("a{number}@localhost/x")).await);
    }
    let began = Instant::now();
    let stopping = server.clone();
    let stopped = tokio::spawn(async move { stopping.shutdown(Duration::from_secs(10)).await });
    for mut session in sessions {
        let text = session.until(END).await;
        assert!(text.contains("<system-shutdown "), "{text}");
        session.send(END).await;
    }
    stopped.await.unwrap();
    let taken = began.elapsed();
    assert!(taken >= Duration::from_millis(80) && taken < Duration::from_secs(5), "two pauses: {taken:?}");
    assert_eq!(server.sessions(), 0);
}

#[tokio::test(start_paused = true)]
async fn rfc6120_4_4_who_does_not_end_is_cut_when_the_grace_is_over() {
    let server = server();
    let mut session = Raw::session(&server, "a@localhost/x").await;
    let began = Instant::now();
    server.shutdown(Duration::from_secs(2)).await;
    assert!(began.elapsed() <= Duration::from_secs(4));
    assert_eq!(server.sessions(), 0);
    session.ends_with("system-shutdown").await;
}

#[tokio::test]
async fn rfc6120_4_9_3_19_clients_are_sent_to_another_host_and_components_are_not() {
    let server = builder().component("plays.localhost", "secret").build().unwrap();
    let mut bound = Raw::session(&server, "a@localhost/x").await;
    let mut half = Raw::memory(&server);
    half.send(HEADER).await;
    half.until("</stream:features>").await;
    let mut component = Raw::over(server.attach_memory());
    component
        .send(
            "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' \
             to='plays.localhost'>",
        )
        .await;
    let header = component.until("'>").await;
    let id = header.split(" id='").nth(1).and_then(|rest| rest.split('\'').next()).unwrap();
    component.send(&format!("<handshake>{}</handshake>", component_handshake(id, "secret"))).await;
    component.until("<handshake/>").await;

    let host = OtherHost::parse("[2001:db8::1]:5222").unwrap();
    let stopping = server.clone();
    let stopped = tokio::spawn(async move { stopping.shutdown_to(&host, Duration::from_secs(10)).await });
    for client in [&mut bound, &mut half] {
        let text = client.ends_with("see-other-host").await;
        assert!(text.contains(">[2001:db8::1]:5222</see-other-host>"), "{text}");
    }
    component.ends_with("system-shutdown").await;
    drop((bound, half, component));
    stopped.await.unwrap();
}

#[tokio::test]
async fn a_client_follows_to_the_host_that_takes_over() {
    let any = "127.0.0.1:0".parse().unwrap();
    let (old, new) = (builder().allow_plaintext().build().unwrap(), builder().allow_plaintext().build().unwrap());
    let (from, to) = (old.listen(any).await.unwrap(), new.listen(any).await.unwrap());
    let builder = Client::builder("juliet@localhost/balcony".parse().unwrap(), PASSWORD).allow_plaintext();
    let soon = Backoff { first: Duration::from_millis(1), max: Duration::from_millis(20) };
    let (client, mut events) = builder.server("127.0.0.1", from.port()).backoff(soon).connect().unwrap();
    client.online().await.unwrap();
    assert_eq!((old.sessions(), new.sessions()), (1, 0));
    old.shutdown_to(&OtherHost::parse(&to.to_string()).unwrap(), Duration::from_secs(10)).await;
    let mut online = 0;
    while online < 2 {
        if let Event::Online { .. } = timeout(PATIENCE, events.next()).await.unwrap().unwrap() {
            online += 1;
        }
    }
    assert_eq!((old.sessions(), new.sessions()), (0, 1));
}

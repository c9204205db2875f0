//! Acknowledgements over whole connections (XEP-0198 §3, §4, §9).
#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use std::time::Duration;
use support::{
    END, HEADER, PASSWORD, Raw,
    managed::{
        R, SM, a, attribute, bodies, bounced, hibernating, logged, managed, message, resume, server_with, settled,
    },
};
use xmpp_core::sasl::{
    ChannelBindings, ClientPolicy, ClientSasl, ClientStep, Credentials, Nonce, Offer, decode_payload, encode_payload,
};

#[tokio::test]
async fn xep0198_3_enabled_says_whether_and_how_long() {
    let server = server_with(|_| {});
    for (wish, resumable, max) in [
        ("", false, ""),
        ("resume='false'", false, ""),
        ("resume='true'", true, "300"),
        ("resume='1' max='60'", true, "60"),
        ("resume='true' max='100000000000000'", true, "300"),
    ] {
        let mut juliet = Raw::session(&server, "juliet@localhost/x").await;
        juliet.send(&format!("<enable {SM} {wish}/>")).await;
        let enabled = juliet.until("/>").await;
        assert!(enabled.starts_with(&format!("<enabled {SM}")), "{enabled}");
        assert_eq!(enabled.contains(" resume='true'"), resumable, "{enabled}");
        if resumable {
            assert_eq!(attribute(&enabled, "max"), max);
            assert!(attribute(&enabled, "id").len() >= 26);
        }
        juliet.send(END).await;
        juliet.rest().await;
    }
    let server = server_with(|limits| limits.resume_time = Duration::ZERO);
    let mut juliet = Raw::session(&server, "juliet@localhost/x").await;
    juliet.send(&format!("<enable {SM} resume='true'/>")).await;
    assert_eq!(juliet.until("/>").await, format!("<enabled {SM}/>"));
}

#[tokio::test]
async fn abuse_a066_enabling_twice_ends_the_stream() {
    let server = server_with(|_| {});
    let (mut juliet, _) = managed(&server, "juliet@localhost/x").await;
    juliet.send(&format!("<enable {SM}/>")).await;
    juliet.until("<failed xmlns='urn:xmpp:sm:3'><unexpected-request ").await;
    juliet.ends_with("policy-violation").await;
    drop(juliet);
    settled(&server, |server| server.sessions() == 0 && server.hibernating() == 0).await;
}

#[tokio::test]
async fn abuse_a066_who_only_asks_and_never_reads_is_bounded() {
    let server = server_with(|limits| limits.outbox_bytes = 10_000);
    let (mut juliet, _) = managed(&server, "juliet@localhost/x").await;
    juliet.try_send(&R.repeat(10_000)).await;
    let text = juliet.ends_with("policy-violation").await;
    assert!(text.matches("<a ").count() < 10_000);
}

#[tokio::test]
async fn xep0198_6_what_is_malformed_or_out_of_place_fails() {
    let server = server_with(|_| {});
    let mut juliet = Raw::session(&server, "juliet@localhost/x").await;
    juliet.send(&format!("<enable {SM} resume='perhaps'/>")).await;
    assert!(juliet.until("</failed>").await.contains("<bad-request "));
    juliet.send(&format!("<resume {SM} previd='x' h='0'/>")).await;
    assert!(juliet.until("</failed>").await.contains("<unexpected-request "));
    juliet.sync().await;
    juliet.send(&format!("<enable {SM}/>")).await;
    juliet.until("/>").await;
    juliet.send(&format!("<a {SM} h='one'/>")).await;
    juliet.ends_with("bad-format").await;
    for early in [R.to_owned(), a(0)] {
        let mut juliet = Raw::session(&server, "juliet@localhost/x").await;
        juliet.send(&early).await;
        juliet.ends_with("unsupported-stanza-type").await;
    }
}

#[tokio::test]
async fn xep0198_4_handled_stanzas_are_counted_and_nothing_else() {
    let server = server_with(|_| {});
    let mut juliet = Raw::session(&server, "juliet@localhost/x").await;
    juliet.send("<message to='localhost'/><presence/>").await;
    juliet.send(&format!("<enable {SM}/>{R}")).await;
    juliet.until("<enabled xmlns='urn:xmpp:sm:3'/>").await;
    assert_eq!(juliet.until(&a(0)).await, a(0));
    // A stanza that is refused is handled too; requests and white space are no stanzas.
    juliet.send(&format!("<presence/> \n<iq type='get' to='@' id='q'><x xmlns='y'/></iq>{R}{R}")).await;
    let answers = juliet.until(&format!("{0}{0}", a(2))).await;
    assert!(answers.contains("<jid-malformed "), "{answers}");
    juliet.send(&format!("<presence/>{R}")).await;
    juliet.until(&a(3)).await;
}

#[tokio::test]
async fn xep0198_4_the_server_asks_once_for_many_and_goes_on_asking() {
    let server = server_with(|_| {});
    let (mut juliet, _) = managed(&server, "juliet@localhost/x").await;
    let mut romeo = Raw::session(&server, "romeo@localhost/y").await;
    message(&mut romeo, "juliet@localhost/x", "1").await;
    juliet.until(&format!("</message>{R}")).await;
    for body in ["2", "3"] {
        message(&mut romeo, "juliet@localhost/x", body).await;
    }
    assert!(!juliet.until("<body>3</body></message>").await.contains(R));
    assert!(juliet.is_quiet().await);
    juliet.send(&a(1)).await;
    assert_eq!(juliet.until(R).await, R);
    // One that does not get on is not asked at once again.
    juliet.send(&a(1)).await;
    juliet.sync_whole().await;
    juliet.until(R).await;
    juliet.send(&a(4)).await;
    assert!(juliet.is_quiet().await);
    message(&mut romeo, "juliet@localhost/x", "4").await;
    juliet.until(&format!("<body>4</body></message>{R}")).await;
}

#[tokio::test]
async fn abuse_a065_counts_that_cannot_be_end_the_stream() {
    let server = server_with(|_| {});
    for (first, second) in [(2, None), (1, Some(0))] {
        let (mut juliet, _) = managed(&server, "juliet@localhost/x").await;
        let mut romeo = Raw::session(&server, "romeo@localhost/y").await;
        message(&mut romeo, "juliet@localhost/x", "1").await;
        juliet.until(R).await;
        juliet.send(&a(first)).await;
        if let Some(second) = second {
            juliet.send(&a(second)).await;
        }
        let text = juliet.ends_with("undefined-condition").await;
        let h = second.unwrap_or(first);
        assert!(text.contains(&format!("<handled-count-too-high {SM} h='{h}' send-count='1'/>")), "{text}");
    }
}

#[tokio::test]
async fn abuse_a064_who_never_acknowledges_is_bounded() {
    let server = server_with(|limits| limits.unacked_stanzas = 10);
    let (mut juliet, _) = managed(&server, "juliet@localhost/x").await;
    let mut romeo = Raw::session(&server, "romeo@localhost/y").await;
    let sent: Vec<String> = (0..12).map(|number| number.to_string()).collect();
    for body in &sent {
        message(&mut romeo, "juliet@localhost/x", body).await;
    }
    let text = juliet.ends_with("policy-violation").await;
    assert_eq!(bodies(&text), sent[..10]);
    // The last two found no room and came back first, then those of which nobody knows whether they arrived.
    let mut back = String::new();
    while bounced(&back).len() < 12 {
        back += &romeo.until("</message>").await;
    }
    assert_eq!(bounced(&back)[..2], sent[10..]);
    assert_eq!(bounced(&back)[2..], sent[..10]);
    romeo.sync().await;
}

#[tokio::test]
async fn xep0198_9_a_stream_that_is_closed_is_over() {
    let (server, log) = logged(|_| {});
    let (mut juliet, id) = managed(&server, "juliet@localhost/x").await;
    let mut romeo = Raw::session(&server, "romeo@localhost/y").await;
    for body in ["1", "2"] {
        message(&mut romeo, "juliet@localhost/x", body).await;
    }
    juliet.until("<body>2</body></message>").await;
    juliet.send(&format!("{}{END}", a(1))).await;
    assert!(juliet.rest().await.ends_with(END));
    let lines = log.lines(2).await;
    assert_eq!(lines[0], "end juliet@localhost/x");
    assert_eq!(bodies(&lines[1]), ["2"]);
    let (_, answer) = resume(&server, "juliet@localhost", &id, 1).await;
    assert!(answer.contains("<item-not-found "), "{answer}");
}

#[tokio::test]
async fn xep0198_3_what_was_sent_before_does_not_count() {
    let (server, log) = logged(|_| {});
    let (mut juliet, mut romeo) =
        (Raw::session(&server, "juliet@localhost/x").await, Raw::session(&server, "romeo@localhost/y").await);
    message(&mut romeo, "juliet@localhost/x", "0").await;
    romeo.sync().await;
    juliet.send(&format!("<enable {SM} resume='true'/>")).await;
    juliet.until("<enabled ").await;
    message(&mut romeo, "juliet@localhost/x", "1").await;
    juliet.until(R).await;
    juliet.send(&a(1)).await;
    juliet.send(END).await;
    juliet.rest().await;
    assert_eq!(log.lines(1).await, ["end juliet@localhost/x"]);
    romeo.sync().await;
}

/// Logs in by SASL2 (XEP-0388), with this along; everything up to `</success>`.
async fn authenticate2(raw: &mut Raw, user: &str, along: &str) -> String {
    raw.send(HEADER).await;
    let features = raw.until("</stream:features>").await;
    let (_, offered) = features.split_once("<authentication ").unwrap();
    let (offered, _) = offered.split_once("</authentication>").unwrap();
    assert!(offered.contains(&format!("<sm {SM}/>")), "{offered}");
    assert!(offered.contains("<feature var='urn:xmpp:sm:3'/>"), "{offered}");
    let mechanisms = offered.split("<mechanism>").skip(1).map(|rest| rest.split_once('<').unwrap().0.to_owned());
    let offer = Offer { mechanisms: mechanisms.collect(), bindings: None, sasl2: true };
    let (credentials, policy) = (Credentials::password(user, PASSWORD), ClientPolicy::default());
    let bindings = ChannelBindings::default();
    let mut sasl = ClientSasl::choose(&offer, credentials, &bindings, false, &policy).unwrap();
    let (mechanism, initial) = sasl.start(Nonce::new("fyko+d2lbbFgONRv9qkxdawL").unwrap()).unwrap();
    let initial = encode_payload(initial.as_deref());
    raw.send(&format!(
        "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='{mechanism}'><initial-response>{initial}</initial-response>\
         {along}</authenticate>"
    ))
    .await;
    let challenge = raw.until("</challenge>").await;
    let challenge = challenge.trim_end_matches("</challenge>").rsplit_once('>').unwrap().1.to_owned();
    let mut step = sasl.challenge(&decode_payload(&challenge).unwrap().unwrap()).unwrap();
    let response = loop {
        step = match step {
            ClientStep::Send(response) => break response,
            ClientStep::Derive(job) => ClientStep::Send(sasl.derived(job.run()).unwrap()),
        };
    };
    let response = encode_payload(Some(&response));
    raw.send(&format!("<response xmlns='urn:xmpp:sasl:2'>{response}</response>")).await;
    raw.until("</success>").await
}

#[tokio::test]
async fn xep0198_9_enabled_and_resumed_while_logging_in() {
    let server = server_with(|_| {});
    let bind = format!("<bind xmlns='urn:xmpp:bind:0'><tag>t</tag><enable {SM} resume='true' max='60'/></bind>");
    let mut juliet = Raw::memory(&server);
    let success = authenticate2(&mut juliet, "juliet", &bind).await;
    let (_, enabled) = success.split_once("<enabled ").unwrap();
    let (id, max) = (attribute(&format!(" {enabled}"), "id").to_owned(), attribute(enabled, "max").to_owned());
    assert_eq!(max, "60");
    let jid = success.split_once("<authorization-identifier>").unwrap().1.split_once('<').unwrap().0.to_owned();
    juliet.until("</stream:features>").await;
    let mut romeo = Raw::session(&server, "romeo@localhost/y").await;
    message(&mut romeo, &jid, "1").await;
    juliet.until(R).await;
    drop(juliet);
    hibernating(&server, 1).await;
    message(&mut romeo, &jid, "2").await;
    // §9.2: who resumes is not bound, whatever it says.
    let mut juliet = Raw::memory(&server);
    let resume = |id: &str| format!("<resume {SM} previd='{id}' h='1'/>{bind}");
    let success = authenticate2(&mut juliet, "juliet", &resume(&id)).await;
    assert!(success.contains(&format!("<resumed {SM} previd='{id}' h='0'/>")), "{success}");
    assert!(!success.contains("<bound "), "{success}");
    assert_eq!(bodies(&juliet.until("</message>").await), ["2"]);
    // §9.2.1: who cannot resume is bound.
    let mut juliet = Raw::memory(&server);
    let success = authenticate2(&mut juliet, "juliet", &resume("nonsense")).await;
    assert!(success.contains("<item-not-found ") && success.contains("<enabled "), "{success}");
    juliet.until("</stream:features>").await;
    juliet.sync().await;
    assert_eq!((server.sessions(), server.hibernating()), (3, 0));
}

//! Hostile clients that negotiate with a whole server: what they send, and what must come of it.
#![cfg(all(feature = "client", feature = "server"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use std::time::{Duration, Instant};
use support::{END, HEADER, Raw, builder, server};
use tokio::time::sleep;
use xmpp_core::server::Limits;

fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    limits.closing = Duration::from_millis(500);
    change(&mut limits);
    limits
}

/// What ends a stream, whether it comes before or after the login; `witness` is another session that must not notice.
const DEADLY: &[(&str, &str, &str)] = &[
    ("a001", "<!DOCTYPE x [<!ENTITY a 'b'>]>", "restricted-xml"),
    ("a003", "<!-- hidden -->", "restricted-xml"),
    ("a003", "<message><?php x?></message>", "restricted-xml"),
    ("a004", "<message><body>&custom;</body></message>", "restricted-xml"),
    ("a007", "<message><body>&#x0;</body></message>", "not-well-formed"),
    ("a007", "<message><body>\u{1}</body></message>", "not-well-formed"),
    ("a008", "<*/>", "not-well-formed"),
    ("a008", "<message *='x'/>", "not-well-formed"),
    ("a009", "<message><x:y/></message>", "bad-namespace-prefix"),
    ("a015", "<message a='1' a='2'/>", "not-well-formed"),
    ("a018", "<presense/>", "unsupported-stanza-type"),
    ("a018", "<x xmlns='urn:y'/>", "unsupported-stanza-type"),
    ("a019", "<message xmlns='jabber:server'/>", "invalid-namespace"),
    ("a021", "text", "bad-format"),
    ("a021", "</message>", "not-well-formed"),
];

#[tokio::test]
async fn abuse_a001_to_a021_end_one_stream_and_no_other() {
    let server = server();
    let mut witness = Raw::session(&server, "witness@localhost/w").await;
    for (case, sent, condition) in DEADLY {
        let mut early = Raw::memory(&server);
        early.send(&format!("{HEADER}{sent}")).await;
        let text = early.rest().await;
        let accepted = [*condition, "not-well-formed", "bad-format"];
        assert!(accepted.iter().any(|name| text.contains(&format!("<{name} "))), "{case} {sent}: {text}");
        assert!(text.starts_with("<?xml") && text.ends_with("</stream:error></stream:stream>"), "{case}: {text}");
        assert_eq!(text.matches("<stream:stream").count(), 1, "{case}: {text}");

        let mut bound = Raw::session(&server, "mallory@localhost/m").await;
        bound.send(sent).await;
        let text = bound.rest().await;
        assert!(accepted.iter().any(|name| text.contains(&format!("<{name} "))), "{case} {sent}: {text}");
        assert!(text.ends_with("</stream:error></stream:stream>"), "{case}: {text}");
    }
    witness.sync().await;
    assert!(witness.is_quiet().await);
    assert_eq!(server.sessions(), 1);
}

#[tokio::test]
async fn abuse_a005_bytes_that_are_not_utf_8_are_never_forwarded() {
    let server = server();
    let mut victim = Raw::session(&server, "victim@localhost/v").await;
    for bytes in [&b"\xc0\xaf"[..], b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\xff"] {
        let mut raw = Raw::session(&server, "mallory@localhost/m").await;
        raw.send("<message to='victim@localhost/v'><body>").await;
        raw.write(bytes).await;
        raw.send("</body></message>").await;
        let text = raw.rest().await;
        assert!(text.contains("<unsupported-encoding") || text.contains("<not-well-formed"), "{text}");
    }
    victim.sync().await;
    assert!(victim.is_quiet().await);
}

#[tokio::test]
async fn abuse_a020_headers_that_are_wrong_get_a_header_an_error_and_an_end() {
    let server = server();
    let header = |attributes: &str| format!("<?xml version='1.0'?><stream:stream {attributes}>");
    let streams = "xmlns:stream='http://etherx.jabber.org/streams'";
    let cases = [
        ("to='localhost' version='1.0' xmlns='jabber:client' xmlns:stream='urn:x'".to_owned(), "invalid-namespace"),
        (format!("to='localhost' version='1.0' xmlns='jabber:server' {streams}"), "invalid-namespace"),
        (format!("version='1.0' xmlns='jabber:client' {streams}"), "improper-addressing"),
        (format!("to='elsewhere' version='1.0' xmlns='jabber:client' {streams}"), "host-unknown"),
        (format!("to='a@b@c' version='1.0' xmlns='jabber:client' {streams}"), "host-unknown"),
        (format!("to='localhost' xmlns='jabber:client' {streams}"), "unsupported-version"),
        (format!("to='localhost' version='0.9' xmlns='jabber:client' {streams}"), "unsupported-version"),
    ];
    for (attributes, condition) in cases {
        let mut raw = Raw::memory(&server);
        raw.send(&header(&attributes)).await;
        let text = raw.ends_with(condition).await;
        assert!(text.starts_with("<?xml version='1.0'?><stream:stream ") && text.contains(" id='"), "{text}");
    }
    let mut raw = Raw::memory(&server);
    raw.send(&header(&format!("to='localhost' version='99.0' xmlns='jabber:client' {streams}"))).await;
    let text = raw.until("</stream:features>").await;
    assert!(text.contains("version='1.0'"), "{text}");
}

#[tokio::test]
async fn abuse_a011_a_stanza_before_login_has_its_limit_to_the_byte() {
    let server = builder().limits(limits(|limits| limits.unauthenticated.stanza_bytes = 1000)).build().unwrap();
    let auth = |bytes: usize| {
        let (open, close) = ("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='X'>", "</auth>");
        format!("{open}{}{close}", "A".repeat(bytes - open.len() - close.len()))
    };
    let mut raw = Raw::memory(&server);
    raw.send(HEADER).await;
    raw.send(&auth(1000)).await;
    assert!(raw.until("</failure>").await.contains("<failure"));
    raw.send(&auth(1001)).await;
    let text = raw.ends_with("policy-violation").await;
    assert!(text.contains("<stanza-too-big xmlns='urn:xmpp:errors'/>"), "{text}");
}

#[tokio::test]
async fn abuse_a010_a_stanza_after_login_has_its_limit_to_the_byte_in_small_segments() {
    let server = builder().limits(limits(|limits| limits.authenticated.stanza_bytes = 2000)).build().unwrap();
    let message = |bytes: usize| {
        let (open, close) = ("<message to='a@localhost/a'><body>", "</body></message>");
        format!("{open}{}{close}", "x".repeat(bytes - open.len() - close.len()))
    };
    let mut bound = Raw::session(&server, "a@localhost/a").await;
    for chunk in message(2000).as_bytes().chunks(7) {
        bound.write(chunk).await;
    }
    assert!(bound.until("</message>").await.contains("<body>xxx"));
    for byte in message(2001).as_bytes().chunks(1) {
        if !bound.try_send(std::str::from_utf8(byte).unwrap()).await {
            break;
        }
    }
    let text = bound.ends_with("policy-violation").await;
    assert!(text.contains("<stanza-too-big"), "{text}");
}

#[tokio::test]
async fn abuse_a012_an_attribute_that_never_ends_is_cut_off() {
    let server = builder().limits(limits(|_| {})).build().unwrap();
    let mut raw = Raw::memory(&server);
    raw.send("<stream:stream to='").await;
    raw.send(&"x".repeat(10_001)).await;
    raw.ends_with("policy-violation").await;
}

#[tokio::test]
async fn abuse_a013_a014_nesting_and_swarms_are_refused() {
    let server = builder().limits(limits(|_| {})).build().unwrap();
    for bomb in ["<a>".repeat(50_000), "<a/>".repeat(30_000)] {
        let mut raw = Raw::session(&server, "mallory@localhost/m").await;
        raw.try_send(&format!("<message>{bomb}")).await;
        raw.ends_with("policy-violation").await;
    }
}

#[tokio::test]
async fn abuse_a021_a_stream_within_a_stream_ends_it() {
    let server = server();
    let mut raw = Raw::memory(&server);
    raw.send(HEADER).await;
    raw.until("</stream:features>").await;
    raw.send(&HEADER[21..]).await;
    let text = raw.rest().await;
    assert!(text.contains("<stream:error>") && text.ends_with(END), "{text}");
    assert_eq!(text.matches("<stream:stream").count(), 0, "{text}");
}

#[tokio::test]
async fn abuse_a029_every_phase_has_its_deadline() {
    let server = builder().limits(limits(|limits| limits.phase = Duration::from_millis(300))).build().unwrap();
    let auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'/>";
    for stuck in [String::new(), HEADER[..40].to_owned(), HEADER.to_owned(), format!("{HEADER}{auth}")] {
        let mut raw = Raw::memory(&server);
        raw.send(&stuck).await;
        let start = Instant::now();
        raw.ends_with("policy-violation").await;
        assert!(start.elapsed() < Duration::from_secs(20), "{stuck}");
    }
    // One byte at a time does not gain a moment.
    let mut raw = Raw::memory(&server);
    let start = Instant::now();
    for byte in HEADER.bytes().cycle() {
        if start.elapsed() > Duration::from_secs(20) || !raw.try_send(std::str::from_utf8(&[byte]).unwrap()).await {
            break;
        }
        sleep(Duration::from_millis(40)).await;
    }
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn abuse_a029_aborting_over_and_over_gains_no_time() {
    let server = builder().limits(limits(|limits| limits.auth_attempts = 3)).build().unwrap();
    let mut raw = Raw::memory(&server);
    raw.send(HEADER).await;
    for _ in 0..3 {
        raw.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'/>").await;
        raw.send("<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>").await;
        assert!(raw.until("</failure>").await.contains("<aborted/>"));
    }
    raw.ends_with("policy-violation").await;
}

#[tokio::test]
async fn abuse_a030_mechanisms_that_are_not_on_offer_are_invalid() {
    let server = server();
    for mechanism in ["", "X-NONE", "PLAIN'", "EXTERNAL", "SCRAM-SHA-1-PLUS", "ANONYMOUS", "scram-sha-1"] {
        let mut raw = Raw::memory(&server);
        let name = mechanism.replace('\'', "&apos;");
        raw.send(&format!("{HEADER}<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{name}'>=</auth>")).await;
        let text = raw.until("</failure>").await;
        assert!(text.contains("<invalid-mechanism/>"), "{mechanism}: {text}");
    }
}

#[tokio::test]
async fn abuse_a030_plain_over_an_open_stream_needs_encryption() {
    let server = server();
    let mut raw = Raw::memory(&server);
    raw.send(&format!("{HEADER}<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGEAYg==</auth>"))
        .await;
    assert!(raw.until("</failure>").await.contains("<encryption-required/>"));
}

#[tokio::test]
async fn abuse_a036_broken_base64_is_incorrect_encoding() {
    let server = builder().limits(limits(|limits| limits.auth_attempts = 100)).build().unwrap();
    let mut raw = Raw::memory(&server);
    raw.send(HEADER).await;
    for payload in ["AA=A", "A", "====", "A A=", "\nbiws", "b&amp;ws", "\u{e9}"] {
        raw.send(&format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>{payload}</auth>"))
            .await;
        let text = raw.until("</failure>").await;
        assert!(text.contains("<incorrect-encoding/>"), "{payload:?}: {text}");
    }
}

#[tokio::test]
async fn abuse_a033_users_who_do_not_exist_look_like_those_who_do() {
    let server = builder().limits(limits(|limits| limits.auth_attempts = 100)).build().unwrap();
    let challenge = |name: &str| {
        let first = xmpp_core::sasl::encode_payload(Some(format!("n,,n={name},r=abcdefghijklmnop").as_bytes()));
        format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>{first}</auth>")
    };
    let mut salts = Vec::new();
    let mut shapes = Vec::new();
    for name in ["juliet", "nobody", "nobody", "no=2C@body", "nobody2"] {
        let mut raw = Raw::memory(&server);
        raw.send(&format!("{HEADER}{}", challenge(name))).await;
        raw.until("<challenge").await;
        let text = raw.until("</challenge>").await;
        let payload = text.split_once('>').unwrap().1.strip_suffix("</challenge>").unwrap();
        let message = String::from_utf8(xmpp_core::sasl::decode_payload(payload).unwrap().unwrap()).unwrap();
        let parts: Vec<_> = message.split(',').map(str::to_owned).collect();
        assert!(parts[1].starts_with("s=") && parts[2] == "i=4096", "{message}");
        salts.push(parts[1].clone());
        shapes.push((message.len(), parts.len()));
        let last =
            xmpp_core::sasl::encode_payload(Some(format!("c=biws,{},p=dGhpcyBpcyBubyBwcm9vZiEh", parts[0]).as_bytes()));
        raw.send(&format!("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{last}</response>")).await;
        let text = raw.until("</failure>").await;
        assert!(text.contains("<not-authorized/>"), "{name}: {text}");
    }
    assert_eq!(salts[1], salts[2], "the salt of nobody is stable");
    assert_ne!(salts[1], salts[4]);
    assert!(shapes.iter().all(|shape| *shape == shapes[0]), "{shapes:?}");
}

#[tokio::test]
async fn abuse_a038_an_aborted_handshake_cannot_be_resumed() {
    let server = server();
    let mut raw = Raw::memory(&server);
    let first = xmpp_core::sasl::encode_payload(Some(b"n,,n=juliet,r=abcdefghijklmnop"));
    let auth = format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>{first}</auth>");
    raw.send(&format!("{HEADER}{auth}")).await;
    raw.until("</challenge>").await;
    raw.send("<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>").await;
    assert!(raw.until("</failure>").await.contains("<aborted/>"));
    raw.send("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>Yz1iaXdz</response>").await;
    assert!(raw.until("</failure>").await.contains("<malformed-request/>"));
    raw.send(&auth).await;
    raw.until("</challenge>").await;
}

#[tokio::test]
async fn abuse_a037_attempts_are_counted_to_n_and_then_the_stream_ends() {
    let server = builder().limits(limits(|limits| limits.auth_attempts = 2)).build().unwrap();
    let mut raw = Raw::memory(&server);
    let auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='NO'/>";
    raw.send(&format!("{HEADER}{auth}")).await;
    raw.until("</failure>").await;
    raw.send(auth).await;
    let text = raw.ends_with("policy-violation").await;
    assert_eq!(text.matches("</failure>").count(), 1);
    assert_eq!(server.stats().failures, 2);
}

#[tokio::test]
async fn abuse_a039_what_belongs_to_the_negotiation_is_refused_after_it() {
    let server = builder().limits(limits(|_| {})).build().unwrap();
    let sasl = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'";
    for again in [
        format!("<auth {sasl} mechanism='PLAIN'>AGEAYg==</auth>"),
        format!("<response {sasl}/>"),
        "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>".to_owned(),
    ] {
        let mut raw = Raw::session(&server, "juliet@localhost/x").await;
        raw.send(&again).await;
        raw.ends_with("policy-violation").await;
    }
    let mut raw = Raw::session(&server, "juliet@localhost/x").await;
    raw.send("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>").await;
    let text = raw.until("</iq>").await;
    assert!(text.contains("id='b'") && text.contains("<error type='cancel'><not-allowed "), "{text}");
    raw.send("<iq type='set' id='s'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>").await;
    let text = raw.until("/>").await;
    assert!(text.contains("type='result'") && text.contains("id='s'"), "{text}");
    raw.sync().await;
    assert_eq!(server.sessions(), 1);
}

#[tokio::test]
async fn abuse_a040_stanzas_before_bind_reach_nobody() {
    let server = server();
    let mut victim = Raw::session(&server, "victim@localhost/v").await;
    let mut raw = Raw::memory(&server);
    raw.send(&format!("{HEADER}<message to='victim@localhost/v'><body>boo</body></message>")).await;
    raw.ends_with("not-authorized").await;
    let mut raw = Raw::memory(&server);
    raw.send(&format!("{HEADER}<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")).await;
    raw.ends_with("not-authorized").await;
    victim.sync().await;
    assert!(victim.is_quiet().await);
}

#[tokio::test]
async fn rfc6120_7_7_2_2_the_newer_of_two_equal_resources_stays() {
    let server = builder().limits(limits(|_| {})).build().unwrap();
    let mut old = Raw::session(&server, "juliet@localhost/x").await;
    let mut new = Raw::session(&server, "juliet@localhost/x").await;
    old.ends_with("conflict").await;
    new.sync().await;
    assert_eq!(server.sessions(), 1);
}

fn bind(id: &str, resource: &str) -> String {
    format!(
        "<iq type='set' id='{id}'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
         <resource>{resource}</resource></bind></iq>"
    )
}

#[tokio::test]
async fn abuse_a042_bindings_are_judged_and_their_failures_counted() {
    let limits = limits(|limits| {
        limits.sessions_per_account = 2;
        limits.bind_attempts = 4;
    });
    let server = builder().limits(limits).build().unwrap();
    let mut one = Raw::session(&server, "juliet@localhost/1").await;
    let _two = Raw::session(&server, "juliet@localhost/2").await;
    let mut raw = Raw::memory(&server);
    raw.authenticate("juliet@localhost").await;
    raw.send(&bind("a", &"x".repeat(1024))).await;
    assert!(raw.until("</iq>").await.contains("<bad-request "));
    raw.send(&bind("b", "a&#x7f;b")).await;
    assert!(raw.until("</iq>").await.contains("<bad-request "));
    raw.send(&bind("c", "3")).await;
    let text = raw.until("</iq>").await;
    assert!(text.contains("id='c'") && text.contains("<resource-constraint "), "{text}");
    raw.send("<iq type='get' id='d'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>").await;
    assert!(raw.until("</iq>").await.contains("<bad-request "));
    raw.ends_with("policy-violation").await;

    // In the place of one of the two, and with a resource of the server's making where the wish is empty.
    let mut raw = Raw::memory(&server);
    raw.authenticate("juliet@localhost").await;
    raw.send(&bind("e", "1")).await;
    assert!(raw.until("</iq>").await.contains("<jid>juliet@localhost/1</jid>"));
    one.ends_with("conflict").await;
    let mut raw = Raw::memory(&server);
    raw.authenticate("romeo@localhost").await;
    raw.send(&bind("f", "")).await;
    let text = raw.until("</iq>").await;
    let resource = text.split_once("<jid>romeo@localhost/").unwrap().1.split_once("</jid>").unwrap().0;
    assert!(resource.len() >= 20, "{resource}");
    assert_eq!(server.sessions(), 3);
}

#[tokio::test]
async fn abuse_a095_a_store_that_does_not_answer_is_a_temporary_failure() {
    let server = builder().limits(limits(|limits| limits.phase = Duration::from_secs(4))).build().unwrap();
    let mut raw = Raw::memory(&server);
    let first = xmpp_core::sasl::encode_payload(Some(b"n,,n=hanging,r=abcdefghijklmnop"));
    raw.send(&format!("{HEADER}<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>{first}</auth>"))
        .await;
    assert!(raw.until("</failure>").await.contains("<temporary-auth-failure/>"));
}

// All of 127/8 is one's own on Linux alone.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn abuse_a037_wrong_passwords_slow_their_own_address_and_lock_nobody_out() {
    let server = builder().limits(limits(|limits| limits.auth_attempts = 100)).allow_plaintext().build().unwrap();
    let address = server.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let sasl = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'";
    let first = xmpp_core::sasl::encode_payload(Some(b"n,,n=juliet,r=abcdefghijklmnop"));
    let auth = format!("<auth {sasl} mechanism='SCRAM-SHA-1'>{first}</auth><response {sasl}>eA==</response>");
    let mut guessing = Raw::tcp(address).await;
    guessing.send(HEADER).await;
    // What names no account is no guess, and slows nobody.
    let start = Instant::now();
    for _ in 0..20 {
        guessing.send(&format!("<auth {sasl} mechanism='NONE'/>")).await;
        guessing.until("</failure>").await;
    }
    // As guesses they would be slowed by more than half a minute.
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    let start = Instant::now();
    for attempt in 0..6 {
        if attempt == 4 {
            // An own login in between clears nothing.
            Raw::tcp(address).await.login("mallory@localhost/m").await;
        }
        guessing.send(&auth).await;
        guessing.until("</failure>").await;
    }
    assert!(start.elapsed() >= Duration::from_millis(250 + 500 + 750), "{:?}", start.elapsed());
    let elsewhere = tokio::net::TcpSocket::new_v4().unwrap();
    elsewhere.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut victim = Raw::over(elsewhere.connect(address).await.unwrap());
    victim.send(HEADER).await;
    // Three attempts are free there; here each would be slowed by a second at least.
    let mut least = Duration::MAX;
    for _ in 0..3 {
        let start = Instant::now();
        victim.send(&auth).await;
        victim.until("</failure>").await;
        least = least.min(start.elapsed());
    }
    assert!(least < Duration::from_secs(1), "{least:?}");
}

//! The acceptor alone: transcripts of what a client sends and what must come back (RFC 6120 §4 to §7).
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod machine;

use machine::{Server, payload};
use proptest::prelude::*;
use xmpp_core::{
    sasl::{ChannelBindings, Hash, Mechanism},
    stanza::StanzaError,
    stream::Phase,
};

const HEADER: &str = "<?xml version='1.0'?><stream:stream to='localhost' version='1.0' \
    xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
const SASL: &str = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'";

fn auth(mechanism: &str, message: &[u8]) -> String {
    format!("<auth {SASL} mechanism='{mechanism}'>{}</auth>", payload(Some(message)))
}

fn plain(message: &[u8]) -> String {
    let mut server = Server::secured();
    server.hear(HEADER);
    server.hear(&auth("PLAIN", message))
}

#[test]
fn rfc6120_4_7_the_response_header_says_who_whom_and_which() {
    let mut server = Server::new();
    let answer = server.hear(
        "<stream:stream from='juliet@localhost' to='LocalHost' version='1.0' xml:lang='de' xmlns='jabber:client' \
         xmlns:stream='http://etherx.jabber.org/streams'>",
    );
    let expected = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
        xmlns:stream='http://etherx.jabber.org/streams' version='1.0' from='localhost' to='juliet@localhost' \
        id='token1' xml:lang='de'><stream:features>";
    assert!(answer.starts_with(expected), "{answer}");
}

#[test]
fn rfc6120_4_7_3_each_stream_has_another_id() {
    let mut server = Server::secured();
    let first = server.hear(HEADER);
    server.hear(&auth("PLAIN", b"\0juliet\0secret"));
    let second = server.hear(HEADER);
    let id = |text: &str| text.split_once(" id='").unwrap().1.split_once('\'').unwrap().0.to_owned();
    assert_ne!(id(&first), id(&second));
}

#[test]
fn rfc6120_5_3_1_starttls_is_offered_as_required_and_sasl_only_under_it() {
    let mut server = Server::with(|config| config.tls = true);
    let answer = server.hear(HEADER);
    assert!(answer.contains("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>"), "{answer}");
    assert!(!answer.contains("<mechanisms"), "{answer}");
    assert_eq!(
        server.hear("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
        "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>[tls]"
    );
    assert_eq!(server.acceptor.phase(), Phase::Tls);
    server.secure(ChannelBindings::default());
    let answer = server.hear(HEADER);
    assert!(answer.contains("<mechanism>PLAIN</mechanism>") && !answer.contains("<starttls"), "{answer}");
}

#[test]
fn rfc6120_5_4_2_2_starttls_that_is_not_offered_fails_and_closes() {
    let failure = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>[close]";
    let mut server = Server::new();
    server.hear(HEADER);
    assert_eq!(server.hear("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"), failure);
    // ABUSE A027: again inside TLS.
    let mut server = Server::secured();
    server.hear(HEADER);
    assert_eq!(server.hear("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"), failure);
}

#[test]
fn rfc6120_5_4_3_3_what_was_negotiated_in_the_open_is_forgotten() {
    let mut server = Server::with(|config| {
        config.tls = true;
        config.plaintext = true;
    });
    server.hear(HEADER);
    let answer = server.hear(&auth("SCRAM-SHA-1", b"n,,n=juliet,r=abcdefghijklmnop"));
    assert!(answer.contains("<challenge"), "{answer}");
    // In the middle of a handshake it is refused: TLS comes first or not at all.
    let answer = server.hear("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
    assert!(answer.starts_with("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"), "{answer}");
}

#[test]
fn rfc6120_6_4_sasl_before_tls_needs_encryption() {
    let mut server = Server::with(|config| config.tls = true);
    server.hear(HEADER);
    let answer = server.hear(&auth("PLAIN", b"\0juliet\0secret"));
    assert!(answer.starts_with(&format!("<failure {SASL}><encryption-required/>")), "{answer}");
    assert!(answer.contains("<policy-violation ") && answer.ends_with("[close]"), "{answer}");
}

#[test]
fn abuse_a031_plain_is_taken_by_its_grammar() {
    assert_eq!(plain(b"\0juliet\0secret"), format!("<success {SASL}/>[restart]"));
    assert_eq!(plain(b"juliet@localhost\0juliet\0secret"), format!("<success {SASL}/>[restart]"));
    for (message, condition) in [
        (&b"romeo@localhost\0juliet\0secret"[..], "invalid-authzid"),
        (b"\0juliet\0wrong", "not-authorized"),
        (b"\0juliet@evil\0secret", "not-authorized"),
        (b"\0juliet/x\0secret", "not-authorized"),
        (b"\0\0secret", "malformed-request"),
        (b"\0juliet\0", "malformed-request"),
        (b"juliet", "malformed-request"),
        (b"\0juliet", "malformed-request"),
        (b"\0juliet\0secret\0", "malformed-request"),
        (b"\0juliet\0\xff", "malformed-request"),
    ] {
        let answer = plain(message);
        assert!(answer.contains(&format!("<failure {SASL}><{condition}/>")), "{message:?}: {answer}");
    }
    assert!(plain(&[b'x'; 7000]).contains("<malformed-request/>"));
}

#[test]
fn rfc6120_6_5_a_store_that_fails_is_temporary() {
    let mut server = Server::secured();
    server.hear(HEADER);
    for sent in [auth("PLAIN", b"\0faulty\0x"), auth("SCRAM-SHA-1", b"n,,n=faulty,r=abcdefghijklmnop")] {
        let answer = server.hear(&sent);
        assert!(answer.contains("<temporary-auth-failure/>"), "{answer}");
    }
}

#[test]
fn rfc6120_6_4_5_the_stream_ends_with_the_last_attempt() {
    let mut server = Server::with(|config| {
        config.plaintext = true;
        config.auth_attempts = 3;
    });
    server.hear(HEADER);
    for _ in 0..2 {
        assert!(!server.hear(&auth("NONE", b"")).contains("[close]"));
    }
    let answer = server.hear(&auth("NONE", b""));
    assert!(answer.contains("<policy-violation ") && answer.ends_with("</stream:stream>[close]"), "{answer}");
}

#[test]
fn rfc6120_6_4_6_after_success_the_stream_begins_anew_for_the_same_domain() {
    let mut server = Server::secured();
    server.hear(HEADER);
    server.hear(&auth("PLAIN", b"\0juliet\0secret"));
    let answer = server.hear(&HEADER.replace("localhost", "other.localhost"));
    assert!(answer.contains("<not-authorized "), "{answer}");
    let mut server = Server::secured();
    server.hear(HEADER);
    server.hear(&auth("PLAIN", b"\0juliet\0secret"));
    let answer = server.hear(HEADER);
    assert!(answer.contains("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"), "{answer}");
    assert!(!answer.contains("<mechanisms") && !answer.contains("<starttls"), "{answer}");
}

fn authenticated() -> Server {
    let mut server = Server::secured();
    server.hear(HEADER);
    server.hear(&auth("PLAIN", b"\0juliet\0secret"));
    server.hear(HEADER);
    server
}

#[test]
fn rfc6120_7_6_and_7_7_a_resource_is_bound() {
    let bind = "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";
    let answer = authenticated().hear(bind);
    assert_eq!(
        answer,
        "<iq id='b' type='result'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>juliet@localhost/made</jid>\
         </bind></iq>[juliet@localhost/made PLAIN true]"
    );
    let answer = authenticated().hear(&bind.replace("/></iq>", "><resource>balcony</resource></bind></iq>"));
    assert!(answer.contains("<jid>juliet@localhost/balcony</jid>"), "{answer}");
}

#[test]
fn rfc6120_7_7_2_errors_of_binding_leave_the_stream_and_are_counted() {
    let mut server = authenticated();
    server.refuse = Some(StanzaError::conflict());
    let bind = "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";
    for _ in 0..7 {
        let answer = server.hear(bind);
        assert!(answer.contains("type='error'") && answer.contains("<conflict "), "{answer}");
        assert!(!answer.contains("[close]"), "{answer}");
    }
    assert!(server.hear(bind).ends_with("</stream:error></stream:stream>[close]"));
}

#[test]
fn abuse_a040_nothing_but_bind_is_heard_before_bind() {
    for sent in [
        "<message to='a@localhost'/>",
        "<presence/>",
        "<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>",
        "<iq type='set' id='1'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>",
    ] {
        assert!(authenticated().hear(sent).contains("<not-authorized "), "{sent}");
        let mut server = Server::secured();
        server.hear(HEADER);
        assert!(server.hear(sent).contains("<not-authorized "), "{sent}");
    }
    assert!(authenticated().hear(&auth("PLAIN", b"\0romeo\0secret")).contains("<policy-violation "));
}

#[test]
fn rfc4505_anonymous_users_get_an_account_of_their_own() {
    let mut server = Server::with(|config| {
        config.plaintext = true;
        config.domains = vec![("localhost".into(), vec![Mechanism::Anonymous])];
    });
    server.hear(HEADER);
    assert!(server.hear(&auth("ANONYMOUS", b"trace")).starts_with("<success"));
    server.hear(HEADER);
    let answer = server.hear("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
    assert!(answer.contains("<jid>token"), "{answer}");
}

fn piece() -> impl Strategy<Value = String> {
    let fixed = [
        HEADER,
        "</stream:stream>",
        "<message/>",
        "<presence to='a@b'/>",
        "<x xmlns='urn:y'/>",
        "<stream:error/>",
        "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        " ",
        "<",
        "<iq type='set'/>",
        "<!-- -->",
        "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
        "<iq type='get' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>\u{1f600}</resource></bind></iq>",
        "<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
        "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
        "<abort xmlns='urn:xmpp:sasl:2'/>",
        "<response xmlns='urn:xmpp:sasl:2'/>",
        "<next xmlns='urn:xmpp:sasl:2' task='UPGR-SCRAM-SHA-256'/>",
        "<task-data xmlns='urn:xmpp:sasl:2'><hash xmlns='urn:xmpp:scram-upgrade:0'>\
         AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=</hash></task-data>",
    ];
    let messages = prop_oneof![
        Just(b"\0juliet\0secret".to_vec()),
        Just(b"n,,n=juliet,r=abcdefghijklmnop".to_vec()),
        Just(b"c=biws,r=abcdefghijklmnop,p=AAAA".to_vec()),
        prop::collection::vec(any::<u8>(), 0..40),
    ];
    let names =
        prop::sample::select(vec!["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256-PLUS", "HT-SHA-256-NONE", "EXTERNAL", "?"]);
    let along = prop::sample::subsequence(
        vec![
            "<fast xmlns='urn:xmpp:fast:0' count='1'/>",
            "<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/>",
            "<upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-256</upgrade>",
            "<resume xmlns='urn:xmpp:sm:3' previd='too-late' h='1'/>",
            "<bind xmlns='urn:xmpp:bind:0'><tag>t</tag><enable xmlns='urn:xmpp:sm:3'/></bind>",
        ],
        0..=5,
    );
    prop_oneof![
        prop::sample::select(fixed.to_vec()).prop_map(str::to_owned),
        Just(HEADER.to_owned()),
        (names.clone(), messages.clone()).prop_map(|(name, message)| auth(name, &message)),
        (names, messages.clone(), along).prop_map(|(name, message, along)| {
            let message = payload(Some(&message));
            format!(
                "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='{name}'><initial-response>{message}</initial-response>\
                 <user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'/>{}</authenticate>",
                along.concat()
            )
        }),
        messages.prop_map(|message| format!("<response {SASL}>{}</response>", payload(Some(&message)))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever comes, in whatever order and in whatever pieces: no panic, one end tag at most, and nothing behind it.
    #[test]
    fn random_clients_never_break_the_acceptor(
        pieces in prop::collection::vec(piece(), 0..24), tls: bool, plaintext: bool, more: bool, size in 1_usize..200,
    ) {
        let mut server = Server::with(|config| {
            config.tls = tls;
            config.plaintext = plaintext;
            config.management = more;
            config.tokens = more.then_some(10);
            config.upgrades = if more { vec![Hash::Sha256] } else { Vec::new() };
        });
        server.hashes = vec![Hash::Sha1];
        let mut said = String::new();
        for chunk in pieces.concat().as_bytes().chunks(size) {
            said.push_str(&server.hear_bytes(chunk));
            if said.contains("[tls]") && !server.is_secured {
                server.secure(ChannelBindings::default());
            }
        }
        prop_assert!(said.matches("</stream:stream>").count() <= 1, "{}", said);
        if let Some((_, behind)) = said.split_once("</stream:stream>") {
            prop_assert_eq!(behind, "[close]");
        }
        let logins = said.matches("[restart]").count();
        prop_assert!(logins <= 1 && said.matches("<authorization-identifier>").count() <= 1, "{}", said);
    }
}

const SM: &str = "xmlns='urn:xmpp:sm:3'";
const CONDITIONS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";

/// A server with stream management, where juliet is authenticated, or nobody yet.
fn managed(authenticated: bool) -> (Server, String) {
    let mut server = Server::with(|config| {
        config.tls = true;
        config.management = true;
    });
    server.secure(ChannelBindings::default());
    let mut features = server.hear(HEADER);
    if authenticated {
        server.hear(&auth("PLAIN", b"\0juliet\0secret"));
        features = server.hear(HEADER);
    }
    (server, features)
}

fn failed(condition: &str) -> String {
    format!("<failed {SM}><{condition} xmlns='{CONDITIONS}'/></failed>")
}

#[test]
fn xep0198_2_management_is_offered_once_authenticated() {
    // What SASL2 offers to do while it authenticates is another matter (XEP-0198 §9).
    let outside = |text: &str| match (text.split_once("<inline>"), text.split_once("</inline>")) {
        (Some((before, _)), Some((_, after))) => format!("{before}{after}"),
        _ => text.to_owned(),
    };
    let offers =
        |text: &str| (outside(text).contains(&format!("<sm {SM}/>")), text.contains("<csi xmlns='urn:xmpp:csi:0'/>"));
    assert_eq!(offers(&managed(true).1), (true, true));
    assert_eq!(offers(&managed(false).1), (false, false));
    let mut server = Server::secured();
    server.hear(HEADER);
    server.hear(&auth("PLAIN", b"\0juliet\0secret"));
    assert_eq!(offers(&server.hear(HEADER)), (false, false));
    assert_eq!(server.hear(&format!("<resume {SM} previd='her-id' h='0'/>")), failed("feature-not-implemented"));
}

#[test]
fn abuse_a066_enable_before_binding_fails() {
    for authenticated in [true, false] {
        let (mut server, _) = managed(authenticated);
        assert_eq!(server.hear(&format!("<enable {SM}/>")), failed("unexpected-request"));
    }
    // XEP-0198 §3: the negotiation goes on.
    let (mut server, _) = managed(true);
    server.hear(&format!("<enable {SM} resume='true'/>"));
    let bound = server.hear("<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
    assert!(bound.ends_with("[juliet@localhost/made PLAIN true]"), "{bound}");
}

#[test]
fn xep0198_5_resumption_takes_the_place_of_binding() {
    let (mut server, _) = managed(true);
    let answer = server.hear(&format!("<resume {SM} previd='her-id' h='7'/>"));
    assert_eq!(answer, format!("<resumed {SM} previd='her-id' h='3'/>[juliet@localhost/left PLAIN true resumed]"));
}

#[test]
fn xep0198_5_what_cannot_be_resumed_may_be_bound() {
    let (mut server, _) = managed(true);
    assert_eq!(server.hear(&format!("<resume {SM} previd='of-others' h='7'/>")), failed("item-not-found"));
    let late = format!("<failed {SM} h='3'><item-not-found xmlns='{CONDITIONS}'/></failed>");
    assert_eq!(server.hear(&format!("<resume {SM} previd='too-late' h='7'/>")), late);
    for wrong in ["previd='her-id'", "h='7'", "previd='her-id' h='seven'"] {
        assert_eq!(server.hear(&format!("<resume {SM} {wrong}/>")), failed("bad-request"));
    }
    let bound = server.hear("<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
    assert!(bound.ends_with("[juliet@localhost/made PLAIN true]"), "{bound}");
}

#[test]
fn xep0198_7_nobody_resumes_before_authentication() {
    let (mut server, _) = managed(false);
    let resume = format!("<resume {SM} previd='her-id' h='7'/>");
    assert_eq!(server.hear(&resume), failed("unexpected-request"));
    let answers = server.hear(&resume.repeat(100));
    assert!(answers.contains("<policy-violation ") && answers.ends_with("[close]"), "{answers}");
}

#[test]
fn abuse_a065_resuming_with_too_high_a_count_ends_the_stream() {
    let (mut server, _) = managed(true);
    let answer = server.hear(&format!("<resume {SM} previd='her-id' h='8'/>"));
    assert!(answer.contains("<undefined-condition "), "{answer}");
    assert!(answer.contains(&format!("<handled-count-too-high {SM} h='8' send-count='7'/>")), "{answer}");
    assert!(answer.ends_with("</stream:stream>[close]"), "{answer}");
}

#[test]
fn rfc6120_6_5_1_a_disabled_account_is_told_so_by_its_password_alone() {
    assert!(plain(b"\0banned\0secret").starts_with(&format!("<failure {SASL}><account-disabled/>")));
    assert!(plain(b"\0banned\0wrong").starts_with(&format!("<failure {SASL}><not-authorized/>")));
    assert!(plain(b"\0lost\0secret").starts_with(&format!("<failure {SASL}><temporary-auth-failure/>")));
    // It counts as a failure, and somebody else may try.
    let mut server = Server::secured();
    server.hear(HEADER);
    server.hear(&auth("PLAIN", b"\0banned\0secret"));
    assert_eq!(server.hear(&auth("PLAIN", b"\0juliet\0secret")), format!("<success {SASL}/>[restart]"));
}

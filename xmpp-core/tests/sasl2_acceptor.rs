//! SASL2, Bind 2, FAST and upgrades at the server's end: transcripts of what a client sends and what must come back
//! (XEP-0388, XEP-0386, XEP-0484, XEP-0480, XEP-0478).
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod machine;

use machine::Server;
use xmpp_core::{
    jid::BareJid,
    sasl::{ChannelBindings, ClientPolicy, ClientSasl, ClientStep, Credentials, Hash, Mechanism, Nonce, Offer},
    stanza::StanzaError,
    stream::{AcceptorConfig, StreamLimits},
};

const CLIENT: &str = "d4565fa7-4d72-4749-b3d3-740edbf87770";
const SASL2: &str = "xmlns='urn:xmpp:sasl:2'";
const FAST: &str = "xmlns='urn:xmpp:fast:0'";

fn bindings() -> ChannelBindings {
    ChannelBindings { exporter: Some([7; 32]), end_point: Some(vec![9; 32]), tls_version: Some(0x0304) }
}

fn header(from: &str) -> String {
    let from = if from.is_empty() { String::new() } else { format!(" from='{from}'") };
    format!(
        "<?xml version='1.0'?><stream:stream{from} to='localhost' version='1.0' xmlns='jabber:client' \
         xmlns:stream='http://etherx.jabber.org/streams'>"
    )
}

/// A stream under TLS, with tokens, upgrades and management; its features.
fn opened_with(change: impl FnOnce(&mut AcceptorConfig), from: &str) -> (Server, String) {
    let mut server = Server::with(|config| {
        config.tls = true;
        config.management = true;
        config.tokens = Some(1000);
        config.upgrades = vec![Hash::Sha512, Hash::Sha256];
        config.bind_features = vec!["urn:xmpp:carbons:2".into(), "urn:xmpp:sm:3".into()];
        change(config);
    });
    server.secure(bindings());
    let features = server.hear(&header(from));
    (server, features)
}

fn opened() -> Server {
    opened_with(|_| {}, "juliet@localhost").0
}

fn base64(data: &[u8]) -> String {
    xmpp_core::sasl::encode_payload(Some(data))
}

/// `<authenticate/>` with this inside, besides the initial response.
fn authenticate(mechanism: &str, message: &[u8], inside: &str) -> String {
    let message = base64(message);
    format!(
        "<authenticate {SASL2} mechanism='{mechanism}'><initial-response>{message}</initial-response>\
         <user-agent id='{CLIENT}'><software>AwesomeXMPP</software><device>Kiva's Phone</device></user-agent>\
         {inside}</authenticate>"
    )
}

fn plain(inside: &str) -> String {
    authenticate("PLAIN", b"\0juliet\0secret", inside)
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no {before} in {text}"));
    rest.split_once(after).unwrap_or_else(|| panic!("no {after} in {text}")).0
}

fn success(jid: &str, inside: &str) -> String {
    format!("<success {SASL2}><authorization-identifier>{jid}</authorization-identifier>{inside}</success>")
}

fn failure(condition: &str) -> String {
    format!("<failure {SASL2}><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/></failure>")
}

#[test]
fn xep0388_2_1_the_offer_names_mechanisms_and_what_goes_along() {
    let (_, features) = opened_with(|_| {}, "juliet@localhost");
    let offer = format!("<authentication{}", between(&features, "<authentication", "</authentication>"));
    let expected = format!(
        "<authentication {SASL2}><mechanism>SCRAM-SHA-512-PLUS</mechanism><mechanism>SCRAM-SHA-512</mechanism>\
         <mechanism>SCRAM-SHA-256-PLUS</mechanism><mechanism>SCRAM-SHA-256</mechanism>\
         <mechanism>SCRAM-SHA-1-PLUS</mechanism><mechanism>SCRAM-SHA-1</mechanism><mechanism>PLAIN</mechanism>\
         <inline><sm xmlns='urn:xmpp:sm:3'/><bind xmlns='urn:xmpp:bind:0'><inline>\
         <feature var='urn:xmpp:carbons:2'/><feature var='urn:xmpp:sm:3'/></inline></bind><fast {FAST}>\
         <mechanism>HT-SHA-512-EXPR</mechanism><mechanism>HT-SHA-256-EXPR</mechanism>\
         <mechanism>HT-SHA-512-ENDP</mechanism><mechanism>HT-SHA-256-ENDP</mechanism>\
         <mechanism>HT-SHA-512-NONE</mechanism><mechanism>HT-SHA-256-NONE</mechanism></fast></inline>\
         <upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-512</upgrade>\
         <upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-256</upgrade>"
    );
    assert_eq!(offer, expected);
    assert!(features.contains("<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"), "the old profile stays");
    assert!(features.contains("<sasl-channel-binding"), "{features}");
}

#[test]
fn xep0388_3_sasl2_is_offered_and_taken_after_tls_alone() {
    let mut server = Server::with(|config| config.tls = true);
    let features = server.hear(&header(""));
    assert!(!features.contains("urn:xmpp:sasl:2"), "{features}");
    let answer = server.hear(&plain(""));
    assert!(answer.starts_with(&failure("encryption-required")) && answer.ends_with("[close]"), "{answer}");
    let (mut server, features) = opened_with(|config| config.sasl2 = false, "");
    assert!(!features.contains("urn:xmpp:sasl:2"), "{features}");
    assert!(server.hear(&plain("")).ends_with("[close]"));
}

#[test]
fn xep0388_4_1_plain_without_more_saves_the_restart() {
    let mut server = opened();
    let answer = server.hear(&plain(""));
    let expected =
        success("juliet@localhost", "") + "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>";
    assert!(answer.starts_with(&expected), "{answer}");
    assert!(!answer.contains("[restart]"), "{answer}");
    let bound = server.hear("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
    assert!(bound.ends_with("[juliet@localhost/made PLAIN true]"), "{bound}");
}

/// A login by SCRAM; the last answer.
fn scram(server: &mut Server, mechanism: &str, inside: &str) -> String {
    let offer = Offer { mechanisms: vec![mechanism.into()], bindings: None, sasl2: false };
    let none = ChannelBindings::default();
    let policy = ClientPolicy::default();
    let mut client =
        ClientSasl::choose(&offer, Credentials::password("juliet", "secret"), &none, true, &policy).unwrap();
    let (name, initial) = client.start(Nonce::new("abcdefghijklmnop").unwrap()).unwrap();
    let answer = server.hear(&authenticate(&name, &initial.unwrap(), inside));
    let challenge = between(&answer, &format!("<challenge {SASL2}>"), "</challenge>");
    let challenge = xmpp_core::sasl::decode_payload(challenge).unwrap().unwrap();
    // The announcement is that of the whole offer, which this client has not seen.
    let text = String::from_utf8(challenge).unwrap();
    assert!(text.contains(",h=") && text.contains(",t=0304"), "XEP-0474, XEP-0515: {text}");
    let keys = xmpp_core::sasl::ScramKeys::derive(name_hash(mechanism), "secret", b"0123456789abcdef", 4096);
    let answer = match client.challenge(text.split(",h=").next().unwrap().as_bytes()) {
        Ok(ClientStep::Derive(_)) => client.derived(keys).unwrap(),
        other => panic!("{other:?}"),
    };
    server.hear(&format!("<response {SASL2}>{}</response>", base64(&answer)))
}

fn name_hash(mechanism: &str) -> Hash {
    Mechanism::from_name(mechanism).unwrap().hash().unwrap()
}

#[test]
fn xep0388_2_5_challenges_and_responses_are_of_the_new_namespace() {
    // The client above leaves the announcement out of what it signs, so that its proof is wrong: the failure is too.
    let answer = scram(&mut opened(), "SCRAM-SHA-1", "");
    assert_eq!(answer, failure("not-authorized"));
}

#[test]
fn xep0388_2_3_the_streams_from_is_who_logs_in() {
    let (mut server, _) = opened_with(|_| {}, "romeo@localhost");
    assert_eq!(
        server.hear(&plain("")),
        format!(
            "<failure {SASL2}><invalid-authzid xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>\
             <text>the stream is from somebody else</text></failure>"
        )
    );
    assert!(server.hear(&plain("")).contains("<invalid-authzid"), "it stays so at the second attempt");
    let (_, answer) = opened_with(|_| {}, "juliet@elsewhere.example");
    assert!(answer.contains("<invalid-from"), "{answer}");
    for from in ["", "JULIET@LocalHost", "juliet@localhost/balcony"] {
        let (mut server, _) = opened_with(|_| {}, from);
        assert!(server.hear(&plain("")).starts_with("<success"), "{from}");
    }
}

#[test]
fn xep0388_2_4_whoever_says_something_else_meanwhile_is_disconnected() {
    let stray = [
        "<message/>".to_owned(),
        "<iq type='get' id='x'/>".to_owned(),
        plain(""),
        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGEAYg==</auth>".to_owned(),
        "<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>".to_owned(),
        "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>".to_owned(),
        format!("<next {SASL2} task='UPGR-SCRAM-SHA-256'/>"),
        format!("<task-data {SASL2}/>"),
        "<resume xmlns='urn:xmpp:sm:3' previd='her-id' h='0'/>".to_owned(),
    ];
    for stray in stray {
        let mut server = opened();
        let challenge = server.hear(&authenticate("SCRAM-SHA-1", b"n,,n=juliet,r=abcdefghijklmnop", ""));
        assert!(challenge.starts_with(&format!("<challenge {SASL2}>")), "{challenge}");
        let answer = server.hear(&stray);
        assert!(answer.contains("<policy-violation") && answer.ends_with("[close]"), "{stray}: {answer}");
    }
}

#[test]
fn xep0388_2_4_what_one_profile_began_the_other_does_not_end() {
    let auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>";
    for end in [format!("<response {SASL2}>{}</response>", base64(b"\0juliet\0secret")), format!("<abort {SASL2}/>")] {
        let mut server = opened();
        assert!(server.hear(auth).contains("<challenge"));
        let answer = server.hear(&end);
        assert!(answer.contains("<policy-violation") && answer.ends_with("[close]"), "{end}: {answer}");
    }
}

#[test]
fn xep0388_5_8_there_is_one_authentication_a_stream() {
    for again in [plain(""), format!("<response {SASL2}/>"), format!("<abort {SASL2}/>")] {
        let mut server = opened();
        assert!(server.hear(&plain("")).starts_with("<success"));
        let answer = server.hear(&again);
        assert!(answer.contains("<stream:error>") && answer.ends_with("[close]"), "{again}: {answer}");
    }
}

#[test]
fn xep0388_2_6_2_after_a_failure_all_is_as_before() {
    let mut server = opened();
    for wrong in [
        authenticate("PLAIN", b"\0juliet\0wrong", "<bind xmlns='urn:xmpp:bind:0'/>"),
        authenticate("PLAIN", b"\0nobody\0secret", ""),
    ] {
        assert_eq!(server.hear(&wrong), failure("not-authorized"));
    }
    assert_eq!(server.hear(&authenticate("BLURDYBLOOP", b"x", "")), failure("invalid-mechanism"));
    assert!(server.hear(&plain("")).starts_with("<success"));
}

#[test]
fn xep0388_2_6_2_wrong_requests_fail_by_name() {
    let cases = [
        (format!("<authenticate {SASL2}/>"), "invalid-mechanism"),
        (format!("<authenticate {SASL2} mechanism='EXTERNAL'/>"), "invalid-mechanism"),
        (format!("<authenticate {SASL2} mechanism='ANONYMOUS'/>"), "invalid-mechanism"),
        // Tokens are for <fast/>.
        (authenticate("HT-SHA-256-NONE", b"juliet\0x", ""), "invalid-mechanism"),
        (authenticate("PLAIN", b"\0juliet\0secret", &format!("<fast {FAST}/>")), "invalid-mechanism"),
        (authenticate("HT-SHA-256-NONE", b"juliet\0short", &format!("<fast {FAST}/>")), "malformed-request"),
        (authenticate("PLAIN", &[b'x'; 5000], ""), "malformed-request"),
        (
            format!("<authenticate {SASL2} mechanism='PLAIN'><initial-response>*</initial-response></authenticate>"),
            "incorrect-encoding",
        ),
    ];
    for (request, condition) in cases {
        assert_eq!(opened().hear(&request), failure(condition), "{request}");
    }
    // A response that nobody asked for; an abort without anything to abort.
    let answer = opened().hear(&format!("<response {SASL2}>eA==</response>"));
    assert!(answer.contains("<malformed-request"), "{answer}");
    let mut server = opened();
    server.hear(&authenticate("SCRAM-SHA-1", b"n,,n=juliet,r=abcdefghijklmnop", ""));
    assert_eq!(server.hear(&format!("<abort {SASL2}><text>no</text></abort>")), failure("aborted"));
}

#[test]
fn rfc6120_6_4_5_attempts_are_bounded_over_both_profiles() {
    let mut server = opened();
    let wrong = authenticate("PLAIN", b"\0juliet\0wrong", "");
    let classic = format!(
        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{}</auth>",
        base64(b"\0juliet\0wrong")
    );
    for one in [&wrong, &classic, &wrong] {
        assert!(server.hear(one).ends_with("</failure>"));
    }
    let last = server.hear(&classic);
    assert!(last.contains("<policy-violation") && last.ends_with("[close]"), "{last}");
}

#[test]
fn xep0388_what_came_before_tls_counts_for_nothing() {
    let mut server = Server::with(|config| {
        config.tls = true;
        config.plaintext = true;
    });
    server.hear(&header("juliet@localhost"));
    server.hear(&authenticate("SCRAM-SHA-1", b"n,,n=juliet,r=abcdefghijklmnop", ""));
    // In the middle of an authentication there is no TLS.
    let answer = server.hear("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
    assert!(answer.ends_with("[close]"), "{answer}");
    let mut server = Server::with(|config| config.tls = true);
    server.hear(&header("romeo@localhost"));
    assert!(server.hear("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").ends_with("[tls]"));
    server.secure(bindings());
    server.hear(&header(""));
    assert!(server.hear(&plain("")).starts_with("<success"), "the name in the open was nobody's");
}

#[test]
fn xep0386_3_2_a_session_is_bound_in_the_same_round_trip() {
    let mut server = opened();
    let answer = server.hear(&plain("<bind xmlns='urn:xmpp:bind:0'><tag>AwesomeXMPP</tag></bind>"));
    let expected = success("juliet@localhost/AwesomeXMPP/made", "<bound xmlns='urn:xmpp:bind:0'/>");
    assert!(answer.starts_with(&(expected + "<stream:features>")), "{answer}");
    assert!(answer.ends_with("</stream:features>[juliet@localhost/AwesomeXMPP/made PLAIN true]"), "{answer}");
    assert!(!answer.contains("xmpp-bind"), "it is bound: {answer}");
}

#[test]
fn xep0386_3_2_features_are_enabled_at_once_and_unknown_ones_ignored() {
    let mut server = opened();
    let bind = "<bind xmlns='urn:xmpp:bind:0'><enable xmlns='urn:xmpp:carbons:2'/><enable xmlns='urn:xmpp:sm:3'/>\
                <megabind xmlns='urn:example:megabind'/></bind>";
    let answer = server.hear(&plain(bind));
    let bound = between(&answer, "<bound xmlns='urn:xmpp:bind:0'>", "</bound>");
    assert_eq!(bound, "<enabled xmlns='urn:xmpp:sm:3' id='sm-id' resume='true'/>");
    assert!(!answer.contains("<sm xmlns"), "what is enabled is not offered once more: {answer}");
}

#[test]
fn xep0386_a_session_that_is_refused_leaves_the_old_way() {
    let mut server = opened();
    server.refuse = Some(StanzaError::resource_constraint());
    let answer = server.hear(&plain("<bind xmlns='urn:xmpp:bind:0'/>"));
    assert!(answer.starts_with(&success("juliet@localhost", "")), "{answer}");
    assert!(answer.contains("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"), "{answer}");
}

#[test]
fn xep0198_8_2_a_former_session_goes_on_without_features() {
    let mut server = opened();
    let resume = "<resume xmlns='urn:xmpp:sm:3' h='5' previd='her-id'/><bind xmlns='urn:xmpp:bind:0'/>";
    let answer = server.hear(&plain(resume));
    let resumed = "<resumed xmlns='urn:xmpp:sm:3' previd='her-id' h='3'/>";
    assert_eq!(answer, success("juliet@localhost/left", resumed) + "[juliet@localhost/left PLAIN true resumed]");
}

#[test]
fn xep0198_8_2_1_where_it_is_gone_a_new_one_is_bound_at_once() {
    let cases = [
        ("h='5' previd='too-late'", "<failed xmlns='urn:xmpp:sm:3' h='3'><item-not-found"),
        ("h='5' previd='nothing'", "<failed xmlns='urn:xmpp:sm:3'><item-not-found"),
        ("previd='her-id'", "<failed xmlns='urn:xmpp:sm:3'><bad-request"),
    ];
    for (which, expected) in cases {
        let mut server = opened();
        let inside = format!("<bind xmlns='urn:xmpp:bind:0'/><resume xmlns='urn:xmpp:sm:3' {which}/>");
        let answer = server.hear(&plain(&inside));
        assert!(answer.contains(expected) && answer.contains("</failed><bound xmlns='urn:xmpp:bind:0'/>"), "{answer}");
        assert!(answer.ends_with("[juliet@localhost/made PLAIN true]"), "{answer}");
    }
}

/// A token for this mechanism.
fn token(server: &mut Server, mechanism: Mechanism) -> String {
    let request = format!("<request-token {FAST} mechanism='{}'/>", mechanism.name());
    let answer = server.hear(&plain(&request));
    between(&answer, " token='", "'").to_owned()
}

/// Another stream to the same server.
fn again(server: Server) -> Server {
    let mut next = opened();
    (next.tokens, next.now, next.race) = (server.tokens, server.now, server.race);
    next
}

fn by_token_of(client: &str, mechanism: Mechanism, secret: &str, fast: &str) -> String {
    let mut sasl = ClientSasl::with_token(mechanism, "juliet", secret, &bindings()).unwrap();
    let (name, initial) = sasl.start(Nonce::new("n").unwrap()).unwrap();
    let request = authenticate(&name, &initial.unwrap(), &format!("<fast {FAST} {fast}/>"));
    request.replace(CLIENT, client)
}

fn by_token(secret: &str, fast: &str) -> String {
    by_token_of(CLIENT, Mechanism::HtSha256Exporter, secret, fast)
}

#[test]
fn xep0484_3_3_a_token_is_given_and_3_4_logs_in_with_one_message() {
    for mechanism in Mechanism::TOKEN {
        let mut server = opened();
        let answer = server.hear(&plain(&format!("<request-token {FAST} mechanism='{}'/>", mechanism.name())));
        let secret = between(&answer, " token='", "'").to_owned();
        let expiry = "1970-01-12T14:03:20Z";
        let given = format!("<token {FAST} expiry='{expiry}' token='{secret}'/></success>");
        assert!(answer.contains(&given) && !secret.is_empty(), "{answer}");
        let mut server = again(server);
        let answer = server.hear(&by_token_of(CLIENT, mechanism, &secret, ""));
        assert!(answer.starts_with(&format!("<success {SASL2}><additional-data>")), "{mechanism}: {answer}");
        assert!(!answer.contains("<token"), "{answer}");
    }
}

#[test]
fn xep0484_3_2_no_token_without_a_client_or_for_an_unknown_mechanism() {
    let request = format!("<request-token {FAST} mechanism='HT-SHA-256-NONE'/>");
    let nameless = plain(&request).replace(&format!(" id='{CLIENT}'"), "");
    let none = [nameless, plain(&request).replace("HT-SHA-256-NONE", "HT-MD5-NONE"), plain("")];
    for request in none {
        let answer = opened().hear(&request);
        assert!(answer.starts_with("<success") && !answer.contains("<token"), "{answer}");
    }
    let (mut server, features) = opened_with(|config| config.tokens = None, "");
    assert!(!features.contains("urn:xmpp:fast:0"), "{features}");
    assert!(!server.hear(&plain(&request)).contains("<token"));
    // A wrong password gets none.
    let mut server = opened();
    server.hear(&authenticate("PLAIN", b"\0juliet\0wrong", &request));
    assert!(server.tokens.is_empty());
}

#[test]
fn abuse_a041_tokens_of_others_are_refused() {
    let mut server = opened();
    let secret = token(&mut server, Mechanism::HtSha256Exporter);
    let other_client = "00000000-0000-4000-8000-000000000000";
    let other_mechanism = by_token_of(CLIENT, Mechanism::HtSha256None, &secret, "");
    let other_user = by_token(&secret, "").replace(
        &base64(&message(&by_token(&secret, ""))),
        &base64(&[b"romeo", &message(&by_token(&secret, ""))[6..]].concat()),
    );
    let nameless = by_token(&secret, "").replace(&format!(" id='{CLIENT}'"), "");
    let requests = [
        by_token_of(other_client, Mechanism::HtSha256Exporter, &secret, ""),
        other_mechanism,
        other_user,
        nameless,
        by_token("guessed", ""),
        by_token("", ""),
    ];
    for request in requests {
        server = again(server);
        let answer = server.hear(&request);
        assert!(answer.starts_with(&format!("<failure {SASL2}>")) && !answer.contains("<success"), "{answer}");
    }
    server = again(server);
    assert!(server.hear(&by_token(&secret, "")).starts_with("<success"), "its owner still has it");
}

fn message(request: &str) -> Vec<u8> {
    let text = between(request, "<initial-response>", "</initial-response>");
    xmpp_core::sasl::decode_payload(text).unwrap().unwrap()
}

#[test]
fn abuse_a041_a_replayed_count_ends_the_token() {
    let mut server = opened();
    let secret = token(&mut server, Mechanism::HtSha256Exporter);
    for (count, expected) in [(1, "<success"), (2, "<success"), (2, "<failure"), (3, "<failure")] {
        server = again(server);
        let answer = server.hear(&by_token(&secret, &format!("count='{count}'")));
        assert!(answer.starts_with(expected), "{count}: {answer}");
    }
    assert!(server.tokens.values().all(|tokens| !tokens.has_tokens()));
}

#[test]
fn abuse_a041_of_two_at_once_with_one_count_one_is_refused() {
    let mut server = opened();
    let secret = token(&mut server, Mechanism::HtSha256Exporter);
    server.race = Some(Ok(false));
    server = again(server);
    assert_eq!(server.hear(&by_token(&secret, "count='1'")), failure("temporary-auth-failure"));
    server.race = Some(Err(()));
    assert_eq!(server.hear(&by_token(&secret, "count='1'")), failure("temporary-auth-failure"));
}

#[test]
fn abuse_a041_an_expired_token_is_told_apart() {
    let mut server = opened();
    let secret = token(&mut server, Mechanism::HtSha256Exporter);
    server.now += 1000;
    server = again(server);
    assert_eq!(server.hear(&by_token(&secret, "")), failure("credentials-expired"));
    assert_eq!(server.hear(&by_token(&secret, "")), failure("not-authorized"), "it is gone");
    assert!(server.hear(&plain("")).starts_with("<success"), "and the password is as good as before");
}

#[test]
fn xep0484_3_5_tokens_are_rotated_when_half_of_their_life_is_over() {
    let mut server = opened();
    let old = token(&mut server, Mechanism::HtSha256Exporter);
    server.now += 499;
    server = again(server);
    assert!(!server.hear(&by_token(&old, "")).contains("<token"));
    server.now += 1;
    server = again(server);
    let answer = server.hear(&by_token(&old, ""));
    let new = between(&answer, " token='", "'").to_owned();
    // The answer may have been lost.
    server = again(server);
    let answer = server.hear(&by_token(&old, ""));
    let newer = between(&answer, " token='", "'").to_owned();
    assert!(new != old && newer != new);
    server = again(server);
    assert_eq!(server.hear(&by_token(&new, "")), failure("not-authorized"), "it was never used");
    assert!(server.hear(&by_token(&newer, "")).starts_with("<success"));
    server = again(server);
    assert_eq!(server.hear(&by_token(&old, "")), failure("not-authorized"), "the newer one was used");
}

#[test]
fn xep0484_3_6_a_token_can_be_invalidated() {
    for (also, given) in [("", false), ("<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/>", true)] {
        let mut server = opened();
        let secret = token(&mut server, Mechanism::HtSha256Exporter);
        server.now += 900;
        server = again(server);
        let request =
            by_token(&secret, "invalidate='true'").replace("</authenticate>", &format!("{also}</authenticate>"));
        let answer = server.hear(&request);
        assert!(answer.starts_with("<success") && answer.contains("<token") == given, "{answer}");
        server = again(server);
        assert_eq!(server.hear(&by_token(&secret, "")), failure("not-authorized"));
    }
}

fn upgrading(hash: &str) -> String {
    plain(&format!("<upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-{hash}</upgrade>"))
}

fn next(task: &str) -> String {
    format!("<next {SASL2} task='{task}'/>")
}

#[test]
fn xep0480_3_credentials_are_derived_with_the_clients_help() {
    let mut server = opened();
    server.hashes = vec![Hash::Sha1];
    let answer = server.hear(&upgrading("SHA-256"));
    assert_eq!(answer, format!("<continue {SASL2}><tasks><task>UPGR-SCRAM-SHA-256</task></tasks></continue>"));
    let answer = server.hear(&next("UPGR-SCRAM-SHA-256"));
    assert!(
        answer.starts_with(&format!("<task-data {SASL2}><salt xmlns='urn:xmpp:scram-upgrade:0' iterations='4096'>"))
    );
    let hash = base64(&[5; 32]);
    let data = format!("<task-data {SASL2}><hash xmlns='urn:xmpp:scram-upgrade:0'>{hash}</hash></task-data>");
    assert!(server.hear(&data).starts_with(&success("juliet@localhost", "")));
    let (user, credentials) = server.stored.first().unwrap();
    assert_eq!((user, credentials.hash), (&BareJid::new("juliet@localhost").unwrap(), Hash::Sha256));
}

#[test]
fn xep0480_a_token_is_no_password_and_sets_none() {
    let mut server = opened();
    let answer = server.hear(&plain(&format!("<request-token {FAST} mechanism='HT-SHA-256-EXPR'/>")));
    let secret = between(&answer, " token='", "'").to_owned();
    server = again(server);
    server.hashes = vec![Hash::Sha1];
    let inside = "<upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-256</upgrade>";
    let answer = server.hear(&by_token(&secret, "").replace("</authenticate>", &format!("{inside}</authenticate>")));
    assert!(answer.starts_with("<success"), "{answer}");
}

#[test]
fn xep0480_2_2_what_is_there_already_is_not_asked_for() {
    let mut server = opened();
    assert!(server.hear(&upgrading("SHA-256")).starts_with("<success"));
    let (mut server, features) = opened_with(|config| config.upgrades.clear(), "");
    assert!(!features.contains("UPGR-"), "{features}");
    server.hashes = vec![Hash::Sha1];
    assert!(server.hear(&upgrading("SHA-256")).starts_with("<success"));
}

#[test]
fn xep0480_a_task_that_goes_wrong_ends_the_stream() {
    let data =
        |hash: &str| format!("<task-data {SASL2}><hash xmlns='urn:xmpp:scram-upgrade:0'>{hash}</hash></task-data>");
    let wrong: [&[String]; 6] = [
        &[next("UPGR-SCRAM-SHA-512")],
        &[next("UNREALISTIC-2FA")],
        &[format!("<abort {SASL2}/>")],
        &[next("UPGR-SCRAM-SHA-256"), data(&base64(&[5; 31]))],
        &[next("UPGR-SCRAM-SHA-256"), data("*")],
        &[next("UPGR-SCRAM-SHA-256"), format!("<task-data {SASL2}/>")],
    ];
    for steps in wrong {
        let mut server = opened();
        server.hashes = vec![Hash::Sha1];
        server.hear(&upgrading("SHA-256"));
        let mut answer = String::new();
        for step in steps {
            answer = server.hear(step);
        }
        assert!(answer.starts_with("<failure") && answer.ends_with("</stream:stream>[close]"), "{steps:?}: {answer}");
        assert!(server.stored.is_empty());
    }
    // A store that fails is nobody's fault.
    let mut server = opened_with(|_| {}, "").0;
    server.hashes = vec![Hash::Sha1];
    server.hear(&upgrading("SHA-256").replace(&base64(b"\0juliet\0secret"), &base64(b"\0romeo\0secret")));
    server.hear(&next("UPGR-SCRAM-SHA-256"));
    assert!(server.hear(&data(&base64(&[5; 32]))).starts_with(&failure("temporary-auth-failure")));
}

#[test]
fn xep0484_3_3_a_token_comes_after_the_tasks() {
    let mut server = opened();
    server.hashes = vec![Hash::Sha1];
    let request = upgrading("SHA-256")
        .replace("</authenticate>", &format!("<request-token {FAST} mechanism='HT-SHA-256-NONE'/></authenticate>"));
    let answer = server.hear(&request) + &server.hear(&next("UPGR-SCRAM-SHA-256"));
    assert!(!answer.contains("<token") && server.tokens.is_empty(), "{answer}");
}

#[test]
fn xep0478_3_1_limits_are_announced_and_may_change() {
    let (mut server, features) = opened_with(
        |config| {
            config.limits = (StreamLimits::new(Some(10_000), None), StreamLimits::new(Some(262_144), Some(300)));
        },
        "",
    );
    let limits = |inside: &str| format!("<limits xmlns='urn:xmpp:stream-limits:0'>{inside}</limits>");
    assert!(features.contains(&limits("<max-bytes>10000</max-bytes>")), "{features}");
    let answer = server.hear(&plain(""));
    let expected = limits("<max-bytes>262144</max-bytes><idle-seconds>300</idle-seconds>");
    assert!(answer.contains(&expected), "{answer}");
}

#[test]
fn xep0484_5_a_password_that_is_changed_during_a_login_gives_no_token() {
    let (mut server, _) = opened_with(|_| {}, "juliet@localhost");
    // After the generation was asked for, and before the password is checked.
    server.changing = true;
    let answer = server.hear(&plain(&format!("<request-token {FAST} mechanism='HT-SHA-256-EXPR'/>")));
    assert!(answer.contains("<success") && !answer.contains("<token"), "{answer}");
    assert!(server.tokens.is_empty(), "{:?}", server.tokens);
}

#[test]
fn xep0494_3_1_a_login_is_noted_with_the_clients_tokens() {
    let (mut server, _) = opened_with(|_| {}, "juliet@localhost");
    assert!(server.hear(&plain("")).contains("<success"));
    let noted = server.tokens.values().next().unwrap();
    let record = noted.record.as_ref().unwrap();
    assert!(!noted.has_tokens() && record.password && !record.certificate);
    assert_eq!((record.first_seen, record.software.as_deref()), (1_000_000, Some("AwesomeXMPP")));
    // A failure notes nothing.
    let (mut server, _) = opened_with(|_| {}, "juliet@localhost");
    assert!(server.hear(&authenticate("PLAIN", b"\0juliet\0wrong", "")).contains("<failure"));
    assert!(server.tokens.is_empty());
}

#[test]
fn rfc6120_6_5_1_a_disabled_account_is_told_so_and_nothing_is_stored_for_it() {
    for (user, condition) in [("banned", "account-disabled"), ("lost", "temporary-auth-failure")] {
        let (mut server, _) = opened_with(|_| {}, "");
        let token = format!("<request-token {FAST} mechanism='HT-SHA-256-EXPR'/><bind xmlns='urn:xmpp:bind:0'/>");
        let answer = server.hear(&authenticate("PLAIN", format!("\0{user}\0secret").as_bytes(), &token));
        assert!(answer.starts_with(&format!("<failure {SASL2}><{condition} ")), "{answer}");
        assert!(server.tokens.is_empty(), "{:?}", server.tokens);
        let answer = server.hear(&authenticate("PLAIN", b"\0juliet\0secret", ""));
        assert!(answer.starts_with(&format!("<success {SASL2}>")), "{answer}");
    }
}

//! Initiator and acceptor against each other over SASL2: whole logins without a socket, and how many times each end
//! waits for the other (XEP-0388, XEP-0386, XEP-0484, XEP-0480).
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod machine;

use machine::Server;
use proptest::prelude::*;
use xmpp_core::{
    jid::Jid,
    payload::DateTime,
    sasl::{ChannelBindings, ClientPolicy, Credentials, Hash, Mechanism, Nonce},
    stream::{
        AcceptorConfig, Established, FastToken, Initiator, InitiatorConfig, NegotiationError, Resumption, Sasl2Options,
        Step, StreamLimits, TlsPolicy, UserAgent,
    },
    xml::{Scanner, XmlLimits},
};

const CLIENT: &str = "d4565fa7-4d72-4749-b3d3-740edbf87770";

fn bindings() -> ChannelBindings {
    ChannelBindings { exporter: Some([7; 32]), end_point: Some(vec![9; 32]), tls_version: Some(0x0304) }
}

fn server_with(change: impl FnOnce(&mut AcceptorConfig)) -> Server {
    Server::with(|config| {
        config.tls = true;
        config.management = true;
        config.tokens = Some(1000);
        config.upgrades = vec![Hash::Sha512, Hash::Sha256];
        config.bind_features = vec!["urn:xmpp:sm:3".into(), "urn:xmpp:carbons:2".into()];
        config.limits = (StreamLimits::new(Some(10_000), None), StreamLimits::new(Some(262_144), Some(300)));
        change(config);
    })
}

fn server() -> Server {
    server_with(|_| {})
}

fn options() -> Sasl2Options {
    let mut options = Sasl2Options::default();
    options.user_agent = Some(UserAgent { id: Some(CLIENT.into()), software: Some("Balcony".into()), device: None });
    options.tag = Some("Balcony".into());
    options
}

fn config(sasl2: Sasl2Options) -> InitiatorConfig {
    InitiatorConfig {
        account: "juliet@localhost".parse::<Jid>().unwrap(),
        resource: None,
        credentials: Credentials::password("juliet", "secret"),
        policy: ClientPolicy::default(),
        tls: TlsPolicy::Direct,
        lang: None,
        nonce: Nonce::new("abcdefghijklmnop").unwrap(),
        management: true,
        resume: None,
        sasl2,
    }
}

struct Done {
    session: Box<Established>,
    /// How many times the client waited for the server after the TLS handshake.
    round_trips: usize,
    /// All that the client said.
    said: String,
}

/// A login over direct TLS. The server is heard in pieces of `size` bytes.
fn login_in(server: &mut Server, config: InitiatorConfig, size: usize) -> Result<Done, NegotiationError> {
    let mut client = Initiator::new(config);
    let mut scanner = Scanner::new(XmlLimits::authenticated());
    server.secure(bindings());
    let mut steps = client.secured(bindings());
    let (mut round_trips, mut said, mut to_client) = (0, String::new(), Vec::new());
    for _ in 0..200 {
        let mut next = Vec::new();
        let mut flight = Vec::new();
        for step in steps {
            match step {
                Step::Send(bytes) => flight.extend(bytes),
                Step::Restart => scanner.restart(),
                Step::Derive(job) => next = client.derived(job.run())?,
                Step::Upgrade(job) => next = client.upgraded(&job.run()),
                Step::Established(session) => {
                    said.push_str(std::str::from_utf8(&flight).unwrap());
                    server.hear_bytes(&flight);
                    return Ok(Done { session, round_trips, said });
                }
                _ => {}
            }
        }
        if !flight.is_empty() {
            round_trips += 1;
            said.push_str(std::str::from_utf8(&flight).unwrap());
            to_client.extend_from_slice(unmarked(&server.hear_bytes(&flight)).as_bytes());
        }
        while next.is_empty() {
            assert!(!to_client.is_empty(), "both wait for each other after {said}");
            let mut rest = &to_client[..size.min(to_client.len())];
            let taken = rest.len();
            let event = scanner.scan(&mut rest).unwrap();
            let left = rest.len();
            to_client.drain(..taken - left);
            if let Some(event) = event {
                next = client.event(event)?;
            }
        }
        steps = next;
    }
    panic!("no end")
}

fn login(server: &mut Server, config: InitiatorConfig) -> Result<Done, NegotiationError> {
    login_in(server, config, usize::MAX)
}

/// Without what is told to the driver.
fn unmarked(said: &str) -> String {
    let mut out = String::new();
    for piece in said.split('[') {
        out.push_str(piece.split_once(']').map_or(piece, |(_, behind)| behind));
    }
    out
}

/// Another stream to the same server.
fn again(old: Server) -> Server {
    let mut next = server();
    (next.tokens, next.now, next.hashes) = (old.tokens, old.now, old.hashes);
    next
}

/// Options that remember a session.
fn after(done: &Done) -> Sasl2Options {
    let mut options = options();
    options.token.clone_from(&done.session.token);
    options.offer.clone_from(&done.session.sasl2);
    options
}

#[test]
fn xep0386_a_first_login_takes_three_round_trips_and_has_everything() {
    let done = login(&mut server(), config(options())).unwrap();
    // Header and features, two for SCRAM: then the session is bound, managed, and has its token.
    assert_eq!(done.round_trips, 3, "{}", done.said);
    let session = &done.session;
    assert_eq!(
        (session.jid.as_str(), session.mechanism),
        ("juliet@localhost/Balcony/made", Some(Mechanism::ScramSha512Plus))
    );
    assert_eq!(session.enabled.as_ref().unwrap().resumption(), Some("sm-id"));
    assert!(!session.enabling && session.keys.is_some());
    assert_eq!(session.features.limits(), StreamLimits::new(Some(262_144), Some(300)));
    let token = session.token.as_ref().unwrap();
    assert_eq!(token.mechanism, Mechanism::HtSha512Exporter);
    assert_eq!(DateTime::from_unix(1_001_000, 0), Some(token.expiry));
}

#[test]
fn xep0484_with_a_token_and_a_known_server_a_login_is_one_round_trip() {
    let mut server = server();
    let mut done = login(&mut server, config(options())).unwrap();
    for _ in 0..3 {
        server = again(server);
        done = login(&mut server, config(after(&done))).unwrap();
        assert_eq!(done.round_trips, 1, "{}", done.said);
        assert_eq!(done.session.jid.as_str(), "juliet@localhost/Balcony/made");
        assert_eq!(done.session.mechanism, Some(Mechanism::HtSha512Exporter));
        assert!(done.session.enabled.is_some() && done.session.floor.is_none());
    }
    // Without knowing the server it takes the look at its features.
    server = again(server);
    let mut options = after(&done);
    options.offer = None;
    assert_eq!(login(&mut server, config(options)).unwrap().round_trips, 2);
}

#[test]
fn xep0484_4_1_a_token_that_is_refused_gives_way_to_the_password_on_the_same_stream() {
    let mut first = server();
    let done = login(&mut first, config(options())).unwrap();
    for known in [true, false] {
        let mut options = after(&done);
        options.token.as_mut().unwrap().secret.push('x');
        if !known {
            options.offer = None;
        }
        let mut server = server();
        let fallback = login(&mut server, config(options)).unwrap();
        assert_eq!(fallback.session.mechanism, Some(Mechanism::ScramSha512Plus));
        assert_eq!(fallback.said.matches("<stream:stream").count(), 1);
        assert_eq!(fallback.round_trips, if known { 3 } else { 4 }, "{}", fallback.said);
        assert!(fallback.session.token.is_some(), "a new one");
        assert_ne!(fallback.session.token, done.session.token);
    }
}

#[test]
fn xep0484_3_5_a_client_takes_the_new_token_over() {
    let mut server = server();
    let first = login(&mut server, config(options())).unwrap();
    server.now += 600;
    server = again(server);
    let second = login(&mut server, config(after(&first))).unwrap();
    assert_ne!(second.session.token, first.session.token);
    server.now += 600;
    server = again(server);
    let third = login(&mut server, config(after(&second))).unwrap();
    assert_eq!(third.session.mechanism, Some(Mechanism::HtSha512Exporter));
}

#[test]
fn xep0484_3_6_a_client_ends_its_token() {
    let mut server = server();
    let first = login(&mut server, config(options())).unwrap();
    server = again(server);
    let mut last = after(&first);
    last.invalidate = true;
    let done = login(&mut server, config(last)).unwrap();
    assert!(done.session.token.is_none() && done.said.contains("invalidate='true'"));
    assert!(server.tokens.values().all(|tokens| !tokens.has_tokens()));
}

#[test]
fn xep0484_7_a_token_is_never_sent_in_the_open_nor_below_the_floor() {
    let mut server = server();
    let done = login(&mut server, config(options())).unwrap();
    let mut plain = Initiator::new(InitiatorConfig { tls: TlsPolicy::None, ..config(after(&done)) });
    let Some(Step::Send(bytes)) = plain.start().into_iter().nth(1) else { panic!("no header") };
    let said = String::from_utf8(bytes).unwrap();
    assert!(!said.contains("authenticate") && !said.contains("juliet"), "{said}");
    // A token without binding, where the account was once bound.
    let token = FastToken { mechanism: Mechanism::HtSha256None, ..done.session.token.clone().unwrap() };
    let mut weak = config(after(&done));
    weak.sasl2.token = Some(token);
    weak.policy.floor = Some(Mechanism::ScramSha256Plus);
    let mut client = Initiator::new(weak);
    let Some(Step::Send(bytes)) = client.secured(bindings()).into_iter().nth(1) else { panic!("no header") };
    assert!(!String::from_utf8(bytes).unwrap().contains("authenticate"));
}

#[test]
fn xep0484_3_2_no_unbound_token_is_asked_for_at_a_bound_login() {
    let mut server = server();
    server.secure(bindings());
    let done = login(&mut server, config(options())).unwrap();
    assert!(
        done.said.contains("<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-512-EXPR'/>"),
        "{}",
        done.said
    );
    // A server of which somebody has removed all bound ones.
    let offer = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' version='1.0' id='1' from='localhost' \
        xmlns:stream='http://etherx.jabber.org/streams'><stream:features><authentication xmlns='urn:xmpp:sasl:2'>\
        <mechanism>SCRAM-SHA-256-PLUS</mechanism><inline><fast xmlns='urn:xmpp:fast:0'>\
        <mechanism>HT-SHA-256-NONE</mechanism></fast></inline></authentication><sasl-channel-binding \
        xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='tls-exporter'/></sasl-channel-binding></stream:features>";
    let said = first_answer(offer, options());
    assert!(said.contains("<authenticate") && !said.contains("request-token"), "{said}");
    let said = first_answer(
        &offer.replace("-256-PLUS", "-256").replace("<channel-binding type='tls-exporter'/>", ""),
        options(),
    );
    assert!(said.contains("request-token"), "{said}");
}

/// What a client under TLS says to these features.
fn first_answer(server: &str, options: Sasl2Options) -> String {
    answer_of(server, options).unwrap()
}

fn answer_of(server: &str, options: Sasl2Options) -> Result<String, NegotiationError> {
    let mut client = Initiator::new(config(options));
    let mut scanner = Scanner::new(XmlLimits::authenticated());
    client.secured(bindings());
    let (mut rest, mut said) = (server.as_bytes(), String::new());
    while let Some(event) = scanner.scan(&mut rest).unwrap() {
        for step in client.event(event)? {
            if let Step::Send(bytes) = step {
                said.push_str(std::str::from_utf8(&bytes).unwrap());
            }
        }
    }
    Ok(said)
}

#[test]
fn xep0440_4_with_sasl2_lists_that_contradict_each_other_end_the_login() {
    let offer = |mechanisms: &str, types: &str| {
        format!(
            "<stream:stream xmlns='jabber:client' version='1.0' id='1' from='localhost' \
             xmlns:stream='http://etherx.jabber.org/streams'><stream:features><authentication xmlns='urn:xmpp:sasl:2'>\
             {mechanisms}</authentication>{types}</stream:features>"
        )
    };
    let plus = "<mechanism>SCRAM-SHA-256-PLUS</mechanism><mechanism>SCRAM-SHA-256</mechanism>";
    let none = "<mechanism>SCRAM-SHA-256</mechanism>";
    let types = "<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='tls-exporter'/>\
                 </sasl-channel-binding>";
    for (mechanisms, types) in [(plus, ""), (none, types), (plus, "<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'/>")]
    {
        let error = answer_of(&offer(mechanisms, types), options()).unwrap_err();
        assert!(matches!(error, NegotiationError::NoMechanism(_)), "{error}");
    }
    assert!(answer_of(&offer(none, ""), options()).is_ok());
    assert!(answer_of(&offer(plus, types), options()).is_ok());
}

#[test]
fn xep0515_5_2_channels_of_different_versions_are_found_out() {
    let mut server = server();
    let mut client = config(options());
    client.tls = TlsPolicy::None;
    // The client sees TLS 1.2 where the server sees 1.3, and nothing else to bind to.
    let offer = ChannelBindings { exporter: None, end_point: None, tls_version: Some(0x0303) };
    let mut client = Initiator::new(client);
    let mut scanner = Scanner::new(XmlLimits::authenticated());
    server.secure(bindings());
    let mut steps = client.secured(offer);
    let error = 'login: loop {
        let mut flight = Vec::new();
        for step in steps {
            match step {
                Step::Send(bytes) => flight.extend(bytes),
                Step::Restart => scanner.restart(),
                other => panic!("{other:?}"),
            }
        }
        let said = unmarked(&server.hear_bytes(&flight));
        let mut rest = said.as_bytes();
        steps = Vec::new();
        while let Some(event) = scanner.scan(&mut rest).unwrap() {
            match client.event(event) {
                Ok(more) => steps.extend(more),
                Err(error) => break 'login error,
            }
        }
    };
    assert!(error.to_string().contains("another version of TLS"), "{error}");
}

#[test]
fn xep0480_a_client_brings_the_credentials_that_are_missing() {
    // The server offers SHA-1 alone, and would like to have more.
    let mut server = server_with(|config| {
        config.domains = vec![("localhost".into(), vec![Mechanism::ScramSha1Plus, Mechanism::ScramSha1])];
    });
    server.hashes = vec![Hash::Sha1];
    let done = login(&mut server, config(options())).unwrap();
    let hashes: Vec<_> = server.stored.iter().map(|(_, credentials)| credentials.hash).collect();
    assert_eq!(hashes, [Hash::Sha512, Hash::Sha256]);
    assert!(server.stored.iter().all(|(_, credentials)| credentials.verify_password("secret")));
    assert!(done.session.token.is_some() && done.session.enabled.is_some(), "and all the rest came with it");
    // Unbound, the salted password is not for whoever may be in between (XEP-0480 §6).
    let mut server = server_with(|config| config.domains = vec![("localhost".into(), vec![Mechanism::ScramSha1])]);
    server.hashes = vec![Hash::Sha1];
    assert!(!login(&mut server, config(options())).unwrap().said.contains("<upgrade"));
    assert!(server.stored.is_empty());
}

#[test]
fn xep0388_2_6_3_a_task_that_nobody_knows_is_an_error() {
    let header = "<stream:stream xmlns='jabber:client' version='1.0' id='1' from='localhost' \
        xmlns:stream='http://etherx.jabber.org/streams'><stream:features><authentication xmlns='urn:xmpp:sasl:2'>\
        <mechanism>PLAIN</mechanism></authentication></stream:features>";
    let task = "<continue xmlns='urn:xmpp:sasl:2'><tasks><task>UNREALISTIC-2FA</task></tasks></continue>";
    let error = answer_of(&(header.to_owned() + task), options()).unwrap_err();
    assert!(matches!(&error, NegotiationError::Task(task) if task == "UNREALISTIC-2FA") && error.is_final(), "{error}");
}

#[test]
fn xep0198_8_2_a_session_is_resumed_while_logging_in() {
    let mut server = server();
    let first = login(&mut server, config(options())).unwrap();
    let former = |id: &str| Resumption { id: id.into(), handled: 5, jid: "juliet@localhost/left".parse().unwrap() };
    server = again(server);
    let mut resuming = config(after(&first));
    resuming.resume = Some(former("her-id"));
    let done = login(&mut server, resuming).unwrap();
    assert_eq!((done.session.jid.as_str(), done.session.resumed), ("juliet@localhost/left", Some(3)));
    assert_eq!(done.round_trips, 1, "{}", done.said);
    server = again(server);
    let mut resuming = config(after(&first));
    resuming.resume = Some(former("too-late"));
    let done = login(&mut server, resuming).unwrap();
    assert_eq!((done.session.jid.as_str(), done.session.resumed), ("juliet@localhost/Balcony/made", None));
    assert_eq!(done.session.not_resumed.as_ref().and_then(|failed| failed.h), Some(3));
    assert_eq!(done.round_trips, 1, "the new one was bound in the same: {}", done.said);
}

#[test]
fn rfc6120_7_a_wanted_resource_is_bound_as_of_old() {
    let mut server = server();
    let mut wanted = config(options());
    wanted.resource = Some("balcony".into());
    let done = login(&mut server, wanted).unwrap();
    assert_eq!(done.session.jid.as_str(), "juliet@localhost/balcony");
    assert!(done.session.enabling && done.session.token.is_some());
    assert_eq!(done.round_trips, 4, "no restart");
}

#[test]
fn xep0388_without_it_all_is_as_of_old() {
    let mut old = server_with(|config| config.sasl2 = false);
    let done = login(&mut old, config(options())).unwrap();
    assert!(done.session.sasl2.is_none() && done.session.token.is_none() && !done.said.contains("authenticate"));
    let mut unwilling = options();
    unwilling.enabled = false;
    let done = login(&mut server(), config(unwilling)).unwrap();
    assert!(!done.said.contains("authenticate"));
    // A server that has changed its mind is a server that has to be listened to.
    let known = login(&mut server(), config(options())).unwrap();
    assert!(login(&mut server_with(|config| config.sasl2 = false), config(after(&known))).is_err());
}

#[test]
fn xep0388_a_success_that_proves_nothing_is_none() {
    let mut server = server();
    let done = login(&mut server, config(options())).unwrap();
    let header = "<stream:stream xmlns='jabber:client' version='1.0' id='1' from='localhost' \
        xmlns:stream='http://etherx.jabber.org/streams'><stream:features><authentication xmlns='urn:xmpp:sasl:2'>\
        <mechanism>SCRAM-SHA-256</mechanism><inline><fast xmlns='urn:xmpp:fast:0'><mechanism>HT-SHA-512-EXPR</mechanism>\
        </fast></inline></authentication></stream:features>";
    let identifier = "<authorization-identifier>juliet@localhost</authorization-identifier>";
    for data in ["", "<additional-data/>", "<additional-data>AAAA</additional-data>"] {
        for options in [options(), after(&done)] {
            let success = format!("{header}<success xmlns='urn:xmpp:sasl:2'>{data}{identifier}</success>");
            let error = answer_of(&success, options).unwrap_err();
            assert!(matches!(error, NegotiationError::Sasl(_)), "{error}");
            let next =
                format!("{header}<continue xmlns='urn:xmpp:sasl:2'>{data}<tasks><task>X</task></tasks></continue>");
            let error = answer_of(&next, after(&done)).unwrap_err();
            assert!(matches!(error, NegotiationError::Sasl(_)), "{error}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn logins_come_out_alike_in_whatever_pieces(
        size in 1_usize..400, right: bool, upgrade: bool, tag in prop::sample::select(vec!["Balcony", "<&'>", "\u{301}"]),
    ) {
        let mut one = server();
        if upgrade {
            one = server_with(|config| config.domains = vec![("localhost".into(), vec![Mechanism::ScramSha1Plus])]);
            one.hashes = vec![Hash::Sha1];
        }
        let mut client = config(options());
        client.sasl2.tag = Some(tag.to_owned());
        if !right {
            client.credentials = Credentials::password("juliet", "wrong");
        }
        let done = login_in(&mut one, client, size);
        prop_assert_eq!(done.is_ok(), right);
        if let Ok(done) = done {
            let next = login_in(&mut again(one), config(after(&done)), size).map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(next.round_trips, 1);
        }
    }
}

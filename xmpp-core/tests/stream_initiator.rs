//! The initiator alone, with servers that do what they must not (RFC 6120 §4 to §7).
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use proptest::prelude::*;
use xmpp_core::{
    jid::Jid,
    sasl::{ChannelBindings, ClientPolicy, Credentials, Mechanism, Nonce, SaslCondition, encode_payload},
    stream::{Initiator, InitiatorConfig, NegotiationError, Step, StreamCondition, TlsPolicy},
    xml::{Scanner, XmlLimits},
};

const HEADER: &str = "<?xml version='1.0'?><stream:stream from='localhost' id='s1' version='1.0' \
    xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
const SCRAM: &str = "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>\
    <mechanism>SCRAM-SHA-1</mechanism></mechanisms></stream:features>";
const BIND: &str = "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>";

/// A client, fed text.
struct Client {
    initiator: Initiator,
    scanner: Scanner,
    said: String,
    jid: Option<String>,
}

impl Client {
    fn new(tls: TlsPolicy) -> Client {
        Client::with(tls, ClientPolicy::default())
    }

    fn with(tls: TlsPolicy, policy: ClientPolicy) -> Client {
        let initiator = Initiator::new(InitiatorConfig {
            account: "juliet@localhost".parse::<Jid>().unwrap(),
            resource: None,
            credentials: Credentials::password("juliet", "secret"),
            policy,
            tls,
            lang: None,
            nonce: Nonce::new("abcdefghijklmnop").unwrap(),
            management: false,
            resume: None,
            sasl2: Default::default(),
        });
        let mut client =
            Client { initiator, scanner: Scanner::new(XmlLimits::authenticated()), said: String::new(), jid: None };
        let steps = client.initiator.start();
        client.perform(steps).unwrap();
        client
    }

    fn perform(&mut self, steps: Vec<Step>) -> Result<(), NegotiationError> {
        for step in steps {
            match step {
                Step::Send(bytes) => self.said.push_str(std::str::from_utf8(&bytes).unwrap()),
                Step::Restart => self.scanner.restart(),
                Step::Derive(job) => {
                    let steps = self.initiator.derived(job.run())?;
                    self.perform(steps)?;
                }
                Step::StartTls => self.said.push_str("[tls]"),
                Step::Established(session) => self.jid = Some(session.jid.to_string()),
                _ => {}
            }
        }
        Ok(())
    }

    /// What the client says to this.
    fn hear(&mut self, text: &str) -> Result<String, NegotiationError> {
        self.said.clear();
        let mut rest = text.as_bytes();
        while let Ok(Some(event)) = self.scanner.scan(&mut rest) {
            let steps = self.initiator.event(event)?;
            self.perform(steps)?;
        }
        Ok(self.said.clone())
    }

    fn refusal(&mut self, text: &str) -> NegotiationError {
        self.hear(text).err().unwrap_or_else(|| panic!("accepted: {text}"))
    }
}

fn protocol(error: &NegotiationError) -> &StreamCondition {
    match error {
        NegotiationError::Protocol(error) => &error.condition,
        other => panic!("{other}"),
    }
}

fn sasl(name: &str, message: &str) -> String {
    format!("<{name} xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{}</{name}>", encode_payload(Some(message.as_bytes())))
}

/// Up to where the server would prove itself.
fn proved() -> Client {
    let mut client = Client::new(TlsPolicy::None);
    client.hear(HEADER).unwrap();
    client.hear(SCRAM).unwrap();
    let answer = client.hear(&sasl("challenge", "r=abcdefghijklmnopSERVER,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4096")).unwrap();
    assert!(answer.starts_with("<response"), "{answer}");
    client
}

#[test]
fn rfc6120_4_7_1_the_account_is_not_named_in_the_open() {
    let client = Client::new(TlsPolicy::Required);
    assert!(client.said.contains(" to='localhost'") && !client.said.contains("juliet"), "{}", client.said);
    let mut client = Client::new(TlsPolicy::Direct);
    client.said.clear();
    let steps = client.initiator.secured(ChannelBindings::default());
    client.perform(steps).unwrap();
    assert!(client.said.contains(" from='juliet@localhost'"), "{}", client.said);
}

#[test]
fn rfc6120_4_7_headers_of_others_are_refused() {
    let wrong = [
        ("from='localhost'", "from='evil'", StreamCondition::InvalidFrom),
        ("from='localhost'", "from='juliet@localhost'", StreamCondition::InvalidFrom),
        ("from='localhost'", "from=''", StreamCondition::InvalidFrom),
        ("id='s1' version='1.0'", "id='s1'", StreamCondition::UnsupportedVersion),
        ("jabber:client", "jabber:server", StreamCondition::InvalidNamespace),
        ("etherx.jabber.org/streams", "example.org", StreamCondition::InvalidNamespace),
    ];
    for (from, to, condition) in wrong {
        let error = Client::new(TlsPolicy::None).refusal(&HEADER.replace(from, to));
        assert_eq!(*protocol(&error), condition, "{to}");
    }
    assert!(Client::new(TlsPolicy::None).hear(&HEADER.replace("from='localhost'", "")).is_ok());
}

#[test]
fn rfc7590_3_1_stripping_the_offer_of_tls_does_not_strip_tls() {
    let mut client = Client::new(TlsPolicy::Required);
    client.hear(HEADER).unwrap();
    let answer = client.hear(SCRAM).unwrap();
    assert_eq!(answer, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
    let error = client.refusal("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
    assert!(matches!(error, NegotiationError::TlsUnavailable) && error.is_final());
    for instead in [SCRAM, "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", "<message/>"] {
        let mut client = Client::new(TlsPolicy::Required);
        client.hear(HEADER).unwrap();
        client.hear(SCRAM).unwrap();
        assert!(matches!(client.refusal(instead), NegotiationError::Protocol(_)));
    }
}

#[test]
fn rfc5802_5_a_server_that_does_not_prove_itself_is_left() {
    for (sent, client) in [
        ("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>".to_owned(), proved()),
        (sasl("success", ""), proved()),
        (sasl("success", "v=AAAAAAAAAAAAAAAAAAAAAAAAAAA="), proved()),
        (sasl("success", "e=other-error"), proved()),
        (sasl("challenge", "v=AAAAAAAAAAAAAAAAAAAAAAAAAAA="), proved()),
    ] {
        let mut client = client;
        let error = client.refusal(&sent);
        assert!(matches!(error, NegotiationError::Sasl(_)) && error.is_final(), "{sent}: {error}");
    }
    // Success before any challenge.
    let mut client = Client::new(TlsPolicy::None);
    client.hear(HEADER).unwrap();
    client.hear(SCRAM).unwrap();
    assert!(matches!(client.refusal("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"), NegotiationError::Sasl(_)));
}

#[test]
fn abuse_a032_challenges_that_cost_or_cheat_are_refused() {
    for challenge in [
        "r=abcdefghijklmnopS,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=1000000000",
        "r=abcdefghijklmnopS,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=1",
        "r=abcdefghijklmnopS,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=-4096",
        "r=abcdefghijklmnop,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4096",
        "r=ZZcdefghijklmnopS,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4096",
        "r=abcdefghijklmnopS,s=,i=4096",
        "m=x,r=abcdefghijklmnopS,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4096",
        "",
    ] {
        let mut client = Client::new(TlsPolicy::None);
        client.hear(HEADER).unwrap();
        client.hear(SCRAM).unwrap();
        assert!(matches!(client.refusal(&sasl("challenge", challenge)), NegotiationError::Sasl(_)), "{challenge}");
    }
}

#[test]
fn abuse_a034_nobody_talks_the_client_down() {
    let plain = SCRAM.replace("SCRAM-SHA-1", "PLAIN");
    let mut client = Client::new(TlsPolicy::None);
    client.hear(HEADER).unwrap();
    let error = client.refusal(&plain);
    assert!(matches!(error, NegotiationError::NoMechanism(_)) && error.is_final(), "{error}");
    let mut policy = ClientPolicy::default();
    policy.floor = Some(Mechanism::ScramSha256);
    let mut client = Client::with(TlsPolicy::None, policy);
    client.hear(HEADER).unwrap();
    assert!(matches!(client.refusal(SCRAM), NegotiationError::NoMechanism(_)));
    let many = "<mechanism>X-1</mechanism>".repeat(5000);
    let mut client = Client::new(TlsPolicy::None);
    client.hear(HEADER).unwrap();
    let answer = client.hear(&SCRAM.replace("<mechanism>", &format!("{many}<mechanism>"))).unwrap();
    assert!(answer.contains("mechanism='SCRAM-SHA-1'"), "{answer}");
}

#[test]
fn rfc6120_6_5_failures_are_read() {
    for (condition, last) in [("not-authorized", true), ("temporary-auth-failure", false), ("x-new", true)] {
        let error =
            proved().refusal(&format!("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><{condition}/></failure>"));
        assert_eq!(error.is_final(), last, "{condition}");
        let NegotiationError::Refused(failure) = error else { panic!("{error}") };
        assert_eq!(failure.condition, SaslCondition::from_name(condition));
    }
}

#[test]
fn rfc6120_4_9_stream_errors_are_heard_in_every_state() {
    let error = "<stream:error><system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>";
    let mut clients = [Client::new(TlsPolicy::None), Client::new(TlsPolicy::None), proved()];
    clients[0].hear(HEADER).unwrap();
    clients[1].hear(HEADER).unwrap();
    clients[1].hear(SCRAM).unwrap();
    for client in &mut clients {
        let error = client.refusal(error);
        let NegotiationError::Stream(error) = &error else { panic!("{error}") };
        assert_eq!(error.condition, StreamCondition::SystemShutdown);
    }
}

/// A client that has logged in anonymously, which takes no proof.
fn bound(answer: &str) -> Result<Option<String>, NegotiationError> {
    let mut client = Client::new(TlsPolicy::None);
    client.initiator = Initiator::new(InitiatorConfig {
        account: "localhost".parse::<Jid>().unwrap(),
        resource: None,
        credentials: Credentials::Anonymous { trace: None },
        policy: ClientPolicy::default(),
        tls: TlsPolicy::None,
        lang: None,
        nonce: Nonce::new("abcdefghijklmnop").unwrap(),
        management: false,
        resume: None,
        sasl2: Default::default(),
    });
    let steps = client.initiator.start();
    client.perform(steps)?;
    client.hear(HEADER)?;
    client.hear(&SCRAM.replace("SCRAM-SHA-1", "ANONYMOUS"))?;
    client.hear("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")?;
    client.hear(HEADER)?;
    let request = client.hear(BIND)?;
    let id = request.split_once("id='").unwrap().1.split_once('\'').unwrap().0;
    client.hear(&answer.replace("ID", id))?;
    Ok(client.jid.clone())
}

#[test]
fn rfc6120_7_6_only_a_full_address_in_the_right_answer_binds() {
    let result = |jid: &str| {
        format!("<iq type='result' id='ID'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>{jid}</bind></iq>")
    };
    assert_eq!(bound(&result("<jid>a@localhost/b</jid>")).unwrap().as_deref(), Some("a@localhost/b"));
    for wrong in ["", "<jid/>", "<jid>a@localhost</jid>", "<jid>@/</jid>"] {
        assert!(matches!(bound(&result(wrong)), Err(NegotiationError::Bind(_))), "{wrong}");
    }
    let refused = "<iq type='error' id='ID'><error type='cancel'>\
        <not-allowed xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>";
    assert!(matches!(bound(refused), Err(error) if error.is_final()));
    for other in ["<iq type='result' id='forged'/>", "<message/>", "<iq type='result'/>"] {
        assert!(matches!(bound(other), Err(NegotiationError::Protocol(_))), "{other}");
    }
}

fn piece() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        HEADER.to_owned(),
        SCRAM.to_owned(),
        BIND.to_owned(),
        sasl("challenge", "r=abcdefghijklmnopS,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4096"),
        sasl("challenge", "\u{0}"),
        sasl("success", "v=AAAA"),
        "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>=</success>".to_owned(),
        "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>".to_owned(),
        "<iq type='result' id='1'/>".to_owned(),
        "<stream:features/>".to_owned(),
        "</stream:stream>".to_owned(),
        "<x xmlns='y'/>".to_owned(),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a server says: no panic, and no session without a proof.
    #[test]
    fn random_servers_never_log_anybody_in(pieces in prop::collection::vec(piece(), 0..16), required: bool) {
        let mut client = Client::new(if required { TlsPolicy::Required } else { TlsPolicy::None });
        for piece in pieces {
            let _ = client.hear(&piece);
            if client.said.contains("[tls]") {
                let steps = client.initiator.secured(ChannelBindings::default());
                let _ = client.perform(steps);
            }
        }
        prop_assert!(client.jid.is_none());
    }
}

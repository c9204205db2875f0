//! Initiator and acceptor against each other: whole logins without a socket, by every mechanism, in pieces of any size.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod machine;

use machine::Server;
use proptest::prelude::*;
use xmpp_core::{
    jid::Jid,
    sasl::{ChannelBindings, ClientPolicy, Credentials, Hash, Mechanism, Nonce},
    stream::{Established, Initiator, InitiatorConfig, NegotiationError, Step, TlsPolicy},
    xml::{Scanner, XmlLimits},
};

/// What both ends of a connection under TLS would find.
fn bindings() -> ChannelBindings {
    ChannelBindings { exporter: Some([7; 32]), end_point: Some(vec![9; 32]), tls_version: None }
}

struct Login {
    mechanism: Mechanism,
    tls: TlsPolicy,
    password: &'static str,
    resource: Option<&'static str>,
    /// What the client finds to bind to.
    bindings: ChannelBindings,
}

/// Runs a login; the sizes of the pieces are taken from `sizes`, over and over.
fn run(login: &Login, sizes: &[usize]) -> Result<Box<Established>, NegotiationError> {
    let mut server = Server::with(|config| {
        config.tls = login.tls == TlsPolicy::Required;
        config.plaintext = login.tls == TlsPolicy::None;
        config.domains = vec![("localhost".into(), vec![login.mechanism])];
    });
    let anonymous = login.mechanism == Mechanism::Anonymous;
    let account = if anonymous { "localhost" } else { "juliet@localhost" };
    let mut client = Initiator::new(InitiatorConfig {
        account: account.parse::<Jid>().unwrap(),
        resource: login.resource.map(str::to_owned),
        credentials: match anonymous {
            true => Credentials::Anonymous { trace: None },
            false => Credentials::password("juliet", login.password),
        },
        policy: ClientPolicy::default(),
        tls: login.tls,
        lang: Some("en".into()),
        nonce: Nonce::new("abcdefghijklmnop").unwrap(),
        management: false,
        resume: None,
        sasl2: Default::default(),
    });
    let mut scanner = Scanner::new(XmlLimits::authenticated());
    let mut steps = client.start();
    if login.tls == TlsPolicy::Direct {
        server.secure(bindings());
        steps = client.secured(login.bindings.clone());
    }
    let mut sizes = sizes.iter().cycle();
    let mut to_client = Vec::new();
    for _ in 0..100 {
        let mut next = Vec::new();
        for step in steps {
            match step {
                Step::Send(bytes) => {
                    let mut rest = bytes.as_slice();
                    while !rest.is_empty() {
                        let (piece, behind) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
                        rest = behind;
                        to_client.extend_from_slice(unmarked(&server.hear_bytes(piece)).as_bytes());
                    }
                }
                Step::Restart => scanner.restart(),
                Step::StartTls => {
                    assert!(to_client.is_empty(), "nothing may lie behind <proceed/>");
                    server.secure(bindings());
                    next = client.secured(login.bindings.clone());
                }
                Step::Derive(job) => next = client.derived(job.run())?,
                Step::Established(session) => return Ok(session),
                _ => {}
            }
        }
        while next.is_empty() {
            assert!(!to_client.is_empty(), "both wait for each other");
            let mut rest = &to_client[..(*sizes.next().unwrap()).min(to_client.len())];
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

/// Without what is told to the driver.
fn unmarked(said: &str) -> String {
    let mut out = String::new();
    for piece in said.split('[') {
        out.push_str(piece.split_once(']').map_or(piece, |(_, behind)| behind));
    }
    out
}

fn mechanisms() -> Vec<Mechanism> {
    let scram = Hash::ALL.iter().flat_map(|&hash| [Mechanism::scram(hash, true), Mechanism::scram(hash, false)]);
    scram.chain([Mechanism::Plain, Mechanism::Anonymous]).collect()
}

fn login(mechanism: Mechanism, tls: TlsPolicy) -> Login {
    Login { mechanism, tls, password: "secret", resource: None, bindings: bindings() }
}

fn needs_tls(mechanism: Mechanism) -> bool {
    mechanism == Mechanism::Plain || mechanism.name().ends_with("-PLUS")
}

#[test]
fn rfc6120_6_every_mechanism_logs_in_over_each_kind_of_stream() {
    for mechanism in mechanisms() {
        for tls in [TlsPolicy::Required, TlsPolicy::Direct, TlsPolicy::None] {
            if tls == TlsPolicy::None && needs_tls(mechanism) {
                continue;
            }
            let session = run(&login(mechanism, tls), &[usize::MAX]);
            let session = session.unwrap_or_else(|error| panic!("{} {tls:?}: {error}", mechanism.name()));
            assert_eq!(session.mechanism, Some(mechanism));
            assert_eq!(session.jid.resource(), "made");
        }
    }
}

#[test]
fn rfc5802_6_channels_that_differ_are_found_out() {
    for mechanism in mechanisms().into_iter().filter(|mechanism| mechanism.name().ends_with("-PLUS")) {
        let attempt = Login {
            bindings: ChannelBindings { exporter: Some([8; 32]), end_point: Some(vec![8; 32]), tls_version: None },
            ..login(mechanism, TlsPolicy::Direct)
        };
        let error = run(&attempt, &[usize::MAX]).err().unwrap();
        assert!(matches!(error, NegotiationError::Refused(_)), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn logins_come_out_alike_in_whatever_pieces(
        mechanism in prop::sample::select(mechanisms()),
        tls in prop::sample::select(vec![TlsPolicy::Required, TlsPolicy::Direct, TlsPolicy::None]),
        right: bool,
        resource in prop::sample::select(vec![None, Some("balcony"), Some("Ba\u{301}l <&>'\""), Some("a\u{7}b")]),
        sizes in prop::collection::vec(1_usize..60, 1..12),
    ) {
        let anonymous = mechanism == Mechanism::Anonymous;
        let password = if right { "secret" } else { "wrong" };
        let result = run(&Login { password, resource, ..login(mechanism, tls) }, &sizes);
        if tls == TlsPolicy::None && needs_tls(mechanism) {
            prop_assert!(result.is_err());
        } else if !right && !anonymous {
            prop_assert!(matches!(result, Err(NegotiationError::Refused(_))), "{:?}", result);
        } else if resource == Some("a\u{7}b") {
            // What is no XML cannot be sent; what arrives is another resource or none.
            prop_assert!(!matches!(&result, Err(NegotiationError::Refused(_))), "{:?}", result);
        } else {
            let session = result.map_err(|error| TestCaseError::fail(error.to_string()))?;
            let expected = resource.map_or("made".to_owned(), |text| text.replace("a\u{301}", "\u{e1}"));
            prop_assert_eq!(session.jid.resource(), expected);
        }
    }
}

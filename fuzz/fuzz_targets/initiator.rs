//! A client's negotiation against any server: it never panics, and is never logged in by who knows no password.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xmpp_core::{
    jid::Jid,
    payload::DateTime,
    sasl::{ChannelBindings, ClientPolicy, Credentials, Mechanism, Nonce},
    stream::{FastToken, Initiator, InitiatorConfig, Resumption, Sasl2Options, Step, TlsPolicy, UserAgent},
    xml::{Scanner, XmlLimits},
};

fuzz_target!(|data: &[u8]| {
    let Some((&how, input)) = data.split_first() else { return };
    let anonymous = how & 4 != 0;
    let account = if anonymous { "localhost" } else { "juliet@localhost" };
    let mut policy = ClientPolicy::default();
    // Fuzzing is not for hashing.
    policy.iterations = 4096..=4100;
    policy.plain = false;
    let mut sasl2 = Sasl2Options::default();
    let id = "d4565fa7-4d72-4749-b3d3-740edbf87770".to_owned();
    sasl2.user_agent = Some(UserAgent { id: Some(id), software: None, device: None });
    sasl2.token = (how & 16 != 0).then(|| FastToken {
        secret: "secret".into(),
        mechanism: Mechanism::HtSha256None,
        expiry: DateTime::from_unix(4_000_000_000, 0).expect("it is one"),
    });
    let mut initiator = Initiator::new(InitiatorConfig {
        account: account.parse::<Jid>().expect("it is one"),
        resource: (how & 8 != 0).then(|| "balcony".into()),
        credentials: match anonymous {
            true => Credentials::Anonymous { trace: None },
            false => Credentials::password("juliet", "secret"),
        },
        policy,
        tls: if how & 1 != 0 { TlsPolicy::Required } else { TlsPolicy::None },
        lang: None,
        nonce: Nonce::new("abcdefghijklmnop").expect("it is one"),
        management: false,
        resume: (how & 32 != 0).then(|| Resumption {
            id: "former".into(),
            handled: 3,
            jid: "juliet@localhost/left".parse().expect("it is one"),
        }),
        sasl2,
    });
    let mut scanner = Scanner::new(XmlLimits::authenticated());
    let mut steps = initiator.start();
    let (mut secured, mut id) = (false, String::new());
    // What the client makes up, a server would know.
    let text = String::from_utf8_lossy(input).into_owned();
    let mut text = text.as_str();
    loop {
        while !steps.is_empty() {
            for step in std::mem::take(&mut steps) {
                match step {
                    Step::Send(bytes) => {
                        let sent = String::from_utf8(bytes).expect("what is sent is UTF-8");
                        assert!(secured || how & 1 == 0 || !sent.contains("<auth"), "credentials in the open");
                        if let Some((_, rest)) = sent.split_once("id='") {
                            id = rest.split('\'').next().unwrap_or_default().to_owned();
                        }
                    }
                    Step::StartTls => {
                        secured = true;
                        steps = initiator.secured(ChannelBindings::default());
                    }
                    Step::Upgrade(job) => steps = initiator.upgraded(&job.run()),
                    Step::Restart => scanner.restart(),
                    Step::Derive(job) => match initiator.derived(job.run()) {
                        Ok(more) => steps = more,
                        Err(_) => return,
                    },
                    Step::Established(session) => {
                        assert!(anonymous, "{session:?}");
                        return;
                    }
                    _ => {}
                }
            }
        }
        // One element at a time, for the id may have changed.
        if text.is_empty() {
            return;
        }
        let end = text.find('>').map_or(text.len(), |at| at + 1);
        let piece = text[..end].replace("'ID'", &format!("'{id}'"));
        text = &text[end..];
        let mut rest = piece.as_bytes();
        loop {
            match scanner.scan(&mut rest) {
                Ok(Some(event)) => match initiator.event(event) {
                    Ok(more) => steps.extend(more),
                    Err(_) => return,
                },
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
});

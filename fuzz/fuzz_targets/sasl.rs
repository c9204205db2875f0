//! SASL messages at both ends: no panic, and nobody passes who knows no password.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use xmpp_core::sasl::{
    ChannelBindings, ClientPolicy, ClientSasl, ClientStep, Credentials, Hash, Mechanism, Nonce, Offer,
    ScramCredentials, ServerPolicy, ServerSasl, ServerStep, decode_payload,
};

static STORED: LazyLock<Vec<ScramCredentials>> = LazyLock::new(|| {
    Hash::ALL.iter().map(|&hash| ScramCredentials::derive(hash, "secret", b"0123456789abcdef", 4096)).collect()
});

fuzz_target!(|data: &[u8]| {
    let Some((&how, rest)) = data.split_first() else { return };
    if let Ok(text) = std::str::from_utf8(rest) {
        let _ = decode_payload(text);
    }
    // Messages in a row, apart by a byte that no SCRAM message holds; PLAIN gets its NULs from another.
    let messages: Vec<Vec<u8>> =
        rest.split(|byte| *byte == 0).map(|one| one.iter().map(|&b| if b == 1 { 0 } else { b }).collect()).collect();
    server(how, &messages);
    client(how, &messages);
});

fn bindings(how: u8) -> ChannelBindings {
    let mut bindings = ChannelBindings::default();
    bindings.exporter = (how & 0x80 != 0).then_some([7; 32]);
    bindings
}

fn server(how: u8, messages: &[Vec<u8>]) {
    let mut policy = ServerPolicy::new("localhost", *b"0123456789abcdef");
    policy.secured = how & 0x80 != 0 || how & 0x40 == 0;
    policy.bindings = bindings(how);
    let mut sasl = ServerSasl::new(policy);
    let mechanism = Mechanism::ALL[usize::from(how & 0x0f) % Mechanism::ALL.len()];
    let nonce = || Nonce::new("token").expect("it is one");
    let mut messages = messages.iter();
    let mut step = sasl.auth(mechanism.name(), messages.next().map(Vec::as_slice), nonce());
    loop {
        step = match step {
            ServerStep::Challenge(_) | ServerStep::Failure(_) => match messages.next() {
                Some(message) if sasl.attempts_left() > 0 => match how & 0x20 {
                    0 => sasl.response(message),
                    _ => sasl.auth(mechanism.name(), Some(message), nonce()),
                },
                _ => return,
            },
            ServerStep::NeedCredentials { username, hash, .. } => {
                let stored = STORED.iter().find(|one| one.hash == hash).cloned();
                sasl.credentials(stored.filter(|_| username == "juliet"))
            }
            ServerStep::CheckPassword { username, password } => {
                sasl.password(username == "juliet" && *password == "secret")
            }
            ServerStep::Success(authenticated) => {
                assert_eq!(authenticated.mechanism, mechanism);
                assert!(matches!(mechanism, Mechanism::Plain | Mechanism::Anonymous), "SCRAM without a proof");
                return;
            }
            _ => return,
        };
    }
}

fn client(how: u8, messages: &[Vec<u8>]) {
    let mut policy = ClientPolicy::default();
    policy.iterations = 4096..=4100;
    policy.plain = false;
    let mechanisms = Mechanism::ALL.iter().map(|one| one.name().to_owned());
    let skipped = usize::from(how & 0x0f);
    let offer = Offer { mechanisms: mechanisms.skip(skipped).collect(), bindings: None, sasl2: false };
    let credentials = Credentials::password("juliet", "secret");
    let Ok(mut sasl) = ClientSasl::choose(&offer, credentials, &bindings(how), how & 0x80 != 0, &policy) else {
        return;
    };
    let Ok(_) = sasl.start(Nonce::new("abcdefghijklmnop").expect("it is one")) else { return };
    for message in messages {
        match sasl.challenge(message) {
            Ok(ClientStep::Send(_)) => {}
            Ok(ClientStep::Derive(job)) => {
                let _ = sasl.derived(job.run());
            }
            Err(_) => return,
        }
        assert!(sasl.success(Some(message)).is_err(), "a server that proves nothing");
    }
}

//! Our client against our server.

use proptest::prelude::*;

use super::*;

/// Few iterations keep the many runs short; the bounds have tests of their own.
const FEW: u32 = 8;

fn lenient() -> ClientPolicy {
    ClientPolicy { iterations: 1..=ITERATIONS, ..ClientPolicy::default() }
}

fn server(mechanism: Mechanism, known: ChannelBindings) -> ServerSasl {
    let mut policy = policy();
    policy.mechanisms = vec![mechanism];
    policy.bindings = known;
    policy.iterations = FEW;
    policy.external = vec!["juliet@example.org".to_owned()];
    ServerSasl::new(policy)
}

fn pair(mechanism: Mechanism, known: ChannelBindings, credentials: Credentials) -> (ClientSasl, ServerSasl) {
    let server = server(mechanism, known.clone());
    let client = ClientSasl::choose(&offer(&server), credentials, &known, true, &lenient()).unwrap();
    assert_eq!(client.mechanism_name(), mechanism.name());
    (client, server)
}

fn binding(which: BindingType) -> ChannelBindings {
    match which {
        BindingType::TlsExporter => ChannelBindings { end_point: None, ..bindings() },
        BindingType::TlsServerEndPoint => ChannelBindings { exporter: None, ..bindings() },
    }
}

/// Everything that takes a password, with the bindings to try it with.
fn with_password() -> Vec<(Mechanism, ChannelBindings)> {
    let mut all = vec![(Mechanism::Plain, ChannelBindings::default())];
    for hash in Hash::ALL {
        all.push((Mechanism::scram(hash, false), ChannelBindings::default()));
        all.extend(BindingType::ALL.map(|which| (Mechanism::scram(hash, true), binding(which))));
    }
    all
}

#[test]
fn rfc6120_6_3_3_the_strongest_shared_mechanism_is_chosen() {
    let server = ServerSasl::new(policy());
    let offered = offer(&server);
    assert_eq!(offered.mechanisms.last().unwrap(), "PLAIN");
    let choose = |known: &ChannelBindings, mechanisms: &[&str]| {
        let mut offered = offered.clone();
        if !mechanisms.is_empty() {
            offered.mechanisms = mechanisms.iter().map(|&name| name.to_owned()).collect();
        }
        ClientSasl::choose(&offered, Credentials::password("juliet", "x"), known, true, &ClientPolicy::default())
            .map(|client| client.mechanism_name().to_owned())
    };
    assert_eq!(choose(&bindings(), &[]).unwrap(), "SCRAM-SHA-512-PLUS");
    assert_eq!(choose(&ChannelBindings::default(), &[]).unwrap(), "SCRAM-SHA-512");
    assert_eq!(choose(&bindings(), &["SCRAM-SHA-512", "PLAIN", "SCRAM-SHA-1-PLUS"]).unwrap(), "SCRAM-SHA-1-PLUS");
    // PLAIN is not used while any SCRAM is on offer, even one that doesn't work for us.
    assert!(matches!(
        choose(&ChannelBindings::default(), &["PLAIN", "SCRAM-SHA-1-PLUS"]),
        Err(ChooseError::NoCommonMechanism { .. })
    ));
    assert_eq!(choose(&ChannelBindings::default(), &["X-OAUTH2", "PLAIN"]).unwrap(), "PLAIN");
}

#[test]
fn xep0440_3_plus_is_used_only_with_a_binding_type_that_the_server_names() {
    let server = ServerSasl::new(policy());
    let choose = |named: Option<&[&str]>| {
        let mut offered = offer(&server);
        offered.bindings = named.map(|names| names.iter().map(|&name| name.to_owned()).collect());
        let credentials = Credentials::password("juliet", "x");
        let mut client =
            ClientSasl::choose(&offered, credentials, &bindings(), true, &ClientPolicy::default()).unwrap();
        let (mechanism, initial) = client.start(Nonce::new("nonce").unwrap()).unwrap();
        (mechanism, String::from_utf8(initial.unwrap()).unwrap())
    };
    let (mechanism, first) = choose(Some(&["tls-server-end-point"]));
    assert_eq!(mechanism, "SCRAM-SHA-512-PLUS");
    assert!(first.starts_with("p=tls-server-end-point,,"), "{first}");
    // A server that names none knows tls-unique at best; `y` would accuse it of a PLUS it did offer.
    let (mechanism, first) = choose(None);
    assert_eq!(mechanism, "SCRAM-SHA-512");
    assert!(first.starts_with("n,,"), "{first}");
}

#[test]
fn mechanisms_have_unique_names_and_a_total_order() {
    for pair in Mechanism::ALL.windows(2) {
        assert!(pair[0] > pair[1], "{} is listed before {}", pair[0], pair[1]);
    }
    for mechanism in Mechanism::ALL {
        assert_eq!(Mechanism::from_name(mechanism.name()), Some(mechanism));
        assert_eq!(mechanism.is_plus(), mechanism.name().ends_with("-PLUS"));
        assert_eq!(mechanism.hash().is_some(), mechanism.name().starts_with("SCRAM-"));
    }
    assert_eq!(Mechanism::from_name("scram-sha-1"), None);
}

#[test]
fn rfc5802_5_cached_keys_save_the_derivation() {
    let account = Account::new("juliet", "r0m30", FEW);
    let keys = account.keys(Hash::Sha256);
    let login = |credentials, account: &Account| {
        let (mut client, mut server) = pair(Mechanism::ScramSha256, ChannelBindings::default(), credentials);
        let (name, initial) = client.start(nonce("abc")).unwrap();
        server.auth(&name, initial.as_deref(), nonce("def"));
        let first = challenge(server.credentials(account.find("juliet", Hash::Sha256)));
        client.challenge(&first)
    };
    let only_keys = || Credentials::Keys { username: "juliet".to_owned(), keys: keys.clone() };
    assert!(matches!(login(only_keys(), &account), Ok(ClientStep::Send(_))));
    // The password has been changed, and with it the salt or the iterations.
    let changed = Account::new("juliet", "r0m30", FEW + 1);
    assert!(matches!(login(only_keys(), &changed), Err(SaslError::StaleKeys)));
    let Credentials::Password { username, password, .. } = Credentials::password("juliet", "r0m30") else {
        unreachable!()
    };
    let both = Credentials::Password { username, password, cached: Some(keys.clone()) };
    assert!(matches!(login(both, &changed), Ok(ClientStep::Derive(job)) if job.iterations() == FEW + 1));
}

#[test]
fn rfc6120_6_3_10_without_initial_response_and_additional_data() {
    let account = Account::new("juliet", "r0m30", FEW);
    let (mut client, mut server) =
        pair(Mechanism::ScramSha1, ChannelBindings::default(), Credentials::password("juliet", "r0m30"));
    let (name, initial) = client.start(nonce("abc")).unwrap();
    assert_eq!(challenge(server.auth(&name, None, nonce("def"))), b"");
    assert!(matches!(server.response(&initial.unwrap()), ServerStep::NeedCredentials { .. }));
    let first = challenge(server.credentials(account.find("juliet", Hash::Sha1)));
    let Ok(ClientStep::Derive(job)) = client.challenge(&first) else { panic!("nothing to derive") };
    let last = client.derived(job.run()).unwrap();
    let ServerStep::Success(authenticated) = server.response(&last) else { panic!("no success") };
    // A server without additional data sends its signature as one more challenge.
    let data = authenticated.data.unwrap();
    assert!(matches!(client.challenge(&data), Ok(ClientStep::Send(empty)) if empty.is_empty()));
    client.success(None).unwrap();
    assert!(matches!(client.success(None), Err(SaslError::OutOfOrder)));
}

#[test]
fn rfc4422_external_and_rfc4505_anonymous_log_in() {
    let account = Account::new("nobody", "x", FEW);
    let (mut client, mut server) = pair(Mechanism::External, bindings(), Credentials::External);
    let (authenticated, _) = converse(&mut client, &mut server, &account, |_, _| {}).unwrap();
    assert_eq!(authenticated.identity, Identity::External("juliet@example.org".to_owned()));
    for trace in [None, Some("sirhc".to_owned())] {
        let credentials = Credentials::Anonymous { trace: trace.clone() };
        let (mut client, mut server) = pair(Mechanism::Anonymous, bindings(), credentials);
        let (authenticated, _) = converse(&mut client, &mut server, &account, |_, _| {}).unwrap();
        assert_eq!(authenticated.identity, Identity::Anonymous { trace });
    }
}

#[test]
fn a_custom_mechanism_takes_part() {
    struct Token;
    impl ClientMechanism for Token {
        fn name(&self) -> &str {
            "X-TOKEN"
        }
        fn initial(&mut self) -> Result<Option<Vec<u8>>, SaslError> {
            Ok(Some(b"token".to_vec()))
        }
        fn challenge(&mut self, payload: &[u8]) -> Result<Vec<u8>, SaslError> {
            Ok(payload.to_ascii_uppercase())
        }
    }
    let offered = Offer { mechanisms: vec!["X-TOKEN".to_owned()], bindings: None, sasl2: false };
    let choose = |offered: &Offer| {
        let credentials = Credentials::Custom(Box::new(Token));
        ClientSasl::choose(offered, credentials, &bindings(), true, &ClientPolicy::default())
    };
    assert!(matches!(choose(&Offer::default()), Err(ChooseError::NoCommonMechanism { .. })));
    let mut client = choose(&offered).unwrap();
    assert_eq!(client.start(nonce("abc")).unwrap(), ("X-TOKEN".to_owned(), Some(b"token".to_vec())));
    assert!(matches!(client.challenge(b"hi"), Ok(ClientStep::Send(response)) if response == b"HI"));
    assert_eq!(client.success(None).unwrap().mechanism, None);
}

#[test]
fn one_flipped_bit_anywhere_fails() {
    let account = Account::new("juliet", "r0m30myr0m30", FEW);
    for (mechanism, known) in with_password() {
        // Keys in the cache: the flips are many, and PBKDF2 is not what is tried.
        let attempt = |target: Option<(usize, usize, u8)>| {
            let credentials = Credentials::Password {
                username: "juliet".to_owned(),
                password: "r0m30myr0m30".to_owned().into(),
                cached: mechanism.hash().map(|hash| account.keys(hash)),
            };
            let (mut client, mut server) = pair(mechanism, known.clone(), credentials);
            let mut lengths = Vec::new();
            let result = converse(&mut client, &mut server, &account, |number, payload| {
                lengths.push(payload.len());
                if let Some((which, at, mask)) = target
                    && which == number
                {
                    payload[at] ^= mask;
                }
            });
            (result, lengths)
        };
        let (result, lengths) = attempt(None);
        result.unwrap();
        assert_eq!(lengths.len(), if mechanism == Mechanism::Plain { 1 } else { 4 });
        for (which, length) in lengths.into_iter().enumerate() {
            for at in 0..length {
                let mask = 1 << ((which + at) % 8);
                let (result, _) = attempt(Some((which, at, mask)));
                assert!(result.is_err(), "{mechanism}: bit {mask:#x} of byte {at} of payload {which} is not checked");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_name_and_password_log_in(
        username in "[a-zA-Z0-9=,äß🙌._-]{1,20}",
        password in "[^\\x00]{1,24}",
        which in 0..10_usize,
        wrong in "[a-z]{3,8}",
    ) {
        let (mechanism, known) = with_password()[which].clone();
        let prepared = prepare_username(&username).unwrap().into_owned();
        let account = Account::new(&prepared, &password, FEW);
        let (mut client, mut server) = pair(mechanism, known.clone(), Credentials::password(&*username, &*password));
        let (authenticated, success) = converse(&mut client, &mut server, &account, |_, _| {}).unwrap();
        prop_assert_eq!(authenticated.identity, Identity::User { username: prepared.clone(), authzid: None });
        prop_assert_eq!(success.mechanism, Some(mechanism));
        prop_assert_eq!(success.keys, mechanism.hash().map(|hash| account.keys(hash)));

        let wrong = format!("{wrong}{password}");
        let (mut client, mut server) = pair(mechanism, known, Credentials::password(&*username, wrong));
        let broken = converse(&mut client, &mut server, &account, |_, _| {}).unwrap_err();
        prop_assert!(matches!(broken, Broken::Server(failure) if failure == SaslCondition::NotAuthorized.into()));
    }

    #[test]
    fn no_bytes_panic_either_side(first in any::<Vec<u8>>(), second in any::<Vec<u8>>(), text in "[ynp=,amrsicv:0-9=]{0,40}") {
        let account = Account::new("juliet", "x", 1);
        for (mechanism, known) in with_password() {
            for message in [&first, &second, &text.clone().into_bytes()] {
                let mut server = server(mechanism, known.clone());
                let step = server.auth(mechanism.name(), Some(message), nonce("abc"));
                prop_assert!(!matches!(step, ServerStep::Success(_)));
                server.credentials(account.find("juliet", mechanism.hash().unwrap_or(Hash::Sha1)));
                prop_assert!(!matches!(server.response(message), ServerStep::Success(_)));
                let (mut client, _) = pair(mechanism, known.clone(), Credentials::password("juliet", "x"));
                client.start(nonce("abc")).unwrap();
                prop_assert!(client.challenge(message).is_err());
                prop_assert!(client.success(Some(message)).is_err());
            }
        }
    }
}

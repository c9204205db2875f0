//! What an attacker sends, and what somebody in the middle changes.

use super::*;

const FIRST: &[u8] = b"n,,n=juliet,r=abc";

fn plain_server() -> ServerSasl {
    let mut policy = policy();
    policy.bindings = ChannelBindings::default();
    ServerSasl::new(policy)
}

fn auth(mechanism: &str, payload: &[u8]) -> SaslCondition {
    condition(plain_server().auth(mechanism, Some(payload), nonce("def")))
}

#[test]
fn abuse_a030_unknown_or_unoffered_mechanism() {
    for name in ["", "DIGEST-MD5", "scram-sha-1", "SCRAM-SHA-1 ", "ANONYMOUS", "EXTERNAL", "SCRAM-SHA-1-PLUS"] {
        assert_eq!(auth(name, FIRST), SaslCondition::InvalidMechanism, "{name:?}");
    }
    // Without TLS there is no PLAIN, no PLUS and no EXTERNAL, whatever the rest of the policy says.
    let mut policy = policy();
    policy.secured = false;
    policy.external = vec!["juliet@example.org".to_owned()];
    let mut server = ServerSasl::new(policy);
    assert_eq!(
        server.offered(),
        [Mechanism::ScramSha512, Mechanism::ScramSha256, Mechanism::ScramSha1],
        "only SCRAM without TLS"
    );
    assert!(server.bindings().is_empty());
    assert_eq!(condition(server.auth("PLAIN", Some(b"\0a\0b"), nonce("a"))), SaslCondition::EncryptionRequired);
    assert_eq!(condition(server.auth("EXTERNAL", Some(b""), nonce("a"))), SaslCondition::InvalidMechanism);
}

#[test]
fn abuse_a031_plain_of_the_wrong_form() {
    let huge = [b"\0juliet\0".as_slice(), &vec![b'x'; 1 << 20]].concat();
    let bad: [&[u8]; 11] = [
        b"",
        b"\0",
        b"\0\0",
        b"juliet",
        b"juliet\0r0m30",
        b"\0\0r0m30",
        b"\0juliet\0",
        b"\0juliet\0r0m30\0",
        b"\0juliet\0\xff\xfe",
        b"\0jul\x07iet\0r0m30",
        &huge,
    ];
    for payload in bad {
        assert_eq!(
            auth("PLAIN", payload),
            SaslCondition::MalformedRequest,
            "{:?}",
            payload.get(..20).unwrap_or(payload)
        );
    }
}

#[test]
fn abuse_a031_plain_as_somebody_else() {
    let login = |authzid: &str, proxies: bool| {
        let mut policy = policy();
        policy.proxies = proxies;
        let mut server = ServerSasl::new(policy);
        let step = server.auth("PLAIN", Some(format!("{authzid}\0juliet\0x").as_bytes()), nonce("a"));
        assert!(matches!(step, ServerStep::CheckPassword { .. }));
        server.password(true)
    };
    let user =
        |authzid: Option<&str>| Identity::User { username: "juliet".to_owned(), authzid: authzid.map(str::to_owned) };
    for own in ["", "juliet@example.org", "Juliet@Example.org"] {
        assert!(matches!(login(own, false), ServerStep::Success(who) if who.identity == user(None)), "{own:?}");
    }
    for other in ["romeo@example.org", "juliet@example.com", "juliet@example.org/balcony", "juliet", "example.org"] {
        assert_eq!(condition(login(other, false)), SaslCondition::InvalidAuthzid, "{other:?}");
        assert!(matches!(login(other, true), ServerStep::Success(who) if who.identity == user(Some(other))));
    }
}

#[test]
fn abuse_a032_scram_first_message_of_the_wrong_form() {
    let bad: [&[u8]; 28] = [
        b"",
        b"n",
        b"n,",
        b"n,,",
        b"n,,n=juliet",
        b"n,,r=abc",
        b"n,,r=abc,n=juliet",
        b"n,,n=juliet,n=juliet,r=abc",
        b"n,,n=juliet,r=abc,r=abc",
        b"n,,n=juliet,r=abc,",
        b"n,,n=juliet,r=",
        b"n,,n=juliet,r=a bc",
        b"n,,n=juliet,r=abc,i=1",
        b"n,,n=juliet,r=abc,x=1,x=2",
        b"n,,n=juliet,r=abc,x=\0",
        b"n,,m=x,n=juliet,r=abc",
        b"n,,n=juliet,r=abc,m=x",
        b"n,,n=,r=abc",
        b"n,,n=jul=iet,r=abc",
        b"n,,n=jul=2ciet,r=abc",
        b"n,,n=juliet=,r=abc",
        b"n,,n=jul\0iet,r=abc",
        b"n,,n=\xff,r=abc",
        b"n,juliet,n=juliet,r=abc",
        b"n,a=,n=juliet,r=abc",
        b"x,,n=juliet,r=abc",
        b"p=,,n=juliet,r=abc",
        b"p=tls-exporter,,n=juliet,r=abc",
    ];
    for payload in bad {
        assert_eq!(
            auth("SCRAM-SHA-256", payload),
            SaslCondition::MalformedRequest,
            "{}",
            String::from_utf8_lossy(payload)
        );
    }
    let step = plain_server().auth("SCRAM-SHA-256", Some(b"n,,n==3D=2C=2C,r=abc,x=y"), nonce("def"));
    assert!(matches!(step, ServerStep::NeedCredentials { username, .. } if username == "=,,"));
}

#[test]
fn abuse_a032_channel_binding_flags() {
    let start =
        |mechanism: &str, payload: &[u8]| ServerSasl::new(policy()).auth(mechanism, Some(payload), nonce("def"));
    // PLUS was on offer, and the client says that it wasn't.
    assert_eq!(condition(start("SCRAM-SHA-256", b"y,,n=juliet,r=abc")), SaslCondition::NotAuthorized);
    assert!(matches!(start("SCRAM-SHA-256", FIRST), ServerStep::NeedCredentials { .. }));
    for flag in ["n", "y"] {
        let first = format!("{flag},,n=juliet,r=abc");
        assert_eq!(condition(start("SCRAM-SHA-256-PLUS", first.as_bytes())), SaslCondition::MalformedRequest);
    }
    for unknown in ["tls-unique", "TLS-EXPORTER"] {
        let first = format!("p={unknown},,n=juliet,r=abc");
        assert_eq!(condition(start("SCRAM-SHA-256-PLUS", first.as_bytes())), SaslCondition::NotAuthorized);
    }
}

#[test]
fn abuse_a032_somebody_in_the_middle_has_another_channel() {
    let account = Account::new("juliet", "r0m30", ITERATIONS);
    for (exporter, end_point) in [(Some([9; 32]), None), (None, Some(vec![9; 32]))] {
        let seen = ChannelBindings { exporter, end_point, tls_version: None };
        let mut server = ServerSasl::new(policy());
        let mut client = ClientSasl::choose(
            &offer(&server),
            Credentials::password("juliet", "r0m30"),
            &seen,
            true,
            &ClientPolicy::default(),
        )
        .unwrap();
        let broken = converse(&mut client, &mut server, &account, |_, _| {}).unwrap_err();
        assert!(matches!(broken, Broken::Server(failure) if failure == SaslCondition::NotAuthorized.into()));
    }
}

fn client_after_start() -> ClientSasl {
    let offer = Offer { mechanisms: vec!["SCRAM-SHA-256".to_owned()], bindings: None, sasl2: false };
    let credentials = Credentials::password("juliet", "r0m30");
    let mut client =
        ClientSasl::choose(&offer, credentials, &ChannelBindings::default(), true, &ClientPolicy::default()).unwrap();
    client.start(nonce("abc")).unwrap();
    client
}

#[test]
fn abuse_a032_server_first_message_of_the_wrong_form() {
    for bad in [
        "",
        "r=abcdef",
        "r=abcdef,s=AAAA",
        "r=abcdef,i=4096,s=AAAA",
        "r=abcdef,s=AAAA,i=4096,i=4096",
        "r=abcdef,s=,i=4096",
        "r=abcdef,s=AAA,i=4096",
        "r=abcdef,s=AA AA,i=4096",
        "r=abcdef,s=AAAA,i=04096",
        "r=abcdef,s=AAAA,i=+4096",
        "r=abcdef,s=AAAA,i=-1",
        "r=abcdef,s=AAAA,i=99999999999",
        "r=abcdef,s=AAAA,i=0",
        "m=x,r=abcdef,s=AAAA,i=4096",
        "r=abcdef,s=AAAA,i=4096,m=x",
    ] {
        let step = client_after_start().challenge(bad.as_bytes());
        assert!(matches!(step, Err(SaslError::Syntax(_))), "{bad}: {step:?}");
    }
    for (iterations, allowed) in [(1, false), (4095, false), (4096, true), (1_000_000, true), (1_000_000_000, false)] {
        let step = client_after_start().challenge(format!("r=abcdef,s=AAAA,i={iterations}").as_bytes());
        assert_eq!(matches!(step, Ok(ClientStep::Derive(_))), allowed, "{iterations}: {step:?}");
        assert!(allowed || matches!(step, Err(SaslError::Iterations(i)) if i == iterations));
    }
    for nonce in ["abc", "abd", "xabcdef", "ab", "ABCdef"] {
        let step = client_after_start().challenge(format!("r={nonce},s=AAAA,i=4096").as_bytes());
        assert!(matches!(step, Err(SaslError::Nonce)), "{nonce}: {step:?}");
    }
    assert!(
        matches!(client_after_start().challenge(b"e=unknown-user"), Err(SaslError::Refused(why)) if why == "unknown-user")
    );
    assert!(matches!(client_after_start().challenge(&vec![b'x'; MAX_MESSAGE + 1]), Err(SaslError::TooLong)));
}

#[test]
fn abuse_a032_success_without_the_servers_proof() {
    let first = b"r=abcdef,s=AAAA,i=4096";
    for payload in [None, Some(b"".as_slice()), Some(b"x"), Some(b"v="), Some(b"v=AAAA"), Some(b"e=other-error")] {
        assert!(client_after_start().success(payload).is_err(), "before any challenge: {payload:?}");
        let mut client = client_after_start();
        let Ok(ClientStep::Derive(job)) = client.challenge(first) else { panic!("nothing to derive") };
        assert!(client.success(payload).is_err(), "before our proof: {payload:?}");
        assert!(matches!(client.derived(job.run()), Err(SaslError::OutOfOrder)));

        let mut client = client_after_start();
        let Ok(ClientStep::Derive(job)) = client.challenge(first) else { panic!("nothing to derive") };
        client.derived(job.run()).unwrap();
        assert!(client.success(payload).is_err(), "after our proof: {payload:?}");
        assert!(client.success(payload).is_err(), "and it stays so");
    }
    let mut client = client_after_start();
    let Ok(ClientStep::Derive(_)) = client.challenge(first) else { panic!("nothing to derive") };
    let other = ScramKeys::derive(Hash::Sha256, "r0m30", b"other salt", 4096);
    assert!(matches!(client.derived(other), Err(SaslError::WrongKeys)));
}

/// All that a client who doesn't know the password can see.
fn probe(account: &Account, username: &str, hash: Hash) -> (Vec<u8>, SaslFailure) {
    let mut server = plain_server();
    let mechanism = Mechanism::scram(hash, false);
    let first = format!("n,,n={username},r=abc");
    let ServerStep::NeedCredentials { username, .. } =
        server.auth(mechanism.name(), Some(first.as_bytes()), nonce("def"))
    else {
        panic!("no look-up")
    };
    let seen = challenge(server.credentials(account.find(&username, hash)));
    let proof = encode_payload(Some(&vec![0; hash.length()]));
    match server.response(format!("c=biws,r=abcdef,p={proof}").as_bytes()) {
        ServerStep::Failure(failure) => (seen, failure),
        other => panic!("{other:?}"),
    }
}

#[test]
fn abuse_a033_an_unknown_user_looks_like_a_known_one() {
    let account = Account::new("juliet", "r0m30", ITERATIONS);
    for hash in Hash::ALL {
        let (known, refused) = probe(&account, "juliet", hash);
        let (unknown, refused_too) = probe(&account, "romeo1", hash);
        assert_eq!(refused, refused_too);
        assert_eq!(refused, SaslCondition::NotAuthorized.into());
        assert_eq!(known.len(), unknown.len());
        assert_ne!(known, unknown);
        assert_eq!(unknown, probe(&account, "romeo1", hash).0, "the salt is stable");
        assert_ne!(unknown, probe(&account, "romeo2", hash).0, "and each name has its own");
        let fake = ScramCredentials::fake(&SECRET, "romeo1", hash, ITERATIONS);
        let true_one = account.find("juliet", hash).unwrap();
        assert_eq!(
            (fake.salt.len(), fake.stored_key.len(), fake.server_key.len(), fake.iterations),
            (true_one.salt.len(), true_one.stored_key.len(), true_one.server_key.len(), true_one.iterations)
        );
        assert!(!fake.verify_password("r0m30"));
        // Credentials of another hash are none.
        let other = if hash == Hash::Sha1 { Hash::Sha256 } else { Hash::Sha1 };
        let mut server = plain_server();
        server.auth(Mechanism::scram(hash, false).name(), Some(FIRST), nonce("def"));
        let with_other = challenge(server.credentials(account.find("juliet", other)));
        server.auth(Mechanism::scram(hash, false).name(), Some(FIRST), nonce("def"));
        assert_eq!(with_other, challenge(server.credentials(None)));
    }
}

#[test]
fn abuse_a034_the_announcement_was_changed() {
    let account = Account::new("juliet", "r0m30", ITERATIONS);
    let run = |change: &dyn Fn(&mut Offer)| {
        let mut server = ServerSasl::new(policy());
        let mut offered = offer(&server);
        change(&mut offered);
        let mut client = ClientSasl::choose(
            &offered,
            Credentials::password("juliet", "r0m30"),
            &bindings(),
            true,
            &ClientPolicy::default(),
        )?;
        Ok(converse(&mut client, &mut server, &account, |_, _| {}))
    };
    assert!(matches!(run(&|offer| offer.mechanisms.reverse()), Ok(Ok(_))), "the order is no secret");
    assert!(matches!(
        run(&|offer| offer.mechanisms.retain(|name| !name.contains("512"))),
        Ok(Err(Broken::Client(SaslError::Tampered)))
    ));
    assert!(matches!(
        run(&|offer| offer.bindings = Some(vec!["tls-server-end-point".to_owned()])),
        Ok(Err(Broken::Client(SaslError::Tampered)))
    ));
    // Types but no PLUS.
    assert!(matches!(
        run(&|offer| offer.mechanisms.retain(|name| !name.ends_with("-PLUS"))),
        Err(ChooseError::ContradictoryBindings)
    ));
    // All traces of binding removed: `y` gives it away.
    let all_gone = run(&|offer| {
        offer.mechanisms.retain(|name| !name.ends_with("-PLUS"));
        offer.bindings = None;
    });
    assert!(
        matches!(&all_gone, Ok(Err(Broken::Server(failure))) if failure.condition == SaslCondition::NotAuthorized),
        "{all_gone:?}"
    );
    // PLUS but no types: not a binding that the server may not have, and found out all the same.
    assert!(matches!(run(&|offer| offer.bindings = None), Ok(Err(Broken::Client(SaslError::Tampered)))));
    // Types that nobody knows: only with the server's word for it.
    let unknown = |offer: &mut Offer| offer.bindings = Some(vec!["tls-unique".to_owned()]);
    assert!(matches!(run(&unknown), Ok(Err(Broken::Client(SaslError::Tampered)))));
    let mut policy = policy();
    policy.announcement_hash = false;
    let mut server = ServerSasl::new(policy);
    let mut offered = offer(&server);
    unknown(&mut offered);
    let credentials = Credentials::password("juliet", "r0m30");
    let mut client = ClientSasl::choose(&offered, credentials, &bindings(), true, &ClientPolicy::default()).unwrap();
    let broken = converse(&mut client, &mut server, &account, |_, _| {}).unwrap_err();
    assert!(matches!(broken, Broken::Client(SaslError::Unvouched)));
}

#[test]
fn abuse_a034_nothing_below_what_was_used_before() {
    let choose = |names: &[&str], floor, secured| {
        let offer =
            Offer { mechanisms: names.iter().map(|&name| name.to_owned()).collect(), bindings: None, sasl2: false };
        let policy = ClientPolicy { floor, ..ClientPolicy::default() };
        ClientSasl::choose(&offer, Credentials::password("a", "b"), &ChannelBindings::default(), secured, &policy)
            .map(|client| client.mechanism_name().to_owned())
    };
    let floor = Mechanism::ScramSha256;
    assert_eq!(
        choose(&["SCRAM-SHA-1", "PLAIN"], Some(floor), true),
        Err(ChooseError::Downgrade { floor, best: Mechanism::ScramSha1 })
    );
    assert_eq!(choose(&["PLAIN"], Some(floor), true), Err(ChooseError::Downgrade { floor, best: Mechanism::Plain }));
    assert_eq!(choose(&["SCRAM-SHA-256", "PLAIN"], Some(floor), true).as_deref(), Ok("SCRAM-SHA-256"));
    assert_eq!(choose(&["SCRAM-SHA-512", "PLAIN"], Some(floor), true).as_deref(), Ok("SCRAM-SHA-512"));
    assert_eq!(choose(&["PLAIN"], None, false), Err(ChooseError::PlainRefused));
    assert_eq!(choose(&["PLAIN"], None, true).as_deref(), Ok("PLAIN"));
}

#[test]
fn xep0474_7_what_is_remembered_of_a_login() {
    let account = Account::new("juliet", "r0m30", ITERATIONS);
    for (vouches, floor) in [(true, Mechanism::ScramSha1), (false, Mechanism::ScramSha512Plus)] {
        let mut policy = policy();
        policy.announcement_hash = vouches;
        let mut server = ServerSasl::new(policy);
        let credentials = Credentials::password("juliet", "r0m30");
        let mut client =
            ClientSasl::choose(&offer(&server), credentials, &bindings(), true, &ClientPolicy::default()).unwrap();
        let (_, success) = converse(&mut client, &mut server, &account, |_, _| {}).unwrap();
        assert_eq!((success.vouched, success.floor()), (vouches, Some(floor)));
    }
}

#[test]
fn abuse_a035_external_needs_one_identity_of_the_certificate() {
    let external = |identities: &[&str], payload: &[u8]| {
        let mut policy = policy();
        policy.external = identities.iter().map(|&identity| identity.to_owned()).collect();
        ServerSasl::new(policy).auth("EXTERNAL", Some(payload), nonce("a"))
    };
    let two = ["juliet@example.org", "romeo@example.org"];
    for (identities, payload) in
        [(&two[..1], b"".as_slice()), (&two[..1], b"juliet@example.org"), (&two, b"juliet@EXAMPLE.org")]
    {
        assert!(matches!(external(identities, payload), ServerStep::Success(who)
            if who.identity == Identity::External("juliet@example.org".to_owned())));
    }
    assert_eq!(condition(external(&two, b"")), SaslCondition::InvalidAuthzid);
    assert_eq!(condition(external(&two, b"nurse@example.org")), SaslCondition::InvalidAuthzid);
    assert_eq!(condition(external(&two, b"juliet@example.org\0")), SaslCondition::MalformedRequest);
    assert_eq!(condition(external(&[], b"juliet@example.org")), SaslCondition::InvalidMechanism);
}

#[test]
fn abuse_a036_base64_is_strict_and_an_equals_sign_is_empty() {
    for bad in ["==", "= ", " =", "A", "AA", "AA=", "AA===", "AB==", "AAA", "AA AA", "AAAA\n", "\tAAAA", "A-_A", "é"] {
        assert_eq!(decode_payload(bad), Err(PayloadError), "{bad:?}");
    }
    assert_eq!(SaslFailure::from(PayloadError).condition, SaslCondition::IncorrectEncoding);
    for payload in [None, Some(b"".as_slice()), Some(b"\0juliet\0r0m30"), Some(&[0xff; 100])] {
        assert_eq!(decode_payload(&encode_payload(payload)).unwrap().as_deref(), payload);
    }
    assert_eq!((encode_payload(None), encode_payload(Some(b""))), (String::new(), "=".to_owned()));
}

#[test]
fn abuse_a037_handshakes_that_fail_are_counted() {
    let mut server = plain_server();
    assert_eq!(server.attempts_left(), 3);
    server.auth("PLAIN", Some(b"\0juliet\0x"), nonce("a"));
    assert_eq!(condition(server.password(false)), SaslCondition::NotAuthorized);
    assert_eq!(server.attempts_left(), 2);
    // Starting anew over and over is no way around it.
    server.auth("SCRAM-SHA-1", Some(FIRST), nonce("a"));
    server.auth("SCRAM-SHA-1", Some(FIRST), nonce("a"));
    assert_eq!(server.attempts_left(), 1);
    server.abort();
    assert_eq!(server.attempts_left(), 0);
    let step = server.auth("PLAIN", Some(b"\0juliet\0r0m30"), nonce("a"));
    assert_eq!(condition(step), SaslCondition::TemporaryAuthFailure);
    assert_eq!(condition(server.password(true)), SaslCondition::TemporaryAuthFailure);
}

#[test]
fn abuse_a032_an_extension_that_must_be_known() {
    for bad in ["m=x,r=abcdef,s=AAAA,i=4096", "r=abcdef,s=AAAA,i=4096,m=x"] {
        let step = client_after_start().challenge(bad.as_bytes());
        assert!(matches!(step, Err(SaslError::Syntax(ScramSyntaxError::MandatoryExtension))), "{bad}: {step:?}");
    }
}

#[test]
fn abuse_a032_a_right_proof_over_another_nonce() {
    let account = Account::new("juliet", "r0m30", ITERATIONS);
    for (last_nonce, right) in [("abcdef", true), ("abc", false), ("abcdefg", false), ("abcdeg", false)] {
        let mut server = plain_server();
        server.auth("SCRAM-SHA-256", Some(FIRST), nonce("def"));
        let first = challenge(server.credentials(account.find("juliet", Hash::Sha256)));
        let last = format!("c=biws,r={last_nonce}");
        let proof = scram::proof(&account.keys(Hash::Sha256), &[&FIRST[3..], b",", &first, b",", last.as_bytes()]);
        let step = server.response(format!("{last},p={}", encode_payload(Some(&proof))).as_bytes());
        assert_eq!(matches!(step, ServerStep::Success(_)), right, "{last_nonce}: {step:?}");
    }
}

#[test]
fn abuse_a032_a_proof_of_another_length() {
    let account = Account::new("juliet", "r0m30", ITERATIONS);
    for hash in Hash::ALL {
        let attempt = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut server = plain_server();
            let offer = offer(&server);
            let credentials = Credentials::Keys { username: "juliet".to_owned(), keys: account.keys(hash) };
            let mut client =
                ClientSasl::choose(&offer, credentials, &ChannelBindings::default(), true, &ClientPolicy::default())
                    .unwrap();
            converse(&mut client, &mut server, &account, |number, payload| {
                if number == 2 {
                    let at = payload.windows(3).position(|window| window == b",p=").unwrap() + 3;
                    let proof = std::str::from_utf8(&payload[at..]).unwrap();
                    let mut proof = decode_payload(proof).unwrap().unwrap();
                    change(&mut proof);
                    payload.truncate(at);
                    payload.extend_from_slice(encode_payload(Some(&proof)).as_bytes());
                }
            })
        };
        attempt(&|_| {}).unwrap();
        assert!(attempt(&|proof| proof.push(0)).is_err());
        assert!(attempt(&|proof| proof.extend_from_slice(&[0; 64])).is_err());
        assert!(attempt(&|proof| proof.truncate(proof.len() - 1)).is_err());
        assert!(attempt(&Vec::clear).is_err());
    }
}

#[test]
fn rfc6120_6_4_2_a_second_auth_replaces_the_first() {
    let account = Account::new("juliet", "r0m30", ITERATIONS);
    let mut server = plain_server();
    server.auth("SCRAM-SHA-1", Some(b"n,,n=romeo,r=abc"), nonce("def"));
    server.credentials(None);
    let credentials = Credentials::password("juliet", "r0m30");
    let mut client =
        ClientSasl::choose(&offer(&server), credentials, &ChannelBindings::default(), true, &ClientPolicy::default())
            .unwrap();
    let (authenticated, _) = converse(&mut client, &mut server, &account, |_, _| {}).unwrap();
    assert_eq!(authenticated.identity, Identity::User { username: "juliet".to_owned(), authzid: None });
}

#[test]
fn rfc6120_6_5_the_application_may_refuse() {
    let mut server = plain_server();
    server.auth("SCRAM-SHA-1", Some(FIRST), nonce("def"));
    assert_eq!(condition(server.refuse(SaslCondition::AccountDisabled)), SaslCondition::AccountDisabled);
    server.auth("PLAIN", Some(b"\0juliet\0x"), nonce("a"));
    assert!(matches!(server.password(true), ServerStep::Success(_)));
    assert_eq!(condition(server.refuse(SaslCondition::InvalidAuthzid)), SaslCondition::InvalidAuthzid);
    assert_eq!(server.attempts_left(), 1);
}

#[test]
fn abuse_a038_abort_forgets_the_handshake() {
    let account = Account::new("juliet", "r0m30", ITERATIONS);
    let mut server = plain_server();
    let mut client = ClientSasl::choose(
        &offer(&server),
        Credentials::password("juliet", "r0m30"),
        &ChannelBindings::default(),
        true,
        &ClientPolicy::default(),
    )
    .unwrap();
    let (name, initial) = client.start(nonce("abc")).unwrap();
    server.auth(&name, initial.as_deref(), nonce("def"));
    let first = challenge(server.credentials(account.find("juliet", Hash::Sha512)));
    let Ok(ClientStep::Derive(job)) = client.challenge(&first) else { panic!("nothing to derive") };
    let last = client.derived(job.run()).unwrap();
    assert_eq!(condition(server.abort()), SaslCondition::Aborted);
    assert_eq!(condition(server.response(&last)), SaslCondition::MalformedRequest);
    assert_eq!(
        condition(server.credentials(account.find("juliet", Hash::Sha512))),
        SaslCondition::TemporaryAuthFailure
    );
}

#[test]
fn abuse_a039_nothing_after_success() {
    let mut server = plain_server();
    server.auth("PLAIN", Some(b"\0juliet\0x"), nonce("a"));
    assert!(matches!(server.password(true), ServerStep::Success(_)));
    assert_eq!(condition(server.password(true)), SaslCondition::MalformedRequest);
    assert_eq!(condition(server.auth("PLAIN", Some(b"\0juliet\0x"), nonce("a"))), SaslCondition::MalformedRequest);
    assert_eq!(condition(server.abort()), SaslCondition::MalformedRequest);
}

#[test]
fn rfc6120_6_5_conditions_and_the_unknown_one() {
    for condition in SaslCondition::ALL {
        assert_eq!(SaslCondition::from_name(condition.as_str()), condition);
    }
    assert_eq!(SaslCondition::from_name("bad-moon"), SaslCondition::NotAuthorized);
}

#[test]
fn rfc4013_preparation_and_what_it_cannot_prepare() {
    assert_eq!(prepare_password("I\u{ad}X"), "IX");
    assert_eq!(prepare_password("\u{aa}"), "a");
    assert_eq!(prepare_password("🙌"), "🙌", "newer than Unicode 3.2");
    assert_eq!(prepare_password("a\u{7}"), "a\u{7}", "prohibited, so as it is");
    assert_eq!(prepare_password("\u{ad}"), "\u{ad}", "never nothing");
    assert_eq!(prepare_username("I\u{ad}X").unwrap(), "IX");
    assert_eq!(prepare_username("🙌").unwrap(), "🙌");
    assert_eq!(prepare_username("a\u{7}"), Err(PrepareError::Prohibited));
    assert_eq!(prepare_username("\u{ad}"), Err(PrepareError::Empty));
}

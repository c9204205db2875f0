//! The `sasl` crate's client against our server.

use ::sasl::client::Mechanism as _;
use ::sasl::client::mechanisms::{Anonymous, Plain, Scram};
use ::sasl::common::ChannelBinding;
use ::sasl::common::scram::{ScramProvider, Sha1, Sha256};

use super::*;

fn scram_login<P: ScramProvider>(hash: Hash, binding: ChannelBinding, password: &str) -> ServerStep {
    let plus = matches!(binding, ChannelBinding::TlsExporter(_));
    let account = Account::new("juliet", "r0m30", ITERATIONS);
    let mut client = Scram::<P>::new("juliet", password, binding).unwrap();
    let mut policy = policy();
    if !plus {
        policy.bindings = ChannelBindings::default();
    }
    let mut server = ServerSasl::new(policy);
    let mechanism = Mechanism::scram(hash, plus);
    let step = server.auth(mechanism.name(), Some(&client.initial()), nonce("3rfcNHYJY1ZVvWVs7j"));
    assert!(matches!(&step, ServerStep::NeedCredentials { username, .. } if username == "juliet"), "{step:?}");
    let first = challenge(server.credentials(account.find("juliet", hash)));
    let step = server.response(&client.response(&first).unwrap());
    if let ServerStep::Success(authenticated) = &step {
        assert_eq!(authenticated.mechanism, mechanism);
        client.success(authenticated.data.as_deref().unwrap()).unwrap();
    }
    step
}

#[test]
fn rfc5802_the_sasl_crates_client_logs_in() {
    let exporter = || ChannelBinding::TlsExporter(vec![1; 32]);
    for binding in [|| ChannelBinding::None, || ChannelBinding::Unsupported, exporter] {
        assert!(matches!(scram_login::<Sha1>(Hash::Sha1, binding(), "r0m30"), ServerStep::Success(_)));
        assert!(matches!(scram_login::<Sha256>(Hash::Sha256, binding(), "r0m30"), ServerStep::Success(_)));
        assert_eq!(condition(scram_login::<Sha256>(Hash::Sha256, binding(), "r0m31")), SaslCondition::NotAuthorized);
    }
    let other = ChannelBinding::TlsExporter(vec![9; 32]);
    assert_eq!(condition(scram_login::<Sha256>(Hash::Sha256, other, "r0m30")), SaslCondition::NotAuthorized);
}

#[test]
fn rfc4616_and_rfc4505_the_sasl_crates_client_logs_in() {
    let mut policy = policy();
    policy.mechanisms = vec![Mechanism::Plain, Mechanism::Anonymous];
    let initial = Plain::new("juliet", "r0m30").initial();
    let step = ServerSasl::new(policy.clone()).auth("PLAIN", Some(&initial), nonce("a"));
    assert!(matches!(step, ServerStep::CheckPassword { username, password }
        if username == "juliet" && *password == "r0m30"));
    let initial = Anonymous::new().initial();
    let step = ServerSasl::new(policy).auth("ANONYMOUS", Some(&initial), nonce("a"));
    assert!(matches!(step, ServerStep::Success(_)));
}

#[cfg(feature = "sasl")]
#[test]
fn the_sasl_crates_mechanism_runs_in_our_client() {
    let account = Account::new("juliet", "r0m30", ITERATIONS);
    let mut server = ServerSasl::new(policy());
    let scram = Scram::<Sha256>::new("juliet", "r0m30", ChannelBinding::None).unwrap();
    let credentials = Credentials::Custom(Box::new(ForeignMechanism(scram)));
    let mut client =
        ClientSasl::choose(&offer(&server), credentials, &bindings(), true, &ClientPolicy::default()).unwrap();
    let (authenticated, success) = converse(&mut client, &mut server, &account, |_, _| {}).unwrap();
    assert_eq!(authenticated.mechanism, Mechanism::ScramSha256);
    assert_eq!(success.mechanism, Some(Mechanism::ScramSha256));
}

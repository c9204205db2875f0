//! SCRAM vectors of RFC 5802, 7677, 6120 and others, both roles.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::sasl::scram::announcement_hash;

fn vectors() -> Option<Vec<serde_json::Value>> {
    let Some(folder) = std::env::var_os("XMPP_SPECS") else {
        println!("XMPP_SPECS is not set: SCRAM vectors not checked");
        return None;
    };
    let text = std::fs::read_to_string(std::path::Path::new(&folder).join("scram-vectors.json")).unwrap();
    Some(serde_json::from_str(&text).unwrap())
}

#[test]
fn rfc5802_5_vectors_both_roles() {
    let Some(vectors) = vectors() else { return };
    assert!(vectors.len() >= 8);
    for vector in vectors {
        let get = |key: &str| vector[key].as_str().unwrap();
        let hash = match get("mech") {
            "sha1" => Hash::Sha1,
            "sha256" => Hash::Sha256,
            "sha512" => Hash::Sha512,
            other => panic!("unknown hash {other}"),
        };
        let gs2 = get("gs2");
        let plus = gs2.starts_with("p=");
        let binding = STANDARD.decode(get("cb")).unwrap();
        let exporter = <[u8; 32]>::try_from(binding).ok();
        assert_eq!(plus, exporter.is_some());
        let known = ChannelBindings { exporter, end_point: None, tls_version: None };
        let client_bindings = if gs2.starts_with('y') { bindings() } else { known.clone() };
        let username = get("user").replace("=2C", ",").replace("=3D", "=");
        let authzid = gs2.split_once("a=").map(|(_, authzid)| authzid.trim_end_matches(','));
        let mechanism = Mechanism::scram(hash, plus);
        let client_nonce = get("client_first").split_once(",r=").unwrap().1;
        let server_nonce =
            get("server_first").split(',').next().unwrap().strip_prefix("r=").unwrap()[client_nonce.len()..].to_owned();

        let offer = Offer {
            mechanisms: vec![mechanism.name().to_owned()],
            bindings: plus.then(|| vec!["tls-exporter".to_owned()]),
            sasl2: false,
        };
        let credentials = Credentials::password(username.clone(), get("password"));
        let mut client =
            ClientSasl::choose(&offer, credentials, &client_bindings, true, &ClientPolicy::default()).unwrap();
        if let Some(authzid) = authzid {
            client = client.with_authzid(authzid);
        }
        let mut policy = policy();
        policy.mechanisms = vec![mechanism];
        policy.bindings = known;
        policy.announcement_hash = false;
        policy.proxies = true;
        let mut server = ServerSasl::new(policy);

        let (name, initial) = client.start(nonce(client_nonce)).unwrap();
        let initial = initial.unwrap();
        assert_eq!(std::str::from_utf8(&initial).unwrap(), get("client_first"));
        let step = server.auth(&name, Some(&initial), nonce(&server_nonce));
        assert!(
            matches!(&step, ServerStep::NeedCredentials { username: name, hash: asked, .. }
                if *name == username && *asked == hash),
            "{step:?}"
        );

        let ServerStep::Challenge(_) = server.credentials(None) else { panic!("no challenge") };
        server.abort();
        server.auth(&name, Some(&initial), nonce(&server_nonce));
        let Ok(ClientStep::Derive(job)) = client.challenge(get("server_first").as_bytes()) else {
            panic!("nothing to derive")
        };
        let keys = job.run();
        assert_eq!(STANDARD.encode(&keys.client_key), get("client_key"));
        let stored = keys.credentials();
        assert_eq!(STANDARD.encode(&stored.stored_key), get("stored_key"));
        assert_eq!(STANDARD.encode(&stored.server_key), get("server_key"));
        assert!(stored.verify_password(get("password")));
        assert!(!stored.verify_password("pencils"));

        assert_eq!(challenge(server.credentials(Some(stored))), get("server_first").as_bytes());
        let client_final = client.derived(keys.clone()).unwrap();
        assert_eq!(std::str::from_utf8(&client_final).unwrap(), get("client_final"));
        let ServerStep::Success(authenticated) = server.response(&client_final) else { panic!("no success") };
        assert_eq!(authenticated.data.as_deref(), Some(get("server_final").as_bytes()));
        assert_eq!(authenticated.identity, Identity::User { username, authzid: authzid.map(str::to_owned) });
        let success = client.success(Some(get("server_final").as_bytes())).unwrap();
        assert_eq!((success.mechanism, success.keys), (Some(mechanism), Some(keys)));
    }
}

#[test]
fn xep0474_6_1_hash_of_the_example() {
    let mechanisms = ["SCRAM-SHA-1-PLUS", "SCRAM-SHA-1"].into_iter();
    let bindings = Some(["tls-server-end-point", "tls-exporter"].into_iter());
    let hash = announcement_hash(Hash::Sha1, mechanisms, bindings);
    assert_eq!(STANDARD.encode(hash), "G6k/rBLDqgOhRRaCuuatSDFkJ08=");
}

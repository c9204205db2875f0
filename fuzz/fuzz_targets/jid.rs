//! Addresses, nicknames and escapes: each form is one that stays.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xmpp_core::jid::{Jid, JidRef, escape, nickname};

fuzz_target!(|text: &str| {
    let strict = Jid::new(text);
    let lenient = Jid::lenient(text);
    if let Ok(jid) = &strict {
        stays(jid);
        assert_eq!(Jid::new(jid.as_str()).as_ref(), Ok(jid), "preparing is idempotent");
        assert_eq!(Jid::from_parts(jid.local(), jid.domain(), jid.resource()).as_ref(), Ok(jid));
        // What is strict is lenient, and differs in the resource alone.
        let lenient = lenient.as_ref().expect("strict but not lenient");
        assert_eq!(lenient.bare_str(), jid.bare_str());
    }
    if let Ok(jid) = &lenient {
        stays(jid);
        assert_eq!(Jid::lenient(jid.as_str()).as_ref(), Ok(jid), "leniency is idempotent");
    }
    if let Some(borrowed) = JidRef::parse(text) {
        let jid = lenient.as_ref().expect("borrowed but not lenient");
        assert_eq!(borrowed.to_jid(), *jid);
        assert_eq!(borrowed.as_str(), text);
        assert_eq!(
            (borrowed.local(), borrowed.domain(), borrowed.resource()),
            (jid.local(), jid.domain(), jid.resource())
        );
    }
    for nick in [nickname::enforce(text), nickname::comparison_key(text)].into_iter().flatten() {
        assert!(!nick.is_empty() && nick.len() <= 1023);
    }
    if let Some(nick) = nickname::enforce(text) {
        assert_eq!(nickname::enforce(&nick).as_ref(), Some(&nick));
    }
    if let Some(key) = nickname::comparison_key(text) {
        assert_eq!(nickname::comparison_key(&key).as_ref(), Some(&key));
    }
    if let Some(escaped) = escape::escape_local(text) {
        assert_eq!(escape::unescape_local(&escaped), text, "{escaped}");
    }
    let _ = escape::unescape_local(text);
});

/// The parts make the whole, and none is empty or too long.
fn stays(jid: &Jid) {
    let mut whole = jid.local().map(|local| format!("{local}@")).unwrap_or_default();
    whole.push_str(jid.domain());
    assert_eq!(jid.bare_str(), whole);
    assert_eq!(jid.to_bare().as_str(), whole);
    if let Some(resource) = jid.resource() {
        whole.push('/');
        whole.push_str(resource);
    }
    assert_eq!(jid.as_str(), whole);
    let parts = [jid.local(), Some(jid.domain()), jid.resource()];
    assert!(parts.into_iter().flatten().all(|part| !part.is_empty() && part.len() <= 1023));
    assert_eq!(jid.is_bare(), jid.resource().is_none());
}

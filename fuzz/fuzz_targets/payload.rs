//! Every shared payload type: what was read and written reads and writes the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xmpp_core::{
    payload::table::TYPES,
    stanza::{AnyStanza, StanzaError},
    stream::StreamError,
    xml::{Stanza, XmlLimits, ns},
};

fuzz_target!(|text: &str| {
    let Ok(element) = Stanza::parse(text, ns::CLIENT, &XmlLimits::authenticated()) else { return };
    for (name, round_trip) in TYPES {
        let Some(Ok(written)) = round_trip(element.root()) else { continue };
        let again = round_trip(written.root());
        let Some(Ok(again)) = again else { panic!("{name}: {written:?} does not read: {again:?}") };
        assert_eq!(written.as_str(), again.as_str(), "{name}");
    }
    // Errors are read from anything.
    let _ = StanzaError::read(element.root()).to_string();
    let _ = StreamError::read(element.root()).to_string();
    match AnyStanza::from_stanza(element) {
        Ok(stanza) => {
            let answer = stanza.error_reply(&StanzaError::service_unavailable());
            assert!(!(stanza.is_error() && answer.is_some()), "an error is never answered");
        }
        Err(malformed) => {
            let _ = malformed.error_reply();
        }
    }
});

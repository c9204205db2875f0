//! A client in a room (XEP-0045) that sends it whatever it likes. Each line of the input is a stanza of the room, or
//! letters that say what the application does. Whatever comes, the client knows who it is while it is inside, nobody while
//! it is not, and all that it remembers stays within its bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xmpp_core::xml::{Stanza, XmlLimits, ns};
use xmpp_muc::client::probe::Probe;

fuzz_target!(|text: &str| {
    let Some(mut probe) = Probe::new() else { return };
    for line in text.lines().take(64) {
        match Stanza::parse(line, ns::CLIENT, &XmlLimits::authenticated()) {
            Ok(stanza) => probe.hears(stanza),
            Err(_) => line.chars().take(8).for_each(|what| probe.does(what)),
        }
    }
});

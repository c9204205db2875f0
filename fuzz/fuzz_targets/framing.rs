//! The framed stream against any peer: it never panics, lets no message end or begin a stream unless it says so, and
//! what it sends is read by the other side.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xmpp_core::{
    stream::{
        STREAM_END,
        framing::{Frame, Framing, Side},
    },
    xml::{Event, Scanner, XmlLimits},
};

fuzz_target!(|data: &[u8]| {
    let Some((&how, rest)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let side = if how & 1 == 0 { Side::Server } else { Side::Client };
    let mut framing = Framing::new(side, XmlLimits::unauthenticated());
    let mut scanner = Scanner::new(XmlLimits::authenticated());
    let mut relay = Framing::new(if how & 1 == 0 { Side::Client } else { Side::Server }, XmlLimits::authenticated());
    let mut other = Framing::new(side, XmlLimits::authenticated());
    for message in text.split('\u{1}') {
        let mut bytes = Vec::new();
        if framing.incoming(message, &mut bytes).is_err() {
            return;
        }
        // A message is one event of the stream, or with the end that stands for a beginning two.
        let ends = bytes.ends_with(STREAM_END.as_bytes());
        let (mut input, mut events) = (bytes.as_slice(), 0);
        loop {
            match scanner.scan(&mut input) {
                Ok(Some(Event::Close)) => assert!(ends),
                Ok(Some(_)) => {}
                Ok(None) => break,
                // A second <open/>.
                Err(_) => return,
            }
            events += 1;
        }
        assert!(scanner.is_idle() && events <= 1 + usize::from(ends), "{events} events of {message:?}");
        let mut input = bytes.as_slice();
        while let Ok(Some(frame)) = relay.outgoing(&mut input) {
            let (Frame::Text(text) | Frame::Close(text)) = frame else { panic!("{frame:?}") };
            other.incoming(&text, &mut Vec::new()).expect("what one side sends, the other reads");
        }
    }
});

//! What an entity accepts on a stream, told to its peer (XEP-0478).

use crate::xml::{ElementRef, Writer};

/// `urn:xmpp:stream-limits:0`.
pub(crate) const NS: &str = "urn:xmpp:stream-limits:0";

/// The limits of whoever announces them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamLimits {
    /// The largest stanza that is accepted, in bytes.
    pub max_bytes: Option<u64>,
    /// Seconds of silence after which the peer may be probed, or disconnected.
    pub idle_seconds: Option<u64>,
}

impl StreamLimits {
    /// These limits.
    pub fn new(max_bytes: Option<u64>, idle_seconds: Option<u64>) -> StreamLimits {
        StreamLimits { max_bytes, idle_seconds }
    }

    /// Reads `<limits/>`; what is no number is as if it were not there.
    pub fn read(element: ElementRef<'_>) -> StreamLimits {
        let number = |name| element.child(name, NS)?.text().trim().parse().ok();
        StreamLimits { max_bytes: number("max-bytes"), idle_seconds: number("idle-seconds") }
    }

    /// Writes `<limits/>`, unless nothing is limited.
    pub fn write(&self, out: &mut Writer) {
        if *self == StreamLimits::default() {
            return;
        }
        out.open("limits", NS);
        for (name, number) in [("max-bytes", self.max_bytes), ("idle-seconds", self.idle_seconds)] {
            if let Some(number) = number {
                out.open(name, NS);
                out.text_display(&number);
                out.close();
            }
        }
        out.close();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::xml::{Stanza, XmlLimits, ns};

    fn read(text: &str) -> StreamLimits {
        StreamLimits::read(Stanza::parse(text, ns::CLIENT, &XmlLimits::unauthenticated()).unwrap().root())
    }

    #[test]
    fn xep0478_3_1_limits_come_back_as_they_were_written() {
        for limits in [
            StreamLimits::new(Some(10_000), Some(1800)),
            StreamLimits::new(None, Some(1)),
            StreamLimits::new(Some(u64::MAX), None),
        ] {
            let mut out = Writer::new(ns::CLIENT);
            limits.write(&mut out);
            assert_eq!(read(std::str::from_utf8(&out.finish()).unwrap()), limits);
        }
        let mut out = Writer::new(ns::CLIENT);
        StreamLimits::default().write(&mut out);
        assert!(out.finish().is_empty());
    }

    #[test]
    fn what_is_no_number_limits_nothing() {
        let text = "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>-1</max-bytes><idle-seconds>1e9</idle-seconds>\
                    <max-bytes>7</max-bytes></limits>";
        assert_eq!(read(text), StreamLimits::default());
    }
}

//! What was queued and never written, read again so that it can find another way.

use crate::{
    stream::{Header, management},
    xml::{Event, Scanner, Stanza, XmlLimits, ns},
};

/// Reads stanzas out of what was to be written to one stream.
pub(crate) struct Unsent {
    content_ns: &'static str,
    scanner: Scanner,
}

impl Unsent {
    pub(crate) fn new(content_ns: &'static str) -> Unsent {
        Unsent { content_ns, scanner: scanner(content_ns) }
    }

    /// The stanzas in `bytes` that end behind `written`: a stanza that the peer has only half of is lost to it. With
    /// `until_enabled`, those that stand before `<enabled/>` (XEP-0198 §3), and whether it was there.
    pub(crate) fn read(&mut self, bytes: &[u8], written: usize, until_enabled: bool) -> (Vec<Stanza>, bool) {
        let mut rest = bytes;
        let mut stanzas = Vec::new();
        while bytes.len() > written && !rest.is_empty() {
            let Ok(Some(Event::Stanza(stanza))) = self.scanner.scan(&mut rest) else {
                // The end tag, as a rule. What is read next belongs to the session all the same.
                self.scanner = scanner(self.content_ns);
                break;
            };
            let root = stanza.root();
            if until_enabled && root.is("enabled", management::NS) {
                return (stanzas, true);
            }
            if bytes.len() - rest.len() > written && root.ns() == self.content_ns {
                // Inside the server all stanzas have one content namespace.
                stanzas.push(match self.content_ns {
                    ns::CLIENT => stanza,
                    _ => stanza.rewrite(ns::CLIENT).to_stanza(),
                });
            }
        }
        (stanzas, false)
    }
}

/// A scanner behind the header of a stream.
fn scanner(content_ns: &'static str) -> Scanner {
    let mut scanner = Scanner::new(XmlLimits::unbounded());
    let mut header = Vec::new();
    Header { content_ns, ..Header::default() }.write(&mut header);
    let _ = scanner.scan(&mut header.as_slice());
    scanner
}

//! Stanza forwarding (XEP-0297).

use super::delay::Delay;
use super::{Payload, PayloadError, support};
use crate::xml::{ElementRef, Stanza, Writer, ns};

/// A stanza inside another, with the time when it was first received.
#[derive(Clone, Debug)]
pub struct Forwarded {
    /// When the forwarder received it.
    pub delay: Option<Delay>,
    /// The stanza, whole. Whether its addresses are true only the forwarder knows: check who that is.
    pub stanza: Option<Stanza>,
}

impl Forwarded {
    /// Forwards a stanza.
    pub fn new(stanza: Stanza, delay: Option<Delay>) -> Self {
        Forwarded { delay, stanza: Some(stanza) }
    }
}

impl Payload for Forwarded {
    const NAME: &'static str = "forwarded";
    const NS: &'static str = "urn:xmpp:forward:0";

    fn read(el: ElementRef<'_>) -> Result<Self, PayloadError> {
        if !Self::matches(el) {
            return Err(PayloadError::other_element(Self::NAME));
        }
        let mut out = Forwarded { delay: None, stanza: None };
        for child in el.children() {
            if Delay::matches(child) {
                support::fill(&mut out.delay, Delay::read(child)?, Self::NAME, Delay::NAME)?;
            } else if matches!(child.ns(), ns::CLIENT | ns::SERVER | ns::COMPONENT)
                && matches!(child.name(), "message" | "presence" | "iq")
            {
                support::fill(&mut out.stanza, child.to_stanza(), Self::NAME, "stanza")?;
            }
        }
        Ok(out)
    }

    fn write(&self, w: &mut Writer) {
        w.open(Self::NAME, Self::NS);
        if let Some(delay) = &self.delay {
            delay.write(w);
        }
        if let Some(stanza) = &self.stanza {
            w.element(stanza.root());
        }
        w.close();
    }
}

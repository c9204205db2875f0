//! An item of a roster (RFC 6121 §2.1.2).

use super::NS;
use xmpp_core::{
    jid::Jid,
    payload::{Payload, PayloadError, TextValue as _},
    xml::{ElementRef, Writer},
};

/// Who is subscribed to whose presence (§2.1.2.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Subscription {
    /// Neither to the other's.
    #[default]
    None,
    /// The user to the contact's.
    To,
    /// The contact to the user's.
    From,
    /// Both.
    Both,
    /// The item is removed, or is to be.
    Remove,
}

impl Subscription {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Subscription::None => "none",
            Subscription::To => "to",
            Subscription::From => "from",
            Subscription::Both => "both",
            Subscription::Remove => "remove",
        }
    }

    /// Reads the word; others are to be ignored, which makes them the default (§2.1.2.5).
    pub fn read(word: &str) -> Subscription {
        match word {
            "to" => Subscription::To,
            "from" => Subscription::From,
            "both" => Subscription::Both,
            "remove" => Subscription::Remove,
            _ => Subscription::None,
        }
    }

    /// Whether the user is subscribed to the contact's presence.
    pub fn is_to(self) -> bool {
        matches!(self, Subscription::To | Subscription::Both)
    }

    /// Whether the contact is subscribed to the user's presence.
    pub fn is_from(self) -> bool {
        matches!(self, Subscription::From | Subscription::Both)
    }
}

/// A contact in a roster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Who it is; mostly a bare address.
    pub jid: Jid,
    /// What the user calls the contact; never empty (§2.4.1).
    pub name: Option<String>,
    /// Who is subscribed to whom.
    pub subscription: Subscription,
    /// The user has asked for the contact's presence, and is not answered yet (§2.1.2.2).
    pub ask: bool,
    /// A request of the contact is approved already (§2.1.2.1).
    pub approved: bool,
    /// Where the user has put the contact.
    pub groups: Vec<String>,
}

impl Item {
    /// A contact without name, groups and subscription.
    pub fn new(jid: impl Into<Jid>) -> Item {
        let jid = jid.into();
        Item { jid, name: None, subscription: Subscription::None, ask: false, approved: false, groups: Vec::new() }
    }

    /// What says that the contact is removed, or asks for it (§2.5).
    pub fn removed(jid: impl Into<Jid>) -> Item {
        Item { subscription: Subscription::Remove, ..Item::new(jid) }
    }

    /// Writes what a client says of a contact: of subscriptions nothing, unless the contact is to be removed (§2.1.2.5).
    #[cfg(feature = "client")]
    pub(super) fn write_request(&self, w: &mut Writer) {
        w.open(Self::NAME, NS);
        w.attr("jid", self.jid.as_str());
        w.attr_opt("name", self.name.as_deref());
        if self.subscription == Subscription::Remove {
            w.attr("subscription", self.subscription.as_str());
        }
        for group in &self.groups {
            w.text_element("group", NS, group);
        }
        w.close();
    }
}

impl Payload for Item {
    const NAME: &'static str = "item";
    const NS: &'static str = NS;

    fn read(el: ElementRef<'_>) -> Result<Item, PayloadError> {
        if !Self::matches(el) {
            return Err(PayloadError::other_element(Self::NAME));
        }
        let jid = el.attr("jid").ok_or_else(|| PayloadError::missing(Self::NAME, "jid"))?;
        let jid = Jid::from_text(&jid).map_err(|error| PayloadError::value(Self::NAME, "jid", error))?;
        let is = |attribute, word: &str| el.attr(attribute).is_some_and(|value| value == word);
        Ok(Item {
            jid,
            name: el.attr("name").filter(|name| !name.is_empty()).map(|name| name.into_owned()),
            subscription: Subscription::read(&el.attr("subscription").unwrap_or_default()),
            ask: is("ask", "subscribe"),
            approved: is("approved", "true") || is("approved", "1"),
            groups: el.children().filter(|one| one.is("group", NS)).map(|group| group.text().into_owned()).collect(),
        })
    }

    fn write(&self, w: &mut Writer) {
        w.open(Self::NAME, NS);
        w.attr("jid", self.jid.as_str());
        w.attr_opt("name", self.name.as_deref());
        w.attr("subscription", self.subscription.as_str());
        if self.ask {
            w.attr("ask", "subscribe");
        }
        if self.approved {
            w.attr("approved", "true");
        }
        for group in &self.groups {
            w.open("group", NS);
            w.text(group);
            w.close();
        }
        w.close();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::roster::RosterQuery;
    use xmpp_core::xml::{Stanza, XmlLimits, ns};

    fn read(text: &str) -> Result<RosterQuery, PayloadError> {
        RosterQuery::read(Stanza::parse(text, ns::CLIENT, &XmlLimits::default()).unwrap().root())
    }

    fn write(query: &RosterQuery) -> String {
        let mut w = Writer::new(ns::CLIENT);
        query.write(&mut w);
        String::from_utf8(w.finish()).unwrap()
    }

    #[test]
    fn rfc6121_2_1_rosters_come_back_as_they_are() {
        for text in [
            "<query xmlns='jabber:iq:roster'/>",
            "<query xmlns='jabber:iq:roster' ver=''/>",
            "<query xmlns='jabber:iq:roster' ver='7'><item jid='a@example.org' subscription='none'/></query>",
            "<query xmlns='jabber:iq:roster'><item jid='a@example.org' name='A &amp; B' subscription='both' \
             ask='subscribe' approved='true'><group>One</group><group>Two</group></item><item jid='b.example' \
             subscription='remove'/></query>",
        ] {
            assert_eq!(write(&read(text).unwrap()), text);
        }
    }

    #[test]
    fn rfc6121_2_1_2_what_is_unknown_is_ignored() {
        let item = "<item jid='A@Example.Org' name='' subscription='yes' ask='no' approved='maybe' more='x'><extra \
                    xmlns='urn:example'/></item>";
        let read = read(&format!("<query xmlns='jabber:iq:roster'>{item}</query>")).unwrap();
        assert_eq!(read.items, [Item::new("a@example.org".parse::<Jid>().unwrap())]);
    }

    #[test]
    fn rfc6121_2_1_2_3_an_item_has_an_address() {
        for item in ["<item/>", "<item jid=''/>", "<item jid='@'/>"] {
            assert!(read(&format!("<query xmlns='jabber:iq:roster'>{item}</query>")).is_err(), "{item}");
        }
    }
}

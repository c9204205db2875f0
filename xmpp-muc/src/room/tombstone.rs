//! What stays of a message that was retracted (XEP-0424 §5, XEP-0425 §5).

use crate::payload::{Moderated, OccupantId, RetractedBy};
use xmpp_core::{
    payload::{DateTime, Payload, TextValue, delay::Delay, stanza_id::StanzaId},
    xml::{ElementRef, Stanza, Writer, ns},
};

/// The message that another one retracts, by the room's id.
pub(crate) fn retracted_id(retraction: &Stanza) -> Option<String> {
    let retract = retraction.root().child("retract", RetractedBy::NAMESPACE)?;
    retract.attr("id").map(|id| id.into_owned())
}

/// Stands in the place of a message of a room, of which it keeps who said it and by what ids it is known. `None` if the
/// retraction is neither a moderator's, of which the room makes sure, nor of who has said it.
pub(crate) fn tombstone(said: &Stanza, retraction: &Stanza, at: DateTime) -> Option<Stanza> {
    let retract = retraction.root().child("retract", RetractedBy::NAMESPACE)?;
    let moderated = retract.children().find(|child| Moderated::matches(*child));
    let of = |stanza: &Stanza| {
        let id = stanza.root().children().find(|child| OccupantId::matches(*child))?.attr("id")?;
        Some(id.into_owned())
    };
    if moderated.is_none() && (of(said).is_none() || of(said) != of(retraction)) {
        return None;
    }
    let moderated = moderated.and_then(|moderated| Moderated::read(moderated).ok());
    let reason = retract.child("reason", RetractedBy::NAMESPACE).map(|reason| reason.text().into_owned());
    let id = retraction.root().attr("id").map(|id| id.into_owned());
    let is_said =
        |child: ElementRef<'_>| !(OccupantId::matches(child) || StanzaId::matches(child) || Delay::matches(child));
    let instead = |out: &mut Writer| {
        out.open("retracted", RetractedBy::NAMESPACE);
        if let Some(id) = &id {
            out.attr("id", id);
        }
        out.attr("stamp", &at.to_text());
        if let Some(moderated) = &moderated {
            moderated.write(out);
        }
        if let Some(reason) = &reason {
            out.text_element("reason", RetractedBy::NAMESPACE, reason);
        }
        out.close();
    };
    Some(said.rewrite(ns::CLIENT).without(&is_said).append(&instead).to_stanza())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use xmpp_core::xml::XmlLimits;

    fn parse(text: &str) -> Stanza {
        Stanza::parse(text, ns::CLIENT, &XmlLimits::authenticated()).unwrap()
    }

    const SAID: &str = "<message type='groupchat' id='m1' from='coven@chat.example.org/oldhag'><body>gold, cheap</body>\
         <subject>spam</subject><x xmlns='jabber:x:oob'><url>http://spam.example</url></x>\
         <occupant-id xmlns='urn:xmpp:occupant-id:0' id='hag'/>\
         <stanza-id xmlns='urn:xmpp:sid:0' by='coven@chat.example.org' id='7'/></message>";

    #[test]
    fn xep0425_5_a_tombstone_says_who_and_by_whom_and_nothing_of_what() {
        let retraction = parse(
            "<message type='groupchat' id='r1' from='coven@chat.example.org'>\
             <retract xmlns='urn:xmpp:message-retract:1' id='7'>\
             <moderated xmlns='urn:xmpp:message-moderate:1' by='coven@chat.example.org/macbeth'>\
             <occupant-id xmlns='urn:xmpp:occupant-id:0' id='mac'/></moderated><reason>spam</reason></retract></message>",
        );
        assert_eq!(retracted_id(&retraction).as_deref(), Some("7"));
        let stone = tombstone(&parse(SAID), &retraction, DateTime::from_unix(0, 0).unwrap()).unwrap();
        let root = stone.root();
        assert_eq!((root.attr("id").as_deref(), root.attr("type").as_deref()), (Some("m1"), Some("groupchat")));
        let names: Vec<String> = root.children().map(|child| child.name().to_owned()).collect();
        assert_eq!(names, ["occupant-id", "stanza-id", "retracted"]);
        let retracted = root.child("retracted", RetractedBy::NAMESPACE).unwrap();
        assert_eq!(retracted.attr("stamp").as_deref(), Some("1970-01-01T00:00:00Z"));
        assert_eq!(retracted.attr("id").as_deref(), Some("r1"));
        let by = Moderated::read(retracted.children().next().unwrap()).unwrap();
        assert_eq!(by.by.unwrap().resource(), Some("macbeth"));
        assert_eq!(by.occupant.unwrap().id, "mac");
        assert!(stone.as_str().contains("<reason>spam</reason>") && !stone.as_str().contains("gold"));
    }

    #[test]
    fn xep0424_5_only_who_said_something_takes_it_back() {
        let by = |id: &str| {
            parse(&format!(
                "<message type='groupchat' id='r1' from='coven@chat.example.org/x'>\
                 <retract xmlns='urn:xmpp:message-retract:1' id='7'/>{id}</message>"
            ))
        };
        let at = DateTime::from_unix(0, 0).unwrap();
        let own = by("<occupant-id xmlns='urn:xmpp:occupant-id:0' id='hag'/>");
        let stone = tombstone(&parse(SAID), &own, at).unwrap();
        assert!(stone.as_str().contains("retracted") && !stone.as_str().contains("moderated"));
        let other = by("<occupant-id xmlns='urn:xmpp:occupant-id:0' id='mac'/>");
        assert_eq!(tombstone(&parse(SAID), &other, at).map(|stone| stone.as_str().to_owned()), None);
        assert!(tombstone(&parse(SAID), &by(""), at).is_none());
        assert!(tombstone(&parse("<message type='groupchat'/>"), &by(""), at).is_none(), "nobody is not nobody else");
    }
}

//! Every payload type of xmpp-im: what was read and written reads and writes the same. What is read out of a message
//! lies within its body, and a query of an archive comes to a page within its limits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xmpp_core::{
    payload::{Payload, PayloadError, archive::ArchiveQuery},
    stanza::Message,
    xml::{ElementRef, Stanza, Writer, XmlLimits, ns},
};
use xmpp_im::{
    archive, blocking, caps, carbons, command, external_services,
    message::{
        attention, correction, encryption, fallback, marker, nick, oob, reactions, reference, reply, retraction,
        spoiler, styling,
    },
    private, registration, roster, search, vcard,
};

type RoundTrip = fn(ElementRef<'_>) -> Option<Result<Stanza, PayloadError>>;

fn round_trip<T: Payload>(el: ElementRef<'_>) -> Option<Result<Stanza, PayloadError>> {
    T::matches(el).then(|| {
        T::read(el).map(|value| {
            let mut out = Writer::new(ns::CLIENT);
            value.write(&mut out);
            out.into_stanza()
        })
    })
}

const TYPES: &[(&str, RoundTrip)] = &[
    ("Attention", round_trip::<attention::Attention>),
    ("Block", round_trip::<blocking::Block>),
    ("BlockListAnswer", round_trip::<blocking::BlockListAnswer>),
    ("BlockListQuery", round_trip::<blocking::BlockListQuery>),
    ("BlockItem", round_trip::<blocking::Item>),
    ("Report", round_trip::<blocking::Report>),
    ("Unblock", round_trip::<blocking::Unblock>),
    ("CapsHashes", round_trip::<caps::CapsHashes>),
    ("Carbon", round_trip::<carbons::Carbon>),
    ("CarbonsDisable", round_trip::<carbons::Disable>),
    ("CarbonsEnable", round_trip::<carbons::Enable>),
    ("CarbonsPrivate", round_trip::<carbons::Private>),
    ("CommandElement", round_trip::<command::CommandElement>),
    ("Credentials", round_trip::<external_services::Credentials>),
    ("Services", round_trip::<external_services::Services>),
    ("Encryption", round_trip::<encryption::Encryption>),
    ("Fallback", round_trip::<fallback::Fallback>),
    ("Markable", round_trip::<marker::Markable>),
    ("Marker", round_trip::<marker::Marker>),
    ("Nick", round_trip::<nick::Nick>),
    ("OutOfBand", round_trip::<oob::OutOfBand>),
    ("OutOfBandQuery", round_trip::<oob::OutOfBandQuery>),
    ("PrivateXml", round_trip::<private::PrivateXml>),
    ("Reactions", round_trip::<reactions::Reactions>),
    ("Reference", round_trip::<reference::Reference>),
    ("RegistrationQuery", round_trip::<registration::RegistrationQuery>),
    ("Replace", round_trip::<correction::Replace>),
    ("Reply", round_trip::<reply::Reply>),
    ("Retract", round_trip::<retraction::Retract>),
    ("Retracted", round_trip::<retraction::Retracted>),
    ("RosterQuery", round_trip::<roster::RosterQuery>),
    ("RosterItem", round_trip::<roster::Item>),
    ("Search", round_trip::<search::Search>),
    ("Spoiler", round_trip::<spoiler::Spoiler>),
    ("Unstyled", round_trip::<styling::Unstyled>),
    ("VCard", round_trip::<vcard::VCard>),
];

fuzz_target!(|text: &str| {
    let Ok(element) = Stanza::parse(text, ns::CLIENT, &XmlLimits::authenticated()) else { return };
    for (name, round_trip) in TYPES {
        let Some(Ok(written)) = round_trip(element.root()) else { continue };
        let again = round_trip(written.root());
        let Some(Ok(again)) = again else { panic!("{name}: {written:?} does not read: {again:?}") };
        assert_eq!(written.as_str(), again.as_str(), "{name}");
    }
    if let Ok(query) = ArchiveQuery::read(element.root())
        && let Ok(selection) = archive::select(&query, 50, 250)
    {
        assert!(selection.max <= 250 && selection.ids.len() <= 1000, "{selection:?}");
    }
    if let Ok(message) = Message::from_stanza(element) {
        read(&message);
    }
});

/// What a client looks at in a message.
fn read(message: &Message) {
    let body = message.body().unwrap_or_default();
    let understood = fallback::stripped_body(message, &[reply::NS, retraction::NS]).unwrap_or_default();
    assert!(understood.len() <= body.len(), "{understood:?} of {body:?}");
    for reference in message.payloads().filter_map(|el| reference::Reference::read(el).ok()) {
        assert!(reference.part(&body).is_none_or(|part| body.contains(part)), "{reference:?}");
        if let Some(who) = reference.mentioned() {
            assert_eq!(reference::Reference::mention(&who, 0, 1).mentioned(), Some(who));
        }
    }
    if let Some(Ok(reactions)) = message.payload::<reactions::Reactions>() {
        let sensible = reactions.clone().sensible();
        let again = reactions::Reactions { reactions: sensible.clone(), ..reactions };
        assert_eq!(again.sensible(), sensible);
    }
}

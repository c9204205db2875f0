//! A Jingle session (XEP-0166) with a peer who says what it likes. Each line of the input is what comes to one end, after a digit:
//! 0 and 1 are ends of an accepted session, 2 and 3 of one that is not; 4 to 7 do something there themselves. What is refused
//! changes nothing, and what is said is XML that is read as it was written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xmpp_core::{
    payload::Payload,
    xml::{Stanza, Writer, XmlLimits},
};
use xmpp_filetransfer::{
    file::{Checksum, Description, Received, name},
    jingle::{Content, Jingle, Reason, Senders, Sent, Session, SessionLimits, propose::JingleMessage},
};

const INITIATE: &str = "<jingle xmlns='urn:xmpp:jingle:1' action='session-initiate' sid='s'>\
    <content creator='initiator' name='a'><description xmlns='urn:a'/><transport xmlns='urn:t'/></content>\
    <content creator='initiator' name='b'><description xmlns='urn:a'/><transport xmlns='urn:t'/>\
    <security xmlns='urn:s'/></content></jingle>";

fuzz_target!(|text: &str| {
    let Some(mut ends) = ends() else { return };
    for line in text.lines().take(64) {
        let mut chars = line.chars();
        let Some(digit) = chars.next().and_then(|digit| digit.to_digit(8)) else { continue };
        let Some(end) = ends.get_mut(digit as usize % 4) else { continue };
        if digit < 4 { hears(end, chars.as_str()) } else { does(end, chars.as_str().as_bytes()) }
    }
});

fn ends() -> Option<Vec<Session>> {
    let (alice, hatter) = ("alice@wonder.example/m".parse().ok()?, "hatter@tea.example/t".parse().ok()?);
    let limits = SessionLimits::default();
    let ask = Jingle::read(parse(INITIATE)?.root()).ok()?;
    let responder = Session::incoming(&ask, hatter, alice, limits).ok()?;
    let (me, peer) = (responder.peer().clone(), responder.me().clone());
    let (mut initiator, sent) = Session::initiate("s", me, peer, ask.contents, limits).ok()?;
    initiator.answered(sent.id, Ok(()));
    let (mut his, mut hers) = (initiator.clone(), responder.clone());
    let accept = hers.accept(hers.offered()).ok()?;
    his.receive(&accept.jingle).ok()?;
    hers.answered(accept.id, Ok(()));
    Some(vec![his, hers, initiator, responder])
}

fn parse(text: &str) -> Option<Stanza> {
    Stanza::parse(text, "", &XmlLimits::authenticated()).ok()
}

fn write(payload: &impl Payload) -> String {
    let mut w = Writer::new("");
    payload.write(&mut w);
    String::from_utf8(w.finish()).unwrap()
}

/// What is read is written so that it is read as the same.
fn again<T: Payload>(stanza: &Stanza) {
    if let Ok(one) = T::read(stanza.root()) {
        let written = write(&one);
        let other = T::read(parse(&written).unwrap().root());
        assert_eq!(write(&other.unwrap()), written);
    }
}

fn hears(end: &mut Session, text: &str) {
    if let Some(name) = name::safe(text) {
        assert_eq!(std::path::Path::new(&name).components().count(), 1);
        assert_eq!(name::safe(&name).as_ref(), Some(&name));
    }
    let Some(stanza) = parse(text) else { return };
    again::<Description>(&stanza);
    again::<Received>(&stanza);
    again::<Checksum>(&stanza);
    again::<JingleMessage>(&stanza);
    again::<Jingle>(&stanza);
    let Ok(jingle) = Jingle::read(stanza.root()) else { return };
    let before = format!("{:?}", end.contents().collect::<Vec<_>>());
    let phase = end.phase();
    if end.receive(&jingle).is_err() {
        assert_eq!((format!("{:?}", end.contents().collect::<Vec<_>>()), end.phase()), (before, phase));
    }
    assert!(end.contents().count() <= SessionLimits::default().contents);
}

fn does(end: &mut Session, how: &[u8]) {
    let [what, which, ..] = *how else { return };
    let ids: Vec<_> = end.contents().map(|content| content.id().clone()).collect();
    let Some(id) = ids.get(which as usize % ids.len().max(1)).cloned() else { return };
    let Some(transport) = parse("<transport xmlns='urn:u'/>") else { return };
    let sent = match what % 8 {
        0 => end.accept(end.offered()),
        1 => end.accept_content(vec![Content::of(id)]),
        2 => end.reject_content(vec![id], None),
        3 => end.remove_content(vec![id], Some(Reason::cancel())),
        4 => end.modify_content(vec![(id, Senders::None)]),
        5 => end.replace_transport(vec![(id, transport)]),
        6 => end.accept_transport(vec![(id, transport)]),
        _ => end.reject_transport(vec![id], None),
    };
    if let Ok(Sent { id, jingle }) = sent {
        assert_eq!(Jingle::read(parse(&write(&jingle)).unwrap().root()).unwrap(), jingle);
        let refused = Err(xmpp_filetransfer::jingle::JingleError::TieBreak.into());
        end.answered(id, if which % 2 == 0 { Ok(()) } else { refused });
    }
}

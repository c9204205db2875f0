//! Round trips of the payloads, on our samples and on the examples of the specifications.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use xmpp_core::{
    payload::{Payload, PayloadError},
    xml::{ElementRef, Node, Stanza, Writer, XmlLimits, ns},
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

/// Each type, a sample of it, and how many examples its document has at least.
const TYPES: &[(&str, RoundTrip, &str, usize)] = &[
    ("0066", round_trip::<oob::OutOfBand>, "<x xmlns='jabber:x:oob'><url>http://example.org/</url></x>", 1),
    ("0066", round_trip::<oob::OutOfBandQuery>, "<query xmlns='jabber:iq:oob' sid='a'><url>http://e</url></query>", 3),
    ("0172", round_trip::<nick::Nick>, "<nick xmlns='http://jabber.org/protocol/nick'>Ishmael</nick>", 5),
    ("0224", round_trip::<attention::Attention>, "<attention xmlns='urn:xmpp:attention:0'/>", 1),
    ("0308", round_trip::<correction::Replace>, "<replace xmlns='urn:xmpp:message-correct:0' id='a'/>", 1),
    ("0333", round_trip::<marker::Markable>, "<markable xmlns='urn:xmpp:chat-markers:0'/>", 2),
    ("0333", round_trip::<marker::Marker>, "<acknowledged xmlns='urn:xmpp:chat-markers:0' id='a'/>", 2),
    (
        "0372",
        round_trip::<reference::Reference>,
        "<reference xmlns='urn:xmpp:reference:0' type='odd' uri='xmpp:a' begin='1' end='2' anchor='xmpp:b'/>",
        3,
    ),
    ("0380", round_trip::<encryption::Encryption>, "<encryption xmlns='urn:xmpp:eme:0' namespace='a' name='b'/>", 1),
    ("0382", round_trip::<spoiler::Spoiler>, "<spoiler xmlns='urn:xmpp:spoiler:0'>hint</spoiler>", 2),
    ("0393", round_trip::<styling::Unstyled>, "<unstyled xmlns='urn:xmpp:styling:0'/>", 1),
    ("0424", round_trip::<retraction::Retract>, "<retract xmlns='urn:xmpp:message-retract:1' id='a'/>", 1),
    (
        "0424",
        round_trip::<retraction::Retracted>,
        "<retracted xmlns='urn:xmpp:message-retract:1' id='a' stamp='2019-09-20T23:09:32Z'/>",
        1,
    ),
    (
        "0428",
        round_trip::<fallback::Fallback>,
        "<fallback xmlns='urn:xmpp:fallback:0' for='a'><body start='0' end='3'/><subject/></fallback>",
        1,
    ),
    (
        "0444",
        round_trip::<reactions::Reactions>,
        "<reactions xmlns='urn:xmpp:reactions:0' id='a'><reaction>🐢</reaction><reaction>👋</reaction></reactions>",
        4,
    ),
    ("0461", round_trip::<reply::Reply>, "<reply xmlns='urn:xmpp:reply:0' to='a@b/c' id='d'/>", 2),
];

/// The tree as text in which neither the order of attributes nor blank texts show.
fn tree(el: ElementRef<'_>) -> String {
    let mut attrs: Vec<_> = el.attrs().map(|a| format!("{{{}}}{}={:?}", a.ns, a.name, a.value)).collect();
    attrs.sort();
    let children: String = el
        .nodes()
        .map(|node| match node {
            Node::Text(text) if text.trim_ascii().is_empty() => String::new(),
            Node::Text(text) => text.into_owned(),
            Node::Element(child) => tree(child),
        })
        .collect();
    format!("<{{{}}}{} {}>{children}</>", el.ns(), el.name(), attrs.join(" "))
}

#[test]
fn samples_come_back_as_they_are() {
    for (_, trip, sample, _) in TYPES {
        let stanza = Stanza::parse(sample, ns::CLIENT, &XmlLimits::default()).unwrap();
        let back = trip(stanza.root()).unwrap().unwrap_or_else(|e| panic!("{e}: {sample}"));
        assert_eq!(tree(back.root()), tree(stanza.root()));
    }
}

#[test]
fn examples_of_the_specifications_come_back() {
    let Some(folder) = std::env::var_os("XMPP_SPECS") else {
        println!("XMPP_SPECS is not set: the examples of the specifications are not read");
        return;
    };
    let lines = std::fs::read_to_string(std::path::Path::new(&folder).join("xep-examples.jsonl")).unwrap();
    let mut counts = vec![0; TYPES.len()];
    for line in lines.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        if !TYPES.iter().any(|one| row["xep"] == one.0) {
            continue;
        }
        let wrapped = format!("<wrap xmlns='{}'>{}</wrap>", row["ns"].as_str().unwrap(), row["xml"].as_str().unwrap());
        // What is not well-formed has lists of its own.
        let Ok(stanza) = Stanza::parse(&wrapped, "", &XmlLimits::default()) else { continue };
        let mut stack: Vec<_> = stanza.root().children().collect();
        while let Some(el) = stack.pop() {
            stack.extend(el.children());
            for (count, (xep, trip, ..)) in counts.iter_mut().zip(TYPES) {
                // Languages of hints are not kept.
                if row["xep"] != *xep || el.lang().is_some() {
                    continue;
                }
                if let Some(back) = trip(el) {
                    let back = back.unwrap_or_else(|e| panic!("{e}: {}", el.raw()));
                    assert_eq!(tree(back.root()), tree(el));
                    *count += 1;
                }
            }
        }
    }
    for (count, (xep, _, sample, least)) in counts.iter().zip(TYPES) {
        assert!(count >= least, "{xep}: {count} examples like {sample}");
    }
}

#[test]
fn xep0426_3_characters_are_code_points() {
    for (text, count) in [("Hello, world!", 13), ("こんにちは世界", 7), ("🧛🏾 👨‍👨‍👦‍👦 🇺🇳", 13)]
    {
        assert_eq!(characters::count(text), count);
    }
    assert_eq!(characters::part("abc", 0..3), Some("abc"));
    assert_eq!(characters::part("abc", 3..3), Some(""));
    assert_eq!(characters::part("abc", 0..4), None);
    assert_eq!(characters::part("é😺", 1..2), Some("😺"));
    #[allow(clippy::reversed_empty_ranges)]
    let backwards = 2..1;
    assert_eq!(characters::part("abc", backwards), None);
    assert_eq!(characters::part("abc", u32::MAX..u32::MAX), None);
    #[allow(clippy::single_range_in_vec_init)]
    let gone = characters::without("abcdef", vec![1..2, 4..u32::MAX, 0..2]);
    assert_eq!(gone, "cd");
}

#[test]
fn xep0428_2_parts_stand_in_for_what_is_understood_only() {
    let (body, range) = reply::quote("Anna wrote:\nHi", "Great");
    let mark = reply::fallback(range);
    assert_eq!(fallback::strip(&body, std::slice::from_ref(&mark), &[reply::NS]), "Great");
    assert_eq!(fallback::strip(&body, &[mark], &["urn:example:other"]), body);
    assert_eq!(fallback::strip(&body, &[fallback::Fallback::whole(retraction::NS)], &[retraction::NS]), "");
}

#[test]
fn xep0372_4_2_mentions_are_of_addresses() {
    let who = xmpp_core::jid::BareJid::new("jul%et@capulet.lit").unwrap();
    let mention = reference::Reference::mention(&who, 4, 10);
    assert_eq!((mention.uri.as_str(), mention.mentioned()), ("xmpp:jul%25et@capulet.lit", Some(who)));
    assert_eq!(mention.part("But Juliet!"), Some("Juliet"));
    let broken = reference::Reference { uri: "xmpp:%+1@x".into(), ..mention };
    assert_eq!(broken.mentioned(), None);
}

#[test]
fn xep0444_huge_lists_of_reactions_are_cut() {
    let reactions = (0..5000).map(|n| if n < 10 { "🐢".into() } else { format!("{n}") }).collect();
    let list = reactions::Reactions { id: "a".into(), reactions }.sensible();
    assert_eq!(list.len(), reactions::MOST);
    assert_eq!(list.iter().filter(|one| *one == "🐢").count(), 1);
    let long = reactions::Reactions { id: "a".into(), reactions: vec!["x".repeat(1000), " ".into()] };
    assert!(long.sensible().is_empty());
}

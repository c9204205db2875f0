//! Round trips of all shared payloads, on our samples and on the examples of the specifications; what is refused.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::table::{SAMPLES, TYPES};
use super::*;
use crate::xml::{Node, Stanza, XmlLimits, ns};
use proptest::prelude::*;

fn parse(xml: &str) -> Stanza {
    Stanza::parse(xml, ns::CLIENT, &XmlLimits::default()).unwrap_or_else(|e| panic!("{e}: {xml}"))
}

/// The tree as text in which order of attributes, order among children of different names, prefixes and texts that are
/// blank do not show.
fn tree(el: ElementRef<'_>) -> String {
    let mut attrs: Vec<_> = el.attrs().map(|a| format!("{{{}}}{}={:?}", a.ns, a.name, a.value)).collect();
    attrs.sort();
    let mut children: Vec<_> = el.children().map(|c| ((c.ns().to_owned(), c.name().to_owned()), tree(c))).collect();
    children.sort_by(|a, b| a.0.cmp(&b.0));
    let text: String = el
        .nodes()
        .filter_map(|n| match n {
            Node::Text(t) if !t.trim_ascii().is_empty() => Some(t.into_owned()),
            _ => None,
        })
        .collect();
    let children: String = children.into_iter().map(|c| c.1).collect();
    format!("<{{{}}}{} {}>{text}{children}</>", el.ns(), el.name(), attrs.join(" "))
}

fn trip_of(name: &str) -> super::table::RoundTrip {
    TYPES.iter().find(|t| t.0 == name).unwrap().1
}

#[test]
fn samples_come_back_as_they_are() {
    for (name, xml) in SAMPLES {
        let stanza = parse(xml);
        let back = trip_of(name)(stanza.root()).unwrap().unwrap_or_else(|e| panic!("{e}: {xml}"));
        assert_eq!(tree(back.root()), tree(stanza.root()), "{xml}");
    }
    for (name, _) in TYPES {
        assert!(SAMPLES.iter().any(|s| s.0 == *name), "{name} has no sample");
    }
}

#[test]
fn unknown_attributes_and_children_are_ignored() {
    for (name, xml) in SAMPLES {
        let plain = parse(xml);
        let odd = xml.replacen(" xmlns='", " odd='1' q:odd='2' xmlns:q='urn:example:q' xmlns='", 1);
        let odd = match odd.rfind("</") {
            Some(at) => format!("{}<q:odd><q:odder/></q:odd>{}", &odd[..at], &odd[at..]),
            None => odd,
        };
        let odd = parse(&odd);
        let trip = trip_of(name);
        let out = trip(odd.root()).unwrap().unwrap();
        let expected = tree(trip(plain.root()).unwrap().unwrap().root());
        let keeps = name.starts_with("Disco") || ["DataForm", "ArchiveQuery"].contains(name);
        if keeps && plain.root().children().next().is_some() {
            // Forms, discovery and queries of archives keep what they do not know.
            assert!(tree(out.root()).contains("{urn:example:q}odder"));
        } else {
            assert_eq!(tree(out.root()), expected, "{xml}");
        }
    }
}

#[test]
fn what_is_known_and_wrong_is_refused_by_name() {
    for (name, xml, message) in [
        ("Bound", "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>", "<bind>: jid is missing"),
        (
            "Bound",
            "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>a@b.example</jid></bind>",
            "<bind>: text should be an address with a resource",
        ),
        (
            "Bind",
            "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>a</resource><resource>b</resource></bind>",
            "<bind>: resource occurs more than once",
        ),
        ("Delay", "<delay xmlns='urn:xmpp:delay'/>", "<delay>: stamp is missing"),
        (
            "Delay",
            "<delay xmlns='urn:xmpp:delay' stamp='yesterday'/>",
            "<delay>: stamp should be a date and time as of XEP-0082",
        ),
        (
            "Delay",
            "<delay xmlns='urn:xmpp:delay' stamp='2010-07-10T23:08:25Z' from='@'/>",
            "<delay>: from should be an address",
        ),
        (
            "DataForm",
            "<x xmlns='jabber:x:data' type='odd'/>",
            "<x>: type should be one of form, submit, cancel, result",
        ),
        (
            "DataForm",
            "<x xmlns='jabber:x:data' type='form'><title>a</title><title>b</title></x>",
            "<x>: title occurs more than once",
        ),
        (
            "LastActivity",
            "<query xmlns='jabber:iq:last' seconds='-1'/>",
            "<query>: seconds should be an integer of 64 bits without sign",
        ),
        ("Hash", "<hash xmlns='urn:xmpp:hashes:2' algo='sha-256'>*</hash>", "<hash>: text should be base64"),
        (
            "ResultSet",
            "<set xmlns='http://jabber.org/protocol/rsm'><max>ten</max></set>",
            "<max>: text should be an integer of 32 bits without sign",
        ),
        (
            "Forwarded",
            "<forwarded xmlns='urn:xmpp:forward:0'><iq xmlns='jabber:client'/><iq xmlns='jabber:client'/></forwarded>",
            "<forwarded>: stanza occurs more than once",
        ),
    ] {
        let message = if name == "Bound" { message.replace("<bind>: text", "<jid>: text") } else { message.to_owned() };
        let error = trip_of(name)(parse(xml).root()).unwrap().unwrap_err();
        assert_eq!(error.to_string(), message, "{xml}");
    }
}

#[test]
fn another_element_is_refused() {
    let other = parse("<other xmlns='urn:example'/>");
    assert!(TYPES.iter().all(|(_, trip)| trip(other.root()).is_none()));
    assert_eq!(ping::Ping::read(other.root()), Err(PayloadError::other_element("ping")));
    assert_eq!(chat_state::ChatState::read(other.root()), Err(PayloadError::other_element("ChatState")));
    assert!(forward::Forwarded::read(other.root()).is_err());
}

/// All the ways to place a field at once.
#[derive(Clone, Debug, PartialEq, Payload)]
#[xml(name = "all", ns = "urn:example:all")]
struct All {
    #[xml(attr)]
    plain: String,
    #[xml(attr = "ren-amed")]
    renamed: Option<bool>,
    #[xml(attr, default)]
    number: u8,
    #[xml(attr, default = 7)]
    seven: i16,
    #[xml(attr, ns = "urn:example:q")]
    qualified: Option<String>,
    #[xml(attr)]
    r#type: Option<u64>,
    #[xml(attr)]
    for_: Option<String>,
    #[xml(lang)]
    lang: Option<String>,
    #[xml(child_text = "one")]
    one: Option<i32>,
    #[xml(child_text = "many", ns = "urn:example:many")]
    many: Vec<Base64>,
    #[xml(child_text = "colour", default = Colour::White)]
    colour: Colour,
    #[xml(flag = "on")]
    on: bool,
    #[xml(flag = "off", ns = "urn:example:off")]
    off: bool,
    #[xml(child)]
    boxed: Option<Box<Inner>>,
    #[xml(child, default)]
    fallback: Fallback,
    #[xml(children)]
    choices: Vec<Choice>,
}

#[derive(Clone, Debug, PartialEq, Payload)]
#[xml(name = "inner", ns = "urn:example:all")]
struct Inner(#[xml(text)] String, #[xml(attr = "n", default)] u32);

#[derive(Clone, Debug, Default, PartialEq, Payload)]
#[xml(name = "fallback", ns = "urn:example:all")]
struct Fallback {
    #[xml(text, default)]
    n: u32,
}

#[derive(Clone, Debug, PartialEq, TextValue)]
enum Colour {
    #[xml(value = "white")]
    White,
    #[xml(other)]
    Other(String),
}

#[derive(Clone, Debug, PartialEq, Payload)]
#[xml(ns = "urn:example:choice")]
enum Choice {
    #[xml(name = "unit")]
    Unit,
    #[xml(name = "fields")]
    Fields {
        #[xml(attr)]
        a: String,
        #[xml(children)]
        nested: Vec<Choice>,
    },
    #[xml(name = "tuple", ns = "urn:example:tuple")]
    Tuple(#[xml(text)] u32),
    Ping(ping::Ping),
}

#[derive(Payload)]
enum Open {
    Ping(ping::Ping),
    #[xml(unknown)]
    Other(Stanza),
}

fn written<T: Payload>(value: &T) -> Stanza {
    let mut w = Writer::new(ns::CLIENT);
    value.write(&mut w);
    w.into_stanza()
}

#[test]
fn derived_fields_of_every_place() {
    let all = All {
        plain: "a 'quoted' <value> &\n".into(),
        renamed: Some(true),
        number: 3,
        seven: -7,
        qualified: Some("q".into()),
        r#type: Some(u64::MAX),
        for_: Some("x".into()),
        lang: Some("de".into()),
        one: Some(-5),
        many: vec![Base64(vec![0, 255]), Base64(vec![])],
        colour: Colour::Other("mauve".into()),
        on: true,
        off: true,
        boxed: Some(Box::new(Inner("text".into(), 9))),
        fallback: Fallback { n: 4 },
        choices: vec![
            Choice::Unit,
            Choice::Fields { a: "1".into(), nested: vec![Choice::Tuple(8), Choice::Unit] },
            Choice::Ping(ping::Ping),
        ],
    };
    let stanza = written(&all);
    assert_eq!(All::read(stanza.root()).unwrap(), all);
    assert_eq!(stanza.root().attr("type").as_deref(), Some("18446744073709551615"));
    assert_eq!(stanza.root().attr("for").as_deref(), Some("x"));
    assert_eq!(stanza.root().attr_ns("qualified", "urn:example:q").as_deref(), Some("q"));
    assert!(stanza.root().child("off", "urn:example:off").is_some());
}

#[test]
fn derived_defaults_are_read_and_left_unwritten() {
    let bare = parse("<all xmlns='urn:example:all' plain=''/>");
    let all = All::read(bare.root()).unwrap();
    assert_eq!((all.number, all.seven, &all.colour, &all.fallback), (0, 7, &Colour::White, &Fallback { n: 0 }));
    assert_eq!(tree(written(&all).root()), tree(bare.root()));
}

#[test]
fn derived_enum_knows_its_elements() {
    assert_eq!(
        Choice::NAMES,
        [
            ("unit", "urn:example:choice"),
            ("fields", "urn:example:choice"),
            ("tuple", "urn:example:tuple"),
            ("ping", "urn:xmpp:ping")
        ]
    );
    assert_eq!((Choice::NAME, Choice::NS), Choice::NAMES[0]);
    assert!(!Choice::matches(parse("<tuple xmlns='urn:example:choice'/>").root()));
    let other = parse("<a xmlns='urn:example:a' b='c'/>");
    assert!(Open::matches(other.root()));
    let Open::Other(kept) = Open::read(other.root()).unwrap() else { panic!("not kept") };
    assert_eq!(tree(written(&Open::Other(kept)).root()), tree(other.root()));
    assert!(matches!(Open::read(parse("<ping xmlns='urn:xmpp:ping'/>").root()), Ok(Open::Ping(_))));
}

#[test]
fn data_form_values() {
    use form::{DataForm, Field, FormKind};
    let form = DataForm::typed(FormKind::Submit, "urn:example:f")
        .with(Field::new("yes").typed_value(&true))
        .with(Field::new("list").value("a").value("b"))
        .with(Field::new("empty").value(""))
        .with(Field::new("n").value("x"));
    assert_eq!(form.form_type(), Some("urn:example:f"));
    assert_eq!(form.get::<bool>("yes"), Some(Ok(true)));
    assert_eq!(form.values("list"), ["a", "b"]);
    assert_eq!(form.get::<u32>("empty"), None);
    assert!(form.get::<u32>("n").unwrap().is_err());
    assert_eq!(form.value("absent"), None);
}

#[test]
fn xep0068_4_1_only_a_hidden_field_names_the_type() {
    let form = |kind| {
        form::DataForm::read(
            parse(&format!(
                "<x xmlns='jabber:x:data' type='{kind}'><field var='FORM_TYPE'><value>f</value></field></x>"
            ))
            .root(),
        )
        .unwrap()
    };
    assert_eq!(form("result").form_type(), None);
    assert_eq!(form("submit").form_type(), Some("f"));
}

#[cfg(feature = "minidom")]
#[test]
fn any_minidom_type_is_a_payload() {
    use minidom::Element;
    #[derive(Clone, Debug, PartialEq)]
    struct Mood(String);
    impl TryFrom<Element> for Mood {
        type Error = &'static str;
        fn try_from(e: Element) -> Result<Self, &'static str> {
            if e.is("mood", "urn:example:mood") { Ok(Mood(e.text())) } else { Err("no mood") }
        }
    }
    impl From<Mood> for Element {
        fn from(m: Mood) -> Element {
            Element::builder("mood", "urn:example:mood").append(m.0).build()
        }
    }
    let mood = parse("<mood xmlns='urn:example:mood'>fine &amp; dandy</mood>");
    let read = Dom::<Mood>::read(mood.root()).unwrap();
    assert_eq!(read, Dom(Mood("fine & dandy".into())));
    assert_eq!(tree(written(&read).root()), tree(mood.root()));
    let ping = parse("<ping xmlns='urn:xmpp:ping'/>");
    assert!(!Dom::<Mood>::matches(ping.root()));
    assert_eq!(Dom::<Mood>::read(ping.root()).unwrap_err().to_string(), "<element>: element was refused: no mood");
}

proptest! {
    /// The fuzzer's property: whatever is read is written so that it reads the same.
    #[test]
    fn what_was_read_reads_the_same_again(
        which in 0..SAMPLES.len(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), "[-a-z0-9 <>='&;/:T.]{0,3}"), 1..4),
    ) {
        let mut xml = SAMPLES[which].1.to_owned();
        for (at, len, put) in cuts {
            let chars: Vec<char> = xml.chars().collect();
            let at = at.index(chars.len() + 1);
            let end = (at + len.index(4)).min(chars.len());
            xml = chars[..at].iter().copied().chain(put.chars()).chain(chars[end..].iter().copied()).collect();
        }
        if let Ok(stanza) = Stanza::parse(&xml, ns::CLIENT, &XmlLimits::default()) {
            for (name, trip) in TYPES {
                if let Some(Ok(once)) = trip(stanza.root()) {
                    let twice = trip(once.root()).unwrap().unwrap_or_else(|e| panic!("{name}: {e}: {once:?}"));
                    prop_assert_eq!(once.as_str(), twice.as_str(), "{}", name);
                }
            }
        }
    }

    #[test]
    fn xep0082_any_moment_comes_back(secs in -62_135_596_800i64..=253_402_300_799, nanos in 0..1_000_000_000u32) {
        let t = DateTime::from_unix(secs, nanos).unwrap();
        prop_assert_eq!(DateTime::from_text(&t.to_text()), Ok(t));
    }

    #[test]
    fn any_text_is_read_as_a_value_or_refused(text in any::<String>()) {
        let _ = (bool::from_text(&text), u64::from_text(&text), f64::from_text(&text), Base64::from_text(&text));
        let _ = (DateTime::from_text(&text), TimeZone::from_text(&text), crate::jid::Jid::from_text(&text));
    }
}

/// Elements of the specifications' examples that break their own specification, or that show an older one.
/// Specification, part of our complaint, reason.
const KNOWN_BAD: &[(&str, &str, &str)] = &[
    ("0198", "-sequence-number", "a word where a count stands"),
    ("0397", "https://xmpp.org/extensions/isr/0", "an extension inside, which is not kept"),
    ("0480", "previd is missing", "a stream feature by the name of a request"),
    ("0004", "{form-type}", "a template, not an example"),
    ("0068", "<option>: value is missing", "the options' texts stand outside a value"),
    ("0248", "<option>: value is missing", "the options' texts stand outside a value"),
    ("0214", "<x>: type is missing", "a form without its type"),
    ("0357", "<x>: type is missing", "a form without its type"),
    ("0175", "59BEC12A", "an address in capitals, which is prepared when read"),
    ("0305", "bind}jid", "blanks around the address, which are dropped when read"),
    ("rfc6120", "bind}jid", "blanks around the address, which are dropped when read"),
    ("0237", "bind", "RFC 3920's <required/> in the bind feature"),
    ("0366", "bind", "RFC 3920's <required/> in the bind feature"),
    ("0388", "bind", "RFC 3920's <required/> in the bind feature"),
    ("0355", "{urn:xmpp:forward:0}iq", "the stanza lacks its namespace"),
    ("0356", "{urn:xmpp:forward:0}iq", "the stanza lacks its namespace"),
    ("0424", "{urn:xmpp:forward:0}message", "the stanza lacks its namespace"),
    ("0425", "{urn:xmpp:forward:0}message", "the stanza lacks its namespace"),
    ("0452", "{urn:xmpp:forward:0}message", "the stanza lacks its namespace"),
];

#[test]
fn examples_of_the_specifications_come_back() {
    let Ok(dir) = std::env::var("XMPP_SPECS") else {
        println!("XMPP_SPECS is not set: the examples of the specifications are not read");
        return;
    };
    let mut counts = std::collections::BTreeMap::<&str, usize>::new();
    let mut failures = Vec::new();
    let mut met = std::collections::BTreeSet::new();
    for file in ["xep-examples.jsonl", "rfc-examples.jsonl"] {
        let lines = std::fs::read_to_string(std::path::Path::new(&dir).join(file)).unwrap();
        for line in lines.lines() {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            let elided = row["flags"].as_array().unwrap().iter().any(|f| f == "elided");
            if elided || !matches!(row["kind"].as_str(), Some("stanza" | "fragment" | "stream")) {
                continue;
            }
            let text = without_restricted(row["xml"].as_str().unwrap());
            let declared: String = row["decl"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(p, n)| format!(" xmlns:{p}='{}'", n.as_str().unwrap()))
                .collect();
            let wrapped = format!("<wrap{declared} xmlns='{}'>{text}</wrap>", row["ns"].as_str().unwrap());
            let Ok(stanza) = Stanza::parse(&wrapped, "", &XmlLimits::default()) else {
                failures.push(format!("{}: does not parse: {text}", row["xep"]));
                continue;
            };
            let mut stack: Vec<_> = stanza.root().children().collect();
            while let Some(el) = stack.pop() {
                stack.extend(el.children());
                if let Some(failure) = check_example(el, &mut counts) {
                    let whose = row["xep"].as_str().or(row["rfc"].as_str()).unwrap_or("?");
                    match KNOWN_BAD.iter().position(|(x, part, _)| *x == whose && failure.contains(part)) {
                        Some(known) => _ = met.insert(known),
                        None => failures.push(format!("{whose} {}: {failure}", row["index"])),
                    }
                }
            }
        }
    }
    println!("{counts:?}");
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    assert_eq!(met.len(), KNOWN_BAD.len(), "some are no longer bad: {met:?}");
    assert!(counts.values().sum::<usize>() > 400, "{counts:?}");
}

/// Comments and XML declarations, which examples have and streams may not.
fn without_restricted(xml: &str) -> String {
    let mut out = String::new();
    let mut rest = xml;
    while let Some(at) = [rest.find("<!--"), rest.find("<?xml")].into_iter().flatten().min() {
        out.push_str(&rest[..at]);
        let end = if rest[at..].starts_with("<!--") { "-->" } else { "?>" };
        rest = rest[at..].find(end).map_or("", |e| &rest[at + e + end.len()..]);
    }
    out + rest
}

/// Fails unless one of the types that this element can be reads it and writes the same.
fn check_example(el: ElementRef<'_>, counts: &mut std::collections::BTreeMap<&'static str, usize>) -> Option<String> {
    let mut failure = None;
    for (name, trip) in TYPES {
        let there = tree(el);
        let complaint = match trip(el) {
            None => continue,
            Some(Err(e)) => format!("{name}: {e}: {}", el.raw()),
            Some(Ok(back)) if tree(back.root()) == there => {
                *counts.entry(name).or_default() += 1;
                return None;
            }
            Some(Ok(back)) => {
                let back = tree(back.root());
                let same = there.bytes().zip(back.bytes()).take_while(|(a, b)| a == b).count();
                let from = |t: &str| t.chars().skip(same.saturating_sub(80)).take(240).collect::<String>();
                format!("{name}: came back different:\n  {}\n  {}", from(&there), from(&back))
            }
        };
        failure.get_or_insert(complaint);
    }
    failure
}

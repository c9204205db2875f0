#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::collections::HashMap;
use std::hash::BuildHasher;

use proptest::prelude::*;

use super::escape::{escape_local, unescape_local};
use super::nickname::{comparison_key, enforce};
use super::*;

fn canonical(s: &str) -> String {
    Jid::new(s).unwrap_or_else(|e| panic!("{s:?}: {e}")).to_string()
}

/// The rules that hold for every text whatever.
fn check(text: &str) {
    for jid in [Jid::new(text), Jid::lenient(text)].into_iter().flatten() {
        assert_eq!(Jid::lenient(jid.as_str()).unwrap(), jid, "lenient is idempotent: {text:?}");
        assert!(jid.as_str().len() <= MAX_TEXT);
        let (local, domain, resource) = split(jid.as_str());
        assert_eq!((jid.local(), jid.domain(), jid.resource()), (local, domain, resource), "{text:?}");
        for part in [local, Some(domain), resource].into_iter().flatten() {
            assert!((1..=MAX_PART).contains(&part.len()), "{text:?}");
        }
        assert_eq!(jid.is_bare(), resource.is_none());
        let bare = jid.to_bare();
        assert_eq!(bare, *jid.bare_str());
        assert_eq!((bare.local(), bare.domain(), bare.resource()), (local, domain, None));
        if let Some(borrowed) = JidRef::parse(jid.as_str()) {
            assert_eq!(borrowed, jid.as_jid_ref());
            assert_eq!(borrowed.to_jid(), jid);
        }
    }
    let Ok(jid) = Jid::new(text) else {
        assert!(JidRef::parse(text).is_none(), "{text:?}");
        return;
    };
    let again = Jid::new(jid.as_str());
    assert_eq!(again.as_ref(), Ok(&jid), "prep(prep(x)) == prep(x): {text:?}");
    assert_eq!(Jid::from_parts(jid.local(), jid.domain(), jid.resource()).as_ref(), Ok(&jid), "{text:?}");
    let (local, domain, resource) = split(text);
    assert_eq!(Jid::from_parts(local, domain, resource).as_ref(), Ok(&jid), "fast and slow path agree: {text:?}");
    if let Some(resource) = resource {
        assert_eq!(jid.to_bare().with_resource(resource).unwrap(), jid);
    }
    if let Some(borrowed) = JidRef::parse(text) {
        assert_eq!(borrowed.as_str(), jid.as_str(), "{text:?}");
    }
}

#[test]
fn rfc7622_3_5_valid_table() {
    for s in [
        "juliet@example.com",
        "juliet@example.com/foo",
        "juliet@example.com/foo bar",
        "juliet@example.com/foo@bar",
        "foo\\20bar@example.com",
        "fussball@example.com",
        "fu\u{df}ball@example.com",
        "\u{3c0}@example.com",
        "\u{3c3}@example.com/foo",
        "\u{3c2}@example.com/foo",
        "king@example.com/\u{265a}",
        "example.com",
        "example.com/foobar",
        "a.example.com/b@example.net",
    ] {
        assert_eq!(canonical(s), s);
        check(s);
    }
    assert_eq!(canonical("\u{3a3}@example.com/foo"), "\u{3c3}@example.com/foo");
    let jid = Jid::new("a.example.com/b@example.net").unwrap();
    assert_eq!((jid.local(), jid.domain(), jid.resource()), (None, "a.example.com", Some("b@example.net")));
}

#[test]
fn rfc7622_3_5_invalid_table() {
    for (s, why) in [
        ("\"juliet\"@example.com", JidError::BadLocal),
        ("foo bar@example.com", JidError::BadLocal),
        ("@example.com", JidError::EmptyLocal),
        ("@example.com/", JidError::EmptyLocal),
        ("henry\u{2163}@example.com", JidError::BadLocal),
        ("\u{265a}@example.com", JidError::BadLocal),
        ("juliet@", JidError::NoDomain),
        ("/foobar", JidError::NoDomain),
        ("", JidError::NoDomain),
        ("@", JidError::EmptyLocal),
        ("/", JidError::NoDomain),
        ("example.com/", JidError::EmptyResource),
    ] {
        assert_eq!(Jid::new(s), Err(why), "{s:?}");
        assert_eq!(Jid::lenient(s), Err(why), "{s:?}");
        check(s);
    }
}

#[test]
fn abuse_a044_one_form_or_none() {
    for (s, form) in [
        ("JULIET@EXAMPLE.COM/Balcony", Some("juliet@example.com/Balcony")),
        // Greek sigma at the end of a word: one letter, one form.
        ("\u{3b1}\u{3a3}@example.com", Some("\u{3b1}\u{3c3}@example.com")),
        ("\u{ff2a}\u{ff55}@example.com", Some("ju@example.com")),
        ("e\u{301}@example.com", Some("\u{e9}@example.com")),
        ("\u{130}@example.com", Some("i\u{307}@example.com")),
        ("\u{ff76}\u{ff9e}@example.com", Some("\u{30ac}@example.com")),
        ("\u{627}\u{644}@example.com", Some("\u{627}\u{644}@example.com")),
        ("\u{5d0}1@example.com", Some("\u{5d0}1@example.com")),
        ("l\u{b7}l@example.com", Some("l\u{b7}l@example.com")),
        ("\u{915}\u{94d}\u{200d}@example.com", Some("\u{915}\u{94d}\u{200d}@example.com")),
        // KELVIN SIGN has a compatibility form.
        ("\u{212a}@example.com", None),
        // Soft hyphen, RTL override, ZWJ and ZWNJ out of their contexts.
        ("a\u{ad}b@example.com", None),
        ("a\u{202e}b@example.com", None),
        ("a\u{200d}b@example.com", None),
        ("a\u{200c}b@example.com", None),
        // The bidi rule: mixed directions, first a digit, both kinds of digits.
        ("a\u{5d0}@example.com", None),
        ("1\u{5d0}@example.com", None),
        ("\u{627}1\u{661}@example.com", None),
        ("\u{627}\u{661}\u{6f1}@example.com", None),
        // Fullwidth @ and /, which must not become separators.
        ("a\u{ff20}b@example.com", None),
        ("a\u{ff0f}b@example.com", None),
        ("a\u{b7}b@example.com", None),
        ("\u{1100}@example.com", None),
        ("a\u{640}@example.com", None),
        ("a\u{0}@example.com", None),
    ] {
        assert_eq!(Jid::new(s).ok().as_ref().map(Jid::as_str), form, "{s:?}");
        check(s);
    }
}

#[test]
fn abuse_a045_unassigned_and_lengths() {
    for c in ['\u{378}', '\u{fdd0}', '\u{ffff}', '\u{10ffff}', '\u{e000}'] {
        assert_eq!(Jid::new(&format!("{c}@example.org")), Err(JidError::BadLocal));
        assert_eq!(Jid::new(&format!("example.org/{c}")), Err(JidError::BadResource));
    }
    let full = "a".repeat(1023);
    check(&format!("{full}@example.org/{full}"));
    assert!(Jid::new(&format!("{full}@example.org/{full}")).is_ok());
    assert_eq!(Jid::new(&format!("{full}a@example.org")), Err(JidError::TooLong));
    assert_eq!(Jid::new(&format!("example.org/{full}a")), Err(JidError::TooLong));
    assert_eq!(Jid::lenient(&format!("example.org/{}", "\u{e9}".repeat(512))), Err(JidError::TooLong));
    // U+0130 and U+023A become longer in small letters, U+0958 does when it is composed.
    for grows in ["\u{130}".repeat(511), "\u{23a}".repeat(511)] {
        assert_eq!(grows.len(), 1022);
        assert_eq!(Jid::new(&format!("{grows}@example.org")), Err(JidError::TooLong));
    }
    assert_eq!(Jid::new(&format!("example.org/{}", "\u{958}".repeat(341))), Err(JidError::TooLong));
    assert_eq!(Jid::new("\u{958}@example.org"), Err(JidError::BadLocal));
    // And text that shrinks to fit does.
    assert_eq!(Jid::new(&format!("{}@example.org", "\u{ff41}".repeat(1023))).unwrap().local(), Some(&*full));
    assert_eq!(Jid::new(&format!("{}@example.org", "a".repeat(1 << 20))), Err(JidError::TooLong));
}

#[test]
fn abuse_a045_splits_at_the_first_slash() {
    assert_eq!(split("a@b@c/d@e/f"), (Some("a"), "b@c", Some("d@e/f")));
    assert_eq!(Jid::new("a@b@c/d@e/f"), Err(JidError::BadDomain));
    let jid = Jid::new("a@b/d@e/f").unwrap();
    assert_eq!((jid.local(), jid.domain(), jid.resource()), (Some("a"), "b", Some("d@e/f")));
    assert_eq!(Jid::new("b//").unwrap().resource(), Some("/"));
}

#[test]
fn abuse_a046_one_form_of_a_domain() {
    for (s, form) in [
        ("EXAMPLE.org", "example.org"),
        ("example.org.", "example.org"),
        ("example.org\u{3002}", "example.org"),
        ("example\u{3002}org", "example.org"),
        ("example\u{ff0e}org\u{ff61}", "example.org"),
        ("\u{ff45}xample.org", "example.org"),
        ("xn--bcher-kva.example", "b\u{fc}cher.example"),
        ("XN--BCHER-KVA.example", "b\u{fc}cher.example"),
        ("B\u{dc}CHER.example", "b\u{fc}cher.example"),
        ("bu\u{308}cher.example", "b\u{fc}cher.example"),
        ("fa\u{df}.example", "fa\u{df}.example"),
        ("192.0.2.1", "192.0.2.1"),
        ("[2001:DB8:0:0::1]", "[2001:db8::1]"),
        ("[::ffff:192.0.2.1]", "[::ffff:192.0.2.1]"),
        ("[::ffff:c000:201]", "[::ffff:192.0.2.1]"),
        ("my_server_1", "my_server_1"),
        ("r3---sn-x.example", "r3---sn-x.example"),
        ("localhost", "localhost"),
    ] {
        for (before, after) in [("", ""), ("a@", ""), ("", "/R"), ("a@", "/\u{e9}")] {
            assert_eq!(canonical(&format!("{before}{s}{after}")), format!("{before}{form}{after}"));
            check(&format!("{before}{s}{after}"));
        }
    }
}

#[test]
fn abuse_a046_not_domains() {
    let label = "a".repeat(63);
    assert!(Jid::new(&format!("{label}.{label}.{label}.{}", "a".repeat(61))).is_ok());
    for s in [
        "xn--example-.org",
        "xn--.org",
        "xn--a",
        ".",
        "..",
        "\u{3002}",
        "example.org..",
        "example.org\u{3002}.",
        "a..b",
        ".a",
        "-a.b",
        "a-.b",
        "a b",
        "a%b",
        "a:5222",
        "[::1",
        "[::1]:5222",
        "[]",
        "[fe80::1%eth0]",
        "::1",
        "a\u{200b}\u{ff20}b",
        "a\u{ff0f}b",
        "\u{265a}.example",
        "xn--45h.example",
        "\u{5d0}a.example",
        &format!("{label}a.example"),
        &format!("{label}.{label}.{label}.{}", "a".repeat(62)),
        &format!("{}.example", "\u{fc}".repeat(60)),
    ] {
        assert_eq!(Jid::new(s), Err(JidError::BadDomain), "{s:?}");
        assert_eq!(Jid::new(&format!("a@{s}/b")), Err(JidError::BadDomain), "{s:?}");
        check(s);
    }
}

#[test]
fn abuse_a048_resources_by_opaque_string() {
    for (s, form) in [
        ("a@b/R", "a@b/R"),
        ("a@b/r", "a@b/r"),
        ("a@b/e\u{301}", "a@b/\u{e9}"),
        ("a@b/x\u{a0}y\u{3000}z", "a@b/x y z"),
        ("a@b/ foo ", "a@b/ foo "),
        ("a@b/\u{212a}", "a@b/K"),
        ("a@b/\u{ff2b}\u{2163}", "a@b/\u{ff2b}\u{2163}"),
        ("a@b/a\u{5d0}", "a@b/a\u{5d0}"),
    ] {
        assert_eq!(canonical(s), form);
        check(s);
    }
    for s in ["a@b/\u{7}", "a@b/x\u{7f}", "a@b/x\u{85}", "a@b/x\u{200d}y", "a@b/\u{2028}", "a@b/\u{202e}"] {
        assert_eq!(Jid::new(s), Err(JidError::BadResource), "{s:?}");
    }
}

#[test]
fn rfc7622_3_4_lenient_resources_pass_as_they_are() {
    for resource in ["e\u{301}", "\u{1f468}\u{200d}\u{1f469}", "\u{378}", "\u{202e}x", "\u{a0}", "\u{e000}"] {
        let jid = Jid::lenient(&format!("Julie\u{301}@EXAMPLE.org/{resource}")).unwrap();
        assert_eq!(jid, *format!("juli\u{e9}@example.org/{resource}"));
        check(jid.as_str());
    }
    for resource in ["\0", "a\nb", "\u{7f}", "\u{9f}", "\u{fffe}", "\u{ffff}"] {
        assert_eq!(Jid::lenient(&format!("a@b/{resource}")), Err(JidError::BadResource));
    }
    assert_eq!(Jid::lenient("a\u{ad}@b/c"), Err(JidError::BadLocal));
}

#[test]
fn abuse_a049_escaped_text_is_compared_as_written() {
    let escaped = Jid::new("d\\27artagnan@example.org").unwrap();
    assert_eq!(escaped.local(), Some("d\\27artagnan"));
    assert_ne!(Jid::new("a\\5c5c@example.org"), Jid::new("a\\5c@example.org"));
    assert_eq!(escape_local(" a"), None);
    assert_eq!(escape_local("a "), None);
    assert_eq!(unescape_local("\\20a\\20"), "\\20a\\20");
    assert_eq!(unescape_local("\\5c5c\\20\\5C20\\41\\"), "\\5c \\20\\41\\");
    assert_eq!(unescape_local("plain"), "plain");
    // Capital digits are small ones once prepared.
    assert_eq!(escape_local("a\\2Fb").unwrap(), "a\\5c2Fb");
}

#[test]
fn xep0106_vectors() {
    let Ok(specs) = std::env::var("XMPP_SPECS") else {
        println!("XMPP_SPECS is not set: vectors not read");
        return;
    };
    let text = std::fs::read_to_string(std::path::Path::new(&specs).join("vectors.json")).unwrap();
    let vectors: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let mut seen = 0;
    for v in vectors.iter().filter(|v| v["spec"] == "XEP-0106") {
        let name = v["input"].as_str().unwrap().strip_suffix("@example.com").unwrap();
        let wire = v["expected"].as_str().unwrap();
        assert_eq!(format!("{}@example.com", escape_local(name).unwrap()), wire);
        assert_eq!(unescape_local(Jid::new(wire).unwrap().local().unwrap()), name);
        seen += 1;
    }
    assert!(seen >= 12, "{seen}");
}

#[test]
fn rfc8266_4_nicknames() {
    for (name, shown, key) in [
        ("Foo", "Foo", "foo"),
        ("Foo Bar", "Foo Bar", "foo bar"),
        ("\u{3a3}", "\u{3a3}", "\u{3c3}"),
        ("\u{3c3}", "\u{3c3}", "\u{3c3}"),
        ("\u{3c2}", "\u{3c2}", "\u{3c2}"),
        ("\u{265a}", "\u{265a}", "\u{265a}"),
        ("Richard \u{2163}", "Richard IV", "richard iv"),
        ("  a \u{a0}\u{3000} b ", "a b", "a b"),
        ("\u{a8}a", "\u{308}a", "\u{308}a"),
        ("\u{212b}", "\u{c5}", "\u{e5}"),
    ] {
        assert_eq!(enforce(name).as_deref(), Some(shown), "{name:?}");
        assert_eq!(comparison_key(name).as_deref(), Some(key), "{name:?}");
    }
    for name in ["", " ", "\u{3000}", "a\u{ad}", "a\nb", &"a".repeat(1024), &"\u{fdfa}".repeat(341)] {
        assert_eq!(enforce(name), None);
        assert_eq!(comparison_key(name), None);
    }
}

#[test]
fn rfc8264_8_derived_properties() {
    use precis::{Property, property};
    for (c, expected) in [
        ('!', Property::Valid),
        (' ', Property::FreeOnly),
        ('\u{7f}', Property::Disallowed),
        ('\u{df}', Property::Valid),
        ('\u{b7}', Property::Context),
        ('\u{34f}', Property::Disallowed),
        ('\u{2163}', Property::FreeOnly),
        ('\u{1c5}', Property::FreeOnly),
        ('\u{488}', Property::FreeOnly),
        ('\u{ac00}', Property::Valid),
        ('\u{115f}', Property::Disallowed),
        ('\u{1f600}', Property::FreeOnly),
        ('\u{378}', Property::Disallowed),
        ('\u{1fffe}', Property::Disallowed),
        ('\u{2029}', Property::Disallowed),
        ('\u{e0001}', Property::Disallowed),
    ] {
        assert_eq!(property(c), expected, "{c:?}");
    }
}

#[test]
fn every_character_settles_in_every_part() {
    use icu_properties::props::GeneralCategory as Gc;
    for c in '\0'..=char::MAX {
        // Few forms for the many that are alike: a debug build would take minutes over all.
        match precis::category(c) {
            Gc::Unassigned | Gc::PrivateUse => {
                for s in [format!("{c}@b"), format!("{c}.b"), format!("b/{c}")] {
                    assert!(Jid::new(&s).is_err(), "{s:?}");
                }
                continue;
            }
            Gc::OtherLetter => check(&format!("{c}@{c}.b/{c}")),
            _ => {
                let alone = [format!("{c}@b"), format!("{c}.b"), format!("b/{c}")];
                let behind = [format!("a{c}@b"), format!("a{c}b"), format!("b/e{c}")];
                alone.iter().chain(&behind).for_each(|s| check(s));
            }
        }
        if let Some(name) = enforce(&format!("a{c}")) {
            assert_eq!(enforce(&name).as_ref(), Some(&name), "{c:?}");
        }
        if let Some(name) = comparison_key(&format!("a{c}")) {
            assert_eq!(comparison_key(&name).as_ref(), Some(&name), "{c:?}");
        }
    }
}

#[test]
fn text_finds_addresses_in_tables() {
    let state = std::hash::RandomState::new();
    let jid = Jid::new("\u{e9}@example.org/x").unwrap();
    assert_eq!(state.hash_one(&jid), state.hash_one(jid.as_str()));
    let bare = BareJid::new("A@Example.org").unwrap();
    let table = HashMap::from([(bare.clone(), 1)]);
    assert_eq!(table.get(JidRef::parse("a@example.org/x").unwrap().bare_str()), Some(&1));
    assert_eq!(table.get(&Jid::from(bare)), Some(&1));
    assert_eq!(size_of::<Jid>(), 24);
    assert_eq!(size_of::<JidRef<'_>>(), 24);
}

#[test]
fn kinds_convert() {
    assert_eq!(BareJid::new("a@b/c"), Err(JidError::NotBare));
    assert_eq!(FullJid::new("a@b"), Err(JidError::NotFull));
    let full: FullJid = "A@B/C".parse().unwrap();
    assert_eq!(full.resource(), "C");
    assert_eq!(full.to_bare(), BareJid::new("a@b").unwrap());
    assert_eq!(full.with_resource("D").unwrap(), "a@b/D");
    assert_eq!(full.to_bare().with_resource(""), Err(JidError::EmptyResource));
    assert_eq!(Jid::from(full.clone()).into_full(), Ok(full.clone()));
    assert_eq!(format!("{full} {full:?}"), "a@b/C FullJid(\"a@b/C\")");
    let bare = full.to_bare();
    assert!(std::ptr::eq(bare.to_bare().as_str(), bare.as_str()), "a bare address shares its text");
}

#[test]
fn only_canonical_ascii_is_borrowed() {
    for s in ["a@b/C", "b", "a@b", "a.b-c_d@x.example/ e/f@g"] {
        assert_eq!(JidRef::parse(s).unwrap().to_jid(), Jid::new(s).unwrap());
    }
    for s in
        ["A@b/c", "a@B/c", "a@b.", "a@xn--bcher-kva", "[::1]", "a@b/\u{e9}", "a@b/", "@b", "a@", "", "a b@c", "a@b@c"]
    {
        assert_eq!(JidRef::parse(s), None, "{s:?}");
    }
}

#[cfg(feature = "jid")]
#[test]
fn the_jid_crate_and_back() {
    for s in ["a@b/c", "b", "b\u{fc}cher@example.org/x y"] {
        let theirs = ::jid::Jid::new(s).unwrap();
        let ours = Jid::try_from(&theirs).unwrap();
        assert_eq!(ours, s);
        assert_eq!(::jid::Jid::try_from(&ours).unwrap(), theirs);
    }
    let theirs = ::jid::FullJid::try_from(&FullJid::new("a@b/c").unwrap()).unwrap();
    assert_eq!(FullJid::try_from(&theirs).unwrap(), "a@b/c");
    let theirs = ::jid::BareJid::try_from(&BareJid::new("a@b").unwrap()).unwrap();
    assert_eq!(BareJid::try_from(&theirs).unwrap(), "a@b");
}

fn awkward() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => any::<char>().prop_map(String::from),
        3 => "[a-zA-Z0-9._@/ \\[\\]:\\\\-]{1,4}",
        // Marks, joiners, directions, widths, sigmas, jamo, dots, Indic and Arabic digits.
        2 => "[\u{300}-\u{36f}\u{5d0}-\u{5ea}\u{610}-\u{66f}\u{6f0}-\u{6f9}\u{900}-\u{94f}\u{1100}-\u{11ff}\u{200c}\u{200d}\u{3a3}\u{3c2}\u{3002}\u{3040}-\u{30ff}\u{ff00}-\u{ffef}]{1,4}",
        1 => Just("xn--".to_owned()),
        1 => "[a-z0-9]{1,8}".prop_map(|s| format!("xn--{s}")),
    ];
    prop::collection::vec(piece, 0..10).prop_map(|v| v.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rfc7622_3_prepared_text_is_its_own_form(text in awkward(), local in awkward(), resource in awkward()) {
        check(&text);
        check(&format!("{local}@example.org"));
        check(&format!("{local}@{text}/{resource}"));
        check(&format!("example.org/{resource}"));
    }

    #[test]
    fn rfc8266_enforced_names_are_their_own_form(name in awkward()) {
        if let Some(shown) = enforce(&name) {
            prop_assert_eq!(enforce(&shown), Some(shown));
        }
        if let Some(key) = comparison_key(&name) {
            prop_assert_eq!(comparison_key(&key), Some(key));
        }
    }

    #[test]
    fn xep0106_escaped_names_come_back(name in "[a-z0-9\\\\2cf \"&'/:<>@\u{e9}]{0,12}") {
        if let Some(escaped) = escape_local(&name) {
            prop_assert!(!escaped.contains(|c| c == ' ' || prepare::forbidden_in_local(c)));
            prop_assert_eq!(unescape_local(&escaped).into_owned(), name.clone());
        }
    }
}

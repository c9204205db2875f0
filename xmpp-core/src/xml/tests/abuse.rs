//! What hostile peers send.
use super::*;
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

fn condition(text: &str) -> &'static str {
    error_of(text).unwrap_or_else(|| panic!("accepted: {text}")).condition()
}

/// Refused with the condition, however the bytes are cut.
fn refused_as(text: &str, expected: &str) {
    assert_eq!(condition(text), expected, "{text}");
    let bytes = format!("{HEADER}{text}");
    let whole = whole(bytes.as_bytes());
    assert_eq!(scan(&mut Scanner::new(XmlLimits::default()), bytes.as_bytes().chunks(1)), whole, "{text}");
}

#[test]
fn abuse_a001_document_type_is_refused() {
    for text in ["<!DOCTYPE a [<!ENTITY b 'c'>]>", "<message><!DOCTYPE a>", "<message><!ENTITY b 'c'>"] {
        refused_as(text, "restricted-xml");
    }
    let before = whole(b"<?xml version='1.0'?><!DOCTYPE stream [<!ENTITY a 'b'>]><stream:stream>");
    assert_eq!(before.len(), 1);
    assert!(matches!(before[0], Seen::Error(XmlError::Restricted(_))), "{before:?}");
}

#[test]
fn abuse_a002_no_entity_is_ever_expanded() {
    let start = Instant::now();
    let mut text = String::from("<!DOCTYPE lolz [<!ENTITY lol 'lol'>");
    for i in 1..1000 {
        text.push_str(&format!("<!ENTITY lol{i} '&lol;&lol;&lol;'>"));
    }
    refused_as(&text, "restricted-xml");
    refused_as("<m>&lol9;</m>", "restricted-xml");
    refused_as("<m><!ENTITY % p SYSTEM 'http://a.example/'></m>", "restricted-xml");
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn abuse_a003_comments_and_instructions_are_refused() {
    for text in ["<!-- a -->", "<m><!-- a --></m>", "<?php a?>", "<m><?a?></m>", "<?xml version='1.0'?>"] {
        refused_as(text, "restricted-xml");
    }
    let twice = whole(b"<?xml version='1.0'?><?xml version='1.0'?><a>");
    assert!(matches!(twice[..], [Seen::Error(XmlError::Restricted(_))]), "{twice:?}");
    let late = whole(b" <?xml version='1.0'?><a>");
    assert!(matches!(late[..], [Seen::Error(XmlError::Restricted(_))]), "{late:?}");
}

#[test]
fn abuse_a004_only_the_five_entities() {
    refused_as("<m>&custom;</m>", "restricted-xml");
    refused_as("<m a='&custom;'/>", "restricted-xml");
    for bare in ["<m>&</m>", "<m>& amp;</m>", "<m>&amp</m>", "<m>&;</m>", "<m a='&'/>", "<m>&#;</m>", "<m>&#x;</m>"] {
        refused_as(bare, "not-well-formed");
    }
    assert_eq!(client("<m>&lt;&gt;&amp;&apos;&quot;</m>").root().text(), "<>&'\"");
    assert_eq!(client("<m a='&lt;&gt;&amp;&apos;&quot;'/>").root().attr("a").unwrap(), "<>&'\"");
}

#[test]
fn abuse_a005_not_utf8() {
    let bad: [&[u8]; 6] =
        [b"\xC0\xAF", b"\xED\xA0\x80", b"\xF8\x88\x80\x80\x80", b"\xE2\x82", b"\xFF", b"\xF4\x90\x80\x80"];
    for bytes in bad {
        for (before, after) in [("<m>", "</m>"), ("<m a='", "'/>"), ("<m", "/>"), ("<m><", "/></m>")] {
            let input = [HEADER.as_bytes(), before.as_bytes(), bytes, after.as_bytes()].concat();
            let expected = whole(&input);
            assert_eq!(expected[1..], [Seen::Error(XmlError::UnsupportedEncoding)], "{before}{bytes:?}");
            assert_eq!(scan(&mut Scanner::new(XmlLimits::default()), input.chunks(1)), expected);
        }
    }
    // A character cut in two by the network is none of these.
    let whole = after_header("<m>\u{20AC}</m>");
    let bytes = format!("{HEADER}<m>\u{20AC}</m>");
    assert_eq!(scan(&mut Scanner::new(XmlLimits::default()), bytes.as_bytes().chunks(1))[1..], whole);
}

#[test]
fn abuse_a006_other_encodings() {
    let encodings: [&[u8]; 6] = [
        b"\xFE\xFF\0<\0s",
        b"\xFF\xFE<\0s\0",
        b"\0<\0s",
        b"<\0s\0",
        b"<?xml version='1.0' encoding='latin1'?><a>",
        b"<?xml version='1.0' encoding=\"UTF-16\"?><a>",
    ];
    for bytes in encodings {
        assert_eq!(whole(bytes), [Seen::Error(XmlError::UnsupportedEncoding)], "{bytes:?}");
        let cut = scan(&mut Scanner::new(XmlLimits::default()), bytes.chunks(1));
        assert_eq!(cut, [Seen::Error(XmlError::UnsupportedEncoding)], "{bytes:?}");
    }
    // RFC 6120 §11.6: U+FEFF is a character like others, so it's text outside the root.
    let marked = whole(b"\xEF\xBB\xBF<?xml version='1.0'?><a>");
    assert!(matches!(marked[..], [Seen::Error(XmlError::NotWellFormed(_))]), "{marked:?}");
    assert_eq!(client("<m>\u{FEFF}</m>").root().text(), "\u{FEFF}");
}

#[test]
fn abuse_a007_characters_outside_xml() {
    for c in ["\0", "\u{1}", "\u{B}", "\u{1F}", "\u{FFFE}", "\u{FFFF}"] {
        refused_as(&format!("<m>{c}</m>"), "not-well-formed");
        refused_as(&format!("<m a='{c}'/>"), "not-well-formed");
        refused_as(&format!("<m><![CDATA[{c}]]></m>"), "not-well-formed");
        refused_as(&format!("<m {c}/>"), "not-well-formed");
    }
    for n in ["0", "x0", "1", "xB", "xD800", "xDFFF", "xFFFE", "65535", "x110000", "99999999999999999999"] {
        refused_as(&format!("<m>&#{n};</m>"), "not-well-formed");
        refused_as(&format!("<m a='&#{n};'/>"), "not-well-formed");
    }
    let fine = "\u{7F}\u{85}\u{E000}\u{FFFD}\u{FEFF}\u{EFFF}\u{1FFFE}\u{10FFFF}";
    assert_eq!(client(&format!("<m>{fine}</m>")).root().text(), fine);
    assert_eq!(client("<m>&#9;&#xA;&#13;&#x10FFFF;&#0065;</m>").root().text(), "\t\n\r\u{10FFFF}A");
}

#[test]
fn abuse_a008_names() {
    for name in ["*", "1a", "=\"\"", "-a", ".a", "", " a", "\u{D7}", "\u{37E}", "a\u{D7}", "a*", "\u{300}a", "\u{B7}"] {
        refused_as(&format!("<{name}/>"), "not-well-formed");
        refused_as(&format!("<m {name}a*='x'/>"), "not-well-formed");
    }
    for attr in ["*=\"x\"", "1='x'", "a", "a=", "a=x", "='x'", "a='x'b='y'", "a='x' a='y'", "a='<'", "a 'x'"] {
        refused_as(&format!("<m {attr}/>"), "not-well-formed");
    }
    for name in ["_", "\u{E9}l\u{E9}ment", "\u{10000}", "a-1.\u{B7}", "\u{4E2D}\u{6587}"] {
        assert_eq!(client(&format!("<{name} {name} = '1'></{name}\n>")).root().name(), name);
    }
}

#[test]
fn abuse_a009_prefixes() {
    for text in [
        "<a:b/>",
        "<m a:b='c'/>",
        "<m xmlns:a=''/>",
        "<m xmlns:xml='urn:x'/>",
        "<m xmlns:a='http://www.w3.org/XML/1998/namespace'/>",
        "<m xmlns='http://www.w3.org/XML/1998/namespace'/>",
        "<m xmlns:xmlns='urn:x'/>",
        "<m xmlns:xmlns='http://www.w3.org/2000/xmlns/'/>",
        "<m xmlns:a='http://www.w3.org/2000/xmlns/'/>",
        "<m xmlns='http://www.w3.org/2000/xmlns/'/>",
        "<m xmlns:a='http://www.w3.org/2000/xmlns&#x2F;'/>",
        "<xmlns:m/>",
        "<m><a xmlns:p='urn:p'/><p:b/></m>",
    ] {
        refused_as(text, "bad-namespace-prefix");
    }
    for text in [
        "<a:b:c xmlns:a='urn:a'/>",
        "<:a/>",
        "<a:/>",
        "<a:1 xmlns:a='u:a'/>",
        "<m xmlns:='u:a'/>",
        "<m :a='b'/>",
        "<m xmlns='a' xmlns='b'/>",
        "<m xmlns:p='a' xmlns:p='a'/>",
        "<m xmlns:p='a' xmlns:q='a' p:x='1' q:x='2'/>",
        "<m xmlns:p='a&#98;' xmlns:q='ab' p:x='1' q:x='2'/>",
    ] {
        refused_as(text, "not-well-formed");
    }
    let fine = client(
        "<m xmlns:xml='http://www.w3.org/XML/1998/namespace' xmlns:p='u:a' xmlns:q='u:b' p:x='1' q:x='2' x='3' \
         xml:space='preserve'><p:c xmlns:p='u:c'/><p:d/><e xmlns=''/></m>",
    );
    let spaces: Vec<_> = fine.root().children().map(|c| c.ns().to_owned()).collect();
    assert_eq!(spaces, ["u:c", "u:a", ""]);
    assert_eq!(fine.root().attrs().count(), 4);
}

fn with_limits(limits: XmlLimits, bytes: &[u8]) -> Vec<Seen> {
    let whole = scan(&mut Scanner::new(limits), [bytes]);
    assert_eq!(scan(&mut Scanner::new(limits), bytes.chunks(1)), whole);
    assert_eq!(scan(&mut Scanner::new(limits), bytes.chunks(7)), whole);
    whole
}

#[test]
fn abuse_a010_stanza_at_and_over_the_limit() {
    let limits = XmlLimits { stanza_bytes: 200, ..XmlLimits::default() };
    let stanza = |len: usize| format!("{HEADER}<m>{}</m><n/>", "x".repeat(len - 7));
    let fits = with_limits(limits, stanza(200).as_bytes());
    assert!(matches!(&fits[..], [Seen::Open(_), Seen::Stanza(s, ..), Seen::Stanza(..)] if s.len() == 200), "{fits:?}");
    let over = with_limits(limits, stanza(201).as_bytes());
    assert_eq!(over[1..], [Seen::Error(XmlError::Limit("stanza-too-big"))]);
    // A limit passed first wins over an error that comes later, and the other way round.
    let late = with_limits(limits, format!("{HEADER}<m>{}</n>", "x".repeat(300)).as_bytes());
    assert_eq!(late[1..], [Seen::Error(XmlError::Limit("stanza-too-big"))]);
    let early = with_limits(limits, format!("{HEADER}<m></n>{}", "x".repeat(300)).as_bytes());
    assert!(matches!(early[1..], [Seen::Error(XmlError::NotWellFormed(_))]), "{early:?}");
}

#[test]
fn abuse_a010_memory_is_bounded_before_the_limit() {
    let mut scanner = Scanner::new(XmlLimits { stanza_bytes: 1000, ..XmlLimits::default() });
    scan(&mut scanner, [HEADER.as_bytes()]);
    let mut taken = 0;
    for _ in 0..5000 {
        if scan(&mut scanner, [b"<m>".as_slice()]).iter().any(|s| matches!(s, Seen::Error(_))) {
            break;
        }
        taken += 3;
    }
    assert!(taken <= 1000, "{taken} bytes were taken");
    assert!(scanner.is_idle(), "a spent scanner holds nothing");
    let error = scanner.scan(&mut b"<n/>".as_slice()).unwrap_err();
    assert!(matches!(error, XmlError::Limit(_)));
}

#[test]
fn abuse_a011_10001_bytes_before_authentication() {
    let limits = XmlLimits::unauthenticated();
    let stanza = |len: usize| format!("{HEADER}<auth>{}</auth>", "x".repeat(len - 13));
    assert!(matches!(with_limits(limits, stanza(10_000).as_bytes())[1..], [Seen::Stanza(..)]));
    let over = with_limits(limits, stanza(10_001).as_bytes());
    assert_eq!(over[1..], [Seen::Error(XmlError::Limit("stanza-too-big"))]);
    assert_eq!(XmlError::Limit("stanza-too-big").condition(), "policy-violation");
}

#[test]
fn abuse_a012_endless_header() {
    let limits = XmlLimits::unauthenticated();
    for start in ["<stream:stream ", "<stream:stream to='", "<?xml version='1.0'", "<", "  ", "<a"] {
        let mut scanner = Scanner::new(limits);
        let fill = [b' '; 1000];
        let chunks = std::iter::once(start.as_bytes()).chain(std::iter::repeat_n(&fill[..], 11));
        let seen = scan(&mut scanner, chunks);
        assert_eq!(seen.len(), 1, "{start}");
        assert!(matches!(seen[0], Seen::Error(_)), "{start} {seen:?}");
    }
    // Exactly the limit, with all that is before the header.
    let header = |pad: usize| format!("<?xml version='1.0'?>{}{HEADER}", " ".repeat(pad));
    let fit = 10_000 - header(0).len();
    assert!(matches!(with_limits(limits, header(fit).as_bytes())[..], [Seen::Open(_)]));
    let over = with_limits(limits, header(fit + 1).as_bytes());
    assert_eq!(over, [Seen::Error(XmlError::Limit("stanza-too-big"))]);
}

#[test]
fn abuse_a012_blanks_between_stanzas() {
    let limits = XmlLimits { blank_bytes: 10, ..XmlLimits::default() };
    let fits = with_limits(limits, format!("{HEADER}{b}<m/>{b}<m/>{b}", b = " \n\t\r      ").as_bytes());
    assert_eq!(fits.len(), 3);
    let over = with_limits(limits, format!("{HEADER}{}<m/>", " ".repeat(11)).as_bytes());
    assert_eq!(over[1..], [Seen::Error(XmlError::Limit("blanks"))]);
}

#[test]
fn abuse_a013_depth() {
    let limits = XmlLimits { depth: 5, ..XmlLimits::default() };
    let nest = |n: usize| format!("{HEADER}{}{}", "<a>".repeat(n), "</a>".repeat(n));
    assert!(matches!(with_limits(limits, nest(5).as_bytes())[1..], [Seen::Stanza(..)]));
    assert_eq!(with_limits(limits, nest(6).as_bytes())[1..], [Seen::Error(XmlError::Limit("depth"))]);
    let deep = whole(format!("{HEADER}{}", "<a>".repeat(100_000)).as_bytes());
    assert!(matches!(deep[1..], [Seen::Error(XmlError::Limit(_))]));
}

#[test]
fn abuse_a013_nothing_recurses() {
    let text = format!("{}{}", "<a>".repeat(60_000), "</a>".repeat(60_000));
    let limits = XmlLimits { stanza_bytes: 1 << 20, depth: u16::MAX, elements: 100_000, ..XmlLimits::default() };
    // A small stack: anything that recurses per level overflows it.
    let thread = std::thread::Builder::new().stack_size(128 * 1024).spawn(move || {
        let stanza = Stanza::parse(&text, "", &limits).unwrap();
        assert!(tree(stanza.root()).len() > 60_000);
        let copy = stanza.root().to_stanza();
        assert_eq!(copy.as_str().len(), stanza.as_str().len() - 3);
        let mut out = Vec::new();
        stanza.rewrite("").write(&mut out);
        assert_eq!(out, text.as_bytes());
        drop(stanza.clone());
    });
    thread.unwrap().join().unwrap();
}

#[test]
fn abuse_a014_many_elements() {
    let limits = XmlLimits { elements: 10, ..XmlLimits::default() };
    let many = |n: usize| format!("{HEADER}<m>{}</m>", "<a/>".repeat(n - 1));
    assert!(matches!(with_limits(limits, many(10).as_bytes())[1..], [Seen::Stanza(..)]));
    assert_eq!(with_limits(limits, many(11).as_bytes())[1..], [Seen::Error(XmlError::Limit("elements"))]);
    let quota = whole(many(30_000).as_bytes());
    assert_eq!(quota[1..], [Seen::Error(XmlError::Limit("elements"))]);
    let limits = XmlLimits { elements: 100_000, ..XmlLimits::default() };
    let text = format!("<m>{}</m>", "<a/>".repeat(30_000));
    let stanza = Stanza::parse(&text, "", &limits).unwrap();
    assert!(stanza.memory() <= 7 * text.len(), "{} for {}", stanza.memory(), text.len());
}

#[test]
fn abuse_a015_many_attributes() {
    let limits = XmlLimits { attributes: 10, ..XmlLimits::default() };
    let many = |n: usize| {
        let attrs: String = (0..n).map(|i| format!(" a{i}=''")).collect();
        format!("{HEADER}<m{attrs}/>")
    };
    assert!(matches!(with_limits(limits, many(10).as_bytes())[1..], [Seen::Stanza(..)]));
    assert_eq!(with_limits(limits, many(11).as_bytes())[1..], [Seen::Error(XmlError::Limit("attributes"))]);
    let start = Instant::now();
    assert_eq!(whole(many(10_000).as_bytes())[1..], [Seen::Error(XmlError::Limit("attributes"))]);
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn abuse_a016_many_declarations() {
    let limits = XmlLimits { attributes: 10, ..XmlLimits::default() };
    let many = |n: usize| {
        let attrs: String = (0..n).map(|i| format!(" xmlns:a{i}='u'")).collect();
        format!("{HEADER}<m{attrs}/>")
    };
    assert!(matches!(with_limits(limits, many(10).as_bytes())[1..], [Seen::Stanza(..)]));
    assert_eq!(with_limits(limits, many(11).as_bytes())[1..], [Seen::Error(XmlError::Limit("attributes"))]);
    assert_eq!(whole(many(10_000).as_bytes())[1..], [Seen::Error(XmlError::Limit("attributes"))]);
    // In scope at once, over several levels.
    let nested = |n: usize| {
        let open: String = (0..n).map(|i| format!("<m xmlns:a{i}='u'>")).collect();
        format!("{HEADER}{open}{}", "</m>".repeat(n))
    };
    let limits = XmlLimits { depth: 200, ..XmlLimits::default() };
    assert!(matches!(with_limits(limits, nested(128).as_bytes())[1..], [Seen::Stanza(..)]));
    assert_eq!(with_limits(limits, nested(129).as_bytes())[1..], [Seen::Error(XmlError::Limit("namespaces"))]);
}

#[test]
fn name_length_at_and_over_the_limit() {
    let limits = XmlLimits { name_bytes: 300, ..XmlLimits::default() };
    let long = |n: usize| "n".repeat(n);
    for (open, close) in [("<", "/>"), ("<m ", "='1'/>"), ("<m xmlns:", "='u:x'/>")] {
        let fixed = open.trim_start_matches("<m").trim_start_matches([' ', '<']).len();
        let text = |n: usize| format!("{HEADER}{open}{}{close}", long(n - fixed));
        assert!(matches!(with_limits(limits, text(300).as_bytes())[1..], [Seen::Stanza(..)]), "{open}");
        let over = with_limits(limits, text(301).as_bytes());
        assert_eq!(over[1..], [Seen::Error(XmlError::Limit("name-too-long"))], "{open}");
    }
    let name = long(300);
    let stanza = client(&format!("<m {name}='1'/>"));
    assert_eq!(stanza.root().attr(&name).unwrap(), "1");
    assert_eq!(stanza.root().attrs().next().unwrap().name, name);
}

/// Seconds that this thread has had a core for: what else the machine does is not counted.
fn worked() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap()).as_secs_f64()
}

/// Seconds to scan, the best of three.
fn seconds(text: &str, chunk: usize) -> f64 {
    let run = || {
        let limits = XmlLimits { stanza_bytes: 1 << 23, elements: 1 << 20, ..XmlLimits::default() };
        let mut scanner = Scanner::new(limits);
        let start = worked();
        let seen = scan(&mut scanner, std::iter::once(HEADER.as_bytes()).chain(text.as_bytes().chunks(chunk)));
        assert_eq!(seen.len(), 2);
        worked() - start
    };
    run().min(run()).min(run())
}

#[test]
fn abuse_a017_time_is_linear() {
    let texts: [fn(usize) -> String; 5] = [
        |n| format!("<m>{}</m>", "&lt;".repeat(n)),
        |n| format!("<m a='{}'/>", "&lt;".repeat(n)),
        |n| format!("<m>{}</m>", "]]".repeat(n)),
        |n| format!("<m><![CDATA[{}]]></m>", "]]".repeat(n)),
        |n| format!("<m>{}</m>", "x>".repeat(n)),
    ];
    for text in texts {
        for chunk in [1, 1 << 20] {
            let (small, large) = (seconds(&text(20_000), chunk), seconds(&text(160_000), chunk));
            assert!(large < small.max(0.000_5) * 40.0, "{small} s, 8 times as much: {large} s");
        }
    }
}

#[test]
fn abuse_a017_a_million_references() {
    let limits = XmlLimits { stanza_bytes: 1 << 23, ..XmlLimits::default() };
    let stanza = Stanza::parse(&format!("<m>{}</m>", "&lt;".repeat(1_000_000)), "", &limits).unwrap();
    assert_eq!(stanza.root().text().len(), 1_000_000);
}

#[test]
fn abuse_a018_unknown_elements_are_for_the_stream_to_judge() {
    assert!(matches!(after_header("<whatever xmlns='urn:x'/>")[..], [Seen::Stanza(..)]));
}

#[test]
fn abuse_a019_the_wrong_namespace_is_visible() {
    let seen = after_header("<message xmlns='jabber:server'/>");
    let [Seen::Stanza(_, _, tree)] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!(tree, "({jabber:server}message)");
}

#[test]
fn abuse_a020_a_strange_header_is_visible() {
    let seen = whole(b"<stream:stream xmlns='jabber:client' xmlns:stream='urn:wrong' version='99.0'>");
    let [Seen::Open(header)] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((header.ns.as_str(), header.to.as_deref()), ("urn:wrong", None));
    assert_eq!(header.version.as_deref(), Some("99.0"));
    let unbound = whole(b"<stream:stream xmlns='jabber:client'>");
    assert!(matches!(unbound[..], [Seen::Error(XmlError::BadPrefix(_))]), "{unbound:?}");
}

#[test]
fn abuse_a021_misplaced_content() {
    for text in ["text", "<m/>text", "&amp;", "<![CDATA[a]]>", "</other>", "</stream:stream><m/>", "</stream:stream>a"]
    {
        let expected = if text.starts_with("<!") { "restricted-xml" } else { "not-well-formed" };
        refused_as(text, expected);
    }
    for before in ["<m/>", "text<m/>", "</stream:stream>"] {
        let seen = whole(before.as_bytes());
        assert!(matches!(seen[..], [Seen::Open(_)] | [Seen::Error(_)]), "{before}: {seen:?}");
    }
    // A second header is refused when it comes: its end may never do so.
    for second in ["<stream:stream to='a'>", "<stream:stream to='a'><m/>", "<stream:stream/>"] {
        refused_as(second, "not-well-formed");
    }
    // Within a stanza it is an element like others.
    assert!(matches!(&after_header("<m><stream:stream/></m>")[..], [Seen::Stanza(..)]));
    assert!(matches!(after_header("</stream:stream >\n ")[..], [Seen::Close]));
}

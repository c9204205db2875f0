//! Rules of RFC 6120 §11 and of XML that the scanner keeps.
use super::*;

#[test]
fn rfc6120_4_7_header_is_read() {
    let text = "<?xml version='1.0' encoding='utf-8'?>\n<stream:stream from='j@im.example' to='im.example' \
                version='1.0' xml:lang='en' id='a&amp;b' xmlns='jabber:client' \
                xmlns:stream='http://etherx.jabber.org/streams'>";
    let seen = whole(text.as_bytes());
    let [Seen::Open(h)] = seen.as_slice() else { panic!("{seen:?}") };
    assert_eq!((h.prefix.as_str(), h.name.as_str(), h.ns.as_str()), ("stream", "stream", ns::STREAMS));
    assert_eq!(h.content_ns, ns::CLIENT);
    assert_eq!(h.to.as_deref(), Some("im.example"));
    assert_eq!(h.from.as_deref(), Some("j@im.example"));
    assert_eq!(h.id.as_deref(), Some("a&b"));
    assert_eq!(h.lang.as_deref(), Some("en"));
    assert_eq!(h.version.as_deref(), Some("1.0"));
}

#[test]
fn stanzas_and_end_of_stream_in_one_read() {
    let seen = after_header("<message to='b'><body>Hi &lt;3</body></message> \n<presence/></stream:stream>\n");
    let [Seen::Stanza(message, plain, tree), Seen::Stanza(presence, ..), Seen::Close] = seen.as_slice() else {
        panic!("{seen:?}")
    };
    assert_eq!(message, "<message to='b'><body>Hi &lt;3</body></message>");
    assert!(plain);
    assert_eq!(tree, r#"({jabber:client}message {}to="b"({jabber:client}body"Hi <3"))"#);
    assert_eq!(presence, "<presence/>");
}

#[test]
fn every_split_gives_the_same_events() {
    let text = format!(
        "<?xml version='1.0'?>{HEADER}<message a='1>2' b=\"it's\"><body>x &amp; y ]] é</body><![CDATA[a]]b]]></message \
         ><iq><q xmlns='u:v' xml:lang='de'/></iq>  <stream:features/></stream:stream >"
    );
    let expected = whole(text.as_bytes());
    assert_eq!(expected.len(), 5, "{expected:?}");
    for at in 0..text.len() {
        let (a, b) = text.as_bytes().split_at(at);
        assert_eq!(scan(&mut Scanner::new(XmlLimits::default()), [a, b]), expected, "split at {at}");
    }
    assert_eq!(scan(&mut Scanner::new(XmlLimits::default()), text.as_bytes().chunks(1)), expected);
}

#[test]
fn a_stream_inside_a_stream_is_named_at_once_however_it_is_split() {
    let text = format!("{HEADER}<stream:stream id='never closed");
    let nested = Seen::Error(XmlError::NotWellFormed("a stream inside a stream"));
    for size in 1..text.len() {
        let seen = scan(&mut Scanner::new(XmlLimits::default()), text.as_bytes().chunks(size));
        assert_eq!(seen.last(), Some(&nested), "in pieces of {size}");
    }
    let longer = format!("{HEADER}<stream:streams id='never closed");
    assert_eq!(scan(&mut Scanner::new(XmlLimits::default()), longer.as_bytes().chunks(3)).len(), 1);
}

#[test]
fn elements_are_walked_without_copies() {
    let s = client(
        "<message xml:lang='en' to='a&#x40;b' x:k='v' xmlns:x='urn:x'>one<body>hi</body><a xmlns='urn:a'><body/></a>two\
         </message>",
    );
    let root = s.root();
    assert!(root.is("message", ns::CLIENT));
    assert_eq!(root.attr("to").unwrap(), "a@b");
    assert_eq!(root.attr("k"), None);
    assert_eq!(root.attr_ns("k", "urn:x").unwrap(), "v");
    assert_eq!(root.lang().unwrap(), "en");
    assert_eq!(root.text(), "onetwo");
    assert_eq!(root.children().count(), 2);
    assert_eq!(root.nodes().count(), 4);
    assert_eq!(root.child("body", ns::CLIENT).unwrap().text(), "hi");
    assert_eq!(root.child("a", "urn:a").unwrap().raw(), "<a xmlns='urn:a'><body/></a>");
    assert_eq!(root.child("a", "urn:a").unwrap().children().next().unwrap().ns(), "urn:a");
    assert!(!s.is_plain(), "it has a numeric reference");
}

#[test]
fn rfc6120_11_5_declaration() {
    for fine in [
        "<?xml version='1.0'?>",
        "<?xml version=\"1.0\" encoding='utf-8' standalone='no' ?>",
        "<?xml\n version = '1.0' encoding='UTF-8'?>\n",
    ] {
        assert!(matches!(whole(format!("{fine}{HEADER}").as_bytes())[..], [Seen::Open(_)]), "{fine}");
    }
    for wrong in [
        "<?xml?>",
        "<?xml ?>",
        "<?xmlversion='1.0'?>",
        "<?xml version='1.1'?>",
        "<?xml version='2.0'?>",
        "<?xml version='1.0\"?>",
        "<?xml encoding='utf-8'?>",
        "<?xml version='1.0'encoding='utf-8'?>",
        "<?xml version='1.0' standalone='maybe'?>",
        "<?xml version='1.0' more='x'?>",
        "<?xml-stylesheet href='a'?>",
        "<?>",
    ] {
        let seen = whole(format!("{wrong}{HEADER}").as_bytes());
        assert!(matches!(seen[..], [Seen::Error(_)]), "{wrong}: {seen:?}");
        let text = format!("{wrong}{HEADER}");
        assert_eq!(scan(&mut Scanner::new(XmlLimits::default()), text.as_bytes().chunks(1)), seen);
    }
}

#[test]
fn rfc6120_8_1_5_lang_is_inherited() {
    let mut scanner = Scanner::new(XmlLimits::default());
    let header = HEADER.replace("version", "xml:lang='de&#x2D;CH' version");
    let mut input = [header.as_bytes(), b"<m/><m xml:lang='en'/>"].concat();
    input.extend_from_slice(b"<m><![CDATA[]]></m>");
    let mut rest = input.as_slice();
    let mut stanzas = Vec::new();
    while let Some(event) = scanner.scan(&mut rest).unwrap() {
        if let Event::Stanza(s) = event {
            stanzas.push(s);
        }
    }
    let write = |s: &Stanza| {
        let mut out = Vec::new();
        s.rewrite(ns::CLIENT).write(&mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(stanzas[0].inherited_lang(), Some("de-CH"));
    assert_eq!(write(&stanzas[0]), "<m xml:lang='de-CH'/>");
    assert_eq!(write(&stanzas[1]), "<m xml:lang='en'/>");
    assert_eq!(write(&stanzas[2]), "<m xml:lang='de-CH'/>");
    assert_eq!(client("<m/>").inherited_lang(), None);
}

#[test]
fn prefixes_of_the_header_are_known_and_resolved_when_rewritten() {
    let mut scanner = Scanner::new(XmlLimits::default());
    let mut input: &[u8] = b"<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
        xmlns:db='jabber:server:dialback'><db:result to='a' db:x='1'>key</db:result>";
    scanner.scan(&mut input).unwrap();
    let Some(Event::Stanza(s)) = scanner.scan(&mut input).unwrap() else { panic!() };
    assert!(s.root().is("result", "jabber:server:dialback"));
    assert_eq!(s.root().prefix(), "db");
    assert!(!s.is_plain());
    let mut out = Vec::new();
    s.rewrite(ns::CLIENT).write(&mut out);
    assert_eq!(
        std::str::from_utf8(&out).unwrap(),
        "<result xmlns='jabber:server:dialback' to='a' xmlns:n0='jabber:server:dialback' n0:x='1'>key</result>"
    );
}

#[test]
fn rfc7395_3_3_framed_elements_stand_alone() {
    let frame = |text: &str| scan(&mut Scanner::framed(XmlLimits::default()), [text.as_bytes()]);
    let open = frame("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='a'/>");
    assert!(
        matches!(&open[..], [Seen::Stanza(_, true, t)] if t.starts_with("({urn:ietf:params:xml:ns:xmpp-framing}open"))
    );
    assert!(matches!(&frame("<message xmlns='jabber:client'/>")[..], [Seen::Stanza(..)]));
    assert!(matches!(frame("<stream:features/>")[..], [Seen::Error(XmlError::BadPrefix(_))]));
    assert!(matches!(frame("<?xml version='1.0'?>")[..], [Seen::Error(_)]));
    assert!(matches!(frame("</stream:stream>")[..], [Seen::Error(_)]));
    assert!(matches!(frame("</>")[..], [Seen::Error(_)]));
    let mut scanner = Scanner::framed(XmlLimits::default());
    assert!(scanner.scan(&mut b"<a".as_slice()).unwrap().is_none());
    assert!(!scanner.is_idle());
    scanner.restart();
    assert!(scanner.is_idle());
}

#[test]
fn restart_expects_a_header_again() {
    let mut scanner = Scanner::new(XmlLimits::default());
    assert_eq!(scan(&mut scanner, [HEADER.as_bytes(), b"<a/>"]).len(), 2);
    scanner.restart();
    let second = HEADER.replace("stream", "flow");
    let text = format!("<?xml version='1.0'?>{second}<flow:a/></flow:flow>");
    let seen = scan(&mut scanner, [text.as_bytes()]);
    assert!(matches!(&seen[..], [Seen::Open(_), Seen::Stanza(..), Seen::Close]), "{seen:?}");
}

#[test]
fn rfc6120_6_3_5_blanks_behind_the_last_sasl_element_are_not_the_new_streams() {
    let declared = format!("<?xml version='1.0'?>{HEADER}<a/>");
    let mut scanner = Scanner::new(XmlLimits::default());
    assert!(matches!(scan(&mut scanner, [b"\n".as_slice(), declared.as_bytes()])[..], [Seen::Error(_)]));
    let mut scanner = Scanner::new(XmlLimits::default());
    scan(&mut scanner, [HEADER.as_bytes()]);
    for blanks in [b"\n".as_slice(), b"", b" \t\r\n"] {
        scanner.restart();
        let seen = scan(&mut scanner, [blanks, declared.as_bytes()]);
        assert!(matches!(&seen[..], [Seen::Open(_), Seen::Stanza(..)]), "{seen:?}");
    }
    scanner.restart();
    let seen = scan(&mut scanner, [b"<?xml version='1.0'?>\n<?xml version='1.0'?>".as_slice()]);
    assert!(matches!(&seen[..], [Seen::Error(XmlError::Restricted(_))]), "{seen:?}");
    let mut scanner = Scanner::new(XmlLimits { blank_bytes: 3, ..XmlLimits::default() });
    scan(&mut scanner, [HEADER.as_bytes()]);
    scanner.restart();
    assert!(matches!(scan(&mut scanner, [b"    ".as_slice()])[..], [Seen::Error(XmlError::Limit("blanks"))]));
}

#[test]
fn limits_change_from_the_next_stanza_on() {
    let mut scanner = Scanner::new(XmlLimits { depth: 1, ..XmlLimits::default() });
    scan(&mut scanner, [HEADER.as_bytes(), b"<a"]);
    scanner.set_limits(XmlLimits::default());
    let seen = scan(&mut scanner, [b"><b/></a>".as_slice()]);
    assert_eq!(seen, [Seen::Error(XmlError::Limit("depth"))]);
}

#[test]
fn xml_2_11_and_3_3_3_white_space() {
    let s = client("<m a='1\r\n2\t3\n4\r5&#10;6'>1\r\n2\r3\n4<![CDATA[\r\n5\r]]>&#13;</m>");
    assert_eq!(s.root().attr("a").unwrap(), "1 2 3 4 5\n6");
    assert_eq!(s.root().text(), "1\n2\n3\n4\n5\n\r");
    assert_eq!(s.root().nodes().count(), 1);
}

#[test]
fn xml_2_4_end_of_cdata_in_text() {
    assert!(matches!(refused("<m>a]]>b</m>"), XmlError::NotWellFormed(_)));
    assert_eq!(client("<m>a]]b]>c]</m>").root().text(), "a]]b]>c]");
    assert_eq!(client("<m>]]<![CDATA[>]]></m>").root().text(), "]]>");
    assert_eq!(client("<m><![CDATA[]]]]><![CDATA[>]]></m>").root().text(), "]]>");
}

#[test]
fn what_is_not_plain() {
    for text in [
        "<m>&lt;<b xmlns='u:b' xmlns:p='u:p' p:c='d'/></m>",
        "<m xmlns='jabber:client'><b/></m>",
        "<m><f xmlns='u:f'><m xmlns='jabber:client'/></f></m>",
        "<m xml:lang='en'/>",
    ] {
        assert!(client(text).is_plain(), "{text}");
    }
    for text in [
        "<m>&#65;</m>",
        "<m a='&#65;'/>",
        "<m><![CDATA[]]></m>",
        "<stream:m/>",
        "<m stream:a='b'/>",
        "<m><stream:m/></m>",
        "<m><b xmlns='jabber:client'/></m>",
        "<m><b xmlns='jabber:server'/></m>",
        "<m xmlns:c='jabber:client'/>",
        "<p:m xmlns:p='u:p'><b/></p:m>",
        "<m><p:b xmlns:p='u:p'><b/></p:b></m>",
    ] {
        assert!(!client(text).is_plain(), "{text}");
    }
}

#[test]
fn memory_is_shared_and_given_back() {
    let mut scanner = Scanner::new(XmlLimits::default());
    scan(&mut scanner, [HEADER.as_bytes()]);
    let next = |scanner: &mut Scanner, mut text: &[u8]| match scanner.scan(&mut text).unwrap() {
        Some(Event::Stanza(s)) => s,
        other => panic!("{other:?}"),
    };
    let first = next(&mut scanner, b"<message><body>a</body></message>");
    let (clone, bytes) = (first.clone(), first.to_bytes());
    assert_eq!(bytes.as_ptr(), first.as_str().as_ptr());
    scanner.recycle(first);
    assert_eq!(clone.as_str(), "<message><body>a</body></message>", "a stanza in use is not reused");
    drop(bytes);
    let at = clone.as_str().as_ptr();
    scanner.recycle(clone);
    let second = next(&mut scanner, b"<message><body>b</body></message>");
    assert_eq!(second.as_str().as_ptr(), at, "memory given back is used again");
    assert_eq!(second.root().children().next().unwrap().text(), "b");
    assert!(size_of::<Scanner>() <= 150, "{}", size_of::<Scanner>());
}

#[test]
fn usual_headers_are_kept_once() {
    let open = |header: &str| {
        let mut scanner = Scanner::new(XmlLimits::default());
        assert!(matches!(scan(&mut scanner, [header.as_bytes()])[..], [Seen::Open(_)]));
        scanner.outer.unwrap()
    };
    assert!(std::sync::Arc::ptr_eq(&open(HEADER), &open(HEADER)));
    let other = HEADER.replace("version", "xml:lang='en' version");
    assert_eq!(open(&other).lang.as_deref(), Some("en"));
    assert_eq!(open(HEADER).lang, None);
}

fn assert_send_sync<T: Send + Sync>() {}

#[test]
fn stanzas_go_between_threads() {
    assert_send_sync::<Stanza>();
    assert_send_sync::<Scanner>();
}

#[test]
fn an_element_begins_with_its_tag() {
    for text in ["", " ", "text<a/>", " <a/>", "</a>", "\u{feff}<a/>"] {
        assert!(Stanza::parse(text, ns::CLIENT, &XmlLimits::default()).is_err(), "{text:?}");
    }
    assert!(Stanza::parse("<a/>", ns::CLIENT, &XmlLimits::default()).is_ok());
}

//! The scanner against itself, cut and whole, and against the other parsers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rxml::Parse as _;
use xmpp_core::xml::{ElementRef, Event, Node, Scanner, Stanza, Writer, XmlError, XmlLimits, ns};

const HEADER: &str = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
const END: &str = "</stream:stream>";

fuzz_target!(|data: &[u8]| {
    let Some((&cut, content)) = data.split_first() else { return };
    let stream = [HEADER.as_bytes(), content, END.as_bytes()].concat();
    cuts(content, cut);
    let whole = cuts(&stream, cut);
    let Ok(text) = std::str::from_utf8(&stream) else { return };
    // XML 1.0 §2.11: line ends are normalised before all else.
    let lines = text.replace("\r\n", "\n").replace('\r', "\n");
    let trees = match &whole {
        Seen { error: None, closed: true, stanzas, .. } => {
            Ok(stanzas.iter().map(|s| tree(s.root())).collect::<Vec<_>>())
        }
        seen => Err(seen.error.unwrap_or(XmlError::NotWellFormed("the stream goes on"))),
    };
    let rxml = by_rxml(&lines);
    // roxmltree lets much pass (two empty declarations, say): what rxml refuses with us is no finding. And it takes
    // any attribute named xmlns for a declaration, whatever its prefix.
    if !(text.contains(":xmlns") || trees.is_err() && rxml.is_err()) {
        agree("roxmltree", &trees, by_roxmltree(&lines), text);
    }
    agree("rxml", &trees, rxml, text);
    if let Ok(trees) = trees {
        for (stanza, tree) in whole.stanzas.iter().zip(&trees) {
            keeps_its_tree(stanza, tree);
        }
    }
});

#[derive(Default)]
struct Seen {
    opened: bool,
    stanzas: Vec<Stanza>,
    closed: bool,
    error: Option<XmlError>,
}

fn scan<'a>(limits: XmlLimits, chunks: impl Iterator<Item = &'a [u8]>) -> Seen {
    let mut scanner = Scanner::new(limits);
    let mut seen = Seen::default();
    for mut chunk in chunks {
        loop {
            match scanner.scan(&mut chunk) {
                Ok(None) => break,
                Ok(Some(Event::Open(_))) => seen.opened = true,
                Ok(Some(Event::Stanza(s))) => seen.stanzas.push(s),
                Ok(Some(Event::Close)) => seen.closed = true,
                Err(e) => {
                    seen.error = Some(e);
                    return seen;
                }
            }
        }
    }
    seen
}

/// Whole and cut bytes give the same, under wide and narrow limits.
fn cuts(bytes: &[u8], cut: u8) -> Seen {
    let narrow = {
        let mut limits = XmlLimits::default();
        limits.stanza_bytes = 100 + u32::from(cut);
        limits.depth = 3;
        limits.attributes = 3;
        limits.elements = 6;
        limits.blank_bytes = 4;
        limits
    };
    for limits in [narrow, XmlLimits::default()] {
        let whole = scan(limits, std::iter::once(bytes));
        for size in [1, usize::from(cut % 32) + 1] {
            let pieces = scan(limits, bytes.chunks(size));
            assert_eq!(whole.opened, pieces.opened);
            assert_eq!(whole.closed, pieces.closed);
            assert_eq!(whole.error, pieces.error);
            assert_eq!(whole.stanzas.len(), pieces.stanzas.len());
            for (a, b) in whole.stanzas.iter().zip(&pieces.stanzas) {
                assert_eq!(a.as_str(), b.as_str());
                assert_eq!(a.is_plain(), b.is_plain());
                assert_eq!(tree(a.root()), tree(b.root()));
            }
        }
    }
    scan(XmlLimits::default(), std::iter::once(bytes))
}

fn agree(who: &str, ours: &Result<Vec<String>, XmlError>, theirs: Result<Vec<String>, String>, text: &str) {
    match (ours, theirs) {
        (Ok(a), Ok(b)) => assert_eq!(*a, b, "{who} sees another tree"),
        (Err(_), Err(_)) => {}
        // No matters of well-formedness.
        (Err(XmlError::Limit(_) | XmlError::Restricted(_)), _) => {}
        (Err(XmlError::NotWellFormed("text outside of stanzas" | "a stream inside a stream")), _) => {}
        // roxmltree doesn't know these rules of Namespaces in XML.
        (Err(XmlError::BadPrefix("the prefix xmlns was declared" | "a prefix was bound to nothing")), _) => {}
        (Err(XmlError::NotWellFormed("a name starts with a colon")), _) => {}
        // Neither of them counts declarations as attributes, of which a tag has each but once (XML 1.0 §3.1).
        (Err(XmlError::NotWellFormed("the same attribute twice")), _) if text.contains("xmlns") => {}
        (Err(XmlError::NotWellFormed("an end tag with another name")), _) if text.contains("</:") => {}
        (Ok(_), Err(e)) if e.contains("unknown namespace prefix 'xml'") => {}
        // rxml leaves U+FDF0 to U+FFFD out of names.
        (Ok(_), Err(e))
            if e.contains("UnexpectedChar(Some(Name") && text.contains(|c| matches!(c, '\u{FDF0}'..='\u{FFFD}')) => {}
        (Ok(_), Err(e)) => panic!("{who} refuses: {e}"),
        (Err(e), Ok(_)) => panic!("{who} accepts: {e}"),
    }
}

/// However it is copied, it stays what it is.
fn keeps_its_tree(stanza: &Stanza, expected: &str) {
    assert_eq!(tree(stanza.rewrite(ns::CLIENT).to_stanza().root()), expected);
    assert_eq!(tree(stanza.root().to_stanza().root()), expected);
    let mut writer = Writer::new(ns::SERVER);
    writer.element(stanza.root());
    assert_eq!(tree(writer.into_stanza().root()), expected);
    // There and back through another content namespace.
    let server = stanza.rewrite(ns::SERVER).to_stanza();
    if !expected.contains(ns::SERVER) {
        assert_eq!(tree(server.rewrite(ns::CLIENT).to_stanza().root()), expected);
    }
    if !expected.contains(|c| matches!(c, '\u{FDF0}'..='\u{FFFD}')) && !expected.contains("\\u{f") {
        let element = stanza.to_element();
        assert_eq!(tree(Stanza::from(&element).root()), expected);
    }
}

fn tree(el: ElementRef<'_>) -> String {
    let attrs = el.attrs().map(|a| format!(" {{{}}}{}={:?}", a.ns, a.name, a.value));
    let mut out = start(el.ns(), el.name(), attrs.collect());
    for node in el.nodes() {
        match node {
            Node::Element(e) => out.push_str(&tree(e)),
            Node::Text(t) => text(&mut out, &t),
        }
    }
    out + ")"
}

fn start(ns: &str, name: &str, mut attrs: Vec<String>) -> String {
    attrs.sort();
    format!("({{{ns}}}{name}{}", attrs.concat())
}

fn text(out: &mut String, text: &str) {
    if !text.is_empty() {
        out.push_str(&format!("{text:?}"));
    }
}

fn by_roxmltree(stream: &str) -> Result<Vec<String>, String> {
    fn one(node: roxmltree::Node<'_, '_>) -> String {
        let attrs = node
            .attributes()
            .map(|a| format!(" {{{}}}{}={:?}", a.namespace().unwrap_or_default(), a.name(), a.value()));
        let name = node.tag_name();
        let mut out = start(name.namespace().unwrap_or_default(), name.name(), attrs.collect());
        let mut joined = String::new();
        for child in node.children() {
            if child.is_text() {
                joined.push_str(child.text().unwrap_or_default());
            } else {
                text(&mut out, &std::mem::take(&mut joined));
                out.push_str(&one(child));
            }
        }
        text(&mut out, &joined);
        out + ")"
    }
    let doc = roxmltree::Document::parse(stream).map_err(|e| e.to_string())?;
    if doc.descendants().any(|n| n.is_comment() || n.is_pi()) {
        return Err("restricted".into());
    }
    Ok(doc.root_element().children().filter(|n| n.is_element()).map(one).collect())
}

fn by_rxml(stream: &str) -> Result<Vec<String>, String> {
    let mut parser = rxml::Parser::new();
    let mut input = stream.as_bytes();
    let (mut trees, mut out, mut joined, mut depth) = (Vec::new(), String::new(), String::new(), 0);
    while let Some(event) = parser.parse(&mut input, true).map_err(|e| format!("{e:?}"))? {
        match event {
            rxml::Event::StartElement(_, (ns, name), attrs) => {
                depth += 1;
                if depth > 1 {
                    text(&mut out, &std::mem::take(&mut joined));
                    let attrs = attrs.into_iter().map(|((ns, name), v)| format!(" {{{}}}{}={v:?}", &*ns, &*name));
                    out.push_str(&start(&ns, &name, attrs.collect()));
                }
            }
            rxml::Event::Text(_, t) if depth > 1 => joined.push_str(&t),
            rxml::Event::EndElement(_) => {
                depth -= 1;
                if depth > 0 {
                    text(&mut out, &std::mem::take(&mut joined));
                    out.push(')');
                }
                if depth == 1 {
                    trees.push(std::mem::take(&mut out));
                }
            }
            rxml::Event::XmlDeclaration(..) | rxml::Event::Text(..) => {}
        }
    }
    Ok(trees)
}

//! Other parsers' opinions: `roxmltree` and `rxml` on what is well-formed, both and `minidom` on the tree.
use super::*;
use proptest::prelude::*;
use rxml::Parse as _;

const END: &str = "</stream:stream>";

/// Ours: the trees of the stanzas, or why not.
pub(super) fn ours(stream: &str) -> Result<Vec<String>, XmlError> {
    let mut trees = Vec::new();
    let mut closed = false;
    for seen in whole(stream.as_bytes()) {
        match seen {
            Seen::Stanza(_, _, tree) => trees.push(tree),
            Seen::Error(e) => return Err(e),
            Seen::Close => closed = true,
            Seen::Open(_) => {}
        }
    }
    if closed { Ok(trees) } else { Err(XmlError::NotWellFormed("the stream goes on")) }
}

fn join_text(out: &mut String, pending: &mut String) {
    if !pending.is_empty() {
        out.push_str(&format!("{pending:?}"));
        pending.clear();
    }
}

fn roxmltree_tree(node: roxmltree::Node<'_, '_>) -> String {
    let mut attrs: Vec<_> = node
        .attributes()
        .map(|a| format!(" {{{}}}{}={:?}", a.namespace().unwrap_or_default(), a.name(), a.value()))
        .collect();
    attrs.sort();
    let name = node.tag_name();
    let mut out = format!("({{{}}}{}{}", name.namespace().unwrap_or_default(), name.name(), attrs.concat());
    let mut text = String::new();
    for child in node.children() {
        if child.is_text() {
            text.push_str(child.text().unwrap_or_default());
        } else {
            join_text(&mut out, &mut text);
            out.push_str(&roxmltree_tree(child));
        }
    }
    join_text(&mut out, &mut text);
    out.push(')');
    out
}

pub(super) fn roxmltree(stream: &str) -> Result<Vec<String>, String> {
    let doc = roxmltree::Document::parse(stream).map_err(|e| e.to_string())?;
    if doc.descendants().any(|n| n.is_comment() || n.is_pi()) || doc.root().children().any(|n| !n.is_element()) {
        return Err("restricted".into());
    }
    Ok(doc.root_element().children().filter(|n| n.is_element()).map(roxmltree_tree).collect())
}

pub(super) fn rxml(stream: &str) -> Result<Vec<String>, String> {
    let mut parser = rxml::Parser::new();
    let mut input = stream.as_bytes();
    let (mut trees, mut out, mut text, mut depth) = (Vec::new(), String::new(), String::new(), 0);
    loop {
        let event = match parser.parse(&mut input, true) {
            Ok(Some(event)) => event,
            Ok(None) => break,
            Err(e) => return Err(format!("{e:?}")),
        };
        match event {
            rxml::Event::XmlDeclaration(..) => {}
            rxml::Event::StartElement(_, (ns, name), attrs) => {
                depth += 1;
                if depth > 1 {
                    join_text(&mut out, &mut text);
                    let attrs = attrs.into_iter().map(|((ns, name), v)| format!(" {{{}}}{}={v:?}", &*ns, &*name));
                    let mut attrs: Vec<_> = attrs.collect();
                    attrs.sort();
                    out.push_str(&format!("({{{}}}{}{}", &*ns, &*name, attrs.concat()));
                }
            }
            rxml::Event::Text(_, t) if depth > 1 => text.push_str(&t),
            rxml::Event::Text(_, t) if t.trim_matches([' ', '\t', '\r', '\n']).is_empty() => {}
            rxml::Event::Text(..) => return Err("text in the stream".into()),
            rxml::Event::EndElement(_) => {
                depth -= 1;
                if depth > 0 {
                    join_text(&mut out, &mut text);
                    out.push(')');
                }
                if depth == 1 {
                    trees.push(std::mem::take(&mut out));
                }
            }
        }
    }
    Ok(trees)
}

#[cfg(feature = "minidom")]
pub(super) fn minidom_tree(el: &::minidom::Element) -> String {
    let attrs = el.attrs().iter().map(|((ns, name), v)| format!(" {{{}}}{}={v:?}", &**ns, &**name));
    let mut attrs: Vec<_> = attrs.collect();
    attrs.sort();
    let mut out = format!("({{{}}}{}{}", el.ns(), el.name(), attrs.concat());
    let mut text = String::new();
    for node in el.nodes() {
        match node {
            ::minidom::Node::Text(t) => text.push_str(t),
            ::minidom::Node::Element(e) => {
                join_text(&mut out, &mut text);
                out.push_str(&minidom_tree(e));
            }
        }
    }
    join_text(&mut out, &mut text);
    out.push(')');
    out
}

/// All parsers on one stream; panics where they differ without a known reason.
pub(super) fn compare(content: &str) -> Result<Vec<String>, XmlError> {
    let stream = format!("{HEADER}{content}{END}");
    let mine = ours(&stream);
    let cut = scan(&mut Scanner::new(XmlLimits::default()), stream.as_bytes().chunks(3));
    assert_eq!(whole(stream.as_bytes()), cut, "{content:?}");
    // XML 1.0 §2.11 as it is told: line ends are normalised first. (roxmltree
    // leaves a CR before a reference, rxml refuses a bare one in attributes.)
    let lines = stream.replace("\r\n", "\n").replace('\r', "\n");
    let by_rxml = rxml(&lines);
    match (&mine, roxmltree(&lines)) {
        // It lets much pass (two empty declarations, say): what rxml refuses with us is no finding.
        (Err(_), Ok(_)) if by_rxml.is_err() => {}
        // It takes any attribute named xmlns for a declaration, whatever its prefix (Namespaces in XML §3).
        _ if content.contains(":xmlns") => {}
        (Ok(a), Ok(b)) => assert_eq!(*a, b, "roxmltree sees another tree: {content:?}"),
        // Limits, and what XMPP forbids, are no matter of well-formedness.
        (Err(XmlError::Limit(_) | XmlError::Restricted(_)), _) | (Err(_), Err(_)) => {}
        (Ok(_), Err(e)) => assert!(roxmltree_is_too_strict(content, &e), "roxmltree refuses: {e}: {content:?}"),
        (Err(e), Ok(_)) => assert!(roxmltree_is_too_lax(content, e), "roxmltree accepts: {e}: {content:?}"),
    }
    match (&mine, by_rxml) {
        (Ok(a), Ok(b)) => assert_eq!(*a, b, "rxml sees another tree: {content:?}"),
        (Err(XmlError::Limit(_) | XmlError::Restricted(_)), _) | (Err(_), Err(_)) => {}
        (Ok(_), Err(e)) => assert!(rxml_is_too_strict(content, &e), "rxml refuses: {e}: {content:?}"),
        (Err(e), Ok(_)) => assert!(rxml_is_too_lax(content, e), "rxml accepts: {e}: {content:?}"),
    }
    mine
}

fn roxmltree_is_too_strict(_content: &str, e: &str) -> bool {
    // Namespaces in XML §3: `xml` is bound without declaration, on elements as on attributes.
    e.contains("unknown namespace prefix 'xml'")
}

fn roxmltree_is_too_lax(content: &str, e: &XmlError) -> bool {
    // Namespaces in XML §2.2 and §3: `xmlns` must not be declared, only the default may be undeclared.
    let undetected = ["the prefix xmlns was declared", "a prefix was bound to nothing"];
    between_stanzas(e)
        || declared_twice(content, e)
        || matches!(e, XmlError::BadPrefix(why) if undetected.contains(why))
        // §4: a qualified name has no empty prefix.
        || *e == XmlError::NotWellFormed("a name starts with a colon")
        || *e == XmlError::NotWellFormed("an end tag with another name") && content.contains("</:")
}

/// Neither of them counts declarations as attributes, of which a tag has each but once (XML 1.0 §3.1).
fn declared_twice(content: &str, e: &XmlError) -> bool {
    *e == XmlError::NotWellFormed("the same attribute twice") && content.contains("xmlns")
}

/// Text between stanzas, and a second stream header, are well-formed XML, and against the rules of a stream.
fn between_stanzas(e: &XmlError) -> bool {
    matches!(e, XmlError::NotWellFormed("text outside of stanzas" | "a stream inside a stream"))
}

fn rxml_is_too_strict(content: &str, e: &str) -> bool {
    // XML 1.0 §2.3: names may have U+FDF0 to U+FFFD; its table leaves them out.
    e.contains("UnexpectedChar(Some(Name") && content.contains(|c| matches!(c, '\u{FDF0}'..='\u{FFFD}'))
}

fn rxml_is_too_lax(content: &str, e: &XmlError) -> bool {
    between_stanzas(e) || declared_twice(content, e)
}

/// Pieces that make well-formed content often enough, and break it in all the ways there are.
fn piece() -> impl Strategy<Value = String> {
    let fixed = prop::sample::select(vec![
        "<a>",
        "</a>",
        "<a/>",
        "<b x='1'>",
        "</b>",
        "<p:c xmlns:p='u:p'>",
        "</p:c>",
        "<d xmlns='u:d'>",
        "</d>",
        "<d xmlns=''>",
        "<a p:k='v' xmlns:p='u:p'/>",
        "<stream:e/>",
        "<a xml:lang='en'/>",
        "<a x='1' x='2'/>",
        "<a xmlns:p='u' xmlns:q='u' p:x='' q:x=''/>",
        "<a x=\"'\" y='\"'/>",
        "<a x='a&amp;b\n\tc\r\nd'/>",
        "text",
        " ",
        "\n",
        "\r\n",
        "\r",
        "&lt;",
        "&amp;",
        "&#65;",
        "&#x1F600;",
        "&#13;",
        "&#0;",
        "&bad;",
        "&",
        "]]>",
        "]]",
        ">",
        "<![CDATA[x<y]]>",
        "<![CDATA[]]>",
        "<![CDATA[\r\n]]>",
        "<!-- c -->",
        "<?pi?>",
        "<!DOCTYPE a>",
        "<",
        "'",
        "\"",
        "\u{E9}",
        "\u{1F600}",
        "\u{FFFE}",
        "\u{FEFF}",
        "\u{85}",
        "\u{7F}",
        "\u{1}",
        "<\u{E9}/>",
        "<a\u{B7}/>",
        "<a ></a >",
        "<a\n/>",
        "<a/ >",
        "< a/>",
        "<a x = '1'/>",
        "<a x='1'y='2'/>",
        "<a x='<'/>",
        "<a x='>'/>",
        "<1/>",
        "<a:b:c/>",
        "<q:a/>",
        "<xml:a/>",
        "<a xmlns:xml='u'/>",
        "<a xmlns:p=''/>",
        "<a xmlns:xmlns='u'/>",
        "<a xmlns:p='u&#x41;'><p:x/></a>",
        "<a xmlns='http://www.w3.org/XML/1998/namespace'/>",
        "<a x='&#10;&#9;'/>",
        "<a xmlns:xml='http://www.w3.org/XML/1998/namespace'/>",
        "<a x='\u{FFFF}'/>",
        "</stream:stream>",
    ]);
    prop_oneof![8 => fixed.prop_map(str::to_owned), 1 => "[a-z<>&;='\" /:]{1,4}"]
}

fn content() -> impl Strategy<Value = String> {
    prop::collection::vec(piece(), 0..6).prop_map(|p| p.concat())
}

/// A well-formed stanza with up to two changes.
fn mutated() -> impl Strategy<Value = String> {
    const STANZA: &str = "<message to='a@b' xml:lang=\"en\"><body>it&apos;s &#233;</body><p:x xmlns:p='urn:p' p:a='1' \
                          b='2'><y xmlns='urn:y'>z<![CDATA[<]]></y></p:x><e/></message>";
    let change = (0..STANZA.len(), prop_oneof![piece(), Just(String::new()), "[\\PC\u{0}-\u{20}]"], any::<bool>());
    prop::collection::vec(change, 0..3).prop_map(|changes| {
        let mut text = STANZA.to_owned();
        for (at, with, replace) in changes {
            let at = (0..=at.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
            let len = text[at..].chars().next().filter(|_| replace).map_or(0, char::len_utf8);
            text.replace_range(at..at + len, &with);
        }
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn parsers_agree_on_content(inside in content(), wrapped in any::<bool>()) {
        let text = if wrapped { format!("<m>{inside}</m>") } else { inside };
        let _ = compare(&text);
    }

    #[test]
    fn parsers_agree_on_changed_stanzas(text in mutated()) {
        let _ = compare(&text);
    }

    #[test]
    fn any_split_gives_the_same(text in mutated(), more in content(), cuts in prop::collection::vec(0usize..400, 0..8)) {
        let stream = format!("{HEADER}{text}{more}{END}");
        let mut cuts: Vec<_> = cuts.into_iter().map(|c| c.min(stream.len())).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let chunks = cuts.windows(2).map(|w| &stream.as_bytes()[w[0]..w[1]]);
        for stanza_bytes in [20, 100, 262_144] {
            let limits = XmlLimits { stanza_bytes: stanza_bytes.max(HEADER.len() as u32), ..XmlLimits::default() };
            let whole = scan(&mut Scanner::new(limits), [stream.as_bytes()]);
            prop_assert_eq!(scan(&mut Scanner::new(limits), chunks.clone()), whole);
        }
    }
}

//! Trees that are made up: written, scanned, walked, rewritten, they stay what they are.
use super::*;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Made {
    Text(String),
    Element { name: String, ns: &'static str, attrs: Vec<(String, &'static str, String)>, inside: Vec<Made> },
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[ -~]{1,12}", 2 => "\\PC{1,6}", 1 => "[\t\r\n<>&'\"\\]]{1,6}", 1 => any::<String>()]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-z]{1,8}", 1 => "[A-Za-z_\u{E9}\u{4E2D}][-.0-9A-Za-z_\u{E9}\u{B7}]{0,6}"]
        .prop_filter("reserved", |n| n != "xmlns")
}

fn namespace() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![ns::CLIENT, ns::CLIENT, ns::SERVER, "", "urn:a", "urn:b'<&>\"", ns::STREAMS, ns::XML])
}

fn attributes() -> impl Strategy<Value = Vec<(String, &'static str, String)>> {
    let namespace = prop::sample::select(vec!["", "", "", "urn:k", ns::XML]);
    prop::collection::vec((name(), namespace, any_text()), 0..4).prop_map(|mut attrs| {
        attrs.sort();
        attrs.dedup_by(|a, b| (&a.0, a.1) == (&b.0, b.1));
        attrs
    })
}

fn element() -> impl Strategy<Value = Made> {
    let leaf = (name(), namespace(), attributes());
    let leaf = leaf.prop_map(|(name, ns, attrs)| Made::Element { name, ns, attrs, inside: Vec::new() });
    let tree = leaf.prop_recursive(4, 24, 5, |inner| {
        let node = prop_oneof![any_text().prop_map(Made::Text), inner];
        (name(), namespace(), attributes(), prop::collection::vec(node, 0..5))
            .prop_map(|(name, ns, attrs, inside)| Made::Element { name, ns, attrs, inside })
    });
    tree.prop_filter("an element", |m| matches!(m, Made::Element { .. }))
}

/// What XML can carry of it.
fn carried(text: &str) -> String {
    text.chars().map(|c| if chars::is_xml_char(c) { c } else { '\u{FFFD}' }).collect()
}

fn write(made: &Made, w: &mut Writer) {
    match made {
        Made::Text(text) => w.text(text),
        Made::Element { name, ns, attrs, inside } => {
            w.open(name, ns);
            for (name, ns, value) in attrs {
                w.attr_ns(name, ns, value);
            }
            for node in inside {
                write(node, w);
            }
            w.close();
        }
    }
}

/// As `tree` shows it, the content namespace moved from `from` to `to` where it is in force.
fn expected(made: &Made, from: &str, to: &str, around: bool) -> String {
    let Made::Element { name, ns, attrs, inside } = made else { return String::new() };
    let moves = around && *ns == from;
    let mut values: Vec<_> = attrs.iter().map(|(n, ns, v)| format!(" {{{ns}}}{n}={:?}", carried(v))).collect();
    values.sort();
    let mut out = format!("({{{}}}{name}{}", if moves { to } else { ns }, values.concat());
    let mut text = String::new();
    for node in inside {
        match node {
            Made::Text(t) => text.push_str(&carried(t)),
            element => {
                if !text.is_empty() {
                    out.push_str(&format!("{text:?}"));
                    text.clear();
                }
                out.push_str(&expected(element, from, to, moves));
            }
        }
    }
    if !text.is_empty() {
        out.push_str(&format!("{text:?}"));
    }
    out.push(')');
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn written_scanned_and_walked_is_the_same(made in element(), content_ns in namespace()) {
        let content_ns = if [ns::STREAMS, ns::XML].contains(&content_ns) { "" } else { content_ns };
        let mut writer = Writer::new(content_ns);
        write(&made, &mut writer);
        let stanza = writer.into_stanza();
        let same = expected(&made, "none", "none", true);
        prop_assert_eq!(tree(stanza.root()), same.clone());
        prop_assert_eq!(tree(stanza.root().to_stanza().root()), same.clone());
        let mut copy = Writer::new("urn:elsewhere");
        copy.open("outer", "urn:b");
        copy.element(stanza.root());
        copy.close();
        prop_assert_eq!(tree(copy.into_stanza().root().children().next().unwrap()), same.clone());
        #[cfg(feature = "minidom")]
        {
            let element = stanza.to_element();
            prop_assert_eq!(super::oracles::minidom_tree(&element), same.clone());
            let back = Stanza::from(&element);
            prop_assert_eq!(tree(back.root()), same);
        }
    }

    #[test]
    fn rfc6120_4_8_3_rewriting_moves_the_content_namespace(made in element(), server in any::<bool>()) {
        let (from, to) = if server { (ns::SERVER, ns::CLIENT) } else { (ns::CLIENT, ns::SERVER) };
        let mut writer = Writer::new(from);
        write(&made, &mut writer);
        let stanza = writer.into_stanza();
        let Made::Element { ns: own, .. } = &made else { unreachable!() };
        // Only a root in a content namespace takes others along.
        let moved = if [ns::CLIENT, ns::SERVER].contains(own) { *own } else { "none" };
        prop_assert_eq!(tree(stanza.rewrite(to).to_stanza().root()), expected(&made, moved, to, true));
        let own = expected(&made, moved, from, true);
        prop_assert_eq!(tree(stanza.rewrite(from).to_stanza().root()), own);
    }
}

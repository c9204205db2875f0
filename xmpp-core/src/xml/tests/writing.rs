//! The writer, and start tags rewritten.
use super::*;

fn write(f: impl FnOnce(&mut Writer)) -> String {
    let mut w = Writer::new(ns::CLIENT);
    f(&mut w);
    String::from_utf8(w.finish()).unwrap()
}

#[test]
fn namespaces_are_declared_where_they_change() {
    let text = write(|w| {
        w.open("iq", ns::CLIENT);
        w.attr("id", "a'b\"<&>\n");
        w.open("query", "urn:q");
        w.open("item", "urn:q");
        w.attr_ns("lang", ns::XML, "en");
        w.attr_ns("k", "urn:k", "v");
        w.close();
        w.text_element("body", ns::CLIENT, "a<b>&\u{1}'\r");
        w.close();
        w.close();
    });
    assert_eq!(
        text,
        "<iq id='a&apos;b&quot;&lt;&amp;&gt;&#10;'><query xmlns='urn:q'><item xml:lang='en' xmlns:n0='urn:k' \
         n0:k='v'/><body xmlns='jabber:client'>a&lt;b&gt;&amp;\u{FFFD}'&#13;</body></query></iq>"
    );
    client(&text);
}

#[test]
fn rfc6120_4_8_5_streams_namespace_has_its_prefix() {
    assert_eq!(
        write(|w| {
            w.open("features", ns::STREAMS);
            w.open("starttls", ns::TLS);
            w.close();
            w.close();
        }),
        "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>"
    );
}

fn rewritten(s: &Stanza, content_ns: &str, f: impl for<'a> FnOnce(Rewrite<'a>) -> Rewrite<'a>) -> String {
    let mut out = b"before".to_vec();
    f(s.rewrite(content_ns)).write(&mut out);
    String::from_utf8(out).unwrap().strip_prefix("before").unwrap().to_owned()
}

#[test]
fn plain_stanzas_are_copied_after_the_start_tag() {
    let s = client("<message  to=\"b\" xmlns:p='u:p' id='7'\n><body>it's &lt;</body></message >");
    assert!(s.is_plain());
    assert_eq!(
        rewritten(&s, ns::SERVER, |r| r.from(Some("a")).to(None)),
        "<message xmlns:p='u:p' id='7' from='a'><body>it's &lt;</body></message >"
    );
    assert_eq!(
        rewritten(&s, ns::CLIENT, |r| r.append(&|w| w.text_element("x", "u:x", "1")).without(&|c| c.name() == "body")),
        "<message to=\"b\" xmlns:p='u:p' id='7'><x xmlns='u:x'>1</x></message >"
    );
    let s = client("<presence to='b' xmlns='jabber:client'/>");
    assert_eq!(rewritten(&s, ns::SERVER, |r| r), "<presence to='b'/>");
    assert_eq!(
        rewritten(&s, ns::CLIENT, |r| r.append(&|w| w.text_element("x", "u:x", "1"))),
        "<presence to='b'><x xmlns='u:x'>1</x></presence>"
    );
}

#[test]
fn rfc6120_4_8_3_content_namespace_moves_only_where_it_is_in_force() {
    let s = client(
        "<message><body><![CDATA[a]]></body><f xmlns='u:f'><message xmlns='jabber:client'><body>b</body></message></f>\
         <x xmlns='jabber:client'/></message>",
    );
    assert!(!s.is_plain());
    assert_eq!(
        rewritten(&s, ns::SERVER, |r| r.id(Some("1"))),
        "<message id='1'><body>a</body><f xmlns='u:f'><message xmlns='jabber:client'><body>b</body></message></f>\
         <x/></message>"
    );
}

/// Found by fuzzing: what was apart in a CDATA section and in the text behind it must not become the end of one.
#[test]
fn a_copy_makes_no_end_of_a_cdata_section() {
    for body in ["<![CDATA[a]]]]>>b", "<![CDATA[a]]]>]>b", "<![CDATA[a]]]]><![CDATA[>]]>b"] {
        let s = client(&format!("<message><body>{body}</body></message>"));
        let text = s.root().child("body", ns::CLIENT).map(|body| body.text().into_owned());
        let copied = rewritten(&s, ns::CLIENT, |r| r.id(Some("1")));
        assert!(!copied.contains("]]>"), "{copied}");
        let again = client(&copied);
        assert_eq!(again.root().child("body", ns::CLIENT).map(|body| body.text().into_owned()), text, "{copied}");
    }
}

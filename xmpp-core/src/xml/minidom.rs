//! From and to [`minidom::Element`], the ecosystem's DOM. It never parses input here.
use super::element::text_at;
use super::tape::*;
use super::{ElementRef, Stanza, Writer, chars, ns};
use minidom::rxml::{Namespace, NcName};
use minidom::{Element, Node};
use std::borrow::Cow;

impl Stanza {
    /// A DOM of it. As deep as the limits allowed: `minidom` drops its trees recursively.
    pub fn to_element(&self) -> Element {
        self.root().to_element()
    }

    /// The canonical text of a DOM, indexed. `minidom` checks no element names: characters that can't be in one
    /// become `_`.
    pub fn from_element(element: &Element) -> Stanza {
        let mut writer = Writer::new("");
        writer.minidom(element);
        writer.into_stanza()
    }
}

impl From<&Element> for Stanza {
    fn from(element: &Element) -> Self {
        Stanza::from_element(element)
    }
}

impl From<Element> for Stanza {
    fn from(element: Element) -> Self {
        Stanza::from_element(&element)
    }
}

impl ElementRef<'_> {
    /// A DOM of this element and what is inside. Prefixes are not kept; attributes are left out if their name has
    /// one of U+FDF0 to U+FFFD, which `minidom` takes for no name.
    pub fn to_element(&self) -> Element {
        let inner = self.inner;
        let end = self.next_record();
        // Elements that are not complete, and the record that completes each.
        let mut open: Vec<(Element, u32)> = Vec::new();
        let mut at = self.record;
        loop {
            while open.last().is_some_and(|(_, until)| *until <= at) {
                let Some((done, _)) = open.pop() else { break };
                match open.last_mut() {
                    Some((parent, _)) => {
                        parent.append_child(done);
                    }
                    None => return done,
                }
            }
            if at >= end {
                // Only an index that is none gets here.
                return Element::bare("invalid", "");
            }
            if inner.word(at as usize) & KIND == ELEMENT {
                let el = ElementRef::new(inner, at);
                open.push((bare(el), el.next_record()));
                at = el.nodes_from();
            } else {
                if let Some((parent, _)) = open.last_mut() {
                    parent.append_text(text_at(inner, at as usize));
                }
                at += TEXT_WORDS as u32;
            }
        }
    }
}

/// The element with its attributes.
fn bare(el: ElementRef<'_>) -> Element {
    let mut element = Element::bare(el.name(), el.ns());
    for attr in el.attrs() {
        let Ok(name) = NcName::try_from(attr.name) else { continue };
        let namespace = match attr.ns {
            "" => Namespace::NONE,
            ns::XML => Namespace::XML,
            other => other.to_owned().into(),
        };
        element.attrs_mut().insert(namespace, name, attr.value.into_owned());
    }
    element
}

impl Writer {
    /// Writes a DOM.
    pub fn minidom(&mut self, element: &Element) {
        self.minidom_start(element);
        let mut open = vec![element.nodes()];
        while let Some(nodes) = open.last_mut() {
            match nodes.next() {
                None => {
                    self.close();
                    open.pop();
                }
                Some(Node::Text(text)) => self.text(text),
                Some(Node::Element(child)) => {
                    self.minidom_start(child);
                    open.push(child.nodes());
                }
            }
        }
    }

    fn minidom_start(&mut self, element: &Element) {
        // The namespace of declarations can't be declared.
        let namespace = element.ns();
        self.open(&element_name(element.name()), if namespace == ns::XMLNS { "" } else { &namespace });
        for ((namespace, name), value) in element.attrs() {
            let declaration = namespace.is_empty() && name == "xmlns" || *namespace == ns::XMLNS;
            if !declaration && name.len() <= MAX_NAME {
                self.attr_ns(name, namespace, value);
            }
        }
    }
}

fn element_name(name: &str) -> Cow<'_, str> {
    if chars::is_ncname(name) && name.len() <= MAX_NAME / 2 {
        return Cow::Borrowed(name);
    }
    let clean = name.chars().map(|c| if chars::is_name_char(c) { c } else { '_' });
    Cow::Owned(std::iter::once('_').chain(clean).take(MAX_NAME / 8).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::{client, tree};
    use super::*;

    #[test]
    fn there_and_back() {
        let stanza = client("<m to='a' xml:lang='en'>x<![CDATA[<]]><b xmlns='u:b' xmlns:p='u:p' p:k='&#10;'/>y</m>");
        let element = stanza.to_element();
        assert_eq!(element.attr("to"), Some("a"));
        assert_eq!(element.nodes().count(), 3, "neighbouring texts are one");
        assert_eq!(tree(Stanza::from(&element).root()), tree(stanza.root()));
        let child = stanza.root().children().next().unwrap().to_element();
        assert!(child.is("b", "u:b"));
        let mut writer = Writer::new(ns::CLIENT);
        writer.minidom(&element);
        assert!(writer.finish().starts_with(b"<m to='a' xml:lang='en'>x&lt;"), "no namespace where none is needed");
    }

    #[test]
    fn what_is_no_name_is_mended() {
        let mut element = Element::bare("a b/><c", ns::XMLNS);
        element.append_child(Element::bare("", "u:x"));
        element.append_text("\u{1}");
        element.attrs_mut().insert(Namespace::NONE, NcName::try_from("xmlns").unwrap(), "u:y".into());
        let stanza = Stanza::from(&element);
        assert_eq!(tree(stanza.root()), "({}_a_b___c({u:x}_)\"\u{FFFD}\")");
    }
}

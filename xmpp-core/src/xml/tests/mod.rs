#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
//! Tests of the wire, and what they share.
mod abuse;
mod generated;
mod oracles;
mod scanning;
mod specs;
mod writing;

use super::*;

pub(super) const HEADER: &str = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
                                 to='a.example' version='1.0'>";

/// What a scanner made of some bytes, in a form that compares.
#[derive(Debug, PartialEq, Eq, Clone)]
pub(super) enum Seen {
    Open(StreamHeader),
    Stanza(String, bool, String),
    Close,
    Error(XmlError),
}

/// Scans the chunks in order; the last entry is the error, if there was one.
pub(super) fn scan<'a>(scanner: &mut Scanner, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Seen> {
    let mut seen = Vec::new();
    for mut chunk in chunks {
        loop {
            match scanner.scan(&mut chunk) {
                Ok(None) => break,
                Ok(Some(Event::Open(h))) => seen.push(Seen::Open(h)),
                Ok(Some(Event::Close)) => seen.push(Seen::Close),
                Ok(Some(Event::Stanza(s))) => {
                    seen.push(Seen::Stanza(s.as_str().to_owned(), s.is_plain(), tree(s.root())));
                }
                Err(e) => {
                    seen.push(Seen::Error(e));
                    return seen;
                }
            }
        }
        assert!(chunk.is_empty());
    }
    seen
}

pub(super) fn whole(bytes: &[u8]) -> Vec<Seen> {
    scan(&mut Scanner::new(XmlLimits::default()), [bytes])
}

/// What comes after the header.
pub(super) fn after_header(text: &str) -> Vec<Seen> {
    let mut seen = whole(format!("{HEADER}{text}").as_bytes());
    seen.remove(0);
    seen
}

pub(super) fn error_of(text: &str) -> Option<XmlError> {
    match after_header(text).pop() {
        Some(Seen::Error(e)) => Some(e),
        _ => None,
    }
}

pub(super) fn client(text: &str) -> Stanza {
    Stanza::parse(text, ns::CLIENT, &XmlLimits::default()).unwrap_or_else(|e| panic!("{e}: {text}"))
}

pub(super) fn refused(text: &str) -> XmlError {
    match Stanza::parse(text, ns::CLIENT, &XmlLimits::default()) {
        Ok(_) => panic!("accepted: {text}"),
        Err(e) => e,
    }
}

/// An element as what it means: names with namespaces, sorted attributes, text. Not recursive.
pub(super) fn tree(root: ElementRef<'_>) -> String {
    enum Step<'a> {
        Element(ElementRef<'a>),
        Text(String),
        End,
    }
    let mut out = String::new();
    let mut todo = vec![Step::Element(root)];
    while let Some(step) = todo.pop() {
        match step {
            Step::End => out.push(')'),
            Step::Text(t) => out.push_str(&format!("{t:?}")),
            Step::Element(el) => {
                let mut attrs: Vec<_> = el.attrs().map(|a| format!(" {{{}}}{}={:?}", a.ns, a.name, a.value)).collect();
                attrs.sort();
                out.push_str(&format!("({{{}}}{}{}", el.ns(), el.name(), attrs.concat()));
                todo.push(Step::End);
                let nodes: Vec<_> = el.nodes().collect();
                todo.extend(nodes.into_iter().rev().map(|n| match n {
                    Node::Element(e) => Step::Element(e),
                    Node::Text(t) => Step::Text(t.into_owned()),
                }));
            }
        }
    }
    out
}

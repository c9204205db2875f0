//! Dialback elements on the wire (XEP-0220 §2).

use super::DIALBACK;
use crate::{
    jid::Jid,
    stanza::StanzaError,
    stream::header::escape,
    xml::{ElementRef, Writer, ns},
};

/// A question about a key: is the stream with this id, over which `remote` wants to send to `local`, really its own?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// The domain here that is to be sent to.
    pub local: String,
    /// The domain that asserts to be the sender.
    pub remote: String,
    /// The id that we gave the stream.
    pub id: String,
    /// The key that it showed.
    pub key: String,
}

/// What came of a [`Verification`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Answer {
    /// The authoritative server says that the key is its own.
    Valid,
    /// It says that it is not.
    Invalid,
    /// It could not be asked, or could not say.
    Failed(StanzaError),
}

/// Which of the two elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `<db:result/>`, between initiating and receiving server.
    Result,
    /// `<db:verify/>`, between receiving and authoritative server.
    Verify,
}

/// What it says.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Key(String),
    Answer(Answer),
}

/// A dialback element, read. Names are in canonical form.
#[derive(Clone, Debug)]
pub(super) struct Dialback {
    pub(super) kind: Kind,
    pub(super) from: String,
    pub(super) to: String,
    /// Of the stream that is asked about; empty in a result.
    pub(super) id: String,
    pub(super) content: Content,
}

/// Why an element in the dialback namespace is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Malformed {
    /// `from` or `to` is missing, or no domain.
    Addressing,
    /// No such element.
    Unknown,
}

impl Dialback {
    pub(super) fn read(root: ElementRef<'_>) -> Result<Dialback, Malformed> {
        let kind = match root.name() {
            "result" => Kind::Result,
            "verify" => Kind::Verify,
            _ => return Err(Malformed::Unknown),
        };
        let name = |name| root.attr(name).and_then(|text| domain(&text)).ok_or(Malformed::Addressing);
        let (from, to) = (name("from")?, name("to")?);
        let id = match kind {
            Kind::Result => String::new(),
            Kind::Verify => root.attr("id").unwrap_or_default().into_owned(),
        };
        let content = match root.attr("type").as_deref() {
            None => Content::Key(root.text().trim_ascii().to_owned()),
            Some("valid") => Content::Answer(Answer::Valid),
            Some("error") => Content::Answer(Answer::Failed(
                root.child("error", ns::SERVER).map_or_else(StanzaError::undefined_condition, StanzaError::read),
            )),
            // What is not valid is invalid.
            Some(_) => Content::Answer(Answer::Invalid),
        };
        Ok(Dialback { kind, from, to, id, content })
    }
}

/// A domain in canonical form.
pub(super) fn domain(text: &str) -> Option<String> {
    let jid = Jid::new(text).ok()?;
    (jid.local().is_none() && jid.resource().is_none()).then(|| jid.as_str().to_owned())
}

/// `<db:result/>` with a key (step 1).
pub(super) fn request(from: &str, to: &str, key: &str) -> Vec<u8> {
    with_key("result", from, to, None, key)
}

/// `<db:result/>` with what came of it (step 4).
pub(super) fn result(from: &str, to: &str, answer: &Answer) -> Vec<u8> {
    with_answer("result", from, to, None, answer)
}

/// `<db:verify/>` with a key (step 2).
pub(super) fn query(verification: &Verification) -> Vec<u8> {
    let Verification { local, remote, id, key } = verification;
    with_key("verify", local, remote, Some(id), key)
}

/// `<db:verify/>` with the answer (step 3).
pub(super) fn verify(from: &str, to: &str, id: &str, answer: &Answer) -> Vec<u8> {
    with_answer("verify", from, to, Some(id), answer)
}

fn with_key(name: &str, from: &str, to: &str, id: Option<&str>, key: &str) -> Vec<u8> {
    let mut out = start(name, from, to, id, None);
    out.push(b'>');
    // It may be a peer's: whatever is in it must stay text.
    escape(key, &mut out);
    end(name, out)
}

fn with_answer(name: &str, from: &str, to: &str, id: Option<&str>, answer: &Answer) -> Vec<u8> {
    let type_ = match answer {
        Answer::Valid => "valid",
        Answer::Invalid => "invalid",
        Answer::Failed(_) => "error",
    };
    let mut out = start(name, from, to, id, Some(type_));
    let Answer::Failed(error) = answer else {
        out.extend_from_slice(b"/>");
        return out;
    };
    out.push(b'>');
    let mut writer = Writer::with_buffer(ns::SERVER, out);
    error.write(&mut writer);
    end(name, writer.finish())
}

/// A start tag but for its end, with the prefix `db`, which our stream headers declare: some peers know no other
/// (XEP-0220 §2).
fn start(name: &str, from: &str, to: &str, id: Option<&str>, type_: Option<&str>) -> Vec<u8> {
    let mut out = Vec::with_capacity(192);
    out.extend_from_slice(b"<db:");
    out.extend_from_slice(name.as_bytes());
    for (attribute, value) in [("from", Some(from)), ("to", Some(to)), ("id", id), ("type", type_)] {
        let Some(value) = value else { continue };
        out.push(b' ');
        out.extend_from_slice(attribute.as_bytes());
        out.extend_from_slice(b"='");
        escape(value, &mut out);
        out.push(b'\'');
    }
    out
}

fn end(name: &str, mut out: Vec<u8>) -> Vec<u8> {
    out.extend_from_slice(b"</db:");
    out.extend_from_slice(name.as_bytes());
    out.push(b'>');
    out
}

/// Whether an element is one of dialback's, well formed or not.
pub(super) fn matches(root: ElementRef<'_>) -> bool {
    root.ns() == DIALBACK
}

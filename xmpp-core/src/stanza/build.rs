//! What the three builders have in common.

use super::{StanzaError, content_ns, generate_id};
use crate::jid::Jid;
use crate::payload::Payload;
use crate::xml::{ElementRef, Stanza, Writer, ns};
use std::borrow::Cow;
use std::sync::OnceLock;

#[derive(Clone, Debug)]
enum Id {
    Absent,
    Given(String),
    /// Made on first use, so that an id that is replaced costs nothing.
    Generated(OnceLock<String>),
}

/// A stanza under construction: headers, and the content already written in the client namespace. A content namespace
/// is never declared inside a stanza, so the same bytes serve streams of servers and components.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) from: Option<Jid>,
    pub(super) to: Option<Jid>,
    id: Id,
    lang: Option<String>,
    content: Vec<u8>,
}

impl Draft {
    /// With a generated id.
    pub(super) fn new(to: Option<Jid>) -> Self {
        Draft { from: None, to, id: Id::Generated(OnceLock::new()), lang: None, content: Vec::new() }
    }

    /// Without an id.
    pub(super) fn without_id(to: Option<Jid>) -> Self {
        Draft { id: Id::Absent, ..Draft::new(to) }
    }

    /// The answer to a stanza with these addresses and id.
    pub(super) fn answer(from: Option<Jid>, to: Option<Jid>, id: Option<Cow<'_, str>>) -> Self {
        let id = id.map_or(Id::Absent, |id| Id::Given(id.into_owned()));
        Draft { from: to, to: from, id, lang: None, content: Vec::new() }
    }

    pub(super) fn set_id(&mut self, id: String) {
        self.id = Id::Given(id);
    }

    pub(super) fn set_lang(&mut self, lang: String) {
        self.lang = Some(lang);
    }

    pub(super) fn id(&self) -> Option<&str> {
        match &self.id {
            Id::Absent => None,
            Id::Given(id) => Some(id),
            Id::Generated(id) => Some(id.get_or_init(generate_id)),
        }
    }

    /// Appends content; `f` closes what it opens.
    pub(super) fn content(&mut self, f: impl FnOnce(&mut Writer)) {
        let mut w = Writer::with_buffer(ns::CLIENT, std::mem::take(&mut self.content));
        f(&mut w);
        self.content = w.finish();
    }

    /// A text in the content namespace.
    pub(super) fn text(&mut self, name: &str, lang: Option<&str>, text: &str) {
        self.content(|w| {
            w.open(name, ns::CLIENT);
            if let Some(lang) = lang {
                w.attr_ns("lang", ns::XML, lang);
            }
            w.text(text);
            w.close();
        });
    }

    pub(super) fn payload<P: Payload>(&mut self, payload: &P) {
        self.content(|w| payload.write(w));
    }

    pub(super) fn element(&mut self, el: ElementRef<'_>) {
        self.content(|w| w.element(el));
    }

    pub(super) fn error(&mut self, error: &StanzaError) {
        self.content(|w| error.write(w));
    }

    /// The children of `root` except an error.
    pub(super) fn echo(&mut self, root: ElementRef<'_>) {
        self.content(|w| {
            root.children().filter(|c| !c.is("error", root.ns())).for_each(|c| w.moved(c, root.ns(), ns::CLIENT))
        });
    }

    pub(super) fn write(&self, w: &mut Writer, name: &str, type_: Option<&str>) {
        w.open(name, content_ns(w));
        w.attr_opt("from", self.from.as_ref().map(Jid::as_str));
        w.attr_opt("to", self.to.as_ref().map(Jid::as_str));
        w.attr_opt("id", self.id());
        w.attr_opt("type", type_);
        if let Some(lang) = &self.lang {
            w.attr_ns("lang", ns::XML, lang);
        }
        w.raw(&self.content);
        w.close();
    }

    /// Written in the client namespace and scanned.
    pub(super) fn to_stanza(&self, name: &str, type_: Option<&str>) -> Stanza {
        let mut w = Writer::new(ns::CLIENT);
        self.write(&mut w, name, type_);
        w.into_stanza()
    }
}

/// What every builder offers; `$view` is what it builds.
macro_rules! common_builder {
    ($builder:ident, $view:ident) => {
        impl $builder {
            /// Sets `to`.
            pub fn to(mut self, to: impl Into<$crate::jid::Jid>) -> Self {
                self.draft.to = Some(to.into());
                self
            }
            /// Sets `from`. A client leaves it to the server (RFC 6120 §8.1.2.1).
            pub fn from(mut self, from: impl Into<$crate::jid::Jid>) -> Self {
                self.draft.from = Some(from.into());
                self
            }
            /// Sets `id`, in place of a generated one.
            pub fn id(mut self, id: impl Into<String>) -> Self {
                self.draft.set_id(id.into());
                self
            }
            /// Sets `xml:lang`.
            pub fn lang(mut self, lang: impl Into<String>) -> Self {
                self.draft.set_lang(lang.into());
                self
            }
            /// Adds a payload.
            pub fn payload<P: $crate::payload::Payload>(mut self, payload: &P) -> Self {
                self.draft.payload(payload);
                self
            }
            /// Adds a copy of an element as payload.
            pub fn element(mut self, el: $crate::xml::ElementRef<'_>) -> Self {
                self.draft.element(el);
                self
            }
            /// Adds what `f` writes; it closes what it opens.
            pub fn content(mut self, f: impl FnOnce(&mut $crate::xml::Writer)) -> Self {
                self.draft.content(f);
                self
            }
            /// The `to` set so far.
            pub fn get_to(&self) -> Option<&$crate::jid::Jid> {
                self.draft.to.as_ref()
            }
            /// The id that it will have.
            pub fn get_id(&self) -> Option<&str> {
                self.draft.id()
            }
            /// Writes and scans it. To send it, the builder itself will do ([`WriteStanza`](super::WriteStanza)).
            pub fn build(self) -> $view {
                let stanza = self.draft.to_stanza($builder::NAME, self.type_str());
                let header = super::header::Header { stanza, from: self.draft.from, to: self.draft.to };
                $view { header, type_: self.type_ }
            }
        }

        impl $crate::stanza::WriteStanza for $builder {
            fn write_to(&self, w: &mut $crate::xml::Writer) {
                self.draft.write(w, $builder::NAME, self.type_str());
            }
        }
    };
}
pub(super) use common_builder;

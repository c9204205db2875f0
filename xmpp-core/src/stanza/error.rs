//! Stanza errors (RFC 6120 §8.3): the wire element and the Rust error in one.

use super::{Condition, ErrorType, content_ns};
use crate::jid::Jid;
use crate::payload::{Payload, PayloadError, PayloadProblem};
use crate::printable::Printable;
use crate::xml::{ElementRef, Stanza, Writer, ns};
use std::fmt;

/// Why a stanza was not processed. Handlers return it and it goes out as `<error/>`; a request that failed returns the
/// one that came in.
#[derive(Clone, Debug)]
pub struct StanzaError {
    /// What the sender can do about it.
    pub type_: ErrorType,
    /// What went wrong.
    pub condition: Condition,
    /// Who says so, where it is not the addressee.
    pub by: Option<Jid>,
    /// An explanation for people.
    pub text: Option<Box<str>>,
    /// The language of the text (BCP 47).
    pub lang: Option<Box<str>>,
    /// The application-specific condition.
    pub application: Option<Box<Stanza>>,
}

impl StanzaError {
    /// With the type that RFC 6120 recommends for the condition.
    pub fn new(condition: Condition) -> Self {
        StanzaError { type_: condition.default_type(), condition, by: None, text: None, lang: None, application: None }
    }
    /// With another type.
    pub fn with_type(mut self, type_: ErrorType) -> Self {
        self.type_ = type_;
        self
    }
    /// With an explanation.
    pub fn with_text(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into().into_boxed_str());
        self
    }
    /// With the language of the explanation.
    pub fn with_lang(mut self, lang: impl Into<String>) -> Self {
        self.lang = Some(lang.into().into_boxed_str());
        self
    }
    /// With the address of whoever raised it.
    pub fn with_by(mut self, by: impl Into<Jid>) -> Self {
        self.by = Some(by.into());
        self
    }
    /// With an application-specific condition.
    pub fn with_application<P: Payload>(mut self, payload: &P) -> Self {
        let mut w = Writer::new("");
        payload.write(&mut w);
        self.application = Some(Box::new(w.into_stanza()));
        self
    }
    /// With an application-specific condition that is an empty element.
    pub fn with_application_element(mut self, name: &str, ns: &str) -> Self {
        let mut w = Writer::new("");
        w.open(name, ns);
        w.close();
        self.application = Some(Box::new(w.into_stanza()));
        self
    }
    /// Whether the application-specific condition is this element.
    pub fn has_application(&self, name: &str, ns: &str) -> bool {
        self.application.as_ref().is_some_and(|a| a.root().is(name, ns))
    }

    /// Reads an `<error/>`. Nothing in it is refused: an unknown condition or none is `undefined-condition`, an unknown
    /// type is the condition's own.
    pub fn read(el: ElementRef<'_>) -> Self {
        let mut condition = None;
        let mut out = StanzaError::undefined_condition();
        for child in el.children() {
            match (child.ns(), child.name()) {
                (ns::STANZA_ERRORS, "text") if out.text.is_none() => {
                    out.text = Some(child.text().into());
                    out.lang = child.lang().map(Into::into);
                }
                (ns::STANZA_ERRORS, "text") => {}
                (ns::STANZA_ERRORS, name) if condition.is_none() => {
                    let iri = || Some(child.text().trim_ascii().to_owned()).filter(|t| !t.is_empty());
                    condition = Some(match Condition::from_name(name) {
                        Some(Condition::Gone(_)) => Condition::Gone(iri()),
                        Some(Condition::Redirect(_)) => Condition::Redirect(iri()),
                        Some(other) => other,
                        None => Condition::UndefinedCondition,
                    });
                }
                (ns::STANZA_ERRORS, _) => {}
                (other, _) if other != el.ns() && out.application.is_none() => {
                    out.application = Some(Box::new(child.to_stanza()));
                }
                _ => {}
            }
        }
        out.condition = condition.unwrap_or(Condition::UndefinedCondition);
        out.type_ = el.attr("type").and_then(|t| ErrorType::read(&t)).unwrap_or(out.condition.default_type());
        out.by = el.attr("by").and_then(|by| Jid::lenient(&by).ok());
        out
    }

    /// Writes `<error/>` in the writer's content namespace.
    pub fn write(&self, w: &mut Writer) {
        w.open("error", content_ns(w));
        w.attr("type", self.type_.as_str());
        w.attr_opt("by", self.by.as_ref().map(Jid::as_str));
        w.open(self.condition.as_str(), ns::STANZA_ERRORS);
        if let Condition::Gone(Some(iri)) | Condition::Redirect(Some(iri)) = &self.condition {
            w.text(iri);
        }
        w.close();
        if let Some(text) = &self.text {
            w.open("text", ns::STANZA_ERRORS);
            if let Some(lang) = &self.lang {
                w.attr_ns("lang", ns::XML, lang);
            }
            w.text(text);
            w.close();
        }
        if let Some(application) = &self.application {
            w.element(application.root());
        }
        w.close();
    }
}

impl fmt::Display for StanzaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.condition.as_str())?;
        if let Condition::Gone(Some(iri)) | Condition::Redirect(Some(iri)) = &self.condition {
            write!(f, " ({})", Printable(iri))?;
        }
        match &self.text {
            Some(text) => write!(f, ": {}", Printable(text)),
            None => Ok(()),
        }
    }
}

impl std::error::Error for StanzaError {}

/// `bad-request`, or `jid-malformed` where an address was wrong, with what is wrong as text.
impl From<PayloadError> for StanzaError {
    fn from(e: PayloadError) -> Self {
        let error = match &e.problem {
            PayloadProblem::Value(v) if v.is_jid() => StanzaError::jid_malformed(),
            _ => StanzaError::bad_request(),
        };
        error.with_text(e.to_string())
    }
}

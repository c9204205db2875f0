//! Why something is done in a session (XEP-0166 §7.4).

use super::NS;
use xmpp_core::{
    payload::{Payload, PayloadError},
    xml::{ElementRef, Stanza, Writer},
};

macro_rules! conditions {
    ($($variant:ident $function:ident $name:literal $doc:literal)*) => {
        /// Why, for machines (§7.4).
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ReasonCondition {
            /// Another session with the peer serves; its id.
            AlternativeSession(Option<String>),
            $(#[doc = $doc] $variant,)*
        }

        impl ReasonCondition {
            /// The element's name.
            pub fn as_str(&self) -> &'static str {
                match self {
                    ReasonCondition::AlternativeSession(_) => "alternative-session",
                    $(ReasonCondition::$variant => $name,)*
                }
            }

            fn from_name(name: &str) -> Option<ReasonCondition> {
                Some(match name {
                    "alternative-session" => ReasonCondition::AlternativeSession(None),
                    $($name => ReasonCondition::$variant,)*
                    _ => return None,
                })
            }
        }

        impl Reason {
            $(#[doc = concat!("`", $name, "`: ", $doc)]
            pub fn $function() -> Reason {
                Reason::new(ReasonCondition::$variant)
            })*
        }

        #[cfg(test)]
        pub(super) fn all() -> Vec<ReasonCondition> {
            vec![ReasonCondition::AlternativeSession(Some("b84tk".into())), $(ReasonCondition::$variant,)*]
        }
    };
}

conditions! {
    Busy busy "busy" "Busy, and no session can be accepted."
    Cancel cancel "cancel" "The request for a session is taken back."
    ConnectivityError connectivity_error "connectivity-error" "Problems of connectivity."
    Decline decline "decline" "The session is not wanted."
    Expired expired "expired" "The session has lasted as long as it may."
    FailedApplication failed_application "failed-application" "The application could not begin."
    FailedTransport failed_transport "failed-transport" "No connection came about by the transport."
    GeneralError general_error "general-error" "An error of the application that is none of the others. What cannot be read counts as this."
    Gone gone "gone" "Going offline, or no longer there."
    IncompatibleParameters incompatible_parameters "incompatible-parameters" "The application is known, its parameters do not fit."
    MediaError media_error "media-error" "Problems with the media."
    SecurityError security_error "security-error" "Against local rules of security."
    Success success "success" "All went as it should."
    Timeout timeout "timeout" "A request was not answered."
    UnsupportedApplications unsupported_applications "unsupported-applications" "None of the applications is known."
    UnsupportedTransports unsupported_transports "unsupported-transports" "None of the transports is known."
}

/// Why something is done, mostly why a session ends.
#[derive(Clone, Debug)]
pub struct Reason {
    /// For machines.
    pub condition: ReasonCondition,
    /// For people.
    pub text: Option<String>,
    /// More of it for the application: an element of its own namespace.
    pub application: Option<Stanza>,
}

impl PartialEq for Reason {
    fn eq(&self, other: &Reason) -> bool {
        let element = |it: &Reason| it.application.as_ref().map(|it| it.as_str().to_owned());
        self.condition == other.condition && self.text == other.text && element(self) == element(other)
    }
}

impl Reason {
    /// With nothing but the condition.
    pub fn new(condition: ReasonCondition) -> Reason {
        Reason { condition, text: None, application: None }
    }

    /// Another session with the peer serves.
    pub fn alternative_session(sid: impl Into<String>) -> Reason {
        Reason::new(ReasonCondition::AlternativeSession(Some(sid.into())))
    }

    /// With an explanation.
    #[must_use]
    pub fn with_text(mut self, text: impl Into<String>) -> Reason {
        self.text = Some(text.into());
        self
    }

    /// With an empty element of the application's.
    #[must_use]
    pub fn with_application_element(mut self, name: &str, ns: &str) -> Reason {
        let mut w = Writer::new("");
        w.open(name, ns);
        w.close();
        self.application = Some(w.into_stanza());
        self
    }

    /// Whether the application's element is this.
    pub fn has_application(&self, name: &str, ns: &str) -> bool {
        self.application.as_ref().is_some_and(|it| it.root().is(name, ns))
    }
}

/// Reading refuses nothing: who gives a reason that we do not know still ends the session.
impl Payload for Reason {
    const NAME: &'static str = "reason";
    const NS: &'static str = NS;

    fn read(el: ElementRef<'_>) -> Result<Reason, PayloadError> {
        if !Self::matches(el) {
            return Err(PayloadError::other_element(Self::NAME));
        }
        let (mut condition, mut text, mut application) = (None, None, None);
        for child in el.children() {
            match (child.ns(), child.name()) {
                (NS, "text") => {
                    text.get_or_insert_with(|| child.text().into_owned());
                }
                (NS, "alternative-session") if condition.is_none() => {
                    let sid = child.child("sid", NS).map(|sid| sid.text().trim_ascii().to_owned());
                    condition = Some(ReasonCondition::AlternativeSession(sid.filter(|sid| !sid.is_empty())));
                }
                // Dino 0.4 says `failed_transport`.
                (NS, name) => condition = condition.or_else(|| ReasonCondition::from_name(&name.replace('_', "-"))),
                _ => {
                    application.get_or_insert_with(|| child.to_stanza());
                }
            }
        }
        Ok(Reason { condition: condition.unwrap_or(ReasonCondition::GeneralError), text, application })
    }

    fn write(&self, w: &mut Writer) {
        w.open(Self::NAME, NS);
        w.open(self.condition.as_str(), NS);
        if let ReasonCondition::AlternativeSession(Some(sid)) = &self.condition {
            w.text_element("sid", NS, sid);
        }
        w.close();
        if let Some(text) = &self.text {
            w.text_element("text", NS, text);
        }
        if let Some(application) = &self.application {
            w.element(application.root());
        }
        w.close();
    }
}

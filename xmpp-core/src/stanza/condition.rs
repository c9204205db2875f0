//! The conditions and types of stanza errors (RFC 6120 §8.3.2, §8.3.3).

/// What the sender can do about an error (RFC 6120 §8.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorType {
    /// Retry after providing credentials.
    Auth,
    /// Do not retry.
    Cancel,
    /// Proceed: it was a warning.
    Continue,
    /// Retry after changing the data.
    Modify,
    /// Retry after waiting.
    Wait,
}

impl ErrorType {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorType::Auth => "auth",
            ErrorType::Cancel => "cancel",
            ErrorType::Continue => "continue",
            ErrorType::Modify => "modify",
            ErrorType::Wait => "wait",
        }
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        Some(match text {
            "auth" => ErrorType::Auth,
            "cancel" => ErrorType::Cancel,
            "continue" => ErrorType::Continue,
            "modify" => ErrorType::Modify,
            "wait" => ErrorType::Wait,
            _ => return None,
        })
    }
}

/// The enum, its names and types, and a constructor of `StanzaError` for each condition without content.
macro_rules! conditions {
    ($($variant:ident $function:ident $name:literal $type_:ident $doc:literal)*) => {
        /// What went wrong (RFC 6120 §8.3.3).
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum Condition {
            $(#[doc = $doc] $variant,)*
            /// The recipient is no longer at this address, for good; the new one as an IRI.
            Gone(Option<String>),
            /// The recipient is elsewhere for now; where, as an IRI.
            Redirect(Option<String>),
        }

        impl Condition {
            /// The element's name.
            pub fn as_str(&self) -> &'static str {
                match self {
                    $(Condition::$variant => $name,)*
                    Condition::Gone(_) => "gone",
                    Condition::Redirect(_) => "redirect",
                }
            }

            /// The type that RFC 6120 §8.3.3 recommends; where it leaves a choice, the first one.
            pub fn default_type(&self) -> ErrorType {
                match self {
                    $(Condition::$variant => ErrorType::$type_,)*
                    Condition::Gone(_) => ErrorType::Cancel,
                    Condition::Redirect(_) => ErrorType::Modify,
                }
            }

            /// The condition of that name; `None` if unknown, which then counts as `undefined-condition`.
            pub fn from_name(name: &str) -> Option<Self> {
                Some(match name {
                    $($name => Condition::$variant,)*
                    "gone" => Condition::Gone(None),
                    "redirect" => Condition::Redirect(None),
                    _ => return None,
                })
            }
        }

        impl super::StanzaError {
            $(#[doc = concat!("`", $name, "`: ", $doc)]
            pub fn $function() -> Self {
                Self::new(Condition::$variant)
            })*
            /// `gone`: the recipient is no longer at this address, for good.
            pub fn gone(iri: Option<String>) -> Self {
                Self::new(Condition::Gone(iri))
            }
            /// `redirect`: the recipient is elsewhere for now.
            pub fn redirect(iri: Option<String>) -> Self {
                Self::new(Condition::Redirect(iri))
            }
        }

        #[cfg(test)]
        pub(super) fn all() -> Vec<Condition> {
            vec![$(Condition::$variant,)* Condition::Gone(None), Condition::Redirect(None)]
        }
    };
}

conditions! {
    BadRequest bad_request "bad-request" Modify "Malformed, or against the schema."
    Conflict conflict "conflict" Cancel "The name or address is taken."
    FeatureNotImplemented feature_not_implemented "feature-not-implemented" Cancel "The namespace is known, this use of it is not implemented."
    Forbidden forbidden "forbidden" Auth "The sender lacks the permission."
    InternalServerError internal_server_error "internal-server-error" Cancel "A fault or misconfiguration."
    ItemNotFound item_not_found "item-not-found" Cancel "The address or item does not exist."
    JidMalformed jid_malformed "jid-malformed" Modify "An address is no address."
    NotAcceptable not_acceptable "not-acceptable" Modify "Understood, but against the recipient's criteria."
    NotAllowed not_allowed "not-allowed" Cancel "Nobody may do this."
    NotAuthorized not_authorized "not-authorized" Auth "Credentials are missing or wrong."
    PolicyViolation policy_violation "policy-violation" Modify "Against a local policy."
    RecipientUnavailable recipient_unavailable "recipient-unavailable" Wait "The recipient is away for now."
    RegistrationRequired registration_required "registration-required" Auth "One has to register or join first."
    RemoteServerNotFound remote_server_not_found "remote-server-not-found" Cancel "The domain has no server."
    RemoteServerTimeout remote_server_timeout "remote-server-timeout" Wait "The domain's server cannot be reached."
    ResourceConstraint resource_constraint "resource-constraint" Wait "Out of resources for now."
    ServiceUnavailable service_unavailable "service-unavailable" Cancel "No such service here, or not for the sender."
    SubscriptionRequired subscription_required "subscription-required" Auth "One has to subscribe first."
    UndefinedCondition undefined_condition "undefined-condition" Cancel "None of the others; the application element says more."
    UnexpectedRequest unexpected_request "unexpected-request" Wait "Out of order at this time."
}

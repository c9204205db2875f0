//! Why a session is terminated (XEP-0124 §17.2).

macro_rules! conditions {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal,)*) => {
        /// A terminal binding condition (XEP-0124 §17.2).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum BoshCondition {
            $($(#[doc = $doc])* $name,)*
        }

        impl BoshCondition {
            /// As the attribute `condition` has it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(BoshCondition::$name => $text,)*
                }
            }

            /// The condition of this name.
            pub fn from_name(name: &str) -> Option<BoshCondition> {
                match name {
                    $($text => Some(BoshCondition::$name),)*
                    _ => None,
                }
            }
        }
    };
}

conditions! {
    /// A header or wrapper cannot be understood.
    BadRequest = "bad-request",
    /// The domain is no longer served.
    HostGone = "host-gone",
    /// The domain is not served.
    HostUnknown = "host-unknown",
    /// The session creation request names no domain.
    ImproperAddressing = "improper-addressing",
    /// The connection manager has failed.
    InternalServerError = "internal-server-error",
    /// There is no such session, the request is outside of its window, the response is no longer there, or the key is
    /// wrong. Which of them is not said.
    ItemNotFound = "item-not-found",
    /// Another request at the same time has ended the session.
    OtherRequest = "other-request",
    /// The client has broken the rules of the session.
    PolicyViolation = "policy-violation",
    /// The connection to the server has failed.
    RemoteConnectionFailed = "remote-connection-failed",
    /// The stream has ended with an error, which the wrapper holds.
    RemoteStreamError = "remote-stream-error",
    /// The service is elsewhere: the wrapper's `<uri/>` says where.
    SeeOtherUri = "see-other-uri",
    /// The connection manager stops.
    SystemShutdown = "system-shutdown",
    /// None of the others.
    UndefinedCondition = "undefined-condition",
}

impl BoshCondition {
    /// The HTTP status that a client gets instead if it did not say which version it speaks (XEP-0124 §17.1).
    pub fn legacy_status(self) -> Option<u16> {
        match self {
            BoshCondition::BadRequest => Some(400),
            BoshCondition::PolicyViolation => Some(403),
            BoshCondition::ItemNotFound => Some(404),
            _ => None,
        }
    }
}

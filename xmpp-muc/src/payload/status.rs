use super::USER;
use std::borrow::Cow;
use xmpp_core::payload::{Payload, TextValue, ValueError};

/// What a stanza of a room means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Payload)]
#[xml(name = "status", ns = USER)]
pub struct Status {
    /// By its number.
    #[xml(attr)]
    pub code: StatusCode,
}

/// A status code (§15.6).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StatusCode(pub u16);

macro_rules! codes {
    ($($name:ident $number:literal $doc:literal)*) => {
        impl StatusCode {
            $(#[doc = $doc] pub const $name: StatusCode = StatusCode($number);)*
        }
    };
}

codes! {
    NON_ANONYMOUS 100 "All occupants see the user's full address."
    AFFILIATION_CHANGED 101 "The user's affiliation has changed, outside of the room."
    SHOWS_UNAVAILABLE 102 "The room shows members who are not there now."
    HIDES_UNAVAILABLE 103 "The room no longer shows members who are not there."
    CONFIGURATION_CHANGED 104 "The configuration has changed, without consequence for privacy."
    SELF 110 "The presence is the recipient's own."
    LOGGED 170 "What is said is logged publicly."
    NOT_LOGGED 171 "What is said is no longer logged publicly."
    NOW_NON_ANONYMOUS 172 "The room is non-anonymous now."
    NOW_SEMI_ANONYMOUS 173 "The room is semi-anonymous now."
    CREATED 201 "The room is new."
    NICK_ASSIGNED 210 "The room has chosen or changed the nickname."
    BANNED 301 "The occupant was banned."
    NICK_CHANGED 303 "The nickname has changed."
    KICKED 307 "The occupant was kicked."
    AFFILIATION_LOST 321 "The occupant was removed since the affiliation has changed."
    MEMBERS_ONLY 322 "The occupant was removed since the room is for members only now."
    SHUTDOWN 332 "The occupant was removed since the service stops."
    TECHNICAL 333 "The occupant was removed for technical reasons."
}

impl std::fmt::Debug for StatusCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl From<StatusCode> for Status {
    fn from(code: StatusCode) -> Status {
        Status { code }
    }
}

impl TextValue for StatusCode {
    fn from_text(text: &str) -> Result<Self, ValueError> {
        u16::from_text(text).map(StatusCode)
    }
    fn to_text(&self) -> Cow<'_, str> {
        self.0.to_string().into()
    }
}

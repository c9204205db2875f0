//! The /me command (XEP-0245).

/// What the sender does, if the body says so: the rest behind `/me` and a blank. Nothing else counts: not other case,
/// not blanks before it, not the bare command.
///
/// ```
/// use xmpp_im::message::me::action;
/// assert_eq!(action("/me shrugs in disgust"), Some("shrugs in disgust"));
/// assert_eq!(action("/meshrugs"), None);
/// ```
pub fn action(body: &str) -> Option<&str> {
    body.strip_prefix("/me ")
}

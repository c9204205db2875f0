//! Fallback indication (XEP-0428): which parts of a text are there only for those who don't understand the rest.

pub use xmpp_core::payload::fallback::{Fallback, FallbackBody, FallbackSubject, NS};

use super::characters;
use std::borrow::Cow;
use xmpp_core::{payload::Payload, stanza::Message};

/// So many parts of a text are looked at.
const MOST: usize = 64;

/// The `body` without the parts that stand in for what is `understood`, by namespace. It takes time in proportion to
/// the text.
///
/// ```
/// use xmpp_im::message::{fallback, reply};
/// let (body, quotation) = reply::quote("We should bake a cake", "Great idea!");
/// let marks = [reply::fallback(quotation)];
/// assert_eq!(fallback::strip(&body, &marks, &[reply::NS]), "Great idea!");
/// assert_eq!(fallback::strip(&body, &marks, &[]), body);
/// ```
pub fn strip<'a>(body: &'a str, marks: &[Fallback], understood: &[&str]) -> Cow<'a, str> {
    let ours = |mark: &&Fallback| mark.for_.as_deref().is_some_and(|ns| understood.contains(&ns));
    let mut parts = Vec::new();
    for mark in marks.iter().filter(ours) {
        if mark.bodies.is_empty() && mark.subjects.is_empty() {
            return Cow::Borrowed("");
        }
        for part in mark.bodies.iter().take(MOST) {
            match (part.start, part.end) {
                (None, None) => return Cow::Borrowed(""),
                (start, end) => parts.push(start.unwrap_or(0)..end.unwrap_or(u32::MAX)),
            }
        }
    }
    characters::without(body, parts)
}

/// The body of a message without what stands in for what is `understood`.
pub fn stripped_body(message: &Message, understood: &[&str]) -> Option<String> {
    let body = message.body()?;
    let marks: Vec<Fallback> = message
        .payloads()
        .filter(|el| Fallback::matches(*el))
        .take(8)
        .filter_map(|el| Fallback::read(el).ok())
        .collect();
    Some(strip(&body, &marks, understood).into_owned())
}

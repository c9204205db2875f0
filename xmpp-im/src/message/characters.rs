//! Counting characters in bodies (XEP-0426): by code points, before any other processing.

use std::{borrow::Cow, ops::Range};

/// How many there are.
pub fn count(text: &str) -> usize {
    text.chars().count()
}

/// The text from character `range.start` to before `range.end`; `None` if it does not have that many, or the range runs
/// backwards.
///
/// ```
/// use xmpp_im::message::characters::part;
/// assert_eq!(part("こんにちは世界", 5..7), Some("世界"));
/// assert_eq!(part("You & Me", 4..9), None);
/// ```
pub fn part(text: &str, range: Range<u32>) -> Option<&str> {
    let mut ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    let length = range.end.checked_sub(range.start)?;
    let start = ends.nth(usize::try_from(range.start).ok()?)?;
    let end = match length {
        0 => start,
        more => ends.nth(usize::try_from(more).ok()?.checked_sub(1)?)?,
    };
    text.get(start..end)
}

/// The text without the characters in `parts`, which may overlap, and reach beyond its end.
pub fn without(text: &str, mut parts: Vec<Range<u32>>) -> Cow<'_, str> {
    parts.retain(|part| part.start < part.end);
    if parts.is_empty() {
        return Cow::Borrowed(text);
    }
    parts.sort_unstable_by_key(|part| part.start);
    let mut parts = parts.into_iter().peekable();
    let mut gone_until = 0;
    let mut kept = String::with_capacity(text.len());
    for (number, character) in (0u32..).zip(text.chars()) {
        while let Some(part) = parts.next_if(|part| part.start <= number) {
            gone_until = gone_until.max(part.end);
        }
        if number >= gone_until {
            kept.push(character);
        }
    }
    Cow::Owned(kept)
}

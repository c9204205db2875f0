//! Names of people in rooms: the Nickname profile (RFC 8266).
use icu_normalizer::ComposingNormalizerBorrowed;

use super::{MAX_PART, precis};

/// The name as it is stored and shown (§2.3): spaces trimmed and collapsed, NFKC. `None` for one that is empty, longer
/// than 1,023 bytes, or not of the FreeformClass.
pub fn enforce(name: &str) -> Option<String> {
    profile(name, false)
}

/// The name as it is compared (§2.4), in small letters too. Two people in a room must not have the same.
pub fn comparison_key(name: &str) -> Option<String> {
    profile(name, true)
}

fn profile(name: &str, fold: bool) -> Option<String> {
    if name.len() > MAX_PART {
        return None;
    }
    let text = precis::settle(name, |text| {
        if !precis::in_class(text, precis::Class::Freeform) {
            return None;
        }
        let words: Vec<&str> = text.split(precis::is_space).filter(|w| !w.is_empty()).collect();
        let text = words.join(" ");
        let text = if fold { precis::lowercase(text.chars()) } else { text };
        Some(ComposingNormalizerBorrowed::new_nfkc().normalize(&text).into_owned())
    })?;
    (!text.is_empty() && text.len() <= MAX_PART).then_some(text)
}

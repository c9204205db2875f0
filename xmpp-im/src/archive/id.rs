//! The identifiers of archived messages.

use std::{fmt, str::FromStr};
use xmpp_core::payload::{DateTime, ValueError};

/// What a message is called in its archive: unique, in the order of the archive, and not to be guessed (XEP-0313 §3).
/// On the wire 30 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArchiveId {
    micros: i64,
    nonce: u64,
}

/// Digits of the time, and of the rest.
const TIME: usize = 14;
const NONCE: usize = 16;

impl ArchiveId {
    /// For a message that came so many microseconds after 1970. No two of an archive have the same.
    pub fn new(micros: i64) -> ArchiveId {
        let mut nonce = [0; 8];
        if getrandom::fill(&mut nonce).is_err() {
            use std::hash::{BuildHasher as _, Hasher as _, RandomState};
            nonce = RandomState::new().build_hasher().finish().to_ne_bytes();
        }
        ArchiveId::from_parts(micros, u64::from_ne_bytes(nonce))
    }

    /// From what a store has kept.
    pub fn from_parts(micros: i64, nonce: u64) -> ArchiveId {
        ArchiveId { micros: micros.clamp(0, (1 << (4 * TIME)) - 1), nonce }
    }

    /// Microseconds since 1970, later than those of the message before it in the archive.
    pub fn micros(self) -> i64 {
        self.micros
    }

    /// The part that nobody can guess.
    pub fn nonce(self) -> u64 {
        self.nonce
    }

    /// When the message came, to the millisecond.
    pub fn time(self) -> DateTime {
        let nanos = u32::try_from(self.micros.rem_euclid(1_000_000) / 1000).unwrap_or_default() * 1_000_000;
        DateTime::from_unix(self.micros.div_euclid(1_000_000), nanos).unwrap_or(DateTime::from(std::time::UNIX_EPOCH))
    }
}

impl fmt::Display for ArchiveId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0TIME$x}{:0NONCE$x}", self.micros, self.nonce)
    }
}

impl FromStr for ArchiveId {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<ArchiveId, ValueError> {
        let digits = |b: &u8| b.is_ascii_digit() || (b'a'..=b'f').contains(b);
        let (time, nonce) = text.split_at_checked(TIME).unwrap_or_default();
        let read = |part| u64::from_str_radix(part, 16).ok();
        match (i64::from_str_radix(time, 16), read(nonce)) {
            (Ok(micros), Some(nonce)) if text.len() == TIME + NONCE && text.as_bytes().iter().all(digits) => {
                Ok(ArchiveId { micros, nonce })
            }
            _ => Err(ValueError::expected("an id of this archive")),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn xep0313_3_ids_are_read_as_they_are_written_and_nothing_else_is() {
        let id = ArchiveId::new(1_700_000_000_123_456);
        assert_eq!(id.to_string().parse::<ArchiveId>().unwrap(), id);
        assert_eq!(xmpp_core::payload::TextValue::to_text(&id.time()), "2023-11-14T22:13:20.123Z");
        assert_ne!(ArchiveId::new(1), ArchiveId::new(1), "not to be guessed");
        assert!(ArchiveId::new(1).to_string() < ArchiveId::new(2).to_string());
        let text = id.to_string();
        let others =
            ["", "';DROP TABLE archive", "ﬀ", &text.to_uppercase(), &format!("{text}0"), &format!("+{}", &text[1..])];
        for other in others.into_iter().chain([&text[1..]]) {
            assert!(other.parse::<ArchiveId>().is_err(), "{other}");
        }
    }
}

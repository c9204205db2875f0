//! What is told of rooms in lists, and which of them are asked for.

use crate::{RoomConfig, config::Whois};
use xmpp_core::jid::BareJid;

/// A room as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its address.
    pub jid: BareJid,
    /// Its name for people; may be empty.
    pub name: String,
    /// What it is about, if that is known.
    pub description: Option<String>,
    /// The language that is spoken in it (BCP 47), if that is known.
    pub lang: Option<String>,
    /// Whether everybody may come in without a password, if that is known.
    pub is_open: Option<bool>,
    /// Who sees occupants' addresses, if that is known.
    pub whois: Option<Whois>,
}

impl Listed {
    /// What is told of a room.
    pub fn of(jid: BareJid, config: &RoomConfig) -> Listed {
        let said = |text: &String| (!text.is_empty()).then(|| text.clone());
        Listed {
            jid,
            name: config.name.clone(),
            description: said(&config.description),
            lang: said(&config.lang),
            is_open: Some(config.is_open()),
            whois: Some(config.whois),
        }
    }

    /// Whether this is what is told of a room of this configuration.
    pub(crate) fn tells(&self, config: &RoomConfig) -> bool {
        self.name == config.name
            && self.description.as_deref().unwrap_or_default() == config.description
            && self.lang.as_deref().unwrap_or_default() == config.lang
            && self.is_open == Some(config.is_open())
            && self.whois == Some(config.whois)
    }

    /// Its address, name and description in small letters, a line each: for stores that look for words in it.
    pub fn words(&self) -> String {
        let description = self.description.as_deref().unwrap_or_default();
        [self.jid.as_str(), "\n", &fold(&self.name), "\n", &fold(description)].concat()
    }
}

fn fold(text: &str) -> String {
    text.to_lowercase()
}

/// Words that are looked for in rooms: a room is found if each of them is somewhere in it, in small or in capital letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    words: Vec<String>,
    fields: Fields,
}

/// Where words are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    /// In the address.
    pub address: bool,
    /// In the name.
    pub name: bool,
    /// In the description.
    pub description: bool,
}

impl Fields {
    /// In all of them.
    pub const ALL: Fields = Fields { address: true, name: true, description: true };
}

impl Terms {
    /// The most words.
    pub const MOST: usize = 8;
    /// The most bytes of them.
    pub const BYTES: usize = 256;

    /// The words of a text; `None` if there is none, or if it is more than is looked for.
    pub fn new(text: &str, fields: Fields) -> Option<Terms> {
        if text.len() > Terms::BYTES {
            return None;
        }
        let words: Vec<String> = text.split_whitespace().map(fold).collect();
        (1..=Terms::MOST).contains(&words.len()).then_some(Terms { words, fields })
    }

    /// The words, in small letters: what is found has all of them in its [text](Listed::words).
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.words.iter().map(String::as_str)
    }

    /// Whether all words are in this.
    pub fn find(&self, listed: &Listed) -> bool {
        let name = if self.fields.name { fold(&listed.name) } else { String::new() };
        let description = listed.description.as_deref().filter(|_| self.fields.description).map(fold);
        let address = if self.fields.address { listed.jid.as_str() } else { "" };
        let places = [address, &name, description.as_deref().unwrap_or_default()];
        self.words.iter().all(|word| places.iter().any(|place| place.contains(word.as_str())))
    }
}

/// A stretch of the rooms of a domain that are listed, by address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stretch {
    /// Only those behind this address.
    pub after: Option<BareJid>,
    /// Only those before this address.
    pub before: Option<BareJid>,
    /// Only those in which these words are.
    pub terms: Option<Terms>,
    /// Passes over so many of them.
    pub skip: u64,
    /// So many at most.
    pub max: usize,
    /// From the end: the last ones, the very last first.
    pub last: bool,
}

impl Stretch {
    /// Whether a room is in it, wherever it begins and ends.
    pub fn has(&self, listed: &Listed) -> bool {
        self.after.as_ref().is_none_or(|after| listed.jid > *after)
            && self.before.as_ref().is_none_or(|before| listed.jid < *before)
            && self.terms.as_ref().is_none_or(|terms| terms.find(listed))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn listed() -> Listed {
        let config =
            RoomConfig { name: "ÄRGER & Co".into(), description: "Über\nalles".into(), ..RoomConfig::default() };
        Listed::of("coven@chat.example.org".parse().unwrap(), &config)
    }

    #[test]
    fn a_room_is_found_by_all_of_the_words_where_they_are_looked_for() {
        let find = |text: &str, fields| Terms::new(text, fields).unwrap().find(&listed());
        for (text, found) in [
            ("ärger", true),
            ("Ärger ALLES COVEN", true),
            ("rge", true),
            ("ärger nothing", false),
            ("co über\nalles", true),
            ("example", true),
        ] {
            assert_eq!(find(text, Fields::ALL), found, "{text}");
        }
        let only = Fields { address: false, name: false, description: false };
        assert!(!find("ärger", Fields { description: true, ..only }));
        assert!(find("ärger", Fields { name: true, ..only }));
        assert!(!find("coven", Fields { name: true, description: true, ..only }));
        assert!(find("alles", Fields { description: true, ..only }));
        for text in ["ärger", "Coven über"] {
            assert!(Terms::new(text, Fields::ALL).unwrap().words().all(|word| listed().words().contains(word)));
        }
    }

    #[test]
    fn words_are_bounded() {
        let new = |text: &str| Terms::new(text, Fields::ALL).is_some();
        assert!(!new("") && !new(" \n\t"));
        assert!(new(&"x ".repeat(8)) && !new(&"x ".repeat(9)));
        assert!(new(&"x".repeat(256)) && !new(&"x".repeat(257)));
    }

    #[test]
    fn what_is_told_changes_with_what_is_told_of_it() {
        let config = RoomConfig::default();
        let listed = Listed::of("coven@chat".parse().unwrap(), &config);
        assert!(listed.tells(&config));
        for other in [
            RoomConfig { name: "x".into(), ..config.clone() },
            RoomConfig { description: "x".into(), ..config.clone() },
            RoomConfig { lang: "x".into(), ..config.clone() },
            RoomConfig { password: Some("x".into()), ..config.clone() },
            RoomConfig { members_only: true, ..config.clone() },
            RoomConfig { whois: Whois::Anyone, ..config.clone() },
        ] {
            assert!(!listed.tells(&other), "{other:?}");
        }
        assert!(listed.tells(&RoomConfig { persistent: true, ..config }));
    }
}

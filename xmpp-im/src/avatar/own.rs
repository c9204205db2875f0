//! What we say of our own photo, and how the account's other resources bear on it (§4.1, §4.2).

use super::Update;
use std::collections::HashSet;
use xmpp_core::jid::FullJid;

/// Other resources that are remembered; of more than so many, one that leaves is taken for the last.
const RESOURCES: usize = 64;

/// Our own photo.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// What our presence says.
    pub(super) says: Update,
    /// Resources that know nothing of photos in presence: they may change the vCard without a word.
    silent: HashSet<FullJid>,
}

/// What is to be done because of another resource's presence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Nothing,
    /// Say in presence what is to be said now.
    Announce,
    /// Look at the vCard, and say what it has.
    Look,
    /// Say that nothing is known, look at the vCard, and say what it has.
    Reset,
}

impl Own {
    /// Another resource is available, and says this.
    pub(super) fn hear(&mut self, from: FullJid, update: Option<&Update>) -> Next {
        match update {
            None => {
                if self.silent.len() < RESOURCES {
                    self.silent.insert(from);
                }
                // Its photo may be gone by now, and nobody is to ask again and again whether it is.
                if self.says == Update::Unready { Next::Nothing } else { self.say(Update::Unready) }
            }
            Some(update) => {
                self.silent.remove(&from);
                match update {
                    Update::Unready => Next::Nothing,
                    update if *update == self.says => Next::Nothing,
                    // Until we know ourselves we are about to look anyway, unless there is who keeps us from it.
                    _ if !self.silent.is_empty() => Next::Nothing,
                    Update::Nothing => Next::Look,
                    Update::Photo(_) if self.says == Update::Unready => Next::Look,
                    Update::Photo(_) => {
                        self.says = Update::Unready;
                        Next::Reset
                    }
                }
            }
        }
    }

    /// Another resource is gone.
    pub(super) fn left(&mut self, from: &FullJid) -> Next {
        if self.silent.remove(from) && self.silent.is_empty() { Next::Look } else { Next::Nothing }
    }

    /// The vCard was looked at.
    pub(super) fn found(&mut self, update: Update) -> Next {
        if self.silent.is_empty() { self.say(update) } else { Next::Nothing }
    }

    /// We have changed the vCard ourselves: that is told whoever else is there.
    pub(super) fn published(&mut self, update: Update) {
        self.says = update;
    }

    fn say(&mut self, update: Update) -> Next {
        if self.says == update {
            return Next::Nothing;
        }
        self.says = update;
        Next::Announce
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn phone() -> FullJid {
        FullJid::new("juliet@localhost/phone").unwrap()
    }

    fn photo(hash: &str) -> Update {
        Update::Photo(hash.to_owned())
    }

    fn with_photo() -> Own {
        let mut own = Own::default();
        assert_eq!(own.found(photo("a")), Next::Announce);
        own
    }

    #[test]
    fn xep0153_4_2_who_knows_nothing_of_photos_silences_us_until_it_is_gone() {
        let mut own = with_photo();
        assert_eq!(own.hear(phone(), None), Next::Announce);
        assert_eq!(own.says, Update::Unready);
        assert_eq!(own.hear(phone(), None), Next::Nothing, "once");
        assert_eq!(own.found(photo("a")), Next::Nothing, "what was looked at meanwhile is not told");
        assert_eq!(own.left(&FullJid::new("juliet@localhost/other").unwrap()), Next::Nothing);
        assert_eq!(own.left(&phone()), Next::Look);
        assert_eq!((own.found(photo("b")), own.says), (Next::Announce, photo("b")));
    }

    #[test]
    fn xep0153_4_2_who_says_nothing_or_the_same_is_ignored() {
        let mut own = with_photo();
        assert_eq!(own.hear(phone(), Some(&Update::Unready)), Next::Nothing);
        assert_eq!(own.hear(phone(), Some(&photo("a"))), Next::Nothing);
        assert_eq!(own.says, photo("a"));
    }

    #[test]
    fn xep0153_4_2_another_hash_resets_ours_and_an_empty_one_makes_us_look() {
        let mut own = with_photo();
        assert_eq!(own.hear(phone(), Some(&Update::Nothing)), Next::Look);
        assert_eq!(own.says, photo("a"), "until we have looked");
        assert_eq!(own.found(Update::Nothing), Next::Announce);
        assert_eq!(own.hear(phone(), Some(&photo("b"))), Next::Reset);
        assert_eq!(own.says, Update::Unready);
        assert_eq!(own.found(photo("b")), Next::Announce);
    }

    #[test]
    fn other_resources_are_bounded() {
        let mut own = with_photo();
        for number in 0..1_000 {
            own.hear(FullJid::new(&format!("juliet@localhost/{number}")).unwrap(), None);
        }
        assert_eq!(own.silent.len(), RESOURCES);
    }
}

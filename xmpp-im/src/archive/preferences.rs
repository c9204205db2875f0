//! What an account wants archived (XEP-0441).

use xmpp_core::{
    jid::Jid,
    payload::archive::{ArchiveAlways, ArchiveDefault, ArchiveNever, ArchivePrefs},
};

/// The preferences of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preferences {
    /// What is done with messages of whom neither list names.
    pub default: ArchiveDefault,
    /// Whose messages are archived.
    pub always: Vec<Jid>,
    /// Whose messages are not, even if the other list names them too.
    pub never: Vec<Jid>,
}

impl Preferences {
    /// What the lists say of messages to or from `other`, or else the default (XEP-0441 §2.3). A full address in a list
    /// goes before a bare one.
    pub fn choose(&self, other: &Jid) -> ArchiveDefault {
        let exact = |list: &[Jid]| list.contains(other);
        let bare = |list: &[Jid]| list.iter().any(|jid| jid.as_str() == other.bare_str());
        if exact(&self.never) {
            ArchiveDefault::Never
        } else if exact(&self.always) {
            ArchiveDefault::Always
        } else if bare(&self.never) {
            ArchiveDefault::Never
        } else if bare(&self.always) {
            ArchiveDefault::Always
        } else {
            self.default
        }
    }
}

impl TryFrom<ArchivePrefs> for Preferences {
    type Error = xmpp_core::payload::ValueError;

    /// Fails if the default is missing.
    fn try_from(prefs: ArchivePrefs) -> Result<Preferences, Self::Error> {
        let missing = || xmpp_core::payload::ValueError::expected("preferences with a default");
        Ok(Preferences {
            default: prefs.default.ok_or_else(missing)?,
            always: prefs.always.unwrap_or_default().jids,
            never: prefs.never.unwrap_or_default().jids,
        })
    }
}

impl From<Preferences> for ArchivePrefs {
    fn from(preferences: Preferences) -> ArchivePrefs {
        ArchivePrefs {
            default: Some(preferences.default),
            always: Some(ArchiveAlways { jids: preferences.always }),
            never: Some(ArchiveNever { jids: preferences.never }),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn xep0441_2_3_bare_addresses_stand_for_all_resources_and_full_ones_for_one() {
        let jid = |text: &str| -> Jid { text.parse().unwrap() };
        let preferences = Preferences {
            default: ArchiveDefault::Roster,
            always: vec![jid("romeo@a.example"), jid("nurse@a.example/x")],
            never: vec![jid("romeo@a.example/phone"), jid("tybalt@a.example")],
        };
        for (other, expected) in [
            ("romeo@a.example", ArchiveDefault::Always),
            ("romeo@a.example/desk", ArchiveDefault::Always),
            ("romeo@a.example/phone", ArchiveDefault::Never),
            ("tybalt@a.example/street", ArchiveDefault::Never),
            ("nurse@a.example/x", ArchiveDefault::Always),
            ("nurse@a.example/y", ArchiveDefault::Roster),
            ("nurse@a.example", ArchiveDefault::Roster),
        ] {
            assert_eq!(preferences.choose(&jid(other)), expected, "{other}");
        }
    }
}

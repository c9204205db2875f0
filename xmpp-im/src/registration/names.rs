//! Which names may be chosen: none that looks like another one's (ABUSE A047).

use crate::looks::looks;
use std::collections::HashSet;
use unicode_security::MixedScript as _;
use xmpp_core::{
    jid::{BareJid, Jid},
    stanza::StanzaError,
};

pub(super) struct Names {
    one_script: bool,
    /// What the reserved names look like.
    reserved: HashSet<String>,
}

impl Names {
    pub(super) fn new(one_script: bool, reserved: &[String]) -> Names {
        Names { one_script, reserved: reserved.iter().map(|name| looks(name)).collect() }
    }

    /// The account of this name, whether it may be chosen or not.
    pub(super) fn account(name: &str, domain: &str) -> Result<BareJid, StanzaError> {
        let jid = Jid::from_parts(Some(name), domain, None).ok();
        jid.and_then(|jid| BareJid::new(jid.as_str()).ok())
            .filter(|account| account.local().is_some() && account.domain() == domain)
            .ok_or_else(|| refused("this is no name that an account can have"))
    }

    /// Whether somebody may choose it.
    pub(super) fn check(&self, account: &BareJid) -> Result<(), StanzaError> {
        let name = account.local().unwrap_or_default();
        if self.one_script && !name.is_single_script() {
            return Err(refused("the letters of the name are of several scripts"));
        }
        if self.reserved.contains(&looks(name)) {
            return Err(refused("this name is reserved"));
        }
        Ok(())
    }
}

fn refused(why: &str) -> StanzaError {
    StanzaError::not_acceptable().with_text(why)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(names: &Names, name: &str) -> bool {
        Names::account(name, "localhost").and_then(|account| names.check(&account)).is_ok()
    }

    #[test]
    fn abuse_a047_a_name_has_one_script() {
        let names = Names::new(true, &[]);
        for good in ["admin", "john.smith-42_x", "José", "Ольга", "あきら漢字カナ", "한국漢", "שרה", "ελένη1"]
        {
            assert!(check(&names, good), "{good}");
        }
        for bad in ["аdmin", "pаypal", "οlga", "admιn", "ѕcope"] {
            assert!(!check(&names, bad), "{bad}");
            assert!(check(&Names::new(false, &[]), bad), "{bad}: where it is allowed");
        }
    }

    #[test]
    fn abuse_a047_nobody_is_called_nearly_as_what_is_reserved() {
        let names = Names::new(true, &["Admin".into(), "scope".into(), "postmaster".into()]);
        for bad in ["admin", "ADMIN", "аdmin", "ѕсоре", "postrnaster", "ａｄｍｉｎ"] {
            assert!(!check(&names, bad), "{bad}");
        }
        assert!(check(&names, "administrator") && check(&names, "scopes"));
    }

    #[test]
    fn what_is_no_name_of_an_account_in_this_domain_is_none() {
        for bad in ["", "a@b", "a/b", "a b", "a:b", "\u{200e}x", &"x".repeat(1024)] {
            assert!(Names::account(bad, "localhost").is_err(), "{bad:?}");
        }
        assert_eq!(Names::account("JULIET", "localhost").unwrap().as_str(), "juliet@localhost");
    }
}

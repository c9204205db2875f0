//! A list of blocked addresses, and whom it means.

use std::collections::HashSet;
use xmpp_core::jid::Jid;

/// The addresses that one user blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockList(HashSet<Jid>);

impl FromIterator<Jid> for BlockList {
    fn from_iter<I: IntoIterator<Item = Jid>>(jids: I) -> BlockList {
        BlockList(jids.into_iter().collect())
    }
}

impl BlockList {
    /// Whether nobody is blocked.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an address is blocked (XEP-0191 §5): as it is, by its bare address, or by its domain. `domain/resource`
    /// stands for that address alone. At most three look-ups, however long the list is.
    pub fn blocks(&self, jid: &Jid) -> bool {
        !self.0.is_empty()
            && (self.0.contains(jid.as_str()) || self.0.contains(jid.bare_str()) || self.0.contains(jid.domain()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn list(jids: &[&str]) -> BlockList {
        jids.iter().map(|jid| Jid::new(jid).unwrap()).collect()
    }

    #[test]
    fn xep0191_5_jid_matching() {
        let cases = [
            ("a@b/c", "a@b/c", true),
            ("a@b/c", "a@b/d", false),
            ("a@b/c", "a@b", false),
            ("a@b", "a@b/c", true),
            ("a@b", "a@b", true),
            ("a@b", "x@b", false),
            ("b/c", "b/c", true),
            ("b/c", "b", false),
            ("b/c", "a@b/c", false),
            ("b", "b", true),
            ("b", "a@b", true),
            ("b", "a@b/c", true),
            ("b", "b/c", true),
            ("b", "sub.b", false),
        ];
        for (item, jid, expected) in cases {
            assert_eq!(list(&["other.example", item]).blocks(&Jid::new(jid).unwrap()), expected, "{item} {jid}");
        }
    }

    #[test]
    fn abuse_a103_addresses_are_no_patterns() {
        let list = list(&["*@b", "?@b", "a.*@b"]);
        for jid in ["a@b", "b", "axx@b"] {
            assert!(!list.blocks(&Jid::new(jid).unwrap()), "{jid}");
        }
    }

    #[test]
    fn abuse_a071_a_list_of_any_length_costs_three_look_ups() {
        let list: BlockList = (0..100_000).map(|n| Jid::new(&format!("user{n}@b")).unwrap()).collect();
        for n in 0..100_000 {
            assert_eq!(list.blocks(&Jid::new(&format!("user{n}@b/x")).unwrap()), n < 100_000);
        }
        assert!(!list.blocks(&Jid::new("nobody@b/x").unwrap()));
    }
}

//! Where invitations are kept.

use crate::Stored;
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
};
use xmpp_core::jid::BareJid;

/// For how long a claim excludes others, in seconds. A claim that neither succeeded nor was given back, because the
/// process ended, leaves the invitation as it was.
pub const CLAIM_SECONDS: u64 = 600;

/// For how long an invitation can be claimed that expires while it is being used, in seconds: the time is judged when a
/// registration begins, and not again (XEP-0445 §4).
pub const GRACE_SECONDS: u64 = 3_600;

/// What an invitation is found by: a digest of its token, so that who reads the store can use none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InvitationKey(pub [u8; 32]);

impl InvitationKey {
    /// Of the invitation with this token.
    pub fn of(token: &str) -> InvitationKey {
        InvitationKey(Sha256::digest(token).into())
    }
}

/// What somebody is invited to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// Who invites; nobody in particular where it was made by who runs the server.
    pub inviter: Option<BareJid>,
    /// The domain where an account can be registered.
    pub domain: String,
    /// The account that is kept free for it, and no other can be registered.
    pub account: Option<BareJid>,
    /// Whether an account can be registered.
    pub register: bool,
    /// Whether who comes by it and who has invited become contacts.
    pub contact: bool,
    /// Until when it is good, in seconds since 1970.
    pub expires: u64,
}

/// What has become of an invitation that was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Added {
    /// It is kept.
    Kept,
    /// The inviter has as many as there may be already.
    TooMany,
    /// The account is kept free for another invitation.
    Reserved,
}

/// An invitation that somebody is about to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The invitation.
    pub invitation: Invitation,
    /// Until when nobody else can claim it, in seconds since 1970; it tells this claim from later ones.
    pub until: u64,
}

/// Invitations, by key. Several servers may share one; each method is one step that no other comes between.
///
/// [`conformance`] checks an implementation.
pub trait InvitationStore: Send + Sync + 'static {
    /// Keeps an invitation, if there are fewer than `most` of the inviter that are good at `now` (those of nobody counted by
    /// domain), and no other that is good keeps its account free. What has expired and is past the
    /// [grace](GRACE_SECONDS) is forgotten.
    fn add<'a>(
        &'a self,
        key: &'a InvitationKey,
        invitation: &'a Invitation,
        now: u64,
        most: usize,
    ) -> Stored<'a, Added>;

    /// An invitation that is good: not used, not claimed, not expired.
    fn find<'a>(&'a self, key: &'a InvitationKey, now: u64) -> Stored<'a, Option<Invitation>>;

    /// Claims an invitation for [`CLAIM_SECONDS`], unless it is used or claimed. It may have expired, within the
    /// [grace](GRACE_SECONDS). Of many who claim it at once one succeeds.
    fn claim<'a>(&'a self, key: &'a InvitationKey, now: u64) -> Stored<'a, Option<Claim>>;

    /// Gives a claim back: others can use the invitation. `until` is that of the claim; another claim stays.
    fn release<'a>(&'a self, key: &'a InvitationKey, until: u64) -> Stored<'a, ()>;

    /// The invitation is used, and forgotten.
    fn finish<'a>(&'a self, key: &'a InvitationKey) -> Stored<'a, ()>;

    /// Whether an account is kept free for an invitation that is good, or being used.
    fn reserved<'a>(&'a self, account: &'a BareJid, now: u64) -> Stored<'a, bool>;

    /// Forgets what a user has invited to.
    fn forget<'a>(&'a self, user: &'a BareJid) -> Stored<'a, ()>;
}

struct Kept {
    invitation: Invitation,
    claimed: u64,
}

impl Kept {
    fn is_good(&self, now: u64) -> bool {
        self.invitation.expires > now
    }

    fn reserves(&self, account: &BareJid, now: u64) -> bool {
        self.invitation.account.as_ref() == Some(account) && (self.is_good(now) || self.claimed > now)
    }
}

/// Invitations in memory, for tests and servers that forget.
#[derive(Default)]
pub struct MemoryInvitations {
    kept: Mutex<HashMap<InvitationKey, Kept>>,
}

impl std::fmt::Debug for MemoryInvitations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MemoryInvitations")
    }
}

impl MemoryInvitations {
    /// None yet.
    pub fn new() -> MemoryInvitations {
        MemoryInvitations::default()
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<InvitationKey, Kept>> {
        self.kept.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn insert(&self, key: &InvitationKey, invitation: &Invitation, now: u64, most: usize) -> Added {
        let mut kept = self.kept();
        kept.retain(|_, one| one.invitation.expires.saturating_add(GRACE_SECONDS) > now);
        let same = |one: &&Kept| {
            let whose = &one.invitation;
            let operator = whose.inviter.is_some() || whose.domain == invitation.domain;
            whose.inviter == invitation.inviter && operator && one.is_good(now)
        };
        if kept.values().filter(same).count() >= most {
            return Added::TooMany;
        }
        if invitation.account.as_ref().is_some_and(|account| kept.values().any(|one| one.reserves(account, now))) {
            return Added::Reserved;
        }
        kept.insert(*key, Kept { invitation: invitation.clone(), claimed: 0 });
        Added::Kept
    }
}

impl InvitationStore for MemoryInvitations {
    fn add<'a>(
        &'a self,
        key: &'a InvitationKey,
        invitation: &'a Invitation,
        now: u64,
        most: usize,
    ) -> Stored<'a, Added> {
        Box::pin(async move { Ok(self.insert(key, invitation, now, most)) })
    }

    fn find<'a>(&'a self, key: &'a InvitationKey, now: u64) -> Stored<'a, Option<Invitation>> {
        let found = self
            .kept()
            .get(key)
            .filter(|one| one.is_good(now) && one.claimed <= now)
            .map(|one| &one.invitation)
            .cloned();
        Box::pin(async move { Ok(found) })
    }

    fn claim<'a>(&'a self, key: &'a InvitationKey, now: u64) -> Stored<'a, Option<Claim>> {
        let mut kept = self.kept();
        let open = |one: &&mut Kept| one.invitation.expires.saturating_add(GRACE_SECONDS) > now && one.claimed <= now;
        let claim = kept.get_mut(key).filter(open).map(|one| {
            one.claimed = now.saturating_add(CLAIM_SECONDS);
            Claim { invitation: one.invitation.clone(), until: one.claimed }
        });
        Box::pin(async move { Ok(claim) })
    }

    fn release<'a>(&'a self, key: &'a InvitationKey, until: u64) -> Stored<'a, ()> {
        if let Some(one) = self.kept().get_mut(key).filter(|one| one.claimed == until) {
            one.claimed = 0;
        }
        Box::pin(async { Ok(()) })
    }

    fn finish<'a>(&'a self, key: &'a InvitationKey) -> Stored<'a, ()> {
        self.kept().remove(key);
        Box::pin(async { Ok(()) })
    }

    fn reserved<'a>(&'a self, account: &'a BareJid, now: u64) -> Stored<'a, bool> {
        let reserved = self.kept().values().any(|one| one.reserves(account, now));
        Box::pin(async move { Ok(reserved) })
    }

    fn forget<'a>(&'a self, user: &'a BareJid) -> Stored<'a, ()> {
        self.kept().retain(|_, one| one.invitation.inviter.as_ref() != Some(user));
        Box::pin(async { Ok(()) })
    }
}

/// Checks that a store does what the server relies on. It has no invitations of these two users.
///
/// # Panics
/// When it does not.
#[allow(clippy::unwrap_used, clippy::missing_panics_doc)]
pub async fn conformance(store: &dyn InvitationStore, user: &BareJid, other: &BareJid) {
    let key = |name: &str| InvitationKey::of(&format!("{name} of {user}"));
    let of = |inviter: Option<&BareJid>, account: Option<&str>| Invitation {
        inviter: inviter.cloned(),
        domain: user.domain().to_owned(),
        account: account.map(|name| BareJid::new(&format!("{name}@{}", user.domain())).unwrap()),
        register: true,
        contact: false,
        expires: 2_000,
    };
    let add = async |name: &str, invitation: &Invitation, now| store.add(&key(name), invitation, now, 2).await.unwrap();
    let find = async |name: &str, now| store.find(&key(name), now).await.unwrap();
    let claim = async |name: &str, now| store.claim(&key(name), now).await.unwrap();

    // Kept whole, good until it expires, and bounded by inviter.
    let full = Invitation { contact: true, ..of(Some(user), Some("free")) };
    assert_eq!(find("a", 1_000).await, None, "nothing is there");
    assert_eq!(add("a", &full, 1_000).await, Added::Kept);
    assert_eq!(find("a", 1_000).await, Some(full.clone()), "as it was added");
    assert_eq!(find("a", 1_999).await, Some(full.clone()));
    assert_eq!(find("a", 2_000).await, None, "expired");
    let account = full.account.clone().unwrap();
    assert!(store.reserved(&account, 1_999).await.unwrap() && !store.reserved(&account, 2_000).await.unwrap());
    assert!(!store.reserved(user, 1_000).await.unwrap());
    assert_eq!(add("b", &of(Some(other), Some("free")), 1_000).await, Added::Reserved, "another's account");
    let plain = Invitation { register: false, ..of(Some(user), None) };
    assert_eq!(add("b", &plain, 1_000).await, Added::Kept);
    assert_eq!(add("c", &plain, 1_000).await, Added::TooMany);
    assert_eq!(add("c", &of(Some(other), None), 1_000).await, Added::Kept, "others have their own");
    assert_eq!(add("d", &of(None, None), 1_000).await, Added::Kept, "nobody has some, too");

    // One claims it; then it is given back, or used.
    let first = claim("a", 1_000).await.unwrap();
    assert_eq!((&first.invitation, first.until), (&full, 1_000 + CLAIM_SECONDS));
    assert_eq!(claim("a", 1_001).await, None, "one at a time");
    assert_eq!(find("a", 1_001).await, None, "who is late is told at once");
    assert!(store.reserved(&account, 1_001).await.unwrap());
    store.release(&key("a"), first.until + 1).await.unwrap();
    assert_eq!(claim("a", 1_001).await, None, "another's claim is not given back");
    store.release(&key("a"), first.until).await.unwrap();
    assert_eq!(find("a", 1_001).await, Some(full.clone()), "given back");
    let late = claim("a", 2_000 + GRACE_SECONDS - 1).await.unwrap();
    assert!(store.reserved(&account, 2_000 + GRACE_SECONDS - 1).await.unwrap(), "while it is used");
    store.release(&key("a"), late.until).await.unwrap();
    assert_eq!(claim("a", 2_000 + GRACE_SECONDS).await, None, "not for ever");
    let dead = claim("a", 1_002).await.unwrap();
    let next = claim("a", dead.until).await.unwrap();
    assert!(next.until > dead.until, "a claim of a process that has ended ends");
    store.finish(&key("a")).await.unwrap();
    assert_eq!((find("a", 1_000).await, claim("a", 1_000).await), (None, None), "once");
    assert!(!store.reserved(&account, 1_000).await.unwrap());
    store.finish(&key("a")).await.unwrap();

    // What has expired makes room, and is forgotten; so is what a user has made who is gone.
    assert_eq!(add("e", &Invitation { expires: 9_000, ..plain.clone() }, 2_000).await, Added::Kept);
    assert_eq!(add("f", &Invitation { expires: 9_000, ..plain.clone() }, 2_000).await, Added::Kept, "b has expired");
    assert!(claim("b", 2_001).await.is_some(), "within the grace");
    assert_eq!(add("g", &Invitation { expires: 90_000, ..plain }, 9_001 + GRACE_SECONDS).await, Added::Kept);
    assert_eq!(claim("e", 8_000).await, None, "forgotten");
    store.forget(user).await.unwrap();
    assert_eq!(find("g", 10_000).await, None, "gone with the user");
    assert_eq!(add("h", &Invitation { expires: 90_000, ..of(Some(other), None) }, 9_000).await, Added::Kept);
    store.forget(user).await.unwrap();
    assert!(find("h", 10_000).await.is_some(), "others' stay");
    store.forget(other).await.unwrap();
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_store_in_memory_does_what_every_store_must() {
        let (user, other) = ("a@example.org".parse().unwrap(), "b@example.org".parse().unwrap());
        conformance(&MemoryInvitations::new(), &user, &other).await;
    }
}

//! Where it is kept.

use crate::Stored;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};
use xmpp_core::jid::BareJid;

/// What users are told when they log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Notice {
    /// The message of the day: to everybody, once.
    MessageOfTheDay,
    /// The welcome: to who logs in for the first time.
    Welcome,
}

impl Notice {
    /// Its name, for tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Notice::MessageOfTheDay => "motd",
            Notice::Welcome => "welcome",
        }
    }
}

/// A notice as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Grows by one with each that is set anew; 0 where there never was one.
    pub number: u64,
    /// What it says, until it is deleted.
    pub text: Option<String>,
}

impl Kept {
    /// What is kept after a change. What corrects a text that is there is no new one.
    pub fn changed(&self, text: Option<String>, corrects: bool) -> Kept {
        let same = text.is_none() || (corrects && self.text.is_some());
        Kept { number: if same { self.number } else { self.number.saturating_add(1) }, text }
    }

    /// What it says, to a user who was told those up to `told`.
    pub fn news(&self, told: u64) -> Option<&str> {
        self.text.as_deref().filter(|_| self.number > told)
    }
}

/// Keeps when users last logged in, and what they are told then.
pub trait LoginStore: Send + Sync + 'static {
    /// A user logs in, at this time in seconds since 1970. Answers what is to be told: the welcome to who was never
    /// here, the message of the day to who was not told it. Of several who ask at once one is answered so.
    fn login<'a>(&'a self, user: &'a BareJid, at: u64) -> Stored<'a, Vec<String>>;

    /// The message of the day, for a user who has logged in before it was set and was not told it; it counts as told.
    fn news<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Option<String>>;

    /// When the user last logged in, if that is known.
    fn last<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Option<u64>>;

    /// What a notice says.
    fn notice(&self, notice: Notice) -> Stored<'_, Option<String>>;

    /// Sets a notice, or deletes it. Who was told a message of the day is not told one that `corrects` it.
    fn set_notice(&self, notice: Notice, text: Option<String>, corrects: bool) -> Stored<'_, ()>;

    /// Forgets a user: the account is gone.
    fn forget<'a>(&'a self, user: &'a BareJid) -> Stored<'a, ()>;
}

impl<S: LoginStore + ?Sized> LoginStore for Arc<S> {
    fn login<'a>(&'a self, user: &'a BareJid, at: u64) -> Stored<'a, Vec<String>> {
        (**self).login(user, at)
    }
    fn news<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Option<String>> {
        (**self).news(user)
    }
    fn last<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Option<u64>> {
        (**self).last(user)
    }
    fn notice(&self, notice: Notice) -> Stored<'_, Option<String>> {
        (**self).notice(notice)
    }
    fn set_notice(&self, notice: Notice, text: Option<String>, corrects: bool) -> Stored<'_, ()> {
        (**self).set_notice(notice, text, corrects)
    }
    fn forget<'a>(&'a self, user: &'a BareJid) -> Stored<'a, ()> {
        (**self).forget(user)
    }
}

/// It in memory, gone with the process.
#[derive(Debug, Default)]
pub struct MemoryLogins(Mutex<Logins>);

#[derive(Debug, Default)]
struct Logins {
    users: HashMap<BareJid, Login>,
    notices: HashMap<Notice, Kept>,
}

#[derive(Debug)]
struct Login {
    last: u64,
    /// The last message of the day that was told.
    motd: u64,
}

impl Logins {
    fn kept(&self, notice: Notice) -> Kept {
        self.notices.get(&notice).cloned().unwrap_or_default()
    }
}

impl MemoryLogins {
    /// Nobody was there.
    pub fn new() -> MemoryLogins {
        MemoryLogins::default()
    }

    fn all(&self) -> MutexGuard<'_, Logins> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl LoginStore for MemoryLogins {
    fn login<'a>(&'a self, user: &'a BareJid, at: u64) -> Stored<'a, Vec<String>> {
        Box::pin(async move {
            let mut all = self.all();
            let (motd, welcome) = (all.kept(Notice::MessageOfTheDay), all.kept(Notice::Welcome));
            let before = all.users.insert(user.clone(), Login { last: at, motd: motd.number });
            let welcome = welcome.text.filter(|_| before.is_none());
            let news = motd.news(before.map_or(0, |login| login.motd)).map(str::to_owned);
            Ok(welcome.into_iter().chain(news).collect())
        })
    }
    fn news<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Option<String>> {
        Box::pin(async move {
            let mut all = self.all();
            let motd = all.kept(Notice::MessageOfTheDay);
            let Some(login) = all.users.get_mut(user) else { return Ok(None) };
            let told = std::mem::replace(&mut login.motd, motd.number);
            Ok(motd.news(told).map(str::to_owned))
        })
    }
    fn last<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Option<u64>> {
        Box::pin(async move { Ok(self.all().users.get(user).map(|login| login.last)) })
    }
    fn notice(&self, notice: Notice) -> Stored<'_, Option<String>> {
        Box::pin(async move { Ok(self.all().kept(notice).text) })
    }
    fn set_notice(&self, notice: Notice, text: Option<String>, corrects: bool) -> Stored<'_, ()> {
        Box::pin(async move {
            let mut all = self.all();
            let changed = all.kept(notice).changed(text, corrects);
            all.notices.insert(notice, changed);
            Ok(())
        })
    }
    fn forget<'a>(&'a self, user: &'a BareJid) -> Stored<'a, ()> {
        Box::pin(async move {
            self.all().users.remove(user);
            Ok(())
        })
    }
}

/// What every [`LoginStore`] must do, to be called from an implementation's own tests with a store that has nothing.
///
/// # Panics
/// When the implementation breaks the contract; the message says which part.
#[allow(clippy::panic, clippy::expect_used)] // It is an assertion.
pub async fn conformance(store: &dyn LoginStore, one: &BareJid, other: &BareJid) {
    let (motd, welcome) = (Notice::MessageOfTheDay, Notice::Welcome);
    let login = async |user: &BareJid, at| store.login(user, at).await.expect("login");
    let news = async |user: &BareJid| store.news(user).await.expect("news");
    let set = async |notice, text: Option<&str>, corrects| {
        store.set_notice(notice, text.map(str::to_owned), corrects).await.expect("set_notice");
    };
    assert_eq!(store.last(one).await.expect("last"), None, "nobody was here");
    assert_eq!(store.notice(welcome).await.expect("notice"), None, "nothing is set");
    set(welcome, None, false).await;
    set(motd, None, true).await;
    assert!(login(one, 5).await.is_empty(), "there is nothing to tell");
    assert_eq!(store.last(one).await.expect("last"), Some(5), "that was noted");
    set(welcome, Some("Hello 🙌"), false).await;
    assert_eq!(store.notice(welcome).await.expect("notice").as_deref(), Some("Hello 🙌"), "it is set");
    assert!(login(one, 6).await.is_empty(), "who was here is not new");
    set(motd, Some("first\nday"), false).await;
    assert_eq!(news(other).await, None, "who never logged in will hear it then");
    assert_eq!(login(other, 7).await, ["Hello 🙌", "first\nday"], "who is new is told both");
    assert!(login(other, 8).await.is_empty(), "once");
    assert_eq!(news(one).await.as_deref(), Some("first\nday"), "who is here is told");
    assert_eq!(news(one).await, None, "once");
    set(motd, Some("first days"), true).await;
    assert_eq!(store.notice(motd).await.expect("notice").as_deref(), Some("first days"), "it is corrected");
    assert!(news(one).await.is_none() && login(other, 9).await.is_empty(), "which tells it to nobody again");
    set(motd, Some("second"), false).await;
    assert_eq!(login(one, 10).await, ["second"], "a new one");
    set(motd, None, false).await;
    assert!(login(other, 11).await.is_empty(), "a deleted one");
    set(motd, Some("third"), true).await;
    assert_eq!(news(other).await.as_deref(), Some("third"), "what corrects nothing is new");
    store.forget(one).await.expect("forget");
    assert_eq!(store.last(one).await.expect("last"), None, "forgotten");
    assert_eq!(store.last(other).await.expect("last"), Some(11), "others are not forgotten");
    assert_eq!(login(one, 12).await, ["Hello 🙌", "third"], "another account of that name is new");
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn memory_does_what_every_store_must() {
        let (one, other) = (BareJid::new("a@example.org").unwrap(), BareJid::new("b@example.org").unwrap());
        conformance(&MemoryLogins::new(), &one, &other).await;
    }
}

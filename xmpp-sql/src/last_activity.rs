//! When users were last there.

use crate::{Database, failed};
use xmpp_core::jid::BareJid;
use xmpp_im::{
    Stored,
    last_activity::{LastActivityStore, LastSeen},
};

/// What removes all of a user.
pub(crate) const FORGET: &str = "DELETE FROM last_activity WHERE address = $1";

/// When users were last there, in a [`Database`].
#[derive(Clone, Debug)]
pub struct SqlLastActivity {
    database: Database,
}

impl SqlLastActivity {
    pub(crate) fn new(database: Database) -> SqlLastActivity {
        SqlLastActivity { database }
    }
}

impl LastActivityStore for SqlLastActivity {
    fn get<'a>(&'a self, user: &'a BareJid) -> Stored<'a, Option<LastSeen>> {
        Box::pin(async move {
            let row: Option<(i64, Option<String>)> =
                sqlx::query_as("SELECT seen_at, status FROM last_activity WHERE address = $1")
                    .bind(user.as_str())
                    .fetch_optional(self.database.pool())
                    .await
                    .map_err(failed)?;
            Ok(row.map(|(at, status)| LastSeen { at: at.try_into().unwrap_or_default(), status }))
        })
    }

    fn set<'a>(&'a self, user: &'a BareJid, seen: LastSeen) -> Stored<'a, ()> {
        Box::pin(async move {
            let storing = sqlx::query(
                "INSERT INTO last_activity (address, seen_at, status) VALUES ($1, $2, $3) \
                 ON CONFLICT (address) DO UPDATE SET seen_at = excluded.seen_at, status = excluded.status",
            )
            .bind(user.as_str())
            .bind(i64::try_from(seen.at).unwrap_or(i64::MAX))
            .bind(seen.status);
            storing.execute(self.database.pool()).await.map(|_| ()).map_err(failed)
        })
    }

    fn forget<'a>(&'a self, user: &'a BareJid) -> Stored<'a, ()> {
        self.database.forget(FORGET, user)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn it_does_what_every_store_must() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("test.sqlite")).await.unwrap();
        let (one, other) = ("a@example.org".parse().unwrap(), "b@example.org".parse().unwrap());
        xmpp_im::last_activity::conformance(&database.last_activity(), &one, &other).await;
    }
}

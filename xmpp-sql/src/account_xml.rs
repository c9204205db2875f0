//! vCards and private XML.

use crate::{Database, SqlError, failed};
use xmpp_core::jid::BareJid;
use xmpp_im::{
    Stored,
    account_xml::{AccountXmlStore, Kept, Quota, XmlName},
};

/// What removes all of a user.
pub(crate) const FORGET: &str = "DELETE FROM account_xml WHERE address = $1";

/// What is kept of accounts as XML, in a [`Database`].
#[derive(Clone, Debug)]
pub struct SqlAccountXml {
    database: Database,
}

impl SqlAccountXml {
    pub(crate) fn new(database: Database) -> SqlAccountXml {
        SqlAccountXml { database }
    }

    async fn put(&self, user: &BareJid, name: &XmlName, xml: &str, quota: Quota) -> Result<Kept, SqlError> {
        let mut writing = self.database.write().await?;
        let (others, bytes): (i64, i64) = sqlx::query_as(
            "SELECT COUNT(*), COALESCE(SUM(LENGTH(CAST(ns AS BLOB)) + LENGTH(CAST(name AS BLOB)) + \
             LENGTH(CAST(xml AS BLOB))), 0) FROM account_xml \
             WHERE address = $1 AND shelf = $2 AND NOT (ns = $3 AND name = $4)",
        )
        .bind(user.as_str())
        .bind(name.shelf.as_str())
        .bind(&name.ns)
        .bind(&name.name)
        .fetch_one(&mut *writing)
        .await?;
        let count = |number: i64| usize::try_from(number).unwrap_or(usize::MAX);
        let kept = quota.admits(name, xml, count(others), count(bytes));
        if kept == Kept::Yes {
            sqlx::query(
                "INSERT INTO account_xml (address, shelf, ns, name, xml) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT (address, shelf, ns, name) DO UPDATE SET xml = excluded.xml",
            )
            .bind(user.as_str())
            .bind(name.shelf.as_str())
            .bind(&name.ns)
            .bind(&name.name)
            .bind(xml)
            .execute(&mut *writing)
            .await?;
            writing.commit().await?;
        }
        Ok(kept)
    }
}

impl AccountXmlStore for SqlAccountXml {
    fn get<'a>(&'a self, user: &'a BareJid, name: &'a XmlName) -> Stored<'a, Option<String>> {
        Box::pin(async move {
            sqlx::query_scalar(
                "SELECT xml FROM account_xml WHERE address = $1 AND shelf = $2 AND ns = $3 AND name = $4",
            )
            .bind(user.as_str())
            .bind(name.shelf.as_str())
            .bind(&name.ns)
            .bind(&name.name)
            .fetch_optional(self.database.pool())
            .await
            .map_err(failed)
        })
    }

    fn set<'a>(&'a self, user: &'a BareJid, name: &'a XmlName, xml: &'a str, quota: Quota) -> Stored<'a, Kept> {
        Box::pin(async move { self.put(user, name, xml, quota).await.map_err(failed) })
    }

    fn forget<'a>(&'a self, user: &'a BareJid) -> Stored<'a, ()> {
        self.database.forget(FORGET, user)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use xmpp_im::account_xml::{Shelf, conformance};

    #[tokio::test]
    async fn it_does_what_every_store_must() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("test.sqlite")).await.unwrap();
        let (one, other) = ("a@example.org".parse().unwrap(), "b@example.org".parse().unwrap());
        conformance(&database.account_xml(), &one, &other).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn abuse_a069_many_who_write_at_once_do_not_exceed_the_quota() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("test.sqlite")).await.unwrap();
        let mut writing = Vec::new();
        for number in 0..8 {
            let store = database.account_xml();
            writing.push(tokio::spawn(async move {
                let name = XmlName { shelf: Shelf::Private, ns: format!("urn:{number}"), name: "a".into() };
                let quota = Quota { elements: 3, bytes: 1000 };
                store.set(&"a@example.org".parse().unwrap(), &name, "<a/>", quota).await.unwrap()
            }));
        }
        let mut kept = 0;
        for one in writing {
            kept += usize::from(one.await.unwrap() == Kept::Yes);
        }
        assert_eq!(kept, 3);
    }
}

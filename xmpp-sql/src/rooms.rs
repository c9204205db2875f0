//! Rooms that outlive their occupants.

use crate::{Database, SqlError};
use sqlx::{Row as _, Sqlite, Transaction};
use xmpp_core::{
    jid::BareJid,
    payload::{DateTime, TextValue},
    xml::{Stanza, XmlLimits, ns},
};
use xmpp_im::{StorageError, Stored};
use xmpp_muc::{
    Affiliation, Listed, RoomConfig, RoomStore,
    room::{Affiliated, Card, Kept, RoomRecord, Subject, Wardrobe},
};

/// Persistent rooms in a [`Database`].
#[derive(Clone, Debug)]
pub struct SqlRooms {
    database: Database,
}

fn failed(error: SqlError) -> StorageError {
    StorageError(Box::new(error))
}

fn broken(what: &'static str) -> SqlError {
    SqlError::Engine(format!("a room's {what} cannot be read").into())
}

impl SqlRooms {
    pub(crate) fn new(database: Database) -> SqlRooms {
        SqlRooms { database }
    }

    async fn read(&self, room: &BareJid) -> Result<Option<RoomRecord>, SqlError> {
        // Both in one view of the database.
        let mut reading = self.database.pool().begin().await?;
        let row = sqlx::query("SELECT config, secret, subject, subject_at, card, hats FROM room WHERE address = $1")
            .bind(room.as_str())
            .fetch_optional(&mut *reading)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let config: String = row.try_get("config")?;
        let secret: Vec<u8> = row.try_get("secret")?;
        let subject: Option<String> = row.try_get("subject")?;
        let at: Option<i64> = row.try_get("subject_at")?;
        let card: Option<String> = row.try_get("card")?;
        let hats: Option<String> = row.try_get("hats")?;
        let rows = sqlx::query("SELECT address, affiliation, nick, reason FROM room_affiliation WHERE room = $1")
            .bind(room.as_str())
            .fetch_all(&mut *reading)
            .await?;
        let mut affiliated = Vec::with_capacity(rows.len());
        for row in rows {
            let address: String = row.try_get("address")?;
            let affiliation: String = row.try_get("affiliation")?;
            let user = BareJid::new(&address).map_err(|_| broken("affiliation"))?;
            let affiliation = Affiliation::from_text(&affiliation).map_err(|_| broken("affiliation"))?;
            let entry = Affiliated { affiliation, nick: row.try_get("nick")?, reason: row.try_get("reason")? };
            affiliated.push((user, entry));
        }
        Ok(Some(RoomRecord {
            config: RoomConfig::from_text(&config).ok_or_else(|| broken("configuration"))?,
            locked: false,
            key: secret.try_into().map_err(|_| broken("secret"))?,
            subject: subject.zip(at).map(|(text, at)| restored(&text, at)).transpose()?,
            affiliated,
            card: card.map(|text| restored_card(&text)).transpose()?,
            hats: Wardrobe::from_text(&hats.unwrap_or_default()).ok_or_else(|| broken("hats"))?,
        }))
    }

    async fn write(&self, room: &BareJid, record: &RoomRecord) -> Result<(), SqlError> {
        let mut writing = self.database.write().await?;
        sqlx::query("DELETE FROM room WHERE address = $1").bind(room.as_str()).execute(&mut *writing).await?;
        sqlx::query("INSERT INTO room (address, domain, name, listed, config, secret) VALUES ($1, $2, $3, $4, $5, $6)")
            .bind(room.as_str())
            .bind(room.domain())
            .bind(&record.config.name)
            .bind(record.config.public)
            .bind(record.config.to_text())
            .bind(record.key.as_slice())
            .execute(&mut *writing)
            .await?;
        if let Some(subject) = &record.subject {
            set_subject(&mut writing, room, subject).await?;
        }
        if record.card.is_some() {
            set_card(&mut writing, room, record.card.as_ref()).await?;
        }
        if !record.hats.is_empty() {
            set_hats(&mut writing, room, &record.hats).await?;
        }
        for (user, entry) in &record.affiliated {
            set_affiliation(&mut writing, room, user, entry).await?;
        }
        Ok(writing.commit().await?)
    }

    async fn alter(&self, room: &BareJid, kept: &[Kept]) -> Result<(), SqlError> {
        let mut writing = self.database.write().await?;
        for kept in kept {
            match kept {
                Kept::Config(config) => set_config(&mut writing, room, config).await?,
                Kept::Affiliation(user, entry) => set_affiliation(&mut writing, room, user, entry).await?,
                Kept::Subject(subject) => set_subject(&mut writing, room, subject).await?,
                Kept::Card(card) => set_card(&mut writing, room, card.as_ref()).await?,
                Kept::Hats(hats) => set_hats(&mut writing, room, hats).await?,
                Kept::Ended => {}
            }
        }
        Ok(writing.commit().await?)
    }

    async fn all_listed(&self, domain: &str) -> Result<Vec<Listed>, SqlError> {
        let rows = sqlx::query("SELECT address, name FROM room WHERE domain = $1 AND listed ORDER BY address")
            .bind(domain)
            .fetch_all(self.database.pool())
            .await?;
        let read = |row: sqlx::sqlite::SqliteRow| {
            let address: String = row.try_get("address")?;
            let jid = BareJid::new(&address).map_err(|_| broken("address"))?;
            Ok(Listed { jid, name: row.try_get("name")? })
        };
        rows.into_iter().map(read).collect()
    }
}

type Writing = Transaction<'static, Sqlite>;

async fn set_config(writing: &mut Writing, room: &BareJid, config: &RoomConfig) -> Result<(), SqlError> {
    sqlx::query("UPDATE room SET name = $1, listed = $2, config = $3 WHERE address = $4")
        .bind(&config.name)
        .bind(config.public)
        .bind(config.to_text())
        .bind(room.as_str())
        .execute(&mut **writing)
        .await?;
    Ok(())
}

async fn set_subject(writing: &mut Writing, room: &BareJid, subject: &Subject) -> Result<(), SqlError> {
    sqlx::query("UPDATE room SET subject = $1, subject_at = $2 WHERE address = $3")
        .bind(subject.stanza.as_str())
        .bind(subject.at.unix_micros())
        .bind(room.as_str())
        .execute(&mut **writing)
        .await?;
    Ok(())
}

async fn set_card(writing: &mut Writing, room: &BareJid, card: Option<&Card>) -> Result<(), SqlError> {
    let setting = sqlx::query("UPDATE room SET card = $1 WHERE address = $2").bind(card.map(Card::as_str));
    setting.bind(room.as_str()).execute(&mut **writing).await?;
    Ok(())
}

async fn set_hats(writing: &mut Writing, room: &BareJid, hats: &Wardrobe) -> Result<(), SqlError> {
    let text = (!hats.is_empty()).then(|| hats.to_text());
    let setting = sqlx::query("UPDATE room SET hats = $1 WHERE address = $2").bind(text);
    setting.bind(room.as_str()).execute(&mut **writing).await?;
    Ok(())
}

async fn set_affiliation(
    writing: &mut Writing,
    room: &BareJid,
    user: &BareJid,
    entry: &Affiliated,
) -> Result<(), SqlError> {
    if entry.affiliation == Affiliation::None {
        sqlx::query("DELETE FROM room_affiliation WHERE room = $1 AND address = $2")
            .bind(room.as_str())
            .bind(user.as_str())
            .execute(&mut **writing)
            .await?;
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO room_affiliation (room, address, affiliation, nick, reason) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (room, address) DO UPDATE SET \
         affiliation = excluded.affiliation, nick = excluded.nick, reason = excluded.reason",
    )
    .bind(room.as_str())
    .bind(user.as_str())
    .bind(entry.affiliation.to_text().as_ref())
    .bind(&entry.nick)
    .bind(&entry.reason)
    .execute(&mut **writing)
    .await?;
    Ok(())
}

fn restored_card(text: &str) -> Result<Card, SqlError> {
    Stanza::document(text, &XmlLimits::unbounded()).map(Card::restore).map_err(|_| broken("vCard"))
}

fn restored(text: &str, at: i64) -> Result<Subject, SqlError> {
    let stanza = Stanza::parse(text, ns::CLIENT, &XmlLimits::authenticated()).map_err(|_| broken("subject"))?;
    let nanos = u32::try_from(at.rem_euclid(1_000_000)).unwrap_or_default() * 1000;
    let at = DateTime::from_unix(at.div_euclid(1_000_000), nanos).ok_or_else(|| broken("subject"))?;
    Ok(Subject { stanza, at })
}

impl RoomStore for SqlRooms {
    fn load<'a>(&'a self, room: &'a BareJid) -> Stored<'a, Option<RoomRecord>> {
        Box::pin(async move { self.read(room).await.map_err(failed) })
    }

    fn save<'a>(&'a self, room: &'a BareJid, record: &'a RoomRecord) -> Stored<'a, ()> {
        Box::pin(async move { self.write(room, record).await.map_err(failed) })
    }

    fn change<'a>(&'a self, room: &'a BareJid, kept: &'a [Kept]) -> Stored<'a, ()> {
        Box::pin(async move { self.alter(room, kept).await.map_err(failed) })
    }

    fn remove<'a>(&'a self, room: &'a BareJid) -> Stored<'a, ()> {
        Box::pin(async move {
            let removing = sqlx::query("DELETE FROM room WHERE address = $1").bind(room.as_str());
            removing.execute(self.database.pool()).await.map(|_| ()).map_err(|error| failed(error.into()))
        })
    }

    fn listed<'a>(&'a self, domain: &'a str) -> Stored<'a, Vec<Listed>> {
        Box::pin(async move { self.all_listed(domain).await.map_err(failed) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use xmpp_muc::conformance;

    #[tokio::test]
    async fn it_does_what_every_store_must() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("test.sqlite")).await.unwrap();
        conformance(&database.rooms()).await;
    }

    #[tokio::test]
    async fn a_room_outlives_the_process_with_all_that_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.sqlite");
        let room: BareJid = "coven@rooms.example.org".parse().unwrap();
        let config = RoomConfig {
            name: "Coven".to_owned(),
            password: Some("cauldron & fire".to_owned()),
            ..RoomConfig::default()
        };
        let owner = Affiliated { affiliation: Affiliation::Owner, nick: Some("Firstwitch".to_owned()), reason: None };
        let affiliated = vec![("crone1@example.org".parse().unwrap(), owner)];
        let record = RoomRecord {
            config,
            locked: false,
            key: [7; 32],
            subject: None,
            affiliated,
            card: None,
            hats: Wardrobe::default(),
        };
        let database = Database::open(&path).await.unwrap();
        database.rooms().save(&room, &record).await.unwrap();
        database.close().await;
        let found = Database::open(&path).await.unwrap().rooms().load(&room).await.unwrap().unwrap();
        assert_eq!((&found.config, found.key, &found.affiliated), (&record.config, record.key, &record.affiliated));
    }
}

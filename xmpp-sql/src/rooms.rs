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
    Affiliation, Listed, RoomConfig, RoomStore, Stretch, Terms,
    config::Whois,
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
        let row =
            sqlx::query("SELECT config, secret, maker, subject, subject_at, card, hats FROM room WHERE address = $1")
                .bind(room.as_str())
                .fetch_optional(&mut *reading)
                .await?;
        let Some(row) = row else { return Ok(None) };
        let config: String = row.try_get("config")?;
        let secret: Vec<u8> = row.try_get("secret")?;
        let maker: Option<String> = row.try_get("maker")?;
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
            maker: maker.map(|maker| BareJid::new(&maker)).transpose().map_err(|_| broken("maker"))?,
            subject: subject.zip(at).map(|(text, at)| restored(&text, at)).transpose()?,
            affiliated,
            card: card.map(|text| restored_card(&text)).transpose()?,
            hats: Wardrobe::from_text(&hats.unwrap_or_default()).ok_or_else(|| broken("hats"))?,
        }))
    }

    /// Stores a room, unless its maker has `most` others; whether it did.
    async fn write(&self, room: &BareJid, record: &RoomRecord, most: Option<u64>) -> Result<bool, SqlError> {
        let mut writing = self.database.write().await?;
        if let (Some(most), Some(maker)) = (most, &record.maker) {
            let others: i64 =
                sqlx::query_scalar("SELECT count(*) FROM room WHERE domain = $1 AND maker = $2 AND address <> $3")
                    .bind(room.domain())
                    .bind(maker.as_str())
                    .bind(room.as_str())
                    .fetch_one(&mut *writing)
                    .await?;
            if u64::try_from(others).unwrap_or(0) >= most {
                return Ok(false);
            }
        }
        sqlx::query("DELETE FROM room WHERE address = $1").bind(room.as_str()).execute(&mut *writing).await?;
        sqlx::query("INSERT INTO room (address, domain, maker, config, secret) VALUES ($1, $2, $3, $4, $5)")
            .bind(room.as_str())
            .bind(room.domain())
            .bind(record.maker.as_ref().map(|jid| jid.as_str()))
            .bind(record.config.to_text())
            .bind(record.key.as_slice())
            .execute(&mut *writing)
            .await?;
        set_listing(&mut writing, room, &record.config).await?;
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
        writing.commit().await?;
        Ok(true)
    }

    async fn drop_room(&self, room: &BareJid) -> Result<(), SqlError> {
        let mut writing = self.database.write().await?;
        sqlx::query("DELETE FROM room WHERE address = $1").bind(room.as_str()).execute(&mut *writing).await?;
        unlist(&mut writing, room).await?;
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

    async fn some_listed(&self, domain: &str, stretch: &Stretch) -> Result<Vec<Listed>, SqlError> {
        let mut found = Vec::new();
        let mut rest = stretch.clone();
        if let (Some(_), 1..) = (&stretch.terms, stretch.max) {
            // The database looks for the words anywhere; whether they are where they should be is seen here.
            (rest.skip, rest.max) = (0, stretch.max.max(100));
        }
        let mut skip = stretch.skip - rest.skip;
        while found.len() < stretch.max {
            let rows = self.rows(domain, &rest).await?;
            let (full, end) = (rows.len() >= rest.max, rows.last().map(|listed| listed.jid.clone()));
            for listed in rows.into_iter().filter(|listed| stretch.has(listed)) {
                match skip {
                    0 => found.push(listed),
                    _ => skip -= 1,
                }
            }
            if !full || stretch.terms.is_none() {
                break;
            }
            if stretch.last { rest.before = end } else { rest.after = end }
        }
        found.truncate(stretch.max);
        Ok(found)
    }

    async fn rows(&self, domain: &str, stretch: &Stretch) -> Result<Vec<Listed>, SqlError> {
        let sql = match stretch.last {
            false => {
                "SELECT address, name, description, lang, open, non_anonymous FROM room_listing \
                 WHERE domain = $1 AND address > $2 AND address < $3 \
                 AND instr(words, $6) AND instr(words, $7) AND instr(words, $8) AND instr(words, $9) \
                 AND instr(words, $10) AND instr(words, $11) AND instr(words, $12) AND instr(words, $13) \
                 ORDER BY address LIMIT $4 OFFSET $5"
            }
            true => {
                "SELECT address, name, description, lang, open, non_anonymous FROM room_listing \
                 WHERE domain = $1 AND address > $2 AND address < $3 \
                 AND instr(words, $6) AND instr(words, $7) AND instr(words, $8) AND instr(words, $9) \
                 AND instr(words, $10) AND instr(words, $11) AND instr(words, $12) AND instr(words, $13) \
                 ORDER BY address DESC LIMIT $4 OFFSET $5"
            }
        };
        let mut query = sqlx::query(sql)
            .bind(domain)
            .bind(stretch.after.as_ref().map_or("", |jid| jid.as_str()))
            .bind(stretch.before.as_ref().map_or(BEHIND_ALL, |jid| jid.as_str()))
            .bind(i64::try_from(stretch.max).unwrap_or(i64::MAX))
            .bind(i64::try_from(stretch.skip).unwrap_or(i64::MAX));
        // Where there is no word, nothing is found everywhere.
        let words = stretch.terms.iter().flat_map(Terms::words).chain(std::iter::repeat(""));
        for word in words.take(Terms::MOST) {
            query = query.bind(word);
        }
        let rows = query.fetch_all(self.database.pool()).await?;
        rows.iter().map(listed).collect()
    }

    async fn number_listed(&self, domain: &str, before: Option<&BareJid>) -> Result<u64, SqlError> {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM room_listing WHERE domain = $1 AND address < $2")
            .bind(domain)
            .bind(before.map_or(BEHIND_ALL, |jid| jid.as_str()))
            .fetch_one(self.database.pool())
            .await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }
}

/// What is behind every address.
const BEHIND_ALL: &str = "\u{10ffff}";

fn listed(row: &sqlx::sqlite::SqliteRow) -> Result<Listed, SqlError> {
    let address: String = row.try_get("address")?;
    let non_anonymous: Option<bool> = row.try_get("non_anonymous")?;
    Ok(Listed {
        jid: BareJid::new(&address).map_err(|_| broken("address"))?,
        name: row.try_get("name")?,
        description: row.try_get("description")?,
        lang: row.try_get("lang")?,
        is_open: row.try_get("open")?,
        whois: non_anonymous.map(|all| if all { Whois::Anyone } else { Whois::Moderators }),
    })
}

type Writing = Transaction<'static, Sqlite>;

async fn set_config(writing: &mut Writing, room: &BareJid, config: &RoomConfig) -> Result<(), SqlError> {
    let changed = sqlx::query("UPDATE room SET config = $1 WHERE address = $2")
        .bind(config.to_text())
        .bind(room.as_str())
        .execute(&mut **writing)
        .await?;
    match changed.rows_affected() {
        0 => Ok(()),
        _ => set_listing(writing, room, config).await,
    }
}

async fn unlist(writing: &mut Writing, room: &BareJid) -> Result<(), SqlError> {
    sqlx::query("DELETE FROM room_listing WHERE domain = $1 AND address = $2")
        .bind(room.domain())
        .bind(room.as_str())
        .execute(&mut **writing)
        .await?;
    Ok(())
}

async fn set_listing(writing: &mut Writing, room: &BareJid, config: &RoomConfig) -> Result<(), SqlError> {
    unlist(writing, room).await?;
    if !config.public {
        return Ok(());
    }
    let listed = Listed::of(room.clone(), config);
    sqlx::query(
        "INSERT INTO room_listing (domain, address, name, description, lang, open, non_anonymous, words) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(room.domain())
    .bind(room.as_str())
    .bind(&listed.name)
    .bind(&listed.description)
    .bind(&listed.lang)
    .bind(listed.is_open)
    .bind(listed.whois.map(|whois| whois == Whois::Anyone))
    .bind(listed.words())
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

    fn add<'a>(&'a self, room: &'a BareJid, record: &'a RoomRecord, most: u64) -> Stored<'a, bool> {
        Box::pin(async move { self.write(room, record, Some(most)).await.map_err(failed) })
    }

    fn save<'a>(&'a self, room: &'a BareJid, record: &'a RoomRecord) -> Stored<'a, ()> {
        Box::pin(async move { self.write(room, record, None).await.map(drop).map_err(failed) })
    }

    fn change<'a>(&'a self, room: &'a BareJid, kept: &'a [Kept]) -> Stored<'a, ()> {
        Box::pin(async move { self.alter(room, kept).await.map_err(failed) })
    }

    fn remove<'a>(&'a self, room: &'a BareJid) -> Stored<'a, ()> {
        Box::pin(async move { self.drop_room(room).await.map_err(failed) })
    }

    fn listed<'a>(&'a self, domain: &'a str, stretch: &'a Stretch) -> Stored<'a, Vec<Listed>> {
        Box::pin(async move { self.some_listed(domain, stretch).await.map_err(failed) })
    }

    fn count_listed<'a>(&'a self, domain: &'a str, before: Option<&'a BareJid>) -> Stored<'a, u64> {
        Box::pin(async move { self.number_listed(domain, before).await.map_err(failed) })
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
        let maker = Some("crone1@example.org".parse().unwrap());
        let record = RoomRecord {
            config,
            locked: false,
            key: [7; 32],
            maker,
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
    #[tokio::test]
    async fn older_rooms_count_for_their_first_owner_and_are_listed_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("old.sqlite");
        let old = crate::database::tests::of_version(&path, 12).await;
        let text = RoomConfig { name: "Coven".to_owned(), ..RoomConfig::default() }.to_text();
        for (name, listed) in [("coven", true), ("hidden", false), ("nobodys", true)] {
            sqlx::query(
                "INSERT INTO room (address, domain, name, listed, config, secret) \
                 VALUES ($1, 'chat', 'Coven', $2, $3, zeroblob(32))",
            )
            .bind(format!("{name}@chat"))
            .bind(listed)
            .bind(&text)
            .execute(old.pool())
            .await
            .unwrap();
        }
        sqlx::raw_sql(
            "INSERT INTO room_affiliation (room, address, affiliation) VALUES ('coven@chat', 'hag@lit', 'owner'), \
             ('coven@chat', 'crone@lit', 'owner'), ('coven@chat', 'a@lit', 'member')",
        )
        .execute(old.pool())
        .await
        .unwrap();
        old.close().await;
        let rooms = Database::open(&path).await.unwrap().rooms();
        let coven: BareJid = "coven@chat".parse().unwrap();
        let record = rooms.load(&coven).await.unwrap().unwrap();
        assert_eq!(record.maker, Some("crone@lit".parse().unwrap()));
        let nobodys = rooms.load(&"nobodys@chat".parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(nobodys.maker, None);
        let stretch = Stretch { terms: Terms::new("coven", xmpp_muc::Fields::ALL), max: 9, ..Stretch::default() };
        let found = rooms.listed("chat", &stretch).await.unwrap();
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!((found[0].name.as_str(), found[0].is_open), ("Coven", None));
        assert!(!rooms.add(&"new@chat".parse().unwrap(), &record, 1).await.unwrap(), "the old one counts");
        rooms.change(&coven, &[Kept::Config(record.config.clone())]).await.unwrap();
        let found = rooms.listed("chat", &stretch).await.unwrap();
        assert_eq!(found[0], Listed::of(coven, &record.config));
    }
}

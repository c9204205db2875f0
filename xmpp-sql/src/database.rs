//! The file: opened, brought up to date, shared.

use crate::{
    EngineError, SqlAccountXml, SqlAccounts, SqlArchive, SqlBlocking, SqlError, SqlInvitations, SqlLastActivity,
    SqlLogins, SqlOffline, SqlRooms, SqlRosters, SqlTokens, SqlUploads,
};
use sqlx::{
    ConnectOptions as _, Connection as _, Sqlite, SqlitePool, Transaction,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{io, path::Path, sync::Arc, time::Duration};
use tokio::sync::Mutex;
use xmpp_core::jid::BareJid;
use xmpp_im::Stored;

/// What makes the tables, in order. Version n of the tables is the first n of them; they only grow at the end.
static MIGRATIONS: &[&str] = &[
    include_str!("../migrations/sqlite/0001_accounts.sql"),
    include_str!("../migrations/sqlite/0002_tokens.sql"),
    include_str!("../migrations/sqlite/0003_clients.sql"),
    include_str!("../migrations/sqlite/0004_roster.sql"),
    include_str!("../migrations/sqlite/0005_offline.sql"),
    include_str!("../migrations/sqlite/0006_archive.sql"),
    include_str!("../migrations/sqlite/0007_account_data.sql"),
    include_str!("../migrations/sqlite/0008_account_xml.sql"),
    include_str!("../migrations/sqlite/0009_archive_index.sql"),
    include_str!("../migrations/sqlite/0010_invitations.sql"),
    include_str!("../migrations/sqlite/0011_administration.sql"),
    include_str!("../migrations/sqlite/0012_rooms.sql"),
    include_str!("../migrations/sqlite/0013_room_makers.sql"),
    include_str!("../migrations/sqlite/0014_room_faces.sql"),
    include_str!("../migrations/sqlite/0015_uploads.sql"),
    include_str!("../migrations/sqlite/0016_upload_buckets.sql"),
];

/// How long a writer waits for another one, in this process or elsewhere.
const BUSY: Duration = Duration::from_secs(10);

/// Connections to the file. Each has a thread; readers work side by side, writers take turns.
const CONNECTIONS: u32 = 4;

/// Pages of 4 KiB in the write-ahead log before it is folded into the file. A page that is written often is then folded
/// in less often; the log has to be read when the file is opened.
const CHECKPOINT: &str = "4000";

/// A database, with its tables up to date. Cheap to clone; all clones share its connections.
#[derive(Clone, Debug)]
pub struct Database {
    pool: SqlitePool,
    /// Whose turn it is to commit a group of writes.
    turn: Arc<Mutex<()>>,
}

impl Database {
    /// Opens the file, or creates it for its owner's eyes only, and makes or updates the tables. Processes that do so
    /// at the same time wait for each other.
    pub async fn open(path: impl AsRef<Path>) -> Result<Database, SqlError> {
        let path = path.as_ref();
        let failed = |error: EngineError| SqlError::Open { path: path.display().to_string(), error };
        create_private(path).map_err(|error| failed(Box::new(error)))?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            // What was committed is there after a power failure.
            .synchronous(SqliteSynchronous::Full)
            .pragma("wal_autocheckpoint", CHECKPOINT)
            .busy_timeout(BUSY)
            .foreign_keys(true)
            .disable_statement_logging();
        let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).test_before_acquire(false);
        // On a full disk SQLite ends a transaction by itself. There is nothing to roll back then, which sqlx takes for a
        // transaction that goes on, in which no other can begin.
        let pool =
            pool.before_acquire(|connection, _| Box::pin(std::future::ready(Ok(!connection.is_in_transaction()))));
        let pool = pool.connect_with(options).await.map_err(|error| failed(Box::new(error)))?;
        let database = Database { pool, turn: Arc::default() };
        match database.migrate().await {
            // The first statement is also the first to find that the file is something else.
            Err(SqlError::Engine(error)) => Err(failed(error)),
            other => other.map(|()| database),
        }
    }

    /// The user table.
    pub fn accounts(&self) -> SqlAccounts {
        SqlAccounts::new(self.clone())
    }

    /// The tokens of its users' clients.
    pub fn tokens(&self) -> SqlTokens {
        SqlTokens::new(self.clone())
    }

    /// vCards and private XML.
    pub fn account_xml(&self) -> SqlAccountXml {
        SqlAccountXml::new(self.clone())
    }

    /// When users were last there.
    pub fn last_activity(&self) -> SqlLastActivity {
        SqlLastActivity::new(self.clone())
    }

    /// When users logged in, and what they are told then.
    pub fn logins(&self) -> SqlLogins {
        SqlLogins::new(self.clone())
    }

    /// The rosters of its users, and of others.
    pub fn rosters(&self) -> SqlRosters {
        SqlRosters::new(self.clone())
    }

    /// Offline messages.
    pub fn offline(&self) -> SqlOffline {
        SqlOffline::new(self.clone())
    }

    /// The archives of its users. Must be called inside a tokio runtime: a task writes for all of them.
    pub fn archive(&self) -> SqlArchive {
        SqlArchive::new(self.clone())
    }

    /// As [`archive`](Self::archive), with at most so many messages committed together. With 1 each is committed alone,
    /// which is what the measurements compare with.
    pub fn archive_committing(&self, most: usize) -> SqlArchive {
        SqlArchive::committing(self.clone(), most)
    }

    /// Rooms that outlive their occupants.
    pub fn rooms(&self) -> SqlRooms {
        SqlRooms::new(self.clone())
    }

    /// What is known of uploads.
    pub fn uploads(&self) -> SqlUploads {
        SqlUploads::new(self.clone())
    }

    /// Invitations.
    pub fn invitations(&self) -> SqlInvitations {
        SqlInvitations::new(self.clone())
    }

    /// Block lists.
    pub fn blocking(&self) -> SqlBlocking {
        SqlBlocking::new(self.clone())
    }

    /// 32 random bytes that are made when first asked for and stay the same under this name: what
    /// [`ServerBuilder::secret`](xmpp_core::server::ServerBuilder::secret) wants.
    pub async fn secret(&self, name: &str) -> Result<[u8; 32], SqlError> {
        let name = format!("secret:{name}");
        let fresh = random()?;
        let mut writing = self.write().await?;
        sqlx::query("INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(&name)
            .bind(fresh.as_slice())
            .execute(&mut *writing)
            .await?;
        let kept: Vec<u8> =
            sqlx::query_scalar("SELECT value FROM meta WHERE name = $1").bind(&name).fetch_one(&mut *writing).await?;
        writing.commit().await?;
        kept.try_into().map_err(|_| SqlError::Engine(format!("the value of {name} has not 32 bytes").into()))
    }

    /// Closes the connections and folds the write-ahead log into the file. Also without it nothing is lost.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    pub(crate) fn turn(&self) -> &Mutex<()> {
        &self.turn
    }

    pub(crate) fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    /// Removes what a statement names of a user.
    pub(crate) fn forget<'a>(&'a self, sql: &'static str, user: &'a BareJid) -> Stored<'a, ()> {
        Box::pin(async move {
            let forgetting = sqlx::query(sql).bind(user.as_str());
            forgetting.execute(&self.pool).await.map(|_| ()).map_err(crate::failed)
        })
    }

    /// A transaction that may write. It takes the lock at once: one that began with reading could not wait for
    /// another writer, SQLite would refuse its first write.
    pub(crate) async fn write(&self) -> Result<Transaction<'static, Sqlite>, SqlError> {
        Ok(self.pool.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// Not sqlx's migrator: for SQLite its lock does nothing, so two processes that start at once would both create
    /// the tables, and one of them fail.
    async fn migrate(&self) -> Result<(), SqlError> {
        let mut writing = self.write().await?;
        let found: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *writing).await?;
        let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
        if found > known {
            return Err(SqlError::TooNew { found, known });
        }
        let done = usize::try_from(found).unwrap_or_default();
        for migration in MIGRATIONS.iter().skip(done) {
            sqlx::raw_sql(*migration).execute(&mut *writing).await?;
        }
        if found < known {
            let version = sqlx::AssertSqlSafe(format!("PRAGMA user_version = {known}"));
            sqlx::raw_sql(version).execute(&mut *writing).await?;
        }
        Ok(writing.commit().await?)
    }
}

/// Creates the file if it is missing. It holds what passwords can be guessed from, and SQLite would let the umask
/// decide who reads it; the files beside it get its mode.
fn create_private(path: &Path) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn random() -> Result<[u8; 32], SqlError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| SqlError::Engine(Box::new(error)))?;
    Ok(bytes)
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use xmpp_core::payload::DateTime;
    use xmpp_im::archive::{ArchiveStore as _, NewEntry};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_new_file_may_be_opened_many_times_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new.sqlite");
        let opening: Vec<_> = (0..8).map(|_| tokio::spawn(Database::open(path.clone()))).collect();
        let mut secrets = Vec::new();
        for one in opening {
            secrets.push(one.await.unwrap().unwrap().secret("scram").await.unwrap());
        }
        assert!(secrets.iter().all(|secret| *secret == secrets[0]), "one secret for all");
        assert_ne!(secrets[0], [0; 32]);
    }

    #[tokio::test]
    async fn secrets_outlive_the_process_and_differ_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept.sqlite");
        let first = Database::open(&path).await.unwrap();
        let (one, two) = (first.secret("one").await.unwrap(), first.secret("two").await.unwrap());
        first.close().await;
        assert_ne!(one, two);
        assert_eq!(Database::open(&path).await.unwrap().secret("one").await.unwrap(), one);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn only_the_owner_reads_the_files() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("private.sqlite")).await.unwrap();
        database.secret("x").await.unwrap();
        let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap).collect();
        assert_eq!(files.len(), 3, "the file, its log and the log's index: {files:?}");
        for file in files {
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0, "{file:?}");
        }
    }

    #[tokio::test]
    async fn tables_of_the_future_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("future.sqlite");
        let database = Database::open(&path).await.unwrap();
        sqlx::raw_sql("PRAGMA user_version = 9999").execute(database.pool()).await.unwrap();
        database.close().await;
        let error = Database::open(&path).await.unwrap_err();
        assert!(matches!(error, SqlError::TooNew { found: 9999, .. }), "{error}");
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("letter.txt");
        std::fs::write(&path, "Dear Romeo, ".repeat(100)).unwrap();
        let error = Database::open(&path).await.unwrap_err();
        assert!(error.to_string().contains("letter.txt") && error.to_string().contains("not a database"), "{error}");
    }

    /// A file of so many pages is what a full disk is like. SQLite then ends the transaction by itself.
    async fn allow_pages(database: &Database, pages: i64) {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut connection = database.pool().acquire().await.unwrap();
            let limit = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
            sqlx::raw_sql(limit).execute(&mut *connection).await.unwrap();
            connections.push(connection);
        }
    }

    #[tokio::test]
    async fn a_full_disk_is_told_and_forgotten_when_there_is_room_again() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("full.sqlite")).await.unwrap();
        allow_pages(&database, 60).await;
        let (archive, owner) = (database.archive(), "juliet@capulet.example".parse().unwrap());
        let entry = |size: usize| NewEntry {
            with: "romeo@montague.example".parse().unwrap(),
            text: "x".repeat(size).into(),
            at: DateTime::from_unix(1, 0).unwrap(),
        };
        let mut kept = 0;
        while archive.append(&owner, entry(50_000)).await.is_ok() {
            kept += 1;
            assert!(kept < 100, "it does not get full");
        }
        allow_pages(&database, 10_000).await;
        for _ in 0..2 * CONNECTIONS {
            archive.append(&owner, entry(50_000)).await.unwrap();
        }
    }

    /// A file with the tables as they were at a version.
    pub(crate) async fn of_version(path: &Path, version: usize) -> Database {
        let database = Database::open(path).await.unwrap();
        let drop_all: Vec<String> = sqlx::query_scalar(
            "SELECT 'DROP TABLE ' || name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'",
        )
        .fetch_all(database.pool())
        .await
        .unwrap();
        for sql in ["PRAGMA foreign_keys = OFF".to_owned()].into_iter().chain(drop_all) {
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(database.pool()).await.unwrap();
        }
        for migration in MIGRATIONS.iter().take(version) {
            sqlx::raw_sql(*migration).execute(database.pool()).await.unwrap();
        }
        let version = sqlx::AssertSqlSafe(format!("PRAGMA user_version = {version}"));
        sqlx::raw_sql(version).execute(database.pool()).await.unwrap();
        database
    }

    #[tokio::test]
    async fn tables_of_every_earlier_version_are_brought_up_to_date() {
        for version in 0..=MIGRATIONS.len() {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("old.sqlite");
            of_version(&path, version).await.close().await;
            // Twice: what is done is not done again.
            for _ in 0..2 {
                let database = Database::open(&path).await.unwrap();
                let found: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(database.pool()).await.unwrap();
                assert_eq!(usize::try_from(found).unwrap(), MIGRATIONS.len());
                database.secret("x").await.unwrap();
                database.close().await;
            }
        }
    }

    #[tokio::test]
    async fn a_migration_that_fails_leaves_the_tables_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("odd.sqlite");
        let database = Database::open(&path).await.unwrap();
        // As after a crash of something else: a table is there that a migration makes.
        let odd = "DROP TABLE archive; DROP TABLE archive_preferences; PRAGMA user_version = 5;";
        sqlx::raw_sql(odd).execute(database.pool()).await.unwrap();
        database.close().await;
        let error = Database::open(&path).await.unwrap_err();
        assert!(error.to_string().contains("odd.sqlite") && error.to_string().contains("already exists"), "{error}");
        let options = SqliteConnectOptions::new().filename(&path);
        let pool = SqlitePool::connect_with(options).await.unwrap();
        let count = "SELECT count(*) FROM sqlite_schema WHERE name = 'archive'";
        let archives: i64 = sqlx::query_scalar(count).fetch_one(&pool).await.unwrap();
        let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&pool).await.unwrap();
        assert_eq!((archives, version), (0, 5));
    }

    #[tokio::test]
    async fn a_broken_file_is_told_when_it_is_read_and_harms_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("broken.sqlite");
        let database = Database::open(&path).await.unwrap();
        let (archive, owner) = (database.archive(), "juliet@capulet.example".parse().unwrap());
        let entry = |text: String| NewEntry {
            with: "romeo@montague.example".parse().unwrap(),
            text: text.into(),
            at: DateTime::from_unix(1, 0).unwrap(),
        };
        for _ in 0..100 {
            archive.append(&owner, entry("x".repeat(3000))).await.unwrap();
        }
        drop(archive);
        database.close().await;
        let mut bytes = std::fs::read(&path).unwrap();
        let half = bytes.len() / 2;
        bytes[half..].fill(0xAA);
        std::fs::write(&path, bytes).unwrap();
        match Database::open(&path).await {
            Err(error) => assert!(error.to_string().contains("broken.sqlite"), "{error}"),
            Ok(database) => {
                let archive = database.archive();
                let all = xmpp_im::archive::Selection { max: 1000, max_bytes: usize::MAX, ..Default::default() };
                assert!(archive.query(&owner, &all).await.is_err());
                // Each connection is still of use for what is whole.
                for _ in 0..2 * CONNECTIONS {
                    let _ = archive.append(&owner, entry("y".into())).await;
                    database.secret("x").await.unwrap();
                }
            }
        }
        assert!(Database::open(folder.path()).await.is_err(), "a folder");
    }
}

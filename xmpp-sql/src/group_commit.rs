//! Writes of many sessions, committed together.
//!
//! A commit waits for the disk, whatever it commits. One task therefore takes what has been ordered meanwhile, writes all
//! of it in one transaction, and tells each who ordered something when that is committed. While nothing else is under
//! way, a write is committed alone and at once; the more there are, the fewer commits each costs.

use crate::{Database, SqlError};
use sqlx::{Connection as _, Sqlite, SqliteConnection, pool::PoolConnection};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use xmpp_core::BoxFuture;

/// Orders that wait for the writer; who has more waits for room.
const QUEUE: usize = 1024;

/// How things of one kind are written, many at a time.
pub(crate) trait Batch: Send + Sync + 'static {
    /// One thing to write.
    type Item: Send + Sync + 'static;
    /// What its writing brings.
    type Done: Send + 'static;

    /// Writes all items inside a transaction, in their order, and answers for each.
    fn write<'a>(
        &'a self,
        transaction: &'a mut SqliteConnection,
        items: &'a [Self::Item],
    ) -> BoxFuture<'a, Result<Vec<Self::Done>, SqlError>>;
}

type Order<B> = (<B as Batch>::Item, oneshot::Sender<Result<<B as Batch>::Done, SqlError>>);

/// The way to the task that writes. All clones lead to the same; it ends with the last of them.
pub(crate) struct GroupCommit<B: Batch>(mpsc::Sender<Order<B>>);

impl<B: Batch> Clone for GroupCommit<B> {
    fn clone(&self) -> Self {
        GroupCommit(self.0.clone())
    }
}

impl<B: Batch> GroupCommit<B> {
    /// Starts the task, inside a tokio runtime. It commits at most `most` items at a time.
    pub(crate) fn start(database: Database, batch: B, most: usize) -> GroupCommit<B> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(run(database, batch, most.max(1), receiver));
        GroupCommit(sender)
    }

    /// Resolves when the item is committed. Dropped before that, the item may or may not be written.
    pub(crate) async fn write(&self, item: B::Item) -> Result<B::Done, SqlError> {
        let stopped = || SqlError::Engine("the database does not write any more".into());
        let (answer, answered) = oneshot::channel();
        self.0.send((item, answer)).await.map_err(|_| stopped())?;
        answered.await.unwrap_or_else(|_| Err(stopped()))
    }
}

async fn run<B: Batch>(database: Database, batch: B, most: usize, mut orders: mpsc::Receiver<Order<B>>) {
    let mut taken = Vec::new();
    // Kept as long as there is more to write. What a connection has in memory is of no use once another one has written.
    let mut connection = None;
    while orders.recv_many(&mut taken, most).await > 0 {
        // Who has given up has told its sender that nothing was written.
        taken.retain(|(_, answer)| !answer.is_closed());
        let (items, answers): (Vec<_>, Vec<_>) = taken.drain(..).unzip();
        if items.is_empty() {
            continue;
        }
        match commit(&database, &mut connection, &batch, &items).await {
            Ok(done) => {
                for (answer, done) in answers.into_iter().zip(done) {
                    let _ = answer.send(Ok(done));
                }
            }
            // What cannot be written takes nothing with it that can.
            Err(Failed::Writing(_)) if items.len() > 1 => {
                for (item, answer) in items.iter().zip(answers) {
                    let written = commit(&database, &mut connection, &batch, std::slice::from_ref(item)).await;
                    let written = written.map_err(Failed::into_inner).map(|done| done.into_iter().next());
                    let nothing = || SqlError::Engine("nothing was written".into());
                    let _ = answer.send(written.and_then(|done| done.ok_or_else(nothing)));
                }
            }
            Err(error) => {
                let error = Arc::new(error.into_inner());
                for answer in answers {
                    let _ = answer.send(Err(SqlError::Engine(Box::new(Together(Arc::clone(&error))))));
                }
            }
        }
        if orders.is_empty() || database.pool().is_closed() {
            connection = None;
        }
    }
}

/// Why a transaction failed.
enum Failed {
    /// It did not begin: nobody else's would.
    Beginning(SqlError),
    /// One of its writes, or all together.
    Writing(SqlError),
}

impl Failed {
    fn into_inner(self) -> SqlError {
        match self {
            Failed::Beginning(error) | Failed::Writing(error) => error,
        }
    }
}

async fn commit<B: Batch>(
    database: &Database,
    connection: &mut Option<PoolConnection<Sqlite>>,
    batch: &B,
    items: &[B::Item],
) -> Result<Vec<B::Done>, Failed> {
    // Writers of this process take turns here; SQLite would let them look for their turn again and again.
    let _turn = database.turn().lock().await;
    let mut used = match connection.take() {
        Some(connection) => connection,
        None => database.pool().acquire().await.map_err(|error| Failed::Beginning(error.into()))?,
    };
    // Where something fails the connection goes back to the pool, which looks at its state before it lends it again.
    let writing = used.begin_with("BEGIN IMMEDIATE").await;
    let mut writing = writing.map_err(|error| Failed::Beginning(error.into()))?;
    let done = batch.write(&mut writing, items).await.map_err(Failed::Writing)?;
    writing.commit().await.map_err(|error| Failed::Writing(error.into()))?;
    *connection = Some(used);
    Ok(done)
}

/// The error of a transaction, for each whose write was in it.
#[derive(Debug)]
struct Together(Arc<SqlError>);

impl std::fmt::Display for Together {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Together {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Semaphore;

    /// Writes names into `meta`, when it is allowed to; not "bad".
    struct Names {
        transactions: Arc<AtomicUsize>,
        gate: Arc<Semaphore>,
    }

    impl Batch for Names {
        type Item = &'static str;
        type Done = usize;

        fn write<'a>(
            &'a self,
            transaction: &'a mut SqliteConnection,
            items: &'a [&'static str],
        ) -> BoxFuture<'a, Result<Vec<usize>, SqlError>> {
            Box::pin(async move {
                self.gate.acquire().await.unwrap().forget();
                self.transactions.fetch_add(1, Ordering::SeqCst);
                for item in items {
                    let insert = sqlx::query("INSERT INTO meta (name, value) VALUES ($1, x'')").bind(*item);
                    insert.execute(&mut *transaction).await?;
                    if *item == "bad" {
                        return Err(SqlError::Engine("bad".into()));
                    }
                }
                Ok((0..items.len()).collect())
            })
        }
    }

    async fn fresh() -> (tempfile::TempDir, Database, Arc<AtomicUsize>, Arc<Semaphore>, GroupCommit<Names>) {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("test.sqlite")).await.unwrap();
        let (transactions, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let names = Names { transactions: Arc::clone(&transactions), gate: Arc::clone(&gate) };
        let writer = GroupCommit::start(database.clone(), names, 3);
        (folder, database, transactions, gate, writer)
    }

    async fn written(database: &Database) -> Vec<String> {
        let names = sqlx::query_scalar("SELECT name FROM meta WHERE name NOT LIKE 'secret:%' ORDER BY rowid");
        names.fetch_all(database.pool()).await.unwrap()
    }

    #[tokio::test]
    async fn what_waits_is_committed_together_in_order_and_up_to_the_bound() {
        let (_folder, database, transactions, gate, writer) = fresh().await;
        // In one task, so that the order of the orders is known.
        let mut writing = tokio::task::JoinSet::new();
        for name in ["a", "b", "c", "d", "e", "f"] {
            let writer = writer.clone();
            writing.spawn(async move { writer.write(name).await.unwrap() });
        }
        tokio::task::yield_now().await;
        gate.add_permits(100);
        let mut places = writing.join_all().await;
        places.sort_unstable();
        let count = transactions.load(Ordering::SeqCst);
        assert!((2..6).contains(&count), "{count} transactions for six writes, at most three in each");
        assert_eq!(places.iter().filter(|place| **place == 0).count(), count, "each told of its own place");
        assert_eq!(written(&database).await.len(), 6);
    }

    #[tokio::test]
    async fn what_cannot_be_written_takes_nothing_with_it() {
        let (_folder, database, _, gate, writer) = fresh().await;
        let (first, good, bad, last) = tokio::join!(writer.write("a"), writer.write("b"), writer.write("bad"), async {
            let last = writer.write("c");
            gate.add_permits(100);
            last.await
        });
        assert!(bad.unwrap_err().to_string().contains("bad"));
        assert!(first.is_ok() && good.is_ok() && last.is_ok());
        assert_eq!(written(&database).await, ["a", "b", "c"]);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_not_written() {
        let (_folder, database, _, gate, writer) = fresh().await;
        let first = tokio::spawn({
            let writer = writer.clone();
            async move { writer.write("a").await }
        });
        // It is being written, and waits for the gate.
        tokio::task::yield_now().await;
        let mut given_up = Box::pin(writer.write("lost"));
        assert!(futures_util::poll!(given_up.as_mut()).is_pending());
        drop(given_up);
        let mut last = std::pin::pin!(writer.write("b"));
        assert!(futures_util::poll!(last.as_mut()).is_pending());
        gate.add_permits(100);
        last.await.unwrap();
        first.await.unwrap().unwrap();
        assert_eq!(written(&database).await, ["a", "b"]);
    }

    #[tokio::test]
    async fn a_database_that_is_closed_says_so() {
        let (_folder, database, _, gate, writer) = fresh().await;
        gate.add_permits(100);
        database.close().await;
        assert!(writer.write("a").await.is_err());
    }
}

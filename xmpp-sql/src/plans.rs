//! How SQLite goes about the statements of this crate: each finds its rows by an index, however large the tables are.

use crate::Database;
use sqlx::Row as _;

/// The parts of the source that say SQL, without their tests.
const SOURCES: &[&str] = &[
    include_str!("account_xml.rs"),
    include_str!("accounts.rs"),
    include_str!("archive.rs"),
    include_str!("blocking.rs"),
    include_str!("database.rs"),
    include_str!("last_activity.rs"),
    include_str!("offline.rs"),
    include_str!("rooms.rs"),
    include_str!("roster.rs"),
    include_str!("tokens.rs"),
    include_str!("uploads.rs"),
];

/// What has to look through a table: it asks whether there is anything in it, or drops what is nobody's, when the server
/// starts.
const SCANS: &[&str] = &["SELECT 1 FROM account LIMIT 1", "NOT IN (SELECT address FROM account)"];

/// What sorts, it does among what is of one user, which is bounded; but for the accounts of a domain, which are listed for
/// administrators alone.
const SORTED: &[&str] = &["address = $1", "owner = $1", "SELECT address FROM account WHERE domain = $1"];

/// The statements in a source: its string literals that begin like one.
fn statements(source: &str) -> Vec<String> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let literals = code.split('"').skip(1).step_by(2).map(|literal| {
        let lines = literal.split("\\\n").enumerate();
        lines.map(|(n, line)| if n == 0 { line } else { line.trim_start() }).collect::<String>()
    });
    let is_statement = |text: &String| {
        let verb = text.split(' ').next().unwrap_or_default();
        matches!(verb, "SELECT" | "DELETE" | "UPDATE" | "INSERT") && !text.contains('{')
    };
    literals.filter(is_statement).collect()
}

async fn plan(database: &Database, sql: &str) -> Vec<String> {
    let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
    let rows = sqlx::query(explain).fetch_all(database.pool()).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    rows.iter().map(|row| row.get("detail")).collect()
}

#[tokio::test]
async fn every_statement_finds_its_rows_by_an_index() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("test.sqlite")).await.unwrap();
    let mut all: Vec<String> = SOURCES.iter().copied().flat_map(statements).collect();
    // The parts of a page's query, put together as they are there.
    let parts = |text: &String| text.starts_with("SELECT") && !text.contains("FROM") || text.ends_with("= ");
    all.retain(|text| !parts(text));
    let page = "FROM archive WHERE owner = $1 AND seq >= $2 AND seq <= $3";
    for filter in ["", " AND peer = $4", " AND peer = $4 AND resource = $5", " AND seq IN ($6, $7)"] {
        for order in [" ORDER BY seq LIMIT $8 OFFSET $9", " ORDER BY seq DESC LIMIT $8 OFFSET $9"] {
            all.push(format!("SELECT seq, nonce, peer, resource, message {page}{filter}{order}"));
        }
        all.push(format!("SELECT count(*) {page}{filter}"));
    }
    all.push("SELECT seq, nonce FROM archive WHERE owner = $1 AND seq IN ($2, $3)".into());
    assert!(all.len() > 50, "{} statements", all.len());
    let mut slow = Vec::new();
    for sql in &all {
        for step in plan(&database, sql).await {
            let scans =
                step.starts_with("SCAN") && step != "SCAN CONSTANT ROW" && !SCANS.iter().any(|part| sql.contains(part));
            if scans || (step.contains("TEMP B-TREE") && !SORTED.iter().any(|part| sql.contains(part))) {
                slow.push(format!("{step}: {sql}"));
            }
        }
    }
    assert_eq!(slow, [""; 0]);
}

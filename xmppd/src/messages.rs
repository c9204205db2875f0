//! What the configuration says of messages: offline storage, carbons, blocking.

use crate::Outcome;
use serde::Deserialize;
use std::sync::Arc;
use xmpp_core::server::ServerBuilder;
use xmpp_im::{
    blocking::{Blocking as Lists, BlockingStore, MemoryBlocking, Reported},
    carbons,
    offline::{self, MemoryOffline, OfflineLimits, OfflineStore},
};
use xmpp_sql::Database;

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Offline {
    enabled: bool,
    messages: usize,
    messages_per_sender: usize,
    bytes: usize,
}

impl Default for Offline {
    fn default() -> Offline {
        let OfflineLimits { messages, messages_per_sender, bytes, .. } = OfflineLimits::default();
        Offline { enabled: true, messages, messages_per_sender, bytes }
    }
}

impl Offline {
    /// All that is kept for an account is handed over at once.
    pub(crate) fn check(&self, outbox_bytes: usize) -> Outcome<()> {
        if self.enabled && self.bytes > outbox_bytes / 2 {
            return Err("offline.bytes must not be more than half of limits.outbox_bytes".into());
        }
        Ok(())
    }

    fn to_core(&self) -> OfflineLimits {
        let mut limits = OfflineLimits::default();
        (limits.messages, limits.messages_per_sender) = (self.messages, self.messages_per_sender);
        limits.bytes = self.bytes;
        limits
    }
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Carbons {
    enabled: bool,
}

impl Default for Carbons {
    fn default() -> Carbons {
        Carbons { enabled: true }
    }
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Blocking {
    enabled: bool,
    entries: usize,
    reports: bool,
}

impl Default for Blocking {
    fn default() -> Blocking {
        Blocking { enabled: true, entries: 1_000, reports: true }
    }
}

/// Where all that is kept.
pub(crate) struct Stores {
    offline: Arc<dyn OfflineStore>,
    blocking: Arc<dyn BlockingStore>,
}

impl Stores {
    pub(crate) fn in_database(database: &Database) -> Stores {
        Stores { offline: Arc::new(database.offline()), blocking: Arc::new(database.blocking()) }
    }

    pub(crate) fn in_memory() -> Stores {
        Stores { offline: Arc::new(MemoryOffline::new()), blocking: Arc::new(MemoryBlocking::new()) }
    }
}

/// Adds what is enabled.
pub(crate) fn compose(
    mut builder: ServerBuilder,
    (kept, copied, blocked): (&Offline, &Carbons, &Blocking),
    stores: Stores,
) -> ServerBuilder {
    if kept.enabled {
        builder = builder.with(offline::server(stores.offline, kept.to_core()));
    }
    if copied.enabled {
        builder = builder.with(carbons::server);
    }
    if blocked.enabled {
        let mut lists = Lists::new(stores.blocking).entries(blocked.entries);
        if blocked.reports {
            lists = lists.on_report(log);
        }
        builder = builder.with(lists.server());
    }
    builder
}

/// A report goes to the log, for whoever runs the server.
fn log(reported: Reported) {
    let Reported { reporter, reported, report, .. } = reported;
    let messages: Vec<&str> = report.messages.iter().map(|message| message.id.as_str()).collect();
    let text = report.texts.first().map(String::as_str).unwrap_or_default();
    tracing::warn!(%reporter, %reported, reason = ?report.reason, ?text, ?messages, "an address was reported");
}

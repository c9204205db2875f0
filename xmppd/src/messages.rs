//! What the configuration says of messages: offline storage, carbons, blocking.

use crate::Outcome;
use serde::Deserialize;
use std::sync::Arc;
use xmpp_core::server::ServerBuilder;
use xmpp_im::{
    blocking::{Blocking as Lists, BlockingStore, MemoryBlocking, Reported},
    carbons,
    offline::{self, MemoryOffline, OfflineLimits, OfflineStore},
    roster::RosterStore,
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

    pub(crate) fn compose(&self, builder: ServerBuilder, database: Option<&Database>) -> ServerBuilder {
        if !self.enabled {
            return builder;
        }
        let store: Arc<dyn OfflineStore> = match database {
            Some(database) => Arc::new(database.offline()),
            None => Arc::new(MemoryOffline::new()),
        };
        builder.with(offline::server(store, self.to_core()))
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

impl Carbons {
    pub(crate) fn compose(&self, builder: ServerBuilder) -> ServerBuilder {
        if self.enabled { builder.with(carbons::server) } else { builder }
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

impl Blocking {
    pub(crate) fn compose(
        &self,
        builder: ServerBuilder,
        database: Option<&Database>,
        rosters: Arc<dyn RosterStore>,
    ) -> ServerBuilder {
        if !self.enabled {
            return builder;
        }
        let store: Arc<dyn BlockingStore> = match database {
            Some(database) => Arc::new(database.blocking()),
            None => Arc::new(MemoryBlocking::new()),
        };
        let mut lists = Lists::new(store).entries(self.entries).subscribers(rosters);
        if self.reports {
            lists = lists.on_report(log);
        }
        builder.with(lists.server())
    }
}

/// A report goes to the log, for whoever runs the server.
fn log(reported: Reported) {
    let Reported { reporter, reported, report, .. } = reported;
    let messages: Vec<&str> = report.messages.iter().map(|message| message.id.as_str()).collect();
    let text = report.texts.first().map(String::as_str).unwrap_or_default();
    tracing::warn!(%reporter, %reported, reason = ?report.reason, ?text, ?messages, "an address was reported");
}

//! What of archives can be configured.

use crate::Outcome;
use serde::Deserialize;
use std::{sync::Arc, time::Duration};
use xmpp_core::{
    payload::{TextValue, archive::ArchiveDefault},
    server::ServerBuilder,
};
use xmpp_im::{
    archive::{self, ArchiveSettings, ArchiveStore, MemoryArchive},
    roster::RosterStore,
};
use xmpp_sql::Database;

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Archive {
    enabled: bool,
    default: String,
    keep_days: u32,
    keep_messages: u64,
    page: usize,
    max_page: usize,
    storage: Storage,
    commit_together: usize,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Storage {
    Database,
    Memory,
}

impl Default for Archive {
    fn default() -> Archive {
        let settings = ArchiveSettings::default();
        Archive {
            enabled: true,
            default: settings.default.to_text().into_owned(),
            keep_days: 365,
            keep_messages: 100_000,
            page: settings.page,
            max_page: settings.max_page,
            storage: Storage::Database,
            commit_together: 512,
        }
    }
}

impl Archive {
    /// As the archive takes them.
    fn settings(&self) -> Outcome<ArchiveSettings> {
        let default = match ArchiveDefault::from_text(&self.default) {
            Ok(default) => default,
            Err(_) => return Err(format!("archive.default is always, never or roster, not {:?}", self.default).into()),
        };
        Ok(ArchiveSettings {
            default,
            page: self.page,
            max_page: self.max_page,
            keep: self.keep(),
            keep_messages: (self.keep_messages > 0).then_some(self.keep_messages),
            ..ArchiveSettings::default()
        })
    }

    /// How long messages are kept, of accounts and of rooms.
    pub(crate) fn keep(&self) -> Option<Duration> {
        let day = Duration::from_secs(24 * 60 * 60);
        (self.keep_days > 0).then(|| day * self.keep_days)
    }

    pub(crate) fn check(&self) -> Outcome<()> {
        self.settings()?;
        if self.page == 0 || self.max_page < self.page {
            return Err("archive.page must be more than 0, and archive.max_page no less than that".into());
        }
        if self.max_page > 5_000 {
            return Err("archive.max_page must be at most 5000".into());
        }
        if self.commit_together == 0 {
            return Err("archive.commit_together must be more than 0".into());
        }
        Ok(())
    }

    /// The server with archives, if it is to have any; without a database they are in memory.
    pub(crate) fn compose(
        &self,
        builder: ServerBuilder,
        database: Option<&Database>,
        rosters: Arc<dyn RosterStore>,
    ) -> Outcome<ServerBuilder> {
        if !self.enabled {
            return Ok(builder);
        }
        let store: Arc<dyn ArchiveStore> = match database.filter(|_| self.storage == Storage::Database) {
            Some(database) => Arc::new(database.archive_committing(self.commit_together)),
            None => Arc::new(MemoryArchive::default()),
        };
        let settings = ArchiveSettings { contacts: Some(archive::in_roster(rosters)), ..self.settings()? };
        Ok(builder.with(archive::server(store, settings)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn settings_are_checked_and_zero_keeps_everything() {
        let archive: Archive = toml::from_str("keep_days = 0\nkeep_messages = 0\ndefault = 'never'").unwrap();
        archive.check().unwrap();
        let settings = archive.settings().unwrap();
        assert_eq!((settings.keep, settings.keep_messages, settings.default), (None, None, ArchiveDefault::Never));
        let usual = Archive::default().settings().unwrap();
        assert_eq!(usual.keep, Some(Duration::from_secs(365 * 24 * 60 * 60)));
        for wrong in ["default = 'sometimes'", "page = 0", "max_page = 49", "max_page = 5001", "commit_together = 0"] {
            assert!(toml::from_str::<Archive>(wrong).unwrap().check().is_err(), "{wrong}");
        }
        assert!(toml::from_str::<Archive>("storage = 'paper'").is_err());
    }
}

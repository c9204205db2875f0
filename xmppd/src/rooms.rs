//! What of rooms can be configured.

use crate::Outcome;
use serde::Deserialize;
use std::{sync::Arc, time::Duration};
use xmpp_core::{jid::BareJid, server::ServerBuilder};
use xmpp_im::archive::{ArchiveSettings, ArchiveStore, MemoryArchive};
use xmpp_muc::{
    MemoryRooms, RoomStore,
    service::{Muc, MucSettings},
};
use xmpp_sql::Database;

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Rooms {
    enabled: bool,
    domain: Option<String>,
    name: String,
    create: Create,
    rooms: usize,
    rooms_of_user: usize,
    persistent_rooms_of_user: u64,
    configure_seconds: u64,
    searches: usize,
    occupants: usize,
    shown_bytes: usize,
    message_burst: u32,
    messages_per_second: f64,
    presence_burst: u32,
    presence_seconds: f64,
    persistent: bool,
    archived: bool,
    keep_messages: u64,
    look_alikes: bool,
}

/// Who may make rooms.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Create {
    Anyone,
    Local,
    Admins,
}

impl Default for Rooms {
    fn default() -> Rooms {
        let settings = MucSettings::default();
        Rooms {
            enabled: true,
            domain: None,
            name: settings.name,
            create: Create::Local,
            rooms: settings.rooms,
            rooms_of_user: settings.rooms_of_user,
            persistent_rooms_of_user: settings.persistent_rooms_of_user,
            configure_seconds: settings.unconfigured.as_secs(),
            searches: settings.searches,
            occupants: settings.limits.occupants,
            shown_bytes: settings.limits.shown_bytes,
            message_burst: settings.limits.message_burst,
            messages_per_second: 5.0,
            presence_burst: settings.limits.presence_burst,
            presence_seconds: settings.limits.presence_every.as_secs_f64(),
            persistent: settings.config.persistent,
            archived: settings.config.archived,
            keep_messages: 100_000,
            look_alikes: settings.limits.look_alikes,
        }
    }
}

impl Rooms {
    /// The domain of the rooms, if there are any: of the server's first domain unless another is given.
    pub(crate) fn domain(&self, domains: &[&str]) -> Option<String> {
        let first = domains.first().copied().unwrap_or("localhost");
        self.enabled.then(|| self.domain.clone().unwrap_or_else(|| format!("rooms.{first}")))
    }

    pub(crate) fn check(&self, domains: &[&str]) -> Outcome<()> {
        if let Some(domain) = self.domain(domains)
            && !BareJid::new(&domain).is_ok_and(|jid| jid.local().is_none())
        {
            return Err(format!("rooms.domain: {domain:?} is no domain").into());
        }
        if self.configure_seconds == 0 {
            return Err("rooms.configure_seconds: nobody configures a room in no time".into());
        }
        let rates = [("messages_per_second", self.messages_per_second), ("presence_seconds", self.presence_seconds)];
        for (name, rate) in rates {
            if rate != 0.0 && !(0.001..=86_400.0).contains(&rate) {
                return Err(format!("rooms.{name}: neither 0 nor from 0.001 to 86400").into());
            }
        }
        if self.presence_burst < 3 || self.message_burst == 0 {
            return Err("rooms: nobody can enter, or say anything, without as much at once".into());
        }
        Ok(())
    }

    fn archive(&self, keep: Option<Duration>) -> ArchiveSettings {
        let keep_messages = (self.keep_messages > 0).then_some(self.keep_messages);
        ArchiveSettings { keep, keep_messages, ..ArchiveSettings::default() }
    }

    pub(crate) fn compose(
        &self,
        builder: ServerBuilder,
        domains: &[&str],
        admins: &[String],
        database: Option<&Database>,
        keep: Option<Duration>,
    ) -> ServerBuilder {
        let Some(domain) = self.domain(domains) else { return builder };
        let archive: Arc<dyn ArchiveStore> = match database {
            Some(database) => Arc::new(database.archive()),
            None => Arc::new(MemoryArchive::default()),
        };
        let rooms: Arc<dyn RoomStore> = match database {
            Some(database) => Arc::new(database.rooms()),
            None => Arc::new(MemoryRooms::new()),
        };
        builder.with(Muc::new(domain, rooms).archive(archive).settings(self.settings(domains, admins, keep)))
    }

    fn settings(&self, domains: &[&str], admins: &[String], keep: Option<Duration>) -> MucSettings {
        let mut settings = MucSettings::default();
        settings.name.clone_from(&self.name);
        settings.rooms = self.rooms;
        settings.rooms_of_user = self.rooms_of_user;
        settings.persistent_rooms_of_user = self.persistent_rooms_of_user;
        settings.unconfigured = Duration::from_secs(self.configure_seconds);
        settings.searches = self.searches;
        settings.limits.occupants = self.occupants;
        settings.limits.shown_bytes = self.shown_bytes;
        settings.limits.message_burst = self.message_burst;
        settings.limits.message_every = every(self.messages_per_second.recip());
        settings.limits.presence_burst = self.presence_burst;
        settings.limits.presence_every = every(self.presence_seconds);
        settings.limits.look_alikes = self.look_alikes;
        settings.config.persistent = self.persistent;
        settings.config.archived = self.archived;
        settings.archive = self.archive(keep);
        settings.may_create = match self.create {
            Create::Anyone => None,
            Create::Local => {
                let domains: Vec<String> = domains.iter().map(|&domain| domain.to_owned()).collect();
                Some(Arc::new(move |jid| domains.iter().any(|domain| domain == jid.domain())))
            }
            Create::Admins => {
                let admins = admins.to_vec();
                Some(Arc::new(move |jid| admins.iter().any(|admin| admin == jid.bare_str())))
            }
        };
        settings
    }
}

/// A time, or none where there is no limit.
fn every(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn archives_of_rooms_are_bounded_unless_that_is_not_wanted() {
        let keep = |text: &str| {
            let rooms: Rooms = toml::from_str(text).unwrap();
            rooms.archive(None).keep_messages
        };
        assert_eq!((keep(""), keep("keep_messages = 7"), keep("keep_messages = 0")), (Some(100_000), Some(7), None));
        let age = Some(Duration::from_secs(60));
        assert_eq!(Rooms::default().archive(age).keep, age);
    }
    #[test]
    fn what_is_said_of_rooms_is_what_they_are_set_to() {
        let read = |text: &str| toml::from_str::<Rooms>(text).unwrap().settings(&["localhost"], &[], None);
        let settings = read("persistent_rooms_of_user = 3\nconfigure_seconds = 20\nsearches = 0\nrooms_of_user = 5");
        assert_eq!((settings.persistent_rooms_of_user, settings.rooms_of_user, settings.searches), (3, 5, 0));
        assert_eq!(settings.unconfigured, Duration::from_secs(20));
        let (usual, own) = (read(""), MucSettings::default());
        assert_eq!(
            (usual.persistent_rooms_of_user, usual.unconfigured, usual.searches),
            (own.persistent_rooms_of_user, own.unconfigured, own.searches)
        );
        assert!(toml::from_str::<Rooms>("configure_seconds = 0").unwrap().check(&["localhost"]).is_err());
        assert!(Rooms::default().check(&["localhost"]).is_ok());
        let pace = read("message_burst = 7\nmessages_per_second = 2\npresence_burst = 9\npresence_seconds = 0.5");
        assert_eq!((pace.limits.message_burst, pace.limits.message_every), (7, Duration::from_millis(500)));
        assert_eq!((pace.limits.presence_burst, pace.limits.presence_every), (9, Duration::from_millis(500)));
        let free = read("messages_per_second = 0\npresence_seconds = 0").limits;
        assert_eq!((free.message_every, free.presence_every), (Duration::ZERO, Duration::ZERO));
        let (usual, own) = (usual.limits, own.limits);
        assert_eq!((usual.message_burst, usual.message_every), (own.message_burst, own.message_every));
        assert_eq!((usual.presence_burst, usual.presence_every), (own.presence_burst, own.presence_every));
        assert_eq!((usual.shown_bytes, read("shown_bytes = 9").limits.shown_bytes), (own.shown_bytes, 9));
        for bad in ["messages_per_second = -1", "presence_seconds = 1e9", "message_burst = 0", "presence_burst = 2"] {
            assert!(toml::from_str::<Rooms>(bad).unwrap().check(&["localhost"]).is_err(), "{bad}");
        }
    }
}

//! What of rooms can be configured.

use crate::Outcome;
use serde::Deserialize;
use std::sync::Arc;
use xmpp_core::{jid::BareJid, server::ServerBuilder};
use xmpp_im::archive::{ArchiveStore, MemoryArchive};
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
    occupants: usize,
    persistent: bool,
    archived: bool,
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
            occupants: settings.limits.occupants,
            persistent: settings.config.persistent,
            archived: settings.config.archived,
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
        Ok(())
    }

    pub(crate) fn compose(
        &self,
        builder: ServerBuilder,
        domains: &[&str],
        admins: &[String],
        database: Option<&Database>,
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
        let mut settings = MucSettings::default();
        settings.name.clone_from(&self.name);
        settings.rooms = self.rooms;
        settings.rooms_of_user = self.rooms_of_user;
        settings.limits.occupants = self.occupants;
        settings.config.persistent = self.persistent;
        settings.config.archived = self.archived;
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
        builder.with(Muc::new(domain, rooms).archive(archive).settings(settings))
    }
}

//! What there is: services, rooms, and what can be known of a room before it is entered (§6).

use super::{Muc, occupant::within};
use crate::NS;
use xmpp_core::{
    client::{Client, RequestError},
    jid::{BareJid, Jid},
    payload::{
        disco::{DiscoInfo, DiscoInfoQuery, DiscoItems, DiscoItemsQuery},
        form::DataForm,
        rsm::ResultSet,
    },
    stanza::{Condition, Iq},
};

/// The type of the form with what is to be known of a room.
const ROOM_INFO: &str = "http://jabber.org/protocol/muc#roominfo";
/// Items of a server that are asked whether they are services of rooms.
const SERVICES: usize = 32;
/// Rooms of a service that are listed, at most, and on a page.
const ROOMS: (usize, u32) = (100_000, 100);

/// Occupants of a room that are listed, at most.
const OCCUPANTS: usize = 10_000;

/// What a room says of itself (§6.4).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RoomInfo {
    /// The room.
    pub jid: BareJid,
    /// Its name for people.
    pub name: Option<String>,
    /// What it can do, and how it is.
    pub features: Vec<String>,
    /// More about it (§15.5.4).
    pub details: Option<DataForm>,
}

impl RoomInfo {
    /// Whether this is among its features: `muc_passwordprotected`, `muc_membersonly`, `muc_moderated`, `muc_nonanonymous`,
    /// `muc_persistent`, `muc_hidden` and so on (§15.3).
    pub fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|one| one == feature)
    }
    /// What it is about.
    pub fn description(&self) -> Option<&str> {
        self.detail("muc#roominfo_description")
    }
    /// Its subject.
    pub fn subject(&self) -> Option<&str> {
        self.detail("muc#roominfo_subject")
    }
    /// How many are in it.
    pub fn occupants(&self) -> Option<u32> {
        self.detail("muc#roominfo_occupants")?.parse().ok()
    }
    /// The hashes of its photo, one for each format (XEP-0486); none if it has no photo.
    pub fn avatar_hashes(&self) -> &[String] {
        self.details.as_ref().map(|form| form.values("muc#roominfo_avatarhash")).unwrap_or_default()
    }
    /// By which the list of its hats is known to be the same (XEP-0317 §3).
    pub fn hats_hash(&self) -> Option<&str> {
        self.detail("hats#hash")
    }
    fn detail(&self, var: &str) -> Option<&str> {
        self.details.as_ref()?.value(var).filter(|value| !value.is_empty())
    }
}

/// The most bytes of addresses and names that are listed, and of a name.
const LIST: usize = 16 << 20;
const NAME: usize = 1_024;

fn name(name: String) -> String {
    if name.len() <= NAME { name } else { within(&name, NAME).to_owned() }
}

/// A room in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedRoom {
    /// Its address.
    pub jid: BareJid,
    /// Its name for people, at most 1,024 bytes of it.
    pub name: Option<String>,
}

impl Muc {
    /// What a room says of itself, whether we are in it or not.
    ///
    /// # Errors
    /// `item-not-found` where there is none.
    pub async fn info(&self, room: &BareJid) -> Result<RoomInfo, RequestError> {
        let info: DiscoInfo = self.client.query(Iq::get(room.clone()).payload(&DiscoInfoQuery::default())).await?;
        let name = info.identities.iter().find(|it| it.category == "conference").and_then(|it| it.name.clone());
        let features = info.features.into_iter().map(|feature| feature.var).collect();
        let details = info.forms.into_iter().find(|form| form.value("FORM_TYPE") == Some(ROOM_INFO));
        Ok(RoomInfo { jid: room.clone(), name, features, details })
    }

    /// The nicknames of those who are in a room, as far as that is told to who is not (§6.5): seldom. 10,000 at most.
    ///
    /// # Errors
    /// Those of [`Client::query`].
    pub async fn occupants_of(&self, room: &BareJid) -> Result<Vec<String>, RequestError> {
        let mut nicks = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let rsm = after.is_some().then(|| ResultSet { after: after.clone(), ..ResultSet::default() });
            let query = DiscoItemsQuery { rsm, ..DiscoItemsQuery::default() };
            let page: DiscoItems = self.client.query(Iq::get(room.clone()).payload(&query)).await?;
            let here = page.items.iter().filter(|item| item.jid.bare_str() == room.as_str());
            let before = nicks.len();
            nicks.extend(here.filter_map(|item| item.jid.resource().map(str::to_owned)));
            let last = page.rsm.and_then(|rsm| rsm.last).filter(|last| Some(last) != after.as_ref());
            if last.is_none() || nicks.len() == before || nicks.len() >= OCCUPANTS {
                nicks.truncate(OCCUPANTS);
                return Ok(nicks);
            }
            after = last;
        }
    }

    /// The nickname that is reserved for us in a room (§7.12).
    ///
    /// # Errors
    /// Those of [`Client::query`].
    pub async fn reserved_nick(&self, room: &BareJid) -> Result<Option<String>, RequestError> {
        let query = DiscoInfoQuery { node: Some("x-roomuser-item".to_owned()), ..DiscoInfoQuery::default() };
        match self.client.query::<DiscoInfo>(Iq::get(room.clone()).payload(&query)).await {
            Ok(info) => {
                let own = info.identities.into_iter().find(|it| it.category == "conference");
                Ok(own.and_then(|identity| identity.name).filter(|name| !name.is_empty()))
            }
            Err(RequestError::Refused(error))
                if matches!(error.condition, Condition::ItemNotFound | Condition::FeatureNotImplemented) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The services of rooms that our server names (§6.1).
    ///
    /// # Errors
    /// Those of [`Client::query`].
    pub async fn services(&self) -> Result<Vec<Jid>, RequestError> {
        let Ok(server) = Jid::from_parts(None, self.client.account().domain(), None) else { return Ok(Vec::new()) };
        let items: DiscoItems = self.client.query(Iq::get(server).payload(&DiscoItemsQuery::default())).await?;
        let mut services = Vec::new();
        for item in items.items.into_iter().filter(|item| item.node.is_none()).take(SERVICES) {
            let query = Iq::get(item.jid.clone()).payload(&DiscoInfoQuery::default());
            // Whoever does not answer is none.
            let Ok(info) = self.client.query::<DiscoInfo>(query).await else { continue };
            if info.features.iter().any(|feature| feature.var == NS) {
                services.push(item.jid);
            }
        }
        Ok(services)
    }

    /// The rooms of a service (§6.3), page by page where there are many (XEP-0059).
    pub fn rooms(&self, service: impl Into<Jid>) -> RoomList {
        let page = Some(ResultSet::first_page(ROOMS.1));
        RoomList { client: self.client.clone(), service: service.into(), page, listed: 0, bytes: 0 }
    }
}

/// The rooms of a service.
#[derive(Debug)]
pub struct RoomList {
    client: Client,
    service: Jid,
    page: Option<ResultSet>,
    listed: usize,
    bytes: usize,
}

impl RoomList {
    /// So many rooms a page, 100 unless set. Services may send fewer, or all at once.
    #[must_use]
    pub fn page(mut self, rooms: u32) -> Self {
        self.page = self.page.map(|page| ResultSet { max: Some(rooms.clamp(1, 1_000)), ..page });
        self
    }

    /// The next page; `None` at the end. Cancel-safe: a page that was dropped is asked for again.
    ///
    /// # Errors
    /// Those of [`Client::query`]; calling it once more asks again.
    pub async fn next(&mut self) -> Option<Result<Vec<ListedRoom>, RequestError>> {
        let page = self.page.clone()?;
        let query = DiscoItemsQuery { rsm: Some(page.clone()), ..DiscoItemsQuery::default() };
        let items = match self.client.query::<DiscoItems>(Iq::get(self.service.clone()).payload(&query)).await {
            Ok(items) => items,
            Err(error) => return Some(Err(error)),
        };
        let rooms = items.items.into_iter().filter(|item| item.jid.domain() == self.service.domain());
        let rooms: Vec<_> =
            rooms.map(|item| ListedRoom { jid: item.jid.to_bare(), name: item.name.map(name) }).collect();
        let bytes = |room: &ListedRoom| room.jid.as_str().len() + room.name.as_ref().map_or(0, String::len);
        self.bytes = self.bytes.saturating_add(rooms.iter().map(bytes).sum());
        self.listed = self.listed.saturating_add(rooms.len());
        let last = items.rsm.and_then(|rsm| rsm.last);
        let goes_on = !rooms.is_empty() && self.listed < ROOMS.0 && self.bytes < LIST && last != page.after;
        self.page = last.filter(|_| goes_on).map(|last| ResultSet { after: Some(last), ..page });
        (!rooms.is_empty()).then_some(Ok(rooms))
    }

    /// All that there are, 100,000 at most, or 16 MiB of addresses and names.
    ///
    /// # Errors
    /// Those of [`Client::query`].
    pub async fn all(mut self) -> Result<Vec<ListedRoom>, RequestError> {
        let mut all = Vec::new();
        while let Some(page) = self.next().await {
            all.extend(page?);
        }
        Ok(all)
    }
}

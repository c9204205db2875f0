//! Searching for rooms (XEP-0433), at services of rooms or at services that know rooms everywhere.

use super::{Muc, Part};
use crate::{
    config::Whois,
    payload::{ChannelItem, ChannelResult, ChannelSearch, RateLimit, channel_search},
};
use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use xmpp_core::{
    client::{Client, RequestError},
    jid::{BareJid, Jid},
    payload::{
        Payload,
        form::{DataForm, Field, FieldType, FormKind},
        rsm::ResultSet,
    },
    stanza::{Condition, Iq, StanzaError},
};

/// Pages of a search, at most.
const PAGES: u32 = 1_000;
/// Services that are remembered because they do not want to be asked.
const WAITS: usize = 64;
/// How long a service is left alone that does not say for how long; and how long at most.
const PAUSE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));

/// A room that was found. What is missing was not said.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundRoom {
    /// Its address.
    pub jid: BareJid,
    /// Its name for people.
    pub name: Option<String>,
    /// What it is about.
    pub description: Option<String>,
    /// The language that is spoken in it (BCP 47).
    pub language: Option<String>,
    /// How many are in it, or were not long ago.
    pub occupants: Option<u64>,
    /// Whether everybody may come in.
    pub is_open: Option<bool>,
    /// Who sees addresses of occupants. What is not known is taken as everybody.
    pub whois: Option<Whois>,
}

impl FoundRoom {
    /// What is no room, or at no address, is passed over.
    fn read(item: ChannelItem) -> Option<FoundRoom> {
        if item.service_type.as_deref().is_some_and(|kind| kind != channel_search::ROOMS) {
            return None;
        }
        Some(FoundRoom {
            jid: BareJid::new(&item.address).ok().filter(|jid| jid.local().is_some())?,
            name: item.name,
            description: item.description,
            language: item.language,
            occupants: item.users.and_then(|users| users.trim().parse().ok()),
            is_open: item.is_open.map(|is| !matches!(is.text.trim(), "false" | "0")),
            whois: item.anonymity.map(|mode| match mode.trim() {
                channel_search::SEMI_ANONYMOUS => Whois::Moderators,
                _ => Whois::Anyone,
            }),
        })
    }
}

/// The order in which rooms are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SearchOrder {
    /// Those with the most occupants first. What happens between two pages may bring a room twice, or not at all.
    #[default]
    Occupants,
    /// By address: each room once.
    Address,
}

/// Why nothing was found out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError {
    /// The service does not know this order.
    #[error("the service does not know this order")]
    Order,
    /// The service cannot search for these words; what it would like, perhaps.
    #[error("the service cannot search for this{}", .0.as_deref().map(|text| format!(": {text}")).unwrap_or_default())]
    Words(Option<String>),
    /// The service does not tell all that it knows.
    #[error("the service does not list all rooms")]
    NotAll,
    /// The service is not to be asked again before this time has passed; nor is it.
    #[error("the service wants to be left alone for {} seconds", .0.as_secs())]
    Wait(Duration),
    /// The service refused, or could not be asked.
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl Muc {
    /// Searches for rooms at a service that [announces](channel_search::NS) it: rooms in which all of these words are, in
    /// the name, the description or the address. Without words all rooms are wanted.
    ///
    /// ```no_run
    /// # async fn run(client: xmpp_core::client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use xmpp_core::jid::Jid;
    /// use xmpp_muc::client::MucClient;
    /// let service: Jid = "rooms.example.org".parse()?;
    /// let mut search = client.muc()?.search(service, "rust async").least_occupants(2);
    /// while let Some(rooms) = search.next().await {
    ///     for room in rooms? {
    ///         println!("{} {}", room.jid, room.name.unwrap_or_default());
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// The service learns the words.
    pub fn search(&self, service: impl Into<Jid>, words: impl Into<String>) -> RoomSearch {
        RoomSearch {
            client: self.client.clone(),
            part: Arc::clone(&self.part),
            service: service.into(),
            words: words.into(),
            order: SearchOrder::default(),
            least: None,
            parts: [true; 3],
            page: Some(ResultSet::first_page(50)),
            pages: 0,
        }
    }
}

/// A search for rooms, page by page.
#[derive(Debug)]
pub struct RoomSearch {
    client: Client,
    part: Arc<Part>,
    service: Jid,
    words: String,
    order: SearchOrder,
    least: Option<u32>,
    /// Name, description, address.
    parts: [bool; 3],
    page: Option<ResultSet>,
    pages: u32,
}

impl RoomSearch {
    /// In this order.
    #[must_use]
    pub fn order(mut self, order: SearchOrder) -> Self {
        self.order = order;
        self
    }
    /// Looks for the words in these parts of rooms only.
    #[must_use]
    pub fn within(mut self, name: bool, description: bool, address: bool) -> Self {
        self.parts = [name, description, address];
        self
    }
    /// Only rooms with so many occupants, where the service knows of that.
    #[must_use]
    pub fn least_occupants(mut self, occupants: u32) -> Self {
        self.least = Some(occupants);
        self
    }
    /// So many rooms a page, 50 unless set. Services may send fewer.
    #[must_use]
    pub fn page(mut self, rooms: u32) -> Self {
        self.page = self.page.map(|page| ResultSet { max: Some(rooms.clamp(1, 1_000)), ..page });
        self
    }

    fn form(&self) -> DataForm {
        let flag = |var: &str, is: bool| Field::new(var).typed(FieldType::Boolean).typed_value(&is);
        let order = match self.order {
            SearchOrder::Occupants => channel_search::BY_USERS,
            SearchOrder::Address => channel_search::BY_ADDRESS,
        };
        let mut form = DataForm::typed(FormKind::Submit, channel_search::PARAMS);
        form = match self.words.trim() {
            "" => form.with(flag("all", true)),
            words => {
                let [name, description, address] = self.parts;
                form.with(Field::new("q").typed(FieldType::TextSingle).value(words))
                    .with(flag("sinname", name))
                    .with(flag("sindescription", description))
                    .with(flag("sinaddr", address))
            }
        };
        if let Some(least) = self.least {
            form = form.with(Field::new("min_users").typed(FieldType::TextSingle).value(least.to_string()));
        }
        form.with(Field::new("types").typed(FieldType::ListMulti).value(channel_search::ROOMS))
            .with(Field::new("key").typed(FieldType::ListSingle).value(order))
    }

    /// The next page, which may have nothing on it that is a room; `None` at the end. Cancel-safe: a page that was dropped is
    /// asked for again.
    ///
    /// # Errors
    /// Those of [`SearchError`]; calling it once more asks again.
    pub async fn next(&mut self) -> Option<Result<Vec<FoundRoom>, SearchError>> {
        let page = self.page.clone()?;
        if let Some(wait) = self.part.must_wait(&self.service) {
            return Some(Err(SearchError::Wait(wait)));
        }
        let search = ChannelSearch { rsm: Some(page.clone()), form: Some(self.form()) };
        let result = match self.client.query::<ChannelResult>(Iq::get(self.service.clone()).payload(&search)).await {
            Ok(result) => result,
            Err(error) => return Some(Err(self.refused(error))),
        };
        self.pages += 1;
        let last = result.rsm.and_then(|rsm| rsm.last);
        let goes_on = !result.items.is_empty() && self.pages < PAGES && last != page.after;
        self.page = last.filter(|_| goes_on).map(|last| ResultSet { after: Some(last), ..page });
        let is_end = result.items.is_empty();
        let rooms: Vec<FoundRoom> = result.items.into_iter().filter_map(FoundRoom::read).collect();
        (!is_end).then_some(Ok(rooms))
    }

    /// All that there are, of 1,000 pages at most.
    ///
    /// # Errors
    /// Those of [`SearchError`].
    pub async fn all(mut self) -> Result<Vec<FoundRoom>, SearchError> {
        let mut all = Vec::new();
        while let Some(page) = self.next().await {
            all.extend(page?);
        }
        Ok(all)
    }

    fn refused(&self, error: RequestError) -> SearchError {
        let RequestError::Refused(refusal) = &error else { return error.into() };
        let says = |name| refusal.has_application(name, channel_search::ERROR);
        if says("rate-limit") {
            let wait = retry_after(refusal).unwrap_or(PAUSE.0).min(PAUSE.1);
            self.part.wait(&self.service, wait);
            return SearchError::Wait(wait);
        }
        match refusal.condition {
            Condition::FeatureNotImplemented if says("invalid-sort-key") => SearchError::Order,
            Condition::BadRequest if says("invalid-search-terms") || says("conflicting-fields") => {
                SearchError::Words(refusal.text.as_deref().map(str::to_owned))
            }
            _ if says("full-set-retrieval-rejected") => SearchError::NotAll,
            _ => SearchError::Request(error),
        }
    }
}

fn retry_after(error: &StanzaError) -> Option<Duration> {
    let limit = RateLimit::read(error.application.as_ref()?.root()).ok()?;
    limit.retry_after.map(|seconds| Duration::from_secs(seconds.into()))
}

impl Part {
    /// How long a service is still not to be asked.
    fn must_wait(&self, service: &Jid) -> Option<Duration> {
        let mut searched = self.searched.lock().unwrap_or_else(PoisonError::into_inner);
        let until = *searched.get(service)?;
        let wait = until.saturating_duration_since(Instant::now());
        if wait.is_zero() {
            searched.remove(service);
            return None;
        }
        Some(wait)
    }

    fn wait(&self, service: &Jid, time: Duration) {
        let now = Instant::now();
        let mut searched = self.searched.lock().unwrap_or_else(PoisonError::into_inner);
        searched.retain(|_, until| *until > now);
        if searched.len() >= WAITS
            && let Some(soonest) = searched.iter().min_by_key(|(_, until)| **until).map(|(jid, _)| jid.clone())
        {
            searched.remove(&soonest);
        }
        searched.insert(service.clone(), now + time);
    }
}

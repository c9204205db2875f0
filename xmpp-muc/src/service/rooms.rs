//! The rooms of a service: found or loaded, one thing at a time in each, stored before it is told.

use super::{Log, Muc, MucSettings, outlet::Outlet};
use crate::{
    NS,
    room::{Change, Effects, Incoming, Kept, Plan, Room, RoomLimits, RoomRecord},
    store::RoomStore,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::SystemTime,
};
use tokio::sync::{Mutex as Turn, MutexGuard as InTurn};
use xmpp_core::{
    extension::Reply,
    jid::{BareJid, Jid},
    payload::{DateTime, Payload, ping::Ping},
    server::Verdict,
    stanza::{StanzaError, StanzaKind, generate_id},
    xml::Stanza,
};
use xmpp_im::archive::{ArchiveStore, NewEntry, Selection};

/// Something that was said in a room.
#[derive(Clone, Debug)]
pub struct Said {
    /// The room.
    pub room: BareJid,
    /// The client that said it.
    pub sender: Jid,
    /// The message as occupants see it.
    pub stanza: Stanza,
    /// When it was said.
    pub at: DateTime,
    /// The room's id for it.
    pub id: Option<String>,
}

/// A room's place: whatever happens in the room happens while its lock is held, in the order of asking for it.
#[derive(Default)]
struct Seat {
    room: Turn<Occupied>,
    /// The name of the room that is there, and whether it is listed: what the list of rooms needs without waiting.
    shown: Mutex<Option<(String, bool)>>,
}

impl Seat {
    fn shown(&self) -> MutexGuard<'_, Option<(String, bool)>> {
        self.shown.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Notes what the list of rooms says of a room.
    fn show(&self, room: Option<&Room>) {
        let mut shown = self.shown();
        match (room, &mut *shown) {
            (None, shown) => *shown = None,
            (Some(room), Some((name, listed))) if room.config().name == *name => *listed = is_listed(room),
            (Some(room), shown) => *shown = Some((room.config().name.clone(), is_listed(room))),
        }
    }
}

fn is_listed(room: &Room) -> bool {
    room.config().public && !room.is_locked()
}

/// What is in a place.
#[derive(Default)]
enum Occupied {
    /// The store has not been asked yet.
    #[default]
    Unknown,
    /// There is no such room.
    Nothing,
    /// The room.
    Room(Box<Room>),
}

pub(super) struct Rooms {
    pub(super) domain: String,
    pub(super) store: Arc<dyn RoomStore>,
    pub(super) archive: Option<Arc<dyn ArchiveStore>>,
    pub(super) settings: MucSettings,
    limits: Arc<RoomLimits>,
    outlet: Outlet,
    log: Option<Log>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    seats: HashMap<BareJid, Arc<Seat>>,
    /// Who has made rooms that are there, and how many.
    made: HashMap<BareJid, usize>,
    makers: HashMap<BareJid, BareJid>,
}

/// A room while it is its turn.
pub(super) struct Visit<'a> {
    occupied: InTurn<'a, Occupied>,
}

impl Visit<'_> {
    /// The room.
    ///
    /// # Errors
    /// `item-not-found` if there is none.
    pub(super) fn room(&mut self) -> Result<&mut Room, StanzaError> {
        match &mut *self.occupied {
            Occupied::Room(room) => Ok(room),
            _ => Err(StanzaError::item_not_found().with_text("there is no such room")),
        }
    }
}

pub(super) fn now() -> DateTime {
    DateTime::from(SystemTime::now())
}

impl Rooms {
    pub(super) fn new(muc: Muc, outlet: Outlet) -> Arc<Rooms> {
        let Muc { domain, store, archive, settings, log } = muc;
        let limits = Arc::new(settings.limits.clone());
        Arc::new(Rooms { domain, store, archive, settings, limits, outlet, log, table: Mutex::default() })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The rooms that are in memory: their names, and whether they are listed.
    pub(super) fn resident(&self) -> Vec<(BareJid, String, bool)> {
        let table = self.table();
        let shown = |(jid, seat): (&BareJid, &Arc<Seat>)| {
            let (name, listed) = seat.shown().clone()?;
            Some((jid.clone(), name, listed))
        };
        table.seats.iter().filter_map(shown).collect()
    }

    /// Does something in a room, when it is its turn; `f` gets the room, if there is one.
    pub(super) async fn visit<T>(
        &self,
        jid: &BareJid,
        f: impl AsyncFnOnce(&mut Visit<'_>) -> Result<T, StanzaError>,
    ) -> Result<T, StanzaError> {
        let seat = {
            let mut table = self.table();
            if table.seats.len() >= self.settings.rooms && !table.seats.contains_key(jid) {
                return Err(StanzaError::resource_constraint().with_text("too many rooms are open"));
            }
            Arc::clone(table.seats.entry(jid.clone()).or_default())
        };
        let result = async {
            let mut visit = Visit { occupied: seat.room.lock().await };
            self.load(jid, &mut visit).await?;
            let result = f(&mut visit).await;
            let done = match &*visit.occupied {
                Occupied::Room(room) => room.has_ended() || room.is_empty(),
                _ => true,
            };
            if done {
                *visit.occupied = Occupied::Unknown;
            }
            seat.show(visit.room().ok().map(|room| &*room));
            result
        }
        .await;
        self.tidy(jid, seat);
        result
    }

    /// Forgets a place in which there is nothing and for which nobody waits.
    fn tidy(&self, jid: &BareJid, seat: Arc<Seat>) {
        let mut table = self.table();
        let empty = seat.room.try_lock().is_ok_and(|occupied| !matches!(*occupied, Occupied::Room(_)));
        if empty && Arc::strong_count(&seat) == 2 {
            table.seats.remove(jid);
            if let Some(maker) = table.makers.remove(jid)
                && let Some(count) = table.made.get_mut(&maker)
            {
                *count -= 1;
                if *count == 0 {
                    table.made.remove(&maker);
                }
            }
        }
    }

    async fn load(&self, jid: &BareJid, visit: &mut Visit<'_>) -> Result<(), StanzaError> {
        if !matches!(*visit.occupied, Occupied::Unknown) {
            return Ok(());
        }
        *visit.occupied = match self.store.load(jid).await? {
            None => Occupied::Nothing,
            Some(record) => {
                let mut room = Room::restore(jid.clone(), record, Arc::clone(&self.limits));
                self.recall(&mut room).await?;
                Occupied::Room(Box::new(room))
            }
        };
        Ok(())
    }

    /// The history of a room that was not in memory, from its archive.
    async fn recall(&self, room: &mut Room) -> Result<(), StanzaError> {
        let Some(archive) = self.archive.as_ref().filter(|_| room.config().archived) else { return Ok(()) };
        let most = usize::try_from(room.config().history).unwrap_or(usize::MAX).min(self.limits.history);
        let selection =
            Selection { last: true, max: most, max_bytes: self.limits.history_bytes, ..Selection::default() };
        let jid = room.jid().clone();
        let page = archive.query(&jid, &selection).await?.unwrap_or_default();
        for entry in &page.entries {
            if let Some(stanza) = entry.stanza() {
                room.recall(&stanza, entry.id.time(), entry.id.to_string());
            }
        }
        Ok(())
    }

    /// Presence and messages to rooms and occupants, and iqs to occupants.
    pub(super) async fn receive(
        &self,
        kind: StanzaKind,
        from: Jid,
        to: Jid,
        stanza: Stanza,
    ) -> Result<Verdict, StanzaError> {
        let jid = to.to_bare();
        if kind == StanzaKind::Presence
            && stanza.root().attr("type").is_none()
            && stanza.root().child("x", NS).is_some()
        {
            self.may_exist(&jid)?;
        }
        self.visit(&jid, async |visit| {
            let input = Incoming { from: &from, to: &to, stanza: &stanza, now: now() };
            let plan = match kind {
                StanzaKind::Presence => {
                    if matches!(*visit.occupied, Occupied::Nothing) && !self.create(visit, input)? {
                        return Ok(Verdict::Handled);
                    }
                    let room = visit.room()?;
                    // A room that is new has nobody in it but who made it.
                    if room.is_locked() && room.is_empty() { room.create(input)? } else { room.presence(input)? }
                }
                StanzaKind::Message => visit.room()?.message(input)?,
                StanzaKind::Iq if to.resource().is_none() => match visit.room() {
                    Ok(room) => room.answered(input),
                    Err(_) => return Ok(Verdict::Handled),
                },
                StanzaKind::Iq => {
                    let room = visit.room()?;
                    if let Some(answer) = self_ping(room, input) {
                        return answer.map(|()| Verdict::Reply(Reply::empty()));
                    }
                    room.forward(input)?
                }
            };
            let effects = self.carry_out(visit.room()?, plan).await?;
            self.send(&effects.first).await;
            self.send(&effects.then).await;
            Ok(Verdict::Handled)
        })
        .await
    }

    /// Whether a room could have this address (A077).
    fn may_exist(&self, jid: &BareJid) -> Result<(), StanzaError> {
        if jid.local().is_some_and(|local| local.len() > self.settings.room_name_bytes) {
            return Err(StanzaError::not_acceptable().with_text("the name of the room is too long"));
        }
        Ok(())
    }

    /// Makes a room for who enters it; whether there is one now.
    fn create(&self, visit: &mut Visit<'_>, input: Incoming<'_>) -> Result<bool, StanzaError> {
        let root = input.stanza.root();
        if root.attr("type").is_some() {
            // Nobody is there who could leave.
            return Ok(false);
        }
        if root.child("x", NS).is_none() {
            return Err(StanzaError::item_not_found().with_text("there is no such room"));
        }
        if self.settings.may_create.as_ref().is_some_and(|may| !may(input.from)) {
            return Err(StanzaError::not_allowed().with_text("you may not make rooms here"));
        }
        let (jid, maker) = (input.to.to_bare(), input.from.to_bare());
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|_| StanzaError::internal_server_error())?;
        let mut config = self.settings.config.clone();
        config.archived &= self.archive.is_some();
        let room = Room::new(jid.clone(), maker.clone(), config, key, Arc::clone(&self.limits));
        // What keeps it from coming into being is said before it is there.
        room.create(input)?;
        let mut table = self.table();
        let made = table.made.entry(maker.clone()).or_default();
        if *made >= self.settings.rooms_of_user {
            return Err(StanzaError::resource_constraint().with_text("too many rooms of yours are open"));
        }
        *made += 1;
        if let Some(before) = table.makers.insert(jid, maker)
            && let Some(count) = table.made.get_mut(&before)
        {
            *count = count.saturating_sub(1);
        }
        drop(table);
        *visit.occupied = Occupied::Room(Box::new(room));
        Ok(true)
    }

    /// Stores what a plan keeps, archives what it says, and then carries it out.
    pub(super) async fn carry_out(&self, room: &mut Room, mut plan: Plan) -> Result<Effects, StanzaError> {
        self.keep(room, &plan.kept).await?;
        let mut said = None;
        if let Some(publication) = plan.publication() {
            if publication.lasting {
                publication.id = Some(match self.archive.as_ref().filter(|_| room.config().archived) {
                    Some(archive) => {
                        let entry = NewEntry {
                            with: publication.from.clone(),
                            text: publication.stanza.as_str().into(),
                            at: publication.at,
                        };
                        archive.append(room.jid(), entry).await?.to_string()
                    }
                    None => generate_id(),
                });
            }
            said = self.log.as_ref().map(|_| Said {
                room: room.jid().clone(),
                sender: publication.sender.clone(),
                stanza: publication.stanza.clone(),
                at: publication.at,
                id: publication.id.clone(),
            });
        }
        let ends = plan.changes.iter().any(|change| matches!(change, Change::End(ending) if !ending.shutdown));
        let effects = room.apply(plan, now());
        if let (Some(log), Some(said)) = (&self.log, said) {
            log(&said);
        }
        if (ends || (room.has_ended() && !room.config().persistent))
            && let Some(archive) = &self.archive
            && let Err(error) = archive.forget(room.jid()).await
        {
            tracing::error!(room = %room.jid(), "the archive of a room that has ended is still there: {error}");
        }
        Ok(effects)
    }

    async fn keep(&self, room: &Room, kept: &[Kept]) -> Result<(), StanzaError> {
        let config = kept.iter().find_map(|kept| match kept {
            Kept::Config(config) => Some(config),
            _ => None,
        });
        let (was, is) = (room.config().persistent && !room.is_locked(), config.unwrap_or(room.config()).persistent);
        if kept.is_empty() || !(was || is) {
            return Ok(());
        }
        if kept.iter().any(|kept| matches!(kept, Kept::Ended)) || !is {
            self.store.remove(room.jid()).await?;
        } else if was {
            self.store.change(room.jid(), kept).await?;
        } else if config.is_some() {
            let mut record: RoomRecord = room.record();
            kept.iter().for_each(|kept| record.change(kept));
            self.store.save(room.jid(), &record).await?;
        }
        Ok(())
    }

    pub(super) async fn send(&self, deliveries: &[crate::room::Delivery]) {
        self.outlet.send(deliveries).await;
    }

    pub(super) fn outlet(&self) -> Outlet {
        self.outlet.clone()
    }
}

/// A client asks whether it is still in the room (XEP-0410 §3): the room knows, and need not pass it on.
pub(super) fn self_ping(room: &Room, input: Incoming<'_>) -> Option<Result<(), StanzaError>> {
    let root = input.stanza.root();
    if root.attr("type").as_deref() != Some("get") || !root.children().any(Ping::matches) {
        return None;
    }
    match room.occupants().of_client(input.from) {
        None => Some(Err(StanzaError::not_acceptable().with_text("you are not in the room"))),
        Some((_, occupant)) if occupant.nick.jid == *input.to => Some(Ok(())),
        Some(_) => None,
    }
}

//! The rooms of a service: found or loaded, one thing at a time in each, stored before it is told.

use super::{Log, Muc, MucSettings, outlet::Outlet, shown::Shown};
use crate::{
    NS,
    payload::Join,
    room::{
        Change, Delivery, Effects, Incoming, Kept, Plan, Publication, Room, RoomLimits, RoomRecord, retracted_id,
        tombstone,
    },
    store::RoomStore,
};
use std::{
    collections::{BTreeMap, HashMap},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};
use tokio::{
    sync::{Mutex as Turn, OwnedMutexGuard as InTurn, Semaphore},
    task::AbortHandle,
    time::{sleep, timeout},
};
use xmpp_core::{
    extension::Reply,
    jid::{BareJid, Jid},
    payload::{DateTime, Payload, ping::Ping},
    server::Verdict,
    stanza::{StanzaError, StanzaKind, generate_id},
    xml::{Stanza, Writer, ns},
};
use xmpp_im::{
    StorageError,
    archive::{ArchiveId, ArchiveStore, Keeping, NewEntry, Selection},
};

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
    room: Arc<Turn<Occupied>>,
}

/// A place that is in use. However that ends, a place in which there is nothing and for which nobody waits is forgotten.
struct Held {
    rooms: Arc<Rooms>,
    jid: BareJid,
    seat: Arc<Seat>,
}

impl Drop for Held {
    fn drop(&mut self) {
        // Ours is given back while the table is locked, so that of two who leave at once the second sees itself alone.
        let seat = std::mem::take(&mut self.seat);
        let mut table = self.rooms.table();
        let empty = seat.room.try_lock().is_ok_and(|occupied| !matches!(*occupied, Occupied::Room(_)));
        if empty && Arc::strong_count(&seat) == 2 {
            table.seats.remove(&self.jid);
        }
        drop(seat);
    }
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
    Room(Box<Resident>),
}

/// A room in memory.
struct Resident {
    room: Room,
    /// Whether the store may have something else than the room: a write of it has failed, or nobody knows.
    doubtful: bool,
    /// Whether the room is no more, and what is stored of it is to go.
    gone: bool,
    /// What the list of rooms says of it.
    shown: Option<Arc<Shown>>,
    /// Ends the room if it is not configured in time.
    deadline: Option<Deadline>,
}

/// A task that ends with this.
struct Deadline(AbortHandle);

impl Drop for Deadline {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Occupied {
    fn by(room: Room) -> Occupied {
        Occupied::Room(Box::new(Resident { room, doubtful: false, gone: false, shown: None, deadline: None }))
    }
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
    keeping: Keeping,
    /// Searches that may be made at a time.
    pub(super) searching: Semaphore,
    /// The service stops.
    closing: AtomicBool,
}

#[derive(Default)]
struct Table {
    seats: HashMap<BareJid, Arc<Seat>>,
    /// What is known of the rooms that are in memory without waiting for their turn, by address.
    shown: BTreeMap<BareJid, Arc<Shown>>,
    /// Who has made rooms that are there, and how many.
    made: HashMap<BareJid, usize>,
    makers: HashMap<BareJid, BareJid>,
}

impl Table {
    /// A room is no more there, or nobody is in it.
    fn unmake(&mut self, room: &BareJid) {
        if let Some(maker) = self.makers.remove(room)
            && let Some(count) = self.made.get_mut(&maker)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.made.remove(&maker);
            }
        }
    }
}

/// A room while it is its turn, which lasts until this is dropped.
pub(super) struct Visit {
    occupied: InTurn<Occupied>,
    // Behind the lock, which is open by the time this looks.
    held: Held,
}

impl Visit {
    /// The room.
    ///
    /// # Errors
    /// `item-not-found` if there is none.
    pub(super) fn room(&mut self) -> Result<&mut Room, StanzaError> {
        self.resident().map(|resident| &mut resident.room)
    }

    fn resident(&mut self) -> Result<&mut Resident, StanzaError> {
        match &mut *self.occupied {
            Occupied::Room(resident) => Ok(resident),
            _ => Err(StanzaError::item_not_found().with_text("there is no such room")),
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if let Occupied::Room(resident) = &mut *self.occupied
            && !resident.room.has_ended()
            && !resident.room.is_empty()
        {
            if resident.shown.as_ref().is_none_or(|shown| !shown.still(&resident.room)) {
                let shown = Arc::new(Shown::of(&resident.room));
                resident.shown = Some(Arc::clone(&shown));
                self.held.rooms.table().shown.insert(self.held.jid.clone(), shown);
            }
            return;
        }
        *self.occupied = Occupied::Unknown;
        let mut table = self.held.rooms.table();
        table.shown.remove(&self.held.jid);
        table.unmake(&self.held.jid);
    }
}

/// How long a room that has ended waits for its stores to forget it.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn now() -> DateTime {
    DateTime::from(SystemTime::now())
}

impl Rooms {
    pub(super) fn new(muc: Muc, outlet: Outlet) -> Arc<Rooms> {
        let Muc { domain, store, archive, settings, log } = muc;
        let limits = Arc::new(settings.limits.clone());
        let (table, keeping, closing) = (Mutex::default(), Keeping::default(), AtomicBool::new(false));
        let searching = Semaphore::new(settings.searches.min(Semaphore::MAX_PERMITS));
        Arc::new(Rooms { domain, store, archive, settings, limits, outlet, log, table, keeping, searching, closing })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// What is known of rooms in memory, to look at.
    pub(super) fn shown<T>(&self, look: impl FnOnce(&BTreeMap<BareJid, Arc<Shown>>) -> T) -> T {
        look(&self.table().shown)
    }

    /// Places that are in use.
    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        self.table().seats.len()
    }

    /// Waits for a room's turn, and for the store if the room is not in memory. There may be no such room.
    pub(super) async fn visit(self: &Arc<Self>, jid: &BareJid) -> Result<Visit, StanzaError> {
        if self.closing.load(Ordering::Relaxed) {
            return Err(StanzaError::service_unavailable().with_text("the rooms are closing"));
        }
        let held = {
            let mut table = self.table();
            if table.seats.len() >= self.settings.rooms && !table.seats.contains_key(jid) {
                return Err(StanzaError::resource_constraint().with_text("too many rooms are open"));
            }
            let seat = Arc::clone(table.seats.entry(jid.clone()).or_default());
            Held { rooms: Arc::clone(self), jid: jid.clone(), seat }
        };
        let turn = Arc::clone(&held.seat.room);
        let mut visit = Visit { occupied: turn.lock_owned().await, held };
        if self.closing.load(Ordering::Relaxed) {
            return Err(StanzaError::service_unavailable().with_text("the rooms are closing"));
        }
        if matches!(*visit.occupied, Occupied::Unknown) {
            *visit.occupied = match self.store.load(jid).await? {
                None => Occupied::Nothing,
                Some(record) => Occupied::by(Room::restore(jid.clone(), record, Arc::clone(&self.limits))),
            };
        }
        Ok(visit)
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
        self: &Arc<Self>,
        kind: StanzaKind,
        from: Jid,
        to: Jid,
        stanza: Stanza,
    ) -> Result<Verdict, StanzaError> {
        match self.take(kind, &from, &to, &stanza).await {
            Err(error) if is_join(kind, &stanza) => {
                self.send(&[refusal(from, to, &stanza, error)]).await;
                Ok(Verdict::Handled)
            }
            other => other,
        }
    }

    async fn take(
        self: &Arc<Self>,
        kind: StanzaKind,
        from: &Jid,
        to: &Jid,
        stanza: &Stanza,
    ) -> Result<Verdict, StanzaError> {
        let jid = to.to_bare();
        let type_ = stanza.root().attr("type");
        if is_join(kind, stanza) {
            self.may_exist(&jid)?;
        }
        if type_.is_some() && kind == StanzaKind::Presence && self.closing.load(Ordering::Relaxed) {
            // Everybody has left by now.
            return Ok(Verdict::Handled);
        }
        let mut visit = self.visit(&jid).await?;
        let input = Incoming { from, to, stanza, now: now() };
        let plan = match kind {
            StanzaKind::Presence => {
                if matches!(*visit.occupied, Occupied::Nothing) && !self.create(&mut visit, input).await? {
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
        let effects = self.carry_out(&mut visit, plan).await?;
        self.send(&effects.first).await;
        self.send(&effects.then).await;
        self.settle(&mut visit).await;
        Ok(Verdict::Handled)
    }

    /// A request to an occupant, or an answer to one: what is to be sent for it, or nothing if the room itself answers the
    /// request, with an empty result.
    #[cfg(feature = "client")]
    pub(super) async fn between(
        self: &Arc<Self>,
        from: &Jid,
        to: &Jid,
        stanza: &Stanza,
    ) -> Result<Option<Vec<Delivery>>, StanzaError> {
        let mut visit = self.visit(&to.to_bare()).await?;
        let input = Incoming { from, to, stanza, now: now() };
        let room = visit.room()?;
        if let Some(answer) = self_ping(room, input) {
            return answer.map(|()| None);
        }
        let plan = room.forward(input)?;
        let effects = self.carry_out(&mut visit, plan).await?;
        Ok(Some(effects.first.into_iter().chain(effects.then).collect()))
    }

    /// Whether a room could have this address (A077).
    fn may_exist(&self, jid: &BareJid) -> Result<(), StanzaError> {
        if jid.local().is_some_and(|local| local.len() > self.settings.room_name_bytes) {
            return Err(StanzaError::not_acceptable().with_text("the name of the room is too long"));
        }
        Ok(())
    }

    /// Makes a room for who enters it; whether there is one now.
    async fn create(self: &Arc<Self>, visit: &mut Visit, input: Incoming<'_>) -> Result<bool, StanzaError> {
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
        drop(self.may_make(&maker)?);
        // A room of this name that ended with an earlier process, or while its store failed, may have left something.
        if let Some(archive) = &self.archive
            && archive.ends(&jid).await?.is_some()
        {
            archive.forget(&jid).await?;
        }
        // Others of the same user may have been made meanwhile.
        let mut table = self.may_make(&maker)?;
        table.unmake(&jid);
        *table.made.entry(maker.clone()).or_default() += 1;
        table.makers.insert(jid.clone(), maker);
        drop(table);
        *visit.occupied = Occupied::by(room);
        visit.resident()?.deadline = Some(self.wait_for_configuration(jid, key));
        Ok(true)
    }

    /// §10.1.1: a room that nobody configures is given up.
    fn wait_for_configuration(self: &Arc<Self>, jid: BareJid, key: [u8; 32]) -> Deadline {
        let (rooms, patience) = (Arc::downgrade(self), self.settings.unconfigured);
        let waiting = tokio::spawn(async move {
            sleep(patience).await;
            if let Some(rooms) = rooms.upgrade()
                && let Err(error) = rooms.give_up(&jid, &key).await
            {
                tracing::warn!(room = %jid, "a room that nobody configures is still there: {error}");
            }
        });
        Deadline(waiting.abort_handle())
    }

    async fn give_up(self: &Arc<Self>, jid: &BareJid, key: &[u8; 32]) -> Result<(), StanzaError> {
        let mut visit = self.visit(jid).await?;
        let room = visit.room()?;
        // It may be another room of the same name by now.
        if !room.has_key(key) {
            return Ok(());
        }
        let plan = room.give_up();
        let effects = self.carry_out(&mut visit, plan).await?;
        self.send(&effects.first).await;
        self.send(&effects.then).await;
        self.settle(&mut visit).await;
        Ok(())
    }

    fn may_make(&self, maker: &BareJid) -> Result<MutexGuard<'_, Table>, StanzaError> {
        let table = self.table();
        if table.made.get(maker).copied().unwrap_or(0) >= self.settings.rooms_of_user {
            return Err(StanzaError::resource_constraint().with_text("too many rooms of yours are open"));
        }
        Ok(table)
    }

    /// Stores what a plan keeps, archives what it says, and then carries it out. Dropped before that, or if a store fails,
    /// nothing has happened.
    pub(super) async fn carry_out(&self, visit: &mut Visit, mut plan: Plan) -> Result<Effects, StanzaError> {
        let resident = visit.resident()?;
        self.keep(resident, &plan.kept).await?;
        let room = &mut resident.room;
        let comes_back = room.is_empty() && !room.is_locked();
        if comes_back && plan.changes.iter().any(|change| matches!(change, Change::Enter { .. })) {
            self.recall(room).await?;
        }
        let mut said = None;
        if let Some(publication) = plan.publication() {
            self.archive(room, publication).await?;
            said = self.log.as_ref().map(|_| Said {
                room: room.jid().clone(),
                sender: publication.sender.clone(),
                stanza: publication.stanza.clone(),
                at: publication.at,
                id: publication.id.clone(),
            });
        }
        let pauses = plan.changes.iter().any(|change| matches!(change, Change::End(ending) if ending.shutdown));
        let lasts = room.config().persistent && !room.is_locked();
        let effects = room.apply(plan, now());
        resident.gone = room.has_ended() && !(pauses && lasts);
        if !room.is_locked() {
            resident.deadline = None;
        }
        if let (Some(log), Some(said)) = (&self.log, said)
            && catch_unwind(AssertUnwindSafe(|| log(&said))).is_err()
        {
            tracing::error!(room = %said.room, "the log of what is said panicked");
        }
        Ok(effects)
    }

    /// Archives what is said, if it is worth that, and puts a tombstone in the place of what it retracts.
    async fn archive(&self, room: &Room, publication: &mut Publication) -> Result<(), StanzaError> {
        let archive = self.archive.as_ref().filter(|_| room.config().archived);
        let retracted = match archive {
            Some(archive) => self.retracted(&**archive, room, publication).await?,
            None => None,
        };
        if !publication.lasting {
            return Ok(());
        }
        let Some(archive) = archive else {
            publication.id = Some(generate_id());
            return Ok(());
        };
        let entry =
            NewEntry { with: publication.from.clone(), text: publication.stanza.as_str().into(), at: publication.at };
        publication.id = Some(archive.append(room.jid(), entry).await?.to_string());
        if let Some((id, tombstone)) = retracted
            && let Err(error) = archive.replace(room.jid(), id, tombstone.as_str().into()).await
        {
            // The retraction is there, behind the message.
            tracing::error!(room = %room.jid(), "a message that was retracted is still in the archive: {error}");
        }
        self.keeping.clean(archive, &self.settings.archive, room.jid());
        Ok(())
    }

    /// The message that is retracted, and its tombstone (XEP-0424 §5, XEP-0425 §5).
    async fn retracted(
        &self,
        archive: &dyn ArchiveStore,
        room: &Room,
        publication: &Publication,
    ) -> Result<Option<(ArchiveId, Stanza)>, StanzaError> {
        let Some(named) = retracted_id(&publication.stanza) else { return Ok(None) };
        let mut found = None;
        if let Ok(id) = named.parse::<ArchiveId>() {
            let selection = Selection { ids: vec![id], max: 1, max_bytes: usize::MAX, ..Selection::default() };
            found = archive.query(room.jid(), &selection).await?.and_then(|page| page.entries.into_iter().next());
        }
        let Some(found) = found else {
            let is_known = room.history().iter().any(|past| past.id.as_deref() == Some(&*named));
            return match publication.retracts.is_none() || is_known {
                true => Ok(None),
                false => Err(StanzaError::item_not_found().with_text("there is no such message")),
            };
        };
        let tombstone = found.stanza().and_then(|said| tombstone(&said, &publication.stanza, publication.at));
        Ok(tombstone.map(|stone| (found.id, stone)))
    }

    /// Stores changes of a room. What was to be stored before and perhaps was not, is stored with them.
    async fn keep(&self, resident: &mut Resident, kept: &[Kept]) -> Result<(), StanzaError> {
        let room = &resident.room;
        let config = kept.iter().find_map(|kept| match kept {
            Kept::Config(config) => Some(config),
            _ => None,
        });
        let (was, is) = (room.config().persistent && !room.is_locked(), config.unwrap_or(room.config()).persistent);
        if kept.is_empty() || !(was || is || resident.doubtful) || (!was && config.is_none() && !resident.doubtful) {
            return Ok(());
        }
        let ends = kept.iter().any(|kept| matches!(kept, Kept::Ended));
        let doubtful = std::mem::replace(&mut resident.doubtful, true);
        if ends || !is || !(was || config.is_some()) {
            self.store.remove(room.jid()).await?;
        } else if was && !doubtful {
            self.store.change(room.jid(), kept).await?;
        } else {
            let mut record: RoomRecord = room.record();
            kept.iter().for_each(|kept| record.change(kept));
            if was {
                self.store.save(room.jid(), &record).await?;
            } else if !self.store.add(room.jid(), &record, self.settings.persistent_rooms_of_user).await? {
                resident.doubtful = doubtful;
                let text = "there are too many persistent rooms of whom this room was made by";
                return Err(StanzaError::resource_constraint().with_text(text));
            }
        }
        resident.doubtful = false;
        Ok(())
    }

    /// What is left to be done when the last has left a room, or the room has ended. Nobody has to hear of it.
    pub(super) async fn settle(&self, visit: &mut Visit) {
        let Ok(Resident { room, doubtful, gone, .. }) = visit.resident() else { return };
        if !room.is_empty() || !(*doubtful || (*gone && self.archive.is_some())) {
            return;
        }
        let (jid, lasts) = (room.jid(), room.config().persistent && !room.is_locked());
        let settling = async {
            if *doubtful {
                match lasts && !*gone {
                    true => self.store.save(jid, &room.record()).await?,
                    false => self.store.remove(jid).await?,
                }
            }
            if let (true, Some(archive)) = (*gone, &self.archive) {
                archive.forget(jid).await?;
            }
            Ok::<(), StorageError>(())
        };
        match timeout(PATIENCE, settling).await {
            Ok(Ok(())) => *doubtful = false,
            Ok(Err(error)) => tracing::error!(room = %jid, "what is stored of a room that is closed is old: {error}"),
            Err(_) => tracing::error!(room = %jid, "what is stored of a room that is closed is old"),
        }
    }

    /// Tells everybody that the service stops (§11.2); nobody comes in any more.
    pub(super) async fn close(self: &Arc<Self>) {
        if self.closing.swap(true, Ordering::Relaxed) {
            return;
        }
        let seats: Vec<(BareJid, Arc<Seat>)> =
            self.table().seats.iter().map(|(jid, seat)| (jid.clone(), Arc::clone(seat))).collect();
        for (jid, seat) in seats {
            let (turn, held) = (Arc::clone(&seat.room), Held { rooms: Arc::clone(self), jid, seat });
            // Who waits for a store has its turn a moment longer.
            let Ok(occupied) = timeout(Duration::from_secs(1), turn.lock_owned()).await else { continue };
            let mut visit = Visit { occupied, held };
            let Ok(room) = visit.room() else { continue };
            let plan = room.shut_down();
            if let Ok(effects) = self.carry_out(&mut visit, plan).await {
                self.send(&effects.first).await;
                self.send(&effects.then).await;
            }
        }
    }

    pub(super) async fn send(&self, deliveries: &[Delivery]) {
        self.outlet.send(deliveries).await;
    }

    pub(super) fn outlet(&self) -> Outlet {
        self.outlet.clone()
    }
}

/// Whether somebody who knows rooms wants to come in.
fn is_join(kind: StanzaKind, stanza: &Stanza) -> bool {
    let root = stanza.root();
    kind == StanzaKind::Presence && root.attr("type").is_none() && root.child("x", NS).is_some()
}

/// What §7.2 answers who is not let in: an error of the room, marked as such. Some clients look for the mark.
fn refusal(client: Jid, to: Jid, stanza: &Stanza, error: StanzaError) -> Delivery {
    let error = error.with_by(to.to_bare());
    let mut out = Writer::new(ns::CLIENT);
    out.open("presence", ns::CLIENT);
    out.attr("from", to.as_str());
    out.attr("type", "error");
    out.attr_opt("id", stanza.root().attr("id").as_deref());
    Join::default().write(&mut out);
    error.write(&mut out);
    out.close();
    Delivery { from: to, to: client.into(), stanza: out.into_stanza() }
}

/// A client asks whether it is still in the room (XEP-0410 §3): the room knows, and need not pass it on.
pub(super) fn self_ping(room: &Room, input: Incoming<'_>) -> Option<Result<(), StanzaError>> {
    let root = input.stanza.root();
    if root.attr("type").as_deref() != Some("get") || !root.children().any(Ping::matches) {
        return None;
    }
    match room.occupants().of_client(input.from) {
        None => {
            let absent = StanzaError::not_acceptable().with_text("you are not in the room");
            Some(Err(room.check_open_to(input.from).err().unwrap_or(absent)))
        }
        Some((_, occupant)) if occupant.nick.jid == *input.to => Some(Ok(())),
        Some(_) => None,
    }
}

//! What comes to a service of rooms, and what leaves it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use super::{
    Muc, MucSettings, list,
    outlet::Outlet,
    rooms::{Rooms, now},
    search,
};
use crate::{
    Affiliation, Fields, MemoryRooms, RoomConfig, RoomStore, Stretch, Terms,
    payload::{ChannelSearch, OwnerQuery, channel_search},
    room::{Affiliated, Delivery, Incoming, RoomRecord, Wardrobe},
};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::sleep;
use xmpp_core::{
    jid::{BareJid, Jid},
    payload::form::{DataForm, Field, FormKind},
    server::Verdict,
    stanza::{ErrorType, StanzaError, StanzaKind},
    xml::{Stanza, XmlLimits, ns},
};

struct House {
    rooms: Arc<Rooms>,
    sent: Arc<Mutex<Vec<Delivery>>>,
}

impl House {
    fn new(store: Arc<dyn RoomStore>, settings: MucSettings) -> House {
        let sent = Arc::new(Mutex::default());
        let outlet = Outlet::Kept(Arc::clone(&sent));
        House { rooms: Rooms::new(Muc::new("chat", store).settings(settings), outlet), sent }
    }

    /// What the service says to a stanza: the error's condition, or what has left.
    fn hear(&self, xml: &str) -> Result<Vec<Delivery>, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(self.heard(xml))
    }
    async fn heard(&self, xml: &str) -> Result<Vec<Delivery>, String> {
        let stanza = Stanza::parse(xml, ns::CLIENT, &XmlLimits::authenticated()).unwrap();
        let root = stanza.root();
        let kind = match root.name() {
            "presence" => StanzaKind::Presence,
            "message" => StanzaKind::Message,
            _ => StanzaKind::Iq,
        };
        let (from, to) = (Jid::new(&root.attr("from").unwrap()).unwrap(), Jid::new(&root.attr("to").unwrap()).unwrap());
        match self.rooms.receive(kind, from, to, stanza.clone()).await {
            Err(error) => Err(error.condition.as_str().to_owned()),
            Ok(Verdict::Handled | Verdict::Reply(_)) => {
                let sent = std::mem::take(&mut *self.sent.lock().unwrap());
                // Who is not let in gets the error as a presence of the room.
                match sent.as_slice() {
                    [one] if one.stanza.root().attr("type").as_deref() == Some("error") => {
                        let error = StanzaError::read(one.stanza.root().child("error", ns::CLIENT).unwrap());
                        Err(error.condition.as_str().to_owned())
                    }
                    _ => Ok(sent),
                }
            }
            Ok(_) => panic!("{xml}"),
        }
    }
    fn join(&self, client: &str, room: &str) -> Result<Vec<Delivery>, String> {
        self.hear(&join(client, room))
    }
    fn leave(&self, client: &str, room: &str) {
        self.hear(&leave(client, room)).unwrap();
    }
    /// The owner takes the configuration as it is.
    async fn opens(&self, client: &str, room: &str) {
        let xml = format!("<iq type='set' id='c' from='{client}' to='{room}@chat'/>");
        let stanza = Stanza::parse(&xml, ns::CLIENT, &XmlLimits::authenticated()).unwrap();
        let (from, to) = (Jid::new(client).unwrap(), Jid::new(&format!("{room}@chat")).unwrap());
        let mut visit = self.rooms.visit(&to.to_bare()).await.unwrap();
        let query = OwnerQuery { form: Some(DataForm::new(FormKind::Submit)), destroy: None };
        let input = Incoming { from: &from, to: &to, stanza: &stanza, now: now() };
        let plan = visit.room().unwrap().own(input, &query).unwrap();
        self.rooms.carry_out(&mut visit, plan).await.unwrap();
    }
}

fn join(client: &str, room: &str) -> String {
    let nick = client.split('@').next().unwrap();
    format!("<presence from='{client}' to='{room}@chat/{nick}'><x xmlns='{}'/></presence>", crate::NS)
}

fn leave(client: &str, room: &str) -> String {
    format!("<presence type='unavailable' from='{client}' to='{room}@chat/x'/>")
}

fn house(settings: MucSettings) -> House {
    House::new(Arc::new(MemoryRooms::new()), settings)
}

#[test]
fn abuse_a077_rooms_of_one_user_are_bounded() {
    let house = house(MucSettings { rooms_of_user: 3, ..MucSettings::default() });
    for room in ["a", "b", "c"] {
        house.join("mallory@evil/a", room).unwrap();
    }
    for client in ["mallory@evil/a", "mallory@evil/b"] {
        assert_eq!(house.join(client, "d").unwrap_err(), "resource-constraint");
    }
    // Others make theirs; one that has ended makes place.
    house.join("hag@lit/a", "d").unwrap();
    house.leave("mallory@evil/a", "a");
    house.join("mallory@evil/a", "e").unwrap();
    assert_eq!(house.join("mallory@evil/a", "f").unwrap_err(), "resource-constraint");
}

#[test]
fn abuse_a077_names_of_rooms_are_bounded() {
    let house = house(MucSettings::default());
    assert_eq!(house.join("mallory@evil/a", &"r".repeat(256)).unwrap_err(), "not-acceptable");
    house.join("mallory@evil/a", &"r".repeat(255)).unwrap();
    for name in ["\u{200b}", "a\u{7}b", "a b"] {
        assert!(Jid::new(&format!("{name}@chat/x")).is_err(), "{name:?} is no address");
    }
}

#[test]
fn abuse_a077_rooms_of_the_service_are_bounded_and_what_is_not_there_takes_no_place() {
    let house = house(MucSettings { rooms: 2, ..MucSettings::default() });
    house.join("a@lit/a", "a").unwrap();
    for number in 0..100 {
        let message = format!("<message type='groupchat' from='mallory@evil/a' to='none{number}@chat'/>");
        assert_eq!(house.hear(&message).unwrap_err(), "item-not-found");
        house.hear(&format!("<iq type='result' id='x' from='mallory@evil/a' to='none{number}@chat'/>")).unwrap();
        house.leave("mallory@evil/a", &format!("none{number}"));
    }
    house.join("b@lit/a", "b").unwrap();
    assert_eq!(house.join("c@lit/a", "c").unwrap_err(), "resource-constraint");
    assert_eq!(house.rooms.shown(|shown| shown.len()), 2);
}

#[test]
fn xep0045_10_1_1_who_may_not_make_rooms() {
    let may = |from: &Jid| from.domain() == "lit";
    let house = house(MucSettings { may_create: Some(Arc::new(may)), ..MucSettings::default() });
    assert_eq!(house.join("mallory@evil/a", "a").unwrap_err(), "not-allowed");
    house.join("hag@lit/a", "a").unwrap();
    // §7.2.18: without the element nobody makes a room.
    assert_eq!(house.hear("<presence from='hag@lit/a' to='b@chat/hag'/>").unwrap_err(), "item-not-found");
}

/// A service with a room `a` that is open to all, and has two occupants.
fn house_with_room() -> House {
    let store = Arc::new(MemoryRooms::new());
    let owner = Affiliated { affiliation: Affiliation::Owner, ..Affiliated::default() };
    let config = RoomConfig { persistent: true, ..RoomConfig::default() };
    let affiliated = vec![("crone@lit".parse().unwrap(), owner)];
    let record = RoomRecord {
        config,
        locked: false,
        key: [7; 32],
        maker: None,
        subject: None,
        affiliated,
        card: None,
        hats: Wardrobe::default(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let room: BareJid = "a@chat".parse().unwrap();
    runtime.block_on(store.save(&room, &record)).unwrap();
    let house = House::new(store, MucSettings::default());
    house.join("crone@lit/a", "a").unwrap();
    house.join("hag@lit/a", "a").unwrap();
    house
}

#[test]
fn xep0045_18_1_2_a_client_is_asked_by_the_room_and_its_answer_heard() {
    let error = "<error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
    let bounce = format!("<message type='error' from='hag@lit/a' to='a@chat/crone'>{error}</message>");
    for (kind, content, gone) in [("result", "", false), ("error", error, true)] {
        let house = house_with_room();
        let sent = house.hear(&bounce).unwrap();
        assert!(
            sent.len() == 1 && sent[0].stanza.root().children().any(|child| child.ns() == "urn:xmpp:ping"),
            "{sent:?}"
        );
        let id = sent[0].stanza.root().attr("id").unwrap().into_owned();
        let sent =
            house.hear(&format!("<iq type='{kind}' id='{id}' from='hag@lit/a' to='a@chat'>{content}</iq>")).unwrap();
        assert_eq!(sent.len(), if gone { 2 } else { 0 }, "{sent:?}");
        assert!(sent.iter().all(|delivery| delivery.stanza.as_str().contains("code='333'")), "{sent:?}");
    }
}

#[test]
fn xep0410_3_a_client_asks_whether_it_is_there() {
    let house = house_with_room();
    let ping = |from: &str, to: &str| {
        house.hear(&format!("<iq type='get' id='p' from='{from}' to='a@chat/{to}'><ping xmlns='urn:xmpp:ping'/></iq>"))
    };
    assert!(ping("hag@lit/a", "hag").unwrap().is_empty(), "the room answers, and asks nobody");
    assert_eq!(ping("hag@lit/b", "hag").unwrap_err(), "not-acceptable");
    assert_eq!(ping("mallory@evil/a", "crone").unwrap_err(), "not-acceptable");
    assert_eq!(ping("hag@lit/a", "crone").unwrap()[0].to.iter().next().unwrap(), &Jid::new("crone@lit/a").unwrap());
    assert_eq!(ping("hag@lit/a", "nobody").unwrap_err(), "item-not-found");
}

#[test]
fn xep0045_16_2_a_room_that_is_not_there() {
    let house = house_with_room();
    for xml in [
        "<message type='groupchat' from='hag@lit/a' to='none@chat'><body>x</body></message>",
        "<message from='hag@lit/a' to='none@chat/x'><body>x</body></message>",
        "<iq type='get' id='i' from='hag@lit/a' to='none@chat/x'><ping xmlns='urn:xmpp:ping'/></iq>",
    ] {
        assert_eq!(house.hear(xml).unwrap_err(), "item-not-found", "{xml}");
    }
}

#[test]
fn abuse_a077_a_place_that_many_leave_at_once_is_forgotten() {
    let house = house(MucSettings::default());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().worker_threads(4).build().unwrap();
    runtime.block_on(async {
        let mut visits = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let rooms = Arc::clone(&house.rooms);
            visits.spawn(async move {
                let room: BareJid = "none@chat".parse().unwrap();
                for _ in 0..2_000 {
                    drop(rooms.visit(&room).await.unwrap());
                }
            });
        }
        visits.join_all().await;
    });
    assert_eq!(house.rooms.places(), 0);
}

#[test]
fn a_panic_in_a_rooms_turn_and_a_turn_that_is_cut_off_leave_the_place_to_others() {
    let house = house(MucSettings { rooms: 1, ..MucSettings::default() });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().worker_threads(1).build().unwrap();
    let rooms = Arc::clone(&house.rooms);
    runtime.block_on(async move {
        let room: BareJid = "none@chat".parse().unwrap();
        let (panicking, named) = (Arc::clone(&rooms), room.clone());
        let turn = tokio::spawn(async move {
            let _visit = panicking.visit(&named).await.unwrap();
            panic!("on purpose");
        });
        assert!(turn.await.unwrap_err().is_panic());
        assert_eq!(rooms.places(), 0);
        // One has the turn, another waits for it and gives up.
        let visit = rooms.visit(&room).await.unwrap();
        let (waiting, named) = (Arc::clone(&rooms), room.clone());
        let waits = tokio::spawn(async move { waiting.visit(&named).await.map(drop) });
        tokio::task::yield_now().await;
        waits.abort();
        let _ = waits.await;
        drop(visit);
        assert_eq!(rooms.places(), 0);
    });
    house.join("hag@lit/a", "a").unwrap();
}

#[tokio::test(start_paused = true)]
async fn xep0045_10_1_1_a_room_that_nobody_configures_in_time_is_given_up() {
    let house = house(MucSettings::default());
    house.heard(&join("crone@lit/a", "a")).await.unwrap();
    house.heard(&join("crone@lit/a", "b")).await.unwrap();
    house.opens("crone@lit/a", "b").await;
    sleep(Duration::from_secs(599)).await;
    assert_eq!(house.heard(&join("hag@lit/a", "a")).await.unwrap_err(), "item-not-found");
    assert_eq!(house.rooms.places(), 2);
    sleep(Duration::from_secs(2)).await;
    let sent = std::mem::take(&mut *house.sent.lock().unwrap());
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!(sent[0].to.iter().next().unwrap(), &Jid::new("crone@lit/a").unwrap());
    let text = sent[0].stanza.as_str();
    assert!(text.contains("type='unavailable'") && text.contains("<destroy"), "{text}");
    assert_eq!(house.rooms.places(), 1);
    // The name is free; what was configured stays.
    house.heard(&join("hag@lit/a", "a")).await.unwrap();
    house.heard(&join("hag@lit/a", "b")).await.unwrap();
    sleep(Duration::from_secs(100_000)).await;
    assert_eq!(house.rooms.places(), 1);
}

#[tokio::test(start_paused = true)]
async fn xep0045_10_1_1_a_room_of_the_same_name_has_its_own_time() {
    let house = house(MucSettings { unconfigured: Duration::from_secs(10), ..MucSettings::default() });
    house.heard(&join("crone@lit/a", "a")).await.unwrap();
    sleep(Duration::from_secs(6)).await;
    house.heard(&leave("crone@lit/a", "a")).await.unwrap();
    house.heard(&join("hag@lit/a", "a")).await.unwrap();
    sleep(Duration::from_secs(6)).await;
    assert_eq!(house.rooms.places(), 1, "the first would have ended");
    sleep(Duration::from_secs(6)).await;
    assert_eq!(house.rooms.places(), 0);
}

#[tokio::test(start_paused = true)]
async fn abuse_a077_who_makes_and_leaves_rooms_leaves_nobody_waiting() {
    let house = house(MucSettings::default());
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    for number in 0..500 {
        let room = format!("r{number}");
        house.heard(&join("mallory@evil/a", &room)).await.unwrap();
        assert!(tasks() > 0, "somebody waits for the configuration");
        match number % 2 {
            0 => house.heard(&leave("mallory@evil/a", &room)).await.map(drop).unwrap(),
            _ => {
                house.opens("mallory@evil/a", &room).await;
                tokio::task::yield_now().await;
                assert_eq!(tasks(), 0, "what is configured waits for nothing");
                house.heard(&leave("mallory@evil/a", &room)).await.unwrap();
            }
        }
        tokio::task::yield_now().await;
    }
    assert_eq!((tasks(), house.rooms.places()), (0, 0));
}

/// Rooms of all kinds: stored, in memory, both, and what is not to be seen of each; with the names of what is.
async fn crowded() -> (House, Vec<String>) {
    let store = Arc::new(MemoryRooms::new());
    let house = House::new(Arc::clone(&store) as Arc<dyn RoomStore>, MucSettings::default());
    let mut seen = Vec::new();
    for number in 0..48 {
        let (room, kind) = (format!("r{number:02}"), number * 7 % 6);
        let jid: BareJid = format!("{room}@chat").parse().unwrap();
        let owner = Affiliated { affiliation: Affiliation::Owner, ..Affiliated::default() };
        let config = RoomConfig {
            persistent: true,
            public: kind != 1 && kind != 4,
            name: if number % 4 == 0 { "Fourth".to_owned() } else { String::new() },
            ..RoomConfig::default()
        };
        let affiliated = vec![("crone@lit".parse().unwrap(), owner)];
        let record = RoomRecord {
            config,
            locked: false,
            key: [7; 32],
            maker: None,
            subject: None,
            affiliated,
            card: None,
            hats: Wardrobe::default(),
        };
        // 0 and 1 are stored, 2 is temporary, 3 and 4 are stored and in memory, 5 is locked.
        if !matches!(kind, 2 | 5) {
            store.save(&jid, &record).await.unwrap();
        }
        if kind > 1 {
            house.heard(&join("crone@lit/a", &room)).await.unwrap();
        }
        if kind == 2 {
            house.opens("crone@lit/a", &room).await;
        }
        if matches!(kind, 0 | 2 | 3) {
            seen.push(room);
        }
    }
    (house, seen)
}

#[tokio::test]
async fn xep0045_6_3_what_is_in_memory_and_what_is_stored_are_one_list() {
    let (house, seen) = crowded().await;
    let rooms = &*house.rooms;
    let jid = |number: usize| Some(format!("r{number:02}@chat").parse::<BareJid>().unwrap());
    let ends = || [None].into_iter().chain((0..48).step_by(5).map(jid));
    let inside = |name: &String, stretch: &Stretch| {
        let name = format!("{name}@chat");
        stretch.after.as_ref().is_none_or(|after| *name > *after.as_str())
            && stretch.before.as_ref().is_none_or(|before| *name < *before.as_str())
    };
    for (after, before) in ends().flat_map(|after| ends().map(move |before| (after.clone(), before))) {
        for (max, last) in [(1, false), (1, true), (5, false), (5, true), (50, false), (50, true), (0, false)] {
            let stretch = Stretch { after: after.clone(), before: before.clone(), max, last, ..Stretch::default() };
            let mut expected: Vec<&String> = seen.iter().filter(|name| inside(name, &stretch)).collect();
            let cut = expected.len().saturating_sub(max);
            if last {
                expected.drain(..cut).for_each(drop)
            } else {
                expected.truncate(max)
            }
            let found = list::rows(rooms, &stretch, &|_| true).await.unwrap();
            let found: Vec<&str> = found.iter().map(|row| row.listed.jid.local().unwrap()).collect();
            assert_eq!(found, expected, "{stretch:?}");
        }
    }
    for end in ends() {
        let stretch = Stretch { before: end.clone(), ..Stretch::default() };
        let expected = seen.iter().filter(|name| inside(name, &stretch)).count();
        assert_eq!(list::count(rooms, end.as_ref()).await.unwrap(), expected as u64, "{end:?}");
    }
    for (position, name) in seen.iter().enumerate() {
        let found = list::place(rooms, position as u64).await.unwrap().unwrap();
        assert_eq!(found.local(), Some(name.as_str()));
    }
    assert!(list::place(rooms, seen.len() as u64).await.unwrap().is_none());
    // With words.
    let terms = Terms::new("fourth", Fields::ALL);
    // A temporary room has the service's configuration, and no name.
    let named = |name: &&String| {
        let number: usize = name[1..].parse().unwrap();
        number.is_multiple_of(4) && number * 7 % 6 != 2
    };
    let expected: Vec<&String> = seen.iter().filter(named).collect();
    assert!(expected.len() > 3);
    for max in [1, 2, 50] {
        for last in [false, true] {
            let stretch = Stretch { terms: terms.clone(), max, last, ..Stretch::default() };
            let found = list::rows(rooms, &stretch, &|_| true).await.unwrap();
            let found: Vec<&str> = found.iter().map(|row| row.listed.jid.local().unwrap()).collect();
            let all: Vec<&str> = expected.iter().map(|name| name.as_str()).collect();
            let max = max.min(all.len());
            assert_eq!(found, if last { &all[all.len() - max..] } else { &all[..max] });
        }
    }
}

#[tokio::test]
async fn xep0433_4_2_2_4_where_others_are_searching_one_is_told_to_wait() {
    let house = house(MucSettings { searches: 1, ..MucSettings::default() });
    let form = DataForm::typed(FormKind::Submit, channel_search::PARAMS).with(Field::new("q").value("x"));
    let search = || search::answer(&house.rooms, ChannelSearch { rsm: None, form: Some(form.clone()) });
    let busy = house.rooms.searching.try_acquire().unwrap();
    let error = search().await.err().unwrap();
    assert_eq!((error.condition.as_str(), error.type_), ("resource-constraint", ErrorType::Wait));
    assert!(error.application.unwrap().as_str().contains("retry-after='5'"));
    drop(busy);
    for _ in 0..3 {
        assert!(search().await.is_ok(), "who is done makes place");
    }
}

//! Whatever several users send in whatever order, the room keeps its rules, and everybody sees it as it is.

use super::*;
use crate::config::Whois;
use proptest::{collection::vec, prelude::*, sample::select, test_runner::TestCaseError};
use std::collections::{BTreeMap, BTreeSet, HashMap};

const CLIENTS: [&str; 8] = [
    "crone@lit/a",
    "crone@lit/b",
    "hag@lit/a",
    "hag@lit/b",
    "witch@lit/a",
    "wizard@far/a",
    "wizard@far/b",
    "mallory@evil/a",
];
const USERS: [&str; 6] = ["crone@lit", "hag@lit", "witch@lit", "wizard@far", "mallory@evil", "evil"];
/// Some are the same, and some only look so.
const NICKS: [&str; 10] =
    ["crone", "hag", "HAG", " hag", "\u{ff28}ag", "\u{4bb}ag", "h\u{200b}ag", "witch", "Wi\u{307}zard", "a  b"];
/// What a client might claim, in each stanza.
const FORGED: &str = "<x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='owner' role='moderator' \
    jid='forged@lit/a'/><status code='110'/><status code='307'/></x><occupant-id xmlns='urn:xmpp:occupant-id:0' id='forged'/>\
    <stanza-id xmlns='urn:xmpp:sid:0' id='forged' by='coven@chat'/><hats xmlns='urn:xmpp:hats:0'><hat title='forged'/></hats>\
    <delay xmlns='urn:xmpp:delay' from='coven@chat' stamp='2001-01-01T00:00:00Z'>forged</delay>";

/// One stanza of one client.
fn stanza() -> impl Strategy<Value = String> {
    let client = || select(&CLIENTS[..]);
    let nick = || select(&NICKS[..]);
    let user = || select(&USERS[..]);
    let join = (client(), nick(), any::<bool>()).prop_map(|(client, nick, forged)| {
        let forged = if forged { FORGED } else { "<show>away</show>" };
        format!("<presence from='{client}' to='{ROOM}/{nick}'>{forged}<x xmlns='{}'/></presence>", crate::NS)
    });
    let present = (client(), nick()).prop_map(|(client, nick)| {
        format!("<presence from='{client}' to='{ROOM}/{nick}'><status>{nick}</status>{FORGED}</presence>")
    });
    let leave = (client(), nick(), select(&["unavailable", "error", "probe"][..]))
        .prop_map(|(client, nick, kind)| format!("<presence from='{client}' to='{ROOM}/{nick}' type='{kind}'/>"));
    let role = (client(), vec((nick(), select(&["none", "visitor", "participant", "moderator"][..])), 1..3)).prop_map(
        |(client, items)| {
            let items = items.iter().map(|(nick, role)| format!("<item nick='{nick}' role='{role}'/>"));
            admin(client, &items.collect::<String>())
        },
    );
    let affiliations = select(&["outcast", "none", "member", "admin", "owner"][..]);
    let affiliation =
        (client(), vec((user(), affiliations, proptest::option::of(nick())), 1..3)).prop_map(|(client, items)| {
            let item = |(user, affiliation, nick): &(&str, &str, Option<&str>)| {
                let nick = nick.map(|nick| format!("nick='{nick}'")).unwrap_or_default();
                format!("<item jid='{user}' affiliation='{affiliation}' {nick}/>")
            };
            admin(client, &items.iter().map(item).collect::<String>())
        });
    let fields = [
        ("muc#roomconfig_moderatedroom", "1"),
        ("muc#roomconfig_moderatedroom", "0"),
        ("muc#roomconfig_membersonly", "1"),
        ("muc#roomconfig_membersonly", "0"),
        ("muc#roomconfig_whois", "anyone"),
        ("muc#roomconfig_whois", "moderators"),
        ("muc#roomconfig_changesubject", "1"),
        ("muc#roomconfig_maxusers", "3"),
        ("muc#roomconfig_maxusers", "none"),
        ("muc#roomconfig_presencebroadcast", "moderator|participant|visitor"),
        ("muc#roomconfig_presencebroadcast", "moderator|visitor"),
        ("muc#roomconfig_presencebroadcast", "moderator"),
        ("muc#roomconfig_roomowners", "hag@lit|crone@lit"),
        ("muc#roomconfig_roomowners", "wizard@far"),
        ("muc#roomconfig_roomadmins", "witch@lit"),
        ("muc#roomconfig_persistentroom", "1"),
    ];
    let configure = (client(), vec(select(fields.to_vec()), 1..3)).prop_map(|(client, fields)| form(client, &fields));
    let message = (client(), select(&["<body>b</body>", "<subject>s</subject>", "<thread>t</thread>"][..]))
        .prop_map(|(client, content)| say(client, &format!("{content}{FORGED}")));
    let private =
        (client(), nick()).prop_map(|(client, nick)| whisper(client, nick, &format!("<body>p</body>{FORGED}")));
    let bounced = (client(), nick(), select(&["gone", "service-unavailable", "item-not-found", "forbidden"][..]))
        .prop_map(|(client, nick, condition)| bounce(client, &format!("{ROOM}/{nick}"), condition));
    let invite = (client(), user()).prop_map(|(client, user)| {
        format!("<message from='{client}' to='{ROOM}'><x xmlns='{USER}'><invite to='{user}'/></x></message>")
    });
    let decline = (client(), nick()).prop_map(|(client, nick)| {
        format!("<message from='{client}' to='{ROOM}'><x xmlns='{USER}'><decline to='{ROOM}/{nick}'/></x></message>")
    });
    let ask = client().prop_map(|client| voice(client, &[("muc#role", "participant")]));
    let give = (client(), nick()).prop_map(|(client, nick)| {
        voice(client, &[("muc#role", "participant"), ("muc#roomnick", nick), ("muc#request_allow", "true")])
    });
    let register = (client(), nick()).prop_map(|(client, nick)| {
        format!(
            "<iq type='set' id='i' from='{client}' to='{ROOM}'><query xmlns='jabber:iq:register'><x xmlns='jabber:x:data' \
             type='submit'><field var='muc#register_roomnick'><value>{nick}</value></field></x></query></iq>"
        )
    });
    let unregister = client().prop_map(|client| {
        format!(
            "<iq type='set' id='i' from='{client}' to='{ROOM}'><query xmlns='jabber:iq:register'><remove/></query></iq>"
        )
    });
    let iq = (client(), nick(), select(&["get", "result", "error"][..])).prop_map(|(client, nick, kind)| {
        format!("<iq type='{kind}' id='i' from='{client}' to='{ROOM}/{nick}'><vCard xmlns='vcard-temp'/></iq>")
    });
    let lists =
        (client(), select(&["role='moderator'", "role='visitor'", "affiliation='member'", "affiliation='owner'"][..]))
            .prop_map(|(client, item)| list(client, &format!("<item {item}/>")));
    let destroy = client().prop_map(|client| owner(client, "<destroy jid='other@chat'><reason>r</reason></destroy>"));
    let rare = prop_oneof![
        20 => bounced, 10 => invite, 10 => decline, 10 => ask, 10 => give, 20 => register, 5 => unregister, 10 => iq,
        10 => lists, 1 => destroy
    ];
    prop_oneof![
        5 => join, 3 => present, 2 => leave, 4 => role, 5 => affiliation, 3 => configure, 2 => message, 1 => private, 4 => rare
    ]
}

/// The room as a client knows it, from what it was sent: who is in it, as what. `None` while it is not in the room.
type View = Option<BTreeMap<String, (String, String)>>;

fn see(view: &mut View, stanza: &Stanza, mine: &Jid) -> Result<(), TestCaseError> {
    let root = stanza.root();
    if root.name() != "presence" {
        return Ok(());
    }
    let nick = root.attr("from").unwrap().split_once('/').unwrap().1.to_owned();
    let x = root.child("x", USER).expect("each presence says what it is of");
    let has = |code: &str| x.children().any(|status| status.attr("code").as_deref() == Some(code));
    let item = x.child("item", USER).expect("each presence has an item");
    let what = |name| item.attr(name).expect("each item has both").into_owned();
    let standing = (what("role"), what("affiliation"));
    if root.attr("type").is_none() {
        view.get_or_insert_default().insert(nick, standing);
        if has("110") {
            let own = item.attr("jid").expect("its own address");
            prop_assert_eq!(own.split('/').next(), Some(mine.bare_str()));
        }
        return Ok(());
    }
    prop_assert_eq!(&*standing.0, if has("303") { &*standing.0 } else { "none" });
    if has("110") && !has("303") {
        *view = None;
    } else if let Some(view) = view {
        prop_assert!(view.remove(&nick).is_some(), "{mine} hears that {nick} has left, of whom it knew nothing");
    }
    Ok(())
}

struct World {
    stage: Stage,
    views: BTreeMap<&'static str, View>,
    ids: HashMap<String, BareJid>,
}

impl World {
    fn new() -> World {
        let mut world = World { stage: Stage::new(RoomConfig::default()), views: BTreeMap::new(), ids: HashMap::new() };
        world.hear(&joining(CRONE, "crone", "")).unwrap();
        world
    }

    fn hear(&mut self, xml: &str) -> Result<(), TestCaseError> {
        self.stage.now += 1;
        if self.stage.room.has_ended() {
            return Ok(());
        }
        let stanza = parse(xml);
        let Ok(_) = Jid::new(&stanza.root().attr("to").unwrap()) else { return Ok(()) };
        let sender = jid(&stanza.root().attr("from").unwrap());
        let before = self.stage.room.clone();
        match self.stage.judge(&stanza) {
            Heard::Answered(Ok(answer)) => self.check_answer(&sender, &answer)?,
            Heard::Answered(Err(_)) => {}
            Heard::Planned(Err(_)) => prop_assert_eq!(format!("{:?}", before), format!("{:?}", self.stage.room)),
            Heard::Planned(Ok(plan)) => {
                let effects = self.stage.carry_out(plan);
                for delivery in effects.first.iter().chain(&effects.then) {
                    self.check_delivery(&before, &sender, delivery)?;
                    for to in &delivery.to {
                        if let Some(client) = CLIENTS.into_iter().find(|client| *client == to.as_str()) {
                            let view = self.views.entry(client).or_default();
                            let kicked = before.occupants().of_client(to).is_none()
                                && self.stage.room.occupants().of_client(to).is_none();
                            if !kicked {
                                see(view, &delivery.stanza, to)?;
                            }
                        }
                    }
                }
            }
        }
        self.check_room()?;
        self.check_views()
    }

    /// Nobody gets anything who is not in the room, and nobody an address that is not for them.
    fn check_delivery(&mut self, before: &Room, sender: &Jid, delivery: &Delivery) -> Result<(), TestCaseError> {
        let text = delivery.stanza.as_str();
        let root = delivery.stanza.root();
        prop_assert!(!text.contains("forged"), "{text}");
        let ids: Vec<_> = root.children().filter(|child| child.name() == "occupant-id").collect();
        let own = ids.len();
        let of_occupant = delivery.from.resource().is_some() && root.name() != "iq" && sender.resource().is_some();
        // The kick of somebody who is not there is of no occupant.
        let is_kick = text.contains("code='333'") && before.occupants().of_client(sender).is_none();
        let is_error = root.attr("type").as_deref() == Some("error");
        prop_assert_eq!(own, usize::from(of_occupant && !is_kick && !is_error), "{}", text);
        if let Some(id) = ids.first().and_then(|id| id.attr("id")) {
            let key = xmpp_core::jid::nickname::comparison_key(delivery.from.resource().unwrap()).unwrap();
            let of = |room: &Room| room.occupants().of_nick(&key).map(|(_, one)| one.user.clone());
            let is_past = root.children().any(|child| child.name() == "delay");
            match of(before).or_else(|| of(&self.stage.room)).filter(|_| !is_past) {
                Some(user) => {
                    prop_assert_eq!(&*before.occupant_id(&user), &*id);
                    prop_assert_eq!(
                        self.ids.entry(id.into_owned()).or_insert_with(|| user.clone()),
                        &user,
                        "an id of two"
                    );
                }
                None => prop_assert!(is_past && self.ids.contains_key(&*id), "{text}"),
            }
        }
        prop_assert!(root.children().filter(|child| child.name() == "stanza-id").count() <= 1, "{text}");
        let is_invitation = root.child("x", USER).is_some_and(|x| x.child("invite", USER).is_some());
        for to in delivery.to.iter().filter(|_| !is_invitation) {
            let there = |room: &Room| room.occupants().of_client(to).map(|(_, one)| one.role);
            let (was, is) = (there(before), there(&self.stage.room));
            let is_account = to.resource().is_none()
                && root.name() == "iq"
                && before.occupants().of_user(&to.to_bare()).next().is_some();
            prop_assert!(
                was.is_some() || is.is_some() || to == sender || is_account,
                "{to} is not in the room: {text}"
            );
            let open = |room: &Room| room.config().whois == Whois::Anyone;
            let may = open(before) || open(&self.stage.room) || [was, is].contains(&Some(Role::Moderator));
            let is_decline = root.child("x", USER).is_some_and(|x| x.child("decline", USER).is_some());
            if !may && !is_decline {
                for user in USERS.into_iter().filter(|user| user.contains('@') && *user != to.bare_str()) {
                    prop_assert!(!text.contains(user), "{to} learns of {user}: {text}");
                }
            }
        }
        Ok(())
    }

    fn check_answer(&self, sender: &Jid, answer: &str) -> Result<(), TestCaseError> {
        let room = &self.stage.room;
        let role = room.occupants().of_client(sender).map_or(Role::None, |(_, one)| one.role);
        let own = room.affiliations().of(&sender.to_bare());
        if room.config().whois == Whois::Moderators && role < Role::Moderator && own < Affiliation::Admin {
            for user in USERS.into_iter().filter(|user| user.contains('@') && *user != sender.bare_str()) {
                prop_assert!(!answer.contains(user), "{sender} learns of {user}: {answer}");
            }
        }
        Ok(())
    }

    fn check_room(&self) -> Result<(), TestCaseError> {
        let room = &self.stage.room;
        if room.has_ended() {
            prop_assert!(room.is_empty());
            return Ok(());
        }
        prop_assert!(room.affiliations().with(Affiliation::Owner).next().is_some(), "a room without an owner");
        let (mut nicks, mut clients, mut reserved) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for (number, one) in room.occupants().iter() {
            prop_assert!(nicks.insert(one.nick.key.clone()), "{:?} has two owners", one.nick);
            prop_assert_eq!(room.occupants().of_nick(&one.nick.key).map(|(number, _)| number), Some(number));
            prop_assert!(!one.visits.is_empty() && one.role > Role::None);
            for visit in &one.visits {
                prop_assert!(clients.insert(visit.jid.clone()) && visit.jid.to_bare() == one.user);
                prop_assert_eq!(room.occupants().of_client(&visit.jid).map(|(number, _)| number), Some(number));
            }
            prop_assert_eq!(one.affiliation, room.affiliations().of(&one.user));
            prop_assert!(one.affiliation != Affiliation::Outcast);
            prop_assert!(one.affiliation < Affiliation::Admin || one.role == Role::Moderator, "{:?}", one);
            prop_assert!(!room.config().members_only || one.affiliation >= Affiliation::Member, "{:?}", one);
            let owner = room.affiliations().reserved(&one.nick.key);
            prop_assert!(owner.is_none_or(|user| *user == one.user), "{:?} is reserved", one.nick);
        }
        prop_assert_eq!(clients.len(), room.occupants().clients());
        for (user, entry) in room.affiliations().iter() {
            prop_assert!(entry.affiliation != Affiliation::None);
            prop_assert!(entry.nick.is_none() || entry.affiliation > Affiliation::None);
            prop_assert!(user.local().is_some() || entry.affiliation == Affiliation::Outcast);
            if let Some(key) = entry.nick.as_deref().and_then(xmpp_core::jid::nickname::comparison_key) {
                prop_assert_eq!(room.affiliations().reserved(&key), Some(user));
                prop_assert!(reserved.insert(key), "a nickname is reserved for two");
            }
        }
        // Nobody's nickname is nobody's.
        for key in NICKS.into_iter().filter_map(xmpp_core::jid::nickname::comparison_key) {
            let owner = room.affiliations().reserved(&key).and_then(|user| room.affiliations().nick(user));
            let its = owner.and_then(xmpp_core::jid::nickname::comparison_key);
            prop_assert_eq!(its.is_some(), room.affiliations().reserved(&key).is_some());
            prop_assert!(its.is_none_or(|its| its == key));
        }
        // What is stored makes the same room.
        let again = Room::restore(room.jid().clone(), room.record(), Arc::new(RoomLimits::default()));
        let listed = |room: &Room| room.affiliations().iter().map(|(a, b)| (a.clone(), b.clone())).collect::<Vec<_>>();
        prop_assert_eq!(listed(&again), listed(room));
        Ok(())
    }

    fn check_views(&self) -> Result<(), TestCaseError> {
        let room = &self.stage.room;
        for client in CLIENTS {
            let there = room.occupants().of_client(&jid(client));
            let real = there.map(|(own, _)| {
                let shown =
                    |(number, one): &(Number, &Occupant)| *number == own || room.config().broadcast.has(one.role);
                let text = |value: &dyn std::fmt::Debug| format!("{value:?}").to_lowercase();
                let entry = |(_, one): (Number, &Occupant)| {
                    (one.nick.as_str().to_owned(), (text(&one.role), text(&one.affiliation)))
                };
                room.occupants().iter().filter(shown).map(entry).collect::<BTreeMap<_, _>>()
            });
            let view = self.views.get(client).cloned().unwrap_or_default();
            prop_assert_eq!(view, real, "what {} sees, and what is", client);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn everybody_sees_the_room_as_it_is_whatever_is_sent(stanzas in vec(stanza(), 1..60)) {
        let mut world = World::new();
        for stanza in &stanzas {
            world.hear(stanza)?;
        }
    }
}

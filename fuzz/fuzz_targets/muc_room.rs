//! A room (XEP-0045) among users who send it whatever they like. Each line of the input is a stanza after the digit of the
//! client that sends it. Whatever comes, the room has an owner, nobody has a nickname or a role that is not theirs, and
//! nobody hears of it who is not in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::{collections::HashSet, sync::Arc};
use xmpp_core::{
    jid::{BareJid, Jid},
    payload::{DateTime, Payload},
    stanza::StanzaError,
    xml::{Stanza, XmlLimits, ns},
};
use xmpp_im::{command::CommandElement, registration::RegistrationQuery, vcard::VCard};
use xmpp_muc::{
    Affiliation, Role, RoomConfig,
    payload::{AdminQuery, Moderate, OwnerQuery},
    room::{Effects, HatCommand, Incoming, Plan, Room, RoomLimits, Wardrobe},
};

const CLIENTS: [&str; 8] = [
    "crone@sh.lit/a",
    "crone@sh.lit/b",
    "hag@sh.lit/a",
    "hag@sh.lit/b",
    "witch@sh.lit/a",
    "wizard@x.lit/a",
    "wizard@x.lit/b",
    "mallory@evil.lit/a",
];

fuzz_target!(|text: &str| {
    let Some(mut stage) = Stage::new() else { return };
    for line in text.lines().take(64) {
        let mut chars = line.chars();
        let Some(client) = chars.next().and_then(|digit| digit.to_digit(8)) else { continue };
        stage.hears(client as usize, chars.as_str());
    }
});

struct Stage {
    clients: Vec<Jid>,
    room: Room,
    now: i64,
}

impl Stage {
    fn new() -> Option<Stage> {
        let clients: Vec<Jid> = CLIENTS.iter().filter_map(|client| Jid::new(client).ok()).collect();
        let config = RoomConfig { persistent: true, ..RoomConfig::default() };
        let jid: BareJid = BareJid::new("coven@rooms.lit").ok()?;
        let owner = clients.first()?.to_bare();
        let room = Room::new(jid, owner, config, [7; 32], Arc::new(RoomLimits::default()));
        let mut stage = Stage { clients, room, now: 1_000_000_000 };
        stage.hears(0, "<presence to='coven@rooms.lit/crone'><x xmlns='http://jabber.org/protocol/muc'/></presence>");
        stage.hears(
            0,
            "<iq type='set' id='1' to='coven@rooms.lit'><query xmlns='http://jabber.org/protocol/muc#owner'>\
             <x xmlns='jabber:x:data' type='submit'/></query></iq>",
        );
        Some(stage)
    }

    fn hears(&mut self, client: usize, text: &str) {
        let Some(from) = self.clients.get(client).cloned() else { return };
        let Ok(stanza) = Stanza::parse(text, ns::CLIENT, &XmlLimits::authenticated()) else { return };
        if self.room.has_ended() {
            return;
        }
        let to = stanza.root().attr("to").and_then(|to| Jid::new(&to).ok());
        let Some(to) = to.filter(|to| to.bare_str() == self.room.jid().as_str()) else { return };
        self.now += 1;
        let Some(now) = DateTime::from_unix(self.now, 0) else { return };
        let input = Incoming { from: &from, to: &to, stanza: &stanza, now };
        let Some(Ok(mut plan)) = judge(&self.room, input) else { return };
        if let Some(publication) = plan.publication().filter(|publication| publication.lasting) {
            publication.id = Some(self.now.to_string());
        }
        let mut known = self.present();
        let effects = self.room.apply(plan, now);
        known.extend(self.present());
        known.insert(from);
        self.check_deliveries(&effects, &known);
        self.check_room();
    }

    /// Who is in the room, as clients and as accounts.
    fn present(&self) -> HashSet<Jid> {
        let visits = self.room.occupants().iter().flat_map(|(_, occupant)| &occupant.visits);
        visits.flat_map(|visit| [visit.jid.clone(), visit.jid.to_bare().into()]).collect()
    }

    fn check_deliveries(&self, effects: &Effects, known: &HashSet<Jid>) {
        for delivery in effects.first.iter().chain(&effects.then) {
            let text = delivery.stanza.as_str();
            let again = Stanza::parse(text, ns::CLIENT, &XmlLimits::authenticated());
            assert!(again.is_ok(), "what a room says is not XML: {text}");
            assert_eq!(delivery.from.bare_str(), self.room.jid().as_str());
            assert_eq!(delivery.stanza.root().attr("from").as_deref(), Some(delivery.from.as_str()));
            if delivery
                .stanza
                .root()
                .child("x", xmpp_muc::USER)
                .is_some_and(|x| x.child("invite", xmpp_muc::USER).is_some())
            {
                continue;
            }
            for to in &delivery.to {
                assert!(known.contains(to), "{to} is not in the room, and gets {text}");
            }
        }
    }

    fn check_room(&self) {
        let room = &self.room;
        if room.has_ended() {
            return;
        }
        assert!(room.affiliations().with(Affiliation::Owner).next().is_some(), "a room without an owner");
        let (mut nicks, mut clients) = (HashSet::new(), HashSet::new());
        for (number, one) in room.occupants().iter() {
            assert!(nicks.insert(one.nick.key.clone()), "{:?} has two owners", one.nick);
            assert!(!one.visits.is_empty() && one.role > Role::None);
            assert!(
                one.visits.iter().all(|visit| clients.insert(visit.jid.clone()) && visit.jid.to_bare() == one.user)
            );
            assert_eq!(room.occupants().of_nick(&one.nick.key).map(|(number, _)| number), Some(number));
            assert_eq!(one.affiliation, room.affiliations().of(&one.user));
            assert!(one.affiliation != Affiliation::Outcast);
            assert!(one.affiliation < Affiliation::Admin || one.role == Role::Moderator, "an admin is a moderator");
            assert!(!room.config().members_only || one.affiliation >= Affiliation::Member);
            let reserved = room.affiliations().reserved(&one.nick.key);
            assert_eq!(one.hats, room.wardrobe().of(&one.user), "{:?} wears what it has", one.nick);
            let alike = room.occupants().of_looks(&one.nick.looks);
            assert!(alike.into_iter().all(|other| other.user == one.user), "{:?} looks like another", one.nick);
            assert!(reserved.is_none_or(|user| *user == one.user), "{:?} is reserved", one.nick);
        }
        let again = Wardrobe::from_text(&room.wardrobe().to_text());
        assert_eq!(again.as_ref(), Some(room.wardrobe()), "hats are the same after they were stored");
        assert_eq!(clients.len(), room.occupants().clients());
    }
}

/// What the room thinks of a stanza, if it is one that rooms hear.
fn judge(room: &Room, input: Incoming<'_>) -> Option<Result<Plan, StanzaError>> {
    let root = input.stanza.root();
    match root.name() {
        "presence" => return Some(room.presence(input)),
        "message" => return Some(room.message(input)),
        "iq" => {}
        _ => return None,
    }
    if input.to.resource().is_some() {
        return Some(room.forward(input));
    }
    let kind = root.attr("type")?;
    if kind == "result" || kind == "error" {
        return Some(Ok(room.answered(input)));
    }
    let payload = root.children().next()?;
    if kind == "get" {
        if let Ok(query) = AdminQuery::read(payload) {
            let _ = room.list(input.from, &query);
        }
        let _ = (room.configuration(input.from), room.registration(input.from));
        return None;
    }
    if AdminQuery::matches(payload) {
        return Some(room.administer(input, &AdminQuery::read(payload).ok()?));
    }
    if OwnerQuery::matches(payload) {
        return Some(room.own(input, &OwnerQuery::read(payload).ok()?));
    }
    if Moderate::matches(payload) {
        return Some(room.moderate(input, &Moderate::read(payload).ok()?));
    }
    if VCard::matches(payload) {
        return Some(room.set_card(input, &VCard::read(payload).ok()?));
    }
    if let Ok(request) = CommandElement::read(payload) {
        let command = HatCommand::ALL.into_iter().find(|command| command.node() == request.node)?;
        let _ = room.hat_form(input.from, command);
        return Some(room.change_hats(input.from, command, &request.form?));
    }
    let query = RegistrationQuery::read(payload).ok()?;
    Some(match query.form {
        Some(form) => room.register(input, &form),
        None => room.unregister(input),
    })
}

//! The rules of XEP-0045, one by one, as transcripts: what comes in, and what goes out to whom in which order.
//!
//! In a transcript each line begins with who gets it. Elements without a namespace are of the stanza or of `muc#user`;
//! occupant ids are left out, and ids that the room makes are stars.
//!
//! Where each section is pinned; `service/` and `client/` are in the crate's `tests`.
//!
//! | section | file |
//! |---|---|
//! | 4.3, 16.3 what only rooms say | `rules`, `abuse`, `client/talk` |
//! | 5 roles and affiliations | `tables`, `moderator` (voice across visits), `intrusion` |
//! | 6.1 to 6.6 discovery | `service/discovery`, `client/govern` (lists); 6.3 also `service/disco.rs` |
//! | 7.1, 7.2.1 to 7.2.10, 7.2.12, 7.2.15, 7.2.16, 7.2.18 entering | `enter` |
//! | 7.2.11 a room that is not there | `service/presence`, `service/makers` |
//! | 7.2.13, 7.2.14, 7.9 history | `history` |
//! | 7.2.17 refusals as a client sees them | `client/enter` |
//! | 7.3 to 7.7, 7.11, 7.13, 7.14 occupants | `occupant` |
//! | 7.8 invitations | `invite`, `client/enter` (7.8.1 too) |
//! | 7.10 registration | `register`, `intrusion` |
//! | 7.12 reserved nicknames | `service/discovery`, `register`, `intrusion` |
//! | 8.1 to 8.6 moderators | `moderator` |
//! | 9.1 to 9.8 admins | `admin`, `intrusion` (domains) |
//! | 9.9 requests of membership | `register` |
//! | 10.1 to 10.9 owners | `owner`, `intrusion` (two owners), `service/presence` (who comes while a room ends) |
//! | 11.1, 18.1.2 ghosts | `ghosts`, `service/crowd` |
//! | 11.2 a service stops | `ghosts`, `service/presence` |
//! | 13.4, 13.6 what is told, and what there may be of it | `abuse`, `limits`, `crowds`, `service/archive`, `service/makers` |
//! | 15.5, 15.6 fields and codes | `rules` |
//! | 16.1, 16.2, 16.4 | `enter`, `service/discovery`, `admin`, `occupant` |
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod abuse;
mod admin;
mod crowds;
mod enter;
mod faces;
mod ghosts;
mod history;
mod intrusion;
mod invite;
mod limits;
mod moderator;
mod occupant;
mod owner;
mod properties;
mod register;
mod rules;
mod tables;

use super::*;
use crate::{
    USER,
    payload::{AdminQuery, Moderate, OwnerQuery},
};
use xmpp_core::{
    payload::Payload,
    xml::{ElementRef, Node, Writer, XmlLimits, ns},
};
use xmpp_im::registration::RegistrationQuery;

const ROOM: &str = "coven@chat";
const CRONE: &str = "crone@lit/a";

struct Stage {
    room: Room,
    now: i64,
}

fn jid(text: &str) -> Jid {
    Jid::new(text).unwrap()
}
fn bare(text: &str) -> BareJid {
    BareJid::new(text).unwrap()
}
fn parse(text: &str) -> Stanza {
    Stanza::parse(text, ns::CLIENT, &XmlLimits::authenticated()).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// What happens when a stanza comes.
enum Heard {
    Planned(Result<Plan, StanzaError>),
    Answered(Result<String, StanzaError>),
}

fn written(payload: &impl Payload) -> String {
    let mut out = Writer::new(ns::CLIENT);
    payload.write(&mut out);
    show(out.into_stanza().root(), "")
}

impl Stage {
    /// A room that its owner, who is not in it, has configured.
    fn new(config: RoomConfig) -> Stage {
        Stage::limited(config, RoomLimits::default())
    }
    fn limited(config: RoomConfig, limits: RoomLimits) -> Stage {
        let owner = Affiliated { affiliation: Affiliation::Owner, ..Affiliated::default() };
        let affiliated = vec![(bare("crone@lit"), owner)];
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
        Stage { room: Room::restore(bare(ROOM), record, Arc::new(limits)), now: 1_000_000_000 }
    }
    /// A persistent room as it is by default, with the owner in it.
    fn open() -> Stage {
        let mut stage = Stage::new(RoomConfig { persistent: true, ..RoomConfig::default() });
        stage.join(CRONE, "crone");
        stage
    }
    /// The same where all see addresses, and `hag` is in it.
    fn of_two() -> Stage {
        let mut stage = Stage::open();
        stage.join("hag@lit/a", "hag");
        stage
    }

    fn time(&self) -> DateTime {
        DateTime::from_unix(self.now, 0).unwrap()
    }

    fn judge(&self, stanza: &Stanza) -> Heard {
        let root = stanza.root();
        let (from, to) = (jid(&root.attr("from").unwrap()), jid(&root.attr("to").unwrap()));
        let input = Incoming { from: &from, to: &to, stanza, now: self.time() };
        let room = &self.room;
        match root.name() {
            "presence" if room.is_locked() && room.is_empty() => return Heard::Planned(room.create(input)),
            "presence" => return Heard::Planned(room.presence(input)),
            "message" => return Heard::Planned(room.message(input)),
            _ if to.resource().is_some() => return Heard::Planned(room.forward(input)),
            _ => {}
        }
        let kind = root.attr("type").unwrap();
        if kind == "result" || kind == "error" {
            return Heard::Planned(Ok(room.answered(input)));
        }
        let payload = root.children().next().unwrap();
        if kind == "get" {
            return Heard::Answered(if AdminQuery::matches(payload) {
                room.list(&from, &AdminQuery::read(payload).unwrap()).map(|list| written(&list))
            } else if OwnerQuery::matches(payload) {
                room.configuration(&from).map(|form| written(&form))
            } else {
                room.registration(&from).map(|known| match known {
                    Registration::Registered(nick) => format!("<registered/><username>{nick}</username>"),
                    Registration::Form(form) => written(&form),
                })
            });
        }
        Heard::Planned(if AdminQuery::matches(payload) {
            room.administer(input, &AdminQuery::read(payload).unwrap())
        } else if OwnerQuery::matches(payload) {
            room.own(input, &OwnerQuery::read(payload).unwrap())
        } else if Moderate::matches(payload) {
            room.moderate(input, &Moderate::read(payload).unwrap())
        } else {
            match RegistrationQuery::read(payload).unwrap() {
                RegistrationQuery { form: Some(form), .. } => room.register(input, &form),
                _ => room.unregister(input),
            }
        })
    }

    /// As whoever drives the room does it.
    fn carry_out(&mut self, mut plan: Plan) -> Effects {
        if let Some(publication) = plan.publication().filter(|publication| publication.lasting) {
            publication.id = Some(format!("archived-{}", self.now));
        }
        self.room.apply(plan, self.time())
    }

    /// What comes of a stanza, line by line.
    fn hear(&mut self, xml: &str) -> Vec<String> {
        self.now += 1;
        let stanza = parse(xml);
        let root = stanza.root();
        let (sender, is_iq) = (root.attr("from").unwrap(), root.name() == "iq");
        let is_request = is_iq && matches!(root.attr("type").as_deref(), Some("get" | "set"));
        let is_forwarded = jid(&root.attr("to").unwrap()).resource().is_some();
        match self.judge(&stanza) {
            Heard::Planned(Err(error)) | Heard::Answered(Err(error)) => {
                vec![format!("{sender} error {}", error.condition.as_str())]
            }
            Heard::Answered(Ok(text)) => vec![format!("{sender} result {text}")],
            Heard::Planned(Ok(plan)) => {
                let effects = self.carry_out(plan);
                let line = |delivery: &Delivery| {
                    let to: Vec<&str> = delivery.to.iter().map(Jid::as_str).collect();
                    format!("{} {}", to.join(" "), show(delivery.stanza.root(), xml))
                };
                let mut lines: Vec<String> = effects.first.iter().map(line).collect();
                if is_request && !is_forwarded {
                    lines.push(format!("{sender} result"));
                }
                lines.extend(effects.then.iter().map(line));
                lines
            }
        }
    }

    /// A stanza, and all that comes of it.
    #[track_caller]
    fn plays(&mut self, xml: &str, expected: &str) {
        let lines = self.hear(xml);
        let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        assert!(lines == expected, "\n{xml}\n-- came:\n{}\n-- expected:\n{}\n", lines.join("\n"), expected.join("\n"));
    }

    /// A stanza that is refused, with the room as it was.
    #[track_caller]
    fn refuses(&mut self, xml: &str, condition: &str) {
        let before = format!("{:?}", self.room);
        let lines = self.hear(xml);
        assert!(
            matches!(lines.as_slice(), [line] if line.ends_with(&format!(" error {condition}"))),
            "{xml}\n{lines:?}"
        );
        assert_eq!(before, format!("{:?}", self.room), "an error changes nothing");
    }

    fn join(&mut self, client: &str, nick: &str) -> Vec<String> {
        let lines = self.hear(&joining(client, nick, ""));
        assert!(self.room.occupants().of_client(&jid(client)).is_some(), "{client} is not in: {lines:?}");
        lines
    }
    fn leave(&mut self, client: &str) -> Vec<String> {
        self.hear(&format!("<presence from='{client}' to='{ROOM}/x' type='unavailable'/>"))
    }
    /// The owner changes an affiliation, in silence.
    fn affiliate(&mut self, user: &str, affiliation: &str) -> Vec<String> {
        let lines = self.hear(&admin(CRONE, &format!("<item jid='{user}' affiliation='{affiliation}'/>")));
        assert!(lines.contains(&format!("{CRONE} result")), "{lines:?}");
        lines
    }
    fn role(&mut self, nick: &str, role: &str) -> Vec<String> {
        let lines = self.hear(&admin(CRONE, &format!("<item nick='{nick}' role='{role}'/>")));
        assert!(lines.contains(&format!("{CRONE} result")), "{lines:?}");
        lines
    }
    fn configure(&mut self, fields: &[(&str, &str)]) -> Vec<String> {
        let lines = self.hear(&form(CRONE, fields));
        assert!(lines.contains(&format!("{CRONE} result")), "{lines:?}");
        lines
    }
    fn standing_of(&self, nick: &str) -> (Role, Affiliation) {
        let key = xmpp_core::jid::nickname::comparison_key(nick).unwrap();
        let (_, occupant) = self.room.occupants().of_nick(&key).expect(nick);
        (occupant.role, occupant.affiliation)
    }
}

fn joining(client: &str, nick: &str, content: &str) -> String {
    format!("<presence from='{client}' to='{ROOM}/{nick}'><x xmlns='{}'>{content}</x></presence>", crate::NS)
}
fn admin(client: &str, items: &str) -> String {
    format!("<iq type='set' id='i' from='{client}' to='{ROOM}'><query xmlns='{}'>{items}</query></iq>", crate::ADMIN)
}
fn list(client: &str, item: &str) -> String {
    format!("<iq type='get' id='i' from='{client}' to='{ROOM}'><query xmlns='{}'>{item}</query></iq>", crate::ADMIN)
}
fn owner(client: &str, content: &str) -> String {
    format!("<iq type='set' id='i' from='{client}' to='{ROOM}'><query xmlns='{}'>{content}</query></iq>", crate::OWNER)
}
/// A submitted configuration. Several values are apart by a bar.
fn form(client: &str, fields: &[(&str, &str)]) -> String {
    let values = |value: &str| value.split('|').map(|value| format!("<value>{value}</value>")).collect::<String>();
    let field = |(var, value): &(&str, &str)| format!("<field var='{var}'>{}</field>", values(value));
    let fields: String = fields.iter().map(field).collect();
    owner(client, &format!("<x xmlns='jabber:x:data' type='submit'>{fields}</x>"))
}
fn say(client: &str, content: &str) -> String {
    format!("<message type='groupchat' id='m' from='{client}' to='{ROOM}'>{content}</message>")
}
fn whisper(client: &str, nick: &str, content: &str) -> String {
    format!("<message type='chat' id='m' from='{client}' to='{ROOM}/{nick}'>{content}</message>")
}
fn bounce(client: &str, to: &str, condition: &str) -> String {
    format!(
        "<message type='error' id='m' from='{client}' to='{to}'><error type='cancel'>\
         <{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
    )
}
/// A form to the room itself, of this type.
fn asking(client: &str, kind: &str, fields: &[(&str, &str)]) -> String {
    let field = |(var, value): &(&str, &str)| format!("<field var='{var}'><value>{value}</value></field>");
    let fields: String = fields.iter().map(field).collect();
    format!(
        "<message from='{client}' to='{ROOM}'><x xmlns='jabber:x:data' type='submit'>\
         <field var='FORM_TYPE'><value>{kind}</value></field>{fields}</x></message>"
    )
}
fn voice(client: &str, fields: &[(&str, &str)]) -> String {
    asking(client, VOICE, fields)
}

/// An element as transcripts show it.
fn show(element: ElementRef<'_>, heard: &str) -> String {
    fn go(element: ElementRef<'_>, parent: &str, heard: &str, out: &mut String) {
        if element.name() == "occupant-id" {
            return;
        }
        let _ = write!(out, "<{}", element.name());
        if element.ns() != parent && element.ns() != USER && element.ns() != ns::CLIENT {
            let _ = write!(out, " xmlns='{}'", element.ns());
        }
        for attribute in element.attrs() {
            let (name, value) = (attribute.name, attribute.value);
            let made = name == "id" && !heard.contains(&*value) && !value.starts_with("archived-");
            let _ = write!(out, " {name}='{}'", if made { "*" } else { &*value });
        }
        let mut inner = String::new();
        for node in element.nodes() {
            match node {
                Node::Element(child) => go(child, element.ns(), heard, &mut inner),
                Node::Text(text) => inner.push_str(&text),
            }
        }
        match inner.is_empty() {
            true => out.push_str("/>"),
            false => {
                let _ = write!(out, ">{inner}</{}>", element.name());
            }
        }
    }
    let mut out = String::new();
    go(element, "", heard, &mut out);
    out
}

/// Only the lines that one gets.
fn to<'a>(lines: &'a [String], client: &str) -> Vec<&'a str> {
    let stanzas = lines.iter().filter_map(|line| line.split_once(" <").map(|(to, _)| (to, &line[to.len() + 1..])));
    stanzas.filter(|(to, _)| to.split(' ').any(|one| one == client)).map(|(_, stanza)| stanza).collect()
}

use super::{
    Departure, Loss, MucClientSettings, RoomEvent, SayError,
    configure::RoomForm,
    feed::{Read, Reader},
    invite::Invitation,
    state::{Asked, Duty, Said, Standing, State},
};
use crate::{Role, RoomConfig};
use std::time::Duration;
use tokio::{sync::oneshot, time::Instant};
use xmpp_core::{
    client::Flow,
    jid::BareJid,
    payload::form::{DataForm, Field, FieldType, FormKind},
    stanza::{Message, Presence},
    xml::{Stanza, XmlLimits, ns},
};

const X: &str = "<x xmlns='http://jabber.org/protocol/muc#user'>";

fn stanza(xml: &str) -> Stanza {
    Stanza::parse(xml, ns::CLIENT, &XmlLimits::default()).unwrap()
}

struct Scene {
    state: State,
    events: Reader<RoomEvent>,
    now: Instant,
}

impl Scene {
    fn new(settings: MucClientSettings) -> Scene {
        let now = Instant::now();
        let state = State::new(BareJid::new("coven@chat.lit").unwrap(), settings, now);
        let events = state.subscribe().unwrap();
        Scene { state, events, now }
    }

    /// In the room as `witch`.
    fn inside() -> Scene {
        let mut scene = Scene::new(MucClientSettings::default());
        scene.enter();
        scene
    }

    fn enter(&mut self) {
        let (answer, _) = oneshot::channel();
        self.state.enter("join", "witch", answer);
        self.shown("witch", "", "<item affiliation='member' role='participant'/><status code='110'/>");
        self.told();
    }

    fn shown(&mut self, nick: &str, type_: &str, info: &str) -> Flow {
        let presence = format!("<presence from='coven@chat.lit/{nick}'{type_}>{X}{info}</x></presence>");
        self.presence(&presence)
    }

    fn gone(&mut self, nick: &str, info: &str) {
        self.shown(nick, " type='unavailable'", info);
    }

    fn presence(&mut self, xml: &str) -> Flow {
        self.state.presence(&Presence::from_stanza(stanza(xml)).unwrap(), self.now, 0.0)
    }

    fn message(&mut self, xml: &str) {
        self.state.message(&Message::from_stanza(stanza(xml)).unwrap(), self.now);
    }

    fn told(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        loop {
            match self.events.take() {
                Some(Read::One(event)) => {
                    told.push(format!("{event:?}").chars().take_while(|c| c.is_alphanumeric()).collect());
                }
                Some(Read::Lost(_)) => told.push("Missed".to_owned()),
                None => return told,
            }
        }
    }

    fn event(&self) -> RoomEvent {
        match self.events.take() {
            Some(Read::One(event)) => event,
            other => panic!("{other:?}"),
        }
    }
}

const MEMBER: &str = "<item affiliation='member' role='participant'/>";

#[test]
fn xep0045_7_1_who_was_there_before_does_not_arrive() {
    let mut scene = Scene::new(MucClientSettings::default());
    let (answer, mut entered) = oneshot::channel();
    scene.state.enter("join", "witch", answer);
    scene.shown("hag", "", MEMBER);
    assert!(scene.told().is_empty() && entered.try_recv().is_err());
    scene.shown("witch", "", "<item affiliation='none' role='visitor'/><status code='110'/><status code='100'/>");
    assert_eq!(scene.told(), ["Joined"]);
    assert!(entered.try_recv().unwrap().unwrap().is_non_anonymous);
    scene.shown("cat", "", MEMBER);
    assert_eq!(scene.told(), ["Arrived"]);
    scene.shown("cat", "", MEMBER);
    assert!(scene.told().is_empty(), "nothing has changed");
    scene.shown("cat", "", "<item affiliation='owner' role='moderator'/>");
    assert_eq!(scene.told(), ["Affiliation", "Role"]);
}

#[test]
fn xep0045_7_2_2_a_room_that_was_not_entered_shows_nobody() {
    let mut scene = Scene::new(MucClientSettings::default());
    assert_eq!(scene.shown("hag", "", MEMBER), Flow::Handled);
    scene.shown("witch", "", "<item affiliation='owner' role='moderator'/><status code='110'/>");
    scene.message("<message from='coven@chat.lit/hag' type='groupchat'><body>double</body></message>");
    scene.message("<message from='coven@chat.lit' type='groupchat'><subject>trouble</subject></message>");
    assert!(scene.told().is_empty() && scene.state.occupants.all().is_empty() && scene.state.subject.is_none());
    assert_eq!(scene.state.standing, Standing::Outside);
}

#[test]
fn status_codes_and_forms_count_from_the_room_alone() {
    let mut scene = Scene::inside();
    scene.shown("hag", "", MEMBER);
    scene.told();
    for content in [
        format!("{X}<status code='104'/></x>"),
        format!("{X}<item affiliation='owner' jid='a@b.c'/></x>"),
        format!("{X}<decline from='a@b.c'/></x>"),
        "<x xmlns='jabber:x:data' type='form'><field var='FORM_TYPE' type='hidden'>\
         <value>http://jabber.org/protocol/muc#request</value></field><field var='muc#roomnick'><value>hag</value></field></x>"
            .to_owned(),
        "<retract xmlns='urn:xmpp:message-retract:1' id='1'><moderated xmlns='urn:xmpp:message-moderate:1'/></retract>"
            .to_owned(),
    ] {
        scene.message(&format!("<message from='coven@chat.lit/hag' type='groupchat'>{content}</message>"));
        assert_eq!(scene.told(), ["Message"], "{content}");
        scene.message(&format!("<message from='coven@chat.lit/hag'>{content}</message>"));
        assert_eq!(scene.told(), ["Private"], "{content}");
        scene.message(&format!("<message from='coven@chat.lit' type='groupchat'>{content}</message>"));
        let told = scene.told();
        let own = ["Configured", "Affiliated", "Declined", "VoiceRequest", "Retracted"];
        assert!(told.len() == 1 && own.contains(&told[0].as_str()), "{told:?}");
    }
}

#[test]
fn xep0359_6_and_xep0421_4_ids_count_where_the_room_vouches_for_them() {
    let id = "<stanza-id xmlns='urn:xmpp:sid:0' by='coven@chat.lit' id='1'/><occupant-id xmlns='urn:xmpp:occupant-id:0' id='o'/>";
    let said = format!("<message from='coven@chat.lit/hag' type='groupchat'><body>a</body>{id}</message>");
    let mut scene = Scene::inside();
    let ids = |scene: &mut Scene| match scene.event() {
        RoomEvent::Message(message) => (message.stanza_id, message.occupant_id),
        other => panic!("{other:?}"),
    };
    scene.message(&said);
    assert_eq!(ids(&mut scene), (None, None), "it has not said that it gives ids");
    scene.message(&said);
    assert_eq!(ids(&mut scene), (None, None), "so that nothing is taken for a repetition");
    scene.state.features.insert("urn:xmpp:sid:0".to_owned());
    let own = "<x xmlns='http://jabber.org/protocol/muc#user'><item role='visitor'/><status code='110'/></x>";
    scene.presence(&format!(
        "<presence from='coven@chat.lit/witch'><occupant-id xmlns='urn:xmpp:occupant-id:0' id='me'/>{own}</presence>"
    ));
    scene.told();
    scene.message(&said);
    assert_eq!(ids(&mut scene), (Some("1".to_owned()), Some("o".to_owned())));
    scene.message(&said);
    assert!(scene.told().is_empty(), "it was told");
    scene.message(&said.replace("by='coven@chat.lit'", "by='else@chat.lit'").replace("id='1'", "id='2'"));
    assert_eq!(ids(&mut scene).0, None);
    // A name is not a stamp.
    let delay = |from: &str| {
        format!(
            "<message from='coven@chat.lit/hag' type='groupchat'><body>a</body><delay xmlns='urn:xmpp:delay' from='{from}' stamp='2020-01-01T00:00:00Z'/></message>"
        )
    };
    for (from, history) in [("coven@chat.lit", true), ("hag@else.lit", false)] {
        scene.message(&delay(from));
        match scene.event() {
            RoomEvent::Message(message) => assert_eq!(message.is_history(), history, "{from}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn abuse_a_lying_room_fills_no_memory() {
    let mut settings = MucClientSettings::default();
    (settings.occupants, settings.events, settings.remembered) = (10, 8, 16);
    let mut scene = Scene::new(settings);
    scene.enter();
    let long = "x".repeat(5_000);
    for n in 0..1_000 {
        let status = format!("<presence from='coven@chat.lit/n{n}'><status>{long}</status>{X}{MEMBER}</x></presence>");
        scene.presence(&status);
        let was = if n % 2 == 0 { "witch".to_owned() } else { format!("n{}", n - 1) };
        scene.gone(&was, &format!("<item nick='m{n}'/><status code='303'/>"));
        scene.gone(&format!("m{n}"), "<item nick='witch'/><status code='303'/>");
    }
    scene.state.features.insert("urn:xmpp:sid:0".to_owned());
    for n in 0..1_000 {
        let id = format!("<stanza-id xmlns='urn:xmpp:sid:0' by='coven@chat.lit' id='{n}'/>");
        scene.message(&format!("<message from='coven@chat.lit/n1' type='groupchat'><body>a</body>{id}</message>"));
    }
    let occupants = scene.state.occupants.all();
    assert!(occupants.len() <= 11, "{}", occupants.len());
    assert!(occupants.iter().all(|one| one.status.as_ref().is_none_or(|status| status.len() <= 1_024)));
    assert!(!scene.state.is_repeated("0") && scene.state.is_repeated("999"), "the latest are remembered");
    assert!(scene.told().len() <= 9);
    assert!(scene.state.said.is_empty());
}

#[test]
fn abuse_what_a_room_makes_wait_is_bounded_in_bytes_and_what_is_lost_is_told() {
    let settings = MucClientSettings { event_bytes: 100_000, ..MucClientSettings::default() };
    let mut scene = Scene::new(settings);
    scene.enter();
    let long = "x".repeat(9_000);
    let form = "<field var='a'/>".repeat(500);
    for content in [
        format!("<body>{long}</body>"),
        format!("<subject>{long}</subject>"),
        format!("{X}<decline from='a@b.c'><reason>{long}</reason></decline></x>"),
        format!("<x xmlns='jabber:x:data' type='form'>{form}</x>"),
        format!("{X}{}</x>", "<status code='104'/>".repeat(4_000)),
    ] {
        for _ in 0..100 {
            scene.message(&format!("<message from='coven@chat.lit' type='groupchat'>{content}</message>"));
            assert!(scene.state.events.as_ref().unwrap().bytes() <= 100_000);
        }
        let told = scene.told();
        assert!(told[0] == "Missed" && (2..50).contains(&told.len()), "{}: {told:?}", &content[..9]);
    }
}

#[test]
fn abuse_occupants_are_bounded_in_bytes_and_we_are_one_of_them() {
    let settings = MucClientSettings { occupant_bytes: 50_000, ..MucClientSettings::default() };
    let mut scene = Scene::new(settings);
    scene.enter();
    let long = "x".repeat(1_000);
    let item = |n: usize| format!("<item affiliation='member' role='participant' jid='{long}{n}@{n}.lit/{long}'/>");
    // Short at first, and then long; and long from the start.
    for start in [0, 60] {
        for n in start..100_000 / 500 {
            scene.shown(&format!("n{n}"), "", MEMBER);
            scene.shown(&format!("n{n}"), "", &item(n));
        }
        assert!(scene.state.occupants.bytes() <= 50_000 && scene.state.occupants.all().len() > 10);
    }
    let known = scene.state.occupants.all().len();
    for n in 0..1_000 {
        scene.shown(&format!("self{n}"), "", &format!("{}<status code='110'/>", item(n)));
    }
    assert_eq!((scene.state.occupants.all().len(), scene.state.nick.as_str()), (known, "self999"));
    scene.gone("self999", "<item role='none'/><status code='307'/><status code='110'/>");
    assert_eq!(scene.state.occupants.bytes(), 0);
}

#[test]
fn presence_of_our_own_under_another_nickname_is_a_change_of_ours() {
    let mut scene = Scene::inside();
    scene.shown("hag", "", MEMBER);
    scene.told();
    scene.shown("Witch", "", "<item affiliation='member' role='participant'/><status code='110'/>");
    match scene.event() {
        RoomEvent::Nick { was, occupant, is_mine } => {
            assert_eq!((was.as_str(), occupant.nick.as_str(), is_mine), ("witch", "Witch", true));
        }
        other => panic!("{other:?}"),
    }
    let there: Vec<_> = scene.state.occupants.all().iter().map(|one| one.nick.clone()).collect();
    assert_eq!(there, ["Witch", "hag"]);
}

#[test]
fn what_waits_is_told_when_the_room_is_gone() {
    let mut scene = Scene::inside();
    let (answer, mut waiting) = oneshot::channel();
    scene.state.said.insert("1".to_owned(), Said { subject: None, answer });
    let (answer, mut renaming) = oneshot::channel();
    scene.state.renaming = Some(Asked { id: "2".to_owned(), nick: "hag".to_owned(), answer });
    scene.gone(
        "witch",
        "<item role='none'><actor nick='hag'/><reason>out</reason></item><status code='307'/><status code='110'/>",
    );
    assert!(matches!(waiting.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
    assert!(matches!(renaming.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
    let event = scene.event();
    let RoomEvent::Removed(removal) = event else { panic!("{event:?}") };
    assert_eq!((removal.why, removal.by.as_deref()), (Departure::Kicked, Some("hag")));
    assert_eq!(scene.state.duty(scene.now), Duty::Wait(None), "who was kicked does not come back by itself");
}

#[test]
fn xep0045_7_4_a_message_comes_back_by_its_id_from_our_nickname() {
    let mut scene = Scene::inside();
    scene.shown("hag", "", MEMBER);
    let say = |scene: &mut Scene, id: &str| {
        let (answer, waiting) = oneshot::channel();
        scene.state.said.insert(id.to_owned(), Said { subject: None, answer });
        waiting
    };
    let mut waiting = say(&mut scene, "1");
    let back = |nick: &str, id: &str, more: &str| {
        format!("<message from='coven@chat.lit/{nick}' id='{id}' type='groupchat'><body>a</body>{more}</message>")
    };
    scene.message(&back("hag", "1", ""));
    assert!(waiting.try_recv().is_err(), "another has the same id");
    scene.message(&back("witch", "1", ""));
    assert!(waiting.try_recv().unwrap().is_ok());
    let mut waiting = say(&mut scene, "2");
    scene.message(&back("witch", "changed", "<origin-id xmlns='urn:xmpp:sid:0' id='2'/>"));
    assert!(waiting.try_recv().unwrap().is_ok(), "rooms of old change the id");
    let mut waiting = say(&mut scene, "3");
    let error = "<error type='auth'><forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
    scene.message(&format!("<message from='coven@chat.lit' id='3' type='error'>{error}</message>"));
    assert!(matches!(waiting.try_recv().unwrap(), Err(SayError::NotPermitted)));
    scene.told();
    scene.message(&format!("<message from='coven@chat.lit' id='4' type='error'>{error}</message>"));
    assert_eq!(scene.told(), ["NotDelivered"]);
}

#[test]
fn abuse_what_is_said_to_all_is_not_said_to_have_failed_by_one_of_them() {
    let mut scene = Scene::inside();
    scene.shown("hag", "", MEMBER);
    let (answer, mut waiting) = oneshot::channel();
    scene.state.said.insert("1".to_owned(), Said { subject: None, answer });
    let error = "<error type='auth'><forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
    scene.message(&format!("<message from='coven@chat.lit/hag' id='1' type='error'>{error}</message>"));
    assert!(waiting.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty));
    scene.message("<message from='coven@chat.lit/witch' id='1' type='groupchat'><body>a</body></message>");
    assert!(waiting.try_recv().unwrap().is_ok());
}

#[test]
fn abuse_a_room_that_puts_us_out_each_time_is_come_back_to_ever_later() {
    let mut scene = Scene::inside();
    let mut waits = Vec::new();
    for stay in [1, 1, 1, 1, 1, 1, 1, 1, 1, 61, 1] {
        scene.now += Duration::from_secs(stay);
        scene.gone("witch", "<item role='none'/><status code='333'/><status code='110'/>");
        let Standing::Lost { at, .. } = scene.state.standing else { panic!("{:?}", scene.state.standing) };
        waits.push((at - scene.now).as_secs());
        scene.now = at;
        scene.enter();
    }
    assert_eq!(waits, [2, 4, 8, 16, 32, 64, 128, 128, 128, 2, 2]);
}

#[test]
fn what_is_nobodys_will_leads_back() {
    for (codes, loss) in
        [("<status code='332'/>", Loss::Shutdown), ("<status code='307'/><status code='333'/>", Loss::Technical)]
    {
        let mut scene = Scene::inside();
        scene.gone("witch", &format!("<item role='none'/>{codes}<status code='110'/>"));
        let event = scene.event();
        assert!(matches!(event, RoomEvent::Lost(what) if what == loss), "{event:?}");
        assert!(matches!(scene.state.duty(scene.now), Duty::Wait(Some(_))), "not at once");
        assert_eq!(scene.state.duty(scene.now + Duration::from_secs(60)), Duty::Enter);
    }
    let mut scene = Scene::inside();
    scene.gone("witch", "<item role='none'/><destroy jid='other@chat.lit'/><status code='332'/><status code='110'/>");
    assert_eq!(scene.told(), ["Destroyed"]);
    let mut scene = Scene::inside();
    assert_eq!(scene.state.duty(scene.now), Duty::Wait(Some(scene.now + Duration::from_secs(900))));
    scene.state.session_resumes(scene.now);
    assert_eq!(scene.state.duty(scene.now), Duty::Ping);
    scene.state.session_begins(scene.now);
    assert_eq!((scene.told(), scene.state.duty(scene.now)), (vec!["Lost".to_owned()], Duty::Enter));
    scene.enter();
    assert!(scene.state.is_inside() && scene.state.returns);
}

#[test]
fn xep0045_7_8_2_an_invitation_through_a_room_comes_from_its_own_address() {
    let invitation = |from: &str, content: &str| {
        let message = Message::from_stanza(stanza(&format!("<message from='{from}'>{content}</message>"))).unwrap();
        Invitation::read(&message)
    };
    let invite = format!(
        "{X}<invite from='hag@lit'><reason>come</reason><continue thread='t'/></invite><password>p</password></x>"
    );
    let read = invitation("coven@chat.lit", &invite).unwrap();
    assert_eq!((read.room.as_str(), read.thread.as_deref()), ("coven@chat.lit", Some("t")));
    assert!(read.is_mediated && read.continues && read.password.as_deref() == Some("p"));
    for from in ["coven@chat.lit/hag", "chat.lit", "hag@lit/phone"] {
        assert_eq!(invitation(from, &invite), None);
    }
    let direct = invitation("hag@lit/phone", "<x xmlns='jabber:x:conference' jid='coven@chat.lit'/>").unwrap();
    assert_eq!((direct.room.as_str(), direct.is_mediated), ("coven@chat.lit", false));
    assert_eq!(invitation("hag@lit/phone", "<x xmlns='jabber:x:conference' jid='@'/>"), None);
}

#[test]
fn xep0045_10_2_a_form_is_sent_back_with_what_was_changed() {
    let form = DataForm::typed(FormKind::Form, crate::config::FORM)
        .with(Field::new("muc#roomconfig_roomname").typed(FieldType::TextSingle).value("Coven"))
        .with(Field::new("muc#roomconfig_roomsecret").typed(FieldType::TextPrivate).value("boil"))
        .with(Field::new("muc#roomconfig_allowpm").typed(FieldType::ListSingle).value("only on Sundays"))
        .with(Field::new("note").typed(FieldType::Fixed).value("fill it in"))
        .with(Field::new("their#own").typed(FieldType::TextSingle).value("1"))
        .with(Field::new("muc#roomconfig_publicroom").typed(FieldType::Boolean).value("0"));
    let mut form = RoomForm::read(form);
    let config =
        RoomConfig { name: "Coven".into(), password: Some("boil".into()), public: false, ..RoomConfig::default() };
    assert_eq!(form.config, config);
    (form.config.name, form.config.password) = ("Heath".to_owned(), None);
    let filled = form.filled().unwrap();
    assert_eq!(filled.type_, FormKind::Submit);
    let values: Vec<_> =
        filled.fields.iter().map(|field| (field.var.as_deref().unwrap(), field.values.join(","))).collect();
    let expected = [
        ("FORM_TYPE", crate::config::FORM),
        ("muc#roomconfig_roomname", "Heath"),
        ("muc#roomconfig_roomsecret", ""),
        ("muc#roomconfig_allowpm", "only on Sundays"),
        ("their#own", "1"),
        ("muc#roomconfig_publicroom", "0"),
    ];
    assert_eq!(values, expected.map(|(var, value)| (var, value.to_owned())));
    form.config.moderated = true;
    assert!(form.filled().unwrap_err().to_string().contains("muc#roomconfig_moderatedroom"));
    assert!(Role::Visitor < Role::Moderator);
}

mod property {
    use super::*;
    use proptest::prelude::*;

    /// What a room may send, sensible or not.
    fn stanzas() -> impl Strategy<Value = String> {
        let nick = prop::sample::select(vec!["witch", "hag", "cat", "toad"]);
        let type_ = prop::sample::select(vec!["", " type='unavailable'", " type='error'"]);
        let role = prop::sample::select(vec!["none", "visitor", "participant", "moderator", "king"]);
        let codes =
            prop::collection::vec(prop::sample::select(vec![100, 110, 201, 210, 301, 303, 307, 322, 332, 333]), 0..4);
        let new = prop::sample::select(vec!["", " nick='toad'", " nick='witch'", " nick=''"]);
        let more = prop::sample::select(vec!["", "<destroy/>"]);
        (nick, type_, role, codes, new, more).prop_map(|(nick, type_, role, codes, new, more)| {
            let codes: String = codes.iter().map(|code| format!("<status code='{code}'/>")).collect();
            let item = format!("<item affiliation='none' role='{role}'{new}/>");
            format!("<presence from='coven@chat.lit/{nick}'{type_}>{X}{item}{codes}{more}</x></presence>")
        })
    }

    proptest! {
        #[test]
        fn whatever_a_room_sends_the_view_holds(sent in prop::collection::vec(stanzas(), 0..60)) {
            let mut scene = Scene::inside();
            for xml in sent {
                scene.presence(&xml);
                let state = &scene.state;
                // Who is in the room is in the view, and nobody is in it otherwise.
                prop_assert_eq!(state.occupants.get(&state.nick).is_some(), state.is_inside(), "{}", xml);
                if !state.is_inside() {
                    prop_assert!(state.occupants.all().is_empty());
                }
                prop_assert!(state.occupants.all().iter().all(|one| state.occupants.get(&one.nick) == Some(one)));
            }
        }
    }
}

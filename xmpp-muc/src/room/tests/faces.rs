//! The room's vCard and photo (XEP-0486), hats (XEP-0317), nicknames that look the same, and how often presence changes.

use super::*;
use proptest::prelude::*;
use std::time::Duration;
use xmpp_core::payload::form::{DataForm, Field, FormKind};
use xmpp_im::vcard::VCard;

const PNG: &str = "iVBORw0KGgo=";
const GIF: &str = "R0lGODlh";
const VCARD: &str = "vcard-temp";

/// A vCard of fields, set by a client.
fn set_card(stage: &mut Stage, client: &str, fields: &str) -> Result<Vec<String>, String> {
    stage.now += 1;
    let xml = format!("<iq type='set' id='i' from='{client}' to='{ROOM}'><vCard xmlns='{VCARD}'>{fields}</vCard></iq>");
    let stanza = parse(&xml);
    let (from, to, now) = (jid(client), jid(ROOM), stage.time());
    let card = VCard::read(stanza.root().children().next().unwrap()).unwrap();
    let plan = stage.room.set_card(Incoming { from: &from, to: &to, stanza: &stanza, now }, &card);
    carried(stage, plan)
}

fn carried(stage: &mut Stage, plan: Result<Plan, StanzaError>) -> Result<Vec<String>, String> {
    let effects = stage.carry_out(plan.map_err(|error| error.condition.as_str().to_owned())?);
    assert!(effects.first.is_empty());
    let line = |delivery: &Delivery| {
        let to: Vec<&str> = delivery.to.iter().map(Jid::as_str).collect();
        format!("{} {}", to.join(" "), show(delivery.stanza.root(), ""))
    };
    Ok(effects.then.iter().map(line).collect())
}

fn photo(kind: &str, data: &str) -> String {
    format!("<PHOTO><TYPE>{kind}</TYPE><BINVAL>{data}</BINVAL></PHOTO>")
}

fn hats(stage: &mut Stage, client: &str, command: HatCommand, fields: &[(&str, &str)]) -> Result<Vec<String>, String> {
    stage.now += 1;
    let form = fields
        .iter()
        .fold(DataForm::new(FormKind::Submit), |form, (var, value)| form.with(Field::new(*var).value(*value)));
    let plan = stage.room.change_hats(&jid(client), command, &form);
    carried(stage, plan)
}

fn create(stage: &mut Stage, uri: &str, title: &str) -> Result<Vec<String>, String> {
    hats(stage, CRONE, HatCommand::Create, &[("hats#uri", uri), ("hats#title", title)])
}

fn assign(stage: &mut Stage, user: &str, uri: &str) -> Result<Vec<String>, String> {
    hats(stage, CRONE, HatCommand::Assign, &[("hats#uri", uri), ("hats#jid", user)])
}

#[test]
fn xep0486_4_2_an_owner_sets_the_photo_and_all_hear_of_it() {
    let mut stage = Stage::of_two();
    let lines = set_card(&mut stage, CRONE, &photo("image/png", PNG)).unwrap();
    let hash = stage.room.avatar_hashes()[0].clone();
    assert_eq!(hash.len(), 40);
    let both = "crone@lit/a hag@lit/a";
    let update = |photo: &str| format!("<presence from='{ROOM}'><x xmlns='vcard-temp:x:update'>{photo}</x></presence>");
    let changed =
        format!("{both} <message from='{ROOM}' type='groupchat' id='*'><x><status code='104'/></x></message>");
    let shown = format!("<photo>{hash}</photo>");
    assert_eq!(lines, [changed.clone(), format!("{both} {}", update(&shown))]);
    assert_eq!(set_card(&mut stage, CRONE, &photo("image/png", PNG)).unwrap(), [""; 0], "it has it already");

    // Who enters learns of it between its own presence and the history.
    let lines = stage.join("wiz@lit/a", "wiz");
    let own: Vec<&str> = to(&lines, "wiz@lit/a");
    assert!(own[2].contains("code='110'") && own[3] == update(&shown) && own[4].contains("<subject/>"), "{own:#?}");

    // A vCard without a photo, and none at all.
    let lines = set_card(&mut stage, CRONE, "<FN>Coven</FN>").unwrap();
    assert_eq!(lines[1], format!("{both} wiz@lit/a {}", update("<photo/>")));
    assert!(stage.room.avatar_hashes().is_empty() && stage.room.card(&jid("hag@lit/a")).is_ok());
    assert_eq!(set_card(&mut stage, CRONE, "").unwrap(), [changed.replace(both, &format!("{both} wiz@lit/a"))]);
    assert_eq!(stage.room.card(&jid("hag@lit/a")).unwrap_err().condition.as_str(), "item-not-found");
    assert_eq!(to(&stage.join("x@lit/a", "x"), "x@lit/a").iter().filter(|one| one.contains("x:update")).count(), 0);
}

#[test]
fn xep0486_5_1_several_photos_have_a_hash_each() {
    let mut stage = Stage::open();
    set_card(&mut stage, CRONE, &format!("{}{}", photo("image/png", PNG), photo("image/gif", GIF))).unwrap();
    assert_eq!(stage.room.avatar_hashes().len(), 2);
    let restored = Card::restore(parse(stage.room.card(&jid(CRONE)).unwrap().as_str()));
    assert_eq!(restored.hashes(), stage.room.avatar_hashes());
}

#[test]
fn abuse_xep0486_6_who_may_not_set_it_and_what_may_not_be_in_it() {
    let mut stage = Stage::of_two();
    stage.affiliate("admin@lit", "admin");
    for who in ["hag@lit/a", "admin@lit/a", "stranger@lit/a"] {
        assert_eq!(set_card(&mut stage, who, &photo("image/png", PNG)).unwrap_err(), "forbidden", "{who}");
    }
    let large = format!("<DESC>{}</DESC>", "x".repeat(128 * 1024));
    for bad in [
        photo("image/svg+xml", "PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciLz4="),
        photo("text/html", PNG),
        photo("image/png", GIF),
        photo("image/png", "PGh0bWw+"),
        photo("image/png", ""),
        photo("image/png", "!"),
        "<PHOTO><EXTVAL>http://far/x.png</EXTVAL></PHOTO>".to_owned(),
        format!("<PHOTO><BINVAL>{PNG}</BINVAL><EXTVAL>http://far/x.png</EXTVAL></PHOTO>"),
        format!("<SOUND><BINVAL>{PNG}</BINVAL></SOUND>"),
        format!("<AGENT><vCard>{}</vCard></AGENT>", photo("image/svg+xml", PNG)),
        photo("image/png", PNG).repeat(5),
        large,
    ] {
        assert_eq!(set_card(&mut stage, CRONE, &bad).unwrap_err(), "not-acceptable", "{bad:.100}");
    }
    assert!(stage.room.card(&jid(CRONE)).is_err());
    // Before it is open there is no such room.
    let mut locked = stage.room.record();
    locked.locked = true;
    let locked = Room::restore(bare(ROOM), locked, Arc::default());
    assert_eq!(locked.card(&jid("stranger@lit/a")).unwrap_err().condition.as_str(), "item-not-found");
}

#[test]
fn xep0317_4_hats_are_made_worn_changed_and_gone() {
    let mut stage = Stage::of_two();
    let both = "crone@lit/a hag@lit/a";
    let changed =
        format!("{both} <message from='{ROOM}' type='groupchat' id='*'><x><status code='104'/></x></message>");
    assert!(stage.room.wardrobe().hash().is_none());
    let made = [("hats#uri", "urn:x:cook"), ("hats#title", "Cook"), ("hats#hue", "327.25")];
    assert_eq!(hats(&mut stage, CRONE, HatCommand::Create, &made).unwrap(), [&*changed]);
    let before = stage.room.wardrobe().hash();
    let lines = assign(&mut stage, "hag@lit/z", "urn:x:cook").unwrap();
    let cook = "<hats xmlns='urn:xmpp:hats:0'><hat uri='urn:x:cook' title='Cook' hue='327.25'/></hats>";
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with("crone@lit/a ") && lines[1].starts_with("hag@lit/a "), "{lines:?}");
    assert!(lines.iter().all(|line| line.contains(cook)), "{lines:?}");
    assert_eq!(assign(&mut stage, "hag@lit", "urn:x:cook").unwrap(), [""; 0], "it is worn already");

    // It stays through presence, nicknames and visits, and is seen by who comes.
    let xml = format!(
        "<presence from='hag@lit/a' to='{ROOM}/witch'><hats xmlns='urn:xmpp:hats:0'><hat uri='f' title='f'/></hats></presence>"
    );
    let lines = stage.hear(&xml);
    assert!(lines.iter().filter(|line| !line.contains("unavailable")).all(|line| line.contains(cook)), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("uri='f'")), "{lines:?}");
    assert!(!stage.leave("hag@lit/a").iter().any(|line| line.contains("hats")));
    stage.join("hag@lit/b", "hag");
    assert!(stage.join("wiz@lit/a", "wiz").iter().any(|line| line.starts_with("wiz@lit/a ") && line.contains(cook)));

    // Another title: all are told, and who wears it is shown anew.
    let lines = create(&mut stage, "urn:x:cook", "Chef").unwrap();
    assert!(
        lines[0].contains("code='104'") && lines[1..].iter().all(|line| line.contains("title='Chef'")),
        "{lines:?}"
    );
    assert!(lines.len() > 1 && stage.room.wardrobe().hash() != before);
    let again = Wardrobe::from_text(&stage.room.wardrobe().to_text()).unwrap();
    assert_eq!(&again, stage.room.wardrobe());

    let lines = hats(&mut stage, CRONE, HatCommand::Unassign, &[("hats#uri", "urn:x:cook"), ("hats#jid", "hag@lit")]);
    let lines = lines.unwrap();
    assert!(!lines.is_empty() && !lines.iter().any(|line| line.contains("hats") || line.contains("104")), "{lines:?}");
    assign(&mut stage, "hag@lit", "urn:x:cook").unwrap();
    let lines = hats(&mut stage, CRONE, HatCommand::Destroy, &[("hats#uri", "urn:x:cook")]).unwrap();
    assert!(lines[0].contains("104") && lines.len() > 1 && lines[1..].iter().all(|line| !line.contains("urn:x:cook")));
    assert_eq!(stage.room.wardrobe(), &Wardrobe::default(), "nobody wears what there is not");
}

#[test]
fn abuse_xep0317_hats_are_for_admins_to_give_and_have_bounds() {
    let limits = RoomLimits { hats: 2, hats_of_user: 1, hat_wearers: 2, ..RoomLimits::default() };
    let mut stage = Stage::limited(RoomConfig { persistent: true, ..RoomConfig::default() }, limits);
    stage.join(CRONE, "crone");
    stage.join("hag@lit/a", "hag");
    let fields = [("hats#uri", "urn:x:a"), ("hats#title", "A"), ("hats#jid", "hag@lit")];
    for command in HatCommand::ALL.into_iter().filter(|command| *command != HatCommand::List) {
        for who in ["hag@lit/a", "stranger@lit/a"] {
            assert_eq!(hats(&mut stage, who, command, &fields).unwrap_err(), "forbidden");
            assert_eq!(stage.room.hat_form(&jid(who), command).unwrap_err().condition.as_str(), "forbidden");
        }
    }
    assert!(stage.room.hat_form(&jid("hag@lit/a"), HatCommand::List).is_ok());
    assert!(stage.room.hat_form(&jid("stranger@lit/a"), HatCommand::List).is_err());

    let long = format!("urn:{}", "x".repeat(255));
    for (uri, title) in
        [("", "A"), ("urn:x", ""), ("x", "A"), ("urn: x", "A"), ("1:x", "A"), (&*long, "A"), ("urn:x", &*long)]
    {
        assert_eq!(create(&mut stage, uri, title).unwrap_err(), "bad-request", "{uri:?} {title:?}");
    }
    for hue in ["x", "-1", "361", "NaN", "inf"] {
        let fields = [("hats#uri", "urn:x:a"), ("hats#title", "A"), ("hats#hue", hue)];
        assert_eq!(hats(&mut stage, CRONE, HatCommand::Create, &fields).unwrap_err(), "bad-request", "{hue}");
    }
    create(&mut stage, "urn:x:a", "A").unwrap();
    create(&mut stage, "urn:x:b", "B").unwrap();
    assert_eq!(create(&mut stage, "urn:x:c", "C").unwrap_err(), "resource-constraint");
    create(&mut stage, "urn:x:b", "Bee").unwrap();
    assert_eq!(assign(&mut stage, "hag@lit", "urn:x:c").unwrap_err(), "item-not-found");
    assert_eq!(assign(&mut stage, "lit", "urn:x:a").unwrap_err(), "bad-request");
    assign(&mut stage, "hag@lit", "urn:x:a").unwrap();
    assert_eq!(assign(&mut stage, "hag@lit", "urn:x:b").unwrap_err(), "resource-constraint");
    assign(&mut stage, "absent@lit", "urn:x:a").unwrap();
    assert_eq!(assign(&mut stage, "third@lit", "urn:x:a").unwrap_err(), "resource-constraint");
    assert_eq!(stage.room.wardrobe().worn().count(), 2);
}

#[test]
fn abuse_a072_a_nickname_that_looks_like_anothers_is_taken() {
    let mut stage = Stage::open();
    stage.hear(&admin(CRONE, "<item jid='olga@lit' affiliation='member' nick='Olga1'/>"));
    stage.join("anna@lit/a", "Анна");
    // What is reserved, what is there, and by a change as well as by entering.
    stage.refuses(&joining("mallory@evil/a", "οlgal", ""), "conflict");
    stage.refuses(&joining("mallory@evil/a", "Aннa", ""), "conflict");
    stage.join("mallory@evil/a", "mallory");
    stage.refuses(&format!("<presence from='mallory@evil/a' to='{ROOM}/сrоnе'/>"), "conflict");
    let register = |who: &str, nick: &str| {
        format!(
            "<iq type='set' id='i' from='{who}' to='{ROOM}'><query xmlns='jabber:iq:register'><x xmlns='jabber:x:data' \
             type='submit'><field var='muc#register_roomnick'><value>{nick}</value></field></x></query></iq>"
        )
    };
    stage.refuses(&register("mallory@evil/a", "сrоnе"), "conflict");
    let two =
        "<item jid='x@lit' affiliation='member' nick='twin1'/><item jid='y@lit' affiliation='member' nick='twinl'/>";
    stage.refuses(&admin(CRONE, two), "conflict");
    // Whose it is has it, with all clients and however it is written; and people of one script are not in each other's way.
    stage.join("olga@lit/a", "Olga1");
    stage.join("olga@lit/b", "olga1");
    stage.join("anna@lit/b", "анна");
    stage.hear(&format!("<presence from='anna@lit/a' to='{ROOM}/Aннa'/>"));
    for (number, nick) in
        ["Ольга", "Олег", "Ελένη", "Ελένα", "漢字", "かな", "カナ", "한국", "שרה", "José", "Jose2"].iter().enumerate()
    {
        stage.join(&format!("user{number}@lit/a"), nick);
    }
    // Where it does not matter, it does not.
    let limits = RoomLimits { look_alikes: true, ..RoomLimits::default() };
    let mut stage = Stage::limited(RoomConfig { persistent: true, ..RoomConfig::default() }, limits);
    stage.join(CRONE, "crone");
    stage.join("mallory@evil/a", "сrоnе");
    stage.join("third@evil/a", "сrone");
    // Of several who look the same each is known for itself.
    stage.leave("mallory@evil/a");
    let looks = Nick::of(&jid(&format!("{ROOM}/crone"))).unwrap().0.looks;
    assert_eq!(stage.room.occupants().of_looks(&looks).count(), 2);
}

proptest! {
    #[test]
    fn abuse_a072_two_keep_each_other_out_or_neither_does(one in "[a-cа-вi1lо0o]{1,4}", other in "[a-cа-вi1lо0o]{1,4}") {
        let second = |first: &str, second: &str| {
            let mut stage = Stage::new(RoomConfig { persistent: true, ..RoomConfig::default() });
            stage.join("one@lit/a", first);
            stage.hear(&joining("two@lit/a", second, ""));
            stage.room.occupants().len()
        };
        prop_assert_eq!(second(&one, &other), second(&other, &one));
    }
}

#[test]
fn abuse_presence_that_changes_too_often_is_not_told_to_all() {
    let limits = RoomLimits { presence_burst: 4, presence_every: Duration::from_secs(10), ..RoomLimits::default() };
    let mut stage = Stage::limited(RoomConfig { persistent: true, ..RoomConfig::default() }, limits);
    stage.join(CRONE, "crone");
    stage.join("hag@lit/a", "hag");
    // Entering counts for itself.
    stage.now += 20;
    let show = |text: &str| format!("<presence from='hag@lit/a' to='{ROOM}/hag'><status>{text}</status></presence>");
    for text in ["1", "2", "3", "4"] {
        assert_eq!(stage.hear(&show(text)).len(), 2, "{text}");
    }
    stage.refuses(&show("5"), "resource-constraint");
    stage.refuses(&joining("hag@lit/a", "hag", ""), "resource-constraint");
    stage.refuses(&format!("<presence from='hag@lit/a' to='{ROOM}/gah'/>"), "resource-constraint");
    assert_eq!(
        stage.hear(&format!("<presence from='{CRONE}' to='{ROOM}/crone'/>")).len(),
        2,
        "others are as they were"
    );
    stage.now += 10;
    assert_eq!(stage.hear(&show("6")).len(), 2);
    stage.refuses(&show("7"), "resource-constraint");
    stage.now += 30;
    assert!(!stage.hear(&format!("<presence from='hag@lit/a' to='{ROOM}/gah'/>"))[0].contains(" error "));
    assert!(!stage.leave("hag@lit/a").is_empty(), "whoever wants to go may");
}

#[test]
fn xep0045_10_3_who_owns_or_administers_a_room_is_told_though_they_are_not_there() {
    let mut stage = Stage::of_two();
    stage.join("member@lit/a", "member");
    stage.affiliate("member@lit", "member");
    let told = |lines: &[String], who: &str| to(lines, who).iter().any(|line| line.contains("jid='absent@lit'"));
    for (whois, member) in [("moderators", false), ("anyone", true)] {
        stage.configure(&[("muc#roomconfig_whois", whois)]);
        for affiliation in ["admin", "owner", "member"] {
            let lines = stage.affiliate("absent@lit", affiliation);
            assert!(told(&lines, CRONE), "{affiliation} {lines:?}");
            assert_eq!(told(&lines, "member@lit/a"), member, "{whois} {affiliation}");
            assert!(!told(&lines, "hag@lit/a"), "{whois} {affiliation}");
            assert!(
                lines
                    .iter()
                    .any(|line| line.contains(&format!("affiliation='{affiliation}' jid='absent@lit' role='none'")))
            );
        }
        for affiliation in ["none", "outcast", "none", "member", "none"] {
            assert!(!told(&stage.affiliate("absent@lit", affiliation), CRONE), "§9 says nothing of that");
        }
    }
}

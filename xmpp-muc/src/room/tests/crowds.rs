//! Rooms with many in them: what that costs, what of them is shown, and how much one of them may cause.

use super::{register::register, *};
use std::{collections::HashSet, time::Duration};

/// A room that stays, with its owner and some others in it.
fn full(config: RoomConfig, limits: RoomLimits, others: usize) -> Stage {
    let mut stage = Stage::limited(RoomConfig { persistent: true, ..config }, limits);
    stage.join(CRONE, "crone");
    for number in 0..others {
        stage.join(&format!("u{number}@lit/a"), &format!("u{number}"));
    }
    stage
}

fn effects(stage: &mut Stage, xml: &str) -> Effects {
    match stage.judge(&parse(xml)) {
        Heard::Planned(plan) => stage.carry_out(plan.unwrap()),
        Heard::Answered(_) => panic!("{xml}"),
    }
}

/// How many lists of recipients there are in memory, of more than one.
fn lists(effects: &Effects) -> usize {
    let mut different: Vec<&Recipients> = Vec::new();
    for delivery in effects.then.iter().filter(|delivery| delivery.to.len() > 1) {
        if !different.iter().any(|other| other.shares_with(&delivery.to)) {
            different.push(&delivery.to);
        }
    }
    different.len()
}

fn audience(effects: &Effects) -> usize {
    effects.then.iter().map(|delivery| delivery.to.len()).sum()
}

const SHOWN: &str = "muc#roomconfig_presencebroadcast";

#[test]
fn abuse_many_who_are_shown_to_many_share_the_lists_of_recipients() {
    let others = 60;
    let mut stage = full(RoomConfig::default(), RoomLimits::default(), others);
    let mut count = |xml: &str, told: usize, most: usize| {
        let effects = effects(&mut stage, xml);
        assert_eq!(audience(&effects), told, "{xml}");
        assert!(lists(&effects) <= most, "{xml}: {} lists", lists(&effects));
        for delivery in &effects.then {
            let different: HashSet<&Jid> = delivery.to.iter().collect();
            assert_eq!(different.len(), delivery.to.len());
            let nick = delivery.from.resource().unwrap_or_default();
            assert!(
                !delivery.to.iter().any(|to| nick != "crone" && to.local() == Some(nick)) || delivery.to.len() == 1
            );
        }
    };
    // Everybody is told of the others, and then that the configuration has changed.
    let all = others + 1;
    count(&form(CRONE, &[(SHOWN, "moderator")]), others * (all - 1) + all, 3);
    count(&form(CRONE, &[(SHOWN, "moderator|participant|visitor")]), others * (all - 1) + all, 3);
    // Two who become moderators see all others: each of those is shown once to both.
    let two = "<item nick='u1' role='moderator'/><item nick='u2' role='moderator'/>";
    let effects = effects(&mut stage, &admin(CRONE, two));
    let introductions =
        effects.then.iter().filter(|delivery| delivery.to.iter().all(|to| matches!(to.local(), Some("u1" | "u2"))));
    let introductions: Vec<_> =
        introductions.filter(|delivery| !show(delivery.stanza.root(), "").contains("code='110'")).collect();
    assert_eq!(introductions.len(), all);
    assert_eq!(introductions.iter().map(|delivery| delivery.to.len()).sum::<usize>(), 2 * (all - 1));
    assert!(introductions.iter().all(|delivery| delivery.to.shares_with(&introductions[0].to)));
    // Strangers who have to go: those who stay hear of each.
    stage.affiliate("u1@lit", "member");
    stage.affiliate("u2@lit", "member");
    let effects = self::effects(&mut stage, &form(CRONE, &[("muc#roomconfig_membersonly", "1")]));
    assert_eq!((effects.first.len(), audience(&effects)), (others - 2, 3 * (others - 2) + 3));
    assert!(lists(&effects) <= 2);
}

#[test]
fn abuse_no_more_presences_at_once_than_there_may_be() {
    // Nine are shown to ten.
    for (shown_at_once, refused) in [(90, false), (89, true)] {
        let limits = RoomLimits { shown_at_once, ..RoomLimits::default() };
        let hidden = full(RoomConfig::default(), limits.clone(), 9);
        let mute = |stage: &mut Stage| {
            for number in 0..9 {
                stage.role(&format!("u{number}"), "visitor");
            }
        };
        let mut voiceless = full(RoomConfig { moderated: true, ..RoomConfig::default() }, limits, 9);
        mute(&mut voiceless);
        let voices = form(CRONE, &[("muc#roomconfig_moderatedroom", "0")]);
        for (mut stage, xml) in [(hidden, form(CRONE, &[(SHOWN, "moderator")])), (voiceless, voices)] {
            match refused {
                true => stage.refuses(&xml, "resource-constraint"),
                false => assert!(stage.hear(&xml).contains(&format!("{CRONE} result"))),
            }
        }
    }
    // A form changes no more affiliations than a list of items.
    let limits = RoomLimits { items: 3, ..RoomLimits::default() };
    let mut stage = full(RoomConfig::default(), limits, 0);
    let users = |count: usize| (0..count).map(|number| format!("a{number}@lit")).collect::<Vec<_>>().join("|");
    let admins = |count: usize| form(CRONE, &[("muc#roomconfig_roomadmins", &users(count))]);
    stage.refuses(&admins(4), "resource-constraint");
    assert!(stage.hear(&admins(3)).contains(&format!("{CRONE} result")));
    assert!(stage.hear(&admins(6)).contains(&format!("{CRONE} result")), "three of them are new");
}

/// Bytes of presence that somebody is sent who comes in, and those presences.
fn shown_to_newcomer(stage: &mut Stage) -> (usize, Vec<String>) {
    let effects = effects(stage, &joining("new@lit/a", "new", ""));
    let others = effects.then.iter().filter(|delivery| delivery.to.iter().all(|to| to.local() == Some("new")));
    let others = others.filter(|delivery| delivery.stanza.root().name() == "presence");
    let others: Vec<String> = others.map(|delivery| delivery.stanza.as_str().to_owned()).collect();
    stage.leave("new@lit/a");
    (others[..others.len() - 1].iter().map(String::len).sum(), others)
}

#[test]
fn abuse_what_a_newcomer_is_shown_fits() {
    let shown_bytes = 60_000;
    let limits = RoomLimits { shown_bytes, presence_every: Duration::ZERO, ..RoomLimits::default() };
    for whois in ["moderators", "anyone"] {
        let mut stage = full(RoomConfig::default(), limits.clone(), 0);
        stage.configure(&[("muc#roomconfig_whois", whois)]);
        for number in 0..40 {
            let content = match number % 4 {
                0 => format!("<show>away</show><show>xa</show><status>{}</status>", "x".repeat(8_000)),
                1 => format!("<show>{}</show>", "x".repeat(8_000)),
                _ => "<show>dnd</show><status>small</status>".to_owned(),
            };
            let join = joining(&format!("u{number}@lit/a"), &format!("u{number}"), "");
            stage.hear(&join.replace("</presence>", &format!("{content}</presence>")));
        }
        let (bytes, all) = shown_to_newcomer(&mut stage);
        assert!((shown_bytes / 2..=shown_bytes).contains(&bytes), "{bytes}");
        // Nobody is missing, what is small is whole, what is large as far as there is place, and nobody's state is lost.
        let count = |text: &str| all.iter().filter(|presence| presence.contains(text)).count();
        assert_eq!((all.len(), count("<status>small</status>"), count("<show>away</show>")), (42, 20, 10), "{whois}");
        assert!((1..20).contains(&count("xxxxxxxx")), "{}", count("xxxxxxxx"));
    }
}

#[test]
fn abuse_a_room_of_which_a_newcomer_could_not_be_shown_all_is_full() {
    let limits = RoomLimits { shown_bytes: 20_000, presence_every: Duration::ZERO, ..RoomLimits::default() };
    let mut stage = full(RoomConfig::default(), limits, 0);
    stage.affiliate("wiz@lit", "admin");
    stage.configure(&[("muc#roomconfig_whois", "anyone")]);
    // What is escaped is long.
    let nick = |number: usize| format!("{number:04}{}", "&apos;".repeat(200));
    let client = |number: usize| format!("u{number}@lit/a");
    let mut last = 0;
    while stage.room.occupants().of_client(&jid(&client(last))).is_none() {
        let lines = stage.hear(&joining(&client(last), &nick(last), ""));
        if lines.iter().any(|line| line.ends_with(" error service-unavailable")) {
            break;
        }
        last += 1;
        assert!(last < 100);
    }
    assert!(last > 5);
    let new = |stage: &mut Stage, client: &str, nick: &str| {
        stage.refuses(&joining(client, nick, ""), "service-unavailable");
    };
    new(&mut stage, &client(last), &nick(last));
    // Nor by another client with a long address, or by a longer nickname; one that is no longer is free.
    let long = format!("u0@lit/{}", "&apos;".repeat(900));
    new(&mut stage, &long, &nick(0));
    let named = |nick: &str| format!("<presence from='{}' to='{ROOM}/{nick}'/>", client(0));
    stage.refuses(&named(&format!("0000{}", "&apos;".repeat(900))), "service-unavailable");
    assert!(!stage.hear(&named("short"))[0].contains(" error "));
    // Admins find place.
    stage.leave(&client(last - 1));
    let (bytes, _) = shown_to_newcomer(&mut stage);
    assert!(bytes <= 20_000, "{bytes}");
    stage.join("wiz@lit/a", "wiz");
}

#[test]
fn abuse_a101_leaving_and_coming_back_does_not_make_presence_free() {
    let limits = RoomLimits { presence_burst: 4, presence_every: Duration::from_secs(100), ..RoomLimits::default() };
    let mut stage = Stage::limited(RoomConfig { persistent: true, ..RoomConfig::default() }, limits);
    stage.join("hag@lit/a", "hag");
    stage.leave("hag@lit/a");
    stage.join("hag@lit/a", "hag");
    stage.leave("hag@lit/a");
    stage.refuses(&joining("hag@lit/a", "hag", ""), "resource-constraint");
    stage.refuses(&joining("hag@lit/b", "witch", ""), "resource-constraint");
    stage.join("witch@lit/a", "witch");
    stage.now += 200;
    stage.join("hag@lit/b", "hag");
}

#[test]
fn abuse_a101_so_many_messages_at_once_and_one_more_is_too_many() {
    let limits = RoomLimits { message_burst: 4, message_every: Duration::from_secs(100), ..RoomLimits::default() };
    let mut stage = full(RoomConfig { change_subject: true, ..RoomConfig::default() }, limits, 2);
    let say = |number: &str| say(&format!("u0@lit/{number}"), "<body>hi</body>");
    stage.join("u0@lit/b", "u0");
    for number in ["a", "b", "a", "b"] {
        assert_eq!(stage.hear(&say(number)).len(), 1);
    }
    stage.refuses(&say("a"), "resource-constraint");
    stage.refuses(&say("b").replace("body", "subject"), "resource-constraint");
    // Not by another nickname, nor by coming back.
    stage.join("u0@lit/c", "other");
    stage.refuses(&say("c"), "resource-constraint");
    for number in ["a", "b", "c"] {
        stage.leave(&format!("u0@lit/{number}"));
    }
    stage.join("u0@lit/a", "u0");
    stage.refuses(&say("a"), "resource-constraint");
    assert_eq!(stage.hear(&whisper("u0@lit/a", "crone", "<body>psst</body>")).len(), 1, "one hears it");
    assert_eq!(stage.hear(&self::say("u1@lit/a", "<body>hi</body>")).len(), 1, "others are as they were");
    stage.now += 100;
    assert_eq!(stage.hear(&say("a")).len(), 1);
    stage.refuses(&say("a"), "resource-constraint");
    // Where it does not matter, it does not.
    let mut stage =
        full(RoomConfig::default(), RoomLimits { message_every: Duration::ZERO, ..RoomLimits::default() }, 1);
    for _ in 0..100 {
        assert_eq!(stage.hear(&say("a")).len(), 1);
    }
    assert_eq!(RoomLimits::default().message_burst, 20);
}

#[test]
fn abuse_a101_those_who_are_remembered_are_bounded() {
    let limits = RoomLimits {
        paced: 3,
        message_burst: 2,
        message_every: Duration::from_secs(1_000),
        presence_every: Duration::ZERO,
        ..RoomLimits::default()
    };
    let mut stage = full(RoomConfig::default(), limits, 5);
    let say = |number: usize| say(&format!("u{number}@lit/a"), "<body>hi</body>");
    stage.hear(&say(0));
    stage.hear(&say(0));
    for number in 1..5 {
        stage.hear(&say(number));
        assert!(stage.room.paces.len() <= 3);
    }
    // Who has said most is still known.
    stage.refuses(&say(0), "resource-constraint");
    stage.now += 2_001;
    stage.hear(&say(4));
    assert_eq!(stage.room.paces.len(), 1, "what is over is forgotten");
}

#[test]
fn abuse_a074_registration_does_not_tell_strangers_who_is_in_a_closed_room() {
    for (var, value) in [("muc#roomconfig_membersonly", "1"), ("muc#roomconfig_passwordprotectedroom", "1")] {
        let mut stage = Stage::open();
        stage.affiliate("hag@lit", "member");
        stage.hear(&register("hag@lit/a", "reserved"));
        stage.configure(&[(var, value), ("muc#roomconfig_roomsecret", "x")]);
        let mut answers = HashSet::new();
        for (number, nick) in ["crone", "CRONE", "reserved", "reserveԁ", "nobody"].iter().enumerate() {
            let client = format!("stranger{number}@lit/a");
            let lines = stage.hear(&register(&client, nick));
            let own: Vec<String> =
                lines.iter().filter(|line| line.starts_with(&client)).map(|line| line.replace(&client, "")).collect();
            answers.insert(own);
            stage.refuses(&register(&client, "\u{2800}"), "not-acceptable");
        }
        assert_eq!(answers.len(), 1, "{answers:?}");
        // Who may see the others is told.
        stage.refuses(&register("hag@lit/a", "crone"), "conflict");
    }
}

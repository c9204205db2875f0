//! What admins do (§9).

use super::*;

fn of_admin() -> Stage {
    let mut stage = Stage::of_two();
    stage.affiliate("wiz@lit", "admin");
    stage.join("wiz@lit/a", "wiz");
    stage
}

#[test]
fn xep0045_9_1_a_ban() {
    let mut stage = of_admin();
    stage.hear(&admin(CRONE, "<item jid='hag@lit' affiliation='member' nick='hag'/>"));
    // What is stored has no nickname.
    let ban = parse(&admin("wiz@lit/a", "<item jid='hag@lit' affiliation='outcast'/>"));
    let Heard::Planned(Ok(plan)) = stage.judge(&ban) else { panic!() };
    assert!(matches!(&plan.kept[..], [Kept::Affiliation(_, entry)] if entry.nick.is_none()), "{plan:?}");
    // By the full address it means the bare one.
    stage.plays(
        &admin("wiz@lit/a", "<item jid='hag@lit/other' affiliation='outcast'><reason>Treason</reason></item>"),
        "hag@lit/a <presence from='coven@chat/hag' type='unavailable'><x><item affiliation='outcast' jid='hag@lit/a' role='none'><actor nick='wiz'/><reason>Treason</reason></item><status code='301'/><status code='110'/></x></presence>
         wiz@lit/a result
         crone@lit/a wiz@lit/a <presence from='coven@chat/hag' type='unavailable'><x><item affiliation='outcast' jid='hag@lit/a' role='none'><actor nick='wiz'/><reason>Treason</reason></item><status code='301'/></x></presence>",
    );
    stage.refuses(&joining("hag@lit/a", "hag", ""), "forbidden");
    // Its nickname is free.
    stage.join("witch@lit/a", "hag");
}

#[test]
fn xep0045_9_1_who_is_not_banned() {
    let mut stage = of_admin();
    stage.affiliate("other@lit", "admin");
    for above in ["crone@lit", "other@lit"] {
        stage.refuses(&admin("wiz@lit/a", &format!("<item jid='{above}' affiliation='outcast'/>")), "not-allowed");
    }
    for own in ["wiz@lit", "wiz@lit/b", "lit"] {
        stage.refuses(&admin("wiz@lit/a", &format!("<item jid='{own}' affiliation='outcast'/>")), "conflict");
    }
    stage.refuses(&admin(CRONE, "<item jid='crone@lit' affiliation='outcast'/>"), "conflict");
    stage.refuses(&admin("hag@lit/a", "<item jid='other@lit' affiliation='outcast'/>"), "forbidden");
    stage.refuses(&admin("wiz@lit/a", "<item affiliation='outcast'/>"), "bad-request");
    stage.refuses(&admin("wiz@lit/a", "<item nick='nobody' affiliation='outcast'/>"), "item-not-found");
}

#[test]
fn xep0045_9_1_a_ban_by_nickname_is_of_the_user() {
    let mut stage = of_admin();
    stage.join("hag@lit/b", "second");
    let lines = stage.hear(&admin("wiz@lit/a", "<item nick='second' affiliation='outcast'/>"));
    assert!(
        lines[0].starts_with("hag@lit/a <") && lines[1].starts_with("hag@lit/b <"),
        "all of its nicknames: {lines:?}"
    );
    assert_eq!(stage.room.affiliations().of(&bare("hag@lit")), Affiliation::Outcast);
}

#[test]
fn xep0045_9_2_the_ban_list_and_domains() {
    let mut stage = of_admin();
    stage.join("mallory@evil/a", "mallory");
    stage.join("good@evil/a", "good");
    stage.affiliate("good@evil", "member");
    let lines = stage
        .hear(&admin("wiz@lit/a", "<item jid='evil' affiliation='outcast'/><item jid='a@lit' affiliation='outcast'/>"));
    assert!(lines[0].starts_with("mallory@evil/a <presence"), "{lines:?}");
    assert_eq!(stage.standing_of("good").1, Affiliation::Member, "the address itself counts first");
    stage.plays(
        &list("wiz@lit/a", "<item affiliation='outcast'/>"),
        &format!(
            "wiz@lit/a result <query xmlns='{}'><item affiliation='outcast' jid='a@lit'/><item affiliation='outcast' jid='evil'/></query>",
            crate::ADMIN
        ),
    );
    stage.refuses(&list("hag@lit/a", "<item affiliation='outcast'/>"), "forbidden");
    // All changes or none.
    let both = "<item jid='b@lit' affiliation='outcast'/><item jid='crone@lit' affiliation='outcast'/>";
    stage.refuses(&admin("wiz@lit/a", both), "not-allowed");
    assert_eq!(stage.room.affiliations().of(&bare("b@lit")), Affiliation::None);
    stage.refuses(&admin("wiz@lit/a", "<item jid='good.example' affiliation='member'/>"), "not-acceptable");
    stage.affiliate("evil", "none");
    stage.join("mallory@evil/a", "mallory");
}

#[test]
fn xep0045_9_3_membership_is_given_and_9_4_taken() {
    let mut stage = of_admin();
    stage.plays(
        &admin("wiz@lit/a", "<item jid='hag@lit' affiliation='member'><reason>A worthy witch</reason></item>"),
        "wiz@lit/a result
         crone@lit/a wiz@lit/a <presence from='coven@chat/hag'><x><item affiliation='member' jid='hag@lit/a' role='participant'><actor nick='wiz'/><reason>A worthy witch</reason></item></x></presence>
         hag@lit/a <presence from='coven@chat/hag'><x><item affiliation='member' jid='hag@lit/a' role='participant'><actor nick='wiz'/><reason>A worthy witch</reason></item><status code='110'/></x></presence>",
    );
    let lines = stage.hear(&admin("wiz@lit/a", "<item jid='hag@lit' affiliation='none'/>"));
    assert!(lines[1].contains("<item affiliation='none' jid='hag@lit/a' role='participant'>"), "{lines:?}");
    // §9.4: out of a room for members, and that is all that is said.
    stage.affiliate("hag@lit", "member");
    stage.configure(&[("muc#roomconfig_membersonly", "1")]);
    stage.plays(
        &admin("wiz@lit/a", "<item jid='hag@lit' affiliation='none'/>"),
        "hag@lit/a <presence from='coven@chat/hag' type='unavailable'><x><item affiliation='none' jid='hag@lit/a' role='none'><actor nick='wiz'/></item><status code='321'/><status code='110'/></x></presence>
         wiz@lit/a result
         crone@lit/a wiz@lit/a <presence from='coven@chat/hag' type='unavailable'><x><item affiliation='none' jid='hag@lit/a' role='none'><actor nick='wiz'/></item><status code='321'/></x></presence>",
    );
    stage.refuses(&joining("hag@lit/a", "hag", ""), "registration-required");
}

#[test]
fn xep0045_9_5_the_member_list_and_who_sees_it() {
    let mut stage = of_admin();
    stage.hear(&admin(CRONE, "<item jid='hag@lit/a' affiliation='member' nick='Hag'/>"));
    let members = |who: &str| {
        format!(
            "{who} result <query xmlns='{}'><item affiliation='member' jid='hag@lit' nick='Hag'/></query>",
            crate::ADMIN
        )
    };
    let ask = "<item affiliation='member'/>";
    stage.plays(&list("wiz@lit/a", ask), &members("wiz@lit/a"));
    // A074: a semi-anonymous room tells members nothing; a non-anonymous one members, and only these.
    stage.refuses(&list("hag@lit/a", ask), "forbidden");
    stage.configure(&[("muc#roomconfig_whois", "anyone")]);
    stage.plays(&list("hag@lit/a", ask), &members("hag@lit/a"));
    stage.plays(&list("hag@lit/elsewhere", ask), &members("hag@lit/elsewhere"));
    stage.join("witch@lit/a", "witch");
    stage.refuses(&list("witch@lit/a", ask), "forbidden");
    stage.configure(&[("muc#roomconfig_getmemberlist", "moderator")]);
    stage.refuses(&list("hag@lit/a", ask), "forbidden");
    stage.plays(&list("wiz@lit/a", ask), &members("wiz@lit/a"));
    // An empty nickname unsets it.
    stage.hear(&admin("wiz@lit/a", "<item jid='hag@lit' affiliation='member' nick=''/>"));
    assert_eq!(stage.room.affiliations().nick(&bare("hag@lit")), None);
}

#[test]
fn xep0045_9_5_a_new_member_of_a_room_for_members_is_invited() {
    let mut stage = of_admin();
    stage.configure(&[
        ("muc#roomconfig_membersonly", "1"),
        ("muc#roomconfig_passwordprotectedroom", "1"),
        ("muc#roomconfig_roomsecret", "pw"),
    ]);
    stage.plays(
        &admin("wiz@lit/a", "<item jid='new@lit' affiliation='member'/>"),
        "wiz@lit/a result
         new@lit <message from='coven@chat' id='*'><x><invite from='coven@chat'/><password>pw</password></x></message>",
    );
    // Not again, and not in an open room.
    stage.plays(&admin("wiz@lit/a", "<item jid='new@lit' affiliation='member' nick='new'/>"), "wiz@lit/a result");
    stage.configure(&[("muc#roomconfig_membersonly", "0")]);
    stage.plays(&admin("wiz@lit/a", "<item jid='newer@lit' affiliation='member'/>"), "wiz@lit/a result");
}

#[test]
fn xep0045_9_6_moderators_are_made_and_9_7_unmade_by_admins() {
    let mut stage = of_admin();
    let lines = stage.hear(&admin("wiz@lit/a", "<item nick='hag' role='moderator'/>"));
    assert!(lines[1].contains("<item affiliation='none' jid='hag@lit/a' role='moderator'>"), "{lines:?}");
    // It sees from now on who the others are.
    assert!(
        lines.iter().any(|line| line.starts_with("hag@lit/a <presence from='coven@chat/crone'")
            && line.contains("jid='crone@lit/a'"))
    );
    stage.join("witch@lit/a", "witch");
    stage.refuses(&admin("hag@lit/a", "<item nick='witch' role='moderator'/>"), "forbidden");
    for nick in ["crone", "wiz"] {
        let error = "not-allowed";
        stage.refuses(&admin("wiz@lit/a", &format!("<item nick='{nick}' role='participant'/>")), error);
        stage.refuses(&admin(CRONE, &format!("<item nick='{nick}' role='participant'/>")), error);
    }
    let lines = stage.hear(&admin("wiz@lit/a", "<item nick='hag' role='participant'/>"));
    assert!(lines[1].contains("role='participant'"), "{lines:?}");
}

#[test]
fn xep0045_9_8_the_list_of_moderators_is_for_admins() {
    let mut stage = of_admin();
    stage.role("hag", "moderator");
    stage.plays(
        &list("wiz@lit/a", "<item role='moderator'/>"),
        &format!(
            "wiz@lit/a result <query xmlns='{}'><item affiliation='owner' jid='crone@lit/a' nick='crone' role='moderator'/>\
             <item affiliation='none' jid='hag@lit/a' nick='hag' role='moderator'/>\
             <item affiliation='admin' jid='wiz@lit/a' nick='wiz' role='moderator'/></query>",
            crate::ADMIN
        ),
    );
    stage.refuses(&list("hag@lit/a", "<item role='moderator'/>"), "forbidden");
}

#[test]
fn xep0045_16_4_an_item_is_of_a_role_or_of_an_affiliation() {
    let mut stage = of_admin();
    stage.refuses(&admin("wiz@lit/a", "<item nick='hag' role='visitor' affiliation='member'/>"), "bad-request");
    stage.refuses(&admin("wiz@lit/a", "<item nick='hag'/>"), "bad-request");
    stage.refuses(&admin("wiz@lit/a", ""), "bad-request");
    stage.refuses(&list("wiz@lit/a", "<item role='visitor' affiliation='member'/>"), "bad-request");
    stage.refuses(&list("wiz@lit/a", "<item role='visitor'/><item role='participant'/>"), "bad-request");
}

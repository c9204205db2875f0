//! What owners do (§10).

use super::*;

fn new_room(config: RoomConfig) -> Stage {
    let mut stage = Stage::open();
    stage.room = Room::new(bare(ROOM), bare("crone@lit"), config, [7; 32], Arc::new(RoomLimits::default()));
    stage
}

#[test]
fn xep0045_10_1_1_who_makes_a_room_owns_it_and_is_told_by_201() {
    let mut stage = new_room(RoomConfig::default());
    stage.plays(
        &joining(CRONE, "firstwitch", ""),
        "crone@lit/a <presence from='coven@chat/firstwitch'><x><item affiliation='owner' jid='crone@lit/a' role='moderator'/><status code='201'/><status code='110'/></x></presence>
         crone@lit/a <message from='coven@chat' type='groupchat'><subject/></message>",
    );
    assert!(stage.room.is_locked());
    // §10.1.2: an empty form makes it an instant room, of which nothing is said.
    stage.plays(&form(CRONE, &[]), "crone@lit/a result");
    assert!(!stage.room.is_locked());
    stage.join("hag@lit/a", "hag");
}

#[test]
fn xep0045_10_1_3_a_room_that_is_not_configured_ends() {
    for config in [RoomConfig::default(), RoomConfig { persistent: true, ..RoomConfig::default() }] {
        let mut stage = new_room(config.clone());
        stage.join(CRONE, "crone");
        stage.refuses(
            &form(CRONE, &[("muc#roomconfig_passwordprotectedroom", "1"), ("muc#roomconfig_roomsecret", "")]),
            "not-acceptable",
        );
        assert!(stage.room.is_locked());
        stage.plays(
            &owner(CRONE, "<x xmlns='jabber:x:data' type='cancel'/>"),
            "crone@lit/a <presence from='coven@chat/crone' type='unavailable'><x><item affiliation='none' jid='crone@lit/a' role='none'/><status code='110'/><destroy/></x></presence>
             crone@lit/a result",
        );
        assert!(stage.room.has_ended());
        let mut stage = new_room(config.clone());
        stage.join(CRONE, "crone");
        stage.plays(
            &format!("<presence from='{CRONE}' to='{ROOM}/crone' type='unavailable'/>"),
            "crone@lit/a <presence from='coven@chat/crone' type='unavailable'><x><item affiliation='owner' jid='crone@lit/a' role='none'/><status code='110'/><destroy/></x></presence>",
        );
        assert!(stage.room.has_ended());
        let mut stage = new_room(config);
        stage.join(CRONE, "crone");
        stage.role("crone", "none");
        assert!(stage.room.has_ended(), "a kick is a way out too");
    }
}

#[test]
fn xep0045_10_2_configuration_is_for_owners() {
    let mut stage = Stage::of_two();
    stage.affiliate("hag@lit", "admin");
    let get = |who| format!("<iq type='get' id='i' from='{who}' to='{ROOM}'><query xmlns='{}'/></iq>", crate::OWNER);
    stage.refuses(&get("hag@lit/a"), "forbidden");
    stage.refuses(&form("hag@lit/a", &[("muc#roomconfig_roomname", "x")]), "forbidden");
    let lines = stage.hear(&get(CRONE));
    assert!(
        lines[0].contains(
            "<field var='muc#roomconfig_roomowners' type='jid-multi' label='Owners'><value>crone@lit</value>"
        ),
        "{lines:?}"
    );
    // A cancelled form leaves everything as it was.
    stage.plays(&owner(CRONE, "<x xmlns='jabber:x:data' type='cancel'/>"), "crone@lit/a result");
    assert!(!stage.room.has_ended());
    for wrong in ["<x xmlns='jabber:x:data' type='result'/>", "", "<x xmlns='jabber:x:data' type='submit'/><destroy/>"]
    {
        stage.refuses(&owner(CRONE, wrong), "bad-request");
    }
    for (var, value) in [
        ("muc#roomconfig_whois", "nobody"),
        ("muc#roomconfig_maxusers", "many"),
        ("muc#roomconfig_maxusers", "99999999999"),
        ("muc#roomconfig_moderatedroom", "perhaps"),
        ("muc#roomconfig_allowpm", "x"),
        ("muc#roomconfig_presencebroadcast", "x"),
        ("muc#roomconfig_roomname", &*"x".repeat(5_000)),
    ] {
        stage.refuses(&form(CRONE, &[(var, value)]), "not-acceptable");
    }
    stage.refuses(&form(CRONE, &[("FORM_TYPE", "other")]), "bad-request");
    stage.refuses(&form(CRONE, &[("muc#roomconfig_roomadmins", "@x")]), "jid-malformed");
    stage.refuses(&form(CRONE, &[("muc#roomconfig_roomadmins", "lit")]), "not-acceptable");
}

#[test]
fn xep0045_10_2_1_changes_are_told() {
    let mut stage = Stage::of_two();
    let told = |lines: Vec<String>| {
        let line = lines.last().unwrap().clone();
        assert!(
            line.starts_with("crone@lit/a hag@lit/a <message from='coven@chat' type='groupchat' id='*'><x><status"),
            "{line}"
        );
        line.split("code='").skip(1).map(|code| code[..3].to_owned()).collect::<Vec<_>>()
    };
    for (var, value, codes) in [
        ("muc#roomconfig_enablelogging", "1", ["170"]),
        ("muc#roomconfig_enablelogging", "0", ["171"]),
        ("muc#roomconfig_whois", "anyone", ["172"]),
        ("muc#roomconfig_whois", "moderators", ["173"]),
        ("muc#roomconfig_roomname", "x", ["104"]),
    ] {
        assert_eq!(told(stage.configure(&[(var, value)])), codes, "{var} {value}");
    }
    assert_eq!(
        told(stage.configure(&[("muc#roomconfig_whois", "anyone"), ("muc#roomconfig_roomdesc", "y")])),
        ["172", "104"]
    );
    stage.plays(&form(CRONE, &[("muc#roomconfig_roomname", "x")]), "crone@lit/a result");
}

#[test]
fn xep0045_10_2_members_only_removes_strangers_by_322() {
    let mut stage = Stage::of_two();
    stage.affiliate("wiz@lit", "member");
    stage.join("wiz@lit/a", "wiz");
    stage.join("witch@lit/a", "witch");
    // Whom the same form makes an admin is none.
    stage.plays(
        &form(CRONE, &[("muc#roomconfig_membersonly", "1"), ("muc#roomconfig_roomadmins", "witch@lit")]),
        "hag@lit/a <presence from='coven@chat/hag' type='unavailable'><x><item affiliation='none' jid='hag@lit/a' role='none'/><status code='322'/><status code='110'/></x></presence>
         crone@lit/a result
         crone@lit/a <presence from='coven@chat/witch'><x><item affiliation='admin' jid='witch@lit/a' role='moderator'><actor nick='crone'/></item></x></presence>
         wiz@lit/a <presence from='coven@chat/witch'><x><item affiliation='admin' role='moderator'><actor nick='crone'/></item></x></presence>
         witch@lit/a <presence from='coven@chat/witch'><x><item affiliation='admin' jid='witch@lit/a' role='moderator'><actor nick='crone'/></item><status code='110'/></x></presence>
         crone@lit/a witch@lit/a <presence from='coven@chat/hag' type='unavailable'><x><item affiliation='none' jid='hag@lit/a' role='none'/><status code='322'/></x></presence>
         wiz@lit/a <presence from='coven@chat/hag' type='unavailable'><x><item affiliation='none' role='none'/><status code='322'/></x></presence>
         crone@lit/a wiz@lit/a witch@lit/a <message from='coven@chat' type='groupchat' id='*'><x><status code='104'/></x></message>
         witch@lit/a <presence from='coven@chat/crone'><x><item affiliation='owner' jid='crone@lit/a' role='moderator'/></x></presence>
         witch@lit/a <presence from='coven@chat/wiz'><x><item affiliation='member' jid='wiz@lit/a' role='participant'/></x></presence>",
    );
}

#[test]
fn xep0045_10_2_lists_in_the_form() {
    let mut stage = Stage::of_two();
    stage.affiliate("wiz@lit", "admin");
    stage.affiliate("hag@lit", "owner");
    stage.join("wiz@lit/a", "wiz");
    // An admin who is on the list no more is a member, an owner an admin.
    let lines = stage.configure(&[("muc#roomconfig_roomadmins", ""), ("muc#roomconfig_roomowners", "crone@lit")]);
    assert_eq!(stage.standing_of("wiz"), (Role::Participant, Affiliation::Member), "{lines:?}");
    assert_eq!(stage.standing_of("hag"), (Role::Moderator, Affiliation::Admin), "{lines:?}");
    assert_eq!(
        lines.iter().filter(|line| line.starts_with(CRONE) && line.contains("<presence")).count(),
        2,
        "{lines:?}"
    );
    let lines = stage.configure(&[("muc#roomconfig_roomowners", "crone@lit|wiz@lit/a")]);
    assert_eq!(stage.standing_of("wiz"), (Role::Moderator, Affiliation::Owner), "{lines:?}");
    // §10.2: a room keeps an owner.
    stage.refuses(&form(CRONE, &[("muc#roomconfig_roomowners", "")]), "conflict");
}

#[test]
fn xep0045_10_4_the_last_owner_stays() {
    let mut stage = Stage::of_two();
    for to in ["none", "member", "admin"] {
        stage.refuses(&admin(CRONE, &format!("<item jid='crone@lit' affiliation='{to}'/>")), "conflict");
    }
    stage.affiliate("hag@lit", "owner");
    let both = "<item jid='crone@lit' affiliation='none'/><item jid='hag@lit' affiliation='member'/>";
    stage.refuses(&admin(CRONE, both), "conflict");
    stage.plays(
        &admin(CRONE, "<item jid='crone@lit' affiliation='admin'/>"),
        "crone@lit/a result
         hag@lit/a <presence from='coven@chat/crone'><x><item affiliation='admin' jid='crone@lit/a' role='moderator'><actor nick='crone'/></item></x></presence>
         crone@lit/a <presence from='coven@chat/crone'><x><item affiliation='admin' jid='crone@lit/a' role='moderator'><actor nick='crone'/></item><status code='110'/></x></presence>",
    );
    stage.refuses(&form(CRONE, &[]), "forbidden");
}

#[test]
fn xep0045_10_3_to_10_8_owners_and_admins_are_made_by_owners() {
    let mut stage = Stage::of_two();
    stage.affiliate("wiz@lit", "admin");
    for item in [
        "<item jid='hag@lit' affiliation='owner'/>",
        "<item jid='hag@lit' affiliation='admin'/>",
        "<item jid='crone@lit' affiliation='none'/>",
        "<item jid='crone@lit' affiliation='member'/>",
        "<item jid='other@lit' affiliation='admin'/>",
    ] {
        stage.refuses(&admin("wiz@lit/a", item), "forbidden");
    }
    stage.affiliate("other@lit", "admin");
    stage.refuses(&admin("wiz@lit/a", "<item jid='other@lit' affiliation='none'/>"), "forbidden");
    // §10.5, §10.8: in semi-anonymous rooms the lists are for owners.
    for ask in ["<item affiliation='owner'/>", "<item affiliation='admin'/>"] {
        stage.refuses(&list("wiz@lit/a", ask), "forbidden");
        stage.refuses(&list("hag@lit/a", ask), "forbidden");
    }
    stage.plays(
        &list(CRONE, "<item affiliation='admin'/>"),
        &format!(
            "crone@lit/a result <query xmlns='{}'><item affiliation='admin' jid='other@lit'/><item affiliation='admin' jid='wiz@lit'/></query>",
            crate::ADMIN
        ),
    );
    stage.configure(&[("muc#roomconfig_whois", "anyone")]);
    assert!(stage.hear(&list("wiz@lit/a", "<item affiliation='owner'/>"))[0].contains(" result "));
    stage.refuses(&list("hag@lit/a", "<item affiliation='owner'/>"), "forbidden");
    // Whoever wants to be less may.
    stage.hear(&admin("wiz@lit/a", "<item jid='wiz@lit' affiliation='member'/>"));
    assert_eq!(stage.room.affiliations().of(&bare("wiz@lit")), Affiliation::Member);
}

#[test]
fn xep0045_10_9_the_end_of_a_room() {
    let mut stage = Stage::of_two();
    stage.affiliate("wiz@lit", "admin");
    let destroy = "<destroy jid='coven2@chat'><reason>Macbeth doth come.</reason><password>pw</password></destroy>";
    stage.refuses(&owner("wiz@lit/a", destroy), "forbidden");
    stage.refuses(&owner("hag@lit/a", destroy), "forbidden");
    stage.plays(
        &owner(CRONE, destroy),
        "crone@lit/a <presence from='coven@chat/crone' type='unavailable'><x><item affiliation='none' jid='crone@lit/a' role='none'/><status code='110'/><destroy jid='coven2@chat'><password>pw</password><reason>Macbeth doth come.</reason></destroy></x></presence>
         hag@lit/a <presence from='coven@chat/hag' type='unavailable'><x><item affiliation='none' jid='hag@lit/a' role='none'/><status code='110'/><destroy jid='coven2@chat'><password>pw</password><reason>Macbeth doth come.</reason></destroy></x></presence>
         crone@lit/a result",
    );
    assert!(stage.room.has_ended() && stage.room.is_empty());
    let mut stage = Stage::of_two();
    let lines = stage.hear(&owner(CRONE, "<destroy/>"));
    assert!(lines[1].ends_with("<destroy/></x></presence>"), "the element in any case: {lines:?}");
}

#[test]
fn xep0045_10_1_2_an_empty_form_makes_an_instant_room_and_others_may_enter() {
    let mut stage = new_room(RoomConfig { members_only: false, ..RoomConfig::default() });
    stage.join(CRONE, "crone");
    stage.refuses(&joining("hag@lit/a", "hag", ""), "item-not-found");
    stage.refuses(&form("hag@lit/a", &[]), "item-not-found");
    stage.plays(&owner(CRONE, "<x xmlns='jabber:x:data' type='submit'/>"), "crone@lit/a result");
    stage.join("hag@lit/a", "hag");
    assert_eq!(stage.room.config(), &RoomConfig::default());
}

#[test]
fn xep0045_10_5_and_10_8_lists_of_owners_and_admins_change_as_a_whole_or_not_at_all() {
    let mut stage = Stage::of_two();
    let items = "<item jid='hag@lit' affiliation='owner'/><item jid='cat@lit' affiliation='admin'/>";
    // §10.3, §10.6: who is there is told of its own.
    let lines = stage.hear(&admin(CRONE, items));
    assert_eq!(stage.standing_of("hag"), (Role::Moderator, Affiliation::Owner), "{lines:?}");
    assert!(to(&lines, "hag@lit/a")[0].contains("affiliation='owner'"), "{lines:?}");
    let bad = "<item jid='cat@lit' affiliation='none'/><item jid='lit' affiliation='admin'/>";
    stage.refuses(&admin(CRONE, bad), "not-acceptable");
    // §10.4, §10.7.
    stage.hear(&admin(
        "hag@lit/a",
        "<item jid='cat@lit' affiliation='member'/><item jid='crone@lit' affiliation='admin'/>",
    ));
    assert_eq!(stage.standing_of("crone"), (Role::Moderator, Affiliation::Admin));
    stage.plays(
        &list("hag@lit/a", "<item affiliation='owner'/>"),
        &format!("hag@lit/a result <query xmlns='{}'><item affiliation='owner' jid='hag@lit'/></query>", crate::ADMIN),
    );
    stage.plays(
        &list("hag@lit/a", "<item affiliation='admin'/>"),
        &format!(
            "hag@lit/a result <query xmlns='{}'><item affiliation='admin' jid='crone@lit'/></query>",
            crate::ADMIN
        ),
    );
}

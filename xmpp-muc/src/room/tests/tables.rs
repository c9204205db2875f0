//! The tables of §5, as they stand in the document, against the room: every combination.

use super::*;
use crate::initial_role;

const ROLES: [&str; 4] = ["none", "visitor", "participant", "moderator"];
const AFFILIATIONS: [&str; 5] = ["outcast", "none", "member", "admin", "owner"];

/// §5.1.2: room type, and the role of none, member, admin, owner. A dash is no entry.
const DEFAULT_ROLES: [(&str, [&str; 4]); 4] = [
    ("moderated", ["visitor", "participant", "moderator", "moderator"]),
    ("unmoderated", ["participant", "participant", "moderator", "moderator"]),
    ("members-only", ["-", "participant", "moderator", "moderator"]),
    ("open", ["participant", "participant", "moderator", "moderator"]),
];

/// §5.1.1: what none, visitor, participant and moderator may do, by default.
const PRIVILEGES: [(&str, [bool; 4]); 11] = [
    ("receive messages", [false, true, true, true]),
    ("receive presence", [false, true, true, true]),
    ("broadcast presence", [false, true, true, true]),
    ("change nickname", [false, true, true, true]),
    ("private message", [false, true, true, true]),
    ("invite", [false, true, true, true]),
    ("message", [false, false, true, true]),
    // "No*" and "Yes*": by §8.1 only moderators by default.
    ("subject", [false, false, false, true]),
    ("kick", [false, false, false, true]),
    ("grant voice", [false, false, false, true]),
    ("revoke voice", [false, false, false, true]),
];

/// §5.2.1: what outcast, none, member, admin and owner may do. A member's list is of a non-anonymous room (***).
const AFFILIATION_PRIVILEGES: [(&str, [bool; 5]); 10] = [
    ("enter open room", [false, true, true, true, true]),
    ("retrieve member list", [false, false, true, true, true]),
    ("enter members-only room", [false, false, true, true, true]),
    ("ban", [false, false, false, true, true]),
    ("edit member list", [false, false, false, true, true]),
    ("assign moderator", [false, false, false, true, true]),
    ("edit admin list", [false, false, false, false, true]),
    ("edit owner list", [false, false, false, false, true]),
    ("configure", [false, false, false, false, true]),
    ("destroy", [false, false, false, false, true]),
];

/// §5.2.2: who makes the change from a row to a column: o(wner), a(dmin or owner), - is no change.
const AFFILIATION_CHANGES: [(&str, [char; 5]); 5] = [
    ("outcast", ['-', 'a', 'a', 'o', 'o']),
    ("none", ['a', '-', 'a', 'o', 'o']),
    ("member", ['a', 'a', '-', 'o', 'o']),
    ("admin", ['o', 'o', 'o', '-', 'o']),
    ("owner", ['o', 'o', 'o', 'o', '-']),
];

/// §5.1.3: who makes the change from a row to a column: m(oderator), a(dmin or owner); `.` is entering or nothing.
const ROLE_CHANGES: [(&str, [char; 4]); 4] = [
    ("none", ['.', '.', '.', '.']),
    ("visitor", ['m', '.', 'm', 'a']),
    ("participant", ['m', 'm', '.', 'a']),
    ("moderator", ['a', 'a', 'a', '.']),
];

fn role(name: &str) -> Role {
    [Role::None, Role::Visitor, Role::Participant, Role::Moderator][ROLES.iter().position(|it| *it == name).unwrap()]
}
fn affiliation(name: &str) -> Affiliation {
    use Affiliation::{Admin, Member, None, Outcast, Owner};
    [Outcast, None, Member, Admin, Owner][AFFILIATIONS.iter().position(|it| *it == name).unwrap()]
}

fn room_of_type(name: &str) -> Stage {
    let mut config = RoomConfig { persistent: true, ..RoomConfig::default() };
    config.moderated = name == "moderated";
    config.members_only = name == "members-only";
    let mut stage = Stage::new(config);
    stage.join(CRONE, "crone");
    stage
}

#[test]
fn xep0045_5_1_2_default_roles() {
    for (kind, roles) in DEFAULT_ROLES {
        for (of, expected) in ["none", "member", "admin", "owner"].into_iter().zip(roles) {
            let mut stage = room_of_type(kind);
            if of != "none" {
                stage.affiliate("hag@lit", of);
            }
            let lines = stage.hear(&joining("hag@lit/a", "hag", ""));
            if expected == "-" {
                assert_eq!(lines, ["hag@lit/a error registration-required"], "{kind} {of}");
            } else {
                assert_eq!(stage.standing_of("hag"), (role(expected), affiliation(of)), "{kind} {of}");
            }
        }
        let mut stage = room_of_type(kind);
        stage.affiliate("hag@lit", "outcast");
        stage.refuses(&joining("hag@lit/a", "hag", ""), "forbidden");
    }
    assert_eq!(initial_role(Affiliation::None, true, true), None, "moderated and for members only");
    assert_eq!(initial_role(Affiliation::Member, true, true), Some(Role::Participant));
}

/// A moderated room with `hag`, who is not affiliated, in a role; a participant; and a visitor.
fn room_with(role: &str) -> Stage {
    let mut stage = room_of_type("moderated");
    stage.join("guest@lit/a", "guest");
    stage.join("witch@lit/a", "witch");
    stage.role("witch", "participant");
    if role != "none" {
        stage.join("hag@lit/a", "hag");
    }
    if role == "participant" || role == "moderator" {
        stage.role("hag", role);
    }
    stage
}

#[test]
fn xep0045_5_1_1_privileges_of_roles() {
    for (what, may) in PRIVILEGES {
        for (who, may) in ROLES.into_iter().zip(may) {
            let mut stage = room_with(who);
            let (hag, guest) = ("hag@lit/a", "guest@lit/a");
            let hears = |lines: &[String], who: &str| !to(lines, who).is_empty();
            let did = match what {
                "receive messages" => hears(&stage.hear(&say(CRONE, "<body>x</body>")), hag),
                "receive presence" => hears(&stage.hear(&format!("<presence from='{guest}' to='{ROOM}/guest'/>")), hag),
                "broadcast presence" => hears(&stage.hear(&format!("<presence from='{hag}' to='{ROOM}/hag'/>")), guest),
                "change nickname" => hears(&stage.hear(&format!("<presence from='{hag}' to='{ROOM}/old'/>")), guest),
                "private message" => hears(&stage.hear(&whisper(hag, "guest", "<body>x</body>")), guest),
                "invite" => {
                    let invite = format!("<x xmlns='{USER}'><invite to='new@lit'/></x>");
                    let lines = stage.hear(&format!("<message from='{hag}' to='{ROOM}'>{invite}</message>"));
                    hears(&lines, "new@lit")
                }
                "message" => hears(&stage.hear(&say(hag, "<body>x</body>")), guest),
                "subject" => hears(&stage.hear(&say(hag, "<subject>x</subject>")), guest),
                "kick" => {
                    let others = ["guest", "witch"].map(|nick| {
                        let lines = stage.hear(&admin(hag, &format!("<item nick='{nick}' role='none'/>")));
                        lines.contains(&format!("{hag} result"))
                    });
                    assert_eq!(others[0], others[1], "{who}");
                    others[0]
                }
                "grant voice" => {
                    stage.hear(&admin(hag, "<item nick='guest' role='participant'/>"));
                    stage.standing_of("guest").0 == Role::Participant
                }
                "revoke voice" => {
                    stage.hear(&admin(hag, "<item nick='witch' role='visitor'/>"));
                    stage.standing_of("witch").0 == Role::Visitor
                }
                other => panic!("{other}"),
            };
            assert_eq!(did, may, "{what} as {who}");
        }
    }
}

#[test]
fn xep0045_5_2_1_privileges_of_affiliations() {
    for (what, may) in AFFILIATION_PRIVILEGES {
        for (who, may) in AFFILIATIONS.into_iter().zip(may) {
            let mut stage = room_of_type(if what == "enter members-only room" { "members-only" } else { "open" });
            stage.configure(&[("muc#roomconfig_whois", "anyone")]);
            if who != "none" {
                stage.affiliate("hag@lit", who);
            }
            if what != "enter members-only room" {
                stage.join("guest@lit/a", "guest");
            }
            let hag = "hag@lit/a";
            let done = |lines: Vec<String>| lines.iter().any(|line| line.starts_with("hag@lit/a result"));
            let did = match what {
                "enter open room" | "enter members-only room" => {
                    let lines = stage.hear(&joining(hag, "hag", ""));
                    !lines[0].contains(" error ")
                }
                "retrieve member list" => done(stage.hear(&list(hag, "<item affiliation='member'/>"))),
                "ban" => {
                    let member = stage.affiliate("other@lit", "member");
                    assert!(!member.is_empty());
                    let one = done(stage.hear(&admin(hag, "<item jid='guest@lit' affiliation='outcast'/>")));
                    assert_eq!(one, done(stage.hear(&admin(hag, "<item jid='other@lit' affiliation='outcast'/>"))));
                    one
                }
                "edit member list" => done(stage.hear(&admin(hag, "<item jid='guest@lit' affiliation='member'/>"))),
                "assign moderator" => done(stage.hear(&admin(hag, "<item nick='guest' role='moderator'/>"))),
                "edit admin list" => done(stage.hear(&admin(hag, "<item jid='guest@lit' affiliation='admin'/>"))),
                "edit owner list" => done(stage.hear(&admin(hag, "<item jid='guest@lit' affiliation='owner'/>"))),
                "configure" => done(stage.hear(&form(hag, &[("muc#roomconfig_roomname", "x")]))),
                "destroy" => done(stage.hear(&owner(hag, "<destroy/>"))),
                other => panic!("{other}"),
            };
            assert_eq!(did, may, "{what} as {who}");
        }
    }
}

#[test]
fn xep0045_5_2_2_changes_of_affiliations() {
    for actor in AFFILIATIONS {
        for (from, row) in AFFILIATION_CHANGES {
            for (to, who) in AFFILIATIONS.into_iter().zip(row) {
                let mut stage = room_of_type("open");
                for (user, affiliation) in [("hag@lit", actor), ("other@lit", from)] {
                    if affiliation != "none" {
                        stage.affiliate(user, affiliation);
                    }
                }
                let may = match who {
                    'a' => actor == "admin" || actor == "owner",
                    'o' => actor == "owner",
                    // No change: whoever could make it, of those who may write the list.
                    _ => actor == "owner" || (actor == "admin" && affiliation(from) < Affiliation::Admin),
                };
                let xml = admin("hag@lit/a", &format!("<item jid='other@lit' affiliation='{to}'/>"));
                if may {
                    stage.hear(&xml);
                    let now = stage.room.affiliations().of(&bare("other@lit"));
                    assert_eq!(now, affiliation(to), "{actor}: {from} to {to}");
                } else {
                    // §9.1 for bans by admins; §9, §10.4 to §10.8 for the rest.
                    let bans = actor == "admin" && to == "outcast";
                    stage.refuses(&xml, if bans { "not-allowed" } else { "forbidden" });
                }
            }
        }
    }
}

#[test]
fn xep0045_5_2_2_changes_of_affiliations_are_seen_by_all() {
    for (from, _) in AFFILIATION_CHANGES.into_iter().filter(|(from, _)| *from != "outcast") {
        for to_what in AFFILIATIONS.into_iter().filter(|to| *to != from) {
            let mut stage = room_of_type("open");
            if from != "none" {
                stage.affiliate("hag@lit", from);
            }
            stage.join("hag@lit/a", "hag");
            stage.join("guest@lit/a", "guest");
            let lines = stage.affiliate("hag@lit", to_what);
            for who in ["hag@lit/a", "guest@lit/a", CRONE] {
                let seen: Vec<_> =
                    to(&lines, who).into_iter().filter(|line| line.contains("from='coven@chat/hag'")).collect();
                assert_eq!(seen.len(), 1, "{from} to {to_what} for {who}: {lines:?}");
                assert!(seen[0].contains(&format!("affiliation='{to_what}'")), "{seen:?}");
                assert_eq!(seen[0].contains("type='unavailable'"), to_what == "outcast", "{seen:?}");
            }
            if to_what != "outcast" {
                let (role, _) = stage.standing_of("hag");
                let implied =
                    if affiliation(to_what) >= Affiliation::Admin { Role::Moderator } else { Role::Participant };
                assert_eq!(role, implied, "{from} to {to_what}");
            }
        }
    }
}

/// A moderated room, with `actor` and `other` in it in these roles and affiliations; `None` if there is no such occupant.
fn room_of(actor: (&str, &str), other: (&str, &str)) -> Option<Stage> {
    let mut stage = room_of_type("moderated");
    for ((role, of), nick) in [(actor, "actor"), (other, "other")] {
        let high = affiliation(of) >= Affiliation::Admin;
        if of == "outcast" || role == "none" || (high && role != "moderator") {
            return None;
        }
        if of != "none" {
            stage.affiliate(&format!("{nick}@lit"), of);
        }
        stage.join(&format!("{nick}@lit/a"), nick);
        if !high && stage.standing_of(nick).0 != self::role(role) {
            stage.role(nick, role);
        }
    }
    Some(stage)
}

#[test]
fn xep0045_5_1_3_changes_of_roles() {
    let standings = || ROLES.into_iter().flat_map(|role| AFFILIATIONS.into_iter().map(move |of| (role, of)));
    let mut checked = 0;
    for actor in standings() {
        for other in standings() {
            let Some(stage) = room_of(actor, other) else { continue };
            let row = ROLE_CHANGES.iter().find(|(from, _)| *from == other.0).unwrap().1;
            for (to, who) in ROLES.into_iter().zip(row) {
                let mut stage = Stage { room: stage.room.clone(), now: stage.now };
                let (mine, theirs) = (affiliation(actor.1), affiliation(other.1));
                let (is_moderator, is_admin) = (actor.0 == "moderator", mine >= Affiliation::Admin);
                let by_table = match who {
                    'm' => is_moderator,
                    'a' => is_admin,
                    _ => is_moderator,
                };
                let loses = role(to) < role(other.0);
                let forbidden_by = if to == "none" {
                    // §8.2: "A user cannot be kicked by a moderator with a lower affiliation."
                    theirs > mine
                } else if loses {
                    // §8.4, §9.7: from nobody at or above the moderator's level, if that is one; from no admin or owner.
                    theirs >= Affiliation::Admin || (theirs > Affiliation::None && theirs >= mine)
                } else {
                    false
                };
                let may = by_table && !forbidden_by;
                let lines = stage.hear(&admin("actor@lit/a", &format!("<item nick='other' role='{to}'/>")));
                let what = format!("{actor:?} makes {other:?} {to}: {lines:?}");
                checked += 1;
                if !may {
                    let error = lines[0].rsplit(' ').next().unwrap();
                    assert!(lines.len() == 1 && lines[0].contains(" error "), "{what}");
                    // Whoever is no moderator may nothing; a moderator may not this.
                    let expected: &[&str] = match (is_moderator, forbidden_by) {
                        (false, _) => &["forbidden"],
                        (true, true) => &["not-allowed"],
                        (true, false) => &["forbidden", "not-allowed"],
                    };
                    assert!(expected.contains(&error), "{what}");
                    assert_eq!(stage.standing_of("other").0, role(other.0), "{what}");
                } else if to == "none" {
                    assert!(stage.room.occupants().of_client(&jid("other@lit/a")).is_none(), "{what}");
                } else {
                    assert_eq!(stage.standing_of("other").0, role(to), "{what}");
                    // All are told, and who does it is told first.
                    assert_eq!(lines[0], "actor@lit/a result", "{what}");
                    let seen = to_all(&lines, &["other@lit/a", "actor@lit/a", CRONE]);
                    assert!(seen.iter().all(|line| line.contains(&format!("role='{to}'"))), "{what}");
                }
            }
        }
    }
    // Eight standings that there are, of each, and four roles.
    assert_eq!(checked, 8 * 8 * 4);
}

fn to_all<'a>(lines: &'a [String], clients: &[&str]) -> Vec<&'a str> {
    clients.iter().map(|client| *to(lines, client).iter().find(|line| line.starts_with("<presence")).unwrap()).collect()
}

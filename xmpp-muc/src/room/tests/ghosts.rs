//! Clients that are no longer there, and the service that stops (§11, §18.1.2).

use super::*;

#[test]
fn abuse_a080_xep0045_11_1_what_comes_back_removes_a_ghost_by_333() {
    for condition in ["gone", "recipient-unavailable", "redirect", "remote-server-not-found", "remote-server-timeout"] {
        for address in ["coven@chat", "coven@chat/crone", "coven@chat/hag"] {
            let mut stage = Stage::of_two();
            stage.plays(
                &bounce("hag@lit/a", address, condition),
                "hag@lit/a <presence from='coven@chat/hag' type='unavailable'><x><item affiliation='none' jid='hag@lit/a' role='none'/><status code='333'/><status code='110'/></x></presence>
                 crone@lit/a <presence from='coven@chat/hag' type='unavailable'><x><item affiliation='none' jid='hag@lit/a' role='none'/><status code='333'/></x></presence>",
            );
        }
    }
    // A presence that comes back says the same.
    let mut stage = Stage::of_two();
    let lines = stage.hear(&bounce("hag@lit/a", ROOM, "remote-server-timeout").replace("message", "presence"));
    assert_eq!(lines.len(), 2, "{lines:?}");
    // Only one of several clients is gone.
    let mut stage = Stage::of_two();
    stage.join("hag@lit/b", "hag");
    let lines = stage.hear(&bounce("hag@lit/a", ROOM, "gone"));
    assert_eq!((lines.len(), stage.room.occupants().len()), (1, 2), "{lines:?}");
}

#[test]
fn xep0045_18_1_2_other_errors_are_none_of_a_ghost() {
    for condition in
        ["forbidden", "not-acceptable", "feature-not-implemented", "policy-violation", "resource-constraint"]
    {
        for address in ["coven@chat", "coven@chat/crone", "coven@chat/hag"] {
            let mut stage = Stage::of_two();
            stage.plays(&bounce("hag@lit/a", address, condition), "");
        }
    }
    // A condition of another namespace is none; nor is an error of who is not there.
    let mut stage = Stage::of_two();
    let other =
        bounce("hag@lit/a", "coven@chat/crone", "forbidden").replace("</error>", "<gone xmlns='urn:x'/></error>");
    stage.plays(&other, "");
    for address in ["coven@chat", "coven@chat/hag"] {
        stage.plays(&bounce("mallory@evil/a", address, "gone"), "");
        stage.plays(&bounce("hag@lit/other", address, "gone"), "");
    }
    assert_eq!(stage.room.occupants().len(), 2);
}

/// A server answers `service-unavailable` for a user who has blocked an occupant, who has only to write.
#[test]
fn abuse_who_is_blocked_does_not_remove_the_one_that_has_blocked() {
    for condition in ["service-unavailable", "item-not-found"] {
        let mut stage = Stage::of_two();
        let xml = bounce("hag@lit/a", "coven@chat/crone", condition);
        let Heard::Planned(Ok(plan)) = stage.judge(&parse(&xml)) else { panic!() };
        let effects = stage.carry_out(plan);
        assert_eq!(
            show(effects.then[0].stanza.root(), ""),
            "<iq from='coven@chat' type='get' id='*'><ping xmlns='urn:xmpp:ping'/></iq>"
        );
        // Once.
        stage.plays(&xml, "");
        let id = effects.then[0].stanza.root().attr("id").unwrap().into_owned();
        let answer = |from: &str, kind: &str, id: &str, content: &str| {
            format!("<iq type='{kind}' id='{id}' from='{from}' to='{ROOM}'>{content}</iq>")
        };
        let error = |condition: &str| {
            format!("<error type='cancel'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>")
        };
        // Nobody else answers, nor by another id.
        stage.plays(&answer(CRONE, "error", &id, &error("gone")), "");
        stage.plays(&answer("hag@lit/a", "error", "other", &error("gone")), "");
        let mut alive = Stage { room: stage.room.clone(), now: stage.now };
        for (kind, content) in [("result", String::new()), ("error", error("feature-not-implemented"))] {
            alive.plays(&answer("hag@lit/a", kind, &id, &content), "");
            assert_eq!(alive.room.occupants().len(), 2);
        }
        // The question has been answered, and another answer is to nothing.
        alive.plays(&answer("hag@lit/a", "error", &id, &error("gone")), "");
        let lines = stage.hear(&answer("hag@lit/a", "error", &id, &error("service-unavailable")));
        assert!(lines[1].contains("<status code='333'/>"), "{lines:?}");
        assert_eq!(stage.room.occupants().len(), 1);
        // Whoever does not answer, and from whom things still come back, is gone.
        let mut stage = Stage::of_two();
        stage.hear(&xml);
        stage.now += 58;
        stage.plays(&xml, "");
        assert_eq!(stage.hear(&xml).len(), 2);
    }
}

#[test]
fn xep0045_18_1_2_what_comes_back_to_the_room_or_to_oneself_is_of_nobody_else() {
    for (address, condition) in [("coven@chat", "service-unavailable"), ("coven@chat/hag", "item-not-found")] {
        let mut stage = Stage::of_two();
        assert_eq!(stage.hear(&bounce("hag@lit/a", address, condition)).len(), 2);
    }
    // An error without a word.
    let mut stage = Stage::of_two();
    assert_eq!(stage.hear(&format!("<message type='error' from='hag@lit/a' to='{ROOM}'/>")).len(), 2);
    // An error to a request does not count: it is the application that does not know.
    let mut stage = Stage::of_two();
    stage.hear(&bounce("hag@lit/a", "coven@chat/crone", "gone").replace("message", "iq"));
    assert_eq!(stage.room.occupants().len(), 2);
}

#[test]
fn xep0045_11_2_the_service_stops() {
    let mut stage = Stage::of_two();
    let plan = stage.room.shut_down();
    assert!(plan.kept.is_empty(), "the room is there when the service is back");
    let effects = stage.carry_out(plan);
    let lines: Vec<_> = effects
        .first
        .iter()
        .map(|delivery| (delivery.to.iter().next().unwrap().as_str(), show(delivery.stanza.root(), "")))
        .collect();
    assert_eq!(
        lines[1],
        (
            "hag@lit/a",
            "<presence from='coven@chat/hag' type='unavailable'><x><item affiliation='none' jid='hag@lit/a' role='none'/>\
             <status code='332'/><status code='110'/></x></presence>"
                .to_owned()
        )
    );
    assert_eq!((lines.len(), stage.room.is_empty()), (2, true));
}

#[test]
fn a_client_that_the_driver_knows_to_be_gone_leaves() {
    let mut stage = Stage::of_two();
    let plan = stage.room.lost(&jid("hag@lit/a"));
    assert_eq!(stage.carry_out(plan).then.len(), 2);
    assert!(stage.room.lost(&jid("hag@lit/a")).changes.is_empty());
}

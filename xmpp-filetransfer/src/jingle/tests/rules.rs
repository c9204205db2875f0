//! Single rules, and what crosses.

use super::support::{Pair, alice, error_xml, hatter, id, jingle, offer, transport};
use crate::jingle::{
    Content, Creator, Event, JingleCondition, JingleError, Misuse, Reason, Senders, Session, SessionLimits, Winner,
    tie_break,
};
use xmpp_core::stanza::StanzaError;

const I: Creator = Creator::Initiator;
const R: Creator = Creator::Responder;

fn incoming(contents: &str) -> Result<Session, JingleError> {
    let xml = format!("<jingle xmlns='urn:xmpp:jingle:1' action='session-initiate' sid='s'>{contents}</jingle>");
    Session::incoming(&jingle(&xml), hatter(), alice(), SessionLimits::default())
}

fn content(attributes: &str) -> String {
    format!("<content {attributes}><description xmlns='urn:a'/><transport xmlns='urn:t'/></content>")
}

#[test]
fn xep0166_6_3_2_a_malformed_request_is_a_bad_request() {
    let good = content("creator='initiator' name='a'");
    assert!(incoming(&good).is_ok());
    assert!(incoming(&content("name='a'")).is_ok(), "the creator is the initiator unless said");
    for bad in [
        String::new(),
        "<content creator='initiator' name='a'><transport xmlns='urn:t'/></content>".into(),
        "<content creator='initiator' name='a'><description xmlns='urn:a'/></content>".into(),
        content("creator='responder' name='a'"),
        content("creator='initiator' name='a' disposition='early-session'"),
        format!("{good}{good}"),
        content(&format!("creator='initiator' name='{}'", "n".repeat(1_024))),
    ] {
        let error = incoming(&bad).unwrap_err();
        assert!(matches!(error, JingleError::Malformed(_)), "{bad}: {error:?}");
        assert!(error_xml(error).starts_with("<error type='cancel'><bad-request "));
    }
    let early = content("creator='initiator' name='b' disposition='early-session'");
    assert!(incoming(&format!("{good}{early}")).is_ok(), "one of them is about the session");
}

#[test]
fn xep0166_7_2_8_what_is_early_is_not_accepted_with_the_session() {
    let early = content("creator='initiator' name='b' disposition='early-session'");
    let mut hers = incoming(&format!("{}{early}", content("creator='initiator' name='a'"))).unwrap();
    let mut offered = hers.offered();
    assert_eq!(hers.accept(offered.clone()).unwrap_err(), Misuse::NoContent);
    offered.pop();
    let _ = hers.accept(offered).unwrap();
    assert!(hers.content(&id(I, "a")).unwrap().is_accepted());
    assert!(!hers.content(&id(I, "b")).unwrap().is_accepted());
}

#[test]
fn xep0166_7_1_who_the_message_claims_to_be_from_counts_for_nothing() {
    let claim = format!(
        "<jingle xmlns='urn:xmpp:jingle:1' action='session-initiate' sid='s' initiator='queen@hearts.example/court'>{}</jingle>",
        content("creator='initiator' name='a'")
    );
    let session = Session::incoming(&jingle(&claim), hatter(), alice(), SessionLimits::default()).unwrap();
    assert_eq!(session.peer(), &alice());
    let bad = claim.replace("queen@hearts.example/court", "@@");
    assert!(Session::incoming(&jingle(&bad), hatter(), alice(), SessionLimits::default()).is_ok(), "it is ignored");
    let mut pair = Pair::new(&["tea"]);
    let mut accept = pair.ends[1].clone().accept(pair.ends[1].offered()).unwrap().jingle;
    accept.responder = Some("queen@hearts.example/court".parse().unwrap());
    pair.ends[0].receive(&accept).unwrap();
    assert_eq!(pair.ends[0].peer(), &hatter());
}

#[test]
fn xep0166_10_what_comes_at_the_wrong_time_is_out_of_order() {
    let mut pair = Pair::active(&["tea"]);
    let whole = content("creator='initiator' name='tea'");
    let bare = "<content creator='initiator' name='tea' senders='none'><transport xmlns='urn:t'/></content>";
    let unknown = "<content creator='initiator' name='hat' senders='none'><transport xmlns='urn:t'/></content>";
    for (end, action, content) in [
        (0, "session-initiate", &whole[..]),
        (1, "session-initiate", &whole[..]),
        (0, "session-accept", &whole[..]),
        (1, "session-accept", &whole[..]),
        (0, "content-accept", bare),
        (1, "content-accept", bare),
        (1, "content-reject", bare),
        (1, "transport-accept", bare),
        (1, "transport-reject", bare),
        (1, "content-add", &whole[..]),
        (0, "content-modify", unknown),
        (0, "content-remove", unknown),
        (0, "transport-replace", unknown),
    ] {
        let xml = format!("<jingle xmlns='urn:xmpp:jingle:1' action='{action}' sid='rabbit'>{content}</jingle>");
        let error = match pair.ends[end].receive(&jingle(&xml)) {
            Err(JingleError::Malformed(_)) if (end, action) == (0, "content-add") => continue,
            answer => answer.unwrap_err(),
        };
        assert_eq!(error, JingleError::OutOfOrder, "{action} at {end}");
    }
    let error = StanzaError::from(JingleError::OutOfOrder);
    assert_eq!(error.condition.as_str(), "unexpected-request");
    assert_eq!(JingleCondition::of(&error), Some(JingleCondition::OutOfOrder));
    pair.assert_agreed();
}

#[test]
fn xep0166_10_another_session_is_unknown() {
    let mut pair = Pair::active(&["tea"]);
    let ping = jingle("<jingle xmlns='urn:xmpp:jingle:1' action='session-info' sid='hare'/>");
    assert_eq!(pair.ends[0].receive(&ping).unwrap_err(), JingleError::UnknownSession);
    let initiate = Session::incoming(&ping, hatter(), alice(), SessionLimits::default());
    assert_eq!(initiate.unwrap_err(), JingleError::UnknownSession);
}

#[test]
fn xep0166_7_2_2_contents_are_added_accepted_and_rejected() {
    let mut pair = Pair::active(&["tea"]);
    let sent = pair.ends[1].add_content(vec![offer(R, "jam"), offer(R, "butter")]).unwrap();
    pair.send(1, sent);
    pair.settle();
    assert!(matches!(&pair.events[0][..], [Event::ContentAdded { contents, .. }] if contents.len() == 2));
    let answer = Content::of(id(R, "jam")).with_transport(transport("urn:example:cup"));
    let sent = pair.ends[0].accept_content(vec![answer]).unwrap();
    pair.send(0, sent);
    let sent = pair.ends[0].reject_content(vec![id(R, "butter")], Some(Reason::decline())).unwrap();
    pair.send(0, sent);
    pair.settle();
    let [Event::ContentAccepted(accepted), Event::ContentRejected { contents, reason }] = &pair.events[1][..] else {
        panic!("{:?}", pair.events)
    };
    assert_eq!((&accepted[0].id, &contents[0]), (&id(R, "jam"), &id(R, "butter")));
    assert_eq!(reason, &Some(Reason::decline()));
    assert!(pair.ends[0].content(&id(R, "jam")).unwrap().is_accepted());
    pair.assert_agreed();
    assert_eq!(pair.ends[0].add_content(vec![offer(R, "x")]).unwrap_err(), Misuse::Incomplete, "made by the other end");
}

#[test]
fn xep0166_7_2_16_the_initiators_change_counts() {
    let mut pair = Pair::active(&["tea"]);
    let one = pair.ends[0].modify_content(vec![(id(I, "tea"), Senders::Initiator)]).unwrap();
    let other = pair.ends[1].modify_content(vec![(id(I, "tea"), Senders::None)]).unwrap();
    pair.send(0, one);
    pair.send(1, other);
    pair.settle();
    assert_eq!(pair.errors, ["ContentModify: TieBreak"]);
    assert_eq!(pair.ends[1].content(&id(I, "tea")).unwrap().senders(), Senders::Initiator);
    pair.assert_agreed();
}

#[test]
fn xep0166_7_2_16_the_initiators_transport_counts() {
    let mut pair = Pair::active(&["tea"]);
    let one = pair.ends[0].replace_transport(vec![(id(I, "tea"), transport("urn:example:cup"))]).unwrap();
    let other = pair.ends[1].replace_transport(vec![(id(I, "tea"), transport("urn:example:mug"))]).unwrap();
    pair.send(0, one);
    pair.send(1, other);
    pair.settle();
    assert_eq!(pair.errors, ["TransportReplace: TieBreak"]);
    assert!(pair.events[0].is_empty());
    let sent = pair.ends[1].accept_transport(vec![(id(I, "tea"), transport("urn:example:cup"))]).unwrap();
    pair.send(1, sent);
    pair.settle();
    assert!(matches!(&pair.events[0][..], [Event::TransportAccepted(_)]));
    pair.assert_agreed();
}

/// Gajim 1.7 acknowledges what it is asked, twice, and answers, all in one go; the answer may be looked at first.
#[test]
fn xep0166_7_2_12_what_is_answered_was_heard() {
    let answer = |action: &str, name: &str| {
        let transport = "<transport xmlns='urn:example:cup' block-size='4096' sid='a'/>";
        let content = format!("<content name='{name}' creator='initiator' senders='both'>{transport}</content>");
        jingle(&format!("<jingle xmlns='urn:xmpp:jingle:1' action='{action}' sid='rabbit'>{content}</jingle>"))
    };
    for accepts in [true, false] {
        let mut pair = Pair::active(&["tea"]);
        let ours = &mut pair.ends[0];
        let (accept, reject) = (answer("transport-accept", "tea"), answer("transport-reject", "tea"));
        assert!(matches!(ours.receive(&accept), Err(JingleError::OutOfOrder)), "nothing was proposed");
        let sent = ours.replace_transport(vec![(id(I, "tea"), transport("urn:example:cup"))]).unwrap();
        assert!(matches!(ours.receive(&answer("transport-accept", "milk")), Err(JingleError::OutOfOrder)));
        let events = ours.receive(if accepts { &accept } else { &reject }).unwrap();
        match events.as_slice() {
            [Event::TransportAccepted(_)] if accepts => {}
            [Event::TransportRejected { .. }] if !accepts => {}
            other => panic!("{other:?}"),
        }
        assert!(ours.answered(sent.id, Ok(())).is_empty());
        let namespace = if accepts { "urn:example:cup" } else { "urn:example:pot" };
        assert_eq!(ours.content(&id(I, "tea")).unwrap().definition().transport_ns(), Some(namespace));
        assert!(matches!(ours.receive(&accept), Err(JingleError::OutOfOrder)), "it was answered");
    }
    let mut pair = Pair::active(&["tea"]);
    let ours = &mut pair.ends[0];
    let sent = ours.add_content(vec![offer(I, "milk")]).unwrap();
    let events = ours.receive(&answer("content-reject", "milk")).unwrap();
    assert!(matches!(events.as_slice(), [Event::ContentRejected { .. }]), "{events:?}");
    assert!(ours.answered(sent.id, Ok(())).is_empty());
    assert!(ours.content(&id(I, "milk")).is_none());
}

#[test]
fn xep0166_7_2_15_a_transport_is_replaced_or_stays() {
    let mut pair = Pair::active(&["tea"]);
    for (accepts, namespace) in [(false, "urn:example:pot"), (true, "urn:example:cup")] {
        let sent = pair.ends[1].replace_transport(vec![(id(I, "tea"), transport("urn:example:cup"))]).unwrap();
        pair.send(1, sent);
        pair.settle();
        // Candidates of either may be under way.
        let sent = pair.ends[1].transport_info(vec![(id(I, "tea"), transport("urn:example:cup"))]).unwrap();
        pair.send(1, sent);
        let sent = pair.ends[1].transport_info(vec![(id(I, "tea"), transport("urn:example:pot"))]).unwrap();
        pair.send(1, sent);
        pair.settle();
        assert!(pair.errors.is_empty(), "{:?}", pair.errors);
        assert_eq!(
            pair.ends[0].replace_transport(vec![(id(I, "tea"), transport("urn:x"))]).unwrap_err(),
            Misuse::Waiting
        );
        let sent = match accepts {
            true => pair.ends[0].accept_transport(vec![(id(I, "tea"), transport("urn:example:cup"))]),
            false => pair.ends[0].reject_transport(vec![id(I, "tea")], None),
        };
        let sent = sent.unwrap();
        pair.send(0, sent);
        pair.settle();
        pair.assert_agreed();
        let content = pair.ends[1].content(&id(I, "tea")).unwrap();
        assert_eq!(content.definition().transport_ns(), Some(namespace));
    }
}

#[test]
fn xep0166_7_2_5_a_session_without_contents_is_void() {
    let mut pair = Pair::active(&["tea", "jam"]);
    assert_eq!(pair.ends[0].remove_content(vec![id(I, "tea"), id(I, "jam")], None).unwrap_err(), Misuse::LastContent);
    let one = pair.ends[0].remove_content(vec![id(I, "tea")], None).unwrap();
    let other = pair.ends[1].remove_content(vec![id(I, "jam")], Some(Reason::cancel())).unwrap();
    pair.send(0, one);
    pair.send(1, other);
    pair.settle();
    let void = |events: &[Event]| events.iter().filter(|event| matches!(event, Event::Void { .. })).count();
    assert_eq!(pair.events.each_ref().map(|events| void(events)), [1, 1], "{:?}", pair.events);
}

#[test]
fn xep0166_7_2_16_the_lower_id_asks() {
    let (alice, hatter) = (alice(), hatter());
    assert_eq!(tie_break(("A", &alice), ("a", &hatter)), Winner::Ours);
    assert_eq!(tie_break(("b", &alice), ("a", &hatter)), Winner::Theirs);
    assert_eq!(tie_break(("a", &alice), ("a", &hatter)), Winner::Ours);
    assert_eq!(tie_break(("a", &hatter), ("a", &alice)), Winner::Theirs);
    assert_eq!(tie_break(("é", &alice), ("z", &hatter)), Winner::Theirs, "by octets");
}

#[test]
fn xep0166_13_2_a_session_is_bounded() {
    let mut pair = Pair::active(&["tea"]);
    let many: Vec<Content> = (0..40).map(|n| offer(I, &n.to_string())).collect();
    assert_eq!(pair.ends[0].add_content(many.clone()).unwrap_err(), Misuse::TooMany);
    let mut add = crate::jingle::Jingle::new(crate::jingle::Action::ContentAdd, "rabbit");
    add.contents = many;
    assert_eq!(pair.ends[1].receive(&add).unwrap_err(), JingleError::TooMany);
    assert!(error_xml(JingleError::TooMany).contains("<resource-constraint "));
    let big = format!("<description xmlns='urn:example:tea'>{}</description>", "x".repeat(300_000));
    let big = xmpp_core::xml::Stanza::parse(&big, "", &xmpp_core::xml::XmlLimits::unbounded()).unwrap();
    add.contents = vec![offer(I, "big").with_description(big)];
    assert_eq!(pair.ends[1].receive(&add).unwrap_err(), JingleError::TooMany);
    let mut pings = 0;
    while pair.ends[0].session_info(None).is_ok() {
        pings += 1;
    }
    assert_eq!(pings, SessionLimits::default().unanswered);
    let last = pair.ends[0].terminate(Reason::gone());
    assert!(last.is_ok(), "there is always a way out");
}

#[test]
fn xep0166_6_7_a_peer_that_does_not_know_the_session_ends_it() {
    for (answer, ends) in [
        (StanzaError::from(JingleError::UnknownSession), true),
        (StanzaError::service_unavailable(), true),
        (StanzaError::new(xmpp_core::stanza::Condition::RemoteServerTimeout), true),
        (StanzaError::from(JingleError::UnsupportedInfo), false),
        (StanzaError::bad_request(), false),
    ] {
        let mut pair = Pair::active(&["tea"]);
        let sent = pair.ends[0].session_info(None).unwrap();
        let events = pair.ends[0].answered(sent.id, Err(answer));
        assert_eq!(matches!(&events[..], [Event::Ended(_)]), ends);
        assert_eq!(pair.ends[0].has_ended(), ends);
    }
}

#[test]
fn an_answer_counts_once() {
    let mut pair = Pair::active(&["tea"]);
    let sent = pair.ends[0].session_info(None).unwrap();
    assert!(pair.ends[0].is_waiting());
    assert!(pair.ends[0].answered(sent.id, Ok(())).is_empty());
    assert!(pair.ends[0].answered(sent.id, Err(JingleError::UnknownSession.into())).is_empty());
    assert!(pair.ends[0].is_active());
}

#[test]
fn xep0166_13_2_answers_are_bounded_as_well() {
    let big = |namespace: &str| {
        let big = format!("<transport xmlns='{namespace}'>{}</transport>", "x".repeat(300_000));
        xmpp_core::xml::Stanza::parse(&big, "", &xmpp_core::xml::XmlLimits::unbounded()).unwrap()
    };
    let say = |action, creator| {
        let mut jingle = crate::jingle::Jingle::new(action, "rabbit");
        jingle.contents = vec![offer(creator, "tea").with_transport(big("urn:example:pot"))];
        jingle
    };
    let mut pair = Pair::new(&["tea"]);
    let accept = say(crate::jingle::Action::SessionAccept, I);
    assert_eq!(pair.ends[0].receive(&accept).unwrap_err(), JingleError::TooMany);
    let mut pair = Pair::active(&["tea"]);
    let mut accept = say(crate::jingle::Action::ContentAccept, R);
    accept.contents[0].id.name = "more".into();
    let sent = pair.ends[1].add_content(vec![offer(R, "more")]).unwrap();
    pair.send(1, sent);
    pair.settle();
    assert_eq!(pair.ends[1].receive(&accept).unwrap_err(), JingleError::TooMany);
    let sent = pair.ends[1].replace_transport(vec![(id(I, "tea"), transport("urn:example:cup"))]).unwrap();
    pair.send(1, sent);
    pair.settle();
    let accept = say(crate::jingle::Action::TransportAccept, I);
    assert_eq!(pair.ends[1].receive(&accept).unwrap_err(), JingleError::TooMany);
}

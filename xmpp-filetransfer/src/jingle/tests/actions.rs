//! Actions one by one, where `rules` and `transcript` do not have them (§7.2).

use super::support::{Pair, alice, element, error_xml, hatter, id, jingle, offer, transport, xml};
use crate::jingle::{
    Action, Content, Creator, Ending, Event, Jingle, JingleError, Misuse, Phase, Reason, ReasonCondition, Senders,
    Session, SessionLimits,
};

const I: Creator = Creator::Initiator;
const R: Creator = Creator::Responder;

fn said(action: &str, contents: &str) -> Jingle {
    jingle(&format!("<jingle xmlns='urn:xmpp:jingle:1' action='{action}' sid='rabbit'>{contents}</jingle>"))
}

fn tea(parts: &str) -> String {
    format!("<content creator='initiator' name='tea'>{parts}</content>")
}

fn is_malformed(answer: Result<Vec<Event>, JingleError>) -> bool {
    matches!(answer, Err(JingleError::Malformed(_)))
}

#[test]
fn xep0166_7_2_3_a_contrary_direction_is_an_answer_and_content_accept_is_none() {
    let mut pair = Pair::active(&["tea"]);
    let sent = pair.ends[0].modify_content(vec![(id(I, "tea"), Senders::Initiator)]).unwrap();
    pair.send(0, sent);
    pair.settle();
    assert!(matches!(&pair.events[1][..], [Event::ContentModified(changes)] if changes[0].1 == Senders::Initiator));
    let accept = pair.ends[1].accept_content(vec![Content::of(id(I, "tea"))]);
    assert!(accept.is_err(), "there is nothing to accept: {accept:?}");
    let sent = pair.ends[1].modify_content(vec![(id(I, "tea"), Senders::Both)]).unwrap();
    pair.send(1, sent);
    pair.settle();
    assert!(pair.errors.is_empty(), "what comes later is no tie");
    assert_eq!(pair.ends[0].content(&id(I, "tea")).unwrap().senders(), Senders::Both);
    pair.assert_agreed();
    assert!(is_malformed(pair.ends[0].receive(&said("content-modify", &tea("")))), "who sends is not said");
}

#[test]
fn xep0166_7_2_4_what_rejects_the_last_content_leaves_nothing() {
    let mut pair = Pair::new(&["tea"]);
    let sent = pair.ends[1].reject_content(vec![id(I, "tea")], Some(Reason::decline()));
    assert!(sent.is_err(), "one terminates instead: {sent:?}");
    let reject = said("content-reject", &format!("{}<reason><decline/></reason>", tea("")));
    let events = pair.ends[0].receive(&reject).unwrap();
    let [Event::ContentRejected { .. }, Event::Void { reason: Some(reason) }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(reason.condition, ReasonCondition::Decline);
}

#[test]
fn xep0166_7_2_5_what_is_removed_is_not_negotiated_any_more() {
    let mut pair = Pair::active(&["tea", "jam"]);
    let sent = pair.ends[0].remove_content(vec![id(I, "jam")], Some(Reason::cancel())).unwrap();
    pair.send(0, sent);
    pair.settle();
    let [Event::ContentRemoved { contents, reason: Some(_) }] = &pair.events[1][..] else { panic!() };
    assert_eq!(contents, &[id(I, "jam")]);
    for end in 0..2 {
        let info = pair.ends[end].transport_info(vec![(id(I, "jam"), transport("urn:example:pot"))]);
        assert_eq!(info.unwrap_err(), Misuse::NoContent);
        let jam = "<content creator='initiator' name='jam'><transport xmlns='urn:example:pot'/></content>";
        assert_eq!(pair.ends[end].receive(&said("transport-info", jam)).unwrap_err(), JingleError::OutOfOrder);
    }
    let accept = pair.ends[1].accept_content(vec![Content::of(id(I, "jam"))]);
    assert_eq!(accept.unwrap_err(), Misuse::NoContent);
    pair.assert_agreed();
}

#[test]
fn xep0166_7_2_6_hints_are_of_the_contents_application() {
    let mut pair = Pair::active(&["tea"]);
    let hint = element("<description xmlns='urn:example:tea' sugar='2'/>");
    let sent = pair.ends[0].description_info(vec![(id(I, "tea"), hint)]).unwrap();
    assert_eq!(sent.jingle.action, Action::DescriptionInfo);
    pair.send(0, sent);
    pair.settle();
    let [Event::DescriptionInfo(contents)] = &pair.events[1][..] else { panic!("{:?}", pair.events) };
    assert_eq!(contents[0].description.as_ref().unwrap().root().attr("sugar").as_deref(), Some("2"));
    let other = said("description-info", &tea("<description xmlns='urn:example:coffee'/>"));
    let error = pair.ends[1].receive(&other).unwrap_err();
    assert_eq!(error, JingleError::UnsupportedInfo);
    assert!(error_xml(error).contains("<unsupported-info xmlns='urn:xmpp:jingle:errors:1'/>"));
    assert!(is_malformed(pair.ends[1].receive(&said("description-info", &tea("")))));
    assert!(is_malformed(pair.ends[1].receive(&said("description-info", ""))));
    pair.assert_agreed();
}

#[test]
fn xep0166_6_8_news_of_a_transport_that_is_not_there_are_not_understood() {
    let mut pair = Pair::active(&["tea"]);
    for end in 0..2 {
        let other = said("transport-info", &tea("<transport xmlns='urn:example:spoon'/>"));
        assert_eq!(pair.ends[end].receive(&other).unwrap_err(), JingleError::UnsupportedInfo);
        assert!(is_malformed(pair.ends[end].receive(&said("transport-info", &tea("")))));
        let good = said("transport-info", &tea("<transport xmlns='urn:example:pot'/>"));
        assert!(matches!(&pair.ends[end].receive(&good).unwrap()[..], [Event::TransportInfo(_)]));
    }
}

#[test]
fn xep0166_6_4_candidates_may_come_before_the_session_is_accepted() {
    let mut pair = Pair::new(&["tea"]);
    for end in 0..2 {
        let sent = pair.ends[end].transport_info(vec![(id(I, "tea"), transport("urn:example:pot"))]).unwrap();
        pair.send(end, sent);
    }
    pair.settle();
    assert!(pair.errors.is_empty());
    assert!(pair.events.iter().all(|events| matches!(&events[..], [Event::TransportInfo(_)])));
}

#[test]
fn xep0166_7_2_8_an_acceptance_is_whole_and_may_be_of_some() {
    let whole = "<description xmlns='urn:example:tea'/><transport xmlns='urn:example:pot'/>";
    for bad in
        ["", &tea(""), &tea("<description xmlns='urn:example:tea'/>"), &tea("<transport xmlns='urn:example:pot'/>")]
    {
        let mut pair = Pair::new(&["tea", "jam"]);
        assert!(is_malformed(pair.ends[0].receive(&said("session-accept", bad))), "{bad}");
        assert_eq!(pair.ends[0].phase(), Phase::Pending);
    }
    let mut pair = Pair::new(&["tea", "jam"]);
    let events = pair.ends[0].receive(&said("session-accept", &tea(whole))).unwrap();
    let [Event::Accepted { contents, dropped, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!((contents[0].id.name.as_str(), &dropped[..]), ("tea", &[id(I, "jam")][..]));
    assert!(pair.ends[0].content(&id(I, "jam")).is_none());
}

#[test]
fn xep0166_6_7_either_end_may_end_it_at_any_point() {
    for active in [false, true] {
        for end in 0..2 {
            let mut pair = if active { Pair::active(&["tea"]) } else { Pair::new(&["tea"]) };
            let sent = pair.ends[end].terminate(Reason::gone()).unwrap();
            assert!(pair.ends[end].has_ended(), "before it is acknowledged");
            pair.send(end, sent);
            pair.settle();
            assert!(matches!(&pair.events[1 - end][..], [Event::Ended(Ending::Terminated(Some(_)))]));
        }
    }
    let mut pair = Pair::active(&["tea"]);
    let events = pair.ends[0].receive(&said("session-terminate", "")).unwrap();
    assert!(matches!(&events[..], [Event::Ended(Ending::Terminated(None))]), "a reason is not asked for");
}

#[test]
fn xep0166_7_2_14_what_is_rejected_says_why() {
    let mut pair = Pair::active(&["tea"]);
    let sent = pair.ends[0].replace_transport(vec![(id(I, "tea"), transport("urn:example:cup"))]).unwrap();
    pair.send(0, sent);
    pair.settle();
    let reason = Some(Reason::unsupported_transports());
    let sent = pair.ends[1].reject_transport(vec![id(I, "tea")], reason.clone()).unwrap();
    assert!(xml(&sent.jingle).contains("<reason><unsupported-transports/></reason>"), "{}", xml(&sent.jingle));
    pair.send(1, sent);
    pair.settle();
    let [Event::TransportRejected { reason: heard, .. }] = &pair.events[0][..] else { panic!("{:?}", pair.events) };
    assert_eq!(heard, &reason);
    let again = said("transport-reject", &tea(""));
    assert_eq!(pair.ends[0].receive(&again).unwrap_err(), JingleError::OutOfOrder, "once");
}

#[test]
fn xep0166_7_2_16_of_two_additions_to_the_same_purpose_the_initiators_counts() {
    let mut pair = Pair::active(&["tea"]);
    let one = pair.ends[0].add_content(vec![offer(I, "jam")]).unwrap();
    let other = pair.ends[1].add_content(vec![offer(R, "jam")]).unwrap();
    pair.send(0, one);
    pair.send(1, other);
    pair.settle();
    assert_eq!(pair.errors, ["ContentAdd: TieBreak"]);
    assert!(pair.ends[0].content(&id(I, "jam")).is_some() && pair.ends[0].content(&id(R, "jam")).is_none());
    pair.assert_agreed();
    // Another purpose is none of that.
    let one = pair.ends[0].add_content(vec![offer(I, "butter")]).unwrap();
    let other = pair.ends[1].add_content(vec![offer(R, "honey")]).unwrap();
    pair.send(0, one);
    pair.send(1, other);
    pair.settle();
    assert_eq!(pair.errors.len(), 1);
    pair.assert_agreed();
}

#[test]
fn xep0166_7_2_16_two_may_remove_the_same() {
    let mut pair = Pair::active(&["tea", "jam"]);
    let one = pair.ends[0].remove_content(vec![id(I, "jam")], None).unwrap();
    let other = pair.ends[1].remove_content(vec![id(I, "jam")], None).unwrap();
    pair.send(0, one);
    pair.send(1, other);
    pair.settle();
    assert_eq!(pair.errors, ["ContentRemove: TieBreak"]);
    assert!(pair.ends.iter().all(|end| end.content(&id(I, "jam")).is_none()));
    pair.assert_agreed();
}

#[test]
fn xep0166_7_3_a_name_is_its_creators() {
    let mut pair = Pair::active(&["tea"]);
    let sent = pair.ends[1].add_content(vec![offer(R, "tea")]).unwrap();
    pair.send(1, sent);
    pair.settle();
    assert!(pair.errors.is_empty());
    let sent = pair.ends[0].reject_content(vec![id(R, "tea")], None).unwrap();
    pair.send(0, sent);
    pair.settle();
    assert!(pair.ends[1].content(&id(I, "tea")).is_some_and(|it| it.is_accepted()), "the other one");
    pair.assert_agreed();
}

#[test]
fn xep0166_9_a_precondition_stands_in_offer_and_answer() {
    let content = offer(I, "tea").with_security(element("<security xmlns='urn:example:lock'/>"));
    let limits = SessionLimits::default();
    let (mut his, sent) = Session::initiate("rabbit", alice(), hatter(), vec![content], limits).unwrap();
    assert!(xml(&sent.jingle).contains("<security xmlns='urn:example:lock'/></content>"));
    let mut hers = Session::incoming(&sent.jingle, hatter(), alice(), limits).unwrap();
    his.answered(sent.id, Ok(()));
    let mut offered = hers.offered();
    offered[0].security = Some(element("<security xmlns='urn:example:lock' key='a'/>"));
    let accept = hers.accept(offered).unwrap();
    his.receive(&accept.jingle).unwrap();
    let security = his.content(&id(I, "tea")).unwrap().definition().security.clone().unwrap();
    assert_eq!(security.root().attr("key").as_deref(), Some("a"));
    let sent = his.security_info(vec![(id(I, "tea"), element("<security xmlns='urn:example:lock'/>"))]).unwrap();
    assert!(matches!(&hers.receive(&sent.jingle).unwrap()[..], [Event::SecurityInfo(_)]));
    assert!(is_malformed(hers.receive(&said("security-info", &tea("")))));
}

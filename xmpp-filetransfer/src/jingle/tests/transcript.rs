//! The flows of the document, as what goes in and what must come out.

use super::support::{alice, element, error_xml, hatter, jingle, xml};
use crate::jingle::{
    Action, Content, ContentId, Creator, Ending, Event, JingleError, Reason, ReasonCondition, Senders, Session,
    SessionLimits, reason,
};
use xmpp_core::{payload::Payload, stanza::StanzaError};

const INITIATE: &str = "<jingle xmlns='urn:xmpp:jingle:1' action='session-initiate' \
     initiator='alice@wonder.example/mirror' sid='r4bb1t'>\
     <content creator='initiator' name='riddle' senders='initiator'>\
     <description xmlns='urn:example:riddles' asks='raven'/>\
     <transport xmlns='urn:example:desk' legs='4'/></content></jingle>";

const ACCEPT: &str = "<jingle xmlns='urn:xmpp:jingle:1' action='session-accept' \
     responder='hatter@tea.example/table' sid='r4bb1t'>\
     <content creator='initiator' name='riddle'>\
     <description xmlns='urn:example:riddles' asks='raven'/>\
     <transport xmlns='urn:example:desk' legs='3'/></content></jingle>";

fn responder() -> Session {
    Session::incoming(&jingle(INITIATE), hatter(), alice(), SessionLimits::default()).unwrap()
}

fn initiator() -> Session {
    let content = Content::initial("riddle")
        .with_senders(Senders::Initiator)
        .with_description(element("<description xmlns='urn:example:riddles' asks='raven'/>"))
        .with_transport(element("<transport xmlns='urn:example:desk' legs='4'/>"));
    let begun = Session::initiate("r4bb1t", alice(), hatter(), vec![content], SessionLimits::default());
    let (mut session, sent) = begun.unwrap();
    assert_eq!(xml(&sent.jingle), INITIATE);
    assert!(session.answered(sent.id, Ok(())).is_empty());
    session
}

fn riddle() -> ContentId {
    ContentId { creator: Creator::Initiator, name: "riddle".into() }
}

#[test]
fn xep0166_6_5_a_session_is_asked_for_and_accepted() {
    let mut hers = responder();
    assert_eq!((hers.end(), hers.peer()), (Creator::Responder, &alice()));
    let mut content = hers.offered().remove(0);
    content.transport = Some(element("<transport xmlns='urn:example:desk' legs='3'/>"));
    content.senders = None;
    let sent = hers.accept(vec![content]).unwrap();
    assert_eq!(xml(&sent.jingle), ACCEPT);

    let mut his = initiator();
    let events = his.receive(&jingle(ACCEPT)).unwrap();
    let [Event::Accepted { contents, dropped, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!((contents.len(), dropped.len()), (1, 0));
    assert!(his.is_active());
    let content = his.content(&riddle()).unwrap();
    assert_eq!(content.senders(), Senders::Initiator, "what the answer does not say stays");
    assert_eq!(content.definition().transport.as_ref().unwrap().root().attr("legs").as_deref(), Some("3"));
}

#[test]
fn xep0166_6_7_a_session_ends() {
    let mut his = initiator();
    his.receive(&jingle(ACCEPT)).unwrap();
    let end = "<jingle xmlns='urn:xmpp:jingle:1' action='session-terminate' sid='r4bb1t'>\
         <reason><success/><text>Your hair wants cutting.</text></reason></jingle>";
    let sent = his.clone().terminate(Reason::success().with_text("Your hair wants cutting.")).unwrap();
    assert_eq!(xml(&sent.jingle), end);
    let events = his.receive(&jingle(end)).unwrap();
    let [Event::Ended(Ending::Terminated(Some(reason)))] = &events[..] else { panic!("{events:?}") };
    assert_eq!(
        (&reason.condition, reason.text.as_deref()),
        (&ReasonCondition::Success, Some("Your hair wants cutting."))
    );
    let error = his.receive(&jingle(end)).unwrap_err();
    assert_eq!(
        error_xml(error),
        "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
         <unknown-session xmlns='urn:xmpp:jingle:errors:1'/></error>"
    );
}

#[test]
fn xep0166_6_7_who_terminates_knows_the_session_no_longer() {
    let mut his = initiator();
    let sent = his.terminate(Reason::cancel()).unwrap();
    assert_eq!(his.receive(&jingle(ACCEPT)).unwrap_err(), JingleError::UnknownSession);
    assert!(his.answered(sent.id, Err(JingleError::UnknownSession.into())).is_empty(), "it is over already");
    assert!(his.terminate(Reason::cancel()).is_err());
}

#[test]
fn xep0166_7_4_a_reason_as_dino_spells_it() {
    let said = "<reason xmlns='urn:xmpp:jingle:1'><failed_transport/><text>Exception has been thrown</text></reason>";
    let reason = Reason::read(element(said).root()).unwrap();
    assert_eq!(reason.condition, ReasonCondition::FailedTransport);
    assert_eq!(reason.text.as_deref(), Some("Exception has been thrown"));
}

#[test]
fn xep0166_7_4_every_reason_is_written_and_read() {
    for condition in reason::all() {
        let reason = Reason::new(condition).with_text("so it is").with_application_element("tea", "urn:example:tea");
        let written = xml(&reason);
        assert_eq!(Reason::read(element(&written).root()).unwrap(), reason, "{written}");
    }
    let other = xml(&Reason::alternative_session("b84tk"));
    assert_eq!(
        other,
        "<reason xmlns='urn:xmpp:jingle:1'><alternative-session><sid>b84tk</sid></alternative-session></reason>"
    );
    let odd = element("<reason xmlns='urn:xmpp:jingle:1'><unbirthday/></reason>");
    assert_eq!(Reason::read(odd.root()).unwrap(), Reason::general_error(), "a reason unknown is one nevertheless");
}

#[test]
fn xep0166_6_8_information_is_understood_or_refused() {
    let info = "<jingle xmlns='urn:xmpp:jingle:1' action='session-info' sid='r4bb1t'><pouring xmlns='urn:example:tea'/></jingle>";
    let mut hers = responder();
    assert_eq!(
        error_xml(hers.receive(&jingle(info)).unwrap_err()),
        "<error type='modify'><feature-not-implemented xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
         <unsupported-info xmlns='urn:xmpp:jingle:errors:1'/></error>"
    );
    hers.understand("urn:example:tea");
    let events = hers.receive(&jingle(info)).unwrap();
    assert!(matches!(&events[..], [Event::Info(info)] if info.root().name() == "pouring"));
    let sent = initiator().session_info(Some(element("<pouring xmlns='urn:example:tea'/>"))).unwrap();
    assert_eq!(xml(&sent.jingle), info);
    let ping = "<jingle xmlns='urn:xmpp:jingle:1' action='session-info' sid='r4bb1t'/>";
    assert_eq!(hers.receive(&jingle(ping)).unwrap().len(), 0);
    assert_eq!(xml(&initiator().session_info(None).unwrap().jingle), ping);
}

#[test]
fn xep0166_9_security_preconditions_are_told_of() {
    let with = INITIATE.replace("</content>", "<security xmlns='urn:example:lock'/></content>");
    let mut hers = Session::incoming(&jingle(&with), hatter(), alice(), SessionLimits::default()).unwrap();
    let said = "<jingle xmlns='urn:xmpp:jingle:1' action='security-info' sid='r4bb1t'>\
         <content creator='initiator' name='riddle'><security xmlns='urn:example:lock'><method name='key'/></security>\
         </content></jingle>";
    let events = hers.receive(&jingle(said)).unwrap();
    let [Event::SecurityInfo(contents)] = &events[..] else { panic!("{events:?}") };
    assert!(contents[0].security.is_some());
    assert_eq!(responder().receive(&jingle(said)).unwrap_err(), JingleError::UnsupportedInfo);
    assert_eq!(
        error_xml(JingleError::SecurityRequired),
        "<error type='cancel'><not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
         <security-required xmlns='urn:xmpp:jingle:errors:1'/></error>"
    );
}

#[test]
fn xep0166_6_3_2_a_refused_request_ends_the_session() {
    let content = responder().offered();
    let ask = |answer: StanzaError| {
        let begun = Session::initiate("s", alice(), hatter(), content.clone(), SessionLimits::default());
        let (mut session, sent) = begun.unwrap();
        let mut events = session.answered(sent.id, Err(answer));
        assert!(session.has_ended());
        match events.pop() {
            Some(Event::Ended(ending)) => ending,
            other => panic!("{other:?}"),
        }
    };
    let redirect = ask(StanzaError::redirect(Some("\n xmpp:dor%6Douse@tea.example/pot?message ".into())));
    assert_eq!(redirect.redirect().unwrap().as_str(), "dormouse@tea.example/pot");
    assert_eq!(
        ask(JingleError::Redirect("a?b@tea.example".parse().unwrap()).into()).redirect().unwrap().as_str(),
        "a?b@tea.example"
    );
    assert!(ask(StanzaError::redirect(Some("mailto:x@y".into()))).redirect().is_none());
    assert!(matches!(ask(StanzaError::service_unavailable()), Ending::Refused(_)));
    assert!(matches!(ask(JingleError::TieBreak.into()), Ending::TieBreak));
    assert_eq!(
        error_xml(JingleError::TieBreak),
        "<error type='cancel'><conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
         <tie-break xmlns='urn:xmpp:jingle:errors:1'/></error>"
    );
}

#[test]
fn xep0166_7_2_every_action_is_written_and_read() {
    use xmpp_core::payload::TextValue;
    let all = "content-accept content-add content-modify content-reject content-remove description-info security-info \
               session-accept session-info session-initiate session-terminate transport-accept transport-info \
               transport-reject transport-replace";
    for word in all.split(' ').filter(|word| !word.is_empty()) {
        assert_eq!(Action::from_text(word).unwrap().to_text(), word);
    }
    for bad in [
        "<jingle xmlns='urn:xmpp:jingle:1' action='session-sing' sid='x'/>",
        "<jingle xmlns='urn:xmpp:jingle:1' sid='x'/>",
        "<jingle xmlns='urn:xmpp:jingle:1' action='session-info'/>",
        "<jingle xmlns='urn:xmpp:jingle:1' action='session-info' sid=''/>",
        "<jingle xmlns='urn:xmpp:jingle:1' action='content-add' sid='x'><content creator='initiator'/></jingle>",
        "<jingle xmlns='urn:xmpp:jingle:1' action='content-add' sid='x'><content creator='queen' name='x'/></jingle>",
    ] {
        let error = crate::jingle::Jingle::read(element(bad).root()).unwrap_err();
        assert_eq!(StanzaError::from(error).condition.as_str(), "bad-request", "{bad}");
    }
}

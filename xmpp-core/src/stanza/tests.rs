//! Rules of RFC 6120 §8 and RFC 6121 §4 and §5 about the stanzas themselves.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::condition::all;
use super::*;
use crate::payload::{Payload, bind::Bind, delay::Delay, ping::Ping};
use crate::xml::XmlLimits;
use proptest::prelude::*;

fn parse(xml: &str) -> Stanza {
    Stanza::parse(xml, ns::CLIENT, &XmlLimits::default()).unwrap_or_else(|e| panic!("{e}: {xml}"))
}

fn message(xml: &str) -> Message {
    Message::from_stanza(parse(xml)).unwrap()
}

fn presence(xml: &str) -> Presence {
    Presence::from_stanza(parse(xml)).unwrap()
}

fn iq(xml: &str) -> Iq {
    Iq::from_stanza(parse(xml)).unwrap()
}

fn jid(text: &str) -> Jid {
    Jid::new(text).unwrap()
}

fn written(what: &impl WriteStanza, content_ns: &str) -> String {
    let mut w = Writer::new(content_ns);
    what.write_to(&mut w);
    String::from_utf8(w.finish()).unwrap()
}

#[test]
fn rfc6121_5_2_2_unknown_message_types_are_normal() {
    for (xml, type_, text) in [
        ("<message/>", MessageType::Normal, None),
        ("<message type='normal'/>", MessageType::Normal, Some("normal")),
        ("<message type='odd'/>", MessageType::Normal, Some("odd")),
        ("<message type='Chat'/>", MessageType::Normal, Some("Chat")),
        ("<message type='chat'/>", MessageType::Chat, Some("chat")),
        ("<message type='groupchat'/>", MessageType::Groupchat, Some("groupchat")),
        ("<message type='headline'/>", MessageType::Headline, Some("headline")),
        ("<message type='error'/>", MessageType::Error, Some("error")),
    ] {
        let m = message(xml);
        assert_eq!((m.type_(), m.type_str().as_deref()), (type_, text));
    }
}

#[test]
fn rfc6121_5_2_3_body_in_the_stanzas_language() {
    let two = "<body xml:lang='cs'>Proč</body><body>Why</body><body xml:lang='de'>Warum</body>";
    let m = message(&format!("<message xml:lang='en'>{two}</message>"));
    assert_eq!(m.body().as_deref(), Some("Why"));
    let all: Vec<_> = m.bodies().map(|b| (b.lang.unwrap().into_owned(), b.text.into_owned())).collect();
    assert_eq!(all, [("cs", "Proč"), ("en", "Why"), ("de", "Warum")].map(|(l, t)| (l.to_owned(), t.to_owned())));
    let m = message("<message xml:lang='de'><body xml:lang='cs'>Proč</body><body xml:lang='de'>Warum</body></message>");
    assert_eq!(m.body().as_deref(), Some("Warum"));
    let m = message("<message xml:lang='fr'><body xml:lang='cs'>Proč</body><body xml:lang='de'>Warum</body></message>");
    assert_eq!(m.body().as_deref(), Some("Proč"));
    assert_eq!(message("<message/>").body(), None);
    assert_eq!(message("<message><body/></message>").body().as_deref(), Some(""));
    let foreign = message("<message><body xmlns='http://www.w3.org/1999/xhtml'>x</body></message>");
    assert_eq!(foreign.body(), None);
}

#[test]
fn rfc6121_5_2_5_thread_and_parent() {
    let m = message("<message><subject>s</subject><thread parent='p'>t</thread></message>");
    assert_eq!(m.thread().as_deref(), Some("t"));
    assert_eq!(m.thread_parent().as_deref(), Some("p"));
    assert_eq!(m.subject().as_deref(), Some("s"));
}

#[test]
fn rfc6121_4_7_presence_parts_are_read_leniently() {
    let p = presence("<presence><show> dnd </show><status>s</status><priority>-5</priority></presence>");
    assert_eq!((p.show(), p.status().as_deref(), p.priority()), (Some(Show::Dnd), Some("s"), -5));
    for (text, priority) in [("127", 127), ("-128", -128), ("128", 0), ("300", 0), ("x", 0), ("", 0), (" 1 ", 1)] {
        let p = presence(&format!("<presence><show>odd</show><priority>{text}</priority></presence>"));
        assert_eq!((p.priority(), p.show()), (priority, None), "{text}");
        assert_eq!(p.priority_str().as_deref(), Some(text));
    }
    assert_eq!(presence("<presence/>").priority(), 0);
}

#[test]
fn rfc6121_4_7_1_presence_types() {
    for (xml, type_) in [
        ("<presence/>", PresenceType::Available),
        ("<presence type='unavailable'/>", PresenceType::Unavailable),
        ("<presence type='subscribe'/>", PresenceType::Subscribe),
        ("<presence type='subscribed'/>", PresenceType::Subscribed),
        ("<presence type='unsubscribe'/>", PresenceType::Unsubscribe),
        ("<presence type='unsubscribed'/>", PresenceType::Unsubscribed),
        ("<presence type='probe'/>", PresenceType::Probe),
        ("<presence type='error'/>", PresenceType::Error),
        ("<presence type=''/>", PresenceType::Other),
        ("<presence type='available'/>", PresenceType::Other),
    ] {
        let p = presence(xml);
        assert_eq!(p.type_(), type_);
        if let Some(word) = type_.as_str() {
            assert_eq!(p.type_str().as_deref(), Some(word));
        }
    }
}

#[test]
fn rfc6120_8_2_3_ill_formed_requests_are_answered_with_bad_request() {
    for (xml, reason) in [
        ("<iq id='1' type='odd' from='a@a.example/x'><q xmlns='urn:q'/></iq>", StanzaParseReason::BadIqType),
        ("<iq id='1' from='a@a.example/x'><q xmlns='urn:q'/></iq>", StanzaParseReason::BadIqType),
        ("<iq id='1' type='get' from='a@a.example/x'/>", StanzaParseReason::NotOnePayload),
        (
            "<iq id='1' type='set' from='a@a.example/x'><q xmlns='urn:q'/><q xmlns='urn:q'/></iq>",
            StanzaParseReason::NotOnePayload,
        ),
    ] {
        let error = Iq::from_stanza(parse(xml)).unwrap_err();
        assert_eq!(error.reason, reason);
        assert_eq!(error.stanza.as_str(), xml);
        let reply = iq(error.error_reply().unwrap().as_str());
        assert_eq!((reply.type_(), &*reply.id(), reply.to()), (IqType::Error, "1", Some(&jid("a@a.example/x"))));
        let error = reply.error().unwrap();
        assert_eq!((error.condition, error.type_), (Condition::BadRequest, ErrorType::Modify));
    }
    let error = Iq::from_stanza(parse("<iq type='get'><q xmlns='urn:q'/></iq>")).unwrap_err();
    assert_eq!(error.reason, StanzaParseReason::MissingId);
    assert!(error.error_reply().is_some());
}

#[test]
fn rfc6120_8_2_3_results_may_be_empty_or_odd() {
    assert!(iq("<iq id='1' type='result'/>").payload_element().is_none());
    let odd = iq("<iq id='1' type='result'><a xmlns='urn:a'/><b xmlns='urn:b'/></iq>");
    assert!(odd.payload_element().unwrap().is("a", "urn:a"));
    assert_eq!(odd.payloads().count(), 2);
}

#[test]
fn rfc6120_8_1_malformed_addresses_are_answered_with_jid_malformed() {
    let error = Message::from_stanza(parse("<message to='@b.example' from='a@a.example/x' id='7'/>")).unwrap_err();
    assert!(matches!(error.reason, StanzaParseReason::To(_)));
    let reply = message(error.error_reply().unwrap().as_str());
    assert_eq!((reply.from(), reply.to()), (None, Some(&jid("a@a.example/x"))));
    assert_eq!(reply.id().as_deref(), Some("7"));
    assert_eq!(reply.error().unwrap().condition, Condition::JidMalformed);
    let error = Presence::from_stanza(parse("<presence from='/x'/>")).unwrap_err();
    assert!(matches!(error.reason, StanzaParseReason::From(_)));
    assert!(Presence::from_stanza(parse("<presence from='/x' type='error'/>")).unwrap_err().error_reply().is_none());
    assert!(Iq::from_stanza(parse("<iq to='/x' type='result' id='1'/>")).unwrap_err().error_reply().is_none());
}

#[test]
fn other_elements_are_no_stanzas_and_come_back_whole() {
    for xml in ["<message xmlns='urn:example'/>", "<msg/>", "<r xmlns='urn:xmpp:sm:3'/>"] {
        let error = AnyStanza::from_stanza(parse(xml)).unwrap_err();
        assert_eq!((error.reason, error.stanza.as_str()), (StanzaParseReason::NotAStanza, xml));
        assert!(error.error_reply().is_none());
    }
    assert!(Message::from_stanza(parse("<iq/>")).is_err());
    for ns in [ns::CLIENT, ns::SERVER, ns::COMPONENT] {
        let stanza = Stanza::parse("<presence/>", ns, &XmlLimits::default()).unwrap();
        assert_eq!(AnyStanza::from_stanza(stanza).unwrap().kind(), StanzaKind::Presence);
    }
}

#[test]
fn rfc6120_8_3_1_errors_swap_addresses_and_copy_the_id() {
    let m = message("<message from='a@a.example/x' to='b@b.example' id='&lt;1' type='chat'><body>hi</body></message>");
    let reply = m.error_reply(&StanzaError::service_unavailable()).unwrap().build();
    assert_eq!((reply.from(), reply.to()), (Some(&jid("b@b.example")), Some(&jid("a@a.example/x"))));
    assert_eq!((reply.id().as_deref(), reply.type_()), (Some("<1"), MessageType::Error));
    assert_eq!(reply.body(), None);
    assert_eq!(reply.error().unwrap().condition, Condition::ServiceUnavailable);
    let p = presence("<presence from='a@a.example/x' to='b@b.example'/>");
    let reply = p.error_reply(&StanzaError::gone(None)).unwrap().build();
    assert_eq!((reply.id(), reply.type_()), (None, PresenceType::Error));
}

#[test]
fn rfc6120_8_3_1_the_content_may_be_sent_back() {
    let request = iq("<iq from='a@a.example/x' id='1' type='get'><q xmlns='urn:q'><r/>t</q></iq>");
    let reply = request.error_reply_echoing(&StanzaError::forbidden()).unwrap().build();
    let names: Vec<_> = reply.root().children().map(|c| c.name()).collect();
    assert_eq!(names, ["q", "error"]);
    assert_eq!(reply.payload_element().unwrap().text(), "t");
    let m = message("<message from='a@a.example' id='1'><body>hi</body></message>");
    assert_eq!(m.error_reply_echoing(&StanzaError::forbidden()).unwrap().build().body().as_deref(), Some("hi"));
}

#[test]
fn rfc6120_8_3_1_errors_and_results_are_never_answered() {
    let e = StanzaError::bad_request();
    for xml in [
        "<message from='a.example' type='error'/>",
        "<presence from='a.example' type='error'/>",
        "<iq from='a.example' id='1' type='error'/>",
        "<iq from='a.example' id='1' type='result'/>",
    ] {
        assert!(AnyStanza::from_stanza(parse(xml)).unwrap().error_reply(&e).is_none(), "{xml}");
    }
    assert!(iq("<iq id='1' type='result'/>").result().is_none());
    assert!(message("<message from='a.example' type='error'/>").reply().is_none());
    for xml in ["<message/>", "<presence type='odd'/>", "<iq id='1' type='get'><q xmlns='urn:q'/></iq>"] {
        let reply = AnyStanza::from_stanza(parse(xml)).unwrap().error_reply(&e).unwrap();
        assert!(AnyStanza::from_stanza(reply).unwrap().is_error());
    }
}

#[test]
fn rfc6120_8_2_3_a_result_goes_back_with_the_same_id() {
    let request = iq("<iq from='a@a.example/x' to='b.example' id='1' type='get'><ping xmlns='urn:xmpp:ping'/></iq>");
    assert!(matches!(request.payload::<Ping>(), Some(Ok(Ping))));
    assert!(request.payload::<Delay>().is_none());
    assert_eq!(
        written(&request.result().unwrap(), ns::CLIENT),
        "<iq from='b.example' to='a@a.example/x' id='1' type='result'/>"
    );
}

#[test]
fn rfc6121_5_2_5_a_reply_keeps_type_and_thread() {
    let m = message("<message from='a@a.example/x' to='b@b.example' id='1' type='chat'><thread>t</thread></message>");
    let reply = m.reply().unwrap().body("yes").build();
    assert_eq!((reply.to(), reply.type_()), (Some(&jid("a@a.example/x")), MessageType::Chat));
    assert_eq!(reply.thread().as_deref(), Some("t"));
    assert_ne!(reply.id().as_deref(), Some("1"));
    let room = message("<message from='r@r.example/nick' type='groupchat'/>").reply().unwrap();
    assert_eq!(room.get_to(), Some(&jid("r@r.example")));
}

#[test]
fn rfc6120_8_3_3_all_22_conditions_come_back() {
    let all = all();
    assert_eq!(all.len(), 22);
    for condition in all {
        let error = StanzaError::new(condition.clone()).with_text("why").with_lang("en").with_by(jid("b.example"));
        let p = PresenceBuilder::new(None, PresenceType::Error).content(|w| error.write(w)).build();
        let back = p.error().unwrap();
        assert_eq!((&back.condition, back.type_), (&condition, condition.default_type()));
        assert_eq!((back.text.as_deref(), back.lang.as_deref()), (Some("why"), Some("en")));
        assert_eq!(back.by, Some(jid("b.example")));
        assert_eq!(Condition::from_name(condition.as_str()), Some(condition));
    }
}

#[test]
fn rfc6120_8_3_3_recommended_types() {
    let types =
        |t: ErrorType| all().iter().filter(|c| c.default_type() == t).map(Condition::as_str).collect::<Vec<_>>();
    assert_eq!(
        types(ErrorType::Auth),
        ["forbidden", "not-authorized", "registration-required", "subscription-required"]
    );
    assert_eq!(
        types(ErrorType::Modify),
        ["bad-request", "jid-malformed", "not-acceptable", "policy-violation", "redirect"]
    );
    assert_eq!(
        types(ErrorType::Wait),
        ["recipient-unavailable", "remote-server-timeout", "resource-constraint", "unexpected-request"]
    );
    assert_eq!(types(ErrorType::Continue), [""; 0]);
    assert_eq!(types(ErrorType::Cancel).len(), 9);
}

#[test]
fn rfc6120_8_3_3_1_and_8_3_3_14_new_addresses_come_back() {
    for (error, word) in [
        (StanzaError::gone(Some("xmpp:b@b.example?a&b".into())), "gone"),
        (StanzaError::redirect(Some("xmpp:b@b.example?a&b".into())), "redirect"),
    ] {
        let p = PresenceBuilder::new(None, PresenceType::Error).content(|w| error.write(w)).build();
        let back = p.error().unwrap();
        assert_eq!(back.condition, error.condition);
        assert_eq!(back.to_string(), format!("{word} (xmpp:b@b.example?a&b)"));
    }
}

#[test]
fn rfc6120_8_3_2_errors_are_read_leniently() {
    let read = |inner: &str, attrs: &str| {
        message(&format!("<message type='error'><error{attrs}>{inner}</error></message>")).error().unwrap()
    };
    let s = "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'";
    let e = read("", "");
    assert_eq!((e.condition, e.type_), (Condition::UndefinedCondition, ErrorType::Cancel));
    let e = read(&format!("<tired {s}/>"), " type='wait' by='@'");
    assert_eq!((e.condition, e.type_, e.by), (Condition::UndefinedCondition, ErrorType::Wait, None));
    let e = read(&format!("<payment-required {s}/>"), " code='402' type='auth'");
    assert_eq!((e.condition, e.type_), (Condition::UndefinedCondition, ErrorType::Auth));
    let e = read(&format!("<text {s}>a</text><conflict {s}/><text {s}>b</text><gone {s}/>"), " type='odd'");
    assert_eq!((e.condition, e.type_, e.text.as_deref()), (Condition::Conflict, ErrorType::Cancel, Some("a")));
    let e = read(&format!("<not-allowed {s}/><a xmlns='urn:a'><b/></a><c xmlns='urn:c'/>"), "");
    assert!(e.has_application("a", "urn:a"));
    assert!(message("<message type='error'/>").error().is_none());
}

#[test]
fn rfc6120_8_3_4_application_conditions_are_written() {
    let error = StanzaError::conflict().with_application(&Bind { resource: Some("x".into()) });
    let m = MessageBuilder::new(None, MessageType::Error).content(|w| error.write(w)).build();
    let back = m.error().unwrap().application.unwrap();
    assert_eq!(Bind::read(back.root()).unwrap().resource.as_deref(), Some("x"));
}

#[test]
fn payload_errors_become_stanza_errors() {
    let bad = parse("<delay xmlns='urn:xmpp:delay' stamp='2010-07-10T23:08:25Z' from='@'/>");
    let error = StanzaError::from(Delay::read(bad.root()).unwrap_err());
    assert_eq!(error.condition, Condition::JidMalformed);
    let bad = parse("<delay xmlns='urn:xmpp:delay'/>");
    let error = StanzaError::from(Delay::read(bad.root()).unwrap_err());
    assert_eq!(error.condition, Condition::BadRequest);
    assert_eq!(error.text.as_deref(), Some("<delay>: stamp is missing"));
}

#[test]
fn stanza_errors_fit_into_results() {
    assert!(size_of::<StanzaError>() <= 112, "{}", size_of::<StanzaError>());
    assert!(size_of::<StanzaParseError>() <= 32);
}

#[test]
fn rfc6120_8_1_3_generated_ids_are_unguessable() {
    let ids: std::collections::HashSet<_> = (0..1000).map(|_| generate_id()).collect();
    assert_eq!(ids.len(), 1000);
    assert!(
        ids.iter().all(|id| id.len() == 22 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'))
    );
    let b = Message::chat(jid("a@a.example"));
    assert_eq!(b.get_id().map(str::to_owned), b.build().id().map(|id| id.into_owned()));
    assert_eq!(Presence::available().get_id(), None);
}

#[test]
fn builders_write_what_they_build() {
    let message = Message::chat(jid("b@b.example/x"))
        .from(jid("a@a.example"))
        .id("1")
        .lang("en")
        .subject_in("de", "s")
        .body("a < b & c")
        .thread_with_parent("t", "p")
        .payload(&Ping);
    let text = "<message from='a@a.example' to='b@b.example/x' id='1' type='chat' xml:lang='en'>\
                <subject xml:lang='de'>s</subject><body>a &lt; b &amp; c</body><thread parent='p'>t</thread>\
                <ping xmlns='urn:xmpp:ping'/></message>";
    assert_eq!(written(&message, ns::CLIENT), text);
    assert_eq!(written(&message, ns::SERVER), text);
    let built = message.build();
    assert_eq!(built.stanza().as_str(), text);
    assert_eq!((built.from(), built.to()), (Some(&jid("a@a.example")), Some(&jid("b@b.example/x"))));
    assert_eq!(
        written(&Presence::available().show(Show::Xa).status("s").status_in("de", "z").priority(-1), ns::CLIENT),
        "<presence><show>xa</show><status>s</status><status xml:lang='de'>z</status><priority>-1</priority></presence>"
    );
    assert_eq!(written(&Presence::unavailable(), ns::CLIENT), "<presence type='unavailable'/>");
    assert_eq!(
        written(&Iq::set_own().id("2").payload(&Bind::default()), ns::CLIENT),
        "<iq id='2' type='set'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"
    );
    assert_eq!(written(&Message::normal(jid("a.example")).id("3"), ns::CLIENT), "<message to='a.example' id='3'/>");
}

#[test]
fn rfc6120_4_8_3_stanzas_move_to_the_content_namespace_of_the_stream() {
    let text = "<message id='1'><body>x</body><y xmlns='urn:y'><z xmlns='jabber:client'/></y></message>";
    let m = message(text);
    assert_eq!(written(&m, ns::CLIENT), text);
    let out = written(&m, ns::SERVER);
    let there = Stanza::parse(&out, ns::SERVER, &XmlLimits::default()).unwrap();
    let there = Message::from_stanza(there).unwrap();
    assert_eq!(there.root().ns(), ns::SERVER);
    assert_eq!(there.body().as_deref(), Some("x"));
    assert!(there.root().child("y", "urn:y").unwrap().child("z", ns::CLIENT).is_some());
    let nonza = parse("<r xmlns='urn:xmpp:sm:3'/>");
    assert_eq!(written(&nonza, ns::SERVER), "<r xmlns='urn:xmpp:sm:3'/>");
}

#[test]
fn rfc7395_3_3_3_frames_declare_the_client_namespace() {
    let text = "<message id='1'><body>x</body></message>";
    let framed = "<message xmlns='jabber:client' id='1'><body>x</body></message>";
    assert_eq!(written(&message(text), ""), framed);
    assert_eq!(written(&MessageBuilder::new(None, MessageType::Normal).id("1").body("x"), ""), framed);
    let of_server = Stanza::parse(text, ns::SERVER, &XmlLimits::default()).unwrap();
    assert_eq!(written(&of_server, ""), framed);
    let m = message("<message from='a.example' id='1'/>");
    let error = StanzaError::not_acceptable().with_application_element("a", "urn:a");
    let out = written(&m.error_reply(&error).unwrap(), "");
    assert!(out.contains("<error type='modify'>") && out.contains("<a xmlns='urn:a'/>"), "{out}");
}

#[test]
fn errors_echo_stanzas_of_servers() {
    let text = "<message from='a.example' id='1'><body>x</body><y xmlns='urn:y'/></message>";
    let stanza = Stanza::parse(text, ns::SERVER, &XmlLimits::default()).unwrap();
    let m = Message::from_stanza(stanza).unwrap();
    let reply = m.error_reply_echoing(&StanzaError::not_acceptable()).unwrap().build();
    assert_eq!(reply.payloads().next().unwrap().name(), "y");
    assert_eq!(reply.body().as_deref(), Some("x"));
}

proptest! {
    #[test]
    fn any_text_survives_building(body in any::<String>(), id in any::<String>(), thread in "\\PC*") {
        // What XML 1.0 cannot carry is replaced, and line ends are normalised when read.
        prop_assume!(body.chars().all(|c| matches!(c, '\t' | '\n') || (c >= ' ' && c != '\u{fffe}' && c != '\u{ffff}')));
        prop_assume!(id.chars().all(|c| c >= ' ' && c != '\u{fffe}' && c != '\u{ffff}'));
        let m = Message::normal(jid("a.example")).id(id.clone()).body(&body).thread(&thread).build();
        prop_assert_eq!(m.body().unwrap(), body);
        prop_assert_eq!(m.id().unwrap(), id);
        prop_assert_eq!(m.thread().unwrap(), thread);
    }

    #[test]
    fn anything_a_peer_sends_is_typed_or_comes_back(xml in "<(message|presence|iq)( (type|to|from|id)='[a-z@/ .]{0,9}'){0,1}>(<(error|body|show|priority)>[a-z0-9 -]{0,5}</(error|body|show|priority)>)?</(message|presence|iq)>") {
        if let Ok(stanza) = Stanza::parse(&xml, ns::CLIENT, &XmlLimits::default()) {
            match AnyStanza::from_stanza(stanza) {
                Ok(any) => {
                    prop_assert_eq!(any.error_reply(&StanzaError::bad_request()).is_none(), any.is_error() || xml.contains("'result'"));
                }
                Err(e) => {
                    let _ = e.error_reply();
                    prop_assert_eq!(e.stanza.as_str(), &xml);
                }
            }
        }
    }
}

use super::{
    proposals::{DESCRIPTIONS, FORGOTTEN, INCOMING, OF_CONTACT, OF_STRANGERS, PROPOSALS},
    *,
};
use std::time::Instant;
use xmpp_core::{
    jid::BareJid,
    xml::{Writer, XmlLimits},
};

const HERS: &str = "b1";

fn element(xml: &str) -> Stanza {
    Stanza::parse(xml, "", &XmlLimits::authenticated()).unwrap()
}

fn jid(text: &str) -> Jid {
    text.parse().unwrap()
}

fn hatter(device: &str) -> Proposals {
    calls(Proposals::new(format!("hatter@tea.example/{device}").parse().unwrap()))
}

const CALL: &str = "urn:xmpp:jingle:apps:rtp:1";

fn calls(mut proposals: Proposals) -> Proposals {
    proposals.exclusive(CALL);
    proposals
}

fn description(ns: &str) -> Vec<Stanza> {
    vec![element(&format!("<description xmlns='{ns}'/>"))]
}

fn alice() -> Jid {
    jid("alice@wonder.example/mirror")
}

fn proposal(id: &str) -> JingleMessage {
    let descriptions = vec![element("<description xmlns='urn:xmpp:jingle:apps:rtp:1' media='audio'/>")];
    JingleMessage::Propose { id: id.into(), descriptions }
}

fn xml(message: &JingleMessage) -> String {
    let mut w = Writer::new("");
    message.write(&mut w);
    String::from_utf8(w.finish()).unwrap()
}

/// Proposals that know one of alice's.
fn ringing(device: &str) -> Proposals {
    let mut proposals = hatter(device);
    let reaction = proposals.receive(&alice(), &proposal(HERS), true, Instant::now());
    let [ProposalEvent::Proposed { id, from, descriptions, resumes: None }] = &reaction.events[..] else {
        panic!("{reaction:?}")
    };
    assert_eq!((id.as_str(), from, descriptions.len()), (HERS, &alice(), 1));
    assert!(reaction.replies.is_empty(), "nobody learns that we are there");
    proposals
}

#[test]
fn xep0353_3_messages_are_written_and_read() {
    let message = proposal("a7").to_message(jid("hatter@tea.example")).id("m").build();
    assert_eq!(
        message.stanza().as_str(),
        "<message to='hatter@tea.example' id='m' type='chat'><propose xmlns='urn:xmpp:jingle-message:0' id='a7'>\
         <description xmlns='urn:xmpp:jingle:apps:rtp:1' media='audio'/></propose><store xmlns='urn:xmpp:hints'/></message>"
    );
    for said in [
        "<ringing xmlns='urn:xmpp:jingle-message:0' id='a7'/>",
        "<proceed xmlns='urn:xmpp:jingle-message:0' id='a7'/>",
        "<accept xmlns='urn:xmpp:jingle-message:0' id='a7'/>",
        "<reject xmlns='urn:xmpp:jingle-message:0' id='a7'><reason xmlns='urn:xmpp:jingle:1'><busy/><text>no</text></reason><tie-break/></reject>",
        "<retract xmlns='urn:xmpp:jingle-message:0' id='a7'><reason xmlns='urn:xmpp:jingle:1'><cancel/></reason></retract>",
        "<finish xmlns='urn:xmpp:jingle-message:0' id='a7'><reason xmlns='urn:xmpp:jingle:1'><expired/></reason><migrated to='a8'/></finish>",
    ] {
        let message = JingleMessage::read(element(said).root()).unwrap();
        assert_eq!((xml(&message).as_str(), message.id()), (said, "a7"));
    }
    assert!(JingleMessage::read(element("<propose xmlns='urn:xmpp:jingle-message:0'/>").root()).is_err());
}

#[test]
fn xep0353_3_4_one_device_takes_it_and_the_others_stop() {
    let (mut table, mut phone) = (ringing("table"), ringing("phone"));
    let (to, message) = table.ring(HERS).unwrap();
    assert_eq!((to, xml(&message)), (alice(), "<ringing xmlns='urn:xmpp:jingle-message:0' id='b1'/>".into()));
    let (_, proceed) = phone.proceed(HERS).unwrap();
    assert!(phone.proceed(HERS).is_none());
    // The copy that the own server makes (XEP-0280).
    let own = phone.receive(&jid("hatter@tea.example/phone"), &proceed, true, Instant::now());
    assert!(own.events.is_empty(), "its own words are no news");
    let reaction = table.receive(&jid("hatter@tea.example/phone"), &proceed, true, Instant::now());
    assert!(matches!(&reaction.events[..], [ProposalEvent::TakenElsewhere { .. }]));
    assert!(table.proceed(HERS).is_none() && table.reject(HERS, Reason::busy()).is_none());
    let retract = JingleMessage::Retract { id: HERS.into(), reason: None, tie_break: false };
    phone.begun(HERS);
    assert!(phone.receive(&alice(), &retract, true, Instant::now()).events.is_empty(), "too late");
    let (to, finish) = phone.finish(HERS, Reason::success()).unwrap();
    assert_eq!(to, alice());
    assert!(table.receive(&jid("hatter@tea.example/phone"), &finish, true, Instant::now()).events.is_empty());
    assert!(table.known.is_empty() && phone.known.is_empty());
}

#[test]
fn xep0353_3_5_one_device_rejects_it_for_all() {
    let (mut table, mut phone) = (ringing("table"), ringing("phone"));
    let (to, reject) = phone.reject(HERS, Reason::busy()).unwrap();
    assert_eq!(to, alice());
    let reaction = table.receive(&jid("hatter@tea.example/phone"), &reject, true, Instant::now());
    assert!(matches!(&reaction.events[..], [ProposalEvent::RejectedElsewhere { .. }]));
}

#[test]
fn xep0353_3_3_a_proposal_is_taken_back() {
    let mut table = ringing("table");
    let retract = JingleMessage::Retract { id: HERS.into(), reason: Some(Reason::cancel()), tie_break: false };
    for stranger in ["queen@hearts.example/court", "wonder.example", "hatter@tea.example/phone"] {
        assert!(table.receive(&jid(stranger), &retract, true, Instant::now()).events.is_empty(), "{stranger}");
    }
    // From any of her devices.
    let reaction = table.receive(&jid("alice@wonder.example/other"), &retract, true, Instant::now());
    assert!(matches!(&reaction.events[..], [ProposalEvent::Retracted { .. }]));
    assert!(table.proceed(HERS).is_none());
}

fn proposed(id: &str) -> Proposals {
    let mut proposals = calls(Proposals::new("alice@wonder.example/mirror".parse().unwrap()));
    let bare: BareJid = "hatter@tea.example".parse().unwrap();
    let (to, _) = proposals.propose(id, &bare, description(CALL), Instant::now()).unwrap();
    assert_eq!(to, bare);
    assert!(proposals.propose(id, &bare, vec![], Instant::now()).is_none(), "an id is for one");
    proposals
}

#[test]
fn xep0353_3_4_the_first_device_that_takes_it_has_it() {
    let mut hers = proposed("a7");
    let say = |hers: &mut Proposals, from: &str, message: JingleMessage| {
        hers.receive(&jid(from), &message, true, Instant::now()).events
    };
    let ringing = JingleMessage::Ringing { id: "a7".into() };
    let rings = say(&mut hers, "hatter@tea.example/table", ringing);
    assert!(matches!(&rings[..], [ProposalEvent::Ringing { device, .. }] if device.resource() == Some("table")));
    let proceed = || JingleMessage::Proceed { id: "a7".into() };
    assert!(say(&mut hers, "queen@hearts.example/court", proceed()).is_empty());
    assert!(say(&mut hers, "hatter@tea.example", proceed()).is_empty(), "a device has an address");
    let taken = say(&mut hers, "hatter@tea.example/phone", proceed());
    assert!(matches!(&taken[..], [ProposalEvent::Proceed { device, .. }] if device.resource() == "phone"));
    assert!(say(&mut hers, "hatter@tea.example/table", proceed()).is_empty());
    let reject = JingleMessage::Reject { id: "a7".into(), reason: None, tie_break: false };
    assert!(say(&mut hers, "hatter@tea.example/table", reject).is_empty(), "it goes on");
    let finish = JingleMessage::Finish { id: "a7".into(), reason: Some(Reason::success()), migrated: None };
    assert!(say(&mut hers, "hatter@tea.example/table", finish.clone()).is_empty(), "not of that device");
    let reaction = hers.receive(&jid("hatter@tea.example/phone"), &finish, true, Instant::now());
    assert!(matches!(&reaction.events[..], [ProposalEvent::Finished { .. }]));
    let [(to, JingleMessage::Finish { .. })] = &reaction.replies[..] else { panic!("{reaction:?}") };
    assert_eq!(to, &jid("hatter@tea.example/phone"), "both ends say so");
    assert!(say(&mut hers, "hatter@tea.example/phone", finish).is_empty(), "once");
}

#[test]
fn xep0353_3_7_what_a_peer_says_at_the_end_is_not_repeated() {
    let reason = Reason::gone().with_text("words").with_application_element("tea", "urn:example:tea");
    assert_eq!(usual(Some(&reason)), Reason::connectivity_error());
    assert_eq!(usual(Some(&Reason::timeout())), Reason::expired());
    assert_eq!([usual(None), usual(Some(&Reason::decline()))], [Reason::success(), Reason::success()], "§6");
}

#[test]
fn xep0353_3_3_a_retraction_may_cross_with_who_takes_it() {
    let retract = JingleMessage::Retract { id: HERS.into(), reason: None, tie_break: false };
    let mut his = ringing("table");
    let _ = his.proceed(HERS).unwrap();
    let other = his.receive(&jid("alice@wonder.example/other"), &retract, true, Instant::now());
    assert!(other.events.is_empty(), "it is the proposer's now");
    let reaction = his.receive(&alice(), &retract, true, Instant::now());
    assert!(matches!(&reaction.events[..], [ProposalEvent::Retracted { .. }]));
    assert!(his.finish(HERS, Reason::success()).is_none(), "it has never begun");
    // Whom something was proposed to cannot take it back.
    let mut hers = proposed("a7");
    let from = jid("hatter@tea.example/table");
    let _ = hers.receive(&from, &JingleMessage::Proceed { id: "a7".into() }, true, Instant::now());
    let retract = JingleMessage::Retract { id: "a7".into(), reason: None, tie_break: false };
    assert!(hers.receive(&from, &retract, true, Instant::now()).events.is_empty());
}

#[test]
fn xep0353_3_4_two_devices_may_take_it_at_a_time() {
    for begun in [false, true] {
        let mut table = ringing("table");
        let (_, proceed) = table.proceed(HERS).unwrap();
        if begun {
            table.begun(HERS);
        }
        let reaction = table.receive(&jid("hatter@tea.example/phone"), &proceed, true, Instant::now());
        assert!(reaction.events.is_empty());
        // What may go on over there is not finished from here.
        assert_eq!(table.finish(HERS, Reason::expired()).is_some(), begun);
        assert!(table.known.is_empty());
    }
}

#[test]
fn xep0353_4_files_do_not_take_each_others_place() {
    let file = "urn:xmpp:jingle:apps:file-transfer:5";
    let mut his = ringing("table");
    let _ = his.proceed(HERS).unwrap();
    let of_file = |id: &str| JingleMessage::Propose { id: id.into(), descriptions: description(file) };
    let reaction = his.receive(&alice(), &of_file("f1"), true, Instant::now());
    assert!(
        matches!(&reaction.events[..], [ProposalEvent::Proposed { resumes: None, .. }]),
        "nobody asks for that call"
    );
    assert!(reaction.replies.is_empty());
    let _ = his.proceed("f1").unwrap();
    his.propose("f2", &"alice@wonder.example".parse().unwrap(), description(file), Instant::now()).unwrap();
    let reaction = his.receive(&alice(), &of_file("f0"), true, Instant::now());
    assert!(matches!(&reaction.events[..], [ProposalEvent::Proposed { resumes: None, .. }]));
    assert!(reaction.replies.is_empty(), "there is no tie");
}

#[test]
fn abuse_an_id_that_is_known_stands_for_what_it_is() {
    let mut his = ringing("table");
    for from in [alice(), jid("queen@hearts.example/court")] {
        let reaction = his.receive(&from, &proposal(HERS), true, Instant::now());
        assert!(reaction.events.is_empty() && reaction.replies.is_empty(), "{from}");
    }
    let (to, _) = his.proceed(HERS).unwrap();
    assert_eq!(to, alice());
    // Not even where it is our own, and comes back for something else.
    let mut hers = proposed("a7");
    let echo = JingleMessage::Propose { id: "a7".into(), descriptions: description("urn:example:tea") };
    assert!(hers.receive(&jid("hatter@tea.example/table"), &echo, true, Instant::now()).events.is_empty());
    assert!(hers.retract("a7", Reason::cancel()).is_some());
}

#[test]
fn abuse_a_proposal_has_few_descriptions() {
    let mut his = hatter("table");
    let many = |n: usize, text: &str| {
        let one = element(&format!("<description xmlns='urn:example:tea'>{text}</description>"));
        JingleMessage::Propose { id: n.to_string(), descriptions: vec![one; n] }
    };
    for (n, text, taken) in [(0, "", false), (1, "", true), (DESCRIPTIONS, "", true), (DESCRIPTIONS + 1, "", false)] {
        assert_eq!(!his.receive(&alice(), &many(n, text), true, Instant::now()).events.is_empty(), taken, "{n}");
    }
    assert!(his.receive(&alice(), &many(2, &"x".repeat(10_000)), true, Instant::now()).events.is_empty());
    assert!(his.receive(&alice(), &many(10_000, ""), true, Instant::now()).events.is_empty());
}

#[test]
fn xep0353_4_1_of_two_proposals_the_lower_counts() {
    // Alice's id is the lower one.
    let mut hers = proposed("a7");
    let reaction = hers.receive(&jid("hatter@tea.example/table"), &proposal("b9"), true, Instant::now());
    assert!(reaction.events.is_empty());
    let [(to, reject)] = &reaction.replies[..] else { panic!("{reaction:?}") };
    assert_eq!(to, &jid("hatter@tea.example/table"));
    assert_eq!(
        xml(reject),
        "<reject xmlns='urn:xmpp:jingle-message:0' id='b9'><reason xmlns='urn:xmpp:jingle:1'><expired/>\
         <text>Tie-Break</text></reason><tie-break/></reject>"
    );

    let mut his = hatter("table");
    his.propose("b9", &"alice@wonder.example".parse().unwrap(), description(CALL), Instant::now()).unwrap();
    let reaction = his.receive(&alice(), &proposal("a7"), true, Instant::now());
    assert!(matches!(
        &reaction.events[..],
        [ProposalEvent::Rejected { tie_break: true, .. }, ProposalEvent::Proposed { .. }]
    ));
    let [(_, JingleMessage::Retract { id, tie_break: true, .. })] = &reaction.replies[..] else { panic!() };
    assert_eq!(id, "b9");
    assert!(his.receive(&alice(), reject, true, Instant::now()).events.is_empty(), "that is known");
    assert!(his.proceed("a7").is_some());
}

#[test]
fn xep0353_4_2_a_session_moves_to_another_device() {
    let mut his = ringing("table");
    let _ = his.proceed(HERS).unwrap();
    let other = jid("alice@wonder.example/tablet");
    let reaction = his.receive(&other, &proposal("c3"), true, Instant::now());
    assert!(matches!(&reaction.events[..], [ProposalEvent::Proposed { resumes: Some(old), .. }] if old == HERS));
    let [(whom, finish), (to, proceed)] = &reaction.replies[..] else { panic!("{reaction:?}") };
    assert_eq!(*whom, alice().to_bare(), "all of her devices");
    assert_eq!(
        xml(finish),
        "<finish xmlns='urn:xmpp:jingle-message:0' id='b1'><reason xmlns='urn:xmpp:jingle:1'><expired/>\
         <text>Session migrated</text></reason><migrated to='c3'/></finish>"
    );
    assert_eq!((to, proceed.id()), (&other, "c3"));
    assert!(his.finish("c3", Reason::success()).is_some());
}

#[test]
fn abuse_a101_proposals_are_bounded_and_forgotten() {
    let mut his = hatter("table");
    let now = Instant::now();
    for n in 0..OF_CONTACT {
        assert_eq!(his.receive(&alice(), &proposal(&n.to_string()), true, now).events.len(), 1);
    }
    assert!(his.receive(&alice(), &proposal("more"), true, now).events.is_empty());
    assert!(his.receive(&alice(), &proposal("0"), true, now + FORGOTTEN).events.len() == 1);
    assert_eq!(his.known.len(), 1);
    let dormouse = "dormouse@wonder.example".parse().unwrap();
    for n in 1..PROPOSALS {
        assert!(his.propose(format!("ours{n}"), &dormouse, Vec::new(), now).is_some());
    }
    assert!(his.propose("one more", &dormouse, Vec::new(), now).is_none());
}

#[test]
fn abuse_a101_what_another_device_takes_makes_room() {
    let mut his = hatter("table");
    let mut now = Instant::now();
    for n in 0..2 * PROPOSALS {
        now += std::time::Duration::from_secs(1);
        let id = format!("{n}");
        assert_eq!(his.receive(&alice(), &proposal(&id), true, now).events.len(), 1, "{n}");
        his.receive(&jid("hatter@tea.example/phone"), &JingleMessage::Proceed { id }, true, now);
        assert!(his.known.len() <= PROPOSALS);
    }
}

#[test]
fn abuse_a101_strangers_do_not_end_what_others_ring_for() {
    let mut his = ringing("table");
    let mut now = Instant::now();
    for n in 0..10 * PROPOSALS {
        now += std::time::Duration::from_secs(1);
        let reaction = his.receive(&jid(&format!("knave{n}@cards.example/x")), &proposal(&format!("k{n}")), false, now);
        let [.., ProposalEvent::Proposed { .. }] = &reaction.events[..] else { panic!("{reaction:?}") };
        assert!(his.known.len() <= OF_STRANGERS + 1);
    }
    assert!(his.proceed(HERS).is_some());
    // And they make room for others.
    for n in 0..2 * INCOMING {
        now += std::time::Duration::from_secs(1);
        let reaction = his.receive(&jid(&format!("five{n}@cards.example/x")), &proposal(&format!("f{n}")), true, now);
        let [.., ProposalEvent::Proposed { .. }] = &reaction.events[..] else { panic!("{reaction:?}") };
    }
    assert!(his.known.values().filter(|it| it.is_of_stranger()).count() == 0);
    let late = his.receive(&jid("knave@cards.example/x"), &proposal("last"), false, now);
    assert!(late.events.is_empty(), "nobody gives way to them");
}

#[test]
fn abuse_a101_of_many_the_oldest_gives_way() {
    let mut his = hatter("table");
    let mut now = Instant::now();
    for n in 0..10 * PROPOSALS {
        now += std::time::Duration::from_secs(1);
        let from = jid(&format!("knave{n}@cards.example/x"));
        let reaction = his.receive(&from, &proposal(&format!("k{n}")), true, now);
        let [.., ProposalEvent::Proposed { .. }] = &reaction.events[..] else { panic!("{reaction:?}") };
        // Who has rung for longest does not ring any more.
        if n >= INCOMING {
            let [ProposalEvent::Retracted { id, .. }, _] = &reaction.events[..] else { panic!("{reaction:?}") };
            assert_eq!(*id, format!("k{}", n - INCOMING));
        }
        assert!(his.known.len() <= INCOMING);
    }
    assert!(matches!(
        &his.receive(&alice(), &proposal("hers"), true, now).events[..],
        [.., ProposalEvent::Proposed { .. }]
    ));
    assert!(his.propose("his", &"dormouse@wonder.example".parse().unwrap(), Vec::new(), now).is_some());
    assert!(his.receive(&alice(), &proposal(&"x".repeat(2_000)), true, now).events.is_empty(), "that is no id");
}

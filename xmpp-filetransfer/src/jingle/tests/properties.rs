//! Whatever both ends do, and however it crosses, they agree in the end.

use super::support::{Pair, alice, element, hatter, id, offer, transport};
use crate::jingle::{Content, ContentId, Creator, Jingle, Reason, Senders, Session, SessionLimits};
use proptest::prelude::*;
use xmpp_core::payload::Payload;

#[derive(Clone, Debug)]
enum Step {
    /// The end does something: what, to which content, how.
    Do(usize, u8, usize, u8),
    /// Something arrives at the end.
    Arrive(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let doing =
        (0..2usize, 0..11u8, 0..6usize, 0..4u8).prop_map(|(end, what, which, how)| Step::Do(end, what, which, how));
    let arriving = (0..2usize).prop_map(Step::Arrive);
    proptest::collection::vec(prop_oneof![doing, arriving], 0..80)
}

const TRANSPORTS: [&str; 4] = ["urn:example:pot", "urn:example:cup", "urn:example:jug", "urn:example:mug"];
const SENDERS: [Senders; 4] = [Senders::Both, Senders::Initiator, Senders::Responder, Senders::None];

fn act(pair: &mut Pair, end: usize, what: u8, which: usize, how: u8) {
    let session = &mut pair.ends[end];
    let own = session.end();
    let all: Vec<ContentId> = session.contents().map(|content| content.id().clone()).collect();
    let Some(one) = all.get(which % all.len().max(1)).cloned() else { return };
    // Sometimes of several contents at once.
    let mut some = vec![one.clone()];
    some.extend(all.into_iter().filter(|other| how == 3 && *other != one).take(1));
    let pick = |list: [&'static str; 4]| list[usize::from(how)];
    let sent = match what {
        0 => {
            let mut offered = session.offered();
            if how == 1 {
                offered.truncate(1);
            }
            session.accept(offered)
        }
        1 => session.add_content(vec![offer(own, ["more", "jam", "dormouse", "tea"][which % 4])]),
        2 => session.accept_content(some.into_iter().map(Content::of).collect()),
        3 => session.reject_content(some, None),
        4 | 5 => session.remove_content(some, Some(Reason::cancel())),
        6 => session.modify_content(some.into_iter().map(|it| (it, SENDERS[usize::from(how)])).collect()),
        7 => session.replace_transport(some.into_iter().map(|it| (it, transport(pick(TRANSPORTS)))).collect()),
        8 => session.accept_transport(some.into_iter().map(|it| (it, transport(pick(TRANSPORTS)))).collect()),
        9 => session.reject_transport(some, None),
        _ => session.transport_info(vec![(one, transport(pick(TRANSPORTS)))]),
    };
    if let Ok(sent) = sent {
        pair.send(end, sent);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn xep0166_7_2_16_both_ends_agree_in_the_end(steps in steps()) {
        let mut pair = Pair::new(&["tea", "jam"]);
        for step in &steps {
            match *step {
                Step::Do(end, what, which, how) => act(&mut pair, end, what, which, how),
                Step::Arrive(end) => {
                    pair.step(end);
                }
            }
        }
        pair.settle();
        pair.assert_agreed();
        prop_assert!(!pair.ends[0].has_ended(), "{:?}", pair.errors);
    }

    #[test]
    fn xep0166_whatever_comes_is_taken_or_refused(
        action in 0..15usize,
        contents in proptest::collection::vec((any::<bool>(), 0..4usize, 0..4usize, any::<[bool; 4]>()), 0..4),
        before in 0..6u8,
        end in 0..2usize,
    ) {
        let mut pair = Pair::active(&["tea", "jam"]);
        act(&mut pair, end, 4 + before, 0, 2);
        let mut xml = format!("<jingle xmlns='urn:xmpp:jingle:1' sid='rabbit' action='{}'>", ACTIONS[action]);
        for (initiator, name, ns, [senders, description, transport, security]) in contents {
            let creator = if initiator { "initiator" } else { "responder" };
            let name = ["tea", "jam", "more", "hat"][name];
            xml += &format!("<content creator='{creator}' name='{name}'");
            xml += if senders { " senders='none'>" } else { ">" };
            for (there, part) in [(description, "description"), (transport, "transport"), (security, "security")] {
                if there {
                    xml += &format!("<{part} xmlns='{}'/>", ["urn:example:tea", "urn:example:pot", "urn:x", "urn:y"][ns]);
                }
            }
            xml += "</content>";
        }
        xml += "<reason><success/></reason></jingle>";
        let jingle = Jingle::read(element(&xml).root()).unwrap();
        let before = (pair.view(end), pair.ends[end].phase());
        let refused = pair.ends[end].receive(&jingle).is_err();
        if refused {
            prop_assert_eq!(before, (pair.view(end), pair.ends[end].phase()), "what is refused changes nothing");
        }
        let _ = Session::incoming(&jingle, hatter(), alice(), SessionLimits::default());
    }
}

const ACTIONS: [&str; 15] = [
    "content-accept",
    "content-add",
    "content-modify",
    "content-reject",
    "content-remove",
    "description-info",
    "security-info",
    "session-accept",
    "session-info",
    "session-initiate",
    "session-terminate",
    "transport-accept",
    "transport-info",
    "transport-reject",
    "transport-replace",
];

#[test]
fn a_name_may_come_back() {
    let mut pair = Pair::active(&["tea", "jam"]);
    let gone = id(Creator::Initiator, "jam");
    let sent = pair.ends[0].remove_content(vec![gone.clone()], None).unwrap();
    pair.send(0, sent);
    let again = vec![offer(Creator::Initiator, "jam")];
    assert!(pair.ends[0].add_content(again.clone()).is_err(), "the responder may still speak of the former one");
    pair.settle();
    let sent = pair.ends[0].add_content(again).unwrap();
    pair.send(0, sent);
    pair.settle();
    pair.assert_agreed();
    assert!(!pair.ends[1].content(&gone).unwrap().is_accepted());
}

//! The chart of subscription states (RFC 6121 Appendix A), as one table and a function.

use super::Subscription;
use State::{Both, From, FromOut, None, NoneIn, NoneOut, NoneOutIn, To, ToIn};
use xmpp_core::stanza::PresenceType;

/// How a user and a contact stand to each other, as the user sees it (Appendix A.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// "None"; also of who is not in the roster.
    None,
    /// "None + Pending Out".
    NoneOut,
    /// "None + Pending In".
    NoneIn,
    /// "None + Pending Out+In".
    NoneOutIn,
    /// "To".
    To,
    /// "To + Pending In".
    ToIn,
    /// "From".
    From,
    /// "From + Pending Out".
    FromOut,
    /// "Both".
    Both,
}

impl State {
    /// The state of an item, where `asked` is the user's request and `requested` the contact's, neither answered.
    pub fn new(subscription: Subscription, asked: bool, requested: bool) -> State {
        match (subscription, asked, requested) {
            (Subscription::None | Subscription::Remove, false, false) => None,
            (Subscription::None | Subscription::Remove, true, false) => NoneOut,
            (Subscription::None | Subscription::Remove, false, true) => NoneIn,
            (Subscription::None | Subscription::Remove, true, true) => NoneOutIn,
            (Subscription::To, _, false) => To,
            (Subscription::To, _, true) => ToIn,
            (Subscription::From, false, _) => From,
            (Subscription::From, true, _) => FromOut,
            (Subscription::Both, _, _) => Both,
        }
    }

    /// What the roster shows of it.
    pub fn subscription(self) -> Subscription {
        match self {
            None | NoneOut | NoneIn | NoneOutIn => Subscription::None,
            To | ToIn => Subscription::To,
            From | FromOut => Subscription::From,
            Both => Subscription::Both,
        }
    }

    /// The user has asked and is not answered: `ask` in the roster.
    pub fn is_pending_out(self) -> bool {
        matches!(self, NoneOut | NoneOutIn | FromOut)
    }

    /// The contact has asked and is not answered: nothing in the roster.
    pub fn is_pending_in(self) -> bool {
        matches!(self, NoneIn | NoneOutIn | ToIn)
    }

    /// The same with a subscription of the contact, and nothing pending from there.
    fn granted(self) -> State {
        State::new(
            if self.subscription().is_to() { Subscription::Both } else { Subscription::From },
            self.is_pending_out(),
            false,
        )
    }
}

/// Which way a stanza goes, as the user sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the user to the contact.
    Outbound,
    /// From the contact to the user.
    Inbound,
}

/// What a stanza does about a subscription (§3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// Asks for presence.
    Subscribe,
    /// Wants no more of it.
    Unsubscribe,
    /// Allows it.
    Subscribed,
    /// Denies it, or ends it.
    Unsubscribed,
}

impl Act {
    /// The act of a presence stanza of this type, if it is one about subscriptions.
    pub fn of(type_: PresenceType) -> Option<Act> {
        Some(match type_ {
            PresenceType::Subscribe => Act::Subscribe,
            PresenceType::Unsubscribe => Act::Unsubscribe,
            PresenceType::Subscribed => Act::Subscribed,
            PresenceType::Unsubscribed => Act::Unsubscribed,
            _ => return Option::None,
        })
    }

    /// The type of its presence stanza.
    pub fn presence_type(self) -> PresenceType {
        match self {
            Act::Subscribe => PresenceType::Subscribe,
            Act::Unsubscribe => PresenceType::Unsubscribe,
            Act::Subscribed => PresenceType::Subscribed,
            Act::Unsubscribed => PresenceType::Unsubscribed,
        }
    }
}

/// What a stanza leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Whether it is routed to the contact, or delivered to the user.
    pub pass: bool,
    /// The state after it.
    pub state: State,
    /// Whether a request of the contact is approved already, after it (§3.4).
    pub approved: bool,
    /// What the user's server answers by itself.
    pub answer: Option<Act>,
}

/// Whether a stanza passes, and the state after it.
type Cell = (bool, State);

const PASS: bool = true;
const STOP: bool = false;

/// Tables 2 to 9: a row of cells for each direction and act, a cell for each state in the order of [`State`].
#[rustfmt::skip]
const CHART: [[Cell; 9]; 8] = [
    // Outbound: subscribe, unsubscribe, subscribed, unsubscribed.
    [(PASS, NoneOut), (PASS, NoneOut), (PASS, NoneOutIn), (PASS, NoneOutIn), (PASS, To), (PASS, ToIn), (PASS, FromOut), (PASS, FromOut), (PASS, Both)],
    [(PASS, None), (PASS, None), (PASS, NoneIn), (PASS, NoneIn), (PASS, None), (PASS, NoneIn), (PASS, From), (PASS, From), (PASS, From)],
    [(STOP, None), (STOP, NoneOut), (PASS, From), (PASS, FromOut), (STOP, To), (PASS, Both), (STOP, From), (STOP, FromOut), (STOP, Both)],
    [(STOP, None), (STOP, NoneOut), (PASS, None), (PASS, NoneOut), (STOP, To), (PASS, To), (PASS, None), (PASS, NoneOut), (PASS, To)],
    // Inbound: the same.
    [(PASS, NoneIn), (PASS, NoneOutIn), (STOP, NoneIn), (STOP, NoneOutIn), (PASS, ToIn), (STOP, ToIn), (STOP, From), (STOP, FromOut), (STOP, Both)],
    [(STOP, None), (STOP, NoneOut), (PASS, None), (PASS, NoneOut), (STOP, To), (PASS, To), (PASS, None), (PASS, NoneOut), (PASS, To)],
    [(STOP, None), (PASS, To), (STOP, NoneIn), (PASS, ToIn), (STOP, To), (STOP, ToIn), (STOP, From), (PASS, Both), (STOP, Both)],
    [(STOP, None), (PASS, None), (STOP, NoneIn), (PASS, NoneIn), (PASS, None), (PASS, NoneIn), (STOP, From), (PASS, From), (PASS, From)],
];

/// What becomes of a stanza about a subscription: the chart with its notes. `approved` says that the user has approved
/// a request of the contact before it was made.
///
/// ```
/// use xmpp_im::roster::chart::{Act, Direction, State, step};
///
/// let asked = step(Direction::Outbound, Act::Subscribe, State::None, false);
/// assert!(asked.pass && asked.state == State::NoneOut);
/// // Nobody subscribes a user to anything that the user has not asked for.
/// let forged = step(Direction::Inbound, Act::Subscribed, State::None, false);
/// assert!(!forged.pass && forged.state == State::None);
/// ```
pub fn step(direction: Direction, act: Act, state: State, approved: bool) -> Step {
    let row = match direction {
        Direction::Outbound => 0,
        Direction::Inbound => 4,
    } + act as usize;
    let (pass, next) = CHART[row][state as usize];
    let plain = Step { pass, state: next, approved, answer: Option::None };
    match (direction, act) {
        // Table 4, note 1.
        (Direction::Outbound, Act::Subscribed) if matches!(state, None | NoneOut | To) => {
            Step { approved: true, ..plain }
        }
        // Table 5, note 1; §3.4.2.
        (Direction::Outbound, Act::Unsubscribed) => Step { approved: false, ..plain },
        // Table 6, note 2.
        (Direction::Inbound, Act::Subscribe) if state.subscription().is_from() => {
            Step { answer: Some(Act::Subscribed), ..plain }
        }
        // Table 6, note 1.
        (Direction::Inbound, Act::Subscribe) if approved && pass => {
            Step { pass: false, state: state.granted(), answer: Some(Act::Subscribed), approved }
        }
        // Table 7, note 1.
        (Direction::Inbound, Act::Unsubscribe) if pass => Step { answer: Some(Act::Unsubscribed), ..plain },
        _ => plain,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    const STATES: [(&str, State); 9] = [
        ("None", None),
        ("None + Pending Out", NoneOut),
        ("None + Pending In", NoneIn),
        ("None + Pending Out+In", NoneOutIn),
        ("To", To),
        ("To + Pending In", ToIn),
        ("From", From),
        ("From + Pending Out", FromOut),
        ("Both", Both),
    ];
    const ACTS: [(&str, Act); 4] = [
        ("subscribe", Act::Subscribe),
        ("unsubscribe", Act::Unsubscribe),
        ("subscribed", Act::Subscribed),
        ("unsubscribed", Act::Unsubscribed),
    ];

    fn named<T: Copy>(table: &[(&str, T)], name: &str) -> T {
        table.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("{name}")).1
    }

    #[derive(serde::Deserialize)]
    struct Table {
        direction: String,
        #[serde(rename = "type")]
        act: String,
        rows: std::collections::BTreeMap<String, Row>,
    }

    #[derive(serde::Deserialize)]
    struct Row {
        action: String,
        new: Option<String>,
        note: Vec<String>,
    }

    /// Every cell of the machine-readable tables, where they are at hand.
    #[test]
    fn rfc6121_appendix_a_every_cell() {
        let Ok(specs) = std::env::var("XMPP_SPECS") else { return };
        let text = std::fs::read_to_string(std::path::Path::new(&specs).join("subscription-states.json")).unwrap();
        let tables: Vec<Table> = serde_json::from_str(&text).unwrap();
        let mut cells = 0;
        for table in &tables {
            let direction = match table.direction.as_str() {
                "outbound" => Direction::Outbound,
                "inbound" => Direction::Inbound,
                other => panic!("{other}"),
            };
            for (name, row) in &table.rows {
                let (act, state) = (named(&ACTS, &table.act), named(&STATES, name));
                let found = step(direction, act, state, false);
                let cell = format!("{direction:?} {act:?} {name}: {found:?}");
                assert_eq!(found.pass, row.action == "must", "{cell}");
                let approved = row.new.as_deref() == Some("pre-approval");
                let next = row.new.as_deref().filter(|_| !approved).map_or(state, |new| named(&STATES, new));
                assert_eq!((found.state, found.approved), (next, approved), "{cell}");
                let noted = !row.note.is_empty();
                let answer = match (direction, act) {
                    (Direction::Inbound, Act::Subscribe) if row.note == ["2"] => Some(Act::Subscribed),
                    (Direction::Inbound, Act::Unsubscribe) if noted => Some(Act::Unsubscribed),
                    _ => Option::None,
                };
                assert_eq!(found.answer, answer, "{cell}");
                cells += 1;
            }
        }
        assert_eq!(cells, 72);
    }

    #[test]
    fn rfc6121_3_4_2_a_request_that_was_approved_before_is_answered_and_not_shown() {
        for (state, after) in [(None, From), (NoneOut, FromOut), (To, Both)] {
            let step = step(Direction::Inbound, Act::Subscribe, state, true);
            assert_eq!(step, Step { pass: false, state: after, approved: true, answer: Some(Act::Subscribed) });
        }
    }

    #[test]
    fn rfc6121_3_2_2_a_denial_takes_an_approval_back() {
        for (_, state) in STATES {
            assert!(!step(Direction::Outbound, Act::Unsubscribed, state, true).approved, "{state:?}");
        }
    }

    #[test]
    fn no_act_of_a_contact_touches_what_the_user_has_approved_nor_grants_by_itself() {
        for (_, act) in ACTS {
            for (_, state) in STATES {
                assert!(step(Direction::Inbound, act, state, true).approved);
                let plain = step(Direction::Inbound, act, state, false);
                assert!(!plain.approved);
                assert!(plain.state.subscription().is_from() <= state.subscription().is_from(), "{act:?} {state:?}");
            }
        }
    }

    #[test]
    fn states_are_what_the_roster_and_the_pending_request_say() {
        for (_, state) in STATES {
            assert_eq!(State::new(state.subscription(), state.is_pending_out(), state.is_pending_in()), state);
        }
    }
}

//! The server's end of BOSH alone: transcripts of what a client posts and what must come back (XEP-0124, XEP-0206).
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::time::Duration;
use xmpp_core::{
    stream::bosh::{Body, BoshLimits, BoshSession, Effect, Reply},
    xml::XmlLimits,
};

const NS: &str = "xmlns='http://jabber.org/protocol/httpbind'";
const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams' version='1.0' from='example.com' id='ServerStreamID' xml:lang='en'>";
const FEATURES: &str = "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>";
const CREATE: &str = "rid='100' to='example.com' wait='60' hold='1' ver='1.6' xml:lang='en'";

/// A session with a clock, and what it did.
struct Peer {
    session: BoshSession,
    now: Duration,
    tickets: u64,
}

fn text(reply: &Reply) -> String {
    let body = std::str::from_utf8(&reply.body).unwrap();
    roxmltree::Document::parse(body).unwrap();
    let body = body.replace(&format!("<body {NS}"), "<body");
    if reply.status == 200 { body } else { format!("{} {body}", reply.status) }
}

fn show(effects: Vec<Effect>) -> Vec<String> {
    let shown = effects.into_iter().map(|effect| match effect {
        Effect::Respond(ticket, reply) => format!("{ticket}: {}", text(&reply)),
        Effect::Write(bytes) => format!("> {}", String::from_utf8(bytes).unwrap()),
        Effect::Close => "close".to_owned(),
        Effect::Over => "over".to_owned(),
        other => panic!("{other:?}"),
    });
    shown.collect()
}

fn body(attributes: &str, content: &str) -> Body {
    let text = format!("<body {attributes} {NS} xmlns:xmpp='urn:xmpp:xbosh'>{content}</body>");
    Body::parse(text.as_bytes(), &XmlLimits::authenticated()).unwrap()
}

fn create(attributes: &str, limits: BoshLimits) -> Result<(Peer, Vec<String>), Reply> {
    let (session, effects) = BoshSession::open(&body(attributes, ""), 0, "SomeSID", limits, Duration::ZERO)?;
    Ok((Peer { session, now: Duration::ZERO, tickets: 1 }, show(effects)))
}

fn refused(attributes: &str) -> String {
    create(attributes, BoshLimits::default()).err().map(|reply| text(&reply)).unwrap()
}

impl Peer {
    /// A session whose creation (ticket 0) has been answered.
    fn new(attributes: &str) -> Peer {
        let (mut peer, _) = create(attributes, BoshLimits::default()).unwrap();
        peer.said(&format!("{HEADER}{FEATURES}"));
        peer.after(10);
        peer
    }

    /// A request, with the next ticket.
    fn post(&mut self, attributes: &str, content: &str) -> Vec<String> {
        self.tickets += 1;
        show(self.session.request(body(attributes, content), self.tickets - 1, self.now))
    }

    fn said(&mut self, text: &str) -> Vec<String> {
        show(self.session.received(text.as_bytes(), self.now))
    }

    fn after(&mut self, seconds: u64) -> Vec<String> {
        self.now += Duration::from_secs(seconds);
        show(self.session.timeout(self.now))
    }
}

fn message(text: &str) -> String {
    format!("<message to='a@b'><body>{text}</body></message>")
}

fn wrapped(text: &str) -> String {
    format!("<body><message xmlns='jabber:client' to='a@b'><body>{text}</body></message></body>")
}

#[test]
fn xep0206_3_the_session_creation_response_has_the_terms_and_the_features() {
    let (mut peer, effects) = create(
        "from='user@example.com' ack='1' content='text/plain' rid='1573741820' to='example.com' \
        route='xmpp:example.com:9999' ver='1.6' wait='60' hold='1' xml:lang='en' xmpp:version='1.0'",
        BoshLimits::default(),
    )
    .unwrap();
    assert_eq!(
        effects,
        [
            "> <?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
          version='1.0' from='user@example.com' to='example.com' xml:lang='en'>"
        ]
    );
    assert!(peer.said(HEADER).is_empty());
    let effects = peer.session.received(FEATURES.as_bytes(), peer.now);
    let [Effect::Respond(0, reply)] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(&*reply.content_type, "text/plain");
    assert_eq!(
        text(reply),
        "<body wait='60' inactivity='60' polling='2' requests='2' hold='1' ack='1573741820' maxpause='120' \
         sid='SomeSID' charsets='UTF-8' ver='1.6' xmlns:xmpp='urn:xmpp:xbosh' xmpp:restartlogic='true' \
         from='example.com' authid='ServerStreamID' xmpp:version='1.0' \
         xmlns:stream='http://etherx.jabber.org/streams'>\
         <stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features></body>"
    );
}

#[test]
fn what_servers_add_to_the_largest_stanza_ends_no_session_and_is_not_lost() {
    let attributes: String = (0..70).map(|n| format!(" a{n}=''")).collect();
    let deep = format!("{}{}", "<n>".repeat(140), "</n>".repeat(140));
    for largest in [
        format!("<message to='a@b'{attributes}/>"),
        format!("<message to='a@b'>{deep}</message>"),
        format!("<message to='a@b'>{}</message>", "<n/>".repeat(8200)),
    ] {
        let mut peer = Peer::new(CREATE);
        assert!(peer.said(&largest).is_empty());
        let effects = peer.post("rid='101' sid='SomeSID'", "");
        assert!(effects.iter().any(|effect| effect.contains("<message xmlns='jabber:client' to='a@b'")), "{effects:?}");
        assert!(!effects.iter().any(|effect| effect.contains("terminate")), "{effects:?}");
        peer.session.lost(1, peer.now);
        peer.after(60);
        assert_eq!(peer.session.leftovers().len(), 1);
    }
}

#[test]
fn xep0124_7_1_a_request_that_makes_no_sense_is_refused() {
    let bad = "<body type='terminate' condition='bad-request'/>";
    for wrong in [
        "rid='0'",
        "rid='-1'",
        "rid='9007199254740992'",
        "rid='x'",
        "",
        "rid='1' wait='x'",
        "rid='1' hold=''",
        "rid='1' content='a&#10;b'",
        "rid='1' content='ä'",
        "rid='1' content=''",
    ] {
        assert_eq!(refused(&format!("to='example.com' ver='1.6' {wrong}")), bad, "{wrong}");
    }
    assert_eq!(refused("to='example.com' ver='one' rid='1'"), bad);
    // XEP-0124 §17.1: those who don't say which version they speak get the status.
    assert_eq!(refused("to='example.com'"), format!("400 {bad}"));
    for missing in ["rid='1'", "rid='1' to=''"] {
        assert_eq!(refused(missing), "<body type='terminate' condition='improper-addressing'/>");
    }
}

#[test]
fn abuse_a023_wait_and_hold_are_no_more_than_we_grant() {
    for (asked, granted) in [
        ("wait='1000000000' hold='1000000'", "wait='60' inactivity='60' polling='2' requests='3' hold='2'"),
        (
            "wait='99999999999999999999999' hold='99999999999999999999'",
            "wait='60' inactivity='60' polling='2' requests='3' hold='2'",
        ),
        ("wait='7' hold='1'", "wait='7' inactivity='60' polling='2' requests='2' hold='1'"),
        ("wait='0' hold='1'", "wait='0' inactivity='122' polling='2' requests='2' hold='1'"),
        ("wait='60' hold='0'", "wait='0' inactivity='122' polling='2' requests='1' hold='0'"),
        ("", "wait='60' inactivity='60' polling='2' requests='2' hold='1'"),
    ] {
        let (mut peer, _) = create(&format!("rid='1' to='example.com' {asked}"), BoshLimits::default()).unwrap();
        let answer = peer.said(&format!("{HEADER}{FEATURES}")).concat();
        assert!(answer.starts_with(&format!("0: <body {granted} ")), "{asked}: {answer}");
    }
}

#[test]
fn xep0124_7_2_the_server_may_be_identified_later() {
    let (mut peer, _) = create(CREATE, BoshLimits::default()).unwrap();
    let answer = peer.after(60).concat();
    assert!(answer.contains("sid='SomeSID'") && !answer.contains("from="), "{answer}");
    assert!(peer.post("rid='101' sid='SomeSID'", "").is_empty());
    assert!(peer.said(HEADER).is_empty());
    assert_eq!(
        peer.said("<stream:features/>"),
        ["1: <body from='example.com' authid='ServerStreamID' xmlns:xmpp='urn:xmpp:xbosh' xmpp:version='1.0' \
          xmlns:stream='http://etherx.jabber.org/streams'><stream:features/></body>"]
    );
}

#[test]
fn xep0124_8_a_request_waits_for_something_to_answer() {
    let mut peer = Peer::new(CREATE);
    assert_eq!(peer.post("rid='101' sid='SomeSID'", &message("one")), [format!("> {}", message("one"))]);
    assert_eq!(peer.said(&message("two")), [format!("1: {}", wrapped("two"))]);
    assert!(peer.post("rid='102' sid='SomeSID'", "").is_empty());
    assert!(peer.after(59).is_empty());
    assert_eq!(peer.after(1), ["2: <body/>"]);
    // What comes while nobody asks, waits.
    assert!(peer.said(&message("three")).is_empty());
    assert!(peer.said(&message("four")).is_empty());
    let answer = peer.post("rid='103' sid='SomeSID'", "").concat();
    assert_eq!(
        answer,
        format!("3: {}", wrapped("three").replace("</message></body>", "</message>") + &wrapped("four")[6..])
    );
}

#[test]
fn xep0124_8_a_new_request_frees_the_one_that_is_held() {
    let mut peer = Peer::new(CREATE);
    assert!(peer.post("rid='101' sid='SomeSID'", "").is_empty());
    assert_eq!(
        peer.post("rid='102' sid='SomeSID'", &message("x")),
        [format!("> {}", message("x")), "1: <body/>".into()]
    );
    peer.after(10);
    assert_eq!(peer.post("rid='103' sid='SomeSID'", ""), ["2: <body/>"]);
}

#[test]
fn xep0206_5_sasl_restart_and_binding() {
    let mut peer = Peer::new(CREATE);
    let sasl = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'";
    let auth = format!("<auth {sasl} mechanism='SCRAM-SHA-1'>biws</auth>");
    assert_eq!(peer.post("rid='101' sid='SomeSID'", &auth), [format!("> {auth}")]);
    assert!(!peer.session.is_authenticated());
    let success = format!("<success {sasl}>dj0=</success>");
    assert_eq!(peer.said(&success), [format!("1: <body>{success}</body>")]);
    assert!(peer.session.is_authenticated());
    // A stanza in a restart request may be ignored.
    let restart = "rid='102' sid='SomeSID' to='example.com' xml:lang='en' xmpp:restart='true'";
    assert_eq!(
        peer.post(restart, &message("x")),
        [
            "> <?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
          version='1.0' to='example.com' xml:lang='en'>"
        ]
    );
    assert_eq!(
        peer.said(&format!("{HEADER}{FEATURES}")),
        [format!("2: <body xmlns:stream='http://etherx.jabber.org/streams'>{FEATURES}</body>")]
    );
    let bound = "<iq id='bind_1' type='result'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
        <jid>user@example.com/httpclient</jid></bind></iq>";
    peer.said(bound);
    assert_eq!(peer.session.jid(), Some("user@example.com/httpclient"));
}

#[test]
fn xep0124_14_2_requests_out_of_order_wait_for_their_turn() {
    let mut peer = Peer::new(&CREATE.replace("hold='1'", "hold='2'"));
    assert!(peer.post("rid='103' sid='SomeSID'", &message("three")).is_empty());
    assert!(peer.post("rid='102' sid='SomeSID'", &message("two")).is_empty());
    assert_eq!(
        peer.post("rid='101' sid='SomeSID'", &message("one")),
        [
            format!("> {}", message("one")),
            format!("> {}", message("two")),
            format!("> {}", message("three")),
            "3: <body/>".into()
        ]
    );
    assert_eq!(peer.said(&message("x")), [format!("2: {}", wrapped("x"))]);
}

#[test]
fn xep0124_17_3_what_waits_in_vain_for_its_predecessor_is_asked_for_again() {
    let mut peer = Peer::new(CREATE);
    assert!(peer.post("rid='102' sid='SomeSID'", &message("two")).is_empty());
    assert_eq!(peer.after(60), ["1: <body type='error'/>"]);
    assert_eq!(peer.post("rid='101' sid='SomeSID'", &message("one")), [format!("> {}", message("one"))]);
    assert_eq!(
        peer.post("rid='102' sid='SomeSID'", &message("two")),
        [format!("> {}", message("two")), "2: <body/>".into()]
    );
}

#[test]
fn xep0124_14_3_a_repeated_request_gets_the_same_answer() {
    let mut peer = Peer::new(CREATE);
    peer.post("rid='101' sid='SomeSID'", &message("one"));
    assert_eq!(peer.said(&message("two")), [format!("1: {}", wrapped("two"))]);
    assert_eq!(peer.post("rid='101' sid='SomeSID'", &message("one")), [format!("2: {}", wrapped("two"))]);
    // Also the session creation response, and after another.
    peer.post("rid='102' sid='SomeSID'", &message("three"));
    assert_eq!(peer.post("rid='101' sid='SomeSID'", &message("one")), [format!("4: {}", wrapped("two"))]);
    assert!(peer.post("rid='100' sid='SomeSID'", "").concat().contains("sid='SomeSID'"));
}

#[test]
fn xep0124_14_3_a_held_request_that_is_repeated_moves_to_the_new_connection() {
    let mut peer = Peer::new(CREATE);
    assert!(peer.post("rid='101' sid='SomeSID'", "").is_empty());
    assert_eq!(peer.post("rid='101' sid='SomeSID'", ""), ["1: <body type='error'/>"]);
    assert_eq!(peer.said(&message("x")), [format!("2: {}", wrapped("x"))]);
}

#[test]
fn xep0124_14_3_responses_that_are_gone_end_the_session() {
    let mut peer = Peer::new(CREATE);
    for rid in 101..105 {
        peer.post(&format!("rid='{rid}' sid='SomeSID'"), &message("x"));
    }
    // 104 is held; three answers are kept, 101 to 103.
    assert_eq!(peer.post("rid='101' sid='SomeSID'", ""), ["5: <body/>"]);
    assert_eq!(
        peer.post("rid='100' sid='SomeSID'", ""),
        [
            "6: <body type='terminate' condition='item-not-found'/>",
            "4: <body type='terminate' condition='other-request'/>",
            "close"
        ]
    );
    // From now on there is no such session.
    assert_eq!(peer.post("rid='105' sid='SomeSID'", ""), ["7: <body type='terminate' condition='item-not-found'/>"]);
    assert_eq!(peer.after(10), ["over"]);
}

#[test]
fn abuse_a023_a_rid_beyond_the_window_ends_the_session() {
    for (rid, attributes, ends) in [
        (102, "", false),
        (103, "", true),
        (103, "type='terminate'", false),
        (104, "pause='1'", true),
        (u64::MAX, "", true),
        (99, "", true),
    ] {
        let mut peer = Peer::new(CREATE);
        let answer = peer.post(&format!("rid='{rid}' sid='SomeSID' {attributes}"), &message("x"));
        let expected = match rid {
            u64::MAX => vec!["1: <body type='terminate' condition='bad-request'/>", "close"],
            _ => vec!["1: <body type='terminate' condition='item-not-found'/>", "close"],
        };
        assert_eq!(answer, if ends { expected } else { Vec::new() }, "{rid} {attributes}");
    }
}

#[test]
fn abuse_a023_one_request_is_not_repeated_for_ever() {
    let mut peer = Peer::new(CREATE);
    for _ in 0..32 {
        assert!(peer.post("rid='100' sid='SomeSID'", "").concat().contains("SomeSID"));
    }
    assert_eq!(
        peer.post("rid='100' sid='SomeSID'", ""),
        ["33: <body type='terminate' condition='policy-violation'/>", "close"]
    );
    let mut peer = Peer::new(CREATE);
    (0..33).for_each(|_| drop(peer.post("rid='101' sid='SomeSID'", "")));
    assert_eq!(
        peer.post("rid='101' sid='SomeSID'", ""),
        [
            "34: <body type='terminate' condition='policy-violation'/>",
            "33: <body type='terminate' condition='other-request'/>",
            "close"
        ]
    );
}

#[test]
fn xep0124_11_empty_requests_at_once_are_too_many() {
    let mut peer = Peer::new(CREATE);
    assert!(peer.post("rid='101' sid='SomeSID'", "").is_empty());
    peer.after(1);
    assert_eq!(
        peer.post("rid='102' sid='SomeSID'", ""),
        [
            "2: <body type='terminate' condition='policy-violation'/>",
            "1: <body type='terminate' condition='other-request'/>",
            "close"
        ]
    );
}

#[test]
fn xep0124_12_a_client_that_polls_too_often_is_shown_the_door() {
    let mut peer = Peer::new(&CREATE.replace("hold='1'", "hold='0'"));
    assert!(peer.post("rid='101' sid='SomeSID'", "").is_empty());
    peer.now += Duration::from_millis(200);
    assert_eq!(peer.after(0), ["1: <body/>"]);
    peer.after(2);
    assert!(peer.post("rid='102' sid='SomeSID'", "").is_empty());
    assert_eq!(peer.said(&message("x")), [format!("2: {}", wrapped("x"))]);
    // There was something: there may be more.
    assert!(peer.post("rid='103' sid='SomeSID'", "").is_empty());
    assert_eq!(peer.after(1), ["3: <body/>"]);
    assert_eq!(
        peer.post("rid='104' sid='SomeSID'", ""),
        ["4: <body type='terminate' condition='policy-violation'/>", "close"]
    );
}

#[test]
fn xep0124_17_1_old_clients_get_http_errors() {
    let mut peer = Peer::new("rid='100' to='example.com'");
    assert_eq!(
        peer.post("rid='999' sid='SomeSID'", "")[0],
        "1: 404 <body type='terminate' condition='item-not-found'/>"
    );
}

#[test]
fn xep0124_10_silence_ends_the_session_and_stanzas_come_back() {
    let mut peer = Peer::new(CREATE);
    assert!(peer.post("rid='101' sid='SomeSID'", "").is_empty());
    assert_eq!(peer.after(60), ["1: <body/>"]);
    peer.said(&message("x"));
    peer.said("<stream:features/><iq type='result' id='1'/>");
    assert!(peer.after(59).is_empty());
    assert_eq!(peer.after(1), ["close", "over"]);
    let left: Vec<_> = peer.session.leftovers().iter().map(|stanza| stanza.as_str().to_owned()).collect();
    assert_eq!(left, [message("x").as_str(), "<iq type='result' id='1'/>"]);
}

#[test]
fn xep0124_10_2_a_pause_frees_all_requests_and_gives_time() {
    let mut peer = Peer::new(CREATE);
    assert!(peer.post("rid='101' sid='SomeSID'", "").is_empty());
    assert_eq!(peer.post("rid='102' sid='SomeSID' pause='100'", ""), ["1: <body/>", "2: <body/>"]);
    // No answer to a pause has anything in it.
    peer.said(&message("x"));
    assert!(peer.after(99).is_empty());
    assert_eq!(peer.post("rid='103' sid='SomeSID' pause='1000000'", ""), ["3: <body/>"]);
    assert!(peer.after(119).is_empty());
    assert_eq!(peer.post("rid='104' sid='SomeSID'", ""), [format!("4: {}", wrapped("x"))]);
    // Back to normal.
    assert_eq!(peer.after(60), ["close", "over"]);
    let mut peer = Peer::new(CREATE);
    assert_eq!(
        peer.post("rid='101' sid='SomeSID' pause='soon'", "")[0],
        "1: <body type='terminate' condition='bad-request'/>"
    );
}

#[test]
fn xep0124_9_acknowledgements_and_reports() {
    let mut peer = Peer::new(&format!("{CREATE} ack='1'"));
    assert!(peer.post("rid='101' sid='SomeSID'", "").is_empty());
    // It has the later one too, and says so.
    assert_eq!(peer.post("rid='102' sid='SomeSID'", &message("x"))[1], "1: <body ack='102'/>");
    peer.now += Duration::from_millis(852);
    let answers = peer.post("rid='103' sid='SomeSID' ack='100'", &message("y"));
    assert_eq!(answers[1], "2: <body ack='103' report='101' time='852'/>");
    // The answer to the latest needs no ack.
    assert_eq!(peer.said(&message("z")), [format!("3: {}", wrapped("z"))]);
    // What has only just been answered is on its way.
    assert_eq!(peer.post("rid='104' sid='SomeSID' ack='102'", &message("y")).len(), 1);
}

#[test]
fn xep0124_15_a_wrong_key_ends_the_session() {
    let keyed = format!("{CREATE} newkey='ca393b51b682f61f98e7877d61146407f3d0a770'");
    let right = "rid='101' sid='SomeSID' key='bfb06a6f113cd6fd3838ab9d300fdb4fe3da2f7d'";
    assert!(Peer::new(&keyed).post(right, "").is_empty());
    for wrong in ["rid='101' sid='SomeSID' key='bfb06a6f113cd6fd3838ab9d300fdb4fe3da2f7e'", "rid='101' sid='SomeSID'"] {
        let answer = Peer::new(&keyed).post(wrong, &message("x"));
        assert_eq!(answer, ["1: <body type='terminate' condition='item-not-found'/>", "close"]);
    }
    // An answer is not given again to who doesn't know the key of its request.
    let mut peer = Peer::new(&keyed);
    peer.post(right, "");
    peer.said(&message("x"));
    assert_eq!(peer.post("rid='101' sid='SomeSID'", "")[0], "2: <body type='terminate' condition='item-not-found'/>");
}

#[test]
fn xep0124_13_the_client_ends_the_session() {
    let mut peer = Peer::new(CREATE);
    assert!(peer.post("rid='101' sid='SomeSID'", "").is_empty());
    let presence = "<presence xmlns='jabber:client' type='unavailable'/>";
    assert_eq!(
        peer.post("rid='102' sid='SomeSID' type='terminate'", presence),
        ["> <presence type='unavailable'/></stream:stream>", "1: <body type='terminate'/>", "2: <body/>", "close"]
    );
    // The answer may get lost; what the server still sends has nowhere to go.
    assert_eq!(peer.post("rid='101' sid='SomeSID'", ""), ["3: <body type='terminate'/>"]);
    peer.said(&message("late"));
    assert!(peer.said("</stream:stream>").is_empty());
    assert_eq!(peer.after(10), ["over"]);
    assert_eq!(peer.session.leftovers().len(), 1);
}

#[test]
fn xep0206_6_a_stream_error_comes_with_what_came_before() {
    let mut peer = Peer::new(CREATE);
    peer.said(&message("x"));
    let error = "<stream:error><not-well-formed xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>\
        <escape-your-data xmlns='application-ns'/></stream:error>";
    peer.said(&format!("{error}</stream:stream>"));
    assert_eq!(
        peer.post("rid='101' sid='SomeSID'", ""),
        [
            &format!(
                "1: <body type='terminate' condition='remote-stream-error' \
                 xmlns:stream='http://etherx.jabber.org/streams'>\
                 <message xmlns='jabber:client' to='a@b'><body>x</body></message>{error}</body>"
            ),
            "close"
        ]
    );
}

#[test]
fn xep0124_17_2_conditions_of_the_stream_behind() {
    let end = |text: &str| {
        let (mut peer, _) = create(CREATE, BoshLimits::default()).unwrap();
        match text {
            "eof" => show(peer.session.stream_ended(peer.now)),
            "stop" => show(peer.session.shut_down(peer.now)),
            text => peer.said(&format!("{HEADER}{text}")),
        }
    };
    let error =
        |name: &str| format!("<stream:error><{name} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>");
    for (text, condition) in [
        (error("host-unknown"), " condition='host-unknown'"),
        (error("host-gone"), " condition='host-gone'"),
        (error("improper-addressing"), " condition='improper-addressing'"),
        (error("system-shutdown"), " condition='system-shutdown'"),
        ("</stream:stream>".into(), ""),
        ("eof".into(), " condition='remote-connection-failed'"),
        ("stop".into(), " condition='system-shutdown'"),
        ("</x>".into(), " condition='internal-server-error'"),
    ] {
        assert_eq!(end(&text), [&format!("0: <body type='terminate'{condition}/>"), "close"], "{text}");
    }
}

#[test]
fn a_client_that_never_fetches_fills_no_memory() {
    let mut limits = BoshLimits::default();
    limits.queue_bytes = 100;
    let (mut peer, _) = create(CREATE, limits).unwrap();
    peer.said(&format!("{HEADER}{FEATURES}"));
    assert!(peer.session.has_room());
    peer.said(&message(&"x".repeat(100)));
    assert!(!peer.session.has_room());
    peer.post("rid='101' sid='SomeSID'", "");
    assert!(peer.session.has_room());
}

#[test]
fn what_a_client_that_has_gone_never_got_is_kept_for_it() {
    let mut peer = Peer::new(CREATE);
    assert!(peer.post("rid='101' sid='SomeSID'", "").is_empty());
    peer.session.lost(1, peer.now);
    // Nobody is there: it stays in the queue, and the clock runs.
    assert!(peer.said(&message("x")).is_empty());
    assert_eq!(peer.post("rid='101' sid='SomeSID'", ""), [format!("2: {}", wrapped("x"))]);
    // An answer that did not get through can be fetched, and is known to be lost if it never is.
    peer.session.lost(2, peer.now);
    assert_eq!(peer.post("rid='101' sid='SomeSID'", ""), [format!("3: {}", wrapped("x"))]);
    peer.session.lost(3, peer.now);
    peer.after(60);
    assert_eq!(peer.session.leftovers()[0].root().name(), "message");
}

#[test]
fn a_stream_under_stream_management_leaves_nothing() {
    let mut peer = Peer::new(CREATE);
    peer.said("<enabled xmlns='urn:xmpp:sm:3' id='x' resume='true'/>");
    peer.said(&message("x"));
    assert!(peer.session.leftovers().is_empty());
}

#[test]
fn stream_management_that_began_in_sasl2_counts_as_well() {
    let began = [
        "<resumed xmlns='urn:xmpp:sm:3' previd='x' h='0'/>",
        "<bound xmlns='urn:xmpp:bind:0'><enabled xmlns='urn:xmpp:sm:3' id='x' resume='true'/></bound>",
        "<bound xmlns='urn:xmpp:bind:0'><failed xmlns='urn:xmpp:sm:3'/></bound>",
    ];
    let left = began.map(|began| {
        let mut peer = Peer::new(CREATE);
        let jid = "<authorization-identifier>a@b/c</authorization-identifier>";
        peer.said(&format!("<success xmlns='urn:xmpp:sasl:2'>{jid}{began}</success>"));
        peer.said(&message("x"));
        peer.session.leftovers().len()
    });
    assert_eq!(left, [0, 0, 1], "what is accounted for elsewhere comes back once alone");
}

/// The message in the answer to ticket 1 gets lost, which the session hears before the answer leaves the window, or after.
/// What the client gets afterwards.
fn moved_on(peer: &mut Peer, first: u64, late: bool) -> String {
    let unread = |peer: &mut Peer| {
        let content = wrapped("x").replacen("<body>", &format!("<body {NS}>"), 1).into();
        show(peer.session.unread(1, &content, peer.now))
    };
    peer.post(&format!("rid='{first}' sid='SomeSID'"), "");
    assert_eq!(peer.said(&message("x")), [format!("1: {}", wrapped("x"))]);
    let mut told = if late { Vec::new() } else { unread(peer) };
    for rid in first + 1..first + 5 {
        told.extend(peer.post(&format!("rid='{rid}' sid='SomeSID'"), &message("y")));
        told.extend(peer.said(&message("z")));
    }
    if late {
        told.extend(unread(peer));
    }
    told.extend(peer.post(&format!("rid='{}' sid='SomeSID'", first + 5), &message("y")));
    told.concat()
}

#[test]
fn what_the_client_does_not_ask_for_again_goes_back() {
    for late in [false, true] {
        let mut peer = Peer::new(CREATE);
        assert!(!moved_on(&mut peer, 101, late).contains("<body>x</body>"));
        let strays: Vec<_> = peer.session.strays().iter().map(|stanza| stanza.as_str().to_owned()).collect();
        assert_eq!(strays, [message("x").replace("<message ", "<message xmlns='jabber:client' ")]);
        assert!(peer.session.strays().is_empty() && peer.session.leftovers().is_empty());
    }
}

#[test]
fn xep0198_5_what_is_counted_and_got_lost_comes_once_more() {
    for late in [false, true] {
        let mut peer = Peer::new(CREATE);
        let jid = "<authorization-identifier>a@b/c</authorization-identifier>";
        let resumed = "<resumed xmlns='urn:xmpp:sm:3' previd='x' h='0'/>";
        peer.said(&format!("<success xmlns='urn:xmpp:sasl:2'>{jid}{resumed}</success>"));
        peer.tickets = 50;
        peer.post("rid='101' sid='SomeSID'", "");
        peer.tickets = 1;
        assert!(moved_on(&mut peer, 102, late).contains("<body>x</body>"));
        assert!(peer.session.strays().is_empty());
    }
}

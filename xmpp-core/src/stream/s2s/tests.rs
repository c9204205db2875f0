#![allow(clippy::unwrap_used, clippy::panic)]
//! Transcripts: what goes in and what comes out, as XML.

use super::*;
use crate::{
    stanza::StanzaError,
    stream::StreamCondition,
    xml::{Event, Scanner, XmlLimits, ns},
};
use std::sync::Arc;

const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
                      xmlns:stream='http://etherx.jabber.org/streams' version='1.0'";
const KEY: &str = "b4835385f37fe2895af6c196b59097b16862406db80559900d96bf6fa7d23df3";
const DIALBACK_OFFER: &str = "<bidi xmlns='urn:xmpp:features:bidi'/><dialback xmlns='urn:xmpp:features:dialback'>\
                              <errors/></dialback>";
const EXTERNAL_OFFER: &str =
    "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>EXTERNAL</mechanism></mechanisms>";
const STARTTLS: &str = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
const PROCEED: &str = "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
const SUCCESS: &str = "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";
const END: &str = "</stream:stream>";

fn error(condition: &str) -> String {
    format!("<stream:error><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>{END}")
}

fn header(from: &str, to: &str) -> String {
    format!("{HEADER} from='{from}' to='{to}' xml:lang='en'>")
}

fn response(from: &str, to: &str, id: &str) -> String {
    format!("{HEADER} from='{from}' to='{to}' id='{id}' xml:lang='en'>")
}

/// A server that hosts the Montagues' domains.
fn montague() -> S2sConfig {
    let hosts: Hosts = Arc::new(|domain| matches!(domain, "montague.example" | "chat.montague.example"));
    S2sConfig::new(DialbackSecret::new(b"d14lb4ck43v3r"), hosts)
}

/// A server that hosts the Capulets' domains.
fn capulet() -> S2sConfig {
    let hosts: Hosts = Arc::new(|domain| matches!(domain, "capulet.example" | "rooms.capulet.example"));
    S2sConfig::new(DialbackSecret::new(b"s3cr3tf0rd14lb4ck"), hosts)
}

fn with(mut config: S2sConfig, default: Policy) -> S2sConfig {
    config.policies = Arc::new(Policies::new(default));
    config
}

fn plaintext(config: S2sConfig) -> S2sConfig {
    let mut config = with(config, Policy::default().require_tls(false));
    config.tls = false;
    config
}

/// Either machine with a scanner before it.
struct Wire<M> {
    machine: M,
    scanner: Scanner,
}

impl Incoming {
    /// What it would say to a stanza, without ending for it.
    fn judge_stanza(&self, text: &str) -> Result<Arrived, StreamError> {
        self.exchange.stanza(Stanza::parse(text, ns::SERVER, &XmlLimits::authenticated()).unwrap())
    }
}

trait Machine {
    fn take(&mut self, event: Event) -> Vec<S2sTask>;
}
impl Machine for Incoming {
    fn take(&mut self, event: Event) -> Vec<S2sTask> {
        self.event(event)
    }
}
impl Machine for Outgoing {
    fn take(&mut self, event: Event) -> Vec<S2sTask> {
        self.event(event)
    }
}

impl<M: Machine> Wire<M> {
    fn new(machine: M) -> Wire<M> {
        Wire { machine, scanner: Scanner::new(XmlLimits::unauthenticated()) }
    }

    /// What comes of these bytes.
    fn feed(&mut self, text: &str) -> Vec<S2sTask> {
        let mut rest = text.as_bytes();
        let mut tasks = Vec::new();
        while let Some(event) = self.scanner.scan(&mut rest).unwrap() {
            tasks.extend(self.machine.take(event));
            self.obey(&tasks);
        }
        tasks
    }

    fn obey(&mut self, tasks: &[S2sTask]) {
        if matches!(tasks.last(), Some(S2sTask::Restart)) || matches!(tasks, [S2sTask::Restart, ..]) {
            self.scanner.restart();
        }
    }

    /// The same, as text.
    fn say(&mut self, text: &str) -> String {
        text_of(&self.feed(text))
    }
}

/// Tasks as they can be compared: what is sent as it is, the rest in brackets.
fn text_of(tasks: &[S2sTask]) -> String {
    let one = |task: &S2sTask| match task {
        S2sTask::Send(bytes) => String::from_utf8(bytes.clone()).unwrap(),
        S2sTask::Restart => "[restart]".into(),
        S2sTask::StartTls => "[tls]".into(),
        S2sTask::Verify(v) => format!("[verify {} for {}: {} {}]", v.remote, v.local, v.id, v.key),
        S2sTask::Admitted(pair, proof) => format!("[admitted {} to {}: {}]", pair.remote, pair.local, proof.name()),
        S2sTask::Authorized(pair, proof) => format!("[authorized {} to {}: {}]", pair.local, pair.remote, proof.name()),
        S2sTask::Refused(pair, refusal) => format!("[refused {} to {}: {refusal}]", pair.local, pair.remote),
        S2sTask::Negotiated => "[negotiated]".into(),
        S2sTask::Answered(v, answer) => format!("[answer for {}: {answer:?}]", v.id),
        S2sTask::Stanza(arrived) => format!("[stanza from {} to {}]", arrived.from, arrived.to),
        S2sTask::Close(_) => "[close]".into(),
    };
    tasks.iter().map(one).collect()
}

fn incoming(config: S2sConfig) -> Wire<Incoming> {
    Wire::new(Incoming::new(config, || "D60000229F".to_owned()))
}

/// An incoming stream under TLS, whose peer's certificate is valid for these domains.
fn secured(config: S2sConfig, valid: &'static [&'static str]) -> Wire<Incoming> {
    let mut wire = incoming(config);
    assert_eq!(text_of(&wire.machine.secured(|domain| valid.contains(&domain))), "[restart]");
    wire.scanner.restart();
    wire
}

/// An incoming stream from the Capulets under TLS, without a valid certificate, whose features are out.
fn opened() -> Wire<Incoming> {
    let mut wire = secured(montague(), &[]);
    let out = wire.say(&header("capulet.example", "montague.example"));
    let features = format!("<stream:features>{DIALBACK_OFFER}</stream:features>");
    assert_eq!(out, response("montague.example", "capulet.example", "D60000229F") + &features);
    wire
}

/// The same, with the pair admitted by dialback.
fn admitted() -> Wire<Incoming> {
    let mut wire = opened();
    wire.feed(&format!("<db:result from='capulet.example' to='montague.example'>{KEY}</db:result>"));
    let tasks = wire.machine.verified(&verification(), Answer::Valid);
    assert!(text_of(&tasks).contains("[admitted"), "{tasks:?}");
    wire
}

fn verification() -> Verification {
    Verification {
        local: "montague.example".into(),
        remote: "capulet.example".into(),
        id: "D60000229F".into(),
        key: KEY.into(),
    }
}

fn pair() -> Pair {
    Pair::new("capulet.example", "montague.example")
}

fn outgoing(config: S2sConfig) -> Wire<Outgoing> {
    let mut wire = Wire::new(Outgoing::new(config, pair(), true, true));
    let tasks = wire.machine.start();
    assert_eq!(text_of(&tasks), format!("[restart]{}", header("capulet.example", "montague.example")));
    wire
}

/// An outgoing stream under TLS, whose peer's certificate is valid for the domain it should be.
fn outgoing_secured(config: S2sConfig) -> Wire<Outgoing> {
    let mut wire = Wire::new(Outgoing::new(config, pair(), true, true));
    let tasks = wire.machine.secured(|domain| domain == "montague.example");
    assert_eq!(text_of(&tasks), format!("[restart]{}", header("capulet.example", "montague.example")));
    wire
}

/// Its response header and features, without EXTERNAL.
fn offer(features: &str) -> String {
    format!(
        "{}<stream:features>{features}</stream:features>",
        response("montague.example", "capulet.example", "D60000229F")
    )
}

// Initiating server.

#[test]
fn xep0220_2_1_1_the_initiating_server_sends_its_key_and_is_answered() {
    let mut wire = outgoing_secured(S2sConfig { bidi: false, ..capulet() });
    let request = format!("<db:result from='capulet.example' to='montague.example'>{KEY}</db:result>");
    assert_eq!(wire.say(&offer(DIALBACK_OFFER)), format!("[negotiated]{request}"));
    assert_eq!(
        wire.say("<db:result from='montague.example' to='capulet.example' type='valid'/>"),
        "[authorized capulet.example to montague.example: dialback]"
    );
    assert!(wire.machine.is_authorized(&pair()) && wire.machine.takes_targets());
    // An answer that nobody waits for any more changes nothing.
    assert_eq!(wire.say("<db:result from='montague.example' to='capulet.example' type='invalid'/>"), "");
    assert!(wire.machine.is_authorized(&pair()));
}

#[test]
fn xep0220_2_1_1_an_invalid_key_ends_the_stream() {
    let mut wire = outgoing_secured(S2sConfig { bidi: false, ..capulet() });
    wire.feed(&offer(DIALBACK_OFFER));
    assert_eq!(
        wire.say("<db:result from='montague.example' to='capulet.example' type='invalid'/>"),
        format!("[refused capulet.example to montague.example: the dialback key was found invalid]{END}[close]")
    );
}

#[test]
fn xep0220_2_1_1_a_dialback_error_leaves_the_stream_alone() {
    let mut wire = outgoing_secured(S2sConfig { bidi: false, ..capulet() });
    wire.feed(&offer(DIALBACK_OFFER));
    let answer = "<db:result from='montague.example' to='capulet.example' type='error'><error type='cancel'>\
                  <item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:result>";
    let tasks = wire.feed(answer);
    let [S2sTask::Refused(refused, Refusal::Error(error))] = tasks.as_slice() else { panic!("{tasks:?}") };
    assert_eq!((refused, error.condition.as_str()), (&pair(), "item-not-found"));
    assert!(!wire.machine.is_authorized(&pair()));
}

#[test]
fn xep0220_3_3_unsolicited_answers_authorise_nothing() {
    let mut wire = outgoing_secured(S2sConfig { bidi: false, ..capulet() });
    wire.feed(&offer(DIALBACK_OFFER));
    for forged in [
        "<db:result from='verona.example' to='capulet.example' type='valid'/>",
        "<db:result from='montague.example' to='rooms.capulet.example' type='valid'/>",
        "<db:result from='capulet.example' to='montague.example' type='valid'/>",
        "<db:verify from='montague.example' to='capulet.example' id='D60000229F' type='valid'/>",
    ] {
        assert_eq!(wire.say(forged), "", "{forged}");
        assert!(!wire.machine.is_authenticated());
    }
    let mut wire = opened();
    for forged in [
        "<db:result from='capulet.example' to='montague.example' type='valid'/>",
        "<db:verify from='capulet.example' to='montague.example' id='D60000229F' type='valid'/>",
    ] {
        assert_eq!(wire.say(forged), "", "{forged}");
        assert!(!wire.machine.is_authenticated());
    }
}

// Receiving server.

#[test]
fn xep0220_2_2_1_the_receiving_server_asks_and_answers() {
    let mut wire = opened();
    let request = format!("<db:result from='capulet.example' to='montague.example'>\n  {KEY}\n</db:result>");
    let asked = format!("[verify capulet.example for montague.example: D60000229F {KEY}]");
    assert_eq!(wire.say(&request), asked);
    // The same request again is under way already.
    assert_eq!(wire.say(&request), "");
    let stanza = "<message from='juliet@capulet.example' to='romeo@montague.example'/>";
    let tasks = wire.machine.verified(&verification(), Answer::Valid);
    assert_eq!(
        text_of(&tasks),
        "<db:result from='montague.example' to='capulet.example' type='valid'/>\
         [admitted capulet.example to montague.example: dialback]"
    );
    assert_eq!(wire.say(stanza), "[stanza from juliet@capulet.example to romeo@montague.example]");
    // Without XEP-0288 nothing was authorised in the other direction, and a late second answer is nobody's.
    assert_eq!(text_of(&wire.machine.verified(&verification(), Answer::Invalid)), "");
}

#[test]
fn xep0220_2_2_1_an_invalid_key_ends_the_stream_and_a_failure_does_not() {
    let request = format!("<db:result from='capulet.example' to='montague.example'>{KEY}</db:result>");
    let mut wire = opened();
    wire.feed(&request);
    let out = text_of(&wire.machine.verified(&verification(), Answer::Invalid));
    assert!(out.starts_with("<db:result from='montague.example' to='capulet.example' type='invalid'/><stream:error>"));
    assert!(out.ends_with("</stream:stream>[close]"), "{out}");

    let mut wire = opened();
    wire.feed(&request);
    let failed = Answer::Failed(StanzaError::remote_server_not_found());
    let out = text_of(&wire.machine.verified(&verification(), failed));
    assert_eq!(
        out,
        "<db:result from='montague.example' to='capulet.example' type='error'><error type='cancel'>\
         <remote-server-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:result>"
    );
    assert!(wire.say(&request).starts_with("[verify"), "it may be tried again");
}

#[test]
fn xep0220_2_2_1_beside_a_valid_pair_an_invalid_key_is_forbidden() {
    let mut wire = admitted();
    let out = wire.say("<db:result from='rooms.capulet.example' to='montague.example'>bad</db:result>");
    assert_eq!(out, "[verify rooms.capulet.example for montague.example: D60000229F bad]");
    let question = Verification { remote: "rooms.capulet.example".into(), key: "bad".into(), ..verification() };
    let out = text_of(&wire.machine.verified(&question, Answer::Invalid));
    assert!(out.contains("type='error'") && out.contains("<forbidden"), "{out}");
    assert!(!out.contains("[close]"));
}

#[test]
fn xep0220_2_2_1_a_target_that_is_not_ours_is_item_not_found() {
    let mut wire = opened();
    let out = wire.say(&format!("<db:result from='capulet.example' to='verona.example'>{KEY}</db:result>"));
    assert_eq!(
        out,
        "<db:result from='verona.example' to='capulet.example' type='error'><error type='cancel'>\
         <item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:result>"
    );
}

// Authoritative server.

#[test]
fn xep0220_2_2_2_the_authoritative_server_judges_keys() {
    // Example 5 to 8, with the Montagues asked by the Capulets.
    let key = "225cc5aa6a071133249d25fef42ae516fc7a86c523aa1c6980a7f73e784c972d";
    let verify = |key: &str| {
        format!("<db:verify from='capulet.example' id='417GAF25' to='montague.example'>\n {key}\n </db:verify>")
    };
    let answer =
        |type_: &str| format!("<db:verify from='montague.example' to='capulet.example' id='417GAF25' type='{type_}'/>");
    let mut wire = opened();
    assert_eq!(wire.say(&verify(key)), answer("valid"));
    for forged in [KEY, "", &key[..63], &key.to_uppercase()] {
        assert_eq!(wire.say(&verify(forged)), answer("invalid"), "{forged}");
    }
    assert_eq!(wire.say(&verify(key).replace("417GAF25", "417GAF26")), answer("invalid").replace("GAF25", "GAF26"));
    let out = wire.say(&verify(key).replace("to='montague.example'", "to='verona.example'"));
    assert!(out.starts_with("<db:verify from='verona.example'") && out.contains("<item-not-found"), "{out}");
    assert!(!wire.machine.is_authenticated(), "who asks has proved nothing");
}

#[test]
fn xep0220_2_1_2_the_receiving_server_asks_over_a_stream_of_its_own() {
    let config = S2sConfig { bidi: false, ..capulet() };
    let mut wire = Wire::new(Outgoing::new(config, pair(), false, false));
    wire.machine.secured(|_| false);
    assert_eq!(wire.say(&offer(DIALBACK_OFFER)), "[negotiated]");
    let question = Verification {
        local: "capulet.example".into(),
        remote: "montague.example".into(),
        id: "417GAF25".into(),
        key: "<a/>'".into(),
    };
    let sent = "<db:verify from='capulet.example' to='montague.example' id='417GAF25'>&lt;a/&gt;&apos;</db:verify>";
    assert_eq!(text_of(&wire.machine.verify(question.clone())), sent);
    assert_eq!(text_of(&wire.machine.verify(question)), "", "once is enough");
    for other in ["to='capulet.example' id='417GAF26'", "to='rooms.capulet.example' id='417GAF25'"] {
        assert_eq!(wire.say(&format!("<db:verify from='montague.example' {other} type='valid'/>")), "");
    }
    let out = wire.say("<db:verify from='montague.example' to='capulet.example' id='417GAF25' type='valid'/>");
    assert_eq!(out, "[answer for 417GAF25: Valid]");
}

// TLS and EXTERNAL.

#[test]
fn rfc6120_5_4_starttls_from_server_to_server() {
    let mut wire = incoming(montague());
    let out = wire.say(&header("capulet.example", "montague.example"));
    let required = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>";
    assert!(
        out.ends_with(&format!("<stream:features>{required}<bidi xmlns='urn:xmpp:features:bidi'/></stream:features>")),
        "{out}"
    );
    assert_eq!(wire.say(STARTTLS), format!("{PROCEED}[tls]"));

    let mut wire = outgoing(capulet());
    assert_eq!(wire.say(&offer(STARTTLS)), STARTTLS);
    assert_eq!(wire.say(PROCEED), "[tls]");
}

#[test]
fn rfc7590_3_1_who_does_not_name_himself_is_offered_what_the_default_policy_permits() {
    let anonymous = format!("{HEADER} to='montague.example'>");
    let out = incoming(montague()).say(&anonymous);
    assert!(out.contains("<required/>") && !out.contains("urn:xmpp:features:dialback"), "{out}");
    let lax = with(montague(), Policy::default().require_tls(false));
    let out = incoming(lax).say(&anonymous);
    assert!(!out.contains("<required/>") && out.contains("urn:xmpp:features:dialback"), "{out}");
    let strict = with(montague(), Policy::default().require_tls(false).require_valid_certificate(true));
    let out = incoming(strict).say(&anonymous);
    assert!(out.contains("<required/>") && !out.contains("urn:xmpp:features:dialback"), "{out}");
}

#[test]
fn rfc7590_3_1_a_stripped_offer_does_not_strip_tls() {
    let mut wire = outgoing(capulet());
    assert_eq!(wire.say(&offer(DIALBACK_OFFER)), STARTTLS);
    let refused = wire.say("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
    assert!(refused.starts_with("[refused capulet.example to montague.example: the server does not offer TLS"));
    assert!(refused.ends_with(&format!("{END}[close]")), "{refused}");
    // Only where the policy says so does it go on without.
    let mut wire = outgoing(plaintext(capulet()));
    assert!(wire.say(&offer(DIALBACK_OFFER)).contains("<db:result"));
}

#[test]
fn rfc7590_3_1_a_stream_without_tls_takes_no_further_domain_that_requires_it() {
    let mut policies = Policies::new(Policy::default());
    policies.set("montague.example", Policy::default().require_tls(false));
    let mut wire = outgoing(S2sConfig { policies: std::sync::Arc::new(policies), bidi: false, ..capulet() });
    assert!(wire.say(&offer(DIALBACK_OFFER)).contains("<db:result"));
    let out = text_of(&wire.machine.request(Pair::new("capulet.example", "verona.example")));
    assert!(out.starts_with("[refused capulet.example to verona.example: the server does not offer TLS"), "{out}");
}

#[test]
fn rfc7590_3_1_without_tls_dialback_is_refused_where_tls_is_required() {
    let mut wire = incoming(montague());
    wire.feed(&header("capulet.example", "montague.example"));
    let out = wire.say(&format!("<db:result from='capulet.example' to='montague.example'>{KEY}</db:result>"));
    assert!(out.contains("type='error'") && out.contains("<policy-violation"), "{out}");
    let out = wire.say("<db:verify from='capulet.example' to='montague.example' id='x'>y</db:verify>");
    assert!(out.contains("<policy-violation"), "{out}");
}

#[test]
fn xep0178_3_external_from_server_to_server() {
    let mut wire = secured(montague(), &["capulet.example"]);
    let out = wire.say(&header("capulet.example", "montague.example"));
    assert!(out.contains(EXTERNAL_OFFER), "{out}");
    let auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>Y2FwdWxldC5leGFtcGxl</auth>";
    assert_eq!(wire.say(auth), format!("{SUCCESS}[restart]"));
    let out = wire.say(&header("capulet.example", "montague.example"));
    assert!(!out.contains(EXTERNAL_OFFER) && out.ends_with("[admitted capulet.example to montague.example: external]"));
    let out = wire.say("<iq from='juliet@capulet.example' to='montague.example' type='get' id='1'/>");
    assert_eq!(out, "[stanza from juliet@capulet.example to montague.example]");
}

#[test]
fn xep0178_3_external_is_tried_where_it_is_offered() {
    let mut wire = outgoing_secured(S2sConfig { bidi: false, ..capulet() });
    let auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>Y2FwdWxldC5leGFtcGxl</auth>";
    assert_eq!(wire.say(&offer(&format!("{EXTERNAL_OFFER}{DIALBACK_OFFER}"))), auth);
    let again = format!("[restart]{}", header("capulet.example", "montague.example"));
    assert_eq!(wire.say(SUCCESS), again);
    let out = wire.say(&offer(DIALBACK_OFFER));
    assert_eq!(out, "[negotiated][authorized capulet.example to montague.example: external]");
}

#[test]
fn xep0220_2_4_no_pair_is_dialled_back_after_external_where_dialback_is_not_offered() {
    let other = Pair::new("rooms.capulet.example", "montague.example");
    for (features, takes) in [("", false), (DIALBACK_OFFER, true)] {
        let mut wire = outgoing_secured(S2sConfig { bidi: false, ..capulet() });
        wire.feed(&offer(EXTERNAL_OFFER));
        wire.feed(SUCCESS);
        let authorized = "[negotiated][authorized capulet.example to montague.example: external]";
        assert_eq!(wire.say(&offer(features)), authorized);
        let tasks = wire.machine.request(other.clone());
        // ejabberd would never answer; a stream of its own proves the pair by certificate.
        let refused = matches!(tasks.as_slice(), [S2sTask::Refused(pair, Refusal::Error(_))] if *pair == other);
        assert_eq!((refused, text_of(&tasks).contains("<db:result")), (!takes, takes), "{tasks:?}");
    }
}

#[test]
fn xep0178_3_after_a_refused_external_there_is_dialback() {
    let mut wire = outgoing_secured(S2sConfig { bidi: false, ..capulet() });
    wire.feed(&offer(EXTERNAL_OFFER));
    let out = wire.say("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>");
    assert!(out.starts_with("[negotiated]<db:result"), "{out}");
}

#[test]
fn xep0178_3_what_external_refuses() {
    let auth = |mechanism: &str, text: &str| {
        format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{mechanism}'>{text}</auth>")
    };
    for (text, condition) in [
        (auth("EXTERNAL", "dmVyb25hLmV4YW1wbGU="), "invalid-authzid"),
        (auth("EXTERNAL", "!"), "incorrect-encoding"),
        (auth("PLAIN", "="), "invalid-mechanism"),
        ("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>".to_owned(), "malformed-request"),
    ] {
        let mut wire = secured(montague(), &["capulet.example"]);
        wire.feed(&header("capulet.example", "montague.example"));
        let out = wire.say(&text);
        assert!(out.starts_with("<failure") && out.contains(condition), "{out}");
        assert!(!wire.machine.is_authenticated());
    }
    // Not offered: not taken.
    let mut wire = opened();
    assert!(wire.say(&auth("EXTERNAL", "=")).contains("<invalid-mechanism"));
    // After the restart the domains stay what they were.
    let mut wire = secured(montague(), &["capulet.example", "rooms.capulet.example"]);
    wire.feed(&header("capulet.example", "montague.example"));
    wire.feed(&auth("EXTERNAL", "="));
    assert!(wire.say(&header("rooms.capulet.example", "montague.example")).contains("<not-authorized"));
}

#[test]
fn xep0344_3_a_valid_certificate_needs_no_dialling_back() {
    let mut wire = secured(montague(), &["capulet.example", "rooms.capulet.example"]);
    wire.feed(&header("capulet.example", "montague.example"));
    for from in ["capulet.example", "rooms.capulet.example"] {
        let out = wire.say(&format!("<db:result from='{from}' to='montague.example'>any</db:result>"));
        assert_eq!(
            out,
            format!(
                "<db:result from='montague.example' to='{from}' type='valid'/>\
                 [admitted {from} to montague.example: certificate]"
            )
        );
    }
}

#[test]
fn abuse_a035_where_a_certificate_is_required_another_does_not_do() {
    let strict = || with(montague(), Policy::default().require_valid_certificate(true));
    let mut wire = secured(strict(), &["verona.example"]);
    let out = wire.say(&header("capulet.example", "montague.example"));
    assert!(out.contains("<not-authorized") && out.ends_with("[close]"), "{out}");
    // Who does not name himself gets no further either.
    let mut wire = secured(strict(), &["verona.example"]);
    let out = wire.say(&format!("{HEADER} to='montague.example'>"));
    assert!(out.contains("<stream:features>"), "{out}");
    let out = wire.say(&format!("<db:result from='capulet.example' to='montague.example'>{KEY}</db:result>"));
    assert!(out.contains("<not-authorized") && !out.contains("[verify"), "{out}");

    let config = with(capulet(), Policy::default().require_valid_certificate(true));
    let mut machine = Outgoing::new(config, pair(), true, true);
    machine.start();
    let out = text_of(&machine.secured(|domain| domain == "verona.example"));
    assert_eq!(
        out,
        "[refused capulet.example to montague.example: the server has no valid certificate, which is required][close]"
    );
}

// Identity (RFC 6120 §8.1, §13.12).

#[test]
fn abuse_a082_forged_addresses_end_the_stream() {
    for (stanza, condition) in [
        ("<message from='juliet@verona.example' to='romeo@montague.example'/>", "invalid-from"),
        ("<message from='juliet@rooms.capulet.example' to='romeo@montague.example'/>", "invalid-from"),
        ("<message from='romeo@montague.example' to='romeo@montague.example'/>", "invalid-from"),
        ("<message from='juliet@capulet.example' to='romeo@chat.montague.example'/>", "invalid-from"),
        ("<message from='juliet@capulet.example' to='romeo@verona.example'/>", "host-unknown"),
        ("<message to='romeo@montague.example'/>", "improper-addressing"),
        ("<message from='juliet@capulet.example'/>", "improper-addressing"),
        ("<message from='' to='romeo@montague.example'/>", "improper-addressing"),
        ("<message from='juliet@capulet.example' to='@'/>", "improper-addressing"),
        (
            "<message xmlns='jabber:client' from='juliet@capulet.example' to='romeo@montague.example'/>",
            "invalid-namespace",
        ),
        ("<postcard from='juliet@capulet.example' to='romeo@montague.example'/>", "unsupported-stanza-type"),
    ] {
        assert_eq!(admitted().say(stanza), format!("{}[close]", error(condition)), "{stanza}");
    }
    let out = opened().say("<message from='juliet@capulet.example' to='romeo@montague.example'/>");
    assert_eq!(out, format!("{}[close]", error("not-authorized")), "nobody is authenticated");
}

#[test]
fn abuse_a084_nobody_else_is_our_own_domain() {
    for from in ["montague.example", "chat.montague.example", "CHAT.montague.example"] {
        let out = secured(montague(), &["montague.example"]).say(&header(from, "montague.example"));
        assert!(out.contains("<invalid-from") && out.ends_with("[close]"), "{out}");
    }
    let out = opened().say("<db:result from='chat.montague.example' to='montague.example'>x</db:result>");
    assert!(out.contains("<invalid-from") && out.ends_with("[close]"), "{out}");
}

#[test]
fn rfc6120_4_9_3_6_a_host_that_is_not_ours_is_unknown() {
    let out = secured(montague(), &[]).say(&header("capulet.example", "verona.example"));
    assert!(out.contains("<host-unknown") && out.ends_with("[close]"), "{out}");
    let out = secured(montague(), &[]).say(&format!("{HEADER}>"));
    assert!(out.contains("<improper-addressing"), "{out}");
    let client =
        header("capulet.example", "montague.example").replace("xmlns='jabber:server'", "xmlns='jabber:client'");
    assert!(secured(montague(), &[]).say(&client).contains("<invalid-namespace"));
}

#[test]
fn rfc6120_4_7_1_the_peer_must_be_whom_we_asked_for() {
    let mut wire = outgoing(capulet());
    let out = wire.say(&response("verona.example", "capulet.example", "x"));
    assert_eq!(out, format!("{}[close]", error("invalid-from")));
}

#[test]
fn a_blocked_domain_is_told_so() {
    let blocked = || with(montague(), Policy::default().block(true));
    let out = secured(blocked(), &["capulet.example"]).say(&header("capulet.example", "montague.example"));
    assert!(out.contains("<policy-violation") && out.ends_with("[close]"), "{out}");
    let mut wire = secured(blocked(), &["capulet.example"]);
    wire.feed(&format!("{HEADER} to='montague.example'>"));
    let out = wire.say(&format!("<db:result from='capulet.example' to='montague.example'>{KEY}</db:result>"));
    assert!(out.contains("<policy-violation"), "{out}");
}

// More than one pair.

#[test]
fn xep0220_2_6_each_pair_is_authorised_for_itself() {
    let mut wire = admitted();
    // Another sender, another target, and only what was verified counts.
    for (from, to) in [("rooms.capulet.example", "montague.example"), ("capulet.example", "chat.montague.example")] {
        let stanza = format!("<message from='a@{from}' to='b@{to}'/>");
        let before = wire.machine.judge_stanza(&stanza).unwrap_err();
        assert_eq!(before.condition, StreamCondition::InvalidFrom);
        let out = wire.say(&format!("<db:result from='{from}' to='{to}'>k</db:result>"));
        assert!(out.starts_with("[verify"), "{out}");
        let question = Verification { local: to.into(), remote: from.into(), key: "k".into(), ..verification() };
        wire.machine.verified(&question, Answer::Valid);
        assert_eq!(wire.say(&stanza), format!("[stanza from a@{from} to b@{to}]"));
    }
    let crossed = wire.say("<message from='a@rooms.capulet.example' to='b@chat.montague.example'/>");
    assert!(crossed.contains("<invalid-from"), "{crossed}");
}

#[test]
fn xep0220_2_6_the_initiating_server_adds_pairs() {
    let mut wire = outgoing_secured(S2sConfig { bidi: false, ..capulet() });
    wire.feed(&offer(DIALBACK_OFFER));
    wire.feed("<db:result from='montague.example' to='capulet.example' type='valid'/>");
    let rooms = Pair::new("rooms.capulet.example", "montague.example");
    let key = DialbackSecret::new(b"s3cr3tf0rd14lb4ck").key("montague.example", "rooms.capulet.example", "D60000229F");
    let request = format!("<db:result from='rooms.capulet.example' to='montague.example'>{key}</db:result>");
    assert_eq!(text_of(&wire.machine.request(rooms.clone())), request);
    assert_eq!(text_of(&wire.machine.request(rooms.clone())), "");
    assert!(!wire.machine.is_authorized(&rooms));
    let out = wire.say("<db:result from='montague.example' to='rooms.capulet.example' type='valid'/>");
    assert_eq!(out, "[authorized rooms.capulet.example to montague.example: dialback]");
}

#[test]
fn pairs_and_pending_verifications_are_bounded() {
    let mut config = montague();
    (config.limits.pending, config.limits.pairs) = (2, 3);
    let mut wire = secured(config, &[]);
    wire.feed(&header("capulet.example", "montague.example"));
    let ask = |wire: &mut Wire<Incoming>, n: u32| {
        wire.say(&format!("<db:result from='d{n}.example' to='montague.example'>k</db:result>"))
    };
    let settle = |wire: &mut Wire<Incoming>, n: u32| {
        let question = Verification { remote: format!("d{n}.example"), key: "k".into(), ..verification() };
        wire.machine.verified(&question, Answer::Valid)
    };
    assert!(ask(&mut wire, 1).starts_with("[verify") && ask(&mut wire, 2).starts_with("[verify"));
    assert!(ask(&mut wire, 3).contains("<resource-constraint"));
    settle(&mut wire, 1);
    settle(&mut wire, 2);
    assert!(ask(&mut wire, 3).starts_with("[verify"));
    settle(&mut wire, 3);
    assert!(ask(&mut wire, 4).contains("<resource-constraint"));
}

#[test]
fn abuse_a100_a_peer_of_which_nothing_is_verified_has_few_verifications_at_once() {
    let mut config = montague();
    config.limits.unauthenticated_pending = 1;
    let mut wire = secured(config, &[]);
    wire.feed(&header("capulet.example", "montague.example"));
    let ask = |wire: &mut Wire<Incoming>, n: u32| {
        wire.say(&format!("<db:result from='d{n}.example' to='montague.example'>k</db:result>"))
    };
    assert!(ask(&mut wire, 1).starts_with("[verify"));
    let out = ask(&mut wire, 2);
    assert!(out.contains("type='error'") && out.contains("<resource-constraint"), "{out}");
    let question = Verification { remote: "d1.example".into(), key: "k".into(), ..verification() };
    wire.machine.verified(&question, Answer::Valid);
    assert!(ask(&mut wire, 2).starts_with("[verify") && ask(&mut wire, 3).starts_with("[verify"));
}

#[test]
fn abuse_a101_who_asks_for_domain_after_domain_and_gets_none_is_sent_away() {
    let mut config = with(montague(), Policy::default().require_valid_certificate(true));
    config.limits.failures = 3;
    let mut wire = secured(config, &["capulet.example"]);
    wire.feed(&header("capulet.example", "montague.example"));
    let ask = |wire: &mut Wire<Incoming>, from: &str| {
        wire.say(&format!("<db:result from='{from}' to='montague.example'>k</db:result>"))
    };
    assert!(ask(&mut wire, "capulet.example").contains("[admitted"));
    for from in ["d1.example", "d2.example", "d3.example"] {
        let out = ask(&mut wire, from);
        assert!(out.contains("<not-authorized") && !out.contains("[close]"), "{out}");
    }
    let out = ask(&mut wire, "d4.example");
    assert!(out.contains("<policy-violation") && out.ends_with("[close]"), "{out}");

    let mut config = montague();
    config.limits.failures = 1;
    let mut wire = secured(config, &[]);
    wire.feed(&header("capulet.example", "montague.example"));
    for closes in [false, true] {
        assert!(ask(&mut wire, "d1.example").starts_with("[verify"));
        let question = Verification { remote: "d1.example".into(), key: "k".into(), ..verification() };
        let failed = Answer::Failed(StanzaError::remote_server_timeout());
        assert_eq!(text_of(&wire.machine.verified(&question, failed)).ends_with("[close]"), closes);
    }
}

#[test]
fn what_was_never_answered_can_be_asked_again() {
    let mut config = S2sConfig { bidi: false, ..capulet() };
    config.limits.pending = 1;
    let mut wire = outgoing_secured(config);
    let request = wire.say(&offer(DIALBACK_OFFER));
    assert_eq!(text_of(&wire.machine.request(pair())), "", "it is under way");
    let rooms = Pair::new("rooms.capulet.example", "montague.example");
    assert!(text_of(&wire.machine.request(rooms.clone())).starts_with("[refused"), "there is no room");
    wire.machine.abandon(&pair());
    assert!(text_of(&wire.machine.request(rooms.clone())).starts_with("<db:result"));
    wire.machine.abandon(&rooms);
    assert_eq!(format!("[negotiated]{}", text_of(&wire.machine.request(pair()))), request);
    let (one, two) =
        (Verification { id: "1".into(), ..verification() }, Verification { id: "2".into(), ..verification() });
    assert!(text_of(&wire.machine.verify(one.clone())).starts_with("<db:verify"));
    assert!(text_of(&wire.machine.verify(two.clone())).starts_with("[answer"));
    wire.machine.abandon_verification(&one);
    assert!(text_of(&wire.machine.verify(two)).starts_with("<db:verify"));
}

#[test]
fn abuse_a011_little_is_read_before_a_domain_is_authenticated() {
    let mut config = montague();
    config.limits.unauthenticated_bytes = 1000;
    let mut wire = secured(config, &[]);
    wire.feed(&header("capulet.example", "montague.example"));
    let verify = "<db:verify from='capulet.example' to='montague.example' id='x'>y</db:verify>";
    for _ in 0..1000 / verify.len() {
        assert!(wire.say(verify).starts_with("<db:verify"));
    }
    let out = wire.say(verify);
    assert!(out.contains("<policy-violation") && out.ends_with("[close]"), "{out}");
}

// XEP-0288.

#[test]
fn xep0288_3_both_ways_with_external() {
    let mut wire = secured(montague(), &["capulet.example"]);
    wire.feed(&header("capulet.example", "montague.example"));
    assert_eq!(wire.say("<bidi xmlns='urn:xmpp:bidi'/>"), "");
    wire.feed("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>");
    let out = wire.say(&header("capulet.example", "montague.example"));
    assert!(
        out.ends_with(
            "[admitted capulet.example to montague.example: external]\
         [authorized montague.example to capulet.example: external]"
        ),
        "{out}"
    );

    let mut wire = outgoing_secured(capulet());
    let out = wire.say(&offer(&format!("{DIALBACK_OFFER}{EXTERNAL_OFFER}")));
    assert!(out.starts_with("<bidi xmlns='urn:xmpp:bidi'/><auth"), "{out}");
    wire.feed(SUCCESS);
    assert!(wire.say(&offer(DIALBACK_OFFER)).ends_with("[admitted montague.example to capulet.example: external]"));
    let out = wire.say("<message from='romeo@montague.example' to='juliet@capulet.example'/>");
    assert_eq!(out, "[stanza from romeo@montague.example to juliet@capulet.example]");
    let out = wire.say("<message from='romeo@chat.montague.example' to='juliet@capulet.example'/>");
    assert!(out.contains("<invalid-from"), "{out}");
}

#[test]
fn xep0288_3_both_ways_with_dialback() {
    let mut wire = opened();
    wire.feed("<bidi xmlns='urn:xmpp:bidi'/>");
    wire.feed(&format!("<db:result from='capulet.example' to='montague.example'>{KEY}</db:result>"));
    let out = text_of(&wire.machine.verified(&verification(), Answer::Valid));
    assert!(out.ends_with(
        "[admitted capulet.example to montague.example: dialback]\
         [authorized montague.example to capulet.example: dialback]"
    ));
    // The receiving server asks for another of its domains, and gets it.
    let chat = Pair::new("chat.montague.example", "capulet.example");
    let out = text_of(&wire.machine.request(chat));
    assert!(out.starts_with("<db:result from='chat.montague.example' to='capulet.example'>"), "{out}");
    let out = wire.say("<db:result from='capulet.example' to='chat.montague.example' type='valid'/>");
    assert_eq!(out, "[authorized chat.montague.example to capulet.example: dialback]");

    // On the other end that request has to be verified like any other.
    let mut wire = outgoing_secured(capulet());
    wire.feed(&offer(DIALBACK_OFFER));
    wire.feed("<db:result from='montague.example' to='capulet.example' type='valid'/>");
    let out = wire.say("<db:result from='chat.montague.example' to='capulet.example'>k</db:result>");
    assert_eq!(out, "[verify chat.montague.example for capulet.example: D60000229F k]");
}

#[test]
fn rfc6120_4_3_a_stream_that_goes_one_way_brings_no_stanzas_back() {
    let mut wire = outgoing_secured(S2sConfig { bidi: false, ..capulet() });
    wire.feed(&offer(DIALBACK_OFFER));
    wire.feed("<db:result from='montague.example' to='capulet.example' type='valid'/>");
    let out = wire.say("<message from='romeo@montague.example' to='juliet@capulet.example'/>");
    assert!(out.contains("<invalid-from") && out.ends_with("[close]"), "{out}");
    let mut wire = outgoing_secured(S2sConfig { bidi: false, ..capulet() });
    wire.feed(&offer(DIALBACK_OFFER));
    let out = wire.say("<db:result from='chat.montague.example' to='capulet.example'>k</db:result>");
    assert!(out.contains("<policy-violation") && out.ends_with("[close]"), "{out}");
}

#[test]
fn xep0288_2_2_too_late_is_too_late() {
    let mut wire = admitted();
    assert_eq!(wire.say("<bidi xmlns='urn:xmpp:bidi'/>"), "");
    assert_eq!(text_of(&wire.machine.request(Pair::new("montague.example", "capulet.example"))), "");
}

#[test]
fn rfc6120_5_4_3_3_what_was_said_without_tls_counts_for_nothing() {
    let config = with(montague(), Policy::default().require_tls(false));
    let mut wire = incoming(config);
    wire.feed(&header("capulet.example", "montague.example"));
    wire.feed("<bidi xmlns='urn:xmpp:bidi'/>");
    wire.feed(&format!("<db:result from='capulet.example' to='montague.example'>{KEY}</db:result>"));
    assert_eq!(wire.say(STARTTLS), format!("{PROCEED}[tls]"));
    wire.machine.secured(|_| false);
    wire.scanner.restart();
    assert_eq!(text_of(&wire.machine.verified(&verification(), Answer::Valid)), "", "that stream is no more");
    wire.feed(&header("capulet.example", "montague.example"));
    assert!(!wire.machine.is_authenticated());
    assert_eq!(wire.say(STARTTLS), format!("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>{END}[close]"));
}

#[test]
fn the_end_is_answered_with_the_end_and_nothing_follows() {
    let mut wire = admitted();
    assert_eq!(wire.say(END), format!("{END}[close]"));
    assert_eq!(text_of(&wire.machine.end(None)), "");
    let tasks =
        admitted().feed("<stream:error><system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>");
    let [S2sTask::Send(out), S2sTask::Close(Some(error))] = tasks.as_slice() else { panic!("{tasks:?}") };
    assert_eq!(out, END.as_bytes(), "an error is not answered with another");
    assert_eq!(error.condition, StreamCondition::SystemShutdown);
    let tasks = incoming(montague()).machine.end(Some(&StreamCondition::SystemShutdown.into()));
    let text = text_of(&tasks);
    assert!(text.starts_with(HEADER) && text.contains("<system-shutdown"), "{text}");
}

//! What a server keeps for accounts, and commands, through an embedded server.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "../../xmpp-core/tests/support/people.rs"]
mod people;

use people::{accounts, jid, login};
use std::time::Duration;
use tokio::time::timeout;
use xmpp_core::{
    client::{Client, Event, RequestError},
    extension::Target,
    jid::BareJid,
    payload::{
        Payload,
        disco::{DiscoInfo, DiscoInfoQuery},
        form::{DataForm, Field, FormKind},
        last::{LastActivity, LastQuery},
    },
    server::{MemoryAccounts, Server, ServerBuilder},
    stanza::{Condition, Iq, Presence, StanzaError},
    xml::{Stanza, XmlLimits},
};
use xmpp_im::{
    account_xml::{MemoryAccountXml, Quota},
    command::{self, Action, Command, CommandElement, CommandLimits, Commands, NoteKind, Status, Step, bad_payload},
    last_activity::{self, MemoryLastActivity},
    private,
    vcard::{self, VCard},
};

fn builder() -> ServerBuilder {
    Server::builder("localhost").accounts(accounts(&["juliet@localhost", "romeo@localhost", "paris@localhost"]))
}

fn refused<T: std::fmt::Debug>(answer: Result<T, RequestError>) -> StanzaError {
    match answer {
        Err(RequestError::Refused(error)) => error,
        other => panic!("not refused: {other:?}"),
    }
}

fn card(name: &str) -> VCard {
    VCard::write_with(|out| out.text_element("FN", vcard::NS, name))
}

#[tokio::test]
async fn xep0054_3_vcards_are_kept_and_shown_to_all() {
    let server = builder().with(vcard::server(MemoryAccountXml::new(), 1000)).build().unwrap();
    let (juliet, _hers) = login(&server, "juliet@localhost").await;
    let (romeo, _his) = login(&server, "romeo@localhost").await;
    let her = BareJid::new("juliet@localhost").unwrap();
    assert_eq!(refused(vcard::get(&juliet, None).await).condition, Condition::ItemNotFound);
    vcard::set(&juliet, &card("Juliet <3 & \u{1f64c}")).await.unwrap();
    vcard::set(&juliet, &card("Juliet & \u{1f64c}")).await.unwrap();
    for shown in [vcard::get(&juliet, None).await, vcard::get(&romeo, Some(&her)).await] {
        assert_eq!(shown.unwrap().text("FN").as_deref(), Some("Juliet & \u{1f64c}"));
    }
    let theft = romeo.request(Iq::set(&her).payload(&card("Montague"))).await;
    assert_eq!(refused(theft).condition, Condition::Forbidden);
    let large = vcard::set(&juliet, &card(&"x".repeat(1000))).await;
    assert_eq!(refused(large).condition, Condition::NotAcceptable);
    assert_eq!(vcard::get(&juliet, None).await.unwrap().text("FN").as_deref(), Some("Juliet & \u{1f64c}"));
    server.account_removed(&her).await;
    assert_eq!(refused(vcard::get(&romeo, Some(&her)).await).condition, Condition::ServiceUnavailable);
}

#[tokio::test]
async fn abuse_a056_a_vcard_that_is_not_there_does_not_tell_whether_the_account_is() {
    let server = builder().with(vcard::server(MemoryAccountXml::new(), 1000)).build().unwrap();
    let (romeo, _his) = login(&server, "romeo@localhost").await;
    let mut told = Vec::new();
    for whose in ["juliet@localhost", "nobody@localhost"] {
        let error = refused(vcard::get(&romeo, Some(&BareJid::new(whose).unwrap())).await);
        told.push((error.condition, error.type_, error.text));
    }
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0].0, Condition::ServiceUnavailable);
}

#[derive(Debug, Payload, PartialEq)]
#[xml(name = "storage", ns = "storage:notes")]
struct Notes {
    #[xml(child_text = "note")]
    notes: Vec<String>,
}

#[tokio::test]
async fn xep0049_3_private_xml_is_kept_for_its_owner_alone() {
    let store = private::server(MemoryAccountXml::new(), Quota { elements: 2, bytes: 1000 });
    let server = builder().with(store).build().unwrap();
    let (juliet, _hers) = login(&server, "juliet@localhost/one").await;
    let (phone, _events) = login(&server, "juliet@localhost/two").await;
    let (romeo, _his) = login(&server, "romeo@localhost").await;
    assert_eq!(private::get::<Notes>(&juliet).await.unwrap(), Notes { notes: Vec::new() });
    private::set(&juliet, &Notes { notes: vec!["a < b".into()] }).await.unwrap();
    assert_eq!(private::get::<Notes>(&phone).await.unwrap(), Notes { notes: vec!["a < b".into()] });
    assert_eq!(private::get::<Notes>(&romeo).await.unwrap(), Notes { notes: Vec::new() });
    let query = private::PrivateXml {
        elements: vec![Stanza::document("<storage xmlns='storage:notes'/>", &XmlLimits::default()).unwrap()],
    };
    let spying = romeo.request(Iq::get(jid("juliet@localhost")).payload(&query)).await;
    assert_eq!(refused(spying).condition, Condition::Forbidden);
    for (elements, why) in [("", "none"), ("<a xmlns='urn:a'/><b xmlns='urn:b'/>", "two"), ("<a/>", "no namespace")] {
        let text = format!("<query xmlns='jabber:iq:private'>{elements}</query>");
        let query = Stanza::document(&text, &XmlLimits::default()).unwrap();
        let query = private::PrivateXml::read(query.root()).unwrap();
        let answer = juliet.request(Iq::get_own().payload(&query)).await;
        assert_eq!(refused(answer).condition, Condition::NotAcceptable, "{why}");
    }
}

#[tokio::test]
async fn abuse_a069_private_xml_has_a_quota_in_elements_and_bytes() {
    let store = private::server(MemoryAccountXml::new(), Quota { elements: 2, bytes: 1000 });
    let server = builder().with(store).build().unwrap();
    let (juliet, _hers) = login(&server, "juliet@localhost/one").await;
    let put = async |ns: &str, size: usize| {
        let element = format!("<a xmlns='urn:{ns}'>{}</a>", "x".repeat(size));
        let elements = vec![Stanza::document(&element, &XmlLimits::default()).unwrap()];
        juliet.request(Iq::set_own().payload(&private::PrivateXml { elements })).await
    };
    assert_eq!(refused(put("1", 1000).await).condition, Condition::NotAcceptable);
    put("1", 500).await.unwrap();
    assert_eq!(refused(put("2", 500).await).condition, Condition::ResourceConstraint);
    put("2", 1).await.unwrap();
    assert_eq!(refused(put("3", 1).await).condition, Condition::ResourceConstraint);
    put("1", 600).await.unwrap();
}

async fn last(client: &Client, whose: &str) -> Result<LastActivity, RequestError> {
    client.query(Iq::get(jid(whose)).payload(&LastQuery)).await
}

#[tokio::test]
async fn xep0012_3_last_activity_is_told_to_whom_presence_is_shown() {
    let entitled = |_: BareJid, asker: BareJid| -> xmpp_im::Stored<'static, bool> {
        Box::pin(async move { Ok(asker.as_str() == "romeo@localhost") })
    };
    let builder = builder().with(last_activity::server(MemoryLastActivity::new(), entitled));
    let server = builder.with(xmpp_im::presence::server).build().unwrap();
    let (juliet, mut hers) = login(&server, "juliet@localhost").await;
    let (romeo, _his) = login(&server, "romeo@localhost").await;
    let (paris, _events) = login(&server, "paris@localhost").await;
    juliet.send(Presence::available()).await.unwrap();
    juliet.request(Iq::get_own().payload(&LastQuery)).await.unwrap();
    assert_eq!(last(&romeo, "juliet@localhost").await.unwrap(), LastActivity::default(), "she is here");
    // Whether there is such an account or not (ABUSE A056).
    for whose in ["juliet@localhost", "nobody@localhost"] {
        assert_eq!(refused(last(&paris, whose).await).condition, Condition::Forbidden, "{whose}");
    }
    juliet.send(Presence::unavailable().status("Heading home")).await.unwrap();
    assert!(matches!(timeout(Duration::from_secs(20), hers.next()).await.unwrap(), Some(Event::Presence(_))));
    juliet.request(Iq::get_own().payload(&LastQuery)).await.unwrap();
    juliet.close().await;
    while !server.resources("juliet@localhost").is_empty() {
        tokio::task::yield_now().await;
    }
    let seen = last(&romeo, "juliet@localhost").await.unwrap();
    assert_eq!(seen.status.as_deref(), Some("Heading home"));
    assert_eq!(refused(last(&paris, "juliet@localhost").await).condition, Condition::Forbidden);
}

#[tokio::test]
async fn xep0012_3_who_does_not_say_to_be_there_is_not_seen_there() {
    let store = std::sync::Arc::new(MemoryLastActivity::new());
    let everybody = |_: BareJid, _: BareJid| -> xmpp_im::Stored<'static, bool> { Box::pin(async { Ok(true) }) };
    let builder = builder().with(last_activity::server(std::sync::Arc::clone(&store), everybody));
    let server = builder.with(xmpp_im::presence::server).build().unwrap();
    let user = BareJid::new("juliet@localhost").unwrap();
    let before = last_activity::LastSeen { at: 1_000, status: Some("out".into()) };
    last_activity::LastActivityStore::set(&*store, &user, before.clone()).await.unwrap();
    let (juliet, _hers) = login(&server, "juliet@localhost").await;
    let (romeo, _his) = login(&server, "romeo@localhost").await;
    // Nor by what she does.
    juliet.send(Presence::unavailable().status("a slip")).await.unwrap();
    juliet.request(Iq::get_own().payload(&LastQuery)).await.unwrap();
    assert_eq!(last_activity::LastActivityStore::get(&*store, &user).await.unwrap(), Some(before));
    let seen = last(&romeo, "juliet@localhost").await.unwrap();
    assert!(seen.seconds > 1_000_000 && seen.status.as_deref() == Some("out"), "{seen:?}");
    juliet.send(Presence::available()).await.unwrap();
    juliet.request(Iq::get_own().payload(&LastQuery)).await.unwrap();
    assert_eq!(last(&romeo, "juliet@localhost").await.unwrap(), LastActivity::default());
}

#[tokio::test]
async fn when_a_removed_account_was_there_is_forgotten_with_its_sessions() {
    let store = std::sync::Arc::new(MemoryLastActivity::new());
    let accounts = std::sync::Arc::new(MemoryAccounts::new());
    let user = BareJid::new("juliet@localhost").unwrap();
    accounts.set_password(user.clone(), "secret");
    let everybody = |_: BareJid, _: BareJid| -> xmpp_im::Stored<'static, bool> { Box::pin(async { Ok(true) }) };
    let builder = Server::builder("localhost").accounts(std::sync::Arc::clone(&accounts));
    let builder = builder.with(last_activity::server(std::sync::Arc::clone(&store), everybody));
    let server = builder.with(xmpp_im::presence::server).build().unwrap();
    let (juliet, mut events) = login(&server, "juliet@localhost").await;
    juliet.send(Presence::available()).await.unwrap();
    assert!(matches!(events.next().await, Some(Event::Presence(_))));
    assert!(accounts.remove(&user));
    server.account_removed(&user).await;
    while server.sessions() > 0 {
        tokio::task::yield_now().await;
    }
    for _ in 0..500 {
        tokio::task::yield_now().await;
    }
    assert_eq!(last_activity::LastActivityStore::get(&*store, &user).await.unwrap(), None);
}

fn text(form: &DataForm, var: &str) -> Result<String, StanzaError> {
    form.value(var).filter(|value| !value.is_empty()).map(str::to_owned).ok_or_else(|| bad_payload("it is needed"))
}

/// Asks for two words, a stage each, and joins them.
fn join() -> Command {
    Command::new("join", "Join words", |call| async move {
        let ask = |var: &str| DataForm::new(FormKind::Form).with(Field::new(var).required());
        match call.submitted.as_slice() {
            [] => Ok(Step::ask(ask("one"))),
            [first] => text(first, "one").map(|_| Step::ask_last(ask("two"))),
            [first, second, ..] => {
                let both = text(first, "one")? + &text(second, "two")?;
                Ok(Step::done().result(DataForm::new(FormKind::Result).with(Field::new("both").value(both))))
            }
        }
    })
}

fn fill(var: &str, value: &str) -> DataForm {
    DataForm::new(FormKind::Submit).with(Field::new(var).value(value))
}

fn commands() -> Commands {
    let secret = Command::new("secret", "Secret", |_| async { Ok(Step::done()) });
    let secret = secret.only_for(|asker| asker.bare_str() == "juliet@localhost");
    Commands::new().with(command::ping()).with(join()).with(secret)
}

#[tokio::test]
async fn xep0050_2_2_commands_are_listed_for_whom_they_are() {
    let server = builder().with(commands().at(Target::Server)).build().unwrap();
    let (juliet, _hers) = login(&server, "juliet@localhost").await;
    let (romeo, _his) = login(&server, "romeo@localhost").await;
    let here = jid("localhost");
    let nodes = async |client: &Client| -> Vec<String> {
        let items = command::list(client, &here).await.unwrap();
        items.into_iter().filter_map(|item| item.node).collect()
    };
    assert_eq!(nodes(&juliet).await, ["ping", "join", "secret"]);
    assert_eq!(nodes(&romeo).await, ["ping", "join"]);
    let query = DiscoInfoQuery { node: Some("ping".into()), ..DiscoInfoQuery::default() };
    let info = romeo.query::<DiscoInfo>(Iq::get(here.clone()).payload(&query)).await.unwrap();
    assert!(info.has_identity("automation", "command-node") && info.has_feature(command::NS));
    let whole = romeo.query::<DiscoInfo>(Iq::get(here.clone()).payload(&DiscoInfoQuery::default())).await.unwrap();
    assert!(whole.has_feature(command::NS));
    let refusal = refused(command::execute(&romeo, &here, "secret").await);
    assert_eq!(refusal.condition, Condition::Forbidden);
    assert_eq!(refused(command::execute(&romeo, &here, "unknown").await).condition, Condition::ItemNotFound);
    let pong = command::execute(&romeo, &here, "ping").await.unwrap();
    assert!(pong.is_over());
    assert_eq!(pong.answer().notes[0].kind, NoteKind::Info);
}

#[tokio::test]
async fn xep0050_2_4_2_stages_go_forth_and_back() {
    let server = builder().with(commands().at(Target::Server)).build().unwrap();
    let (juliet, _hers) = login(&server, "juliet@localhost").await;
    let mut joining = command::execute(&juliet, &jid("localhost"), "join").await.unwrap();
    assert!(!joining.is_over());
    assert!(joining.answer().actions.as_ref().unwrap().next);
    joining.submit(fill("one", "a")).await.unwrap();
    let actions = joining.answer().actions.clone().unwrap();
    assert!(actions.prev && actions.complete && !actions.next);
    joining.back().await.unwrap();
    assert!(joining.answer().form.as_ref().unwrap().field("one").is_some());
    joining.submit(fill("one", "b")).await.unwrap();
    let refusal = refused(joining.submit(fill("other", "x")).await.cloned());
    assert!(refusal.has_application("bad-payload", command::NS));
    joining.submit(fill("two", "c")).await.unwrap();
    assert!(joining.is_over());
    assert_eq!(joining.answer().form.as_ref().unwrap().value("both"), Some("bc"));
}

#[tokio::test]
async fn xep0050_4_4_errors() {
    let server = builder().with(commands().at(Target::Server)).build().unwrap();
    let (juliet, _hers) = login(&server, "juliet@localhost").await;
    let (romeo, _his) = login(&server, "romeo@localhost").await;
    let ask = async |client: &Client, session: Option<&str>, action: Action, form: Option<DataForm>| {
        let (node, session) = ("join".to_owned(), session.map(str::to_owned));
        let request = CommandElement { node, session, action: Some(action), form, ..CommandElement::default() };
        client.query::<CommandElement>(Iq::set(jid("localhost")).payload(&request)).await
    };
    let has = |error: StanzaError, condition: Condition, name: &str| {
        assert_eq!(error.condition, condition, "{name}");
        assert!(error.has_application(name, command::NS), "{name}: {error:?}");
    };
    has(refused(ask(&juliet, None, Action::Other("x".into()), None).await), Condition::BadRequest, "malformed-action");
    has(refused(ask(&juliet, None, Action::Next, None).await), Condition::BadRequest, "bad-action");
    has(refused(ask(&juliet, Some("x"), Action::Next, None).await), Condition::BadRequest, "bad-sessionid");
    let begun = ask(&juliet, None, Action::Execute, None).await.unwrap();
    let session = begun.session.as_deref();
    // Another's session (§3.3).
    has(refused(ask(&romeo, session, Action::Next, None).await), Condition::BadRequest, "bad-sessionid");
    has(refused(ask(&juliet, session, Action::Complete, None).await), Condition::BadRequest, "bad-action");
    has(refused(ask(&juliet, session, Action::Prev, None).await), Condition::BadRequest, "bad-action");
    has(refused(ask(&juliet, session, Action::Next, None).await), Condition::BadRequest, "bad-payload");
    assert_eq!(ask(&juliet, session, Action::Cancel, None).await.unwrap().status, Some(Status::Canceled));
    has(refused(ask(&juliet, session, Action::Next, None).await), Condition::BadRequest, "bad-sessionid");
}

#[tokio::test]
async fn executions_are_bounded_in_number_and_in_time() {
    let mut limits = CommandLimits::default();
    limits.per_asker = 2;
    let server = builder().with(commands().limits(limits).at(Target::Server)).build().unwrap();
    let (juliet, _hers) = login(&server, "juliet@localhost").await;
    let (romeo, _his) = login(&server, "romeo@localhost").await;
    let begin = async |client: &Client| command::execute(client, &jid("localhost"), "join").await;
    let (one, _two) = (begin(&juliet).await.unwrap(), begin(&juliet).await.unwrap());
    assert_eq!(refused(begin(&juliet).await).condition, Condition::ResourceConstraint);
    begin(&romeo).await.unwrap();
    one.cancel().await.unwrap();
    begin(&juliet).await.unwrap();

    limits.lifetime = Duration::ZERO;
    let server = builder().with(commands().limits(limits).at(Target::Server)).build().unwrap();
    let (juliet, _hers) = login(&server, "juliet@localhost").await;
    let mut late = command::execute(&juliet, &jid("localhost"), "join").await.unwrap();
    let refusal = refused(late.submit(fill("one", "a")).await.cloned());
    assert_eq!(refusal.condition, Condition::NotAllowed);
    assert!(refusal.has_application("session-expired", command::NS));
}

#[tokio::test]
async fn xep0050_a_client_offers_commands_too() {
    let server = builder().build().unwrap();
    let pipe = server.clone();
    let bot = Client::builder(jid("juliet@localhost/bot"), "secret").no_reconnect();
    let bot = bot.with(Commands::new().with(command::ping()).at(Target::Client)).pipe(move || pipe.connect_memory());
    let (_bot, mut events) = bot.connect().unwrap();
    assert!(matches!(events.next().await, Some(Event::Online { .. })));
    let (romeo, _his) = login(&server, "romeo@localhost").await;
    let there = jid("juliet@localhost/bot");
    assert_eq!(command::list(&romeo, &there).await.unwrap().len(), 1);
    assert!(command::execute(&romeo, &there, "ping").await.unwrap().is_over());
}

//! Administration by commands (XEP-0133), and what a server tells of itself and of others (XEP-0157, XEP-0215).
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "../../xmpp-core/tests/support/people.rs"]
mod people;

use people::{accounts, bare, jid, login, next};
use std::sync::Arc;
use tokio::sync::Notify;
use xmpp_core::{
    client::{Client, ConnectionError, Event, Events, RequestError},
    extension::Target,
    payload::{
        DateTime, Payload as _, TextValue as _,
        disco::{DiscoInfo, DiscoInfoQuery},
        form::{DataForm, Field, FormKind},
    },
    server::{Accounts, MemoryAccounts, Server, ServerRegistrar},
    stanza::{Condition, Iq, Message, MessageType, Presence, Show, StanzaError},
    stream::StreamCondition,
};
use xmpp_im::{
    administration::{self, Administration},
    command::{self, CommandElement, Commands, NoteKind},
    contact::{self, ContactAddresses},
    delivery,
    external_services::{self, ExternalService},
    login::{self, LoginStore, MemoryLogins, Notice},
    roster::{self, Item, MemoryRosters, Record, RosterLimits, RosterQuery, RosterStore, Subscription},
};

struct House {
    server: Server,
    accounts: Arc<MemoryAccounts>,
    rosters: Arc<MemoryRosters>,
    logins: Arc<MemoryLogins>,
    /// Told when the service is to end.
    ended: Arc<Notify>,
}

/// The queen administers localhost and its summer residence; romeo and juliet live there.
fn house() -> House {
    let accounts =
        Arc::new(accounts(&["queen@localhost", "romeo@localhost", "juliet@localhost", "page@summer.localhost"]));
    let (rosters, logins, ended) =
        (Arc::new(MemoryRosters::new()), Arc::new(MemoryLogins::new()), Arc::new(Notify::new()));
    let all: Arc<dyn LoginStore> = logins.clone();
    let (notified, shown) = (Arc::clone(&ended), Arc::clone(&rosters));
    let administration = Administration::new(Arc::clone(&accounts), [bare("queen@localhost")])
        .rosters(shown)
        .logins(Arc::clone(&all))
        .shutdown(move |_| notified.notify_one());
    let commands = move |r: &mut ServerRegistrar| {
        administration.commands(r.server()).into_iter().fold(Commands::new(), Commands::with).at(Target::Server)(r);
    };
    let stored: Arc<dyn RosterStore> = rosters.clone();
    let server = Server::builder("localhost")
        .domain("summer.localhost")
        .anonymous_domain("anon.localhost")
        .accounts(Arc::clone(&accounts))
        .with(commands)
        .with(login::server(all))
        .with(roster::server_with(stored, RosterLimits::default()))
        .with(delivery::server);
    House { server: server.build().unwrap(), accounts, rosters, logins, ended }
}

fn fill(fields: &[(&str, &[&str])]) -> DataForm {
    let form = DataForm::typed(FormKind::Submit, administration::NS);
    fields.iter().fold(form, |form, (var, values)| {
        form.with(values.iter().fold(Field::new(*var), |field, value| field.value(*value)))
    })
}

async fn begin(client: &Client, node: &str) -> Result<command::Execution, RequestError> {
    command::execute(client, &jid("localhost"), &format!("{}#{node}", administration::NS)).await
}

/// A command with its form filled in, if it asks for one.
async fn run(client: &Client, node: &str, fields: &[(&str, &[&str])]) -> Result<CommandElement, StanzaError> {
    let mut execution = begin(client, node).await.unwrap_or_else(|error| panic!("{node}: {error}"));
    if !execution.is_over() {
        match execution.submit(fill(fields)).await {
            Err(RequestError::Refused(error)) => return Err(error),
            other => other.unwrap_or_else(|error| panic!("{node}: {error}")),
        };
    }
    Ok(execution.answer().clone())
}

async fn done(client: &Client, node: &str, fields: &[(&str, &[&str])]) -> CommandElement {
    run(client, node, fields).await.unwrap_or_else(|error| panic!("{node} {fields:?}: {error:?}"))
}

async fn refused(client: &Client, node: &str, fields: &[(&str, &[&str])]) -> Condition {
    match run(client, node, fields).await {
        Err(error) => error.condition,
        Ok(answer) => panic!("{node} {fields:?} is not refused: {answer:?}"),
    }
}

/// The result form of a command.
async fn result(client: &Client, node: &str, fields: &[(&str, &[&str])]) -> DataForm {
    let form = done(client, node, fields).await.form.unwrap_or_else(|| panic!("{node} has no result"));
    assert_eq!((form.type_, form.form_type()), (FormKind::Result, Some(administration::NS)), "{node}");
    form
}

/// A client that has said that it is available.
async fn available(server: &Server, address: &str) -> (Client, Events) {
    let (client, mut events) = login(server, address).await;
    client.send(Presence::available()).await.unwrap();
    assert!(matches!(next(&mut events).await, Some(Event::Presence(_))));
    (client, events)
}

/// What was sent before has been handled.
async fn sync(client: &Client) {
    let _: DiscoInfo = client.query(Iq::get(jid("localhost")).payload(&DiscoInfoQuery::default())).await.unwrap();
}

async fn message(events: &mut Events) -> Message {
    loop {
        match next(events).await {
            Some(Event::Message(message)) => return message,
            Some(Event::Presence(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn body(events: &mut Events) -> String {
    message(events).await.body().unwrap().into_owned()
}

async fn offline(events: &mut Events) -> StreamCondition {
    loop {
        match next(events).await {
            Some(Event::Offline { error: ConnectionError::Stream(error), .. }) => return error.condition,
            Some(Event::Offline { error, .. }) => panic!("{error}"),
            Some(_) => {}
            None => panic!("the client has ended"),
        }
    }
}

const ROMEO: &[(&str, &[&str])] = &[("accountjids", &["romeo@localhost"])];

#[tokio::test]
async fn xep0133_4_1_4_2_4_6_accounts_are_added_changed_and_deleted() {
    let House { server, accounts, .. } = house();
    let (queen, _events) = login(&server, "queen@localhost").await;
    let nurse = bare("nurse@localhost");
    let named = |name: &'static [&'static str]| {
        [("accountjid", name), ("password", &["one"][..]), ("password-verify", &["one"])]
    };
    let fields = named(&["nurse@localhost"]);
    assert_eq!(done(&queen, "add-user", &fields).await.notes[0].kind, NoteKind::Info);
    assert_eq!(refused(&queen, "add-user", &fields).await, Condition::Conflict, "it is there already");
    let differs = [("accountjid", &["x@localhost"][..]), ("password", &["one"]), ("password-verify", &["two"])];
    assert_eq!(refused(&queen, "add-user", &differs).await, Condition::BadRequest);
    assert_eq!(refused(&queen, "add-user", &named(&["x@elsewhere.example"])).await, Condition::BadRequest);
    assert_eq!(refused(&queen, "add-user", &named(&["localhost"])).await, Condition::BadRequest);
    done(&queen, "change-user-password", &[("accountjid", &["nurse@localhost"]), ("password", &["two"])]).await;
    assert!(accounts.check_password(&nurse, "two").await.unwrap());
    let nobody = [("accountjid", &["nobody@localhost"][..]), ("password", &["two"])];
    assert_eq!(refused(&queen, "change-user-password", &nobody).await, Condition::ItemNotFound);
    assert_eq!(
        refused(&queen, "delete-user", &[("accountjids", &["nurse@localhost", "nobody@localhost"])]).await,
        Condition::ItemNotFound
    );
    assert!(accounts.exists(&nurse).await.unwrap(), "all of them or none");
    done(&queen, "delete-user", &[("accountjids", &["nurse@localhost"])]).await;
    assert!(!accounts.exists(&nurse).await.unwrap());
}

#[tokio::test]
async fn xep0133_4_3_4_4_who_is_disabled_is_out_until_enabled_again() {
    let House { server, accounts, rosters, .. } = house();
    let (queen, _events) = login(&server, "queen@localhost").await;
    let (_romeo, mut his) = available(&server, "romeo@localhost").await;
    let keep = |_: &roster::Before| Some(Record { item: Some(Item::new(jid("juliet@localhost"))), request: None });
    rosters
        .change(&bare("romeo@localhost"), &bare("juliet@localhost"), &RosterLimits::default(), Box::new(keep))
        .await
        .unwrap();
    done(&queen, "disable-user", ROMEO).await;
    assert_eq!(offline(&mut his).await, StreamCondition::NotAuthorized);
    let pipe = server.clone();
    let builder = Client::builder(jid("romeo@localhost"), people::SECRET).no_reconnect();
    let (_client, mut events) = builder.pipe(move || pipe.connect_memory()).connect().unwrap();
    match next(&mut events).await {
        Some(Event::Offline { error, .. }) => assert!(error.to_string().contains("account-disabled"), "{error}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(rosters.roster(&bare("romeo@localhost")).await.unwrap().items.len(), 1, "it keeps its data");
    let listed = result(&queen, "get-disabled-users-list", &[]).await;
    assert_eq!(listed.values("disableduserjids"), ["romeo@localhost"]);
    assert_eq!(result(&queen, "get-disabled-users-num", &[]).await.value("disabledusersnum"), Some("1"));
    assert_eq!(refused(&queen, "disable-user", &[("accountjids", &["queen@localhost"])]).await, Condition::NotAllowed);
    assert!(!accounts.is_disabled(&bare("queen@localhost")).await.unwrap());
    done(&queen, "reenable-user", ROMEO).await;
    let (romeo, _his) = login(&server, "romeo@localhost").await;
    romeo.close().await;
}

#[tokio::test]
async fn xep0133_4_5_sessions_end_one_or_all_of_an_account() {
    let House { server, .. } = house();
    let (queen, _events) = login(&server, "queen@localhost").await;
    let (_one, mut one) = login(&server, "romeo@localhost/one").await;
    let (_two, mut two) = login(&server, "romeo@localhost/two").await;
    let (_three, mut three) = login(&server, "romeo@localhost/three").await;
    done(&queen, "end-user-session", &[("accountjids", &["romeo@localhost/one"])]).await;
    assert_eq!(offline(&mut one).await, StreamCondition::PolicyViolation);
    done(&queen, "end-user-session", ROMEO).await;
    assert_eq!(offline(&mut two).await, StreamCondition::PolicyViolation);
    assert_eq!(offline(&mut three).await, StreamCondition::PolicyViolation);
}

#[tokio::test]
async fn xep0133_4_7_to_4_9_what_is_known_of_a_user() {
    let House { server, rosters, .. } = house();
    let (queen, _events) = login(&server, "queen@localhost").await;
    let mut kept = Item::new(jid("juliet@localhost"));
    (kept.name, kept.subscription) = (Some("My love".into()), Subscription::Both);
    let keep = move |_: &roster::Before| Some(Record { item: Some(kept), request: None });
    rosters
        .change(&bare("romeo@localhost"), &bare("juliet@localhost"), &RosterLimits::default(), Box::new(keep))
        .await
        .unwrap();
    let shown = result(&queen, "get-user-roster", ROMEO).await;
    assert_eq!(shown.values("accountjids"), ["romeo@localhost"]);
    let shown = RosterQuery::read(shown.others[0].root()).unwrap();
    assert_eq!((shown.items.len(), shown.items[0].name.as_deref()), (1, Some("My love")));

    let never = done(&queen, "get-user-lastlogin", ROMEO).await;
    assert!(never.form.unwrap().value("lastlogin").is_none() && never.notes.len() == 1);
    let (_romeo, _his) = available(&server, "romeo@localhost/garden").await;
    let last = loop {
        // It is noted beside the presence.
        let form = result(&queen, "get-user-lastlogin", ROMEO).await;
        match form.value("lastlogin") {
            Some(last) => break DateTime::from_text(last).unwrap(),
            None => tokio::task::yield_now().await,
        }
    };
    assert!(last.unix_seconds() > 1_700_000_000);

    let known = result(&queen, "user-stats", &[("accountjid", &["romeo@localhost"])]).await;
    assert_eq!(known.value("rostersize"), Some("1"));
    assert_eq!(known.values("onlineresources"), ["garden"]);
    for node in ["get-user-roster", "get-user-lastlogin"] {
        let two = [("accountjids", &["romeo@localhost", "juliet@localhost"][..])];
        assert_eq!(refused(&queen, node, &two).await, Condition::BadRequest, "one at a time");
        let nobody = [("accountjids", &["nobody@localhost"][..])];
        assert_eq!(refused(&queen, node, &nobody).await, Condition::ItemNotFound);
    }
    assert_eq!(refused(&queen, "user-stats", &[("accountjid", &["x@localhost"])]).await, Condition::ItemNotFound);
}

#[tokio::test]
async fn xep0133_4_12_to_4_21_users_are_counted_and_listed_by_kind() {
    let House { server, .. } = house();
    let (queen, _events) = available(&server, "queen@localhost").await;
    let (away, _his) = login(&server, "romeo@localhost").await;
    away.send(Presence::available().show(Show::Away)).await.unwrap();
    let (inactive, _hers) = available(&server, "juliet@localhost").await;
    inactive.set_active(false).await.unwrap();
    let pipe = server.clone();
    let anonymous = Client::builder(jid("anon.localhost"), "").anonymous().no_reconnect();
    let (_nobody, mut nobodys) = anonymous.pipe(move || pipe.connect_memory()).connect().unwrap();
    assert!(matches!(next(&mut nobodys).await, Some(Event::Online { .. })));
    for client in [&away, &inactive] {
        sync(client).await;
    }
    let lists: [(&str, &str, &str, &[&str]); 4] = [
        (
            "registered",
            "get-registered-users-list",
            "registereduserjids",
            &["juliet@localhost", "queen@localhost", "romeo@localhost", "page@summer.localhost"],
        ),
        (
            "online",
            "get-online-users-list",
            "onlineuserjids",
            &["juliet@localhost", "queen@localhost", "romeo@localhost"],
        ),
        ("active", "get-active-users", "activeuserjids", &["queen@localhost"]),
        ("idle", "get-idle-users", "activeuserjids", &["juliet@localhost", "romeo@localhost"]),
    ];
    for (kind, node, var, expected) in lists {
        let counted = result(&queen, &format!("get-{kind}-users-num"), &[]).await;
        assert_eq!(counted.value(&format!("{kind}usersnum")), Some(expected.len().to_string().as_str()), "{kind}");
        let listed = done(&queen, node, &[("max_items", &["none"])]).await;
        assert_eq!(listed.form.unwrap().values(var), expected, "{kind}");
        assert!(listed.notes.is_empty(), "that is all");
        // By pages of one.
        let mut paged: Vec<String> = Vec::new();
        loop {
            let after = paged.last().cloned().unwrap_or_default();
            let page = done(&queen, node, &[("max_items", &["1"]), ("x-after", &[after.as_str()])]).await;
            paged.extend_from_slice(page.form.unwrap().values(var));
            assert!(paged.len() <= expected.len());
            if page.notes.is_empty() {
                break;
            }
        }
        assert_eq!(paged, expected, "{kind}");
    }
    for (most, after) in [("0", ""), ("501", ""), ("many", ""), ("25", "@"), ("25", "x@elsewhere.example")] {
        let fields = [("max_items", &[most][..]), ("x-after", &[after])];
        assert_eq!(refused(&queen, "get-online-users-list", &fields).await, Condition::BadRequest, "{most} {after}");
    }
}

#[tokio::test]
async fn xep0133_4_22_announcements_reach_who_is_online() {
    let House { server, .. } = house();
    let (queen, _events) = login(&server, "queen@localhost").await;
    let (_romeo, mut his) = available(&server, "romeo@localhost").await;
    done(&queen, "announce", &[("subject", &["Tonight"]), ("announcement", &["A feast", "for all"])]).await;
    let told = message(&mut his).await;
    assert_eq!((told.type_(), told.body().unwrap().as_ref()), (MessageType::Headline, "A feast\nfor all"));
    assert_eq!(told.subject().as_deref(), Some("Tonight"));
    assert_eq!(refused(&queen, "announce", &[("announcement", &[" "])]).await, Condition::BadRequest);
}

#[tokio::test]
async fn xep0133_4_23_to_4_27_each_message_of_the_day_reaches_everybody_once() {
    let House { server, logins, .. } = house();
    let (queen, mut hers) = available(&server, "queen@localhost").await;
    // The queen is here before the welcome, and is noted beside her presence.
    while logins.last(&bare("queen@localhost")).await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    let form = begin(&queen, "set-welcome").await.unwrap();
    assert!(form.answer().form.as_ref().unwrap().values("welcome").is_empty());
    done(&queen, "set-welcome", &[("welcome", &["Hello,", "stranger"])]).await;
    let form = begin(&queen, "set-welcome").await.unwrap();
    assert_eq!(form.answer().form.as_ref().unwrap().values("welcome"), ["Hello,", "stranger"]);
    done(&queen, "set-motd", &[("motd", &["A day"])]).await;
    assert_eq!(body(&mut hers).await, "A day", "who is online is told");
    let (romeo, mut his) = available(&server, "romeo@localhost").await;
    assert_eq!(body(&mut his).await, "Hello,\nstranger", "who is new is told both");
    let told = message(&mut his).await;
    assert_eq!((told.body().as_deref(), told.type_()), (Some("A day"), MessageType::Normal));
    assert_eq!(told.stanza().root().attr("from").as_deref(), Some("localhost"));
    let form = begin(&queen, "edit-motd").await.unwrap();
    assert_eq!(form.answer().form.as_ref().unwrap().values("motd"), ["A day"], "to be edited");
    done(&queen, "edit-motd", &[("motd", &["A fine day"])]).await;
    done(&queen, "set-motd", &[("motd", &["Another"])]).await;
    assert_eq!(body(&mut his).await, "Another", "an edited one is told to nobody again");
    assert_eq!(body(&mut hers).await, "Another");
    romeo.send(Presence::unavailable()).await.unwrap();
    romeo.send(Presence::available()).await.unwrap();
    sync(&romeo).await;
    done(&queen, "delete-motd", &[]).await;
    done(&queen, "delete-welcome", &[]).await;
    assert_eq!(logins.notice(Notice::Welcome).await.unwrap(), None);
    let (_juliet, mut her) = available(&server, "juliet@localhost").await;
    done(&queen, "announce", &[("announcement", &["that is all"])]).await;
    assert_eq!(body(&mut her).await, "that is all", "what was deleted is not told");
    assert_eq!(body(&mut his).await, "that is all", "nothing was told twice");
    assert_eq!(refused(&queen, "set-motd", &[("motd", &[])]).await, Condition::BadRequest);
}

#[tokio::test]
async fn xep0133_4_30_the_service_is_shut_down_once_after_a_delay() {
    let House { server, ended, .. } = house();
    let (queen, mut hers) = available(&server, "queen@localhost").await;
    for delay in [&["soon"][..], &["-1"], &["3601"], &[]] {
        assert_eq!(refused(&queen, "shutdown", &[("delay", delay)]).await, Condition::BadRequest, "{delay:?}");
    }
    done(&queen, "shutdown", &[("delay", &["0"]), ("announcement", &["Good night"])]).await;
    ended.notified().await;
    assert_eq!(body(&mut hers).await, "Good night");
    assert_eq!(refused(&queen, "shutdown", &[("delay", &["0"])]).await, Condition::Conflict, "it ends already");
    match begin(&queen, "restart").await {
        Err(RequestError::Refused(error)) => assert_eq!(error.condition, Condition::ItemNotFound),
        other => panic!("nobody could restart it: {other:?}"),
    }
}

#[tokio::test]
async fn xep0133_6_only_admins_administrate() {
    let House { server, .. } = house();
    let (queen, _events) = login(&server, "queen@localhost").await;
    let (romeo, _his) = login(&server, "romeo@localhost").await;
    let all = command::list(&queen, &jid("localhost")).await.unwrap();
    assert_eq!(all.len(), 26);
    assert!(command::list(&romeo, &jid("localhost")).await.unwrap().is_empty());
    for offered in all {
        match command::execute(&romeo, &jid("localhost"), &offered.node.unwrap()).await {
            Err(RequestError::Refused(error)) => assert_eq!(error.condition, Condition::Forbidden),
            other => panic!("{other:?}"),
        }
    }
    // Nor does one of them lend an execution to somebody else.
    let execution = begin(&queen, "delete-user").await.unwrap();
    let stolen = CommandElement {
        session: execution.answer().session.clone(),
        form: Some(fill(&[("accountjids", &["queen@localhost"])])),
        node: execution.answer().node.clone(),
        ..CommandElement::default()
    };
    match romeo.query::<CommandElement>(Iq::set(jid("localhost")).payload(&stolen)).await {
        Err(RequestError::Refused(error)) => assert_eq!(error.condition, Condition::Forbidden),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn xep0068_4_1_another_form_is_not_taken_for_this_one() {
    let House { server, accounts, .. } = house();
    let (queen, _events) = login(&server, "queen@localhost").await;
    let named = Field::new("accountjids").value("romeo@localhost");
    for (kind, type_) in [(FormKind::Submit, "urn:example:other"), (FormKind::Cancel, administration::NS)] {
        let mut execution = begin(&queen, "delete-user").await.unwrap();
        match execution.submit(DataForm::typed(kind, type_).with(named.clone())).await {
            Err(RequestError::Refused(error)) => assert_eq!(error.condition, Condition::BadRequest),
            other => panic!("{other:?}"),
        }
    }
    for address in ["@", "romeo@elsewhere.example", "localhost", "x@anon.localhost.example"] {
        assert_eq!(refused(&queen, "delete-user", &[("accountjids", &[address])]).await, Condition::BadRequest);
    }
    assert_eq!(refused(&queen, "delete-user", &[]).await, Condition::BadRequest);
    assert!(accounts.exists(&bare("romeo@localhost")).await.unwrap());
}

#[tokio::test]
async fn xep0215_3_services_are_listed_with_credentials() {
    let turn = ExternalService::new("turn", "turn.localhost").port(3478).secret("shared");
    let services = vec![ExternalService::new("stun", "stun.localhost"), turn];
    let mut contact = ContactAddresses::default();
    contact.abuse = vec!["mailto:abuse@localhost".into()];
    let builder = Server::builder("localhost").accounts(accounts(&["romeo@localhost"]));
    let builder = builder.with(contact::contact_addresses(contact)).with(external_services::server(services));
    let server = builder.build().unwrap();
    let (romeo, _his) = login(&server, "romeo@localhost").await;
    let all = external_services::list(&romeo, &jid("localhost"), None).await.unwrap();
    assert_eq!(all.len(), 2);
    assert!(all[0].username.is_none() && all[1].username.is_some() && all[1].password.is_some());
    assert_eq!(external_services::list(&romeo, &jid("localhost"), Some("turn")).await.unwrap().len(), 1);
    let asked =
        external_services::Service { type_: "turn".into(), host: "turn.localhost".into(), ..Default::default() };
    let query = external_services::Credentials { services: vec![asked] };
    let answer: external_services::Credentials = romeo.query(Iq::get(jid("localhost")).payload(&query)).await.unwrap();
    assert!(answer.services[0].expires.is_some());
    let info: DiscoInfo = romeo.query(Iq::get(jid("localhost")).payload(&DiscoInfoQuery::default())).await.unwrap();
    assert!(info.has_feature(external_services::NS));
    assert_eq!(info.form(contact::FORM).unwrap().values("abuse-addresses"), ["mailto:abuse@localhost"]);
}

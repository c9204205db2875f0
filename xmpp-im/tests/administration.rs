//! Administration by commands (XEP-0133), and what a server tells of itself and of others (XEP-0157, XEP-0215).
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::sync::Arc;
use xmpp_core::{
    client::{Client, Event, Events, RequestError},
    extension::Target,
    jid::{BareJid, Jid},
    payload::{
        disco::{DiscoInfo, DiscoInfoQuery},
        form::{DataForm, Field, FormKind},
    },
    server::{Accounts, MemoryAccounts, Server, ServerRegistrar},
    stanza::{Condition, Iq, Presence},
};
use xmpp_im::{
    administration,
    command::{self, Commands, NoteKind},
    contact::{self, ContactAddresses},
    external_services::{self, ExternalService},
};

fn server() -> (Server, Arc<MemoryAccounts>) {
    let accounts = Arc::new(MemoryAccounts::new());
    for name in ["queen@localhost", "romeo@localhost"] {
        accounts.set_password(BareJid::new(name).unwrap(), "secret");
    }
    let managed = Arc::clone(&accounts);
    let commands = move |r: &mut ServerRegistrar| {
        let commands = administration::commands(managed, [BareJid::new("queen@localhost").unwrap()], r.server());
        commands.into_iter().fold(Commands::new(), Commands::with).at(Target::Server)(r);
    };
    let turn = ExternalService::new("turn", "turn.localhost").port(3478).secret("shared");
    let services = vec![ExternalService::new("stun", "stun.localhost"), turn];
    let mut contact = ContactAddresses::default();
    contact.abuse = vec!["mailto:abuse@localhost".into()];
    let builder = Server::builder("localhost").accounts(Arc::clone(&accounts)).with(commands);
    let builder = builder.with(contact::contact_addresses(contact)).with(external_services::server(services));
    (builder.with(xmpp_im::presence::server).build().unwrap(), accounts)
}

fn jid(text: &str) -> Jid {
    text.parse().unwrap()
}

async fn login(server: &Server, address: &str) -> (Client, Events) {
    let pipe = server.clone();
    let builder = Client::builder(jid(address), "secret").no_reconnect();
    let (client, mut events) = builder.pipe(move || pipe.connect_memory()).connect().unwrap();
    assert!(matches!(events.next().await, Some(Event::Online { .. })));
    (client, events)
}

fn fill(fields: &[(&str, &str)]) -> DataForm {
    let form = DataForm::typed(FormKind::Submit, administration::NS);
    fields.iter().fold(form, |form, (var, value)| form.with(Field::new(*var).value(*value)))
}

async fn run(client: &Client, node: &str, fields: &[(&str, &str)]) -> command::CommandElement {
    let node = format!("{}#{node}", administration::NS);
    let mut execution = command::execute(client, &jid("localhost"), &node).await.unwrap();
    if !execution.is_over() {
        execution.submit(fill(fields)).await.unwrap();
    }
    execution.answer().clone()
}

#[tokio::test]
async fn xep0133_4_accounts_are_added_changed_listed_and_deleted() {
    let (server, accounts) = server();
    let (queen, _events) = login(&server, "queen@localhost").await;
    let page = BareJid::new("page@localhost").unwrap();
    let fields = [("accountjid", "page@localhost"), ("password", "one"), ("password-verify", "one")];
    assert_eq!(run(&queen, "add-user", &fields).await.notes[0].kind, NoteKind::Info);
    assert_eq!(run(&queen, "add-user", &fields).await.notes[0].kind, NoteKind::Error, "it is there already");
    run(&queen, "change-user-password", &[("accountjid", "page@localhost"), ("password", "two")]).await;
    assert!(accounts.check_password(&page, "two").await.unwrap());
    let listed = run(&queen, "get-registered-users-list", &[]).await.form.unwrap();
    assert_eq!(listed.values("registereduserjids"), ["page@localhost", "queen@localhost", "romeo@localhost"]);
    let online = run(&queen, "get-online-users-list", &[]).await.form.unwrap();
    assert_eq!(online.values("onlineuserjids"), ["queen@localhost"]);
    run(&queen, "delete-user", &[("accountjids", "page@localhost")]).await;
    assert!(!accounts.exists(&page).await.unwrap());
}

#[tokio::test]
async fn xep0133_4_sessions_end_and_announcements_reach_who_is_online() {
    let (server, _) = server();
    let (queen, _events) = login(&server, "queen@localhost").await;
    let (romeo, mut his) = login(&server, "romeo@localhost").await;
    romeo.send(Presence::available()).await.unwrap();
    assert!(matches!(his.next().await, Some(Event::Presence(_))));
    run(&queen, "announce", &[("subject", "Tonight"), ("announcement", "A feast")]).await;
    match his.next().await {
        Some(Event::Message(message)) => assert_eq!(message.body().as_deref(), Some("A feast")),
        other => panic!("{other:?}"),
    }
    run(&queen, "end-user-session", &[("accountjids", "romeo@localhost")]).await;
    assert!(matches!(his.next().await, Some(Event::Offline { .. })));
}

#[tokio::test]
async fn xep0133_6_only_admins_administrate() {
    let (server, _) = server();
    let (romeo, _his) = login(&server, "romeo@localhost").await;
    assert!(command::list(&romeo, &jid("localhost")).await.unwrap().is_empty());
    let node = format!("{}#add-user", administration::NS);
    match command::execute(&romeo, &jid("localhost"), &node).await {
        Err(RequestError::Refused(error)) => assert_eq!(error.condition, Condition::Forbidden),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn xep0215_3_services_are_listed_with_credentials() {
    let (server, _) = server();
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

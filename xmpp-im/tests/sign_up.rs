//! Newcomers who register before they log in (XEP-0077 §3.1.1), and invitations (XEP-0445, XEP-0401, XEP-0379), as XML.
#![allow(clippy::unwrap_used, clippy::panic, clippy::field_reassign_with_default, missing_docs)]

mod stage;

use stage::{
    support::{HEADER, PASSWORD, Raw, builder},
    *,
};
use std::sync::Arc;
use xmpp_core::{
    client::{Client, ClientBuilder, Event},
    extension::Target,
    jid::BareJid,
    server::{Accounts, MemoryAccounts, Server, ServerRegistrar},
    xml::{Scanner, Stanza, XmlLimits},
};
use xmpp_im::{
    ClientExt as _,
    command::Commands,
    invitation::{
        self, Invitation, InvitationKey, InvitationSettings, InvitationStore, Invitations, MemoryInvitations,
    },
    registration::{self, RegisterError, Registration, SignUp},
    roster::{self, MemoryRosters, RosterLimits},
};

const REGISTER: &str = "jabber:iq:register";

struct Place {
    server: Server,
    accounts: Arc<MemoryAccounts>,
    invitations: Invitations,
    store: Arc<MemoryInvitations>,
}

impl Place {
    fn open() -> Place {
        Place::with(|_| {})
    }

    fn invited() -> Place {
        Place::with(|sign_up| sign_up.everybody = false)
    }

    fn with(change: impl FnOnce(&mut SignUp)) -> Place {
        let accounts = Arc::new(MemoryAccounts::new());
        for name in ["juliet@localhost", "romeo@localhost"] {
            accounts.set_password(BareJid::new(name).unwrap(), PASSWORD);
        }
        let store = Arc::new(MemoryInvitations::new());
        let mut settings = InvitationSettings::default();
        settings.per_user = 3;
        settings.landing = Some("https://localhost/invite#".into());
        let invitations = Invitations::new(Arc::<MemoryInvitations>::clone(&store), settings);
        let mut sign_up = SignUp::open();
        sign_up.invitations = Some(invitations.clone());
        sign_up.attempts_per_address = 1_000;
        change(&mut sign_up);
        let commands = invitations.clone();
        let server = Server::builder("localhost")
            .anonymous_domain("anon.localhost")
            .accounts(Arc::clone(&accounts))
            .with(roster::server_inviting(Arc::new(MemoryRosters::new()), RosterLimits::default(), &invitations))
            .with(xmpp_im::delivery::server)
            .with(registration::server(Arc::clone(&accounts), Registration::default()))
            .with(registration::sign_up(Arc::clone(&accounts), sign_up))
            .with(invitations.server())
            .with(move |r: &mut ServerRegistrar| {
                let all = commands.commands(r.server(), |asker| asker.bare_str() == "juliet@localhost");
                all.into_iter().fold(Commands::new(), Commands::with).at(Target::Server)(r);
            });
        Place { server: server.build().unwrap(), accounts, invitations, store }
    }

    async fn knows(&self, account: &str) -> bool {
        self.accounts.exists(&BareJid::new(account).unwrap()).await.unwrap()
    }

    /// The token of an invitation by Juliet that makes contacts.
    async fn contact_token(&self) -> String {
        let issued = self.invitations.invite_contact(&BareJid::new("juliet@localhost").unwrap()).await.unwrap();
        issued.uri.token.unwrap()
    }
}

/// Somebody without an account.
struct Stranger {
    raw: Raw,
    scanner: Scanner,
    features: String,
}

impl Stranger {
    async fn at(place: &Place) -> Stranger {
        let mut raw = Raw::memory(&place.server);
        raw.send(HEADER).await;
        let features = raw.until("</stream:features>").await;
        let mut scanner = Scanner::new(XmlLimits::authenticated());
        let mut header = HEADER.as_bytes();
        while !header.is_empty() {
            scanner.scan(&mut header).unwrap();
        }
        Stranger { raw, scanner, features }
    }

    async fn ask(&mut self, type_: &str, payload: &str) -> Stanza {
        self.raw.send(&format!("<iq type='{type_}' id='q' to='localhost'>{payload}</iq>")).await;
        loop {
            if let Some(stanza) = self.raw.scan(&mut self.scanner).await {
                assert_eq!(stanza.root().attr("id").as_deref(), Some("q"));
                return stanza;
            }
        }
    }

    /// `result`, or the condition of the error.
    async fn set(&mut self, payload: &str) -> String {
        outcome(&self.ask("set", payload).await)
    }

    async fn register(&mut self, name: &str, password: &str) -> String {
        self.set(&format!("<query xmlns='{REGISTER}'>{}</query>", fields(name, password))).await
    }

    async fn show(&mut self, token: &str) -> String {
        self.set(&format!("<preauth xmlns='urn:xmpp:pars:0' token='{token}'/>")).await
    }
}

fn fields(name: &str, password: &str) -> String {
    format!("<username>{name}</username><password>{password}</password>")
}

fn form(kind: &str, type_: &str, name: &str, password: &str) -> String {
    let field = |var: &str, value: &str| format!("<field var='{var}'><value>{value}</value></field>");
    let fields = field("FORM_TYPE", type_) + &field("username", name) + &field("password", password);
    format!("<x xmlns='jabber:x:data' type='{kind}'>{fields}</x>")
}

fn outcome(stanza: &Stanza) -> String {
    match stanza.root().attr("type").as_deref() {
        Some("error") => brief(stanza).split(' ').nth(1).unwrap().to_owned(),
        other => other.unwrap().to_owned(),
    }
}

fn jid(text: &str) -> BareJid {
    text.parse().unwrap()
}

#[tokio::test]
async fn xep0077_3_1_a_newcomer_registers_and_logs_in() {
    let place = Place::open();
    let mut stranger = Stranger::at(&place).await;
    assert!(stranger.features.contains("<register xmlns='http://jabber.org/features/iq-register'/>"));
    assert!(stranger.features.contains("<register xmlns='urn:xmpp:ibr-token:0'/>"));
    let asked = stranger.ask("get", &format!("<query xmlns='{REGISTER}'/>")).await;
    let query = asked.root().child("query", REGISTER).unwrap();
    for needed in ["username", "password", "instructions"] {
        assert!(query.child(needed, REGISTER).is_some(), "{needed}");
    }
    assert!(query.child("registered", REGISTER).is_none());
    let form = query.child("x", "jabber:x:data").unwrap();
    let required: Vec<_> = form
        .children()
        .filter(|field| field.child("required", "jabber:x:data").is_some())
        .map(|field| field.attr("var").unwrap().into_owned())
        .collect();
    assert_eq!(required, ["username", "password"]);
    assert_eq!(stranger.register("Mercutio", PASSWORD).await, "result");
    assert!(place.knows("mercutio@localhost").await);
    Device::new(&place.server, "mercutio@localhost/x").await;
    // §3.1.1: one account for each stream.
    assert_eq!(stranger.register("tybalt", PASSWORD).await, "not-acceptable");
    assert!(!place.knows("tybalt@localhost").await);
}

#[tokio::test]
async fn xep0077_4_a_form_goes_before_the_fields() {
    let place = Place::open();
    let mut stranger = Stranger::at(&place).await;
    let both = format!("{}{}", fields("fields", PASSWORD), form("submit", REGISTER, "form", PASSWORD));
    for (kind, type_) in [("form", REGISTER), ("cancel", REGISTER), ("submit", "urn:other")] {
        let wrong = format!("<query xmlns='{REGISTER}'>{}</query>", form(kind, type_, "form", PASSWORD));
        assert_eq!(stranger.set(&wrong).await, "bad-request", "{kind} {type_}");
    }
    assert_eq!(stranger.set(&format!("<query xmlns='{REGISTER}'>{both}</query>")).await, "result");
    assert!(place.knows("form@localhost").await && !place.knows("fields@localhost").await);
}

#[tokio::test]
async fn xep0077_3_1_what_is_wrong_has_a_name() {
    let place = Place::open();
    let (long, short) = ("x".repeat(registration::MAX_PASSWORD + 1), "1234567");
    for (name, password, condition) in [
        ("", PASSWORD, "not-acceptable"),
        ("tybalt", "", "not-acceptable"),
        ("tybalt", short, "not-acceptable"),
        ("tybalt", &long, "not-acceptable"),
        ("a b", PASSWORD, "not-acceptable"),
        ("tybalt@elsewhere.example", PASSWORD, "not-acceptable"),
        ("tybalt/x", PASSWORD, "not-acceptable"),
        ("admin", PASSWORD, "not-acceptable"),
        ("romeo", PASSWORD, "conflict"),
        ("ROMEO", PASSWORD, "conflict"),
    ] {
        let mut stranger = Stranger::at(&place).await;
        assert_eq!(stranger.register(name, password).await, condition, "{name}");
        assert!(!place.knows("tybalt@localhost").await);
        assert_eq!(stranger.register("tybalt", "").await, "not-acceptable", "and may try again");
    }
    let romeo = jid("romeo@localhost");
    assert!(place.accounts.check_password(&romeo, PASSWORD).await.unwrap(), "as it was");
    let mut stranger = Stranger::at(&place).await;
    for empty in
        ["<query xmlns='jabber:iq:register'/>", "<query xmlns='jabber:iq:register'><username>x</username></query>"]
    {
        assert_eq!(stranger.set(empty).await, "not-acceptable");
    }
    assert_eq!(stranger.set("<other xmlns='jabber:iq:register'/>").await, "feature-not-implemented");
}

#[tokio::test]
async fn abuse_a047_a_name_of_mixed_scripts_is_refused() {
    let place = Place::open();
    assert_eq!(Stranger::at(&place).await.register("аlice", PASSWORD).await, "not-acceptable");
    let lax = Place::with(|sign_up| sign_up.one_script = false);
    assert_eq!(Stranger::at(&lax).await.register("аlice", PASSWORD).await, "result");
    assert_eq!(Stranger::at(&lax).await.register("аdmin", PASSWORD).await, "not-acceptable", "reserved, as it looks");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_register_one_name_at_once_one_wins() {
    let place = Arc::new(Place::open());
    let racing: Vec<_> = (0..8)
        .map(|number| {
            let place = Arc::clone(&place);
            tokio::spawn(async move {
                let mut stranger = Stranger::at(&place).await;
                (stranger.register("paris", &format!("password{number}")).await, number)
            })
        })
        .collect();
    let (mut won, mut lost) = (Vec::new(), 0);
    for one in racing {
        match one.await.unwrap() {
            (outcome, number) if outcome == "result" => won.push(number),
            (outcome, _) => {
                assert_eq!(outcome, "conflict");
                lost += 1;
            }
        }
    }
    assert_eq!((won.len(), lost), (1, 7));
    assert!(place.accounts.check_password(&jid("paris@localhost"), &format!("password{}", won[0])).await.unwrap());
}

#[tokio::test]
async fn abuse_a094_a_flood_of_registrations_is_bounded() {
    let place = Place::with(|sign_up| sign_up.attempts_per_address = 5);
    let mut outcomes = Vec::new();
    for number in 0..8 {
        outcomes.push(Stranger::at(&place).await.register(&format!("bot{number}"), PASSWORD).await);
    }
    assert_eq!(outcomes.iter().filter(|one| *one == "result").count(), 5);
    assert!(outcomes[5..].iter().all(|one| one == "not-acceptable"), "{outcomes:?}");
    // Whether a name is taken costs an attempt as well, and after them nobody is told.
    assert_eq!(Stranger::at(&place).await.register("romeo", PASSWORD).await, "not-acceptable");

    let place = Place::with(|sign_up| sign_up.accounts = 2);
    for (name, outcome) in [("romeo", "conflict"), ("a", "result"), ("b", "result"), ("c", "resource-constraint")] {
        assert_eq!(Stranger::at(&place).await.register(name, PASSWORD).await, outcome, "{name}");
    }
    assert!(!place.knows("c@localhost").await);
    let token = place.contact_token().await;
    let mut invited = Stranger::at(&place).await;
    assert_eq!((invited.show(&token).await, invited.register("c", PASSWORD).await), ("result".into(), "result".into()));
}

#[tokio::test]
async fn abuse_a094_nothing_of_an_account_changes_before_the_login() {
    let place = Place::open();
    for from in ["romeo@localhost", "romeo@localhost/x", "localhost"] {
        let mut stranger = Stranger::at(&place).await;
        let forged = |payload: &str| {
            format!("<iq type='set' id='f' from='{from}'><query xmlns='{REGISTER}'>{payload}</query></iq>")
        };
        stranger.raw.send(&forged("<remove/>")).await;
        assert!(stranger.raw.until("</iq>").await.contains("<unexpected-request "));
        stranger.raw.send(&forged(&fields("romeo", "another password"))).await;
        assert!(stranger.raw.until("</iq>").await.contains("<conflict "));
    }
    assert!(place.accounts.check_password(&jid("romeo@localhost"), PASSWORD).await.unwrap());
}

#[tokio::test]
async fn abuse_a040_where_no_account_is_needed_none_is_registered() {
    let place = Place::open();
    let mut raw = Raw::memory(&place.server);
    raw.send(&HEADER.replace("localhost", "anon.localhost")).await;
    assert!(!raw.until("</stream:features>").await.contains("register"));
    raw.send(&format!("<iq type='get' id='1'><query xmlns='{REGISTER}'/></iq>")).await;
    raw.ends_with("not-authorized").await;
}

#[tokio::test]
async fn xep0445_4_who_is_invited_registers_and_nobody_else() {
    let place = Place::invited();
    let mut stranger = Stranger::at(&place).await;
    assert_eq!(outcome(&stranger.ask("get", &format!("<query xmlns='{REGISTER}'/>")).await), "not-allowed");
    assert_eq!(stranger.register("mercutio", PASSWORD).await, "not-allowed");
    assert_eq!(stranger.show("guessed").await, "item-not-found");
    assert_eq!(stranger.register("mercutio", PASSWORD).await, "not-allowed");

    let token = place.contact_token().await;
    assert_eq!(stranger.show(&token).await, "result");
    assert_eq!(outcome(&stranger.ask("get", &format!("<query xmlns='{REGISTER}'/>")).await), "result");
    // §4: it is not used until the registration has succeeded.
    assert_eq!(stranger.register("romeo", PASSWORD).await, "conflict");
    assert_eq!(stranger.register("mercutio", "short").await, "not-acceptable");
    let mut juliet = Device::new(&place.server, "juliet@localhost/balcony").await;
    assert_eq!(stranger.register("mercutio", PASSWORD).await, "result");
    // XEP-0401 §5.5.
    assert_eq!(juliet.seen().await, ["push mercutio@localhost both"]);
    let mut mercutio = Device::new(&place.server, "mercutio@localhost/x").await;
    assert_eq!(mercutio.roster().await.0, ["juliet@localhost both"]);
    assert_eq!(juliet.seen().await, ["available mercutio@localhost/x"]);
    assert_eq!(Stranger::at(&place).await.show(&token).await, "item-not-found", "used");
}

#[tokio::test]
async fn abuse_a093_an_invitation_that_has_expired_or_is_for_something_else_lets_nobody_in() {
    let place = Place::invited();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let good = Invitation {
        inviter: Some(jid("juliet@localhost")),
        domain: "localhost".into(),
        account: None,
        register: true,
        contact: true,
        expires: now + 1_000,
    };
    for (token, invitation) in [
        ("expired", Invitation { expires: now, ..good.clone() }),
        ("elsewhere", Invitation { domain: "other.localhost".into(), ..good.clone() }),
        ("no-account", Invitation { register: false, ..good.clone() }),
    ] {
        place.store.add(&InvitationKey::of(token), &invitation, now, 100).await.unwrap();
        let mut stranger = Stranger::at(&place).await;
        assert_eq!(stranger.show(token).await, "item-not-found", "{token}");
        assert_eq!(stranger.register("mercutio", PASSWORD).await, "not-allowed", "{token}");
    }
    // §4: the time is judged once. Here it passes between the two requests.
    let key = InvitationKey::of("brief");
    place.store.add(&key, &good, now, 100).await.unwrap();
    let mut stranger = Stranger::at(&place).await;
    assert_eq!(stranger.show("brief").await, "result");
    place.store.finish(&key).await.unwrap();
    place.store.add(&key, &Invitation { expires: now - 1, ..good }, now, 100).await.unwrap();
    assert_eq!(Stranger::at(&place).await.show("brief").await, "item-not-found");
    assert_eq!(stranger.register("mercutio", PASSWORD).await, "result");
}

#[tokio::test]
async fn abuse_a093_an_invitation_to_a_name_is_for_that_name_and_keeps_it_free() {
    let place = Place::open();
    let account = jid("admin@localhost");
    let issued = place.invitations.invite_account("localhost", Some(&account), None, false).await.unwrap();
    let token = issued.uri.token.clone().unwrap();
    assert_eq!(issued.uri.to_string(), format!("xmpp:admin@localhost?register;preauth={token}"));
    assert!(token.len() * 6 >= 128, "128 bits at least");
    let free = jid("ophelia@localhost");
    place.invitations.invite_account("localhost", Some(&free), None, false).await.unwrap();
    assert_eq!(Stranger::at(&place).await.register("ophelia", PASSWORD).await, "conflict", "kept free");
    let mut invited = Stranger::at(&place).await;
    assert_eq!(invited.show(&token).await, "result");
    let asked = invited.ask("get", &format!("<query xmlns='{REGISTER}'/>")).await;
    let name = asked.root().child("query", REGISTER).unwrap().child("username", REGISTER).unwrap();
    assert_eq!(name.text(), "admin");
    for other in ["ophelia", "mercutio"] {
        assert_eq!(invited.register(other, PASSWORD).await, "not-acceptable", "{other}");
    }
    assert_eq!(invited.register("admin", PASSWORD).await, "result");
    assert!(place.knows("admin@localhost").await && !place.knows("mercutio@localhost").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn abuse_a093_of_many_who_use_one_invitation_at_once_one_wins() {
    let place = Arc::new(Place::invited());
    let token = place.contact_token().await;
    let mut strangers = Vec::new();
    for _ in 0..6 {
        let mut stranger = Stranger::at(&place).await;
        assert_eq!(stranger.show(&token).await, "result");
        strangers.push(stranger);
    }
    let racing: Vec<_> = strangers
        .into_iter()
        .enumerate()
        .map(|(number, mut stranger)| {
            tokio::spawn(async move { stranger.register(&format!("twin{number}"), PASSWORD).await })
        })
        .collect();
    let mut won = 0;
    for one in racing {
        match one.await.unwrap().as_str() {
            "result" => won += 1,
            other => assert_eq!(other, "not-allowed"),
        }
    }
    assert_eq!(won, 1);
    let mut there = 0;
    for number in 0..6 {
        there += usize::from(place.knows(&format!("twin{number}@localhost")).await);
    }
    assert_eq!(there, 1);
}

#[tokio::test]
async fn xep0379_3_a_request_with_a_token_makes_contacts_once() {
    let place = Place::open();
    let token = place.contact_token().await;
    let mut juliet = Device::new(&place.server, "juliet@localhost/balcony").await;
    let mut romeo = Device::new(&place.server, "romeo@localhost/orchard").await;
    let request = |token: &str| {
        format!(
            "<presence type='subscribe' to='juliet@localhost'><preauth xmlns='urn:xmpp:pars:0' token='{token}'/></presence>"
        )
    };
    // §3.4: the contact approves beforehand.
    romeo.presence("subscribed", "juliet@localhost").await;
    romeo.send(&request(&token)).await;
    let hers = juliet.seen().await;
    assert!(!hers.iter().any(|seen| seen.starts_with("subscribe ")), "she is not asked: {hers:?}");
    assert_eq!(juliet.roster().await.0, ["romeo@localhost both"]);
    romeo.seen().await;
    assert_eq!(romeo.roster().await.0, ["juliet@localhost both approved"]);

    // Once; then it is a request as any other (§4.1).
    place.accounts.set_password(jid("paris@localhost"), PASSWORD);
    let mut paris = Device::new(&place.server, "paris@localhost/x").await;
    juliet.seen().await;
    paris.send(&request(&token)).await;
    assert_eq!(juliet.seen().await, ["subscribe paris@localhost"]);
    assert_eq!(juliet.roster().await.0, ["romeo@localhost both"]);
}

#[tokio::test]
async fn xep0379_4_1_a_token_of_somebody_else_is_ignored_and_not_used_up() {
    let place = Place::open();
    let token = place.contact_token().await;
    let request = |to: &str| {
        format!("<presence type='subscribe' to='{to}'><preauth xmlns='urn:xmpp:pars:0' token='{token}'/></presence>")
    };
    let mut juliet = Device::new(&place.server, "juliet@localhost/balcony").await;
    let mut romeo = Device::new(&place.server, "romeo@localhost/orchard").await;
    juliet.send(&request("romeo@localhost")).await;
    assert_eq!(romeo.seen().await, ["subscribe juliet@localhost"]);
    assert!(romeo.roster().await.0.is_empty());
    romeo.presence("unsubscribed", "juliet@localhost").await;
    // It is still good, without an approval beforehand too: then it takes one answer.
    romeo.send(&request("juliet@localhost")).await;
    assert!(romeo.seen().await.contains(&"subscribe juliet@localhost".to_owned()));
    romeo.presence("subscribed", "juliet@localhost").await;
    romeo.seen().await;
    assert_eq!(romeo.roster().await.0, ["juliet@localhost both"]);
    juliet.seen().await;
    assert_eq!(juliet.roster().await.0, ["romeo@localhost both"]);
}

async fn execute(device: &mut Device, node: &str, more: &str) -> Stanza {
    device
        .send(&format!(
            "<iq type='set' id='c' to='localhost'><command xmlns='http://jabber.org/protocol/commands' node='urn:xmpp:invite#{node}' {more}</iq>"
        ))
        .await;
    loop {
        let stanza = device.next().await;
        if stanza.root().attr("id").as_deref() == Some("c") {
            return stanza;
        }
    }
}

fn value(stanza: &Stanza, var: &str) -> Option<String> {
    let command = stanza.root().child("command", "http://jabber.org/protocol/commands").unwrap();
    let form = command.child("x", "jabber:x:data").unwrap();
    let field = form.children().find(|field| field.attr("var").as_deref() == Some(var))?;
    field.child("value", "jabber:x:data").map(|value| value.text().into_owned())
}

#[tokio::test]
async fn xep0401_5_users_invite_and_admins_offer_accounts() {
    let place = Place::invited();
    let mut romeo = Device::new(&place.server, "romeo@localhost/x").await;
    let invited = execute(&mut romeo, "invite", "action='execute'/>").await;
    let uri = value(&invited, "uri").unwrap();
    let token =
        uri.strip_prefix("xmpp:romeo@localhost?roster;preauth=").unwrap().strip_suffix(";ibr=y").unwrap().to_owned();
    assert_eq!(value(&invited, "FORM_TYPE").as_deref(), Some("urn:xmpp:invite#invitation"));
    let landing = format!("https://localhost/invite#xmpp%3Aromeo%40localhost%3Froster%3Bpreauth%3D{token}%3Bibr%3Dy");
    assert_eq!(value(&invited, "landing-url"), Some(landing));
    assert!(value(&invited, "expire").unwrap().ends_with('Z'));
    assert_eq!(Stranger::at(&place).await.show(&token).await, "result");
    // Not without end.
    for _ in 0..2 {
        assert!(value(&execute(&mut romeo, "invite", "action='execute'/>").await, "uri").is_some());
    }
    assert_eq!(
        brief(&execute(&mut romeo, "invite", "action='execute'/>").await),
        "error resource-constraint localhost"
    );
    assert_eq!(brief(&execute(&mut romeo, "create-account", "action='execute'/>").await), "error forbidden localhost");

    let mut juliet = Device::new(&place.server, "juliet@localhost/x").await;
    let asked = execute(&mut juliet, "create-account", "action='execute'/>").await;
    let command = asked.root().child("command", "http://jabber.org/protocol/commands").unwrap();
    let session = command.attr("sessionid").unwrap().into_owned();
    let submit = |name: &str| {
        format!(
            "sessionid='{session}'><x xmlns='jabber:x:data' type='submit'><field var='username'><value>{name}</value></field>\
             <field var='roster-subscription'><value>1</value></field></x></command>"
        )
    };
    for (name, condition) in [("romeo", "conflict"), ("a@b", "bad-request")] {
        let refused = execute(&mut juliet, "create-account", &submit(name)).await;
        assert_eq!(brief(&refused), format!("error {condition} localhost"));
    }
    let offered = value(&execute(&mut juliet, "create-account", &submit("Nurse")).await, "uri").unwrap();
    let token = offered.strip_prefix("xmpp:nurse@localhost?register;preauth=").unwrap();
    let mut nurse = Stranger::at(&place).await;
    assert_eq!((nurse.show(token).await, nurse.register("nurse", PASSWORD).await), ("result".into(), "result".into()));
    assert_eq!(juliet.roster().await.0, ["nurse@localhost both"]);
}

#[tokio::test]
async fn what_a_user_has_invited_to_goes_with_the_account() {
    let place = Place::invited();
    let token = place.contact_token().await;
    let juliet = jid("juliet@localhost");
    place.accounts.remove(&juliet);
    place.server.account_removed(&juliet).await;
    assert_eq!(Stranger::at(&place).await.show(&token).await, "item-not-found");
}

fn client(place: &Place, account: &str) -> ClientBuilder {
    let server = place.server.clone();
    Client::builder(account.parse().unwrap(), PASSWORD).no_reconnect().pipe(move || server.connect_memory())
}

#[tokio::test]
async fn a_client_registers_and_is_told_what_is_wrong() {
    let place = Place::open();
    assert!(matches!(
        registration::register(client(&place, "romeo@localhost"), PASSWORD, None).await,
        Err(RegisterError::Conflict)
    ));
    let refused = registration::register(client(&place, "mercutio@localhost"), "short", None).await;
    assert!(matches!(refused, Err(RegisterError::Refused(_))), "{refused:?}");
    let guessed = registration::register(client(&place, "mercutio@localhost"), PASSWORD, Some("guessed")).await;
    assert!(matches!(guessed, Err(RegisterError::Invitation(_))), "{guessed:?}");
    let nobody = registration::register(client(&place, "localhost"), PASSWORD, None).await;
    assert!(matches!(nobody, Err(RegisterError::NoName(_))), "{nobody:?}");
    registration::register(client(&place, "mercutio@localhost"), PASSWORD, None).await.unwrap();
    let (_client, mut events) = client(&place, "mercutio@localhost").connect().unwrap();
    assert!(matches!(events.next().await, Some(Event::Online { .. })));

    let closed = Place::invited();
    let refused = registration::register(client(&closed, "mercutio@localhost"), PASSWORD, None).await;
    assert!(matches!(refused, Err(RegisterError::Refused(_))), "{refused:?}");
    let server = builder().build().unwrap();
    let pipe = Client::builder("mercutio@localhost".parse().unwrap(), "").pipe(move || server.connect_memory());
    assert!(matches!(registration::register(pipe, PASSWORD, Some("x")).await, Err(RegisterError::NotOffered)));
}

#[tokio::test]
async fn a_client_invites_and_others_accept_with_an_account_and_without() {
    let place = Place::invited();
    let (juliet, mut hers) = client(&place, "juliet@localhost").with(roster::client).connect().unwrap();
    assert!(matches!(hers.next().await, Some(Event::Online { .. })));
    let made = invitation::invite(&juliet).await.unwrap();
    assert!(made.uri.may_register && made.expires.is_some() && made.landing.is_some());
    assert_eq!(made.uri.address.as_str(), "juliet@localhost");
    let token = made.uri.token.as_deref();
    registration::register(client(&place, "mercutio@localhost"), PASSWORD, token).await.unwrap();

    let link = invitation::invite(&juliet).await.unwrap().uri.to_string() + ";name=My%20Juliet";
    let (romeo, mut his) = client(&place, "romeo@localhost").with(roster::client).connect().unwrap();
    assert!(matches!(his.next().await, Some(Event::Online { .. })));
    let roster = romeo.roster().unwrap();
    let mut changes = roster.watch();
    invitation::accept(&romeo, &link.parse().unwrap()).await.unwrap();
    let her = jid("juliet@localhost");
    while roster.get(&her).is_none_or(|item| item.subscription != xmpp_im::roster::Subscription::Both) {
        changes.next().await.unwrap();
    }
    assert_eq!(roster.get(&her).unwrap().name.as_deref(), Some("My Juliet"));
    let offer = "xmpp:localhost?register;preauth=x".parse().unwrap();
    assert!(invitation::accept(&romeo, &offer).await.is_err(), "there is nobody to become a contact of");
}

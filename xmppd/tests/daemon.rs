//! The real program, on free ports of this machine and a folder of its own.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod run;

use run::{Daemon, Scratch, client, next_end, online, open_stream, plain_client};
use rustix::process::Signal;
use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::{Arc, Mutex},
};
use xmpp_core::{
    client::{ClientRegistrar, Component, ConnectionError, Event},
    jid::Jid,
    net::tls::SelfSigned,
    payload::{
        Payload as _,
        caps::Caps,
        disco::{DiscoInfo, DiscoInfoQuery},
        form::{DataForm, Field, FormKind},
    },
    stanza::{Iq, Message},
    stream::StreamCondition,
    xml::Stanza,
};
use xmpp_filetransfer::socks5::Query;
use xmpp_im::{
    invitation::{InvitationAction, InvitationUri},
    registration::{self, RegisterError},
};

#[test]
fn the_first_start_makes_what_is_missing_and_says_how_to_go_on() {
    let scratch = Scratch::new();
    let daemon = Daemon::start(&scratch, &[]);
    for file in ["xmppd.sqlite", "self-signed.crt", "self-signed.key"] {
        assert!(scratch.data().join(file).exists(), "{file}");
    }
    let greeting = &daemon.greeting;
    assert!(greeting.contains("no accounts yet") && greeting.contains("user add NAME@localhost"), "{greeting}");
    assert!(greeting.contains("(STARTTLS)") && greeting.contains("(TLS)"), "{greeting}");
    assert!(greeting.contains("fingerprint"), "{greeting}");
    let certificate = std::fs::read(scratch.data().join("self-signed.crt")).unwrap();
    assert!(daemon.stop().success());

    scratch.user(&["add", "romeo@localhost"], "pw");
    let again = Daemon::start(&scratch, &[]);
    assert!(!again.greeting.contains("no accounts yet"), "{}", again.greeting);
    assert_eq!(std::fs::read(scratch.data().join("self-signed.crt")).unwrap(), certificate);
}

#[test]
fn accounts_are_managed_from_the_command_line() {
    let scratch = Scratch::new();
    let run = |arguments: &[&str], password: &str| {
        let output = scratch.user_output(arguments, password);
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    };
    assert_eq!(run(&["list"], ""), (true, String::new()));
    assert_eq!(run(&["add", "Romeo@LOCALHOST"], "pw\n"), (true, "romeo@localhost is added.\n".into()));
    assert_eq!(run(&["add", "juliet@localhost"], "pw"), (true, "juliet@localhost is added.\n".into()));
    assert_eq!(run(&["list"], ""), (true, "juliet@localhost\nromeo@localhost\n".into()));
    assert_eq!(run(&["list", "example.org"], ""), (true, String::new()));
    for (arguments, password, says) in [
        (&["add", "romeo@localhost"][..], "pw", "exists already"),
        (&["add", "romeo@example.org"], "pw", "example.org is not served here"),
        (&["add", "localhost"], "pw", "no name before an @"),
        (&["add", "tybalt@localhost"], "\n", "a password that is not empty"),
        (&["add", "romeo@localhost/orchard"], "pw", "the address has a resource"),
        (&["passwd", "tybalt@localhost"], "pw", "there is no account tybalt@localhost"),
        (&["del", "tybalt@localhost"], "", "there is no account tybalt@localhost"),
        (&["disable", "tybalt@localhost"], "", "there is no account tybalt@localhost"),
        (&["list", "romeo@localhost"], "", "not a domain"),
    ] {
        let (success, text) = run(arguments, password);
        assert!(!success && text.contains(says), "{arguments:?}: {text}");
    }
    assert_eq!(run(&["passwd", "romeo@localhost"], "new"), (true, "romeo@localhost has a new password.\n".into()));
    assert_eq!(run(&["del", "juliet@localhost"], ""), (true, "juliet@localhost is deleted.\n".into()));
    assert_eq!(run(&["list"], ""), (true, "romeo@localhost\n".into()));
}

#[tokio::test]
async fn users_added_while_it_runs_talk_to_each_other_over_tls_of_both_kinds() {
    let scratch = Scratch::new();
    let daemon = Daemon::start(&scratch, &[]);
    scratch.user(&["add", "romeo@localhost"], "wherefore");
    scratch.user(&["add", "juliet@localhost"], "r0m30");
    let trusted = scratch.root();

    let romeo = client("romeo@localhost", "wherefore", &trusted).server("127.0.0.1", daemon.starttls.port());
    let (romeo, mut romeo_events) = romeo.connect().unwrap();
    let juliet = client("juliet@localhost", "r0m30", &trusted).server_tls("127.0.0.1", daemon.tls.unwrap().port());
    let (_juliet, mut juliet_events) = juliet.connect().unwrap();
    online(&mut romeo_events).await;
    let to = online(&mut juliet_events).await;
    romeo.send(Message::chat(&to).body("hello")).await.unwrap();
    let received = loop {
        match juliet_events.next().await.expect("a message") {
            Event::Message(message) => break message,
            other => eprintln!("{other:?}"),
        }
    };
    assert_eq!(received.body().as_deref(), Some("hello"));

    scratch.user(&["passwd", "romeo@localhost"], "other");
    let stale = client("romeo@localhost", "wherefore", &trusted).server("127.0.0.1", daemon.starttls.port());
    let (_stale, mut events) = stale.no_reconnect().connect().unwrap();
    let error = next_end(&mut events).await;
    assert!(matches!(error, ConnectionError::Negotiation(_)) && error.is_final(), "{error}");
    let fresh = client("romeo@localhost", "other", &trusted).server("127.0.0.1", daemon.starttls.port());
    let (_fresh, mut events) = fresh.connect().unwrap();
    online(&mut events).await;
}

#[tokio::test]
async fn rfc6120_4_9_3_20_a_signal_ends_streams_with_system_shutdown() {
    let scratch = Scratch::new();
    let daemon = Daemon::start(&scratch, &[]);
    scratch.user(&["add", "romeo@localhost"], "pw");
    let romeo = client("romeo@localhost", "pw", &scratch.root()).server("127.0.0.1", daemon.starttls.port());
    let (_romeo, mut events) = romeo.no_reconnect().connect().unwrap();
    online(&mut events).await;
    daemon.signal(Signal::TERM);
    match next_end(&mut events).await {
        ConnectionError::Stream(error) => assert_eq!(error.condition, StreamCondition::SystemShutdown),
        other => panic!("{other}"),
    }
    assert!(daemon.wait().success());
}

#[tokio::test]
async fn a_disabled_account_is_kept_out_of_a_running_server() {
    let scratch = Scratch::new();
    let daemon = Daemon::start(&scratch, &[]);
    scratch.user(&["add", "romeo@localhost"], "pw");
    let romeo = || client("romeo@localhost", "pw", &scratch.root()).server("127.0.0.1", daemon.starttls.port());
    scratch.user(&["disable", "romeo@localhost"], "");
    let (_romeo, mut events) = romeo().no_reconnect().connect().unwrap();
    let error = next_end(&mut events).await.to_string();
    assert!(error.contains("account-disabled"), "{error}");
    scratch.user(&["enable", "romeo@localhost"], "");
    let (_romeo, mut events) = romeo().no_reconnect().connect().unwrap();
    online(&mut events).await;
}

#[tokio::test]
async fn xep0133_4_30_an_admin_shuts_it_down_as_a_signal_does() {
    let scratch = Scratch::new();
    let config = scratch.config("admins = ['queen@localhost']");
    let daemon = Daemon::start(&scratch, &["--config", &config]);
    scratch.user(&["add", "queen@localhost"], "pw");
    let queen = client("queen@localhost", "pw", &scratch.root()).server("127.0.0.1", daemon.starttls.port());
    let (queen, mut events) = queen.no_reconnect().connect().unwrap();
    online(&mut events).await;
    let node = format!("{}#shutdown", xmpp_im::administration::NS);
    let mut shutdown = xmpp_im::command::execute(&queen, &"localhost".parse().unwrap(), &node).await.unwrap();
    let form = DataForm::typed(FormKind::Submit, xmpp_im::administration::NS);
    shutdown.submit(form.with(Field::new("delay").value("0"))).await.unwrap();
    match next_end(&mut events).await {
        ConnectionError::Stream(error) => assert_eq!(error.condition, StreamCondition::SystemShutdown),
        other => panic!("{other}"),
    }
    assert!(daemon.wait().success());
}

#[tokio::test]
async fn xep0115_6_3_the_server_tells_its_capabilities_and_they_are_true() {
    let scratch = Scratch::new();
    let daemon = Daemon::start(&scratch, &[]);
    scratch.user(&["add", "romeo@localhost"], "pw");
    let romeo = client("romeo@localhost", "pw", &scratch.root()).server("127.0.0.1", daemon.starttls.port());
    let offered: Arc<Mutex<Option<Stanza>>> = Arc::default();
    let noted = Arc::clone(&offered);
    let romeo = romeo.with(move |r: &mut ClientRegistrar| {
        r.on_session(move |start, _| *noted.lock().unwrap() = Some(start.features.element().clone()));
    });
    let (romeo, mut events) = romeo.no_reconnect().connect().unwrap();
    online(&mut events).await;
    let told = Caps::read(offered.lock().unwrap().take().unwrap().root().child(Caps::NAME, Caps::NS).unwrap()).unwrap();
    let query = DiscoInfoQuery { node: Some(format!("{}#{}", told.node, told.ver)), ..DiscoInfoQuery::default() };
    let info: DiscoInfo = romeo.query(Iq::get("localhost".parse::<Jid>().unwrap()).payload(&query)).await.unwrap();
    assert_eq!(xmpp_im::caps::ver(&info, "sha-1").unwrap(), Some(told.ver));
}

#[test]
fn a_second_signal_does_not_wait_for_anybody() {
    let scratch = Scratch::new();
    let daemon = Daemon::start(&scratch, &[]);
    // It never closes its end, which the server would give some seconds.
    let (_open, _) = open_stream(daemon.starttls);
    daemon.signal(Signal::INT);
    daemon.wait_for_log("stopping");
    daemon.signal(Signal::INT);
    // In good order it would end with 0.
    assert_eq!(daemon.wait().code(), Some(1));
}

#[tokio::test]
async fn a_hangup_reloads_the_certificate_and_keeps_the_old_one_if_it_cannot() {
    let scratch = Scratch::new();
    let write = |made: &SelfSigned| {
        std::fs::write(scratch.path("a.crt"), &made.certificate_pem).unwrap();
        std::fs::write(scratch.path("a.key"), &made.key_pem).unwrap();
        made.certificate_pem.clone().into_bytes()
    };
    let old = write(&SelfSigned::generate(&["localhost"], 1).unwrap());
    let config = scratch.config("[tls]\ncertificate = 'a.crt'\nkey = 'a.key'\n");
    let daemon = Daemon::start(&scratch, &["--config", &config]);
    scratch.user(&["add", "romeo@localhost"], "pw");
    let log_in = async |root: &[u8]| {
        let romeo = client("romeo@localhost", "pw", root).server("127.0.0.1", daemon.starttls.port());
        let (_romeo, mut events) = romeo.no_reconnect().connect().unwrap();
        match events.next().await {
            Some(Event::Online { .. }) => true,
            Some(Event::Offline { .. }) => false,
            other => panic!("{other:?}"),
        }
    };
    assert!(log_in(&old).await);

    let new = write(&SelfSigned::generate(&["localhost"], 1).unwrap());
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("the certificate was read again");
    assert!(log_in(&new).await && !log_in(&old).await);

    std::fs::write(scratch.path("a.key"), "no key").unwrap();
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("cannot reload");
    assert!(log_in(&new).await);

    // ABUSE A097.
    scratch.config("domains = [");
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("is not usable");
    assert!(log_in(&new).await);
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn plaintext_must_be_asked_for() {
    let scratch = Scratch::new();
    scratch.user(&["add", "romeo@localhost"], "pw");
    let config = scratch.config("plaintext = true\n[tls]\nenabled = false\n[listen]\nc2s = ['127.0.0.1:0']\n");
    let daemon = Daemon::start_plain(&scratch, &["--config", &config]);
    let (_open, features) = open_stream(daemon.starttls);
    assert!(features.contains("SCRAM-SHA-256<") && !features.contains("starttls"), "{features}");
    assert!(daemon.greeting.contains("(no TLS)") && daemon.tls.is_none(), "{}", daemon.greeting);
    let (_romeo, mut events) = plain_client("romeo@localhost", "pw", daemon.starttls.port());
    online(&mut events).await;
    assert!(daemon.stop().success());

    let strict = Daemon::start(&scratch, &[]);
    let (_open, features) = open_stream(strict.starttls);
    assert!(features.contains("<required/>") && !features.contains("mechanism"), "{features}");
}

#[tokio::test]
async fn browsers_are_listened_for() {
    let scratch = Scratch::new();
    scratch.user(&["add", "romeo@localhost"], "pw");
    let daemon = Daemon::start(&scratch, &["--https", "127.0.0.1:0"]);
    let place = daemon.greeting.lines().find_map(|line| line.trim_start().strip_prefix("browsers"));
    let place = place.unwrap_or_else(|| panic!("{}", daemon.greeting)).trim_start();
    let port = place.strip_prefix("https://127.0.0.1:").and_then(|rest| rest.split('/').next()).unwrap();
    let root = std::fs::read(scratch.data().join("self-signed.crt")).unwrap();
    let romeo = client("romeo@localhost", "pw", &root).websocket(format!("wss://localhost:{port}/xmpp-websocket"));
    let (romeo, mut events) = romeo.no_reconnect().connect().unwrap();
    online(&mut events).await;
    assert!(romeo.close().await);
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn for_measurements_every_name_has_one_password_on_loopback_only() {
    let scratch = Scratch::new();
    let text = "plaintext = true\nany_user_password = 'secret'\ntls.enabled = false\nlisten.c2s = ['127.0.0.1:0']";
    let config = scratch.config(text);
    let daemon = Daemon::start_plain(&scratch, &["--config", &config]);
    for account in ["u0@localhost", "u99@localhost"] {
        let (_client, mut events) = plain_client(account, "secret", daemon.starttls.port());
        online(&mut events).await;
    }
    let (_client, mut events) = plain_client("u0@localhost", "guess", daemon.starttls.port());
    assert!(next_end(&mut events).await.is_final());

    let config = scratch.config("any_user_password = 'secret'\nlisten.c2s = ['0.0.0.0:0']");
    let (_, text) = scratch.fails_bare(&["--config", &config]);
    assert!(text.contains("loopback"), "{text}");
}

#[tokio::test]
async fn abuse_a096_passwords_are_in_no_log() {
    let scratch = Scratch::new();
    let daemon = Daemon::start_with_log(&scratch, "trace");
    scratch.user(&["add", "romeo@localhost"], "m0ntague-secret");
    for password in ["m0ntague-secret", "wr0ng-secret"] {
        let romeo = client("romeo@localhost", password, &scratch.root()).server("127.0.0.1", daemon.starttls.port());
        let (_romeo, mut events) = romeo.no_reconnect().connect().unwrap();
        events.next().await.unwrap();
    }
    daemon.wait_for_log("session bound");
    daemon.wait_for_log("login failed");
    let log = daemon.log();
    // Also not in the base64 of a SASL message: any alignment of "secret" in it would be one of these.
    for trace in ["secret", "c2VjcmV0", "zZWNyZX", "NlY3Jld"] {
        assert!(!log.contains(trace), "{trace} is in: {log}");
    }
}

#[test]
fn a_port_in_use_is_named() {
    let scratch = Scratch::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, text) = scratch.fails(&["--c2s", &address]);
    assert_eq!(code, Some(1));
    assert!(text.contains(&format!("cannot listen on {address}: another program")) && text.contains("--c2s"), "{text}");
}

#[test]
fn what_cannot_be_used_gets_a_sentence() {
    let scratch = Scratch::new();
    for (config, says) in [
        ("domians = []", "unknown field `domians`"),
        ("log = 'all=of=it'", "is no log level"),
        ("[tls]\ncertificate = 'missing.crt'\nkey = 'missing.key'", "missing.crt"),
        ("[listen]\nc2s = []", "nothing to listen on"),
        ("data = '/dev/null/data'", "cannot make the data folder"),
    ] {
        let path = scratch.config(config);
        let (code, text) = scratch.fails_bare(&["--config", &path]);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(says), "{config}: {text}");
    }
    let (code, text) = scratch.fails_bare(&["--config", "/nowhere/xmppd.toml"]);
    assert!(code == Some(1) && text.contains("cannot read the configuration /nowhere/xmppd.toml"), "{text}");
    let (code, text) = scratch.fails_bare(&["--c2s", "5222"]);
    assert!(code == Some(2) && text.contains("invalid socket address"), "{text}");
}

#[test]
fn config_init_writes_what_starts_and_overwrites_nothing() {
    let scratch = Scratch::new();
    let path = scratch.path("made.toml").display().to_string();
    assert!(scratch.run(&["config", "init", &path]).status.success());
    let printed = scratch.run(&["config", "init"]).stdout;
    assert_eq!(std::fs::read(&path).unwrap(), printed);
    assert!(Daemon::start(&scratch, &["--config", &path]).stop().success());
    let again = scratch.run(&["config", "init", &path]);
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("cannot write"));
}

#[test]
fn the_route_is_printed_without_touching_anything() {
    let scratch = Scratch::new();
    let output = scratch.run(&["route", "--data", &scratch.data().display().to_string()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.ends_with("Undelivered: im:offline\nUndelivered: im:archived\n"), "{text}");
    assert!(!scratch.data().exists());
}

#[tokio::test]
async fn a_socket_that_is_handed_over_waits_while_the_server_starts_again() {
    let scratch = Scratch::new();
    scratch.user(&["add", "romeo@localhost"], "pw");
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let path = scratch.config(&format!("plaintext = true\ntls.enabled = false\n[listen]\nc2s = ['{address}']"));
    let arguments = ["--config", path.as_str()];
    let daemon = Daemon::start_with_socket(&scratch, &arguments, &socket);
    assert_eq!(daemon.starttls, address);
    let (_romeo, mut events) = plain_client("romeo@localhost", "pw", address.port());
    online(&mut events).await;
    assert!(daemon.stop().success());
    let ConnectionError::Stream(error) = next_end(&mut events).await else { panic!("no stream error") };
    assert_eq!(error.condition, StreamCondition::SystemShutdown);

    // There is no server, and nobody is refused.
    let (_romeo, mut events) = plain_client("romeo@localhost", "pw", address.port());
    let daemon = Daemon::start_with_socket(&scratch, &arguments, &socket);
    online(&mut events).await;
    assert!(daemon.stop().success());
}

#[test]
fn a_socket_that_nobody_listens_on_is_an_error() {
    let scratch = Scratch::new();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let error = scratch.fails_with_socket(&["--c2s", "127.0.0.1:0"], &socket);
    assert!(error.contains("[listen] does not name that address"), "{error}");
}

#[tokio::test]
async fn clients_are_sent_to_the_host_that_takes_over() {
    let scratch = Scratch::new();
    scratch.user(&["add", "romeo@localhost"], "pw");
    let path = scratch.config("plaintext = true\nshutdown_seconds = 5\nshutdown_to = 'other.localhost:5222'");
    let daemon = Daemon::start(&scratch, &["--config", &path]);
    let (_romeo, mut events) = plain_client("romeo@localhost", "pw", daemon.starttls.port());
    online(&mut events).await;
    assert!(daemon.stop().success());
    let ConnectionError::Stream(error) = next_end(&mut events).await else { panic!("no stream error") };
    assert_eq!(error.condition, StreamCondition::SeeOtherHost("other.localhost:5222".into()));
}

#[tokio::test]
async fn a_component_connects_with_the_secret_of_the_configuration() {
    let scratch = Scratch::new();
    let component = "[listen]\nc2s = ['127.0.0.1:0']\ncomponents = ['127.0.0.1:0']\n\
                     [[component]]\ndomain = 'irc.localhost'\nsecret = 'swordfish'\n";
    let daemon = Daemon::start_plain(&scratch, &["--config", &scratch.config(component)]);
    let place = daemon.greeting.lines().find_map(|line| line.trim_start().strip_prefix("components")).unwrap();
    let place: std::net::SocketAddr = place.trim().parse().unwrap();
    let builder = Component::builder("irc.localhost".parse().unwrap(), "swordfish").server("127.0.0.1", place.port());
    let (component, _events) = builder.no_reconnect().connect().unwrap();
    assert!(component.online().await);
    let host = "localhost".parse::<xmpp_core::jid::Jid>().unwrap();
    component.request(Iq::get(host).payload(&xmpp_core::payload::ping::Ping)).await.unwrap();
    assert!(component.close().await);
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn xep0065_4_a_relay_is_there_where_one_listens() {
    let scratch = Scratch::new();
    scratch.user(&["add", "romeo@localhost"], "pw");
    let configured = "plaintext = true\ntls.enabled = false\n[listen]\nc2s = ['127.0.0.1:0']\n[proxy]\nlisten = ['127.0.0.1:0']\nhost = '127.0.0.1'\n";
    let daemon = Daemon::start_plain(&scratch, &["--config", &scratch.config(configured)]);
    let (client, mut events) = plain_client("romeo@localhost", "pw", daemon.starttls.port());
    online(&mut events).await;
    let relay: Jid = "proxy.localhost".parse().unwrap();
    let info: DiscoInfo = client.query(Iq::get(relay.clone()).payload(&DiscoInfoQuery::default())).await.unwrap();
    assert!(info.has_identity("proxy", "bytestreams"));
    let answer: Query = client.query(Iq::get(relay).payload(&Query::default())).await.unwrap();
    let [host] = answer.hosts.as_slice() else { panic!("{answer:?}") };
    let mut socket = std::net::TcpStream::connect((host.host.as_str(), host.port)).unwrap();
    socket.write_all(&[5, 1, 0]).unwrap();
    let mut method = [0; 2];
    socket.read_exact(&mut method).unwrap();
    assert_eq!(method, [5, 0]);
    assert!(client.close().await && daemon.stop().success());
}

#[tokio::test]
async fn who_has_a_link_of_the_command_line_registers_once_under_tls() {
    let scratch = Scratch::new();
    let config = scratch.config(&format!(
        "data = {:?}\nlog = 'trace'\nregistration.open_to = 'invited'\naccount.remove = true\n[listen]\nc2s = ['127.0.0.1:0']",
        scratch.data()
    ));
    let daemon = Daemon::start_plain(&scratch, &["--config", &config]);
    let port = daemon.starttls.port();
    let (_stream, features) = open_stream(daemon.starttls);
    assert!(!features.contains("register"), "not in the open: {features}");
    let output = scratch.run(&["invite", "mercutio@localhost", "--config", &config]);
    let told = String::from_utf8(output.stdout).unwrap();
    let link: InvitationUri = told.lines().next().unwrap().parse().unwrap_or_else(|error| panic!("{error}: {told}"));
    assert!(link.action == InvitationAction::Register && link.address.as_str() == "mercutio@localhost", "{told}");
    let trusted = scratch.root();
    let builder = |account: &str| client(account, "", &trusted).server("127.0.0.1", port);
    let uninvited = registration::register(builder("tybalt@localhost"), "prince of cats", None).await;
    assert!(matches!(uninvited, Err(RegisterError::Refused(_))), "{uninvited:?}");
    let token = link.token.unwrap();
    registration::register(builder("mercutio@localhost"), "queen mab", Some(&token)).await.unwrap();
    let again = registration::register(builder("tybalt@localhost"), "prince of cats", Some(&token)).await;
    assert!(matches!(again, Err(RegisterError::Invitation(_))), "{again:?}");
    let (mercutio, mut events) =
        client("mercutio@localhost", "queen mab", &trusted).server("127.0.0.1", port).connect().unwrap();
    online(&mut events).await;
    registration::remove_account(&mercutio).await.unwrap();
    let log = daemon.log();
    assert!(!log.contains(&token) && !log.contains("queen mab"), "{log}");

    for (arguments, says) in [
        (["invite", "mercutio@elsewhere.example", "--config", &config].as_slice(), "is not served here"),
        (["invite"].as_slice(), "registration.open_to"),
    ] {
        let (_, said) = scratch.fails_bare(arguments);
        assert!(said.contains(says), "{said}");
    }
}

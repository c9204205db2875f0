//! A tour: an XMPP server and two clients in one process, talking over TLS, with each step told as it happens.
//!
//! `cargo run --release --example tour`

use std::{error::Error, time::Duration};
use tokio::time::{Instant, timeout};
use xmpp_core::{
    client::{Client, Event, Events},
    jid::{BareJid, FullJid, Jid},
    net::{ClientTls, ServerTls, tls::SelfSigned},
    payload::{
        disco::{DiscoInfo, DiscoInfoQuery},
        ping::Ping,
        version::{Version, VersionQuery},
    },
    server::{MemoryAccounts, Server},
    stanza::{Iq, Message, Presence},
};

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    say("A server", "for the domain localhost, with a certificate of its own making and two accounts.");
    let certificate = SelfSigned::generate(&["localhost"], 1)?;
    let accounts = MemoryAccounts::new();
    for name in ["juliet", "romeo"] {
        accounts.set_password(BareJid::new(&format!("{name}@localhost"))?, "wherefore");
    }
    let server = Server::builder("localhost")
        .accounts(accounts)
        .tls(ServerTls::single(certificate.certificate_key)?)
        .with(xmpp_im::roster::server(xmpp_im::roster::MemoryRosters::new()))
        .with(xmpp_im::delivery::server)
        .build()?;
    let address = server.listen("127.0.0.1:0".parse()?).await?;
    tell(&format!("It listens on {address}. What a stanza passes on its way through it:"));
    for station in server.route_names() {
        tell(&format!("  {station}"));
    }

    say("Two clients", "connect, begin TLS, check the certificate, and prove their passwords without sending them.");
    let tls = ClientTls::builder().add_root_pem(certificate.certificate_pem.as_bytes())?.only_roots().build()?;
    let join = |name: &str| {
        let jid: Jid = format!("{name}@localhost/tour").parse()?;
        let builder = Client::builder(jid, "wherefore").tls(tls.clone()).server("127.0.0.1", address.port());
        Outcome::Ok(builder.connect()?)
    };
    let start = Instant::now();
    let (juliet, mut hers) = join("juliet")?;
    let (romeo, mut his) = join("romeo")?;
    let her_jid = online(&mut hers).await?;
    let his_jid = online(&mut his).await?;
    tell(&format!("Both are in after {} ms.", start.elapsed().as_millis()));

    say("Presence", "Each announces itself; Romeo shows his presence to Juliet.");
    juliet.send(Presence::available().status("at the window")).await?;
    romeo.send(Presence::available()).await?;
    romeo.send(Presence::available().to(her_jid.clone()).status("in the orchard")).await?;
    loop {
        let presence = match next(&mut hers).await? {
            Event::Presence(presence) => presence,
            _ => continue,
        };
        if presence.from().is_some_and(|from| from.bare_str() == his_jid.bare_str()) {
            tell(&format!("Juliet sees {his_jid}: {}", presence.status().unwrap_or_default()));
            break;
        }
    }

    say("Messages", "by the bare address, which finds whatever device is there, and by the full one.");
    romeo.send(Message::chat(her_jid.to_bare()).body("But soft! What light through yonder window breaks?")).await?;
    let message = message(&mut hers).await?;
    tell(&format!("Juliet reads: {}", message.body().unwrap_or_default()));
    if let Some(reply) = message.reply() {
        juliet.send(reply.body("How cam’st thou hither, tell me, and wherefore?")).await?;
    }
    tell(&format!("Romeo reads:  {}", self::message(&mut his).await?.body().unwrap_or_default()));

    say("Questions", "to the server and to each other, with typed answers.");
    let domain: Jid = "localhost".parse()?;
    let info: DiscoInfo = juliet.query(Iq::get(domain.clone()).payload(&DiscoInfoQuery::default())).await?;
    tell(&format!("The server knows {} protocols, {} among them.", info.features.len(), "urn:xmpp:ping"));
    let version: Version = romeo.query(Iq::get(domain).payload(&VersionQuery)).await?;
    tell(&format!("It is {} {}.", version.name, version.version));
    let start = Instant::now();
    romeo.request(Iq::get(her_jid).payload(&Ping)).await?;
    tell(&format!("A ping from Romeo to Juliet and back takes {} µs.", start.elapsed().as_micros()));

    say("Good night", "The clients close their streams, the server stops.");
    juliet.close().await;
    romeo.close().await;
    server.shutdown(Duration::from_secs(5)).await;
    tell(&format!("{} logins, {} failures.", server.stats().logins, server.stats().failures));
    Ok(())
}

fn say(title: &str, text: &str) {
    println!("\n{title}\n  {text}");
}

fn tell(text: &str) {
    println!("  {text}");
}

async fn next(events: &mut Events) -> Outcome<Event> {
    let event = timeout(Duration::from_secs(60), events.next()).await?;
    match event.ok_or("the client has ended")? {
        Event::Offline { error, .. } => Err(error.into()),
        event => Ok(event),
    }
}

async fn online(events: &mut Events) -> Outcome<FullJid> {
    match next(events).await? {
        Event::Online { jid, mechanism, .. } => {
            tell(&format!("{jid} is online, by {}.", mechanism.map_or("a mechanism of its own", |used| used.name())));
            Ok(jid)
        }
        other => Err(format!("not online: {other:?}").into()),
    }
}

async fn message(events: &mut Events) -> Outcome<Message> {
    loop {
        if let Event::Message(message) = next(events).await? {
            return Ok(message);
        }
    }
}

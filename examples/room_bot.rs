//! A bot in a room: it greets who comes, answers `!commands`, and comes back after a lost connection or a kick.
//!
//! `cargo run -p xmpp-muc --example room_bot -- bot@example.org secret tea@rooms.example.org`; `host:port` and the path of
//! a certificate to trust can follow, for a server of one's own.

use std::time::Duration;
use xmpp_core::{
    client::{Client, Event},
    jid::BareJid,
    net::ClientTls,
};
use xmpp_muc::client::{History, MucClient, Room, RoomEvent};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(jid), Some(password), Some(room)) = (args.next(), args.next(), args.next()) else {
        return Err("usage: room_bot JID PASSWORD ROOM [HOST:PORT [CERTIFICATE.pem]]".into());
    };
    let mut builder = Client::builder(jid.parse()?, password).with(xmpp_muc::client);
    if let Some((host, port)) = args.next().as_deref().and_then(|place| place.rsplit_once(':')) {
        builder = builder.server(host, port.parse()?);
    }
    if let Some(path) = args.next() {
        builder = builder.tls(ClientTls::builder().add_root_pem(&std::fs::read(path)?)?.only_roots().build()?);
    }
    let (client, mut connection) = builder.connect()?;
    tokio::spawn(async move {
        while let Some(event) = connection.next().await {
            if let Event::Offline { error, .. } = event {
                eprintln!("offline: {error}");
            }
        }
    });

    let room = BareJid::new(&room)?;
    let (room, mut events) = client.muc()?.join(room, "bot").or_numbered(9).history(History::None).await?;
    println!("I am {} among {}", room.nick(), room.occupants().len());
    while let Some(event) = events.next().await {
        match event {
            RoomEvent::Arrived(who) => say(&room, format!("Welcome, {}!", who.nick)).await,
            RoomEvent::Message(message) if !message.is_mine && !message.is_history() => {
                let body = message.body().unwrap_or_default();
                if let Some(answer) = body.strip_prefix('!').and_then(|command| answer(&room, command)) {
                    say(&room, answer).await;
                }
            }
            RoomEvent::Removed(removal) => {
                eprintln!("{:?} by {:?}: {:?}", removal.why, removal.by, removal.reason);
                if !removal.may_return() {
                    break;
                }
                tokio::time::sleep(Duration::from_secs(10)).await;
                room.rejoin().await?;
            }
            RoomEvent::Lost(loss) => eprintln!("lost the room: {loss:?}"),
            RoomEvent::Rejoined(entry) => println!("back as {}", entry.nick),
            RoomEvent::GaveUp(error) => return Err(error.into()),
            _ => {}
        }
    }
    client.close().await;
    Ok(())
}

fn answer(room: &Room, command: &str) -> Option<String> {
    match command.split_once(' ').unwrap_or((command, "")) {
        ("ping", _) => Some("pong".to_owned()),
        ("echo", text) => Some(text.to_owned()),
        ("who", _) => Some(room.occupants().iter().map(|one| one.nick.as_str()).collect::<Vec<_>>().join(", ")),
        _ => None,
    }
}

/// What cannot be said now is not worth more than a line.
async fn say(room: &Room, text: String) {
    if let Err(error) = room.send(text).await {
        eprintln!("not said: {error}");
    }
}

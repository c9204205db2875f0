//! A small client for one conversation: what is typed is sent, what comes is shown, what was missed is fetched.
//!
//! `cargo run --example chat -- juliet@example.org secret romeo@example.net`; `host:port` and the path of a certificate
//! to trust can follow, for a server of one's own. `/fix TEXT` corrects the last message, `/take` takes it back.

use std::io::BufRead;
use tokio::sync::mpsc;
use xmpp_core::{
    client::{Client, Event},
    jid::BareJid,
    net::ClientTls,
    stanza::Presence,
};
use xmpp_im::{
    archive::Since,
    chat::{self, ChatClient, ChatEvent, ChatEventKind, ChatSettings},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(jid), Some(password), Some(contact)) = (args.next(), args.next(), args.next()) else {
        return Err("usage: chat JID PASSWORD CONTACT [HOST:PORT [CERTIFICATE.pem]]".into());
    };
    let contact = BareJid::new(&contact)?;
    let friend = contact.clone();
    // Only the other side of this conversation learns that we are there.
    let settings = ChatSettings::default().confirm_to(move |who| *who == friend);
    let mut builder = Client::builder(jid.parse()?, password).with(chat::client(settings));
    if let Some((host, port)) = args.next().as_deref().and_then(|place| place.rsplit_once(':')) {
        builder = builder.server(host, port.parse()?);
    }
    if let Some(path) = args.next() {
        builder = builder.tls(ClientTls::builder().add_root_pem(&std::fs::read(path)?)?.only_roots().build()?);
    }

    let (client, mut events) = builder.connect()?;
    let (mut chats, chat, archive) = (client.chats()?, client.chat(contact)?, client.archive()?);
    let mut lines = typed();
    let mut last = String::new();
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Event::Online { .. }) => {
                    client.send(Presence::available()).await?;
                    let mut missed = archive.sync(archive.position().map_or(Since::Beginning, Since::After));
                    while let Some(message) = missed.next().await {
                        message?.events.iter().for_each(show);
                    }
                }
                Some(Event::Offline { error, .. }) => eprintln!("offline: {error}"),
                Some(_) => {}
                None => return Ok(()),
            },
            Some(event) = chats.next() => {
                show(&event);
                chat.mark_displayed(&event).await?;
            }
            Some(line) = lines.recv() => match line.split_once(' ') {
                Some(("/fix", text)) => _ = chat.correct(&last, text).await?,
                _ if line == "/take" => chat.retract(&last).await?,
                _ => last = chat.send(line).await?.id().to_owned(),
            },
        }
    }
}

fn show(event: &ChatEvent) {
    match &event.kind {
        ChatEventKind::New(content) => println!("{}: {}", event.author, content.body),
        ChatEventKind::Corrected { content, .. } => println!("{} meant: {}", event.author, content.body),
        ChatEventKind::Retracted { .. } => println!("{} took a message back", event.author),
        ChatEventKind::Reacted { reactions, .. } => println!("{} reacts: {}", event.author, reactions.join(" ")),
        ChatEventKind::Displayed { .. } if !event.is_mine => println!("({} has seen it)", event.author),
        _ => {}
    }
}

/// The lines that are typed.
fn typed() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(16);
    std::thread::spawn(move || {
        std::io::stdin().lock().lines().map_while(Result::ok).all(|line| sender.blocking_send(line).is_ok())
    });
    lines
}

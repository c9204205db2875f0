//! A bot that answers every message with the same words.
//!
//! `cargo run --example echo_bot -- bot@example.org secret` connects as the DNS says; `host:port` and the path of a
//! certificate to trust can follow, for a server of one's own.

use xmpp_core::{
    client::{Client, Event},
    net::ClientTls,
    stanza::Presence,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(jid), Some(password)) = (args.next(), args.next()) else {
        return Err("usage: echo_bot JID PASSWORD [HOST:PORT [CERTIFICATE.pem]]".into());
    };
    let mut builder = Client::builder(jid.parse()?, password);
    if let Some((host, port)) = args.next().as_deref().and_then(|place| place.rsplit_once(':')) {
        builder = builder.server(host, port.parse()?);
    }
    if let Some(path) = args.next() {
        builder = builder.tls(ClientTls::builder().add_root_pem(&std::fs::read(path)?)?.only_roots().build()?);
    }

    let (client, mut events) = builder.connect()?;
    while let Some(event) = events.next().await {
        match event {
            Event::Online { jid, .. } => {
                client.send(Presence::available()).await?;
                println!("online as {jid}");
            }
            Event::Message(message) => {
                if let (Some(body), Some(reply)) = (message.body(), message.reply()) {
                    client.send(reply.body(body)).await?;
                }
            }
            Event::Offline { error, retry: None } => return Err(error.into()),
            Event::Offline { error, .. } => eprintln!("offline: {error}"),
            _ => {}
        }
    }
    Ok(())
}

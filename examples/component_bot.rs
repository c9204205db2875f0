//! An external component (XEP-0114) that answers every message with the same words, at any address of its domain.
//!
//! `cargo run --example component_bot -- echo.localhost secret 127.0.0.1:5347`, beside a server that knows the secret.

use xmpp_core::client::{Component, ComponentEvent};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(domain), Some(secret), Some(place)) = (args.next(), args.next(), args.next()) else {
        return Err("usage: component_bot DOMAIN SECRET HOST:PORT".into());
    };
    let (host, port) = place.rsplit_once(':').ok_or("a place is HOST:PORT")?;
    let (component, mut events) = Component::builder(domain.parse()?, secret).server(host, port.parse()?).connect()?;
    while let Some(event) = events.next().await {
        match event {
            ComponentEvent::Online => println!("online as {}", component.domain()),
            ComponentEvent::Message(message) => {
                if let (Some(body), Some(to), Some(reply)) = (message.body(), message.to(), message.reply()) {
                    component.send(reply.from(to.clone()).body(body)).await?;
                }
            }
            ComponentEvent::Offline { error, retry: None, .. } => return Err(error.into()),
            ComponentEvent::Offline { error, .. } => eprintln!("offline: {error}"),
            _ => {}
        }
    }
    Ok(())
}

//! Rooms (XEP-0045) for a server that has none, or has others: an external component (XEP-0114) of it.
//!
//! `cargo run -p xmpp-muc --example rooms_component -- rooms.localhost secret 127.0.0.1:5347`, beside a server that knows
//! the secret. The rooms and what was said in them end with the program, which tells those who are in them when it is asked to
//! stop.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use xmpp_core::client::Component;
use xmpp_im::archive::MemoryArchive;
use xmpp_muc::{MemoryRooms, service::Muc};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(domain), Some(secret), Some(place)) = (args.next(), args.next(), args.next()) else {
        return Err("usage: rooms_component DOMAIN SECRET HOST:PORT".into());
    };
    let (host, port) = place.rsplit_once(':').ok_or("a place is HOST:PORT")?;
    let rooms = Muc::new(&*domain, Arc::new(MemoryRooms::new())).archive(Arc::new(MemoryArchive::default()));
    let rooms = rooms.into_component();
    let builder = Component::builder(domain.parse()?, secret).server(host, port.parse()?);
    let (component, events) = builder.with(rooms.extension()).connect()?;
    if component.online().await {
        println!("online as {domain}");
    }
    let (stop, stopped) = (Arc::new(AtomicBool::new(false)), stopped()?);
    let noted = Arc::clone(&stop);
    rooms
        .serve_until(component, events, async move {
            stopped.await;
            noted.store(true, Ordering::Relaxed);
        })
        .await;
    if stop.load(Ordering::Relaxed) { Ok(()) } else { Err("the server does not accept this component".into()) }
}

/// Resolves when the program is asked to stop.
#[cfg(unix)]
fn stopped() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Resolves when the program is asked to stop.
#[cfg(not(unix))]
fn stopped() -> std::io::Result<impl Future<Output = ()>> {
    Ok(async { drop(tokio::signal::ctrl_c().await) })
}

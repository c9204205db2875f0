//! The server asks who is silent for a sign of life.

use crate::{
    check::{Checked, Report},
    peer::{Peer, Way, optional},
    session::Session,
};
use std::time::Duration;
use tokio::time::timeout;
use xmpp_core::{client::Event, payload::ping::Ping, stanza::Iq};

/// `PINGS_DOMAIN` ends, within `PINGS_WITHIN` seconds, the session of who says nothing and does not answer.
pub(crate) async fn checks(report: &mut Report, peer: &Peer, way: Way) {
    let name = format!("{way} pings of the server are answered");
    match optional("PINGS_DOMAIN").zip(optional("PINGS_WITHIN")) {
        None => report.skip(&name, "the peer sends none"),
        Some((domain, seconds)) => report.check(&name, answered(peer, way, &domain, &seconds)).await,
    }
}

async fn answered(peer: &Peer, way: Way, domain: &str, seconds: &str) -> Checked<String> {
    let user = &peer.users[0];
    let silence = Duration::from_secs(seconds.parse::<u64>()? + 3);
    let mut session = Session::login(peer.client(way, &format!("{}@{domain}", user.name), &user.password)?).await?;
    let ended = session.until(|event| match event {
        Event::Offline { error, .. } => Some(error),
        _ => None,
    });
    match timeout(silence, ended).await {
        Err(_) => {}
        Ok(error) => return Err(format!("the session ended: {}", error?).into()),
    }
    session.client.request(Iq::get_own().payload(&Ping)).await?;
    session.client.close().await;
    Ok(String::new())
}

//! This toolkit's client against a server.
//!
//! `xmpp-interop rooms` enters rooms of the server. `xmpp-interop uploads [SIZE]` uploads files, one of that size among them.
//! `xmpp-interop bytestreams` does what `slixmpp_bytestreams.py` asks, `xmpp-interop files` what `gajim_files.py` and
//! `dino_files.py` do, `xmpp-interop sharing` what `slixmpp_sharing.py` does.
//!
//! The server is described by the environment, as `interop/peers/*` write it. Each check is one line, `ok NAME`,
//! `FAIL NAME why` or `skip NAME reason`; the exit status says whether any failed. `xmpp-interop im` makes those of
//! instant messaging.

mod bytestreams;
mod check;
mod client_state;
mod files;
mod im;
mod login;
mod loss;
mod peer;
mod pings;
mod queries;
mod register;
mod resume;
mod rooms;
mod session;
mod sharing;
mod talk;
mod tokens;
mod uploads;
mod wire;

use check::{Checked, Report};
use peer::{Peer, Way};
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    match checks().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xmpp-interop: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn checks() -> Checked<bool> {
    let peer = Peer::from_env()?;
    if std::env::args().nth(1).as_deref() == Some("bytestreams") {
        bytestreams::serve(&peer).await?;
        return Ok(true);
    }
    if std::env::args().nth(1).as_deref() == Some("files") {
        files::serve(&peer).await?;
        return Ok(true);
    }
    if std::env::args().nth(1).as_deref() == Some("sharing") {
        sharing::serve(&peer).await?;
        return Ok(true);
    }
    let mut report = Report::default();
    if std::env::args().nth(1).as_deref() == Some("rooms") {
        rooms::checks(&mut report, &peer, Way::StartTls).await;
        rooms::restart(&mut report, &peer, Way::StartTls).await;
        return Ok(report.passed());
    }
    if std::env::args().nth(1).as_deref() == Some("uploads") {
        uploads::checks(&mut report, &peer).await;
        return Ok(report.passed());
    }
    if std::env::args().nth(1).as_deref() == Some("im") {
        im::checks(&mut report, &peer).await;
        return Ok(report.passed());
    }
    for way in [Way::StartTls, Way::DirectTls].into_iter().filter(|way| way.is_wanted()) {
        login::checks(&mut report, &peer, way).await;
        login::refusals(&mut report, &peer, way).await;
        tokens::checks(&mut report, &peer, way).await;
        talk::checks(&mut report, &peer, way).await;
        queries::checks(&mut report, &peer, way).await;
        pings::checks(&mut report, &peer, way).await;
        loss::checks(&mut report, &peer, way).await;
        client_state::checks(&mut report, &peer, way).await;
        resume::checks(&mut report, &peer, way).await;
        register::checks(&mut report, &peer, way).await;
    }
    if peer.websocket.is_some() && Way::WebSocket.is_wanted() {
        let way = Way::WebSocket;
        talk::checks(&mut report, &peer, way).await;
        queries::checks(&mut report, &peer, way).await;
        loss::checks(&mut report, &peer, way).await;
    }
    if peer::bosh_url().is_some() && Way::Bosh.is_wanted() {
        login::over_bosh(&mut report, &peer).await;
        talk::checks(&mut report, &peer, Way::Bosh).await;
        queries::checks(&mut report, &peer, Way::Bosh).await;
        loss::checks(&mut report, &peer, Way::Bosh).await;
    }
    Ok(report.passed())
}

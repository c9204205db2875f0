//! Sessions in a client: one desk takes what comes and gives it to the session that it is for.
//!
//! An application, such as the transfer of files, registers by the namespace of its descriptions
//! ([`Application`]); what is asked for then comes to it as an [`Invitation`]. [`Sessions::initiate`] asks for a session. Either way there
//! is a [`JingleSession`] to act by, and [`SessionEvents`].
//!
//! ```
//! # #[cfg(not(feature = "server"))]
//! # fn main() {}
//! # #[cfg(feature = "server")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tokio::sync::mpsc;
//! use xmpp_core::{client::Client, server::{MemoryAccounts, Server}, xml::{Stanza, XmlLimits}};
//! use xmpp_filetransfer::jingle::{Content, Event, Reason, client::{self, Application, JingleClient}};
//!
//! let accounts = MemoryAccounts::new();
//! accounts.set_password("alice@localhost".parse()?, "secret");
//! accounts.set_password("hatter@localhost".parse()?, "secret");
//! let server = Server::builder("localhost").accounts(accounts).build()?;
//!
//! // The hatter takes what comes.
//! let (invitations, mut invited) = mpsc::channel(4);
//! let tea = Application::new("urn:example:tea", move |invitation| drop(invitations.try_send(invitation)));
//! let pipe = server.clone();
//! let hatter = Client::builder("hatter@localhost/table".parse()?, "secret").with(|r: &mut _| client::application(r, tea));
//! let (hatter, _events) = hatter.pipe(move || pipe.connect_memory()).connect()?;
//! let there = hatter.online().await.ok_or("offline")?;
//!
//! let alice = Client::builder("alice@localhost/mirror".parse()?, "secret").with(client::client);
//! let (alice, _events) = alice.pipe(move || server.connect_memory()).connect()?;
//! alice.online().await;
//! let element = |xml: &str| Stanza::parse(xml, "", &XmlLimits::authenticated());
//! let offer = Content::initial("cup")
//!     .with_description(element("<description xmlns='urn:example:tea'/>")?)
//!     .with_transport(element("<transport xmlns='urn:example:pot'/>")?);
//! let (session, mut events) = alice.jingle()?.initiate(there, vec![offer]).await?;
//!
//! let invitation = invited.recv().await.ok_or("nothing came")?;
//! let contents = invitation.session.offered();
//! invitation.session.accept(contents).await?;
//! assert!(matches!(events.next().await, Some(Event::Accepted { .. })));
//! session.terminate(Reason::success()).await?;
//! # Ok(()) }
//! ```
//!
//! What counts: what the peer's full address says, and nobody else. A session survives a lost connection if our session with
//! the server does (XEP-0198). When that is lost, when the peer goes offline and stays away, or when nobody accepts in good time,
//! it ends. So does one whose last handle is dropped.

mod application;
mod bell;
mod desk;
mod heard;
mod proposed;
mod proposing;
mod seat;
mod session;

pub use application::{Application, Invitation};
pub use desk::Sessions;
pub use proposed::{Admission, ProceedError, Proposed, Withdrawal};
pub use proposing::{NotTaken, ProposalAnswer, Proposing};
pub use session::{JingleSession, Opening, SessionError, SessionEvents};

use super::{Jingle, SessionLimits};
use desk::Desk;
use std::{sync::Arc, time::Duration};
use xmpp_core::{
    client::{Client, ClientRegistrar},
    extension::Target,
    payload::Payload,
    stanza::Iq,
};

/// What bounds the sessions of a client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JingleSettings {
    /// Sessions at a time.
    pub sessions: usize,
    /// Sessions at a time with one account, or with one domain that has none.
    pub sessions_per_peer: usize,
    /// Events of a session that wait for the application; the peer is refused until some are taken.
    pub events: usize,
    /// Bytes that the messages of these had; beyond, the peer is refused as well. One message always has room.
    pub event_bytes: usize,
    /// How long a session may wait to be accepted, on either side.
    pub patience: Duration,
    /// How long a peer that has gone offline may stay silent (§6.7).
    pub absence: Duration,
    /// How long a proposal may wait for a device that takes it (XEP-0353), on either side. One that has come late is of no
    /// interest when it is older.
    pub ringing: Duration,
    /// How long a proposal that has come late waits for what was said of it since, before anybody rings.
    pub settling: Duration,
    /// What bounds each session.
    pub session: SessionLimits,
}

impl Default for JingleSettings {
    /// 256 sessions, 16 with a peer, 128 events of 512 KiB; 5 minutes, 10 seconds; 90 and 3 seconds for
    /// proposals.
    fn default() -> JingleSettings {
        JingleSettings {
            sessions: 256,
            sessions_per_peer: 16,
            events: 128,
            event_bytes: 512 * 1024,
            patience: Duration::from_secs(300),
            absence: Duration::from_secs(10),
            ringing: Duration::from_secs(90),
            settling: Duration::from_secs(3),
            session: SessionLimits::default(),
        }
    }
}

/// Sessions for a client, with the [usual settings](JingleSettings::default).
pub fn client(r: &mut ClientRegistrar) {
    desk(r, JingleSettings::default());
}

/// Sessions for a client. To be registered before any application is.
pub fn client_with(settings: JingleSettings) -> impl FnOnce(&mut ClientRegistrar) {
    move |r| drop(desk(r, settings))
}

/// Takes sessions for an application, and advertises it with its transports (§11). Sessions come along, if they are not
/// there yet.
pub fn application(r: &mut ClientRegistrar, application: Application) {
    let desk = desk(r, JingleSettings::default());
    application.features().for_each(|feature| r.feature(Target::Client, feature));
    desk.register(application);
}

fn desk(r: &mut ClientRegistrar, settings: JingleSettings) -> Arc<Desk> {
    if let Some(desk) = r.provided::<Desk>() {
        return desk;
    }
    let desk = Arc::new(Desk::new(settings));
    r.provide(Arc::clone(&desk));
    let takes = Arc::clone(&desk);
    r.iq_set(Target::Client, move |cx, jingle: Jingle| takes.take(&cx, &jingle));
    let starts = Arc::clone(&desk);
    r.on_session(move |start, client| {
        if !start.resumed {
            starts.begin(start.jid, client);
            if starts.listens() {
                copies(client.clone());
            }
        }
    });
    let watches = desk::Watch(Arc::clone(&desk));
    r.incoming(move |stanza, _| watches.0.see(stanza));
    desk
}

/// Asks the server for copies (XEP-0280 §4).
#[derive(Clone, Copy, Debug, Payload)]
#[xml(name = "enable", ns = "urn:xmpp:carbons:2")]
struct Copies;

/// What is taken on one device is to be known on the others (XEP-0353 §5). Asked for twice, it does no harm.
fn copies(client: Client) {
    tokio::spawn(async move {
        if let Err(error) = client.request(Iq::set_own().payload(&Copies)).await {
            tracing::debug!(%error, "no copies: proposals ring although another device has taken them");
        }
    });
}

/// What a client with sessions can do.
pub trait JingleClient {
    /// Its sessions.
    ///
    /// # Errors
    /// [`WithoutJingle`] if the client was not built with them.
    fn jingle(&self) -> Result<Sessions, WithoutJingle>;
}

/// The client was built without sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client was built without Jingle: add xmpp_filetransfer::jingle::client::client")]
pub struct WithoutJingle;

impl JingleClient for Client {
    fn jingle(&self) -> Result<Sessions, WithoutJingle> {
        Ok(Sessions { desk: self.part().ok_or(WithoutJingle)?, client: self.clone() })
    }
}

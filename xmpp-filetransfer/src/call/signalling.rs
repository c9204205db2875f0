//! Calls of a client whose WebRTC stack speaks SDP: what stands between the stack and the sessions of
//! [`jingle::client`](crate::jingle::client).
//!
//! The caller proposes, and begins the session with the stack's offer on the device that takes it; the callee's stack hears the
//! offer, and its answer accepts the session. Candidates that are found later follow as they come, either way. Media never pass
//! here, so any stack will do; below, two texts stand for two stacks.
//!
//! ```no_run
//! # #[cfg(not(feature = "server"))]
//! # fn main() {}
//! # #[cfg(feature = "server")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tokio::sync::mpsc;
//! use xmpp_core::{client::Client, server::{MemoryAccounts, Server}, stanza::Presence};
//! use xmpp_filetransfer::call::{self, Direction, Trickle, sdp, signalling};
//! use xmpp_filetransfer::jingle::{Event, Reason, client::{self, Admission, JingleClient}};
//!
//! let accounts = MemoryAccounts::new();
//! accounts.set_password("romeo@localhost".parse()?, "secret");
//! accounts.set_password("juliet@localhost".parse()?, "secret");
//! let server = Server::builder("localhost").accounts(accounts).with(xmpp_im::presence::server);
//! let server = server.with(xmpp_im::delivery::server).build()?;
//!
//! // Juliet's client rings, for those who see her presence: a matter of the roster, in a real one.
//! let (ring, mut rings) = mpsc::channel(1);
//! let calls = signalling::application(|_session| {})
//!     .proposals(move |proposed| drop(ring.try_send(proposed)))
//!     .admit_proposals(|_from, _descriptions| Admission::Ring);
//! let pipe = server.clone();
//! let juliet = Client::builder("juliet@localhost".parse()?, "secret")
//!     .with(|r: &mut _| client::application(r, calls))
//!     .with(call::features(true, false));
//! let (juliet, _events) = juliet.pipe(move || pipe.connect_memory()).connect()?;
//! juliet.online().await;
//! juliet.send(Presence::available()).await?;
//! # let asked = xmpp_core::stanza::Iq::get("localhost".parse::<xmpp_core::jid::BareJid>()?);
//! # juliet.request(asked.payload(&xmpp_core::payload::disco::DiscoInfoQuery::default())).await?;
//! let romeo = Client::builder("romeo@localhost".parse()?, "secret").with(client::client);
//! let (romeo, _events) = romeo.pipe(move || server.connect_memory()).connect()?;
//! romeo.online().await;
//!
//! # let sdp_of = |ufrag: &str, setup: &str| format!(
//! #     "v=0\r\no=- 7 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\n\
//! #      a=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:asd88fgpdd777uzjYhagZg\r\n\
//! #      a=fingerprint:sha-256 AB:CD\r\na=setup:{setup}\r\n");
//! // What the stacks say: `create_offer`, `create_answer`.
//! let (offer, answer) = (sdp_of("8hhy", "actpass"), sdp_of("YH75", "active"));
//!
//! let mut proposing = romeo.jingle()?.propose(&"juliet@localhost".parse()?, signalling::media(true, false)).await?;
//! # tokio::spawn(async move {
//! // On her side: she takes it, and the stack hears what he offers.
//! let proposed = rings.recv().await.ok_or("nobody calls")?;
//! let invitation = proposed.proceed().await?;
//! let heard = signalling::sdp(&invitation.session.offered(), &invitation.others, Direction::offer())?;
//! assert!(heard.contains("a=ice-ufrag:8hhy\r\n"));
//! sdp::to_jingle(&answer, Direction::answer())?.accept(&invitation.session).await?;
//! # let mut events = invitation.events;
//! # while events.next().await.is_some() {}
//! # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(()) });
//!
//! // On his.
//! proposing.taken().await?;
//! let call = sdp::to_jingle(&offer, Direction::offer())?;
//! let mut trickle = Trickle::new(&call);
//! let (session, mut events) = proposing.initiate(call).await?;
//! let Some(Event::Accepted { contents, others, .. }) = events.next().await else { return Err("not accepted".into()) };
//! let heard = signalling::sdp(&contents, &others, Direction::answer())?;
//! assert!(heard.contains("a=ice-ufrag:YH75\r\n"));
//! // The stack has found another candidate of the medium `0`.
//! let (content, info) = trickle.candidate("0", "candidate:1 1 udp 2130706431 192.0.2.3 8998 typ host")?;
//! session.transport_info(content, info).await?;
//! session.terminate(Reason::success()).await?;
//! # Ok(()) }
//! ```

use super::{Call, Direction, GROUPING, Group, ICE_UDP, IceTransport, RTP, RTP_INFO, RtpDescription, sdp as text};
use crate::jingle::{
    Content, ContentId,
    client::{Application, Invitation, JingleSession, Opening, SessionError},
};
use std::collections::HashMap;
use xmpp_core::{
    payload::Payload,
    xml::{Stanza, Writer},
};

fn element(payload: &impl Payload) -> Stanza {
    let mut w = Writer::new("");
    payload.write(&mut w);
    w.into_stanza()
}

/// An application for calls: RTP sessions over ICE, of which there is one at a time with a contact, and that tell who rings, holds
/// and is mute ([`RtpInfo`](super::RtpInfo)).
pub fn application(take: impl Fn(Invitation) + Send + Sync + 'static) -> Application {
    Application::new(RTP, take).transport(ICE_UDP).info(RTP_INFO).exclusive()
}

/// What a call is [proposed](crate::jingle::client::Sessions::propose) with: which media, and nothing more (XEP-0353 §3.1).
pub fn media(audio: bool, video: bool) -> Vec<Stanza> {
    let kinds = [(audio, "audio"), (video, "video")].into_iter().filter(|(has, _)| *has);
    kinds.map(|(_, kind)| element(&RtpDescription::new(kind))).collect()
}

/// What the peer has said of a call, as the SDP that a stack hears: the contents and what stood beside them.
///
/// # Errors
/// [`SdpError`](text::SdpError) if it cannot be said in SDP; the session is to be terminated then (`incompatible-parameters`).
pub fn sdp(contents: &[Content], others: &[Stanza], direction: Direction) -> Result<String, text::SdpError> {
    let groups = others.iter().filter(|it| it.root().ns() == GROUPING).filter_map(|it| Group::read(it.root()).ok());
    text::from_jingle(contents, &groups.collect::<Vec<_>>(), "1", direction)
}

/// Candidates that the peer has found later ([`TransportInfo`](crate::jingle::Event::TransportInfo)), each with the `mid` of its
/// medium, as a stack takes them. What cannot be said in SDP is left out.
pub fn candidates(contents: &[Content]) -> Vec<(String, String)> {
    let transport = |content: &Content| IceTransport::read(content.transport.as_ref()?.root()).ok();
    let found = contents.iter().filter_map(|content| Some((&content.id.name, transport(content)?)));
    let lines = found.flat_map(|(mid, transport)| {
        let lines = transport.candidates.into_iter().filter_map(|it| it.to_sdp().ok());
        lines.map(|line| (mid.clone(), line)).collect::<Vec<_>>()
    });
    lines.collect()
}

impl From<Call> for Opening {
    fn from(call: Call) -> Opening {
        let others = call.groups.iter().map(element).collect();
        Opening { sid: None, contents: call.contents, others }
    }
}

impl Call {
    /// Accepts a session with a stack's answer.
    ///
    /// # Errors
    /// As [`JingleSession::act`].
    pub async fn accept(self, session: &JingleSession) -> Result<(), SessionError> {
        let Opening { contents, others, .. } = self.into();
        let accept = |session: &mut crate::jingle::Session| {
            let mut sent = session.accept(contents)?;
            sent.jingle.others = others;
            Ok(sent)
        };
        session.act(accept).await
    }
}

/// Candidates of ours that are found when the session is under way (XEP-0176 §5.6).
#[derive(Clone, Debug)]
pub struct Trickle {
    /// By the medium: the content, and the credentials that candidates are for.
    media: HashMap<String, (ContentId, IceTransport)>,
    found: usize,
}

impl Trickle {
    /// Of the stack's offer, or answer.
    pub fn new(call: &Call) -> Trickle {
        let credentials = |content: &Content| {
            let transport = IceTransport::read(content.transport.as_ref()?.root()).ok()?;
            Some(IceTransport { ufrag: transport.ufrag, pwd: transport.pwd, ..IceTransport::default() })
        };
        let media = call
            .contents
            .iter()
            .filter_map(|content| Some((content.id.name.clone(), (content.id.clone(), credentials(content)?))));
        Trickle { media: media.collect(), found: 0 }
    }

    /// What to tell the peer, by [`JingleSession::transport_info`], of a candidate that the stack has found for the medium `mid`.
    ///
    /// # Errors
    /// [`SdpError`](text::SdpError) if there is no such medium, or it is no candidate.
    pub fn candidate(&mut self, mid: &str, line: &str) -> Result<(ContentId, Stanza), text::SdpError> {
        let (id, credentials) = self.media.get(mid).ok_or_else(|| text::SdpError::NotRtp(mid.to_owned()))?;
        self.found += 1;
        let candidate = text::candidate(line, &format!("t{}", self.found))?;
        let transport = IceTransport { candidates: vec![candidate], ..credentials.clone() };
        Ok((id.clone(), element(&transport)))
    }
}

//! Somebody who speaks the protocol by hand, and lies.

use super::*;
use tokio::sync::mpsc;
use xmpp_core::{
    payload::Payload,
    xml::{Stanza, Writer, XmlLimits},
};
use xmpp_filetransfer::{
    file,
    ibb::{self, IbbStream, Opening},
    jingle::{
        Content, Event, Reason, Senders,
        client::{Application, Invitation, JingleClient, JingleSession, SessionEvents, application},
    },
    socks5::{self, Accepting, Info, Progress, Socks5Settings, granted},
};

pub(super) fn xml(text: &str) -> Stanza {
    Stanza::parse(text, "", &XmlLimits::authenticated()).unwrap()
}

pub(super) fn element(payload: &impl Payload) -> Stanza {
    let mut w = Writer::new("");
    payload.write(&mut w);
    w.into_stanza()
}

/// What is said of a file.
pub(super) fn described(said: &str) -> Stanza {
    xml(&format!("<description xmlns='{}'><file>{said}</file></description>", file::NS))
}

/// Hashes that are told later.
pub(super) fn checksum(of: &str, said: &str) -> Stanza {
    xml(&format!("<checksum xmlns='{}' creator='initiator'{of}><file>{said}</file></checksum>", file::NS))
}

/// The hash of some bytes, as an element.
pub(super) fn hash(function: file::Function, bytes: &[u8]) -> String {
    let mut hasher = file::Hasher::new(function);
    hasher.update(bytes);
    element(&hasher.finish()).as_str().to_owned()
}

pub(super) struct Villain {
    pub(super) client: Client,
    pub(super) jid: FullJid,
    pub(super) invited: mpsc::Receiver<Invitation>,
    _events: Events,
}

impl House {
    pub(super) async fn villain(&self, name: &str) -> Villain {
        let (tell, invited) = mpsc::channel(64);
        let takes = Application::new(file::NS, move |it| drop(tell.try_send(it))).info(file::NS);
        let mut sockets = Socks5Settings::default();
        sockets.loopback = true;
        let builder = Client::builder(format!("{name}@localhost/{name}").parse().unwrap(), "secret")
            .with(ibb::client)
            .with(socks5::client_with(sockets))
            .with(|r: &mut _| application(r, takes));
        let server = self.server.clone();
        let (client, events) = builder.pipe(move || server.connect_memory()).connect().unwrap();
        let jid = soon(client.online()).await.unwrap();
        Villain { client, jid, invited, _events: events }
    }
}

/// A transport within stanzas.
pub(super) fn blocks(sid: &str) -> Stanza {
    element(&ibb::Transport { block_size: 4096, sid: sid.to_owned(), carrier: ibb::Carrier::Iq })
}

impl Villain {
    pub(super) async fn offer_by(&self, to: &FullJid, said: Stanza, by: Stanza) -> (JingleSession, SessionEvents) {
        let content =
            Content::initial("file").with_senders(Senders::Initiator).with_description(said).with_transport(by);
        soon(self.client.jingle().unwrap().initiate(to.clone(), vec![content])).await.unwrap()
    }

    /// Offers a file within stanzas.
    pub(super) async fn offer(&self, to: &FullJid, said: &str) -> (JingleSession, SessionEvents) {
        self.offer_by(to, described(said), blocks("v1")).await
    }

    /// Opens the stream of an offer when that is accepted.
    pub(super) async fn stream(&self, to: &FullJid, events: &mut SessionEvents) -> IbbStream {
        accepted(events).await;
        soon(ibb::open(&self.client, to.clone(), "v1", Opening::default().exactly(4096))).await.unwrap()
    }

    /// Offers a file, has it accepted to a place, and has sent these bytes of it and told this then. What the victim makes of it.
    pub(super) async fn says(
        &self,
        victim: &mut Person,
        place: &Path,
        said: &str,
        bytes: &[u8],
        told: &[Stanza],
    ) -> Result<Report, TransferError> {
        let (session, mut events) = self.offer(&victim.jid, said).await;
        let receiving = offer(victim).await.accept_to(place).await.unwrap();
        let mut stream = self.stream(&victim.jid, &mut events).await;
        let speaking = async {
            for told in told {
                session.session_info(Some(told.clone())).await.unwrap();
            }
            // It may be thrown out before the end.
            if stream.write_all(bytes).await.is_ok() {
                let _ = stream.shutdown().await;
            }
            while events.next().await.is_some() {}
        };
        soon(async { tokio::join!(receiving.finish(), speaking) }).await.0
    }

    /// Offers a file by a socket, and waits until the victim, who has accepted, is there.
    pub(super) async fn socket(
        &self,
        victim: &mut Person,
        place: &Path,
        said: &str,
    ) -> (Transfer, TcpStream, JingleSession) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let by = format!(
            "<transport xmlns='{}' sid='v1'><candidate cid='c' host='127.0.0.1' jid='{}' port='{port}' priority='9'/></transport>",
            socks5::JINGLE_NS,
            self.jid
        );
        let (session, mut events) = self.offer_by(&victim.jid, described(said), xml(&by)).await;
        let id = Content::initial("file").id;
        let receiving = offer(victim).await.accept_to(place).await.unwrap();
        accepted(&mut events).await;
        let (mut socket, _) = soon(listener.accept()).await.unwrap();
        greet(&mut socket).await;
        session.transport_info(id, element(&Info::CandidateError.transport("v1"))).await.unwrap();
        tokio::spawn(async move { while events.next().await.is_some() {} });
        (receiving, socket, session)
    }
}

/// The handshake, byte by byte.
async fn greet(socket: &mut TcpStream) {
    let mut end = Accepting::new();
    loop {
        let byte = soon(socket.read_u8()).await.unwrap();
        match end.input(&[byte]).unwrap() {
            Progress::More => {}
            Progress::Send(reply) => socket.write_all(&reply).await.unwrap(),
            Progress::Stream(hash) => return socket.write_all(&granted(&hash)).await.unwrap(),
        }
    }
}

pub(super) async fn accepted(events: &mut SessionEvents) -> Vec<Content> {
    loop {
        match soon(events.next()).await {
            Some(Event::Accepted { contents, .. }) => return contents,
            Some(_) => {}
            None => panic!("not accepted"),
        }
    }
}

/// The id of the stream that a content goes by.
pub(super) fn sid_of(content: &Content) -> String {
    content.transport.as_ref().unwrap().root().attr("sid").unwrap().into_owned()
}

/// All reasons for an end.
pub(super) fn reasons() -> Vec<Reason> {
    vec![
        Reason::busy(),
        Reason::cancel(),
        Reason::connectivity_error(),
        Reason::decline(),
        Reason::expired(),
        Reason::failed_application(),
        Reason::failed_transport(),
        Reason::general_error(),
        Reason::gone(),
        Reason::incompatible_parameters(),
        Reason::media_error(),
        Reason::security_error(),
        Reason::success(),
        Reason::timeout(),
        Reason::unsupported_applications(),
        Reason::unsupported_transports(),
        Reason::alternative_session("x"),
        file::too_large(),
        file::not_available(),
    ]
}

//! A client with all of xmpp-im, and waiting for what it learns.

use crate::{
    check::{Checked, expect},
    peer::{Peer, User, Way},
};
use std::time::Duration;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};
use xmpp_core::{
    client::{Client, ClientBuilder, Event},
    jid::{BareJid, FullJid, Jid},
    payload::{
        archive::{ArchiveDefault, ArchivePrefs},
        ping::Ping,
    },
    stanza::{Iq, Message},
};
use xmpp_im::{
    ClientExt, caps,
    chat::{self, Chat, ChatClient, ChatEvent, ChatEventKind, ChatEvents, ChatSettings},
    presence::{self, ClientPresence, OwnPresence, PresenceEvent, PresenceEvents},
    roster::{self, ClientRoster, Item, RosterChanges, SavedRoster},
};

/// So long one waits for a thing to come. A check has a limit of its own; this one says what was waited for.
const PATIENCE: Duration = Duration::from_secs(45);

/// Online.
pub(super) struct Device {
    pub(super) client: Client,
    pub(super) jid: FullJid,
    pub(super) chats: ChatEvents,
    pub(super) heard: PresenceEvents,
    pub(super) changes: RosterChanges,
    events: mpsc::UnboundedReceiver<Event>,
}

/// Waits for something, and says what has not come.
pub(super) async fn soon<T>(what: &str, waiting: impl Future<Output = Checked<T>>) -> Checked<T> {
    let end = Instant::now() + PATIENCE;
    timeout_at(end, waiting).await.unwrap_or_else(|_| Err(format!("has not come: {what}").into()))
}

impl Device {
    pub(super) async fn login(peer: &Peer, user: &User, resource: &str) -> Checked<Device> {
        Device::with(peer, user, resource, SavedRoster::default(), |builder| builder).await
    }

    /// With a roster of an earlier run, and a builder of one's own.
    pub(super) async fn with(
        peer: &Peer,
        user: &User,
        resource: &str,
        saved: SavedRoster,
        change: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Checked<Device> {
        let settings = ChatSettings::default().confirm_to(|_| true);
        let builder = peer.user(Way::StartTls, user, resource)?;
        let builder = builder.with(roster::restored(saved)).with(presence::client);
        let builder = builder.with(caps::client("https://example.org/interop")).with(chat::client(settings));
        let (client, mut stream) = change(builder).connect()?;
        let chats = client.chats()?;
        let heard = client.presence().ok_or("without presence")?.watch();
        let changes = client.roster().ok_or("without a roster")?.watch();
        let jid = match stream.next().await {
            Some(Event::Online { jid, .. }) => jid,
            other => return Err(format!("not online but {other:?}").into()),
        };
        let (keep, events) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(event) = stream.next().await {
                if keep.send(event).is_err() {
                    return;
                }
            }
        });
        Ok(Device { client, jid, chats, heard, changes, events })
    }

    /// Logged in, with the roster fetched, and available.
    pub(super) async fn available(peer: &Peer, user: &User, resource: &str) -> Checked<Device> {
        let device = Device::login(peer, user, resource).await?;
        device.appear().await?;
        Ok(device)
    }

    /// Available from now on.
    pub(super) async fn appear(&self) -> Checked {
        expect(self.roster()?.ready().await, || "the roster was not fetched".into())?;
        self.presence()?.set(OwnPresence::default()).await?;
        self.sync().await
    }

    /// All that it has sent has reached the server.
    pub(super) async fn sync(&self) -> Checked {
        let server: Jid = self.jid.domain().parse()?;
        self.client.request(Iq::get(server).payload(&Ping)).await?;
        Ok(())
    }

    pub(super) async fn close(self) -> Checked {
        expect(self.client.close().await, || "not closed in good order".into())
    }

    pub(super) fn roster(&self) -> Checked<ClientRoster> {
        Ok(self.client.roster().ok_or("without a roster")?)
    }

    pub(super) fn presence(&self) -> Checked<ClientPresence> {
        Ok(self.client.presence().ok_or("without presence")?)
    }

    pub(super) fn full(&self) -> Jid {
        self.jid.clone().into()
    }

    pub(super) fn bare(&self) -> BareJid {
        self.jid.to_bare()
    }

    /// The chat with another's account.
    pub(super) fn chat(&self, other: &Device) -> Checked<Chat> {
        Ok(self.client.chat(other.bare())?)
    }

    /// Removes all contacts, and denies all requests.
    pub(super) async fn forget_everybody(&self) -> Checked {
        let roster = self.roster()?;
        expect(roster.ready().await, || "the roster was not fetched".into())?;
        for item in roster.items() {
            roster.remove(&item.jid.to_bare()).await?;
        }
        self.until_item("an empty roster", |items| items.is_empty()).await
    }

    /// Where the account's archive has preferences (XEP-0441), they are to keep all: not every server does unasked.
    pub(super) async fn archive_everything(&self) -> Checked {
        let question = Iq::get_own().payload(&ArchivePrefs::default());
        if let Ok(kept) = self.client.query::<ArchivePrefs>(question).await {
            let all = ArchivePrefs { default: Some(ArchiveDefault::Always), ..kept };
            self.client.request(Iq::set_own().payload(&all)).await?;
        }
        Ok(())
    }

    /// Waits until the roster is as it should be.
    pub(super) async fn until_item(&self, what: &str, is_so: impl Fn(&[Item]) -> bool) -> Checked {
        let roster = self.roster()?;
        let mut changes = roster.watch();
        let waiting = async {
            while !is_so(&roster.items()) {
                changes.next().await.ok_or("the client has ended")?;
            }
            Ok(())
        };
        let waited = soon(what, waiting).await;
        waited.map_err(|error| format!("{error}; the roster is {:?}", roster.items()).into())
    }

    /// The next event of presence of which `wanted` makes something.
    pub(super) async fn hears<T>(
        &mut self,
        what: &str,
        mut wanted: impl FnMut(PresenceEvent) -> Option<T>,
    ) -> Checked<T> {
        let mut passed = Vec::new();
        let waiting = async {
            loop {
                let event = self.heard.next().await.ok_or("the client has ended")?;
                passed.push(format!("{event:?}"));
                if let Some(found) = wanted(event) {
                    return Ok(found);
                }
            }
        };
        let heard = soon(what, waiting).await;
        heard.map_err(|error| format!("{error}; heard was {passed:?}").into())
    }

    /// The next thing of which `wanted` makes something; others are forgotten.
    pub(super) async fn tells<T>(&mut self, what: &str, mut wanted: impl FnMut(&ChatEvent) -> Option<T>) -> Checked<T> {
        let mut passed = Vec::new();
        let waiting = async {
            loop {
                let event = self.chats.next().await.ok_or("the client has ended")?;
                if let Some(found) = wanted(&event) {
                    return Ok(found);
                }
                passed.push(format!("{:?}", event.kind));
            }
        };
        let told = soon(what, waiting).await;
        told.map_err(|error| format!("{error}; told was {passed:?}").into())
    }

    /// The next new message is this one.
    pub(super) async fn reads(&mut self, body: &str) -> Checked<ChatEvent> {
        let event =
            self.tells(body, |event| matches!(event.kind, ChatEventKind::New(_)).then(|| event.clone())).await?;
        let got = text(&event);
        expect(got == body, || format!("the message is {got:?}, not {body:?}"))?;
        Ok(event)
    }

    /// The next event of the connection of which `wanted` makes something.
    pub(super) async fn until<T>(&mut self, what: &str, mut wanted: impl FnMut(Event) -> Option<T>) -> Checked<T> {
        soon(what, async {
            loop {
                let event = self.events.recv().await.ok_or("the events have ended")?;
                if let Some(found) = wanted(event) {
                    return Ok(found);
                }
            }
        })
        .await
    }

    /// The next message that the application sees beside its chats.
    pub(super) async fn message(&mut self) -> Checked<Message> {
        let is_message = |event| match event {
            Event::Message(message) => Some(message),
            _ => None,
        };
        self.until("a message", is_message).await
    }
}

/// What a message says.
pub(super) fn text(event: &ChatEvent) -> &str {
    match &event.kind {
        ChatEventKind::New(content) | ChatEventKind::Corrected { content, .. } => &content.body,
        _ => "",
    }
}

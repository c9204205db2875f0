//! An external component (XEP-0114): a program that speaks for all addresses of a domain, through a server.

use super::{
    Backoff, BuildError, Client, ConnectionError, Event, Events, Flow, ForBoth, Keepalive, RequestError, SendError,
    Shared, Unacknowledged,
    asked::{ComponentRequest, IqEvents},
    builder::Road,
    desk::{Command, Desk},
    events::{self, News},
    extend::ClientRegistrar,
    negotiate::Settings,
    task::Task,
};
use crate::{
    extension::{self, Registrar, Software, Target},
    jid::Jid,
    net::Transport,
    payload::{Payload, disco::Identity},
    sasl::Credentials,
    stanza::{AnyStanza, Iq, IqBuilder, IqType, Message, Presence, StanzaParseError, WriteStanza},
    stream::Sasl2Options,
    xml::{Stanza, XmlLimits, ns},
};
use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{mpsc, watch};
use zeroize::Zeroizing;

/// Requests that may wait for the application, besides as many as the queue of events holds.
const REQUESTS: usize = 1024;

/// A handle to a component's connection, which keeps itself up. Cheap to clone.
///
/// ```no_run
/// use xmpp_core::client::{Component, ComponentEvent};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let (component, mut events) =
///     Component::builder("echo.example.org".parse()?, "secret").server("127.0.0.1", 5347).connect()?;
/// while let Some(event) = events.next().await {
///     if let ComponentEvent::Message(message) = event
///         && let (Some(body), Some(to), Some(reply)) = (message.body(), message.to(), message.reply())
///     {
///         component.send(reply.from(to.clone()).body(body)).await?;
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Component(Client);

/// What happened, in the order in which it happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum ComponentEvent {
    /// The server has accepted the component.
    Online,
    /// The connection was lost, or could not be set up.
    #[non_exhaustive]
    Offline {
        /// Why.
        error: ConnectionError,
        /// When the next attempt is made; `None` if there will be none, because trying again cannot help. Then the
        /// event stream ends.
        retry: Option<Duration>,
    },
    /// A message to an address of the domain. Its type may be error.
    Message(Message),
    /// Presence, a subscription request or a probe, to an address of the domain. Its type may be error.
    Presence(Presence),
    /// A stanza with a header that cannot be read, such as a `from` that is no address.
    Malformed(StanzaParseError),
    /// What was to be sent and may not have arrived, because the connection was lost.
    Unacknowledged(Vec<Unacknowledged>),
    /// A request that no handler takes, if the application wants them ([`ComponentRegistrar::iq_events`]).
    Request(ComponentRequest),
    /// An answer, result or error, that no [`request`](Component::request) waits for, from whoever sent it, if the application
    /// wants them ([`ComponentRegistrar::iq_events`]).
    Answer(Iq),
}

/// The events of a component, in order.
#[derive(Debug)]
pub struct ComponentEvents(Events);

impl ComponentEvents {
    /// The next event; `None` when the component has ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<ComponentEvent> {
        loop {
            let event = match self.0.news().await? {
                News::Event(event) => event,
                News::Request(request) => return Some(ComponentEvent::Request(request)),
                News::Answer(answer) => return Some(ComponentEvent::Answer(answer)),
            };
            // Whatever a client is told besides is about what a component's stream does not have.
            #[allow(unreachable_patterns)]
            return Some(match event {
                Event::Online { .. } => ComponentEvent::Online,
                Event::Offline { error, retry } => ComponentEvent::Offline { error, retry },
                Event::Message(message) => ComponentEvent::Message(message),
                Event::Presence(presence) => ComponentEvent::Presence(presence),
                Event::Malformed(malformed) => ComponentEvent::Malformed(malformed),
                Event::Unacknowledged(stanzas) => ComponentEvent::Unacknowledged(stanzas),
                _ => continue,
            });
        }
    }
}

impl Component {
    /// A component that serves `domain`, with the secret that its server has for it.
    pub fn builder(domain: Jid, secret: impl Into<String>) -> ComponentBuilder {
        ComponentBuilder::new(domain, secret.into())
    }

    /// Its domain.
    pub fn domain(&self) -> &Jid {
        self.0.account()
    }

    /// Resolves once the server has accepted the component; `false` if it was closed first. Cancel-safe.
    pub async fn online(&self) -> bool {
        self.0.online().await.is_some()
    }

    /// Sends a stanza: a builder, or one that was received. Without a `from` it comes from the domain itself. While
    /// there is no session it waits in a queue, as with [`Client::send`].
    ///
    /// Cancel-safe: it is taken over whole or not at all.
    ///
    /// # Errors
    /// [`SendError::Addresses`] if it is to nobody, or from outside the domain: the server would end the stream.
    pub async fn send(&self, stanza: impl WriteStanza) -> Result<(), SendError> {
        let (bytes, _) = self.address(&stanza)?;
        self.0.commands.send(Command::Send(bytes, None)).await.map_err(|_| SendError::Closed)
    }

    /// Sends a request, from the address that it names or else the domain itself, and waits for its answer. That counts
    /// only from the address that was asked, to the one that did; an error answer is [`RequestError::Refused`].
    ///
    /// Cancel-safe, and bounded in time, as [`Client::request`].
    pub async fn request(&self, request: IqBuilder) -> Result<Iq, RequestError> {
        if !matches!(request.get_type(), IqType::Get | IqType::Set) {
            return Err(RequestError::Unexpected);
        }
        let id = request.get_id().unwrap_or_default().to_owned();
        let to = request.get_to().cloned();
        let (bytes, from) = self.address(&request)?;
        self.0.ask(id, Some(from), to, bytes).await
    }

    /// As [`request`](Self::request), with the answer's payload read as `T`.
    pub async fn query<T: Payload>(&self, request: IqBuilder) -> Result<T, RequestError> {
        let answer = self.request(request).await?;
        answer.payload::<T>().ok_or(RequestError::Unexpected)?.map_err(RequestError::Payload)
    }

    /// Closes the stream in good order, as [`Client::close`].
    pub async fn close(&self) -> bool {
        self.0.close().await
    }

    /// The stanza's bytes, with both addresses, and the sender among them.
    fn address(&self, stanza: &impl WriteStanza) -> Result<(Vec<u8>, Jid), SendError> {
        let bytes = self.0.serialise(stanza)?;
        let limits = XmlLimits { stanza_bytes: u32::MAX, ..XmlLimits::authenticated() };
        let read = Stanza::parse(&String::from_utf8_lossy(&bytes), ns::CLIENT, &limits);
        let read = read.map_err(|_| SendError::TooBig(bytes.len()))?;
        let root = read.root();
        let lenient = |text: &str| Jid::new(text).or_else(|_| Jid::lenient(text)).map_err(|_| SendError::Addresses);
        lenient(&root.attr("to").ok_or(SendError::Addresses)?)?;
        match root.attr("from") {
            Some(from) => {
                let from = lenient(&from)?;
                if from.domain() == self.domain().domain() { Ok((bytes, from)) } else { Err(SendError::Addresses) }
            }
            None => {
                let mut out = Vec::with_capacity(bytes.len() + 64);
                read.rewrite(ns::CLIENT).from(Some(self.domain().as_str())).write(&mut out);
                Ok((out, self.domain().clone()))
            }
        }
    }
}

/// Where a component's extension registers: everything a [`Registrar`] takes, and hooks on what comes in.
///
/// For a component, [`Target::Server`] is its domain, [`Target::Account`] any `local@domain`, and [`Target::Client`]
/// any of its addresses with a resource.
#[derive(Debug, Default)]
pub struct ComponentRegistrar {
    shared: ClientRegistrar,
    iq_events: Option<Target>,
}

impl Deref for ComponentRegistrar {
    type Target = Registrar;
    fn deref(&self) -> &Registrar {
        &self.shared
    }
}

impl DerefMut for ComponentRegistrar {
    fn deref_mut(&mut self) -> &mut Registrar {
        &mut self.shared
    }
}

impl ComponentRegistrar {
    /// Shows every incoming message and presence to `hook`, in order, before the application sees it. It must not
    /// block.
    pub fn incoming(&mut self, hook: impl Fn(&AnyStanza, &Component) -> Flow + Send + Sync + 'static) {
        self.shared.incoming(move |stanza, client| hook(stanza, &Component(client.clone())));
    }

    /// Makes events of iqs that nobody takes, in order with everything else: of requests to addresses of these kinds
    /// ([`ComponentEvent::Request`]), and of all answers that no [`Component::request`] waits for
    /// ([`ComponentEvent::Answer`]). A component that passes stanzas on between others needs them.
    ///
    /// A request that an extension has a handler for goes to that. What core answers by itself for every address (ping,
    /// version, time, service discovery) it does not answer for addresses of these kinds. Requests that wait for the
    /// application are as many as the queue holds, and some; beyond that they are answered `resource-constraint`.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// use xmpp_core::{
    ///     client::{Component, ComponentEvent, ComponentRegistrar},
    ///     extension::{Reply, Target},
    /// };
    ///
    /// let all = |r: &mut ComponentRegistrar| r.iq_events(Target::Account | Target::Client);
    /// let (_component, mut events) =
    ///     Component::builder("echo.example.org".parse()?, "secret").with(all).connect()?;
    /// while let Some(event) = events.next().await {
    ///     if let ComponentEvent::Request(request) = event {
    ///         println!("{:?}", request.iq().from());
    ///         request.answer(Ok(Reply::empty()));
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub fn iq_events(&mut self, targets: Target) {
        self.iq_events = Some(self.iq_events.map_or(targets, |others| others | targets));
    }
}

/// Something that a component is extended with: a function or closure over a [`ComponentRegistrar`], or over the plain
/// [`Registrar`] that clients and servers have too. `M` only tells the two apart.
pub trait ComponentExtension<M> {
    /// Registers what the extension handles.
    fn register(self, registrar: &mut ComponentRegistrar);
}

/// Marks extensions of components.
#[derive(Debug)]
pub struct ForComponent;

impl<F: FnOnce(&mut ComponentRegistrar)> ComponentExtension<ForComponent> for F {
    fn register(self, registrar: &mut ComponentRegistrar) {
        self(registrar);
    }
}

impl<F: FnOnce(&mut Registrar)> ComponentExtension<ForBoth> for F {
    fn register(self, registrar: &mut ComponentRegistrar) {
        self(registrar);
    }
}

/// Sets a component up.
pub struct ComponentBuilder {
    domain: Jid,
    secret: Zeroizing<String>,
    road: Road,
    backoff: Option<Backoff>,
    request_timeout: Duration,
    keepalive: Keepalive,
    queue: usize,
    max_stanza_bytes: usize,
    software: Option<Software>,
    registrar: ComponentRegistrar,
}

impl std::fmt::Debug for ComponentBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ComponentBuilder").field("domain", &self.domain).finish_non_exhaustive()
    }
}

impl ComponentBuilder {
    fn new(domain: Jid, secret: String) -> ComponentBuilder {
        ComponentBuilder {
            domain,
            secret: Zeroizing::new(secret),
            road: Road::Plain { host: "localhost".into(), port: 5347 },
            backoff: Some(Backoff::default()),
            request_timeout: Duration::from_secs(60),
            keepalive: Duration::from_secs(120).into(),
            queue: 1024,
            max_stanza_bytes: 262_144,
            software: Some(Software::default()),
            registrar: ComponentRegistrar::default(),
        }
    }

    /// Where the server accepts components: port 5347 of this machine unless set. The stream is not encrypted.
    #[must_use]
    pub fn server(mut self, host: &str, port: u16) -> Self {
        self.road = Road::Plain { host: host.to_owned(), port };
        self
    }

    /// Connects through a pipe that the function makes, such as
    /// [`Server::attach_memory`](crate::server::Server::attach_memory).
    #[must_use]
    pub fn pipe(mut self, connect: impl FnMut() -> Transport + Send + 'static) -> Self {
        self.road = Road::Pipe(Box::new(connect));
        self
    }

    /// How long to wait before connecting again.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = Some(backoff);
        self
    }

    /// Ends when the connection is lost or cannot be set up, instead of connecting again.
    #[must_use]
    pub fn no_reconnect(mut self) -> Self {
        self.backoff = None;
        self
    }

    /// How long a request waits for its answer: 60 seconds unless set.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// After how long a silence the component asks for a sign of life, by a ping to itself through the server; it has
    /// as long again to come back. 120 seconds unless set.
    #[must_use]
    pub fn keepalive(mut self, interval: impl Into<Keepalive>) -> Self {
        self.keepalive = interval.into();
        self
    }

    /// How many stanzas wait in each direction: 1,024 unless set. When that many events wait, nothing more is read from
    /// the server until the application takes one.
    #[must_use]
    pub fn queue(mut self, stanzas: usize) -> Self {
        self.queue = stanzas.max(1);
        self
    }

    /// The largest stanza that is sent, and accepted: 262,144 bytes unless set.
    #[must_use]
    pub fn max_stanza_bytes(mut self, bytes: usize) -> Self {
        self.max_stanza_bytes = bytes;
        self
    }

    /// What to say to who asks for the software's version (XEP-0092); `None` says nothing.
    #[must_use]
    pub fn software(mut self, software: Option<Software>) -> Self {
        self.software = software;
        self
    }

    /// Adds an extension.
    #[must_use]
    pub fn with<M>(mut self, extension: impl ComponentExtension<M>) -> Self {
        extension.register(&mut self.registrar);
        self
    }

    /// Starts connecting, in a task of the current tokio runtime, and returns at once.
    ///
    /// # Errors
    /// [`BuildError::NoDomain`] if the address is not a domain alone.
    pub fn connect(self) -> Result<(Component, ComponentEvents), BuildError> {
        if self.domain.local().is_some() || self.domain.resource().is_some() {
            return Err(BuildError::NoDomain(self.domain));
        }
        let (commands, received) = mpsc::channel::<Command>(self.queue);
        let (online, watching) = watch::channel(None);
        let (leaving, left) = watch::channel(false);
        let (sender, events) = events::channel(self.queue, false);
        let shared = Shared {
            account: self.domain.clone(),
            parts: super::extend::Parts::default(),
            online: watching,
            leaving,
            request_timeout: self.request_timeout,
            max_bytes: self.max_stanza_bytes.into(),
            #[cfg(feature = "https")]
            connector: None,
        };
        let client = Client { commands, shared: Arc::new(shared) };

        let ComponentRegistrar { shared: mut registrar, iq_events } = self.registrar;
        if let Some(targets) = iq_events {
            registrar.iqs.close(targets);
        }
        if registrar.server.identities.is_empty() {
            let name = self.software.as_ref().map(|software| software.name.clone());
            registrar.identity(Target::Server, Identity::new("component", "generic", name));
        }
        extension::core_services(&mut registrar, self.software);
        extension::register_disco(&mut registrar);
        let settings = Settings {
            account: self.domain,
            credentials: Box::new(|_| Credentials::External),
            component: Some(self.secret),
            plaintext: true,
            lang: None,
            max_stanza_bytes: self.max_stanza_bytes,
            management: false,
            sasl2: Sasl2Options::default(),
        };
        let desk = Desk::new(received, left, self.queue);
        let task = Task::new(settings, self.road, desk, sender, online, &client, registrar);
        let iq_events = iq_events.map(|targets| IqEvents::new(targets, self.queue.saturating_add(REQUESTS)));
        tokio::spawn(task.iq_events(iq_events).timing(self.backoff, self.keepalive, None).run());
        Ok((Component(client), ComponentEvents(events)))
    }
}

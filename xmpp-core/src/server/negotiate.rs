//! The driver of a negotiation: feeds the [`Acceptor`] and carries out its tasks, each phase within its time.

use super::{
    Server, StreamCondition, StreamError, buffers,
    clients::{Origin, now},
    connection::{Connection, Input},
    listener::{Entry, Place, SERVICE},
    newcomers::{Newcomer, Reception},
    session::{Role, Session},
};
use crate::{
    extension::{Names, answer_error, answer_result},
    jid::{BareJid, FullJid},
    net::Transport,
    sasl::Mechanism,
    stanza::{Condition, StanzaError},
    stream::{
        Acceptor, AcceptorConfig, BindRequest, Bound, ClientTokens, Phase, ResumeError, Resumed, StreamLimits, Task,
    },
    xml::{Scanner, Stanza, Writer, ns},
};
use std::{
    io,
    net::IpAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout, timeout_at},
};

struct Negotiation<'a> {
    server: &'a Server,
    ip: IpAddr,
    transport: Option<Transport>,
    acceptor: Acceptor,
    scanner: Scanner,
    input: Input,
    /// Queued, to be sent with what follows.
    output: Vec<u8>,
    session: Option<Entered>,
    /// How many revocations there had been when a token was looked up.
    revocations: u64,
    /// Who has been asked something before the login, each with its place in the server's list.
    receptions: Vec<(usize, Box<dyn Reception>)>,
    /// How many there had been when it was looked up whether the account is disabled.
    admitted: u64,
}

/// A session that was entered, or resumed, and is not handed over yet. If it never is, it does not stay: not even when
/// the negotiation is dropped in the middle.
struct Entered {
    server: Server,
    session: Option<Arc<Session>>,
    /// The session was there before: it can be resumed again.
    resumed: bool,
}

impl Entered {
    fn into_session(mut self) -> Option<Arc<Session>> {
        self.session.take()
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            // A panic may be unwinding already.
            let _ = catch_unwind(AssertUnwindSafe(|| self.server.disconnected(&session, self.resumed, &[], 0)));
        }
    }
}

/// What came of one task.
enum Done {
    More(Vec<Task>),
    Accepted,
    Closed,
}

impl Server {
    /// Negotiates a stream; `None` if it does not come to a session.
    pub(super) async fn negotiate(
        &self,
        transport: Transport,
        ip: IpAddr,
        entry: Entry,
        _place: Option<Place>,
    ) -> Option<Connection> {
        let inner = self.inner();
        let domains = inner.domains.iter().map(|domain| (domain.name.clone(), domain.mechanisms.clone()));
        let mut config = AcceptorConfig::new(domains.collect(), Arc::from(inner.secret));
        config.features = inner.features.clone();
        config.tls = inner.tls.is_some() && entry == Entry::StartTls;
        config.plaintext = inner.plaintext || entry == Entry::Memory;
        config.iterations = inner.accounts.as_ref().map_or(super::DEFAULT_ITERATIONS, |accounts| accounts.iterations());
        config.auth_attempts = inner.limits.auth_attempts;
        config.bind_attempts = inner.limits.bind_attempts;
        config.bind_features = self.bind_feature_names();
        config.tokens = inner.tokens.is_some().then_some(inner.limits.token_life.as_secs());
        config.remember = !inner.limits.client_memory.is_zero();
        config.upgrades = inner.accounts.as_ref().map(|accounts| accounts.upgrades().to_vec()).unwrap_or_default();
        let announced = |bytes: u32| StreamLimits::new(Some(bytes.into()), Some(inner.limits.keepalive.as_secs()));
        config.limits.0 = StreamLimits::new(Some(inner.limits.unauthenticated.stanza_bytes.into()), None);
        config.limits.1 = announced(inner.limits.authenticated.stanza_bytes);
        config.management = true;
        config.newcomers = inner.receptions.offer(inner.limits.newcomer_requests, entry == Entry::Memory);
        let mut negotiation = Negotiation {
            server: self,
            ip,
            transport: Some(transport),
            acceptor: Acceptor::new(config, crate::random::token),
            scanner: Scanner::new(inner.limits.unauthenticated),
            input: Input { buffer: buffers::take_read(), start: 0, end: 0 },
            output: Vec::new(),
            session: None,
            revocations: 0,
            receptions: Vec::new(),
            admitted: 0,
        };
        match negotiation.run(entry).await {
            Ok(Some((mut transport, session))) => {
                transport.set_limits(inner.limits.authenticated);
                let Negotiation { mut scanner, input, .. } = negotiation;
                scanner.set_limits(inner.limits.authenticated);
                let input = (input.start < input.end).then_some(input);
                Some(Connection::new(self.clone(), session, transport, scanner, input))
            }
            Ok(None) => None,
            Err(error) => {
                tracing::debug!(%ip, %error, "a negotiation ended early");
                None
            }
        }
    }
}

impl Negotiation<'_> {
    async fn run(&mut self, entry: Entry) -> io::Result<Option<(Transport, Arc<Session>)>> {
        let ended = self.phases(entry).await;
        self.abandon();
        ended
    }

    async fn phases(&mut self, entry: Entry) -> io::Result<Option<(Transport, Arc<Session>)>> {
        let stop = self.server.inner().stop.clone();
        if entry == Entry::DirectTls {
            let deadline = self.deadline();
            let secured = tokio::select! {
                secured = timeout_at(deadline, self.handshake(true)) => secured,
                () = stop.cancelled() => return Ok(None),
            };
            let secured = secured.map_err(|_| io::ErrorKind::TimedOut)??;
            self.perform(secured).await?;
        }
        #[cfg(feature = "http")]
        if entry == (Entry::Web { secured: true }) {
            let bindings = self.transport.as_ref().map(Transport::bindings).unwrap_or_default();
            let secured = self.acceptor.secured(bindings);
            self.perform(secured).await?;
        }
        loop {
            let phase = self.acceptor.phase();
            let deadline = match phase {
                Phase::Register => Instant::now() + self.server.limits().registration,
                _ => self.deadline(),
            };
            while self.acceptor.phase() == phase {
                let step = tokio::select! {
                    step = timeout_at(deadline, self.step()) => step,
                    () = stop.cancelled() => {
                        self.break_off(self.server.stop_reason()).await;
                        return Ok(None);
                    }
                };
                let Ok(done) = step else {
                    // RFC 6120 §4.9.3.4 is about peers that do not react; one that dawdles breaks our policy.
                    let error = StreamError::new(StreamCondition::PolicyViolation);
                    self.break_off(error.with_text("the negotiation takes too long")).await;
                    return Ok(None);
                };
                match done? {
                    Done::More(_) => {}
                    Done::Accepted => {
                        let transport = self.transport.take();
                        return Ok(transport.zip(self.session.take().and_then(Entered::into_session)));
                    }
                    Done::Closed => return Ok(None),
                }
            }
        }
    }

    /// Ends the stream for a reason of ours, for which a peer that does not read gets no more than a moment.
    async fn break_off(&mut self, error: StreamError) {
        self.abandon();
        let tasks = self.acceptor.fail(&error);
        let brief = Instant::now() + self.server.limits().closing;
        let _ = timeout_at(brief, self.perform(tasks)).await;
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.server.limits().phase
    }

    /// A session that was entered and then could not be handed over. One that was resumed can be resumed again.
    fn abandon(&mut self) {
        self.session = None;
    }

    fn take_over(&mut self, session: Arc<Session>, handled: u32) -> Result<Resumed, ResumeError> {
        let jid = session.jid().clone().into_full();
        self.note_origin(&session);
        self.session = Some(Entered { server: self.server.clone(), session: Some(session), resumed: true });
        let jid = jid.map_err(|_| ResumeError::Other(Condition::InternalServerError))?;
        Ok(Resumed { jid, handled })
    }

    /// Waits for one event and does what follows from it.
    async fn step(&mut self) -> io::Result<Done> {
        let tasks = loop {
            let mut rest = self.input.buffer.get(self.input.start..self.input.end).unwrap_or_default();
            let scanned = self.scanner.scan(&mut rest);
            self.input.start = self.input.end - rest.len();
            match scanned {
                Ok(Some(event)) => break self.acceptor.event(event),
                Ok(None) => {
                    if let Err(error) = self.read().await {
                        match StreamError::found_by_transport(&error) {
                            Some(found) => break self.acceptor.fail(found),
                            None => return Err(error),
                        }
                    }
                }
                Err(error) => break self.acceptor.fail(&error.into()),
            }
        };
        self.perform(tasks).await
    }

    async fn read(&mut self) -> io::Result<()> {
        let Some(transport) = &mut self.transport else { return Err(io::ErrorKind::NotConnected.into()) };
        let count = transport.read(&mut self.input.buffer).await?;
        (self.input.start, self.input.end) = (0, count);
        if count == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    async fn perform(&mut self, mut tasks: Vec<Task>) -> io::Result<Done> {
        loop {
            let mut next = Vec::new();
            for task in tasks {
                match self.task(task).await? {
                    Done::More(more) => next.extend(more),
                    done => return Ok(done),
                }
            }
            if next.is_empty() {
                self.flush().await?;
                return Ok(Done::More(Vec::new()));
            }
            tasks = next;
        }
    }

    async fn task(&mut self, task: Task) -> io::Result<Done> {
        let more = match task {
            Task::Send(bytes) => {
                self.output.extend_from_slice(&bytes);
                Vec::new()
            }
            Task::Restart => {
                self.scanner.restart();
                Vec::new()
            }
            Task::StartTls => {
                self.flush().await?;
                self.handshake(false).await?
            }
            Task::Generation(user) => {
                let found = match &self.server.inner().tokens {
                    Some(tokens) => looked_up(self.server, tokens.generation(&user)).await,
                    None => Err(()),
                };
                self.acceptor.generation(found)
            }
            Task::Credentials(user, hash) => {
                let found = match &self.server.inner().accounts {
                    Some(accounts) => looked_up(self.server, accounts.credentials(&user, hash)).await,
                    None => Ok(None),
                };
                self.acceptor.credentials(found)
            }
            Task::CheckPassword(user, password) => {
                let correct = match &self.server.inner().accounts {
                    Some(accounts) => looked_up(self.server, accounts.check_password(&user, &password)).await,
                    None => Ok(false),
                };
                self.acceptor.password(correct)
            }
            Task::Newcomer { domain, request } => {
                let answer = self.receive(domain, &request).await;
                self.acceptor.newcomer_answered(answer)
            }
            Task::Admit(user) => {
                self.admitted = self.server.inner().revocations.load(Ordering::SeqCst);
                let disabled = self.server.is_disabled(&user).await;
                self.acceptor.admitted(disabled.map(|disabled| !disabled))
            }
            Task::Failed(name) => {
                let inner = self.server.inner();
                inner.stats.failures.fetch_add(1, Ordering::Relaxed);
                tracing::info!(ip = %self.ip, user = name.as_deref().map(|name| name.escape_debug().to_string()), "login failed");
                // Where no account was named, nothing was guessed: slixmpp tries an unsupported channel binding with
                // each -PLUS mechanism before it falls back. The attempts of the connection are counted all the same.
                let guessed = name.is_some();
                inner.stats.observe(|| super::Observed::LoginFailed(name));
                if guessed {
                    tokio::time::sleep(inner.throttle.failed(self.ip)).await;
                }
                Vec::new()
            }
            Task::Bind(user, resource) => {
                let mut bound = self.bind(&user, resource.as_deref());
                if bound.is_ok() && !self.keeps_access(&user).await {
                    bound = Err(StanzaError::not_authorized());
                }
                self.acceptor.bound(bound)
            }
            Task::Bind2(request) => {
                let mut bound = self.bind2(&request).await;
                if bound.is_ok() && !self.keeps_access(&request.user).await {
                    bound = Err(StanzaError::not_authorized());
                }
                self.acceptor.bound2(bound)
            }
            Task::Tokens(user, client) => {
                self.revocations = self.server.inner().revocations.load(Ordering::SeqCst);
                let found = load_tokens(self.server, &user, &client).await;
                self.acceptor.tokens(found, now())
            }
            Task::StoreTokens { user, client, tokens } => {
                let stored = match &self.server.inner().tokens {
                    Some(store) => looked_up(self.server, store.store(&user, &client, &tokens)).await,
                    None => Err(()),
                };
                self.acceptor.tokens_stored(stored)
            }
            Task::StoreCredentials(user, credentials) => {
                let stored = match &self.server.inner().accounts {
                    Some(accounts) => looked_up(self.server, accounts.store_credentials(&user, *credentials)).await,
                    None => Err(()),
                };
                self.acceptor.credentials_stored(stored)
            }
            Task::Resume { user, previous, handled } => {
                let resumed = self.server.resume(&user, &previous, handled).await;
                let mut resumed = resumed.and_then(|(session, handled)| self.take_over(session, handled));
                if resumed.is_ok() && !self.keeps_access(&user).await {
                    resumed = Err(ResumeError::NotFound(None));
                }
                self.acceptor.resumed(resumed)
            }
            Task::Accepted(accepted) => {
                let inner = self.server.inner();
                inner.stats.logins.fetch_add(1, Ordering::Relaxed);
                let name = self.transport.as_ref().and_then(Transport::server_name);
                if let Some(name) = name.filter(|name| !is_name_of(name, accepted.jid.domain())) {
                    // RFC 7590 §3.6: the client was shown the certificate of another name, and has accepted it.
                    tracing::debug!(jid = %accepted.jid, name, "the TLS server name is not the stream's domain");
                }
                tracing::info!(jid = %accepted.jid, mechanism = accepted.mechanism.name(), tls = accepted.secured, resumed = accepted.resumed, "session bound");
                self.flush().await?;
                return Ok(Done::Accepted);
            }
            Task::Close => {
                self.flush().await?;
                if let Some(mut transport) = self.transport.take() {
                    linger(&mut transport, &mut self.input.buffer, self.server.limits().closing).await;
                }
                return Ok(Done::Closed);
            }
        };
        Ok(Done::More(more))
    }

    /// Answers a request of a client that has not logged in.
    async fn receive(&mut self, domain: String, request: &Stanza) -> Vec<u8> {
        let limits = self.server.limits();
        let time = limits.handler.min(limits.registration / 2);
        let names = Names { from: Some(&domain), to: None };
        let newcomer = Newcomer::new(domain.clone(), self.ip);
        let answer = self.server.inner().receptions.answer(&mut self.receptions, newcomer, request);
        let answer = timeout(time, answer).await.unwrap_or_else(|_| {
            tracing::error!(ip = %self.ip, "a request before the login is not answered in time");
            Err(StanzaError::internal_server_error())
        });
        let mut out = Writer::new(ns::CLIENT);
        match answer {
            Ok(reply) => answer_result(request, names, reply, &mut out),
            Err(error) => answer_error(request, names, &error, &mut out),
        }
        out.finish()
    }

    async fn flush(&mut self) -> io::Result<()> {
        let Some(transport) = &mut self.transport else { return Err(io::ErrorKind::NotConnected.into()) };
        // What is written leaves the queue at once: a deadline may cut this short, and nothing may be sent twice.
        while !self.output.is_empty() {
            let count = transport.write(&self.output).await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.output.drain(..count);
        }
        transport.flush().await
    }

    async fn handshake(&mut self, direct: bool) -> io::Result<Vec<Task>> {
        // Anything behind <starttls/> was injected, or comes from a client that does not wait: it is never to be
        // taken for something said under TLS (RFC 6120 §5.4.3.3, ABUSE A026).
        let early = self.input.buffer.get(self.input.start..self.input.end).unwrap_or_default();
        if !early.iter().all(u8::is_ascii_whitespace) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "data behind <starttls/>"));
        }
        (self.input.start, self.input.end) = (0, 0);
        let (Some(transport), Some(tls)) = (self.transport.take(), &self.server.inner().tls) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let secured = match direct {
            true => transport.direct_server(tls, SERVICE).await,
            false => transport.upgrade_server(tls).await,
        };
        let transport = secured.map_err(io::Error::other)?;
        let bindings = transport.bindings();
        let certified = certified(self.server, &transport).await;
        self.acceptor.certified(certified);
        self.transport = Some(transport);
        Ok(self.acceptor.secured(bindings))
    }

    /// Enters a session under the resource asked for, prepared, or one of our making (RFC 6120 §7.6, §7.7).
    fn bind(&mut self, user: &BareJid, resource: Option<&str>) -> Result<FullJid, StanzaError> {
        let token;
        let resource = match resource {
            Some(resource) => resource,
            None => {
                token = crate::random::token();
                &token
            }
        };
        let jid = user.with_resource(resource);
        let jid = jid.map_err(|error| StanzaError::bad_request().with_text(error.to_string()))?;
        self.enter(&self.session(&jid))?;
        Ok(jid)
    }

    /// Enters a session as Bind 2 has it (XEP-0386 §3.2).
    async fn bind2(&mut self, request: &BindRequest) -> Result<Bound, StanzaError> {
        let (jid, stable) = self.server.resource_for(request).ok_or_else(StanzaError::bad_request)?;
        let session = self.session(&jid);
        let mut features = self.server.enable_own(&session, request);
        self.enter(&session)?;
        if let Some(stable) = stable {
            self.server.end_older(&session, &stable);
        }
        features.extend(self.server.enable_features(&session, &jid, request));
        features.extend(self.server.gather_bound_info(&jid).await);
        let mut bound = Bound::new(jid, features);
        bound.managed = session.is_managed();
        Ok(bound)
    }

    fn session(&self, jid: &FullJid) -> Arc<Session> {
        let session = Arc::new(Session::new(jid.clone().into(), Role::Client, self.server.tick()));
        self.note_origin(&session);
        session
    }

    /// Before anybody can find the session: what is revoked must be found.
    fn note_origin(&self, session: &Session) {
        if let Some(login) = self.acceptor.login() {
            session.came_by(Origin::new(login));
        }
    }

    /// Whether the account is not disabled, and the token by which a client came is still there, now that its session
    /// can be found; else that is ended.
    async fn keeps_access(&mut self, user: &BareJid) -> bool {
        let Some(login) = self.acceptor.login() else { return true };
        let client = login.user_agent.and_then(|agent| agent.id).filter(|_| login.mechanism.token_hash().is_some());
        let mut keeps = login.mechanism == Mechanism::Anonymous
            || self.server.inner().revocations.load(Ordering::SeqCst) == self.admitted
            || self.server.is_disabled(user).await == Ok(false);
        if let (true, Some(client)) = (keeps, client) {
            keeps = self.server.keeps_access(user, &client, self.revocations).await;
        }
        if keeps {
            return true;
        }
        // Also one that was resumed is over.
        if let Some(mut entered) = self.session.take() {
            entered.resumed = false;
        }
        false
    }

    fn enter(&mut self, session: &Arc<Session>) -> Result<(), StanzaError> {
        self.server
            .session_started(session)
            .map_err(|_| StanzaError::resource_constraint().with_text("the account has too many sessions"))?;
        let session = Some(Arc::clone(session));
        self.session = Some(Entered { server: self.server.clone(), session, resumed: false });
        Ok(())
    }
}

/// A user who exists no more has no tokens, whatever the store says.
async fn load_tokens(server: &Server, user: &BareJid, client: &str) -> Result<ClientTokens, ()> {
    let inner = server.inner();
    let (Some(tokens), Some(accounts)) = (&inner.tokens, &inner.accounts) else { return Err(()) };
    match looked_up(server, accounts.exists(user)).await? {
        true => looked_up(server, tokens.load(user, client)).await,
        false => Ok(ClientTokens::default()),
    }
}

/// The accounts that the client's certificate stands for, of those that exist.
async fn certified(server: &Server, transport: &Transport) -> Vec<BareJid> {
    let inner = server.inner();
    let (Some(authorities), Some(accounts)) = (&inner.authorities, &inner.accounts) else { return Vec::new() };
    let mut certified = Vec::new();
    for account in authorities.accounts(transport.peer_certificates()) {
        if server.hosts(account.domain()) && looked_up(server, accounts.exists(&account)).await == Ok(true) {
            certified.push(account);
        }
    }
    certified
}

/// Whether a server name (A-labels, RFC 6066 §3) is that of the domain.
fn is_name_of(name: &str, domain: &str) -> bool {
    crate::net::ascii_domain(domain).is_some_and(|domain| domain.eq_ignore_ascii_case(name.trim_end_matches('.')))
}

impl Server {
    /// Whether an account is disabled, if that can be known.
    async fn is_disabled(&self, user: &BareJid) -> Result<bool, ()> {
        match &self.inner().accounts {
            Some(accounts) => looked_up(self, accounts.is_disabled(user)).await,
            None => Ok(false),
        }
    }
}

/// What the account store says, if it says it while the client still has time to hear it.
async fn looked_up<T, E: std::error::Error>(
    server: &Server,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, ()> {
    let limits = server.limits();
    match timeout(limits.handler.min(limits.phase / 2), answer).await {
        Ok(answer) => answer.map_err(|error| tracing::error!(%error, "accounts")),
        Err(_) => {
            tracing::error!("the account store does not answer");
            Err(())
        }
    }
}

/// Reads and drops until the peer closes: closing on unread data would reset the connection, and the peer would
/// never see why (RFC 6120 §4.4).
pub(super) async fn linger(transport: &mut Transport, buffer: &mut [u8], time: std::time::Duration) {
    let drained = async {
        transport.shutdown().await?;
        while transport.read(buffer).await? > 0 {}
        io::Result::Ok(())
    };
    let _ = tokio::time::timeout(time, drained).await;
}

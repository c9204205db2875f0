//! From a TCP connection to a bound resource (RFC 6120 sections 5, 6 and 7), as a client does it: one step after another.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::args::{Target, Tls};
use crate::error::{Error, Result};
use crate::scram::{Exchange, Hash, KeyCache};
use crate::wire::{Conn, in_time, text_of, tls_connector};

const FEATURES: [&str; 3] = ["</stream:features>", "</features>", "</stream:error>"];

/// What all logins to one target share.
pub(crate) struct Door {
    pub(crate) target: Target,
    keys: KeyCache,
    connector: TlsConnector,
    presence: bool,
}

/// A bound session.
pub(crate) struct Session {
    pub(crate) conn: Conn,
    pub(crate) jid: String,
}

impl Door {
    pub(crate) fn new(target: &Target, presence: bool) -> Result<Arc<Door>> {
        Ok(Arc::new(Door { target: target.clone(), keys: KeyCache::default(), connector: tls_connector()?, presence }))
    }

    /// Logs account `number` in and binds a resource of the server's choice.
    pub(crate) async fn login(&self, number: usize) -> Result<Session> {
        let target = &self.target;
        let mut conn = Conn::open(target, target.port, number).await?;
        if target.tls == Tls::Direct {
            conn = conn.secure(&target.domain, &self.connector).await?;
        }
        let mut features = self.stream(&mut conn).await?;
        if target.tls == Tls::Upgrade {
            conn.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await?;
            let answer = conn.until("answer to STARTTLS", &["/>", "</proceed>"]).await?;
            if !answer.contains("<proceed") {
                return Err(Error::Server(format!("refuses STARTTLS: {answer}")));
            }
            conn = conn.secure(&target.domain, &self.connector).await?;
            features = self.stream(&mut conn).await?;
        }
        self.authenticate(&mut conn, number, &features).await?;
        self.stream(&mut conn).await?;
        conn.send("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>").await?;
        let bound = conn.until("bound resource", &["</iq>", "</stream:error>"]).await?;
        let jid =
            text_of(&bound, "jid").ok_or_else(|| Error::Server(format!("binds no resource: {bound}")))?.to_owned();
        if self.presence {
            conn.send("<presence/>").await?;
        }
        Ok(Session { conn, jid })
    }

    async fn stream(&self, conn: &mut Conn) -> Result<String> {
        let domain = &self.target.domain;
        conn.send(&format!(
            "<?xml version='1.0'?><stream:stream to='{domain}' version='1.0' xmlns='jabber:client' \
             xmlns:stream='http://etherx.jabber.org/streams'>"
        ))
        .await?;
        conn.until("stream features", &FEATURES).await
    }

    async fn authenticate(&self, conn: &mut Conn, number: usize, features: &str) -> Result<()> {
        static NONCE: AtomicU64 = AtomicU64::new(1);
        let (user, password) = (self.target.user(number), self.target.password(number));
        let name = &self.target.mechanism;
        if !features.contains(&format!(">{name}<")) {
            return Err(Error::Server(format!("offers no {name}: {features}")));
        }
        let hash = match name.as_str() {
            "SCRAM-SHA-256" => Hash::Sha256,
            "SCRAM-SHA-1" => Hash::Sha1,
            "PLAIN" => {
                let secret = STANDARD.encode(format!("\0{user}\0{password}"));
                self.auth(conn, &secret).await?;
                return success(conn, &["/>", "</success>"]).await.map(drop);
            }
            _ => return Err(Error::Usage(format!("--mechanism: {name} is not known here"))),
        };
        let nonce = format!("load{:020}", NONCE.fetch_add(1, Ordering::Relaxed));
        let mut exchange = Exchange::new(hash, &user, nonce);
        self.auth(conn, &exchange.first()).await?;
        let challenge = conn.until("SCRAM challenge", &["</challenge>", "</failure>"]).await?;
        let challenge = text_of(&challenge, "challenge").ok_or_else(|| Error::Server(format!("says {challenge}")))?;
        let answer = exchange.answer(challenge, &password, &self.keys)?;
        conn.send(&format!("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{answer}</response>")).await?;
        let won = success(conn, &["</success>"]).await?;
        exchange.verify(text_of(&won, "success").unwrap_or_default())
    }

    async fn auth(&self, conn: &mut Conn, initial: &str) -> Result<()> {
        let name = &self.target.mechanism;
        conn.send(&format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{name}'>{initial}</auth>")).await
    }

    /// Logs the accounts in, `concurrency` at a time, and returns the sessions in the accounts' order.
    pub(crate) async fn many(
        self: &Arc<Door>,
        accounts: std::ops::Range<usize>,
        concurrency: usize,
    ) -> Result<Vec<Session>> {
        let mut waiting: VecDeque<usize> = accounts.collect();
        let mut done = Vec::with_capacity(waiting.len());
        let mut running = JoinSet::new();
        loop {
            while running.len() < concurrency {
                let Some(number) = waiting.pop_front() else { break };
                let door = self.clone();
                running.spawn(async move { door.login(number).await.map(|session| (number, session)) });
            }
            let Some(one) = running.join_next().await else { break };
            done.push(one??);
        }
        done.sort_unstable_by_key(|(number, _)| *number);
        Ok(done.into_iter().map(|(_, session)| session).collect())
    }
}

async fn success(conn: &mut Conn, ends: &[&str]) -> Result<String> {
    let mut all = ends.to_vec();
    all.push("</failure>");
    let text = conn.until("outcome of SASL", &all).await?;
    if text.contains("<success") { Ok(text) } else { Err(Error::Server(format!("refuses the login: {text}"))) }
}

impl Session {
    /// Ends the stream, and waits for the server to do so too (RFC 6120 section 4.4).
    pub(crate) async fn close(mut self) -> Result<()> {
        self.conn.send("</stream:stream>").await?;
        self.conn.until("end of the stream", &["</stream:stream>"]).await?;
        in_time("end of the connection", async {
            // A peer that has closed already, or without TLS close_notify, has done all we wait for.
            let _ = self.conn.stream.shutdown().await;
            let mut rest = [0; 256];
            while matches!(self.conn.stream.read(&mut rest).await, Ok(n) if n > 0) {}
            Ok(())
        })
        .await
    }
}

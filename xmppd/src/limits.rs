//! What a session may take, and how long it may take it: `[limits]` and `[stream_management]`.

use crate::Outcome;
use serde::Deserialize;
use std::time::Duration;
use xmpp_core::server;

/// Seconds of a day.
const DAY: u32 = 24 * 60 * 60;

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    pub(crate) connections: usize,
    unauthenticated_per_ip: usize,
    sessions_per_account: usize,
    auth_attempts: u32,
    negotiation_seconds: u32,
    stanza_bytes: u32,
    pub(crate) outbox_bytes: usize,
    bytes_per_second: u32,
    burst_bytes: u32,
    bosh_sessions: usize,
    bosh_sessions_per_ip: usize,
    bosh_wait_seconds: u32,
    bosh_inactivity_seconds: u32,
    keepalive_seconds: u32,
    keepalive_answer_seconds: u32,
    token_days: u32,
    client_days: u32,
}

/// XEP-0198.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct StreamManagement {
    resume_seconds: u32,
    unacked_stanzas: usize,
    unacked_bytes: usize,
    hibernated: usize,
    hibernated_per_account: usize,
    hibernated_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        let core = server::Limits::default();
        let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        Limits {
            connections: core.connections,
            unauthenticated_per_ip: core.unauthenticated_per_ip,
            sessions_per_account: core.sessions_per_account,
            auth_attempts: core.auth_attempts,
            negotiation_seconds: seconds(core.phase),
            stanza_bytes: core.authenticated.stanza_bytes,
            outbox_bytes: core.outbox_bytes,
            bytes_per_second: core.bytes_per_second,
            burst_bytes: core.burst_bytes,
            bosh_sessions: core.http.bosh_sessions,
            bosh_sessions_per_ip: core.http.bosh_sessions_per_ip,
            bosh_wait_seconds: seconds(core.http.bosh.wait),
            bosh_inactivity_seconds: seconds(core.http.bosh.inactivity),
            keepalive_seconds: seconds(core.keepalive),
            keepalive_answer_seconds: seconds(core.keepalive_answer),
            token_days: seconds(core.token_life) / DAY,
            client_days: seconds(core.client_memory) / DAY,
        }
    }
}

impl Default for StreamManagement {
    fn default() -> StreamManagement {
        let core = server::Limits::default();
        StreamManagement {
            resume_seconds: u32::try_from(core.resume_time.as_secs()).unwrap_or(u32::MAX),
            unacked_stanzas: core.unacked_stanzas,
            unacked_bytes: core.unacked_bytes,
            hibernated: core.hibernated,
            hibernated_per_account: core.hibernated_per_account,
            hibernated_bytes: core.hibernated_bytes,
        }
    }
}

impl StreamManagement {
    pub(crate) fn apply(&self, core: &mut server::Limits) {
        core.resume_time = Duration::from_secs(self.resume_seconds.into());
        core.unacked_stanzas = self.unacked_stanzas;
        core.unacked_bytes = self.unacked_bytes;
        core.hibernated = self.hibernated;
        core.hibernated_per_account = self.hibernated_per_account;
        core.hibernated_bytes = self.hibernated_bytes;
    }

    /// A client that acknowledges as it should must not be ended by a single stanza.
    pub(crate) fn check(&self, limits: &Limits) -> Outcome<()> {
        if self.unacked_stanzas < 100 {
            return Err("stream_management.unacked_stanzas must be at least 100".into());
        }
        if self.unacked_bytes < 2 * limits.stanza_bytes as usize {
            return Err("stream_management.unacked_bytes must be at least twice limits.stanza_bytes".into());
        }
        if self.hibernated_bytes < self.unacked_bytes {
            return Err("stream_management.hibernated_bytes must be at least stream_management.unacked_bytes".into());
        }
        Ok(())
    }
}

impl Limits {
    /// As the server takes them, with no more connections than there can be open files.
    pub(crate) fn to_core(&self, open_files: Option<u64>) -> server::Limits {
        let mut core = server::Limits::default();
        // The database, the listeners, the runtime and the standard streams need some, too.
        let files = open_files.and_then(|files| usize::try_from(files.saturating_sub(64)).ok());
        core.connections = self.connections.min(files.unwrap_or(usize::MAX)).max(1);
        core.unauthenticated_per_ip = self.unauthenticated_per_ip;
        core.sessions_per_account = self.sessions_per_account;
        core.auth_attempts = self.auth_attempts;
        core.phase = Duration::from_secs(self.negotiation_seconds.into());
        core.authenticated.stanza_bytes = self.stanza_bytes;
        core.outbox_bytes = self.outbox_bytes;
        core.bytes_per_second = self.bytes_per_second;
        core.burst_bytes = self.burst_bytes;
        core.http.bosh_sessions = self.bosh_sessions;
        core.http.bosh_sessions_per_ip = self.bosh_sessions_per_ip;
        core.http.bosh.wait = Duration::from_secs(self.bosh_wait_seconds.into());
        core.http.bosh.inactivity = Duration::from_secs(self.bosh_inactivity_seconds.into());
        core.keepalive = Duration::from_secs(self.keepalive_seconds.into());
        core.keepalive_answer = Duration::from_secs(self.keepalive_answer_seconds.into());
        core.token_life = Duration::from_secs(u64::from(self.token_days) * u64::from(DAY));
        core.client_memory = Duration::from_secs(u64::from(self.client_days) * u64::from(DAY));
        core
    }

    pub(crate) fn check(&self) -> Outcome<()> {
        let positive = [
            ("connections", self.connections as u64),
            ("unauthenticated_per_ip", self.unauthenticated_per_ip as u64),
            ("sessions_per_account", self.sessions_per_account as u64),
            ("auth_attempts", self.auth_attempts.into()),
            ("negotiation_seconds", self.negotiation_seconds.into()),
            ("bytes_per_second", self.bytes_per_second.into()),
            ("burst_bytes", self.burst_bytes.into()),
            ("bosh_sessions", self.bosh_sessions as u64),
            ("bosh_sessions_per_ip", self.bosh_sessions_per_ip as u64),
            ("bosh_inactivity_seconds", self.bosh_inactivity_seconds.into()),
            ("keepalive_seconds", self.keepalive_seconds.into()),
            ("keepalive_answer_seconds", self.keepalive_answer_seconds.into()),
            ("token_days", self.token_days.into()),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(format!("limits.{name} must be more than 0").into());
        }
        // RFC 6120 §13.12.
        if self.stanza_bytes < 10_000 {
            return Err("limits.stanza_bytes must be at least 10000".into());
        }
        if self.outbox_bytes < 2 * self.stanza_bytes as usize {
            return Err("limits.outbox_bytes must be at least twice limits.stanza_bytes".into());
        }
        Ok(())
    }
}

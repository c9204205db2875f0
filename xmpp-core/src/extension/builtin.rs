//! What every entity answers: ping, version, time, last activity.

use super::{Registrar, Target};
use crate::payload::{
    DateTime, TimeZone,
    disco::Identity,
    last::{LastActivity, LastQuery},
    ping::Ping,
    time::{EntityTime, TimeQuery},
    version::{Version, VersionQuery},
};
use crate::stanza::StanzaError;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Whom a service of core answers for: the server by its domain, a client by its full address.
const SELF: Target = Target::Server.or(Target::Client);

/// What to say of oneself in a software version reply (XEP-0092) and in the identity of service discovery.
#[derive(Clone, Debug)]
pub struct Software {
    /// The name.
    pub name: String,
    /// The version.
    pub version: String,
    /// The operating system; many prefer not to say.
    pub os: Option<String>,
}

impl Default for Software {
    /// This library.
    fn default() -> Self {
        Software { name: env!("CARGO_PKG_NAME").into(), version: env!("CARGO_PKG_VERSION").into(), os: None }
    }
}

/// Answers pings (XEP-0199), the account's too.
pub fn ping(r: &mut Registrar) {
    r.iq_get::<Ping, _>(SELF | Target::OwnAccount, |_, _| Ok(()));
}

/// Answers software version requests (XEP-0092).
pub fn version(r: &mut Registrar, software: Software) {
    let answer = Version { name: software.name, version: software.version, os: software.os };
    r.iq_get::<VersionQuery, _>(SELF, move |_, _| Ok(answer.clone()));
}

/// Answers with the time (XEP-0202), in UTC: where the machine stands is nobody's business.
pub fn entity_time(r: &mut Registrar) {
    r.iq_get::<TimeQuery, _>(SELF, |_, _| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| StanzaError::internal_server_error())?;
        let utc = i64::try_from(now.as_secs()).ok().and_then(|seconds| DateTime::from_unix(seconds, 0));
        let (Some(utc), Some(tzo)) = (utc, TimeZone::from_minutes(0)) else {
            return Err(StanzaError::internal_server_error());
        };
        Ok(EntityTime { tzo, utc })
    });
}

/// Answers with the server's uptime (XEP-0012 §5).
pub fn last_activity(r: &mut Registrar) {
    let start = Instant::now();
    r.iq_get::<LastQuery, _>(Target::Server, move |_, _| {
        Ok(LastActivity { seconds: start.elapsed().as_secs(), status: None })
    });
}

/// What core registers by itself; called after the extensions, so that one of theirs goes first.
pub(crate) fn core_services(r: &mut Registrar, software: Option<Software>) {
    ping(r);
    entity_time(r);
    last_activity(r);
    let name = software.as_ref().map(|software| software.name.clone());
    if r.server.identities.is_empty() {
        r.identity(Target::Server, Identity::new("server", "im", name.clone()));
    }
    if r.client.identities.is_empty() {
        r.identity(Target::Client, Identity::new("client", "bot", name));
    }
    if let Some(software) = software {
        version(r, software);
    }
}

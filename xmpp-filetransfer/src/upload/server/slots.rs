//! Giving slots out (§4, §6).

use super::{Service, name, random, sweep};
use crate::upload::{
    FileTooLarge, Get, Header, Purpose, Put, Retry, Slot, SlotRequest,
    store::{Reserved, StorageError, Upload},
};
use sha2::{Digest as _, Sha256};
use xmpp_core::{
    jid::Jid,
    payload::DateTime,
    stanza::{ErrorType, StanzaError},
};

/// The longest media type that is kept, in bytes.
const CONTENT_TYPE: usize = 255;
/// Seconds after which to ask again where nothing says better.
const LATER: u64 = 600;

pub(super) fn failed(error: StorageError) -> StanzaError {
    tracing::error!("{error}");
    StanzaError::internal_server_error()
}

/// A temporary refusal (§6).
fn wait(text: &str, until: u64) -> StanzaError {
    let error = StanzaError::resource_constraint().with_type(ErrorType::Wait).with_text(text);
    match i64::try_from(until).ok().and_then(|until| DateTime::from_unix(until, 0)) {
        Some(stamp) => error.with_application(&Retry { stamp }),
        None => error,
    }
}

impl Service {
    fn may_upload(&self, from: &Jid) -> bool {
        match &self.settings.may_upload {
            Some(may) => may(from),
            None => from.local().is_some() && self.server.get().is_some_and(|server| server.hosts(from.domain())),
        }
    }

    /// A slot for a file, if there may be one.
    pub(super) async fn slot(&self, from: Option<&Jid>, request: SlotRequest) -> Result<Slot, StanzaError> {
        let Some(from) = from.filter(|from| self.may_upload(from)) else {
            return Err(StanzaError::forbidden().with_text("only users of this server may upload files"));
        };
        if request.size == 0 || request.filename.is_empty() {
            return Err(StanzaError::bad_request().with_text("a file has a name and a size"));
        }
        let content_type = request.content_type.filter(|content_type| !content_type.is_empty());
        let sound = |content_type: &String| {
            content_type.len() <= CONTENT_TYPE && content_type.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        };
        if !content_type.as_ref().is_none_or(sound) {
            return Err(StanzaError::bad_request().with_text("that is no media type"));
        }
        let most = self.settings.max_file_size;
        if request.size > most {
            let text = format!("File too large. The maximum file size is {most} bytes");
            let too_large = FileTooLarge { max_file_size: Some(most) };
            return Err(StanzaError::not_acceptable().with_text(text).with_application(&too_large));
        }
        let expire_before = match request.purpose {
            None | Some(Purpose::Message) => None,
            Some(Purpose::Ephemeral { expire_before }) => {
                Some(u64::try_from(expire_before.unix_seconds()).unwrap_or(0))
            }
            // Not offered: what is kept like the rest must not be taken for kept longer.
            Some(Purpose::Profile | Purpose::Permanent) => return Err(StanzaError::feature_not_implemented()),
        };
        let now = self.now();
        if expire_before.is_some_and(|before| before <= now) {
            return Err(StanzaError::not_acceptable().with_text("it would have expired already"));
        }
        let owner = from.to_bare();
        self.rates
            .count(&owner, now, self.settings.slots_per_minute)
            .map_err(|until| wait("too many slots in a minute", until))?;

        let made = random::<32>().and_then(|id| Ok((id, random::<40>()?)));
        let (id, token) = made.map_err(|_| StanzaError::internal_server_error())?;
        let slot = Upload {
            id,
            owner,
            name: name::sanitised(&request.filename),
            content_type,
            size: request.size,
            token: Sha256::digest(token.as_bytes()).into(),
            expires: Some(now.saturating_add(self.settings.slot_time.as_secs())),
            expire_before,
            published: false,
        };
        self.reserve(&slot, now).await?;
        let url = self.url(&slot);
        let authorization = Header { name: "Authorization".to_owned(), value: format!("Bearer {token}") };
        Ok(Slot { put: Put { url: url.clone(), headers: vec![authorization] }, get: Get { url } })
    }

    /// Keeps a slot, within the quotas. What has expired and only waits to be swept stands in nobody's way.
    async fn reserve(&self, slot: &Upload, now: u64) -> Result<(), StanzaError> {
        let quota = &self.settings.quota;
        let mut reserved = self.store.reserve(slot, quota).await.map_err(failed)?;
        if reserved != Reserved::Kept && sweep::some(self).await.map_err(failed)? > 0 {
            reserved = self.store.reserve(slot, quota).await.map_err(failed)?;
        }
        match reserved {
            Reserved::Kept => Ok(()),
            Reserved::UserFull if quota.user_bytes.is_some_and(|most| slot.size > most) => {
                Err(StanzaError::not_acceptable().with_text("the file is larger than all that you may have here"))
            }
            Reserved::UserFull => {
                let next = self.store.next_expiry(&slot.owner).await.map_err(failed)?;
                let next = next.filter(|next| *next > now).unwrap_or(now.saturating_add(LATER));
                Err(wait("you have as much here as you may", next))
            }
            Reserved::Full => {
                tracing::warn!("uploads have reached what they may take in all");
                Err(wait("there is no more room", now.saturating_add(LATER)))
            }
        }
    }
}

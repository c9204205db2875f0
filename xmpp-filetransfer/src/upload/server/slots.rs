//! Giving slots out (§4, §6).

use super::{
    PurposeSettings, Service,
    address::{ID, random},
    name, sweep,
};
use crate::upload::{
    FileTooLarge, Get, Header, Purpose, Put, Retry, Slot, SlotRequest,
    store::{Bucket, Quota, Reserved, StorageError, Upload},
};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use xmpp_core::{
    jid::Jid,
    payload::DateTime,
    stanza::{ErrorType, StanzaError},
};

/// The longest media type that is kept, in bytes.
const CONTENT_TYPE: usize = 255;
/// Seconds after which to ask again where nothing says better.
const LATER: u64 = 600;
/// How often room is made for one who asks.
const ROUNDS: usize = 10;

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

/// What a slot is asked for, and what holds for that.
struct Terms {
    bucket: Bucket,
    expire_before: Option<u64>,
    most: u64,
    quota: Quota,
}

impl Service {
    pub(super) fn may_upload(&self, from: &Jid) -> bool {
        match &self.settings.may_upload {
            Some(may) => may(from),
            None => from.local().is_some() && self.server.get().is_some_and(|server| server.hosts(from.domain())),
        }
    }

    /// What holds for a purpose (§5). What is kept like the rest must not be taken for kept longer.
    fn terms(&self, purpose: Option<Purpose>) -> Result<Terms, StanzaError> {
        let settings = &self.settings;
        let (most, quota) = (settings.max_file_size, settings.quota);
        let rest = Terms { bucket: Bucket::Message, expire_before: None, most, quota };
        let apart = |bucket, own: Option<PurposeSettings>| {
            let own = own.ok_or_else(StanzaError::feature_not_implemented)?;
            let all_bytes = settings.quota.all_bytes;
            let (bucket_bytes, bucket_files) = (own.user_bytes, own.user_files);
            let quota = Quota { bucket_bytes, bucket_files, all_bytes, ..Quota::default() };
            Ok(Terms { bucket, expire_before: None, most: own.max_file_size.min(most), quota })
        };
        match purpose {
            None | Some(Purpose::Message) => Ok(rest),
            Some(Purpose::Ephemeral { expire_before }) => {
                let before = u64::try_from(expire_before.unix_seconds()).unwrap_or(0);
                Ok(Terms { expire_before: Some(before), ..rest })
            }
            Some(Purpose::Profile) => apart(Bucket::Profile, settings.profile),
            Some(Purpose::Permanent) => apart(Bucket::Permanent, settings.permanent),
        }
    }

    /// A slot for a file, if there may be one.
    pub(super) async fn slot(self: &Arc<Self>, from: Option<&Jid>, request: SlotRequest) -> Result<Slot, StanzaError> {
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
        let Terms { bucket, expire_before, most, quota } = self.terms(request.purpose)?;
        if request.size > most {
            let text = format!("File too large. The maximum file size is {most} bytes");
            let too_large = FileTooLarge { max_file_size: Some(most) };
            return Err(StanzaError::not_acceptable().with_text(text).with_application(&too_large));
        }
        let now = self.now();
        if expire_before.is_some_and(|before| before <= now) {
            return Err(StanzaError::not_acceptable().with_text("it would have expired already"));
        }
        let owner = from.to_bare();
        self.rates
            .count(&owner, now, self.settings.slots_per_minute)
            .map_err(|until| wait("too many slots in a minute", until))?;

        let made = random::<ID>().and_then(|id| Ok((id, random::<40>()?)));
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
            created: now,
            bucket,
        };
        self.reserve(&slot, &quota, now).await?;
        if self.has_gone(&slot).await? {
            self.store.remove(&slot.id).await.map_err(failed)?;
            return Err(StanzaError::forbidden());
        }
        let authorization = Header { name: "Authorization".to_owned(), value: format!("Bearer {token}") };
        let put = Put { url: self.put_url(&slot), headers: vec![authorization] };
        Ok(Slot { put, get: Get { url: self.url(&slot) } })
    }

    /// Whether the account has been removed meanwhile: nobody would remove a slot of it any more.
    async fn has_gone(&self, slot: &Upload) -> Result<bool, StanzaError> {
        let Some(server) = self.server.get() else { return Ok(true) };
        let domain = slot.owner.domain();
        if !server.hosts(domain) || server.admits_anonymous(domain) {
            return Ok(false);
        }
        let exists = server.account_exists(&slot.owner).await;
        exists.map(|exists| !exists).map_err(|error| failed(StorageError(Box::new(error))))
    }

    /// Keeps a slot, within the quotas. What has expired and only waits to be swept stands in nobody's way.
    async fn reserve(self: &Arc<Self>, slot: &Upload, quota: &Quota, now: u64) -> Result<(), StanzaError> {
        let mut reserved = self.store.reserve(slot, quota).await.map_err(failed)?;
        for _ in 0..ROUNDS {
            let user = match reserved {
                Reserved::Kept => return Ok(()),
                Reserved::UserFull => Some(&slot.owner),
                Reserved::Full => None,
            };
            if sweep::some(self, user).await.map_err(failed)? == 0 {
                break;
            }
            reserved = self.store.reserve(slot, quota).await.map_err(failed)?;
        }
        let more_than = |most: Option<u64>| most.is_some_and(|most| slot.size > most);
        match reserved {
            Reserved::Kept => Ok(()),
            Reserved::UserFull if more_than(quota.user_bytes) || more_than(quota.bucket_bytes) => {
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

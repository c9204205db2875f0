//! What of uploads can be configured.

use crate::{Outcome, config::Config};
use serde::Deserialize;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use xmpp_core::{
    jid::{BareJid, Jid},
    server::ServerBuilder,
};
use xmpp_filetransfer::upload::{
    server::{PurposeSettings, SlotKeys, UploadSettings, Uploads as Service},
    store::Quota,
};
use xmpp_sql::Database;

#[derive(Clone, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Uploads {
    enabled: bool,
    domain: Option<String>,
    name: String,
    folder: Option<PathBuf>,
    max_bytes: u64,
    user_bytes: u64,
    user_files: u64,
    all_bytes: u64,
    keep_days: u32,
    slots_per_minute: u32,
    under_way: usize,
    under_way_per_user: usize,
    bytes_per_second: u64,
    keys: Vec<String>,
    #[serde(deserialize_with = "profile")]
    profile: Purpose,
    #[serde(deserialize_with = "permanent")]
    permanent: Purpose,
}

impl std::fmt::Debug for Uploads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Uploads { enabled, domain, keys, .. } = self;
        let mut out = f.debug_struct("Uploads");
        out.field("enabled", enabled).field("domain", domain).field("keys", &keys.len()).finish_non_exhaustive()
    }
}

/// Files for a purpose of their own.
#[derive(Clone, Debug, PartialEq)]
struct Purpose {
    enabled: bool,
    max_bytes: u64,
    user_bytes: u64,
    user_files: u64,
    keep_days: u32,
}

/// What the configuration says of a purpose.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Said {
    enabled: Option<bool>,
    max_bytes: Option<u64>,
    user_bytes: Option<u64>,
    user_files: Option<u64>,
    keep_days: Option<u32>,
}

impl Said {
    /// With all that is not said as it usually is.
    fn above(self, usual: Purpose) -> Purpose {
        Purpose {
            enabled: self.enabled.unwrap_or(usual.enabled),
            max_bytes: self.max_bytes.unwrap_or(usual.max_bytes),
            user_bytes: self.user_bytes.unwrap_or(usual.user_bytes),
            user_files: self.user_files.unwrap_or(usual.user_files),
            keep_days: self.keep_days.unwrap_or(usual.keep_days),
        }
    }
}

fn profile<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Purpose, D::Error> {
    Said::deserialize(deserializer).map(|said| said.above(Purpose::profile()))
}

fn permanent<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Purpose, D::Error> {
    Said::deserialize(deserializer).map(|said| said.above(Purpose::permanent()))
}

impl Purpose {
    fn profile() -> Purpose {
        Purpose::of(true, PurposeSettings::profile())
    }

    /// Not offered, and with the bounds of other files.
    fn permanent() -> Purpose {
        let all = UploadSettings::default();
        let own = PurposeSettings::new(all.max_file_size, all.quota.user_bytes, all.quota.user_files, None);
        Purpose::of(false, own)
    }

    fn of(enabled: bool, own: PurposeSettings) -> Purpose {
        let (user_bytes, user_files) = (own.user_bytes.unwrap_or(0), own.user_files.unwrap_or(0));
        Purpose { enabled, max_bytes: own.max_file_size, user_bytes, user_files, keep_days: 0 }
    }

    fn check(&self, name: &str) -> Outcome<()> {
        if self.enabled && self.max_bytes == 0 {
            return Err(format!("uploads.{name}.max_bytes must be more than 0").into());
        }
        if self.enabled && self.user_bytes > 0 && self.user_bytes < self.max_bytes {
            return Err(format!("uploads.{name}.user_bytes must be at least uploads.{name}.max_bytes").into());
        }
        Ok(())
    }

    fn settings(&self) -> Option<PurposeSettings> {
        let keep = some(self.keep_days.into()).map(|days| Duration::from_secs(days * DAY));
        let settings = PurposeSettings::new(self.max_bytes, some(self.user_bytes), some(self.user_files), keep);
        self.enabled.then_some(settings)
    }
}

/// Seconds of a day.
const DAY: u64 = 24 * 60 * 60;

/// Characters that a key has at least.
const KEY: usize = 32;

fn some(number: u64) -> Option<u64> {
    (number > 0).then_some(number)
}

impl Default for Uploads {
    fn default() -> Uploads {
        let settings = UploadSettings::default();
        let days = settings.keep.map_or(0, |keep| keep.as_secs() / DAY);
        Uploads {
            enabled: true,
            domain: None,
            name: settings.name,
            folder: None,
            max_bytes: settings.max_file_size,
            user_bytes: settings.quota.user_bytes.unwrap_or(0),
            user_files: settings.quota.user_files.unwrap_or(0),
            all_bytes: settings.quota.all_bytes.unwrap_or(0),
            keep_days: u32::try_from(days).unwrap_or(u32::MAX),
            slots_per_minute: settings.slots_per_minute,
            under_way: settings.puts,
            under_way_per_user: settings.puts_of_user,
            bytes_per_second: settings.put_rate,
            keys: Vec::new(),
            profile: Purpose::profile(),
            permanent: Purpose::permanent(),
        }
    }
}

impl Uploads {
    /// The domain of uploads, if there are any: of the server's first domain unless another is given.
    fn domain(&self, domains: &[&str]) -> Option<String> {
        let first = domains.first().copied().unwrap_or("localhost");
        self.enabled.then(|| self.domain.clone().unwrap_or_else(|| format!("upload.{first}")))
    }

    pub(crate) fn check(&self, domains: &[&str]) -> Outcome<()> {
        let Some(domain) = self.domain(domains) else { return Ok(()) };
        if !BareJid::new(&domain).is_ok_and(|jid| jid.local().is_none()) {
            return Err(format!("uploads.domain: {domain:?} is no domain").into());
        }
        let positive = [
            ("max_bytes", self.max_bytes),
            ("slots_per_minute", self.slots_per_minute.into()),
            ("under_way", self.under_way as u64),
            ("under_way_per_user", self.under_way_per_user as u64),
            ("bytes_per_second", self.bytes_per_second),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(format!("uploads.{name} must be more than 0").into());
        }
        for (name, bytes) in [("user_bytes", self.user_bytes), ("all_bytes", self.all_bytes)] {
            if bytes > 0 && bytes < self.max_bytes {
                return Err(format!("uploads.{name} must be at least uploads.max_bytes").into());
            }
        }
        if self.keys.iter().any(|key| key.len() < KEY) {
            return Err(format!("uploads.keys: a key has at least {KEY} characters").into());
        }
        self.profile.check("profile")?;
        self.permanent.check("permanent")
    }

    pub(crate) fn resolve(&mut self, at: &Path) {
        if let Some(folder) = &mut self.folder {
            *folder = at.join(&*folder);
        }
    }

    fn settings(&self) -> UploadSettings {
        let mut settings = UploadSettings::default();
        settings.name.clone_from(&self.name);
        settings.max_file_size = self.max_bytes;
        settings.quota = Quota {
            user_bytes: some(self.user_bytes),
            user_files: some(self.user_files),
            all_bytes: some(self.all_bytes),
            ..Quota::default()
        };
        settings.keep = some(self.keep_days.into()).map(|days| Duration::from_secs(days * DAY));
        settings.slots_per_minute = self.slots_per_minute;
        settings.puts = self.under_way;
        settings.puts_of_user = self.under_way_per_user;
        settings.put_rate = self.bytes_per_second;
        settings.profile = self.profile.settings();
        settings.permanent = self.permanent.settings();
        settings
    }

    /// What addresses are signed with. Without a key in the configuration that is the one in the folder of the files, and with
    /// some it is still good for what it has signed.
    fn keys(&self, folder: &Path) -> Option<SlotKeys> {
        let (first, previous) = self.keys.split_first()?;
        let keys = previous.iter().fold(SlotKeys::new(first), SlotKeys::previous);
        Some(match std::fs::read(folder.join("key")) {
            Ok(own) => keys.previous(own),
            Err(_) => keys,
        })
    }

    /// Adds uploads, where there is a place to keep them and somebody listens for HTTP.
    pub(crate) fn compose(
        &self,
        builder: ServerBuilder,
        config: &Config,
        database: Option<&Database>,
    ) -> Outcome<ServerBuilder> {
        let domain = self.domain(&config.all_domains());
        let (Some(domain), Some(database), Some(url)) = (domain, database, config.public_url()) else {
            return Ok(builder);
        };
        let folder = self.folder.clone().unwrap_or_else(|| config.data.join("uploads"));
        let uploads = Service::open(domain, url, Arc::new(database.uploads()), &folder)
            .map_err(|error| format!("cannot use the folder for uploads {}: {error}", folder.display()))?;
        let uploads = match self.keys(&folder) {
            Some(keys) => uploads.keys(keys),
            None => uploads,
        };
        let mut settings = self.settings();
        let admins: Vec<BareJid> = config.admins.iter().filter_map(|admin| BareJid::new(admin).ok()).collect();
        settings.may_administer = Some(Arc::new(move |asker: &Jid| admins.contains(&asker.to_bare())));
        Ok(builder.with(uploads.settings(settings)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn nothing_is_without_bounds_unless_that_is_wanted() {
        let settings = |text: &str| toml::from_str::<Uploads>(text).unwrap().settings();
        let usual = UploadSettings::default();
        assert_eq!((settings("").quota, settings("").keep), (usual.quota, usual.keep));
        let open = settings("user_bytes = 0\nuser_files = 0\nall_bytes = 0\nkeep_days = 0");
        assert_eq!((open.quota, open.keep), (Quota::default(), None));
    }

    #[test]
    fn purposes_are_offered_as_it_is_set() {
        let settings = |text: &str| toml::from_str::<Uploads>(text).unwrap().settings();
        assert_eq!(settings("").profile, Some(PurposeSettings::profile()));
        assert_eq!((settings("profile.enabled = false").profile, settings("").permanent), (None, None));
        let whole = settings("permanent.enabled = true");
        assert_eq!(whole.permanent.unwrap().max_file_size, whole.max_file_size, "not what profiles have");
        let permanent = settings("permanent = { enabled = true, user_bytes = 0, keep_days = 3650 }").permanent.unwrap();
        assert_eq!((permanent.user_bytes, permanent.keep), (None, Some(Duration::from_secs(3650 * DAY))));
    }

    #[test]
    fn keys_are_taken_beside_that_of_the_folder_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let uploads = |text: &str| toml::from_str::<Uploads>(text).unwrap();
        assert!(uploads("").keys(folder.path()).is_none());
        let two = uploads(&format!("keys = ['{}', '{}']", "x".repeat(32), "y".repeat(32)));
        let count = || format!("{:?}", two.keys(folder.path()).unwrap());
        assert!(count().contains("previous: 1"), "{}", count());
        std::fs::write(folder.path().join("key"), [7; 32]).unwrap();
        assert!(count().contains("previous: 2"), "{}", count());
        assert!(!format!("{two:?}").contains("xxx"), "no secret in logs");
    }

    #[test]
    fn mistakes_get_a_sentence() {
        for (text, says) in [
            ("uploads.domain = 'a@b'", "uploads.domain"),
            ("uploads.max_bytes = 0", "uploads.max_bytes must be more than 0"),
            ("uploads.user_bytes = 5", "at least uploads.max_bytes"),
            ("uploads.where = 'x'", "unknown field `where`"),
            ("uploads.keys = ['short']", "at least 32 characters"),
            ("uploads.profile.max_bytes = 0", "uploads.profile.max_bytes must be more than 0"),
            ("uploads.profile.user_bytes = 5", "at least uploads.profile.max_bytes"),
            ("uploads.permanent = { enabled = true, user_bytes = 5 }", "at least uploads.permanent.max_bytes"),
        ] {
            let error = Config::parse(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn addresses_of_files_begin_where_the_listener_is_reached() {
        let url = |text: &str| Config::parse(text).unwrap().public_url();
        assert_eq!(url("").as_deref(), Some("https://localhost:5281"));
        assert_eq!(url("domains = ['example.org']").as_deref(), Some("https://example.org:5281"));
        assert_eq!(url("listen.https = ['[::]:443']").as_deref(), Some("https://localhost"));
        assert_eq!(url("listen.http = ['127.0.0.1:8080']").as_deref(), Some("http://localhost:8080"));
        assert_eq!(url("listen.c2s = ['127.0.0.1:5222']"), None, "nobody listens for HTTP");
        assert_eq!(url("listen.https = ['127.0.0.1:0']"), None, "nobody knows where");
        let proxied = "http.public_url = 'https://chat.example.org/'\nlisten.http = ['127.0.0.1:8080']";
        assert_eq!(url(proxied).as_deref(), Some("https://chat.example.org"));
    }
}

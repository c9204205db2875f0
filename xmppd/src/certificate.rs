//! The certificate: from the files that are configured, or one of our making in the data folder.

use crate::{Outcome, config::Config};
use std::{
    fs, io,
    path::{Path, PathBuf},
};
use xmpp_core::net::tls::{CertificateKey, SelfSigned, ServerTls, ServerTlsBuilder};

/// Ten years: nobody renews it, and who trusts it has looked at it.
const SELF_SIGNED_DAYS: u32 = 3650;

/// What is shown to clients.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) key: CertificateKey,
    pub(crate) file: PathBuf,
    pub(crate) self_signed: bool,
}

impl Identity {
    /// Reads the files; where none are configured, makes a certificate at the first start, and again when domains
    /// have been added that it does not name.
    pub(crate) fn load(config: &Config) -> Outcome<Identity> {
        if let (Some(file), Some(key)) = (&config.tls.certificate, &config.tls.key) {
            let identity =
                Identity { key: CertificateKey::from_pem_files(file, key)?, file: file.clone(), self_signed: false };
            identity.warn_of_missing(config);
            return Ok(identity);
        }
        let file = config.data.join("self-signed.crt");
        let key_file = config.data.join("self-signed.key");
        if file.exists() && key_file.exists() {
            let key = CertificateKey::from_pem_files(&file, &key_file)?;
            if config.all_domains().iter().all(|domain| key.names(domain)) {
                return Ok(Identity { key, file, self_signed: true });
            }
        }
        let made = SelfSigned::generate(&config.all_domains(), SELF_SIGNED_DAYS)?;
        write_private(&key_file, made.key_pem.as_bytes())?;
        write_private(&file, made.certificate_pem.as_bytes())?;
        Ok(Identity { key: made.certificate_key, file, self_signed: true })
    }

    pub(crate) fn to_tls(&self, config: &Config) -> ServerTlsBuilder {
        let builder = ServerTls::builder().certificate(self.key.clone());
        if config.tls.client_authorities.is_some() { builder.request_peer_certificate() } else { builder }
    }

    /// The fingerprint that clients show, as `AB:CD:…`.
    pub(crate) fn fingerprint(&self) -> String {
        let hash = self.key.sha256().unwrap_or_default();
        hash.map(|byte| format!("{byte:02X}")).join(":")
    }

    fn warn_of_missing(&self, config: &Config) {
        for domain in config.all_domains().into_iter().filter(|domain| !self.key.names(domain)) {
            tracing::warn!(domain, certificate = %self.file.display(), "the certificate does not name this domain");
        }
    }
}

/// Writes a file that only its owner reads, whole or not at all.
fn write_private(path: &Path, bytes: &[u8]) -> Outcome<()> {
    let write = || {
        let temporary = path.with_extension("new");
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&temporary)?;
        io::Write::write_all(&mut file, bytes)?;
        file.sync_all()?;
        fs::rename(temporary, path)
    };
    write().map_err(|error: io::Error| format!("cannot write {}: {error}", path.display()).into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn config(folder: &Path, domains: &[&str]) -> Config {
        let domains = domains.iter().map(|domain| (*domain).to_owned()).collect();
        Config { data: folder.to_owned(), domains, ..Config::default() }
    }

    #[test]
    fn the_self_signed_certificate_stays_until_a_domain_is_added() {
        let folder = tempfile::tempdir().unwrap();
        let first = Identity::load(&config(folder.path(), &["localhost"])).unwrap();
        assert!(first.self_signed);
        let again = Identity::load(&config(folder.path(), &["localhost"])).unwrap();
        assert_eq!(again.fingerprint(), first.fingerprint());
        assert_eq!(first.fingerprint().len(), 95);
        let more = Identity::load(&config(folder.path(), &["localhost", "bücher.example"])).unwrap();
        assert_ne!(more.fingerprint(), first.fingerprint());
        let same = Identity::load(&config(folder.path(), &["localhost", "bücher.example"])).unwrap();
        assert_eq!(same.fingerprint(), more.fingerprint());
    }
}

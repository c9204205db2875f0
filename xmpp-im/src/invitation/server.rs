//! What a server does with invitations: it issues them, and honours each once.

use super::{Added, Claim, Invitation, InvitationAction, InvitationKey, InvitationStore, InvitationUri, Preauth};
use crate::{StorageError, roster::Rosters};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use std::{
    sync::{Arc, OnceLock, Weak},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use xmpp_core::{
    jid::{BareJid, Jid},
    payload::{DateTime, Payload as _},
    server::{Server, ServerRegistrar},
    stanza::StanzaError,
    xml::Stanza,
};

/// What may be invited to, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvitationSettings {
    /// Whether users may invite contacts.
    pub users: bool,
    /// Whether whom a user invites may register an account here. It takes [`sign_up`](crate::registration::sign_up) too.
    pub register: bool,
    /// How long an invitation is good.
    pub life: Duration,
    /// Invitations of one user, or of nobody in particular in one domain, that are good at the same time.
    pub per_user: usize,
    /// What the address of a page for people begins with (XEP-0401 §5.2), the link following, encoded as a part of a URL: a
    /// page that shows it, such as `https://example.org/invite#`. Behind a `#` the page's server does not see it.
    pub landing: Option<String>,
}

impl Default for InvitationSettings {
    fn default() -> InvitationSettings {
        let life = Duration::from_secs(7 * 24 * 3600);
        InvitationSettings { users: true, register: true, life, per_user: 20, landing: None }
    }
}

/// An invitation that was issued. The token in it is nowhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Issued {
    /// The link.
    pub uri: InvitationUri,
    /// The page that shows it, if there is one.
    pub landing: Option<String>,
    /// Until when it is good.
    pub expires: DateTime,
}

/// Why an invitation was not issued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InviteError {
    /// The user has as many as there may be.
    #[error("there are too many invitations already")]
    TooMany,
    /// The account exists, or is kept free for another invitation.
    #[error("the name is taken")]
    Taken,
    /// The account is none of this domain.
    #[error("this is no address of an account here")]
    Address,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StorageError),
}

/// The invitations of a server. Cheap to clone: [`roster::server_inviting`](crate::roster::server_inviting),
/// [`registration::sign_up`](crate::registration::sign_up) and the [commands](Self::commands) share one.
#[derive(Clone)]
pub struct Invitations(Arc<Inner>);

struct Inner {
    store: Arc<dyn InvitationStore>,
    settings: InvitationSettings,
    rosters: OnceLock<Weak<Rosters>>,
}

impl std::fmt::Debug for Invitations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Invitations").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

impl Invitations {
    /// Those of this store.
    pub fn new(store: Arc<dyn InvitationStore>, settings: InvitationSettings) -> Invitations {
        Invitations(Arc::new(Inner { store, settings, rosters: OnceLock::new() }))
    }

    /// The extension that forgets what users have invited to who are gone.
    pub fn server(&self) -> impl FnOnce(&mut ServerRegistrar) + use<> {
        let invitations = self.clone();
        move |r| {
            r.on_account_removed(move |_, account| {
                let Invitations(inner) = invitations.clone();
                Box::pin(async move {
                    if let Err(error) = inner.store.forget(&account).await {
                        tracing::error!(%account, "invitations were not forgotten: {error}");
                    }
                })
            });
        }
    }

    pub(crate) fn settings(&self) -> &InvitationSettings {
        &self.0.settings
    }

    pub(crate) fn store(&self) -> &dyn InvitationStore {
        &*self.0.store
    }

    /// Where those become contacts who are invited.
    pub(crate) fn join(&self, rosters: &Arc<Rosters>) {
        let _ = self.0.rosters.set(Arc::downgrade(rosters));
    }

    /// Invites a contact in the name of a user (XEP-0401 §5.1), who may register an account in the user's domain if the
    /// settings say so.
    pub async fn invite_contact(&self, inviter: &BareJid) -> Result<Issued, InviteError> {
        let register = self.0.settings.register;
        let invitation = Invitation {
            inviter: Some(inviter.clone()),
            domain: inviter.domain().to_owned(),
            account: None,
            register,
            contact: true,
            expires: 0,
        };
        self.issue(invitation, InvitationAction::Contact, inviter.clone().into()).await
    }

    /// Offers an account of a domain (XEP-0401 §5.4): this one, which is kept free until then, or any. Who registers it
    /// becomes a contact of `contact`. Whether the account exists already is for the caller to look.
    pub async fn invite_account(
        &self,
        domain: &str,
        account: Option<&BareJid>,
        inviter: Option<&BareJid>,
        contact: bool,
    ) -> Result<Issued, InviteError> {
        if account.is_some_and(|account| account.local().is_none() || account.domain() != domain) {
            return Err(InviteError::Address);
        }
        let address = match account {
            Some(account) => account.clone().into(),
            None => Jid::new(domain).map_err(|_| InviteError::Address)?,
        };
        let invitation = Invitation {
            inviter: inviter.cloned(),
            domain: domain.to_owned(),
            account: account.cloned(),
            register: true,
            contact: contact && inviter.is_some(),
            expires: 0,
        };
        self.issue(invitation, InvitationAction::Register, address).await
    }

    async fn issue(
        &self,
        invitation: Invitation,
        action: InvitationAction,
        address: Jid,
    ) -> Result<Issued, InviteError> {
        let Inner { store, settings, .. } = &*self.0;
        let now = now();
        let expires = now.saturating_add(settings.life.as_secs());
        let expiry = i64::try_from(expires).ok().and_then(|expires| DateTime::from_unix(expires, 0));
        let expiry = expiry.ok_or_else(|| StorageError("a time outside all years".into()))?;
        let invitation = Invitation { expires, ..invitation };
        let token = token()?;
        match store.add(&InvitationKey::of(&token), &invitation, now, settings.per_user).await? {
            Added::Kept => {}
            Added::TooMany => return Err(InviteError::TooMany),
            Added::Reserved => return Err(InviteError::Taken),
        }
        let mut uri = InvitationUri::new(action, address, token);
        uri.may_register = invitation.register;
        let landing = settings.landing.as_ref().map(|page| format!("{page}{}", component(&uri.to_string())));
        Ok(Issued { uri, landing, expires: expiry })
    }

    /// The invitation of a subscription request (XEP-0379 §3.5): a token in it, of an invitation that this user has made.
    /// It is claimed: to be [finished](Self::finish) or [released](Self::release).
    pub(crate) async fn of_request(&self, user: &BareJid, request: &Stanza) -> Option<(InvitationKey, Claim)> {
        let preauth = request.root().children().find(|child| Preauth::matches(*child))?;
        let key = InvitationKey::of(&Preauth::read(preauth).ok()?.token);
        let now = now();
        let found = self.0.store.find(&key, now).await;
        let found = found.map_err(|error| tracing::error!(%user, "{error}")).ok()??;
        if !found.contact || found.account.is_some() || found.inviter.as_ref() != Some(user) {
            return None;
        }
        let claim = self.0.store.claim(&key, now).await;
        Some((key, claim.map_err(|error| tracing::error!(%user, "{error}")).ok()??))
    }

    pub(crate) async fn finish(&self, key: &InvitationKey) {
        if let Err(error) = self.0.store.finish(key).await {
            tracing::error!("a used invitation was not forgotten: {error}");
        }
    }

    pub(crate) async fn release(&self, key: &InvitationKey, claim: &Claim) {
        if let Err(error) = self.0.store.release(key, claim.until).await {
            tracing::error!("an invitation was not given back: {error}");
        }
    }

    /// Makes contacts of who has registered and who has invited (XEP-0401 §5.5).
    pub(crate) async fn introduce(&self, server: &Server, invitation: &Invitation, account: &BareJid) {
        let (Some(inviter), true) = (&invitation.inviter, invitation.contact) else { return };
        let Some(rosters) = self.0.rosters.get().and_then(Weak::upgrade) else { return };
        match server.account_exists(inviter).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => tracing::error!(%inviter, "{error}"),
        }
        if let Err(error) = rosters.befriend(server, account, inviter).await {
            tracing::warn!(%account, %inviter, %error, "they have not become contacts");
        }
    }
}

impl From<InviteError> for StanzaError {
    fn from(error: InviteError) -> StanzaError {
        match error {
            InviteError::TooMany => StanzaError::resource_constraint().with_text(error.to_string()),
            InviteError::Taken => StanzaError::conflict().with_text(error.to_string()),
            InviteError::Address => StanzaError::not_acceptable().with_text(error.to_string()),
            InviteError::Store(error) => error.into(),
        }
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// 192 bits that nobody guesses, in letters, digits, `-` and `_`.
fn token() -> Result<String, StorageError> {
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes).map_err(|error| StorageError(error.to_string().into()))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// A text as part of a URL (RFC 3986 §2.1).
fn component(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

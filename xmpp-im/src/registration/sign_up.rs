//! Newcomers register an account before they log in (§3.1.1), by an invitation or without.

use super::{FEATURE, MAX_PASSWORD, NS, RegistrationQuery, names::Names, rates::Rates, server::refusal};
use crate::invitation::{self, Claim, Invitation, InvitationKey, Invitations, Preauth, TOKEN_FEATURE};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::oneshot;
use xmpp_core::{
    BoxFuture,
    extension::{Answer, Reply, Target},
    jid::BareJid,
    payload::{
        Payload as _,
        form::{DataForm, Field, FieldType, FormKind},
    },
    server::{ManageAccounts, Newcomer, Reception, Server, ServerCell, ServerRegistrar},
    stanza::{ErrorType, StanzaError},
    xml::Stanza,
};

/// Who may register what, and how often.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SignUp {
    /// Whether everybody may; otherwise it takes an invitation.
    pub everybody: bool,
    /// By which people are invited who may register.
    pub invitations: Option<Invitations>,
    /// What people are told who are asked for a name and a password.
    pub instructions: String,
    /// Whether all letters of a name have to be of one script, as UTS #39 §5.1 counts them: Japanese is one, digits
    /// are of all. So nobody is called `аdmin` with one Cyrillic letter.
    pub one_script: bool,
    /// Names that nobody gets, nor any that looks the same (UTS #39 §4). Invitations to a certain name are free to offer
    /// them.
    pub reserved: Vec<String>,
    /// The fewest characters of a password. The most are [`MAX_PASSWORD`] bytes.
    pub min_password: usize,
    /// For what time is counted how much is registered.
    pub window: Duration,
    /// Attempts from one address: registrations that are not refused for their form, and tokens. An IPv6 address counts by
    /// its /64.
    pub attempts_per_address: u32,
    /// Accounts in all, not counting those of invited people.
    pub accounts: u32,
}

impl SignUp {
    /// Everybody may register.
    pub fn open() -> SignUp {
        SignUp {
            everybody: true,
            invitations: None,
            instructions: "Choose a name and a password for your account.".into(),
            one_script: true,
            reserved: RESERVED.map(str::to_owned).into(),
            min_password: 8,
            window: Duration::from_secs(3600),
            attempts_per_address: 10,
            accounts: 100,
        }
    }

    /// Who is invited may register.
    pub fn by_invitation(invitations: Invitations) -> SignUp {
        SignUp { everybody: false, invitations: Some(invitations), ..SignUp::open() }
    }
}

/// Names of roles, that others would believe (RFC 2142, and what servers' own accounts are called).
const RESERVED: [&str; 14] = [
    "abuse",
    "admin",
    "administrator",
    "hostmaster",
    "info",
    "moderator",
    "noc",
    "operator",
    "postmaster",
    "root",
    "security",
    "server",
    "support",
    "webmaster",
];

/// Lets newcomers register, under TLS, in the domains that have accounts.
pub fn sign_up(accounts: impl ManageAccounts, settings: SignUp) -> impl FnOnce(&mut ServerRegistrar) {
    let accounts: Arc<dyn ManageAccounts> = Arc::new(accounts);
    move |r| {
        let names = Names::new(settings.one_script, &settings.reserved);
        let rates = Rates::new(settings.attempts_per_address, settings.accounts, settings.window, Instant::now());
        let invites = settings.invitations.is_some();
        let desk = Arc::new(Desk { settings, names, rates, accounts, server: r.server() });
        let open = move |newcomer| Visit { desk: Arc::clone(&desk), newcomer, invited: None, registered: false };
        match invites {
            true => r.before_login(&[NS, invitation::NS], &[("register", TOKEN_FEATURE), ("register", FEATURE)], open),
            false => r.before_login(&[NS], &[("register", FEATURE)], open),
        }
        r.feature(Target::Server, NS);
    }
}

/// What all streams share.
struct Desk {
    settings: SignUp,
    names: Names,
    rates: Rates,
    accounts: Arc<dyn ManageAccounts>,
    server: ServerCell,
}

/// One stream.
struct Visit {
    desk: Arc<Desk>,
    newcomer: Newcomer,
    /// The invitation that was shown, and found good.
    invited: Option<Invited>,
    /// Whether it has registered an account.
    registered: bool,
}

#[derive(Clone)]
struct Invited {
    key: InvitationKey,
    invitation: Invitation,
}

impl Reception for Visit {
    fn answer<'a>(&'a mut self, request: &'a Stanza) -> BoxFuture<'a, Answer> {
        Box::pin(async move {
            let set = request.root().attr("type").as_deref() == Some("set");
            let payload = request.root().children().next().ok_or_else(StanzaError::bad_request)?;
            if set && Preauth::matches(payload) {
                let Preauth { token } = Preauth::read(payload)?;
                return self.show(&token).await;
            }
            if !RegistrationQuery::matches(payload) {
                return Err(StanzaError::feature_not_implemented());
            }
            let query = RegistrationQuery::read(payload)?;
            if query.remove {
                // §3.2: nobody knows whose account it would be.
                return Err(StanzaError::unexpected_request());
            }
            self.may_register()?;
            if set { self.register(query).await } else { Ok(Reply::payload(self.form())) }
        })
    }
}

impl Visit {
    fn may_register(&self) -> Result<(), StanzaError> {
        if self.registered {
            // §3.1.1.
            return Err(StanzaError::not_acceptable().with_text("you have registered already; log in"));
        }
        if !self.desk.settings.everybody && self.invited.is_none() {
            return Err(StanzaError::not_allowed().with_text("accounts are for invited people"));
        }
        Ok(())
    }

    fn attempt(&self) -> Result<(), StanzaError> {
        if self.desk.rates.attempt(self.newcomer.network, Instant::now()) {
            return Ok(());
        }
        tracing::info!(ip = %self.newcomer.ip, "too many attempts to register");
        let refused = StanzaError::not_acceptable().with_type(ErrorType::Wait);
        Err(refused.with_text("too many attempts from your address; try again later"))
    }

    /// A token (XEP-0445 §4).
    async fn show(&mut self, token: &str) -> Answer {
        self.attempt()?;
        self.invited = None;
        let unknown = || StanzaError::item_not_found().with_text("the invitation is unknown, used, or has expired");
        let invitations = self.desk.settings.invitations.as_ref().ok_or_else(unknown)?;
        let key = InvitationKey::of(token);
        let found = invitations.store().find(&key, invitation::now()).await?;
        let found = found.filter(|found| found.register && found.domain == self.newcomer.domain);
        self.invited = Some(Invited { key, invitation: found.ok_or_else(unknown)? });
        Ok(Reply::empty())
    }

    /// What is to be filled in: as a form, and for those who know none (§5).
    fn form(&self) -> RegistrationQuery {
        let instructions = &self.desk.settings.instructions;
        let account = self.invited.as_ref().and_then(|invited| invited.invitation.account.as_ref());
        let name = account.and_then(|account| account.local());
        let mut username = Field::new("username").typed(FieldType::TextSingle).label("Name").required();
        if let Some(name) = name {
            username = username.value(name);
        }
        let password = Field::new("password").typed(FieldType::TextPrivate).label("Password").required();
        let mut form = DataForm::typed(FormKind::Form, NS).with(username).with(password);
        form.title = Some("Registration".into());
        form.instructions = vec![instructions.clone()];
        RegistrationQuery {
            instructions: Some(instructions.clone()),
            username: Some(name.unwrap_or_default().to_owned()),
            password: Some(String::new()),
            form: Some(form),
            ..RegistrationQuery::default()
        }
    }

    async fn register(&mut self, query: RegistrationQuery) -> Answer {
        let (name, password) = filled_in(&query)?;
        let account = Names::account(name, &self.newcomer.domain)?;
        match self.invited.as_ref().and_then(|invited| invited.invitation.account.as_ref()) {
            Some(offered) if *offered == account => {}
            Some(offered) => {
                let text = format!("the invitation is for {}", offered.local().unwrap_or_default());
                return Err(StanzaError::not_acceptable().with_text(text));
            }
            None => self.desk.names.check(&account)?,
        }
        self.desk.check_password(password)?;
        self.attempt()?;
        let server = self.desk.server.get().ok_or_else(StanzaError::service_unavailable)?;
        let (desk, invited, password) = (Arc::clone(&self.desk), self.invited.clone(), password.to_owned());
        let (tell, told) = oneshot::channel();
        let (known, ip) = (server.clone(), self.newcomer.ip);
        // What is begun comes to an end, though the client may go away.
        server.spawn(async move {
            let made = desk.make(&known, &account, &password, invited).await;
            if made.is_ok() {
                tracing::info!(%ip, user = %account, "an account was registered");
            }
            let _ = tell.send(made);
        });
        told.await.map_err(|_| StanzaError::internal_server_error())??;
        self.registered = true;
        Ok(Reply::empty())
    }
}

impl Desk {
    fn check_password(&self, password: &str) -> Result<(), StanzaError> {
        let refused = |text: String| Err(StanzaError::not_acceptable().with_text(text));
        if password.chars().count() < self.settings.min_password {
            return refused(format!("the password has to have at least {} characters", self.settings.min_password));
        }
        if password.len() > MAX_PASSWORD {
            return refused("the password is too long".into());
        }
        Ok(())
    }

    /// The account, if nobody else has it or gets it first.
    async fn make(
        &self,
        server: &Server,
        account: &BareJid,
        password: &str,
        invited: Option<Invited>,
    ) -> Result<(), StanzaError> {
        let exists = server.account_exists(account).await;
        if exists.map_err(|error| failed(&error))? || self.is_reserved(account, invited.as_ref()).await? {
            return Err(StanzaError::conflict().with_text("the name is taken"));
        }
        match (invited, &self.settings.invitations) {
            (Some(invited), Some(invitations)) => {
                let claim = invitations.store().claim(&invited.key, invitation::now()).await?;
                let claim =
                    claim.ok_or_else(|| StanzaError::not_allowed().with_text("the invitation has been used"))?;
                self.make_invited(server, account, password, invitations, (&invited.key, &claim)).await
            }
            _ if !self.rates.account(Instant::now()) => {
                tracing::warn!("too many accounts were registered");
                let refused = StanzaError::resource_constraint().with_type(ErrorType::Wait);
                Err(refused.with_text("too many accounts have been registered; try again later"))
            }
            _ => {
                let made = self.accounts.create(account, password).await;
                if made.is_err() {
                    self.rates.give_back();
                }
                made.map_err(refusal)
            }
        }
    }

    /// The invitation is used when there is an account, and not before (XEP-0445 §4).
    async fn make_invited(
        &self,
        server: &Server,
        account: &BareJid,
        password: &str,
        invitations: &Invitations,
        (key, claim): (&InvitationKey, &Claim),
    ) -> Result<(), StanzaError> {
        if let Err(error) = self.accounts.create(account, password).await {
            invitations.release(key, claim).await;
            return Err(refusal(error));
        }
        invitations.finish(key).await;
        invitations.introduce(server, &claim.invitation, account).await;
        Ok(())
    }

    /// Whether the name is kept for whom another invitation is.
    async fn is_reserved(&self, account: &BareJid, invited: Option<&Invited>) -> Result<bool, StanzaError> {
        let own = invited.is_some_and(|invited| invited.invitation.account.as_ref() == Some(account));
        match &self.settings.invitations {
            Some(invitations) if !own => Ok(invitations.store().reserved(account, invitation::now()).await?),
            _ => Ok(false),
        }
    }
}

/// Name and password: of the form, if there is one, or of the fields (§5).
fn filled_in(query: &RegistrationQuery) -> Result<(&str, &str), StanzaError> {
    let (name, password) = match &query.form {
        Some(form) if form.type_ != FormKind::Submit || form.form_type().is_some_and(|kind| kind != NS) => {
            return Err(StanzaError::bad_request().with_text("this is not the form that was asked for, filled in"));
        }
        Some(form) => (form.value("username"), form.value("password")),
        None => (query.username.as_deref(), query.password.as_deref()),
    };
    let given = |text: Option<&'_ str>| text.is_some_and(|text| !text.is_empty());
    if !given(name) || !given(password) {
        return Err(StanzaError::not_acceptable().with_text("an account has a name and a password"));
    }
    Ok((name.unwrap_or_default(), password.unwrap_or_default()))
}

fn failed(error: &dyn std::error::Error) -> StanzaError {
    tracing::error!(%error, "accounts");
    StanzaError::internal_server_error()
}

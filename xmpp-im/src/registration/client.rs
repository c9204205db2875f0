//! A client's part.

use super::{FEATURE, NS, RegistrationQuery};
use crate::invitation::{Preauth, TOKEN_FEATURE};
use xmpp_core::{
    client::{Client, ClientBuilder, RequestError, Visit, VisitError},
    jid::{BareJid, Jid},
    payload::form::{DataForm, Field, FormKind},
    stanza::{Condition, Iq, IqBuilder, StanzaError},
};

/// Why there is no new account.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The builder's account has no name.
    #[error("{0} is no account: it needs a name before an @")]
    NoName(Jid),
    /// The server was not reached, or ended the stream.
    #[error(transparent)]
    Visit(VisitError),
    /// The server registers nobody in the stream, or not by a token.
    #[error("the server does not register accounts this way")]
    NotOffered,
    /// The invitation is unknown, used, or has expired.
    #[error("the invitation is not good: {0}")]
    Invitation(StanzaError),
    /// There is such an account, or it is kept for somebody else.
    #[error("the name is taken")]
    Conflict,
    /// The server wants a look at something else, at its website perhaps: what it says and asks for.
    #[error("the server wants more than a name and a password")]
    MoreNeeded(Box<RegistrationQuery>),
    /// The server refuses for another reason: `not-acceptable` a name or password that it does not like, or too many
    /// attempts, `not-allowed` who is not invited.
    #[error("the server refuses: {0}")]
    Refused(StanzaError),
}

/// Registers the account of the builder with this password (§3.1.1), before any login: connects, with TLS unless the builder
/// does without, and ends the stream. By `token`, if that is given, of an [invitation](crate::invitation::InvitationUri)
/// (XEP-0445). If the future is dropped, or the connection lost, whether there is an account is not known: it shows when
/// one logs in.
///
/// # Errors
/// See [`RegisterError`].
pub async fn register(builder: ClientBuilder, password: &str, token: Option<&str>) -> Result<(), RegisterError> {
    let mut visit = builder.visit().await.map_err(RegisterError::Visit)?;
    let registered = sign_up(&mut visit, password, token).await;
    visit.close().await;
    registered
}

async fn sign_up(visit: &mut Visit, password: &str, token: Option<&str>) -> Result<(), RegisterError> {
    let name = visit.account().local().map(str::to_owned);
    let name = name.ok_or_else(|| RegisterError::NoName(visit.account().clone()))?;
    let server = Jid::new(visit.account().domain()).map_err(|_| RegisterError::NotOffered)?;
    if let Some(token) = token {
        if !visit.features().has("register", TOKEN_FEATURE) {
            return Err(RegisterError::NotOffered);
        }
        let preauth = Preauth { token: token.to_owned() };
        ask(visit, Iq::set(server.clone()).payload(&preauth)).await.map_err(|error| match error {
            RegisterError::Refused(error) => RegisterError::Invitation(error),
            other => other,
        })?;
    } else if !visit.features().has("register", FEATURE) {
        // It is told for efficiency (§6), and not by all: the answer to the question counts.
        tracing::debug!("the server does not tell that it registers accounts");
    }
    let question = Iq::get(server.clone()).payload(&RegistrationQuery::default());
    let asked = ask(visit, question).await?.payload::<RegistrationQuery>();
    let asked = asked.and_then(Result::ok).ok_or(RegisterError::NotOffered)?;
    let filled = fill_in(&asked, &name, password).ok_or_else(|| RegisterError::MoreNeeded(Box::new(asked)))?;
    ask(visit, Iq::set(server).payload(&filled)).await.map(|_| ())
}

async fn ask(visit: &mut Visit, request: IqBuilder) -> Result<Iq, RegisterError> {
    visit.request(request).await.map_err(|error| match error {
        VisitError::Refused(error) => match error.condition {
            Condition::Conflict => RegisterError::Conflict,
            Condition::ServiceUnavailable | Condition::FeatureNotImplemented => RegisterError::NotOffered,
            _ => RegisterError::Refused(error),
        },
        other => RegisterError::Visit(other),
    })
}

/// The form, if there is one, or the fields (§5); `None` where something else is wanted.
fn fill_in(asked: &RegistrationQuery, name: &str, password: &str) -> Option<RegistrationQuery> {
    if let Some(form) = asked.form.as_ref().filter(|form| form.type_ == FormKind::Form) {
        let known = |field: &Field| matches!(field.var.as_deref(), Some("username" | "password"));
        if form.fields.iter().any(|field| field.required && !known(field)) || !form.fields.iter().any(known) {
            return None;
        }
        let mut filled = DataForm::typed(FormKind::Submit, form.form_type().unwrap_or(NS));
        filled = filled.with(Field::new("username").value(name)).with(Field::new("password").value(password));
        return Some(RegistrationQuery { form: Some(filled), ..RegistrationQuery::default() });
    }
    (asked.username.is_some() && asked.password.is_some() && !asked.others.iter().any(|other| other.root().ns() == NS))
        .then(|| RegistrationQuery {
            username: Some(name.to_owned()),
            password: Some(password.to_owned()),
            ..RegistrationQuery::default()
        })
}

/// Gives one's account another password (§3.3). To be called only where the stream is encrypted: the password is sent
/// as it is. If the future is dropped, or the session lost, whether it was changed is not known.
pub async fn change_password(client: &Client, new: &str) -> Result<(), RequestError> {
    let account = client.account();
    let (username, password) = (account.local().map(str::to_owned), Some(new.to_owned()));
    let query = RegistrationQuery { username, password, ..RegistrationQuery::default() };
    let request = match BareJid::new(account.domain()) {
        Ok(server) => Iq::set(server),
        Err(_) => Iq::set_own(),
    };
    client.request(request.payload(&query)).await.map(|_| ())
}

/// Removes one's account with all that the server keeps for it (§3.2); the session ends.
pub async fn remove_account(client: &Client) -> Result<(), RequestError> {
    let query = RegistrationQuery { remove: true, ..RegistrationQuery::default() };
    client.request(Iq::set_own().payload(&query)).await.map(|_| ())
}

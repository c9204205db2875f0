//! A client invites, and accepts invitations.

use super::{INVITE, InvitationAction, InvitationUri, Preauth};
use crate::{
    ClientExt as _,
    command::execute,
    roster::{RosterError, Subscription},
};
use xmpp_core::{
    client::{Client, RequestError},
    jid::{BareJid, Jid},
    payload::DateTime,
    stanza::Presence,
};

/// An invitation that the server has made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Made {
    /// The link.
    pub uri: InvitationUri,
    /// A page that shows it.
    pub landing: Option<String>,
    /// Until when it is good; `None` is for ever.
    pub expires: Option<DateTime>,
}

/// Asks one's server for an invitation that makes a contact of whoever uses it (XEP-0401 §5.1). If the future is dropped,
/// whether there is one is not known; it ends by itself.
///
/// # Errors
/// `item-not-found` and the like where the server makes none; [`RequestError::Unexpected`] where the answer has no link.
pub async fn invite(client: &Client) -> Result<Made, RequestError> {
    let server = Jid::new(client.account().domain()).map_err(|_| RequestError::Unexpected)?;
    let execution = execute(client, &server, INVITE).await?;
    let form = execution.answer().form.as_ref().ok_or(RequestError::Unexpected)?;
    let uri = form.value("uri").and_then(|uri| uri.parse().ok()).ok_or(RequestError::Unexpected)?;
    let expires = form.get::<DateTime>("expire").and_then(Result::ok);
    Ok(Made { uri, landing: form.value("landing-url").map(str::to_owned), expires })
}

/// Accepts an invitation to become a contact (XEP-0379 §3.4): asks for the inviter's presence with the token, and lets
/// the inviter see ours where that can be said beforehand. The client has its [roster](crate::roster::client()). Whether the
/// inviter's server approves shows in the roster; it may take until the inviter is there.
///
/// # Errors
/// [`RosterError::NoInvitation`] where the link does not invite to become a contact, or the client has no roster; else as
/// [`ClientRoster::subscribe`](crate::roster::ClientRoster::subscribe).
pub async fn accept(client: &Client, invitation: &InvitationUri) -> Result<(), RosterError> {
    let inviter = BareJid::try_from(invitation.address.clone()).ok();
    let inviter =
        inviter.filter(|_| invitation.action == InvitationAction::Contact).ok_or(RosterError::NoInvitation)?;
    let roster = client.roster().ok_or(RosterError::NoInvitation)?;
    roster.ready().await;
    match (roster.get(&inviter), &invitation.name) {
        // The token is not wasted on who is there already.
        (Some(item), _) if item.subscription == Subscription::Both => return Ok(()),
        (None, Some(name)) => roster.add(&inviter, Some(name), [""; 0]).await?,
        _ => {}
    }
    match roster.pre_approve(&inviter).await {
        Ok(()) | Err(RosterError::NoPreApproval) => {}
        Err(error) => return Err(error),
    }
    let mut request = Presence::subscribe(inviter);
    if let Some(token) = &invitation.token {
        request = request.payload(&Preauth { token: token.clone() });
    }
    Ok(client.send(request).await?)
}

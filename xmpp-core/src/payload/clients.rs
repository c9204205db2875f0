//! Client access management (XEP-0494): which clients have access to an account.

use super::{DateTime, Payload, TextValue};
use crate::xml::Stanza;

/// `urn:xmpp:cam:0`.
pub const NS: &str = "urn:xmpp:cam:0";

/// Asks for the clients of one's own account, in an iq get (§3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "list", ns = NS)]
pub struct ClientsQuery;

/// The clients, in an iq result.
#[derive(Clone, Debug, Default, Payload)]
#[xml(name = "clients", ns = NS)]
pub struct Clients {
    /// Each of them.
    #[xml(children)]
    pub clients: Vec<ClientAccess>,
}

/// A client that has access.
#[derive(Clone, Debug, Payload)]
#[xml(name = "client", ns = NS)]
pub struct ClientAccess {
    /// Whether it has a session now, be it one that has lost its connection and can be resumed.
    #[xml(attr)]
    pub connected: bool,
    /// What to call it in [`Revoke`]; it says nothing else.
    #[xml(attr)]
    pub id: String,
    /// Whether it has or had sessions.
    #[xml(attr = "type")]
    pub kind: AccessKind,
    /// When it was first given access.
    #[xml(child_text = "first-seen")]
    pub first_seen: Option<DateTime>,
    /// When it last used that; of a connected client this may be its login.
    #[xml(child_text = "last-seen")]
    pub last_seen: Option<DateTime>,
    /// How it got in.
    #[xml(child)]
    pub auth: AccessAuth,
    /// What it may do.
    #[xml(child)]
    pub permission: Permission,
    /// What it says of itself.
    #[xml(child)]
    pub user_agent: Option<AccessAgent>,
}

/// Whether a client has or had sessions.
#[derive(Clone, Debug, PartialEq, Eq, TextValue)]
pub enum AccessKind {
    /// It has or had.
    #[xml(value = "session")]
    Session,
    /// It has access and never had a session.
    #[xml(value = "access")]
    Access,
    /// Something else.
    #[xml(other)]
    Other(String),
}

/// The ways by which a client has got access.
#[derive(Clone, Debug, Default, Payload)]
#[xml(name = "auth", ns = NS)]
pub struct AccessAuth {
    /// It has presented a valid password. Only a new password keeps it out.
    #[xml(flag = "password")]
    pub password: bool,
    /// It has been granted access, such as by OAuth.
    #[xml(child)]
    pub grant: Option<Grant>,
    /// It has tokens that are good (XEP-0484).
    #[xml(flag = "fast")]
    pub fast: bool,
    /// Other ways.
    #[xml(unknown)]
    pub others: Vec<Stanza>,
}

/// An authorization grant.
#[derive(Clone, Debug, Default, Payload)]
#[xml(name = "grant", ns = NS)]
pub struct Grant {
    /// Details, if there are any.
    #[xml(unknown)]
    pub details: Vec<Stanza>,
}

/// What a client may do with the account.
#[derive(Clone, Debug, Payload)]
#[xml(name = "permission", ns = NS)]
pub struct Permission {
    /// How much.
    #[xml(attr)]
    pub status: PermissionStatus,
    /// What exactly is restricted.
    #[xml(unknown)]
    pub details: Vec<Stanza>,
}

/// How much a client may do.
#[derive(Clone, Debug, PartialEq, Eq, TextValue)]
pub enum PermissionStatus {
    /// Everything.
    #[xml(value = "unrestricted")]
    Unrestricted,
    /// Everything but what concerns the account's security.
    #[xml(value = "normal")]
    Normal,
    /// Less.
    #[xml(value = "restricted")]
    Restricted,
    /// Something else.
    #[xml(other)]
    Other(String),
}

/// What a client says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "user-agent", ns = NS)]
pub struct AccessAgent {
    /// The software's name.
    #[xml(child_text = "software")]
    pub software: Option<String>,
    /// A page about it. It comes from the client itself: not to be opened unasked.
    #[xml(child_text = "uri")]
    pub uri: Option<String>,
    /// The device, for people to read.
    #[xml(child_text = "device")]
    pub device: Option<String>,
}

/// Takes a client's access away, in an iq set (§3.2).
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "revoke", ns = NS)]
pub struct Revoke {
    /// Which: [`ClientAccess::id`].
    #[xml(attr)]
    pub id: String,
}

/// In the error of a [`Revoke`]: the client has the password, and only a new one keeps it out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "password-reset-required", ns = NS)]
pub struct PasswordResetRequired;

//! The elements of XEP-0045, and of what surrounds it, as they are in stanzas.

mod admin;
mod hats;
mod invitation;
mod join;
mod moderation;
mod occupant_id;
mod owner;
mod search;
mod status;
mod user;

pub use self::{
    admin::{AdminItem, AdminQuery},
    hats::{Hat, Hats},
    invitation::DirectInvitation,
    join::{HistoryRequest, Join},
    moderation::{Moderate, Moderated, RetractedBy},
    occupant_id::OccupantId,
    owner::{Destroy, OwnerQuery},
    search::{ChannelItem, ChannelResult, ChannelSearch, ConflictingFields, IsOpen, RateLimit, channel_search},
    status::{Status, StatusCode},
    user::{Actor, Continue, Decline, Destroyed, Invite, Item, UserInfo},
};
use crate::{ADMIN, NS, OWNER, USER};

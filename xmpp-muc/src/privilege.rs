//! Roles and affiliations, and who may change them (§5).

use xmpp_core::{payload::TextValue, stanza::StanzaError};

/// What somebody may do in a room during a visit (§5.1), least first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, TextValue)]
pub enum Role {
    /// Not in the room.
    #[default]
    #[xml(value = "none")]
    None,
    /// May listen; in moderated rooms without voice.
    #[xml(value = "visitor")]
    Visitor,
    /// May speak.
    #[xml(value = "participant")]
    Participant,
    /// May also give and take voice, and kick.
    #[xml(value = "moderator")]
    Moderator,
}

/// How somebody is associated with a room across visits (§5.2), least first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, TextValue)]
pub enum Affiliation {
    /// Banned.
    #[xml(value = "outcast")]
    Outcast,
    /// Not affiliated.
    #[default]
    #[xml(value = "none")]
    None,
    /// On the member list.
    #[xml(value = "member")]
    Member,
    /// May also ban, and appoint members and moderators.
    #[xml(value = "admin")]
    Admin,
    /// May also configure and destroy the room, and appoint admins and owners.
    #[xml(value = "owner")]
    Owner,
}

/// The role with which somebody enters (§5.1.2); `None` where entry is not permitted.
pub fn initial_role(affiliation: Affiliation, moderated: bool, members_only: bool) -> Option<Role> {
    match affiliation {
        Affiliation::Outcast => None,
        Affiliation::None if members_only => None,
        Affiliation::None if moderated => Some(Role::Visitor),
        Affiliation::None | Affiliation::Member => Some(Role::Participant),
        Affiliation::Admin | Affiliation::Owner => Some(Role::Moderator),
    }
}

/// Whether somebody of affiliation `actor` may change another's from `from` to `to` (§5.2.2).
///
/// # Errors
/// `forbidden` for whoever may not write such a list (§10.4, §10.7), `not-allowed` for who would ban somebody that is not
/// below (§9.1).
pub fn may_change_affiliation(actor: Affiliation, from: Affiliation, to: Affiliation) -> Result<(), StanzaError> {
    if actor < Affiliation::Admin {
        return Err(StanzaError::forbidden());
    }
    match from.max(to) >= Affiliation::Admin && actor < Affiliation::Owner {
        false => Ok(()),
        true if to == Affiliation::Outcast => Err(StanzaError::not_allowed()),
        true => Err(StanzaError::forbidden()),
    }
}

/// Whether an occupant, or somebody affiliated who is not there, may change an occupant's role to `to` (§5.1.3).
///
/// # Errors
/// `forbidden` for whoever may not do that to anybody, `not-allowed` where this occupant is above it.
pub fn may_change_role(actor: (Role, Affiliation), target: (Role, Affiliation), to: Role) -> Result<(), StanzaError> {
    let (role, affiliation) = actor;
    let is_admin = affiliation >= Affiliation::Admin;
    if role < Role::Moderator && !is_admin {
        return Err(StanzaError::forbidden());
    }
    let (had, other) = target;
    if to == had {
        return Ok(());
    }
    if to == Role::Moderator {
        // §9.6: that is for admins.
        return if is_admin { Ok(()) } else { Err(StanzaError::forbidden()) };
    }
    if to == Role::None {
        // §8.2: nobody kicks whoever is higher, and only admins kick moderators (§5.1.3).
        let above = other > affiliation.max(Affiliation::None) || (had == Role::Moderator && !is_admin);
        return if above { Err(StanzaError::not_allowed()) } else { Ok(()) };
    }
    if to > had {
        return Ok(());
    }
    // §8.4, §9.7: what affiliation gives is not taken away by role, and nobody takes from equals, if those are somebody.
    let stands = other >= Affiliation::Admin || (other > Affiliation::None && other >= affiliation);
    if stands {
        return Err(StanzaError::not_allowed());
    }
    if had == Role::Moderator && !is_admin {
        return Err(StanzaError::forbidden());
    }
    Ok(())
}

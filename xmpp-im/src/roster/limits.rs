//! The bounds of a roster.

/// What one user's roster may hold.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RosterLimits {
    /// Contacts.
    pub items: usize,
    /// Bytes of a contact's name (RFC 6121 §2.3.3).
    pub name: usize,
    /// Bytes of a group's name (§2.3.3).
    pub group: usize,
    /// Groups of one contact.
    pub groups: usize,
    /// Requests of others that wait to be answered (§3.1.3); the oldest makes room for the next.
    pub requests: usize,
    /// Bytes of such a request; of a longer one only that it was made is kept.
    pub request_bytes: usize,
    /// Contacts that were removed and are still remembered, for clients that have an older version (§2.6).
    pub removed: usize,
}

impl Default for RosterLimits {
    fn default() -> RosterLimits {
        RosterLimits {
            items: 2_000,
            name: 1_023,
            group: 255,
            groups: 32,
            requests: 100,
            request_bytes: 4_096,
            removed: 100,
        }
    }
}

//! The bounds of a room.

use std::time::Duration;

/// How much a room may hold.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RoomLimits {
    /// Occupants, whatever the configuration says.
    pub occupants: usize,
    /// Occupants beyond that, if they are owners or admins (§7.2.9).
    pub reserve: usize,
    /// Clients of one user under one nickname.
    pub visits: usize,
    /// Users who are affiliated.
    pub affiliated: usize,
    /// Bytes of a presence that is shown.
    pub presence_bytes: usize,
    /// Bytes of a message.
    pub message_bytes: usize,
    /// Messages of history.
    pub history: usize,
    /// Bytes of history.
    pub history_bytes: usize,
    /// Bytes of a reason.
    pub reason_bytes: usize,
    /// Items of one request about roles or affiliations, and affiliations that a form changes.
    pub items: usize,
    /// People invited by one message; and invitations of a room that can be declined, times ten.
    pub invitations: usize,
    /// Bytes of a subject.
    pub subject_bytes: usize,
    /// People whose voice, or lack of it, is remembered when they leave a moderated room.
    pub voices: usize,
    /// Bytes of a room's vCard (XEP-0486).
    pub card_bytes: usize,
    /// Hats that there are in a room (XEP-0317).
    pub hats: usize,
    /// Hats of one user.
    pub hats_of_user: usize,
    /// Users who have hats.
    pub hat_wearers: usize,
    /// Bytes of a hat's title, and of its URI.
    pub hat_bytes: usize,
    /// Bytes of presence that somebody who enters is shown, which have to find place in its queue. Where that is less than
    /// what all occupants say, the rest of them are shown without more than whether they are away; where it is too little for
    /// that, the room is full.
    pub shown_bytes: usize,
    /// Presences that one change of the configuration or of hats sends to all occupants, times these.
    pub shown_at_once: usize,
    /// Changes of presence of one user at once; a nickname counts as three, entering as two with leaving.
    pub presence_burst: u32,
    /// How long it takes until one more is free; nothing is counted if that is zero.
    pub presence_every: Duration,
    /// Messages of one user to all at once.
    pub message_burst: u32,
    /// How long it takes until one more is free; nothing is counted if that is zero.
    pub message_every: Duration,
    /// Users whose changes and messages are remembered, in the room or not.
    pub paced: usize,
    /// Whether two may have nicknames that look the same (UTS #39).
    pub look_alikes: bool,
}

impl Default for RoomLimits {
    /// 5,000 occupants and 50 more; 10 clients; 10,000 affiliated; 8 KiB of presence and 64 KiB of message; 100 messages
    /// of history in 256 KiB; reasons of 1,023 bytes; 100 items; 10 invitations; 4 KiB of subject; 1,000 voices; 128 KiB of
    /// vCard; 50 hats, 10 of a user, of 1,000 users, with titles of 255 bytes; 3 MiB of presence for who enters, and
    /// 1,000,000 presences at once; 20 changes of presence, and one more each 3 seconds; 20 messages, and 5 more each second,
    /// of 10,000 users; nobody looks like somebody else.
    fn default() -> RoomLimits {
        RoomLimits {
            occupants: 5_000,
            reserve: 50,
            visits: 10,
            affiliated: 10_000,
            presence_bytes: 8 * 1024,
            message_bytes: 64 * 1024,
            history: 100,
            history_bytes: 256 * 1024,
            reason_bytes: 1_023,
            items: 100,
            invitations: 10,
            subject_bytes: 4 * 1024,
            voices: 1_000,
            card_bytes: 128 * 1024,
            hats: 50,
            hats_of_user: 10,
            hat_wearers: 1_000,
            hat_bytes: 255,
            shown_bytes: 3 << 20,
            shown_at_once: 1_000_000,
            presence_burst: 20,
            presence_every: Duration::from_secs(3),
            message_burst: 20,
            message_every: Duration::from_millis(200),
            paced: 10_000,
            look_alikes: false,
        }
    }
}

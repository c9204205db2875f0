//! Rooms of the server (XEP-0045), entered by clients of ours.

use crate::{
    check::{Checked, Report, expect, expect_eq},
    peer::{Peer, Way, optional},
};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;
use xmpp_core::{
    client::{Client, Event, RequestError},
    jid::{BareJid, Jid},
    payload::archive,
    stanza::{Show, generate_id},
};
use xmpp_muc::{
    Affiliation, Role,
    client::{
        Departure, History, JoinError, MucClient, Occupant, Room, RoomEvent, RoomEvents, RoomRegistration, SayError,
    },
    config::Whois,
};

const PATIENCE: Duration = Duration::from_secs(60);
const TRICKY: &str = "1 < 2 & \"q\" 'a' ]]> é 日本 🙌 e\u{301}";

/// Somebody in the room.
struct One {
    client: Client,
    room: Room,
    events: RoomEvents,
}

pub(crate) async fn checks(report: &mut Report, peer: &Peer, way: Way) {
    let Some(service) = optional("MUC_DOMAIN") else {
        return report.skip(&format!("{way} rooms"), "the server has none");
    };
    let mut pair = None;
    let check = async {
        let room = BareJid::new(&format!("room-{}@{service}", generate_id().to_lowercase()))?;
        let mut first = enter(peer, way, 0, &room, "First").await?;
        let entry = until(&mut first.events, |event| match event {
            RoomEvent::Joined(entry) => Some(entry),
            _ => None,
        })
        .await?;
        expect(entry.created, || format!("the room is not new: {entry:?}"))?;
        let me = first.room.me().ok_or("I am not there")?;
        expect_eq("what I am", (me.role, me.affiliation), (Role::Moderator, Affiliation::Owner))?;
        let said = within(first.room.send("before")).await??;
        expect(said.is_mine, || "it is not mine".into())?;
        let mut second = enter(peer, way, 1, &room, "Second").await?;
        expect_eq("who came", first.arrived().await?.nick.as_str(), "Second")?;
        let history = second.heard().await?;
        expect_eq("the history", history, ("First".to_owned(), "before".to_owned(), true))?;
        until(&mut second.events, |event| matches!(event, RoomEvent::Subject { .. }).then_some(())).await?;
        expect_eq("how many are there", second.room.occupants().len(), 2)?;
        let note = match (second.room.me().and_then(|me| me.id.clone()), said.stanza_id) {
            (Some(_), Some(_)) => "with ids of occupants and messages",
            (Some(_), None) => "with ids of occupants",
            (None, Some(_)) => "with ids of messages",
            (None, None) => "",
        };
        pair = Some((first, second));
        Ok(note.to_owned())
    };
    report.check(&format!("{way} a room is made and entered"), check).await;
    let Some((mut first, mut second)) = pair else { return };
    let (one, two) = (&mut first, &mut second);
    report.check(&format!("{way} room: talk"), talk(one, two)).await;
    report.check(&format!("{way} room: nicknames"), nicknames(one, two)).await;
    report.check(&format!("{way} room: voice"), voice(one, two)).await;
    report.check(&format!("{way} room: kick, ban and their ends"), removals(one, two)).await;
    report.check(&format!("{way} room: configuration"), configuration(one, two)).await;
    report.check(&format!("{way} room: refusals"), refusals(one, two)).await;
    report.check(&format!("{way} room: lists"), lists(one, two)).await;
    report.check(&format!("{way} room: invitations"), invitations(peer, way, one)).await;
    report.check(&format!("{way} room: archive"), archived(one, two)).await;
    report.check(&format!("{way} room: registration"), registration(one, two)).await;
    report.check(&format!("{way} room: what there is"), discovery(one, &service)).await;
    report.check(&format!("{way} room: destroyed"), destroyed(one, two)).await;
    second.client.close().await;
    first.client.close().await;
}

/// A server that is gone and comes back: rooms are entered again.
pub(crate) async fn restart(report: &mut Report, peer: &Peer, way: Way) {
    let Some(service) = optional("MUC_DOMAIN") else { return };
    let check = async {
        let room = BareJid::new(&format!("room-{}@{service}", generate_id().to_lowercase()))?;
        let mut one = enter(peer, way, 0, &room, "First").await?;
        within(one.room.send("before")).await??;
        peer.control("kill").await?;
        peer.control("resume").await?;
        until(&mut one.events, |event| matches!(event, RoomEvent::Lost(_)).then_some(())).await?;
        until(&mut one.events, |event| matches!(event, RoomEvent::Rejoined(_)).then_some(())).await?;
        within(one.room.inside()).await?;
        within(one.room.send("after")).await??;
        one.client.close().await;
        Ok(String::new())
    };
    report.check_within(Duration::from_secs(240), &format!("{way} room: entered again after a restart"), check).await;
}

async fn within<T>(what: impl Future<Output = T>) -> Checked<T> {
    timeout(PATIENCE, what).await.map_err(|_| "not done in time".into())
}

async fn until<T>(events: &mut RoomEvents, mut meant: impl FnMut(RoomEvent) -> Option<T>) -> Checked<T> {
    let mut seen = Vec::new();
    let wait = async {
        while let Some(event) = events.next().await {
            seen.push(format!("{event:?}").chars().take(200).collect::<String>());
            if let Some(found) = meant(event) {
                return Some(found);
            }
        }
        None
    };
    let found = timeout(PATIENCE, wait).await.ok().flatten();
    found.ok_or_else(|| format!("it has not come, only {seen:?}").into())
}

fn login(peer: &Peer, way: Way, user: usize, nick: &str) -> Checked<Client> {
    let user = peer.users.get(user).ok_or("no such user")?;
    let builder = peer.user(way, user, &format!("rooms-{nick}"))?.with(xmpp_muc::client);
    let (client, mut connection) = builder.connect()?;
    tokio::spawn(async move {
        while let Some(event) = connection.next().await {
            if let Event::Offline { error, .. } = event {
                eprintln!("offline: {error}");
            }
        }
    });
    Ok(client)
}

async fn enter(peer: &Peer, way: Way, user: usize, room: &BareJid, nick: &str) -> Checked<One> {
    let client = login(peer, way, user, nick)?;
    let (room, events) = within(client.muc()?.join(room.clone(), nick).into_future()).await??;
    Ok(One { client, room, events })
}

impl One {
    async fn arrived(&mut self) -> Checked<Arc<Occupant>> {
        until(&mut self.events, |event| if let RoomEvent::Arrived(who) = event { Some(who) } else { None }).await
    }

    /// Who says what, and whether before now.
    async fn heard(&mut self) -> Checked<(String, String, bool)> {
        until(&mut self.events, |event| match event {
            RoomEvent::Message(message) => {
                let body = message.body().unwrap_or_default().into_owned();
                Some((message.nick.clone().unwrap_or_default(), body, message.is_history()))
            }
            _ => None,
        })
        .await
    }

    fn jid(&self) -> Checked<BareJid> {
        Ok(self.client.jid().ok_or("offline")?.to_bare())
    }
}

async fn talk(one: &mut One, two: &mut One) -> Checked<String> {
    within(two.room.send(TRICKY)).await??;
    let said = loop {
        let heard = one.heard().await?;
        if heard.0 == "Second" {
            break heard;
        }
    };
    expect_eq("what was said", said, ("Second".to_owned(), TRICKY.to_owned(), false))?;
    within(one.room.set_subject(TRICKY)).await??;
    until(&mut two.events, |event| matches!(event, RoomEvent::Subject { text, .. } if text == TRICKY).then_some(()))
        .await?;
    let id = within(two.room.whisper("First", "psst")).await??;
    let got = until(&mut one.events, |event| match event {
        RoomEvent::Private(message) => Some(message),
        _ => None,
    })
    .await?;
    expect_eq("the id", got.id.as_deref(), Some(id.as_str()))?;
    expect_eq("who whispers", got.nick.as_deref(), Some("Second"))?;
    two.room.set_presence(Some(Show::Away), Some(TRICKY)).await?;
    let seen =
        until(&mut one.events, |event| if let RoomEvent::Presence(who) = event { Some(who) } else { None }).await?;
    expect_eq("presence", (seen.show, seen.status.as_deref()), (Some(Show::Away), Some(TRICKY)))?;
    Ok(String::new())
}

async fn nicknames(one: &mut One, two: &mut One) -> Checked<String> {
    expect_eq("the nickname", within(two.room.change_nick("Deux")).await??.as_str(), "Deux")?;
    let seen = until(&mut one.events, |event| match event {
        RoomEvent::Nick { was, occupant, is_mine } => Some((was, occupant.nick.clone(), is_mine)),
        _ => None,
    });
    expect_eq("the change", seen.await?, ("Second".to_owned(), "Deux".to_owned(), false))?;
    let taken = within(two.room.change_nick("First")).await?;
    expect(matches!(taken, Err(JoinError::NickConflict)), || format!("{taken:?}"))?;
    within(two.room.send("still here")).await??;
    within(two.room.change_nick("Second")).await??;
    Ok(String::new())
}

async fn role(events: &mut RoomEvents) -> Checked<Role> {
    until(events, |event| if let RoomEvent::Role { occupant, .. } = event { Some(occupant.role) } else { None }).await
}

async fn voice(one: &mut One, two: &mut One) -> Checked<String> {
    let mut form = within(one.room.configuration()).await??;
    form.config.moderated = true;
    within(one.room.configure(&form)).await??;
    within(one.room.revoke_voice("Second", Some("hush"))).await??;
    expect_eq("the role", role(&mut two.events).await?, Role::Visitor)?;
    let mute = within(two.room.send("but")).await?;
    expect(matches!(mute, Err(SayError::NotPermitted)), || format!("{mute:?}"))?;
    two.room.request_voice().await?;
    let request = until(&mut one.events, |event| match event {
        RoomEvent::VoiceRequest(request) => Some(request),
        _ => None,
    });
    one.room.answer_voice(&request.await?, true).await?;
    expect_eq("the role", role(&mut two.events).await?, Role::Participant)?;
    within(two.room.send("thanks")).await??;
    form = within(one.room.configuration()).await??;
    form.config.moderated = false;
    within(one.room.configure(&form)).await??;
    Ok(String::new())
}

async fn removed(events: &mut RoomEvents) -> Checked<Departure> {
    until(events, |event| if let RoomEvent::Removed(removal) = event { Some(removal.why) } else { None }).await
}

async fn removals(one: &mut One, two: &mut One) -> Checked<String> {
    within(one.room.kick("Second", Some("out"))).await??;
    expect_eq("why", removed(&mut two.events).await?, Departure::Kicked)?;
    within(two.room.rejoin()).await??;
    within(one.room.ban(&two.jid()?, Some("out"))).await??;
    expect_eq("why", removed(&mut two.events).await?, Departure::Banned)?;
    let again = within(two.room.rejoin()).await?;
    expect(matches!(again, Err(JoinError::Banned)), || format!("{again:?}"))?;
    let outcasts = within(one.room.affiliated(Affiliation::Outcast)).await??;
    expect_eq("outcasts", outcasts.iter().filter_map(|item| item.jid.clone()).collect(), vec![Jid::from(two.jid()?)])?;
    within(one.room.disaffiliate(&two.jid()?)).await??;
    within(two.room.rejoin()).await??;
    until(&mut two.events, |event| matches!(event, RoomEvent::Joined(_)).then_some(())).await?;
    Ok(String::new())
}

async fn configuration(one: &mut One, two: &mut One) -> Checked<String> {
    let mut form = within(one.room.configuration()).await??;
    form.config.name = "A room".to_owned();
    form.config.whois = Whois::Anyone;
    within(one.room.configure(&form)).await??;
    let codes =
        until(&mut two.events, |event| if let RoomEvent::Configured(codes) = event { Some(codes) } else { None });
    let codes = codes.await?;
    let kept = within(one.room.configuration()).await??;
    expect_eq("the name", kept.config.name.as_str(), "A room")?;
    expect_eq("who sees addresses", kept.config.whois, Whois::Anyone)?;
    Ok(format!("{codes:?}"))
}

/// With a room for members, and then with one that has a password.
async fn refusals(one: &mut One, two: &mut One) -> Checked<String> {
    let mut form = within(one.room.configuration()).await??;
    form.config.members_only = true;
    within(one.room.configure(&form)).await??;
    let why = removed(&mut two.events).await?;
    expect(matches!(why, Departure::MembersOnly | Departure::AffiliationLost), || format!("{why:?}"))?;
    let stranger = within(two.room.rejoin()).await?;
    expect(matches!(stranger, Err(JoinError::MembersOnly)), || format!("{stranger:?}"))?;
    let mut form = within(one.room.configuration()).await??;
    (form.config.members_only, form.config.password) = (false, Some("hush".to_owned()));
    within(one.room.configure(&form)).await??;
    let wordless = within(two.room.rejoin()).await?;
    expect(matches!(wordless, Err(JoinError::Password)), || format!("{wordless:?}"))?;
    let mut form = within(one.room.configuration()).await??;
    expect_eq("the password", form.config.password.as_deref(), Some("hush"))?;
    form.config.password = None;
    within(one.room.configure(&form)).await??;
    within(two.room.rejoin()).await??;
    let none = BareJid::new(&format!("room-{}@{}", generate_id().to_lowercase(), one.room.jid().domain()))?;
    let none = within(two.client.muc()?.join(none, "Second").existing().into_future()).await?;
    expect(matches!(none, Err(JoinError::NoSuchRoom)), || format!("{none:?}"))?;
    let numbered = two.client.muc()?;
    let there = within(numbered.join(one.room.jid().clone(), "First").into_future()).await?;
    expect(matches!(there, Err(JoinError::AlreadyThere)), || format!("{there:?}"))?;
    Ok(String::new())
}

async fn lists(one: &mut One, two: &mut One) -> Checked<String> {
    within(one.room.set_affiliation(&two.jid()?, Affiliation::Admin, None)).await??;
    let made = until(&mut two.events, |event| match event {
        RoomEvent::Affiliation { occupant, .. } => Some(occupant.affiliation),
        _ => None,
    });
    expect_eq("the affiliation", made.await?, Affiliation::Admin)?;
    expect_eq("admins", within(one.room.affiliated(Affiliation::Admin)).await??.len(), 1)?;
    expect_eq("owners", within(one.room.affiliated(Affiliation::Owner)).await??.len(), 1)?;
    let moderators = within(one.room.acting_as(Role::Moderator)).await??;
    expect_eq("moderators", moderators.len(), 2)?;
    let refused = within(two.room.destroy(None, None)).await?;
    expect(matches!(refused, Err(RequestError::Refused(_))), || format!("{refused:?}"))?;
    within(one.room.set_affiliation(&two.jid()?, Affiliation::None, None)).await??;
    Ok(String::new())
}

/// Of somebody who is not there.
async fn invitations(peer: &Peer, way: Way, one: &mut One) -> Checked<String> {
    let client = login(peer, way, 2, "Third")?;
    let mut invitations = client.muc()?.invitations();
    let to = Jid::from(within(client.online()).await?.ok_or("offline")?);
    one.room.invite(to.clone(), Some("come")).await?;
    let invitation = within(invitations.next()).await?.ok_or("closed")?;
    expect_eq("the room", &invitation.room, one.room.jid())?;
    expect(invitation.is_mediated, || "it came past the room".into())?;
    client.muc()?.decline(&invitation, Some("no")).await?;
    until(&mut one.events, |event| matches!(event, RoomEvent::Declined { .. }).then_some(())).await?;
    // Some services send a second one, for clients that know only those.
    one.room.invite_directly(to, Some("come")).await?;
    let direct = async {
        while let Some(invitation) = invitations.next().await {
            if !invitation.is_mediated && invitation.from.as_ref().is_some_and(|from| from.resource().is_some()) {
                return true;
            }
        }
        false
    };
    expect(within(direct).await?, || "none came past the room".into())?;
    client.close().await;
    Ok(String::new())
}

/// What is said while somebody is away is read from the archive, and not told again.
async fn archived(one: &mut One, two: &mut One) -> Checked<String> {
    if !two.room.supports(archive::NS) {
        return Ok("(the room has none)".to_owned());
    }
    within(one.room.send("heard")).await??;
    while two.heard().await?.1 != "heard" {}
    within(one.room.kick("Second", None)).await??;
    removed(&mut two.events).await?;
    within(one.room.send("missed")).await??;
    let mut missed = two.room.missed();
    let mut read = Vec::new();
    while let Some(message) = within(missed.next()).await? {
        read.push(message?.body().unwrap_or_default().into_owned());
    }
    expect_eq("what was missed", read, vec!["missed".to_owned()])?;
    within(two.room.rejoin()).await??;
    within(one.room.send("new")).await??;
    expect_eq("what comes next", two.heard().await?.1.as_str(), "new")?;
    Ok(String::new())
}

async fn registration(one: &mut One, two: &mut One) -> Checked<String> {
    // At Prosody members reserve nicknames, and others do not become members by themselves.
    within(one.room.set_affiliation(&two.jid()?, Affiliation::Member, None)).await??;
    match within(two.room.registration()).await? {
        Ok(RoomRegistration::Form(_)) => {}
        Err(RequestError::Refused(error)) => return Ok(format!("(refused: {error})")),
        other => return Err(format!("{other:?}").into()),
    }
    within(two.room.register("Second")).await??;
    let known = within(two.room.registration()).await??;
    expect(matches!(known, RoomRegistration::Registered(_)), || format!("{known:?}"))?;
    let reserved = within(two.client.muc()?.reserved_nick(two.room.jid())).await??;
    expect_eq("the reserved nickname", reserved.as_deref(), Some("Second"))?;
    within(two.room.unregister()).await??;
    Ok(String::new())
}

async fn discovery(one: &mut One, service: &str) -> Checked<String> {
    let muc = one.client.muc()?;
    let info = within(muc.info(one.room.jid())).await??;
    expect_eq("the name", info.name.as_deref(), Some("A room"))?;
    expect_eq("how many are there", info.occupants(), Some(2))?;
    let services = within(muc.services()).await??;
    expect(services.iter().any(|one| one.as_str() == service), || format!("{services:?}"))?;
    let quiet =
        within(muc.join(BareJid::new(&format!("quiet@{service}"))?, "First").history(History::None).into_future());
    let (quiet, _events) = quiet.await??;
    let all = within(muc.rooms(service.parse::<Jid>()?).page(1).all()).await??;
    expect(all.iter().any(|room| room.jid == *quiet.jid()), || format!("{all:?}"))?;
    within(quiet.leave(None)).await??;
    Ok(String::new())
}

async fn destroyed(one: &mut One, two: &mut One) -> Checked<String> {
    let other = BareJid::new("other@example.org")?;
    within(one.room.destroy(Some(&other), Some("moved"))).await??;
    let end =
        until(&mut two.events, |event| if let RoomEvent::Destroyed(end) = event { Some(end) } else { None }).await?;
    expect_eq("the other room", end.jid.map(|jid| jid.to_bare()), Some(other))?;
    expect_eq("the reason", end.reason.as_deref(), Some("moved"))?;
    expect(!two.room.is_inside(), || "still there".into())?;
    Ok(String::new())
}

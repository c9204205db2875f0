//! Calls between two ends of a WebRTC implementation that know nothing of each other but what Jingle has told them.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use rtc::{
    media_stream::MediaStreamTrack,
    peer_connection::{
        RTCPeerConnection, RTCPeerConnectionBuilder, configuration::media_engine::MediaEngine,
        sdp::RTCSessionDescription, transport::RTCIceCandidateInit,
    },
    rtp_transceiver::rtp_sender::{RTCRtpCodec, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind},
};
use std::{
    collections::BTreeSet,
    future::Future,
    time::{Duration, Instant},
};
use tokio::{sync::mpsc, time::timeout};
use xmpp_core::{
    client::Client,
    jid::FullJid,
    payload::Payload,
    server::{MemoryAccounts, Server},
    stanza::{Iq, Presence},
    xml::{Stanza, Writer, XmlLimits},
};
use xmpp_filetransfer::{
    call::{self, Direction, Group, RtpInfo, Trickle, sdp, signalling},
    jingle::{
        Action, Creator, Ending, Event, Jingle, Phase, Reason, ReasonCondition, Senders,
        client::{
            Admission, Invitation, JingleClient, ProposalAnswer, Proposed, SessionEvents, Withdrawal, application,
        },
    },
};

fn peer() -> RTCPeerConnection {
    let mut codecs = MediaEngine::default();
    codecs.register_default_codecs().unwrap();
    RTCPeerConnectionBuilder::new().with_media_engine(codecs).build(Instant::now()).unwrap()
}

/// A microphone, or a camera.
fn track(kind: RtpCodecKind, ssrc: u32) -> MediaStreamTrack {
    let (mime_type, clock_rate, channels) = match kind {
        RtpCodecKind::Audio => ("audio/opus", 48_000, 2),
        _ => ("video/VP8", 90_000, 0),
    };
    let codec = RTCRtpCodec { mime_type: mime_type.into(), clock_rate, channels, ..RTCRtpCodec::default() };
    let coding = RTCRtpCodingParameters { ssrc: Some(ssrc), ..RTCRtpCodingParameters::default() };
    let encoding =
        RTCRtpEncodingParameters { rtp_coding_parameters: coding, codec, ..RTCRtpEncodingParameters::default() };
    MediaStreamTrack::new("stream".into(), format!("track-{ssrc}"), "label".into(), kind, vec![encoding])
}

/// What the other end hears: SDP, as Jingle, as bytes, as Jingle, as SDP.
fn through_jingle(said: &str, action: Action, direction: Direction) -> String {
    let call = sdp::to_jingle(said, direction).unwrap();
    assert!(call.left_out.is_empty());
    let mut jingle = Jingle::new(action, "a73sjjvkla37jfea");
    jingle.contents = call.contents;
    for group in &call.groups {
        let mut w = Writer::new("");
        group.write(&mut w);
        jingle.others.push(w.into_stanza());
    }
    let mut w = Writer::new("");
    jingle.write(&mut w);
    let bytes = w.into_stanza();
    let heard = Stanza::parse(bytes.as_str(), "", &XmlLimits::default()).unwrap();
    let heard = Jingle::read(heard.root()).unwrap();
    let groups: Vec<_> = heard.others.iter().map(|element| Group::read(element.root()).unwrap()).collect();
    sdp::from_jingle(&heard.contents, &groups, "7", direction).unwrap()
}

/// The lines that say something of a call, each with the medium that it is said of.
fn meaning(sdp: &str) -> BTreeSet<String> {
    let told = [
        "rtpmap:",
        "fmtp:",
        "rtcp-fb:",
        "extmap:",
        "ssrc:",
        "ssrc-group:",
        "ice-ufrag:",
        "ice-pwd:",
        "setup:",
        "mid:",
        "candidate:",
        "sendrecv",
        "sendonly",
        "recvonly",
        "inactive",
        "rtcp-mux",
    ];
    let mut medium = String::new();
    let mut lines = BTreeSet::new();
    for line in sdp.lines() {
        if let Some(rest) = line.strip_prefix("m=") {
            let mut words = rest.split(' ');
            medium = words.next().unwrap_or_default().to_owned();
            let formats: Vec<_> = words.skip(2).collect();
            lines.insert(format!("{medium}: {}", formats.join(" ")));
        } else if let Some(attribute) = line.strip_prefix("a=")
            && told.iter().any(|name| attribute.starts_with(name))
        {
            lines.insert(format!("{medium}: {}", attribute.trim_end_matches([';', ' '])));
        }
    }
    lines
}

#[test]
fn a_call_is_agreed_on_through_jingle() {
    let (mut caller, mut callee) = (peer(), peer());
    caller.add_track(track(RtpCodecKind::Audio, 1_001)).unwrap();
    caller.add_track(track(RtpCodecKind::Video, 2_002)).unwrap();
    callee.add_track(track(RtpCodecKind::Audio, 3_003)).unwrap();

    let offer = caller.create_offer(None).unwrap();
    caller.set_local_description(Instant::now(), offer.clone()).unwrap();
    let heard = through_jingle(&offer.sdp, Action::SessionInitiate, Direction::offer());
    assert_eq!(meaning(&heard), meaning(&offer.sdp));
    assert!(meaning(&heard).len() > 20, "{heard}");
    callee.set_remote_description(Instant::now(), RTCSessionDescription::offer(heard).unwrap()).unwrap();

    let answer = callee.create_answer(None).unwrap();
    callee.set_local_description(Instant::now(), answer.clone()).unwrap();
    let heard = through_jingle(&answer.sdp, Action::SessionAccept, Direction::answer());
    assert_eq!(meaning(&heard), meaning(&answer.sdp));
    caller.set_remote_description(Instant::now(), RTCSessionDescription::answer(heard).unwrap()).unwrap();

    for end in [&caller, &callee] {
        let (ours, theirs) = (end.current_local_description().unwrap(), end.current_remote_description().unwrap());
        assert!(ours.sdp.contains("opus/48000/2") && theirs.sdp.contains("opus/48000/2"));
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), future).await.unwrap()
}

struct Device {
    client: Client,
    jid: FullJid,
    rings: mpsc::Receiver<Proposed>,
    _invited: mpsc::Receiver<Invitation>,
}

async fn device(server: &Server, address: &str) -> Device {
    let (ring, rings) = mpsc::channel(4);
    let (invite, invited) = mpsc::channel(4);
    let calls = signalling::application(move |it| drop(invite.try_send(it)))
        .proposals(move |proposed| drop(ring.try_send(proposed)))
        .admit_proposals(|_, _| Admission::Ring);
    let pipe = server.clone();
    let builder = Client::builder(address.parse().unwrap(), "secret");
    let builder = builder.with(|r: &mut _| application(r, calls)).with(call::features(true, true));
    let (client, mut events) = builder.pipe(move || pipe.connect_memory()).connect().unwrap();
    tokio::spawn(async move { while events.next().await.is_some() {} });
    let jid = soon(client.online()).await.unwrap();
    client.send(Presence::available()).await.unwrap();
    // When this is answered, copies are on.
    let copies = Stanza::parse("<enable xmlns='urn:xmpp:carbons:2'/>", "", &XmlLimits::default()).unwrap();
    soon(client.request(Iq::set_own().element(copies.root()))).await.unwrap();
    Device { client, jid, rings, _invited: invited }
}

async fn next(events: &mut SessionEvents) -> Event {
    soon(events.next()).await.unwrap()
}

fn candidate(port: u16) -> String {
    format!("candidate:1 1 udp 2130706431 127.0.0.1 {port} typ host")
}

/// The candidate that is told in the next event goes to the stack.
async fn hears_candidate(events: &mut SessionEvents, stack: &mut RTCPeerConnection) -> String {
    let Event::TransportInfo(contents) = next(events).await else { panic!() };
    let found = signalling::candidates(&contents);
    let [(mid, line)] = &found[..] else { panic!("{found:?}") };
    let transport = contents[0].transport.as_ref().unwrap();
    assert!(transport.root().attr("ufrag").is_some() && transport.root().attr("pwd").is_some());
    let init = RTCIceCandidateInit { candidate: line.clone(), sdp_mid: Some(mid.clone()), ..Default::default() };
    stack.add_remote_candidate(init).unwrap();
    line.clone()
}

fn info(info: &RtpInfo) -> Option<Stanza> {
    let mut w = Writer::new("");
    info.write(&mut w);
    Some(w.into_stanza())
}

#[tokio::test]
async fn a_call_to_an_account_with_two_devices_from_its_beginning_to_its_end() {
    let accounts = MemoryAccounts::new();
    for name in ["romeo@localhost", "juliet@localhost"] {
        accounts.set_password(name.parse().unwrap(), "secret");
    }
    let builder = Server::builder("localhost").accounts(accounts).with(xmpp_im::presence::server);
    let server = builder.with(xmpp_im::delivery::server).with(xmpp_im::carbons::server).build().unwrap();
    let romeo = device(&server, "romeo@localhost/orchard").await;
    let mut phone = device(&server, "juliet@localhost/phone").await;
    let mut tablet = device(&server, "juliet@localhost/tablet").await;
    let (mut caller, mut callee) = (peer(), peer());
    caller.add_track(track(RtpCodecKind::Audio, 1_001)).unwrap();
    caller.add_track(track(RtpCodecKind::Video, 2_002)).unwrap();
    callee.add_track(track(RtpCodecKind::Audio, 3_003)).unwrap();

    // Both ring, one takes it, the other one stops.
    let sessions = romeo.client.jingle().unwrap();
    let juliet = "juliet@localhost".parse().unwrap();
    let mut proposing = soon(sessions.propose(&juliet, signalling::media(true, true))).await.unwrap();
    let (on_phone, mut on_tablet) = (soon(phone.rings.recv()).await.unwrap(), soon(tablet.rings.recv()).await.unwrap());
    assert_eq!(on_phone.descriptions().len(), 2);
    for _ in 0..2 {
        assert!(matches!(soon(proposing.next()).await, Some(ProposalAnswer::Ringing { .. })));
    }
    let taking = tokio::spawn(on_phone.proceed());
    assert!(matches!(soon(on_tablet.withdrawn()).await, Withdrawal::TakenElsewhere));
    assert_eq!(soon(proposing.taken()).await.unwrap(), phone.jid);

    // The offer.
    let offer = caller.create_offer(None).unwrap();
    caller.set_local_description(Instant::now(), offer.clone()).unwrap();
    let call = sdp::to_jingle(&offer.sdp, Direction::offer()).unwrap();
    let mut trickle = Trickle::new(&call);
    let id = proposing.id().to_owned();
    let (his, mut he_hears) = soon(proposing.initiate(call)).await.unwrap();
    let Invitation { session: hers, events: mut she_hears, others, .. } = soon(taking).await.unwrap().unwrap();
    assert_eq!((his.sid(), hers.sid()), (&id[..], &id[..]));
    let heard = signalling::sdp(&hers.offered(), &others, Direction::offer()).unwrap();
    assert_eq!(meaning(&heard), meaning(&offer.sdp));
    callee.set_remote_description(Instant::now(), RTCSessionDescription::offer(heard).unwrap()).unwrap();
    soon(hers.session_info(info(&RtpInfo::Ringing))).await.unwrap();
    assert!(matches!(next(&mut he_hears).await, Event::Info(it) if it.root().name() == "ringing"));

    // Candidates that are found before the session is accepted.
    let (content, found) = trickle.candidate("0", &candidate(8_998)).unwrap();
    soon(his.transport_info(content, found)).await.unwrap();
    let line = hears_candidate(&mut she_hears, &mut callee).await;
    assert!(line.contains("127.0.0.1 8998"), "{line}");

    // The answer.
    let answer = callee.create_answer(None).unwrap();
    callee.set_local_description(Instant::now(), answer.clone()).unwrap();
    let call = sdp::to_jingle(&answer.sdp, Direction::answer()).unwrap();
    let mut back = Trickle::new(&call);
    soon(call.accept(&hers)).await.unwrap();
    let Event::Accepted { contents, others, dropped } = next(&mut he_hears).await else { panic!() };
    assert!(dropped.is_empty());
    let heard = signalling::sdp(&contents, &others, Direction::answer()).unwrap();
    assert_eq!(meaning(&heard), meaning(&answer.sdp));
    caller.set_remote_description(Instant::now(), RTCSessionDescription::answer(heard).unwrap()).unwrap();
    let (content, found) = back.candidate("0", &candidate(9_999)).unwrap();
    soon(hers.transport_info(content, found)).await.unwrap();
    hears_candidate(&mut he_hears, &mut caller).await;

    // What is told while it goes on.
    let mute = RtpInfo::Mute { creator: Some(Creator::Initiator), name: Some("0".into()) };
    for told in [RtpInfo::Active, RtpInfo::Hold, RtpInfo::Unhold, mute] {
        soon(his.session_info(info(&told))).await.unwrap();
        let Event::Info(heard) = next(&mut she_hears).await else { panic!() };
        assert_eq!(RtpInfo::read(heard.root()).unwrap(), told);
    }
    let video = contents[1].id.clone();
    soon(his.modify_content(vec![(video.clone(), Senders::None)])).await.unwrap();
    assert!(matches!(next(&mut she_hears).await, Event::ContentModified(it) if it == [(video, Senders::None)]));
    assert!(trickle.candidate("9", &candidate(1)).is_err() && trickle.candidate("0", "a walk").is_err());

    soon(hers.terminate(Reason::success())).await.unwrap();
    let Event::Ended(Ending::Terminated(Some(reason))) = next(&mut he_hears).await else { panic!() };
    assert_eq!((reason.condition, his.phase()), (ReasonCondition::Success, Phase::Ended));
    assert!(sessions.is_empty() && tablet.rings.try_recv().is_err());
    assert_ne!(romeo.jid, phone.jid);
}

//! Calls between two ends of a WebRTC implementation that know nothing of each other but what Jingle has told them.
#![allow(clippy::unwrap_used, missing_docs)]

use rtc::{
    media_stream::MediaStreamTrack,
    peer_connection::{
        RTCPeerConnection, RTCPeerConnectionBuilder, configuration::media_engine::MediaEngine,
        sdp::RTCSessionDescription,
    },
    rtp_transceiver::rtp_sender::{RTCRtpCodec, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind},
};
use std::{collections::BTreeSet, time::Instant};
use xmpp_core::{
    payload::Payload,
    xml::{Stanza, Writer, XmlLimits},
};
use xmpp_filetransfer::{
    call::{Direction, Group, sdp},
    jingle::{Action, Jingle},
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

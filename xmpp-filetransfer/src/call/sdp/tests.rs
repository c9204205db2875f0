use super::*;
use crate::call::{IceTransport, Parameter, PayloadType, RtpDescription, Source, SourceParameter};
use proptest::prelude::*;
use xmpp_core::{
    payload::Payload,
    xml::{Stanza, Writer, XmlLimits},
};

/// An offer as browsers make it, with a data channel beside the media.
const OFFER: &str = "v=0\r\no=- 42 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1 2\r\na=extmap-allow-mixed\r\n\
     a=fingerprint:sha-256 AA:BB:CC\r\n\
     m=audio 9 UDP/TLS/RTP/SAVPF 111 13\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendonly\r\na=rtcp-mux\r\na=ice-ufrag:8hhy\r\n\
     a=ice-pwd:asd88fgpdd777uzjYhagZg\r\na=setup:actpass\r\n\
     a=candidate:1 1 UDP 2130706431 10.0.1.1 8998 typ host generation 0 network 1\r\n\
     a=candidate:2 1 udp 1694498815 192.0.2.3 45664 typ srflx raddr 10.0.1.1 rport 8998 generation 1\r\n\
     a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\na=rtcp-fb:111 transport-cc\r\na=rtpmap:13 CN/8000\r\n\
     a=ptime:20\r\na=extmap:1/recvonly urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n\
     a=ssrc:1656081975 cname:Yv/wvbCdsDW2Prgd\r\na=ssrc:1656081975 msid:stream track\r\n\
     m=video 0 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 0.0.0.0\r\nb=AS:500\r\na=mid:1\r\na=bundle-only\r\na=recvonly\r\na=rtcp-mux\r\n\
     a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack pli\r\na=rtcp-fb:96 ccm fir\r\na=rtcp-fb:96 trr-int 100\r\na=rtcp-fb:* nack\r\n\
     a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=ssrc-group:FID 2301230316 386328120\r\na=ssrc:2301230316 cname:T5\r\n\
     a=ssrc:386328120 cname:T5\r\n\
     m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:2\r\na=sctp-port:5000\r\n";

/// Over the wire and back.
fn wired(content: &Content) -> Content {
    let mut w = Writer::new("");
    content.write(&mut w);
    let text = w.into_stanza().as_str().to_owned();
    Content::read(Stanza::parse(&text, "", &XmlLimits::default()).unwrap().root()).unwrap()
}

fn description(content: &Content) -> RtpDescription {
    RtpDescription::read(content.description.as_ref().unwrap().root()).unwrap()
}

fn transport(content: &Content) -> IceTransport {
    IceTransport::read(content.transport.as_ref().unwrap().root()).unwrap()
}

#[test]
fn xep0167_6_media_become_contents_and_lines_again() {
    let call = to_jingle(OFFER, Direction::offer()).unwrap();
    assert_eq!(call.left_out, ["2"]);
    assert_eq!(call.groups[0].members.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["0", "1"]);
    let contents: Vec<_> = call.contents.iter().map(wired).collect();
    assert_eq!(contents, call.contents);
    let sdp = from_jingle(&contents, &call.groups, "42", Direction::offer()).unwrap();
    let again = to_jingle(&sdp, Direction::offer()).unwrap();
    assert_eq!((again.contents, again.groups), (call.contents, call.groups), "{sdp}");
}

#[test]
fn xep0167_4_an_encoding_is_described() {
    let call = to_jingle(OFFER, Direction::offer()).unwrap();
    let opus = &description(&call.contents[0]).payload_types[0];
    assert_eq!((opus.id, opus.name.as_deref(), opus.clockrate), (111, Some("opus"), Some(48_000)));
    assert_eq!((opus.channels, opus.ptime), (Some(2), Some(20)));
    assert_eq!(opus.parameters[1], Parameter { name: "useinbandfec".into(), value: "1".into() });
    let bandwidth = description(&call.contents[1]).bandwidth.unwrap();
    assert_eq!((bandwidth.type_.as_str(), bandwidth.value.as_str()), ("AS", "500"));
}

#[test]
fn xep0166_7_3_who_sends_depends_on_who_speaks() {
    let senders = |direction| {
        let call = to_jingle(OFFER, direction).unwrap();
        call.contents.iter().map(|it| it.senders.unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(senders(Direction::offer()), [Senders::Initiator, Senders::Responder]);
    assert_eq!(senders(Direction::answer()), [Senders::Responder, Senders::Initiator]);
    // What the offer calls sending, its answer calls receiving.
    let call = to_jingle(OFFER, Direction::offer()).unwrap();
    let answer = from_jingle(&call.contents[..1], &[], "1", Direction::answer()).unwrap();
    assert!(answer.contains("a=recvonly\r\n"), "{answer}");
    assert!(answer.contains("a=extmap:1/sendonly urn:"), "{answer}");
}

#[test]
fn xep0176_5_3_candidates_keep_what_they_say() {
    let call = to_jingle(OFFER, Direction::offer()).unwrap();
    let transport = transport(&call.contents[0]);
    assert_eq!((transport.ufrag.as_deref(), transport.pwd.as_deref()), (Some("8hhy"), Some("asd88fgpdd777uzjYhagZg")));
    let [host, reflexive] = &transport.candidates[..] else { panic!("{transport:?}") };
    assert_eq!(host.to_sdp().unwrap(), "candidate:1 1 udp 2130706431 10.0.1.1 8998 typ host generation 0 network 1");
    assert_eq!(
        (reflexive.rel_addr.as_deref(), reflexive.rel_port, reflexive.generation),
        (Some("10.0.1.1"), Some(8998), 1)
    );
    let later = candidate(&format!("a={}", reflexive.to_sdp().unwrap()), &reflexive.id).unwrap();
    assert_eq!(&later, reflexive);
}

#[test]
fn xep0320_2_a_fingerprint_of_the_session_is_that_of_each_medium() {
    let call = to_jingle(OFFER, Direction::offer()).unwrap();
    for content in &call.contents {
        let fingerprints = transport(content).fingerprints;
        assert_eq!((fingerprints[0].hash.as_str(), fingerprints[0].value.as_str()), ("sha-256", "AA:BB:CC"));
    }
    let first = &transport(&call.contents[0]).fingerprints[0];
    assert_eq!(first.setup, Some(crate::call::Setup::ActPass));
}

#[test]
fn xep0293_5_feedback_belongs_to_an_encoding_or_to_all() {
    let call = to_jingle(OFFER, Direction::offer()).unwrap();
    let video = description(&call.contents[1]);
    assert_eq!(video.feedback[0].type_, "nack");
    let vp8 = &video.payload_types[0];
    assert_eq!(vp8.feedback_interval.unwrap().value, 100);
    assert_eq!((vp8.feedback[0].type_.as_str(), vp8.feedback[0].subtype.as_deref()), ("nack", Some("pli")));
    assert!(video.payload_types[1].feedback.is_empty());
}

#[test]
fn xep0339_2_sources_and_their_groups() {
    let call = to_jingle(OFFER, Direction::offer()).unwrap();
    let audio = description(&call.contents[0]);
    let msid = SourceParameter { name: "msid".into(), value: Some("stream track".into()) };
    assert_eq!((audio.sources.len(), &audio.sources[0].parameters[1]), (1, &msid));
    let video = description(&call.contents[1]);
    assert_eq!(video.source_groups[0].semantics, "FID");
    assert_eq!(
        video.source_groups[0].sources.iter().map(|it| it.ssrc).collect::<Vec<_>>(),
        [2_301_230_316, 386_328_120]
    );
}

#[test]
fn rfc8866_5_what_is_no_sdp_is_refused_with_its_line() {
    let line = |sdp: &str| match to_jingle(sdp, Direction::offer()) {
        Err(SdpError::Line { line, .. }) => line,
        other => panic!("{other:?}"),
    };
    assert_eq!(line("o=x"), 1);
    assert_eq!(line("v=1"), 1);
    assert_eq!(line("v=0\r\nhello"), 2);
    assert_eq!(line("v=0\nm=audio x RTP/AVP 0"), 2);
    assert_eq!(line("v=0\nm=audio 9 RTP/AVP x"), 2);
    assert_eq!(line("v=0\nm=audio 9 RTP/AVP 0\na=rtpmap:0 PCMU"), 3);
    assert_eq!(line("v=0\nm=audio 9 RTP/AVP 0\na=ssrc:x y"), 3);
    assert_eq!(line("v=0\nm=audio 9 RTP/AVP 0\na=candidate:1 1 udp 1 h 70000 typ host"), 3);
    let many = format!("v=0\n{}", "m=audio 9 RTP/AVP 0\n".repeat(MAX_MEDIA));
    assert_eq!(to_jingle(&many, Direction::offer()).unwrap().contents.len(), MAX_MEDIA);
    let more = format!("{many}m=audio 9 RTP/AVP 0\n");
    assert_eq!(to_jingle(&more, Direction::offer()).unwrap_err(), SdpError::TooLong);
    assert_eq!(to_jingle(&" ".repeat(MAX_BYTES + 1), Direction::offer()).unwrap_err(), SdpError::TooLong);
}

#[test]
fn what_has_no_place_in_xml_is_no_sdp() {
    let refused = |sdp: &str| matches!(to_jingle(sdp, Direction::offer()), Err(SdpError::Line { line: 3, .. }));
    assert!(refused("v=0\r\nm=audio 9 RTP/AVP 0\r\na=mid:a\0b\r\n"));
    assert!(refused("v=0\r\nm=audio 9 RTP/AVP 0\r\na=mid:a\rb\r\n"));
    let found = candidate("candidate:2 1 udp 1 192.0.2.3 4 typ srflx raddr 10\0\0 rport 8", "c");
    assert!(matches!(found, Err(SdpError::Line { line: 1, .. })), "{found:?}");
}

#[test]
fn a_content_that_is_no_call_is_named() {
    let error = from_jingle(&[Content::initial("file")], &[], "1", Direction::offer()).unwrap_err();
    assert_eq!(error, SdpError::NotRtp("file".to_owned()));
}

/// A content in which one text of a peer is everywhere that a peer can put one.
fn saying(text: &str) -> Content {
    let parameter = || vec![Parameter { name: "n".into(), value: text.into() }];
    let mut description = RtpDescription::new("audio");
    description.payload_types = vec![PayloadType { id: 96, name: Some(text.into()), ..PayloadType::default() }];
    description.payload_types[0].parameters = parameter();
    let parameters = vec![SourceParameter { name: "cname".into(), value: Some(text.into()) }];
    description.sources = vec![Source { ssrc: 1, parameters }];
    let transport = IceTransport { ufrag: Some(text.into()), ..IceTransport::default() };
    let element = |payload: &dyn Fn(&mut Writer)| {
        let mut w = Writer::new("");
        payload(&mut w);
        w.into_stanza()
    };
    Content::initial(text)
        .with_description(element(&|w| description.write(w)))
        .with_transport(element(&|w| transport.write(w)))
}

#[test]
fn abuse_a096_a_peer_writes_no_line_of_its_own() {
    for text in ["a\r\na=setup:active", "a\nb", "a\rb", "a b", "", "a\u{85}b", "a\u{2028}b"] {
        let error = from_jingle(&[saying(text)], &[], "1", Direction::offer()).unwrap_err();
        assert!(matches!(error, SdpError::Unspeakable(_)), "{text:?}");
    }
    assert!(from_jingle(&[saying("ab")], &[], "1\r\na=x", Direction::offer()).is_err());
    let groups = [Group { semantics: "BUNDLE\r\na=x".into(), members: Vec::new() }];
    assert!(from_jingle(&[], &groups, "1", Direction::offer()).is_err());
}

proptest! {
    #[test]
    fn no_text_of_a_peer_makes_another_line(text in any::<String>()) {
        if let Ok(sdp) = from_jingle(&[saying(&text)], &[], "1", Direction::offer()) {
            let plain = from_jingle(&[saying("x")], &[], "1", Direction::offer()).unwrap();
            prop_assert_eq!(sdp.lines().count(), plain.lines().count());
        }
    }

    #[test]
    fn no_sdp_makes_it_panic(lines in prop::collection::vec("[vmabc]=[a-z]{0,10}[: /]?[0-9a-z* =;:/]{0,30}", 0..20)) {
        let sdp = format!("v=0\r\n{}", lines.join("\r\n"));
        let _ = to_jingle(&sdp, Direction::offer());
    }

    #[test]
    fn what_is_read_of_sdp_can_be_written_and_read_again(cut in 0..OFFER.len(), at in 0..OFFER.len(), with in "[a-z0-9 :=/]{0,8}") {
        // An offer with one place overwritten.
        let mut sdp = OFFER.to_owned();
        let (from, to) = (at, (at + cut % 12).min(sdp.len()));
        sdp.replace_range(from..to, &with);
        if let Ok(call) = to_jingle(&sdp, Direction::offer())
            && let Ok(again) = from_jingle(&call.contents, &call.groups, "1", Direction::offer())
        {
            let again = to_jingle(&again, Direction::offer()).unwrap();
            prop_assert_eq!(again.contents.len(), call.contents.len());
        }
    }
}

/// A content that says this in one place.
fn told(change: impl FnOnce(&mut RtpDescription)) -> Content {
    let mut description = RtpDescription::new("audio");
    description.payload_types = vec![PayloadType { id: 96, name: Some("x".into()), ..PayloadType::default() }];
    change(&mut description);
    let (mut said, mut way) = (Writer::new(""), Writer::new(""));
    description.write(&mut said);
    IceTransport::default().write(&mut way);
    Content::initial("a").with_description(said.into_stanza()).with_transport(way.into_stanza())
}

#[test]
fn abuse_a096_a_parameter_ends_no_line() {
    for (name, value) in [("n", "a\u{2028}b"), ("n\u{2029}", "b"), ("", "a\u{2028}"), ("n", "a\r\nb"), ("n", "a;b")] {
        let parameter = Parameter { name: name.into(), value: value.into() };
        let content = told(|it| it.payload_types[0].parameters = vec![parameter]);
        let error = from_jingle(&[content], &[], "1", Direction::offer()).unwrap_err();
        assert_eq!(error, SdpError::Unspeakable("a parameter"), "{name:?} {value:?}");
    }
    let content = told(|it| it.payload_types[0].parameters = vec![Parameter::default()]);
    let sdp = from_jingle(&[content], &[], "1", Direction::offer()).unwrap();
    assert!(!sdp.contains("a=fmtp"), "there is nothing to say: {sdp}");
}

#[test]
fn rfc8843_7_1_no_two_media_have_one_name() {
    let theirs =
        Content { id: crate::jingle::ContentId { creator: Creator::Responder, name: "a".into() }, ..told(|_| {}) };
    let error = from_jingle(&[told(|_| {}), theirs], &[], "1", Direction::offer()).unwrap_err();
    assert_eq!(error, SdpError::Unspeakable("two contents of one name"));
}

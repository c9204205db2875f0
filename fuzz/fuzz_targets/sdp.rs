//! Calls: SDP into contents and back, contents of a peer into SDP, and links and addresses of shared files.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xmpp_core::{
    payload::Payload,
    xml::{Stanza, XmlLimits},
};
use xmpp_filetransfer::{
    call::{
        Direction, Group,
        sdp::{candidate, from_jingle, to_jingle},
    },
    jingle::Jingle,
    share::{ContentId, aesgcm::EncryptedMedia},
};

fuzz_target!(|text: &str| {
    if let Ok(call) = to_jingle(text, Direction::offer())
        && let Ok(sdp) = from_jingle(&call.contents, &call.groups, "1", Direction::offer())
    {
        let again = to_jingle(&sdp, Direction::offer()).expect("what we write is SDP");
        assert_eq!(again.contents.len(), call.contents.len());
    }
    if let Ok(found) = candidate(text, "c") {
        let line = found.to_sdp().expect("it stood in a line");
        assert_eq!(candidate(&line, "c").as_ref(), Ok(&found));
    }
    // What a peer says never makes more lines than it has elements, and reads as SDP.
    if let Ok(stanza) = Stanza::parse(text, "", &XmlLimits::default())
        && let Ok(jingle) = Jingle::read(stanza.root())
    {
        let groups: Vec<_> = jingle.others.iter().filter_map(|other| Group::read(other.root()).ok()).collect();
        if let Ok(sdp) = from_jingle(&jingle.contents, &groups, "1", Direction::answer()) {
            assert_eq!(sdp.matches("\r\n").count(), sdp.lines().count());
            assert_eq!(sdp.lines().filter(|line| line.starts_with("m=")).count(), jingle.contents.len());
            // A peer may name more media than SDP is read with, and numbers that mean nothing.
            let _ = to_jingle(&sdp, Direction::answer());
        }
    }
    if let Ok(media) = EncryptedMedia::read(text) {
        assert_eq!(EncryptedMedia::read(&media.body()).as_ref(), Ok(&media));
    }
    if let Ok(cid) = text.parse::<ContentId>() {
        assert_eq!(cid.to_string().parse::<ContentId>().as_ref(), Ok(&cid));
    }
});

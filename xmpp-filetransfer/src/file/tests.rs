use super::{Checksum, Description, File, Function, Hasher, NS, Range, Received, Verdict, is_offer, name::safe};
use crate::jingle::{Content, ContentId, Creator, Reason, Senders};
use proptest::prelude::*;
use xmpp_core::{
    payload::{Base64, DateTime, Payload, hash::Hash},
    xml::{Stanza, Writer, XmlLimits},
};

fn element(xml: &str) -> Stanza {
    Stanza::parse(xml, "", &XmlLimits::authenticated()).unwrap()
}

fn xml(payload: &impl Payload) -> String {
    let mut w = Writer::new("");
    payload.write(&mut w);
    String::from_utf8(w.finish()).unwrap()
}

#[test]
fn xep0234_5_a_file_is_written_and_read() {
    let written = "<description xmlns='urn:xmpp:jingle:apps:file-transfer:5'><file><date>2026-02-03T04:05:06Z</date>\
        <desc xml:lang='la'>de bello</desc><desc>of war</desc><media-type>text/plain</media-type><name>war.txt</name>\
        <size>6144</size><range offset='1024'/><hash xmlns='urn:xmpp:hashes:2' algo='sha-256'>AAEC</hash>\
        <hash xmlns='urn:xmpp:hashes:2' algo='sha-1'/><hash-used xmlns='urn:xmpp:hashes:2' algo='sha3-256'/>\
        <thumbnail xmlns='urn:xmpp:thumbs:1' uri='cid:x'/></file></description>";
    let Description { file } = Description::read(element(written).root()).unwrap();
    assert_eq!(file.modified(), DateTime::from_unix(1_770_091_506, 0));
    assert_eq!((file.size, file.length()), (Some(6_144), Some(5_120)));
    assert_eq!(file.range, Some(Range { offset: 1_024, ..Range::default() }));
    assert_eq!(file.hashes[1].value.0.len(), 0, "a function alone");
    assert_eq!(file.functions().collect::<Vec<_>>(), ["sha-256", "sha-1", "sha3-256"]);
    assert_eq!(file.others.len(), 1);
    assert_eq!(xml(&Description { file }), written);
    let odd = "<file xmlns='urn:xmpp:jingle:apps:file-transfer:5'><date>yesterday</date></file>";
    assert!(File::read(element(odd).root()).unwrap().modified().is_none(), "the rest of it is as good");
    assert!(File::read(element(&format!("<file xmlns='{NS}'><size>-1</size></file>")).root()).is_err());
    let file = File {
        size: Some(10),
        range: Some(Range { offset: u64::MAX, length: Some(5), hashes: vec![] }),
        ..File::default()
    };
    assert_eq!(file.length(), Some(0), "a part beyond the end");
}

#[test]
fn xep0234_8_received_and_checksum_name_a_content() {
    let id = ContentId { creator: Creator::Responder, name: "a-file".into() };
    let received = Received::of(&id);
    assert_eq!(xml(&received), format!("<received xmlns='{NS}' creator='responder' name='a-file'/>"));
    assert_eq!(Received::read(element(&xml(&received)).root()).unwrap(), received);
    assert!(received.is_about(&id));
    assert!(!received.is_about(&ContentId { creator: Creator::Initiator, ..id.clone() }));
    assert!(Received { creator: Creator::Initiator, name: None }.is_about(&id), "a session of one file");
    let checksum = Checksum::of(&id, vec![Hash { algo: "sha-256".into(), value: Base64(vec![0]) }]);
    let said = format!(
        "<checksum xmlns='{NS}' creator='responder' name='a-file'><file><hash xmlns='urn:xmpp:hashes:2' algo='sha-256'>AA==</hash></file></checksum>"
    );
    assert_eq!(xml(&checksum), said);
    let part =
        said.replace("<hash ", "<range offset='2048' length='1024'><hash ").replace("</hash>", "</hash></range>");
    let part = Checksum::read(element(&part).root()).unwrap();
    let range = part.file.range.as_ref().unwrap();
    assert_eq!((range.offset, range.length, range.hashes.len()), (2_048, Some(1_024), 1));
}

#[test]
fn xep0234_4_1_who_sends_tells_offers_from_requests() {
    let content = |senders| Content::initial("x").with_senders(senders);
    for (by, senders, offer) in [
        (Creator::Initiator, Senders::Initiator, Some(true)),
        (Creator::Initiator, Senders::Responder, Some(false)),
        (Creator::Responder, Senders::Initiator, Some(false)),
        (Creator::Responder, Senders::Responder, Some(true)),
        (Creator::Initiator, Senders::Both, None),
        (Creator::Initiator, Senders::None, None),
    ] {
        assert_eq!(is_offer(by, &content(senders)), offer, "{by:?} {senders:?}");
    }
    assert_eq!(is_offer(Creator::Initiator, &Content::initial("x")), None);
}

#[test]
fn xep0234_9_reasons_of_files() {
    let read = |reason: Reason| Reason::read(element(&xml(&reason)).root()).unwrap();
    assert!(read(super::not_available()).has_application("file-not-available", super::ERRORS));
    assert!(read(super::too_large()).has_application("file-too-large", super::ERRORS));
}

/// Computed with the tools of a Unix system over "abc".
const ABC: [(&str, &str); 8] = [
    (
        "sha-512",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
    ),
    (
        "sha3-512",
        "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e10e116e9192af3c91a7ec57647e3934057340b4cf408d5a56592f8274eec53f0",
    ),
    (
        "blake2b-512",
        "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d17d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923",
    ),
    ("sha-384", "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7"),
    ("sha-256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    ("sha3-256", "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"),
    ("blake2b-256", "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319"),
    ("sha-1", "a9993e364706816aba3e25717850c26c9cd0d89d"),
];

#[test]
fn xep0300_3_functions_hash_what_streams_by() {
    for (function, (name, hex)) in Function::ALL.iter().zip(ABC) {
        assert_eq!((function.name(), Function::from_name(name)), (name, Some(*function)));
        let mut hasher = Hasher::new(*function);
        hasher.update(b"a");
        hasher.update(b"");
        hasher.update(b"bc");
        let hash = hasher.finish();
        let computed: String = hash.value.0.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!((hash.algo.as_str(), computed.as_str()), (name, hex));
        assert_eq!(hash.value.0.len(), function.bytes());
    }
}

#[test]
fn xep0300_the_strongest_known_function_is_taken() {
    let strongest = |names: &[&str]| Function::strongest(names.iter().copied());
    assert_eq!(strongest(&["sha-1", "whirlpool", "sha-256", "md5"]), Some(Function::Sha256));
    assert_eq!(strongest(&["sha-256", "sha-512"]), Some(Function::Sha512));
    assert_eq!(strongest(&["id-blake2b256", "sha-1"]), Some(Function::Blake2b256));
    assert_eq!(strongest(&["md5", "crc-32", ""]), None);
    let features: Vec<String> = super::features().collect();
    for feature in [NS, "urn:xmpp:hashes:2", "urn:xmpp:hash-function-text-names:sha-256"] {
        assert!(features.iter().any(|it| it == feature), "{feature}");
    }
}

#[test]
fn abuse_weak_hashes_prove_nothing() {
    let hash = |function| {
        let mut hasher = Hasher::new(function);
        hasher.update(b"abc");
        hasher.finish()
    };
    let (strong, weak) = (hash(Function::Sha256), hash(Function::Sha1));
    let md5 = Hash { algo: "md5".into(), value: Base64(vec![0; 16]) };
    let empty = Hash { algo: "sha-256".into(), value: Base64::default() };
    let wrong = Hash { algo: "sha-256".into(), value: Base64(vec![0; 32]) };
    let short = Hash { algo: "sha-256".into(), value: Base64(strong.value.0[..4].to_vec()) };
    assert_eq!(Verdict::of(&strong, &[md5.clone(), weak.clone(), strong.clone()]), Verdict::Proved);
    assert_eq!(Verdict::of(&weak, std::slice::from_ref(&weak)), Verdict::Weak);
    assert_eq!(Verdict::of(&md5, std::slice::from_ref(&md5)), Verdict::Unknown);
    assert_eq!(Verdict::of(&strong, &[weak, empty]), Verdict::Unknown);
    assert_eq!(Verdict::of(&strong, &[short]), Verdict::Differs);
    assert_eq!(Verdict::of(&strong, &[strong.clone(), wrong]), Verdict::Differs, "two of one function");
}

#[test]
fn abuse_a087_what_a_peer_calls_a_file_is_no_path() {
    for (said, name) in [
        ("letter.txt", "letter.txt"),
        ("../../etc/passwd", "passwd"),
        ("/etc/passwd", "passwd"),
        ("..\\..\\windows\\system32\\cmd.exe", "cmd.exe"),
        ("C:\\autoexec.bat", "autoexec.bat"),
        ("C:autoexec.bat", "C_autoexec.bat"),
        ("dir/", "dir"),
        ("a/..", "a"),
        ("%2e%2e%2fpasswd", "%2e%2e%2fpasswd"),
        ("pass\0wd", "passwd"),
        ("a\r\nSet-Cookie: b", "a Set-Cookie_ b"),
        ("\u{1b}[31mred", "[31mred"),
        ("invoice\u{202e}fdp.exe", "invoicefdp.exe"),
        ("invoice.pdf                                       .exe", "invoice.pdf .exe"),
        (".bashrc", "bashrc"),
        ("...", ""),
        ("", ""),
        (" . ", ""),
        ("/", ""),
        ("\u{200b}", ""),
        ("trailing. . ", "trailing"),
        ("-rf", "_-rf"),
        ("~root", "_~root"),
        ("nul", "_nul"),
        ("Com1.tar.gz", "_Com1.tar.gz"),
        ("LPT².txt", "_LPT².txt"),
        ("aux .c", "_aux .c"),
        ("COM10", "COM10"),
        ("console.log", "console.log"),
        ("a:b|c?d*e<f>g\"h", "a_b_c_d_e_f_g_h"),
        ("file.txt:stream", "file.txt_stream"),
        ("Grüße 你好 🙌.txt", "Grüße 你好 🙌.txt"),
    ] {
        assert_eq!(safe(said).unwrap_or_default(), name, "{said:?}");
    }
}

#[test]
fn abuse_a087_long_names_keep_their_ending() {
    let long = format!("{}.tar", "ß".repeat(2_048));
    let name = safe(&long).unwrap();
    assert!(name.len() <= 255 && name.len() > 250 && name.ends_with("ß.tar"), "{name}");
    let name = safe(&"x".repeat(4_096)).unwrap();
    assert_eq!(name.len(), 255);
    let name = safe(&format!("x.{}", "y".repeat(4_096))).unwrap();
    assert_eq!(name.len(), 255);
    let dots = safe(&format!("a{}b", ".".repeat(4_096))).unwrap();
    assert!(!dots.ends_with('.'), "{dots}");
    // Nor does what is cut twice end in what it must not end in.
    for first in ["-", "~"] {
        let name = safe(&format!("{first}{} b", "x".repeat(252))).unwrap();
        assert_eq!(name, format!("_{first}{}", "x".repeat(252)));
        let name = safe(&format!("{first}{}.{}", "x".repeat(252), "y".repeat(40))).unwrap();
        assert!(!name.ends_with('.'), "{name}");
    }
}

proptest! {
    #[test]
    fn abuse_a087_whatever_is_said_a_name_is_a_name(said in "(\\PC|[-~./\\\\ :\u{0}-\u{1f}\u{202e}]|CON|NUL|COM1|\u{a0}){0,300}") {
        let Some(name) = safe(&said) else { return Ok(()) };
        prop_assert!(!name.is_empty() && name.len() <= 255);
        let bad = name.contains(['/', '\\', '\0', ':', '\u{202e}']);
        prop_assert!(!bad, "{:?}", name);
        prop_assert!(!name.chars().any(char::is_control));
        let ends = name.starts_with(['.', ' ', '-', '~']) || name.ends_with(['.', ' ']);
        prop_assert!(!ends, "{:?}", name);
        let path = std::path::Path::new("there").join(&name);
        prop_assert_eq!(path.parent(), Some(std::path::Path::new("there")));
        prop_assert_eq!(path.file_name(), Some(std::ffi::OsStr::new(&name)));
        prop_assert_eq!(safe(&name), Some(name.clone()), "it is safe already");
    }
}

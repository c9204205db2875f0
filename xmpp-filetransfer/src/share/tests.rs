use super::{
    aesgcm::{AesGcmLink, EncryptedMedia},
    sims::MediaReference,
    *,
};
use proptest::prelude::*;
use xmpp_core::{
    jid::Jid,
    payload::{Base64, Payload},
    stanza::Message,
    xml::{Stanza, Writer, XmlLimits},
};

fn read<P: Payload>(xml: &str) -> P {
    P::read(Stanza::parse(xml, "jabber:client", &XmlLimits::default()).unwrap().root()).unwrap()
}

fn written(payload: &impl Payload) -> String {
    let mut w = Writer::new("");
    payload.write(&mut w);
    w.into_stanza().as_str().to_owned()
}

const SHARING: &str = "<file-sharing xmlns='urn:xmpp:sfs:0' id='f1' disposition='inline'>\
     <file xmlns='urn:xmpp:file:metadata:0'><media-type>image/png</media-type><name>a.png</name><size>22</size>\
     <hash xmlns='urn:xmpp:hashes:2' algo='sha-256'>AAEC</hash><width>4</width><height>3</height>\
     <thumbnail xmlns='urn:xmpp:thumbs:1' uri='cid:sha1+00112233@bob.xmpp.org' media-type='image/png' width='128' height='96'/>\
     </file><sources><url-data xmlns='http://jabber.org/protocol/url-data' target='https://x.example/1'/>\
     <jinglepub xmlns='urn:xmpp:jinglepub:1' from='a@b/c' id='j1'><description xmlns='urn:xmpp:jingle:apps:file-transfer:5'/>\
     </jinglepub><other xmlns='urn:x'/></sources></file-sharing>";

#[test]
fn xep0447_3_2_a_shared_file_is_read_and_written() {
    let sharing: FileSharing = read(SHARING);
    let again: FileSharing = read(&written(&sharing));
    for sharing in [sharing, again] {
        assert_eq!((sharing.id.as_deref(), sharing.disposition), (Some("f1"), Some(Disposition::Inline)));
        assert_eq!((sharing.file.name.as_deref(), sharing.file.size), (Some("a.png"), Some(22)));
        assert_eq!((sharing.file.width, sharing.file.height, sharing.file.hashes.len()), (Some(4), Some(3), 1));
        assert!(sharing.urls().eq(["https://x.example/1"]));
        let sources = sharing.sources.unwrap().sources;
        assert!(matches!(&sources[1], Source::Jingle { from, id, others }
            if from.as_str() == "a@b/c" && id == "j1" && others.len() == 1));
        assert!(matches!(&sources[2], Source::Other(other) if other.root().is("other", "urn:x")));
    }
}

#[test]
fn xep0447_3_2_an_attachment_is_not_fetched_unasked() {
    let sharing = FileSharing::new(FileMetadata::new("a", 1));
    assert!(sharing.may_be_fetched_unasked() && sharing.sources.is_none());
    assert!(!sharing.disposition(Disposition::Attachment).may_be_fetched_unasked());
}

#[test]
fn xep0264_5_a_thumbnail_is_shown_no_larger_than_we_want() {
    let shown = |width, height| {
        let size = Thumbnail { uri: String::new(), media_type: None, width, height }.shown(128);
        (size.width, size.height)
    };
    assert_eq!(shown(Some(128), Some(96)), (128, 96));
    assert_eq!(shown(Some(65_535), Some(32_768)), (128, 64));
    assert_eq!(shown(Some(1), Some(65_535)), (1, 128));
    assert_eq!(shown(Some(0), Some(9)), (128, 128));
    assert_eq!(shown(None, None), (128, 128));
}

#[test]
fn xep0385_3_1_a_reference_to_a_file_is_read_and_written() {
    let xml = "<reference xmlns='urn:xmpp:reference:0' begin='2' end='5' type='data'><media-sharing xmlns='urn:xmpp:sims:1'>\
         <file xmlns='urn:xmpp:jingle:apps:file-transfer:5'><media-type>image/jpeg</media-type><name>s.jpg</name>\
         <size>30</size></file><sources><reference xmlns='urn:xmpp:reference:0' type='data' uri='https://x.example/s'/>\
         </sources></media-sharing></reference>";
    let reference: MediaReference = read(&written(&read::<MediaReference>(xml)));
    assert_eq!((reference.begin, reference.end, &reference.type_), (Some(2), Some(5), &sims::ReferenceType::Data));
    let media = reference.media.unwrap();
    assert_eq!(media.file.name.as_deref(), Some("s.jpg"));
    assert_eq!(media.sources.references[0].uri, "https://x.example/s");
}

#[test]
fn xep0231_2_6_bits_are_known_by_their_hash() {
    let bits = Bits::new("text/plain", b"spot".to_vec());
    let again: Bits = read(&written(&bits));
    assert_eq!(again, bits);
    assert!(again.is_genuine());
    assert!(!Bits { content: Base64(b"other".to_vec()), ..bits }.is_genuine());
    let sha256 = "sha-256+2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824@bob.xmpp.org";
    assert!(sha256.parse::<ContentId>().unwrap().names(b"hello"));
    for wrong in ["sha1@bob.xmpp.org", "sha1+xyzxyzxyz@bob.xmpp.org", "sha1+00112233", "+00112233@bob.xmpp.org", ""] {
        assert!(wrong.parse::<ContentId>().is_err(), "{wrong}");
    }
    // A function that we do not know proves nothing.
    assert!(!"md2+00112233445566778899@bob.xmpp.org".parse::<ContentId>().unwrap().names(b""));
}

#[test]
fn xep0454_3_a_link_carries_vector_and_key() {
    let (iv, key) = ([0x8c; 12], [0x68; 32]);
    let link = AesGcmLink::new("https://h.example/a/tr%C3%A8s.jpg?x=1", iv, key).unwrap();
    let text = link.to_string();
    assert_eq!(text.rsplit_once('#').unwrap().1.len(), 88);
    assert_eq!(AesGcmLink::parse(&text).unwrap(), link);
    assert!(!format!("{link:?}").contains("68686868"));
    let old = format!("aesgcm://h.example/a#{}", "ab".repeat(48));
    assert_eq!(AesGcmLink::parse(&old).unwrap().iv().len(), 16);
}

#[test]
fn xep0454_3_only_https_becomes_a_link() {
    for url in
        ["http://h.example/a", "https://", "https://u@h.example/", "https://h.example/a#b", "https://h.example/a b"]
    {
        assert!(AesGcmLink::new(url, [0; 12], [0; 32]).is_err(), "{url}");
    }
}

#[test]
fn xep0454_4_1_anything_else_is_a_message_like_others() {
    let key = "ab".repeat(44);
    let good = format!("aesgcm://h.example/a#{key}");
    assert!(EncryptedMedia::read(&good).is_ok());
    let picture = EncryptedMedia::read(&format!("{good}\ndata:image/jpeg,/9j/4A==")).unwrap();
    assert_eq!(picture.thumbnail.as_deref(), Some("/9j/4A=="));
    assert_eq!(EncryptedMedia::read(&picture.body()).unwrap(), picture);
    for bad in [
        format!(" {good}"),
        format!("{good} "),
        format!("{good}\n"),
        format!("{good}\ndata:text/html,x"),
        format!("{good}\n\ndata:image/jpeg,/9j/"),
        format!("see {good}"),
        format!("aesgcm://h.example/a#{key}ab"),
        format!("aesgcm://h.example/a#{}", "é".repeat(44)),
        "aesgcm://h.example/a".to_owned(),
        format!("aesgcm://{}#{key}", "a".repeat(5_000)),
    ] {
        assert!(EncryptedMedia::read(&bad).is_err(), "{bad:.60}");
    }
}

fn told(payloads: &str) -> Vec<SharedFile> {
    let xml = format!("<message xmlns='jabber:client' from='romeo@x.example/1'>{payloads}</message>");
    shared(&Message::from_stanza(Stanza::parse(&xml, "jabber:client", &XmlLimits::default()).unwrap()).unwrap())
}

fn oob(url: &str) -> String {
    format!("<body>{url}</body><x xmlns='jabber:x:oob'><url>{url}</url></x>")
}

#[test]
fn xep0447_4_3_a_file_that_is_told_of_in_all_ways_is_one() {
    let sims = "<reference xmlns='urn:xmpp:reference:0' type='data'><media-sharing xmlns='urn:xmpp:sims:1'>\
         <file xmlns='urn:xmpp:jingle:apps:file-transfer:5'><name>a.png</name>\
         <thumbnail xmlns='urn:xmpp:thumbs:1' uri='cid:sha1+00112233@bob.xmpp.org'/>\
         <hash xmlns='urn:xmpp:hashes:2' algo='sha-256'>AAEC</hash></file><sources>\
         <reference xmlns='urn:xmpp:reference:0' type='data' uri='https://y.example/1'/>\
         <reference xmlns='urn:xmpp:reference:0' type='data' uri='xmpp:a@b/c?jingle;id=j1'/>\
         <reference xmlns='urn:xmpp:reference:0' type='data' uri='xmpp:a@b/c?jingle-ft'/>\
         </sources></media-sharing></reference>";
    let first = oob("https://x.example/1");
    let files = told(&format!("{first}{sims}{SHARING}"));
    assert_eq!((files.len(), files[0].told, files[0].id.as_deref()), (1, Told::Sharing, Some("f1")));
    assert_eq!((files[0].name().as_str(), files[0].urls().count(), files[0].sources.len()), ("a.png", 1, 3));
    assert_eq!(files[0].file.thumbnails.len(), 1);
    let files = told(&format!("{first}{sims}"));
    let told_as: Vec<_> = files.iter().map(|file| file.told).collect();
    assert_eq!(told_as, [Told::Media, Told::OutOfBand]);
    assert_eq!((files[0].sources.len(), files[0].file.thumbnails.len(), files[0].is_provable()), (2, 1, true));
    assert!(matches!(&files[0].sources[1], Source::Jingle { from, id, .. } if from.as_str() == "a@b/c" && id == "j1"));
    let bounced = format!("<message xmlns='jabber:client' type='error'>{SHARING}</message>");
    let bounced = Stanza::parse(&bounced, "jabber:client", &XmlLimits::default()).unwrap();
    assert!(shared(&Message::from_stanza(bounced).unwrap()).is_empty());
    // A link that somebody has typed is nothing but text.
    assert!(told("<body>https://x.example/1</body>").is_empty());
}

#[test]
fn xep0454_7_a_key_in_the_clear_is_not_followed() {
    let link = format!("aesgcm://x.example/a#{}", "ab".repeat(44));
    assert!(told(&oob(&link)).is_empty());
    let files = told(&SHARING.replace("https://x.example/1", &link));
    assert_eq!((files[0].urls().count(), files[0].sources.len()), (0, 2));
    for url in [
        "file:///etc/passwd",
        "javascript:alert(1)",
        "ftp://x.example/",
        "",
        &format!("https://x/{}", "a".repeat(5_000)),
    ] {
        assert!(SharedFile::at(url).is_none(), "{url:.20}");
    }
}

#[test]
fn what_is_shared_has_a_name_that_is_safe() {
    for (url, name) in [
        ("https://x.example/1/../../etc/passwd", "passwd"),
        ("https://x.example/1/..%2f..%2Fetc%2fshadow", "shadow"),
        ("https://x.example/a%zz%e2%82%ac.txt?b/c#d/e", "a%zz€.txt"),
        ("https://x.example/%2e%2e", "file"),
        ("https://x.example", "file"),
        ("https://x.example/a%", "a%"),
        ("HTTPS://x.example/CON", "_CON"),
    ] {
        assert_eq!(SharedFile::at(url).unwrap().name(), name, "{url}");
    }
    let mut file = SharedFile::at("https://x.example/1").unwrap();
    file.file.name = Some("/etc/../passwd".to_owned());
    assert_eq!(file.name(), "passwd");
    file.file.name = Some("..".to_owned());
    assert_eq!(file.name(), "1");
}

#[test]
fn xep0447_3_3_sources_that_follow_count_for_who_may_attach_them() {
    let pending = |hash: &str| {
        let xml = format!(
            "<file-sharing xmlns='urn:xmpp:sfs:0' id='f1'><file xmlns='urn:xmpp:file:metadata:0'>{hash}</file></file-sharing>"
        );
        told(&xml).remove(0)
    };
    let (proof, weak) = (
        pending("<hash xmlns='urn:xmpp:hashes:2' algo='sha-256'>AAEC</hash>"),
        pending("<hash xmlns='urn:xmpp:hashes:2' algo='sha-1'>AAEC</hash>"),
    );
    let sources = Sources { id: Some("f1".to_owned()), sources: vec![Source::at("https://x.example/1")] };
    let message = sources.attach(Message::chat("juliet@x.example".parse::<Jid>().unwrap()), "m1").build();
    assert_eq!(message.body().as_deref(), Some("https://x.example/1"));
    let (to, attached) = Sources::attached(&message).unwrap();
    assert_eq!((to.as_str(), attached.id.as_deref()), ("m1", Some("f1")));
    for (file, by_its_sender, counts) in
        [(&proof, true, true), (&proof, false, true), (&weak, true, true), (&weak, false, false)]
    {
        let mut file = file.clone();
        assert_eq!(file.attach(attached.clone(), by_its_sender), counts);
        assert_eq!(file.urls().count(), usize::from(counts));
    }
    let other = Sources { id: None, ..attached.clone() };
    assert!(!proof.clone().attach(other, true), "it is for another file");
    // However many follow.
    let mut file = proof;
    for _ in 0..100 {
        file.attach(attached.clone(), true);
    }
    assert_eq!(file.sources.len(), 32);
    // What has no address yet is to be stored.
    let message =
        FileSharing::new(FileMetadata::new("a", 1)).tell(Message::chat("juliet@x.example".parse::<Jid>().unwrap()));
    let message = message.build();
    assert!(message.body().is_none() && message.stanza().as_str().contains("urn:xmpp:hints"));
}

#[test]
fn abuse_a_message_of_many_files_is_read_in_part() {
    let many =
        "<file-sharing xmlns='urn:xmpp:sfs:0'><file xmlns='urn:xmpp:file:metadata:0'/></file-sharing>".repeat(1_000);
    assert_eq!(told(&many).len(), 64);
    let many = "<url-data xmlns='http://jabber.org/protocol/url-data' target='https://x.example/'/>".repeat(1_000);
    let files = told(&SHARING.replace("<jinglepub", &format!("{many}<jinglepub")));
    assert_eq!(files[0].sources.len(), 32);
    // What cannot be read is passed over.
    assert!(told("<file-sharing xmlns='urn:xmpp:sfs:0'/><x xmlns='jabber:x:oob'/>").is_empty());
}

proptest! {
    #[test]
    fn whatever_is_said_a_name_is_a_name(url in "\\PC{0,40}", name in prop::option::of("\\PC{0,40}")) {
        let Some(mut file) = SharedFile::at(&format!("https://{url}")) else { return Ok(()) };
        file.file.name = name;
        let name = file.name();
        prop_assert!(!name.is_empty() && name.len() <= 255 && !name.contains(['/', '\\', '\0']) && name != "..");
        prop_assert_eq!(crate::file::name::safe(&name), Some(name));
    }

    #[test]
    fn what_is_read_as_a_link_is_written_again(text in "aesgcm://[a-z./%#?@]{0,12}(#[0-9a-f]{88})?(\ndata:image/jpeg,[a-z/=]{0,4})?") {
        if let Ok(media) = EncryptedMedia::read(&text) {
            prop_assert_eq!(media.body(), text);
            prop_assert!(!media.link.url().contains('#'));
        }
    }
}

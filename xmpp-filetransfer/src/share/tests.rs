use super::{
    aesgcm::{AesGcmLink, EncryptedMedia},
    sims::MediaReference,
    *,
};
use xmpp_core::{
    payload::{Base64, Payload},
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

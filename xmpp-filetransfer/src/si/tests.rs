use super::*;
use xmpp_core::xml::{Stanza, Writer, XmlLimits};

fn read(xml: &str) -> StreamInitiation {
    StreamInitiation::read(Stanza::parse(xml, "", &XmlLimits::default()).unwrap().root()).unwrap()
}

fn written(si: &StreamInitiation) -> String {
    let mut w = Writer::new("");
    si.write(&mut w);
    w.into_stanza().as_str().to_owned()
}

const OFFER: &str = "<si xmlns='http://jabber.org/protocol/si' id='s1' mime-type='text/plain' \
     profile='http://jabber.org/protocol/si/profile/file-transfer'>\
     <file xmlns='http://jabber.org/protocol/si/profile/file-transfer' name='n.txt' size='22' date='2026-01-02T03:04:05Z'>\
     <desc>of interest</desc><range/></file>\
     <feature xmlns='http://jabber.org/protocol/feature-neg'><x xmlns='jabber:x:data' type='form'>\
     <field var='stream-method' type='list-single'><option><value>http://jabber.org/protocol/bytestreams</value></option>\
     <option><value>http://jabber.org/protocol/ibb</value></option></field></x></feature></si>";

#[test]
fn xep0096_3_an_offer_is_read_and_written() {
    let offer = read(OFFER);
    let (id, file) = offer.offered().unwrap();
    assert_eq!((id, file.name.as_str(), file.size, file.ranged), ("s1", "n.txt", 22, true));
    assert_eq!(file.date.unwrap().to_string(), "2026-01-02T03:04:05Z");
    let methods = ["http://jabber.org/protocol/bytestreams", "http://jabber.org/protocol/ibb"];
    assert!(offer.methods().eq(methods));
    let again = StreamInitiation::offer(id, Some("text/plain"), file.clone(), &methods);
    assert_eq!(read(&written(&again)).offered().unwrap(), ("s1", file));
}

#[test]
fn xep0095_4_2_what_is_no_file_is_a_bad_profile() {
    let other = OFFER.replacen("profile='http://jabber.org/protocol/si/profile/file-transfer'", "profile='urn:x'", 1);
    assert!(read(&other).offered().unwrap_err().has_application("bad-profile", NS));
    assert!(read(&OFFER.replace(" size='22'", "")).offered().unwrap_err().has_application("bad-profile", NS));
    let nameless = read(&OFFER.replace(" id='s1'", "")).offered().unwrap_err();
    assert_eq!(nameless.condition, Condition::BadRequest);
}

#[test]
fn xep0095_4_1_exactly_one_kind_is_chosen() {
    let answer = StreamInitiation::accept("http://jabber.org/protocol/ibb", None);
    assert_eq!(read(&written(&answer)).method(), Some("http://jabber.org/protocol/ibb"));
    let two = written(&answer).replace("</value>", "</value><value>x</value>");
    assert_eq!(read(&two).method(), None);
    assert_eq!(read("<si xmlns='http://jabber.org/protocol/si'/>").method(), None);
}

#[test]
fn xep0096_3_2_a_part_lies_within_the_file() {
    let of = |offset, length| StreamInitiation::accept("x", Some(SiRange { offset, length })).wanted(100);
    assert_eq!(of(None, None), Some((0, 100)));
    assert_eq!(of(Some(28), None), Some((28, 72)));
    assert_eq!(of(None, Some(28)), Some((0, 28)));
    assert_eq!(of(Some(100), Some(0)), Some((100, 0)));
    assert_eq!(of(Some(101), None), None);
    assert_eq!(of(Some(1), Some(100)), None);
    assert_eq!(of(Some(u64::MAX), Some(u64::MAX)), None);
    assert_eq!(StreamInitiation::accept("x", None).wanted(5), Some((0, 5)));
}

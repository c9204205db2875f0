//! Rosters and their versions through an embedded server (RFC 6121 §2), as XML.
#![allow(clippy::unwrap_used, clippy::panic, clippy::field_reassign_with_default, missing_docs)]

mod stage;

use stage::{support::builder, *};
use xmpp_core::jid::BareJid;
use xmpp_im::roster::{MemoryRosters, RosterLimits};

#[tokio::test]
async fn rfc6121_2_1_4_an_empty_roster_is_an_empty_query() {
    let server = server();
    let mut juliet = Device::connect(&server, "juliet@localhost/balcony").await;
    assert_eq!(juliet.roster().await, (vec![], "0".to_owned()));
}

#[tokio::test]
async fn rfc6121_2_3_items_are_set_and_pushed_to_who_has_asked_for_the_roster() {
    let server = server();
    let mut balcony = Device::new(&server, "juliet@localhost/balcony").await;
    let mut chamber = Device::connect(&server, "juliet@localhost/chamber").await;
    let mut romeo = Device::new(&server, "romeo@localhost/orchard").await;

    let nurse = "<item jid='Nurse@Example.com' name='Nurse' subscription='both' ask='subscribe' approved='true'>\
                 <group>Servants</group><group>Family</group></item>";
    balcony.send(&format!("<iq type='set' id='s'><query xmlns='{ROSTER}'>{nurse}</query></iq>")).await;
    // §2.1.5: of the rest nothing counts.
    let pushed = "push nurse@example.com none 'Nurse' [Servants] [Family]";
    assert_eq!(balcony.seen().await, ["iq result", pushed]);
    assert!(chamber.seen().await.is_empty(), "not interested");

    let (items, first) = chamber.roster().await;
    assert_eq!(items, ["nurse@example.com none 'Nurse' [Servants] [Family]"]);
    // §2.4: an item is what it was last set to; an empty name is none.
    assert_eq!(balcony.set("<item jid='nurse@example.com' name=''/>").await, "iq result");
    assert_eq!(balcony.seen().await, ["push nurse@example.com none"]);
    assert_eq!(chamber.seen().await, ["push nurse@example.com none"]);
    assert_ne!(chamber.roster().await.1, first);

    // §2.5.
    assert_eq!(balcony.set("<item jid='nurse@example.com' subscription='remove'/>").await, "iq result");
    assert_eq!(balcony.seen().await, ["push nurse@example.com remove"]);
    assert_eq!(chamber.seen().await, ["push nurse@example.com remove"]);
    let again = balcony.set("<item jid='nurse@example.com' subscription='remove'/>").await;
    assert_eq!(again, "error item-not-found ");
    assert!(romeo.seen().await.is_empty());
}

#[tokio::test]
async fn abuse_a051_roster_sets_that_are_refused() {
    let mut limits = RosterLimits::default();
    limits.items = 2;
    let server = compose(builder(), MemoryRosters::new(), limits).build().unwrap();
    let mut juliet = Device::new(&server, "juliet@localhost/balcony").await;
    let long = "x".repeat(10_000);
    let groups: String = (0..100).map(|number| format!("<group>{number}</group>")).collect();
    for (item, condition) in [
        ("", "bad-request"),
        ("<item jid='a@example.org'/><item jid='b@example.org'/>", "bad-request"),
        ("<item/>", "bad-request"),
        ("<item jid='@'/>", "jid-malformed"),
        ("<item jid='a@example.org/x'/>", "bad-request"),
        ("<item jid='a@example.org'><group>A</group><group>A</group></item>", "bad-request"),
        ("<item jid='a@example.org'><group/></item>", "not-acceptable"),
        (&format!("<item jid='a@example.org' name='{long}'/>"), "not-acceptable"),
        (&format!("<item jid='a@example.org'><group>{long}</group></item>"), "not-acceptable"),
        (&format!("<item jid='a@example.org'>{groups}</item>"), "not-acceptable"),
        ("<item jid='juliet@localhost'/>", "not-allowed"),
    ] {
        assert_eq!(juliet.set(item).await, format!("error {condition} "), "{item}");
    }
    // Another's roster, whether there is one or not.
    for whose in ["romeo@localhost", "nobody@localhost"] {
        for kind in ["get", "set"] {
            let query = format!("<query xmlns='{ROSTER}'><item jid='a@example.org'/></query>");
            juliet.send(&format!("<iq type='{kind}' id='o' to='{whose}'>{query}</iq>")).await;
            assert_eq!(juliet.seen().await, [format!("error forbidden {whose}")]);
        }
    }
    assert_eq!(juliet.set("<item jid='a@example.org'/>").await, "iq result");
    assert_eq!(juliet.set("<item jid='b@example.org'/>").await, "iq result");
    assert_eq!(juliet.set("<item jid='c@example.org'/>").await, "error resource-constraint ");
    // What is there can still be changed.
    assert_eq!(juliet.set("<item jid='b@example.org' name='Bee'/>").await, "iq result");
    juliet.seen().await;
    // Nor does a request make room.
    juliet.presence("subscribe", "c@localhost").await;
    juliet.presence("subscribed", "d@localhost").await;
    let refused = ["error resource-constraint c@localhost", "error resource-constraint d@localhost"];
    assert_eq!(juliet.seen().await, refused);
    assert_eq!(juliet.roster().await.0, ["a@example.org none", "b@example.org none 'Bee'"]);
}

#[tokio::test]
async fn abuse_a052_nobody_else_pushes_to_a_roster() {
    let server = server();
    let mut juliet = Device::new(&server, "juliet@localhost/balcony").await;
    let mut tybalt = Device::connect(&server, "tybalt@localhost/street").await;
    let query = format!("<query xmlns='{ROSTER}'><item jid='tybalt@localhost' subscription='both'/></query>");
    tybalt.send(&format!("<iq type='set' id='o' to='juliet@localhost/balcony'>{query}</iq>")).await;
    let [forged] = juliet.stanzas().await.try_into().unwrap();
    assert_eq!(forged.root().attr("from").as_deref(), Some("tybalt@localhost/street"), "a client knows it by this");
    assert!(juliet.roster().await.0.is_empty());
    // In another's name nothing is said at all.
    let from = "from='juliet@localhost' to='juliet@localhost/balcony'";
    tybalt.send(&format!("<iq type='set' id='p' {from}>{query}</iq>")).await;
    assert!(juliet.seen().await.is_empty());
}

#[tokio::test]
async fn rfc6121_2_6_who_has_a_version_is_told_what_has_changed() {
    let server = server();
    let mut juliet = Device::new(&server, "juliet@localhost/balcony").await;
    for item in ["a", "b", "c"] {
        juliet.set(&format!("<item jid='{item}@example.org'/>")).await;
    }
    let (_, version) = juliet.roster().await;
    juliet.set("<item jid='b@example.org' name='Bee'/>").await;
    juliet.set("<item jid='c@example.org' subscription='remove'/>").await;
    juliet.set("<item jid='d@example.org'/>").await;
    juliet.set("<item jid='b@example.org' name='Beetle'/>").await;

    let ask = async |device: &mut Device, version: &str| {
        device.send(&format!("<iq type='get' id='get'><query xmlns='{ROSTER}' ver='{version}'/></iq>")).await;
        device.stanzas().await
    };
    let mut chamber = Device::connect(&server, "juliet@localhost/chamber").await;
    let answer = ask(&mut chamber, &version).await;
    let words: Vec<String> = answer.iter().map(brief).collect();
    let pushes = ["push c@example.org remove", "push d@example.org none", "push b@example.org none 'Beetle'"];
    assert_eq!(words, [&["iq result"][..], &pushes].concat());
    assert_eq!(answer[0].root().children().count(), 0, "an empty result, not an empty roster");
    let versions: Vec<u64> = answer[1..]
        .iter()
        .map(|push| push.root().child("query", ROSTER).unwrap().attr("ver").unwrap().parse().unwrap())
        .collect();
    assert!(versions.is_sorted_by(|one, other| one < other), "{versions:?}");
    // The last push names the version that there is now.
    let now = versions[2].to_string();
    assert_eq!(ask(&mut chamber, &now).await.iter().map(brief).collect::<Vec<_>>(), ["iq result"]);
    assert_eq!(juliet.roster().await.1, now);

    // What says nothing gets all of it: no version yet, none of this server's, one to come.
    for unknown in ["", "ver14", "18446744073709551615", "-1"] {
        let answer = ask(&mut chamber, unknown).await;
        let query = answer[0].root().child("query", ROSTER).unwrap();
        assert_eq!((answer.len(), query.children().count()), (1, 3), "{unknown}");
        assert_eq!(query.attr("ver").as_deref(), Some(now.as_str()));
    }
}

#[tokio::test]
async fn rfc6121_2_6_many_changes_are_told_as_a_whole() {
    let server = server();
    let mut juliet = Device::new(&server, "juliet@localhost/balcony").await;
    for number in 0..100 {
        juliet.set(&format!("<item jid='c{number}@example.org'/>")).await;
    }
    juliet.seen().await;
    juliet.send(&format!("<iq type='get' id='get'><query xmlns='{ROSTER}' ver='0'/></iq>")).await;
    let [answer] = juliet.stanzas().await.try_into().unwrap();
    assert_eq!(answer.root().child("query", ROSTER).unwrap().children().count(), 100);
}

#[tokio::test]
async fn a_removed_account_parts_from_its_contacts_and_is_forgotten() {
    let server = server();
    let mut juliet = Device::new(&server, "juliet@localhost/balcony").await;
    let mut romeo = Device::new(&server, "romeo@localhost/orchard").await;
    befriend(&mut juliet, &mut romeo).await;
    server.account_removed(&BareJid::new("romeo@localhost").unwrap()).await;
    let seen = juliet.seen().await;
    assert!(seen.contains(&"unavailable romeo@localhost".to_owned()), "{seen:?}");
    assert_eq!(juliet.roster().await.0, ["romeo@localhost none"]);
    let mut again = Device::new(&server, "romeo@localhost/garden").await;
    assert!(again.roster().await.0.is_empty());
    assert!(juliet.seen().await.is_empty());
}

async fn befriend(one: &mut Device, other: &mut Device) {
    let bare = |device: &Device| device.jid.split('/').next().unwrap().to_owned();
    let (first, second) = (bare(one), bare(other));
    one.presence("subscribe", &second).await;
    other.presence("subscribe", &first).await;
    settle().await;
    one.presence("subscribed", &second).await;
    other.presence("subscribed", &first).await;
    settle().await;
    one.seen().await;
    other.seen().await;
}

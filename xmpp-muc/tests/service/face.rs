//! What a room shows of itself: photo, hats, who is in it.

use super::setup::*;
use xmpp_im::{
    avatar::Avatar,
    command::{CommandElement, Status},
    vcard::VCard,
};
use xmpp_muc::payload::Hats;

#[tokio::test]
async fn xep0486_xep0317_what_a_room_shows_of_itself_outlives_it_and_what_failed_has_not_happened() {
    let disk = Arc::new(Disk::default());
    let server = serve(&disk, |_| {});
    let mut juliet = Person::new(&server, "juliet").await;
    juliet.makes("cave", PERSISTENT).await;
    let cave = Person::address("cave");
    let card = VCard::write_with(|out| {
        out.open("PHOTO", "vcard-temp");
        out.text_element("BINVAL", "vcard-temp", "R0lGODlh");
        out.close();
    });
    let set = || juliet.client.request(Iq::set(cave.clone()).payload(&card));
    disk.breaks("change", Fault::Fails);
    assert_eq!(refused(set().await), Condition::InternalServerError);
    assert!(juliet.info("cave").await.unwrap().forms[0].field("muc#roominfo_avatarhash").is_none());
    disk.heals();
    set().await.unwrap();

    // In one step, as XEP-0317 shows it, and with a form that is asked for.
    let command = |node: &str, session: Option<String>, fields: &[(&str, &str)]| {
        let form = fields
            .iter()
            .fold(DataForm::new(FormKind::Submit), |form, (var, value)| form.with(Field::new(*var).value(*value)));
        let form = (!fields.is_empty()).then_some(form);
        let node = format!("urn:xmpp:hats:commands:{node}");
        let element = CommandElement { node, session, form, ..CommandElement::default() };
        juliet.client.query::<CommandElement>(Iq::set(cave.clone()).payload(&element))
    };
    let fields = [("hats#uri", "urn:x:cook"), ("hats#title", "Cook"), ("hats#jid", "juliet@localhost")];
    let done = command("create", None, &fields).await.unwrap();
    assert_eq!(done.status, Some(Status::Completed));
    let asked = command("assign", None, &[]).await.unwrap();
    let uris = &asked.form.as_ref().unwrap().field("hats#uri").unwrap().options;
    assert_eq!((asked.status, uris.len(), uris[0].value.as_str()), (Some(Status::Executing), 1, "urn:x:cook"));
    assert_eq!(command("assign", asked.session, &fields).await.unwrap().status, Some(Status::Completed));
    // Whoever errs does not leave executions behind that nobody can end.
    for _ in 0..20 {
        assert_eq!(refused(command("destroy", None, &[("hats#uri", "urn:x:no")]).await), Condition::ItemNotFound);
    }

    let mut romeo = Person::new(&server, "romeo").await;
    let listed = async |who: &Person| {
        let node = Some("http://jabber.org/protocol/commands".to_owned());
        let query = DiscoItemsQuery { node, ..DiscoItemsQuery::default() };
        who.client.query::<DiscoItems>(Iq::get(Person::address("cave")).payload(&query)).await.unwrap().items.len()
    };
    assert_eq!((listed(&juliet).await, listed(&romeo).await), (6, 0));
    juliet.leaves("cave").await;
    let (loads, _) = (disk.loads.load(Ordering::SeqCst), ());
    let info = juliet.info("cave").await.unwrap();
    assert!(disk.loads.load(Ordering::SeqCst) > loads, "it comes from the store");
    assert!(info.forms[0].field("muc#roominfo_avatarhash").is_some() && info.forms[0].field("hats#hash").is_some());
    for feature in ["vcard-temp", "urn:xmpp:hats:0", "http://jabber.org/protocol/commands"] {
        assert!(info.features.iter().any(|one| one.var == feature), "{feature}");
    }
    let found: VCard = romeo.client.query(Iq::get(Person::address("cave")).payload(&VCard::empty())).await.unwrap();
    assert_eq!(Avatar::of(&found).unwrap().data, b"GIF89a");
    romeo.asks("cave").await;
    romeo.presence().await;
    let (shown, _) = romeo.presence().await;
    assert!(shown.stanza().as_str().contains("vcard-temp:x:update") && shown.from() == Some(&Person::address("cave")));
    juliet.joins("cave").await;
    let (seen, _) = romeo.presence().await;
    assert_eq!(seen.payload::<Hats>().unwrap().unwrap().hats[0].title, "Cook");
    assert_eq!(listed(&romeo).await, 1, "who is there may see which hats there are");
}

#[tokio::test]
async fn xep0045_6_5_occupants_are_listed_in_pages() {
    let disk = Arc::new(Disk::default());
    let server = serve(&disk, |_| {});
    let mut people = Vec::new();
    for name in ["juliet", "romeo", "nurse", "tybalt"] {
        let mut person = Person::new(&server, name).await;
        match people.is_empty() {
            true => person.makes("cave", PERSISTENT).await,
            false => drop(person.joins("cave").await),
        }
        people.push(person);
    }
    let page = async |max, after: Option<String>, before: Option<String>| {
        let rsm = Some(ResultSet { max, after, before, ..ResultSet::default() });
        let query = DiscoItemsQuery { rsm, ..DiscoItemsQuery::default() };
        let items: DiscoItems = people[0].client.query(Iq::get(Person::address("cave")).payload(&query)).await?;
        let nicks = items.items.iter().map(|item| item.jid.resource().unwrap().to_owned()).collect::<Vec<_>>();
        Ok::<_, RequestError>((nicks.join(" "), items.rsm.unwrap()))
    };
    let (nicks, first) = page(Some(3), None, None).await.unwrap();
    assert_eq!((nicks.as_str(), first.count, first.first.unwrap().index), ("juliet romeo nurse", Some(4), Some(0)));
    let (nicks, next) = page(Some(3), first.last.clone(), None).await.unwrap();
    assert_eq!((nicks.as_str(), next.first.unwrap().index), ("tybalt", Some(3)));
    assert_eq!(page(Some(3), next.last, None).await.unwrap().0, "");
    assert_eq!(page(Some(2), None, Some(String::new())).await.unwrap().0, "nurse tybalt");
    assert_eq!(page(Some(2), None, first.last).await.unwrap().0, "juliet romeo");
    assert_eq!(refused(page(None, Some("x".to_owned()), None).await), Condition::ItemNotFound);
}

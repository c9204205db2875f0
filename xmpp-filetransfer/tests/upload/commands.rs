//! What users see and delete of what they have there, and administrators of what anybody has.

use super::{House, service::asked};
use std::{collections::BTreeMap, sync::Arc, sync::atomic::Ordering};
use xmpp_core::{
    client::{Client, RequestError},
    jid::Jid,
    payload::form::{DataForm, Field, FormKind},
    stanza::Condition,
};
use xmpp_filetransfer::upload::{Slot, SlotRequest};
use xmpp_im::command::{self, CommandElement};

fn service() -> Jid {
    "upload.localhost".parse().unwrap()
}

/// Executes a command, with its form filled in if it asks for one.
async fn execute(client: &Client, node: &str, fields: &[(&str, &[&str])]) -> Result<CommandElement, Condition> {
    let refused = |error| match error {
        RequestError::Refused(error) => error.condition,
        other => panic!("{other}"),
    };
    let mut execution = command::execute(client, &service(), node).await.map_err(refused)?;
    if execution.is_over() {
        return Ok(execution.answer().clone());
    }
    let field =
        |(var, values): &(&str, &[&str])| values.iter().fold(Field::new(*var), |field, value| field.value(*value));
    let form = fields.iter().map(field).fold(DataForm::new(FormKind::Submit), DataForm::with);
    let answer = execution.submit(form).await.cloned().map_err(refused);
    if answer.is_err() {
        // What is refused could be filled in once more.
        execution.cancel().await.unwrap();
    }
    answer
}

fn rows(answer: &CommandElement) -> Vec<BTreeMap<String, String>> {
    let form = answer.form.as_ref().unwrap();
    let row = |fields: &[Field]| {
        fields.iter().map(|field| (field.var.clone().unwrap(), field.first().unwrap_or_default().to_owned())).collect()
    };
    form.items.iter().map(|item| row(&item.fields)).collect()
}

async fn put(house: &House, client: &Client, name: &str, content: &[u8]) -> Slot {
    let slot = asked(client, &SlotRequest::new(name, u64::try_from(content.len()).unwrap())).await.unwrap();
    let headers = [("Authorization", slot.put.headers[0].value.as_str())];
    assert_eq!(house.ask("PUT", house.path(&slot.put.url), &headers, content).await.status, 201);
    slot
}

async fn house() -> House {
    House::new(|settings| settings.may_administer = Some(Arc::new(|jid: &Jid| jid.local() == Some("romeo")))).await
}

#[tokio::test]
async fn users_see_what_they_have_page_by_page() {
    let house = house().await;
    let (juliet, _events) = house.client("juliet").await;
    let (romeo, _others) = house.client("romeo").await;
    assert!(rows(&execute(&juliet, "list-files", &[]).await.unwrap()).is_empty());
    for (number, name) in ["one.txt", "two.txt", "three.txt"].into_iter().enumerate() {
        house.later.store(u64::try_from(number).unwrap() * 10, Ordering::Relaxed);
        put(&house, &juliet, name, b"hark").await;
    }
    put(&house, &romeo, "his.txt", b"mark").await;
    asked(&juliet, &SlotRequest::new("never.txt", 5)).await.unwrap();
    let all = rows(&execute(&juliet, "list-files", &[]).await.unwrap());
    let names: Vec<_> = all.iter().map(|row| row["name"].as_str()).collect();
    assert_eq!(names, ["three.txt", "two.txt", "one.txt"], "her own, the newest at first");
    assert_eq!((all[0]["size"].as_str(), all[0]["purpose"].as_str()), ("4", "message"));
    assert!(all[0]["uploaded"] > all[1]["uploaded"] && all[0]["expires"] > all[0]["uploaded"]);
    assert_eq!(house.ask("GET", house.path(&all[0]["url"]), &[], b"").await.body, b"hark");

    let first = execute(&juliet, "list-files", &[("max_items", &["2"])]).await.unwrap();
    assert_eq!(rows(&first).len(), 2);
    let more = first.notes[0].text.split(' ').next_back().unwrap();
    let second = rows(&execute(&juliet, "list-files", &[("max_items", &["2"]), ("after", &[more])]).await.unwrap());
    assert_eq!(second.iter().map(|row| row["name"].as_str()).collect::<Vec<_>>(), ["one.txt"]);
    for (wrong, condition) in [
        (("max_items", &["0"][..]), Condition::BadRequest),
        (("max_items", &["101"][..]), Condition::BadRequest),
        (("after", &["https://elsewhere.example/x"][..]), Condition::ItemNotFound),
    ] {
        assert_eq!(execute(&juliet, "list-files", &[wrong]).await.unwrap_err(), condition);
    }
    // What has expired is not shown, though it is not swept yet.
    house.later.store(40 * 24 * 60 * 60, Ordering::Relaxed);
    assert!(rows(&execute(&juliet, "list-files", &[]).await.unwrap()).is_empty());
}

#[tokio::test]
async fn users_delete_what_they_chose_and_nothing_of_others() {
    let house = house().await;
    let (juliet, _events) = house.client("juliet").await;
    let (romeo, _others) = house.client("romeo").await;
    let none = execute(&juliet, "delete-files", &[]).await.unwrap();
    assert!(none.form.is_none() && none.notes[0].text.contains("no files"));
    let (one, two) = (put(&house, &juliet, "one", b"hark").await, put(&house, &juliet, "two", b"hark").await);
    let his = put(&house, &romeo, "his", b"mark").await;
    let guessed = his.get.url.replace("his", "hers");

    // His is as little there as what never was.
    let (his_id, no_id) = (house.id(&his.get.url), "a".repeat(26));
    for other in [his.get.url.as_str(), his_id, &no_id, &guessed, "x", "https://elsewhere.example/upload/a/b", "/"] {
        for form in [vec![("links", &[other][..])], vec![("files", &[house.id(&one.get.url), other][..])]] {
            assert_eq!(execute(&juliet, "delete-files", &form).await.unwrap_err(), Condition::ItemNotFound, "{other}");
        }
    }
    assert_eq!(execute(&juliet, "delete-files", &[]).await.unwrap_err(), Condition::BadRequest);
    assert_eq!((house.files().0, house.bytes_kept().await), (3, 12), "all or nothing");

    let chosen: Vec<String> = {
        let execution = command::execute(&juliet, &service(), "delete-files").await.unwrap();
        let field = execution.answer().form.as_ref().unwrap().field("files").unwrap().clone();
        assert!(field.options[0].label.as_ref().unwrap().contains("(4 bytes, 20"), "{field:?}");
        field.options.into_iter().map(|option| option.value).collect()
    };
    assert_eq!(chosen.len(), 2);
    // Named twice it is still one file.
    let done =
        execute(&juliet, "delete-files", &[("files", &[house.id(&one.get.url)]), ("links", &[&one.get.url])]).await;
    assert_eq!(done.unwrap().notes[0].text, "Deleted: 1");
    assert_eq!(house.ask("GET", house.path(&one.get.url), &[], b"").await.status, 404);
    assert_eq!(house.ask("GET", house.path(&two.get.url), &[], b"").await.status, 200);
    assert_eq!((house.files().0, house.bytes_kept().await), (2, 8), "which frees the room");
}

#[tokio::test]
async fn users_know_how_much_room_they_have() {
    let house = House::new(|settings| {
        settings.quota.user_bytes = Some(2048);
        settings.quota.user_files = Some(7);
    })
    .await;
    let (juliet, _events) = house.client("juliet").await;
    put(&house, &juliet, "one", &[b'x'; 1024]).await;
    asked(&juliet, &SlotRequest::new("never", 512)).await.unwrap();
    let answer = execute(&juliet, "usage", &[]).await.unwrap();
    let form = answer.form.unwrap();
    let values = ["bytes", "max-bytes", "files", "max-files", "profile-bytes"].map(|var| form.value(var).unwrap());
    assert_eq!(values, ["1536", "2048", "2", "7", "0"]);
    assert!(answer.notes[0].text.starts_with("1.5 KiB of 2.0 KiB, 2 of 7 files"), "{:?}", answer.notes);
}

#[tokio::test]
async fn administrators_see_who_takes_how_much_and_delete_on_reports() {
    let house = house().await;
    let (juliet, _events) = house.client("juliet").await;
    let (romeo, _others) = house.client("romeo").await;
    let hers = put(&house, &juliet, "one", b"hark").await;
    put(&house, &juliet, "two", b"hark").await;
    let waiting = asked(&juliet, &SlotRequest::new("three", 4)).await.unwrap();
    put(&house, &romeo, "his", b"x").await;
    let table = rows(&execute(&romeo, "usage-by-account", &[]).await.unwrap());
    let table: Vec<_> = table.iter().map(|row| (row["account"].as_str(), row["bytes"].as_str())).collect();
    assert_eq!(table, [("juliet@localhost", "12"), ("romeo@localhost", "1")]);
    let one = rows(&execute(&romeo, "usage-by-account", &[("accountjid", &["juliet@localhost"])]).await.unwrap());
    assert_eq!((one.len(), one[0]["files"].as_str()), (1, "3"));

    let path = house.path(&hers.get.url);
    assert_eq!(execute(&romeo, "delete-anyones-files", &[]).await.unwrap_err(), Condition::BadRequest);
    let link = [("links", &[hers.get.url.as_str()][..])];
    assert_eq!(execute(&romeo, "delete-anyones-files", &link).await.unwrap().notes[0].text, "Deleted: 1");
    assert_eq!(house.ask("GET", path, &[], b"").await.status, 404);
    assert_eq!(execute(&romeo, "delete-anyones-files", &link).await.unwrap_err(), Condition::ItemNotFound);
    // All of an account, and what she could still put.
    let all = [("accountjids", &["juliet@localhost"][..])];
    assert_eq!(execute(&romeo, "delete-anyones-files", &all).await.unwrap().notes[0].text, "Deleted: 2");
    let own = [("Authorization", waiting.put.headers[0].value.as_str())];
    assert!(matches!(house.ask("PUT", house.path(&waiting.put.url), &own, b"hark").await.status, 404 | 410));
    while house.bytes_kept().await > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(house.files().0, 1);
}

#[tokio::test]
async fn nobody_else_administers() {
    let house = house().await;
    let (juliet, _events) = house.client("juliet").await;
    let (romeo, _others) = house.client("romeo").await;
    let listed =
        |of: Vec<xmpp_core::payload::disco::Item>| of.into_iter().filter_map(|item| item.node).collect::<Vec<_>>();
    let hers = listed(command::list(&juliet, &service()).await.unwrap());
    assert_eq!(hers, ["list-files", "delete-files", "usage"]);
    assert_eq!(listed(command::list(&romeo, &service()).await.unwrap()).len(), 5);
    let his = put(&house, &romeo, "his", b"hark").await;
    for (node, form) in [
        ("usage-by-account", vec![]),
        ("usage-by-account", vec![("accountjid", &["romeo@localhost"][..])]),
        ("delete-anyones-files", vec![("links", &[his.get.url.as_str()][..])]),
        ("delete-anyones-files", vec![("accountjids", &["romeo@localhost"][..])]),
    ] {
        assert_eq!(execute(&juliet, node, &form).await.unwrap_err(), Condition::Forbidden, "{node}");
    }
    assert_eq!(house.files().0, 1);
    // Where nobody is named there is nobody.
    let house = House::new(|_| {}).await;
    let (romeo, _others) = house.client("romeo").await;
    assert_eq!(execute(&romeo, "usage-by-account", &[]).await.unwrap_err(), Condition::Forbidden);
}

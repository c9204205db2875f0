//! Ad-hoc commands (XEP-0050): what one has there, and deleting it; and what others have, for administrators.

use super::{PurposeSettings, Service, address, slots::failed, sweep};
use crate::upload::store::{Bucket, Upload, Usage};
use std::{collections::BTreeSet, sync::Arc};
use xmpp_core::{
    extension::{Registrar, Target},
    jid::{BareJid, Jid},
    payload::{
        DateTime,
        form::{DataForm, Field, FieldType, FormKind, Reported, Row},
    },
    stanza::StanzaError,
};
use xmpp_im::command::{Call, Command, Commands, Step, bad_payload};

/// Rows of a page, and choices of a list.
const PAGE: usize = 100;
/// Files that are deleted at once.
const AT_ONCE: usize = 200;

/// Offers the commands, at the service's own domain.
pub(super) fn register(r: &mut Registrar, service: &Arc<Service>) {
    let own = [
        command(service, "list-files", "My files", list),
        command(service, "delete-files", "Delete my files", delete),
        command(service, "usage", "How much room I have taken", usage),
    ];
    let all = [
        command(service, "usage-by-account", "Room that users have taken", usage_by_account),
        command(service, "delete-anyones-files", "Delete files of others", delete_anyones),
    ];
    let mut commands = Commands::new();
    for command in own {
        let service = Arc::clone(service);
        commands = commands.with(command.only_for(move |asker| service.is_user(asker)));
    }
    for command in all {
        let service = Arc::clone(service);
        commands = commands.with(command.only_for(move |asker| service.is_admin(asker)));
    }
    commands.at(Target::Server)(r);
}

fn command<F>(
    service: &Arc<Service>,
    node: &str,
    name: &str,
    run: impl Fn(Arc<Service>, Call) -> F + Send + Sync + 'static,
) -> Command
where
    F: Future<Output = Result<Step, StanzaError>> + Send + 'static,
{
    let service = Arc::clone(service);
    Command::new(node, name, move |call| run(Arc::clone(&service), call)).at_once()
}

fn form(title: &str, fields: impl IntoIterator<Item = Field>) -> DataForm {
    let mut form = DataForm::new(FormKind::Form);
    form.title = Some(title.to_owned());
    fields.into_iter().fold(form, DataForm::with)
}

/// A table of results.
fn table(columns: &[(&str, &str)], rows: Vec<Vec<Field>>) -> DataForm {
    let mut form = DataForm::new(FormKind::Result);
    let column = |(var, label): &(&str, &str)| Field::new(*var).label(*label);
    form.reported = Some(Reported { fields: columns.iter().map(column).collect() });
    form.items = rows.into_iter().map(|fields| Row { fields }).collect();
    form
}

fn max_items() -> Field {
    let field = Field::new("max_items").typed(FieldType::ListSingle).label("How many to show").value("25");
    ["25", "50", "100"].iter().fold(field, |field, number| field.option(Some(number), *number))
}

fn read_max_items(form: &DataForm) -> Result<usize, StanzaError> {
    match form.value("max_items") {
        None | Some("") => Ok(PAGE),
        Some(text) => match text.parse() {
            Ok(most) if (1..=PAGE).contains(&most) => Ok(most),
            _ => Err(bad_payload(&format!("show between 1 and {PAGE}"))),
        },
    }
}

/// As people like to read it.
fn human(bytes: u64) -> String {
    let (mut unit, mut rest) = ("bytes", bytes);
    let mut tenth = 0;
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if rest < 1024 {
            break;
        }
        (unit, tenth, rest) = (larger, rest % 1024 * 10 / 1024, rest / 1024);
    }
    if unit == "bytes" { format!("{bytes} bytes") } else { format!("{rest}.{tenth} {unit}") }
}

fn of(is: &str, most: Option<String>) -> String {
    most.map_or_else(|| is.to_owned(), |most| format!("{is} of {most}"))
}

fn time(field: &str, seconds: Option<u64>) -> Field {
    let time = seconds.and_then(|seconds| DateTime::from_unix(i64::try_from(seconds).ok()?, 0));
    time.into_iter().fold(Field::new(field), |field, time| field.typed_value(&time))
}

/// The same whether there is nothing, or it is somebody else's.
fn not_found() -> StanzaError {
    StanzaError::item_not_found().with_text("there is no such file")
}

impl Service {
    /// Who is known here, or may upload from elsewhere.
    fn is_user(&self, asker: &Jid) -> bool {
        let known = asker.local().is_some() && self.server.get().is_some_and(|server| server.hosts(asker.domain()));
        known || self.may_upload(asker)
    }

    /// Another server could be lied to about who asks.
    fn is_admin(&self, asker: &Jid) -> bool {
        let known = self.server.get().is_some_and(|server| server.hosts(asker.domain()));
        known && self.settings.may_administer.as_ref().is_some_and(|may| may(asker))
    }

    /// The id that a link names, or that is given as it is. A link that was not given out here names nothing.
    fn id_of<'a>(&self, text: &'a str) -> Option<&'a str> {
        let text = text.trim();
        if !text.contains('/') {
            return Some(text);
        }
        let path = text.strip_prefix(&self.public_url).unwrap_or(text);
        let path = path.split(['?', '#']).next().unwrap_or_default();
        Some(address::named(&self.keys, path)?.id)
    }

    /// The files that were named, all of which are there and are the user's, if there is one. Nothing is said of which is not.
    async fn chosen(&self, form: &DataForm, user: Option<&BareJid>) -> Result<Vec<Upload>, StanzaError> {
        let named: BTreeSet<&str> =
            ["files", "links"].iter().flat_map(|var| form.values(var)).map(String::as_str).collect();
        let mut files = Vec::new();
        let named: Vec<&str> = named.into_iter().filter(|text| !text.trim().is_empty()).collect();
        if named.len() > AT_ONCE {
            return Err(StanzaError::not_acceptable().with_text(format!("choose at most {AT_ONCE} at once")));
        }
        for text in named {
            let id = self.id_of(text).ok_or_else(not_found)?;
            let file = self.store.find(id).await.map_err(failed)?;
            let file = file.filter(|file| user.is_none_or(|user| file.owner == *user)).ok_or_else(not_found)?;
            files.push(file);
        }
        files.sort_by(|one: &Upload, other| one.id.cmp(&other.id));
        files.dedup_by(|one, other| one.id == other.id);
        Ok(files)
    }

    /// Deletes all of them, or, if one is being put right now, none.
    async fn delete_all(self: &Arc<Self>, files: &[Upload]) -> Result<(), StanzaError> {
        let places: Option<Vec<_>> = files.iter().map(|file| self.remove_alone(&file.id)).collect();
        let busy = || StanzaError::conflict().with_text("one of the files is being put or deleted right now");
        for place in places.ok_or_else(busy)? {
            self.drop_file(&place).await.map_err(|_| StanzaError::internal_server_error())?;
        }
        Ok(())
    }

    fn row(&self, file: &Upload) -> Vec<Field> {
        vec![
            Field::new("name").value(&file.name),
            Field::new("size").value(file.size.to_string()),
            Field::new("type").value(file.content_type.as_deref().unwrap_or_default()),
            time("uploaded", Some(file.created).filter(|created| *created > 0)),
            time("expires", file.expires),
            Field::new("purpose").value(file.bucket.as_str()),
            Field::new("url").value(self.url(file)),
        ]
    }
}

async fn list(service: Arc<Service>, call: Call) -> Result<Step, StanzaError> {
    let after = Field::new("after").label("Begin behind the file with this link");
    let Some(asked) = call.form() else { return Ok(Step::ask_last(form("My files", [max_items(), after]))) };
    let (user, most) = (call.from.to_bare(), read_max_items(asked)?);
    let after = match asked.value("after").filter(|after| !after.trim().is_empty()) {
        Some(link) => {
            let id = service.id_of(link).ok_or_else(not_found)?;
            let found = service.store.find(id).await.map_err(failed)?;
            Some(found.filter(|file| file.owner == user).ok_or_else(not_found)?)
        }
        None => None,
    };
    // One more tells whether there are more.
    let mut files = service.store.files_of(&user, after.as_ref(), most.saturating_add(1)).await.map_err(failed)?;
    let more = files.len() > most;
    files.truncate(most);
    let now = service.now();
    let gone = |file: &&Upload| file.expires.is_none_or(|expires| expires > now);
    let rows = files.iter().filter(gone).map(|file| service.row(file)).collect();
    let columns = [
        ("name", "Name"),
        ("size", "Size in bytes"),
        ("type", "Media type"),
        ("uploaded", "Uploaded"),
        ("expires", "Kept until"),
        ("purpose", "Purpose"),
        ("url", "Link"),
    ];
    let step = Step::done().result(table(&columns, rows));
    Ok(match files.last() {
        Some(last) if more => step.info(format!("There are more behind {}", service.url(last))),
        None => step.info("There are no files."),
        _ => step,
    })
}

async fn delete(service: Arc<Service>, call: Call) -> Result<Step, StanzaError> {
    let user = call.from.to_bare();
    if let Some(chosen) = call.form() {
        let files = service.chosen(chosen, Some(&user)).await?;
        if files.is_empty() {
            return Err(bad_payload("choose a file"));
        }
        service.delete_all(&files).await?;
        return Ok(Step::done().info(format!("Deleted: {}", files.len())));
    }
    let files = service.store.files_of(&user, None, PAGE).await.map_err(failed)?;
    if files.is_empty() {
        return Ok(Step::done().info("There are no files."));
    }
    let choices = Field::new("files").typed(FieldType::ListMulti).label("Files, the newest at first");
    let choices = files.iter().fold(choices, |field, file| {
        let since = DateTime::from_unix(i64::try_from(file.created).unwrap_or_default(), 0);
        let since = since.filter(|_| file.created > 0).map(|since| format!(", {since}")).unwrap_or_default();
        field.option(Some(&format!("{} ({}{since})", file.name, human(file.size))), &file.id)
    });
    let links = Field::new("links").typed(FieldType::TextMulti).label("Or their links");
    Ok(Step::ask_last(form("Delete my files", [choices, links])))
}

/// What is used in a bucket with a quota of its own, and how much it may be.
fn part(name: &str, used: Usage, own: PurposeSettings) -> Vec<Field> {
    let fields = [
        ("bytes", Some(used.bytes)),
        ("files", Some(used.files)),
        ("max-bytes", own.user_bytes),
        ("max-files", own.user_files),
    ];
    let field = |(what, number): (&str, Option<u64>)| {
        Some(Field::new(format!("{name}{what}")).typed(FieldType::TextSingle).value(number?.to_string()))
    };
    fields.into_iter().filter_map(field).collect()
}

async fn usage(service: Arc<Service>, call: Call) -> Result<Step, StanzaError> {
    let user = call.from.to_bare();
    let used = service.store.usage(Some(&user)).await.map_err(failed)?;
    let quota = &service.settings.quota;
    let all = PurposeSettings::new(0, quota.user_bytes, quota.user_files, None);
    let mut fields = part("", used, all);
    let buckets = [(Bucket::Profile, service.settings.profile), (Bucket::Permanent, service.settings.permanent)];
    for (bucket, own) in buckets {
        if let Some(own) = own {
            let used = service.store.usage_in(&user, bucket).await.map_err(failed)?;
            fields.extend(part(&format!("{}-", bucket.as_str()), used, own));
        }
    }
    let bytes = of(&human(used.bytes), quota.user_bytes.map(human));
    let files = of(&used.files.to_string(), quota.user_files.map(|files| files.to_string()));
    let result = fields.into_iter().fold(DataForm::new(FormKind::Result), DataForm::with);
    Ok(Step::done().result(result).info(format!("{bytes}, {files} files, with slots that are not used yet")))
}

fn read_account(text: &str) -> Result<BareJid, StanzaError> {
    let user = BareJid::new(text.trim()).map_err(|_| bad_payload("this is no address"))?;
    if user.local().is_none() {
        return Err(bad_payload("this is no address of an account"));
    }
    Ok(user)
}

async fn usage_by_account(service: Arc<Service>, call: Call) -> Result<Step, StanzaError> {
    let Some(asked) = call.form() else {
        let account = Field::new("accountjid").typed(FieldType::JidSingle).label("Of this account alone");
        return Ok(Step::ask_last(form("Room that users have taken", [account, max_items()])));
    };
    let most = read_max_items(asked)?;
    let usages = match asked.value("accountjid").filter(|account| !account.trim().is_empty()) {
        Some(account) => {
            let user = read_account(account)?;
            let used = service.store.usage(Some(&user)).await.map_err(failed)?;
            vec![(user, used)]
        }
        None => service.store.usages(most).await.map_err(failed)?,
    };
    let row = |(user, used): &(BareJid, Usage)| {
        vec![
            Field::new("account").value(user.to_string()),
            Field::new("bytes").value(used.bytes.to_string()),
            Field::new("files").value(used.files.to_string()),
        ]
    };
    let columns = [("account", "Account"), ("bytes", "Bytes"), ("files", "Files and slots")];
    let all = service.store.usage(None).await.map_err(failed)?;
    let total = of(&human(all.bytes), service.settings.quota.all_bytes.map(human));
    let step = Step::done().result(table(&columns, usages.iter().map(row).collect()));
    Ok(step.info(format!("In all: {total}, {} files", all.files)))
}

async fn delete_anyones(service: Arc<Service>, call: Call) -> Result<Step, StanzaError> {
    let Some(asked) = call.form() else {
        let links = Field::new("links").typed(FieldType::TextMulti).label("Files with these links");
        let accounts = Field::new("accountjids").typed(FieldType::JidMulti).label("All files of these accounts");
        return Ok(Step::ask_last(form("Delete files of others", [links, accounts])));
    };
    let files = service.chosen(asked, None).await?;
    let accounts = asked.values("accountjids").iter().filter(|account| !account.trim().is_empty());
    let accounts: Vec<BareJid> = accounts.map(|account| read_account(account)).collect::<Result<_, _>>()?;
    if files.is_empty() && accounts.is_empty() {
        return Err(bad_payload("name a file or an account"));
    }
    if accounts.len() > AT_ONCE {
        return Err(StanzaError::not_acceptable().with_text(format!("name at most {AT_ONCE} accounts at once")));
    }
    for file in &files {
        tracing::warn!(by = %call.from, owner = %file.owner, id = file.id, "an administrator deletes an upload");
    }
    service.delete_all(&files).await?;
    let mut deleted = u64::try_from(files.len()).unwrap_or(u64::MAX);
    for user in accounts {
        tracing::warn!(by = %call.from, owner = %user, "an administrator deletes all uploads of an account");
        // From here on nobody gets them; that they leave the disk too may take its time.
        deleted = deleted.saturating_add(service.store.release(&user).await.map_err(failed)?);
        let service = Arc::clone(&service);
        tokio::spawn(async move { while sweep::some(&service, Some(&user)).await.is_ok_and(|removed| removed > 0) {} });
    }
    Ok(Step::done().info(format!("Deleted: {deleted}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_as_people_like_it() {
        for (bytes, is) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1 << 30, "1.0 GiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(human(bytes), is);
        }
    }
}

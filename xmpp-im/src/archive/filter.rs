//! What a query asks for: its form (XEP-0313 §4.1) and its page (XEP-0059).

use super::{ArchiveId, Selection};
use xmpp_core::{
    jid::Jid,
    payload::{
        DateTime, TextValue,
        archive::{ArchiveQuery, NS},
        form::{DataForm, FORM_TYPE, Field, FieldType, FormKind},
    },
    stanza::StanzaError,
    xml::{Stanza, Writer, XmlLimits},
};

/// The fields that a query may have, as they stand in the form that tells of them.
pub const FIELDS: &[(&str, FieldType)] = &[
    ("with", FieldType::JidSingle),
    ("start", FieldType::TextSingle),
    ("end", FieldType::TextSingle),
    ("before-id", FieldType::TextSingle),
    ("after-id", FieldType::TextSingle),
    ("ids", FieldType::ListMulti),
    ("include-groupchat", FieldType::Boolean),
];

/// The form that tells of the fields (§4.1.5).
pub(super) fn fields() -> DataForm {
    FIELDS.iter().fold(DataForm::typed(FormKind::Form, NS), |form, (var, type_)| {
        let mut field = Field::new(*var).typed(type_.clone());
        if *type_ == FieldType::ListMulti {
            field.others.extend(open_list());
        }
        form.with(field)
    })
}

/// XEP-0122 §3.2.1: any value may be given.
fn open_list() -> Option<Stanza> {
    let ns = "http://jabber.org/protocol/xdata-validate";
    let mut out = Writer::new("");
    out.open("validate", ns);
    out.attr("datatype", "xs:string");
    out.open("open", ns);
    out.close();
    out.close();
    let text = String::from_utf8(out.finish()).unwrap_or_default();
    Stanza::parse(&text, "", &XmlLimits::default()).ok()
}

/// What a query selects, with pages of at most `max` messages, and of `usual` where it names no size. A query that asks
/// for more than 4 × `max` ids is refused.
///
/// # Errors
/// `bad-request` for a form that is none, `feature-not-implemented` for a field that is unknown (§4.1.5),
/// `item-not-found` for an id or a node that cannot be there (§4.1.3, §4.3.2).
pub fn select(query: &ArchiveQuery, usual: usize, max: usize) -> Result<Selection, StanzaError> {
    if query.node.is_some() {
        return Err(StanzaError::item_not_found());
    }
    let mut selection = Selection { max: usual.min(max), max_bytes: usize::MAX, ..Selection::default() };
    if let Some(form) = &query.form {
        filter(form, max, &mut selection)?;
    }
    let Some(rsm) = &query.rsm else { return Ok(selection) };
    if let Some(wanted) = rsm.max {
        selection.max = usize::try_from(wanted).unwrap_or(usize::MAX).min(max);
    }
    if let Some(after) = &rsm.after {
        selection.after.push(id(after)?);
    }
    match rsm.before.as_deref() {
        None => {}
        Some("") => selection.last = true,
        Some(before) => {
            selection.last = true;
            selection.before.push(id(before)?);
        }
    }
    if let Some(index) = rsm.index {
        if rsm.after.is_some() || rsm.before.is_some() {
            return Err(StanzaError::bad_request().with_text("a page is asked for by its index or by its neighbour"));
        }
        selection.skip = index.into();
    }
    // XEP-0059 §2.6 and §2.7: who asks by number, or only for the number.
    selection.count = selection.max == 0 || rsm.index.is_some();
    Ok(selection)
}

fn filter(form: &DataForm, max: usize, selection: &mut Selection) -> Result<(), StanzaError> {
    if form.type_ != FormKind::Submit || form.form_type() != Some(NS) {
        return Err(StanzaError::bad_request().with_text(format!("the filter is a submitted form of the type {NS}")));
    }
    let mut seen: Vec<&str> = Vec::new();
    for field in &form.fields {
        let Some(var) = field.var.as_deref() else { continue };
        if seen.contains(&var) {
            return Err(StanzaError::bad_request().with_text(format!("the field {var} is there twice")));
        }
        match (var, field.values.as_slice()) {
            (FORM_TYPE, _) => {}
            ("ids", ids) if ids.len() > max.saturating_mul(4) => {
                return Err(StanzaError::not_acceptable().with_text("too many ids at once"));
            }
            ("ids", ids) => {
                selection.ids = ids.iter().map(|text| id(text)).collect::<Result<_, _>>()?;
            }
            ("with" | "start" | "end" | "before-id" | "after-id" | "include-groupchat", []) => {}
            ("with", [with]) => selection.with = Some(value::<Jid>(var, with)?),
            ("start", [start]) => selection.start = Some(value::<DateTime>(var, start)?),
            ("end", [end]) => selection.end = Some(value::<DateTime>(var, end)?),
            ("before-id", [before]) => selection.before.push(id(before)?),
            ("after-id", [after]) => selection.after.push(id(after)?),
            // There are none to include or to leave out.
            ("include-groupchat", [include]) => drop(value::<bool>(var, include)?),
            ("with" | "start" | "end" | "before-id" | "after-id" | "include-groupchat", _) => {
                return Err(StanzaError::bad_request().with_text(format!("the field {var} has one value")));
            }
            _ => {
                return Err(StanzaError::feature_not_implemented().with_text(format!("the field {var} is unknown")));
            }
        }
        seen.push(var);
    }
    Ok(())
}

fn value<T: TextValue>(var: &str, text: &str) -> Result<T, StanzaError> {
    T::from_text(text).map_err(|error| StanzaError::bad_request().with_text(format!("{var}: {error}")))
}

/// What is no id at all is none of this archive.
fn id(text: &str) -> Result<ArchiveId, StanzaError> {
    text.parse().map_err(|_| StanzaError::item_not_found())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use xmpp_core::{payload::Payload, stanza::Condition};

    fn read(content: &str) -> Result<Selection, StanzaError> {
        let text = format!("<query xmlns='{NS}'>{content}</query>");
        let stanza = Stanza::parse(&text, "jabber:client", &XmlLimits::default()).unwrap();
        select(&ArchiveQuery::read(stanza.root()).unwrap(), 50, 250)
    }

    fn form(fields: &str) -> Result<Selection, StanzaError> {
        let type_ = format!("<field var='FORM_TYPE' type='hidden'><value>{NS}</value></field>");
        read(&format!("<x xmlns='jabber:x:data' type='submit'>{type_}{fields}</x>"))
    }

    fn field(var: &str, value: &str) -> String {
        format!("<field var='{var}'><value>{value}</value></field>")
    }

    fn rsm(content: &str) -> Result<Selection, StanzaError> {
        read(&format!("<set xmlns='http://jabber.org/protocol/rsm'>{content}</set>"))
    }

    #[test]
    fn xep0313_4_1_every_field_is_understood() {
        let (one, two) = (ArchiveId::from_parts(1, 7), ArchiveId::from_parts(2, 8));
        let fields = field("with", "juliet@capulet.example/balcony")
            + &field("start", "2010-06-07T00:00:00Z")
            + &field("end", "2010-07-07T13:23:54.25Z")
            + &field("after-id", &one.to_string())
            + &field("before-id", &two.to_string())
            + &field("ids", &one.to_string())
            + &field("include-groupchat", "false");
        let selection = form(&fields).unwrap();
        assert_eq!(selection.with.as_ref().unwrap().as_str(), "juliet@capulet.example/balcony");
        assert_eq!((selection.after.as_slice(), selection.before.as_slice()), ([one].as_slice(), [two].as_slice()));
        assert_eq!(selection.ids, [one]);
        assert_eq!(selection.end.unwrap().unix_millis(), 1_278_509_034_250);
        for (var, _) in FIELDS {
            assert!(fields.contains(&format!("'{var}'")), "{var} is not tried");
        }
    }

    #[test]
    fn xep0313_4_1_what_is_wrong_gets_the_error_that_is_meant_for_it() {
        let condition = |result: Result<Selection, StanzaError>| result.unwrap_err().condition;
        for wrong in [
            field("with", "@"),
            field("start", "yesterday"),
            field("end", "2010-13-07T00:00:00Z"),
            field("include-groupchat", "perhaps"),
            "<field var='start'><value>2010-06-07T00:00:00Z</value><value>x</value></field>".into(),
            field("with", "a@b") + &field("with", "c@d"),
        ] {
            assert_eq!(condition(form(&wrong)), Condition::BadRequest, "{wrong}");
        }
        assert_eq!(condition(form(&field("{urn:example}mood", "x"))), Condition::FeatureNotImplemented);
        for var in ["before-id", "after-id", "ids"] {
            assert_eq!(condition(form(&field(var, "nonsense"))), Condition::ItemNotFound, "{var}");
        }
        let other_type = "<field var='FORM_TYPE'><value>urn:example</value></field>";
        for wrong in ["", other_type] {
            let wrong = format!("<x xmlns='jabber:x:data' type='submit'>{wrong}</x>");
            assert_eq!(condition(read(&wrong)), Condition::BadRequest, "{wrong}");
        }
        let right = format!("<field var='FORM_TYPE' type='hidden'><value>{NS}</value></field>");
        assert_eq!(
            condition(read(&format!("<x xmlns='jabber:x:data' type='form'>{right}</x>"))),
            Condition::BadRequest
        );
    }

    #[test]
    fn abuse_a062_pages_are_clamped_and_ids_that_are_none_are_not_found() {
        assert_eq!(rsm("<max>1000000000</max>").unwrap().max, 250);
        assert_eq!(read("").unwrap().max, 50);
        assert_eq!(rsm("<max>0</max>").unwrap().max, 0);
        assert!(rsm("<max>0</max>").unwrap().count);
        for content in ["<before>';DROP TABLE archive</before>", "<after>1</after>", "<after/>"] {
            assert_eq!(rsm(content).unwrap_err().condition, Condition::ItemNotFound, "{content}");
        }
        let (one, two) = (ArchiveId::from_parts(1, 7), ArchiveId::from_parts(2, 8));
        let both = rsm(&format!("<after>{one}</after><before>{two}</before>")).unwrap();
        assert_eq!((both.after, both.before, both.last), (vec![one], vec![two], true));
        assert_eq!(rsm(&format!("<index>3</index><after>{one}</after>")).unwrap_err().condition, Condition::BadRequest);
        let many = "<value>x</value>".repeat(1001);
        let many = form(&format!("<field var='ids'>{many}</field>")).unwrap_err();
        assert_eq!(many.condition, Condition::NotAcceptable);
    }
}

//! What is hashed: the strings of XEP-0115 §5.1 and XEP-0390 §4.1.

use xmpp_core::payload::{
    disco::DiscoInfo,
    form::{DataForm, FieldType},
};

/// Why nothing that can be trusted can be computed from an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IllFormed {
    /// An identity, a feature or a form comes twice (XEP-0115 §5.4), or a form has two types.
    #[error("something comes twice")]
    Doubled,
    /// There is no identity, or one without category or type (XEP-0030 §3.1).
    #[error("an identity is missing")]
    NoIdentity,
    /// The separators of XEP-0115 occur in what they separate, so that two answers have one string.
    #[error("a text holds a separator")]
    Ambiguous,
    /// There is something that the string does not cover (XEP-0390 §4.1).
    #[error("there is more than identities, features and typed forms")]
    Uncovered,
}

/// What XEP-0115 hashes.
///
/// # Errors
/// See [`IllFormed`]. Beyond what §5.4 names, texts with separators in them are refused: they are the means by which other
/// capabilities get the hash of popular software.
pub fn verification_input(info: &DiscoInfo) -> Result<String, IllFormed> {
    if info.identities.is_empty() {
        return Err(IllFormed::NoIdentity);
    }
    let mut out = String::new();
    let mut identities = Vec::with_capacity(info.identities.len());
    for one in &info.identities {
        if one.category.is_empty() || one.type_.is_empty() {
            return Err(IllFormed::NoIdentity);
        }
        let lang = one.lang.as_deref().unwrap_or_default();
        if [&one.category, &one.type_, lang].iter().any(|part| part.contains('/')) {
            return Err(IllFormed::Ambiguous);
        }
        identities.push((&*one.category, &*one.type_, lang, one.name.as_deref().unwrap_or_default()));
    }
    identities.sort_unstable();
    no_doubles(&identities)?;
    for (category, type_, lang, name) in identities {
        append(&mut out, &format!("{category}/{type_}/{lang}/{name}"))?;
    }
    let mut features: Vec<&str> = info.features.iter().map(|feature| feature.var.as_str()).collect();
    features.sort_unstable();
    no_doubles(&features)?;
    for feature in features {
        if is_like_identity(feature) {
            return Err(IllFormed::Ambiguous);
        }
        append(&mut out, feature)?;
    }
    let mut forms = Vec::with_capacity(info.forms.len());
    for form in &info.forms {
        if let Some(type_) = hidden_type(form)? {
            forms.push((type_, form));
        }
    }
    forms.sort_by_key(|(type_, _)| *type_);
    no_doubles(&forms.iter().map(|(type_, _)| *type_).collect::<Vec<_>>())?;
    for (type_, form) in forms {
        append(&mut out, type_)?;
        append_fields(&mut out, form)?;
    }
    Ok(out)
}

fn append_fields(out: &mut String, form: &DataForm) -> Result<(), IllFormed> {
    let fields = form.fields.iter().filter_map(|field| Some((field.var.as_deref()?, &field.values)));
    let mut fields: Vec<_> = fields.filter(|(var, _)| *var != "FORM_TYPE").collect();
    fields.sort();
    for (var, values) in fields {
        append(out, var)?;
        let mut values: Vec<&str> = values.iter().map(String::as_str).collect();
        values.sort_unstable();
        values.into_iter().try_for_each(|value| append(out, value))?;
    }
    Ok(())
}

fn append(out: &mut String, part: &str) -> Result<(), IllFormed> {
    if part.contains('<') {
        return Err(IllFormed::Ambiguous);
    }
    out.push_str(part);
    out.push('<');
    Ok(())
}

fn no_doubles<T: PartialEq>(sorted: &[T]) -> Result<(), IllFormed> {
    let doubled = sorted.iter().zip(sorted.iter().skip(1)).any(|(one, other)| one == other);
    if doubled { Err(IllFormed::Doubled) } else { Ok(()) }
}

/// Whether a feature reads as an identity; namespaces do not, because of their double slash or their colon.
fn is_like_identity(feature: &str) -> bool {
    let mut parts = feature.split('/');
    let is_word = |part: Option<&str>| part.is_some_and(|part| !part.is_empty() && !part.contains([':', '.']));
    is_word(parts.next()) && is_word(parts.next()) && parts.count() >= 2
}

/// The type of a form; forms whose type is not hidden do not count (XEP-0115 §5.4).
fn hidden_type(form: &DataForm) -> Result<Option<&str>, IllFormed> {
    let Some(field) = form.field("FORM_TYPE").filter(|field| field.type_ == Some(FieldType::Hidden)) else {
        return Ok(None);
    };
    if field.values.iter().any(|value| Some(value) != field.values.first()) {
        return Err(IllFormed::Doubled);
    }
    Ok(field.first())
}

/// Whether the string of XEP-0115 can be read in another way: a form's type that could be one more feature, or a field
/// that could be a value; or whether there is more than it covers. Nobody can tell which of the answers was meant, so that
/// such an answer speaks for the one who gave it alone.
#[cfg(feature = "client")]
pub(super) fn is_ambiguous(info: &DiscoInfo) -> bool {
    let covered = |form: &DataForm| {
        let types = form.fields.iter().filter(|field| field.var.as_deref() == Some("FORM_TYPE")).count();
        types == 1
            && hidden_type(form).is_ok_and(|type_| type_.is_some())
            && form.reported.is_none()
            && form.items.is_empty()
            && form.fields.iter().all(|field| field.var.is_some() && !field.values.is_empty())
    };
    if !info.others.is_empty() || !info.forms.iter().all(covered) {
        return true;
    }
    let last = info.features.iter().map(|feature| feature.var.as_str()).max().unwrap_or_default();
    let first = info.forms.iter().filter_map(|form| hidden_type(form).ok().flatten()).min();
    first.is_some_and(|first| first > last)
}

const FEATURES_END: u8 = 0x1c;
const FORM_END: u8 = 0x1d;
const RECORD_END: u8 = 0x1e;
const TEXT_END: u8 = 0x1f;

/// What XEP-0390 hashes (§4.1).
///
/// # Errors
/// [`IllFormed::Uncovered`].
pub fn hash_input(info: &DiscoInfo) -> Result<Vec<u8>, IllFormed> {
    if !info.others.is_empty() {
        return Err(IllFormed::Uncovered);
    }
    let mut out = Vec::new();
    let features = info.features.iter().map(|feature| text(&feature.var)).collect();
    join(&mut out, features, FEATURES_END);
    let identities = info.identities.iter().map(|one| {
        let (lang, name) = (one.lang.as_deref().unwrap_or_default(), one.name.as_deref().unwrap_or_default());
        let mut record = [one.category.as_str(), one.type_.as_str(), lang, name].map(text).concat();
        record.push(RECORD_END);
        record
    });
    join(&mut out, identities.collect(), FEATURES_END);
    let forms = info.forms.iter().map(form_input).collect::<Result<_, _>>()?;
    join(&mut out, forms, FEATURES_END);
    Ok(out)
}

fn form_input(form: &DataForm) -> Result<Vec<u8>, IllFormed> {
    let is_typed = hidden_type(form).map_err(|_| IllFormed::Uncovered)?.is_some();
    if !is_typed || form.reported.is_some() || !form.items.is_empty() {
        return Err(IllFormed::Uncovered);
    }
    let fields = form.fields.iter().map(|field| {
        let mut record = text(field.var.as_deref().unwrap_or_default());
        let mut values: Vec<_> = field.values.iter().map(|value| text(value)).collect();
        values.sort_unstable();
        record.extend(values.concat());
        record.push(RECORD_END);
        record
    });
    let mut out = Vec::new();
    join(&mut out, fields.collect(), FORM_END);
    Ok(out)
}

fn text(text: &str) -> Vec<u8> {
    // XML has no such characters, so that nothing can pass for an end.
    let mut out = text.as_bytes().to_vec();
    out.push(TEXT_END);
    out
}

fn join(out: &mut Vec<u8>, mut parts: Vec<Vec<u8>>, end: u8) {
    parts.sort_unstable();
    out.extend(parts.concat());
    out.push(end);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::caps::{base64, digest, ver};
    use xmpp_core::payload::{Payload as _, disco::Identity, form::Field, form::FormKind};
    use xmpp_core::xml::{Stanza, XmlLimits, ns};

    fn info(inner: &str) -> DiscoInfo {
        let text = format!("<query xmlns='http://jabber.org/protocol/disco#info'>{inner}</query>");
        DiscoInfo::read(Stanza::parse(&text, ns::CLIENT, &XmlLimits::default()).unwrap().root()).unwrap()
    }

    fn psi() -> DiscoInfo {
        info(
            "<identity xml:lang='en' category='client' name='Psi 0.11' type='pc'/>\
             <identity xml:lang='el' category='client' name='Ψ 0.11' type='pc'/>\
             <feature var='http://jabber.org/protocol/caps'/><feature var='http://jabber.org/protocol/disco#info'/>\
             <feature var='http://jabber.org/protocol/disco#items'/><feature var='http://jabber.org/protocol/muc'/>\
             <x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'>\
             <value>urn:xmpp:dataforms:softwareinfo</value></field>\
             <field var='ip_version'><value>ipv4</value><value>ipv6</value></field>\
             <field var='os'><value>Mac</value></field><field var='os_version'><value>10.5.1</value></field>\
             <field var='software'><value>Psi</value></field>\
             <field var='software_version'><value>0.11</value></field></x>",
        )
    }

    /// A vector of the specification files, where they are.
    fn vectors(spec: &str) -> Vec<(String, String, String)> {
        let Ok(specs) = std::env::var("XMPP_SPECS") else { return Vec::new() };
        let all = std::fs::read_to_string(format!("{specs}/vectors.json")).unwrap();
        let all: Vec<serde_json::Value> = serde_json::from_str(&all).unwrap();
        let of = |one: &serde_json::Value, key: &str| one[key].as_str().unwrap_or_default().to_owned();
        let found = all.iter().filter(|one| one["spec"] == spec);
        let found: Vec<_> = found.map(|one| (of(one, "what"), of(one, "input"), of(one, "expected"))).collect();
        assert!(found.len() >= 2, "{spec}");
        found
    }

    #[test]
    fn xep0115_5_3_the_complex_example() {
        assert_eq!(ver(&psi(), "sha-1").unwrap().as_deref(), Some("q07IKJEyjvHSyhy//CH0CxmKi8w="));
        assert_eq!(ver(&psi(), "md6").unwrap(), None);
        for (what, input, expected) in vectors("XEP-0115") {
            assert_eq!(base64(&digest("sha-1", input.as_bytes()).unwrap()), expected, "{what}");
            if what.contains("complex") {
                assert_eq!(verification_input(&psi()).unwrap(), input);
            }
        }
    }

    #[test]
    fn xep0390_4_4_the_simple_example() {
        let names = "http://jabber.org/protocol/si http://jabber.org/protocol/bytestreams \
             http://jabber.org/protocol/chatstates http://jabber.org/protocol/disco#info \
             http://jabber.org/protocol/disco#items urn:xmpp:ping jabber:iq:time jabber:iq:privacy jabber:iq:version \
             http://jabber.org/protocol/rosterx urn:xmpp:time jabber:x:oob http://jabber.org/protocol/ibb \
             http://jabber.org/protocol/si/profile/file-transfer urn:xmpp:receipts jabber:iq:roster jabber:iq:last";
        let features: String = names.split_whitespace().map(|name| format!("<feature var='{name}'/>")).collect();
        let simple = info(&format!("<identity category='client' name='BombusMod' type='mobile'/>{features}"));
        let hash = digest("sha-256", &hash_input(&simple).unwrap()).unwrap();
        assert_eq!(base64(&hash), "kzBZbkqJ3ADrj7v08reD1qcWUwNGHaidNUgD7nHpiw8=");
        for (what, input, expected) in vectors("XEP-0390") {
            let input = <xmpp_core::payload::Base64 as xmpp_core::payload::TextValue>::from_text(&input).unwrap().0;
            if what.ends_with("sha-256") {
                assert_eq!(base64(&digest("sha-256", &input).unwrap()), expected, "{what}");
            }
            if what.contains("simple") {
                assert_eq!(hash_input(&simple).unwrap(), input, "{what}");
            }
        }
    }

    #[test]
    fn xep0390_4_1_forms_are_closed_one_by_one() {
        let one = "<identity category='client' type='pc'/><feature var='a'/>";
        let form = |fields: &str| {
            let type_ = "<field var='FORM_TYPE' type='hidden'><value>t</value></field>";
            format!("{one}<x xmlns='jabber:x:data' type='result'>{type_}{fields}</x>")
        };
        let input = hash_input(&info(&form("<field var='b'><value>z</value><value>y</value></field>"))).unwrap();
        let expected = b"a\x1f\x1cclient\x1fpc\x1f\x1f\x1f\x1e\x1cFORM_TYPE\x1ft\x1f\x1eb\x1fy\x1fz\x1f\x1e\x1d\x1c";
        assert_eq!(input, expected);
        for uncovered in
            [form("<reported/>"), form("<item/>"), format!("{one}<x xmlns='jabber:x:data' type='result'/>")]
        {
            assert_eq!(hash_input(&info(&uncovered)), Err(IllFormed::Uncovered), "{uncovered}");
        }
        assert_eq!(hash_input(&info(&format!("{one}<more xmlns='urn:x'/>"))), Err(IllFormed::Uncovered));
    }

    #[test]
    fn xep0115_5_4_doubles_are_ill_formed() {
        let one = "<identity category='client' type='pc'/>";
        for twice in [format!("{one}{one}"), format!("{one}<feature var='a'/><feature var='a'/>")] {
            assert_eq!(verification_input(&info(&twice)), Err(IllFormed::Doubled), "{twice}");
        }
        let form = DataForm::typed(FormKind::Result, "t");
        let mut twice = DiscoInfo { forms: vec![form.clone(), form], ..info(one) };
        assert_eq!(verification_input(&twice), Err(IllFormed::Doubled));
        twice.forms.truncate(1);
        twice.forms[0].fields[0].values.push("u".into());
        assert_eq!(verification_input(&twice), Err(IllFormed::Doubled));
        let mut open = DataForm::new(FormKind::Result);
        open.fields.push(Field::new("FORM_TYPE").value("t"));
        twice.forms = vec![open];
        assert_eq!(verification_input(&twice).unwrap(), "client/pc//<", "a type that is not hidden does not count");
    }

    #[test]
    fn abuse_caps_that_could_be_others_are_refused() {
        let exodus = "client/pc//Exodus<http://jabber.org/protocol/muc<";
        let one = "<identity category='client' type='pc' name='Exodus'/>";
        let honest = info(&format!("{one}<feature var='http://jabber.org/protocol/muc'/>"));
        assert_eq!(verification_input(&honest).unwrap(), exodus);
        let forged = [
            "<identity category='client' type='pc' name='Exodus&lt;http://jabber.org/protocol/muc'/>".to_owned(),
            "<feature var='client/pc//Exodus'/><feature var='http://jabber.org/protocol/muc'/>".to_owned(),
            format!("{one}<feature var='client/pc//Other'/>"),
            "<identity category='client/pc' type='x' name='Exodus'/>".to_owned(),
        ];
        for forged in forged {
            assert!(verification_input(&info(&forged)).is_err(), "{forged}");
        }
        let http =
            Identity { lang: Some("jabber.org".into()), ..Identity::new("http:", "", Some("protocol/muc".into())) };
        let mut forged = info(one);
        forged.identities.push(http);
        assert_eq!(verification_input(&forged), Err(IllFormed::NoIdentity));
    }

    #[test]
    fn abuse_features_that_became_a_form_are_seen() {
        let (one, two) = ("<identity category='client' type='pc'/>", "<feature var='a'/>");
        let honest = info(&format!("{one}{two}<feature var='b'/><feature var='c'/>"));
        let mut forged = info(&format!("{one}{two}"));
        let form = DataForm::typed(FormKind::Result, "b");
        forged.forms.push(form.with(Field::new("c")));
        assert_eq!(verification_input(&honest), verification_input(&forged), "the weakness of XEP-0115");
        assert_ne!(hash_input(&honest), hash_input(&forged), "which XEP-0390 has not");
        assert!(is_ambiguous(&forged) && !is_ambiguous(&honest));
    }
}

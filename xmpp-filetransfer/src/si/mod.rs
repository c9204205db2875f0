//! Stream initiation (XEP-0095), by which older clients offer files (XEP-0096): one request says what the file is and by
//! which kinds of bytestreams it could come (XEP-0020), and its answer picks one.
//!
//! ```
//! use xmpp_filetransfer::si::{SiFile, StreamInitiation};
//!
//! let file = SiFile { name: "hamlet.txt".to_owned(), size: 12_345, ..SiFile::default() };
//! let offer = StreamInitiation::offer("a0", None, file, &["http://jabber.org/protocol/ibb"]);
//! assert!(offer.methods().eq(["http://jabber.org/protocol/ibb"]));
//! let answer = StreamInitiation::accept("http://jabber.org/protocol/ibb", None);
//! assert_eq!(answer.method(), Some("http://jabber.org/protocol/ibb"));
//! ```

use xmpp_core::{
    payload::{
        DateTime, Payload,
        form::{DataForm, Field, FieldType, FormKind},
    },
    stanza::{Condition, ErrorType, StanzaError},
};

/// `http://jabber.org/protocol/si`.
pub const NS: &str = "http://jabber.org/protocol/si";
/// `http://jabber.org/protocol/si/profile/file-transfer`.
pub const FILE_TRANSFER: &str = "http://jabber.org/protocol/si/profile/file-transfer";
/// `http://jabber.org/protocol/feature-neg`.
pub const FEATURE_NEG: &str = "http://jabber.org/protocol/feature-neg";

/// The field by which a kind of bytestream is picked (XEP-0095 §4.1).
const STREAM_METHOD: &str = "stream-method";

/// An offer of a stream, or its acceptance.
#[derive(Clone, Debug, Default, Payload)]
#[xml(name = "si", ns = NS)]
pub struct StreamInitiation {
    /// What the bytestream will be known by; in offers.
    #[xml(attr)]
    pub id: Option<String>,
    /// What kind of content it is; in offers.
    #[xml(attr = "mime-type")]
    pub mime_type: Option<String>,
    /// What the stream is for, as a namespace; in offers.
    #[xml(attr)]
    pub profile: Option<String>,
    /// The file that is offered; in an acceptance at most the range that is wanted of it.
    #[xml(child)]
    pub file: Option<Offered>,
    /// Which kinds of bytestreams there are, or which one it shall be.
    #[xml(child)]
    pub feature: Option<FeatureNegotiation>,
}

/// What the profile of files says: whole in an offer, a range in an acceptance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "file", ns = FILE_TRANSFER)]
pub struct Offered {
    /// What the sender calls it.
    #[xml(attr)]
    pub name: Option<String>,
    /// Its length in bytes.
    #[xml(attr)]
    pub size: Option<u64>,
    /// The MD5 of its content in hexadecimal digits: good against accidents, and against nobody.
    #[xml(attr)]
    pub hash: Option<String>,
    /// When it was changed last, as the sender writes it (XEP-0082).
    #[xml(attr)]
    pub date: Option<String>,
    /// What it is about.
    #[xml(child_text = "desc")]
    pub desc: Option<String>,
    /// In an offer, that a part may be asked for; in an acceptance, which one.
    #[xml(child)]
    pub range: Option<SiRange>,
}

/// Part of a file (XEP-0096 §3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Payload)]
#[xml(name = "range", ns = FILE_TRANSFER)]
pub struct SiRange {
    /// The first byte, from 0.
    #[xml(attr)]
    pub offset: Option<u64>,
    /// How many; to the end of the file if it is not said.
    #[xml(attr)]
    pub length: Option<u64>,
}

/// A form of choices (XEP-0020).
#[derive(Clone, Debug, Payload)]
#[xml(name = "feature", ns = FEATURE_NEG)]
pub struct FeatureNegotiation {
    /// The choices, or what was chosen.
    #[xml(child)]
    pub form: DataForm,
}

/// A file that is offered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SiFile {
    /// What the sender calls it. It is no path: see [`crate::file`].
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// The MD5 of its content in hexadecimal digits.
    pub hash: Option<String>,
    /// When it was changed last.
    pub date: Option<DateTime>,
    /// What it is about.
    pub desc: Option<String>,
    /// Whether a part may be asked for.
    pub ranged: bool,
}

impl StreamInitiation {
    /// Offers a file by kinds of bytestreams, named by their namespaces.
    pub fn offer(id: &str, mime_type: Option<&str>, file: SiFile, methods: &[&str]) -> StreamInitiation {
        let choices = methods
            .iter()
            .fold(Field::new(STREAM_METHOD).typed(FieldType::ListSingle), |field, method| field.option(None, *method));
        StreamInitiation {
            id: Some(id.to_owned()),
            mime_type: mime_type.map(str::to_owned),
            profile: Some(FILE_TRANSFER.to_owned()),
            file: Some(Offered {
                name: Some(file.name),
                size: Some(file.size),
                hash: file.hash,
                date: file.date.map(|date| date.to_string()),
                desc: file.desc,
                range: file.ranged.then(SiRange::default),
            }),
            feature: Some(FeatureNegotiation { form: DataForm::new(FormKind::Form).with(choices) }),
        }
    }

    /// Accepts an offer by one of its kinds of bytestreams, the whole file or a part of it.
    pub fn accept(method: &str, range: Option<SiRange>) -> StreamInitiation {
        let form = DataForm::new(FormKind::Submit).with(Field::new(STREAM_METHOD).value(method));
        StreamInitiation {
            file: range.map(|range| Offered { range: Some(range), ..Offered::default() }),
            feature: Some(FeatureNegotiation { form }),
            ..StreamInitiation::default()
        }
    }

    /// Reads an offer of a file: the stream's id, and the file.
    ///
    /// # Errors
    /// What XEP-0095 §4.2 answers: `bad-profile` for what is no file, or not described as one; `bad-request` for an offer
    /// without an id.
    pub fn offered(&self) -> Result<(&str, SiFile), StanzaError> {
        if self.profile.as_deref() != Some(FILE_TRANSFER) {
            return Err(bad_profile());
        }
        let id = self.id.as_deref().filter(|id| !id.is_empty());
        let id = id.ok_or_else(|| StanzaError::bad_request().with_text("an offer needs an id"))?;
        let file = self.file.as_ref().ok_or_else(bad_profile)?;
        let (Some(name), Some(size)) = (&file.name, file.size) else { return Err(bad_profile()) };
        let file = SiFile {
            name: name.clone(),
            size,
            hash: file.hash.clone(),
            date: file.date.as_deref().and_then(|date| date.parse().ok()),
            desc: file.desc.clone(),
            ranged: file.range.is_some(),
        };
        Ok((id, file))
    }

    /// The kinds of bytestreams that are offered.
    pub fn methods(&self) -> impl Iterator<Item = &str> {
        let field = self.feature.as_ref().and_then(|feature| feature.form.field(STREAM_METHOD));
        field.into_iter().flat_map(|field| field.options.iter().map(|option| option.value.as_str()))
    }

    /// The kind of bytestream that was chosen: exactly one (§4.1).
    pub fn method(&self) -> Option<&str> {
        match self.feature.as_ref()?.form.values(STREAM_METHOD) {
            [method] => Some(method),
            _ => None,
        }
    }

    /// The part of the file that the acceptance asks for, of a file of `size` bytes: where it begins, and how long it is.
    /// `None` if there is no such part.
    pub fn wanted(&self, size: u64) -> Option<(u64, u64)> {
        let range = self.file.as_ref().and_then(|file| file.range).unwrap_or_default();
        let offset = range.offset.unwrap_or(0);
        let rest = size.checked_sub(offset)?;
        let length = range.length.unwrap_or(rest);
        (length <= rest).then_some((offset, length))
    }
}

/// The answer where the profile is not understood, or not kept (XEP-0095 §4.2).
pub fn bad_profile() -> StanzaError {
    StanzaError::new(Condition::BadRequest).with_type(ErrorType::Modify).with_application_element("bad-profile", NS)
}

/// The answer where none of the kinds of bytestreams is known (XEP-0095 §4.2).
pub fn no_valid_streams() -> StanzaError {
    StanzaError::new(Condition::BadRequest)
        .with_type(ErrorType::Cancel)
        .with_application_element("no-valid-streams", NS)
}

/// The answer where the user does not want the file (XEP-0095 §3.2).
pub fn declined() -> StanzaError {
    StanzaError::new(Condition::Forbidden).with_type(ErrorType::Cancel).with_text("Offer Declined")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

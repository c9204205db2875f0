//! Data forms (XEP-0004) and their types (XEP-0068).

use super::{Payload, TextValue, ValueError};
use crate::xml::Stanza;

/// `jabber:x:data`.
pub const NS: &str = "jabber:x:data";
/// The field that names the form's type (XEP-0068).
pub const FORM_TYPE: &str = "FORM_TYPE";

/// A form to fill in, filled in, or with results.
#[derive(Clone, Debug, Payload)]
#[xml(name = "x", ns = NS)]
pub struct DataForm {
    /// What it is.
    #[xml(attr = "type")]
    pub type_: FormKind,
    /// Its title.
    #[xml(child_text = "title")]
    pub title: Option<String>,
    /// How to fill it in, a paragraph each.
    #[xml(child_text = "instructions")]
    pub instructions: Vec<String>,
    /// Its fields.
    #[xml(children)]
    pub fields: Vec<Field>,
    /// The columns of a result table (§3.4).
    #[xml(child)]
    pub reported: Option<Reported>,
    /// The rows of a result table.
    #[xml(children)]
    pub items: Vec<Row>,
    /// Layout and other things that extend forms (XEP-0141).
    #[xml(unknown)]
    pub others: Vec<Stanza>,
}

/// Kind of form (§3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, TextValue)]
pub enum FormKind {
    /// To be filled in.
    #[xml(value = "form")]
    Form,
    /// Filled in.
    #[xml(value = "submit")]
    Submit,
    /// Not filled in: the user gave up.
    #[xml(value = "cancel")]
    Cancel,
    /// Results.
    #[xml(value = "result")]
    Result,
}

/// The columns of a result table.
#[derive(Clone, Debug, Payload)]
#[xml(name = "reported", ns = NS)]
pub struct Reported {
    /// One a column, without values.
    #[xml(children)]
    pub fields: Vec<Field>,
}

/// A row of a result table.
#[derive(Clone, Debug, Payload)]
#[xml(name = "item", ns = NS)]
pub struct Row {
    /// One a column.
    #[xml(children)]
    pub fields: Vec<Field>,
}

/// A field (§3.2).
#[derive(Clone, Debug, Default, Payload)]
#[xml(name = "field", ns = NS)]
pub struct Field {
    /// Its name; only fields of type `fixed` may lack it.
    #[xml(attr)]
    pub var: Option<String>,
    /// What it holds; `text-single` if absent, or whatever the form's type says (§3.3).
    #[xml(attr = "type")]
    pub type_: Option<FieldType>,
    /// Its name for people.
    #[xml(attr)]
    pub label: Option<String>,
    /// What it is about.
    #[xml(child_text = "desc")]
    pub desc: Option<String>,
    /// Whether it has to be filled in.
    #[xml(flag = "required")]
    pub required: bool,
    /// Its values, or what they are by default.
    #[xml(child_text = "value")]
    pub values: Vec<String>,
    /// What a list offers.
    #[xml(children)]
    pub options: Vec<FieldOption>,
    /// Media, validation and other things that extend fields (XEP-0221, XEP-0122).
    #[xml(unknown)]
    pub others: Vec<Stanza>,
}

/// What a field holds (§3.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash, TextValue)]
pub enum FieldType {
    /// Yes or no.
    #[xml(value = "boolean")]
    Boolean,
    /// Text to be shown, not filled in.
    #[xml(value = "fixed")]
    Fixed,
    /// Not to be shown; to be sent back as it is.
    #[xml(value = "hidden")]
    Hidden,
    /// Addresses.
    #[xml(value = "jid-multi")]
    JidMulti,
    /// An address.
    #[xml(value = "jid-single")]
    JidSingle,
    /// Any of the options.
    #[xml(value = "list-multi")]
    ListMulti,
    /// One of the options.
    #[xml(value = "list-single")]
    ListSingle,
    /// Lines of text, a value each.
    #[xml(value = "text-multi")]
    TextMulti,
    /// A line of text to be hidden from view.
    #[xml(value = "text-private")]
    TextPrivate,
    /// A line of text.
    #[xml(value = "text-single")]
    TextSingle,
    /// A type that XEP-0004 does not know; to be treated as `text-single`.
    #[xml(other)]
    Other(String),
}

/// A choice of a list.
#[derive(Clone, Debug, PartialEq, Eq, Payload)]
#[xml(name = "option", ns = NS)]
pub struct FieldOption {
    /// Its name for people.
    #[xml(attr)]
    pub label: Option<String>,
    /// Its value.
    #[xml(child_text = "value")]
    pub value: String,
}

impl DataForm {
    /// An empty form.
    pub fn new(type_: FormKind) -> Self {
        DataForm {
            type_,
            title: None,
            instructions: Vec::new(),
            fields: Vec::new(),
            reported: None,
            items: Vec::new(),
            others: Vec::new(),
        }
    }
    /// A form of that type (XEP-0068), which a hidden field names.
    pub fn typed(type_: FormKind, form_type: &str) -> Self {
        DataForm::new(type_).with(Field::new(FORM_TYPE).typed(FieldType::Hidden).value(form_type))
    }
    /// Adds a field.
    pub fn with(mut self, field: Field) -> Self {
        self.fields.push(field);
        self
    }
    /// The form's type (XEP-0068). In a form to fill in and in a result only a hidden field names it (§4.1 there).
    pub fn form_type(&self) -> Option<&str> {
        let field = self.field(FORM_TYPE)?;
        let hidden = field.type_ == Some(FieldType::Hidden);
        (hidden || self.type_ == FormKind::Submit).then(|| field.first()).flatten()
    }
    /// The field of that name.
    pub fn field(&self, var: &str) -> Option<&Field> {
        self.fields.iter().find(|f| f.var.as_deref() == Some(var))
    }
    /// The first value of that field.
    pub fn value(&self, var: &str) -> Option<&str> {
        self.field(var)?.first()
    }
    /// The values of that field.
    pub fn values(&self, var: &str) -> &[String] {
        self.field(var).map_or(&[], |f| &f.values)
    }
    /// The first value of that field, read as a `T`; `None` when there is none or it is empty.
    pub fn get<T: TextValue>(&self, var: &str) -> Option<Result<T, ValueError>> {
        self.value(var).filter(|v| !v.is_empty()).map(T::from_text)
    }
}

impl Field {
    /// A field without a type, as in a form that is filled in.
    pub fn new(var: impl Into<String>) -> Self {
        Field { var: Some(var.into()), ..Field::default() }
    }
    /// With a type.
    pub fn typed(mut self, type_: FieldType) -> Self {
        self.type_ = Some(type_);
        self
    }
    /// With a name for people.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }
    /// With one more value.
    pub fn value(mut self, value: impl Into<String>) -> Self {
        self.values.push(value.into());
        self
    }
    /// With one more value, of a type that is text on the wire.
    pub fn typed_value<T: TextValue>(self, value: &T) -> Self {
        let text = value.to_text().into_owned();
        self.value(text)
    }
    /// With one more option.
    pub fn option(mut self, label: Option<&str>, value: impl Into<String>) -> Self {
        self.options.push(FieldOption { label: label.map(str::to_owned), value: value.into() });
        self
    }
    /// To be filled in.
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }
    /// The first value.
    pub fn first(&self) -> Option<&str> {
        self.values.first().map(String::as_str)
    }
    /// Its type; `text-single` where it is absent.
    pub fn kind(&self) -> &FieldType {
        self.type_.as_ref().unwrap_or(&FieldType::TextSingle)
    }
}

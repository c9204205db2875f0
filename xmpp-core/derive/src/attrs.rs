//! What `#[xml(...)]` says.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::{Attribute, Error, Expr, LitStr, Result, Type};

/// `#[xml(name = "…", ns = …)]` on a struct, an enum or a variant.
#[derive(Default)]
pub(crate) struct ElementAttrs {
    pub(crate) name: Option<LitStr>,
    pub(crate) ns: Option<Expr>,
    /// `unknown`: the variant that takes every other element.
    pub(crate) unknown: bool,
}

impl ElementAttrs {
    pub(crate) fn parse(attrs: &[Attribute]) -> Result<Self> {
        let mut out = ElementAttrs::default();
        for attr in attrs.iter().filter(|a| a.path().is_ident("xml")) {
            attr.parse_nested_meta(|meta| {
                if meta.path.is_ident("name") {
                    let name: LitStr = meta.value()?.parse()?;
                    check_name(&name)?;
                    once(&mut out.name, name, meta.path.span())
                } else if meta.path.is_ident("ns") {
                    once(&mut out.ns, meta.value()?.parse()?, meta.path.span())
                } else if meta.path.is_ident("unknown") {
                    out.unknown = true;
                    Ok(())
                } else {
                    Err(meta.error("here `xml` takes `name = \"…\"` and `ns = …`"))
                }
            })?;
        }
        Ok(out)
    }
}

/// Where a field's value lives.
pub(crate) enum Place {
    Attr(Option<LitStr>),
    Lang,
    Text,
    Child,
    Children,
    ChildText(LitStr),
    Flag(LitStr),
    Unknown,
}

/// Value of a field that is absent on the wire.
pub(crate) enum Fallback {
    None,
    Default,
    Expr(Box<Expr>),
}

/// `#[xml(...)]` on a field.
pub(crate) struct FieldAttrs {
    pub(crate) place: Place,
    pub(crate) fallback: Fallback,
    pub(crate) ns: Option<Expr>,
}

const PLACES: &str = "say where the field lives: #[xml(attr)], #[xml(attr = \"name\")], #[xml(lang)], #[xml(text)], \
                      #[xml(child)], #[xml(children)], #[xml(child_text = \"name\")], #[xml(flag = \"name\")] or \
                      #[xml(unknown)]";

impl FieldAttrs {
    pub(crate) fn parse(attrs: &[Attribute], field: Span) -> Result<Self> {
        let mut place = None;
        let mut fallback = Fallback::None;
        let mut ns = None;
        for attr in attrs.iter().filter(|a| a.path().is_ident("xml")) {
            attr.parse_nested_meta(|meta| {
                let span = meta.path.span();
                let word = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
                let found = match word.as_str() {
                    "attr" if meta.input.peek(syn::Token![=]) => Place::Attr(Some(meta.value()?.parse()?)),
                    "attr" => Place::Attr(None),
                    "lang" => Place::Lang,
                    "text" => Place::Text,
                    "child" => Place::Child,
                    "children" => Place::Children,
                    "child_text" => Place::ChildText(meta.value()?.parse()?),
                    "flag" => Place::Flag(meta.value()?.parse()?),
                    "unknown" => Place::Unknown,
                    "ns" => return once(&mut ns, meta.value()?.parse()?, span),
                    "default" if meta.input.peek(syn::Token![=]) => {
                        fallback = Fallback::Expr(Box::new(meta.value()?.parse()?));
                        return Ok(());
                    }
                    "default" => {
                        fallback = Fallback::Default;
                        return Ok(());
                    }
                    "optional" => return Err(meta.error("an optional field is an `Option<…>`; drop the word")),
                    _ => return Err(meta.error(PLACES)),
                };
                if let Place::Attr(Some(n)) | Place::ChildText(n) | Place::Flag(n) = &found {
                    check_name(n)?;
                }
                once(&mut place, found, span)
            })?;
        }
        let place = place.ok_or_else(|| Error::new(field, PLACES))?;
        if ns.is_some() && !matches!(place, Place::Attr(_) | Place::ChildText(_) | Place::Flag(_)) {
            return Err(Error::new(field, "`ns` goes with `attr`, `child_text` and `flag`; a child brings its own"));
        }
        if !matches!(fallback, Fallback::None)
            && matches!(place, Place::Children | Place::Flag(_) | Place::Unknown | Place::Lang)
        {
            return Err(Error::new(field, "`default` means nothing here: absence already has a value"));
        }
        Ok(FieldAttrs { place, fallback, ns })
    }
}

/// How often a field may occur, read off its type.
pub(crate) enum Shape<'a> {
    One(&'a Type),
    Optional(&'a Type),
    Many(&'a Type),
}

impl<'a> Shape<'a> {
    pub(crate) fn of(ty: &'a Type) -> Self {
        if let Some(inner) = argument_of(ty, "Option") {
            Shape::Optional(inner)
        } else if let Some(inner) = argument_of(ty, "Vec") {
            Shape::Many(inner)
        } else {
            Shape::One(ty)
        }
    }
}

fn argument_of<'a>(ty: &'a Type, wrapper: &str) -> Option<&'a Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last()?;
    if last.ident != wrapper {
        return None;
    }
    let syn::PathArguments::AngleBracketed(args) = &last.arguments else { return None };
    match args.args.first()? {
        syn::GenericArgument::Type(inner) => Some(inner),
        _ => None,
    }
}

fn once<T>(slot: &mut Option<T>, value: T, span: Span) -> Result<()> {
    if slot.replace(value).is_some() {
        return Err(Error::new(span, "said twice"));
    }
    Ok(())
}

fn check_name(name: &LitStr) -> Result<()> {
    let text = name.value();
    let ok = text.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
    if ok {
        Ok(())
    } else {
        Err(Error::new(name.span(), "not an XML name without prefix (write `ns` for a namespace)"))
    }
}

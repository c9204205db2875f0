//! `#[derive(TextValue)]`: an enum whose variants are words in an attribute or a text.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, LitStr, Result, Variant};

enum Word {
    Value(LitStr),
    /// `Other(String)`: keeps words that the enum does not know.
    Other,
}

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let Data::Enum(data) = &input.data else {
        return Err(Error::new_spanned(&input.ident, "TextValue is derived for enums; other types implement it"));
    };
    let mut from = Vec::new();
    let mut to = Vec::new();
    let mut known: Vec<String> = Vec::new();
    let mut other = None;
    for variant in &data.variants {
        let ident = &variant.ident;
        match word(variant)? {
            Word::Value(value) => {
                if known.contains(&value.value()) {
                    return Err(Error::new(value.span(), "two variants with the same value"));
                }
                known.push(value.value());
                from.push(quote!(#value => ::core::result::Result::Ok(Self::#ident),));
                to.push(quote!(Self::#ident => ::std::borrow::Cow::Borrowed(#value),));
            }
            Word::Other => {
                if other.replace(ident).is_some() {
                    return Err(Error::new_spanned(variant, "one variant takes the other words"));
                }
                to.push(
                    quote!(Self::#ident(__v) => ::std::borrow::Cow::Borrowed(::core::convert::AsRef::as_ref(__v)),),
                );
            }
        }
    }
    let rest = match other {
        Some(ident) => quote!(_ => ::core::result::Result::Ok(Self::#ident(::core::convert::From::from(__text)))),
        None => {
            let expected = format!("one of {}", known.join(", "));
            quote!(_ => ::core::result::Result::Err(::xmpp_core::payload::ValueError::expected(#expected)))
        }
    };
    let ident = &input.ident;
    Ok(quote! {
        #[automatically_derived]
        impl ::xmpp_core::payload::TextValue for #ident {
            fn from_text(__text: &str) -> ::core::result::Result<Self, ::xmpp_core::payload::ValueError> {
                match __text.trim_ascii() {
                    #(#from)*
                    #rest
                }
            }
            fn to_text(&self) -> ::std::borrow::Cow<'_, str> {
                match self { #(#to)* }
            }
        }
    })
}

fn word(variant: &Variant) -> Result<Word> {
    let mut found = None;
    for attr in variant.attrs.iter().filter(|a| a.path().is_ident("xml")) {
        attr.parse_nested_meta(|meta| {
            if meta.path.is_ident("value") {
                found = Some(Word::Value(meta.value()?.parse()?));
                Ok(())
            } else if meta.path.is_ident("other") {
                found = Some(Word::Other);
                Ok(())
            } else {
                Err(meta.error("a variant takes `value = \"…\"` or `other`"))
            }
        })?;
    }
    let fits = match (&found, &variant.fields) {
        (Some(Word::Value(_)), Fields::Unit) => true,
        (Some(Word::Other), Fields::Unnamed(f)) => f.unnamed.len() == 1,
        _ => false,
    };
    match found {
        Some(word) if fits => Ok(word),
        _ => Err(Error::new_spanned(
            variant,
            "write #[xml(value = \"word\")] on a variant without fields, or #[xml(other)] on one that holds a `String`",
        )),
    }
}

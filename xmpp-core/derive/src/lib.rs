//! `#[derive(Payload)]` and `#[derive(TextValue)]` for `xmpp-core`: typed values that read themselves from an element
//! and write themselves to a `Writer`. The attributes are described at `xmpp_core::payload`.

mod attrs;
mod element;
mod enums;
mod fields;
mod value;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Derives `xmpp_core::payload::Payload` for a struct (one element) or an enum (one of several elements).
#[proc_macro_derive(Payload, attributes(xml))]
pub fn payload(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    element::expand(&input).unwrap_or_else(|e| e.to_compile_error()).into()
}

/// Derives `xmpp_core::payload::TextValue` for an enum whose variants are words.
#[proc_macro_derive(TextValue, attributes(xml))]
pub fn text_value(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    value::expand(&input).unwrap_or_else(|e| e.to_compile_error()).into()
}

#[cfg(test)]
mod tests;

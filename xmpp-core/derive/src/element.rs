//! `#[derive(Payload)]` on structs; enums are next door.

use crate::attrs::ElementAttrs;
use crate::fields::FieldSet;
use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Result};

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    match &input.data {
        Data::Struct(data) => expand_struct(input, &data.fields),
        Data::Enum(data) => crate::enums::expand(input, data),
        Data::Union(_) => Err(Error::new_spanned(&input.ident, "a union is no payload")),
    }
}

fn expand_struct(input: &DeriveInput, fields: &syn::Fields) -> Result<TokenStream> {
    let attrs = ElementAttrs::parse(&input.attrs)?;
    let (Some(name), Some(ns)) = (&attrs.name, &attrs.ns) else {
        return Err(Error::new_spanned(
            &input.ident,
            "a payload needs its element: #[xml(name = \"query\", ns = \"urn:example\")]",
        ));
    };
    let set = FieldSet::parse(fields)?;
    let (read, write, pattern) = (set.read(&quote!(Self)), set.write(), set.pattern(&quote!(Self)));
    let ident = &input.ident;
    let (impl_generics, ty_generics, where_clause) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics ::xmpp_core::payload::Payload for #ident #ty_generics #where_clause {
            const NAME: &'static str = #name;
            const NS: &'static str = #ns;
            fn read(
                __el: ::xmpp_core::xml::ElementRef<'_>,
            ) -> ::core::result::Result<Self, ::xmpp_core::payload::PayloadError> {
                if !__el.is(#name, <Self as ::xmpp_core::payload::Payload>::NS) {
                    return ::core::result::Result::Err(::xmpp_core::payload::PayloadError::other_element(#name));
                }
                <Self as ::xmpp_core::payload::Payload>::read_matched(__el)
            }
            fn read_matched(
                __el: ::xmpp_core::xml::ElementRef<'_>,
            ) -> ::core::result::Result<Self, ::xmpp_core::payload::PayloadError> {
                const __NAME: &str = #name;
                let __ns: &'static str = <Self as ::xmpp_core::payload::Payload>::NS;
                let _ = (__ns, __el);
                #read
            }
            fn write(&self, __w: &mut ::xmpp_core::xml::Writer) {
                let __ns: &'static str = <Self as ::xmpp_core::payload::Payload>::NS;
                let #pattern = self;
                __w.open(#name, __ns);
                #write
                __w.close();
            }
        }
    })
}

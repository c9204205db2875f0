//! `#[derive(Payload)]` on enums: one of several elements.

use crate::attrs::ElementAttrs;
use crate::fields::FieldSet;
use proc_macro2::TokenStream;
use quote::quote;
use syn::{DataEnum, DeriveInput, Error, Fields, Result, Variant};

/// What one variant contributes to each method.
struct Arm {
    /// `(name, namespace)`; absent for the variant that takes all others.
    name: Option<TokenStream>,
    matches: TokenStream,
    read: TokenStream,
    write: TokenStream,
}

pub(crate) fn expand(input: &DeriveInput, data: &DataEnum) -> Result<TokenStream> {
    let outer = ElementAttrs::parse(&input.attrs)?;
    if let Some(name) = &outer.name {
        return Err(Error::new(name.span(), "the variants of an enum carry the element names; a struct has one"));
    }
    let arms = data.variants.iter().map(|v| arm(v, &outer)).collect::<Result<Vec<_>>>()?;
    let names: Vec<_> = arms.iter().filter_map(|a| a.name.as_ref()).collect();
    if names.is_empty() {
        return Err(Error::new_spanned(&input.ident, "no variant names an element"));
    }
    let matches = arms.iter().map(|a| &a.matches);
    let reads = arms.iter().map(|a| &a.read);
    let writes = arms.iter().map(|a| &a.write);
    let ident = &input.ident;
    let title = ident.to_string();
    let (impl_generics, ty_generics, where_clause) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics ::xmpp_core::payload::Payload for #ident #ty_generics #where_clause {
            const NAME: &'static str = <Self as ::xmpp_core::payload::Payload>::NAMES[0].0;
            const NS: &'static str = <Self as ::xmpp_core::payload::Payload>::NAMES[0].1;
            const NAMES: &'static [(&'static str, &'static str)] = &[#(#names),*];
            fn matches(__el: ::xmpp_core::xml::ElementRef<'_>) -> bool {
                #(#matches)||*
            }
            fn read(
                __el: ::xmpp_core::xml::ElementRef<'_>,
            ) -> ::core::result::Result<Self, ::xmpp_core::payload::PayloadError> {
                #(#reads)*
                #[allow(unreachable_code)]
                ::core::result::Result::Err(::xmpp_core::payload::PayloadError::other_element(#title))
            }
            fn write(&self, __w: &mut ::xmpp_core::xml::Writer) {
                match self { #(#writes)* }
            }
        }
    })
}

fn arm(variant: &Variant, outer: &ElementAttrs) -> Result<Arm> {
    let attrs = ElementAttrs::parse(&variant.attrs)?;
    let ident = &variant.ident;
    if attrs.unknown {
        single_field(variant, "the `unknown` variant holds one `xml::Stanza`")?;
        return Ok(Arm {
            name: None,
            matches: quote!(true),
            read: quote! { return ::core::result::Result::Ok(Self::#ident(__el.to_stanza())); },
            write: quote! { Self::#ident(__v) => __w.element(__v.root()), },
        });
    }
    let Some(name) = &attrs.name else {
        let ty = single_field(variant, "name the element, #[xml(name = \"…\")], or hold one payload")?;
        return Ok(Arm {
            name: Some(quote!((
                <#ty as ::xmpp_core::payload::Payload>::NAME,
                <#ty as ::xmpp_core::payload::Payload>::NS
            ))),
            matches: quote!(<#ty as ::xmpp_core::payload::Payload>::matches(__el)),
            read: quote! {
                if <#ty as ::xmpp_core::payload::Payload>::matches(__el) {
                    return <#ty as ::xmpp_core::payload::Payload>::read_matched(__el).map(Self::#ident);
                }
            },
            write: quote! { Self::#ident(__v) => ::xmpp_core::payload::Payload::write(__v, __w), },
        });
    };
    let Some(ns) = attrs.ns.as_ref().or(outer.ns.as_ref()) else {
        return Err(Error::new(name.span(), "no namespace: put `ns = …` here or on the enum"));
    };
    let set = FieldSet::parse(&variant.fields)?;
    let (read, write) = (set.read(&quote!(Self::#ident)), set.write());
    let pattern = set.pattern(&quote!(Self::#ident));
    Ok(Arm {
        name: Some(quote!((#name, #ns))),
        matches: quote!(__el.is(#name, #ns)),
        read: quote! {
            if __el.is(#name, #ns) {
                const __NAME: &str = #name;
                let __ns: &'static str = #ns;
                let _ = __ns;
                return #read;
            }
        },
        write: quote! {
            #pattern => {
                let __ns: &'static str = #ns;
                __w.open(#name, __ns);
                #write
                __w.close();
            }
        },
    })
}

fn single_field<'a>(variant: &'a Variant, hint: &str) -> Result<&'a syn::Type> {
    match &variant.fields {
        Fields::Unnamed(f) if f.unnamed.len() == 1 => Ok(&f.unnamed[0].ty),
        _ => Err(Error::new_spanned(variant, hint)),
    }
}

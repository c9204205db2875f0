//! What the derives say when they are used wrongly.
#![allow(clippy::unwrap_used)]

use syn::{DeriveInput, parse_quote};

fn payload_error(input: DeriveInput) -> String {
    crate::element::expand(&input).unwrap_err().to_string()
}

fn value_error(input: DeriveInput) -> String {
    crate::value::expand(&input).unwrap_err().to_string()
}

#[test]
fn an_element_needs_name_and_namespace() {
    for input in [
        parse_quote!(
            struct S;
        ),
        parse_quote!(
            #[xml(name = "s")]
            struct S;
        ),
        parse_quote!(
            #[xml(ns = "urn:s")]
            struct S;
        ),
    ] {
        assert!(payload_error(input).starts_with("a payload needs its element"));
    }
    let input = parse_quote!(
        #[xml(name = "a:s", ns = "urn:s")]
        struct S;
    );
    assert!(payload_error(input).starts_with("not an XML name"));
    let input = parse_quote!(
        #[xml(name = "s", name = "t", ns = "urn:s")]
        struct S;
    );
    assert_eq!(payload_error(input), "said twice");
    let input = parse_quote!(
        #[xml(named = "s", ns = "urn:s")]
        struct S;
    );
    assert!(payload_error(input).starts_with("here `xml` takes"));
}

#[test]
fn a_field_needs_a_place() {
    let field = |field: proc_macro2::TokenStream| {
        payload_error(parse_quote!(
            #[xml(name = "s", ns = "urn:s")]
            struct S {
                #field
            }
        ))
    };
    for (tokens, message) in [
        (quote::quote!(a: String), "say where the field lives"),
        (quote::quote!(#[xml(atr)] a: String), "say where the field lives"),
        (quote::quote!(#[xml(attr, text)] a: String), "said twice"),
        (quote::quote!(#[xml(attr, optional)] a: String), "an optional field is an `Option<…>`"),
        (quote::quote!(#[xml(attr, default)] a: Option<String>), "an `Option` is `None` when absent"),
        (quote::quote!(#[xml(attr)] a: Vec<String>), "this place has one value"),
        (quote::quote!(#[xml(attr = "a b")] a: String), "not an XML name"),
        (quote::quote!(#[xml(lang)] a: String), "`lang` is an `Option<String>`"),
        (quote::quote!(#[xml(child)] a: Vec<T>), "a list of children is"),
        (quote::quote!(#[xml(child, ns = "urn:x")] a: T), "`ns` goes with"),
        (quote::quote!(#[xml(children)] a: T), "`children` is a `Vec<…>`"),
        (quote::quote!(#[xml(children, default)] a: Vec<T>), "`default` means nothing here"),
        (quote::quote!(#[xml(unknown)] a: Stanza), "`unknown` is a `Vec<xml::Stanza>`"),
        (quote::quote!(#[xml(flag = "x")] a: u8), "`flag` is a `bool`"),
        (quote::quote!(#[xml(text)] a: String, #[xml(text)] b: String), "an element has one text"),
        (quote::quote!(#[xml(unknown)] a: Vec<S>, #[xml(unknown)] b: Vec<S>), "one field takes what is unknown"),
    ] {
        let said = field(tokens.clone());
        assert!(said.starts_with(message), "{tokens}: {said}");
    }
}

#[test]
fn an_enum_names_elements_in_its_variants() {
    for (input, message) in [
        (
            parse_quote!(
                #[xml(name = "e")]
                enum E {
                    A,
                }
            ),
            "the variants of an enum carry",
        ),
        (
            parse_quote!(
                #[xml(ns = "urn:e")]
                enum E {
                    A,
                }
            ),
            "name the element",
        ),
        (
            parse_quote!(
                enum E {
                    #[xml(name = "a")]
                    A,
                }
            ),
            "no namespace",
        ),
        (
            parse_quote!(
                enum E {
                    #[xml(unknown)]
                    A(Stanza),
                }
            ),
            "no variant names an element",
        ),
        (
            parse_quote!(
                enum E {
                    #[xml(unknown)]
                    A,
                }
            ),
            "the `unknown` variant holds",
        ),
        (
            parse_quote!(
                union E {
                    a: u8,
                }
            ),
            "a union is no payload",
        ),
    ] {
        let said = payload_error(input);
        assert!(said.starts_with(message), "{said}");
    }
}

#[test]
fn a_word_needs_its_value() {
    for (input, message) in [
        (
            parse_quote!(
                struct S;
            ),
            "TextValue is derived for enums",
        ),
        (
            parse_quote!(
                enum E {
                    A,
                }
            ),
            "write #[xml(value",
        ),
        (
            parse_quote!(
                enum E {
                    #[xml(value = "a")]
                    A(u8),
                }
            ),
            "write #[xml(value",
        ),
        (
            parse_quote!(
                enum E {
                    #[xml(value = "a")]
                    A,
                    #[xml(value = "a")]
                    B,
                }
            ),
            "two variants with the same value",
        ),
        (
            parse_quote!(
                enum E {
                    #[xml(other)]
                    A(String),
                    #[xml(other)]
                    B(String),
                }
            ),
            "one variant takes the other words",
        ),
    ] {
        let said = value_error(input);
        assert!(said.starts_with(message), "{said}");
    }
}

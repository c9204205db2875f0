//! Reading and writing the fields of one element.

use crate::attrs::{Fallback, FieldAttrs, Place, Shape};
use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::spanned::Spanned;
use syn::{Error, Expr, Fields, Ident, LitStr, Member, Result, Type};

/// All fields of an element's struct or variant, in order.
pub(crate) struct FieldSet<'a> {
    fields: Vec<Field<'a>>,
}

struct Field<'a> {
    member: Member,
    /// The local variable that holds the value, when reading and when writing.
    var: Ident,
    ty: &'a Type,
    attrs: FieldAttrs,
}

impl<'a> FieldSet<'a> {
    pub(crate) fn parse(fields: &'a Fields) -> Result<Self> {
        let mut out = Vec::new();
        let mut singles = [false; 2];
        for (i, (field, member)) in fields.iter().zip(fields.members()).enumerate() {
            let attrs = FieldAttrs::parse(&field.attrs, field.span())?;
            let single = match attrs.place {
                Place::Text => Some((0, "an element has one text")),
                Place::Unknown => Some((1, "one field takes what is unknown")),
                _ => None,
            };
            if let Some((which, message)) = single
                && std::mem::replace(&mut singles[which], true)
            {
                return Err(Error::new_spanned(field, message));
            }
            let field = Field { member, var: format_ident!("__f{i}"), ty: &field.ty, attrs };
            field.check()?;
            out.push(field);
        }
        Ok(FieldSet { fields: out })
    }

    /// `Self { a: __f0, … }`, for both constructing and taking apart; works for tuples too.
    pub(crate) fn pattern(&self, path: &TokenStream) -> TokenStream {
        let members = self.fields.iter().map(|f| &f.member);
        let vars = self.fields.iter().map(|f| &f.var);
        quote!(#path { #(#members: #vars),* })
    }

    /// An expression of type `Result<Self, PayloadError>`; `__el`, `__NAME` and `__ns` are in scope.
    pub(crate) fn read(&self, path: &TokenStream) -> TokenStream {
        let prepare = self.fields.iter().map(Field::prepare);
        let unknown = self.fields.iter().filter(|f| matches!(f.attrs.place, Place::Unknown)).map(Field::on_child);
        let on_child: Vec<_> = self
            .fields
            .iter()
            .filter(|f| !matches!(f.attrs.place, Place::Unknown) && f.is_child())
            .map(Field::on_child)
            .chain(unknown)
            .collect();
        let finish = self.fields.iter().map(Field::finish);
        let walk = (!on_child.is_empty()).then(|| {
            quote! {
                #[allow(clippy::never_loop)]
                for __c in __el.children() {
                    #(#on_child)*
                }
            }
        });
        let value = self.pattern(path);
        quote! {
            {
                #(#prepare)*
                #walk
                #(#finish)*
                ::core::result::Result::Ok(#value)
            }
        }
    }

    /// Statements that write attributes, then content in the order of the fields.
    pub(crate) fn write(&self) -> TokenStream {
        let (attrs, content): (Vec<_>, Vec<_>) =
            self.fields.iter().partition(|f| matches!(f.attrs.place, Place::Attr(_) | Place::Lang));
        let statements = attrs.into_iter().chain(content).map(Field::write);
        quote!(#(#statements)*)
    }
}

impl Field<'_> {
    fn check(&self) -> Result<()> {
        let many = matches!(Shape::of(self.ty), Shape::Many(_));
        let optional = matches!(Shape::of(self.ty), Shape::Optional(_));
        let message = match &self.attrs.place {
            Place::Attr(_) | Place::Text if many => "this place has one value; a list of bytes is `payload::Base64`",
            Place::Attr(None) if matches!(self.member, Member::Unnamed(_)) => "name it: #[xml(attr = \"…\")]",
            Place::Lang if !optional => "`lang` is an `Option<String>`",
            Place::Child if many => "a list of children is #[xml(children)]",
            Place::Children if !many => "`children` is a `Vec<…>`; one child is #[xml(child)]",
            Place::Unknown if !many => "`unknown` is a `Vec<xml::Stanza>`",
            Place::Flag(_) if !matches!(self.ty, Type::Path(p) if p.path.is_ident("bool")) => "`flag` is a `bool`",
            _ if optional && !matches!(self.attrs.fallback, Fallback::None) => {
                "an `Option` is `None` when absent; with `default` drop the `Option`"
            }
            _ => return Ok(()),
        };
        Err(Error::new_spanned(self.ty, message))
    }

    fn is_child(&self) -> bool {
        !matches!(self.attrs.place, Place::Attr(_) | Place::Lang | Place::Text)
    }

    fn inner(&self) -> &Type {
        match Shape::of(self.ty) {
            Shape::One(t) | Shape::Optional(t) | Shape::Many(t) => t,
        }
    }

    fn attr_name(&self, given: Option<&LitStr>) -> LitStr {
        match (given, &self.member) {
            (Some(name), _) => name.clone(),
            (None, Member::Named(ident)) => {
                let text = ident.to_string();
                let text = text.strip_prefix("r#").unwrap_or(&text);
                LitStr::new(text.strip_suffix('_').unwrap_or(text), ident.span())
            }
            (None, Member::Unnamed(index)) => LitStr::new("", index.span),
        }
    }

    /// `Option<T>` in `var` becomes what the field's type asks for.
    fn resolve(&self, field: TokenStream) -> TokenStream {
        let var = &self.var;
        if matches!(Shape::of(self.ty), Shape::Optional(_)) {
            return quote!();
        }
        match &self.attrs.fallback {
            Fallback::None => {
                quote!(let #var = ::xmpp_core::payload::support::required(#var, __NAME, #field)?;)
            }
            Fallback::Default => quote!(let #var = ::core::option::Option::unwrap_or_default(#var);),
            Fallback::Expr(e) => quote!(let #var = ::core::option::Option::unwrap_or_else(#var, || #e);),
        }
    }

    /// Before the children are walked: attributes and text are read, slots made.
    fn prepare(&self) -> TokenStream {
        let (var, inner) = (&self.var, self.inner());
        match &self.attrs.place {
            Place::Attr(name) => {
                let name = self.attr_name(name.as_ref());
                let get = match &self.attrs.ns {
                    None => quote!(::xmpp_core::payload::support::attr::<#inner>(__el, __NAME, #name)?),
                    Some(ns) => quote!(::xmpp_core::payload::support::attr_ns::<#inner>(__el, __NAME, #name, #ns)?),
                };
                let resolve = self.resolve(quote!(#name));
                quote!(let #var = #get; #resolve)
            }
            Place::Lang => quote!(let #var = ::xmpp_core::payload::support::lang::<#inner>(__el, __NAME)?;),
            Place::Text => match (Shape::of(self.ty), &self.attrs.fallback) {
                (Shape::One(_), Fallback::None) => {
                    quote!(let #var = ::xmpp_core::payload::support::text::<#inner>(__el, __NAME)?;)
                }
                _ => {
                    let resolve = self.resolve(quote!("text"));
                    quote!(let #var = ::xmpp_core::payload::support::text_opt::<#inner>(__el, __NAME)?; #resolve)
                }
            },
            Place::Flag(_) => quote!(let mut #var = false;),
            Place::Children | Place::Unknown => quote!(let mut #var = ::std::vec::Vec::new();),
            Place::ChildText(_) if matches!(Shape::of(self.ty), Shape::Many(_)) => {
                quote!(let mut #var = ::std::vec::Vec::<#inner>::new();)
            }
            Place::Child | Place::ChildText(_) => {
                quote!(let mut #var = ::core::option::Option::None::<#inner>;)
            }
        }
    }

    /// What to do with child `__c`, if it is this field's.
    fn on_child(&self) -> TokenStream {
        let (var, inner) = (&self.var, self.inner());
        let payload = quote!(<#inner as ::xmpp_core::payload::Payload>);
        match &self.attrs.place {
            Place::Child => quote! {
                if #payload::matches(__c) {
                    ::xmpp_core::payload::support::fill(&mut #var, #payload::read_matched(__c)?, __NAME, #payload::NAME)?;
                    continue;
                }
            },
            Place::Children => quote! {
                if #payload::matches(__c) {
                    #var.push(#payload::read_matched(__c)?);
                    continue;
                }
            },
            Place::ChildText(name) => {
                let ns = self.child_ns();
                let value = quote!(::xmpp_core::payload::support::text::<#inner>(__c, #name)?);
                let keep = match Shape::of(self.ty) {
                    Shape::Many(_) => quote!(#var.push(#value);),
                    _ => quote!(::xmpp_core::payload::support::fill(&mut #var, #value, __NAME, #name)?;),
                };
                quote!(if __c.is(#name, #ns) { #keep continue; })
            }
            Place::Flag(name) => {
                let ns = self.child_ns();
                quote!(if __c.is(#name, #ns) { #var = true; continue; })
            }
            Place::Unknown => quote!(#var.push(__c.to_stanza());),
            Place::Attr(_) | Place::Lang | Place::Text => quote!(),
        }
    }

    /// After the children: what is required must be there.
    fn finish(&self) -> TokenStream {
        let inner = self.inner();
        match &self.attrs.place {
            Place::Child => self.resolve(quote!(<#inner as ::xmpp_core::payload::Payload>::NAME)),
            Place::ChildText(name) if !matches!(Shape::of(self.ty), Shape::Many(_)) => self.resolve(quote!(#name)),
            _ => quote!(),
        }
    }

    fn child_ns(&self) -> TokenStream {
        self.attrs.ns.as_ref().map_or_else(|| quote!(__ns), |ns: &Expr| quote!(#ns))
    }

    /// Writes one occurrence, held by reference in `__v`.
    fn write_one(&self) -> TokenStream {
        let text = quote!(&::xmpp_core::payload::TextValue::to_text(__v));
        match &self.attrs.place {
            Place::Attr(name) => {
                let name = self.attr_name(name.as_ref());
                match &self.attrs.ns {
                    None => quote!(__w.attr(#name, #text);),
                    Some(ns) => quote!(__w.attr_ns(#name, #ns, #text);),
                }
            }
            Place::Lang => quote!(__w.attr_ns("lang", ::xmpp_core::xml::ns::XML, #text);),
            Place::Text => quote!(__w.text(#text);),
            Place::Child | Place::Children => quote!(::xmpp_core::payload::Payload::write(__v, __w);),
            Place::ChildText(name) => {
                let ns = self.child_ns();
                quote!(__w.text_element(#name, #ns, #text);)
            }
            Place::Unknown => quote!(__w.element(__v.root());),
            Place::Flag(_) => quote!(),
        }
    }

    fn write(&self) -> TokenStream {
        let (var, one) = (&self.var, self.write_one());
        if let Place::Flag(name) = &self.attrs.place {
            let ns = self.child_ns();
            return quote!(if *#var { __w.open(#name, #ns); __w.close(); });
        }
        match (Shape::of(self.ty), &self.attrs.fallback) {
            (Shape::Optional(_), _) => quote!(if let ::core::option::Option::Some(__v) = #var { #one }),
            (Shape::Many(_), _) => quote!(for __v in #var { #one }),
            (Shape::One(_), Fallback::None) => quote!({ let __v = #var; #one }),
            (Shape::One(ty), Fallback::Default) => quote! {
                if *#var != <#ty as ::core::default::Default>::default() { let __v = #var; #one }
            },
            (Shape::One(_), Fallback::Expr(e)) => quote!(if *#var != #e { let __v = #var; #one }),
        }
    }
}

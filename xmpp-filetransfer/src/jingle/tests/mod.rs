//! Sessions (XEP-0166).

mod properties;
mod rules;
mod support;
mod transcript;

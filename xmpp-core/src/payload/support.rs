//! What derived code calls, so that less of it is generated. Not part of the API.

use super::{PayloadError, TextValue};
use crate::xml::ElementRef;

pub fn attr<T: TextValue>(
    el: ElementRef<'_>,
    element: &'static str,
    name: &'static str,
) -> Result<Option<T>, PayloadError> {
    el.attr(name).map(|v| T::from_text(&v)).transpose().map_err(|e| PayloadError::value(element, name, e))
}

pub fn attr_ns<T: TextValue>(
    el: ElementRef<'_>,
    element: &'static str,
    name: &'static str,
    ns: &'static str,
) -> Result<Option<T>, PayloadError> {
    el.attr_ns(name, ns).map(|v| T::from_text(&v)).transpose().map_err(|e| PayloadError::value(element, name, e))
}

pub fn lang<T: TextValue>(el: ElementRef<'_>, element: &'static str) -> Result<Option<T>, PayloadError> {
    el.lang().map(|v| T::from_text(&v)).transpose().map_err(|e| PayloadError::value(element, "xml:lang", e))
}

pub fn text<T: TextValue>(el: ElementRef<'_>, element: &'static str) -> Result<T, PayloadError> {
    T::from_text(&el.text()).map_err(|e| PayloadError::value(element, "text", e))
}

pub fn text_opt<T: TextValue>(el: ElementRef<'_>, element: &'static str) -> Result<Option<T>, PayloadError> {
    let text = el.text();
    if text.is_empty() {
        return Ok(None);
    }
    T::from_text(&text).map(Some).map_err(|e| PayloadError::value(element, "text", e))
}

pub fn required<T>(value: Option<T>, element: &'static str, field: &'static str) -> Result<T, PayloadError> {
    value.ok_or_else(|| PayloadError::missing(element, field))
}

pub fn fill<T>(slot: &mut Option<T>, value: T, element: &'static str, field: &'static str) -> Result<(), PayloadError> {
    match slot {
        Some(_) => Err(PayloadError::duplicate(element, field)),
        None => {
            *slot = Some(value);
            Ok(())
        }
    }
}

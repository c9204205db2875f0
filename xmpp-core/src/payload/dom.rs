//! Payloads from the `minidom` world.

use super::{Payload, PayloadError, PayloadProblem};
use crate::xml::{ElementRef, Writer};
use minidom::Element;

/// Any type that converts from and to [`minidom::Element`] as a payload: all of `xmpp-parsers`, for instance.
///
/// Such types do not tell their name beforehand, so [`matches`](Payload::matches) converts on trial; a named payload is
/// several times cheaper to find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dom<T>(pub T);

impl<T> Payload for Dom<T>
where
    T: TryFrom<Element> + Into<Element> + Clone,
    <T as TryFrom<Element>>::Error: std::fmt::Display,
{
    const NAME: &'static str = "";
    const NS: &'static str = "";
    const NAMES: &'static [(&'static str, &'static str)] = &[];

    fn matches(el: ElementRef<'_>) -> bool {
        T::try_from(el.to_element()).is_ok()
    }
    fn read(el: ElementRef<'_>) -> Result<Self, PayloadError> {
        T::try_from(el.to_element()).map(Dom).map_err(|e| PayloadError {
            element: "element",
            field: "element",
            problem: PayloadProblem::Refused(e.to_string()),
        })
    }
    fn write(&self, w: &mut Writer) {
        w.minidom(&self.0.clone().into());
    }
}

//! SASL failures on the wire (RFC 6120 §6.5).

use crate::{
    sasl::{SaslCondition, SaslFailure},
    xml::{ElementRef, Writer, ns},
};

/// Reads `<failure/>`; an unknown condition counts as `not-authorized`.
pub(super) fn read_failure(root: ElementRef<'_>) -> SaslFailure {
    let condition = root.children().find(|child| child.ns() == ns::SASL && child.name() != "text");
    let condition = condition.map_or(SaslCondition::NotAuthorized, |child| SaslCondition::from_name(child.name()));
    SaslFailure { condition, text: root.child("text", ns::SASL).map(|text| text.text().into_owned()) }
}

/// Writes `<failure/>`.
pub(super) fn write_failure(failure: &SaslFailure, out: &mut Writer) {
    out.open("failure", ns::SASL);
    out.open(failure.condition.as_str(), ns::SASL);
    out.close();
    if let Some(text) = &failure.text {
        out.text_element("text", ns::SASL, text);
    }
    out.close();
}

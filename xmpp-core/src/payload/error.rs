//! Why an element is not the payload that it claims to be.

use super::ValueError;

/// Why a payload could not be read. Answered with `bad-request`, or `jid-malformed` where an address was bad: see
/// `StanzaError::from`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("<{element}>: {field} {problem}")]
pub struct PayloadError {
    /// Local name of the element.
    pub element: &'static str,
    /// Attribute or child, or "text"; the element's own name when all of it is wrong.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: PayloadProblem,
}

/// What is wrong with one field of a payload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadProblem {
    /// Required and not there.
    #[error("is missing")]
    Missing,
    /// More often than once.
    #[error("occurs more than once")]
    Duplicate,
    /// There, with a value that it cannot have.
    #[error("should be {0}")]
    Value(ValueError),
    /// Another element altogether.
    #[error("is another element")]
    OtherElement,
    /// A foreign type refused it; its own words.
    #[error("was refused: {0}")]
    Refused(String),
    /// A rule of the payload's specification, named.
    #[error("breaks a rule: {0}")]
    Rule(&'static str),
}

impl PayloadError {
    /// A required part is absent.
    pub fn missing(element: &'static str, field: &'static str) -> Self {
        PayloadError { element, field, problem: PayloadProblem::Missing }
    }
    /// A single part occurs twice.
    pub fn duplicate(element: &'static str, field: &'static str) -> Self {
        PayloadError { element, field, problem: PayloadProblem::Duplicate }
    }
    /// A value that the part cannot have.
    pub fn value(element: &'static str, field: &'static str, error: ValueError) -> Self {
        PayloadError { element, field, problem: PayloadProblem::Value(error) }
    }
    /// Not this element.
    pub fn other_element(element: &'static str) -> Self {
        PayloadError { element, field: element, problem: PayloadProblem::OtherElement }
    }
    /// A rule across fields, in words.
    pub fn rule(element: &'static str, rule: &'static str) -> Self {
        PayloadError { element, field: element, problem: PayloadProblem::Rule(rule) }
    }
}

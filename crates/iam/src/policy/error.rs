//! Why a document was refused.

use std::fmt;

/// Why a policy document was refused, where, and a sentence for the person who wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct PolicyError {
    /// The rule that was broken, for programs.
    pub problem: PolicyProblem,
    /// The statement it is about, counted from 0; none if it is about the whole document.
    pub statement: Option<usize>,
    /// A sentence without the place.
    pub message: String,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.statement {
            Some(index) => write!(f, "Statement {}: {}", index + 1, self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// The rule that a document broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyProblem {
    /// Longer than its kind may be, or too many statements.
    TooLarge,
    /// A character outside tab, line ends and U+0020 to U+00FF.
    Character,
    /// Not JSON, or nested too deep.
    Json,
    /// A name twice in one object.
    DuplicateKey,
    /// A value of the wrong JSON type, or an empty list where something must stand.
    Shape,
    /// An element that no policy has.
    UnknownElement,
    /// An element that must be there is missing.
    MissingElement,
    /// An element that this kind of policy must not have, or that excludes another.
    ForbiddenElement,
    /// Another version than 2012-10-17 and 2008-10-17.
    Version,
    /// Another effect than Allow and Deny, or one that this kind must not have.
    Effect,
    /// A `Sid` with a character it must not have, or that was used before.
    Sid,
    /// An action without service, or of a service that this kind does not speak about.
    Action,
    /// A resource that is no ARN.
    Resource,
    /// A principal that cannot exist.
    Principal,
    /// A condition operator that does not exist.
    Operator,
    /// A condition key without service.
    ConditionKey,
    /// A value that the operator cannot compare.
    ConditionValue,
}

impl PolicyError {
    pub(super) fn new(problem: PolicyProblem, message: impl Into<String>) -> PolicyError {
        PolicyError { problem, statement: None, message: message.into() }
    }

    pub(super) fn at(self, statement: usize) -> PolicyError {
        PolicyError { statement: Some(statement), ..self }
    }
}

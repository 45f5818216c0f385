//! Policy documents: read once, evaluated many times.

mod document;
mod error;
mod json;
mod kind;
pub mod limits;
mod pretty;
#[cfg(test)]
mod tests;
mod validate;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

pub use error::{PolicyError, PolicyProblem};
pub use kind::{PolicyKind, ResourceKind};

use self::document::Document;
use crate::Effect;
use crate::statement::Statement;

/// A policy document, compiled. A clone shares it.
#[derive(Clone)]
pub struct Policy {
    compiled: Arc<Compiled>,
    label: Option<Arc<str>>,
}

struct Compiled {
    kind: PolicyKind,
    text: Box<str>,
    statements: Box<[Statement]>,
}

impl Policy {
    /// Reads a document that is to be saved, and refuses whatever AWS refuses of this kind.
    ///
    /// Only form is checked. Whether principals exist, and how many policies may be
    /// attached, is for the caller to know.
    pub fn parse(text: &str, kind: PolicyKind) -> Result<Policy, PolicyError> {
        validate::text(text, kind)?;
        let document = Document::parse(text)?;
        validate::document(&document, kind)?;
        Ok(Policy::compile(text, kind, &document))
    }

    /// Reads a document that was saved or that the system made itself.
    ///
    /// The rules of the kind are not applied, and what has no meaning matches nothing: a
    /// rule that came later must not lock an account out of its data. A document without
    /// whole statements is refused here too, so that no deny is lost.
    pub fn parse_stored(text: &str, kind: PolicyKind) -> Result<Policy, PolicyError> {
        Ok(Policy::compile(text, kind, &Document::parse(text)?))
    }

    fn compile(text: &str, kind: PolicyKind, document: &Document) -> Policy {
        let compiled =
            Compiled { kind, text: text.into(), statements: document.compile_statements(kind) };
        Policy { compiled: Arc::new(compiled), label: None }
    }

    /// The same policy under a name: the ARN of a managed policy, or an inline policy's name.
    /// Decisions tell it.
    #[must_use]
    pub fn with_label(mut self, label: &str) -> Policy {
        self.label = Some(label.into());
        self
    }

    /// The name given by [`Policy::with_label`].
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// Which kind of policy this was read as.
    pub fn kind(&self) -> PolicyKind {
        self.compiled.kind
    }

    /// The document as it was given.
    pub fn text(&self) -> &str {
        &self.compiled.text
    }

    /// How much the document counts against the limit of its kind, in characters.
    pub fn size(&self) -> usize {
        self.kind().size_of(self.text())
    }

    /// How many statements there are.
    pub fn statement_count(&self) -> usize {
        self.compiled.statements.len()
    }

    /// The `Sid` of a statement, counted from 0.
    pub fn sid(&self, statement: usize) -> Option<&str> {
        self.compiled.statements.get(statement)?.sid.as_deref()
    }

    /// The effect of a statement, counted from 0.
    pub fn effect(&self, statement: usize) -> Option<Effect> {
        self.compiled.statements.get(statement).map(|it| it.effect)
    }

    pub(crate) fn statements(&self) -> &[Statement] {
        &self.compiled.statements
    }

    /// The ARNs of users, roles and role sessions that the document names, each once.
    ///
    /// They must exist when a policy is saved. Whoever saves it finds out their unique ids
    /// (for a session that of its role) and keeps them for [`Policy::with_principal_ids`].
    pub fn principal_arns(&self) -> BTreeSet<&str> {
        let principals = self.statements().iter().filter_map(|it| it.principals.as_ref());
        principals.flat_map(|it| it.elements()).filter_map(|it| it.arn()).collect()
    }

    /// The same policy, where each ARN that `ids` knows means that unique id and nothing
    /// else: who is made again under an old name inherits nothing.
    #[must_use]
    pub fn with_principal_ids(&self, ids: &BTreeMap<String, String>) -> Policy {
        let resolve = |statement: &Statement| Statement {
            principals: statement.principals.as_ref().map(|it| it.with_ids(ids)),
            ..statement.clone()
        };
        let compiled = Compiled {
            kind: self.kind(),
            text: self.text().into(),
            statements: self.statements().iter().map(resolve).collect(),
        };
        Policy { compiled: Arc::new(compiled), label: self.label.clone() }
    }

    /// The document in the form in which ECR gives policies back.
    pub fn to_pretty(&self) -> String {
        self.to_pretty_with(|_| None)
    }

    /// Like [`Policy::to_pretty`], with some AWS principals written differently.
    ///
    /// `rename` is asked for each value under `AWS`, an ARN or a unique id, and returns what
    /// stands there now: the unique id of what was deleted, the ARN of an id, or `None` to
    /// keep it.
    pub fn to_pretty_with(&self, rename: impl Fn(&str) -> Option<String>) -> String {
        pretty::print(self.text(), &rename)
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Compiled { kind, text, .. } = &*self.compiled;
        f.debug_struct("Policy")
            .field("kind", kind)
            .field("label", &self.label)
            .field("text", text)
            .finish_non_exhaustive()
    }
}

/// Two policies are equal if they share one compiled document under one name.
impl PartialEq for Policy {
    fn eq(&self, other: &Policy) -> bool {
        Arc::ptr_eq(&self.compiled, &other.compiled) && self.label == other.label
    }
}

impl Eq for Policy {}

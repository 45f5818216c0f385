//! The grammar of a document: which elements there are and what may stand in them.
//!
//! What a kind of policy forbids is not known here, that is [`super::validate`]'s.

use super::error::{PolicyError, PolicyProblem};
use super::json::{self, Node};
use super::kind::{PolicyKind, Presence};
use super::limits;
use crate::action::Actions;
use crate::condition::Condition;
use crate::principals::{Element, Principals};
use crate::resource::Resources;
use crate::statement::{Effect, Statement};

type Result<T> = std::result::Result<T, PolicyError>;

/// A document, with its elements told apart.
pub(super) struct Document {
    /// Version 2012-10-17: only there `${…}` is a variable.
    pub(super) variables: bool,
    pub(super) statements: Vec<RawStatement>,
}

pub(super) struct RawStatement {
    pub(super) sid: Option<String>,
    pub(super) effect: Effect,
    pub(super) principal: Option<Choice<Vec<RawPrincipal>>>,
    pub(super) action: Choice<Vec<String>>,
    pub(super) resource: Option<Choice<Vec<String>>>,
    pub(super) conditions: Vec<RawCondition>,
}

/// An element, or its `Not…` form.
pub(super) struct Choice<T> {
    pub(super) not: bool,
    pub(super) value: T,
}

/// A principal: `*` without type, or a type and a name.
pub(super) struct RawPrincipal {
    pub(super) kind: Option<String>,
    pub(super) name: String,
}

pub(super) struct RawCondition {
    pub(super) operator: String,
    pub(super) key: String,
    pub(super) values: Vec<String>,
}

impl Document {
    pub(super) fn parse(text: &str) -> Result<Document> {
        if text.len() > limits::TEXT_BYTES {
            return Err(PolicyError::new(
                PolicyProblem::TooLarge,
                format!("A policy is at most {} bytes of text.", limits::TEXT_BYTES),
            ));
        }
        let Node::Object(members) = json::parse(text)? else {
            return Err(shape("A policy is a JSON object."));
        };
        // No version means the first one.
        let mut variables = false;
        let mut statements = None;
        for (name, node) in members {
            match name.as_str() {
                "Version" => variables = version(node)?,
                "Id" => drop(string("Id", node)?),
                "Statement" => statements = Some(statement_list(node)?),
                _ => return Err(unknown(&name)),
            }
        }
        let statements = statements.ok_or_else(|| missing("Statement"))?;
        Ok(Document { variables, statements })
    }

    pub(super) fn compile_statements(&self, kind: PolicyKind) -> Box<[Statement]> {
        self.statements.iter().map(|it| it.compile(kind, self.variables)).collect()
    }
}

fn statement_list(node: Node) -> Result<Vec<RawStatement>> {
    let nodes = match node {
        Node::List(nodes) => nodes,
        node => vec![node],
    };
    if nodes.is_empty() {
        return Err(shape("Statement must not be an empty list."));
    }
    if nodes.len() > limits::STATEMENTS {
        let message = format!("A policy has at most {} statements.", limits::STATEMENTS);
        return Err(PolicyError::new(PolicyProblem::TooLarge, message));
    }
    let parse = |(index, node)| RawStatement::parse(node).map_err(|error| error.at(index));
    nodes.into_iter().enumerate().map(parse).collect()
}

impl RawStatement {
    fn parse(node: Node) -> Result<RawStatement> {
        let Node::Object(members) = node else {
            return Err(shape("A statement is a JSON object."));
        };
        let (mut sid, mut effect, mut conditions) = (None, None, Vec::new());
        let (mut principal, mut action, mut resource) = (None, None, None);
        for (name, node) in members {
            let not = name.starts_with("Not");
            match name.as_str() {
                "Sid" => sid = Some(string("Sid", node)?),
                "Effect" => effect = Some(parse_effect(node)?),
                "Principal" | "NotPrincipal" => {
                    choose(&mut principal, "Principal", not, principals(&name, node)?)?;
                }
                "Action" | "NotAction" => {
                    choose(&mut action, "Action", not, strings(&name, node)?)?;
                }
                "Resource" | "NotResource" => {
                    choose(&mut resource, "Resource", not, strings(&name, node)?)?;
                }
                "Condition" => conditions = parse_conditions(node)?,
                _ => return Err(unknown(&name)),
            }
        }
        let effect = effect.ok_or_else(|| missing("Effect"))?;
        let action = action.ok_or_else(|| missing("Action or NotAction"))?;
        Ok(RawStatement { sid, effect, principal, action, resource, conditions })
    }

    /// A statement that lacks what its kind requires speaks about nobody, or about nothing:
    /// a stored repository policy without principals must not be one for everybody.
    fn compile(&self, kind: PolicyKind, variables: bool) -> Statement {
        let element =
            |raw: &RawPrincipal| raw.element().unwrap_or_else(|_| Element::nobody(&raw.name));
        let principals = match &self.principal {
            Some(choice) => {
                Some(Principals::new(choice.not, choice.value.iter().map(element).collect()))
            }
            None if matches!(kind, PolicyKind::Resource(_)) => Some(Principals::new(false, vec![])),
            None => None,
        };
        let resources = match &self.resource {
            Some(choice) => Some(Resources::compile(choice.not, &choice.value, variables)),
            None if kind.resource() == Presence::Required => {
                Some(Resources::compile(false, &[], variables))
            }
            None => None,
        };
        let condition =
            |it: &RawCondition| Condition::compile(&it.operator, &it.key, &it.values, variables);
        Statement {
            sid: self.sid.as_deref().map(Into::into),
            effect: self.effect,
            principals,
            actions: Actions::compile(self.action.not, &self.action.value),
            resources,
            conditions: self.conditions.iter().map(condition).collect(),
        }
    }
}

impl RawPrincipal {
    /// The principal, or the end of a sentence that says what is wrong with it.
    pub(super) fn element(&self) -> std::result::Result<Element, &'static str> {
        match &self.kind {
            None if self.name == "*" => Ok(Element::everyone()),
            None => Err("must be \"*\" or an object"),
            Some(kind) => Element::parse(kind, &self.name),
        }
    }
}

/// Keeps an element, unless it or its opposite was there already.
fn choose<T>(place: &mut Option<Choice<T>>, name: &str, not: bool, value: T) -> Result<()> {
    if place.is_some() {
        let message = format!("{name} and Not{name} exclude each other.");
        return Err(PolicyError::new(PolicyProblem::ForbiddenElement, message));
    }
    *place = Some(Choice { not, value });
    Ok(())
}

/// Whether the version has policy variables.
fn version(node: Node) -> Result<bool> {
    match string("Version", node)?.as_str() {
        "2012-10-17" => Ok(true),
        "2008-10-17" => Ok(false),
        _ => Err(PolicyError::new(
            PolicyProblem::Version,
            "Version must be 2012-10-17 or 2008-10-17.",
        )),
    }
}

fn parse_effect(node: Node) -> Result<Effect> {
    match string("Effect", node)?.as_str() {
        "Allow" => Ok(Effect::Allow),
        "Deny" => Ok(Effect::Deny),
        _ => Err(PolicyError::new(PolicyProblem::Effect, "Effect must be Allow or Deny.")),
    }
}

fn principals(name: &str, node: Node) -> Result<Vec<RawPrincipal>> {
    let types = match node {
        Node::Text(name) => return Ok(vec![RawPrincipal { kind: None, name }]),
        Node::Object(types) if !types.is_empty() => types,
        _ => return Err(shape(format!("{name} is \"*\" or an object with a type."))),
    };
    let mut principals = Vec::new();
    for (kind, node) in types {
        for name in strings(name, node)? {
            principals.push(RawPrincipal { kind: Some(kind.clone()), name });
        }
    }
    Ok(principals)
}

fn parse_conditions(node: Node) -> Result<Vec<RawCondition>> {
    let mut conditions = Vec::new();
    for (operator, keys) in object("Condition", node)? {
        for (key, node) in object(&operator, keys)? {
            let values = match node {
                Node::List(nodes) => nodes.into_iter().map(scalar).collect::<Result<_>>()?,
                node => vec![scalar(node)?],
            };
            conditions.push(RawCondition { operator: operator.clone(), key, values });
        }
    }
    Ok(conditions)
}

fn object(name: &str, node: Node) -> Result<Vec<(String, Node)>> {
    match node {
        Node::Object(members) => Ok(members),
        _ => Err(shape(format!("{name} must be an object."))),
    }
}

/// A condition's value: numbers and booleans need no quotes there.
fn scalar(node: Node) -> Result<String> {
    match node {
        Node::Text(text) | Node::Number(text) => Ok(text),
        Node::Bool(value) => Ok(value.to_string()),
        Node::Null | Node::List(_) | Node::Object(_) => {
            Err(shape("The values of a condition are text, numbers or booleans."))
        }
    }
}

fn string(name: &str, node: Node) -> Result<String> {
    match node {
        Node::Text(text) => Ok(text),
        _ => Err(shape(format!("{name} must be text."))),
    }
}

fn strings(name: &str, node: Node) -> Result<Vec<String>> {
    match node {
        Node::List(nodes) if nodes.is_empty() => {
            Err(shape(format!("{name} must not be an empty list.")))
        }
        Node::List(nodes) => nodes.into_iter().map(|node| string(name, node)).collect(),
        node => Ok(vec![string(name, node)?]),
    }
}

fn shape(message: impl Into<String>) -> PolicyError {
    PolicyError::new(PolicyProblem::Shape, message)
}

fn missing(name: &str) -> PolicyError {
    PolicyError::new(PolicyProblem::MissingElement, format!("{name} is missing."))
}

fn unknown(name: &str) -> PolicyError {
    PolicyError::new(PolicyProblem::UnknownElement, format!("There is no element `{name}`."))
}

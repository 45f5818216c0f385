//! What a kind of policy requires and forbids, asked when a document is saved.

use std::collections::BTreeSet;

use super::document::{Document, RawCondition, RawStatement};
use super::error::{PolicyError, PolicyProblem};
use super::kind::{PolicyKind, Presence, ResourceKind};
use crate::condition::{Operands, Operator};
use crate::statement::Effect;

type Result = std::result::Result<(), PolicyError>;

fn refuse(problem: PolicyProblem, message: impl Into<String>) -> Result {
    Err(PolicyError::new(problem, message))
}

/// What can be said of a text before it is read.
pub(super) fn text(text: &str, kind: PolicyKind) -> Result {
    if kind.size_of(text) > kind.size_limit() {
        let limit = kind.size_limit();
        return refuse(
            PolicyProblem::TooLarge,
            format!("This policy may have {limit} characters."),
        );
    }
    let allowed = |it: char| matches!(it, '\t' | '\n' | '\r' | '\u{20}'..='\u{ff}');
    match text.chars().find(|&it| !allowed(it)) {
        Some(it) => refuse(
            PolicyProblem::Character,
            format!("The character U+{:04X} must not stand in a policy.", u32::from(it)),
        ),
        None => Ok(()),
    }
}

pub(super) fn document(document: &Document, kind: PolicyKind) -> Result {
    let mut sids = BTreeSet::new();
    for (index, statement) in document.statements.iter().enumerate() {
        check(statement, kind, document.variables).map_err(|error| error.at(index))?;
        let sid = statement.sid.as_deref().filter(|sid| !sid.is_empty());
        if kind.has_strict_sids() && sid.is_some_and(|sid| !sids.insert(sid)) {
            return refuse(PolicyProblem::Sid, "A Sid must be used once in a policy.")
                .map_err(|error| error.at(index));
        }
    }
    Ok(())
}

fn check(statement: &RawStatement, kind: PolicyKind, variables: bool) -> Result {
    sid(statement, kind)?;
    principal(statement, kind)?;
    action(statement, kind)?;
    resource(statement, kind)?;
    if kind == PolicyKind::ResourceControl {
        resource_control(statement)?;
    }
    statement.conditions.iter().try_for_each(|it| condition(it, variables))
}

fn sid(statement: &RawStatement, kind: PolicyKind) -> Result {
    let sid = statement.sid.as_deref().unwrap_or_default();
    if kind.has_strict_sids() && !sid.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return refuse(PolicyProblem::Sid, "A Sid is made of letters A-Z, a-z and digits.");
    }
    Ok(())
}

fn presence(name: &str, given: bool, wanted: Presence) -> Result {
    match (wanted, given) {
        (Presence::Required, false) => {
            refuse(PolicyProblem::MissingElement, format!("{name} is missing."))
        }
        (Presence::Forbidden, true) => refuse(
            PolicyProblem::ForbiddenElement,
            format!("This kind of policy must not have {name}."),
        ),
        _ => Ok(()),
    }
}

fn principal(statement: &RawStatement, kind: PolicyKind) -> Result {
    presence("Principal", statement.principal.is_some(), kind.principal())?;
    let Some(choice) = &statement.principal else {
        return Ok(());
    };
    if choice.not && kind == PolicyKind::Resource(ResourceKind::RoleTrust) {
        return presence("NotPrincipal", true, Presence::Forbidden);
    }
    for principal in &choice.value {
        if let Err(problem) = principal.element() {
            let message = format!("The principal `{}` {problem}.", principal.name);
            return refuse(PolicyProblem::Principal, message);
        }
    }
    Ok(())
}

fn action(statement: &RawStatement, kind: PolicyKind) -> Result {
    for text in &statement.action.value {
        let message = match text.split_once(':') {
            // A trust policy that allows everything was surely meant for something else.
            None if text == "*" && kind.services() != Some("sts") => continue,
            None => Some("must begin with the prefix of a service, as in ecr:PutImage"),
            Some((service, name)) => action_problem(service, name, kind),
        };
        if let Some(message) = message {
            return refuse(PolicyProblem::Action, format!("The action `{text}` {message}."));
        }
    }
    Ok(())
}

fn action_problem(service: &str, name: &str, kind: PolicyKind) -> Option<&'static str> {
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let is_service = service == "*" || (!service.is_empty() && service.bytes().all(letters));
    let repository = kind == PolicyKind::Resource(ResourceKind::EcrRepository);
    match kind.services() {
        _ if !is_service => Some("does not begin with the prefix of a service"),
        _ if name.contains(':') => Some("has more than one colon"),
        Some(only) if !service.eq_ignore_ascii_case(only) => {
            Some("is of a service that this policy does not speak about")
        }
        // A token is for the whole registry, so no repository can grant one.
        _ if repository && name.eq_ignore_ascii_case("GetAuthorizationToken") => {
            Some("is not about a repository")
        }
        _ => None,
    }
}

fn resource(statement: &RawStatement, kind: PolicyKind) -> Result {
    presence("Resource", statement.resource.is_some(), kind.resource())?;
    let Some(choice) = &statement.resource else {
        return Ok(());
    };
    for text in choice.value.iter().filter(|text| *text != "*") {
        let mut pieces = text.splitn(6, ':');
        let is_arn = pieces.next() == Some("arn") && pieces.clone().count() == 5;
        if !is_arn {
            let message = format!("The resource `{text}` must be an ARN of six pieces or *.");
            return refuse(PolicyProblem::Resource, message);
        }
        if pieces.take(4).any(|piece| piece.contains("${")) {
            let message = format!("The resource `{text}` has a variable before its fifth colon.");
            return refuse(PolicyProblem::Resource, message);
        }
    }
    Ok(())
}

/// What customers may write in a resource control policy is less than elsewhere.
fn resource_control(statement: &RawStatement) -> Result {
    if statement.effect == Effect::Allow {
        return refuse(PolicyProblem::Effect, "A resource control policy can only deny.");
    }
    if statement.action.not {
        return presence("NotAction", true, Presence::Forbidden);
    }
    let everyone = statement.principal.as_ref().is_some_and(|choice| {
        !choice.not && choice.value.iter().all(|it| it.kind.is_none() && it.name == "*")
    });
    if !everyone {
        return refuse(PolicyProblem::Principal, "The principal of this policy must be \"*\".");
    }
    Ok(())
}

fn condition(condition: &RawCondition, variables: bool) -> Result {
    let RawCondition { operator: name, key, values } = condition;
    let Some(operator) = Operator::parse(name) else {
        let message = format!("There is no condition operator `{name}`.");
        return refuse(PolicyProblem::Operator, message);
    };
    if key.split_once(':').is_none_or(|(service, rest)| service.is_empty() || rest.is_empty()) {
        let message = format!("The condition key `{key}` must have the form service:name.");
        return refuse(PolicyProblem::ConditionKey, message);
    }
    for value in values {
        if let Some(expected) = Operands::problem(operator.test, value, variables) {
            let message = format!("`{value}` under {name} must be {expected}.");
            return refuse(PolicyProblem::ConditionValue, message);
        }
    }
    Ok(())
}

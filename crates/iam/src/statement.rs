//! A statement that was understood, and whether it speaks about a request.

use crate::action::Actions;
use crate::condition::Condition;
use crate::principals::Principals;
use crate::resource::Resources;
use crate::{Context, Principal};

/// What a statement does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// Permits, unless something denies.
    Allow,
    /// Forbids, whatever permits.
    Deny,
}

/// How a resource policy means the caller, from the weakest to the strongest.
///
/// It decides what must hold besides: an account only delegates to its own policies, a
/// role is bound by boundary and session policy, the other two are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PrincipalMatch {
    /// By the account.
    Account,
    /// By the role of the session, or the user of the federated user.
    Role,
    /// By `*`.
    Wildcard,
    /// By the user, the session or the service itself.
    Direct,
}

#[derive(Clone, Debug)]
pub(crate) struct Statement {
    pub(crate) sid: Option<Box<str>>,
    pub(crate) effect: Effect,
    /// `None`: whoever the policy is attached to.
    pub(crate) principals: Option<Principals>,
    pub(crate) actions: Actions,
    /// `None`: whatever the policy is attached to.
    pub(crate) resources: Option<Resources>,
    pub(crate) conditions: Box<[Condition]>,
}

/// A request, in the form that statements are held against.
pub(crate) struct Asked<'a> {
    pub(crate) principal: &'a Principal,
    pub(crate) has_boundary: bool,
    /// In lower case.
    pub(crate) action: String,
    /// `None` for an action that has no resource.
    pub(crate) resource: Option<[&'a str; 6]>,
    pub(crate) context: &'a Context<'a>,
}

impl Statement {
    /// How the statement means the caller, if all of it applies. A statement without
    /// principals means the caller directly.
    pub(crate) fn applies(&self, asked: &Asked<'_>) -> Option<PrincipalMatch> {
        if !self.actions.matches(&asked.action) {
            return None;
        }
        let found = match &self.principals {
            Some(principals) => {
                principals.matches(self.effect, asked.principal, asked.has_boundary)?
            }
            None => PrincipalMatch::Direct,
        };
        if let Some(resources) = &self.resources
            && !resources.matches(asked.resource.as_ref(), asked.context)
        {
            return None;
        }
        self.conditions.iter().all(|it| it.holds(asked.context)).then_some(found)
    }
}

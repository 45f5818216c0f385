//! What was decided, and why.

use std::fmt;

use crate::{Policy, PrincipalMatch};

/// The outcome of an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The request is permitted.
    Allow,
    /// A statement forbids it.
    ExplicitDeny,
    /// Nothing forbids it, but something that would have to permit it does not.
    ImplicitDeny,
}

impl Outcome {
    /// As the IAM simulator calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Allow => "allowed",
            Outcome::ExplicitDeny => "explicitDeny",
            Outcome::ImplicitDeny => "implicitDeny",
        }
    }
}

/// The kind of policy that decided: which one allowed, which one denied, or which one is
/// missing an allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// None: the caller is the root user of its account.
    Root,
    /// A policy of the user, of one of its groups, or of the role.
    Identity,
    /// The permissions boundary.
    Boundary,
    /// A policy of the session.
    Session,
    /// A policy of the resource: of a repository, a registry, a key.
    Resource,
    /// The trust policy of a role.
    RoleTrust,
    /// A service control policy.
    ServiceControl,
    /// A resource control policy.
    ResourceControl,
    /// The policy of the private endpoint.
    Endpoint,
}

impl Layer {
    /// The layer's name in AWS's sentences, with its article.
    fn with_article(self) -> &'static str {
        match self {
            Layer::Root | Layer::Identity => "an identity-based policy",
            Layer::Boundary => "a permissions boundary",
            Layer::Session => "a session policy",
            Layer::Resource => "a resource-based policy",
            Layer::RoleTrust => "the role trust policy",
            Layer::ServiceControl => "a service control policy",
            Layer::ResourceControl => "a resource control policy",
            Layer::Endpoint => "a VPC endpoint policy",
        }
    }

    fn without_article(self) -> &'static str {
        let name = self.with_article();
        name.split_once(' ').map_or(name, |(_, name)| name)
    }
}

/// A statement that applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchedStatement {
    /// The policy it stands in.
    pub policy: Policy,
    /// Its place there, counted from 0.
    pub index: usize,
}

impl MatchedStatement {
    /// The statement's `Sid`.
    pub fn sid(&self) -> Option<&str> {
        self.policy.sid(self.index)
    }
}

/// What was decided about a request, and what decided it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Allowed or not.
    pub outcome: Outcome,
    /// Which kind of policy made it so.
    pub layer: Layer,
    /// The statement that allowed or denied; none for an implicit deny and for root.
    pub statement: Option<MatchedStatement>,
    /// The resource's statement beside `statement`, where an allow took both sides.
    pub resource_statement: Option<MatchedStatement>,
    /// How the resource's policy meant the caller, if its allow was part of the decision.
    pub principal_match: Option<PrincipalMatch>,
    /// Whether the caller may learn the name of the policy that denied.
    pub(crate) shows_policy: bool,
}

impl Decision {
    /// Whether the request may go on.
    pub fn is_allowed(&self) -> bool {
        self.outcome == Outcome::Allow
    }

    /// AWS's sentence for a denial.
    ///
    /// `principal` is the caller as in [`crate::Principal::arn`], `action` as AWS spells it,
    /// and `resource` an ARN, or `*` for an action without resources. An explicit deny ends
    /// with the ARN of its policy, if it has one that the caller may see.
    pub fn denial_sentence(&self, principal: &str, action: &str, resource: &str) -> String {
        let reason = self.denial_reason(action);
        format!(
            "User: {principal} is not authorized to perform: {action} on resource: {resource} \
             {reason}"
        )
    }

    fn denial_reason(&self, action: &str) -> String {
        // AWS reports the missing allow of an organization's policy as a deny.
        let organization = matches!(self.layer, Layer::ServiceControl | Layer::ResourceControl);
        if self.outcome == Outcome::ExplicitDeny || organization {
            let mut reason = format!("with an explicit deny in {}", self.layer.with_article());
            let arn = self.statement.as_ref().and_then(|it| it.policy.label());
            if let Some(arn) = arn.filter(|arn| self.shows_policy && arn.starts_with("arn:")) {
                reason.push_str(": ");
                reason.push_str(arn);
            }
            return reason;
        }
        format!("because no {} allows the {action} action", self.layer.without_article())
    }
}

/// One line for a log, a test or a simulator: what decided, in our own words.
impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.outcome {
            Outcome::Allow if self.layer == Layer::Root => {
                return f.write_str("allowed: root of the account");
            }
            Outcome::Allow => "allowed by",
            Outcome::ExplicitDeny => "denied by",
            Outcome::ImplicitDeny => "not allowed by",
        };
        write!(f, "{verb} {}", self.layer.with_article())?;
        for matched in [&self.statement, &self.resource_statement].into_iter().flatten() {
            write!(f, "; statement {}", matched.index + 1)?;
            if let Some(sid) = matched.sid() {
                write!(f, " ({sid})")?;
            }
            if let Some(label) = matched.policy.label() {
                write!(f, " of {label}")?;
            }
        }
        Ok(())
    }
}

//! The access decision: a caller, an action, a resource, and every policy that speaks of them.

use std::sync::Arc;

use bonded_iam::{
    AccountId, Context, EvaluationRequest, Policies, Policy, ResourcePolicy, evaluate,
};

use crate::audit::seconds;
use crate::identity::Identity;
use crate::request::Request;

/// What is asked, with the condition keys that only this action has.
#[derive(Clone, Debug)]
pub struct Ask {
    /// `ecr:PutImage`
    pub action: &'static str,
    context: Vec<(String, AskValues)>,
}

#[derive(Clone, Debug)]
enum AskValues {
    One(String),
    Many(Vec<String>),
}

impl From<&'static str> for Ask {
    fn from(action: &'static str) -> Ask {
        Ask::new(action)
    }
}

impl Ask {
    pub fn new(action: &'static str) -> Ask {
        Ask { action, context: Vec::new() }
    }

    /// Adds a key: `aws:TagKeys` is a set, all others are single.
    pub fn with(mut self, key: &str, values: Vec<String>) -> Ask {
        let values = match key {
            "aws:TagKeys" => AskValues::Many(values),
            _ => AskValues::One(values.into_iter().next().unwrap_or_default()),
        };
        self.context.push((key.to_owned(), values));
        self
    }

    /// Adds the keys of tags that the request brings; none without tags.
    pub fn with_request_tags(mut self, tags: &[(String, String)]) -> Ask {
        if tags.is_empty() {
            return self;
        }
        for (key, value) in tags {
            self = self.with(&format!("aws:RequestTag/{key}"), vec![value.clone()]);
        }
        let keys = tags.iter().map(|(key, _)| key.clone()).collect();
        self.with("aws:TagKeys", keys)
    }
}

/// What a decision is about, as one snapshot shows it.
pub struct Subject<'a> {
    pub ask: &'a Ask,
    /// An ARN, or `*` for actions without a resource.
    pub resource_arn: &'a str,
    pub resource_account: &'a AccountId,
    pub resource_tags: &'a [(String, String)],
    pub repository_policy: Option<&'a Policy>,
    pub registry_policy: Option<&'a Policy>,
    /// The registry policy speaks of three actions only (ecr.md C.5).
    pub registry_scope_v1: bool,
}

impl Request {
    /// Decides, and keeps who asked for the record.
    ///
    /// # Errors
    /// AWS's sentence of the denial.
    pub fn decide(&self, identity: &Arc<Identity>, subject: &Subject<'_>) -> Result<(), String> {
        self.remember(identity);
        let context = self.context(identity, subject);
        let mut resource = Vec::with_capacity(2);
        resource.extend(subject.repository_policy.map(ResourcePolicy::new));
        resource.extend(subject.registry_policy.map(|policy| match subject.registry_scope_v1 {
            true => ResourcePolicy::registry_v1(policy),
            false => ResourcePolicy::new(policy),
        }));
        let decision = evaluate(&EvaluationRequest {
            principal: &identity.principal,
            action: subject.ask.action,
            resource: subject.resource_arn,
            resource_account: *subject.resource_account,
            resource_level: subject.resource_arn != "*",
            context: &context,
            policies: Policies {
                identity: &identity.policies,
                boundary: identity.boundary.as_ref(),
                resource: &resource,
                ..Policies::default()
            },
        });
        if decision.is_allowed() {
            return Ok(());
        }
        Err(decision.denial_sentence(&identity.arn, subject.ask.action, subject.resource_arn))
    }

    /// The condition keys that a registry can know (iam.md A.7).
    fn context<'a>(&'a self, identity: &'a Identity, subject: &'a Subject<'_>) -> Context<'a> {
        let mut context = Context::new();
        context.set_principal(&identity.principal);
        context.set("aws:CurrentTime", seconds(self.time));
        context.set("aws:EpochTime", (self.time / 1_000_000).to_string());
        context.set("aws:SecureTransport", if self.origin.secure { "true" } else { "false" });
        context.set("aws:SourceIp", self.origin.address.to_canonical().to_string());
        context.set("aws:RequestedRegion", self.region.as_str());
        context.set("aws:ViaAWSService", "false");
        context.set("aws:ResourceAccount", subject.resource_account.to_string());
        if let Some(agent) = &self.origin.user_agent {
            context.set("aws:UserAgent", agent.as_str());
        }
        if let Some(referer) = &self.origin.referer {
            context.set("aws:referer", referer.as_str());
        }
        for (key, value) in subject.resource_tags {
            context.set(format!("aws:ResourceTag/{key}"), value.as_str());
            context.set(format!("ecr:ResourceTag/{key}"), value.as_str());
        }
        for (key, values) in &subject.ask.context {
            match values {
                AskValues::One(value) => context.set(key.as_str(), value.as_str()),
                AskValues::Many(values) => {
                    context.set_many(key.as_str(), values.iter().map(String::as_str));
                }
            }
        }
        context
    }
}

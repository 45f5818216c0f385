//! The decision: what all policies together say about a request.
//!
//! Each set of policies has a verdict: a deny, an allow, or nothing. A deny in any set
//! wins. After that the sets that only limit are asked, and then those that grant. The
//! order of sets only chooses which of several denies is told.

use crate::decision::{Decision, Layer, MatchedStatement, Outcome};
use crate::policy::{PolicyKind, ResourceKind};
use crate::statement::{Asked, Effect};
use crate::{AccountId, Context, Policy, Principal, PrincipalKind, PrincipalMatch};

/// A policy of the resource, and what of it counts.
#[derive(Clone, Copy, Debug)]
pub struct ResourcePolicy<'a> {
    policy: &'a Policy,
    only_actions: Option<&'static [&'static str]>,
}

impl<'a> ResourcePolicy<'a> {
    /// A policy that speaks about every action.
    pub fn new(policy: &'a Policy) -> ResourcePolicy<'a> {
        ResourcePolicy { policy, only_actions: None }
    }

    /// The policy of an ECR registry with the policy scope V1: it is heard on three actions
    /// ([`crate::actions::REGISTRY_POLICY_V1`]), its denies too.
    pub fn registry_v1(policy: &'a Policy) -> ResourcePolicy<'a> {
        ResourcePolicy { policy, only_actions: Some(&crate::actions::REGISTRY_POLICY_V1) }
    }

    fn is_heard(&self, action: &str) -> bool {
        self.only_actions.is_none_or(|only| only.iter().any(|it| it.eq_ignore_ascii_case(action)))
    }
}

/// The policies that speak about a request. Absent ones limit nothing and grant nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Policies<'a> {
    /// Those of the user and its groups, or of the role.
    pub identity: &'a [Policy],
    /// The permissions boundary of the user or role.
    pub boundary: Option<&'a Policy>,
    /// Those given when the session was made: each inner list must allow (the inline policy
    /// is one list, the managed ones together another). None if none was given.
    pub session: &'a [Vec<Policy>],
    /// Those of the resource: for ECR the repository's and the registry's.
    pub resource: &'a [ResourcePolicy<'a>],
    /// Service control policies of the caller's account, a list for each level from the
    /// organization's root down. None for the management account.
    pub service_control: &'a [Vec<Policy>],
    /// Resource control policies of the resource's account, likewise.
    pub resource_control: &'a [Vec<Policy>],
    /// That of the private endpoint through which the request came.
    pub endpoint: Option<&'a Policy>,
}

/// A question: may this caller do this to that?
#[derive(Clone, Copy, Debug)]
pub struct EvaluationRequest<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// `service:Name`, in any case.
    pub action: &'a str,
    /// The ARN of the resource, or `*` for an action that has none.
    pub resource: &'a str,
    /// Whose the resource is; for an action without resource, the account it is done in.
    pub resource_account: AccountId,
    /// Whether the action has resources. If not, only `*` matches, in a Deny as well.
    pub resource_level: bool,
    /// What else is known about the request.
    pub context: &'a Context<'a>,
    /// The policies that speak about it.
    pub policies: Policies<'a>,
}

/// What one set of policies says.
#[derive(Clone, Copy)]
enum Verdict<'a> {
    Deny(Found<'a>),
    Allow(Found<'a>),
    Silent,
}

/// A statement that applied.
#[derive(Clone, Copy)]
struct Found<'a> {
    policy: &'a Policy,
    index: usize,
    how: PrincipalMatch,
}

impl<'a> Verdict<'a> {
    /// The verdict of policies that are united: any deny, else the strongest allow.
    fn of(policies: impl IntoIterator<Item = &'a Policy>, asked: &Asked<'_>) -> Verdict<'a> {
        let mut allow: Option<Found<'a>> = None;
        for policy in policies {
            for (index, statement) in policy.statements().iter().enumerate() {
                // An allow that means the caller directly cannot become stronger.
                let done = allow.is_some_and(|it| it.how == PrincipalMatch::Direct);
                if done && statement.effect == Effect::Allow {
                    continue;
                }
                let Some(how) = statement.applies(asked) else {
                    continue;
                };
                let found = Found { policy, index, how };
                match statement.effect {
                    Effect::Deny => return Verdict::Deny(found),
                    Effect::Allow if allow.is_none_or(|it| how > it.how) => allow = Some(found),
                    Effect::Allow => {}
                }
            }
        }
        allow.map_or(Verdict::Silent, Verdict::Allow)
    }

    /// The verdict of lists each of which must allow.
    fn of_levels(levels: &'a [Vec<Policy>], asked: &Asked<'_>) -> Option<Verdict<'a>> {
        levels.iter().map(|level| Verdict::of(level, asked)).reduce(|left, right| {
            match (left, right) {
                (deny @ Verdict::Deny(_), _) | (_, deny @ Verdict::Deny(_)) => deny,
                (Verdict::Silent, _) | (_, Verdict::Silent) => Verdict::Silent,
                (allow, Verdict::Allow(_)) => allow,
            }
        })
    }

    fn allow(self) -> Option<Found<'a>> {
        match self {
            Verdict::Allow(found) => Some(found),
            Verdict::Deny(_) | Verdict::Silent => None,
        }
    }
}

/// What every set says. `None` where there is no such set, which limits nothing.
struct Verdicts<'a> {
    service_control: Option<Verdict<'a>>,
    resource_control: Option<Verdict<'a>>,
    endpoint: Option<Verdict<'a>>,
    resource: Verdict<'a>,
    boundary: Option<Verdict<'a>>,
    session: Option<Verdict<'a>>,
    identity: Verdict<'a>,
}

impl<'a> Verdicts<'a> {
    fn of(request: &EvaluationRequest<'a>, asked: &Asked<'_>) -> Verdicts<'a> {
        let Policies { identity, boundary, session, resource, .. } = request.policies;
        let Policies { service_control, resource_control, endpoint, .. } = request.policies;
        let principal = request.principal;
        let one = |policy: Option<&'a Policy>| policy.map(|it| Verdict::of([it], asked));
        let has_own = principal.kind.has_identity_policies();
        let heard = resource.iter().filter(|it| it.is_heard(&asked.action)).map(|it| it.policy);
        Verdicts {
            // Services, tokens and nobody have no account that an organization could limit.
            service_control: Verdict::of_levels(service_control, asked)
                .filter(|_| has_own && !principal.service_linked),
            resource_control: Verdict::of_levels(resource_control, asked)
                .filter(|_| !principal.service_linked),
            endpoint: one(endpoint),
            resource: Verdict::of(heard, asked),
            boundary: one(boundary).filter(|_| has_own),
            session: Verdict::of_levels(session, asked).filter(|_| has_own),
            identity: if has_own { Verdict::of(identity, asked) } else { Verdict::Silent },
        }
    }

    /// The first explicit deny, in the order in which one is told.
    fn deny(&self, layers: Layers) -> Option<(Layer, Found<'a>)> {
        let sets = [
            (Layer::ServiceControl, self.service_control),
            (Layer::ResourceControl, self.resource_control),
            (Layer::Endpoint, self.endpoint),
            (layers.resource, Some(self.resource)),
            (Layer::Boundary, self.boundary),
            (Layer::Session, self.session),
            (Layer::Identity, Some(self.identity)),
        ];
        sets.into_iter().find_map(|(layer, verdict)| match verdict {
            Some(Verdict::Deny(found)) => Some((layer, found)),
            _ => None,
        })
    }
}

/// What is special about the service that is asked.
#[derive(Clone, Copy)]
struct Layers {
    /// How its resource policies are called.
    resource: Layer,
    /// Its resource policy must take part, also within the account: KMS keys, role trust.
    needs_resource_policy: bool,
}

impl Layers {
    fn of(request: &EvaluationRequest<'_>, action: &str) -> Layers {
        let has = |kind| {
            let is_kind = |it: &ResourcePolicy<'_>| it.policy.kind() == PolicyKind::Resource(kind);
            request.policies.resource.iter().any(is_kind)
        };
        let resource = crate::arn::pieces(request.resource).map_or("", |[.., resource]| resource);
        let trust = has(ResourceKind::RoleTrust)
            || (action.starts_with("sts:") && resource.starts_with("role/"));
        let key = has(ResourceKind::KmsKey)
            || (action.starts_with("kms:") && resource.starts_with("key/"));
        Layers {
            resource: if trust { Layer::RoleTrust } else { Layer::Resource },
            needs_resource_policy: trust || key,
        }
    }
}

/// Decides whether a request is permitted, and says what decided it.
///
/// Total and pure: the same question has the same answer. The cost is that of matching
/// each statement once.
pub fn evaluate(request: &EvaluationRequest<'_>) -> Decision {
    let resource = crate::arn::pieces(request.resource).filter(|_| request.resource_level);
    let asked = Asked {
        principal: request.principal,
        has_boundary: request.policies.boundary.is_some(),
        action: request.action.to_ascii_lowercase(),
        resource,
        context: request.context,
    };
    let layers = Layers::of(request, &asked.action);
    let verdicts = Verdicts::of(request, &asked);
    if let Some((layer, found)) = verdicts.deny(layers) {
        return explicit(layer, found, request);
    }
    let limits = [
        (Layer::ServiceControl, verdicts.service_control),
        (Layer::ResourceControl, verdicts.resource_control),
        (Layer::Endpoint, verdicts.endpoint),
    ];
    for (layer, verdict) in limits {
        if matches!(verdict, Some(Verdict::Silent)) {
            return implicit(layer);
        }
    }
    grant(request, layers, &verdicts)
}

/// The sets that grant, when nothing denies and the organization and the endpoint permit.
fn grant(request: &EvaluationRequest<'_>, layers: Layers, verdicts: &Verdicts<'_>) -> Decision {
    let by_resource = verdicts.resource.allow();
    let principal = request.principal;
    if !principal.kind.has_identity_policies() {
        return match by_resource.filter(|it| it.how >= PrincipalMatch::Wildcard) {
            Some(found) => allowed(layers.resource, Some(found), Some(found)),
            None => implicit(layers.resource),
        };
    }
    let limit = limit(principal, verdicts);
    let own = own_policies(principal, verdicts);
    if principal.account != Some(request.resource_account) {
        // Both sides must say yes. The caller's own is named first: what the other account
        // has is not to be learned from which sentence comes back.
        return match (own, limit, by_resource) {
            (None, _, _) => implicit(Layer::Identity),
            (_, Some(layer), _) => implicit(layer),
            (_, _, None) => implicit(layers.resource),
            (Some((layer, found)), None, by_resource) => allowed(layer, found, by_resource),
        };
    }
    if let Some(found) = by_resource {
        let enough = found.how >= PrincipalMatch::Wildcard
            || (found.how == PrincipalMatch::Role && limit.is_none());
        if enough {
            return allowed(layers.resource, Some(found), Some(found));
        }
    }
    let by_role = by_resource.is_some_and(|it| it.how == PrincipalMatch::Role);
    match (own, limit) {
        (None, None) => implicit(Layer::Identity),
        (None, Some(layer)) if by_role => implicit(layer),
        (None, Some(_)) => implicit(Layer::Identity),
        (Some(_), Some(layer)) => implicit(layer),
        (Some(_), None) if layers.needs_resource_policy && by_resource.is_none() => {
            implicit(layers.resource)
        }
        (Some((layer, found)), None) => {
            allowed(layer, found, by_resource.filter(|_| layers.needs_resource_policy))
        }
    }
}

/// Which set that limits the caller's own policies does not allow, if one does not.
fn limit(principal: &Principal, verdicts: &Verdicts<'_>) -> Option<Layer> {
    let silent = |verdict: Option<Verdict<'_>>| verdict.is_some_and(|it| it.allow().is_none());
    if silent(verdicts.boundary) {
        return Some(Layer::Boundary);
    }
    // A federated user has what its session policy gives, and without one nothing.
    let lacks = principal.kind == PrincipalKind::FederatedUser && verdicts.session.is_none();
    (lacks || silent(verdicts.session)).then_some(Layer::Session)
}

/// The caller's own allow: for root there is no statement behind it.
fn own_policies<'a>(
    principal: &Principal,
    verdicts: &Verdicts<'a>,
) -> Option<(Layer, Option<Found<'a>>)> {
    match verdicts.identity.allow() {
        Some(found) => Some((Layer::Identity, Some(found))),
        None if principal.kind == PrincipalKind::Root => Some((Layer::Root, None)),
        None => None,
    }
}

fn allowed(layer: Layer, found: Option<Found<'_>>, by_resource: Option<Found<'_>>) -> Decision {
    let is_resource = matches!(layer, Layer::Resource | Layer::RoleTrust);
    Decision {
        outcome: Outcome::Allow,
        layer,
        statement: found.map(matched),
        resource_statement: by_resource.filter(|_| !is_resource).map(matched),
        principal_match: by_resource.map(|it| it.how),
        shows_policy: true,
    }
}

fn implicit(layer: Layer) -> Decision {
    Decision {
        outcome: Outcome::ImplicitDeny,
        layer,
        statement: None,
        resource_statement: None,
        principal_match: None,
        shows_policy: false,
    }
}

fn explicit(layer: Layer, found: Found<'_>, request: &EvaluationRequest<'_>) -> Decision {
    let shows_policy = match layer {
        Layer::Resource | Layer::RoleTrust | Layer::Endpoint | Layer::Root => false,
        Layer::ResourceControl => is_of_one_house(request),
        Layer::Identity | Layer::Boundary | Layer::Session | Layer::ServiceControl => true,
    };
    let statement = Some(matched(found));
    Decision { outcome: Outcome::ExplicitDeny, statement, shows_policy, ..implicit(layer) }
}

/// Whether caller and resource are of one account or one organization.
fn is_of_one_house(request: &EvaluationRequest<'_>) -> bool {
    let organization = |key| request.context.single(key);
    request.principal.account == Some(request.resource_account)
        || organization("aws:PrincipalOrgID")
            .is_some_and(|it| organization("aws:ResourceOrgID") == Some(it))
}

fn matched(found: Found<'_>) -> MatchedStatement {
    MatchedStatement { policy: found.policy.clone(), index: found.index }
}

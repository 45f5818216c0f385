//! Decisions that the shared vectors do not hold, their explanations and sentences.

use crate::{
    Context, Decision, EvaluationRequest, Layer, Outcome, Policies, Policy, PolicyKind, Principal,
    PrincipalMatch, ResourceKind, ResourcePolicy, evaluate,
};

const APP: &str = "arn:aws:ecr:us-east-1:123456789012:repository/app";
const USER: &str = "arn:aws:iam::123456789012:user/alice";
const ROLE: &str = "arn:aws:iam::123456789012:role/CI";
const SESSION: &str = "arn:aws:sts::123456789012:assumed-role/CI/run1";
const REPOSITORY: PolicyKind = PolicyKind::Resource(ResourceKind::EcrRepository);

fn policy(kind: PolicyKind, statement: &str) -> Policy {
    let text = format!("{{'Version':'2012-10-17','Statement':{{{statement}}}}}");
    Policy::parse_stored(&text.replace('\'', "\""), kind).unwrap()
}

fn allow(kind: PolicyKind) -> Policy {
    policy(kind, "'Effect':'Allow','Action':'ecr:*','Resource':'*'")
}

fn silent(kind: PolicyKind) -> Policy {
    policy(kind, "'Effect':'Allow','Action':'s3:*','Resource':'*'")
}

fn deny(kind: PolicyKind) -> Policy {
    policy(kind, "'Sid':'No','Effect':'Deny','Principal':'*','Action':'ecr:*','Resource':'*'")
}

fn names(principal: &str) -> Policy {
    let principal = format!("'Principal':{{'AWS':'{principal}'}}");
    policy(REPOSITORY, &format!("'Sid':'Pull','Effect':'Allow',{principal},'Action':'ecr:*'"))
}

fn alice() -> Principal {
    Principal::user(USER, "AIDAEXAMPLEEXAMPLE").unwrap()
}

fn session() -> Principal {
    Principal::role_session(SESSION, ROLE, "AROAEXAMPLEEXAMPLE").unwrap()
}

fn decide_for(principal: &Principal, owner: &str, policies: Policies<'_>) -> Decision {
    evaluate(&EvaluationRequest {
        principal,
        action: "ecr:PutImage",
        resource: APP,
        resource_account: owner.parse().unwrap(),
        resource_level: true,
        context: &Context::new(),
        policies,
    })
}

fn decide(policies: Policies<'_>) -> Decision {
    decide_for(&alice(), "123456789012", policies)
}

fn sentence(decision: &Decision) -> String {
    let sentence = decision.denial_sentence(USER, "ecr:PutImage", APP);
    let start =
        format!("User: {USER} is not authorized to perform: ecr:PutImage on resource: {APP} ");
    sentence.strip_prefix(&start).unwrap().to_owned()
}

#[test]
fn what_is_missing_is_told() {
    let identity = [allow(PolicyKind::Identity)];
    let boundary = silent(PolicyKind::Boundary);
    let session_policies = [vec![silent(PolicyKind::Session)]];
    let endpoint = silent(PolicyKind::Endpoint);
    let control = [vec![silent(PolicyKind::ServiceControl)]];
    let open = Policies { identity: &identity, ..Policies::default() };
    assert!(decide(open).is_allowed());
    let because = |kind: &str| format!("because no {kind} allows the ecr:PutImage action");
    for (policies, layer, expected) in [
        (Policies::default(), Layer::Identity, because("identity-based policy")),
        (
            Policies { boundary: Some(&boundary), ..open },
            Layer::Boundary,
            because("permissions boundary"),
        ),
        (
            Policies { session: &session_policies, ..open },
            Layer::Session,
            because("session policy"),
        ),
        (
            Policies { endpoint: Some(&endpoint), ..open },
            Layer::Endpoint,
            because("VPC endpoint policy"),
        ),
        (
            Policies { service_control: &control, ..open },
            Layer::ServiceControl,
            "with an explicit deny in a service control policy".to_owned(),
        ),
    ] {
        let decision = decide(policies);
        assert_eq!((decision.outcome, decision.layer), (Outcome::ImplicitDeny, layer));
        assert_eq!(sentence(&decision), expected);
    }
    let foreign = decide_for(&alice(), "999999999999", open);
    assert_eq!(sentence(&foreign), because("resource-based policy"));
    let neither = decide_for(&alice(), "999999999999", Policies::default());
    assert_eq!(sentence(&neither), because("identity-based policy"));
}

#[test]
fn a_deny_is_told_with_its_policy_where_the_caller_may_know_it() {
    let arn = "arn:aws:iam::123456789012:policy/no-push";
    let identity = [deny(PolicyKind::Identity).with_label(arn)];
    let decision = decide(Policies { identity: &identity, ..Policies::default() });
    assert_eq!(
        sentence(&decision),
        format!("with an explicit deny in an identity-based policy: {arn}")
    );
    assert_eq!(
        decision.to_string(),
        format!("denied by an identity-based policy; statement 1 (No) of {arn}")
    );
    let inline = [deny(PolicyKind::IdentityInline).with_label("no-push")];
    let decision = decide(Policies { identity: &inline, ..Policies::default() });
    assert_eq!(sentence(&decision), "with an explicit deny in an identity-based policy");

    let control = [vec![deny(PolicyKind::ResourceControl).with_label("arn:aws:organizations::1")]];
    let policies = Policies { resource_control: &control, ..Policies::default() };
    let start = "with an explicit deny in a resource control policy";
    assert_eq!(sentence(&decide(policies)), format!("{start}: arn:aws:organizations::1"));
    assert_eq!(sentence(&decide_for(&alice(), "999999999999", policies)), start);
    for (owner, shown) in [("o-mine", true), ("o-other", false)] {
        let mut context = Context::new();
        context.set("aws:PrincipalOrgID", "o-mine");
        context.set("aws:ResourceOrgID", owner);
        let decision = evaluate(&EvaluationRequest {
            principal: &alice(),
            action: "ecr:PutImage",
            resource: APP,
            resource_account: "999999999999".parse().unwrap(),
            resource_level: true,
            context: &context,
            policies,
        });
        assert_eq!(sentence(&decision) != start, shown, "{owner}");
    }
}

#[test]
fn of_several_denies_the_widest_is_told() {
    let resource = deny(REPOSITORY);
    let resource = [ResourcePolicy::new(&resource)];
    let boundary = deny(PolicyKind::Boundary);
    let identity = [deny(PolicyKind::Identity)];
    let control = [vec![deny(PolicyKind::ServiceControl)]];
    let endpoint = deny(PolicyKind::Endpoint);
    let mut policies = Policies {
        identity: &identity,
        boundary: Some(&boundary),
        resource: &resource,
        service_control: &control,
        endpoint: Some(&endpoint),
        ..Policies::default()
    };
    assert_eq!(decide(policies).layer, Layer::ServiceControl);
    policies.service_control = &[];
    assert_eq!(decide(policies).layer, Layer::Endpoint);
    policies.endpoint = None;
    assert_eq!(decide(policies).layer, Layer::Resource);
    policies.resource = &[];
    assert_eq!(decide(policies).layer, Layer::Boundary);
}

#[test]
fn an_allow_names_what_gave_it() {
    let pull = names(USER);
    let resource = [ResourcePolicy::new(&pull)];
    let decision = decide(Policies { resource: &resource, ..Policies::default() });
    assert_eq!(decision.layer, Layer::Resource);
    assert_eq!(decision.principal_match, Some(PrincipalMatch::Direct));
    assert_eq!(decision.statement.as_ref().and_then(|it| it.sid()), Some("Pull"));
    assert_eq!(decision.to_string(), "allowed by a resource-based policy; statement 1 (Pull)");

    let identity = [allow(PolicyKind::Identity)];
    let policies = Policies { identity: &identity, resource: &resource, ..Policies::default() };
    let foreign = decide_for(&alice(), "999999999999", policies);
    assert_eq!(foreign.layer, Layer::Identity);
    assert_eq!(foreign.resource_statement.and_then(|it| it.sid().map(str::len)), Some(4));

    let root = Principal::root("123456789012".parse().unwrap());
    let decision = decide_for(&root, "123456789012", Policies::default());
    assert_eq!((decision.layer, decision.statement), (Layer::Root, None));
}

#[test]
fn boundary_and_session_policy_bind_what_names_the_role() {
    let boundary = silent(PolicyKind::Boundary);
    for (name, allowed) in [(ROLE, false), (SESSION, true), ("*", true), ("123456789012", false)] {
        let resource = names(name);
        let resource = [ResourcePolicy::new(&resource)];
        let policies =
            Policies { boundary: Some(&boundary), resource: &resource, ..Policies::default() };
        let decision = decide_for(&session(), "123456789012", policies);
        assert_eq!(decision.is_allowed(), allowed, "{name}");
        let layer = if name == ROLE { Layer::Boundary } else { Layer::Identity };
        assert!(allowed || decision.layer == layer, "{name}: {decision}");
    }
    let resource = names(ROLE);
    let resource = [ResourcePolicy::new(&resource)];
    let policies = Policies { resource: &resource, ..Policies::default() };
    assert!(decide_for(&session(), "123456789012", policies).is_allowed());
}

#[test]
fn the_strongest_of_several_statements_counts() {
    let (weak, strong) = (names("123456789012"), names(SESSION));
    for policies in [[&weak, &strong], [&strong, &weak]] {
        let resource = policies.map(ResourcePolicy::new);
        let policies = Policies { resource: &resource, ..Policies::default() };
        let decision = decide_for(&session(), "123456789012", policies);
        assert_eq!(decision.principal_match, Some(PrincipalMatch::Direct));
    }
}

#[test]
fn a_service_has_no_policies_of_its_own() {
    let service = Principal::service("lambda.amazonaws.com");
    let everybody = names("*");
    let boundary = deny(PolicyKind::Boundary);
    let policies = Policies {
        identity: &[deny(PolicyKind::Identity)],
        boundary: Some(&boundary),
        session: &[vec![deny(PolicyKind::Session)]],
        resource: &[ResourcePolicy::new(&everybody)],
        ..Policies::default()
    };
    assert!(decide_for(&service, "123456789012", policies).is_allowed());
}

#[test]
fn a_federated_user_has_nothing_without_a_session_policy() {
    let arn = "arn:aws:sts::123456789012:federated-user/alice";
    let alice = Principal::federated_user(arn, USER, "AIDAEXAMPLEEXAMPLE").unwrap();
    let identity = [allow(PolicyKind::Identity)];
    let session = [vec![allow(PolicyKind::Session)]];
    let without = Policies { identity: &identity, ..Policies::default() };
    let with = Policies { session: &session, ..without };
    assert_eq!(decide_for(&alice, "123456789012", without).layer, Layer::Session);
    assert!(decide_for(&alice, "123456789012", with).is_allowed());
}

#[test]
fn every_list_of_session_policies_must_allow() {
    let identity = [allow(PolicyKind::Identity)];
    let inline = vec![allow(PolicyKind::Session)];
    let managed = vec![silent(PolicyKind::Identity), allow(PolicyKind::Identity)];
    let narrow = vec![silent(PolicyKind::Identity)];
    for (session, allowed) in [([inline.clone(), managed], true), ([inline, narrow], false)] {
        let policies = Policies { identity: &identity, session: &session, ..Policies::default() };
        assert_eq!(decide(policies).is_allowed(), allowed);
    }
}

#[test]
fn organizations_do_not_bind_the_roles_of_services() {
    let identity = [allow(PolicyKind::Identity)];
    let service_control = [vec![deny(PolicyKind::ServiceControl)]];
    let resource_control = [vec![deny(PolicyKind::ResourceControl)]];
    let policies = Policies {
        identity: &identity,
        service_control: &service_control,
        resource_control: &resource_control,
        ..Policies::default()
    };
    let linked = Principal { service_linked: true, ..session() };
    assert!(decide_for(&linked, "123456789012", policies).is_allowed());
    assert_eq!(decide_for(&session(), "123456789012", policies).layer, Layer::ServiceControl);
}

#[test]
fn a_registry_policy_of_scope_v1_is_heard_on_three_actions() {
    let kind = PolicyKind::Resource(ResourceKind::EcrRegistry);
    let registry = policy(kind, "'Effect':'Deny','Principal':'*','Action':'ecr:*','Resource':'*'");
    let identity = [allow(PolicyKind::Identity)];
    for (resource, action, allowed) in [
        (ResourcePolicy::new(&registry), "ecr:PutImage", false),
        (ResourcePolicy::registry_v1(&registry), "ecr:PutImage", true),
        (ResourcePolicy::registry_v1(&registry), "ecr:CreateRepository", false),
    ] {
        let decision = evaluate(&EvaluationRequest {
            principal: &alice(),
            action,
            resource: APP,
            resource_account: "123456789012".parse().unwrap(),
            resource_level: true,
            context: &Context::new(),
            policies: Policies {
                identity: &identity,
                resource: &[resource],
                ..Policies::default()
            },
        });
        assert_eq!(decision.is_allowed(), allowed, "{action}");
    }
}

#[test]
fn a_key_and_a_role_need_their_own_policy() {
    let identity = [policy(PolicyKind::Identity, "'Effect':'Allow','Action':'*','Resource':'*'")];
    for (action, resource, layer) in [
        ("kms:Decrypt", "arn:aws:kms:us-east-1:123456789012:key/1", Layer::Resource),
        ("sts:AssumeRole", ROLE, Layer::RoleTrust),
    ] {
        let request = EvaluationRequest {
            principal: &alice(),
            action,
            resource,
            resource_account: "123456789012".parse().unwrap(),
            resource_level: true,
            context: &Context::new(),
            policies: Policies { identity: &identity, ..Policies::default() },
        };
        let decision = evaluate(&request);
        assert_eq!((decision.outcome, decision.layer), (Outcome::ImplicitDeny, layer));
        let listing = EvaluationRequest { resource: "*", resource_level: false, ..request };
        assert!(evaluate(&listing).is_allowed(), "{action}");
        let reading = EvaluationRequest { action: "iam:GetRole", resource: ROLE, ..request };
        assert!(evaluate(&reading).is_allowed());
    }
}

#[test]
fn an_action_without_resource_is_meant_by_a_star_only() {
    let named = policy(
        PolicyKind::Identity,
        "'Effect':'Allow','Action':'*','Resource':'arn:aws:ecr:*:*:repository/*'",
    );
    for (resource_level, allowed) in [(true, true), (false, false)] {
        let decision = evaluate(&EvaluationRequest {
            principal: &alice(),
            action: "ecr:DescribeRegistry",
            resource: APP,
            resource_account: "123456789012".parse().unwrap(),
            resource_level,
            context: &Context::new(),
            policies: Policies { identity: std::slice::from_ref(&named), ..Policies::default() },
        });
        assert_eq!(decision.is_allowed(), allowed);
    }
}

#[test]
fn a_trust_policy_has_its_own_words() {
    let trust = PolicyKind::Resource(ResourceKind::RoleTrust);
    let empty = policy(trust, "'Effect':'Allow','Principal':'*','Action':'sts:TagSession'");
    let token = Principal::web_identity("accounts.google.com");
    let decision = evaluate(&EvaluationRequest {
        principal: &token,
        action: "sts:AssumeRoleWithWebIdentity",
        resource: ROLE,
        resource_account: "123456789012".parse().unwrap(),
        resource_level: true,
        context: &Context::new(),
        policies: Policies { resource: &[ResourcePolicy::new(&empty)], ..Policies::default() },
    });
    assert!(
        decision.denial_sentence(&token.arn, "sts:AssumeRoleWithWebIdentity", ROLE).ends_with(
            "because no role trust policy allows the sts:AssumeRoleWithWebIdentity action"
        )
    );
}

//! What holds for all policies: a deny is never outweighed, order never matters, and an
//! allow more never takes access away.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree as _;
use serde_json::{Value, json};

use crate::{
    AccountId, Context, Decision, EvaluationRequest, Outcome, Policies, Policy, PolicyKind,
    Principal, ResourceKind, ResourcePolicy, evaluate,
};

const USER: &str = "arn:aws:iam::123456789012:user/alice";
const ROLE: &str = "arn:aws:iam::123456789012:role/CI";
const SESSION: &str = "arn:aws:sts::123456789012:assumed-role/CI/run1";

type Document = Vec<Value>;

/// A request and all policies about it.
#[derive(Clone, Debug)]
struct World {
    principal: usize,
    same_account: bool,
    action: &'static str,
    tag: Option<&'static str>,
    identity: Vec<Document>,
    boundary: Option<Document>,
    session: Vec<Vec<Document>>,
    resource: Vec<Document>,
    service_control: Vec<Vec<Document>>,
    resource_control: Vec<Vec<Document>>,
    endpoint: Option<Document>,
}

fn principals() -> [Principal; 7] {
    let federated = "arn:aws:sts::123456789012:federated-user/alice";
    [
        Principal::root(account("123456789012")),
        Principal::user(USER, "AIDAEXAMPLEEXAMPLE").unwrap(),
        Principal::role_session(SESSION, ROLE, "AROAEXAMPLEEXAMPLE").unwrap(),
        Principal::federated_user(federated, USER, "AIDAEXAMPLEEXAMPLE").unwrap(),
        Principal::service("lambda.amazonaws.com"),
        Principal::web_identity("accounts.google.com"),
        Principal::anonymous(),
    ]
}

fn account(text: &str) -> AccountId {
    text.parse().unwrap()
}

fn statement() -> impl Strategy<Value = Value> {
    let names = [
        json!("*"),
        json!({ "AWS": USER }),
        json!({ "AWS": [ROLE, "999999999999"] }),
        json!({ "AWS": SESSION }),
        json!({ "AWS": "123456789012" }),
        json!({ "Service": "lambda.amazonaws.com", "Federated": "accounts.google.com" }),
    ];
    let actions = ["*", "ecr:*", "ecr:Batch*", "ecr:PutImage", "s3:*"];
    let resources = [
        "*",
        "arn:aws:ecr:*:*:repository/*",
        "arn:aws:ecr:us-east-1:123456789012:repository/app",
        "arn:aws:ecr:us-east-1:123456789012:repository/${aws:PrincipalTag/team}",
    ];
    let conditions = [
        json!({}),
        json!({ "StringEquals": { "aws:PrincipalTag/team": ["app", "web"] } }),
        json!({ "StringNotLike": { "aws:PrincipalTag/team": "w*" } }),
        json!({ "Null": { "aws:PrincipalTag/team": "true" }, "Bool": { "aws:x": "true" } }),
        json!({ "ForAllValues:StringEquals": { "aws:TagKeys": "team" } }),
    ];
    (
        (select(vec!["Allow", "Allow", "Deny"]), any::<[bool; 3]>()),
        select(names.to_vec()),
        proptest::collection::vec(select(actions.to_vec()), 1..3),
        proptest::collection::vec(select(resources.to_vec()), 1..3),
        select(conditions.to_vec()),
    )
        .prop_map(|((effect, nots), principal, actions, resources, condition)| {
            // The opposites are rarer, as in real documents.
            let name =
                |not: bool, name: &str| if not { format!("Not{name}") } else { name.to_owned() };
            json!({
                "Effect": effect,
                name(nots == [true; 3], "Principal"): principal,
                name(nots[0] && nots[1], "Action"): actions,
                name(nots[0] && nots[2], "Resource"): resources,
                "Condition": condition,
            })
        })
}

fn document() -> impl Strategy<Value = Document> {
    proptest::collection::vec(statement(), 1..4)
}

fn documents() -> impl Strategy<Value = Vec<Document>> {
    proptest::collection::vec(document(), 0..3)
}

/// Documents of which one often allows all: else hardly any request would pass all of them.
fn open_documents() -> impl Strategy<Value = Vec<Document>> {
    (proptest::bool::weighted(0.8), documents()).prop_map(|(open, mut documents)| {
        if open {
            documents.push(vec![everything("Allow")]);
        }
        documents
    })
}

/// Lists that limit. Often there are none.
fn levels() -> impl Strategy<Value = Vec<Vec<Document>>> {
    prop_oneof![4 => Just(vec![]), 1 => proptest::collection::vec(open_documents(), 1..3)]
}

fn world() -> impl Strategy<Value = World> {
    let request = (
        select(vec![0, 1, 1, 1, 2, 2, 2, 3, 4, 5, 6]),
        proptest::bool::weighted(0.7),
        select(vec!["ecr:BatchGetImage", "ecr:PutImage", "ECR:deleteRepository"]),
        select(vec![None, Some("app"), Some("web"), Some("*")]),
    );
    let own = (open_documents(), proptest::option::weighted(0.2, document()), levels());
    let others = (documents(), levels(), levels(), proptest::option::weighted(0.1, document()));
    (request, own, others).prop_map(|(request, own, others)| World {
        principal: request.0,
        same_account: request.1,
        action: request.2,
        tag: request.3,
        identity: own.0,
        boundary: own.1,
        session: own.2,
        resource: others.0,
        service_control: others.1,
        resource_control: others.2,
        endpoint: others.3,
    })
}

fn everything(effect: &str) -> Value {
    json!({ "Effect": effect, "Principal": "*", "Action": "*", "Resource": "*" })
}

fn policy(document: &Document, kind: PolicyKind) -> Policy {
    let text = json!({ "Version": "2012-10-17", "Statement": document }).to_string();
    Policy::parse_stored(&text, kind).unwrap()
}

fn all(documents: &[Document], kind: PolicyKind) -> Vec<Policy> {
    documents.iter().map(|it| policy(it, kind)).collect()
}

fn all_levels(levels: &[Vec<Document>], kind: PolicyKind) -> Vec<Vec<Policy>> {
    levels.iter().map(|it| all(it, kind)).collect()
}

impl World {
    fn decide(&self) -> Decision {
        let owner = if self.same_account { "123456789012" } else { "999999999999" };
        let mut context = Context::new();
        if let Some(tag) = self.tag {
            context.set("aws:PrincipalTag/team", tag);
            context.set_many("aws:TagKeys", ["team", tag]);
        }
        let resource = all(&self.resource, PolicyKind::Resource(ResourceKind::EcrRepository));
        let resource: Vec<_> = resource.iter().map(ResourcePolicy::new).collect();
        let boundary = self.boundary.as_ref().map(|it| policy(it, PolicyKind::Boundary));
        let endpoint = self.endpoint.as_ref().map(|it| policy(it, PolicyKind::Endpoint));
        evaluate(&EvaluationRequest {
            principal: &principals()[self.principal],
            action: self.action,
            resource: "arn:aws:ecr:us-east-1:123456789012:repository/app",
            resource_account: account(owner),
            resource_level: true,
            context: &context,
            policies: Policies {
                identity: &all(&self.identity, PolicyKind::Identity),
                boundary: boundary.as_ref(),
                session: &all_levels(&self.session, PolicyKind::Session),
                resource: &resource,
                service_control: &all_levels(&self.service_control, PolicyKind::ServiceControl),
                resource_control: &all_levels(&self.resource_control, PolicyKind::ResourceControl),
                endpoint: endpoint.as_ref(),
            },
        })
    }

    /// Every document, with whether it speaks about this caller at all.
    fn documents(&mut self) -> Vec<(bool, &mut Document)> {
        let own = principals()[self.principal].kind.has_identity_policies();
        let mut found: Vec<(bool, &mut Document)> = Vec::new();
        found.extend(self.identity.iter_mut().map(|it| (own, it)));
        found.extend(self.boundary.iter_mut().map(|it| (own, it)));
        found.extend(self.session.iter_mut().flatten().map(|it| (own, it)));
        found.extend(self.service_control.iter_mut().flatten().map(|it| (own, it)));
        found.extend(self.resource.iter_mut().map(|it| (true, it)));
        found.extend(self.resource_control.iter_mut().flatten().map(|it| (true, it)));
        found.extend(self.endpoint.iter_mut().map(|it| (true, it)));
        found
    }

    fn reversed(&self) -> World {
        let mut world = self.clone();
        for (_, document) in world.documents() {
            document.reverse();
            for statement in document {
                let members = statement.as_object_mut().unwrap();
                members.values_mut().filter_map(Value::as_array_mut).for_each(|it| it.reverse());
                let mut order: Vec<(String, Value)> = std::mem::take(members).into_iter().collect();
                order.reverse();
                members.extend(order);
            }
        }
        world.identity.reverse();
        world.resource.reverse();
        for levels in [&mut world.session, &mut world.service_control, &mut world.resource_control]
        {
            levels.reverse();
            levels.iter_mut().for_each(|level| level.reverse());
        }
        world
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_deny_is_never_outweighed(world in world(), place in any::<prop::sample::Index>()) {
        let mut world = world;
        world.resource.push(vec![everything("Allow")]);
        let mut documents = world.documents();
        let chosen = place.index(documents.len());
        let (concerns, document) = &mut documents[chosen];
        let concerns = *concerns;
        document.push(everything("Deny"));
        if concerns {
            prop_assert_eq!(world.decide().outcome, Outcome::ExplicitDeny);
        }
    }

    #[test]
    fn order_never_matters(world in world()) {
        let (one, other) = (world.decide(), world.reversed().decide());
        prop_assert_eq!(one.outcome, other.outcome);
        prop_assert_eq!(one.layer, other.layer);
    }

    #[test]
    fn one_more_allow_never_takes_access_away(
        world in world(),
        statement in statement(),
        place in any::<prop::sample::Index>(),
    ) {
        let before = world.decide();
        let mut statement = statement;
        statement["Effect"] = json!("Allow");
        let mut more = world.clone();
        let mut documents = more.documents();
        if !documents.is_empty() {
            let chosen = place.index(documents.len());
            documents[chosen].1.push(statement.clone());
            prop_assert!(!before.is_allowed() || more.decide().is_allowed());
        }
        for identity in [true, false] {
            let mut more = world.clone();
            let documents = if identity { &mut more.identity } else { &mut more.resource };
            documents.push(vec![statement.clone()]);
            let after = more.decide();
            prop_assert!(!before.is_allowed() || after.is_allowed());
            prop_assert_eq!(before.outcome == Outcome::ExplicitDeny, after.outcome == Outcome::ExplicitDeny);
        }
    }

    #[test]
    fn nothing_is_allowed_without_an_allow(world in world()) {
        let mut world = world;
        for (_, document) in world.documents() {
            document.retain(|it| it["Effect"] == "Deny");
            document.push(json!({ "Effect": "Deny", "Action": "s3:*", "Resource": "*" }));
        }
        let root = world.principal == 0;
        prop_assert!(root || !world.decide().is_allowed());
    }

    #[test]
    fn a_decision_names_a_statement_of_its_effect(world in world()) {
        let decision = world.decide();
        let effect = decision.statement.as_ref().map(|it| it.policy.effect(it.index));
        let expected = match decision.outcome {
            Outcome::Allow if decision.layer == crate::Layer::Root => None,
            Outcome::Allow => Some(Some(crate::Effect::Allow)),
            Outcome::ExplicitDeny => Some(Some(crate::Effect::Deny)),
            Outcome::ImplicitDeny => None,
        };
        prop_assert_eq!(effect, expected);
    }
}

/// The properties would hold of worlds in which nothing is ever allowed, too.
#[test]
fn the_worlds_have_every_outcome() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut outcomes = std::collections::BTreeMap::new();
    for _ in 0..400 {
        let decision = world().new_tree(&mut runner).unwrap().current().decide();
        *outcomes.entry((decision.outcome, decision.layer)).or_insert(0) += 1;
    }
    let count = |wanted| {
        outcomes
            .iter()
            .filter(|((outcome, _), _)| *outcome == wanted)
            .map(|(_, it)| it)
            .sum::<i32>()
    };
    for outcome in [Outcome::Allow, Outcome::ExplicitDeny, Outcome::ImplicitDeny] {
        assert!(count(outcome) > 50, "{outcomes:?}");
    }
}

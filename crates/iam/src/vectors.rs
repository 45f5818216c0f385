//! The shared vectors: decisions, documents to accept or refuse, and AWS's table of actions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::actions::{AccessLevel, ECR};
use crate::{
    AccountId, Context, EvaluationRequest, Outcome, Policies, Policy, PolicyKind, Principal,
    PrincipalKind, ResourceKind, ResourcePolicy, evaluate,
};

/// A file of the vectors, or `None` and a line that says so.
fn read(name: &str) -> Option<String> {
    let given = std::env::var_os("BONDED_SHARED").map(PathBuf::from);
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|it| it.join("shared"));
    let mut files = given.into_iter().chain(above).map(|it| it.join("data/iam").join(name));
    match files.find_map(|file| std::fs::read_to_string(file).ok()) {
        Some(text) => {
            say(&format!("run: shared vectors of {name}"));
            Some(text)
        }
        None => {
            say("not run: shared vectors are missing");
            None
        }
    }
}

#[expect(clippy::print_stderr, reason = "whoever runs the tests must see what was not run")]
fn say(text: &str) {
    eprintln!("{text}");
}

fn lines<T: DeserializeOwned>(name: &str) -> Vec<T> {
    let text = read(name).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[derive(Deserialize)]
struct DecisionVector {
    id: String,
    principal: Caller,
    action: String,
    resource: String,
    resource_account: AccountId,
    resource_level: bool,
    context: BTreeMap<String, Value>,
    identity: Vec<Value>,
    session: Option<Value>,
    boundary: Option<Vec<Value>>,
    resource_policy: Option<Value>,
    registry_policy: Option<Value>,
    scps: Vec<Vec<Value>>,
    rcps: Vec<Vec<Value>>,
    endpoint: Option<Vec<Value>>,
    expect: String,
    expect_detail: String,
}

#[derive(Deserialize)]
struct Caller {
    #[serde(rename = "type")]
    kind: String,
    arn: Option<String>,
    account: Option<AccountId>,
}

impl Caller {
    /// The vectors tell no ids, so ones are made up; a session's role and a federated user's
    /// issuer are those of the same name.
    fn principal(&self) -> Principal {
        let arn = self.arn.as_deref().unwrap_or_default();
        let principal = match self.kind.as_str() {
            "root" => Principal::root(self.account.unwrap()),
            "user" => Principal::user(arn, "AIDAVECTORVECTOR").unwrap(),
            "session" => {
                let role = arn.replace("sts", "iam").replace("assumed-role/", "role/");
                let role = role.rsplit_once('/').unwrap().0;
                Principal::role_session(arn, role, "AROAVECTORVECTOR").unwrap()
            }
            "federated" => {
                let user = arn.replace("sts", "iam").replace("federated-user/", "user/");
                Principal::federated_user(arn, &user, "AIDAVECTORVECTOR").unwrap()
            }
            "webidentity" => Principal::web_identity(arn),
            "service" => Principal::service(arn),
            "anonymous" => Principal::anonymous(),
            other => panic!("no such kind of principal: {other}"),
        };
        assert_eq!(principal.account, self.account);
        assert!(principal.kind == PrincipalKind::Anonymous || principal.arn == arn);
        principal
    }
}

fn policy(document: &Value, kind: PolicyKind) -> Policy {
    Policy::parse_stored(&document.to_string(), kind).unwrap()
}

fn all(documents: &[Value], kind: PolicyKind) -> Vec<Policy> {
    documents.iter().map(|it| policy(it, kind)).collect()
}

fn levels(levels: &[Vec<Value>], kind: PolicyKind) -> Vec<Vec<Policy>> {
    levels.iter().map(|it| all(it, kind)).collect()
}

fn at_most_one(documents: Option<&Vec<Value>>, kind: PolicyKind) -> Option<Policy> {
    let documents = documents.map(Vec::as_slice).unwrap_or_default();
    assert!(documents.len() <= 1);
    documents.first().map(|it| policy(it, kind))
}

impl DecisionVector {
    fn context(&self) -> Context<'_> {
        let mut context = Context::new();
        for (key, value) in &self.context {
            match value {
                Value::String(value) => context.set(key, value),
                Value::Array(values) => {
                    context.set_many(key, values.iter().map(|it| it.as_str().unwrap()));
                }
                other => panic!("{key}: {other}"),
            }
        }
        context
    }

    fn resource_kind(&self) -> ResourceKind {
        match self.action.split_once(':').unwrap().0 {
            "kms" => ResourceKind::KmsKey,
            "sts" => ResourceKind::RoleTrust,
            _ => ResourceKind::EcrRepository,
        }
    }

    fn outcome(&self) -> Outcome {
        let kind = PolicyKind::Resource(self.resource_kind());
        let resource: Vec<Policy> = [
            self.resource_policy.as_ref().map(|it| policy(it, kind)),
            self.registry_policy
                .as_ref()
                .map(|it| policy(it, PolicyKind::Resource(ResourceKind::EcrRegistry))),
        ]
        .into_iter()
        .flatten()
        .collect();
        let resource: Vec<ResourcePolicy<'_>> = resource.iter().map(ResourcePolicy::new).collect();
        let session: Vec<Vec<Policy>> =
            self.session.iter().map(|it| vec![policy(it, PolicyKind::Session)]).collect();
        let decision = evaluate(&EvaluationRequest {
            principal: &self.principal.principal(),
            action: &self.action,
            resource: &self.resource,
            resource_account: self.resource_account,
            resource_level: self.resource_level,
            context: &self.context(),
            policies: Policies {
                identity: &all(&self.identity, PolicyKind::Identity),
                boundary: at_most_one(self.boundary.as_ref(), PolicyKind::Boundary).as_ref(),
                session: &session,
                resource: &resource,
                service_control: &levels(&self.scps, PolicyKind::ServiceControl),
                resource_control: &levels(&self.rcps, PolicyKind::ResourceControl),
                endpoint: at_most_one(self.endpoint.as_ref(), PolicyKind::Endpoint).as_ref(),
            },
        });
        assert_eq!(decision.is_allowed(), self.expect == "allow", "{}: {decision}", self.id);
        decision.outcome
    }
}

#[test]
fn every_decision_is_as_expected() {
    for vector in lines::<DecisionVector>("ecr-vectors.jsonl") {
        let expected = match vector.expect_detail.as_str() {
            "Allowed" => Outcome::Allow,
            "ExplicitlyDenied" => Outcome::ExplicitDeny,
            "ImplicitlyDenied" => Outcome::ImplicitDeny,
            other => panic!("no such outcome: {other}"),
        };
        assert_eq!(vector.outcome(), expected, "{}", vector.id);
    }
}

#[derive(Deserialize)]
struct ValidationVector {
    id: String,
    policy_kind: String,
    document: String,
    accept: bool,
}

#[test]
fn every_document_is_accepted_or_refused_as_expected() {
    for vector in lines::<ValidationVector>("policy-validation-vectors.jsonl") {
        let kind = match vector.policy_kind.as_str() {
            "identity" => PolicyKind::Identity,
            "trust" => PolicyKind::Resource(ResourceKind::RoleTrust),
            "ecr-repository" => PolicyKind::Resource(ResourceKind::EcrRepository),
            "ecr-registry" => PolicyKind::Resource(ResourceKind::EcrRegistry),
            "scp" => PolicyKind::ServiceControl,
            "rcp" => PolicyKind::ResourceControl,
            other => panic!("no such kind of policy: {other}"),
        };
        let result = Policy::parse(&vector.document, kind);
        assert_eq!(result.is_ok(), vector.accept, "{}: {result:?}", vector.id);
    }
}

#[derive(Deserialize)]
struct Services {
    services: BTreeMap<String, Service>,
}

#[derive(Deserialize)]
struct Service {
    actions: BTreeMap<String, Action>,
}

#[derive(Deserialize)]
struct Action {
    access: String,
    resource_types: Vec<Value>,
}

#[test]
fn the_table_of_actions_is_that_of_aws() {
    let Some(text) = read("service-authorization.json") else {
        return;
    };
    let services: Services = serde_json::from_str(&text).unwrap();
    let theirs = &services.services["ecr"].actions;
    assert_eq!(theirs.len(), ECR.len());
    for ours in ECR {
        let action = &theirs[ours.name];
        let access = match ours.access {
            AccessLevel::List => "List",
            AccessLevel::Read => "Read",
            AccessLevel::Write => "Write",
            AccessLevel::Tagging => "Tagging, Write",
            AccessLevel::PermissionsManagement => "Permissions management, Write",
        };
        assert_eq!(action.access, access, "{}", ours.name);
        assert_eq!(!action.resource_types.is_empty(), ours.resource_level, "{}", ours.name);
    }
}

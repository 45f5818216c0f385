//! What is accepted of each kind of policy, how it is changed, and how it comes back.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    Context, EvaluationRequest, Policies, PolicyProblem as Problem, Principal, ResourcePolicy,
    evaluate,
};

const REPOSITORY: PolicyKind = PolicyKind::Resource(ResourceKind::EcrRepository);
const REGISTRY: PolicyKind = PolicyKind::Resource(ResourceKind::EcrRegistry);
const TRUST: PolicyKind = PolicyKind::Resource(ResourceKind::RoleTrust);
const KEY: PolicyKind = PolicyKind::Resource(ResourceKind::KmsKey);

/// Reads a document of one statement, written without its braces and with single quotes.
fn statement(kind: PolicyKind, text: &str) -> Result<Policy, PolicyError> {
    let text = format!(r#"{{"Version":"2012-10-17","Statement":[{{{text}}}]}}"#);
    Policy::parse(&text.replace('\'', "\""), kind)
}

fn refused(kind: PolicyKind, text: &str, problem: Problem) {
    let error = statement(kind, text).unwrap_err();
    assert_eq!((error.problem, error.statement), (problem, Some(0)), "{text}: {error}");
    assert!(error.to_string().starts_with("Statement 1: "), "{error}");
    assert!(error.message.ends_with('.'), "{error}");
}

fn accepted(kind: PolicyKind, text: &str) {
    if let Err(error) = statement(kind, text) {
        panic!("{text}: {error}");
    }
}

fn whole(text: &str, problem: Problem) {
    let error = Policy::parse(text, PolicyKind::Identity).unwrap_err();
    assert_eq!(error.problem, problem, "{text}: {error}");
}

#[test]
fn documents() {
    whole("", Problem::Json);
    whole("{", Problem::Json);
    whole("[]", Problem::Shape);
    whole("{}", Problem::MissingElement);
    whole(r#"{"Statement":[]}"#, Problem::Shape);
    whole(r#"{"Statement":["x"]}"#, Problem::Shape);
    whole(r#"{"Statement":{},"Extra":1}"#, Problem::MissingElement);
    whole(r#"{"Version":"2012-10-18","Statement":{}}"#, Problem::Version);
    whole(r#"{"Version":2012,"Statement":{}}"#, Problem::Shape);
    whole(r#"{"version":"2012-10-17"}"#, Problem::UnknownElement);
    whole("{\"Statement\":\"\u{2028}\"}", Problem::Character);
    whole("{\"Statement\":\"\u{0}\"}", Problem::Character);
}

#[test]
fn elements_of_a_statement() {
    let identity = |text, problem| refused(PolicyKind::Identity, text, problem);
    identity("'Action':'*','Resource':'*'", Problem::MissingElement);
    identity("'Effect':'allow','Action':'*','Resource':'*'", Problem::Effect);
    identity("'Effect':'Allow','Resource':'*'", Problem::MissingElement);
    identity("'Effect':'Allow','Action':'*'", Problem::MissingElement);
    identity("'Effect':'Allow','Action':[],'Resource':'*'", Problem::Shape);
    identity("'Effect':'Allow','Action':'*','Resource':[]", Problem::Shape);
    identity("'Effect':'Allow','Action':1,'Resource':'*'", Problem::Shape);
    identity("'Effect':'Allow','action':'*','Resource':'*'", Problem::UnknownElement);
    identity(
        "'Effect':'Allow','Action':'*','NotAction':'*','Resource':'*'",
        Problem::ForbiddenElement,
    );
    identity("'Sid':'a b','Effect':'Allow','Action':'*','Resource':'*'", Problem::Sid);
    identity(
        "'Effect':'Allow','Principal':'*','Action':'*','Resource':'*'",
        Problem::ForbiddenElement,
    );
}

#[test]
fn actions_and_resources() {
    let identity = |action: &str, resource: &str| {
        statement(
            PolicyKind::Identity,
            &format!("'Effect':'Allow','Action':'{action}','Resource':'{resource}'"),
        )
        .err()
        .map(|error| error.problem)
    };
    for action in ["*", "ecr:*", "ecr:NoSuchAction", "*:*", "ECR:Get?*", "s3:"] {
        assert_eq!(identity(action, "*"), None, "{action}");
    }
    for action in ["", "PutImage", "ecr*", ":x", "e cr:x", "ecr:a:b", "e*:x"] {
        assert_eq!(identity(action, "*"), Some(Problem::Action), "{action}");
    }
    for resource in ["arn:aws:ecr:*:*:repository/*", "arn:aws:s3:::b", "arn:aws:x:::${a:b}:c"] {
        assert_eq!(identity("ecr:*", resource), None, "{resource}");
    }
    for resource in ["", "app", "**", "arn:aws:ecr:us-east-1", "arn:aws:ecr:r:${aws:x}:y"] {
        assert_eq!(identity("ecr:*", resource), Some(Problem::Resource), "{resource}");
    }
}

#[test]
fn conditions() {
    let check = |condition: &str, expected: Option<Problem>| {
        let text =
            format!("'Effect':'Allow','Action':'*','Resource':'*','Condition':{{{condition}}}");
        let found = statement(PolicyKind::Identity, &text).err().map(|error| error.problem);
        assert_eq!(found, expected, "{condition}");
    };
    check("", None);
    check("'StringEquals':{}", None);
    check("'StringEquals':{'aws:x':[]}", None);
    check("'Bool':{'aws:x':true}", None);
    check("'Bool':{'aws:x':'${aws:y}'}", None);
    check("'NumericLessThan':{'aws:x':[1, '2.5']}", None);
    check("'ForAnyValue:ArnLikeIfExists':{'aws:x':['*', 'arn:aws:s3:::*']}", None);
    check("'DateLessThan':{'aws:x':'2026-01-01T00:00:00Z'}", None);
    check("'StringEquals':'x'", Some(Problem::Shape));
    check("'StringEquals':{'aws:x':null}", Some(Problem::Shape));
    check("'StringEquals':{'aws:x':[['y']]}", Some(Problem::Shape));
    check("'StringIs':{'aws:x':'y'}", Some(Problem::Operator));
    check("'NullIfExists':{'aws:x':'true'}", Some(Problem::Operator));
    check("'StringEquals':{'x':'y'}", Some(Problem::ConditionKey));
    check("'Bool':{'aws:x':'maybe'}", Some(Problem::ConditionValue));
    check("'Null':{'aws:x':'${aws:y}'}", Some(Problem::ConditionValue));
    check("'IpAddress':{'aws:x':'10.0.0.0/33'}", Some(Problem::ConditionValue));
    check("'NumericEquals':{'aws:x':'inf'}", Some(Problem::ConditionValue));
    check("'DateEquals':{'aws:x':'yesterday'}", Some(Problem::ConditionValue));
    check("'BinaryEquals':{'aws:x':'*'}", Some(Problem::ConditionValue));
    check("'ArnLike':{'aws:x':'arn:aws:sns:*'}", Some(Problem::ConditionValue));
}

#[test]
fn policies_of_repositories() {
    let everyone = "'Effect':'Allow','Principal':'*'";
    let check = |text: &str| statement(REPOSITORY, &format!("{everyone},{text}")).err();
    assert_eq!(check("'Action':'ecr:*','Sid':'a b'"), None);
    assert_eq!(check("'Action':'*'"), None);
    assert_eq!(check("'Action':'ecr:*','Resource':'*'"), None);
    let problem = |text| check(text).map(|error| error.problem);
    assert_eq!(problem("'Action':'s3:GetObject'"), Some(Problem::Action));
    assert_eq!(problem("'Action':'ecr:getauthorizationtoken'"), Some(Problem::Action));
    refused(REPOSITORY, "'Effect':'Allow','Action':'ecr:*'", Problem::MissingElement);
    for principal in ["{}", "{'AWS':[]}", "'x'", "[]", "{'AWS':'group'}", "{'Foo':'*'}"] {
        let text = format!("'Effect':'Allow','Action':'ecr:*','Principal':{principal}");
        assert!(statement(REPOSITORY, &text).is_err(), "{principal}");
    }
    accepted(
        REPOSITORY,
        "'Effect':'Deny','Action':'ecr:*','NotPrincipal':{'AWS':['123456789012',
        'arn:aws:iam::123456789012:user/a'],'Service':'codebuild.amazonaws.com'}",
    );
}

#[test]
fn policies_of_registries_keys_and_roles() {
    let everyone = "'Effect':'Allow','Principal':'*'";
    refused(REGISTRY, &format!("{everyone},'Action':'ecr:*'"), Problem::MissingElement);
    accepted(REGISTRY, &format!("{everyone},'Action':'ecr:GetAuthorizationToken','Resource':'*'"));
    accepted(KEY, &format!("{everyone},'Action':'kms:*','Resource':'*','Sid':'Enable IAM'"));
    refused(TRUST, &format!("{everyone},'Action':'ecr:*'"), Problem::Action);
    refused(TRUST, &format!("{everyone},'Action':'*'"), Problem::Action);
    refused(
        TRUST,
        "'Effect':'Deny','NotPrincipal':'*','Action':'sts:AssumeRole'",
        Problem::ForbiddenElement,
    );
}

#[test]
fn policies_of_organizations_and_endpoints() {
    let rest = "'Action':'ecr:*','Resource':'*'";
    let control = PolicyKind::ResourceControl;
    refused(control, &format!("'Effect':'Allow','Principal':'*',{rest}"), Problem::Effect);
    refused(control, &format!("'Effect':'Deny',{rest}"), Problem::MissingElement);
    refused(
        control,
        &format!("'Effect':'Deny','Principal':{{'AWS':'*'}},{rest}"),
        Problem::Principal,
    );
    accepted(control, &format!("'Effect':'Deny','Principal':'*',{rest}"));
    accepted(PolicyKind::ServiceControl, "'Effect':'Allow','NotAction':'a:b','NotResource':'*'");
    accepted(PolicyKind::Endpoint, &format!("'Effect':'Allow',{rest},'Sid':'a-b'"));
    accepted(PolicyKind::Endpoint, &format!("'Effect':'Allow','Principal':'*',{rest}"));
}

#[test]
fn a_sid_is_used_once_in_policies_of_iam() {
    let one = r#"{"Sid":"a","Effect":"Deny","Principal":"*","Action":"ecr:*"}"#;
    let twice = format!(r#"{{"Statement":[{one},{one}]}}"#);
    assert!(Policy::parse(&twice, REPOSITORY).is_ok());
    let error = Policy::parse(&twice.replace("ecr", "sts"), TRUST).unwrap_err();
    assert_eq!((error.problem, error.statement), (Problem::Sid, Some(1)));
}

#[test]
fn sizes_are_limited_and_iam_counts_no_white_space() {
    let spaced = |spaces: usize, text: usize| {
        let (spaces, text) = (" ".repeat(spaces), "x".repeat(text));
        format!(
            r#"{{"Id":"{text}",{spaces}"Statement":{{"Effect":"Deny","Principal":"*","Action":"ecr:*"}}}}"#
        )
    };
    let problem = |text: &str, kind| Policy::parse(text, kind).err().map(|it| it.problem);
    assert_eq!(problem(&spaced(0, limits::ECR), REPOSITORY), Some(Problem::TooLarge));
    assert_eq!(problem(&spaced(limits::ECR, 0), REPOSITORY), Some(Problem::TooLarge));
    assert_eq!(problem(&spaced(limits::ECR - 100, 0), REPOSITORY), None);
    let trust = |spaces, text| spaced(spaces, text).replace("ecr", "sts");
    assert_eq!(problem(&trust(limits::ROLE_TRUST, 0), TRUST), None);
    assert_eq!(problem(&trust(0, limits::ROLE_TRUST), TRUST), Some(Problem::TooLarge));
    let stored = spaced(limits::TEXT_BYTES, 0);
    assert_eq!(Policy::parse_stored(&stored, TRUST).unwrap_err().problem, Problem::TooLarge);
    assert_eq!(Policy::parse(&trust(9, 0), TRUST).unwrap().size(), trust(0, 0).len());
}

#[test]
fn too_many_statements_are_refused() {
    let one = r#"{"Effect":"Deny","Action":"*"}"#;
    let many = |count| format!(r#"{{"Statement":[{}]}}"#, vec![one; count].join(","));
    assert!(Policy::parse_stored(&many(limits::STATEMENTS), KEY).is_ok());
    let error = Policy::parse_stored(&many(limits::STATEMENTS + 1), KEY).unwrap_err();
    assert_eq!(error.problem, Problem::TooLarge);
}

/// Whether a stored document alone lets a user of the account pull.
fn grants(text: &str, kind: PolicyKind) -> bool {
    is_enough(&Policy::parse_stored(&text.replace('\'', "\""), kind).unwrap())
}

fn is_enough(policy: &Policy) -> bool {
    let user = Principal::user("arn:aws:iam::123456789012:user/a", "AIDAEXAMPLEEXAMPLE").unwrap();
    let identity = [policy.clone()];
    let resource = [ResourcePolicy::new(policy)];
    let policies = match policy.kind() {
        PolicyKind::Resource(_) => Policies { resource: &resource, ..Policies::default() },
        _ => Policies { identity: &identity, ..Policies::default() },
    };
    evaluate(&EvaluationRequest {
        principal: &user,
        action: "ecr:BatchGetImage",
        resource: "arn:aws:ecr:us-east-1:123456789012:repository/app",
        resource_account: "123456789012".parse().unwrap(),
        resource_level: true,
        context: &Context::new(),
        policies,
    })
    .is_allowed()
}

#[test]
fn what_a_stored_document_lacks_matches_nothing() {
    let of = |inner: &str| format!("{{'Statement':{{'Effect':'Allow','Action':'ecr:*'{inner}}}}}");
    assert!(grants(&of(",'Resource':'*'"), PolicyKind::Identity));
    assert!(grants(&of(",'Resource':'arn:aws:ecr'"), PolicyKind::Identity));
    assert!(!grants(&of(""), PolicyKind::Identity));
    assert!(grants(&of(",'Principal':'*'"), REPOSITORY));
    assert!(!grants(&of(""), REPOSITORY));
    assert!(!grants(&of(",'Principal':'*'"), REGISTRY));
    assert!(!grants(&of(",'Principal':{'AWS':'arn:aws:iam::123456789012:user/*'}"), REPOSITORY));
    assert!(!grants(&of(",'Resource':'*','Condition':{'Is':{'a:b':'c'}}"), PolicyKind::Identity));
}

const NAMES: &str = r#"{"Statement":{"Effect":"Allow","Action":"ecr:*","Principal":{
    "Service":"lambda.amazonaws.com","AWS":["arn:aws:iam::123456789012:user/alice",
    "arn:aws:iam::123456789012:root","AROAEXAMPLEEXAMPLE","arn:aws:iam::123456789012:role/x/CI",
    "arn:aws:sts::123456789012:assumed-role/CI/run1","arn:aws:iam::123456789012:user/alice"]}}}"#;

#[test]
fn the_names_that_can_be_made_again_are_told() {
    let policy = Policy::parse(NAMES, REPOSITORY).unwrap();
    assert_eq!(
        policy.principal_arns().into_iter().collect::<Vec<_>>(),
        [
            "arn:aws:iam::123456789012:role/x/CI",
            "arn:aws:iam::123456789012:user/alice",
            "arn:aws:sts::123456789012:assumed-role/CI/run1",
        ]
    );
}

#[test]
fn who_is_made_again_inherits_nothing() {
    let arn = "arn:aws:iam::123456789012:user/alice";
    let ids = BTreeMap::from([(arn.to_owned(), "AIDAOLDOLDOLDOLD".to_owned())]);
    let policy =
        Policy::parse(NAMES, REPOSITORY).unwrap().with_label("app").with_principal_ids(&ids);
    assert_eq!(policy.label(), Some("app"));
    for (id, expected) in [("AIDAOLDOLDOLDOLD", true), ("AIDANEWNEWNEWNEW", false)] {
        let allowed = evaluate(&EvaluationRequest {
            principal: &Principal::user(arn, id).unwrap(),
            action: "ecr:BatchGetImage",
            resource: "arn:aws:ecr:us-east-1:123456789012:repository/app",
            resource_account: "123456789012".parse().unwrap(),
            resource_level: true,
            context: &Context::new(),
            policies: Policies { resource: &[ResourcePolicy::new(&policy)], ..Policies::default() },
        });
        assert_eq!(allowed.is_allowed(), expected, "{allowed}");
    }
}

#[test]
fn a_policy_comes_back_as_ecr_prints_it() {
    let text = r#"{"Statement":[{"Action":["ecr:BatchGetImage","ecr:PutImage"],"Principal":{"AWS":
        "arn:aws:iam::123456789012:root"},"Effect":"Allow","Sid":"a \"b\"","Condition":{"Bool":
        {"aws:SecureTransport":true}}},{"Effect":"Deny","Principal":"*","NotAction":["ecr:*"]}],
        "Version":"2012-10-17"}"#;
    let expected = r#"{
  "Version" : "2012-10-17",
  "Statement" : [ {
    "Sid" : "a \"b\"",
    "Effect" : "Allow",
    "Principal" : {
      "AWS" : "arn:aws:iam::123456789012:root"
    },
    "Action" : [ "ecr:BatchGetImage", "ecr:PutImage" ],
    "Condition" : {
      "Bool" : {
        "aws:SecureTransport" : true
      }
    }
  }, {
    "Effect" : "Deny",
    "Principal" : "*",
    "NotAction" : [ "ecr:*" ]
  } ]
}"#;
    let policy = Policy::parse(text, REPOSITORY).unwrap();
    assert_eq!(policy.to_pretty(), expected);
    assert_eq!(Policy::parse(expected, REPOSITORY).unwrap().to_pretty(), expected);
    let renamed = policy.to_pretty_with(|arn| Some(format!("{arn}!")));
    assert_eq!(renamed, expected.replace(":root\"", ":root!\""));
}

proptest! {
    #[test]
    fn no_text_is_too_strange(text in "[\\[\\]{}:,\"a-zA-Z*$0-9 \u{0}-\u{ff}]{0,200}") {
        let _ = Policy::parse(&text, REPOSITORY);
        let _ = Policy::parse_stored(&text, PolicyKind::Identity);
    }

    #[test]
    fn no_value_is_too_strange(
        element in "Sid|Effect|Principal|Action|Resource|Condition|NotPrincipal|NotResource",
        operator in "[A-Za-z:]{0,20}|Numeric(Not)?Equals|Arn(Not)?Like|IpAddress|Date(Not)?Equals",
        value in "[ -~]{0,40}|\\$\\{[a-z:, ']{0,10}\\}?|arn(:[*a-z${}]{0,5}){0,7}",
    ) {
        let plain = json!({ "Effect": "Allow", "Action": "*", "Resource": "*" });
        let (mut one, mut two) = (plain.clone(), plain);
        one[element] = json!(value);
        two["Condition"] = json!({ operator: { "a:b": value } });
        for statement in [one, two] {
            let text = format!(r#"{{"Version":"2012-10-17","Statement":{statement}}}"#);
            for kind in [PolicyKind::Identity, REGISTRY, TRUST] {
                let strict = Policy::parse(&text, kind);
                let stored = Policy::parse_stored(&text, kind);
                prop_assert!(strict.is_err() || stored.is_ok());
                if let Ok(policy) = stored {
                    is_enough(&policy);
                    let again: Value = serde_json::from_str(&policy.to_pretty()).unwrap();
                    prop_assert_eq!(again, serde_json::from_str::<Value>(&text).unwrap());
                }
            }
        }
    }
}

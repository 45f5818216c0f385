//! Prints how many decisions one thread makes in a second.
//!
//! Run it with `cargo run --release -p bonded-iam --example evaluations`.

use std::time::Instant;

use bonded_iam::{
    Context, EvaluationRequest, Policies, Policy, PolicyError, PolicyKind, Principal, ResourceKind,
    ResourcePolicy, evaluate,
};

const DECISIONS: u32 = 200_000;
const POLICIES: usize = 20;
const STATEMENTS: usize = 10;

/// A managed policy that grants much, with conditions, but not this.
fn large(number: usize) -> Result<Policy, PolicyError> {
    let statement = |index: usize| {
        format!(
            r#"{{"Effect":"Allow","Action":["ecr:Batch*","ecr:PutImage"],
            "Resource":"arn:aws:ecr:*:123456789012:repository/team{number}/*-{index}",
            "Condition":{{"StringEquals":{{"ecr:ResourceTag/Env":["dev","test"]}},
            "IpAddress":{{"aws:SourceIp":["10.0.0.0/8","192.168.0.0/16"]}}}}}}"#
        )
    };
    let statements: Vec<String> = (0..STATEMENTS).map(statement).collect();
    let text = format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, statements.join(","));
    Policy::parse(&text, PolicyKind::Identity)
}

fn small() -> Result<Policy, PolicyError> {
    let text = r#"{"Version":"2012-10-17","Statement":[
        {"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"},
        {"Effect":"Allow","Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"],
        "Resource":"arn:aws:ecr:us-east-1:123456789012:repository/${aws:PrincipalTag/team}/*",
        "Condition":{"Bool":{"aws:SecureTransport":"true"}}}]}"#;
    Policy::parse(text, PolicyKind::Identity)
}

fn repository() -> Result<Policy, PolicyError> {
    let text = r#"{"Statement":[{"Effect":"Deny","Principal":"*","Action":"ecr:*",
        "Condition":{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}]}"#;
    Policy::parse(text, PolicyKind::Resource(ResourceKind::EcrRepository))
}

/// What a registry knows about a request.
fn context(principal: &Principal) -> Context<'_> {
    let mut context = Context::new();
    context.set_principal(principal);
    for (key, value) in [
        ("aws:CurrentTime", "2026-01-15T12:00:00Z"),
        ("aws:EpochTime", "1768478400"),
        ("aws:SecureTransport", "true"),
        ("aws:SourceIp", "10.1.2.3"),
        ("aws:UserAgent", "docker/27.0"),
        ("aws:RequestedRegion", "us-east-1"),
        ("aws:ViaAWSService", "false"),
        ("aws:ResourceAccount", "123456789012"),
        ("aws:ResourceTag/Env", "dev"),
        ("ecr:ResourceTag/Env", "dev"),
    ] {
        context.set(key, value);
    }
    context
}

#[expect(clippy::print_stdout, reason = "printing the figure is what this is for")]
fn measure(name: &str, identity: &[Policy]) -> Result<(), Box<dyn std::error::Error>> {
    let mut user = Principal::user("arn:aws:iam::123456789012:user/alice", "AIDAEXAMPLEEXAMPLE")?;
    user.tags.push(("team".to_owned(), "web".to_owned()));
    let repository = repository()?;
    let resource_account = "123456789012".parse()?;
    let start = Instant::now();
    let mut allowed = 0_u32;
    for _ in 0..DECISIONS {
        let decision = evaluate(&EvaluationRequest {
            principal: &user,
            action: "ecr:BatchGetImage",
            resource: "arn:aws:ecr:us-east-1:123456789012:repository/web/app",
            resource_account,
            resource_level: true,
            context: &context(&user),
            policies: Policies {
                identity,
                resource: &[ResourcePolicy::new(&repository)],
                ..Policies::default()
            },
        });
        allowed += u32::from(decision.is_allowed());
    }
    let seconds = start.elapsed().as_secs_f64();
    let rate = f64::from(DECISIONS) / seconds;
    println!("{name}: {rate:.0} decisions a second, context built for each; {allowed} allowed");
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    measure("one policy", &[small()?])?;
    let mut many = (0..POLICIES).map(large).collect::<Result<Vec<_>, _>>()?;
    many.push(small()?);
    measure(&format!("{POLICIES} policies of {STATEMENTS} statements"), &many)
}

//! Policy documents: read, evaluated and shown. The first byte says which kind it is.

#![no_main]

use bonded_iam::{
    Context, EvaluationRequest, Policies, Policy, PolicyKind, Principal, ResourceKind,
    ResourcePolicy, evaluate,
};
use libfuzzer_sys::fuzz_target;

const DENY: &str = r#"{"Version":"2012-10-17","Statement":
    {"Effect":"Deny","Action":"*","Resource":"*"}}"#;

fn is_allowed(identity: &[Policy], resource: &[ResourcePolicy<'_>]) -> bool {
    let user = Principal::user("arn:aws:iam::123456789012:user/alice", "AIDAEXAMPLEEXAMPLE")
        .expect("the name of a user");
    let mut context = Context::new();
    context.set_principal(&user);
    for (key, value) in [
        ("aws:CurrentTime", "2026-01-15T12:00:00Z"),
        ("aws:SecureTransport", "true"),
        ("aws:SourceIp", "10.1.2.3"),
        ("ecr:ResourceTag/Env", "dev"),
    ] {
        context.set(key, value);
    }
    let policies = Policies { identity, resource, ..Policies::default() };
    let request = EvaluationRequest {
        principal: &user,
        action: "ecr:BatchGetImage",
        resource: "arn:aws:ecr:us-east-1:123456789012:repository/web/app",
        resource_account: "123456789012".parse().expect("twelve digits"),
        resource_level: true,
        context: &context,
        policies,
    };
    evaluate(&request).is_allowed()
}

fuzz_target!(|input: &[u8]| {
    let Some((first, text)) = input.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let kind = match first % 5 {
        0 => PolicyKind::Identity,
        1 => PolicyKind::Resource(ResourceKind::EcrRepository),
        2 => PolicyKind::Resource(ResourceKind::EcrRegistry),
        3 => PolicyKind::Resource(ResourceKind::RoleTrust),
        _ => PolicyKind::ServiceControl,
    };
    let strict = Policy::parse(text, kind);
    let stored = Policy::parse_stored(text, kind);
    assert!(strict.is_err() || stored.is_ok());
    let Ok(policy) = stored else { return };
    assert!(Policy::parse_stored(&policy.to_pretty(), kind).is_ok());
    let deny = Policy::parse(DENY, PolicyKind::Identity).expect("a policy");
    if matches!(kind, PolicyKind::Resource(_)) {
        let resource = [ResourcePolicy::new(&policy)];
        let _ = is_allowed(&[], &resource);
        assert!(!is_allowed(&[deny], &resource));
    } else {
        let _ = is_allowed(std::slice::from_ref(&policy), &[]);
        assert!(!is_allowed(&[policy, deny], &[]));
    }
});

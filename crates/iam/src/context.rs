//! The condition keys of one request.

use std::borrow::Cow;

use crate::{Principal, PrincipalKind};

/// The value of one condition key.
///
/// Whether a key has one value or a set of them is a property of the key, not of the
/// request: `aws:TagKeys` with one tag is still a set, and a condition without
/// `ForAllValues` or `ForAnyValue` does not match it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Values<'a> {
    /// The key is single-valued.
    Single(Cow<'a, str>),
    /// The key is multivalued. An empty set counts as a missing key.
    Many(Vec<Cow<'a, str>>),
}

/// What is known about a request, as condition keys and their values.
///
/// Names of keys ignore (ASCII) case, also the part after a slash in tag keys. A request has
/// some thirty keys, so a list that is searched from front to back is the fastest map.
#[derive(Clone, Debug, Default)]
pub struct Context<'a> {
    entries: Vec<(Cow<'a, str>, Values<'a>)>,
}

impl<'a> Context<'a> {
    /// A request about which nothing is known.
    pub fn new() -> Context<'a> {
        Context::default()
    }

    /// Sets a single-valued key, in place of what it had.
    pub fn set(&mut self, key: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, str>>) {
        self.put(key.into(), Values::Single(value.into()));
    }

    /// Sets a multivalued key, in place of what it had.
    pub fn set_many<V: Into<Cow<'a, str>>>(
        &mut self,
        key: impl Into<Cow<'a, str>>,
        values: impl IntoIterator<Item = V>,
    ) {
        self.put(key.into(), Values::Many(values.into_iter().map(Into::into).collect()));
    }

    fn put(&mut self, key: Cow<'a, str>, values: Values<'a>) {
        match self.entries.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(&key)) {
            Some((_, old)) => *old = values,
            None => self.entries.push((key, values)),
        }
    }

    /// What a key holds, or `None` if the request has no such key.
    pub fn get(&self, key: &str) -> Option<&Values<'a>> {
        self.entries.iter().find(|(known, _)| known.eq_ignore_ascii_case(key)).map(|(_, it)| it)
    }

    /// The value of a single-valued key. A set has none, not even a set of one.
    pub fn single(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            Values::Single(value) => Some(value),
            Values::Many(_) => None,
        }
    }

    /// All keys with their values, in the order they were set.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Values<'a>)> {
        self.entries.iter().map(|(key, values)| (key.as_ref(), values))
    }

    /// Sets the keys that follow from who is asking: `aws:PrincipalArn`,
    /// `aws:PrincipalAccount`, `aws:PrincipalType`, `aws:userid`, `aws:username`,
    /// `aws:PrincipalTag/…` and those about service principals.
    ///
    /// Keys of the session (MFA, token issue time, source identity) and of the
    /// organization are the caller's to set.
    pub fn set_principal(&mut self, principal: &'a Principal) {
        let account = match (principal.kind, principal.account) {
            (PrincipalKind::Anonymous, _) => Some(Cow::Borrowed("anonymous")),
            (_, account) => account.map(|account| Cow::Owned(account.to_string())),
        };
        if let Some(account) = account {
            self.set("aws:PrincipalAccount", account);
        }
        if let Some(kind) = principal.kind.condition_value() {
            self.set("aws:PrincipalType", kind);
        }
        if let Some(arn) = principal.condition_arn() {
            self.set("aws:PrincipalArn", arn);
        }
        if let Some(user_id) = principal.user_id() {
            self.set("aws:userid", user_id);
        }
        if let Some(name) = principal.user_name() {
            self.set("aws:username", name);
        }
        for (key, value) in &principal.tags {
            self.set(format!("aws:PrincipalTag/{key}"), value);
        }
        self.set_service(principal);
    }

    fn set_service(&mut self, principal: &'a Principal) {
        match principal.kind {
            PrincipalKind::Anonymous | PrincipalKind::WebIdentity | PrincipalKind::Saml => {}
            PrincipalKind::Service => {
                self.set("aws:PrincipalIsAWSService", "true");
                self.set("aws:PrincipalServiceName", &principal.arn);
                self.set_many("aws:PrincipalServiceNamesList", [&principal.arn]);
            }
            PrincipalKind::Root
            | PrincipalKind::User
            | PrincipalKind::RoleSession
            | PrincipalKind::FederatedUser => self.set("aws:PrincipalIsAWSService", "false"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_ignore_case_and_the_last_value_stays() {
        let mut context = Context::new();
        context.set("aws:SourceIp", "10.0.0.1");
        context.set("AWS:sourceip", "10.0.0.2");
        assert_eq!(context.single("aws:sourceIP"), Some("10.0.0.2"));
        assert_eq!(context.iter().count(), 1);
    }

    #[test]
    fn a_set_is_no_single_value() {
        let mut context = Context::new();
        context.set_many("aws:TagKeys", ["team"]);
        assert_eq!(context.single("aws:TagKeys"), None);
        assert_eq!(context.get("aws:TagKeys"), Some(&Values::Many(vec!["team".into()])));
    }

    #[test]
    fn a_role_session_is_known_by_its_role() {
        let mut session = Principal::role_session(
            "arn:aws:sts::123456789012:assumed-role/CI/run1",
            "arn:aws:iam::123456789012:role/build/CI",
            "AROAEXAMPLE",
        )
        .unwrap();
        session.tags.push(("Team".to_owned(), "red".to_owned()));
        let mut context = Context::new();
        context.set_principal(&session);
        let expected = [
            ("aws:PrincipalArn", Some("arn:aws:iam::123456789012:role/build/CI")),
            ("aws:PrincipalAccount", Some("123456789012")),
            ("aws:PrincipalType", Some("AssumedRole")),
            ("aws:userid", Some("AROAEXAMPLE:run1")),
            ("aws:username", None),
            ("aws:principaltag/team", Some("red")),
            ("aws:PrincipalIsAWSService", Some("false")),
        ];
        for (key, value) in expected {
            assert_eq!(context.single(key), value, "{key}");
        }
    }

    #[test]
    fn root_a_user_a_service_and_nobody() {
        let account = "123456789012".parse().unwrap();
        let root = Principal::root(account);
        let user = Principal::user("arn:aws:iam::123456789012:user/dev/alice", "AIDAX").unwrap();
        let service = Principal::service("lambda.amazonaws.com");
        let nobody = Principal::anonymous();
        for (principal, key, value) in [
            (&root, "aws:userid", Some("123456789012")),
            (&root, "aws:PrincipalType", Some("Account")),
            (&user, "aws:username", Some("alice")),
            (&user, "aws:userid", Some("AIDAX")),
            (&service, "aws:PrincipalServiceName", Some("lambda.amazonaws.com")),
            (&service, "aws:PrincipalArn", None),
            (&nobody, "aws:PrincipalAccount", Some("anonymous")),
            (&nobody, "aws:userid", None),
            (&nobody, "aws:PrincipalIsAWSService", None),
        ] {
            let mut context = Context::new();
            context.set_principal(principal);
            assert_eq!(context.single(key), value, "{principal:?} {key}");
        }
    }
}

//! The `Principal` and `NotPrincipal` elements.

use std::collections::BTreeMap;

use crate::arn::pieces;
use crate::principal::split;
use crate::statement::{Effect, PrincipalMatch};
use crate::{AccountId, Principal, PrincipalKind};

/// The shortest text that can be a unique id: AWS's have 21 characters.
const SHORTEST_UNIQUE_ID: usize = 16;

/// Whom a statement speaks about.
#[derive(Clone, Debug)]
pub(crate) struct Principals {
    not: bool,
    elements: Box<[Element]>,
}

/// One principal of a list.
#[derive(Clone, Debug)]
pub(crate) struct Element {
    written: Box<str>,
    named: Named,
    /// What the ARN meant when the policy was saved. Then only this counts.
    id: Option<Box<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Named {
    Everyone,
    Account(AccountId),
    User,
    Role {
        account: AccountId,
        name: Box<str>,
    },
    Session {
        name: Box<str>,
    },
    FederatedUser,
    UniqueId,
    Service,
    Provider,
    /// Well formed or not, nobody here is called so.
    Nobody,
}

impl Element {
    /// Reads one value under `AWS`, `Service`, `Federated` or `CanonicalUser`, or says, as
    /// the end of a sentence, what is wrong with it.
    pub(crate) fn parse(kind: &str, text: &str) -> Result<Element, &'static str> {
        let named = match kind {
            "AWS" => aws(text)?,
            "Service" if is_host(text) => Named::Service,
            "Service" => return Err("is not the name of a service"),
            "Federated" if is_host(text) || is_provider(text) => Named::Provider,
            "Federated" => return Err("is not an identity provider"),
            "CanonicalUser"
                if text.len() == 64 && text.bytes().all(|it| it.is_ascii_hexdigit()) =>
            {
                Named::Nobody
            }
            "CanonicalUser" => return Err("is not a canonical user id"),
            _ => return Err("has a type that is not AWS, Service, Federated or CanonicalUser"),
        };
        Ok(Element { written: text.into(), named, id: None })
    }

    /// `"Principal": "*"`.
    pub(crate) fn everyone() -> Element {
        Element { written: "*".into(), named: Named::Everyone, id: None }
    }

    /// Stands for something that was not understood.
    pub(crate) fn nobody(text: &str) -> Element {
        Element { written: text.into(), named: Named::Nobody, id: None }
    }

    /// The ARN, if this is a user, a role or a session, which can be made again.
    pub(crate) fn arn(&self) -> Option<&str> {
        matches!(self.named, Named::User | Named::Role { .. } | Named::Session { .. })
            .then_some(&*self.written)
    }

    fn matches(&self, principal: &Principal) -> Option<PrincipalMatch> {
        let has_id = |id: &str| principal.unique_id.as_deref() == Some(id);
        let by_id_or = |by_name: bool| match &self.id {
            Some(id) => has_id(id),
            None => by_name,
        };
        let written = &*self.written;
        let is_written = principal.arn == written;
        let issued_by = principal.issuer_arn.as_deref() == Some(written);
        match (&self.named, principal.kind) {
            (Named::Everyone, _) => Some(PrincipalMatch::Wildcard),
            (Named::Account(account), _) => {
                (principal.account == Some(*account)).then_some(PrincipalMatch::Account)
            }
            (Named::User, PrincipalKind::User) => {
                by_id_or(is_written).then_some(PrincipalMatch::Direct)
            }
            (Named::User, PrincipalKind::FederatedUser) => {
                by_id_or(issued_by).then_some(PrincipalMatch::Role)
            }
            (Named::Role { account, name }, PrincipalKind::RoleSession) => {
                by_id_or(principal.account == Some(*account) && principal.role_name() == Some(name))
                    .then_some(PrincipalMatch::Role)
            }
            (Named::Session { name }, PrincipalKind::RoleSession) => {
                let this_one = by_id_or(is_written)
                    && (self.id.is_none() || principal.session_name.as_deref() == Some(name));
                this_one.then_some(PrincipalMatch::Direct)
            }
            (Named::UniqueId, PrincipalKind::User) => {
                has_id(written).then_some(PrincipalMatch::Direct)
            }
            (Named::UniqueId, PrincipalKind::RoleSession | PrincipalKind::FederatedUser) => {
                has_id(written).then_some(PrincipalMatch::Role)
            }
            (Named::FederatedUser, PrincipalKind::FederatedUser)
            | (Named::Service, PrincipalKind::Service)
            | (Named::Provider, PrincipalKind::WebIdentity | PrincipalKind::Saml) => {
                is_written.then_some(PrincipalMatch::Direct)
            }
            _ => None,
        }
    }
}

impl Principals {
    pub(crate) fn new(not: bool, elements: Vec<Element>) -> Principals {
        Principals { not, elements: elements.into() }
    }

    pub(crate) fn elements(&self) -> &[Element] {
        &self.elements
    }

    /// The same principals, where an ARN that `ids` knows means that unique id only.
    pub(crate) fn with_ids(&self, ids: &BTreeMap<String, String>) -> Principals {
        let resolve = |element: &Element| {
            let id = element.arn().and_then(|arn| ids.get(arn)).map(|id| id.as_str().into());
            Element { id, ..element.clone() }
        };
        Principals { not: self.not, elements: self.elements.iter().map(resolve).collect() }
    }

    /// How the caller is meant, in the strongest way, or `None`.
    pub(crate) fn matches(
        &self,
        effect: Effect,
        principal: &Principal,
        has_boundary: bool,
    ) -> Option<PrincipalMatch> {
        let found = self.elements.iter().filter_map(|element| element.matches(principal));
        if !self.not {
            return found.max();
        }
        let spared = match effect {
            Effect::Allow => found.count() > 0,
            // Documented: such a deny hits everybody who has a boundary.
            Effect::Deny => !has_boundary && is_spared(principal.kind, &found.collect::<Vec<_>>()),
        };
        (!spared).then_some(PrincipalMatch::Wildcard)
    }
}

/// Whether a Deny with NotPrincipal lists all that a caller is: a user is also its account,
/// and a session is also its role.
fn is_spared(kind: PrincipalKind, found: &[PrincipalMatch]) -> bool {
    use PrincipalMatch::{Account, Direct, Role, Wildcard};
    let needed: &[PrincipalMatch] = match kind {
        PrincipalKind::Root => &[Account],
        PrincipalKind::User => &[Direct, Account],
        PrincipalKind::RoleSession | PrincipalKind::FederatedUser => &[Direct, Role, Account],
        PrincipalKind::Service | PrincipalKind::WebIdentity | PrincipalKind::Saml => &[Direct],
        PrincipalKind::Anonymous => &[Wildcard],
    };
    found.contains(&Wildcard) || needed.iter().all(|it| found.contains(it))
}

fn aws(text: &str) -> Result<Named, &'static str> {
    if text == "*" {
        return Ok(Named::Everyone);
    }
    if text.contains(['*', '?']) {
        return Err("has a wildcard inside, and only \"*\" alone is one");
    }
    if let Ok(account) = text.parse() {
        return Ok(Named::Account(account));
    }
    if is_unique_id(text) {
        return Ok(Named::UniqueId);
    }
    let Some([_, _, service, "", account, resource]) = pieces(text) else {
        return Err("is not *, an account id, an ARN or a unique id");
    };
    let account = account.parse().map_err(|_| "has no account id")?;
    if service == "iam" && resource == "root" {
        return Ok(Named::Account(account));
    }
    let last = |path: &str| path.rsplit('/').next().unwrap_or_default().into();
    if service == "iam" && split(text, "user/").is_some() {
        return Ok(Named::User);
    }
    if let Some((account, path)) = split(text, "role/").filter(|_| service == "iam") {
        return Ok(Named::Role { account, name: last(path) });
    }
    if split(text, "federated-user/").is_some() && service == "sts" {
        return Ok(Named::FederatedUser);
    }
    match split(text, "assumed-role/").and_then(|(_, session)| session.split_once('/')) {
        Some((_, name)) if service == "sts" => Ok(Named::Session { name: name.into() }),
        _ if resource.starts_with("group/") => Err("is a group, and groups are not principals"),
        _ => Err("is not the ARN of a user, a role, a session or an account"),
    }
}

fn is_unique_id(text: &str) -> bool {
    text.len() >= SHORTEST_UNIQUE_ID
        && (text.starts_with("AIDA") || text.starts_with("AROA"))
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

fn is_host(text: &str) -> bool {
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    text.contains('.') && !text.starts_with('.') && text.bytes().all(letters)
}

fn is_provider(text: &str) -> bool {
    let iam = pieces(text).is_some_and(|[_, _, service, ..]| service == "iam");
    let named = |kind| split(text, kind).is_some();
    iam && !text.contains(['*', '?']) && (named("oidc-provider/") || named("saml-provider/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: &str = "arn:aws:iam::123456789012:user/dev/alice";
    const ROLE: &str = "arn:aws:iam::123456789012:role/build/CI";
    const SESSION: &str = "arn:aws:sts::123456789012:assumed-role/CI/run1";
    const ROOT: &str = "arn:aws:iam::123456789012:root";

    fn session() -> Principal {
        Principal::role_session(SESSION, ROLE, "AROAEXAMPLEEXAMPLE").unwrap()
    }

    fn alice() -> Principal {
        Principal::user(USER, "AIDAEXAMPLEEXAMPLE").unwrap()
    }

    fn element(text: &str) -> Element {
        Element::parse("AWS", text).unwrap()
    }

    #[test]
    fn how_a_session_is_meant() {
        for (text, expected) in [
            ("*", Some(PrincipalMatch::Wildcard)),
            ("123456789012", Some(PrincipalMatch::Account)),
            (ROOT, Some(PrincipalMatch::Account)),
            ("999999999999", None),
            (ROLE, Some(PrincipalMatch::Role)),
            ("arn:aws:iam::123456789012:role/ci", None),
            ("arn:aws:iam::999999999999:role/CI", None),
            (SESSION, Some(PrincipalMatch::Direct)),
            ("arn:aws:sts::123456789012:assumed-role/CI/run2", None),
            ("AROAEXAMPLEEXAMPLE", Some(PrincipalMatch::Role)),
            ("AROAEXAMPLEEXAMPL2", None),
            (USER, None),
        ] {
            assert_eq!(element(text).matches(&session()), expected, "{text}");
        }
    }

    #[test]
    fn what_was_resolved_is_meant_by_id_only() {
        let principals = Principals::new(false, vec![element(USER), element(SESSION)]);
        let ids = |alice: &str, role: &str| {
            BTreeMap::from([
                (USER.to_owned(), alice.to_owned()),
                (SESSION.to_owned(), role.to_owned()),
            ])
        };
        let same = principals.with_ids(&ids("AIDAEXAMPLEEXAMPLE", "AROAEXAMPLEEXAMPLE"));
        let again = principals.with_ids(&ids("AIDAOLDOLDOLDOLD", "AROAOLDOLDOLDOLD"));
        for principal in [alice(), session()] {
            let direct = Some(PrincipalMatch::Direct);
            assert_eq!(principals.matches(Effect::Allow, &principal, false), direct);
            assert_eq!(same.matches(Effect::Allow, &principal, false), direct);
            assert_eq!(again.matches(Effect::Allow, &principal, false), None);
        }
        let other = Principal { session_name: Some("run2".to_owned()), ..session() };
        assert_eq!(same.matches(Effect::Allow, &other, false), None);
    }

    #[test]
    fn a_federated_user_is_meant_through_its_user() {
        let arn = "arn:aws:sts::123456789012:federated-user/alice";
        let own = Principal::federated_user(arn, USER, "AIDAEXAMPLEEXAMPLE").unwrap();
        let bobs = "arn:aws:iam::123456789012:user/bob";
        let by_bob = Principal::federated_user(arn, bobs, "AIDABOBBOBBOBBOB").unwrap();
        assert_eq!(element(USER).matches(&own), Some(PrincipalMatch::Role));
        assert_eq!(element(USER).matches(&by_bob), None, "a chosen name is no identity");
        assert_eq!(element(arn).matches(&by_bob), Some(PrincipalMatch::Direct));
    }

    #[test]
    fn services_and_providers_are_not_accounts() {
        let lambda = Principal::service("lambda.amazonaws.com");
        let named = Element::parse("Service", "lambda.amazonaws.com").unwrap();
        assert_eq!(named.matches(&lambda), Some(PrincipalMatch::Direct));
        assert_eq!(named.matches(&alice()), None);
        let provider = Element::parse("Federated", "accounts.google.com").unwrap();
        let token = Principal::web_identity("accounts.google.com");
        assert_eq!(provider.matches(&token), Some(PrincipalMatch::Direct));
        assert_eq!(element("*").matches(&Principal::anonymous()), Some(PrincipalMatch::Wildcard));
        assert_eq!(element(ROOT).matches(&Principal::anonymous()), None);
    }

    #[test]
    fn not_principal_spares_who_is_listed_whole() {
        let check = |list: &[&str], principal: &Principal, boundary: bool, hit: bool| {
            let elements = list.iter().map(|text| element(text)).collect();
            let found = Principals::new(true, elements).matches(Effect::Deny, principal, boundary);
            assert_eq!(found.is_some(), hit, "{list:?} {:?}", principal.kind);
        };
        check(&[USER], &alice(), false, true);
        check(&[USER, ROOT], &alice(), false, false);
        check(&[USER, ROOT], &alice(), true, true);
        check(&[ROLE, ROOT], &session(), false, true);
        check(&[SESSION, ROLE, ROOT], &session(), false, false);
        check(&[ROOT], &Principal::root("123456789012".parse().unwrap()), false, false);
        check(&[USER, ROOT], &Principal::anonymous(), false, true);
    }

    #[test]
    fn an_allow_with_not_principal_leaves_out_who_is_listed_at_all() {
        let principals = Principals::new(true, vec![element(ROOT)]);
        assert_eq!(principals.matches(Effect::Allow, &alice(), false), None);
        assert!(principals.matches(Effect::Allow, &Principal::anonymous(), false).is_some());
    }

    #[test]
    fn bad_names_are_refused() {
        for (kind, text) in [
            ("AWS", "alice"),
            ("AWS", "arn:aws:iam::123456789012:role/*"),
            ("AWS", "arn:aws:iam::123456789012:group/dev"),
            ("AWS", "arn:aws:iam::12345:user/x"),
            ("AWS", "arn:aws:ecr::123456789012:user/x"),
            ("AWS", "arn:aws:sts::123456789012:assumed-role/CI"),
            ("AWS", "12345678901"),
            ("Service", "*"),
            ("Service", "lambda"),
            ("Federated", "*"),
            ("Federated", "arn:aws:iam::123456789012:oidc-provider/*"),
            ("CanonicalUser", "x"),
            ("Foo", "x"),
        ] {
            assert!(Element::parse(kind, text).is_err(), "{kind} {text}");
        }
    }
}

//! Who asks, and how a `Principal` element names them.

use crate::arn::pieces;
use crate::{AccountId, InvalidArn};

/// What kind of caller this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PrincipalKind {
    /// The root user of an account.
    Root,
    /// An IAM user, by long-term keys or a session of `GetSessionToken`.
    User,
    /// A session of a role.
    RoleSession,
    /// A session of `GetFederationToken`.
    FederatedUser,
    /// The bearer of an OpenID Connect token, in `AssumeRoleWithWebIdentity` only.
    WebIdentity,
    /// The bearer of a SAML assertion, in `AssumeRoleWithSAML` only.
    Saml,
    /// A service that acts in its own name.
    Service,
    /// A request without credentials.
    Anonymous,
}

impl PrincipalKind {
    /// What `aws:PrincipalType` holds, or `None` where the key is absent.
    pub(crate) fn condition_value(self) -> Option<&'static str> {
        match self {
            PrincipalKind::Root => Some("Account"),
            PrincipalKind::User => Some("User"),
            PrincipalKind::RoleSession => Some("AssumedRole"),
            PrincipalKind::FederatedUser => Some("FederatedUser"),
            PrincipalKind::Anonymous => Some("Anonymous"),
            PrincipalKind::WebIdentity | PrincipalKind::Saml | PrincipalKind::Service => None,
        }
    }

    /// Whether policies of its own can speak for such a caller.
    pub(crate) fn has_identity_policies(self) -> bool {
        match self {
            PrincipalKind::Root
            | PrincipalKind::User
            | PrincipalKind::RoleSession
            | PrincipalKind::FederatedUser => true,
            PrincipalKind::WebIdentity
            | PrincipalKind::Saml
            | PrincipalKind::Service
            | PrincipalKind::Anonymous => false,
        }
    }
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// What kind of caller this is.
    pub kind: PrincipalKind,
    /// The account the caller belongs to; none for services, tokens of other issuers, nobody.
    pub account: Option<AccountId>,
    /// As the `Principal` element, denials and the audit log name the caller: the ARN of
    /// the user, the session or root, the name of a service, the ARN or host of an identity
    /// provider, `anonymous` for nobody.
    pub arn: String,
    /// The id that is never used again (`AIDA…`, `AROA…` without session name). A federated
    /// user has that of the user who issued it.
    pub unique_id: Option<String>,
    /// The ARN of the role of a role session, or of the user who issued a federated user.
    pub issuer_arn: Option<String>,
    /// The session name of a role session, or the name of a federated user.
    pub session_name: Option<String>,
    /// The tags of the user or role, then those of the session: of one key the last counts.
    pub tags: Vec<(String, String)>,
    /// The role belongs to a service: organization policies do not bind its sessions.
    pub service_linked: bool,
}

impl Principal {
    fn new(kind: PrincipalKind, arn: &str, account: Option<AccountId>) -> Principal {
        Principal {
            kind,
            account,
            arn: arn.to_owned(),
            unique_id: None,
            issuer_arn: None,
            session_name: None,
            tags: Vec::new(),
            service_linked: false,
        }
    }

    /// The root user of an account of the partition `aws`.
    pub fn root(account: AccountId) -> Principal {
        let arn = format!("arn:aws:iam::{account}:root");
        Principal::new(PrincipalKind::Root, &arn, Some(account))
    }

    /// An IAM user, by its ARN with path and its unique id.
    pub fn user(arn: &str, unique_id: &str) -> Result<Principal, InvalidArn> {
        let (account, _) = split(arn, "user/").ok_or(InvalidArn)?;
        let principal = Principal::new(PrincipalKind::User, arn, Some(account));
        Ok(Principal { unique_id: Some(unique_id.to_owned()), ..principal })
    }

    /// A role session, by its own ARN, the ARN of the role with its path, and the unique id
    /// of the role.
    pub fn role_session(
        arn: &str,
        role_arn: &str,
        unique_id: &str,
    ) -> Result<Principal, InvalidArn> {
        let (account, resource) = split(arn, "assumed-role/").ok_or(InvalidArn)?;
        let (_, session) = resource.split_once('/').ok_or(InvalidArn)?;
        let principal = Principal::new(PrincipalKind::RoleSession, arn, Some(account));
        Ok(Principal {
            unique_id: Some(unique_id.to_owned()),
            issuer_arn: Some(role_arn.to_owned()),
            session_name: Some(session.to_owned()),
            ..principal
        })
    }

    /// A federated user, by its own ARN, and the ARN and unique id of the user who issued it.
    pub fn federated_user(
        arn: &str,
        user_arn: &str,
        unique_id: &str,
    ) -> Result<Principal, InvalidArn> {
        let (account, name) = split(arn, "federated-user/").ok_or(InvalidArn)?;
        let principal = Principal::new(PrincipalKind::FederatedUser, arn, Some(account));
        Ok(Principal {
            unique_id: Some(unique_id.to_owned()),
            issuer_arn: Some(user_arn.to_owned()),
            session_name: Some(name.to_owned()),
            ..principal
        })
    }

    /// The bearer of a token of an OpenID Connect provider, by the provider's ARN or host.
    pub fn web_identity(provider: &str) -> Principal {
        Principal::new(PrincipalKind::WebIdentity, provider, None)
    }

    /// The bearer of an assertion of a SAML provider, by the provider's ARN.
    pub fn saml(provider: &str) -> Principal {
        Principal::new(PrincipalKind::Saml, provider, None)
    }

    /// A service, by its name: `replication.ecr.amazonaws.com`.
    pub fn service(name: &str) -> Principal {
        Principal::new(PrincipalKind::Service, name, None)
    }

    /// A request without credentials.
    pub fn anonymous() -> Principal {
        Principal::new(PrincipalKind::Anonymous, "anonymous", None)
    }

    /// `aws:PrincipalArn`: for a role session that of the role.
    pub(crate) fn condition_arn(&self) -> Option<&str> {
        match self.kind {
            PrincipalKind::Root | PrincipalKind::User | PrincipalKind::FederatedUser => {
                Some(&self.arn)
            }
            PrincipalKind::RoleSession => self.issuer_arn.as_deref(),
            PrincipalKind::WebIdentity
            | PrincipalKind::Saml
            | PrincipalKind::Service
            | PrincipalKind::Anonymous => None,
        }
    }

    /// `aws:userid`.
    pub(crate) fn user_id(&self) -> Option<String> {
        let session = self.session_name.as_deref().unwrap_or_default();
        match self.kind {
            PrincipalKind::Root => self.account.map(|account| account.to_string()),
            PrincipalKind::User => self.unique_id.clone(),
            PrincipalKind::RoleSession => {
                self.unique_id.as_deref().map(|id| format!("{id}:{session}"))
            }
            PrincipalKind::FederatedUser => {
                self.account.map(|account| format!("{account}:{session}"))
            }
            PrincipalKind::WebIdentity
            | PrincipalKind::Saml
            | PrincipalKind::Service
            | PrincipalKind::Anonymous => None,
        }
    }

    /// `aws:username`: users have one, and nobody else.
    pub(crate) fn user_name(&self) -> Option<&str> {
        let user = self.kind == PrincipalKind::User;
        self.arn.rsplit_once('/').map(|(_, name)| name).filter(|_| user)
    }

    /// The name of the role of a session, without its path: session ARNs have none.
    pub(crate) fn role_name(&self) -> Option<&str> {
        let (_, resource) = split(&self.arn, "assumed-role/")?;
        resource.split_once('/').map(|(role, _)| role)
    }
}

/// The account of an ARN, and what follows `kind` in its resource.
pub(crate) fn split<'a>(arn: &'a str, kind: &str) -> Option<(AccountId, &'a str)> {
    let [scheme, _, _, _, account, resource] = pieces(arn)?;
    let name = resource.strip_prefix(kind).filter(|name| !name.is_empty())?;
    (scheme == "arn").then_some((account.parse().ok()?, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_of_another_kind_are_refused() {
        let user = "arn:aws:iam::123456789012:user/alice";
        let session = "arn:aws:sts::123456789012:assumed-role/CI/run1";
        assert!(Principal::user(session, "AIDA").is_err());
        assert!(Principal::role_session(user, user, "AROA").is_err());
        assert!(Principal::role_session(session, user, "AROA").is_ok());
        assert!(Principal::federated_user(user, user, "AIDA").is_err());
        assert!(Principal::user("arn:aws:iam::123456789012:user/", "AIDA").is_err());
    }

    #[test]
    fn a_session_knows_its_role() {
        let session = Principal::role_session(
            "arn:aws:sts::123456789012:assumed-role/CI/run1",
            "arn:aws:iam::123456789012:role/x/CI",
            "AROA",
        );
        assert_eq!(session.unwrap().role_name(), Some("CI"));
    }
}

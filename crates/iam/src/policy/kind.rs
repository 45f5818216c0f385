//! The kinds of policies, and what differs between them.

use super::limits;

/// What a policy is attached to, and so what may stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyKind {
    /// A managed policy of users, groups and roles.
    Identity,
    /// An inline policy. Its limit is the largest, that of a role.
    IdentityInline,
    /// A managed policy used as permissions boundary.
    Boundary,
    /// Given when a session is made.
    Session,
    /// Of an organization, on the accounts of callers.
    ServiceControl,
    /// Of an organization, on the accounts of resources.
    ResourceControl,
    /// Of a private endpoint.
    Endpoint,
    /// Of a resource.
    Resource(ResourceKind),
}

/// What a resource policy is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceKind {
    /// An ECR repository.
    EcrRepository,
    /// An ECR registry: an account's repositories in one region.
    EcrRegistry,
    /// A role: who may assume it.
    RoleTrust,
    /// A KMS key.
    KmsKey,
    /// Any other resource.
    Other,
}

/// Whether an element may, must or must not stand in a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Required,
    Optional,
    Forbidden,
}

impl PolicyKind {
    pub(super) fn principal(self) -> Presence {
        match self {
            PolicyKind::Resource(_) | PolicyKind::ResourceControl => Presence::Required,
            PolicyKind::Endpoint => Presence::Optional,
            PolicyKind::Identity
            | PolicyKind::IdentityInline
            | PolicyKind::Boundary
            | PolicyKind::Session
            | PolicyKind::ServiceControl => Presence::Forbidden,
        }
    }

    pub(super) fn resource(self) -> Presence {
        match self {
            // Current ECR takes a Resource in a repository policy, older ECR refused it.
            PolicyKind::Resource(ResourceKind::EcrRepository) => Presence::Optional,
            PolicyKind::Resource(ResourceKind::RoleTrust) => Presence::Forbidden,
            _ => Presence::Required,
        }
    }

    /// The services whose actions may be named, or `None` for all.
    pub(super) fn services(self) -> Option<&'static str> {
        match self {
            PolicyKind::Resource(ResourceKind::EcrRepository | ResourceKind::EcrRegistry) => {
                Some("ecr")
            }
            PolicyKind::Resource(ResourceKind::RoleTrust) => Some("sts"),
            _ => None,
        }
    }

    /// Whether a `Sid` is letters and digits, and different in each statement.
    pub(super) fn has_strict_sids(self) -> bool {
        match self {
            PolicyKind::Resource(kind) => kind == ResourceKind::RoleTrust,
            PolicyKind::Endpoint => false,
            _ => true,
        }
    }

    /// The longest document of this kind, in the unit of [`PolicyKind::size_of`].
    pub fn size_limit(self) -> usize {
        match self {
            PolicyKind::Identity | PolicyKind::Boundary => limits::MANAGED,
            PolicyKind::IdentityInline => limits::INLINE_ROLE,
            PolicyKind::Session => limits::SESSION,
            PolicyKind::ServiceControl => limits::SERVICE_CONTROL,
            PolicyKind::ResourceControl => limits::RESOURCE_CONTROL,
            PolicyKind::Endpoint => limits::ENDPOINT,
            PolicyKind::Resource(ResourceKind::EcrRepository | ResourceKind::EcrRegistry) => {
                limits::ECR
            }
            PolicyKind::Resource(ResourceKind::RoleTrust) => limits::ROLE_TRUST,
            PolicyKind::Resource(ResourceKind::KmsKey) => limits::KMS_KEY,
            PolicyKind::Resource(ResourceKind::Other) => limits::OTHER_RESOURCE,
        }
    }

    /// How much a text counts: IAM leaves white space out, Organizations and endpoints count
    /// characters, the resources of other services bytes.
    pub fn size_of(self, text: &str) -> usize {
        match self {
            PolicyKind::Identity
            | PolicyKind::IdentityInline
            | PolicyKind::Boundary
            | PolicyKind::Session
            | PolicyKind::Resource(ResourceKind::RoleTrust) => {
                text.chars().filter(|it| !it.is_whitespace()).count()
            }
            PolicyKind::ServiceControl | PolicyKind::ResourceControl | PolicyKind::Endpoint => {
                text.chars().count()
            }
            PolicyKind::Resource(_) => text.len(),
        }
    }
}

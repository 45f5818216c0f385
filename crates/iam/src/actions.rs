//! The actions of ECR: what each one does, and whether it is about a repository.

/// The actions on which a registry policy with the policy scope V1 is heard.
pub const REGISTRY_POLICY_V1: [&str; 3] =
    ["ecr:ReplicateImage", "ecr:BatchImportUpstreamImage", "ecr:CreateRepository"];

/// What an action does, in AWS's five words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AccessLevel {
    /// Names of things.
    List,
    /// Contents of things.
    Read,
    /// Changes.
    Write,
    /// Tags of resources, which permissions may depend on.
    Tagging,
    /// Who may do what.
    PermissionsManagement,
}

impl AccessLevel {
    /// Whether such an action changes nothing.
    pub fn is_read_only(self) -> bool {
        matches!(self, AccessLevel::List | AccessLevel::Read)
    }
}

/// An action of ECR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EcrAction {
    /// The name behind `ecr:`.
    pub name: &'static str,
    /// What it does.
    pub access: AccessLevel,
    /// Whether it is about a repository. If not, a statement must say `*` to mean it.
    pub resource_level: bool,
}

impl EcrAction {
    /// Looks an action up by its full name, ignoring case. `None` if ECR has none like it.
    pub fn find(action: &str) -> Option<EcrAction> {
        let (service, name) = action.split_once(':')?;
        let is_ecr = service.eq_ignore_ascii_case("ecr");
        ECR.iter().copied().find(|it| is_ecr && it.name.eq_ignore_ascii_case(name))
    }
}

const fn repository(name: &'static str, access: AccessLevel) -> EcrAction {
    EcrAction { name, access, resource_level: true }
}

const fn registry(name: &'static str, access: AccessLevel) -> EcrAction {
    EcrAction { name, access, resource_level: false }
}

/// Every action of ECR, also those without an API operation of their name.
pub const ECR: &[EcrAction] = {
    use AccessLevel::{List, PermissionsManagement, Read, Tagging, Write};
    &[
        repository("BatchCheckLayerAvailability", Read),
        repository("BatchDeleteImage", Write),
        repository("BatchGetImage", Read),
        repository("BatchGetRepositoryScanningConfiguration", Read),
        repository("BatchImportUpstreamImage", Write),
        repository("CompleteLayerUpload", Write),
        registry("CreatePullThroughCacheRule", Write),
        repository("CreateRepository", Write),
        registry("CreateRepositoryCreationTemplate", Write),
        repository("DeleteLifecyclePolicy", Write),
        registry("DeletePullThroughCacheRule", Write),
        registry("DeleteRegistryPolicy", PermissionsManagement),
        repository("DeleteRepository", Write),
        registry("DeleteRepositoryCreationTemplate", Write),
        repository("DeleteRepositoryPolicy", PermissionsManagement),
        registry("DeleteSigningConfiguration", Write),
        registry("DeregisterPullTimeUpdateExclusion", Write),
        repository("DescribeImageReplicationStatus", Read),
        repository("DescribeImages", List),
        repository("DescribeImageScanFindings", Read),
        repository("DescribeImageSigningStatus", Read),
        registry("DescribePullThroughCacheRules", List),
        registry("DescribeRegistry", Read),
        repository("DescribeRepositories", Read),
        registry("DescribeRepositoryCreationTemplates", Read),
        registry("GetAccountSetting", Read),
        registry("GetAuthorizationToken", Read),
        repository("GetDownloadUrlForLayer", Read),
        repository("GetImageCopyStatus", Read),
        repository("GetLifecyclePolicy", Read),
        repository("GetLifecyclePolicyPreview", Read),
        registry("GetRegistryPolicy", Read),
        registry("GetRegistryScanningConfiguration", Read),
        repository("GetRepositoryPolicy", Read),
        registry("GetSigningConfiguration", Read),
        repository("InitiateLayerUpload", Write),
        repository("ListImages", List),
        registry("ListPullTimeUpdateExclusions", List),
        repository("ListTagsForResource", Read),
        registry("PutAccountSetting", Write),
        repository("PutImage", Write),
        repository("PutImageScanningConfiguration", Write),
        repository("PutImageTagMutability", Write),
        repository("PutLifecyclePolicy", Write),
        registry("PutRegistryPolicy", PermissionsManagement),
        registry("PutRegistryScanningConfiguration", Write),
        registry("PutReplicationConfiguration", Write),
        registry("PutSigningConfiguration", Write),
        registry("RegisterPullTimeUpdateExclusion", Write),
        repository("ReplicateImage", Write),
        repository("SetRepositoryPolicy", PermissionsManagement),
        repository("StartImageScan", Write),
        repository("StartLifecyclePolicyPreview", Write),
        repository("TagResource", Tagging),
        repository("UntagResource", Tagging),
        repository("UpdateImageStorageClass", Write),
        registry("UpdatePullThroughCacheRule", Write),
        registry("UpdateRepositoryCreationTemplate", Write),
        repository("UploadLayerPart", Write),
        registry("ValidatePullThroughCacheRule", Read),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_found_by_name() {
        let token = EcrAction::find("ECR:getauthorizationtoken").unwrap();
        assert!(!token.resource_level && token.access.is_read_only());
        assert!(EcrAction::find("ecr:PutImage").unwrap().resource_level);
        assert_eq!(EcrAction::find("ecr:NoSuchAction"), None);
        assert_eq!(EcrAction::find("s3:PutImage"), None);
    }

    #[test]
    fn no_action_is_listed_twice() {
        assert!(ECR.is_sorted_by(|a, b| a.name.to_lowercase() < b.name.to_lowercase()));
    }
}

//! `CreateRepository` makes an empty repository in the caller's registry.

use bonded_account::Tags;
use bonded_account::access::Ask;
use bonded_db::{NewRepository, RepositoryRow};
use bonded_iam::AccountId;
use bonded_oci::RepositoryName;
use serde::{Deserialize, Serialize};

use crate::ecr::types::{
    EncryptionConfiguration, ImageScanningConfiguration, ImageTagMutabilityExclusionFilter,
    Repository, Tag,
};
use crate::repository::{self, Mutability, tags_hash};
use crate::{Call, Error, Result, check, repository_arn};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Input {
    registry_id: Option<String>,
    repository_name: Option<String>,
    tags: Option<Vec<Tag>>,
    image_tag_mutability: Option<String>,
    image_tag_mutability_exclusion_filters: Option<Vec<ImageTagMutabilityExclusionFilter>>,
    image_scanning_configuration: Option<ImageScanningConfiguration>,
    encryption_configuration: Option<EncryptionConfiguration>,
}

#[derive(Serialize)]
pub(super) struct Output {
    repository: Repository,
}

struct Checked {
    account: AccountId,
    name: RepositoryName,
    tags: Tags,
    mutability: Mutability,
    scan_on_push: bool,
}

impl Input {
    /// In the model's order of members: the first failure is the one that AWS tells.
    fn check(self, call: &Call) -> Result<Checked> {
        let account = check::registry_id(call, self.registry_id.as_deref())?;
        let name = check::repository_name("repositoryName", self.repository_name.as_deref())?;
        let tags = repository::check_tags(self.tags.unwrap_or_default())?;
        let mutability = Mutability::check(
            self.image_tag_mutability.as_deref().unwrap_or("MUTABLE"),
            self.image_tag_mutability_exclusion_filters,
        )?;
        let scan_on_push = self.image_scanning_configuration.is_some_and(|it| it.scan_on_push);
        if let Some(encryption) = self.encryption_configuration {
            check_encryption(&encryption)?;
        }
        Ok(Checked { account, name, tags, mutability, scan_on_push })
    }
}

fn check_encryption(encryption: &EncryptionConfiguration) -> Result<()> {
    let member = "encryptionConfiguration.encryptionType";
    let kind = check::required(member, encryption.encryption_type.as_deref())?;
    match check::one_of(member, kind, &["AES256", "KMS", "KMS_DSSE"])? {
        "AES256" if encryption.kms_key.is_none() => Ok(()),
        "AES256" => Err(check::invalid(
            "encryptionConfiguration",
            "KMS key must not be specified when encryption type is AES256",
        )),
        _ => Err(check::invalid(
            "encryptionConfiguration",
            "This registry has no KMS keys yet: encryption type must be AES256",
        )),
    }
}

pub(super) async fn run(call: &Call, input: Input) -> Result<Output> {
    let Checked { account, name, tags, mutability, scan_on_push } = input.check(call)?;
    let arn = repository_arn(call.region(), &account, name.as_str());
    let ask = Ask::new("ecr:CreateRepository").with_request_tags(&tags);
    let registry = call.authorize(ask, &account, &arn).await?;
    if !tags.is_empty() {
        let ask = Ask::new("ecr:TagResource").with_request_tags(&tags);
        call.authorize(ask, &account, &arn).await?;
    }
    let limit = call.registry.settings.repositories_per_registry;
    if registry.repository_count >= limit {
        return Err(Error::LimitExceeded(format!(
            "A registry can have at most {limit} repositories"
        )));
    }
    let domain = {
        let (account, region) = (account.to_string(), call.region().to_owned());
        call.db().read_point(move |tx| tx.key_domain(&account, &region, "AES256", "")).await?
    };
    let domain = domain
        .ok_or_else(|| Error::Internal(anyhow::anyhow!("registry {account} has no key domain")))?;
    // Ids and times are made here: the closure may run more than once.
    let new = NewRepository {
        id: call.new_id(),
        account: account.to_string(),
        region: call.region().to_owned(),
        name: name.as_str().to_owned(),
        key_domain: domain.id,
        created_at: call.now(),
        tag_mutability: mutability.name.clone(),
        exclusion_filters: mutability.filters_json(),
        scan_on_push,
    };
    let row = row(&new, &domain.kind);
    let repository = Repository::from_row(call, &row)?;
    let response = serde_json::json!({ "repository": repository.for_record(row.created_at) });
    let note = call.note(Some(&response), &[]);
    let hash = tags_hash(&tags);
    call.db()
        .write(move |tx| {
            if tx.insert_repository(&new)?.is_none() {
                return Err(Error::RepositoryAlreadyExists {
                    name: name.clone(),
                    registry_id: account,
                });
            }
            if !tags.is_empty() {
                tx.set_repository_tags(&new.id, &tags, hash.as_ref())?;
            }
            tx.note(&note)?; // the audit record: no repository without it
            Ok(())
        })
        .await?;
    Ok(Output { repository })
}

fn row(new: &NewRepository, kind: &str) -> RepositoryRow {
    RepositoryRow {
        id: new.id,
        account: new.account.clone(),
        region: new.region.clone(),
        name: new.name.clone(),
        key_domain: new.key_domain,
        encryption_type: kind.to_owned(),
        key_name: String::new(),
        created_at: new.created_at,
        tag_mutability: new.tag_mutability.clone(),
        exclusion_filters: new.exclusion_filters.clone(),
        scan_on_push: new.scan_on_push,
        image_count: 0,
    }
}

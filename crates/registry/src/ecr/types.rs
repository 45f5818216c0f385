//! Structures that several operations of the ECR API share, as they are on the wire.

use bonded_account::Tags;
use bonded_db::{AccountSetting, ImageFilter, RepositoryRow};
use bonded_iam::{AccountId, Arn};
use bonded_oci::{Digest, Reference, RepositoryName};
use serde::{Deserialize, Serialize};

use crate::{Call, check, repository_arn};

/// A timestamp on JSON's wire: seconds since 1970 with their fraction.
pub fn timestamp(micros: i64) -> serde_json::Number {
    #[expect(clippy::as_conversions, reason = "microseconds of this age fit a double exactly")]
    let seconds = micros as f64 / 1_000_000.0;
    serde_json::Number::from_f64(seconds).unwrap_or_else(|| 0.into())
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageIdentifier {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_tag: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageFailure {
    pub image_id: ImageIdentifier,
    pub failure_code: &'static str,
    pub failure_reason: String,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageScanningConfiguration {
    #[serde(default)]
    pub scan_on_push: bool,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EncryptionConfiguration {
    pub encryption_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageTagMutabilityExclusionFilter {
    pub filter_type: Option<String>,
    pub filter: Option<String>,
}

/// A resource tag. Its members are capitalised on the wire.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Tag {
    #[serde(rename = "Key")]
    pub key: Option<String>,
    #[serde(rename = "Value")]
    pub value: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Repository {
    pub repository_arn: String,
    pub registry_id: String,
    pub repository_name: String,
    pub repository_uri: String,
    pub created_at: serde_json::Number,
    pub image_tag_mutability: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub image_tag_mutability_exclusion_filters: Vec<ImageTagMutabilityExclusionFilter>,
    pub image_scanning_configuration: ImageScanningConfiguration,
    pub encryption_configuration: EncryptionConfiguration,
}

impl Repository {
    pub fn from_row(call: &Call, row: &RepositoryRow) -> crate::Result<Repository> {
        let account = check::registry_id(call, Some(&row.account))?;
        let endpoint = (call.registry.endpoints)(&row.account, &row.region);
        let kms_key = Some(row.key_name.clone()).filter(|key| !key.is_empty());
        Ok(Repository {
            repository_arn: repository_arn(&row.region, &account, &row.name),
            registry_id: row.account.clone(),
            repository_uri: format!("{}/{}", endpoint.host, row.name),
            repository_name: row.name.clone(),
            created_at: timestamp(row.created_at),
            image_tag_mutability: row.tag_mutability.clone(),
            image_tag_mutability_exclusion_filters: filters(&row.exclusion_filters),
            image_scanning_configuration: ImageScanningConfiguration {
                scan_on_push: row.scan_on_push,
            },
            encryption_configuration: EncryptionConfiguration {
                encryption_type: Some(row.encryption_type.clone()),
                kms_key,
            },
        })
    }
}

/// The filters of a row, as the API shows them.
pub fn filters(stored: &str) -> Vec<ImageTagMutabilityExclusionFilter> {
    let values: Vec<String> = serde_json::from_str(stored).unwrap_or_default();
    let filter = |value| ImageTagMutabilityExclusionFilter {
        filter_type: Some("WILDCARD".to_owned()),
        filter: Some(value),
    };
    values.into_iter().map(filter).collect()
}

impl Tag {
    pub fn from_tags(tags: Tags) -> Vec<Tag> {
        tags.into_iter().map(|(key, value)| Tag { key: Some(key), value: Some(value) }).collect()
    }
}

impl ImageIdentifier {
    /// What the identifier means: the tag if there is one, because the digest is then compared.
    pub fn reference(&self) -> Result<Reference, ImageFailure> {
        let digest = match &self.image_digest {
            None => None,
            Some(text) => Some(text.parse::<Digest>().map_err(|_| {
                self.failure(
                    "InvalidImageDigest",
                    "Invalid request parameters: image digest should satisfy the regex \
                     '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'",
                )
            })?),
        };
        match (&self.image_tag, digest) {
            (Some(tag), _) => match tag.parse() {
                Ok(tag) => Ok(Reference::Tag(tag)),
                Err(_) => Err(self.failure(
                    "InvalidImageTag",
                    "Invalid request parameters: image tag should satisfy the regex \
                     '[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}'",
                )),
            },
            (None, Some(digest)) => Ok(Reference::Digest(digest)),
            (None, None) => Err(self.failure(
                "MissingDigestAndTag",
                "Invalid request parameters: both tag and digest cannot be null",
            )),
        }
    }

    pub fn failure(&self, failure_code: &'static str, failure_reason: &str) -> ImageFailure {
        ImageFailure {
            image_id: self.clone(),
            failure_code,
            failure_reason: failure_reason.to_owned(),
        }
    }
}

/// One to a hundred image ids.
pub fn image_ids(ids: Option<Vec<ImageIdentifier>>) -> crate::Result<Vec<ImageIdentifier>> {
    let ids = check::required("imageIds", ids)?;
    check::length("imageIds", ids.len(), 1, 100)?;
    Ok(ids)
}

/// `filter` of ListImages and DescribeImages.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageFilterInput {
    tag_status: Option<String>,
    image_status: Option<String>,
}

/// The images that a list shows, status by status.
pub struct ImageFilters {
    pub filters: Vec<ImageFilter>,
    /// Tells this filter from others in a page token.
    pub text: String,
}

impl ImageFilterInput {
    /// Archived images are hidden unless they are asked for.
    pub fn check(input: Option<ImageFilterInput>) -> crate::Result<ImageFilters> {
        let input = input.unwrap_or_default();
        let tag_status = input.tag_status.as_deref().unwrap_or("ANY");
        check::one_of("filter.tagStatus", tag_status, &["TAGGED", "UNTAGGED", "ANY"])?;
        let status = input.image_status.as_deref().unwrap_or("ACTIVE");
        let all = ["ACTIVE", "ARCHIVED", "ACTIVATING"];
        check::one_of("filter.imageStatus", status, &["ACTIVE", "ARCHIVED", "ACTIVATING", "ANY"])?;
        let tagged = match tag_status {
            "TAGGED" => Some(true),
            "UNTAGGED" => Some(false),
            _ => None,
        };
        let filters = all
            .into_iter()
            .filter(|one| status == "ANY" || status == *one)
            .map(|one| ImageFilter { status: one.to_owned(), tagged })
            .collect();
        Ok(ImageFilters { filters, text: format!("{tag_status} {status}") })
    }
}

impl Repository {
    /// The same as a record's `responseElements` shows it: times are text there.
    pub fn for_record(&self, created_at: i64) -> serde_json::Value {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        if let Some(members) = value.as_object_mut() {
            members.insert("createdAt".to_owned(), record_time(created_at).into());
        }
        value
    }
}

/// `Jul 11, 2018 10:17:44 PM`
fn record_time(micros: i64) -> String {
    let time = jiff::Timestamp::from_microsecond(micros).unwrap_or_default();
    time.strftime("%b %-d, %Y %-I:%M:%S %p").to_string()
}

/// Account and name of the repository that an ARN names in the region that was asked.
pub fn repository_of_arn(
    call: &Call,
    arn: Option<&str>,
) -> crate::Result<(AccountId, RepositoryName)> {
    let text = check::required("resourceArn", arn)?;
    let invalid = || check::invalid("resourceArn", "Invalid ARN");
    let arn: Arn = text.parse().map_err(|_| invalid())?;
    if arn.service != "ecr" || arn.region != call.region() {
        return Err(invalid());
    }
    let account = arn.account.parse().map_err(|_| invalid())?;
    let name = arn.resource.strip_prefix("repository/").ok_or_else(invalid)?;
    Ok((account, name.parse().map_err(|_| invalid())?))
}

/// A setting by its name.
pub fn account_setting(name: &str) -> crate::Result<AccountSetting> {
    let names = ["BASIC_SCAN_TYPE_VERSION", "REGISTRY_POLICY_SCOPE", "BLOB_MOUNTING"];
    check::length("name", name.len(), 1, 64)?;
    Ok(match check::one_of("name", name, &names)? {
        "BASIC_SCAN_TYPE_VERSION" => AccountSetting::BasicScanTypeVersion,
        "REGISTRY_POLICY_SCOPE" => AccountSetting::RegistryPolicyScope,
        _ => AccountSetting::BlobMounting,
    })
}

/// The ARN of a user or role, without wildcards.
pub fn principal_arn(text: Option<String>) -> crate::Result<String> {
    const MEMBER: &str = "principalArn";
    let text = check::required(MEMBER, text)?;
    check::length(MEMBER, text.len(), 0, 200)?;
    if is_user_or_role(&text) { Ok(text) } else { Err(check::invalid(MEMBER, PRINCIPAL_ARN)) }
}

const PRINCIPAL_ARN: &str = "Member must satisfy regular expression pattern: \
     ^arn:aws(-[a-z]+)*:iam::[0-9]{12}:(role|user)/[\\w+=,.@-]+(/[\\w+=,.@-]+)*$";

fn is_user_or_role(text: &str) -> bool {
    let Ok(arn) = text.parse::<Arn>() else { return false };
    let path = arn.resource.strip_prefix("role/").or_else(|| arn.resource.strip_prefix("user/"));
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    let segment = |segment: &str| !segment.is_empty() && segment.chars().all(allowed);
    arn.service == "iam"
        && arn.region.is_empty()
        && arn.partition.starts_with("aws")
        && arn.account_id().is_some()
        && path.is_some_and(|path| path.split('/').all(segment))
}

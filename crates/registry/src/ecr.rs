//! The ECR API, one file for each operation.
//!
//! A file has the name of its operation and holds all of it: `Input` and `Output` as they are on
//! the wire, and `run`, which decides access, applies the rule and keeps the change. What two
//! operations share is a function in `src/`, not a call from one operation to another.

mod batch_check_layer_availability;
mod batch_delete_image;
mod batch_get_image;
mod complete_layer_upload;
mod create_repository;
mod delete_registry_policy;
mod delete_repository;
mod delete_repository_policy;
mod deregister_pull_time_update_exclusion;
mod describe_images;
mod describe_registry;
mod describe_repositories;
mod get_account_setting;
mod get_authorization_token;
mod get_download_url_for_layer;
mod get_registry_policy;
mod get_repository_policy;
mod initiate_layer_upload;
mod list_image_referrers;
mod list_images;
mod list_pull_time_update_exclusions;
mod list_tags_for_resource;
mod put_account_setting;
mod put_image;
mod put_image_scanning_configuration;
mod put_image_tag_mutability;
mod put_registry_policy;
mod register_pull_time_update_exclusion;
mod set_repository_policy;
mod tag_resource;
pub mod types;
mod untag_resource;
mod upload_layer_part;

use bonded_account::audit::LONGEST_PARAMETERS;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use crate::{Call, Error, Result};

/// The operations we serve, as the service model names them, and whether each only reads.
///
/// `tests/ecr/test_model.py` compares this list with the model of the SDKs.
pub const OPERATIONS: &[(&str, bool)] = &[
    ("BatchCheckLayerAvailability", true),
    ("BatchDeleteImage", false),
    ("BatchGetImage", true),
    ("CompleteLayerUpload", false),
    ("CreateRepository", false),
    ("DeleteRegistryPolicy", false),
    ("DeleteRepository", false),
    ("DeleteRepositoryPolicy", false),
    ("DeregisterPullTimeUpdateExclusion", false),
    ("DescribeImages", true),
    ("DescribeRegistry", true),
    ("DescribeRepositories", true),
    ("GetAccountSetting", true),
    ("GetAuthorizationToken", true),
    ("GetDownloadUrlForLayer", true),
    ("GetRegistryPolicy", true),
    ("GetRepositoryPolicy", true),
    ("InitiateLayerUpload", false),
    ("ListImageReferrers", true),
    ("ListImages", true),
    ("ListPullTimeUpdateExclusions", true),
    ("ListTagsForResource", true),
    ("PutAccountSetting", false),
    ("PutImage", false),
    ("PutImageScanningConfiguration", false),
    ("PutImageTagMutability", false),
    ("PutRegistryPolicy", false),
    ("RegisterPullTimeUpdateExclusion", false),
    ("SetRepositoryPolicy", false),
    ("TagResource", false),
    ("UntagResource", false),
    ("UploadLayerPart", false),
];

/// An operation by its name: the name as a constant, and whether it only reads.
pub fn find(operation: &str) -> Option<(&'static str, bool)> {
    OPERATIONS.iter().find(|(name, _)| *name == operation).copied()
}

/// Runs the call's operation on a JSON body and returns the JSON of its output. The body is
/// taken so that the bytes of a layer part can be decoded in place.
pub async fn run(call: &Call, body: Vec<u8>) -> Result<Vec<u8>> {
    match call.operation {
        "BatchCheckLayerAvailability" => {
            json(call, &body, |it| batch_check_layer_availability::run(call, it)).await
        }
        "BatchDeleteImage" => json(call, &body, |it| batch_delete_image::run(call, it)).await,
        "BatchGetImage" => json(call, &body, |it| batch_get_image::run(call, it)).await,
        "CompleteLayerUpload" => json(call, &body, |it| complete_layer_upload::run(call, it)).await,
        "CreateRepository" => json(call, &body, |it| create_repository::run(call, it)).await,
        "DeleteRegistryPolicy" => {
            json(call, &body, |it| delete_registry_policy::run(call, it)).await
        }
        "DeleteRepository" => json(call, &body, |it| delete_repository::run(call, it)).await,
        "DeleteRepositoryPolicy" => {
            json(call, &body, |it| delete_repository_policy::run(call, it)).await
        }
        "DeregisterPullTimeUpdateExclusion" => {
            json(call, &body, |it| deregister_pull_time_update_exclusion::run(call, it)).await
        }
        "DescribeImages" => json(call, &body, |it| describe_images::run(call, it)).await,
        "DescribeRegistry" => json(call, &body, |it| describe_registry::run(call, it)).await,
        "DescribeRepositories" => {
            json(call, &body, |it| describe_repositories::run(call, it)).await
        }
        "GetAccountSetting" => json(call, &body, |it| get_account_setting::run(call, it)).await,
        "GetAuthorizationToken" => {
            json(call, &body, |it| get_authorization_token::run(call, it)).await
        }
        "GetDownloadUrlForLayer" => {
            json(call, &body, |it| get_download_url_for_layer::run(call, it)).await
        }
        "GetRegistryPolicy" => json(call, &body, |it| get_registry_policy::run(call, it)).await,
        "GetRepositoryPolicy" => json(call, &body, |it| get_repository_policy::run(call, it)).await,
        "InitiateLayerUpload" => json(call, &body, |it| initiate_layer_upload::run(call, it)).await,
        "ListImageReferrers" => json(call, &body, |it| list_image_referrers::run(call, it)).await,
        "ListImages" => json(call, &body, |it| list_images::run(call, it)).await,
        "ListPullTimeUpdateExclusions" => {
            json(call, &body, |it| list_pull_time_update_exclusions::run(call, it)).await
        }
        "ListTagsForResource" => {
            json(call, &body, |it| list_tags_for_resource::run(call, it)).await
        }
        "PutAccountSetting" => json(call, &body, |it| put_account_setting::run(call, it)).await,
        "PutImage" => json(call, &body, |it| put_image::run(call, it)).await,
        "PutImageScanningConfiguration" => {
            json(call, &body, |it| put_image_scanning_configuration::run(call, it)).await
        }
        "PutImageTagMutability" => {
            json(call, &body, |it| put_image_tag_mutability::run(call, it)).await
        }
        "PutRegistryPolicy" => json(call, &body, |it| put_registry_policy::run(call, it)).await,
        "RegisterPullTimeUpdateExclusion" => {
            json(call, &body, |it| register_pull_time_update_exclusion::run(call, it)).await
        }
        "SetRepositoryPolicy" => json(call, &body, |it| set_repository_policy::run(call, it)).await,
        "TagResource" => json(call, &body, |it| tag_resource::run(call, it)).await,
        "UntagResource" => json(call, &body, |it| untag_resource::run(call, it)).await,
        "UploadLayerPart" => output(upload_layer_part::run(call, body).await?),
        _ => Err(Error::UnknownOperation),
    }
}

async fn json<I, O, F>(call: &Call, body: &[u8], run: impl FnOnce(I) -> F) -> Result<Vec<u8>>
where
    I: DeserializeOwned,
    O: Serialize,
    F: Future<Output = Result<O>>,
{
    // JSON of another shape, nothing more: the rules are `Input::check`'s.
    let unreadable = |error: serde_json::Error| Error::Serialization(error.to_string());
    let input = serde_json::from_slice(body).map_err(unreadable)?;
    call.set_parameters(parameters(body));
    output(run(input).await?)
}

/// Where a manifest stands in a body.
#[derive(Deserialize)]
struct WithManifest<'a> {
    #[serde(borrow, rename = "imageManifest")]
    manifest: Option<&'a RawValue>,
}

/// `requestParameters` of the record: the input, without a manifest, because manifests are kept
/// sealed and records are not. `None` if they are longer than a record takes: a stranger's JSON
/// becomes no tree of values, many times its size, before that is known.
fn parameters(body: &[u8]) -> Option<Box<RawValue>> {
    let text: &RawValue = serde_json::from_slice(body).ok()?;
    let WithManifest { manifest } = serde_json::from_str(text.get()).ok()?;
    let left = text.get().len() - manifest.map_or(0, |manifest| manifest.get().len());
    if left > LONGEST_PARAMETERS {
        return None;
    }
    let Some(manifest) = manifest else { return Some(text.to_owned()) };
    let start = manifest.get().as_ptr().addr() - text.get().as_ptr().addr();
    let before = text.get().get(..start)?;
    let after = text.get().get(start + manifest.get().len()..)?;
    let mut members: Map<String, Value> =
        serde_json::from_str(&format!("{before}null{after}")).ok()?;
    members.remove("imageManifest");
    to_raw_value(&members).ok()
}

fn output(output: impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(&output).map_err(|error| Error::Internal(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: Option<&str>) {
        let found = parameters(body.as_bytes());
        assert_eq!(found.as_ref().map(|it| it.get()), expected, "{body:.80}");
    }

    #[test]
    fn a_record_has_the_parameters_without_the_manifest() {
        check(r#" {"a":[1, 2]} "#, Some(r#"{"a":[1, 2]}"#));
        check(r#"{"a":1,"imageManifest":"{\"b\":2}","c":3}"#, Some(r#"{"a":1,"c":3}"#));
        // The same name, written in another way.
        check(r#"{"image\u004danifest":"{}","c":3}"#, Some(r#"{"c":3}"#));
        check("[", None);
    }

    #[test]
    fn what_a_record_does_not_take_is_not_read() {
        let long = "x".repeat(LONGEST_PARAMETERS);
        check(&format!(r#"{{"a":"{long}"}}"#), None);
        check(&format!(r#"{{"imageManifest":"{long}","a":1}}"#), Some(r#"{"a":1}"#));
        let zeros = "0,".repeat(LONGEST_PARAMETERS);
        check(&format!(r#"{{"imageManifest":"x","a":[{zeros}0]}}"#), None);
    }
}

//! Everything that changes something, each with what must be there before it.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bonded_oci::{Algorithm, Digest, Tag};
use bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{ACCOUNT, Harness, REGION, permit};
use crate::image::{self, Plane, Put};
use crate::jobs::{self, Schedule};
use crate::layer;
use crate::upload::tests::{Client, bytes, sha256};
use crate::{Error, Result};

const HOUR: i64 = 3_600 * 1_000_000;
/// Of a blob. Half of it is too large for a row, too.
const SIZE: usize = 150_000;
static WHOLE: LazyLock<Vec<u8>> = LazyLock::new(|| bytes(SIZE));
const POLICY: &str = r#"{"Version":"2012-10-17","Statement":[{"Sid":"all","Effect":"Allow",
    "Principal":{"AWS":"arn:aws:iam::210987654321:root"},"Action":"ecr:BatchGetImage"}]}"#;
const REGISTRY_POLICY: &str = r#"{"Version":"2012-10-17","Statement":[{"Sid":"all",
    "Effect":"Allow","Principal":{"AWS":"arn:aws:iam::210987654321:root"},
    "Action":"ecr:ReplicateImage","Resource":"arn:aws:ecr:us-east-1:123456789012:repository/*"}]}"#;
const EXCLUDED: &str = "arn:aws:iam::123456789012:user/robot";

/// Something that changes rows or objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Begin,
    InitiateLayerUpload,
    Append,
    AppendMore,
    UploadLayerPart,
    PutLastBytes,
    PutEnd,
    PutOtherAlgorithm,
    PutKnownBlob,
    PutDamagedBlob,
    CompleteLayerUpload,
    Single,
    SingleSmall,
    Cancel,
    Mount,
    MountFromAny,
    HeadOldBlob,
    CheckOldLayers,
    DeleteBlob,
    Push,

    PutManifest,
    PutImage,
    PutIndex,
    PutReferrer,
    PutManyTags,
    Retag,
    DeleteTag,
    DeleteLastTag,
    DeleteManifest,
    DeleteIndex,
    BatchDelete,

    CreateRepository,
    DeleteRepository,
    ForceDeleteRepository,
    PutImageTagMutability,
    PutImageScanningConfiguration,
    SetRepositoryPolicy,
    DeleteRepositoryPolicy,
    TagResource,
    UntagResource,
    PutRegistryPolicy,
    DeleteRegistryPolicy,
    PutAccountSetting,
    RegisterExclusion,
    DeregisterExclusion,

    CollectMemberships,
    CollectBlobs,
    ExpireUploads,
    CollectRepositories,
    RemoveObjects,
    Scheduled,
}

use Operation as O;

pub(super) const UPLOADS: &[Operation] = &[
    O::Begin,
    O::InitiateLayerUpload,
    O::Append,
    O::AppendMore,
    O::UploadLayerPart,
    O::PutLastBytes,
    O::PutEnd,
    O::PutOtherAlgorithm,
    O::PutKnownBlob,
    O::PutDamagedBlob,
    O::CompleteLayerUpload,
    O::Single,
    O::SingleSmall,
    O::Cancel,
    O::Mount,
    O::MountFromAny,
    O::HeadOldBlob,
    O::CheckOldLayers,
    O::DeleteBlob,
    O::Push,
];

pub(super) const IMAGES: &[Operation] = &[
    O::PutManifest,
    O::PutImage,
    O::PutIndex,
    O::PutReferrer,
    O::PutManyTags,
    O::Retag,
    O::DeleteTag,
    O::DeleteLastTag,
    O::DeleteManifest,
    O::DeleteIndex,
    O::BatchDelete,
];

pub(super) const REPOSITORIES: &[Operation] = &[
    O::CreateRepository,
    O::DeleteRepository,
    O::ForceDeleteRepository,
    O::PutImageTagMutability,
    O::PutImageScanningConfiguration,
    O::SetRepositoryPolicy,
    O::DeleteRepositoryPolicy,
    O::TagResource,
    O::UntagResource,
    O::PutRegistryPolicy,
    O::DeleteRegistryPolicy,
    O::PutAccountSetting,
    O::RegisterExclusion,
    O::DeregisterExclusion,
];

pub(super) const JOBS: &[Operation] = &[
    O::CollectMemberships,
    O::CollectBlobs,
    O::ExpireUploads,
    O::CollectRepositories,
    O::RemoveObjects,
    O::Scheduled,
];

/// The manifest of an image of two blobs that were pushed.
pub(super) fn manifest(subject: Option<&str>) -> String {
    let descriptor = |kind: &str, bytes: &[u8]| {
        json!({
            "mediaType": format!("application/vnd.oci.image.{kind}"),
            "digest": sha256(bytes).to_string(),
            "size": bytes.len(),
        })
    };
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("config.v1+json", b"{}"),
        "layers": [descriptor("layer.v1.tar+gzip", &WHOLE)],
    });
    if let Some(subject) = subject {
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let subject =
            json!({ "mediaType": kind, "digest": digest(subject), "size": subject.len() });
        manifest["subject"] = subject;
    }
    manifest.to_string()
}

/// The same image, but for an annotation.
fn other_manifest() -> String {
    manifest(None).replacen('{', "{\"annotations\":{\"number\":\"2\"},", 1)
}

fn index() -> String {
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let children: Vec<_> = [manifest(None), other_manifest()]
        .iter()
        .map(|it| json!({ "mediaType": kind, "digest": digest(it), "size": it.len() }))
        .collect();
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": children,
    })
    .to_string()
}

fn digest(manifest: &str) -> String {
    sha256(manifest.as_bytes()).to_string()
}

fn sha512(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha512, bytes)
}

pub(super) async fn api(harness: &Harness, operation: &'static str, input: Value) -> Result<Value> {
    let call = harness.call(operation);
    let output = crate::ecr::run(&call, serde_json::to_vec(&input).unwrap()).await?;
    Ok(serde_json::from_slice(&output).unwrap())
}

/// `PUT` of a manifest, by its digest or under tags.
pub(super) async fn put(harness: &Harness, manifest: &str, tags: &[&str]) -> Result<()> {
    let call = harness.call("PutImage");
    let permit = permit(&call, "ecr:PutImage", "app").await?;
    let put = Put {
        plane: Plane::V2,
        bytes: Bytes::from(manifest.to_owned()),
        media_type: None,
        tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
        digest: None,
    };
    image::put(&call, &permit, put).await.map(drop)
}

/// `DELETE` of a tag or a manifest.
pub(super) async fn delete(harness: &Harness, reference: &str) -> Result<()> {
    let call = harness.call("BatchDeleteImage");
    let permit = permit(&call, "ecr:BatchDeleteImage", "app").await?;
    let deleted = match reference.parse::<Digest>() {
        Ok(digest) => image::delete_by_digest(&call, &permit, &digest).await,
        Err(_) => {
            let tag: Tag = reference.parse().unwrap();
            image::delete_tag(&call, &permit, &tag, None, true).await
        }
    };
    deleted.map(drop)
}

async fn mount(harness: &Harness, from: Option<&str>) -> Result<()> {
    let call = harness.call("MountLayer");
    let permit = permit(&call, "ecr:InitiateLayerUpload", "other").await?;
    let mounted = layer::mount(&call, &permit, &sha256(b"{}"), from).await?;
    assert!(mounted);
    Ok(())
}

async fn set_policy(harness: &Harness) -> Result<()> {
    let input = json!({ "repositoryName": "app", "policyText": POLICY, "force": true });
    api(harness, "SetRepositoryPolicy", input).await.map(drop)
}

fn arn() -> String {
    format!("arn:aws:ecr:{REGION}:{ACCOUNT}:repository/app")
}

async fn tag_resource(harness: &Harness) -> Result<()> {
    let tags = json!([{ "Key": "team", "Value": "blue" }, { "Key": "stage", "Value": "test" }]);
    api(harness, "TagResource", json!({ "resourceArn": arn(), "tags": tags })).await.map(drop)
}

/// What a job has done once, it has not to do again: so a step follows after the leases.
async fn step(harness: &Harness) -> Result<()> {
    jobs::step(&harness.registry, &Schedule::default()).await
}

impl Operation {
    /// It is many transactions, or changes more than its own answer tells.
    pub(super) fn is_job(self) -> bool {
        JOBS.contains(&self)
    }

    /// What fails leaves an open upload that nobody can go on with, until it has been idle.
    pub(super) fn leaves_uploads(self) -> bool {
        matches!(
            self,
            O::Begin | O::InitiateLayerUpload | O::Append | O::Single | O::SingleSmall | O::Push
        )
    }

    /// How the same request is answered when it was done before and nobody knew.
    pub(super) fn is_done_already(self, error: &Error) -> bool {
        match self {
            O::PutLastBytes
            | O::PutEnd
            | O::PutOtherAlgorithm
            | O::PutKnownBlob
            | O::PutDamagedBlob
            | O::CompleteLayerUpload
            | O::Cancel => matches!(error, Error::UploadNotFound { .. }),
            O::DeleteBlob => matches!(error, Error::LayerNotFound { .. }),
            O::PutImage => matches!(error, Error::ImageAlreadyExists { .. }),
            O::DeleteTag | O::DeleteManifest | O::DeleteIndex => {
                matches!(error, Error::ImageNotFound { .. })
            }
            O::CreateRepository => matches!(error, Error::RepositoryAlreadyExists { .. }),
            O::DeleteRepository | O::ForceDeleteRepository => {
                matches!(error, Error::RepositoryNotFound { .. })
            }
            O::DeleteRepositoryPolicy => matches!(error, Error::RepositoryPolicyNotFound { .. }),
            O::DeleteRegistryPolicy => matches!(error, Error::RegistryPolicyNotFound { .. }),
            O::RegisterExclusion => matches!(error, Error::ExclusionAlreadyExists(_)),
            O::DeregisterExclusion => matches!(error, Error::ExclusionNotFound(_)),
            _ => false,
        }
    }

    /// The API's operation that it is, or that a request of `/v2/` stands for.
    fn name(self) -> Option<&'static str> {
        Some(match self {
            O::Begin | O::InitiateLayerUpload => "InitiateLayerUpload",
            O::Append | O::AppendMore | O::UploadLayerPart => "UploadLayerPart",
            O::PutEnd | O::CompleteLayerUpload | O::Single => "CompleteLayerUpload",
            O::PutManifest | O::PutImage | O::Retag => "PutImage",
            O::DeleteTag | O::DeleteManifest | O::BatchDelete => "BatchDeleteImage",
            O::CreateRepository => "CreateRepository",
            O::DeleteRepository | O::ForceDeleteRepository => "DeleteRepository",
            O::PutImageTagMutability => "PutImageTagMutability",
            O::PutImageScanningConfiguration => "PutImageScanningConfiguration",
            O::SetRepositoryPolicy => "SetRepositoryPolicy",
            O::DeleteRepositoryPolicy => "DeleteRepositoryPolicy",
            O::TagResource => "TagResource",
            O::UntagResource => "UntagResource",
            O::PutRegistryPolicy => "PutRegistryPolicy",
            O::DeleteRegistryPolicy => "DeleteRegistryPolicy",
            O::PutAccountSetting => "PutAccountSetting",
            O::RegisterExclusion => "RegisterPullTimeUpdateExclusion",
            O::DeregisterExclusion => "DeregisterPullTimeUpdateExclusion",
            _ => return None,
        })
    }

    /// Makes what must be there before, and gives the upload that goes on.
    pub(super) async fn prepare(self, harness: &Harness) -> Uuid {
        if !matches!(self, O::CreateRepository) {
            harness.repository("app").await;
        }
        let client = Client::root(harness, "app");
        match self {
            _ if UPLOADS.contains(&self) => self.prepare_upload(harness, &client).await,
            _ if IMAGES.contains(&self) => self.prepare_image(harness, &client).await,
            _ if JOBS.contains(&self) => self.prepare_job(harness, &client).await,
            _ => self.prepare_repository(harness, &client).await,
        }
    }

    async fn prepare_upload(self, harness: &Harness, client: &Client<'_>) -> Uuid {
        let whole = &*WHOLE;
        harness.repository("other").await;
        match self {
            O::Begin
            | O::InitiateLayerUpload
            | O::Append
            | O::Single
            | O::SingleSmall
            | O::Push => {
                return Uuid::nil();
            }
            O::Mount | O::MountFromAny | O::DeleteBlob => {
                client.push(b"{}").await;
                return Uuid::nil();
            }
            O::HeadOldBlob | O::CheckOldLayers => {
                client.push(b"{}").await;
                harness.clock.advance(7 * HOUR);
                return Uuid::nil();
            }
            O::PutKnownBlob => {
                Client::root(harness, "other").push(whole).await;
            }
            O::PutDamagedBlob => {
                client.push(whole).await;
                harness.execute("UPDATE blob SET damaged = 1").await;
            }
            _ => {}
        }
        let id = client.begin().await.unwrap();
        client.append(id, None, &whole[..SIZE / 2]).await.unwrap();
        if !matches!(self, O::AppendMore | O::UploadLayerPart | O::PutLastBytes) {
            client.append(id, None, &whole[SIZE / 2..]).await.unwrap();
        }
        id
    }

    async fn prepare_image(self, harness: &Harness, client: &Client<'_>) -> Uuid {
        client.push(b"{}").await;
        client.push(&WHOLE).await;
        let (one, two) = (manifest(None), other_manifest());
        match self {
            O::PutManifest | O::PutImage | O::PutReferrer | O::PutManyTags => {}
            O::PutIndex | O::DeleteIndex => {
                put(harness, &one, &["one"]).await.unwrap();
                put(harness, &two, &[]).await.unwrap();
                if self == O::DeleteIndex {
                    put(harness, &index(), &["index", "all"]).await.unwrap();
                }
            }
            O::DeleteLastTag => put(harness, &one, &["one"]).await.unwrap(),
            _ => {
                put(harness, &one, &["one", "first"]).await.unwrap();
                put(harness, &two, &["two"]).await.unwrap();
            }
        }
        Uuid::nil()
    }

    async fn prepare_repository(self, harness: &Harness, client: &Client<'_>) -> Uuid {
        match self {
            O::ForceDeleteRepository => {
                client.push(b"{}").await;
                client.push(&WHOLE).await;
                put(harness, &manifest(None), &["one"]).await.unwrap();
            }
            O::DeleteRepositoryPolicy => set_policy(harness).await.unwrap(),
            O::UntagResource => tag_resource(harness).await.unwrap(),
            O::DeleteRegistryPolicy => {
                O::PutRegistryPolicy.act(harness, Uuid::nil()).await.unwrap();
            }
            O::DeregisterExclusion => O::RegisterExclusion.act(harness, Uuid::nil()).await.unwrap(),
            _ => {}
        }
        Uuid::nil()
    }

    async fn prepare_job(self, harness: &Harness, client: &Client<'_>) -> Uuid {
        harness.repository("kept").await;
        client.push(b"{}").await;
        client.push(&WHOLE).await;
        if self != O::CollectMemberships {
            put(harness, &manifest(None), &["one"]).await.unwrap();
        }
        // What every step does besides is done.
        step(harness).await.unwrap();
        match self {
            O::ExpireUploads | O::RemoveObjects => {
                let id = client.begin().await.unwrap();
                client.append(id, None, &WHOLE).await.unwrap();
                client.append(id, None, &WHOLE).await.unwrap();
                client.begin().await.unwrap();
            }
            O::CollectRepositories => {
                Client::root(harness, "kept").push(b"{}").await;
                O::ForceDeleteRepository.act(harness, Uuid::nil()).await.unwrap();
                return Uuid::nil();
            }
            _ => {}
        }
        match self {
            O::CollectBlobs => {
                delete(harness, &digest(&manifest(None))).await.unwrap();
                harness.clock.advance(25 * HOUR);
                step(harness).await.unwrap();
                harness.clock.advance(25 * HOUR);
            }
            O::RemoveObjects => {
                harness.clock.advance(25 * HOUR);
                step(harness).await.unwrap();
                harness.clock.advance(2 * HOUR);
            }
            O::Scheduled => harness.clock.advance(8 * 24 * HOUR),
            _ => harness.clock.advance(25 * HOUR),
        }
        // The scheduled jobs are a case of their own.
        if self != O::Scheduled {
            let later = "UPDATE job SET due = 9000000000000000";
            harness.execute(later).await;
        }
        Uuid::nil()
    }

    /// Does it once.
    pub(super) async fn act(self, harness: &Harness, upload: Uuid) -> Result<()> {
        let client = Client::root(harness, "app");
        match self {
            _ if UPLOADS.contains(&self) => self.act_on_upload(harness, &client, upload).await,
            _ if IMAGES.contains(&self) => self.act_on_image(harness).await,
            _ if JOBS.contains(&self) => step(harness).await,
            _ => self.act_on_repository(harness).await,
        }
    }

    async fn act_on_upload(
        self,
        harness: &Harness,
        client: &Client<'_>,
        upload: Uuid,
    ) -> Result<()> {
        let whole = &*WHOLE;
        let (half, rest) = whole.split_at(SIZE / 2);
        let start = SIZE / 2;
        let end = sha256(whole);
        match self {
            O::Begin => client.begin().await.map(drop),
            O::InitiateLayerUpload => {
                let input = json!({ "repositoryName": "app" });
                api(harness, "InitiateLayerUpload", input).await.map(drop)
            }
            O::Append => {
                let id = client.begin().await?;
                client.append(id, None, half).await.map(drop)
            }
            O::AppendMore => {
                client.append(upload, Some(start.try_into().unwrap()), rest).await.map(drop)
            }
            O::UploadLayerPart => {
                let input = json!({
                    "repositoryName": "app",
                    "uploadId": upload,
                    "partFirstByte": start,
                    "partLastByte": SIZE - 1,
                    "layerPartBlob": STANDARD.encode(rest),
                });
                api(harness, "UploadLayerPart", input).await.map(drop)
            }
            O::PutLastBytes => client.put(upload, end, rest).await.map(drop),
            O::PutEnd | O::PutKnownBlob | O::PutDamagedBlob => {
                client.put(upload, end, b"").await.map(drop)
            }
            O::PutOtherAlgorithm => client.put(upload, sha512(whole), b"").await.map(drop),
            O::CompleteLayerUpload => {
                let digests = [end.to_string()];
                let input =
                    json!({ "repositoryName": "app", "uploadId": upload, "layerDigests": digests });
                api(harness, "CompleteLayerUpload", input).await.map(drop)
            }
            O::Single => client.single(end, whole).await.map(drop),
            O::SingleSmall => client.single(sha256(b"{}"), b"{}").await.map(drop),
            O::Cancel => client.cancel(upload).await,
            O::Mount => mount(harness, Some("app")).await,
            O::MountFromAny => mount(harness, None).await,
            O::HeadOldBlob => client.head(sha256(b"{}")).await.map(drop),
            O::CheckOldLayers => {
                let digests = [sha256(b"{}").to_string()];
                let input = json!({ "repositoryName": "app", "layerDigests": digests });
                let answer = api(harness, "BatchCheckLayerAvailability", input).await?;
                assert_eq!(answer["layers"][0]["layerAvailability"], "AVAILABLE");
                Ok(())
            }
            O::DeleteBlob => {
                let call = harness.call("DeleteLayer");
                let permit = permit(&call, "ecr:BatchDeleteImage", "app").await?;
                layer::delete(&call, &permit, &sha256(b"{}")).await
            }
            _ => {
                client.single(sha256(b"{}"), b"{}").await?;
                let id = client.begin().await?;
                client.append(id, None, half).await?;
                client.append(id, None, rest).await?;
                client.put(id, end, b"").await?;
                put(harness, &manifest(None), &["latest"]).await
            }
        }
    }

    async fn act_on_image(self, harness: &Harness) -> Result<()> {
        let (one, two) = (manifest(None), other_manifest());
        match self {
            O::PutManifest => put(harness, &one, &[]).await,
            O::PutImage => {
                let input =
                    json!({ "repositoryName": "app", "imageManifest": one, "imageTag": "one" });
                api(harness, "PutImage", input).await.map(drop)
            }
            O::PutIndex => put(harness, &index(), &["index"]).await,
            O::PutReferrer => put(harness, &manifest(Some(&one)), &[]).await,
            O::PutManyTags => put(harness, &one, &["a", "b", "c"]).await,
            O::Retag => put(harness, &two, &["one"]).await,
            O::DeleteTag => delete(harness, "one").await,
            O::DeleteLastTag => {
                let ids = json!([{ "imageTag": "one" }]);
                batch_delete(harness, &ids).await
            }
            O::DeleteManifest => delete(harness, &digest(&one)).await,
            O::DeleteIndex => delete(harness, &digest(&index())).await,
            _ => {
                let ids = json!([
                    { "imageTag": "first" },
                    { "imageDigest": digest(&one) },
                    { "imageTag": "two" },
                ]);
                batch_delete(harness, &ids).await
            }
        }
    }

    async fn act_on_repository(self, harness: &Harness) -> Result<()> {
        let (operation, input) = match self {
            O::CreateRepository => {
                let tags = json!([{ "Key": "team", "Value": "blue" }]);
                ("CreateRepository", json!({ "repositoryName": "app", "tags": tags }))
            }
            O::DeleteRepository => ("DeleteRepository", json!({ "repositoryName": "app" })),
            O::ForceDeleteRepository => {
                ("DeleteRepository", json!({ "repositoryName": "app", "force": true }))
            }
            O::PutImageTagMutability => {
                let input = json!({ "repositoryName": "app", "imageTagMutability": "IMMUTABLE" });
                ("PutImageTagMutability", input)
            }
            O::PutImageScanningConfiguration => {
                let on = json!({ "scanOnPush": true });
                let input = json!({ "repositoryName": "app", "imageScanningConfiguration": on });
                ("PutImageScanningConfiguration", input)
            }
            O::SetRepositoryPolicy => return set_policy(harness).await,
            O::DeleteRepositoryPolicy => {
                ("DeleteRepositoryPolicy", json!({ "repositoryName": "app" }))
            }
            O::TagResource => return tag_resource(harness).await,
            O::UntagResource => {
                ("UntagResource", json!({ "resourceArn": arn(), "tagKeys": ["team"] }))
            }
            O::PutRegistryPolicy => ("PutRegistryPolicy", json!({ "policyText": REGISTRY_POLICY })),
            O::DeleteRegistryPolicy => ("DeleteRegistryPolicy", json!({})),
            O::PutAccountSetting => {
                ("PutAccountSetting", json!({ "name": "BLOB_MOUNTING", "value": "DISABLED" }))
            }
            O::RegisterExclusion => {
                ("RegisterPullTimeUpdateExclusion", json!({ "principalArn": EXCLUDED }))
            }
            _ => ("DeregisterPullTimeUpdateExclusion", json!({ "principalArn": EXCLUDED })),
        };
        api(harness, operation, input).await.map(drop)
    }
}

async fn batch_delete(harness: &Harness, ids: &Value) -> Result<()> {
    let input = json!({ "repositoryName": "app", "imageIds": ids });
    api(harness, "BatchDeleteImage", input).await.map(drop)
}

#[test]
fn every_operation_that_changes_something_is_here() {
    let all = [UPLOADS, IMAGES, REPOSITORIES].concat();
    let names: Vec<_> = all.into_iter().filter_map(Operation::name).collect();
    for (operation, read_only) in crate::ecr::OPERATIONS {
        assert!(*read_only || names.contains(operation), "{operation} is not tested");
    }
}

//! Why an operation failed, in the terms of the ECR API.

use bonded_iam::AccountId;
use bonded_oci::{Digest, RepositoryName};
use uuid::Uuid;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation failed, in the terms of the ECR API.
///
/// A variant is the exception of the same name, and its text is the service's, because clients
/// match on it. Both wire forms of an error are made from this type by a `match` without a
/// wildcard: `json.rs` and `v2.rs` of `bonded-server`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("Invalid parameter at '{member}' failed to satisfy constraint: '{constraint}'")]
    InvalidParameter { member: &'static str, constraint: String },

    /// An InvalidParameterException with a sentence of its own.
    #[error("{0}")]
    InvalidRequest(String),

    /// A manifest that is not one, is too large or contradicts its media type.
    #[error("{0}")]
    InvalidManifest(String),

    #[error("{0}")]
    Validation(String),

    #[error(
        "The repository with name '{name}' does not exist in the registry with id '{registry_id}'"
    )]
    RepositoryNotFound { name: String, registry_id: AccountId },

    #[error(
        "The repository with name '{name}' already exists in the registry with id '{registry_id}'"
    )]
    RepositoryAlreadyExists { name: RepositoryName, registry_id: AccountId },

    #[error(
        "The repository with name '{name}' in registry with id '{registry_id}' cannot be deleted \
         because it still contains images"
    )]
    RepositoryNotEmpty { name: String, registry_id: AccountId },

    #[error(
        "Repository policy does not exist for the repository with name '{name}' in the registry \
         with id '{registry_id}'"
    )]
    RepositoryPolicyNotFound { name: String, registry_id: AccountId },

    #[error("Registry policy does not exist in the registry with id '{registry_id}'")]
    RegistryPolicyNotFound { registry_id: AccountId },

    /// On `/v2/` a manifest that is not there.
    #[error(
        "The image with imageId {{imageDigest:'{}', imageTag:'{}'}} does not exist within the \
         repository with name '{name}' in the registry with id '{registry_id}'",
        or_null(.digest), or_null(.tag)
    )]
    ImageNotFound {
        digest: Option<String>,
        tag: Option<String>,
        name: String,
        registry_id: AccountId,
    },

    #[error(
        "Image with digest '{digest}' and tag '{}' already exists in the repository with name \
         '{name}' in registry with id '{registry_id}'",
        or_null(.tag)
    )]
    ImageAlreadyExists { digest: Digest, tag: Option<String>, name: String, registry_id: AccountId },

    #[error(
        "The image tag '{tag}' already exists in the '{name}' repository and cannot be \
         overwritten because the tag is immutable."
    )]
    ImageTagAlreadyExists { tag: String, name: String },

    #[error(
        "The image with digest '{digest}' in repository '{name}' and registry ID '{registry_id}' \
         does not match the image digest that Amazon ECR has calculated."
    )]
    ImageDigestDoesNotMatch { digest: String, name: String, registry_id: AccountId },

    /// A manifest names blobs that the repository does not hold.
    #[error(
        "Layers with digests '[{}]' required for pushing image into repository with name '{name}' \
         in the registry with id '{registry_id}' do not exist", list(.digests)
    )]
    LayersNotFound { digests: Vec<String>, name: String, registry_id: AccountId },

    /// One layer was asked for that the repository does not hold.
    #[error(
        "The layer with digest {digest} does not exist within the repository with name '{name}' \
         in the registry with id '{registry_id}'"
    )]
    LayerNotFound { digest: String, name: String, registry_id: AccountId },

    #[error(
        "Images with digests '[{}]' required for pushing image into repository with name '{name}' \
         in the registry with id '{registry_id}' do not exist", list(.digests)
    )]
    ReferencedImagesNotFound { digests: Vec<String>, name: String, registry_id: AccountId },

    #[error(
        "The layer with digest {digest} is not referenced by an image in the repository with name \
         '{name}' in the registry with id '{registry_id}'"
    )]
    LayerInaccessible { digest: String, name: String, registry_id: AccountId },

    #[error(
        "The layer with digest '{digest}' already exists in the repository with name '{name}' in \
         registry with id '{registry_id}'"
    )]
    LayerAlreadyExists { digest: Digest, name: String, registry_id: AccountId },

    #[error("None of the provided layer digests match the calculated layer digest")]
    InvalidLayer,

    #[error("{}", layer_part(*.first, *.received))]
    InvalidLayerPart {
        first: u64,
        /// How many bytes the upload has: the next part starts here.
        received: u64,
        upload_id: Uuid,
        name: String,
        registry_id: AccountId,
    },

    #[error("All layer parts except the last part should be at least 5MB")]
    LayerPartTooSmall,

    #[error(
        "The upload with id '{upload_id}' in the repository with name '{name}' in registry with \
         id '{registry_id}' cannot be completed because it does not have any parts"
    )]
    EmptyUpload { upload_id: Uuid, name: String, registry_id: AccountId },

    #[error(
        "The upload with id '{upload_id}' does not exist in the repository with name '{name}' in \
         registry with id '{registry_id}'"
    )]
    UploadNotFound { upload_id: String, name: String, registry_id: AccountId },

    /// A quota of ours or of the API; names the figure.
    #[error("{0}")]
    LimitExceeded(String),

    /// Too much at once: on `/v2/` 429 TOOMANYREQUESTS, in the API LimitExceeded.
    #[error("{0}")]
    TooManyRequests(String),

    /// Less than `limits.min_free` is free where the objects lie.
    #[error("The registry has no room for more layers")]
    NoSpace,

    #[error("{0}")]
    TooManyTags(String),

    #[error("{0}")]
    InvalidTagParameter(String),

    #[error("The pull time update exclusion for principal '{0}' already exists")]
    ExclusionAlreadyExists(String),

    #[error("The pull time update exclusion for principal '{0}' does not exist")]
    ExclusionNotFound(String),

    /// The key of the repository's key domain is not enabled.
    #[error("The key of the repository is not enabled")]
    Kms { kms_error: &'static str },

    /// `DELETE` of a manifest that an index lists, or of a blob that a manifest uses.
    #[error("{0}")]
    Referenced(String),

    #[error("{0}")]
    AccessDenied(String),

    #[error("Unknown operation")]
    UnknownOperation,

    #[error("The request could not be read: {0}")]
    Serialization(String),

    /// The database could not say whether the change was made, or is not there: try again.
    #[error("The service is not available, try again")]
    Unavailable(#[source] anyhow::Error),

    #[error(transparent)]
    Account(#[from] bonded_account::Error),

    /// Ours, not the caller's. The caller is told no more than that it happened; the cause is
    /// logged once, where the response is written.
    #[error("internal error")]
    Internal(#[source] anyhow::Error),
}

impl Error {
    /// The exception's name on the wire and in the audit record.
    pub fn exception(&self) -> &'static str {
        match self {
            Error::InvalidParameter { .. }
            | Error::InvalidRequest(_)
            | Error::InvalidManifest(_) => "InvalidParameterException",
            Error::Validation(_) => "ValidationException",
            Error::RepositoryNotFound { .. } => "RepositoryNotFoundException",
            Error::RepositoryAlreadyExists { .. } => "RepositoryAlreadyExistsException",
            Error::RepositoryNotEmpty { .. } => "RepositoryNotEmptyException",
            Error::RepositoryPolicyNotFound { .. } => "RepositoryPolicyNotFoundException",
            Error::RegistryPolicyNotFound { .. } => "RegistryPolicyNotFoundException",
            Error::ImageNotFound { .. } => "ImageNotFoundException",
            Error::ImageAlreadyExists { .. } => "ImageAlreadyExistsException",
            Error::ImageTagAlreadyExists { .. } => "ImageTagAlreadyExistsException",
            Error::ImageDigestDoesNotMatch { .. } => "ImageDigestDoesNotMatchException",
            Error::LayersNotFound { .. } | Error::LayerNotFound { .. } => "LayersNotFoundException",
            Error::ReferencedImagesNotFound { .. } => "ReferencedImagesNotFoundException",
            Error::LayerInaccessible { .. } => "LayerInaccessibleException",
            Error::LayerAlreadyExists { .. } => "LayerAlreadyExistsException",
            Error::InvalidLayer => "InvalidLayerException",
            Error::InvalidLayerPart { .. } => "InvalidLayerPartException",
            Error::LayerPartTooSmall => "LayerPartTooSmallException",
            Error::EmptyUpload { .. } => "EmptyUploadException",
            Error::UploadNotFound { .. } => "UploadNotFoundException",
            Error::LimitExceeded(_) | Error::TooManyRequests(_) | Error::NoSpace => {
                "LimitExceededException"
            }
            Error::TooManyTags(_) => "TooManyTagsException",
            Error::InvalidTagParameter(_) => "InvalidTagParameterException",
            Error::ExclusionAlreadyExists(_) => "ExclusionAlreadyExistsException",
            Error::ExclusionNotFound(_) => "ExclusionNotFoundException",
            Error::Kms { .. } => "KmsException",
            Error::Referenced(_) => "InvalidParameterException",
            Error::AccessDenied(_) => "AccessDeniedException",
            Error::UnknownOperation => "UnknownOperationException",
            Error::Serialization(_) => "SerializationException",
            Error::Unavailable(_) => "ServiceUnavailableException",
            Error::Account(error) => error.exception,
            Error::Internal(_) => "ServerException",
        }
    }
}

/// What `bonded_db::Error::Exists` means depends on the row, so an operation that can meet it
/// matches on it first.
impl From<bonded_db::Error> for Error {
    fn from(error: bonded_db::Error) -> Error {
        match error {
            bonded_db::Error::Unavailable { .. } => Error::Unavailable(error.into()),
            bonded_db::Error::Full { .. } => Error::NoSpace,
            _ => Error::Internal(error.into()),
        }
    }
}

impl From<anyhow::Error> for Error {
    fn from(error: anyhow::Error) -> Error {
        Error::Internal(error)
    }
}

/// A part that begins elsewhere, or one that begins right and has not the length it says.
fn layer_part(first: u64, received: u64) -> String {
    if first == received {
        return "The layer part has not the length that its first and last byte say".to_owned();
    }
    format!("First byte of the layer part is {first} instead of {received}")
}

fn or_null(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or("null")
}

fn list(digests: &[String]) -> String {
    digests.join(", ")
}

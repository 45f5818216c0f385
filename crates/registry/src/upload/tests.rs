//! Uploads against a real database and a real store.

mod appends;
mod completions;
mod failures;
mod limits;
mod rows;

use bonded_account::Caller;
use bonded_oci::{Algorithm, Digest};
use bytes::Bytes;
use futures::stream;
use http_body::Body as _;
use uuid::Uuid;

use crate::harness::{ACCOUNT, Harness, permit, root};
use crate::image::Plane;
use crate::layer::{self, LayerBody};
use crate::upload::{self, Part, Wanted};
use crate::{Error, Result, Settings};

pub(super) const MIB: usize = 1_048_576;

/// A deployment in which all bytes lie in objects, however few they are.
async fn harness() -> Harness {
    Harness::with(Settings { in_row: 0, ..Settings::default() }).await
}

/// Somebody who pushes to a repository, over both planes.
pub(crate) struct Client<'a> {
    pub(crate) harness: &'a Harness,
    pub(crate) caller: Caller,
    pub(crate) name: &'a str,
}

impl<'a> Client<'a> {
    /// The root of the registry's account.
    pub(crate) fn root(harness: &'a Harness, name: &'a str) -> Client<'a> {
        Client { harness, caller: root(ACCOUNT), name }
    }

    pub(crate) async fn begin(&self) -> Result<Uuid> {
        self.begin_by(Algorithm::Sha256).await
    }

    pub(crate) async fn begin_by(&self, algorithm: Algorithm) -> Result<Uuid> {
        let call = self.harness.call_of(&self.caller, "InitiateLayerUpload");
        let permit = permit(&call, "ecr:InitiateLayerUpload", self.name).await?;
        Ok(upload::begin(&call, &permit, Plane::V2, algorithm).await?.id)
    }

    /// `PATCH`, with a `Content-Range` if there is a start.
    pub(crate) async fn append(&self, id: Uuid, start: Option<u64>, bytes: &[u8]) -> Result<u64> {
        let length = start.and(Some(count(bytes)));
        self.send(id, Part { plane: Plane::V2, start, length }, bytes).await
    }

    /// `UploadLayerPart`
    pub(crate) async fn part(&self, id: Uuid, first: u64, bytes: &[u8]) -> Result<u64> {
        let (start, length) = (Some(first), Some(count(bytes)));
        self.send(id, Part { plane: Plane::Api, start, length }, bytes).await
    }

    pub(crate) async fn send(&self, id: Uuid, part: Part, bytes: &[u8]) -> Result<u64> {
        // In frames, as they come from a connection.
        let frames: Vec<_> = bytes.chunks(60_000).map(Bytes::copy_from_slice).collect();
        let call = self.harness.call_of(&self.caller, "UploadLayerPart");
        let permit = permit(&call, "ecr:UploadLayerPart", self.name).await?;
        let body = stream::iter(frames.into_iter().map(Ok::<_, Error>));
        Ok(upload::append(&call, &permit, id, part, body).await?.size)
    }

    pub(crate) async fn status(&self, id: Uuid) -> Result<u64> {
        let call = self.harness.call_of(&self.caller, "UploadLayerPart");
        let permit = permit(&call, "ecr:UploadLayerPart", self.name).await?;
        Ok(upload::status(&call, &permit, id).await?.size)
    }

    pub(crate) async fn cancel(&self, id: Uuid) -> Result<()> {
        let call = self.harness.call_of(&self.caller, "CancelLayerUpload");
        let permit = permit(&call, "ecr:UploadLayerPart", self.name).await?;
        upload::cancel(&call, &permit, id).await
    }

    /// `PUT ?digest=` with the last bytes.
    pub(crate) async fn put(&self, id: Uuid, digest: Digest, bytes: &[u8]) -> Result<Digest> {
        let last = Part { plane: Plane::V2, start: None, length: Some(count(bytes)) };
        self.complete(id, Wanted::Digest(digest), last, bytes).await
    }

    /// `CompleteLayerUpload`
    pub(crate) async fn complete_api(&self, id: Uuid, digests: &[Digest]) -> Result<Digest> {
        let wanted = Wanted::OneOf(digests.to_vec());
        self.complete(id, wanted, Part::empty(Plane::Api), b"").await
    }

    pub(crate) async fn complete(
        &self,
        id: Uuid,
        wanted: Wanted,
        last: Part,
        bytes: &[u8],
    ) -> Result<Digest> {
        let call = self.harness.call_of(&self.caller, "CompleteLayerUpload");
        let permit = permit(&call, "ecr:CompleteLayerUpload", self.name).await?;
        let body = stream::iter([Ok::<_, Error>(Bytes::copy_from_slice(bytes))]);
        upload::complete(&call, &permit, id, wanted, last, body).await
    }

    /// `POST ?digest=`
    pub(crate) async fn single(&self, digest: Digest, bytes: &[u8]) -> Result<Digest> {
        let call = self.harness.call_of(&self.caller, "CompleteLayerUpload");
        let permit = permit(&call, "ecr:InitiateLayerUpload", self.name).await?;
        let body = stream::iter([Ok::<_, Error>(Bytes::copy_from_slice(bytes))]);
        upload::single(&call, &permit, digest, Some(count(bytes)), body).await
    }

    /// Pushes a blob in the shortest way.
    pub(crate) async fn push(&self, bytes: &[u8]) -> Digest {
        self.single(sha256(bytes), bytes).await.unwrap()
    }

    /// `GET` of a blob.
    pub(crate) async fn read(&self, digest: Digest) -> Result<Vec<u8>> {
        let call = self.harness.call_of(&self.caller, "GetDownloadUrlForLayer");
        let permit = permit(&call, "ecr:GetDownloadUrlForLayer", self.name).await?;
        let layer = layer::find(&call, &permit, &digest).await?;
        let body = layer.body(&call, &permit, 0..layer.size).await?;
        collect(body).await.map_err(|error| Error::Internal(error.into()))
    }

    /// `HEAD` of a blob.
    pub(crate) async fn head(&self, digest: Digest) -> Result<u64> {
        let call = self.harness.call_of(&self.caller, "BatchCheckLayerAvailability");
        let permit = permit(&call, "ecr:BatchCheckLayerAvailability", self.name).await?;
        Ok(layer::find(&call, &permit, &digest).await?.size)
    }
}

/// All bytes of a body.
pub(crate) async fn collect(mut body: LayerBody) -> Result<Vec<u8>, bonded_blob::Error> {
    let mut bytes = Vec::new();
    loop {
        let frame =
            std::future::poll_fn(|context| std::pin::Pin::new(&mut body).poll_frame(context));
        let Some(frame) = frame.await else { return Ok(bytes) };
        bytes.extend_from_slice(frame?.data_ref().unwrap());
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

pub(super) fn sha512(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha512, bytes)
}

pub(super) fn count(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap()
}

/// Bytes that do not repeat within a chunk.
pub(crate) fn bytes(size: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()
    })
    .flatten()
    .take(size)
    .collect()
}

pub(super) fn is_unknown(result: Result<impl Sized>) -> bool {
    matches!(result.err(), Some(Error::UploadNotFound { .. }))
}

/// What the next part should have begun with, if that is why it was refused.
pub(super) fn expected(result: Result<impl Sized>) -> Option<u64> {
    match result.err() {
        Some(Error::InvalidLayerPart { received, .. }) => Some(received),
        _ => None,
    }
}

/// Objects that are to go, and when.
pub(super) const REMOVALS: &str = "SELECT COUNT(*) FROM object_removal";
/// Objects that may go as soon as somebody looks.
pub(super) const REMOVALS_DUE: &str = "SELECT COUNT(*) FROM object_removal \
     WHERE due <= 1772612130250000";
/// Objects that may still be acknowledged.
pub(super) const REMOVALS_LATER: &str = "SELECT COUNT(*) FROM object_removal \
     WHERE due > 1772612130250000";
pub(super) const SEGMENTS: &str = "SELECT COUNT(*) FROM segment";
pub(super) const BLOBS: &str = "SELECT COUNT(*) FROM blob";
pub(super) const UPLOADS: &str = "SELECT COUNT(*) FROM upload";

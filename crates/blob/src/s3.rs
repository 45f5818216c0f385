//! Objects in a bucket of S3, or of a server that speaks its protocol.
//!
//! An object's key is `PREFIX/ab/abcd…`, as the directory has it, so a directory can be
//! copied into a bucket and back. S3 answers a write when it is durable.
//!
//! A body of up to 8 MiB is one request that S3 refuses when the key exists. A longer one goes
//! up in parts of that size; there the key is looked up before the parts are joined, which
//! leaves a gap. Nobody can fall into it: a name is made of 128 random bits and given to one
//! append. Parts of an upload that a crash ended stay in the bucket, unseen; a lifecycle rule
//! of the bucket (`AbortIncompleteMultipartUpload`) removes them.

use std::fmt;
use std::io;
use std::mem;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::aws::{AmazonS3, AmazonS3Builder, S3ConditionalPut};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    ClientOptions, GetOptions, GetRange, MultipartId, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMode, PutPayload, RetryConfig,
};
use tokio::runtime::Handle;

use crate::{BlobStore, ByteStream, Error, LIST_LIMIT, Listed, ObjectName};

/// Bytes of a part. S3 takes 10,000 parts, so an object may have 78 GiB; two parts of a
/// transfer are in memory at once.
const PART: usize = 8 * 1024 * 1024;

/// A request that moves no byte for so long has failed. There is no limit for a whole request:
/// a slow client may take an hour for a layer.
const STALL: Duration = Duration::from_secs(60);

/// How often a failed request is tried again, and for how long: a client waits for it.
const RETRIES: usize = 4;
const RETRY_TIME: Duration = Duration::from_secs(30);

/// Where a bucket is, and who may use it.
#[derive(Clone, Debug)]
pub struct S3Settings {
    pub bucket: String,
    /// What the keys begin with; may be empty.
    pub prefix: String,
    /// Absent: AWS's own of the region. One with `http:` is used without TLS.
    pub endpoint: Option<String>,
    pub region: String,
    /// Absent: those of the machine the server runs on (instance metadata).
    pub credentials: Option<S3Credentials>,
}

/// A key pair for S3. Its `Debug` shows no secret.
#[derive(Clone)]
pub struct S3Credentials {
    pub access_key_id: String,
    pub secret_access_key: String,
    /// Of a temporary key.
    pub session_token: Option<String>,
}

impl fmt::Debug for S3Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Credentials")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

/// A [`BlobStore`] in a bucket. Any number of nodes may use it at once.
pub struct S3Store {
    client: Arc<AmazonS3>,
    prefix: Path,
}

impl S3Store {
    /// Takes the settings; whether they are right is seen at the first request.
    pub fn new(settings: &S3Settings) -> Result<S3Store, Error> {
        let plain = settings.endpoint.as_deref().is_some_and(|it| it.starts_with("http://"));
        let options = ClientOptions::new()
            .with_timeout_disabled()
            .with_read_timeout(STALL)
            .with_allow_http(plain);
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&settings.bucket)
            .with_region(&settings.region)
            .with_client_options(options)
            .with_retry(RetryConfig {
                max_retries: RETRIES,
                retry_timeout: RETRY_TIME,
                ..RetryConfig::default()
            })
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            // One object is one DELETE: some servers lack the other request.
            .with_disable_bulk_delete(true)
            // TLS protects what is sent. Hashing it again for the signature costs as much CPU
            // as all the rest of an upload.
            .with_unsigned_payload(!plain);
        if let Some(endpoint) = &settings.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(credentials) = &settings.credentials {
            builder = builder
                .with_access_key_id(&credentials.access_key_id)
                .with_secret_access_key(&credentials.secret_access_key);
            if let Some(token) = &credentials.session_token {
                builder = builder.with_token(token);
            }
        }
        let client = Arc::new(builder.build().map_err(failed)?);
        let prefix = Path::parse(&settings.prefix).map_err(|error| failed(error.into()))?;
        Ok(S3Store { client, prefix })
    }

    fn path(&self, name: ObjectName) -> Path {
        self.prefix.clone().join(format!("{:02x}", name.folder())).join(name.to_string())
    }

    async fn put_small(&self, name: ObjectName, part: Part) -> Result<u64, Error> {
        let size = part.size();
        let mode = PutMode::Create.into();
        match self.client.put_opts(&self.path(name), part.payload(), mode).await {
            Ok(_) => Ok(size),
            Err(object_store::Error::AlreadyExists { .. }) => Err(Error::Exists(name)),
            Err(error) => Err(failed(error)),
        }
    }

    async fn put_large(&self, name: ObjectName, first: Part, parts: Parts) -> Result<u64, Error> {
        let path = self.path(name);
        let id = self.client.create_multipart(&path).await.map_err(failed)?;
        let client = Arc::clone(&self.client);
        let mut upload = Upload { client, path, open: Some(id.clone()) };
        match upload.send(name, &id, first, parts).await {
            Ok(size) => {
                upload.open = None;
                Ok(size)
            }
            Err(error) => {
                upload.abort().await;
                Err(error)
            }
        }
    }

    async fn head(&self, name: ObjectName) -> Result<Option<ObjectMeta>, Error> {
        head(&self.client, &self.path(name)).await
    }
}

#[async_trait]
impl BlobStore for S3Store {
    async fn put(&self, name: ObjectName, body: ByteStream) -> Result<u64, Error> {
        let mut parts = Parts { body, rest: Bytes::new() };
        let first = parts.next().await?;
        if first.last {
            self.put_small(name, first).await
        } else {
            self.put_large(name, first, parts).await
        }
    }

    async fn get(&self, name: ObjectName, range: Range<u64>) -> Result<Option<ByteStream>, Error> {
        let error = if range.is_empty() {
            None
        } else {
            let options = GetOptions {
                range: Some(GetRange::Bounded(range.clone())),
                ..GetOptions::default()
            };
            match self.client.get_opts(&self.path(name), options).await {
                Ok(found) => return Ok(Some(Box::pin(found.into_stream().map_err(failed)))),
                Err(object_store::Error::NotFound { .. }) => return Ok(None),
                Err(error) => Some(failed(error)),
            }
        };
        // S3 has no empty range, and refuses one that begins where the object ends.
        match (self.head(name).await?, error) {
            (None, _) => Ok(None),
            (Some(found), Some(error)) if range.start < found.size => Err(error),
            (Some(_), _) => Ok(Some(Box::pin(stream::empty()))),
        }
    }

    async fn delete(&self, name: ObjectName) -> Result<(), Error> {
        match self.client.delete(&self.path(name)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    async fn list(&self, after: Option<ObjectName>) -> Result<Vec<Listed>, Error> {
        let found = match after {
            Some(after) => self.client.list_with_offset(Some(&self.prefix), &self.path(after)),
            None => self.client.list(Some(&self.prefix)),
        };
        let ours = found.try_filter_map(|it| {
            let name = it.location.filename().and_then(|it| it.parse().ok());
            // Keys of another shape are somebody else's.
            let name = name.filter(|name| self.path(*name) == it.location);
            let (size, modified) = (it.size, it.last_modified.into());
            std::future::ready(Ok(name.map(|name| Listed { name, size, modified })))
        });
        ours.take(LIST_LIMIT).try_collect().await.map_err(failed)
    }
}

/// A body that is cut into parts.
struct Parts {
    body: ByteStream,
    rest: Bytes,
}

impl Parts {
    /// The next part. All but the last have the same size: some servers want that.
    async fn next(&mut self) -> Result<Part, Error> {
        let mut frames = Vec::new();
        let mut room = PART;
        while room > 0 {
            let mut frame = mem::take(&mut self.rest);
            if frame.is_empty() {
                match self.body.try_next().await? {
                    Some(next) => frame = next,
                    None => return Ok(Part { frames, last: true }),
                }
            }
            self.rest = frame.split_off(room.min(frame.len()));
            room -= frame.len();
            frames.push(frame);
        }
        Ok(Part { frames, last: false })
    }
}

/// Frames that are sent together. The last part may be empty.
struct Part {
    frames: Vec<Bytes>,
    last: bool,
}

impl Part {
    fn size(&self) -> u64 {
        let size = self.frames.iter().map(Bytes::len).sum::<usize>();
        u64::try_from(size).expect("a size in memory fits u64")
    }

    fn payload(self) -> PutPayload {
        self.frames.into_iter().collect()
    }
}

/// An upload in parts. What is not joined is aborted, also when the caller goes away.
struct Upload {
    client: Arc<AmazonS3>,
    path: Path,
    open: Option<MultipartId>,
}

impl Upload {
    async fn send(
        &self,
        name: ObjectName,
        id: &MultipartId,
        first: Part,
        mut parts: Parts,
    ) -> Result<u64, Error> {
        let mut ids: Vec<PartId> = Vec::new();
        let mut size = 0;
        let mut part = first;
        while !part.last {
            size += part.size();
            let sent = self.client.put_part(&self.path, id, ids.len(), part.payload());
            let (sent, next) = tokio::join!(sent, parts.next());
            ids.push(sent.map_err(failed)?);
            part = next?;
        }
        if part.size() > 0 {
            size += part.size();
            let sent = self.client.put_part(&self.path, id, ids.len(), part.payload()).await;
            ids.push(sent.map_err(failed)?);
        }
        if head(&self.client, &self.path).await?.is_some() {
            return Err(Error::Exists(name));
        }
        self.client.complete_multipart(&self.path, id, ids).await.map_err(failed)?;
        Ok(size)
    }

    async fn abort(mut self) {
        if let Some(id) = self.open.take() {
            abort(&self.client, &self.path, &id).await;
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let (Some(id), Ok(runtime)) = (self.open.take(), Handle::try_current()) {
            let (client, path) = (Arc::clone(&self.client), self.path.clone());
            runtime.spawn(async move { abort(&client, &path, &id).await });
        }
    }
}

async fn abort(client: &AmazonS3, path: &Path, id: &MultipartId) {
    if let Err(error) = client.abort_multipart(path, id).await {
        tracing::warn!(%path, %error, "the parts of an ended upload stay in the bucket");
    }
}

async fn head(client: &AmazonS3, path: &Path) -> Result<Option<ObjectMeta>, Error> {
    match client.head(path).await {
        Ok(found) => Ok(Some(found)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

fn failed(error: object_store::Error) -> Error {
    Error::Io(io::Error::other(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn parts_have_one_size_but_for_the_last() {
        let frame = Bytes::from(vec![7; 3_000_001]);
        for (frames, last) in [(0, 0), (1, 3_000_001), (6, 6 * 3_000_001 - 2 * PART)] {
            let body = stream::iter(vec![frame.clone(); frames]).map(Ok);
            let mut parts = Parts { body: Box::pin(body), rest: Bytes::new() };
            let mut part = parts.next().await.unwrap();
            while !part.last {
                assert_eq!(part.size(), u64::try_from(PART).unwrap());
                part = parts.next().await.unwrap();
            }
            assert_eq!(part.size(), u64::try_from(last).unwrap());
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        let credentials = S3Credentials {
            access_key_id: "AKIAEXAMPLE".to_owned(),
            secret_access_key: "hidden".to_owned(),
            session_token: Some("hidden too".to_owned()),
        };
        let text = format!("{credentials:?}");
        assert!(text.contains("AKIAEXAMPLE") && !text.contains("hidden"), "{text}");
    }
}

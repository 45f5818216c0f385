//! The bytes of a layer on their way out.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bonded_blob::BlobReader;
use bytes::Bytes;
use futures::future::BoxFuture;
use http_body::{Body, Frame, SizeHint};
use uuid::Uuid;

use super::{Layer, not_found};
use crate::upload::{data_key_context, segment, shared_store, store_error};
use crate::{Call, Permit, Registry, Result};

/// A range of a layer in clear. It breaks off when the stored bytes are damaged, and marks the
/// blob, so that it is absent until it is pushed again.
pub struct LayerBody {
    reader: BlobReader,
    blob: Blob,
    marking: Option<(BoxFuture<'static, ()>, bonded_blob::Error)>,
    ended: bool,
}

/// Which bytes of which blob were read: those that came by the upload `key_owner`.
#[derive(Clone)]
struct Blob {
    registry: Arc<Registry>,
    id: Uuid,
    key_owner: Uuid,
}

impl Layer {
    /// Opens a range of the layer (within its size) and reads the first of it.
    ///
    /// # Errors
    /// `LayerNotFound` when what is stored is missing or damaged; `Kms`.
    pub async fn body(&self, call: &Call, permit: &Permit, range: Range<u64>) -> Result<LayerBody> {
        let domain_key = call.domain_key(permit)?;
        let blob = Blob {
            registry: Arc::clone(&call.registry),
            id: self.row.blob_id,
            key_owner: self.row.key_owner,
        };
        let context = data_key_context(&blob.key_owner);
        let Ok(key) = domain_key.open_key(&context, &self.row.wrapped_key) else {
            blob.mark_damaged("its key does not open").await;
            return Err(not_found(permit, &self.digest.to_string()));
        };
        let segments = self.row.segments.iter().cloned().map(segment).collect();
        let store = shared_store(call, permit)?;
        match BlobReader::open(store, key.bytes(), segments, range).await {
            Ok(reader) => Ok(LayerBody { reader, blob, marking: None, ended: false }),
            Err(error @ bonded_blob::Error::Damaged { .. }) => {
                blob.mark_damaged(&error.to_string()).await;
                Err(not_found(permit, &self.digest.to_string()))
            }
            Err(error) => Err(store_error(error)),
        }
    }
}

impl Blob {
    /// What cannot be read is absent from now on. Should even that fail, the next reader marks it.
    async fn mark_damaged(&self, reason: &str) {
        tracing::error!(blob = %self.id, reason, "a blob is damaged and must be pushed again");
        let (id, key_owner) = (self.id, self.key_owner);
        let marked =
            self.registry.db().write(move |tx| tx.mark_blob_damaged(&id, &key_owner)).await;
        if let Err(error) = marked {
            let error: &dyn std::error::Error = &error;
            tracing::error!(blob = %self.id, error, "a damaged blob could not be marked");
        }
    }
}

impl LayerBody {
    /// Bytes still to come.
    pub fn left(&self) -> u64 {
        self.reader.left()
    }

    /// Waits until the damaged blob is marked, then tells the error.
    fn poll_marking(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, bonded_blob::Error>>> {
        if let Some((marking, _)) = &mut self.marking {
            ready!(marking.as_mut().poll(context));
        }
        self.ended = true;
        Poll::Ready(self.marking.take().map(|(_, error)| Err(error)))
    }
}

impl Body for LayerBody {
    type Data = Bytes;
    type Error = bonded_blob::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, bonded_blob::Error>>> {
        if self.ended || self.marking.is_some() {
            return self.poll_marking(context);
        }
        match ready!(Pin::new(&mut self.reader).poll_frame(context)) {
            Some(Err(error @ bonded_blob::Error::Damaged { .. })) => {
                let blob = self.blob.clone();
                let reason = error.to_string();
                let marking = Box::pin(async move { blob.mark_damaged(&reason).await });
                self.marking = Some((marking, error));
                self.poll_marking(context)
            }
            other => Poll::Ready(other),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.reader.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.reader.size_hint()
    }
}

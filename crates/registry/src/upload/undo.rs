//! What must be undone when a request ends early: by an error, or because its client is gone and
//! its future is dropped.

use std::sync::Arc;

use bonded_blob::ObjectName;
use uuid::Uuid;

use super::FEW_SEGMENTS;
use crate::{Registry, Result};

/// Something that is undone when this is dropped, unless it was settled. If that fails, the rows
/// are due by themselves later.
pub(super) struct Undo {
    registry: Arc<Registry>,
    what: What,
    settled: bool,
}

#[derive(Clone)]
enum What {
    /// An object that was registered and that no segment names: it may go at once.
    Object(ObjectName),
    /// An upload that nobody knows the id of, or that cannot be completed.
    Upload { id: Uuid, region: String },
}

impl Undo {
    pub(super) fn object(registry: &Arc<Registry>, name: ObjectName) -> Undo {
        Undo::of(registry, What::Object(name))
    }

    pub(super) fn upload(registry: &Arc<Registry>, id: Uuid, region: &str) -> Undo {
        Undo::of(registry, What::Upload { id, region: region.to_owned() })
    }

    fn of(registry: &Arc<Registry>, what: What) -> Undo {
        Undo { registry: Arc::clone(registry), what, settled: false }
    }

    /// Undoes it before the answer.
    pub(super) async fn now(mut self) {
        self.settled = true;
        self.what.clone().undo_or_tell(&self.registry).await;
    }

    /// There is nothing to undo any more.
    pub(super) fn settle(mut self) {
        self.settled = true;
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        // Without a runtime the process is ending.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let registry = Arc::clone(&self.registry);
        let what = self.what.clone();
        runtime.spawn(async move { what.undo_or_tell(&registry).await });
    }
}

impl What {
    async fn undo_or_tell(self, registry: &Registry) {
        if let Err(error) = self.undo(registry).await {
            let error: &dyn std::error::Error = &error;
            tracing::info!(error, "an upload that failed is cleaned up later");
        }
    }

    async fn undo(self, registry: &Registry) -> Result<()> {
        let now = registry.now();
        registry
            .db()
            .write_unsynced(move |tx| {
                match &self {
                    What::Object(name) => tx.expire_object(&name.0, now)?,
                    What::Upload { id, region } => {
                        if tx.discard_upload(id)? {
                            tx.collect_upload(id, region, now, FEW_SEGMENTS)?;
                        }
                    }
                }
                Ok(())
            })
            .await
    }
}

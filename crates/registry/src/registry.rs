//! The process's registries: stores, settings and caches about images.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bonded_account::{Clock, Services};
use bonded_blob::BlobStore;
use bonded_db::Db;
use bytes::Bytes;
use moka::sync::Cache;
use uuid::Uuid;

use crate::pulls::PullTimes;
use crate::upload::Appends;

const MICROS: i64 = 1_000_000;
/// Manifests in clear, in bytes; each for at most five minutes.
const MANIFEST_CACHE_BYTES: u64 = 32 * 1024 * 1024;
const MANIFEST_LIFETIME: Duration = Duration::from_secs(300);

/// All registries of a process: an account in a region is one.
pub struct Registry {
    pub services: Arc<Services>,
    /// By region: the regions that are served.
    pub stores: BTreeMap<String, Arc<dyn BlobStore>>,
    pub settings: Settings,
    pub endpoints: EndpointOf,
    /// Manifest bytes by key domain and digest.
    pub manifests: Cache<(Uuid, String), Bytes>,
    pub manifest_counts: CacheCounts,
    /// Identities, policies and tags: all that a decision needs, or not all.
    pub decision_counts: CacheCounts,
    /// Pull times that are not written yet.
    pub pulls: PullTimes,
    /// Appends under way in this process.
    pub appends: Appends,
}

/// How often a cache had what was looked for, for the metrics.
#[derive(Debug, Default)]
pub struct CacheCounts {
    pub hits: AtomicU64,
    pub misses: AtomicU64,
}

impl CacheCounts {
    pub(crate) fn count(&self, is_hit: bool) {
        let counter = if is_hit { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Gives a registry's public address by account and region.
pub type EndpointOf = Arc<dyn Fn(&str, &str) -> Endpoint + Send + Sync>;

/// A registry's public address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Host and port, as in `repositoryUri`.
    pub host: String,
    /// With the scheme, as in `proxyEndpoint`.
    pub url: String,
}

/// What may be configured about images and uploads.
#[derive(Clone, Debug)]
pub struct Settings {
    /// An index may name manifests that are not in its repository.
    pub sparse_indexes: bool,
    /// How long what nothing uses is kept, microseconds.
    pub grace_micros: i64,
    /// An upload that nobody touches ends after this many microseconds.
    pub upload_idle_micros: i64,
    /// Open uploads of one principal.
    pub uploads_per_principal: i64,
    pub repositories_per_registry: i64,
    pub images_per_repository: i64,
    /// Uploads are refused while the store has less room than this, bytes.
    pub min_free: u64,
    /// A first append of at most this many bytes lies in a row instead of an object: two syncs
    /// and a file fewer.
    pub in_row: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            sparse_indexes: false,
            grace_micros: 24 * 3_600 * MICROS,
            upload_idle_micros: 24 * 3_600 * MICROS,
            uploads_per_principal: 1_000,
            repositories_per_registry: 100_000,
            images_per_repository: 100_000,
            min_free: 256 * 1024 * 1024,
            in_row: 64 * 1024,
        }
    }
}

impl Registry {
    pub fn new(
        services: Arc<Services>,
        stores: BTreeMap<String, Arc<dyn BlobStore>>,
        settings: Settings,
        endpoints: EndpointOf,
    ) -> Registry {
        let manifests = Cache::builder()
            .max_capacity(MANIFEST_CACHE_BYTES)
            .weigher(|_, bytes: &Bytes| u32::try_from(bytes.len() + 256).unwrap_or(u32::MAX))
            .time_to_live(MANIFEST_LIFETIME)
            .build();
        let pulls = PullTimes::default();
        let appends = Appends::default();
        Registry {
            services,
            stores,
            settings,
            endpoints,
            manifests,
            manifest_counts: CacheCounts::default(),
            decision_counts: CacheCounts::default(),
            pulls,
            appends,
        }
    }

    pub fn db(&self) -> &Db {
        &self.services.db
    }

    pub fn clock(&self) -> &Clock {
        &self.services.clock
    }

    /// Microseconds since 1970.
    pub fn now(&self) -> i64 {
        self.services.clock.now()
    }
}

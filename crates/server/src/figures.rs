//! Figures that are asked of the registry at each scrape.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bonded_db::Totals;
use bonded_registry::{CacheCounts, Registry};
use tokio::sync::Mutex;

use crate::metrics::{Kind, Metrics, Sample};

/// Figures that a whole table is counted for are at most this old, microseconds.
const TOTALS_EVERY: i64 = 60_000_000;

/// Adds them. They hold the registry weakly: it must be able to end before they do.
pub(crate) fn add(metrics: &Metrics, registry: &Arc<Registry>) {
    gauge(metrics, registry, "audit_queue", "Records that are not written yet", |registry| {
        number(registry.services.audit.depth())
    });
    gauge(metrics, registry, "pull_times_waiting", "Pull times not written yet", |registry| {
        size(registry.pulls.len())
    });
    gauge(metrics, registry, "appends_under_way", "Appends to uploads under way", |registry| {
        size(registry.appends.len())
    });
    gauge(metrics, registry, "manifests_cached_bytes", "Manifests in memory", |registry| {
        number(registry.manifests.weighted_size())
    });
    add_engine(metrics, registry);
    add_caches(metrics, registry);
    add_rows(metrics, registry);
}

/// What the database's engine did.
fn add_engine(metrics: &Metrics, registry: &Arc<Registry>) {
    gauge(metrics, registry, "changes_waiting", "Changes that wait for a commit", |registry| {
        number(u64::try_from(registry.db().metrics().waiting.load(Ordering::Relaxed)).unwrap_or(0))
    });
    let counter = |name, help, read: fn(&bonded_db::Metrics) -> &AtomicU64| {
        let weak = Arc::downgrade(registry);
        metrics.pull(name, help, Kind::Counter, move || {
            let samples = weak.upgrade().map(|registry| {
                Sample::of(number(read(registry.db().metrics()).load(Ordering::Relaxed)))
            });
            Box::pin(async move { samples.unwrap_or_default() })
        });
    };
    counter("commits", "Commits, each of one or more changes", |it| &it.batches);
    counter("changes", "Changes that were committed", |it| &it.closures);
    counter("database_syncs", "Commits that were synced", |it| &it.syncs);
    add_batches(metrics, registry);
    counter("database_retries", "Changes that were tried again", |it| &it.retries);
}

/// How many changes share a commit, in classes by their upper bound.
fn add_batches(metrics: &Metrics, registry: &Arc<Registry>) {
    const CLASSES: [&str; 10] = ["1", "2", "4", "8", "16", "32", "64", "128", "256", "more"];
    let weak = Arc::downgrade(registry);
    let help = "Commits by how many changes shared them, at most";
    metrics.pull("commit_batches", help, Kind::Counter, move || {
        let mut samples = Vec::new();
        if let Some(registry) = weak.upgrade() {
            let counts = &registry.db().metrics().batch_sizes;
            for (class, count) in CLASSES.into_iter().zip(counts) {
                let value = number(count.load(Ordering::Relaxed));
                samples.push(Sample { labels: vec![("changes", class)], value });
            }
        }
        Box::pin(async move { samples })
    });
}

/// How often our caches had what was looked for.
fn add_caches(metrics: &Metrics, registry: &Arc<Registry>) {
    let counter = |name, help, read: fn(&CacheCounts) -> &AtomicU64| {
        let weak = Arc::downgrade(registry);
        metrics.pull(name, help, Kind::Counter, move || {
            let mut samples = Vec::new();
            if let Some(registry) = weak.upgrade() {
                let caches = [
                    ("manifests", &registry.manifest_counts),
                    ("decisions", &registry.decision_counts),
                ];
                for (cache, counts) in caches {
                    let value = number(read(counts).load(Ordering::Relaxed));
                    samples.push(Sample { labels: vec![("cache", cache)], value });
                }
            }
            Box::pin(async move { samples })
        });
    };
    counter("cache_hits", "Look-ups that a cache answered", |it| &it.hits);
    counter("cache_misses", "Look-ups that a cache could not answer", |it| &it.misses);
}

/// What there is, by the rows.
fn add_rows(metrics: &Metrics, registry: &Arc<Registry>) {
    let weak = Arc::downgrade(registry);
    metrics.pull("uploads_open", "Uploads that may go on", Kind::Gauge, move || {
        let registry = weak.upgrade();
        Box::pin(async move {
            let Some(registry) = registry else { return Vec::new() };
            let open = registry.db().read(|tx| tx.count_all_open_uploads()).await;
            open.map(|open| Sample::of(positive(open))).unwrap_or_default()
        })
    });
    let cached = Arc::new(Mutex::new(None));
    let counted = |name, help, read: fn(&Totals) -> i64| {
        let (weak, cached) = (Arc::downgrade(registry), Arc::clone(&cached));
        metrics.pull(name, help, Kind::Gauge, move || {
            let (registry, cached) = (weak.upgrade(), Arc::clone(&cached));
            Box::pin(async move {
                let Some(registry) = registry else { return Vec::new() };
                let totals = totals(&registry, &cached).await;
                totals.map(|totals| Sample::of(positive(read(&totals)))).unwrap_or_default()
            })
        });
    };
    counted("blobs", "Blobs, each once for a key domain", |totals| totals.blobs);
    counted("blob_bytes", "Bytes of all blobs", |totals| totals.bytes);
    counted("images", "Images of all repositories", |totals| totals.images);
}

/// The totals, counted anew when they are old.
async fn totals(registry: &Registry, cached: &Mutex<Option<(i64, Totals)>>) -> Option<Totals> {
    let mut cached = cached.lock().await;
    let now = registry.now();
    if let Some((at, totals)) = *cached
        && now < at + TOTALS_EVERY
    {
        return Some(totals);
    }
    let totals = registry.db().read(|tx| tx.totals()).await.ok()?;
    *cached = Some((now, totals));
    Some(totals)
}

/// A number of the registry that is in memory.
fn gauge(
    metrics: &Metrics,
    registry: &Arc<Registry>,
    name: &'static str,
    help: &'static str,
    read: fn(&Registry) -> f64,
) {
    let weak = Arc::downgrade(registry);
    metrics.pull(name, help, Kind::Gauge, move || {
        let samples = weak.upgrade().map(|registry| Sample::of(read(&registry)));
        Box::pin(async move { samples.unwrap_or_default() })
    });
}

fn size(count: usize) -> f64 {
    number(u64::try_from(count).unwrap_or(u64::MAX))
}

fn positive(count: i64) -> f64 {
    number(u64::try_from(count).unwrap_or(0))
}

#[expect(clippy::as_conversions, reason = "above 2^53 a figure may be off by one")]
fn number(count: u64) -> f64 {
    count as f64
}

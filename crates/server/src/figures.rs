//! Figures that are asked of the registry at each scrape.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bonded_registry::Registry;

use crate::metrics::{Kind, Metrics, Sample};

/// Adds them. They hold the registry weakly: it must be able to end before they do.
pub fn add(metrics: &Metrics, registry: &Arc<Registry>) {
    number(metrics, registry, "audit_queue", "Records that are not written yet", |registry| {
        count(registry.services.audit.depth())
    });
    number(metrics, registry, "pull_times_waiting", "Pull times not written yet", |registry| {
        size(registry.pulls.len())
    });
    number(metrics, registry, "appends_under_way", "Appends to uploads under way", |registry| {
        size(registry.appends.len())
    });
    number(metrics, registry, "manifests_cached_bytes", "Manifests in memory", |registry| {
        count(registry.manifests.weighted_size())
    });
    add_database(metrics, registry);
}

fn add_database(metrics: &Metrics, registry: &Arc<Registry>) {
    let counter = |name, help, read: fn(&bonded_db::Metrics) -> &AtomicU64| {
        let weak = Arc::downgrade(registry);
        metrics.pull_number(name, help, Kind::Counter, move || {
            weak.upgrade().map_or(0.0, |registry| {
                count(read(registry.db().metrics()).load(Ordering::Relaxed))
            })
        });
    };
    counter("commits", "Batches of changes that were committed", |it| &it.batches);
    counter("changes", "Changes that were committed in batches", |it| &it.closures);
    counter("database_syncs", "Commits that were synced", |it| &it.syncs);
}

/// A number of the registry that is in memory.
fn number(
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

fn size(number: usize) -> f64 {
    count(u64::try_from(number).unwrap_or(u64::MAX))
}

#[expect(clippy::as_conversions, reason = "above 2^53 a figure may be off by one")]
fn count(number: u64) -> f64 {
    number as f64
}

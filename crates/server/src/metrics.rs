//! Figures about this process, in the OpenMetrics text format.
//!
//! What happens here is counted in [`Metrics`] itself. What other crates count is pulled when
//! somebody looks: [`Metrics::pull`] takes a closure for it.
//!
//! **Invariant:** a label's value comes from a fixed list of ours, never from a caller, so the
//! number of series is bounded.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::exchange::Plane;

/// The content type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Seconds, from a manifest out of memory to a layer over a slow line.
const LATENCIES: [f64; 13] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0];

/// Everything that is counted.
pub struct Metrics {
    registry: Registry,
    pulled: Mutex<Vec<Pulled>>,
    requests: Family<RequestLabels, Counter>,
    latencies: Family<OperationLabels, Histogram, Latencies>,
    received: Family<PlaneLabels, Counter>,
    sent: Family<PlaneLabels, Counter>,
    /// Connections that are open now.
    pub connections: Gauge,
    refused: Family<ReasonLabels, Counter>,
    ended: Family<ReasonLabels, Counter>,
    pub handler_panics: Counter,
    /// Requests whose body waits for its turn in the memory budget.
    pub bodies_waiting: Gauge,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    plane: &'static str,
    operation: &'static str,
    code: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OperationLabels {
    plane: &'static str,
    operation: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PlaneLabels {
    plane: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone)]
struct Latencies;

impl MetricConstructor<Histogram> for Latencies {
    fn new_metric(&self) -> Histogram {
        Histogram::new(LATENCIES)
    }
}

/// A request that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Finished {
    pub plane: Plane,
    pub operation: Option<&'static str>,
    /// The HTTP status.
    pub code: u16,
    pub duration: Duration,
    /// Bytes of the request's body.
    pub received: u64,
    /// Bytes of the answer's body.
    pub sent: u64,
}

/// Whether a pulled figure may go down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Gauge,
    Counter,
}

/// One value of a pulled figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub labels: Vec<(&'static str, &'static str)>,
    pub value: f64,
}

impl Sample {
    /// A value without labels.
    pub fn of(value: f64) -> Vec<Sample> {
        vec![Sample { labels: Vec::new(), value }]
    }
}

type Pull = Box<dyn Fn() -> BoxFuture<'static, Vec<Sample>> + Send + Sync>;

struct Pulled {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    pull: std::sync::Arc<Pull>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    pub fn new() -> Metrics {
        let mut metrics = Metrics {
            registry: Registry::with_prefix("bonded"),
            pulled: Mutex::default(),
            requests: Family::default(),
            latencies: Family::new_with_constructor(Latencies),
            received: Family::default(),
            sent: Family::default(),
            connections: Gauge::default(),
            refused: Family::default(),
            ended: Family::default(),
            handler_panics: Counter::default(),
            bodies_waiting: Gauge::default(),
        };
        metrics.register_requests();
        metrics.register_rest();
        metrics
    }

    fn register_requests(&mut self) {
        let all = &mut self.registry;
        all.register(
            "requests",
            "Requests by protocol, operation and status",
            self.requests.clone(),
        );
        all.register_with_unit(
            "request_duration",
            "Time from the head of a request to the end of its answer",
            Unit::Seconds,
            self.latencies.clone(),
        );
        all.register_with_unit(
            "received",
            "Bytes of request bodies that were read",
            Unit::Bytes,
            self.received.clone(),
        );
        all.register_with_unit(
            "sent",
            "Bytes of answers' bodies that were handed to connections",
            Unit::Bytes,
            self.sent.clone(),
        );
        all.register("handler_panics", "Requests that ended in a bug", self.handler_panics.clone());
    }

    fn register_rest(&mut self) {
        let all = &mut self.registry;
        all.register("connections_open", "Connections that are open", self.connections.clone());
        all.register(
            "connections_refused",
            "Connections that were closed before their first request",
            self.refused.clone(),
        );
        all.register(
            "connections_ended",
            "Connections that we ended because of a limit",
            self.ended.clone(),
        );
        all.register(
            "bodies_waiting",
            "Requests whose body waits for memory",
            self.bodies_waiting.clone(),
        );
    }

    /// Counts a request whose answer has ended.
    pub fn finished(&self, it: &Finished) {
        let (plane, operation) = (it.plane.name(), it.operation.unwrap_or("-"));
        self.requests.get_or_create(&RequestLabels { plane, operation, code: it.code }).inc();
        let labels = OperationLabels { plane, operation };
        self.latencies.get_or_create(&labels).observe(it.duration.as_secs_f64());
        self.received.get_or_create(&PlaneLabels { plane }).inc_by(it.received);
        self.sent.get_or_create(&PlaneLabels { plane }).inc_by(it.sent);
    }

    /// Counts a connection that got no further than its handshake.
    pub fn connection_refused(&self, reason: &'static str) {
        self.refused.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// Counts a connection that a limit ended.
    pub fn connection_ended(&self, reason: &'static str) {
        self.ended.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// Adds a figure that is asked for at each scrape. `name` is without the prefix `bonded_`
    /// and without `_total`; the closure must be quick, and gives no samples if it cannot tell.
    pub fn pull<P>(&self, name: &'static str, help: &'static str, kind: Kind, pull: P)
    where
        P: Fn() -> BoxFuture<'static, Vec<Sample>> + Send + Sync + 'static,
    {
        let pulled = Pulled { name, help, kind, pull: std::sync::Arc::new(Box::new(pull)) };
        self.pulled.lock().unwrap_or_else(PoisonError::into_inner).push(pulled);
    }

    /// The same for a number that is in memory.
    pub fn pull_number<P>(&self, name: &'static str, help: &'static str, kind: Kind, pull: P)
    where
        P: Fn() -> f64 + Send + Sync + 'static,
    {
        self.pull(name, help, kind, move || {
            let samples = Sample::of(pull());
            Box::pin(async move { samples })
        });
    }

    /// All figures, as a scraper reads them.
    pub async fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        text::encode_registry(&mut out, &self.registry)?;
        let pulled: Vec<_> = {
            let pulled = self.pulled.lock().unwrap_or_else(PoisonError::into_inner);
            pulled.iter().map(|it| (it.name, it.help, it.kind, it.pull.clone())).collect()
        };
        for (name, help, kind, pull) in pulled {
            encode_pulled(&mut out, (name, help, kind), &pull().await)?;
        }
        text::encode_eof(&mut out)?;
        Ok(out)
    }
}

/// One figure with its samples, in the form of OpenMetrics.
fn encode_pulled(
    out: &mut String,
    (name, help, kind): (&str, &str, Kind),
    samples: &[Sample],
) -> std::fmt::Result {
    let (kind, suffix) = match kind {
        Kind::Gauge => ("gauge", ""),
        Kind::Counter => ("counter", "_total"),
    };
    writeln!(out, "# HELP bonded_{name} {help}.")?;
    writeln!(out, "# TYPE bonded_{name} {kind}")?;
    for Sample { labels, value } in samples {
        write!(out, "bonded_{name}{suffix}")?;
        for (number, (label, text)) in labels.iter().enumerate() {
            write!(out, "{}{label}=\"{text}\"", if number == 0 { '{' } else { ',' })?;
        }
        writeln!(out, "{} {value}", if labels.is_empty() { "" } else { "}" })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_counted_is_shown() {
        let metrics = Metrics::new();
        metrics.finished(&Finished {
            plane: Plane::V2,
            operation: Some("GetManifest"),
            code: 200,
            duration: Duration::from_millis(3),
            received: 0,
            sent: 1_500,
        });
        metrics.connections.set(7);
        metrics.pull_number("blobs", "Blobs that are stored", Kind::Gauge, || 12.0);
        metrics.pull("queue_depth", "Work that waits", Kind::Gauge, || {
            Box::pin(async {
                vec![Sample { labels: vec![("queue", "scan"), ("of", "jobs")], value: 4.0 }]
            })
        });
        metrics.pull_number("syncs", "Syncs of files", Kind::Counter, || 9.0);

        let shown = metrics.encode().await.unwrap();
        for line in [
            "bonded_requests_total{plane=\"v2\",operation=\"GetManifest\",code=\"200\"} 1",
            "bonded_request_duration_seconds_count{plane=\"v2\",operation=\"GetManifest\"} 1",
            "bonded_request_duration_seconds_bucket{le=\"0.005\",plane=\"v2\",operation=\"GetManifest\"} 1",
            "bonded_sent_bytes_total{plane=\"v2\"} 1500",
            "bonded_connections_open 7",
            "# TYPE bonded_blobs gauge",
            "bonded_blobs 12",
            "bonded_queue_depth{queue=\"scan\",of=\"jobs\"} 4",
            "# TYPE bonded_syncs counter",
            "bonded_syncs_total 9",
        ] {
            assert!(shown.lines().any(|it| it == line), "{line} is not in\n{shown}");
        }
        assert!(shown.ends_with("# EOF\n"));
        assert_eq!(shown.matches("# EOF").count(), 1);
    }
}

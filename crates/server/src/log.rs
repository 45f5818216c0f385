//! Where log lines go: through one bounded buffer to one thread that writes them.
//!
//! **Invariant:** a request does not wait for whoever reads the log, but for an error, which may
//! be the last word of a process that aborts, and that for a moment only. When the buffer is
//! full, lines are dropped and counted, and the log says how many.

mod lines;
mod otlp;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::IsTerminal as _;
use std::panic::PanicHookInfo;

use anyhow::Context as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::config::{Log, LogFormat};
use crate::metrics::{Kind, Metrics};

pub use lines::{Lines, Writer};

/// The running log. Dropping it writes what is buffered.
pub struct Logging {
    pub lines: Lines,
    tracer: Option<SdkTracerProvider>,
    _writer: Writer,
}

/// Sends everything of `tracing` to standard error, and spans to a collector if one is named.
/// Must run inside the runtime, once in a process.
pub fn start(log: &Log) -> anyhow::Result<Logging> {
    let is_terminal = std::io::stderr().is_terminal();
    let (lines, writer) = Lines::to(Box::new(std::io::stderr())).context("start the log")?;
    let tracer = log.otlp_endpoint.as_deref().map(otlp::provider).transpose()?;
    let filter = EnvFilter::try_new(&log.level).context("log.level")?;
    tracing_subscriber::registry()
        .with(filter)
        .with(layer(log.format, is_terminal, lines.clone()))
        .with(tracer.as_ref().map(otlp::layer))
        .try_init()
        .context("start the log")?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(Logging { lines, tracer, _writer: writer })
}

/// A bug is an error like others: with the id of the request that met it, in the log's format.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("without a message");
    let place = panic.location().map(ToString::to_string);
    let backtrace = Backtrace::capture();
    let backtrace = match backtrace.status() {
        BacktraceStatus::Captured => Some(backtrace.to_string()),
        _ => None,
    };
    tracing::error!(panic = message, place, backtrace, "a bug: the code panicked");
}

fn layer(
    format: LogFormat,
    is_terminal: bool,
    lines: Lines,
) -> Box<dyn Layer<tracing_subscriber::layer::Layered<EnvFilter, Registry>> + Send + Sync> {
    let layer = tracing_subscriber::fmt::layer().with_writer(lines);
    match format {
        LogFormat::Text => layer.with_ansi(is_terminal).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_span_list(false).boxed(),
    }
}

impl Logging {
    /// Adds what the log can tell of itself to the figures.
    pub fn add_figures(&self, metrics: &Metrics) {
        let lines = self.lines.clone();
        let dropped = move || count(lines.dropped());
        let help = "Log lines that were dropped, because nobody read them in time";
        metrics.pull_number("log_lines_dropped", help, Kind::Counter, dropped);
    }
}

#[expect(clippy::as_conversions, reason = "above 2^53 a figure may be off by one")]
fn count(number: u64) -> f64 {
    number as f64
}

impl Drop for Logging {
    fn drop(&mut self) {
        if let Some(tracer) = &self.tracer
            && let Err(error) = tracer.shutdown()
        {
            tracing::warn!(%error, "the last spans were not exported");
        }
    }
}

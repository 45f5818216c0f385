//! Spans to a collector: OTLP over HTTP, with the process's own client.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::runtime::Handle;
use tracing::Subscriber;
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::registry::LookupSpan;

use crate::http_client::{self, Trust};

/// How long a collector may take for one batch.
const EXPORT_TIME: Duration = Duration::from_secs(10);

/// Makes the exporter; spans are sent in batches by a thread of its own, and dropped when the
/// collector is too slow. Must be called inside the runtime.
pub(super) fn provider(endpoint: &str) -> anyhow::Result<SdkTracerProvider> {
    let client = Client { runtime: Handle::current(), trust: Trust::system()? };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .with_headers(HashMap::new())
        .with_timeout(EXPORT_TIME)
        .build()
        .context("log.otlp_endpoint")?;
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(Resource::builder().with_service_name("bonded").build())
        .build())
}

/// What gives spans to the exporter.
pub(super) fn layer<S>(provider: &SdkTracerProvider) -> OpenTelemetryLayer<S, SdkTracer>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    tracing_opentelemetry::layer().with_tracer(provider.tracer("bonded"))
}

/// The exporter's thread has no reactor, so the request is made on the runtime.
struct Client {
    runtime: Handle,
    trust: Trust,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let trust = self.trust.clone();
        let sent = self.runtime.spawn(async move {
            tokio::time::timeout(EXPORT_TIME, http_client::send(request, &trust)).await
        });
        Ok(sent.await???)
    }
}

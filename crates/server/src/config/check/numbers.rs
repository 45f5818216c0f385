//! Limits, times and the small sections.

use std::time::Duration;

use anyhow::{anyhow, bail, ensure};
use tracing_subscriber::EnvFilter;

use crate::config::file;
use crate::config::value::{self, Written};
use crate::config::{Audit, AuditReads, Garbage, Limits, Log, LogFormat, Testing};

/// The largest body of an operation, 28 MiB, must fit into the budget with room for another.
const LEAST_BODY_MEMORY: u64 = 32 << 20;

/// A push takes its time between a blob and the manifest that uses it.
const LEAST_GRACE: Duration = Duration::from_secs(600);

pub(super) fn limits(file: &file::Limits) -> anyhow::Result<Limits> {
    let body_memory = size("limits.body_memory", file.body_memory.as_ref(), "96MiB")?;
    ensure!(
        body_memory >= LEAST_BODY_MEMORY,
        "limits.body_memory: {} cannot hold the largest request; write at least \"32MiB\"",
        file.body_memory.as_ref().map_or_else(String::new, Written::to_string)
    );
    Ok(Limits {
        body_memory,
        min_free: size("limits.min_free", file.min_free.as_ref(), "256MiB")?,
        connections: count("limits.connections", file.connections, 4096)?,
        connections_per_address: count(
            "limits.connections_per_address",
            file.connections_per_address,
            1024,
        )?,
        header_time: time("limits.header_time", file.header_time.as_ref(), "15s")?,
        body_stall: time("limits.body_stall", file.body_stall.as_ref(), "60s")?,
        idle_time: time("limits.idle_time", file.idle_time.as_ref(), "2min")?,
        drain_time: time("limits.drain_time", file.drain_time.as_ref(), "30s")?,
        upload_idle: time("limits.upload_idle", file.upload_idle.as_ref(), "24h")?,
        uploads_per_principal: count(
            "limits.uploads_per_principal",
            file.uploads_per_principal,
            1_000,
        )?,
        repositories_per_registry: count(
            "limits.repositories_per_registry",
            file.repositories_per_registry,
            100_000,
        )?,
        images_per_repository: count(
            "limits.images_per_repository",
            file.images_per_repository,
            100_000,
        )?,
    })
}

pub(super) fn garbage(file: &file::Garbage, testing: Option<&Testing>) -> anyhow::Result<Garbage> {
    let grace = time("garbage.grace", file.grace.as_ref(), "24h")?;
    ensure!(
        grace >= LEAST_GRACE || testing.is_some(),
        "garbage.grace: {} is too short, because a push must finish within it; write at least \
         \"10min\"",
        file.grace.as_ref().map_or_else(String::new, Written::to_string)
    );
    let testing = testing.and_then(|it| it.garbage_grace);
    Ok(Garbage { grace: testing.unwrap_or(grace) })
}

pub(super) fn audit(file: &file::Audit) -> anyhow::Result<Audit> {
    let reads = match file.reads.as_deref() {
        None | Some("queued") => AuditReads::Queued,
        Some("strict") => AuditReads::Strict,
        Some(other) => {
            bail!("audit.reads: {other:?} is not a way to record; write \"queued\" or \"strict\"")
        }
    };
    let tag_history = file.tag_history.as_ref();
    Ok(Audit {
        reads,
        retention: time("audit.retention", file.retention.as_ref(), "90d")?,
        tag_history: tag_history
            .map(|written| time("audit.tag_history", Some(written), "365d"))
            .transpose()?,
    })
}

pub(super) fn log(file: file::Log) -> anyhow::Result<Log> {
    let level = file.level.unwrap_or_else(|| "info".to_owned());
    EnvFilter::try_new(&level).map_err(|_| {
        anyhow!(
            "log.level: {level:?} is not a filter; write for example \"info\" or \
             \"info,bonded_db=debug\""
        )
    })?;
    let format = match file.format.as_deref() {
        None | Some("text") => LogFormat::Text,
        Some("json") => LogFormat::Json,
        Some(other) => bail!("log.format: {other:?} is not a format; write \"text\" or \"json\""),
    };
    if let Some(endpoint) = &file.otlp_endpoint {
        ensure!(
            endpoint.starts_with("http://") || endpoint.starts_with("https://"),
            "log.otlp_endpoint: {endpoint:?} is not a URL; write for example \
             \"http://127.0.0.1:4318\""
        );
    }
    let access = file.access.unwrap_or(true);
    Ok(Log { level, format, access, otlp_endpoint: file.otlp_endpoint })
}

pub(super) fn testing(file: Option<file::Testing>) -> anyhow::Result<Option<Testing>> {
    let Some(file) = file else { return Ok(None) };
    ensure!(
        file.allow,
        "testing.allow: this section is for tests alone and can lose images; remove it, or write \
         allow = true"
    );
    let short = |key: &str, written: Option<&Written>| {
        written.map(|written| value::duration(key, written, "1s")).transpose()
    };
    Ok(Some(Testing {
        allow: true,
        garbage_grace: short("testing.garbage_grace", file.garbage_grace.as_ref())?,
        job_interval: short("testing.job_interval", file.job_interval.as_ref())?,
    }))
}

/// A size; the default is also the example of an error.
fn size(key: &str, written: Option<&Written>, default: &str) -> anyhow::Result<u64> {
    let written = written.cloned().unwrap_or_else(|| Written::Text(default.to_owned()));
    value::size(key, &written, default)
}

/// A time longer than nothing; the default is also the example of an error.
fn time(key: &str, written: Option<&Written>, default: &str) -> anyhow::Result<Duration> {
    let written = written.cloned().unwrap_or_else(|| Written::Text(default.to_owned()));
    let time = value::duration(key, &written, default)?;
    ensure!(!time.is_zero(), "{key}: {written} is no time at all; write for example \"{default}\"");
    Ok(time)
}

fn count(key: &str, written: Option<i64>, default: u32) -> anyhow::Result<u32> {
    let Some(number) = written else { return Ok(default) };
    u32::try_from(number).ok().filter(|number| *number > 0).ok_or_else(|| {
        anyhow!("{key}: {number} is not a number we can keep to; write for example {default}")
    })
}

//! Referrers of a subject: `ListImageReferrers` and `GET /v2/…/referrers/…`.

use anyhow::Context as _;
use bonded_account::keys::{Purpose, SealingKey};
use bonded_db::ReferrerRow;
use bonded_oci::Digest;

use super::annotations_context;
use crate::{Call, Permit, Result};

/// A page has at most this many descriptors on `/v2/` …
pub const MAX_REFERRERS_PAGE: i64 = 1_000;
/// … and at most this many bytes of annotations and types.
const MAX_REFERRERS_BYTES: usize = 4 * 1024 * 1024;

/// The descriptor of a referrer.
#[derive(Clone, Debug)]
pub struct Referrer {
    pub digest: String,
    pub media_type: String,
    pub artifact_type: Option<String>,
    pub manifest_size: i64,
    /// A JSON object.
    pub annotations: String,
}

/// A page of referrers, by digest.
#[derive(Clone, Debug)]
pub struct ReferrersPage {
    pub referrers: Vec<Referrer>,
    /// Whether there are more after the last one.
    pub more: bool,
}

/// Up to `limit` referrers after the digest `after`; of these artifact types, or of all when
/// there are none.
pub async fn referrers(
    call: &Call,
    permit: &Permit,
    subject: &Digest,
    artifact_types: &[String],
    after: &str,
    limit: i64,
) -> Result<ReferrersPage> {
    let (repository_id, subject) = (permit.id, subject.to_string());
    let (types, after) = (artifact_types.to_vec(), after.to_owned());
    let mut rows = call
        .db()
        .read(move |tx| {
            if types.is_empty() {
                return tx.referrers(&repository_id, &subject, None, &after, limit + 1);
            }
            let mut rows = Vec::new();
            for kind in &types {
                rows.extend(tx.referrers(
                    &repository_id,
                    &subject,
                    Some(kind),
                    &after,
                    limit + 1,
                )?);
            }
            Ok::<_, bonded_db::Error>(rows)
        })
        .await?;
    rows.sort_by(|a, b| a.digest.cmp(&b.digest));
    rows.dedup_by(|a, b| a.digest == b.digest);
    let mut bytes = 0;
    let within = rows
        .iter()
        .take(usize::try_from(limit).unwrap_or(0))
        .take_while(|row| {
            bytes += weight(row);
            bytes <= MAX_REFERRERS_BYTES
        })
        .count();
    // A single descriptor that is larger than a page is still shown: manifests have a limit.
    let shown = within.max(1).min(rows.len());
    let more = rows.len() > shown;
    rows.truncate(shown);
    let key = call.domain_key(permit)?;
    let opened = rows.into_iter().map(|row| open(&key, row)).collect::<Result<_>>()?;
    Ok(ReferrersPage { referrers: opened, more })
}

fn open(key: &SealingKey, row: ReferrerRow) -> Result<Referrer> {
    let context = annotations_context(&row.image_id);
    let annotations = key
        .open(Purpose::Column, &context, &row.annotations)
        .map_err(anyhow::Error::from)
        .and_then(|plain| String::from_utf8(plain).map_err(anyhow::Error::from))
        .with_context(|| format!("open the annotations of image {}", row.image_id))?;
    Ok(Referrer {
        digest: row.digest,
        media_type: row.media_type,
        artifact_type: row.artifact_type,
        manifest_size: row.manifest_size,
        annotations,
    })
}

fn weight(row: &ReferrerRow) -> usize {
    /// Digest, size and the JSON around them.
    const FIXED: usize = 256;
    FIXED
        + row.media_type.len()
        + row.artifact_type.as_deref().map_or(0, str::len)
        + row.annotations.len()
}

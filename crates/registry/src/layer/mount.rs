//! A mount: a blob of one repository becomes one of another too, without a byte sent.

use std::sync::Arc;

use bonded_db::Tx;
use bonded_oci::{Digest, RepositoryName};
use serde_json::json;
use serde_json::value::RawValue;

use crate::{Call, Error, Permit, Result};

/// Repositories that are tried when the client names none.
const MOST_SOURCES: i64 = 32;
/// What mounting needs on the source.
const ACTION: &str = "ecr:GetDownloadUrlForLayer";

/// Mounts a blob into `target` from the repository `from`, or from one that has it: the newest
/// of at most 32 that the caller may read.
///
/// `false` for everything else, so that the client uploads the blob: no such source, none that
/// the caller may read, another key domain, or mounting is disabled. The caller begins an upload
/// then, as a call of its own; this one ends without a record, and a refusal was recorded here.
///
/// # Errors
/// `RepositoryNotFound` when the target is gone; never anything about a source.
pub async fn mount(
    call: &Call,
    target: &Permit,
    digest: &Digest,
    from: Option<&str>,
) -> Result<bool> {
    if target.registry.blob_mounting != "ENABLED" {
        return Ok(false);
    }
    let source = match from {
        Some(name) => named(call, target, name).await?,
        None => found(call, target, digest).await?,
    };
    let Some(source) = source else { return Ok(false) };
    if source.domain.id != target.domain.id {
        return Ok(false);
    }
    let mount = Arc::new(Mount::new(call, target, source, digest));
    call.db().write(move |tx| mount.apply(tx)).await
}

/// The source that the client names, if the caller may read it.
async fn named(call: &Call, target: &Permit, name: &str) -> Result<Option<Permit>> {
    let Ok(name) = name.parse::<RepositoryName>() else { return Ok(None) };
    let probe = probe(call);
    let answer = probe.repository(ACTION, &target.account, &name).await;
    if let Err(Error::AccessDenied(_)) = &answer {
        probe.end(&answer).await;
    }
    readable(answer.map(Some))
}

/// The newest repository that has the blob and that the caller may read. What he may not read
/// he did not ask for: it is no refusal of his.
async fn found(call: &Call, target: &Permit, digest: &Digest) -> Result<Option<Permit>> {
    let (domain, digest) = (target.domain.id, digest.to_string());
    let (account, region) = (target.account.to_string(), target.region.clone());
    let sources = call
        .db()
        .read(move |tx| {
            tx.repositories_with_blob(&domain, &digest, &account, &region, MOST_SOURCES)
        })
        .await?;
    for id in sources {
        let answer = probe(call).repository_by_id(ACTION, id).await;
        if let Some(source) = readable(answer)? {
            return Ok(Some(source));
        }
    }
    Ok(None)
}

/// A call of its own, so that sources do not become resources of the mount's record.
fn probe(call: &Call) -> Call {
    Call::begin(
        Arc::clone(&call.registry),
        Arc::clone(&call.request),
        call.account,
        "MountLayer",
        false,
    )
}

fn readable(answer: Result<Option<Permit>>) -> Result<Option<Permit>> {
    match answer {
        Err(Error::AccessDenied(_) | Error::RepositoryNotFound { .. }) => Ok(None),
        other => other,
    }
}

struct Mount {
    target: Permit,
    source: Permit,
    digest: String,
    now: i64,
    note: bonded_db::Note,
}

impl Mount {
    fn new(call: &Call, target: &Permit, source: Permit, digest: &Digest) -> Mount {
        let digest = digest.to_string();
        let told = json!({
            "registryId": target.account,
            "repositoryName": target.name,
            "layerDigest": digest,
        });
        let mut asked = told.clone();
        if let Some(members) = asked.as_object_mut() {
            members.insert("sourceRepositoryName".to_owned(), json!(source.name));
        }
        call.set_parameters(RawValue::from_string(asked.to_string()).ok());
        call.add("layerDigest", digest.clone());
        let note = call.note(Some(&told), &[]);
        Mount { target: target.clone(), source, digest, now: call.now(), note }
    }

    /// Looks again at all that was read before: `false` if it is no longer so.
    fn apply(&self, tx: &mut Tx<'_>) -> Result<bool> {
        let target = self.target.repository(tx)?;
        let Some(source) = tx.repository(&self.source.id)? else { return Ok(false) };
        if target.key_domain != source.key_domain {
            return Ok(false);
        }
        // The source was told to have it, so its grace time starts anew too.
        if !tx.refresh_membership(&source.id, &self.digest, self.now)? {
            return Ok(false);
        }
        let blob = tx.blob_by_digest(&source.key_domain, &self.digest)?;
        let Some(blob) = blob.filter(|blob| !blob.damaged) else { return Ok(false) };
        tx.put_membership(&target.id, &self.digest, &blob.id, self.now)?;
        tx.note(&self.note)?;
        Ok(true)
    }
}

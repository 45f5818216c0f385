//! Download links: what GetDownloadUrlForLayer gives, and what becomes of them at use.
//!
//! A link is `/v2/-/layer/<sealed>` (`-` is no repository's name). It says which layer of which
//! repository, for whom and until when, and holds no right: the decision is made again at use,
//! so a link dies with the key it was got with, with the grant, and with the repository.

use std::sync::Arc;

use bonded_account::keys::Link;
use bonded_account::{Caller, Origin, Request};
use bonded_iam::AccountId;
use bonded_oci::Digest;
use serde_json::json;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Layer, find};
use crate::{Call, Error, Permit, Registry, Result};

/// How long a link lives, microseconds.
const LIFETIME: i64 = 3_600 * 1_000_000;
const ACTION: &str = "ecr:GetDownloadUrlForLayer";

/// Makes a link to a layer that an image of the repository uses.
///
/// # Errors
/// `LayerNotFound`; `LayerInaccessible` for a layer that no image uses.
pub async fn link(call: &Call, permit: &Permit, digest: &Digest) -> Result<String> {
    find(call, permit, digest).await?;
    let (repository_id, text) = (permit.id, digest.to_string());
    let used = {
        let text = text.clone();
        call.db().read_point(move |tx| tx.images_of_blob(&repository_id, &text)).await?
    };
    if used.is_empty() {
        return Err(Error::LayerInaccessible {
            digest: text,
            name: permit.name.clone(),
            registry_id: permit.account,
        });
    }
    let caller = &call.request.caller;
    let link = Link {
        repository_id: permit.id,
        digest: text,
        principal_id: caller.principal_id.clone(),
        access_key_id: caller.access_key_id.clone(),
        account: caller.account.clone(),
        expires_at: call.now() + LIFETIME,
    };
    let endpoint = (call.registry.endpoints)(&permit.account.to_string(), &permit.region);
    Ok(format!("{}/v2/-/layer/{}", endpoint.url, link.seal(&call.services().keys)))
}

/// The request that brings a link: no other credential of it is read.
pub struct LinkRequest {
    pub id: Uuid,
    /// The region whose host was asked.
    pub region: String,
    pub origin: Origin,
}

/// A link that may be used.
pub struct OpenedLink {
    /// Ended already: its record is written.
    pub call: Call,
    pub permit: Permit,
    pub layer: Layer,
}

/// Opens the sealed part of a link for use.
///
/// `None` for whatever is wrong with it, without a difference: the text, its age, the key, the
/// grant, the repository or the layer.
///
/// # Errors
/// Only ours: the database is not there, and the like.
pub async fn open_link(
    registry: &Arc<Registry>,
    sealed: &str,
    request: LinkRequest,
) -> Result<Option<OpenedLink>> {
    let services = &registry.services;
    let Some(link) = Link::open(&services.keys, sealed, registry.now()) else { return Ok(None) };
    let (Ok(account), Ok(digest)) =
        (link.account.parse::<AccountId>(), link.digest.parse::<Digest>())
    else {
        return Ok(None);
    };
    let caller = Caller {
        account: link.account,
        principal_id: link.principal_id,
        access_key_id: link.access_key_id,
    };
    let LinkRequest { id, region, origin } = request;
    let request = Request::new(Arc::clone(services), id, region, caller, origin);
    let operation = "GetDownloadUrlForLayer";
    let call = Call::begin(Arc::clone(registry), Arc::new(request), account, operation, true);
    let opened = open(&call, link.repository_id, &digest).await;
    // Without a valid identity it is counted and logged by the server, not recorded.
    if call.request.identity().is_some() {
        call.end(&opened).await;
    }
    match opened {
        Ok(Some((permit, layer))) => Ok(Some(OpenedLink { call, permit, layer })),
        Ok(None) => Ok(None),
        Err(error @ (Error::Internal(_) | Error::Unavailable(_) | Error::NoSpace)) => Err(error),
        Err(Error::Account(error)) if error.status >= 500 => Err(Error::Account(error)),
        Err(_) => Ok(None),
    }
}

async fn open(
    call: &Call,
    repository_id: Uuid,
    digest: &Digest,
) -> Result<Option<(Permit, Layer)>> {
    let Some(permit) = call.repository_by_id(ACTION, repository_id).await? else {
        return Ok(None);
    };
    // A domain that is not enabled must look like all the rest.
    call.domain_key(&permit)?;
    let parameters = json!({
        "registryId": permit.account,
        "repositoryName": permit.name,
        "layerDigest": digest.to_string(),
    });
    call.set_parameters(RawValue::from_string(parameters.to_string()).ok());
    let layer = find(call, &permit, digest).await?;
    Ok(Some((permit, layer)))
}

//! What answers requests: the registries, and the memory for bodies.

use std::sync::Arc;

use bonded_registry::{Registry, Result};
use http::Request;
use tokio::sync::Mutex;

use crate::arrival::Arrival;
use crate::body::{Incoming, Response};
use crate::plane::Plane;
use crate::whole::BodyMemory;
use crate::{json, query, rest_json, v2};

/// Token keys are read again at most this often for tokens of unknown keys, microseconds.
const RELOAD_EVERY: i64 = 1_000_000;

/// The longest form that is read for the name of its action, bytes: the rest is for services
/// that are not built.
const MAX_FORM: usize = 64 * 1024;

/// Answers the requests of all listeners.
pub struct Service {
    pub registry: Arc<Registry>,
    pub(crate) bodies: BodyMemory,
    /// When the token keys were last read.
    reloaded_at: Mutex<i64>,
}

impl Service {
    /// `body_memory` is for bodies that are held whole, in bytes.
    pub fn new(registry: Arc<Registry>, body_memory: u64) -> Service {
        let bodies = BodyMemory::new(body_memory);
        Service { registry, bodies, reloaded_at: Mutex::default() }
    }

    /// Answers one request.
    pub async fn answer(&self, arrival: &Arrival, request: Request<Incoming>) -> Response {
        let (head, body) = request.into_parts();
        match Plane::of(&head) {
            Plane::V2 => v2::answer(self, arrival, &head, body).await,
            Plane::Json { target } => json::answer(self, arrival, &head, target, body).await,
            Plane::Query => {
                let form = self.bodies.read(body, MAX_FORM, |_| {}).await;
                let form = form.map(|held| held.bytes).unwrap_or_default();
                query::answer(&head, &form, arrival.request_id)
            }
            Plane::Rest => rest_json::unknown_operation(),
        }
    }

    /// Reads the token keys again, for a token whose key another node may have made. `false` if
    /// they were read a moment ago: strangers must not be able to ask the database for much.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn reload_token_keys(&self) -> Result<bool> {
        let asked = self.registry.now();
        let mut reloaded_at = self.reloaded_at.lock().await;
        if *reloaded_at >= asked {
            return Ok(true);
        }
        if asked < reloaded_at.saturating_add(RELOAD_EVERY) {
            return Ok(false);
        }
        *reloaded_at = asked;
        self.registry.services.load_token_keys().await?;
        Ok(true)
    }
}

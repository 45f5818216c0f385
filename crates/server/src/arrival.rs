//! What is known of a request when it arrives, and what its access line will tell.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bonded_account::{Origin, Request};
use bonded_iam::AccountId;
use uuid::Uuid;

/// A request as the listener took it.
pub struct Arrival {
    pub request_id: Uuid,
    pub origin: Origin,
    /// Whose registry the host or the listener names.
    pub account: AccountId,
    pub region: String,
    seen: Mutex<Seen>,
}

/// What of a request stands in its access line.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub operation: Option<&'static str>,
    pub principal: Option<String>,
    pub account: Option<String>,
    pub repository: Option<String>,
    pub digest: Option<String>,
    /// The code of the error that was told.
    pub error: Option<&'static str>,
}

impl Arrival {
    pub fn new(request_id: Uuid, origin: Origin, account: AccountId, region: String) -> Arrival {
        Arrival { request_id, origin, account, region, seen: Mutex::default() }
    }

    /// Notes who asked, once it is known.
    pub fn note_caller(&self, request: &Request) {
        let mut seen = self.seen();
        seen.principal = Some(request.principal_arn());
        seen.account = Some(request.caller.account.clone());
    }

    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! A request: who asks, what, when and from where.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use uuid::Uuid;

use crate::audit::Who;
use crate::identity::Identity;
use crate::services::Services;

/// One request to any of the services, from the moment its caller is known.
pub struct Request {
    /// In the response's `x-amzn-RequestId`, in every log line and record.
    pub id: Uuid,
    /// When it came, microseconds since 1970.
    pub time: i64,
    /// The region that was asked.
    pub region: String,
    pub caller: Caller,
    pub origin: Origin,
    pub services: Arc<Services>,
    identity: OnceLock<Arc<Identity>>,
}

/// Who a signature, token or link speaks for. What they may is not known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub account: String,
    /// Unique id of the principal.
    pub principal_id: String,
    /// The access key that signed, or that the token was got with.
    pub access_key_id: String,
}

/// Where a request comes from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The client's address: the peer's, or what a trusted proxy says.
    pub address: IpAddr,
    /// TLS, to us or to a trusted proxy.
    pub secure: bool,
    pub user_agent: Option<String>,
    pub referer: Option<String>,
    /// Version, cipher suite and host name of the TLS connection.
    pub tls: Option<(String, String, String)>,
}

impl Request {
    pub fn new(
        services: Arc<Services>,
        id: Uuid,
        region: String,
        caller: Caller,
        origin: Origin,
    ) -> Request {
        let time = services.clock.now();
        Request { id, time, region, caller, origin, services, identity: OnceLock::new() }
    }

    /// Keeps the identity that the first decision was made with, for the record.
    pub(crate) fn remember(&self, identity: &Arc<Identity>) {
        // A second decision of the same request may come first: either tells who asked.
        let _ = self.identity.set(Arc::clone(identity));
    }

    /// The identity, once a decision was made.
    pub fn identity(&self) -> Option<&Arc<Identity>> {
        self.identity.get()
    }

    /// The caller's ARN, or what is known of it.
    pub fn principal_arn(&self) -> String {
        match self.identity.get() {
            Some(identity) => identity.arn.clone(),
            None => format!("arn:aws:iam::{}:root", self.caller.account),
        }
    }

    /// `userIdentity` of the record.
    pub(crate) fn who(&self) -> Who {
        let caller = &self.caller;
        let identity = self.identity.get();
        let kind = match identity.map(|identity| identity.kind.as_str()) {
            Some("user") => "IAMUser",
            Some("role") => "AssumedRole",
            Some("root") => "Root",
            _ if caller.principal_id == caller.account => "Root",
            _ => "Unknown",
        };
        let user = identity.filter(|identity| identity.kind == "user");
        Who {
            kind: kind.to_owned(),
            principal_id: Some(caller.principal_id.clone()),
            arn: identity.map(|identity| identity.arn.clone()),
            account: Some(caller.account.clone()),
            user_name: user.map(|user| user.name.clone()),
            access_key_id: Some(caller.access_key_id.clone()),
            invoked_by: None,
        }
    }
}

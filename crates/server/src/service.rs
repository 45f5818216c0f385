//! What answers requests: the registries, and the memory for bodies.

use std::sync::Arc;
use std::time::Duration;

use bonded_account::Origin;
use bonded_registry::{Registry, Result};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::sync::Mutex;

use crate::body::{Body, RequestBody};
use crate::exchange::{Exchange, Handler};
use crate::limits::{BodyBudget, Owner};
use crate::names::Names;
use crate::plane::Protocol;
use crate::whole::{hold, length};
use crate::{json, query, rest_json, v2};

/// Token keys are read again at most this often for tokens of unknown keys, microseconds.
const RELOAD_EVERY: i64 = 1_000_000;

/// The longest form that is read for the name of its action, bytes: the rest is for services
/// that are not built.
const MAX_FORM: usize = 64 * 1024;

/// How much is read of a body that nobody wanted, bytes, and for how long.
const MAX_UNREAD: u64 = 64 * 1024;
const UNREAD_TIME: Duration = Duration::from_millis(100);

/// Answers the requests of all listeners.
pub struct Service {
    pub registry: Arc<Registry>,
    pub names: Arc<Names>,
    /// Memory for bodies that are held whole.
    pub bodies: BodyBudget,
    /// When the token keys were last read.
    reloaded_at: Mutex<i64>,
}

impl Service {
    pub fn new(registry: Arc<Registry>, names: Arc<Names>, bodies: BodyBudget) -> Service {
        Service { registry, names, bodies, reloaded_at: Mutex::default() }
    }

    /// What the listeners ask.
    pub fn into_handler(self: Arc<Self>) -> Handler {
        Handler::new(move |request, exchange| {
            let service = Arc::clone(&self);
            async move { service.answer(request, &exchange).await }
        })
    }

    /// Answers one request.
    pub async fn answer(
        &self,
        request: Request<RequestBody>,
        exchange: &Exchange,
    ) -> Response<Body> {
        let (head, mut body) = request.into_parts();
        let protocol = Protocol::of(&head);
        exchange.note(|log| log.plane = protocol.plane());
        let mut response = if names_two_hosts(&head) {
            let mut refused = Response::new(Body::Empty);
            *refused.status_mut() = StatusCode::BAD_REQUEST;
            refused
        } else {
            self.answer_to(&protocol, exchange, &head, &mut body).await
        };
        if head.version < Version::HTTP_2 && !has_ended(&head, &mut body, exchange).await {
            // The connection cannot be used again with bytes of this request still on their way.
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        response
    }

    async fn answer_to(
        &self,
        protocol: &Protocol<'_>,
        exchange: &Exchange,
        head: &Parts,
        body: &mut RequestBody,
    ) -> Response<Body> {
        match protocol {
            Protocol::V2 => v2::answer(self, exchange, head, body).await,
            Protocol::Json { target } => json::answer(self, exchange, head, target, body).await,
            Protocol::Query => {
                let owner = Owner::new(exchange.client, "");
                let form = hold(&self.bodies, &owner, body, MAX_FORM, |_| {}).await;
                let form = form.map(|held| held.bytes).unwrap_or_default();
                query::answer(head, &form, exchange)
            }
            Protocol::Rest => rest_json::unknown_operation(exchange),
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

/// Whether nothing of a request is left to come. A little of a body that nobody wanted is read,
/// if it comes at once: else the connection could not be used again.
async fn has_ended(head: &Parts, body: &mut RequestBody, exchange: &Exchange) -> bool {
    if body.is_end_stream() {
        return true;
    }
    if head.headers.contains_key(header::EXPECT) && exchange.received() == 0 {
        // To read would be to ask for it.
        return false;
    }
    let left = length(body).unwrap_or(0);
    if left > MAX_UNREAD {
        return false;
    }
    let most = exchange.received().saturating_add(MAX_UNREAD);
    let rest = async {
        while exchange.received() <= most {
            match body.frame().await {
                Some(Ok(_)) => {}
                Some(Err(_)) => return false,
                None => return true,
            }
        }
        false
    };
    tokio::time::timeout(UNREAD_TIME, rest).await.unwrap_or(false)
}

/// Where a request comes from, for conditions and records.
pub(crate) fn origin(exchange: &Exchange, head: &Parts) -> Origin {
    let host = host(head).unwrap_or_default();
    let tls = exchange
        .connection
        .tls
        .map(|tls| (tls.version.to_owned(), tls.cipher_suite.to_owned(), host.to_owned()));
    Origin {
        address: exchange.client,
        secure: exchange.secure,
        user_agent: text(&head.headers, &header::USER_AGENT),
        referer: text(&head.headers, &header::REFERER),
        tls,
    }
}

/// The host that a request names: HTTP/2 has it in its target.
pub(crate) fn host(head: &Parts) -> Option<&str> {
    let named = head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    named.or_else(|| head.uri.authority().map(http::uri::Authority::as_str))
}

/// Whether a request could mean one registry to a proxy and another one here (RFC 9112, section
/// 3.2): such a request is refused.
fn names_two_hosts(head: &Parts) -> bool {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let first = hosts.next().map(HeaderValue::as_bytes);
    let in_target = head.uri.authority().map(|authority| authority.as_str().as_bytes());
    let differ = |(one, other): (&[u8], &[u8])| !one.eq_ignore_ascii_case(other);
    hosts.next().is_some() || first.zip(in_target).is_some_and(differ)
}

/// Notes who asked, once it is known.
pub(crate) fn note_caller(exchange: &Exchange, request: &bonded_account::Request) {
    exchange.note(|log| {
        log.principal = Some(request.principal_arn());
        log.access_key_id = Some(request.caller.access_key_id.clone());
    });
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

//! The registry's HTTP API: the OCI distribution specification, with ECR's credentials.
//!
//! **Invariant:** who asks is known before the path is looked at. Without good credentials every
//! path answers the same challenge, and so does whatever was refused before a decision on access
//! was made, if the caller's key is gone by then.

mod answer;
mod blobs;
mod catalog;
mod error;
mod links;
mod manifests;
mod page;
mod range;
mod referrers;
mod tags;
mod uploads;

use std::convert::Infallible;
use std::sync::Arc;

use bonded_account::Request;
use bonded_iam::AccountId;
use bonded_oci::path::{self, Resource};
use bonded_oci::{Digest, InvalidReference, Reference, RepositoryName};
use bonded_registry::layer::LinkRequest;
use bonded_registry::{self as registry, Call, ecr};
use bytes::Bytes;
use futures::{Stream, TryStreamExt as _};
use http::request::Parts;
use http::{HeaderValue, Method, Response, header};
use http_body_util::BodyDataStream;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

pub(crate) use error::Error;

use crate::auth::token;
use crate::body::{Body, RequestBody};
use crate::exchange::Exchange;
use crate::form::Form;
use crate::names::{NotServed, RegistryName};
use crate::service::{Service, host, note_caller, origin};

const DIGEST_FORM: &str =
    "A digest is sha256: or sha512: and its hexadecimal digits, in lower case";

/// A request whose caller is known.
struct Asked<'a> {
    service: &'a Service,
    exchange: &'a Exchange,
    request: Arc<Request>,
    /// Whose registry the host names.
    account: AccountId,
    head: &'a Parts,
    query: Form,
}

/// Answers a request to `/v2/`.
pub(crate) async fn answer(
    service: &Service,
    exchange: &Exchange,
    head: &Parts,
    body: &mut RequestBody,
) -> Response<Body> {
    let meant = service.names.resolve(host(head), exchange.connection.listener);
    let meant = meant.map(|meant| meant.registry);
    let mut response = match respond(service, exchange, &meant, head, body).await {
        Ok(response) => response,
        Err(error) if error.is_unauthorized() => {
            let registry = meant.as_ref().unwrap_or_else(|_| service.names.default_registry());
            answer::challenge(&service.registry, &registry.account, &registry.region)
        }
        Err(error) => error.into_response(exchange),
    };
    let headers = response.headers_mut();
    let version = HeaderValue::from_static("registry/2.0");
    headers.insert("docker-distribution-api-version", version);
    // What strangers pushed is never a page of this host.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn respond(
    service: &Service,
    exchange: &Exchange,
    meant: &Result<RegistryName, NotServed>,
    head: &Parts,
    body: &mut RequestBody,
) -> Result<Response<Body>, Error> {
    let (id, origin) = (exchange.id.uuid(), origin(exchange, head));
    if let Some(sealed) = path::layer_link(head.uri.path()) {
        let meant = meant.as_ref().map_err(|_| Error::Unauthorized)?;
        let request = LinkRequest { id, region: meant.region.to_string(), origin };
        return links::get(service, exchange, head, sealed, request).await;
    }
    let region = meant.as_ref().ok().map(|meant| &*meant.region);
    let caller = token::caller(service, &head.headers, region).await?;
    let meant = match meant {
        Ok(meant) => meant,
        Err(not_served) => {
            token::check_key(service, &caller).await?;
            return Err(Error::NotServed(not_served.clone()));
        }
    };
    exchange.note(|log| log.account = Some(meant.account.to_string()));
    let services = Arc::clone(&service.registry.services);
    let request = Request::new(services, id, meant.region.to_string(), caller, origin);
    let asked = Asked {
        service,
        exchange,
        request: Arc::new(request),
        account: account_id(&meant.account)?,
        head,
        query: Form::parse(head.uri.query().unwrap_or_default()),
    };
    let response = dispatch(&asked, body).await;
    note_caller(exchange, &asked.request);
    // A decision on access sees whether the caller's key is good. Without one nobody has looked.
    if asked.request.identity().is_none() {
        token::check_key(service, &asked.request.caller).await?;
    }
    response
}

fn account_id(text: &str) -> Result<AccountId, Error> {
    text.parse()
        .map_err(|_| registry::Error::Internal(anyhow::anyhow!("`{text}` is no account id")).into())
}

async fn dispatch(asked: &Asked<'_>, body: &mut RequestBody) -> Result<Response<Body>, Error> {
    let resource = path::parse(asked.head.uri.path()).ok_or(Error::NoRoute)?;
    match (&asked.head.method, resource) {
        (&Method::GET | &Method::HEAD, Resource::Version) => {
            answer::json("application/json", &json!({}), None)
        }
        (&Method::GET | &Method::HEAD, Resource::Catalog) => catalog::list(asked).await,
        (&Method::GET | &Method::HEAD, Resource::Tags { name }) => tags::list(asked, name).await,
        (&Method::GET | &Method::HEAD, Resource::Referrers { name, digest }) => {
            referrers::list(asked, name, digest).await
        }
        (_, Resource::Version | Resource::Catalog | Resource::Tags { .. })
        | (_, Resource::Referrers { .. }) => Err(Error::NoMethod("GET, HEAD")),

        (&Method::GET | &Method::HEAD, Resource::Manifest { name, reference }) => {
            manifests::get(asked, name, reference).await
        }
        (&Method::PUT, Resource::Manifest { name, reference }) => {
            manifests::put(asked, name, reference, body).await
        }
        (&Method::DELETE, Resource::Manifest { name, reference }) => {
            manifests::delete(asked, name, reference).await
        }
        (_, Resource::Manifest { .. }) => Err(Error::NoMethod("GET, HEAD, PUT, DELETE")),

        (&Method::GET | &Method::HEAD, Resource::Blob { name, digest }) => {
            blobs::get(asked, name, digest).await
        }
        (&Method::DELETE, Resource::Blob { name, digest }) => {
            blobs::delete(asked, name, digest).await
        }
        (_, Resource::Blob { .. }) => Err(Error::NoMethod("GET, HEAD, DELETE")),

        (&Method::POST, Resource::Uploads { name }) => uploads::begin(asked, name, body).await,
        (_, Resource::Uploads { .. }) => Err(Error::NoMethod("POST")),

        (&Method::GET | &Method::HEAD, Resource::Upload { name, id }) => {
            uploads::status(asked, name, id).await
        }
        (&Method::PATCH, Resource::Upload { name, id }) => {
            uploads::append(asked, name, id, body).await
        }
        (&Method::PUT, Resource::Upload { name, id }) => {
            uploads::complete(asked, name, id, body).await
        }
        (&Method::DELETE, Resource::Upload { name, id }) => uploads::cancel(asked, name, id).await,
        (_, Resource::Upload { .. }) => Err(Error::NoMethod("GET, HEAD, PATCH, PUT, DELETE")),
    }
}

impl Asked<'_> {
    /// The repository that a path names.
    fn name(&self, text: &str) -> Result<RepositoryName, Error> {
        let name: RepositoryName = text.parse().map_err(|_| Error::NameInvalid)?;
        self.exchange.note(|log| log.repository = Some(name.as_str().to_owned()));
        Ok(name)
    }

    /// Notes which digest the request is about.
    fn note_digest(&self, digest: &impl ToString) {
        self.exchange.note(|log| log.digest = Some(digest.to_string()));
    }

    /// Begins the API operation that a request stands for.
    fn call(&self, operation: &str, name: &RepositoryName, parameters: Value) -> Call {
        let (operation, read_only) =
            ecr::find(operation).expect("requests stand for operations of the table");
        self.call_named(operation, read_only, Some(name), parameters)
    }

    /// The same for an operation that the API does not have, or that this request only reads by.
    fn call_named(
        &self,
        operation: &'static str,
        read_only: bool,
        name: Option<&RepositoryName>,
        parameters: Value,
    ) -> Call {
        self.exchange.note(|log| log.operation = Some(operation));
        let registry = Arc::clone(&self.service.registry);
        let request = Arc::clone(&self.request);
        let call = Call::begin(registry, request, self.account, operation, read_only);
        call.set_parameters(self.parameters(name, parameters));
        call
    }

    /// `requestParameters` of the record: the registry, the repository, and what is asked.
    fn parameters(&self, name: Option<&RepositoryName>, asked: Value) -> Option<Box<RawValue>> {
        let mut members = Map::new();
        members.insert("registryId".to_owned(), json!(self.account));
        if let Some(name) = name {
            members.insert("repositoryName".to_owned(), json!(name.as_str()));
        }
        if let Value::Object(asked) = asked {
            members.extend(asked.into_iter().filter(|(_, value)| !value.is_null()));
        }
        to_raw_value(&members).ok()
    }

    /// Ends a call, which records it, and gives its result on.
    async fn end<T>(&self, call: &Call, result: Result<T, Error>) -> Result<T, Error> {
        match result {
            Ok(value) => {
                call.end(&Ok(())).await;
                Ok(value)
            }
            Err(Error::Registry(error)) => {
                let failed = Err::<Infallible, _>(*error);
                call.end(&failed).await;
                let Err(error) = failed;
                Err(error.into())
            }
            Err(error) => {
                // What this plane refuses by itself is an invalid parameter in the API's terms.
                let refused = registry::Error::InvalidRequest(error.to_string());
                call.end::<()>(&Err(refused)).await;
                Err(error)
            }
        }
    }
}

/// The digest that a path or query names.
fn digest(text: &str) -> Result<Digest, Error> {
    text.parse().map_err(|_| Error::DigestInvalid(DIGEST_FORM))
}

/// The tag or digest that a path names.
fn reference(text: &str) -> Result<Reference, Error> {
    text.parse().map_err(|error| match error {
        InvalidReference::Digest(_) => Error::DigestInvalid(DIGEST_FORM),
        InvalidReference::Tag(_) => Error::TagInvalid,
    })
}

/// The bytes of a body as they come.
fn stream(body: &mut RequestBody) -> impl Stream<Item = Result<Bytes, Error>> + '_ {
    BodyDataStream::new(body).map_err(|_| Error::BrokenOff)
}

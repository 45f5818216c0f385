//! `GET /v2/_catalog`: the registry's repositories in byte order.

use bonded_registry::repository::names_page;
use http::Response;
use serde_json::json;

use super::page::{Page, link};
use super::{Asked, Error, answer};
use crate::body::Body;

pub(super) async fn list(asked: &Asked<'_>) -> Result<Response<Body>, Error> {
    let page = Page::parse(&asked.query)?;
    let parameters = json!({ "maxResults": page.n });
    let call = asked.call_named("DescribeRepositories", true, None, parameters);
    let found = names_page(&call, &page.last, page.n).await.map_err(Error::from);
    let found = asked.end(&call, found).await?;
    let next = found
        .names
        .last()
        .filter(|_| found.more)
        .map(|last| link("/v2/_catalog", &[("n", &page.n.to_string()), ("last", last)]));
    answer::json("application/json", &json!({ "repositories": found.names }), next)
}

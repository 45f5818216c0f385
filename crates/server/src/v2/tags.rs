//! `GET /v2/NAME/tags/list`: tags in byte order.

use bonded_oci::RepositoryName;
use bonded_registry::Call;
use bonded_registry::image::{self, TagsPage};
use http::Response;
use serde_json::json;

use super::page::{Page, link};
use super::{Asked, Error, answer};
use crate::body::Body;

pub(super) async fn list(asked: &Asked<'_>, name: &str) -> Result<Response<Body>, Error> {
    let name = asked.name(name)?;
    let page = Page::parse(&asked.query)?;
    let call = asked.call("ListImages", &name, json!({ "maxResults": page.n }));
    let found = find(&call, &name, &page).await;
    let found = asked.end(&call, found).await?;
    let next = found.tags.last().filter(|_| found.more).map(|last| {
        let path = format!("/v2/{name}/tags/list");
        link(&path, &[("n", &page.n.to_string()), ("last", last)])
    });
    let body = json!({ "name": name.as_str(), "tags": found.tags });
    answer::json("application/json", &body, next)
}

async fn find(call: &Call, name: &RepositoryName, page: &Page) -> Result<TagsPage, Error> {
    let permit = call.repository("ecr:ListImages", &call.account, name).await?;
    Ok(image::tags_page(call, &permit, &page.last, page.n).await?)
}

//! Tags of a repository, in byte order: `GET /v2/…/tags/list`.

use crate::{Call, Permit, Result};

/// The most tags of one page.
pub const MAX_TAGS_PAGE: i64 = 1_000;

/// A page of tag names.
#[derive(Clone, Debug)]
pub struct TagsPage {
    pub tags: Vec<String>,
    /// Whether there are more after the last one.
    pub more: bool,
}

/// Up to `limit` names after `after`, which need not exist.
pub async fn tags_page(call: &Call, permit: &Permit, after: &str, limit: i64) -> Result<TagsPage> {
    let limit = limit.clamp(0, MAX_TAGS_PAGE);
    if limit == 0 {
        return Ok(TagsPage { tags: Vec::new(), more: false });
    }
    let (repository_id, after) = (permit.id, after.to_owned());
    let mut tags =
        call.db().read(move |tx| tx.tag_names(&repository_id, &after, limit + 1)).await?;
    let more = i64::try_from(tags.len()).unwrap_or(i64::MAX) > limit;
    tags.truncate(usize::try_from(limit).unwrap_or(0));
    Ok(TagsPage { tags, more })
}

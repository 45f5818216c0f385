//! Rules about repositories that several operations share: mutability, resource tags.

use bonded_account::Tags;
use sha2::{Digest as _, Sha256};

use crate::ecr::types::{ImageTagMutabilityExclusionFilter, Tag};
use crate::{Call, Error, Result, check, repository_arn};

/// Tags that a repository may have.
pub const MAX_TAGS: usize = 50;
const MAX_TAG_KEY: usize = 128;
const MAX_TAG_VALUE: usize = 256;
const MAX_FILTERS: usize = 5;
const MAX_FILTER: usize = 128;
const MAX_FILTER_WILDCARDS: usize = 2;

const MUTABILITIES: [&str; 4] =
    ["MUTABLE", "IMMUTABLE", "IMMUTABLE_WITH_EXCLUSION", "MUTABLE_WITH_EXCLUSION"];

/// Whether tags may move, and the filters of the tags for which it is the other way round.
#[derive(Clone, Debug)]
pub struct Mutability {
    pub name: String,
    pub filters: Vec<String>,
}

impl Mutability {
    /// Filters are there exactly when the mode has exclusions (ecr.md C.1).
    pub fn check(
        name: &str,
        filters: Option<Vec<ImageTagMutabilityExclusionFilter>>,
    ) -> Result<Mutability> {
        const MEMBER: &str = "imageTagMutabilityExclusionFilters";
        check::one_of("imageTagMutability", name, &MUTABILITIES)?;
        let with_exclusion = name.ends_with("_WITH_EXCLUSION");
        let filters = match (with_exclusion, filters) {
            (false, None) => Vec::new(),
            (true, Some(filters)) => filters,
            (true, None) => {
                return Err(check::invalid(
                    MEMBER,
                    format!(
                        "ImageTagMutabilityExclusionFilters can't be null when imageTagMutability \
                         is set as {name}"
                    ),
                ));
            }
            (false, Some(_)) => {
                return Err(check::invalid(
                    MEMBER,
                    format!(
                        "ImageTagMutabilityExclusionFilters must be null when imageTagMutability \
                         is set as {name}"
                    ),
                ));
            }
        };
        if with_exclusion {
            check::length(MEMBER, filters.len(), 1, MAX_FILTERS)?;
        }
        let filters = filters.into_iter().map(check_filter).collect::<Result<_>>()?;
        Ok(Mutability { name: name.to_owned(), filters })
    }

    /// The filters as a row keeps them.
    pub fn filters_json(&self) -> String {
        serde_json::to_string(&self.filters).expect("strings are JSON")
    }
}

fn check_filter(filter: ImageTagMutabilityExclusionFilter) -> Result<String> {
    const TYPE: &str = "imageTagMutabilityExclusionFilters.member.filterType";
    const VALUE: &str = "imageTagMutabilityExclusionFilters.member.filter";
    let kind = check::required(TYPE, filter.filter_type)?;
    check::one_of(TYPE, &kind, &["WILDCARD"])?;
    let value = check::required(VALUE, filter.filter)?;
    check::length(VALUE, value.len(), 1, MAX_FILTER)?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._*-".contains(&byte);
    if !value.bytes().all(allowed) {
        return Err(check::invalid(
            VALUE,
            "must satisfy regular expression '^[0-9a-zA-Z._*-]{1,128}$'",
        ));
    }
    if value.bytes().filter(|byte| *byte == b'*').count() > MAX_FILTER_WILDCARDS {
        return Err(check::invalid(VALUE, "Member must have at most 2 wildcards (*)"));
    }
    Ok(value)
}

/// Tags as they were given, by key; a later one of the same key wins.
///
/// # Errors
/// `InvalidTagParameter` for a key or value of no tag's form, `TooManyTags` above the limit.
pub fn check_tags(tags: Vec<Tag>) -> Result<Tags> {
    let mut checked = Tags::new();
    for tag in tags {
        let key = check::required("tags.member.Key", tag.key)?;
        let value = check::required("tags.member.Value", tag.value)?;
        check_tag_key(&key)?;
        if value.chars().count() > MAX_TAG_VALUE {
            return Err(Error::InvalidTagParameter(format!(
                "The value of the tag '{key}' is longer than {MAX_TAG_VALUE} characters"
            )));
        }
        checked = merge(checked, vec![(key, value)]);
    }
    check_tag_count(&checked)?;
    Ok(checked)
}

fn check_tag_key(key: &str) -> Result<()> {
    let invalid = |why: &str| Err(Error::InvalidTagParameter(why.to_owned()));
    if key.is_empty() || key.chars().count() > MAX_TAG_KEY {
        return invalid("A tag's key has 1 to 128 characters");
    }
    if key.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:")) {
        return invalid("Tag keys that begin with aws: are reserved");
    }
    Ok(())
}

/// At most fifty.
pub fn check_tag_count(tags: &Tags) -> Result<()> {
    if tags.len() > MAX_TAGS {
        return Err(Error::TooManyTags(format!("A repository can have at most {MAX_TAGS} tags")));
    }
    Ok(())
}

/// Tags with `new` put over them, by key.
pub fn merge(mut tags: Tags, new: Tags) -> Tags {
    for (key, value) in new {
        match tags.iter_mut().find(|(known, _)| *known == key) {
            Some(known) => known.1 = value,
            None => tags.push((key, value)),
        }
    }
    tags.sort();
    tags
}

/// Tells one set of tags from another; `None` for the empty set.
pub fn tags_hash(tags: &Tags) -> Option<[u8; 32]> {
    if tags.is_empty() {
        return None;
    }
    let mut sorted = tags.clone();
    sorted.sort();
    let text = serde_json::to_vec(&sorted).expect("strings are JSON");
    Some(Sha256::digest(&text).into())
}

/// A page of repository names, in byte order.
#[derive(Clone, Debug)]
pub struct NamesPage {
    pub names: Vec<String>,
    /// Whether there are more after the last one.
    pub more: bool,
}

/// Up to `limit` names of the call's registry after `after`, which need not exist: for
/// `GET /v2/_catalog`. Who may describe `repository/*` sees them all.
pub async fn names_page(call: &Call, after: &str, limit: i64) -> Result<NamesPage> {
    let arn = repository_arn(call.region(), &call.account, "*");
    call.authorize("ecr:DescribeRepositories", &call.account, &arn).await?;
    if limit <= 0 {
        return Ok(NamesPage { names: Vec::new(), more: false });
    }
    let (account, region) = (call.account.to_string(), call.region().to_owned());
    let after = after.to_owned();
    let rows =
        call.db().read(move |tx| tx.repository_names(&account, &region, &after, limit + 1)).await?;
    let mut names: Vec<_> = rows.into_iter().map(|(_, name)| name).collect();
    let more = i64::try_from(names.len()).unwrap_or(i64::MAX) > limit;
    names.truncate(usize::try_from(limit).unwrap_or(0));
    Ok(NamesPage { names, more })
}

//! Members of inputs, with AWS's sentences.
//!
//! The first failure in the model's order of members is told. Nothing here reads a row.

use bonded_account::keys::PageToken;
use bonded_iam::AccountId;
use bonded_oci::RepositoryName;
use serde::Serialize;

use crate::{Call, Error, Result};

/// ECR's pattern of repository names, as its errors quote it.
pub const REPOSITORY_NAME: &str =
    "[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*(\\/[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*)*";

/// A member that breaks a constraint of the model.
pub fn invalid(member: &'static str, constraint: impl Into<String>) -> Error {
    Error::InvalidParameter { member, constraint: constraint.into() }
}

/// A member that must be there.
pub fn required<T>(member: &'static str, value: Option<T>) -> Result<T> {
    value.ok_or_else(|| invalid(member, "Member must not be null"))
}

/// The account whose registry is meant: the caller's own unless it is named.
pub fn registry_id(call: &Call, value: Option<&str>) -> Result<AccountId> {
    match value {
        None => Ok(call.account),
        Some(text) => text.parse().map_err(|_| {
            invalid("registryId", "Member must satisfy regular expression pattern: [0-9]{12}")
        }),
    }
}

/// A repository's name.
pub fn repository_name(member: &'static str, value: Option<&str>) -> Result<RepositoryName> {
    let text = required(member, value)?;
    length(member, text.chars().count(), 2, 256)?;
    text.parse().map_err(|_| {
        invalid(member, format!("must satisfy regular expression '{REPOSITORY_NAME}'"))
    })
}

/// A length within its bounds.
pub fn length(member: &'static str, length: usize, least: usize, most: usize) -> Result<()> {
    if length < least {
        let constraint = format!("Member must have length greater than or equal to {least}");
        return Err(invalid(member, constraint));
    }
    if length > most {
        let constraint = format!("Member must have length less than or equal to {most}");
        return Err(invalid(member, constraint));
    }
    Ok(())
}

/// One of an enumeration's values.
pub fn one_of<'a>(member: &'static str, value: &'a str, values: &[&str]) -> Result<&'a str> {
    if values.contains(&value) {
        return Ok(value);
    }
    let set = values.join(", ");
    Err(invalid(member, format!("Member must satisfy enum value set: [{set}]")))
}

/// How many items a page may have: `default` unless it is said, at most `most`.
pub fn max_results(value: Option<i64>, default: i64, most: i64) -> Result<i64> {
    match value {
        None => Ok(default),
        Some(given) if given < 1 => {
            Err(invalid("maxResults", "Member must have value greater than or equal to 1"))
        }
        Some(given) if given > most => Err(invalid(
            "maxResults",
            format!("Member must have value less than or equal to {most}"),
        )),
        Some(given) => Ok(given),
    }
}

impl Call {
    /// Where a list goes on, from its `nextToken`.
    ///
    /// # Errors
    /// `InvalidParameter` when the token is not ours or was given for other parameters.
    pub fn page(&self, parameters: &impl Serialize, token: Option<&str>) -> Result<Option<String>> {
        let Some(token) = token else { return Ok(None) };
        let keys = &self.services().keys;
        let parameters = text(parameters);
        PageToken::open(keys, token, self.operation, &parameters, self.now())
            .map(Some)
            .ok_or_else(|| invalid("nextToken", "Member must be a token of this request"))
    }

    /// The `nextToken` of a list that goes on after `position`.
    pub fn next_token(&self, parameters: &impl Serialize, position: String) -> String {
        let token = PageToken {
            operation: self.operation.to_owned(),
            parameters: text(parameters),
            position,
        };
        token.seal(&self.services().keys)
    }
}

fn text(parameters: &impl Serialize) -> String {
    serde_json::to_string(parameters).expect("filters are plain JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_the_services() {
        let error = max_results(Some(1_001), 100, 1_000).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Invalid parameter at 'maxResults' failed to satisfy constraint: \
             'Member must have value less than or equal to 1000'"
        );
        let error = repository_name("repositoryName", Some("Upper")).unwrap_err();
        assert!(error.to_string().contains("must satisfy regular expression '[a-z0-9]+"));
    }
}

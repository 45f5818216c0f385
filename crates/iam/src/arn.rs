//! Amazon resource names: `arn:partition:service:region:account:resource`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::AccountId;

/// Names a resource, or a principal, of any service.
///
/// The pieces are kept as they are written. Region and account may be empty (S3, IAM), and
/// the account may be a word (`aws` in managed policies).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Arn {
    /// `aws`, `aws-cn`, `aws-us-gov`, …
    pub partition: String,
    /// The service's prefix, as in actions: `ecr`, `iam`.
    pub service: String,
    /// Empty for services without regions.
    pub region: String,
    /// Empty, twelve digits, or a word of the service.
    pub account: String,
    /// All after the fifth colon, colons and slashes included.
    pub resource: String,
}

/// The text does not begin with `arn:`, or has fewer than six pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an ARN has the form arn:partition:service:region:account:resource")]
pub struct InvalidArn;

impl Arn {
    /// The name of an ECR repository in the partition `aws`.
    pub fn repository(region: &str, account: AccountId, name: &str) -> Arn {
        Arn {
            partition: "aws".to_owned(),
            service: "ecr".to_owned(),
            region: region.to_owned(),
            account: account.to_string(),
            resource: format!("repository/{name}"),
        }
    }

    /// The account, if that piece is an account id.
    pub fn account_id(&self) -> Option<AccountId> {
        self.account.parse().ok()
    }
}

/// The six pieces of an ARN, or `None` if there are fewer.
pub(crate) fn pieces(text: &str) -> Option<[&str; 6]> {
    let mut pieces = text.splitn(6, ':');
    Some([
        pieces.next()?,
        pieces.next()?,
        pieces.next()?,
        pieces.next()?,
        pieces.next()?,
        pieces.next()?,
    ])
}

impl FromStr for Arn {
    type Err = InvalidArn;

    fn from_str(text: &str) -> Result<Arn, InvalidArn> {
        let [scheme, partition, service, region, account, resource] =
            pieces(text).ok_or(InvalidArn)?;
        if scheme != "arn" || partition.is_empty() || service.is_empty() || resource.is_empty() {
            return Err(InvalidArn);
        }
        Ok(Arn {
            partition: partition.to_owned(),
            service: service.to_owned(),
            region: region.to_owned(),
            account: account.to_owned(),
            resource: resource.to_owned(),
        })
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Arn { partition, service, region, account, resource } = self;
        write!(f, "arn:{partition}:{service}:{region}:{account}:{resource}")
    }
}

impl Serialize for Arn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Arn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Arn, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resource_keeps_its_colons() {
        let text = "arn:aws:secretsmanager:us-east-1:123456789012:secret:a/b-c";
        let arn: Arn = text.parse().unwrap();
        assert_eq!(arn.resource, "secret:a/b-c");
        assert_eq!(arn.account_id(), "123456789012".parse().ok());
        assert_eq!(arn.to_string(), text);
    }

    #[test]
    fn region_and_account_may_be_empty() {
        assert_eq!("arn:aws:s3:::bucket".parse::<Arn>().unwrap().account_id(), None);
    }

    #[test]
    fn what_is_no_arn_is_refused() {
        for text in
            ["", "*", "arn:aws:ecr", "arn:aws:ecr:r:a:", "urn:aws:ecr:r:a:x", "arn::ecr:r:a:x"]
        {
            assert_eq!(text.parse::<Arn>(), Err(InvalidArn), "{text}");
        }
    }

    #[test]
    fn a_repository_has_its_name_with_slashes() {
        let account = "123456789012".parse().unwrap();
        assert_eq!(
            Arn::repository("eu-central-1", account, "team/app").to_string(),
            "arn:aws:ecr:eu-central-1:123456789012:repository/team/app"
        );
    }
}

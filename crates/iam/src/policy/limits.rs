//! How large a policy may be.

/// The longest text that is looked at, in bytes, white space included: what AWS's API takes.
pub const TEXT_BYTES: usize = 131_072;

/// How many statements a document may have. The limits of size allow fewer.
pub const STATEMENTS: usize = 1_000;

/// How deep objects and lists may be nested. A condition's values are six deep.
pub const DEPTH: usize = 8;

/// A managed policy, and so a permissions boundary, in characters without white space.
pub const MANAGED: usize = 6_144;

/// All inline policies of a role together, in characters without white space.
pub const INLINE_ROLE: usize = 10_240;

/// All inline policies of a group together, in characters without white space.
pub const INLINE_GROUP: usize = 5_120;

/// All inline policies of a user together, in characters without white space.
pub const INLINE_USER: usize = 2_048;

/// An inline session policy, in characters without white space.
pub const SESSION: usize = 2_048;

/// The trust policy of a role, in characters without white space.
pub const ROLE_TRUST: usize = 2_048;

/// A service control policy, in characters.
pub const SERVICE_CONTROL: usize = 10_240;

/// A resource control policy, in characters.
pub const RESOURCE_CONTROL: usize = 5_120;

/// The policy of a private endpoint, in characters.
pub const ENDPOINT: usize = 20_480;

/// The policy of an ECR repository or registry, in bytes.
pub const ECR: usize = 10_240;

/// The policy of a KMS key, in bytes.
pub const KMS_KEY: usize = 32_768;

/// A resource policy of another service, in bytes.
pub const OTHER_RESOURCE: usize = 20_480;

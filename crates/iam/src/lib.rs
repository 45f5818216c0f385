//! Who may do what: AWS's names, policy documents, their evaluation, and request signatures.
//!
//! Everything here is pure. There is no I/O, no clock and no randomness, so what strangers
//! send can be parsed and decided in microseconds and tested without a machine around it.
//!
//! - [`Policy`] is a document that was understood once and is evaluated many times.
//! - [`Context`] holds the condition keys of one request.
//! - [`evaluate`] takes a [`Principal`], an action, a resource and the [`Policies`] that
//!   speak about them, and returns a [`Decision`] that names the statement behind it.
//! - [`sigv4`] verifies who sent the request.
//!
//! **Invariant:** an explicit deny is never outweighed, and the order of policies,
//! statements and values never changes an outcome. Property tests hold this.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::expect_used))]

mod account_id;
mod action;
pub mod actions;
mod arn;
mod condition;
mod context;
mod decision;
mod evaluate;
mod glob;
mod policy;
mod principal;
mod principals;
#[cfg(test)]
mod properties;
mod region;
mod resource;
pub mod sigv4;
mod statement;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

pub use account_id::{AccountId, InvalidAccountId};
pub use arn::{Arn, InvalidArn};
pub use context::{Context, Values};
pub use decision::{Decision, Layer, MatchedStatement, Outcome};
pub use evaluate::{EvaluationRequest, Policies, ResourcePolicy, evaluate};
pub use policy::{Policy, PolicyError, PolicyKind, PolicyProblem, ResourceKind, limits};
pub use principal::{Principal, PrincipalKind};
pub use region::{InvalidRegion, Region};
pub use statement::{Effect, PrincipalMatch};

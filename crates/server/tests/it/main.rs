//! The whole service in process: both planes over an SQLite database, a directory store and a
//! stopped clock, all of the test's own.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod access;
mod blobs;
mod first_start;
mod harness;
mod json_protocol;
mod manifests;
mod one_truth;
mod repositories;
mod tidy;
mod tokens;
mod uploads;

//! HTTP: listeners and their limits, TLS, who is meant and who asks, both planes, and the
//! commands of the program.
//!
//! A request comes in through [`listen`], becomes an [`exchange::Exchange`] with an id, the
//! client's real address and a log entry, and is answered by the one [`exchange::Handler`] of
//! the process. What protects the process from its callers is here and only here: connection
//! and body limits, timeouts, the memory budget of bodies.

pub mod access_log;
pub mod assembly;
mod auth;
pub mod body;
pub mod ca;
pub mod client_address;
pub mod commands;
pub mod config;
pub mod credentials;
pub mod exchange;
mod failure;
mod figures;
pub mod first_start;
mod form;
pub mod health;
pub mod http_client;
mod json;
pub mod limits;
pub mod listen;
pub mod log;
pub mod metrics;
pub mod names;
mod plane;
mod query;
pub mod request_id;
mod rest_json;
pub mod service;
mod tasks;
pub mod tls;
mod v2;
mod whole;

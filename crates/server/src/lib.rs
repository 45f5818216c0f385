//! HTTP: the listeners, both planes, and the commands of the program.

pub mod arrival;
mod auth;
pub mod body;
mod failure;
pub mod first_start;
mod form;
mod json;
mod plane;
mod query;
mod rest_json;
pub mod service;
mod v2;
mod whole;

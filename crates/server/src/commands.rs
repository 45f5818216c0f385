//! The commands of the program, a file for each.
//!
//! Only these write to standard output; what goes wrong is returned, and `main` writes it.

pub mod backup;
pub mod ca;
pub mod config_check;
pub mod get_login_password;
pub mod healthcheck;
pub mod offline;
pub mod restore;
pub mod rotate_root_key;
pub mod serve;

use std::io::{self, Write as _};

use anyhow::Context as _;

/// Writes to standard output. A reader that has gone away is no error: `bonded … | head`.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("write to standard output"),
    }
}

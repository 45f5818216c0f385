//! `bonded config check`: what the configuration means, with every default and no secret.

use crate::config::Config;

/// Prints the configuration as TOML. That it could be loaded is the check.
///
/// # Errors
/// When it cannot be written.
pub fn run(config: &Config) -> anyhow::Result<()> {
    super::print(&config.to_toml()?)
}

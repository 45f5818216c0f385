//! Files with secrets in them: for their owner only, whole or not there, and durable.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use zeroize::Zeroizing;

/// Only the owner may read and write.
const PRIVATE: u32 = 0o600;
/// Only the owner may enter.
const PRIVATE_DIRECTORY: u32 = 0o700;
/// A file with keys is small: one that is not is something else.
const LONGEST: u64 = 1024 * 1024;

/// Makes a file that was not there. A crash leaves it whole, or only a temporary beside it.
pub(crate) fn make_private(path: &Path, text: &str) -> anyhow::Result<()> {
    if path.exists() {
        bail!("{} exists already", path.display());
    }
    let mut name = path.file_name().context("the path names no file")?.to_owned();
    name.push(".new");
    let temporary = path.with_file_name(name);
    write_private(&temporary, text)?;
    fs::rename(&temporary, path)?;
    sync_directory(path)
}

/// Writes a file, in place of one of that name, and syncs it.
pub(crate) fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(parent) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(PRIVATE_DIRECTORY).create(parent)?;
    }
    // What is there may be readable by others: a new file is not.
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    sync_directory(path)
}

/// Makes the entry of a file in its directory durable.
pub(crate) fn sync_directory(path: &Path) -> anyhow::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(())
}

/// Reads a small file.
pub(crate) fn read_private(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    File::open(path)?.take(LONGEST).read_to_string(&mut text)?;
    Ok(text)
}

//! `DIR/credentials`: the root access keys of the accounts, as the AWS tools read them.

use std::path::{Path, PathBuf};
use std::{fmt, fs};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bonded_account::clock::random;
use zeroize::Zeroizing;

use super::files;

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// A new access key of an account's root user.
pub(super) struct AccessKey {
    pub(super) account: String,
    /// `AKIA` and 16 letters and digits.
    pub(super) id: String,
    /// 40 characters.
    pub(super) secret: Zeroizing<String>,
}

impl AccessKey {
    pub(super) fn generate(account: &str) -> AccessKey {
        let letter = |byte: u8| char::from(BASE32[usize::from(byte & 31)]);
        let id: String = random::<16>().into_iter().map(letter).collect();
        let bytes = Zeroizing::new(random::<30>());
        AccessKey {
            account: account.to_owned(),
            id: format!("AKIA{id}"),
            secret: STANDARD.encode(bytes.as_slice()).into(),
        }
    }
}

/// The file, and the one that becomes it.
pub(super) struct Credentials {
    path: PathBuf,
    new: PathBuf,
}

impl Credentials {
    pub(super) fn in_directory(data: &Path) -> Credentials {
        Credentials { path: data.join("credentials"), new: data.join("credentials.new") }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// Writes `credentials.new`: all that `credentials` holds, and the new keys.
    ///
    /// # Errors
    /// When the file has a profile for one of the accounts: it would be lost or in the way.
    pub(super) fn write_new(
        &self,
        keys: &[AccessKey],
        default_account: &str,
    ) -> anyhow::Result<()> {
        let mut text = self.current()?;
        for key in keys {
            if has_profile(&text, &key.account) {
                bail!(
                    "{} has a profile for the account {}, which the database does not know: it \
                     belongs to another database; move the file away",
                    self.path.display(),
                    key.account
                );
            }
            if key.account == default_account && !has_profile(&text, "default") {
                add(&mut text, &Profile::of("default", key));
            }
            add(&mut text, &Profile::of(&key.account, key));
        }
        self.write(&text)
    }

    /// Ends what a start began. `known` are the access keys that are in the database: if any of
    /// the new profiles is of them, these are kept and the file takes its name; else it goes.
    pub(super) fn finish(&self, known: &[String]) -> anyhow::Result<()> {
        if !self.new.exists() {
            return Ok(());
        }
        let mut text = self.current()?;
        let before = text.len();
        let new = files::read_private(&self.new).context("read credentials.new")?;
        let own = new.get(before..).filter(|_| new.starts_with(text.as_str()));
        for profile in profiles(own.unwrap_or(&new)) {
            if known.contains(&profile.id) && !has_profile(&text, &profile.name) {
                add(&mut text, &profile);
            }
        }
        if text.len() == before {
            fs::remove_file(&self.new).context("remove credentials.new")?;
            return files::sync_directory(&self.path);
        }
        if *text != *new {
            self.write(&text)?;
        }
        fs::rename(&self.new, &self.path).context("rename credentials.new")?;
        files::sync_directory(&self.path)
    }

    fn current(&self) -> anyhow::Result<Zeroizing<String>> {
        if !self.path.exists() {
            return Ok(Zeroizing::default());
        }
        files::read_private(&self.path).context("read credentials")
    }

    fn write(&self, text: &str) -> anyhow::Result<()> {
        files::write_private(&self.new, text).context("write credentials.new")
    }
}

/// One profile of the file.
struct Profile {
    name: String,
    id: String,
    secret: Zeroizing<String>,
}

impl Profile {
    fn of(name: &str, key: &AccessKey) -> Profile {
        Profile { name: name.to_owned(), id: key.id.clone(), secret: key.secret.clone() }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "[{}]", self.name)?;
        writeln!(f, "aws_access_key_id = {}", self.id)?;
        writeln!(f, "aws_secret_access_key = {}", self.secret.as_str())
    }
}

fn add(text: &mut Zeroizing<String>, profile: &Profile) {
    if !text.is_empty() {
        let gap = if text.ends_with('\n') { "\n" } else { "\n\n" };
        text.push_str(gap);
    }
    text.push_str(&profile.to_string());
}

fn has_profile(text: &str, name: &str) -> bool {
    text.lines().any(|line| section(line) == Some(name))
}

fn section(line: &str) -> Option<&str> {
    Some(line.trim().strip_prefix('[')?.strip_suffix(']')?.trim())
}

/// The profiles that this program has written.
fn profiles(text: &str) -> Vec<Profile> {
    let mut profiles: Vec<Profile> = Vec::new();
    for line in text.lines() {
        if let Some(name) = section(line) {
            let (name, id) = (name.to_owned(), String::new());
            profiles.push(Profile { name, id, secret: Zeroizing::default() });
        } else if let (Some((name, value)), Some(profile)) =
            (line.split_once('='), profiles.last_mut())
        {
            match name.trim() {
                "aws_access_key_id" => value.trim().clone_into(&mut profile.id),
                "aws_secret_access_key" => profile.secret = value.trim().to_owned().into(),
                _ => {}
            }
        }
    }
    profiles
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn key(account: &str, id: &str) -> AccessKey {
        AccessKey { account: account.to_owned(), id: id.to_owned(), secret: "s".to_owned().into() }
    }

    #[test]
    fn keys_have_aws_form() {
        let key = AccessKey::generate("123456789012");
        assert_eq!((key.id.len(), key.secret.len()), (20, 40));
        assert!(key.id.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()));
        assert_ne!(key.id, AccessKey::generate("123456789012").id);
    }

    #[test]
    fn what_was_committed_becomes_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = Credentials::in_directory(directory.path());
        file.write_new(&[key("1", "AKIA1"), key("2", "AKIA2")], "1").unwrap();
        file.finish(&["AKIA1".to_owned(), "AKIA2".to_owned()]).unwrap();
        let text = fs::read_to_string(file.path()).unwrap();
        assert_eq!(
            text,
            "[default]\naws_access_key_id = AKIA1\naws_secret_access_key = s\n\n\
             [1]\naws_access_key_id = AKIA1\naws_secret_access_key = s\n\n\
             [2]\naws_access_key_id = AKIA2\naws_secret_access_key = s\n"
        );
        assert!(!file.new.exists());
        let mode = fs::metadata(file.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn keys_of_another_database_are_in_the_way() {
        let directory = tempfile::tempdir().unwrap();
        let file = Credentials::in_directory(directory.path());
        fs::write(file.path(), "[1]\naws_access_key_id = AKIAold\n").unwrap();
        assert!(file.write_new(&[key("1", "AKIA1")], "1").is_err());
        assert!(!file.new.exists());
    }

    #[test]
    fn what_was_not_committed_goes() {
        let directory = tempfile::tempdir().unwrap();
        let file = Credentials::in_directory(directory.path());
        file.write_new(&[key("1", "AKIA1")], "1").unwrap();
        file.finish(&["AKIAother".to_owned()]).unwrap();
        assert!(!file.path().exists());
        assert!(!file.new.exists());
    }

    #[test]
    fn only_what_was_committed_is_added_to_what_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let file = Credentials::in_directory(directory.path());
        fs::write(file.path(), "# mine\n[1]\naws_access_key_id = AKIAold\n").unwrap();
        file.write_new(&[key("2", "AKIA2"), key("3", "AKIA3")], "1").unwrap();
        file.finish(&["AKIAold".to_owned(), "AKIA3".to_owned()]).unwrap();
        let text = fs::read_to_string(file.path()).unwrap();
        assert_eq!(
            text,
            "# mine\n[1]\naws_access_key_id = AKIAold\n\n\
             [3]\naws_access_key_id = AKIA3\naws_secret_access_key = s\n"
        );
    }
}

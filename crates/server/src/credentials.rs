//! AWS's shared credentials file: reads one profile of it.

use std::path::Path;

use anyhow::{Context as _, anyhow};

use crate::config::Secret;

/// An access key as a profile has it.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub access_key_id: String,
    pub secret_access_key: Secret,
    pub session_token: Option<Secret>,
}

/// Reads a profile of a file. The error names the file and what it lacks, never a value.
pub fn read(path: &Path, profile: &str) -> anyhow::Result<Credentials> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    parse(&text, profile).with_context(|| path.display().to_string())
}

/// Finds a profile in the text of a file.
pub fn parse(text: &str, profile: &str) -> anyhow::Result<Credentials> {
    let mut found = false;
    let mut inside = false;
    let (mut id, mut secret, mut token) = (None, None, None);
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|it| it.split(']').next()) {
            inside = name.trim() == profile;
            found |= inside;
        } else if inside && !line.starts_with(['#', ';']) {
            let Some((key, value)) = line.split_once('=') else { continue };
            let value = value.trim().to_owned();
            match key.trim() {
                "aws_access_key_id" => id = Some(value),
                "aws_secret_access_key" => secret = Some(Secret::new(value)),
                "aws_session_token" => token = Some(Secret::new(value)),
                _ => {}
            }
        }
    }
    if !found {
        return Err(anyhow!("there is no profile [{profile}]"));
    }
    let missing = |key| anyhow!("the profile [{profile}] has no {key}");
    Ok(Credentials {
        access_key_id: id.ok_or_else(|| missing("aws_access_key_id"))?,
        secret_access_key: secret.ok_or_else(|| missing("aws_secret_access_key"))?,
        session_token: token,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# root keys\n[default]\naws_access_key_id = AKIAEXAMPLE\n\
        aws_secret_access_key=s3cret=/+\n\n[other]\n; nothing else\naws_access_key_id = AKIAOTHER\n";

    #[test]
    fn a_profile_is_found() {
        let found = parse(FILE, "default").unwrap();
        assert_eq!(found.access_key_id, "AKIAEXAMPLE");
        assert_eq!(found.secret_access_key.expose(), "s3cret=/+");
        assert!(found.session_token.is_none());
    }

    #[test]
    fn what_is_missing_is_named() {
        let check = |profile, expected| {
            assert_eq!(parse(FILE, profile).unwrap_err().to_string(), expected);
        };
        check("other", "the profile [other] has no aws_secret_access_key");
        check("third", "there is no profile [third]");
    }
}

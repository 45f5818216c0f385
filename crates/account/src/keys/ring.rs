//! The keys of a process: root keys from their files, token keys and data keys from their rows.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use arc_swap::ArcSwap;
use aws_lc_rs::hmac;
use bonded_db::{RootKeyRow, TokenKeyRow};
use moka::sync::Cache;
use zeroize::Zeroizing;

use super::{Purpose, SealingKey, Unsealed, key_id};

/// How long a data key may stay in memory in clear.
const DATA_KEY_LIFETIME: Duration = Duration::from_secs(300);
const DATA_KEYS: u64 = 10_000;

/// A token key seals for 30 days, then opens for 37 hours more.
pub const TOKEN_KEY_PERIOD_MICROS: i64 = 30 * 24 * 3600 * 1_000_000;
pub const TOKEN_KEY_GRACE_MICROS: i64 = 37 * 3600 * 1_000_000;

/// A root key as its file holds it: 64 hexadecimal digits.
pub struct RootKey(Zeroizing<[u8; 32]>);

impl RootKey {
    pub fn generate() -> RootKey {
        RootKey(Zeroizing::new(crate::clock::random()))
    }

    /// Reads the text of a key file.
    pub fn parse(text: &str) -> anyhow::Result<RootKey> {
        let mut bytes = Zeroizing::new([0; 32]);
        const_hex::decode_to_slice(text.trim(), bytes.as_mut_slice())
            .ok()
            .context("a root key file holds 64 hexadecimal digits and nothing else")?;
        Ok(RootKey(bytes))
    }

    /// The text of a key file.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{}\n", const_hex::encode(self.0.as_slice())))
    }

    /// Tells whether a file holds the key of a row, and nothing else about it.
    pub fn check_value(&self) -> Vec<u8> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.as_slice());
        let value = hmac::sign(&key, b"bonded root key check value");
        value.as_ref().iter().take(16).copied().collect()
    }

    /// The key under the id byte that its row gives it.
    pub fn with_id(&self, id: u8) -> SealingKey {
        SealingKey::new(id, *self.0)
    }
}

/// Whose data key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DataKeyOf {
    Account(String),
    KeyDomain(uuid::Uuid),
}

impl DataKeyOf {
    /// The context that a data key is sealed in under a root key.
    pub fn context(&self) -> Vec<u8> {
        match self {
            DataKeyOf::Account(id) => super::column("account.wrapped_key", id.as_bytes()),
            DataKeyOf::KeyDomain(id) => super::column("key_domain.wrapped_key", id.as_bytes()),
        }
    }
}

/// The context that a token key is sealed in under a root key.
pub fn token_key_context(id: i64) -> Vec<u8> {
    super::column("token_key.wrapped_key", id.to_string().as_bytes())
}

struct TokenKey {
    key: SealingKey,
    retired_at: Option<i64>,
}

/// All keys that this process knows.
pub struct KeyRing {
    /// The first seals, all open.
    root: Vec<SealingKey>,
    /// The newest seals.
    tokens: ArcSwap<Vec<TokenKey>>,
    data_keys: Cache<DataKeyOf, Arc<SealingKey>>,
}

impl KeyRing {
    /// Pairs the keys of the files with their rows.
    ///
    /// # Errors
    /// When a row's key is in none of the files: a node that lacks a key in use must not start.
    /// Keys without a row are left out; the caller has inserted the row of the first before.
    pub fn new(files: &[RootKey], rows: &[RootKeyRow]) -> anyhow::Result<KeyRing> {
        let mut root = Vec::new();
        for file in files {
            let check_value = file.check_value();
            if let Some(row) = rows.iter().find(|row| row.check_value == check_value) {
                root.push(file.with_id(u8::try_from(row.id).context("read the root key's id")?));
            }
        }
        for row in rows {
            if !root.iter().any(|key| i64::from(key.id()) == row.id) {
                bail!(
                    "the database is sealed under root key {} (check value {}), which none of \
                     the files of `keys.root` holds; add the file that has it",
                    row.id,
                    const_hex::encode(&row.check_value)
                );
            }
        }
        if root.is_empty() {
            bail!("no root key: `keys.root` must name at least one file");
        }
        Ok(KeyRing {
            root,
            tokens: ArcSwap::default(),
            data_keys: Cache::builder()
                .max_capacity(DATA_KEYS)
                .time_to_live(DATA_KEY_LIFETIME)
                .build(),
        })
    }

    /// Takes over the token keys of the database.
    pub fn set_token_keys(&self, rows: &[TokenKeyRow]) -> anyhow::Result<()> {
        let mut keys = Vec::with_capacity(rows.len());
        for row in rows {
            let opened = self
                .open_root(&token_key_context(row.id), &row.wrapped_key)
                .with_context(|| format!("open token key {}", row.id))?;
            let id = u8::try_from(row.id).context("read the token key's id")?;
            let key = SealingKey::new(id, *opened.bytes());
            keys.push(TokenKey { key, retired_at: row.retired_at });
        }
        self.tokens.store(Arc::new(keys));
        Ok(())
    }

    /// Seals a data key or token key under the first root key.
    pub fn seal_root(&self, context: &[u8], key: &[u8; 32]) -> Vec<u8> {
        let first = self.root.first().expect("`new` refuses an empty ring");
        first.seal(Purpose::DataKey, context, key)
    }

    /// Opens what any of the root keys sealed.
    pub fn open_root(&self, context: &[u8], sealed: &[u8]) -> Result<SealingKey, Unsealed> {
        let id = key_id(sealed).ok_or(Unsealed)?;
        let root = self.root.iter().find(|key| key.id() == id).ok_or(Unsealed)?;
        root.open_key(context, sealed)
    }

    /// A data key in clear, for at most five minutes.
    pub fn data_key(&self, of: &DataKeyOf, wrapped: &[u8]) -> Result<Arc<SealingKey>, Unsealed> {
        if let Some(key) = self.data_keys.get(of) {
            return Ok(key);
        }
        let key = Arc::new(self.open_root(&of.context(), wrapped)?);
        self.data_keys.insert(of.clone(), Arc::clone(&key));
        Ok(key)
    }

    /// Forgets a data key: its domain is not enabled.
    pub fn drop_data_key(&self, of: &DataKeyOf) {
        self.data_keys.invalidate(of);
    }

    /// Seals a token, link or page token under the newest token key.
    pub fn seal_token(&self, purpose: Purpose, plain: &[u8]) -> Vec<u8> {
        let keys = self.tokens.load();
        let newest = keys.iter().rev().find(|key| key.retired_at.is_none());
        let newest = newest.expect("a token key is made before the first request is read");
        newest.key.seal(purpose, b"", plain)
    }

    /// Opens what a token key sealed that is not retired for longer than its grace.
    pub fn open_token(
        &self,
        purpose: Purpose,
        sealed: &[u8],
        now: i64,
    ) -> Result<Vec<u8>, Unsealed> {
        let id = key_id(sealed).ok_or(Unsealed)?;
        let keys = self.tokens.load();
        let opens = |key: &&TokenKey| {
            key.key.id() == id && key.retired_at.is_none_or(|at| now < at + TOKEN_KEY_GRACE_MICROS)
        };
        keys.iter().rev().find(opens).ok_or(Unsealed)?.key.open(purpose, b"", sealed)
    }

    /// Whether the id byte of a sealed token is one that this process has read: if not, another
    /// node may have made it since.
    pub fn knows_token_key(&self, sealed: &[u8]) -> bool {
        let id = key_id(sealed);
        self.tokens.load().iter().any(|key| Some(key.key.id()) == id)
    }
}

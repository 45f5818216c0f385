//! What a start makes that is missing: the root key, accounts with their credentials, registries,
//! token keys.
//!
//! The order is what makes it safe to be killed at any point. The root key and `credentials.new`
//! are written and synced first; then one transaction inserts the rows, or finds them; then
//! `credentials.new` becomes `credentials`. A start that finds a `credentials.new` finishes the
//! rename if its keys are in the database, else removes it.
//!
//! **Invariant:** a key that the database knows is in a file before its row is committed, and no
//! file that somebody may need is ever overwritten.

mod credentials;
pub(crate) mod files;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use bonded_account::clock::{new_id, random};
use bonded_account::keys::{
    DataKeyOf, KeyRing, Purpose, RootKey, SealingKey, TOKEN_KEY_GRACE_MICROS,
    TOKEN_KEY_PERIOD_MICROS, column, token_key_context,
};
use bonded_db::{Db, NewAccount, NewKeyDomain, RootKeyRow, TokenKeyRow, Tx};

use self::credentials::{AccessKey, Credentials};

/// The key domain that every registry has.
const OWN_KEY: &str = "AES256";

/// What there has to be after a start.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The data directory: where `credentials` lies.
    pub data: PathBuf,
    /// Files of root keys; the first seals.
    pub root_keys: Vec<PathBuf>,
    /// Ids and names.
    pub accounts: BTreeMap<String, String>,
    pub default_account: String,
    pub regions: Vec<String>,
}

/// What a start found or made.
pub struct Ready {
    pub keys: KeyRing,
    /// Accounts that were made, with a root access key each.
    pub made_accounts: Vec<String>,
    /// The root key's file, if it was made.
    pub made_root_key: Option<PathBuf>,
    pub credentials: PathBuf,
}

/// Makes what is missing and opens the keys. `now` is in microseconds since 1970.
///
/// # Errors
/// When a file or the database cannot be read or written, and when a root key that is in use is
/// in none of the files.
pub async fn prepare(db: &Db, now: i64, setup: &Setup) -> anyhow::Result<Ready> {
    let rows: Vec<RootKeyRow> =
        db.read(|tx| tx.root_keys()).await.map_err(error).context("read the root keys' rows")?;
    let (files, made_root_key) = root_keys(setup, rows.is_empty())?;
    let (rows, new_root_key) = with_first(&files, rows)?;
    let keys = KeyRing::new(&files, &rows)?;

    let credentials = Credentials::in_directory(&setup.data);
    let known = known_accounts(db).await?;
    let root_keys: Vec<_> = known.values().flatten().cloned().collect();
    credentials.finish(&root_keys)?;
    let missing: Vec<_> =
        setup.accounts.iter().filter(|(id, _)| !known.contains_key(*id)).collect();

    let mut new_keys = Vec::new();
    let mut new_accounts = Vec::new();
    for (id, name) in missing {
        let (account, key) = new_account(&keys, id, name, now);
        new_accounts.push(account);
        new_keys.push(key);
    }
    if !new_keys.is_empty() {
        credentials.write_new(&new_keys, &setup.default_account)?;
    }
    let rows = Arc::new(Rows {
        root_key: new_root_key,
        accounts: new_accounts,
        domains: new_domains(&keys, setup, now),
        token_key: new_token_key(&keys, 1, now),
        now,
    });
    let made_accounts = insert(db, Arc::clone(&rows)).await?;
    let made_keys: Vec<_> = rows
        .accounts
        .iter()
        .filter(|account| made_accounts.contains(&account.id))
        .map(|account| account.access_key_id.clone())
        .collect();
    credentials.finish(&made_keys)?;
    let token_keys = db.read(|tx| tx.token_keys()).await.map_err(error)?;
    keys.set_token_keys(&token_keys)?;
    Ok(Ready { keys, made_accounts, made_root_key, credentials: credentials.path() })
}

/// A token key is made every 30 days, and the retired ones are removed when they open nothing
/// any more. `true` if the process must read the keys again.
///
/// # Errors
/// When the database cannot be read or written.
pub async fn rotate_token_key(db: &Db, keys: &KeyRing, now: i64) -> anyhow::Result<bool> {
    let rows = db.read(|tx| tx.token_keys()).await.map_err(error)?;
    let newest = rows.iter().filter(|row| row.retired_at.is_none()).map(|row| row.created_at).max();
    let old =
        rows.iter().any(|row| row.retired_at.is_some_and(|at| at + TOKEN_KEY_GRACE_MICROS <= now));
    let due = newest.is_none_or(|made| made + TOKEN_KEY_PERIOD_MICROS <= now);
    if !due && !old {
        return Ok(false);
    }
    let new = if due { Some(next_token_key(keys, &rows, now)?) } else { None };
    db.write(move |tx| {
        tx.delete_token_keys(now - TOKEN_KEY_GRACE_MICROS)?;
        // Another node may have made one meanwhile: then its id is taken, and all is well.
        new.as_ref().map_or(Ok(true), |new| tx.insert_token_key(new))
    })
    .await
    .map_err(error)?;
    Ok(true)
}

fn next_token_key(keys: &KeyRing, rows: &[TokenKeyRow], now: i64) -> anyhow::Result<TokenKeyRow> {
    let last = rows.last().map_or(0, |row| row.id);
    let free = (1..=255)
        .map(|step| (last + step - 1) % 255 + 1)
        .find(|id| rows.iter().all(|row| row.id != *id));
    let id = free.context("all 255 ids of token keys are taken")?;
    Ok(new_token_key(keys, id, now))
}

fn new_token_key(keys: &KeyRing, id: i64, now: i64) -> TokenKeyRow {
    let wrapped_key = keys.seal_root(&token_key_context(id), &random());
    TokenKeyRow { id, wrapped_key, created_at: now, retired_at: None }
}

/// Reads the files of the root keys. On an empty database a missing first one is made.
fn root_keys(setup: &Setup, first_start: bool) -> anyhow::Result<(Vec<RootKey>, Option<PathBuf>)> {
    let mut keys = Vec::with_capacity(setup.root_keys.len());
    let mut made = None;
    for (number, path) in setup.root_keys.iter().enumerate() {
        if number == 0 && first_start && !path.exists() {
            files::make_private(path, &RootKey::generate().to_text())
                .with_context(|| format!("make the root key {}", path.display()))?;
            made = Some(path.clone());
        }
        let text = files::read_private(path)
            .with_context(|| format!("read the root key {}", path.display()))?;
        let key = RootKey::parse(&text)
            .with_context(|| format!("read the root key {}", path.display()))?;
        keys.push(key);
    }
    Ok((keys, made))
}

/// The rows with one for the first file's key, and that one if it is new.
fn with_first(
    files: &[RootKey],
    mut rows: Vec<RootKeyRow>,
) -> anyhow::Result<(Vec<RootKeyRow>, Option<RootKeyRow>)> {
    let first = files.first().context("`keys.root` must name at least one file")?;
    let check_value = first.check_value();
    if rows.iter().any(|row| row.check_value == check_value) {
        return Ok((rows, None));
    }
    let id = (1..=255).find(|id| rows.iter().all(|row| row.id != *id));
    let row = RootKeyRow { id: id.context("all 255 ids of root keys are taken")?, check_value };
    rows.push(row.clone());
    Ok((rows, Some(row)))
}

/// The accounts of the database, with the ids of their root users' access keys.
async fn known_accounts(db: &Db) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let (accounts, keys) = db
        .read(|tx| Ok::<_, bonded_db::Error>((tx.account_ids()?, tx.root_keys_of_accounts()?)))
        .await
        .context("read the accounts")?;
    let mut known: BTreeMap<String, Vec<String>> =
        accounts.into_iter().map(|account| (account, Vec::new())).collect();
    for (account, key) in keys {
        known.entry(account).or_default().push(key);
    }
    Ok(known)
}

fn new_account(keys: &KeyRing, id: &str, name: &str, now: i64) -> (NewAccount, AccessKey) {
    let data_key = SealingKey::new(0, random());
    let context = DataKeyOf::Account(id.to_owned()).context();
    let key = AccessKey::generate(id);
    let secret_context = column("access_key.secret", key.id.as_bytes());
    let account = NewAccount {
        id: id.to_owned(),
        name: name.to_owned(),
        wrapped_key: keys.seal_root(&context, data_key.bytes()),
        access_key_id: key.id.clone(),
        secret: data_key.seal(Purpose::Column, &secret_context, key.secret.as_bytes()),
        created_at: now,
    };
    (account, key)
}

/// A key domain for each registry: those that are there already win.
fn new_domains(keys: &KeyRing, setup: &Setup, now: i64) -> Vec<NewKeyDomain> {
    let registries = setup
        .accounts
        .keys()
        .flat_map(|account| setup.regions.iter().map(move |region| (account, region)));
    let domain = |(account, region): (&String, &String)| {
        let id = new_id(now);
        let context = DataKeyOf::KeyDomain(id).context();
        NewKeyDomain {
            id,
            account: account.clone(),
            region: region.clone(),
            key_name: String::new(),
            kind: OWN_KEY.to_owned(),
            wrapped_key: keys.seal_root(&context, &random()),
            created_at: now,
        }
    };
    registries.map(domain).collect()
}

/// All that a start may insert, made before the transaction.
struct Rows {
    root_key: Option<RootKeyRow>,
    accounts: Vec<NewAccount>,
    domains: Vec<NewKeyDomain>,
    token_key: TokenKeyRow,
    now: i64,
}

/// Why the rows could not be inserted.
#[derive(Debug, thiserror::Error)]
enum InsertError {
    #[error(transparent)]
    Db(#[from] bonded_db::Error),
    #[error("another node has made the root key")]
    RootKey,
}

impl Rows {
    /// Gives the accounts that were made.
    fn insert(&self, tx: &mut Tx<'_>) -> Result<Vec<String>, InsertError> {
        if let Some(key) = &self.root_key
            && !tx.insert_root_key(key.id, &key.check_value, self.now)?
        {
            return Err(InsertError::RootKey);
        }
        let mut made = Vec::new();
        for account in &self.accounts {
            if tx.insert_account(account)? {
                made.push(account.id.clone());
            }
        }
        for domain in &self.domains {
            tx.insert_registry(&domain.account, &domain.region)?;
            tx.insert_key_domain(domain)?;
        }
        if tx.token_keys()?.is_empty() {
            tx.insert_token_key(&self.token_key)?;
        }
        Ok(made)
    }
}

async fn insert(db: &Db, rows: Arc<Rows>) -> anyhow::Result<Vec<String>> {
    match db.write(move |tx| rows.insert(tx)).await {
        Ok(made) => Ok(made),
        Err(InsertError::RootKey) => bail!(
            "another node has made the root key of this database just now: put its file where \
             `keys.root` says, and start again"
        ),
        Err(InsertError::Db(error)) => Err(error).context("insert the first rows"),
    }
}

fn error(error: bonded_db::Error) -> anyhow::Error {
    error.into()
}

//! `bonded rotate-root-key`: everything that is sealed under a root key is sealed under the first
//! one of the configuration.
//!
//! Data keys stay what they are, so no object and no row beside those keys is written anew. All
//! happens in one transaction; the keys of the other files can then be taken away.

use anyhow::{Context as _, bail};
use bonded_account::keys::{DataKeyOf, KeyRing, RootKey, SealingKey, token_key_context};
use bonded_db::{Db, RootKeyRow, WrappedIn};
use uuid::Uuid;

/// What a rotation did.
#[derive(Debug)]
pub struct Rotated {
    /// Keys that were sealed anew.
    pub keys: usize,
    /// Check values of the root keys that nothing is sealed under any more.
    pub retired: Vec<String>,
}

struct Rewrapped {
    kind: WrappedIn,
    id: String,
    wrapped: Vec<u8>,
}

/// Seals every account's, key domain's and token key under the first of `files`.
///
/// # Errors
/// When a key in use is in none of the files, or the database cannot be read or written.
pub async fn run(db: &Db, files: &[RootKey], now: i64) -> anyhow::Result<Rotated> {
    let rows: Vec<RootKeyRow> = db.read(|tx| tx.root_keys()).await.map_err(anyhow::Error::from)?;
    let old = KeyRing::new(files, &rows)?;
    let first = files.first().context("`keys.root` must name at least one file")?;
    let (row, sealing) = row_of(first, &rows)?;
    let mut rewrapped = Vec::new();
    for kind in [WrappedIn::Account, WrappedIn::KeyDomain, WrappedIn::TokenKey] {
        let keys: Vec<(String, Vec<u8>)> =
            db.read(move |tx| tx.wrapped_keys(kind)).await.map_err(anyhow::Error::from)?;
        for (id, wrapped) in keys {
            let context = context(kind, &id)?;
            let key = old
                .open_root(&context, &wrapped)
                .with_context(|| format!("open the key of {kind:?} {id}"))?;
            let wrapped =
                sealing.seal(bonded_account::keys::Purpose::DataKey, &context, key.bytes());
            rewrapped.push(Rewrapped { kind, id, wrapped });
        }
    }
    let keys = rewrapped.len();
    let others: Vec<_> = rows.into_iter().filter(|other| other.id != row.id).collect();
    let retired = others.iter().map(|other| const_hex::encode(&other.check_value)).collect();
    db.write(move |tx| {
        tx.insert_root_key(row.id, &row.check_value, now)?;
        for one in &rewrapped {
            match one.kind {
                WrappedIn::Account => tx.rewrap_account(&one.id, &one.wrapped)?,
                WrappedIn::KeyDomain => {
                    let id = Uuid::parse_str(&one.id).unwrap_or_default();
                    tx.rewrap_key_domain(&id, &one.wrapped)?;
                }
                WrappedIn::TokenKey => {
                    tx.rewrap_token_key(one.id.parse().unwrap_or_default(), &one.wrapped)?;
                }
            }
        }
        others.iter().try_for_each(|other| tx.delete_root_key(other.id))
    })
    .await
    .context("seal the keys anew")?;
    Ok(Rotated { keys, retired })
}

/// The row of the first file's key, new or not, and the key under its id.
fn row_of(first: &RootKey, rows: &[RootKeyRow]) -> anyhow::Result<(RootKeyRow, SealingKey)> {
    let check_value = first.check_value();
    let known = rows.iter().find(|row| row.check_value == check_value);
    let id = match known {
        Some(row) => row.id,
        None => {
            let free = (1..=255).find(|id| rows.iter().all(|row| row.id != *id));
            match free {
                Some(id) => id,
                None => bail!("all 255 ids of root keys are taken"),
            }
        }
    };
    let key = first.with_id(u8::try_from(id)?);
    Ok((RootKeyRow { id, check_value }, key))
}

fn context(kind: WrappedIn, id: &str) -> anyhow::Result<Vec<u8>> {
    Ok(match kind {
        WrappedIn::Account => DataKeyOf::Account(id.to_owned()).context(),
        WrappedIn::KeyDomain => DataKeyOf::KeyDomain(id.parse()?).context(),
        WrappedIn::TokenKey => token_key_context(id.parse()?),
    })
}

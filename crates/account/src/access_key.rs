//! Access keys: whose they are, and their secrets.

use anyhow::Context as _;
use bonded_db::AccessKeyRow;
use zeroize::Zeroizing;

use crate::keys::{DataKeyOf, Purpose, column};
use crate::request::Caller;
use crate::services::Services;
use crate::{Error, Result};

/// An access key that may be used.
pub struct AccessKey {
    pub caller: Caller,
    /// What its owner signs with.
    pub secret: Zeroizing<String>,
}

impl Services {
    /// An active access key by its id.
    ///
    /// # Errors
    /// When the database cannot be read, or the secret does not open.
    pub async fn access_key(&self, id: &str) -> Result<Option<AccessKey>> {
        let Some(row) = self.access_key_row(id).await? else { return Ok(None) };
        let secret = self.open_secret(id, &row).map_err(Error::internal)?;
        let caller = Caller {
            account: row.account,
            principal_id: row.principal_id,
            access_key_id: id.to_owned(),
        };
        Ok(Some(AccessKey { caller, secret }))
    }

    /// Whether a caller's access key may still be used: for what is answered without a decision
    /// on access, which sees that itself.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn is_key_active(&self, caller: &Caller) -> Result<bool> {
        let row = self.access_key_row(&caller.access_key_id).await?;
        Ok(row.is_some_and(|row| {
            row.principal_id == caller.principal_id && row.account == caller.account
        }))
    }

    /// Takes over the token keys that the database holds now.
    ///
    /// # Errors
    /// When the database cannot be read, or a key does not open.
    pub async fn load_token_keys(&self) -> Result<()> {
        let rows = self.db.read(|tx| tx.token_keys()).await?;
        self.keys.set_token_keys(&rows).map_err(Error::internal)?;
        // What a key that is gone has opened is not taken from memory again.
        self.opened_tokens.invalidate_all();
        Ok(())
    }

    async fn access_key_row(&self, id: &str) -> Result<Option<AccessKeyRow>> {
        let id = id.to_owned();
        let row = self.db.read_point(move |tx| tx.access_key(&id)).await?;
        Ok(row.filter(|row| row.active))
    }

    fn open_secret(&self, id: &str, row: &AccessKeyRow) -> anyhow::Result<Zeroizing<String>> {
        let of = DataKeyOf::Account(row.account.clone());
        let data_key = self
            .keys
            .data_key(&of, &row.account_wrapped_key)
            .context("open an account's data key")?;
        let context = column("access_key.secret", id.as_bytes());
        let secret = data_key
            .open(Purpose::Column, &context, &row.secret)
            .context("open the secret of an access key")?;
        Ok(String::from_utf8(secret).context("read the secret of an access key")?.into())
    }
}

//! The own certificate authority: for deployments that nobody gives a certificate.
//!
//! It may sign only the names of this deployment (RFC 5280, section 4.2.1.10), so whoever trusts
//! it trusts it for nothing else: a stolen CA key opens no other site. Its key and the server's
//! lie in `ca/` of the data directory, readable by their owner alone.
//!
//! **Invariant:** files are replaced whole, key first: after a crash in between, the certificate
//! does not fit its key, which the next look finds and mends.

mod names;
mod parse;

#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};

use crate::config::Config;
use names::CertificateNames;

/// The CA's life in days: ten years.
const CA_DAYS: i64 = 3_650;
/// A CA with less than this left signs no more: a new one is made.
const CA_LEAST_DAYS: i64 = 365;
/// The server certificate's life in days.
const LEAF_DAYS: i64 = 90;
/// A certificate with less than this left is renewed, which is 60 days after it was made.
const LEAF_LEAST_DAYS: i64 = 30;

/// The CA and the certificate of one deployment.
#[derive(Clone, Debug)]
pub struct Own {
    directory: PathBuf,
    names: CertificateNames,
}

impl Own {
    /// The CA of a configuration; nothing is read or made yet.
    pub fn new(config: &Config) -> Own {
        Own { directory: directory(&config.data), names: CertificateNames::new(config) }
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The CA's certificate as PEM, made if there is none that serves.
    pub fn authority(&self, now: Timestamp) -> anyhow::Result<String> {
        let (pem, _) = self.open_authority(now)?;
        Ok(pem)
    }

    /// The server's chain and key as PEM: the ones on disk while they are good, else new ones.
    pub fn certificate(&self, now: Timestamp) -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
        let (authority, key) = self.open_authority(now)?;
        let certificate = self.read("server.crt")?;
        let private = self.read("server.key")?;
        if let (Some(certificate), Some(private)) = (certificate, private)
            && self.is_good(&certificate, &private, &authority, now)
        {
            return Ok((certificate.into_bytes(), private.into_bytes()));
        }
        let (certificate, private) = self.sign(&authority, key, now)?;
        self.write("server.key", &private)?;
        self.write("server.crt", &certificate)?;
        Ok((certificate.into_bytes(), private.into_bytes()))
    }

    /// Reads the CA, or makes one if there is none, it ends soon, or a name of the configuration
    /// is not among those it may sign.
    fn open_authority(&self, now: Timestamp) -> anyhow::Result<(String, KeyPair)> {
        let certificate = self.read("ca.crt")?;
        let key = self.read("ca.key")?;
        if let (Some(certificate), Some(key)) = (&certificate, &key) {
            let pair = KeyPair::from_pem(key).context("read the own CA's key")?;
            let found = parse::Certificate::from_pem(certificate)?;
            let serves = found.is_of_key(&pair)
                && found.days_left(now) >= CA_LEAST_DAYS
                && self.names.are_permitted_by(&found);
            if serves {
                return Ok((certificate.clone(), pair));
            }
            tracing::warn!(
                directory = %self.directory.display(),
                "the own CA does not cover the configuration or ends soon: there is a new one, \
                 which clients must trust anew (`bonded ca` tells how)"
            );
        }
        self.make_authority(now)
    }

    fn make_authority(&self, now: Timestamp) -> anyhow::Result<(String, KeyPair)> {
        let key = KeyPair::generate().context("make the own CA's key")?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        // Two CAs of one name would be taken for each other by clients that keep both.
        let made = now.to_zoned_datetime(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S").to_string();
        params.distinguished_name.push(DnType::OrganizationName, "Bonded");
        params.distinguished_name.push(DnType::CommonName, format!("Bonded CA of {made}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.name_constraints = Some(self.names.constraints());
        set_life(&mut params, now, CA_DAYS)?;
        let certificate = params.self_signed(&key).context("sign the own CA")?.pem();
        self.write("ca.key", &key.serialize_pem())?;
        self.write("ca.crt", &certificate)?;
        Ok((certificate, key))
    }

    fn sign(
        &self,
        authority: &str,
        authority_key: KeyPair,
        now: Timestamp,
    ) -> anyhow::Result<(String, String)> {
        let issuer =
            Issuer::from_ca_cert_pem(authority, authority_key).context("use the own CA")?;
        let key = KeyPair::generate().context("make the server's key")?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "Bonded registry");
        params.subject_alt_names = self.names.subject_alternatives()?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        set_life(&mut params, now, LEAF_DAYS)?;
        let certificate = params.signed_by(&key, &issuer).context("sign the certificate")?;
        Ok((certificate.pem(), key.serialize_pem()))
    }

    /// Whether a certificate can be used further: of this key and this CA, long enough, and with
    /// exactly the names that are wanted now.
    fn is_good(&self, certificate: &str, key: &str, authority: &str, now: Timestamp) -> bool {
        let (Ok(found), Ok(authority)) =
            (parse::Certificate::from_pem(certificate), parse::Certificate::from_pem(authority))
        else {
            return false;
        };
        KeyPair::from_pem(key).is_ok_and(|key| found.is_of_key(&key))
            && found.is_issued_by(&authority)
            && found.days_left(now) >= LEAF_LEAST_DAYS
            && self.names.are_those_of(&found)
    }

    fn read(&self, name: &str) -> anyhow::Result<Option<String>> {
        let path = self.directory.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(anyhow!(error).context(format!("read {}", path.display()))),
        }
    }

    /// Replaces a file, readable by its owner alone, and keeps it through a power cut.
    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.directory.join(name);
        let new = self.directory.join(format!("{name}.new"));
        let write = || -> std::io::Result<()> {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
            match fs::remove_file(&new) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            File::open(&self.directory)?.sync_all()
        };
        write().with_context(|| format!("write {}", path.display()))
    }
}

/// Where the CA of a data directory lies.
pub fn directory(data: &Path) -> PathBuf {
    data.join("ca")
}

/// The CA's certificate, for clients that take a file.
pub fn certificate_path(data: &Path) -> PathBuf {
    directory(data).join("ca.crt")
}

/// From the day before, because clocks differ, for so many days.
fn set_life(params: &mut CertificateParams, now: Timestamp, days: i64) -> anyhow::Result<()> {
    let today = now.to_zoned_datetime(TimeZone::UTC).date();
    let date = |days: i64| -> anyhow::Result<_> {
        let date = today.checked_add(days.days()).context("reckon the certificate's life")?;
        let (month, day) = (u8::try_from(date.month())?, u8::try_from(date.day())?);
        Ok(rcgen::date_time_ymd(i32::from(date.year()), month, day))
    };
    params.not_before = date(-1)?;
    params.not_after = date(days)?;
    Ok(())
}

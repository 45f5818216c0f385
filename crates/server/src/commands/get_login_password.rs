//! `bonded get-login-password`: a password for `docker login`, without the aws command.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bonded_iam::sigv4::{RequestHead, Signer, sha256};
use bytes::Bytes;
use clap::Args;
use http::{Request, Uri, header};
use jiff::Timestamp;
use serde::Deserialize;

use crate::ca::certificate_path;
use crate::config::Config;
use crate::credentials::{self, Credentials};
use crate::http_client::{self, Trust};
use crate::names::Names;
use crate::tls;

const TARGET: &str = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken";
const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
const BODY: &[u8] = b"{}";
const TIME: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, Default, Args)]
pub struct Arguments {
    /// Profile of the credentials file: `default` for the default account, else the account's id
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub profile: String,
    /// URL of the server, if it is not the one that the configuration says
    #[arg(long, value_name = "URL")]
    pub endpoint_url: Option<String>,
    /// Region to log in to, if not the default one
    #[arg(long, value_name = "NAME")]
    pub region: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Output {
    authorization_data: Vec<Authorization>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Authorization {
    authorization_token: String,
}

/// Prints the password and nothing else.
///
/// # Errors
/// When there are no credentials, or the server cannot be asked or refuses.
pub async fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<()> {
    tls::install_provider();
    let credentials = credentials::read(&config.data.join("credentials"), &arguments.profile)?;
    let region = arguments.region.as_deref().unwrap_or(&config.default_region);
    let url = match &arguments.endpoint_url {
        Some(url) => url.clone(),
        None => endpoint(config, region)?,
    };
    let request = sign(&url, region, &credentials, Timestamp::now())?;
    let trust = Trust::system_and(&certificate_path(&config.data))?;
    let answer = tokio::time::timeout(TIME, http_client::send(request, &trust))
        .await
        .with_context(|| format!("{url} did not answer in time"))??;
    ensure!(
        answer.status().is_success(),
        "{url} answers {}: {}",
        answer.status(),
        String::from_utf8_lossy(answer.body())
    );
    super::print(&format!("{}\n", password(answer.body())?))
}

/// The API of the configured server, under its public name.
fn endpoint(config: &Config, region: &str) -> anyhow::Result<String> {
    let first = config.listeners.first().context("there is no listener")?;
    let names = Names::new(config, first.address);
    Ok(names.proxy_endpoint(&config.default_account, region))
}

/// The signed request.
fn sign(
    url: &str,
    region: &str,
    credentials: &Credentials,
    time: Timestamp,
) -> anyhow::Result<Request<Bytes>> {
    let url: Uri = url.parse().with_context(|| format!("read the URL {url:?}"))?;
    let Some(authority) = url.authority() else { bail!("the URL {url} has no host") };
    // A prefix that a proxy takes away would not fit the signature.
    let path = if url.path().is_empty() { "/" } else { url.path() };
    let headers = [
        ("content-type", CONTENT_TYPE.as_bytes()),
        ("host", authority.as_str().as_bytes()),
        ("x-amz-target", TARGET.as_bytes()),
    ];
    let is_tls = url.scheme_str() == Some("https");
    let head = RequestHead { method: "POST", path, query: "", headers: &headers, tls: is_tls };
    let signer = Signer {
        access_key_id: &credentials.access_key_id,
        secret_access_key: credentials.secret_access_key.expose(),
        session_token: credentials.session_token.as_ref().map(|token| token.expose()),
        region,
        service: "ecr",
        time,
    };
    let added = signer.sign(&head, &sha256(BODY)).context("sign the request")?;
    let mut request = Request::post(url.clone())
        .header(header::CONTENT_TYPE, CONTENT_TYPE)
        .header(header::HOST, authority.as_str())
        .header("x-amz-target", TARGET);
    for (name, value) in added {
        request = request.header(name, value);
    }
    request.body(Bytes::from_static(BODY)).context("make the request")
}

/// What follows `AWS:` in the token.
fn password(answer: &[u8]) -> anyhow::Result<String> {
    let output: Output = serde_json::from_slice(answer).context("read the answer")?;
    let first = output.authorization_data.first().context("the answer holds no token")?;
    let token = STANDARD.decode(&first.authorization_token).context("read the token")?;
    let token = String::from_utf8(token).context("read the token")?;
    let (_, password) = token.split_once(':').context("the token holds no password")?;
    Ok(password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    #[test]
    fn the_request_is_one_that_we_accept() {
        let credentials = Credentials {
            access_key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret_access_key: Secret::new("secret".to_owned()),
            session_token: None,
        };
        let time: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let request = sign("http://localhost:5000", "us-east-1", &credentials, time).unwrap();
        let headers: Vec<_> = request
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        let head =
            RequestHead { method: "POST", path: "/", query: "", headers: &headers, tls: false };
        let parsed = bonded_iam::sigv4::parse(&head).unwrap().unwrap();
        parsed.verify(&parsed.derive_key("secret"), &sha256(BODY)).unwrap();
    }

    #[test]
    fn a_password_is_what_follows_the_name() {
        let token = STANDARD.encode("AWS:sealed-part_1");
        let answer = format!(r#"{{"authorizationData":[{{"authorizationToken":"{token}"}}]}}"#);
        assert_eq!(password(answer.as_bytes()).unwrap(), "sealed-part_1");
        let error = password(br#"{"authorizationData":[]}"#).unwrap_err();
        assert_eq!(error.to_string(), "the answer holds no token");
    }
}

//! `bonded healthcheck`: whether the server of this configuration works, for containers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http::{Request, StatusCode};

use crate::ca::certificate_path;
use crate::config::{Config, Tls};
use crate::http_client::{self, Trust};
use crate::tls;

/// Less than the 30 seconds that container engines give by default.
const TIME: Duration = Duration::from_secs(10);

/// Asks the admin listener whether the server is ready; without one, asks the first listener for
/// `/v2/`, which is 401 from a server that works.
///
/// # Errors
/// When it does not answer as it should.
pub async fn run(config: &Config) -> anyhow::Result<()> {
    tls::install_provider();
    tokio::time::timeout(TIME, ask(config)).await.context("there was no answer in time")?
}

async fn ask(config: &Config) -> anyhow::Result<()> {
    if let Some(admin) = &config.admin {
        let url = format!("http://{}/readyz", reachable(admin.listen));
        let (status, body) = get(&url, &Trust::system()?).await?;
        ensure!(status == StatusCode::OK, "{url} answers {status}: {}", body.trim_end());
        return Ok(());
    }
    let listener = config.listeners.first().context("there is no listener")?;
    let address = reachable(listener.address);
    let (url, trust) = match &listener.tls {
        Tls::None => (format!("http://{address}/v2/"), Trust::system()?),
        Tls::SelfSigned => {
            let trust = Trust::system_and(&certificate_path(&config.data))?;
            // By name, because the certificate is not made for every address.
            (format!("https://localhost:{}/v2/", address.port()), trust)
        }
        Tls::Files { .. } => bail!(
            "admin.listen: missing; a listener with a certificate of somebody else's cannot be \
             asked under its name from here, so write an [admin] section"
        ),
    };
    let (status, _) = get(&url, &trust).await?;
    ensure!(status == StatusCode::UNAUTHORIZED, "{url} answers {status} instead of 401");
    Ok(())
}

async fn get(url: &str, trust: &Trust) -> anyhow::Result<(StatusCode, String)> {
    let request = Request::get(url).body(Bytes::new()).context("make the request")?;
    let answer = http_client::send(request, trust).await?;
    Ok((answer.status(), String::from_utf8_lossy(answer.body()).into_owned()))
}

/// Where a process of the same machine reaches a socket that listens on all addresses.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

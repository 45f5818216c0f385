//! One HTTP/1.1 request to a configured place: a collector, or this server itself.
//!
//! It follows no redirect and keeps no connection: what asks often or asks strangers goes
//! through `bonded_account`'s egress rules.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, ensure};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The longest answer that is read, bytes.
const LONGEST_ANSWER: usize = 4 << 20;

/// Whose certificates are believed.
#[derive(Clone)]
pub struct Trust(Arc<ClientConfig>);

impl Trust {
    /// The certificate authorities that this machine trusts.
    pub fn system() -> anyhow::Result<Trust> {
        Trust::with(&[])
    }

    /// Those and the ones in a PEM file, which need not exist.
    pub fn system_and(path: &Path) -> anyhow::Result<Trust> {
        match CertificateDer::pem_file_iter(path) {
            Ok(certificates) => {
                let own: Result<Vec<_>, _> = certificates.collect();
                Trust::with(&own.with_context(|| format!("read {}", path.display()))?)
            }
            Err(rustls_pki_types::pem::Error::Io(error))
                if error.kind() == std::io::ErrorKind::NotFound =>
            {
                Trust::system()
            }
            Err(error) => Err(anyhow!(error).context(format!("read {}", path.display()))),
        }
    }

    fn with(own: &[CertificateDer<'static>]) -> anyhow::Result<Trust> {
        let mut roots = RootCertStore::empty();
        // A machine without certificates can still be one that only talks to itself.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        for certificate in own {
            roots.add(certificate.clone()).context("trust a certificate")?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("choose TLS versions")?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Trust(Arc::new(config)))
    }
}

/// Sends a request with an absolute `http://` or `https://` URL and reads the whole answer.
pub async fn send(request: Request<Bytes>, trust: &Trust) -> anyhow::Result<Response<Bytes>> {
    let url = request.uri().clone();
    let host = url.host().context("the URL has no host")?;
    let is_tls = url.scheme_str() == Some("https");
    ensure!(is_tls || url.scheme_str() == Some("http"), "{url} is no http:// or https:// URL");
    let port = url.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let stream =
        connect(bare, port).await.with_context(|| format!("connect to {host} port {port}"))?;
    stream.set_nodelay(true).context("set up the connection")?;
    let request = with_host(request, &url)?;
    if is_tls {
        let name = ServerName::try_from(bare.to_owned()).context("the URL's host")?;
        let stream = TlsConnector::from(trust.0.clone())
            .connect(name, stream)
            .await
            .with_context(|| format!("speak TLS to {host} port {port}"))?;
        exchange(request, stream).await
    } else {
        exchange(request, stream).await
    }
}

/// Names under `localhost` are this machine, and no resolver is asked, which might know none or
/// ask a slow server about them (RFC 6761, section 6.3).
async fn connect(host: &str, port: u16) -> std::io::Result<TcpStream> {
    if host != "localhost" && !host.ends_with(".localhost") {
        return TcpStream::connect((host, port)).await;
    }
    let addresses = [
        SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
    ];
    TcpStream::connect(addresses.as_slice()).await
}

/// A request of HTTP/1.1: the path alone, and the host in a header.
fn with_host(request: Request<Bytes>, url: &Uri) -> anyhow::Result<Request<Full<Bytes>>> {
    let authority = url.authority().context("the URL has no host")?;
    let (mut head, body) = request.into_parts();
    if !head.headers.contains_key(header::HOST) {
        let host = authority.as_str().rsplit('@').next().unwrap_or_default();
        head.headers.insert(header::HOST, HeaderValue::from_str(host)?);
    }
    let path = url.path_and_query().map_or("/", |it| it.as_str());
    head.uri = path.parse().context("the URL's path")?;
    Ok(Request::from_parts(head, Full::new(body)))
}

async fn exchange<S>(request: Request<Full<Bytes>>, stream: S) -> anyhow::Result<Response<Bytes>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.context("begin the exchange")?;
    // It ends when the sender is dropped, or tells the sender why it cannot go on.
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(request).await.context("send the request")?;
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, LONGEST_ANSWER).collect().await.map_err(|error| anyhow!(error));
    connection.abort();
    Ok(Response::from_parts(head, body.context("read the answer")?.to_bytes()))
}

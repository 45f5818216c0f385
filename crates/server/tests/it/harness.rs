//! A deployment of two accounts in two regions, callers, and requests as clients make them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bonded_account::audit::Record;
use bonded_account::audit::queue::{AuditQueue, open_block};
use bonded_account::keys::{DataKeyOf, Purpose, column};
use bonded_account::{Clock, Services};
use bonded_blob::{BlobStore, DirectoryStore};
use bonded_db::{Db, Location, Options, PrincipalPolicyRow};
use bonded_iam::sigv4::{RequestHead, Signer, sha256};
use bonded_registry::{Endpoint, Registry, Settings};
use bonded_server::body::RequestBody;
use bonded_server::config::{Config, Sources};
use bonded_server::exchange::{ConnectionInfo, Exchange, LogFields};
use bonded_server::first_start::{self, Setup};
use bonded_server::limits::BodyBudget;
use bonded_server::metrics::Metrics;
use bonded_server::names::Names;
use bonded_server::service::Service;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

pub(crate) const ACCOUNT: &str = "123456789012";
pub(crate) const OTHER_ACCOUNT: &str = "210987654321";
pub(crate) const REGION: &str = "us-east-1";
pub(crate) const OTHER_REGION: &str = "eu-central-1";
pub(crate) const TARGET: &str = "AmazonEC2ContainerRegistry_V20150921";
const HOST: &str = "localhost:5000";
/// When the clock stands first, microseconds.
pub(crate) const START: i64 = 1_772_612_130_250_000;
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The service with all that it stands on.
pub(crate) struct Harness {
    pub(crate) service: Service,
    pub(crate) clock: Clock,
    pub(crate) root: Key,
    pub(crate) other_root: Key,
    _directory: TempDir,
}

/// An access key, with its owner's unique id.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) account: String,
    pub(crate) principal_id: String,
    pub(crate) id: String,
    pub(crate) secret: String,
}

/// An answer of either plane.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// What the access log will tell.
    pub(crate) noted: LogFields,
}

/// A request that is not sent yet.
pub(crate) struct Draft {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Harness {
    pub(crate) async fn new() -> Harness {
        Harness::with(Settings::default()).await
    }

    pub(crate) async fn with(settings: Settings) -> Harness {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let db = Db::open(Options {
            location: Location::Sqlite(path.join("bonded.db")),
            exclusive: true,
        })
        .await
        .unwrap();
        let clock = Clock::stopped(START);
        let ready = first_start::prepare(&db, START, &setup(path)).await.unwrap();
        let (audit, _) = AuditQueue::start(db.clone(), clock.clone(), true);
        let services = Arc::new(Services::new(db, ready.keys, clock.clone(), audit));
        let mut stores: BTreeMap<String, Arc<dyn BlobStore>> = BTreeMap::new();
        for region in [REGION, OTHER_REGION] {
            let store = DirectoryStore::open(path.join(region)).await.unwrap();
            stores.insert(region.to_owned(), Arc::new(store));
        }
        let names = names(path);
        let told = Arc::clone(&names);
        let endpoints = Arc::new(move |account: &str, region: &str| Endpoint {
            host: told.public_host(account, region),
            url: told.proxy_endpoint(account, region),
        });
        let registry = Arc::new(Registry::new(services, stores, settings, endpoints));
        let bodies = BodyBudget::new(96 * 1024 * 1024, Arc::new(Metrics::new()));
        let service = Service::new(registry, names, bodies);
        let file = std::fs::read_to_string(ready.credentials).unwrap();
        let root = root_key(&file, ACCOUNT);
        let other_root = root_key(&file, OTHER_ACCOUNT);
        Harness { service, clock, root, other_root, _directory: directory }
    }

    /// With one repository of the main account.
    pub(crate) async fn with_repository(name: &str) -> Harness {
        let harness = Harness::new().await;
        let (status, body) =
            harness.ecr("CreateRepository", json!({ "repositoryName": name })).await;
        assert_eq!(status, 200, "{body}");
        harness
    }

    pub(crate) fn registry(&self) -> &Arc<Registry> {
        &self.service.registry
    }

    pub(crate) fn db(&self) -> &Db {
        self.registry().db()
    }

    /// A user of an account with one policy.
    pub(crate) async fn user(&self, account: &str, name: &str, policy: &Value) -> Key {
        let key = Key {
            account: account.to_owned(),
            principal_id: format!("AIDA{}", name.to_uppercase()),
            id: format!("AKIA{}", name.to_uppercase()),
            secret: format!("the secret of {name}"),
        };
        self.add_key(&key, Some(name)).await;
        self.set_policy(&key, policy).await;
        key
    }

    /// Sets the one policy of a user.
    pub(crate) async fn set_policy(&self, key: &Key, policy: &Value) {
        let text = policy.to_string();
        let row = PrincipalPolicyRow {
            name: "all".to_owned(),
            kind: "identity".to_owned(),
            hash: Sha256::digest(&text).into(),
            text,
        };
        let (account, id) = (key.account.clone(), key.principal_id.clone());
        let put = move |tx: &mut bonded_db::Tx<'_>| tx.put_principal_policy(&account, &id, &row);
        self.db().write(put).await.unwrap();
    }

    async fn add_key(&self, key: &Key, user: Option<&str>) {
        let id = key.id.clone();
        let of_root = self.root_of(&key.account).id.clone();
        let row = self.db().read(move |tx| tx.access_key(&of_root)).await.unwrap().unwrap();
        let keys = &self.registry().services.keys;
        let of = DataKeyOf::Account(key.account.clone());
        let data_key = keys.data_key(&of, &row.account_wrapped_key).unwrap();
        let context = column("access_key.secret", id.as_bytes());
        let secret = data_key.seal(Purpose::Column, &context, key.secret.as_bytes());
        let (account, principal) = (key.account.clone(), key.principal_id.clone());
        let user = user.map(str::to_owned);
        self.db()
            .write(move |tx| {
                if let Some(name) = &user {
                    tx.insert_principal(&principal, &account, "user", name, START)?;
                }
                tx.insert_access_key(&id, &principal, &account, &secret, START)
            })
            .await
            .unwrap();
    }

    fn root_of(&self, account: &str) -> &Key {
        if account == ACCOUNT { &self.root } else { &self.other_root }
    }

    /// Calls the ECR API as the main account's root.
    pub(crate) async fn ecr(&self, operation: &str, input: Value) -> (u16, Value) {
        self.ecr_as(&self.root, operation, input).await
    }

    pub(crate) async fn ecr_as(&self, key: &Key, operation: &str, input: Value) -> (u16, Value) {
        self.ecr_in(key, REGION, operation, input).await
    }

    pub(crate) async fn ecr_in(
        &self,
        key: &Key,
        region: &str,
        operation: &str,
        input: Value,
    ) -> (u16, Value) {
        let mut draft = Draft::call(operation, input.to_string().as_bytes());
        draft.sign(key, region, self.clock.now());
        let answer = self.send(draft).await;
        (answer.status.as_u16(), answer.json())
    }

    /// A password for `/v2/`.
    pub(crate) async fn password(&self, key: &Key) -> String {
        self.password_in(key, REGION).await
    }

    pub(crate) async fn password_in(&self, key: &Key, region: &str) -> String {
        let (status, body) = self.ecr_in(key, region, "GetAuthorizationToken", json!({})).await;
        assert_eq!(status, 200, "{body}");
        let token = body["authorizationData"][0]["authorizationToken"].as_str().unwrap();
        let decoded = String::from_utf8(STANDARD.decode(token).unwrap()).unwrap();
        decoded.strip_prefix("AWS:").unwrap().to_owned()
    }

    /// A caller of `/v2/`.
    pub(crate) async fn v2(&self, key: &Key) -> V2<'_> {
        V2 { harness: self, password: Some(self.password(key).await), account: ACCOUNT }
    }

    /// One without credentials.
    pub(crate) fn v2_of_nobody(&self) -> V2<'_> {
        V2 { harness: self, password: None, account: ACCOUNT }
    }

    /// Sends a request to the main account's registry.
    pub(crate) async fn send(&self, draft: Draft) -> Answer {
        self.send_to(ACCOUNT, REGION, draft).await
    }

    /// Sends a request to the host of a registry.
    pub(crate) async fn send_to(&self, account: &str, region: &str, draft: Draft) -> Answer {
        let mut request = Request::builder().method(draft.method).uri(draft.target);
        for (name, value) in draft.headers {
            request = request.header(name, value);
        }
        if (account, region) != (ACCOUNT, REGION) {
            let host = format!("{account}.dkr.ecr.{region}.localhost:5000");
            let host = HeaderValue::from_str(&host).unwrap();
            request.headers_mut().unwrap().insert(header::HOST, host);
        }
        let request = request.body(RequestBody::from(Bytes::from(draft.body))).unwrap();
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 5000));
        let connection = Arc::new(ConnectionInfo { peer: local, listener: local, tls: None });
        let exchange = Exchange::new(&request, local.ip(), false, connection);
        let response = self.service.answer(request, &exchange).await;
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("the body is whole").to_bytes();
        Answer { status: head.status, headers: head.headers, body, noted: exchange.noted() }
    }

    /// All audit records of an account, of writes and of reads, in the order of their time.
    pub(crate) async fn records(&self, account: &str) -> Vec<Record> {
        let account = account.to_owned();
        let (rows, blocks) = self
            .db()
            .read(move |tx| {
                let rows = tx.audit_records(&account, REGION, 0, 10_000)?;
                let blocks = tx.audit_blocks(&account, REGION, 0, 10_000)?;
                Ok::<_, bonded_db::Error>((rows, blocks))
            })
            .await
            .unwrap();
        let mut records: Vec<Record> =
            rows.iter().map(|row| serde_json::from_str(&row.record).unwrap()).collect();
        for block in &blocks {
            records.extend(open_block(block).unwrap().into_iter().map(|(_, record)| record));
        }
        records.sort_by_key(|record| record.time);
        records
    }

    /// The records of one operation.
    pub(crate) async fn records_of(&self, operation: &str) -> Vec<Record> {
        let records = self.records(ACCOUNT).await;
        records.into_iter().filter(|record| record.name == operation).collect()
    }
}

/// One caller of `/v2/`.
pub(crate) struct V2<'a> {
    harness: &'a Harness,
    pub(crate) password: Option<String>,
    pub(crate) account: &'static str,
}

impl V2<'_> {
    pub(crate) fn with_password(self, password: &str) -> Self {
        V2 { password: Some(password.to_owned()), ..self }
    }

    pub(crate) async fn request(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        let mut draft = Draft {
            method: method.parse().unwrap(),
            target: target.to_owned(),
            headers: vec![
                ("host".to_owned(), HOST.to_owned()),
                ("user-agent".to_owned(), "tests/1".to_owned()),
            ],
            body: body.into(),
        };
        if let Some(password) = &self.password {
            let basic = STANDARD.encode(format!("AWS:{password}"));
            draft.headers.push(("authorization".to_owned(), format!("Basic {basic}")));
        }
        for (name, value) in headers {
            draft.headers.push(((*name).to_owned(), (*value).to_owned()));
        }
        self.harness.send_to(self.account, REGION, draft).await
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.request("GET", target, &[], "").await
    }

    pub(crate) async fn head(&self, target: &str) -> Answer {
        self.request("HEAD", target, &[], "").await
    }

    pub(crate) async fn delete(&self, target: &str) -> Answer {
        self.request("DELETE", target, &[], "").await
    }

    /// Begins an upload: where it goes on.
    pub(crate) async fn begin(&self, repository: &str) -> String {
        let answer =
            self.request("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], "").await;
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.header("location").to_owned()
    }

    /// Pushes a blob and returns its digest.
    pub(crate) async fn push_blob(&self, repository: &str, data: &[u8]) -> String {
        let digest = digest(data);
        let location = self.begin(repository).await;
        let target = format!("{location}?digest={digest}");
        let answer = self.request("PUT", &target, &[], data).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        digest
    }

    pub(crate) async fn put_manifest(
        &self,
        repository: &str,
        reference: &str,
        manifest: &Value,
    ) -> Answer {
        let kind = manifest["mediaType"].as_str().unwrap();
        let target = format!("/v2/{repository}/manifests/{reference}");
        let bytes = manifest.to_string();
        self.request("PUT", &target, &[("content-type", kind)], bytes).await
    }

    /// Pushes an image of one layer, whose bytes are `data`, and returns its manifest.
    pub(crate) async fn push_image(&self, repository: &str, reference: &str, data: &[u8]) -> Value {
        self.push_blob(repository, data).await;
        self.push_blob(repository, CONFIG).await;
        let manifest = image(data);
        let answer = self.put_manifest(repository, reference, &manifest).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        manifest
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).unwrap_or_else(|| panic!("no {name}: {self:?}"));
        value.to_str().unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The code of the first error of a `/v2/` answer.
    pub(crate) fn code(&self) -> String {
        self.json()["errors"][0]["code"].as_str().unwrap_or_default().to_owned()
    }

    /// All that a caller could compare, but for the name that he asked for.
    pub(crate) fn seen(&self, name: &str) -> (u16, Vec<(String, String)>, String) {
        let mut headers: Vec<_> = self
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        headers.sort();
        let body = String::from_utf8_lossy(&self.body).replace(name, "NAME");
        (self.status.as_u16(), headers, body)
    }
}

impl Draft {
    /// An unsigned call of the ECR API.
    pub(crate) fn call(operation: &str, body: &[u8]) -> Draft {
        Draft {
            method: Method::POST,
            target: "/".to_owned(),
            headers: vec![
                ("host".to_owned(), HOST.to_owned()),
                ("content-type".to_owned(), "application/x-amz-json-1.1".to_owned()),
                ("x-amz-target".to_owned(), format!("{TARGET}.{operation}")),
            ],
            body: body.to_vec(),
        }
    }

    /// Signs it as clients do.
    pub(crate) fn sign(&mut self, key: &Key, region: &str, now: i64) {
        let headers: Vec<(&str, &[u8])> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let head = RequestHead {
            method: self.method.as_str(),
            path,
            query,
            headers: &headers,
            tls: false,
        };
        let signer = Signer {
            access_key_id: &key.id,
            secret_access_key: &key.secret,
            session_token: None,
            region,
            service: "ecr",
            time: Timestamp::from_microsecond(now).unwrap(),
        };
        let added = signer.sign(&head, &sha256(&self.body)).unwrap();
        let added = added.into_iter().map(|(name, value)| (name.to_owned(), value));
        self.headers.extend(added);
    }
}

/// The config of [`image`].
pub(crate) const CONFIG: &[u8] = b"{\"architecture\":\"amd64\",\"os\":\"linux\"}";

/// An image of one layer.
pub(crate) fn image(layer: &[u8]) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": digest(CONFIG),
            "size": CONFIG.len(),
        },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
            "digest": digest(layer),
            "size": layer.len(),
        }],
    })
}

pub(crate) fn digest(data: impl AsRef<[u8]>) -> String {
    format!("sha256:{}", const_hex::encode(Sha256::digest(data)))
}

/// The digest of a manifest as [`V2::put_manifest`] sends it.
pub(crate) fn manifest_digest(manifest: &Value) -> String {
    digest(manifest.to_string())
}

/// A policy of one statement.
pub(crate) fn allow(actions: &[&str]) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Action": actions, "Resource": "*" }],
    })
}

/// The names of a listener at port 5000.
fn names(data: &Path) -> Arc<Names> {
    let text = format!(
        "default_region = \"{REGION}\"\n[accounts.{ACCOUNT}]\nname = \"main\"\n[accounts.{OTHER_ACCOUNT}]\nname = \"other\"\n\
         [regions.{REGION}]\nstorage = \"a\"\n[regions.{OTHER_REGION}]\nstorage = \"b\"\n"
    );
    let sources = Sources { data: Some(data.to_owned()), ..Sources::default() };
    let config = Config::parse(&[(Path::new("test"), &text)], &sources).unwrap();
    Arc::new(Names::new(&config, SocketAddr::from((Ipv4Addr::LOCALHOST, 5000))))
}

fn setup(data: &Path) -> Setup {
    let account = |id: &str, name: &str| (id.to_owned(), name.to_owned());
    Setup {
        data: data.to_owned(),
        root_keys: vec![data.join("keys/root.key")],
        accounts: [account(ACCOUNT, "main"), account(OTHER_ACCOUNT, "other")].into(),
        default_account: ACCOUNT.to_owned(),
        regions: vec![REGION.to_owned(), OTHER_REGION.to_owned()],
    }
}

/// The root key of an account, out of the credentials file.
fn root_key(file: &str, account: &str) -> Key {
    let profile = file.split(&format!("[{account}]\n")).nth(1).unwrap();
    let value = |name: &str| {
        let line = profile.lines().find_map(|line| line.strip_prefix(&format!("{name} = ")));
        line.unwrap().to_owned()
    };
    Key {
        account: account.to_owned(),
        principal_id: account.to_owned(),
        id: value("aws_access_key_id"),
        secret: value("aws_secret_access_key"),
    }
}

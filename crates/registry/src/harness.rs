//! For tests: registries with a real database and a real store in a temporary directory, a
//! stopped clock, and callers.

use std::collections::BTreeMap;
use std::sync::Arc;

use bonded_account::audit::queue::AuditQueue;
use bonded_account::clock::{new_id, random};
use bonded_account::keys::{DataKeyOf, KeyRing, RootKey, token_key_context};
use bonded_account::{Caller, Clock, Origin, Request, Services};
use bonded_blob::faulty::Faulty;
use bonded_blob::{BlobStore, DirectoryStore, Syncs};
use bonded_db::{
    Db, Extras, Faults, Location, NewAccount, NewKeyDomain, NewRepository, Options, Param,
    PrincipalPolicyRow, ResourcePolicyRow, TokenKeyRow,
};
use bonded_iam::AccountId;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use uuid::Uuid;

use crate::{Call, Endpoint, Permit, Registry, Result, Settings};

pub(crate) const ACCOUNT: &str = "123456789012";
pub(crate) const OTHER_ACCOUNT: &str = "210987654321";
pub(crate) const REGION: &str = "us-east-1";
/// When the clock stands first, microseconds.
pub(crate) const START: i64 = 1_772_612_130_250_000;

/// A deployment of two accounts, each with a root user and a registry.
pub(crate) struct Harness {
    pub(crate) directory: TempDir,
    pub(crate) registry: Arc<Registry>,
    pub(crate) clock: Clock,
    pub(crate) store: Arc<Faulty>,
    pub(crate) syncs: Arc<Syncs>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) place: Place,
    settings: Settings,
}

/// Where a deployment's rows are, and what opens them.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) location: Location,
    pub(crate) root_key: String,
}

impl Harness {
    pub(crate) async fn new() -> Harness {
        Harness::with(Settings::default()).await
    }

    pub(crate) async fn with(settings: Settings) -> Harness {
        let directory = tempfile::tempdir().unwrap();
        let location = Location::Sqlite(directory.path().join("bonded.db"));
        Harness::make(directory, location, settings).await
    }

    /// A new deployment whose rows are at a location of its own.
    pub(crate) async fn make(
        directory: TempDir,
        location: Location,
        settings: Settings,
    ) -> Harness {
        let root_key = RootKey::generate().to_text().to_string();
        let (db, _) = open(&location).await;
        let check_value = RootKey::parse(&root_key).unwrap().check_value();
        db.write(move |tx| tx.insert_root_key(1, &check_value, START)).await.unwrap();
        let keys = key_ring(&db, &root_key).await;
        let token_key = TokenKeyRow {
            id: 1,
            wrapped_key: keys.seal_root(&token_key_context(1), &random()),
            created_at: START,
            retired_at: None,
        };
        db.write(move |tx| tx.insert_token_key(&token_key)).await.unwrap();
        for id in [ACCOUNT, OTHER_ACCOUNT] {
            insert_account(&db, &keys, id).await;
        }
        let clock = Clock::stopped(START);
        let place = Place { location, root_key };
        Harness::start(directory, place, clock, settings).await
    }

    /// The same deployment, opened anew: what was only in memory is gone.
    pub(crate) async fn restart(self) -> Harness {
        let settings = self.settings.clone();
        self.restart_with(settings).await
    }

    /// The same deployment, configured otherwise.
    pub(crate) async fn restart_with(self, settings: Settings) -> Harness {
        let Harness { directory, registry, clock, place, .. } = self;
        drop(registry);
        Harness::start(directory, place, clock, settings).await
    }

    /// The same deployment with nothing in memory, over the same open database, at a time.
    pub(crate) async fn forget(&mut self, now: i64) {
        self.clock = Clock::stopped(now);
        let store: Arc<dyn BlobStore> = self.store.clone();
        let db = self.db().clone();
        self.registry = assemble(db, &self.place, &self.clock, store, &self.settings).await;
    }

    /// Opens what is there: `directory` has the objects.
    pub(crate) async fn start(
        directory: TempDir,
        place: Place,
        clock: Clock,
        settings: Settings,
    ) -> Harness {
        let (db, faults) = open(&place.location).await;
        let objects = DirectoryStore::open(directory.path().join("objects")).await.unwrap();
        let syncs = objects.syncs();
        let store = Arc::new(Faulty::new(Arc::new(objects)));
        let shared: Arc<dyn BlobStore> = store.clone();
        let registry = assemble(db, &place, &clock, shared, &settings).await;
        Harness { directory, registry, clock, store, syncs, faults, place, settings }
    }

    pub(crate) fn db(&self) -> &Db {
        self.registry.db()
    }

    /// A call of the first account's root.
    pub(crate) fn call(&self, operation: &'static str) -> Call {
        self.call_of(&root(ACCOUNT), operation)
    }

    /// A call to the first account's registry.
    pub(crate) fn call_of(&self, caller: &Caller, operation: &'static str) -> Call {
        let services = Arc::clone(&self.registry.services);
        let id = new_id(self.clock.now());
        let request = Request::new(services, id, REGION.to_owned(), caller.clone(), origin());
        let read_only = operation.starts_with("Get") || operation.starts_with("BatchCheck");
        Call::begin(
            Arc::clone(&self.registry),
            Arc::new(request),
            account(ACCOUNT),
            operation,
            read_only,
        )
    }

    /// A user of the first account with one policy.
    pub(crate) async fn user(&self, name: &str, policy: &str) -> Caller {
        let caller = Caller {
            account: ACCOUNT.to_owned(),
            principal_id: format!("AIDA{}", name.to_uppercase()),
            access_key_id: format!("AKIA{}", name.to_uppercase()),
        };
        let row = PrincipalPolicyRow {
            name: "all".to_owned(),
            kind: "identity".to_owned(),
            hash: Sha256::digest(policy).into(),
            text: policy.to_owned(),
        };
        let (user, name) = (caller.clone(), name.to_owned());
        self.db()
            .write(move |tx| {
                tx.insert_principal(&user.principal_id, ACCOUNT, "user", &name, START)?;
                let (id, key) = (&user.principal_id, &user.access_key_id);
                tx.insert_access_key(key, id, ACCOUNT, b"unused", START)?;
                tx.put_principal_policy(ACCOUNT, id, &row)
            })
            .await
            .unwrap();
        caller
    }

    /// Makes a repository of the first account.
    pub(crate) async fn repository(&self, name: &str) -> Uuid {
        self.repository_in(name, "AES256", "").await
    }

    /// Makes a repository whose bytes belong to the key domain of this kind and key.
    pub(crate) async fn repository_in(&self, name: &str, kind: &str, key_name: &str) -> Uuid {
        let now = self.clock.now();
        self.key_domain(kind, key_name).await;
        let id = new_id(now);
        let name = name.to_owned();
        let (kind, key_name) = (kind.to_owned(), key_name.to_owned());
        self.db()
            .write(move |tx| {
                let domain = tx.key_domain(ACCOUNT, REGION, &kind, &key_name)?.unwrap();
                let made = tx.insert_repository(&NewRepository {
                    id,
                    account: ACCOUNT.to_owned(),
                    region: REGION.to_owned(),
                    name: name.clone(),
                    key_domain: domain.id,
                    created_at: now,
                    tag_mutability: "MUTABLE".to_owned(),
                    exclusion_filters: "[]".to_owned(),
                    scan_on_push: false,
                })?;
                assert!(made.is_some());
                Ok::<_, bonded_db::Error>(())
            })
            .await
            .unwrap();
        id
    }

    async fn key_domain(&self, kind: &str, key_name: &str) {
        let domain = new_key_domain(&self.registry.services.keys, ACCOUNT, kind, key_name);
        self.db().write(move |tx| tx.insert_key_domain(&domain)).await.unwrap();
    }

    /// Sets a repository's policy; what it names must be accounts.
    pub(crate) async fn set_policy(&self, repository_id: Uuid, text: &str) {
        let row = ResourcePolicyRow {
            hash: Sha256::digest(text).into(),
            text: text.to_owned(),
            principals: "{}".to_owned(),
        };
        self.db()
            .write(move |tx| tx.set_repository_policy(&repository_id, Some(&row)))
            .await
            .unwrap();
    }

    /// What one statement counts: one number, of what is in the rows now.
    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        self.count_of(sql, &[]).await
    }

    pub(crate) async fn count_of(&self, sql: &'static str, texts: &[&str]) -> i64 {
        let texts: Vec<_> = texts.iter().map(ToString::to_string).collect();
        self.db()
            .read(move |tx| {
                let params: Vec<_> = texts.iter().map(Param::from).collect();
                tx.query_opt(sql, &params, |row| row.get(0))
            })
            .await
            .unwrap()
            .unwrap()
    }

    /// Changes rows as no operation does.
    pub(crate) async fn execute(&self, sql: &'static str) -> u64 {
        self.db().write(move |tx| tx.execute(sql, &[])).await.unwrap()
    }

    /// Waits until a statement counts this many: for what is done behind a request's back.
    pub(crate) async fn until(&self, sql: &'static str, expected: i64) {
        while self.count(sql).await != expected {
            tokio::task::yield_now().await;
        }
    }
}

/// A permit for an action, as the call's caller gets it.
pub(crate) async fn permit(call: &Call, action: &'static str, name: &str) -> Result<Permit> {
    call.repository(action, &account(ACCOUNT), &name.parse().unwrap()).await
}

/// The root of an account, with its first access key.
pub(crate) fn root(account: &str) -> Caller {
    Caller {
        account: account.to_owned(),
        principal_id: account.to_owned(),
        access_key_id: format!("AKIA{account}"),
    }
}

pub(crate) fn account(id: &str) -> AccountId {
    id.parse().unwrap()
}

pub(crate) fn origin() -> Origin {
    Origin {
        address: "127.0.0.1".parse().unwrap(),
        secure: false,
        user_agent: Some("test".to_owned()),
        referer: None,
        tls: None,
    }
}

/// A process's registries over an open database and store.
async fn assemble(
    db: Db,
    place: &Place,
    clock: &Clock,
    store: Arc<dyn BlobStore>,
    settings: &Settings,
) -> Arc<Registry> {
    let keys = key_ring(&db, &place.root_key).await;
    let (audit, _) = AuditQueue::start(db.clone(), clock.clone(), true);
    let services = Arc::new(Services::new(db, keys, clock.clone(), audit));
    services.load_token_keys().await.unwrap();
    let stores = BTreeMap::from([(REGION.to_owned(), store)]);
    let endpoints = Arc::new(|account: &str, region: &str| {
        let host = format!("{account}.dkr.ecr.{region}.localhost:5000");
        Endpoint { url: format!("http://{host}"), host }
    });
    Arc::new(Registry::new(services, stores, settings.clone(), endpoints))
}

async fn open(location: &Location) -> (Db, Arc<Faults>) {
    let faults = Arc::new(Faults::default());
    let extras = Extras { faults: Some(Arc::clone(&faults)), ..Extras::default() };
    let db = Db::open_with(Options::new(location.clone()), extras).await.unwrap();
    (db, faults)
}

async fn key_ring(db: &Db, root_key: &str) -> KeyRing {
    let rows = db.read(|tx| tx.root_keys()).await.unwrap();
    KeyRing::new(&[RootKey::parse(root_key).unwrap()], &rows).unwrap()
}

async fn insert_account(db: &Db, keys: &KeyRing, id: &str) {
    let new = NewAccount {
        id: id.to_owned(),
        name: id.to_owned(),
        wrapped_key: keys.seal_root(&DataKeyOf::Account(id.to_owned()).context(), &random()),
        access_key_id: root(id).access_key_id,
        secret: b"unused".to_vec(),
        created_at: START,
    };
    let domain = new_key_domain(keys, id, "AES256", "");
    db.write(move |tx| {
        tx.insert_account(&new)?;
        tx.insert_registry(&new.id, REGION)?;
        tx.insert_key_domain(&domain)
    })
    .await
    .unwrap();
}

fn new_key_domain(keys: &KeyRing, account: &str, kind: &str, key_name: &str) -> NewKeyDomain {
    let id = new_id(START);
    NewKeyDomain {
        id,
        account: account.to_owned(),
        region: REGION.to_owned(),
        key_name: key_name.to_owned(),
        kind: kind.to_owned(),
        wrapped_key: keys.seal_root(&DataKeyOf::KeyDomain(id).context(), &random()),
        created_at: START,
    }
}

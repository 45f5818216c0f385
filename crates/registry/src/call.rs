//! A request with the registry it is about: the only way to a repository.
//!
//! **Invariant:** [`Call::repository`] decides access before it tells whether the repository
//! exists; only whom an existing repository without policy and tags would be allowed is told that
//! it is missing.

use std::sync::{Arc, Mutex};

use bonded_account::access::{Ask, Subject};
use bonded_account::audit::{self, Event, Outcome, Resource};
use bonded_account::clock::new_id;
use bonded_account::keys::{DataKeyOf, SealingKey};
use bonded_account::{Request, Services, Tags};
use bonded_blob::BlobStore;
use bonded_db::{
    AccessRow, Db, ImageBy, ImageToPull, KeyDomainRow, RegistryRow, RepositoryBy, RepositoryRow, Tx,
};
use bonded_iam::{AccountId, Policy};
use bonded_oci::RepositoryName;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::event::ImageEvent;
use crate::{Error, Registry, Result};

/// One API operation, or the registry request that stands for one.
pub struct Call {
    pub registry: Arc<Registry>,
    pub request: Arc<Request>,
    /// Whose registry is meant: the host's on `/v2/`, the caller's own in the API.
    pub account: AccountId,
    /// The API operation's name.
    pub operation: &'static str,
    read_only: bool,
    draft: Mutex<Draft>,
}

/// What the record of this call tells beside its outcome.
#[derive(Default)]
struct Draft {
    parameters: Option<Box<RawValue>>,
    resources: Vec<Resource>,
    additional: Map<String, Value>,
    /// A change has written its record: the end adds none.
    noted: bool,
}

/// Leave to do one thing in one repository.
#[derive(Clone, Debug)]
pub struct Permit {
    /// The repository's id.
    pub id: Uuid,
    pub account: AccountId,
    pub region: String,
    pub name: String,
    /// What the decision read of the key domain and of the registry's settings.
    pub domain: KeyDomainRow,
    pub registry: RegistryRow,
}

/// All that a decision is made on.
struct Loaded {
    row: AccessRow,
    identity: Arc<bonded_account::identity::Identity>,
    repository_policy: Option<Policy>,
    registry_policy: Option<Policy>,
    tags: Option<Arc<Tags>>,
    /// What was asked for with it.
    image: Option<ImageToPull>,
}

impl Call {
    /// Begins an operation in an account's registry.
    pub fn begin(
        registry: Arc<Registry>,
        request: Arc<Request>,
        account: AccountId,
        operation: &'static str,
        read_only: bool,
    ) -> Call {
        Call { registry, request, account, operation, read_only, draft: Mutex::default() }
    }

    /// Sets `requestParameters` of the record: JSON in lowerCamelCase, without secrets or bytes.
    pub fn set_parameters(&self, parameters: Option<Box<RawValue>>) {
        self.draft().parameters = parameters;
    }

    /// Adds to `additionalEventData` of the record.
    pub fn add(&self, name: &str, value: impl Into<Value>) {
        self.draft().additional.insert(name.to_owned(), value.into());
    }

    pub fn services(&self) -> &Arc<Services> {
        &self.registry.services
    }

    pub fn db(&self) -> &Db {
        &self.registry.services.db
    }

    pub fn region(&self) -> &str {
        &self.request.region
    }

    /// Microseconds since 1970.
    pub fn now(&self) -> i64 {
        self.registry.now()
    }

    /// An id for a new row.
    pub fn new_id(&self) -> Uuid {
        new_id(self.now())
    }

    /// Leave to do `ask` in a repository, by its name.
    ///
    /// # Errors
    /// `AccessDenied`, the same for a missing repository and for one that exists;
    /// `RepositoryNotFound` for whom a repository without policy and tags would be allowed.
    pub async fn repository(
        &self,
        ask: impl Into<Ask>,
        account: &AccountId,
        name: &RepositoryName,
    ) -> Result<Permit> {
        let name = name.as_str();
        let arn = repository_arn(self.region(), account, name);
        self.resource(&arn, account);
        let by = By::Repository(RepositoryBy::Name(name.to_owned()));
        let loaded = self.load(self.question(account, Some(by))).await?;
        self.decide(&ask.into(), account, &arn, &loaded)?;
        permit(loaded.row, account, name)
    }

    /// The same, with an image that was read in the same statement: for pulls.
    pub async fn repository_and_image(
        &self,
        ask: impl Into<Ask>,
        account: &AccountId,
        name: &RepositoryName,
        image: ImageBy,
    ) -> Result<(Permit, Option<ImageToPull>)> {
        let name = name.as_str();
        let arn = repository_arn(self.region(), account, name);
        self.resource(&arn, account);
        let question = self.question(account, Some(By::Image(name.to_owned(), image)));
        let mut loaded = self.load(question).await?;
        self.decide(&ask.into(), account, &arn, &loaded)?;
        let image = loaded.image.take();
        Ok((permit(loaded.row, account, name)?, image))
    }

    /// Leave to do `ask` in a repository, by its id: for links. `None` if it is gone.
    pub async fn repository_by_id(&self, ask: impl Into<Ask>, id: Uuid) -> Result<Option<Permit>> {
        let by = By::Repository(RepositoryBy::Id(id));
        let loaded = self.load(self.question(&self.account, Some(by))).await?;
        let Some(repository) = &loaded.row.repository else { return Ok(None) };
        let account: AccountId = parse_account(&repository.account)?;
        let name = repository.name.clone();
        if repository.region != self.region() {
            return Ok(None);
        }
        let arn = repository_arn(self.region(), &account, &name);
        self.resource(&arn, &account);
        self.decide(&ask.into(), &account, &arn, &loaded)?;
        permit(loaded.row, &account, &name).map(Some)
    }

    /// Decides on what has no repository (`*`), or not yet one, in an account's registry.
    pub async fn authorize(
        &self,
        ask: impl Into<Ask>,
        account: &AccountId,
        resource_arn: &str,
    ) -> Result<RegistryRow> {
        if resource_arn.starts_with("arn:") {
            self.resource(resource_arn, account);
        }
        let loaded = self.load(self.question(account, None)).await?;
        self.decide(&ask.into(), account, resource_arn, &loaded)?;
        loaded.row.registry.ok_or_else(|| self.no_registry(account))
    }

    /// The key that seals what belongs to the repository's domain.
    ///
    /// # Errors
    /// `Kms` when the domain's key is not enabled.
    pub fn domain_key(&self, permit: &Permit) -> Result<Arc<SealingKey>> {
        domain_key(&self.registry, &permit.domain)
    }

    /// Where the bytes of the repository's region lie.
    pub fn store(&self, permit: &Permit) -> Result<&Arc<dyn BlobStore>> {
        self.registry.stores.get(&permit.region).ok_or_else(|| {
            Error::Internal(anyhow::anyhow!("region {} has no store here", permit.region))
        })
    }

    /// The record and the events of a change: made before its transaction, inserted in it. The
    /// end of the call then writes no record of its own if the call succeeds.
    pub fn note(&self, response: Option<&Value>, events: &[ImageEvent]) -> bonded_db::Note {
        let now = self.now();
        let event = self.event();
        self.draft().noted = true;
        let records = audit::records(&self.request, &event, &Outcome::Done(response));
        bonded_db::Note {
            records: records.into_iter().map(|placed| placed.into_row(new_id(now))).collect(),
            events: events.iter().map(|event| event.to_row(now, self.region())).collect(),
        }
    }

    /// Ends the call: records reads, refusals and failures, which no change has recorded.
    pub async fn end<T>(&self, result: &Result<T>) {
        let event = self.event();
        let message;
        let outcome = match result {
            Ok(_) if self.draft().noted => return,
            Ok(_) => Outcome::Done(None),
            Err(error) => {
                message = error.to_string();
                Outcome::Failed { code: error.exception(), message: &message }
            }
        };
        for placed in audit::records(&self.request, &event, &outcome) {
            self.services().audit.put(placed).await;
        }
    }

    /// The ARN of the first resource that this call was about: for the access log.
    pub fn resource_arn(&self) -> Option<String> {
        self.draft().resources.first().map(|resource| resource.arn.clone())
    }

    fn event(&self) -> Event {
        let draft = self.draft();
        Event {
            name: self.operation,
            source: "ecr.amazonaws.com",
            read_only: self.read_only,
            parameters: draft.parameters.clone(),
            resources: draft.resources.clone(),
            additional: draft.additional.clone(),
        }
    }

    fn draft(&self) -> std::sync::MutexGuard<'_, Draft> {
        self.draft.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn resource(&self, arn: &str, account: &AccountId) {
        let resource = Resource { arn: arn.to_owned(), account: account.to_string() };
        let mut draft = self.draft();
        if !draft.resources.contains(&resource) {
            draft.resources.push(resource);
        }
    }

    fn decide(
        &self,
        ask: &Ask,
        account: &AccountId,
        resource_arn: &str,
        loaded: &Loaded,
    ) -> Result<()> {
        let registry_scope_v1 =
            loaded.row.registry.as_ref().is_some_and(|registry| registry.policy_scope == "V1");
        let subject = Subject {
            ask,
            resource_arn,
            resource_account: account,
            resource_tags: loaded.tags.as_deref().map_or(&[], Vec::as_slice),
            repository_policy: loaded.repository_policy.as_ref(),
            registry_policy: loaded.registry_policy.as_ref(),
            registry_scope_v1,
        };
        let Err(sentence) = self.request.decide(&loaded.identity, &subject) else {
            return Ok(());
        };
        // A deny in the repository's own policy has a sentence of its own, which would tell that
        // the repository exists: whom a missing one is denied too is told that denial.
        let missing = Subject { resource_tags: &[], repository_policy: None, ..subject };
        let sentence = match self.request.decide(&loaded.identity, &missing) {
            Ok(()) => sentence,
            Err(as_if_missing) => as_if_missing,
        };
        Err(Error::AccessDenied(sentence))
    }

    fn question(&self, account: &AccountId, by: Option<By>) -> Question {
        Question {
            caller_account: self.request.caller.account.clone(),
            account: account.to_string(),
            region: self.region().to_owned(),
            by,
        }
    }

    /// One statement when all that it names is in memory; else one snapshot of everything.
    async fn load(&self, question: Question) -> Result<Loaded> {
        let first = question.clone();
        let found = self.db().read_point(move |tx| first.row(tx)).await?;
        let (row, image) = found.ok_or_else(unrecognized)?;
        let known = self.cached(row, image);
        self.registry.decision_counts.count(known.is_some());
        if let Some(loaded) = known {
            return Ok(loaded);
        }
        let principal = self.request.caller.principal_id.clone();
        let read = self
            .db()
            .read(move |tx| {
                let Some((row, image)) = question.row(tx)? else { return Ok::<_, Error>(None) };
                let Some(identity) = tx.identity(&principal)? else { return Ok(None) };
                let repository_policy = match &row.repository {
                    Some(repository) if repository.policy_hash.is_some() => {
                        tx.repository_policy(&repository.id)?
                    }
                    _ => None,
                };
                let registry_policy = match &row.registry {
                    Some(registry) if registry.policy_hash.is_some() => {
                        tx.registry_policy(&question.account, &question.region)?
                    }
                    _ => None,
                };
                let tags = match &row.repository {
                    Some(repository) if repository.tags_hash.is_some() => {
                        tx.repository_tags(&repository.id)?
                    }
                    _ => Vec::new(),
                };
                Ok(Some((row, identity, repository_policy, registry_policy, tags, image)))
            })
            .await?;
        let (row, identity, repository_policy, registry_policy, tags, image) =
            read.ok_or_else(unrecognized)?;
        let services = self.services();
        let identity = services.keep_identity(identity)?;
        self.request.check_key(&identity)?;
        let repository_policy = repository_policy
            .map(|policy| crate::policy::keep(services, &policy, crate::policy::Of::Repository))
            .transpose()?;
        let registry_policy = registry_policy
            .map(|policy| crate::policy::keep(services, &policy, crate::policy::Of::Registry))
            .transpose()?;
        let tags_hash = row.repository.as_ref().and_then(|repository| repository.tags_hash);
        let tags = tags_hash.map(|hash| {
            let tags = Arc::new(tags);
            services.tags.insert(hash, Arc::clone(&tags));
            tags
        });
        Ok(Loaded { row, identity, repository_policy, registry_policy, tags, image })
    }

    /// `None` if anything that the row names is not in memory.
    fn cached(&self, row: AccessRow, image: Option<ImageToPull>) -> Option<Loaded> {
        let services = self.services();
        let caller = &self.request.caller;
        let identity = services.cached_identity(&caller.principal_id, row.generation)?;
        self.request.check_key(&identity).ok()?;
        let policy = |hash: Option<[u8; 32]>| match hash {
            None => Some(None),
            Some(hash) => services.policies.get(&hash).map(Some),
        };
        let repository = row.repository.as_ref();
        let repository_policy = policy(repository.and_then(|it| it.policy_hash))?;
        let registry_policy = policy(row.registry.as_ref().and_then(|it| it.policy_hash))?;
        let tags = match repository.and_then(|it| it.tags_hash) {
            None => None,
            Some(hash) => Some(services.tags.get(&hash)?),
        };
        Some(Loaded { row, identity, repository_policy, registry_policy, tags, image })
    }

    /// Whether the caller could do `action` in the repository if it had this policy.
    pub async fn would_allow(
        &self,
        action: &'static str,
        permit: &Permit,
        policy: &Policy,
    ) -> Result<bool> {
        let by = By::Repository(RepositoryBy::Id(permit.id));
        let mut loaded = self.load(self.question(&permit.account, Some(by))).await?;
        loaded.repository_policy = Some(policy.clone());
        let decision = self.decide(&action.into(), &permit.account, &permit.arn(), &loaded);
        Ok(decision.is_ok())
    }

    fn no_registry(&self, account: &AccountId) -> Error {
        Error::AccessDenied(format!(
            "The account {account} has no registry in the region {}",
            self.region()
        ))
    }
}

/// What an access row is asked for.
#[derive(Clone)]
enum By {
    Repository(RepositoryBy),
    /// A repository by name, and an image of it.
    Image(String, ImageBy),
}

#[derive(Clone)]
struct Question {
    caller_account: String,
    account: String,
    region: String,
    /// `None`: the registry alone.
    by: Option<By>,
}

impl Question {
    fn row(&self, tx: &mut Tx<'_>) -> Result<Option<(AccessRow, Option<ImageToPull>)>> {
        let Question { caller_account, account, region, by } = self;
        let row = match by {
            Some(By::Image(name, image)) => {
                return Ok(tx.pull_access(caller_account, account, region, name, image)?);
            }
            Some(By::Repository(by)) => {
                tx.repository_access(caller_account, account, region, by)?
            }
            None => tx.registry_access(caller_account, account, region)?,
        };
        Ok(row.map(|row| (row, None)))
    }
}

impl Permit {
    /// The repository's row, if it still lives: the first step of all that writes under it.
    pub fn repository(&self, tx: &mut Tx<'_>) -> Result<RepositoryRow> {
        tx.repository(&self.id)?.ok_or_else(|| Error::RepositoryNotFound {
            name: self.name.clone(),
            registry_id: self.account,
        })
    }

    pub fn arn(&self) -> String {
        repository_arn(&self.region, &self.account, &self.name)
    }
}

/// A domain's data key in clear.
///
/// # Errors
/// `Kms` when the domain's key is not enabled; what was in memory of it is dropped.
pub fn domain_key(registry: &Registry, domain: &KeyDomainRow) -> Result<Arc<SealingKey>> {
    let of = DataKeyOf::KeyDomain(domain.id);
    let keys = &registry.services.keys;
    if !domain.enabled {
        keys.drop_data_key(&of);
        return Err(Error::Kms { kms_error: "DisabledException" });
    }
    keys.data_key(&of, &domain.wrapped_key).map_err(|error| {
        Error::Internal(anyhow::Error::from(error).context("open the key domain's data key"))
    })
}

/// `arn:aws:ecr:REGION:ACCOUNT:repository/NAME`
pub fn repository_arn(region: &str, account: &AccountId, name: &str) -> String {
    format!("arn:aws:ecr:{region}:{account}:repository/{name}")
}

fn permit(row: AccessRow, account: &AccountId, name: &str) -> Result<Permit> {
    let missing = || Error::RepositoryNotFound { name: name.to_owned(), registry_id: *account };
    let registry = row.registry.ok_or_else(missing)?;
    let repository = row.repository.ok_or_else(missing)?;
    Ok(Permit {
        id: repository.id,
        account: *account,
        region: repository.region,
        name: repository.name,
        domain: repository.domain,
        registry,
    })
}

fn parse_account(text: &str) -> Result<AccountId> {
    text.parse().map_err(|_| Error::Internal(anyhow::anyhow!("`{text}` is no account id")))
}

fn unrecognized() -> Error {
    Error::Account(bonded_account::Error::unrecognized_client())
}

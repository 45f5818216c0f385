//! What all operations of a process share: rows, keys, clock, caches, the audit queue.

use std::sync::Arc;
use std::time::Duration;

use bonded_db::Db;
use bonded_iam::Policy;
use moka::sync::Cache;

use crate::audit::queue::AuditQueue;
use crate::clock::Clock;
use crate::identity::Identity;
use crate::keys::{KeyRing, Token};

const IDENTITIES: u64 = 10_000;
const POLICIES: u64 = 10_000;
const TAG_SETS: u64 = 10_000;
const OPENED_TOKENS: u64 = 10_000;
/// What lies under a hash or a generation is valid for as long as that is, and a token says itself
/// until when: the time only bounds memory.
const IDLE: Duration = Duration::from_secs(3_600);

/// Tags of a resource: keys and values.
pub type Tags = Vec<(String, String)>;

/// The state of a process that is not about images.
pub struct Services {
    pub db: Db,
    pub keys: KeyRing,
    pub clock: Clock,
    pub audit: AuditQueue,
    /// By unique id; valid while its generation is the account's.
    pub(crate) identities: Cache<String, Arc<Identity>>,
    /// By SHA-256 over text and resolved ids.
    pub policies: Cache<[u8; 32], Policy>,
    /// By SHA-256 over the tags.
    pub tags: Cache<[u8; 32], Arc<Tags>>,
    /// What docker passwords say that were used a moment ago, by their text. It says who asks and
    /// until when, and both are looked at anew with each request.
    pub(crate) opened_tokens: Cache<String, Arc<Token>>,
}

impl Services {
    pub fn new(db: Db, keys: KeyRing, clock: Clock, audit: AuditQueue) -> Services {
        Services {
            db,
            keys,
            clock,
            audit,
            identities: cache(IDENTITIES),
            policies: cache(POLICIES),
            tags: cache(TAG_SETS),
            opened_tokens: cache(OPENED_TOKENS),
        }
    }

    /// What a docker password says; `None`: not one of ours. Whether it has expired is the
    /// caller's to see.
    pub fn open_token(&self, text: &str) -> Option<Arc<Token>> {
        if let Some(token) = self.opened_tokens.get(text) {
            return Some(token);
        }
        let token = Arc::new(Token::open(&self.keys, text, self.clock.now())?);
        self.opened_tokens.insert(text.to_owned(), Arc::clone(&token));
        Some(token)
    }
}

fn cache<K, V>(capacity: u64) -> Cache<K, V>
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    Cache::builder().max_capacity(capacity).time_to_idle(IDLE).build()
}

//! A store that fails when a test says so.
//!
//! A test runs its work once to count the calls, then again for each of them with that call
//! failing, and looks whether what was promised still holds.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::stream;

use crate::{BlobStore, ByteStream, Error, Listed, ObjectName};

/// For tests only: passes every call on to another store, but for one that fails.
pub struct Faulty {
    inner: Arc<dyn BlobStore>,
    calls: AtomicU64,
    fails: AtomicU64,
    loses: AtomicU64,
    injected: AtomicU64,
}

impl Faulty {
    /// A store that does not fail yet.
    pub fn new(inner: Arc<dyn BlobStore>) -> Faulty {
        Faulty {
            inner,
            calls: AtomicU64::new(0),
            fails: AtomicU64::new(0),
            loses: AtomicU64::new(0),
            injected: AtomicU64::new(0),
        }
    }

    /// The calls of `put`, `get`, `delete` and `list` so far.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// Failures that were injected so far.
    pub fn injected(&self) -> u64 {
        self.injected.load(Ordering::SeqCst)
    }

    /// Counts from zero again and lets the `nth` call, from 1, fail before it does anything.
    pub fn fail(&self, nth: u64) {
        self.set(nth, 0);
    }

    /// Counts from zero again and lets the `nth` call, from 1, be done and then fail, as when
    /// the answer of a server is lost. A `get` opens, and its stream breaks.
    pub fn lose(&self, nth: u64) {
        self.set(0, nth);
    }

    /// Counts from zero again and fails no more.
    pub fn heal(&self) {
        self.set(0, 0);
    }

    fn set(&self, fails: u64, loses: u64) {
        self.calls.store(0, Ordering::SeqCst);
        self.fails.store(fails, Ordering::SeqCst);
        self.loses.store(loses, Ordering::SeqCst);
    }

    /// Counts a call. Fails if it is the one to fail; says whether its answer is to be lost.
    fn call(&self) -> Result<bool, Error> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let fails = number == self.fails.load(Ordering::SeqCst);
        let loses = number == self.loses.load(Ordering::SeqCst);
        self.injected.fetch_add((fails || loses).into(), Ordering::SeqCst);
        if fails { Err(broken()) } else { Ok(loses) }
    }
}

#[async_trait]
impl BlobStore for Faulty {
    async fn put(&self, name: ObjectName, body: ByteStream) -> Result<u64, Error> {
        let lost = self.call()?;
        let size = self.inner.put(name, body).await?;
        if lost { Err(broken()) } else { Ok(size) }
    }

    async fn get(&self, name: ObjectName, range: Range<u64>) -> Result<Option<ByteStream>, Error> {
        let lost = self.call()?;
        let found = self.inner.get(name, range).await?;
        let breaks = |_| -> ByteStream { Box::pin(stream::iter([Err(broken())])) };
        Ok(if lost { found.map(breaks) } else { found })
    }

    async fn delete(&self, name: ObjectName) -> Result<(), Error> {
        let lost = self.call()?;
        self.inner.delete(name).await?;
        if lost { Err(broken()) } else { Ok(()) }
    }

    async fn list(&self, after: Option<ObjectName>) -> Result<Vec<Listed>, Error> {
        let lost = self.call()?;
        let page = self.inner.list(after).await?;
        if lost { Err(broken()) } else { Ok(page) }
    }

    fn name(&self, random: [u8; 16]) -> ObjectName {
        self.inner.name(random)
    }

    fn free_bytes(&self) -> Result<Option<u64>, Error> {
        self.inner.free_bytes()
    }
}

fn broken() -> Error {
    Error::Io(io::Error::other("the test wants this call to fail"))
}

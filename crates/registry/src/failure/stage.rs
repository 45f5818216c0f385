//! A deployment that can be put back to where it was, and that can be told to fail.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use bonded_blob::{BlobStore as _, ObjectName};
use bonded_db::Location;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::state::Rows;
use crate::harness::Harness;
use crate::jobs::{self, Schedule};
use crate::{Settings, verify};

const HOUR: i64 = 3_600 * 1_000_000;
/// Longer than anything is kept that may go: the grace time, and an append that never ended.
const LONG: i64 = 30 * HOUR;
/// A membership goes, then its blob, then the object.
const TURNS: usize = 3;

/// What is made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Statement(i64),
    Read(i64),
    Commit(i64),
    /// This commit and all after it.
    CommitsFrom(i64),
    /// The commit is made, and its answer is lost.
    CommitLost(i64),
    Call(u64),
    /// The call is done, and its answer is lost.
    CallLost(u64),
    FileSync(u64),
}

pub(super) struct Stage {
    pub(super) harness: Harness,
    is_postgres: bool,
}

/// All rows and objects of a moment.
pub(super) struct Copy {
    pub(super) rows: Rows,
    objects: Vec<(ObjectName, Bytes)>,
    now: i64,
}

impl Stage {
    pub(super) async fn new(location: Option<Location>) -> Stage {
        // Whether syncs work is not asked here, so the files are in memory where there is a place.
        let in_memory = Path::new("/dev/shm");
        let place = if in_memory.is_dir() { in_memory.to_owned() } else { std::env::temp_dir() };
        let directory = tempfile::tempdir_in(place).unwrap();
        let own = Location::Sqlite(directory.path().join("bonded.db"));
        let location = location.unwrap_or(own);
        Stage::of(Harness::make(directory, location, Settings::default()).await)
    }

    pub(super) fn of(harness: Harness) -> Stage {
        let is_postgres = matches!(harness.place.location, Location::Postgres(_));
        Stage { harness, is_postgres }
    }

    /// What can fail in an operation that uses the store, or does not. How it fails is the same
    /// to either database, so with PostgreSQL one way is enough.
    pub(super) fn kinds(&self, uses_store: bool) -> Vec<fn(i64) -> Fault> {
        let mut kinds: Vec<fn(i64) -> Fault> = vec![Fault::Read, Fault::Statement, Fault::Commit];
        if self.is_postgres {
            kinds.push(Fault::CommitLost);
        }
        if uses_store {
            kinds.push(|nth| Fault::Call(nth.try_into().unwrap()));
        }
        if uses_store && !self.is_postgres {
            kinds.push(|nth| Fault::CallLost(nth.try_into().unwrap()));
            kinds.push(|nth| Fault::FileSync(nth.try_into().unwrap()));
        }
        kinds
    }

    pub(super) fn inject(&self, fault: Fault) {
        let faults = &self.harness.faults;
        match fault {
            Fault::Statement(nth) => faults.fail_statement(nth),
            Fault::Read(nth) => faults.fail_read(nth),
            Fault::Commit(nth) => faults.fail_commit(nth),
            Fault::CommitsFrom(nth) => faults.fail_commits_from(nth),
            Fault::CommitLost(nth) => faults.lose_commit(nth),
            Fault::Call(nth) => self.harness.store.fail(nth),
            Fault::CallLost(nth) => self.harness.store.lose(nth),
            Fault::FileSync(nth) => self.harness.syncs.fail_file(nth),
        }
    }

    /// Failures that were injected so far, of any kind.
    pub(super) fn injected(&self) -> u64 {
        let Harness { faults, store, syncs, .. } = &self.harness;
        faults.injected() + store.injected() + syncs.injected()
    }

    /// Nothing fails any more, and what went on behind the answer has ended.
    pub(super) async fn heal(&self) {
        let Harness { faults, store, syncs, registry, .. } = &self.harness;
        while Arc::strong_count(registry) > 1 {
            tokio::task::yield_now().await;
        }
        faults.heal();
        store.heal();
        syncs.fail_file(0);
    }

    pub(super) async fn copy(&self) -> Copy {
        let rows = Rows::read(self.harness.db()).await;
        let mut objects = Vec::new();
        for name in self.objects() {
            let body = self.harness.store.get(name, 0..u64::MAX).await.unwrap().unwrap();
            let frames: Vec<Bytes> = body.try_collect().await.unwrap();
            objects.push((name, frames.concat().into()));
        }
        Copy { rows, objects, now: self.harness.clock.now() }
    }

    /// Everything is as it was, and nothing is in memory.
    pub(super) async fn restore(&mut self, copy: &Copy) {
        copy.rows.restore(self.harness.db()).await;
        let known: BTreeSet<_> = copy.objects.iter().map(|(name, _)| *name).collect();
        let there = self.objects();
        for name in there.difference(&known) {
            self.harness.store.delete(*name).await.unwrap();
        }
        for (name, bytes) in &copy.objects {
            if !there.contains(name) {
                let body = stream::iter([Ok(bytes.clone())]).boxed();
                self.harness.store.put(*name, body).await.unwrap();
            }
        }
        self.harness.forget(copy.now).await;
        self.harness.store.heal();
    }

    /// What lies in the store's folders. It is asked for so often that the store's own list, which
    /// looks at each object too, would take most of the time.
    fn objects(&self) -> BTreeSet<ObjectName> {
        let folders = std::fs::read_dir(self.harness.directory.path().join("objects")).unwrap();
        let files = folders.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
        files.map(|file| file.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
    }

    /// Every segment has its object, and every object is a segment's or is to go.
    pub(super) fn check_objects(&self, rows: &Rows) {
        let there: BTreeSet<_> = self.objects().into_iter().map(|name| name.0).collect();
        let (needed, doomed) = (rows.needed_objects(), rows.doomed_objects());
        assert!(needed.is_subset(&there), "an object is missing");
        assert!(needed.is_disjoint(&doomed), "an object that is needed is to go");
        let named: BTreeSet<_> = needed.union(&doomed).copied().collect();
        assert!(there.is_subset(&named), "an object is nobody's");
    }

    /// What `bonded check` says.
    pub(super) async fn verify(&self) {
        let report = verify::run(&self.harness.registry, false, |_| {}).await.unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
        assert_eq!(report.garbage, 0);
    }

    /// Lets time pass and garbage be collected until nothing is left that may go. The sweep would
    /// find what should not have been missed, so it and what else is scheduled run only if asked.
    pub(super) async fn settle(&self, scheduled: bool) -> Rows {
        let registry = &self.harness.registry;
        for _ in 0..TURNS {
            self.harness.clock.advance(LONG);
            jobs::collect(registry, &Schedule::default()).await.unwrap();
        }
        if scheduled {
            jobs::step(registry, &Schedule::default()).await.unwrap();
        }
        let rows = Rows::read(self.harness.db()).await;
        assert!(rows.doomed_objects().is_empty(), "objects are still to go");
        self.check_objects(&rows);
        rows
    }
}

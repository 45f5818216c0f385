//! Every operation, and in each of them every statement, commit and call of the store that can
//! fail: what is answered, what is kept, and what becomes of the same request once more.
//!
//! **Invariant:** whatever fails, rows and objects are as before the operation or as after it, or
//! as after one of its transactions. The same request then succeeds and leaves what it would have
//! left at once, and no object stays that nothing names.

mod operation;
mod records;
mod stage;
mod state;
mod sync;

use std::collections::BTreeSet;

use bonded_db::{Location, fault};
use uuid::Uuid;

use self::operation::Operation;
use self::stage::{Copy, Fault, Stage};
use self::state::{Rows, State, View};
use crate::{Error, Result};

/// One operation, again and again from the same rows and objects.
struct Trial<'a> {
    stage: &'a mut Stage,
    operation: Operation,
    upload: Uuid,
    start: Copy,
    before: State,
    after: State,
    /// The same without what a second request adds.
    after_both: State,
    /// After time has passed and the jobs have run.
    end: State,
    /// What an end in the middle may leave: what the first transactions left.
    between: BTreeSet<State>,
    /// What was found to recover already.
    recovered: BTreeSet<State>,
    uses_store: bool,
    failures: u64,
}

impl<'a> Trial<'a> {
    async fn new(stage: &'a mut Stage, base: &Copy, operation: Operation) -> Trial<'a> {
        stage.restore(base).await;
        let upload = operation.prepare(&stage.harness).await;
        stage.heal().await;
        let start = stage.copy().await;
        stage.restore(&start).await;
        let mut trial = Trial {
            stage,
            operation,
            upload,
            start,
            before: State::default(),
            after: State::default(),
            after_both: State::default(),
            end: State::default(),
            between: BTreeSet::new(),
            recovered: BTreeSet::new(),
            uses_store: false,
            failures: 0,
        };
        trial.before = trial.start.rows.state(trial.view());
        trial.act().await.unwrap();
        trial.uses_store = trial.stage.harness.store.calls() > 0;
        trial.stage.heal().await;
        trial.after = trial.state().await;
        trial.after_both = trial.wide_state().await;
        trial.between.extend([trial.before.clone(), trial.after.clone()]);
        trial.end = trial.settle().await;
        trial
    }

    fn view(&self) -> View {
        View {
            uploads: !self.operation.leaves_uploads(),
            removals: self.operation.is_job(),
            ..View::ALL
        }
    }

    /// What is compared when a request came twice, or when time has passed.
    fn wide_view(&self) -> View {
        View { records: false, times: false, removals: false, ..self.view() }
    }

    async fn act(&self) -> Result<()> {
        self.operation.act(&self.stage.harness, self.upload).await
    }

    /// What is kept now; the objects fit it.
    async fn state(&self) -> State {
        let rows = Rows::read(self.stage.harness.db()).await;
        self.stage.check_objects(&rows);
        match self.operation.is_job() || !rows.is_as(&self.start.rows) {
            true => rows.state(self.view()),
            false => self.before.clone(),
        }
    }

    async fn wide_state(&self) -> State {
        Rows::read(self.stage.harness.db()).await.state(self.wide_view())
    }

    async fn settle(&self) -> State {
        self.stage.verify().await;
        self.stage.settle(self.operation.is_job()).await.state(self.wide_view())
    }

    /// The operation with a fault, and what it leaves; `None` if it was over before the fault.
    async fn fail(&mut self, fault: Fault) -> Option<State> {
        let injected = self.stage.injected();
        self.stage.inject(fault);
        let answer = self.act().await;
        self.stage.heal().await;
        let failed = self.stage.injected() > injected;
        let state = self.state().await;
        match answer {
            Ok(()) => assert_same(&state, &self.after),
            Err(error) => assert!(failed && is_ours(&error), "{fault:?} is answered {error:?}"),
        }
        self.failures += u64::from(failed);
        failed.then_some(state)
    }

    /// The same request once more, without a fault, and what is left in the end.
    async fn recover(&mut self, state: State) {
        if self.recovered.contains(&state) {
            return;
        }
        if self.operation != Operation::PutDamagedBlob {
            self.stage.verify().await;
        }
        if !self.operation.is_job() {
            let is_done = state == self.after;
            match self.act().await {
                Err(error) if is_done && self.operation.is_done_already(&error) => {}
                again => again.unwrap(),
            }
            self.stage.heal().await;
            assert_same(&self.wide_state().await, &self.after_both);
        }
        assert_same(&self.settle().await, &self.end);
        self.recovered.insert(state);
    }

    /// From the n-th commit on the database takes nothing, for every n: what the transactions
    /// before it leave is what any other failure may leave.
    async fn fail_from_each_commit(&mut self) {
        for nth in 1.. {
            self.stage.restore(&self.start).await;
            let Some(state) = self.fail(Fault::CommitsFrom(nth)).await else { return };
            self.between.insert(state.clone());
            self.recover(state).await;
        }
    }

    /// The n-th of a kind fails, for every n. What has changed nothing is simply tried again, so
    /// that one failure follows the other.
    async fn fail_each(&mut self, kind: fn(i64) -> Fault) {
        self.stage.restore(&self.start).await;
        for nth in 1.. {
            let Some(state) = self.fail(kind(nth)).await else { break };
            if state == self.before {
                continue;
            }
            if !self.operation.is_job() && !self.between.contains(&state) {
                panic!(
                    "{:?} leaves what is between: {}",
                    kind(nth),
                    state.difference(&self.before)
                );
            }
            self.recover(state).await;
            self.stage.restore(&self.start).await;
        }
        // Whatever the failures have left goes.
        if Rows::read(self.stage.harness.db()).await.has_garbage() {
            assert_same(&self.settle().await, &self.end);
        }
    }

    async fn run(mut self) -> u64 {
        self.fail_from_each_commit().await;
        for kind in self.stage.kinds(self.uses_store) {
            self.fail_each(kind).await;
        }
        self.failures
    }
}

fn assert_same(state: &State, expected: &State) {
    assert!(state == expected, "{}", expected.difference(state));
}

/// Whether a client is told that it is our fault, so that it tries again.
fn is_ours(error: &Error) -> bool {
    match error {
        Error::Internal(_) | Error::Unavailable(_) => true,
        Error::Account(error) => error.status >= 500,
        _ => false,
    }
}

/// A database of its own on the PostgreSQL of the tests; it goes in the end.
struct OnPostgres {
    server: String,
    name: String,
    location: Location,
}

impl OnPostgres {
    #[expect(clippy::disallowed_methods, reason = "tests have no configuration file")]
    #[expect(clippy::print_stderr, reason = "what was not run is told")]
    fn new() -> Option<OnPostgres> {
        let Ok(server) = std::env::var("BONDED_TEST_POSTGRES") else {
            eprintln!("not run: BONDED_TEST_POSTGRES is not set");
            return None;
        };
        let name = format!("bonded_test_{}", Uuid::new_v4().simple());
        let url = fault::make_postgres_database(&server, &name).unwrap();
        Some(OnPostgres { server, name, location: Location::Postgres(url) })
    }
}

impl Drop for OnPostgres {
    fn drop(&mut self) {
        // One that stays is in nobody's way.
        let _ = fault::drop_postgres_database(&self.server, &self.name);
    }
}

#[expect(clippy::print_stderr, reason = "the figures are of interest")]
async fn every_failure(operations: &[Operation], location: Option<Location>) {
    let mut stage = Stage::new(location).await;
    let base = stage.copy().await;
    let mut sum = 0;
    for operation in operations {
        let began = std::time::Instant::now();
        let failures = Trial::new(&mut stage, &base, *operation).await.run().await;
        assert!(failures > 0, "{operation:?} cannot fail");
        eprintln!("{operation:?}: {failures} failures {:?}", began.elapsed());
        sum += failures;
    }
    eprintln!("{} operations, {sum} failures", operations.len());
}

async fn every_failure_on_postgres(operations: &[Operation]) {
    let Some(database) = OnPostgres::new() else { return };
    every_failure(operations, Some(database.location.clone())).await;
}

#[tokio::test]
async fn uploads() {
    every_failure(operation::UPLOADS, None).await;
}

#[tokio::test]
async fn uploads_on_postgres() {
    every_failure_on_postgres(operation::UPLOADS).await;
}

#[tokio::test]
async fn images() {
    every_failure(operation::IMAGES, None).await;
}

#[tokio::test]
async fn images_on_postgres() {
    every_failure_on_postgres(operation::IMAGES).await;
}

#[tokio::test]
async fn repositories() {
    every_failure(operation::REPOSITORIES, None).await;
}

#[tokio::test]
async fn repositories_on_postgres() {
    every_failure_on_postgres(operation::REPOSITORIES).await;
}

#[tokio::test]
async fn jobs() {
    every_failure(operation::JOBS, None).await;
}

#[tokio::test]
async fn jobs_on_postgres() {
    every_failure_on_postgres(operation::JOBS).await;
}

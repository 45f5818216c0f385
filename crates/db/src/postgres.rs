//! PostgreSQL: closures on a bounded set of threads, one connection each.
//!
//! Writes are SERIALIZABLE and run again when another transaction was in the way. A connection
//! that is lost before COMMIT changes nothing, so the closure runs again on a new one; one that
//! is lost during COMMIT leaves the outcome unknown, and the caller is told so.

mod copy;
mod tls;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use postgres::config::SslMode;
use postgres::error::SqlState;
use postgres::types::ToSql;
use postgres::{Client, Config, Statement};
use tokio::sync::Semaphore;

use crate::error::chain;
use crate::tx::{Failure, State, Watched};
use crate::{Error, Extras, Faults, Metrics, Param, Tx};

/// Connections of a process.
const THREADS: usize = 16;
const STATEMENTS: usize = 256;
/// A transaction is tried again for this long before its caller is told to come back.
const RETRY_TIME: Duration = Duration::from_secs(10);
const FIRST_WAIT: Duration = Duration::from_millis(1);
const LONGEST_WAIT: Duration = Duration::from_millis(200);
/// The queue of the transactions that others were in the way of. It is a lock of the session: it
/// must be had before the transaction begins, whose snapshot would else be older than what it
/// waited for. A node that hangs with it does not hold up the others for ever.
const QUEUE: &str = "SET LOCAL lock_timeout = '5s'; SELECT pg_advisory_lock(7021794826147305561)";
const LEAVE_QUEUE: &str = "SELECT pg_advisory_unlock(7021794826147305561)";
const CONNECT: Duration = Duration::from_secs(5);
/// A server that does not wait for its disk by default does it for us. What waits for more than
/// that, as for another server, stays.
const DURABLE: &str = "SELECT set_config('synchronous_commit', 'on', false) \
     WHERE current_setting('synchronous_commit') = 'off'";
/// Writes take indexes and nothing else, so a statement that has none is given such a cost that
/// the server would compile it, each time, for longer than it runs. Not every server can compile.
const INTERPRETED: &str =
    "SELECT set_config('jit', 'off', false) FROM pg_settings WHERE name = 'jit'";

type Job = Box<dyn FnOnce(&mut Session) + Send>;

/// How a transaction runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Write,
    WriteUnsynced,
    /// READ COMMITTED: one UPDATE … RETURNING takes rows.
    Claim,
    Read,
    /// Each statement on its own.
    Point,
}

pub(crate) struct Postgres {
    room: Arc<Semaphore>,
    jobs: Mutex<mpsc::Sender<Job>>,
    metrics: Arc<Metrics>,
    extras: Extras,
    settings: Arc<Settings>,
}

/// What a session needs to connect.
struct Settings {
    config: Config,
    tls: tls::Connector,
}

/// A connection with its prepared statements.
pub(crate) struct Session {
    settings: Arc<Settings>,
    client: Option<Client>,
    statements: HashMap<String, Statement>,
    /// Whether it has the lock of the queue.
    queued: bool,
}

impl Postgres {
    /// Connects, migrates and starts the threads. Blocks: not for a thread of a runtime.
    pub(crate) fn open(
        url: &str,
        extras: &Extras,
        metrics: Arc<Metrics>,
    ) -> Result<Postgres, Error> {
        let tls::Url { rest, root_certificate } = tls::Url::split(url)?;
        let mut config: Config = rest.parse().map_err(|error| Error::internal(chain(&error)))?;
        config.application_name("bonded").connect_timeout(CONNECT);
        if root_certificate.is_some() {
            // Who says by what to verify the server does not want to talk to it in the clear.
            config.ssl_mode(SslMode::Require);
        }
        let tls = tls::Connector::new(&config, root_certificate.as_deref())?;
        let settings = Arc::new(Settings { config, tls });
        let mut session = Session::open(&settings)?;
        session.check_encoding()?;
        crate::migrate::postgres(&mut session)?;
        session.warn_of_settings();
        let (jobs, receiver) = mpsc::channel::<Job>();
        let receiver = Arc::new(Mutex::new(receiver));
        for number in 0..THREADS {
            let (receiver, settings) = (Arc::clone(&receiver), Arc::clone(&settings));
            std::thread::Builder::new()
                .name(format!("db-{number}"))
                .spawn(move || work(&receiver, &settings))
                .map_err(Error::internal)?;
        }
        let room = Arc::new(Semaphore::new(crate::MAX_WAITING));
        Ok(Postgres { room, jobs: Mutex::new(jobs), metrics, extras: extras.clone(), settings })
    }

    /// Runs a closure on one of the threads.
    pub(crate) async fn run<T, E>(
        &self,
        mode: Mode,
        f: impl Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        E: From<Error> + Send + 'static,
        T: Send + 'static,
    {
        let room = crate::permit(&self.room).await?;
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let (metrics, extras) = (Arc::clone(&self.metrics), self.extras.clone());
        metrics.waiting.fetch_add(1, Ordering::Relaxed);
        let job: Job = Box::new(move |session| {
            metrics.waiting.fetch_sub(1, Ordering::Relaxed);
            let attempt = Attempt { mode, metrics: &metrics, extras: &extras };
            let result = catch_unwind(AssertUnwindSafe(|| attempt.run(session, &f)));
            let result = result.unwrap_or_else(|_| {
                session.disconnect();
                Err(Error::internal("a closure panicked").into())
            });
            drop(room);
            // A caller that has gone away does not want to know.
            let _ = sender.send(result);
        });
        let sent = {
            let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
            jobs.send(job)
        };
        sent.map_err(|_| Error::unavailable("the database's threads have ended"))?;
        let gone = || Error::unavailable("the database's threads have ended").into();
        receiver.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Blocks.
    pub(crate) fn backup_to(&self, path: &Path) -> Result<(), Error> {
        copy::backup(&mut Session::open(&self.settings)?, path)
    }

    /// Blocks.
    pub(crate) fn restore_from(&self, path: &Path) -> Result<(), Error> {
        copy::restore(&mut Session::open(&self.settings)?, path)
    }
}

fn work(jobs: &Mutex<mpsc::Receiver<Job>>, settings: &Arc<Settings>) {
    let mut session = Session::new(settings);
    loop {
        let job = {
            let jobs = jobs.lock().unwrap_or_else(PoisonError::into_inner);
            jobs.recv()
        };
        match job {
            Ok(job) => job(&mut session),
            Err(_) => return,
        }
    }
}

/// A closure that is run until it is committed, refused or given up.
struct Attempt<'a> {
    mode: Mode,
    metrics: &'a Metrics,
    extras: &'a Extras,
}

/// What became of one try.
enum Tried<T, E> {
    Done(Result<T, E>),
    Again(Error),
}

impl Attempt<'_> {
    fn run<T, E: From<Error>>(
        &self,
        session: &mut Session,
        f: &impl Fn(&mut Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let result = self.until_done(session, f);
        session.leave_queue();
        result
    }

    /// Whoever has lost queues up with the others that have, and tries again at the head of the
    /// queue until it is done. In its way are then only those that have not lost yet, which are
    /// ever fewer: so nobody starves, and little work is done in vain.
    fn until_done<T, E: From<Error>>(
        &self,
        session: &mut Session,
        f: &impl Fn(&mut Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let began = Instant::now();
        let mut wait = FIRST_WAIT;
        loop {
            match self.once(session, f) {
                Tried::Done(result) => return result,
                Tried::Again(error) if began.elapsed() > RETRY_TIME => {
                    return Err(Error::unavailable(error).into());
                }
                Tried::Again(_) => {}
            }
            self.metrics.retries.fetch_add(1, Ordering::Relaxed);
            let [chance] = crate::random::<1>();
            std::thread::park_timeout(wait.mul_f64(0.5 + f64::from(chance) / 510.0));
            // At the head of the queue a long wait would hold up the others.
            wait = if session.queued { FIRST_WAIT } else { (wait * 2).min(LONGEST_WAIT) };
            session.queue_up();
        }
    }

    fn once<T, E: From<Error>>(
        &self,
        session: &mut Session,
        f: &impl Fn(&mut Tx<'_>) -> Result<T, E>,
    ) -> Tried<T, E> {
        let begin = match self.mode {
            Mode::Write => {
                Some("BEGIN ISOLATION LEVEL SERIALIZABLE; SET LOCAL enable_seqscan = off")
            }
            Mode::WriteUnsynced => Some(
                "BEGIN ISOLATION LEVEL SERIALIZABLE; SET LOCAL enable_seqscan = off; \
                 SET LOCAL synchronous_commit = off",
            ),
            Mode::Claim => {
                Some("BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL enable_seqscan = off")
            }
            Mode::Read => Some("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
            Mode::Point => None,
        };
        let begun =
            session.connect().and_then(|()| begin.map_or(Ok(()), |sql| session.run_batch(sql)));
        if let Err(failure) = begun {
            session.disconnect();
            return Tried::Again(failure.error);
        }
        let is_write = matches!(self.mode, Mode::Write | Mode::WriteUnsynced | Mode::Claim);
        let faults = self.extras.faults.as_deref();
        let watched = faults.map(if is_write { Watched::Write } else { Watched::Read });
        let mut tx = Tx::postgres(session, watched);
        if begin.is_none() {
            tx = tx.single();
        }
        let result = f(&mut tx);
        match tx.state() {
            State::Open => {}
            State::NeedsSnapshot => {
                return Attempt { mode: Mode::Read, ..*self }.once(session, f);
            }
            State::Conflict => {
                session.roll_back();
                return Tried::Again(Error::unavailable("other transactions were in the way"));
            }
            State::Lost | State::Unsynced => {
                session.disconnect();
                return Tried::Again(Error::unavailable("the connection was lost"));
            }
            State::Ended => {
                session.roll_back();
                let ended = || Error::internal("a statement failed and the closure went on");
                return Tried::Done(result.and_then(|_| Err(ended().into())));
            }
        }
        if begin.is_none() {
            return Tried::Done(result);
        }
        if result.is_err() {
            session.roll_back();
            return Tried::Done(result);
        }
        self.commit(session, result, faults.filter(|_| is_write))
    }

    fn commit<T, E: From<Error>>(
        &self,
        session: &mut Session,
        result: Result<T, E>,
        faults: Option<&Faults>,
    ) -> Tried<T, E> {
        if let Some(Err(error)) = faults.map(Faults::commit) {
            session.roll_back();
            return Tried::Done(Err(error.into()));
        }
        match session.run_batch("COMMIT") {
            Ok(()) if faults.is_some_and(Faults::is_commit_lost) => {
                session.disconnect();
                Tried::Done(Err(Error::unavailable("injected loss of a commit's answer").into()))
            }
            Ok(()) => {
                self.metrics.count_batch(1, matches!(self.mode, Mode::Write | Mode::Claim));
                Tried::Done(result)
            }
            Err(Failure { error, state: State::Conflict }) => {
                session.roll_back();
                Tried::Again(error)
            }
            Err(Failure { error, .. }) => {
                session.disconnect();
                Tried::Done(Err(Error::unavailable(error).into()))
            }
        }
    }
}

impl Session {
    fn new(settings: &Arc<Settings>) -> Session {
        Session {
            settings: Arc::clone(settings),
            client: None,
            statements: HashMap::new(),
            queued: false,
        }
    }

    /// One that is connected.
    fn open(settings: &Arc<Settings>) -> Result<Session, Error> {
        let mut session = Session::new(settings);
        session.connect().map_err(|failure| failure.error)?;
        Ok(session)
    }

    /// Connects if need be: before a transaction and never within one, whose rest would then run
    /// by itself on the new connection, and whose COMMIT would commit nothing and say yes.
    fn connect(&mut self) -> Result<(), Failure> {
        if self.client.as_ref().is_some_and(Client::is_closed) {
            self.disconnect();
        }
        if self.client.is_none() {
            let connected = self.settings.tls.connect(&self.settings.config);
            let mut client = connected.map_err(failure)?;
            client.batch_execute(&format!("{DURABLE}; {INTERPRETED}")).map_err(failure)?;
            self.client = Some(client);
        }
        Ok(())
    }

    fn client(&mut self) -> Result<&mut Client, Failure> {
        let lost = || Failure { error: Error::unavailable("not connected"), state: State::Lost };
        self.client.as_mut().filter(|client| !client.is_closed()).ok_or_else(lost)
    }

    fn disconnect(&mut self) {
        self.client = None;
        self.statements.clear();
        // The server gives it to the next one when it sees that.
        self.queued = false;
    }

    /// Waits for its turn, if it has it not. Where that fails, the transaction runs as it would
    /// without a queue.
    fn queue_up(&mut self) {
        if !self.queued {
            self.queued = self.run_batch(QUEUE).is_ok();
        }
    }

    fn leave_queue(&mut self) {
        if self.queued && self.run_batch(LEAVE_QUEUE).is_err() {
            self.disconnect();
        }
        self.queued = false;
    }

    pub(crate) fn roll_back(&mut self) {
        if self.run_batch("ROLLBACK").is_err() {
            self.disconnect();
        }
    }

    fn run_batch(&mut self, sql: &str) -> Result<(), Failure> {
        self.client()?.batch_execute(sql).map_err(failure)
    }

    /// Statements without parameters, of ours.
    pub(crate) fn batch(&mut self, sql: &str) -> Result<(), Error> {
        self.run_batch(sql).map_err(|failure| failure.error)
    }

    /// The one number that a statement gives.
    pub(crate) fn number(&mut self, sql: &str) -> Result<i64, Error> {
        let row = self.client().map_err(|failure| failure.error)?.query_one(sql, &[])?;
        Ok(row.try_get(0)?)
    }

    fn prepare(&mut self, sql: &str) -> Result<Statement, Failure> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        if self.statements.len() >= STATEMENTS {
            self.statements.clear();
        }
        let statement = self.client()?.prepare(sql).map_err(failure)?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    pub(crate) fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64, Failure> {
        let statement = self.prepare(sql)?;
        let params = references(params);
        self.client()?.execute(&statement, &params).map_err(failure)
    }

    pub(crate) fn query(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<postgres::Row>, Failure> {
        let statement = self.prepare(sql)?;
        let params = references(params);
        self.client()?.query(&statement, &params).map_err(failure)
    }

    /// Refuses a database that cannot keep every text.
    fn check_encoding(&mut self) -> Result<(), Error> {
        let utf8 = "SELECT COUNT(*) FROM pg_database WHERE datname = current_database() \
             AND pg_encoding_to_char(encoding) = 'UTF8'";
        match self.number(utf8)? {
            0 => Err(Error::internal("the database's encoding is not UTF8: make it anew with it")),
            _ => Ok(()),
        }
    }

    /// Warns of what will hurt under load.
    fn warn_of_settings(&mut self) {
        const LOCKS: i64 = 1_024;
        let locks =
            self.number("SELECT CAST(current_setting('max_pred_locks_per_transaction') AS BIGINT)");
        if let Ok(locks) = locks
            && locks < LOCKS
        {
            tracing::info!(
                locks,
                wanted = LOCKS,
                "max_pred_locks_per_transaction of the database is low: writes will be retried \
                 more often"
            );
        }
    }
}

fn references<'a>(params: &'a [Param<'a>]) -> Vec<&'a (dyn ToSql + Sync)> {
    params.iter().map(|param| -> &(dyn ToSql + Sync) { param }).collect()
}

fn failure(error: postgres::Error) -> Failure {
    let state = match error.code() {
        Some(code)
            if *code == SqlState::T_R_SERIALIZATION_FAILURE
                || *code == SqlState::T_R_DEADLOCK_DETECTED =>
        {
            State::Conflict
        }
        // The server ends connections with a code of this class, and when it starts or stops.
        Some(code) if code.code().starts_with("57P") || code.code().starts_with("08") => {
            State::Lost
        }
        Some(_) => State::Ended,
        None => State::Lost,
    };
    Failure { error: error.into(), state }
}

//! Closures on their way to the threads that run them.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, oneshot};

use crate::tx::{Shared, Tx};
use crate::{Error, Row};

/// A closure whose types are hidden: the threads of an engine run closures of every type.
///
/// This trait exists because the result has a type of its own, which only the caller knows.
pub(crate) trait Work: Send {
    /// Runs the closure, also repeatedly, and keeps what it returned last. True if that is a
    /// success. A panic is caught and kept as an error.
    fn run(&mut self, tx: &mut Tx<'_>) -> bool;

    /// Tells the caller the kept result, or `error` instead.
    fn answer(self: Box<Self>, error: Option<Error>);

    /// True when nobody waits for the answer any more.
    fn abandoned(&self) -> bool;
}

struct Closure<F, T, E> {
    closure: F,
    kept: Option<Result<T, E>>,
    caller: oneshot::Sender<Result<T, E>>,
}

/// Makes a closure into work; the result arrives at the receiver.
pub(crate) fn closure<T, E, F>(closure: F) -> (Box<dyn Work>, oneshot::Receiver<Result<T, E>>)
where
    F: Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    T: Send + 'static,
    E: From<Error> + Send + 'static,
{
    let (caller, result) = oneshot::channel();
    (Box::new(Closure { closure, kept: None, caller }), result)
}

impl<F, T, E> Work for Closure<F, T, E>
where
    F: Fn(&mut Tx<'_>) -> Result<T, E> + Send,
    T: Send,
    E: From<Error> + Send,
{
    fn run(&mut self, tx: &mut Tx<'_>) -> bool {
        let result = caught(|| (self.closure)(tx));
        self.kept.insert(result).is_ok()
    }

    fn answer(self: Box<Self>, error: Option<Error>) {
        let result = match (error, self.kept) {
            (Some(error), _) => Err(error.into()),
            (None, Some(result)) => result,
            (None, None) => Err(Error::internal("the closure did not run").into()),
        };
        // A caller that went away is no error: what was done stays done.
        let _ = self.caller.send(result);
    }

    fn abandoned(&self) -> bool {
        self.caller.is_closed()
    }
}

/// Runs a closure; a panic becomes an error of this call alone.
///
/// Nothing outside can be left half changed: a closure changes the transaction only, and that
/// is rolled back.
pub(crate) fn caught<T, E: From<Error>>(run: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        Err(Error::internal(format!("a closure panicked: {}", panic_text(&*panic))).into())
    })
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text,
        (None, None) => "without a text",
    }
}

/// Work that waits for a thread: first in, first out, bounded.
pub(crate) struct Queue<J> {
    state: Mutex<State<J>>,
    changed: Condvar,
    room: Semaphore,
    shared: Arc<Shared>,
}

struct State<J> {
    waiting: VecDeque<J>,
    closed: bool,
}

impl<J> Queue<J> {
    pub(crate) fn new(capacity: usize, shared: Arc<Shared>) -> Queue<J> {
        Queue {
            state: Mutex::new(State { waiting: VecDeque::new(), closed: false }),
            changed: Condvar::new(),
            room: Semaphore::new(capacity),
            shared,
        }
    }

    /// Adds work, once there is room. Fails when the queue is closed.
    pub(crate) async fn push(&self, job: J) -> Result<(), Error> {
        let closed = || Error::unavailable("the database is closed");
        self.room.acquire().await.map_err(|_| closed())?.forget();
        let mut state = self.lock();
        if state.closed {
            return Err(closed());
        }
        state.waiting.push_back(job);
        self.shared.metrics.queue_depth.fetch_add(1, Ordering::Relaxed);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for work and takes the oldest. `None` when the queue is closed and empty.
    pub(crate) fn take(&self) -> Option<J> {
        let mut state = self.wait();
        let job = state.waiting.pop_front()?;
        self.taken(1);
        Some(job)
    }

    /// Waits for work and takes up to `most`, oldest first. When there is less than `hoped`,
    /// waits up to `patience` for more. Empty when the queue is closed and empty.
    pub(crate) fn take_many(&self, most: usize, hoped: usize, patience: Duration) -> Vec<J> {
        let mut state = self.wait();
        let end = Instant::now() + patience;
        while state.waiting.len() < hoped && !state.closed {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let woken = self.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        let count = state.waiting.len().min(most);
        let jobs = state.waiting.drain(..count).collect();
        self.taken(count);
        jobs
    }

    /// Waits for a time, or until the queue is closed.
    pub(crate) fn pause(&self, time: Duration) {
        let end = Instant::now() + time;
        let mut state = self.lock();
        while !state.closed {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let woken = self.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Takes no more work. What waits is still done.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.room.close();
        self.changed.notify_all();
    }

    /// Takes no more work and drops what waits: its callers are told.
    pub(crate) fn abandon(&self) {
        self.close();
        let waiting = std::mem::take(&mut self.lock().waiting);
        self.taken(waiting.len());
    }

    fn wait(&self) -> MutexGuard<'_, State<J>> {
        let state = self.lock();
        let idle = |state: &mut State<J>| state.waiting.is_empty() && !state.closed;
        self.changed.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner)
    }

    fn taken(&self, count: usize) {
        self.room.add_permits(count);
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.shared.metrics.queue_depth.fetch_sub(count, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Calls a function with a row: names the type that both engines call.
pub(crate) type Map<'a, T> = &'a mut dyn FnMut(&Row<'_>) -> Result<T, Error>;

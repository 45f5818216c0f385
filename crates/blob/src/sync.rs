//! Syncs that many callers share.
//!
//! A directory entry survives a power cut only when its directory was synced after the entry
//! was made. Whoever waits while a sync runs came too late for it, so all of them are served
//! together by the next one: a thousand files cost a few syncs and not a thousand.
//!
//! **Invariant:** a caller is served only by a sync that began after it asked.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use tokio::sync::oneshot;

/// How many syncs a [`DirectoryStore`](crate::DirectoryStore) has made, for the metrics.
#[derive(Debug, Default)]
pub struct Syncs {
    files: AtomicU64,
    folders: AtomicU64,
    /// For tests: how many are left to the one that fails. 0: none.
    failing_file: AtomicU64,
    failing_folder: AtomicU64,
    injected: AtomicU64,
}

impl Syncs {
    /// Syncs of objects: one for each that was written.
    pub fn files(&self) -> u64 {
        self.files.load(Ordering::Relaxed)
    }

    /// Syncs of folders, which concurrent writers share.
    pub fn folders(&self) -> u64 {
        self.folders.load(Ordering::Relaxed)
    }

    /// For tests: the `nth` sync of an object from now on fails, once; the first is 1, and 0
    /// heals.
    pub fn fail_file(&self, nth: u64) {
        self.failing_file.store(nth, Ordering::SeqCst);
    }

    /// For tests: the `nth` sync of a folder from now on fails, once; the first is 1, and 0
    /// heals. The process is ended then, unless the store was opened otherwise.
    pub fn fail_folder(&self, nth: u64) {
        self.failing_folder.store(nth, Ordering::SeqCst);
    }

    /// For tests: failures that were injected so far.
    pub fn injected(&self) -> u64 {
        self.injected.load(Ordering::SeqCst)
    }

    /// Counts the sync of an object.
    pub(crate) fn file(&self) -> Result<(), Errno> {
        self.files.fetch_add(1, Ordering::Relaxed);
        self.fail_if(count_down(&self.failing_file))
    }

    /// Counts the sync of a folder.
    pub(crate) fn folder(&self) -> Result<(), Errno> {
        self.folders.fetch_add(1, Ordering::Relaxed);
        self.fail_if(count_down(&self.failing_folder))
    }

    fn fail_if(&self, failing: bool) -> Result<(), Errno> {
        if failing {
            self.injected.fetch_add(1, Ordering::SeqCst);
            return Err(Errno::IO);
        }
        Ok(())
    }
}

/// Counts one; true for the one that was asked for.
fn count_down(left: &AtomicU64) -> bool {
    left.load(Ordering::SeqCst) > 0 && left.fetch_sub(1, Ordering::SeqCst) == 1
}

/// A sync that callers share. Clones are the same one.
#[derive(Clone)]
pub(crate) struct SharedSync {
    sync: Arc<dyn Fn() -> io::Result<()> + Send + Sync>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    running: bool,
    waiting: Vec<oneshot::Sender<bool>>,
}

/// A sync that was asked for. Dropping it loses nothing but the answer.
pub(crate) struct Asked(oneshot::Receiver<bool>);

impl SharedSync {
    /// `sync` blocks; it runs in the runtime's pool for such work, once at a time.
    pub(crate) fn new(sync: impl Fn() -> io::Result<()> + Send + Sync + 'static) -> SharedSync {
        SharedSync { sync: Arc::new(sync), state: Arc::default() }
    }

    /// Asks for a sync that begins after now. Never blocks, so the caller may do other work
    /// before it waits. Needs a tokio runtime around it.
    pub(crate) fn ask(&self) -> Asked {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state();
        state.waiting.push(sender);
        if !state.running {
            state.running = true;
            let this = self.clone();
            tokio::task::spawn_blocking(move || this.run());
        }
        Asked(receiver)
    }

    /// Syncs until nobody waits.
    fn run(&self) {
        while let Some(waiting) = self.take_waiting() {
            let synced = (self.sync)().is_ok();
            for sender in waiting {
                // A caller that has gone away does not want to know.
                let _ = sender.send(synced);
            }
        }
    }

    fn take_waiting(&self) -> Option<Vec<oneshot::Sender<bool>>> {
        let mut state = self.state();
        state.running = !state.waiting.is_empty();
        state.running.then(|| std::mem::take(&mut state.waiting))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is locked, and a list of callers is whole after each step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asked {
    /// Waits for the sync.
    pub(crate) async fn done(self) -> io::Result<()> {
        match self.0.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(io::Error::other("the folder was not synced")),
            // Only when the runtime is being shut down.
            Err(_) => Err(io::Error::other("the folder's sync did not run")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A sync that waits for a word before it ends, and says when it has begun.
    struct Gate {
        shared: SharedSync,
        begun: mpsc::Receiver<()>,
        end: mpsc::Sender<io::Result<()>>,
        count: Arc<AtomicU64>,
    }

    fn gate() -> Gate {
        let (begin, begun) = mpsc::channel();
        let (end, ends) = mpsc::channel();
        let ends = Mutex::new(ends);
        let count = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&count);
        let shared = SharedSync::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            begin.send(()).unwrap();
            ends.lock().unwrap().recv().unwrap()
        });
        Gate { shared, begun, end, count }
    }

    #[tokio::test]
    async fn who_comes_during_a_sync_waits_for_the_next_and_all_share_it() {
        let gate = gate();
        let first = gate.shared.ask();
        gate.begun.recv().unwrap();
        let mut late: Vec<Asked> = (0..1_000).map(|_| gate.shared.ask()).collect();
        gate.end.send(Ok(())).unwrap();
        first.done().await.unwrap();
        gate.begun.recv().unwrap();
        assert!(late[0].0.try_recv().is_err(), "the first sync began before this caller asked");
        gate.end.send(Ok(())).unwrap();
        for asked in late {
            asked.done().await.unwrap();
        }
        assert_eq!(gate.count.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_failed_sync_fails_those_it_served_and_no_others() {
        let gate = gate();
        let first = gate.shared.ask();
        gate.begun.recv().unwrap();
        let second = gate.shared.ask();
        gate.end.send(Err(io::Error::other("broken"))).unwrap();
        first.done().await.unwrap_err();
        gate.end.send(Ok(())).unwrap();
        second.done().await.unwrap();
    }

    #[tokio::test]
    async fn a_caller_that_has_gone_away_harms_nobody() {
        let gate = gate();
        drop(gate.shared.ask());
        let second = gate.shared.ask();
        gate.end.send(Ok(())).unwrap();
        gate.end.send(Ok(())).unwrap();
        second.done().await.unwrap();
    }
}

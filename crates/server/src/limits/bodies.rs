//! One budget of memory for all request bodies that are held whole.
//!
//! **Invariant:** nobody holds up another for long. Who waits and holds least is served next, so
//! many bodies of one caller do not keep a second caller out; among equals the first one is. A
//! body that has its memory must come at a pace while others wait ([`Pace`]).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::network;
use crate::metrics::Metrics;

/// Bodies up to this many bytes are not counted: 4,096 connections hold 256 MiB of them at the
/// very worst, and the usual request would wait behind large ones for nothing.
pub const UNCOUNTED_BODY: u64 = 64 << 10;

/// While others wait, a body that was waited for so long must have come at least so fast.
const PACE_TIME: Duration = Duration::from_secs(5);
const LEAST_BYTES_A_SECOND: u64 = 64 << 10;

/// Memory for request bodies that are held whole, by whom they are of.
#[derive(Clone)]
pub struct BodyBudget(Arc<Shared>);

struct Shared {
    all: u64,
    state: Mutex<State>,
    metrics: Arc<Metrics>,
}

struct State {
    free: u64,
    /// Bytes that each owner has now; none is 0.
    held: HashMap<Owner, u64>,
    /// In the order in which they came.
    waiting: Vec<Waiter>,
    last_id: u64,
}

struct Waiter {
    id: u64,
    owner: Owner,
    bytes: u64,
    granted: oneshot::Sender<()>,
}

/// Who a body is of: an access key that may only be claimed so far, at an address. So a stranger
/// who has seen somebody's key id does not take that caller's turns.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    address: IpAddr,
    access_key_id: String,
}

impl Owner {
    pub fn new(address: IpAddr, access_key_id: &str) -> Owner {
        Owner { address: network(address), access_key_id: access_key_id.to_owned() }
    }
}

/// Memory that a body may use until this is dropped.
pub struct BodyMemory {
    /// `None` if it is not counted.
    share: Option<Share>,
}

struct Share {
    budget: BodyBudget,
    owner: Owner,
    bytes: u64,
}

impl BodyBudget {
    /// A budget of `limits.body_memory` bytes.
    pub fn new(bytes: u64, metrics: Arc<Metrics>) -> BodyBudget {
        let state = State { free: bytes, held: HashMap::new(), waiting: Vec::new(), last_id: 0 };
        BodyBudget(Arc::new(Shared { all: bytes, state: Mutex::new(state), metrics }))
    }

    /// Waits until a body of this many bytes may be read into memory. The caller has refused
    /// bodies over its own limit; one over the whole budget takes all of it.
    pub async fn reserve(&self, owner: &Owner, bytes: u64) -> BodyMemory {
        if bytes <= UNCOUNTED_BODY {
            return BodyMemory { share: None };
        }
        let bytes = bytes.min(self.0.all);
        let (id, grant) = self.queue(owner, bytes);
        let turn = Turn { budget: self, id, owner, bytes, is_over: false };
        turn.wait(grant).await
    }

    fn queue(&self, owner: &Owner, bytes: u64) -> (u64, oneshot::Receiver<()>) {
        let (granted, grant) = oneshot::channel();
        let mut state = self.state();
        state.last_id += 1;
        let id = state.last_id;
        state.waiting.push(Waiter { id, owner: owner.clone(), bytes, granted });
        self.serve(state);
        (id, grant)
    }

    /// Whether somebody waits for memory.
    pub fn is_wanted(&self) -> bool {
        !self.state().waiting.is_empty()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives memory to whose turn it is, as long as there is enough for that one.
    fn serve(&self, mut state: MutexGuard<'_, State>) {
        while let Some(place) = state.next()
            && let Some(bytes) = state.waiting.get(place).map(|waiter| waiter.bytes)
            && let Some(free) = state.free.checked_sub(bytes)
        {
            let waiter = state.waiting.remove(place);
            state.free = free;
            *state.held.entry(waiter.owner).or_default() += waiter.bytes;
            // One that is gone gives it back when it sees that it was its turn.
            let _ = waiter.granted.send(());
        }
        let waiting = i64::try_from(state.waiting.len()).unwrap_or(i64::MAX);
        self.0.metrics.bodies_waiting.set(waiting);
    }

    fn give_back(&self, owner: &Owner, bytes: u64) {
        let mut state = self.state();
        state.free += bytes;
        if let Some(held) = state.held.get_mut(owner) {
            *held -= bytes;
            if *held == 0 {
                state.held.remove(owner);
            }
        }
        self.serve(state);
    }
}

impl State {
    /// Who is served next: the first of those whose owners hold least.
    fn next(&self) -> Option<usize> {
        let held = |waiter: &Waiter| self.held.get(&waiter.owner).copied().unwrap_or(0);
        let waiting = self.waiting.iter().enumerate();
        waiting.min_by_key(|(_, waiter)| held(waiter)).map(|(place, _)| place)
    }
}

/// A place among those that wait.
struct Turn<'a> {
    budget: &'a BodyBudget,
    id: u64,
    owner: &'a Owner,
    bytes: u64,
    is_over: bool,
}

impl Turn<'_> {
    async fn wait(mut self, grant: oneshot::Receiver<()>) -> BodyMemory {
        grant.await.expect("whoever waits is told before it is forgotten");
        self.is_over = true;
        let share =
            Share { budget: self.budget.clone(), owner: self.owner.clone(), bytes: self.bytes };
        BodyMemory { share: Some(share) }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let mut state = self.budget.state();
        let Some(place) = state.waiting.iter().position(|waiter| waiter.id == self.id) else {
            // It was its turn, and nobody was there to take it.
            drop(state);
            return self.budget.give_back(self.owner, self.bytes);
        };
        state.waiting.remove(place);
        self.budget.serve(state);
    }
}

impl Drop for BodyMemory {
    fn drop(&mut self) {
        if let Some(share) = &self.share {
            share.budget.give_back(&share.owner, share.bytes);
        }
    }
}

/// How long a body that has its memory was waited for. Time in which this process was busy with
/// something else is not the client's: each wait counts for so much at most.
#[derive(Default)]
pub(crate) struct Pace {
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// The longest that one wait counts for.
    pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(1);

    pub(crate) fn count(&mut self, waited: Duration, bytes: usize) {
        self.waited += waited.min(Self::LONGEST_WAIT);
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// Whether it is too slow for those who wait.
    pub(crate) fn is_too_slow(&self) -> bool {
        let least = LEAST_BYTES_A_SECOND.saturating_mul(self.waited.as_secs());
        self.waited >= PACE_TIME && self.bytes < least
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use futures::FutureExt as _;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn owner(name: &str) -> Owner {
        Owner::new(Ipv4Addr::LOCALHOST.into(), name)
    }

    fn budget(mib: u64) -> BodyBudget {
        BodyBudget::new(mib * MIB, Arc::new(Metrics::new()))
    }

    #[tokio::test]
    async fn bodies_of_one_owner_are_served_in_their_order() {
        let (budget, one) = (budget(4), owner("one"));
        let first = budget.reserve(&one, 3 * MIB).await;
        let mut large = Box::pin(budget.reserve(&one, 4 * MIB));
        assert!(large.as_mut().now_or_never().is_none());
        // It would fit beside the first, but the large one came before it.
        let mut small = Box::pin(budget.reserve(&one, MIB));
        assert!(small.as_mut().now_or_never().is_none());
        assert_eq!(budget.0.metrics.bodies_waiting.get(), 2);
        assert!(budget.is_wanted());
        // What is not counted does not wait.
        assert!(budget.reserve(&one, UNCOUNTED_BODY).now_or_never().is_some());

        drop(first);
        let large = large.await;
        assert!(small.as_mut().now_or_never().is_none());
        drop(large);
        drop(small.await);
        assert_eq!(budget.0.metrics.bodies_waiting.get(), 0);
        assert_eq!(budget.state().free, 4 * MIB);
        assert!(budget.state().held.is_empty());
    }

    #[tokio::test]
    async fn who_holds_least_is_next() {
        let (budget, many, other) = (budget(4), owner("many"), owner("other"));
        let mut held =
            vec![budget.reserve(&many, 2 * MIB).await, budget.reserve(&many, 2 * MIB).await];
        let mut waiting: Vec<_> = (0..100).map(|_| Box::pin(budget.reserve(&many, MIB))).collect();
        for turn in &mut waiting {
            assert!(turn.as_mut().now_or_never().is_none());
        }
        let mut late = Box::pin(budget.reserve(&other, 2 * MIB));
        assert!(late.as_mut().now_or_never().is_none());
        held.pop();
        let _late = late.as_mut().now_or_never().unwrap();
        assert!(waiting[1].as_mut().now_or_never().is_none());
    }

    #[tokio::test]
    async fn one_that_goes_away_while_it_waits_takes_nothing() {
        let (budget, one) = (budget(4), owner("one"));
        let first = budget.reserve(&one, 4 * MIB).await;
        let mut waiting = Box::pin(budget.reserve(&one, 4 * MIB));
        assert!(waiting.as_mut().now_or_never().is_none());
        // It lets pass who came after it.
        let mut late = Box::pin(budget.reserve(&one, MIB));
        assert!(late.as_mut().now_or_never().is_none());
        drop(waiting);
        assert_eq!(budget.0.metrics.bodies_waiting.get(), 1);
        drop(first);
        // Its turn has come, and nobody looks: it is not lost.
        drop(late);
        assert!(budget.reserve(&one, 4 * MIB).now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_body_over_the_budget_takes_all_of_it() {
        let (budget, one) = (budget(1), owner("one"));
        let all = budget.reserve(&one, 28 * MIB).now_or_never().unwrap();
        assert!(budget.reserve(&one, 65 << 10).now_or_never().is_none());
        drop(all);
        assert!(budget.reserve(&one, 65 << 10).now_or_never().is_some());
    }

    #[test]
    fn a_pace_is_kept() {
        let second = Duration::from_secs(1);
        let mut pace = Pace::default();
        for _ in 0..4 {
            pace.count(second, 1);
        }
        assert!(!pace.is_too_slow());
        pace.count(60 * second, 1);
        assert!(pace.is_too_slow());
        pace.count(second / 10, 1 << 20);
        assert!(!pace.is_too_slow());
        // One wait, however long, is no slowness by itself.
        let mut pace = Pace::default();
        pace.count(60 * second, 0);
        assert!(!pace.is_too_slow());
    }
}

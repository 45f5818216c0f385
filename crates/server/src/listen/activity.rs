//! What happens on a connection, and when it must end.
//!
//! The socket, the requests and the answers leave marks here; one timer per connection reads
//! them when a deadline could have passed. So nothing is armed or cancelled per request.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Limits;

/// How long a peer may go on sending after our last word, which it would not see if we closed
/// the connection under what it sends.
const LINGER: Duration = Duration::from_secs(5);

/// Marks of one connection. Times are milliseconds since it began, plus one; 0 is "not now".
#[derive(Debug)]
pub(super) struct Activity {
    began: Instant,
    /// HTTP/2 has frames between requests, so its bytes do not begin a head.
    is_http2: AtomicBool,
    has_had_request: AtomicBool,
    /// A body was refused that the peer may still be sending.
    has_unread: AtomicBool,
    under_way: AtomicU32,
    /// When the last request ended, or the connection began.
    idle_since: AtomicU64,
    /// When the first byte after that came.
    head_since: AtomicU64,
    /// Since when the socket takes no bytes.
    blocked_since: AtomicU64,
    /// Since when we have nothing to say and only read what is still on its way.
    lingers_since: AtomicU64,
    answers: Mutex<Vec<Arc<Taken>>>,
}

/// When the connection last took a part of an answer; 0 while the part is being made.
#[derive(Debug)]
pub(super) struct Taken(AtomicU64);

/// A request that is under way until this is dropped.
pub(super) struct UnderWay(Arc<Activity>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.idle_since.store(self.0.now(), Ordering::Relaxed);
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the timer is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Look again then; nothing can have passed before.
    Wait(Instant),
    /// Nothing was asked for long enough.
    CloseIdle,
    /// The peer has used up its time, for this reason.
    End(&'static str),
}

impl Activity {
    pub(super) fn new() -> Activity {
        Activity {
            began: Instant::now(),
            is_http2: AtomicBool::new(false),
            has_had_request: AtomicBool::new(false),
            has_unread: AtomicBool::new(false),
            under_way: AtomicU32::new(0),
            idle_since: AtomicU64::new(1),
            head_since: AtomicU64::new(0),
            blocked_since: AtomicU64::new(0),
            lingers_since: AtomicU64::new(0),
            answers: Mutex::default(),
        }
    }

    pub(super) fn set_http2(&self) {
        self.is_http2.store(true, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    /// Bytes came from the peer.
    pub(super) fn has_read(&self) {
        if self.under_way.load(Ordering::Relaxed) == 0 {
            self.mark(&self.head_since);
        }
    }

    /// The socket took bytes, or cannot take more.
    pub(super) fn has_written(&self, is_blocked: bool) {
        if is_blocked {
            self.mark(&self.blocked_since);
        } else if self.blocked_since.load(Ordering::Relaxed) != 0 {
            self.blocked_since.store(0, Ordering::Relaxed);
        }
    }

    /// Sets a mark to now unless it is set.
    fn mark(&self, mark: &AtomicU64) {
        if mark.load(Ordering::Relaxed) == 0 {
            mark.store(self.now(), Ordering::Relaxed);
        }
    }

    /// A body was refused. Over HTTP/2 that is told by a frame, and nothing has to be read.
    pub(super) fn body_is_unread(&self) {
        if !self.is_http2.load(Ordering::Relaxed) {
            self.has_unread.store(true, Ordering::Relaxed);
        }
    }

    /// Our last word is said. Whether to wait until the peer has heard it.
    pub(super) fn lingers(&self) -> bool {
        let lingers = self.has_unread.load(Ordering::Relaxed);
        if lingers {
            self.mark(&self.lingers_since);
        }
        lingers
    }

    /// A head is complete. The request is under way until what this returns is dropped.
    pub(super) fn request_begins(self: &Arc<Self>) -> UnderWay {
        self.has_had_request.store(true, Ordering::Relaxed);
        self.under_way.fetch_add(1, Ordering::Relaxed);
        self.head_since.store(0, Ordering::Relaxed);
        UnderWay(self.clone())
    }

    /// Whether the peer of an HTTP/1 connection is owed nothing.
    pub(super) fn is_owed_nothing(&self) -> bool {
        !self.is_http2.load(Ordering::Relaxed)
            && self.under_way.load(Ordering::Relaxed) == 0
            && get(&self.blocked_since) == 0
            && get(&self.lingers_since) == 0
    }

    /// An answer with a body begins. Over HTTP/1 a body in memory needs no mark of its own,
    /// because the socket tells when it is not taken.
    pub(super) fn answer_begins(&self, is_stream: bool) -> Option<Arc<Taken>> {
        if !is_stream && !self.is_http2.load(Ordering::Relaxed) {
            return None;
        }
        let taken = Arc::new(Taken(AtomicU64::new(self.now())));
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).push(taken.clone());
        Some(taken)
    }

    pub(super) fn answer_ends(&self, taken: &Arc<Taken>) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.retain(|it| !Arc::ptr_eq(it, taken));
    }

    /// A part of an answer was handed over, or its maker has none yet.
    pub(super) fn answer_goes_on(&self, taken: &Taken, is_handed_over: bool) {
        taken.0.store(if is_handed_over { self.now() } else { 0 }, Ordering::Relaxed);
    }

    /// Looks at all marks.
    pub(super) fn judge(&self, limits: &Limits) -> Verdict {
        let now = self.now();
        let mut clock = Deadlines { now, next: now + millis(limits.header_time) };
        if clock.is_up(get(&self.lingers_since), LINGER) {
            return Verdict::End("lingering");
        }
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut unread = vec![get(&self.blocked_since)];
        unread.extend(answers.iter().map(|taken| get(&taken.0)));
        drop(answers);
        if unread.into_iter().any(|mark| clock.is_up(mark, limits.body_stall)) {
            return Verdict::End("slow_reader");
        }
        if self.under_way.load(Ordering::Relaxed) == 0 {
            let idle = get(&self.idle_since);
            let head = if self.has_had_request.load(Ordering::Relaxed) {
                // Frames of HTTP/2 may come at any time and begin nothing.
                if self.is_http2.load(Ordering::Relaxed) { 0 } else { get(&self.head_since) }
            } else {
                idle
            };
            if clock.is_up(head, limits.header_time) {
                return Verdict::End("slow_head");
            }
            if clock.is_up(idle, limits.idle_time) {
                return Verdict::CloseIdle;
            }
        }
        Verdict::Wait(self.began + Duration::from_millis(clock.next.max(now + 1)))
    }
}

/// Reads marks, and remembers when the first of them will be up. It never looks further than the
/// shortest time for a head, so a mark that is set later is seen in time.
struct Deadlines {
    now: u64,
    next: u64,
}

impl Deadlines {
    fn is_up(&mut self, mark: u64, time: Duration) -> bool {
        if mark == 0 {
            // It may be set at any moment from now on.
            self.next = self.next.min(self.now.saturating_add(millis(time)));
            return false;
        }
        let end = mark.saturating_add(millis(time));
        self.next = self.next.min(end);
        end <= self.now
    }
}

fn get(mark: &AtomicU64) -> u64 {
    mark.load(Ordering::Relaxed)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 2)
}

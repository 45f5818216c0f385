//! What a process remembers of its uploads: the appends under way, and names that wait for one.
//!
//! Nothing here matters after a restart: an append that dies is made again, and a name that is
//! forgotten goes when it is due.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bonded_blob::ObjectName;
use uuid::Uuid;

use super::MICROS;
use crate::{Error, Result};

/// A client may come back before its dead connection is noticed, so two appends of one upload
/// may run at once. The first one that is acknowledged wins.
const AT_ONCE: usize = 2;
/// First names that are kept at most; without one, an append registers its own.
const MOST_FIRST_NAMES: usize = 10_000;
/// A first name is used within this time, so that an append that uses it late is not cut short
/// by the removal of its object.
const FIRST_NAME_LIFETIME: i64 = 600 * MICROS;

/// Appends under way in this process, by upload.
#[derive(Clone, Default)]
pub struct Appends(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    running: HashMap<Uuid, usize>,
    first_names: HashMap<Uuid, FirstName>,
}

#[derive(Clone, Copy)]
struct FirstName {
    object: ObjectName,
    registered_at: i64,
}

/// An append that is under way until this is dropped.
pub(super) struct Running {
    appends: Appends,
    upload_id: Uuid,
}

impl Appends {
    /// How many appends are under way.
    pub fn len(&self) -> usize {
        self.state().running.values().sum()
    }

    pub fn is_empty(&self) -> bool {
        self.state().running.is_empty()
    }

    /// Counts one more append of an upload.
    ///
    /// # Errors
    /// `TooManyRequests` for the third.
    pub(super) fn begin(&self, upload_id: Uuid) -> Result<Running> {
        let mut state = self.state();
        let running = state.running.entry(upload_id).or_default();
        if *running == AT_ONCE {
            return Err(Error::TooManyRequests(format!(
                "At most {AT_ONCE} appends to an upload may be under way"
            )));
        }
        *running += 1;
        drop(state);
        Ok(Running { appends: self.clone(), upload_id })
    }

    /// Keeps the name that was registered when an upload began, for its first append.
    pub(super) fn keep_first(&self, upload_id: Uuid, object: ObjectName, registered_at: i64) {
        let names = &mut self.state().first_names;
        if names.len() >= MOST_FIRST_NAMES {
            names.retain(|_, name| name.is_fresh(registered_at));
        }
        if names.len() < MOST_FIRST_NAMES {
            names.insert(upload_id, FirstName { object, registered_at });
        }
    }

    /// The name that was registered when an upload began: once, and not late.
    pub(super) fn take_first(&self, upload_id: &Uuid, now: i64) -> Option<ObjectName> {
        let name = self.state().first_names.remove(upload_id)?;
        name.is_fresh(now).then_some(name.object)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FirstName {
    fn is_fresh(self, now: i64) -> bool {
        now < self.registered_at + FIRST_NAME_LIFETIME
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.appends.state();
        match state.running.get_mut(&self.upload_id) {
            Some(running) if *running > 1 => *running -= 1,
            _ => {
                state.running.remove(&self.upload_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_append_is_one_too_many() {
        let appends = Appends::default();
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let first = appends.begin(one).unwrap();
        let second = appends.begin(one).unwrap();
        assert!(matches!(appends.begin(one), Err(Error::TooManyRequests(_))));
        let elsewhere = appends.begin(other).unwrap();
        assert_eq!(appends.len(), 3);
        drop(first);
        let third = appends.begin(one).unwrap();
        assert!(appends.begin(one).is_err());
        drop((second, third, elsewhere));
        assert!(appends.is_empty());
    }

    #[test]
    fn a_first_name_is_given_once_and_not_late() {
        let appends = Appends::default();
        let (id, object) = (Uuid::from_u128(1), ObjectName([7; 16]));
        appends.keep_first(id, object, 1_000);
        assert_eq!(appends.take_first(&id, 2_000), Some(object));
        assert_eq!(appends.take_first(&id, 2_000), None);
        appends.keep_first(id, object, 1_000);
        assert_eq!(appends.take_first(&id, 1_000 + FIRST_NAME_LIFETIME), None);
    }

    #[test]
    fn first_names_that_nobody_takes_are_forgotten() {
        let appends = Appends::default();
        for number in 0..MOST_FIRST_NAMES + 5 {
            let id = Uuid::from_u128(u128::try_from(number).unwrap());
            appends.keep_first(id, ObjectName([0; 16]), 0);
        }
        assert_eq!(appends.state().first_names.len(), MOST_FIRST_NAMES);
        appends.keep_first(Uuid::nil(), ObjectName([1; 16]), FIRST_NAME_LIFETIME);
        assert_eq!(appends.state().first_names.len(), 1);
    }
}

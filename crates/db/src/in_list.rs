//! Statements over a set of keys: `IN ($2, $3, …)`.
//!
//! A list is padded to a power of two by repeating its last key, so that a statement exists in
//! ten lengths at most and every connection has it prepared.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::Param;

/// The most keys of one statement.
pub(crate) const LIMIT: usize = 512;

/// One statement with its parameters.
pub(crate) struct List<'a> {
    pub(crate) sql: &'static str,
    pub(crate) params: Vec<Param<'a>>,
}

/// The statements that ask for all `keys`, each key once.
pub(crate) fn lists<'a>(
    sql: &'static str,
    params: &'a [Param<'a>],
    keys: &[Param<'a>],
) -> Vec<List<'a>> {
    let mut keys = keys.to_vec();
    keys.sort_unstable();
    keys.dedup();
    keys.chunks(LIMIT).map(|chunk| list(sql, params, chunk)).collect()
}

fn list<'a>(sql: &'static str, params: &[Param<'a>], keys: &[Param<'a>]) -> List<'a> {
    let length = keys.len().next_power_of_two();
    let last = keys.last().copied().unwrap_or(Param::Null);
    let mut all = params.to_vec();
    all.extend_from_slice(keys);
    all.resize(params.len() + length, last);
    List { sql: expanded(sql, params.len(), length), params: all }
}

/// The text of a statement with so many keys. The texts are kept for ever, because statements
/// are known by them; there are as many as statements in the source times ten.
fn expanded(sql: &'static str, params: usize, length: usize) -> &'static str {
    static TEXTS: OnceLock<Mutex<HashMap<(&'static str, usize), &'static str>>> = OnceLock::new();
    let texts = TEXTS.get_or_init(Mutex::default);
    let mut texts = texts.lock().unwrap_or_else(PoisonError::into_inner);
    texts.entry((sql, length)).or_insert_with(|| {
        let numbers: Vec<String> =
            (params + 1..=params + length).map(|number| format!("${number}")).collect();
        String::leak(sql.replace("{keys}", &numbers.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SQL: &str = "SELECT a FROM t WHERE r = $1 AND a IN ({keys})";

    fn lengths(keys: usize) -> Vec<usize> {
        let keys: Vec<Param<'_>> = (0..keys).map(|key| Param::Int(key.cast_signed() as i64)).collect();
        lists(SQL, &[Param::Int(7)], &keys).iter().map(|list| list.params.len() - 1).collect()
    }

    #[test]
    fn a_list_is_padded_with_its_last_key() {
        let keys = [Param::Int(3), Param::Int(1), Param::Int(2), Param::Int(2)];
        let lists = lists(SQL, &[Param::Int(7)], &keys);
        assert_eq!(lists.len(), 1);
        assert_eq!(lists[0].sql, "SELECT a FROM t WHERE r = $1 AND a IN ($2, $3, $4, $5)");
        let values = [7, 1, 2, 3, 3].map(Param::Int);
        assert_eq!(lists[0].params, values);
    }

    #[test]
    fn many_keys_are_several_statements() {
        assert_eq!(lengths(0), Vec::<usize>::new());
        assert_eq!(lengths(1), [1]);
        assert_eq!(lengths(512), [512]);
        assert_eq!(lengths(513), [512, 1]);
        assert_eq!(lengths(1500), [512, 512, 512]);
    }

    #[test]
    fn a_text_is_made_once() {
        assert!(std::ptr::eq(expanded(SQL, 1, 8), expanded(SQL, 1, 8)));
    }
}

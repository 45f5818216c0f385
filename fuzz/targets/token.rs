//! Tokens, links and page tokens: nothing opens but what was sealed.

#![no_main]

use std::sync::LazyLock;

use bonded_account::keys::{KeyRing, Link, PageToken, RootKey, Token, token_key_context};
use bonded_db::{RootKeyRow, TokenKeyRow};
use libfuzzer_sys::fuzz_target;

static KEYS: LazyLock<KeyRing> = LazyLock::new(|| {
    let root = RootKey::generate();
    let row = RootKeyRow { id: 1, check_value: root.check_value() };
    let keys = KeyRing::new(&[root], &[row]).expect("the row is the key's");
    let wrapped_key = keys.seal_root(&token_key_context(1), &[7; 32]);
    let row = TokenKeyRow { id: 1, wrapped_key, created_at: 0, retired_at: None };
    keys.set_token_keys(&[row]).expect("the key was sealed under the ring's root");
    keys
});

fuzz_target!(|text: &str| {
    assert!(Token::open(&KEYS, text, 0).is_none());
    assert!(Link::open(&KEYS, text, 0).is_none());
    assert!(PageToken::open(&KEYS, text, "ListImages", "", 0).is_none());
});

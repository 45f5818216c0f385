//! Wildcards of mutability filters: `*` stands for any run of characters.

/// Whether all of a text fits a pattern. Costs at most pattern times text: there is one place to
/// go back to, the last star.
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut pieces = pieces.peekable();
    if pieces.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        match rest.split_once(piece) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, tried out in every way. Slow.
    fn defined(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], _) => text.is_empty(),
            ([b'*', rest @ ..], _) => (0..=text.len()).any(|taken| defined(rest, &text[taken..])),
            ([first, rest @ ..], [head, tail @ ..]) => first == head && defined(rest, tail),
            _ => false,
        }
    }

    #[test]
    fn stars() {
        for (pattern, text, expected) in [
            ("v1", "v1", true),
            ("v1", "v12", false),
            ("*", "", true),
            ("*", "anything", true),
            ("dev-*", "dev-", true),
            ("dev-*", "dev-1", true),
            ("dev-*", "x-dev-1", false),
            ("*-rc*", "1.0-rc1", true),
            ("*-rc*", "1.0", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c", false),
            ("**", "x", true),
            (".", "x", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_cost_no_more_than_pattern_times_text() {
        let pattern = "a*".repeat(50_000) + "b";
        assert!(!matches(&pattern, &"a".repeat(100_000)));
    }

    proptest! {
        #[test]
        fn it_is_as_defined(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            let expected = defined(pattern.as_bytes(), text.as_bytes());
            prop_assert_eq!(matches(&pattern, &text), expected);
        }

        #[test]
        fn no_text_makes_it_panic(pattern: String, text: String) {
            matches(&pattern, &text);
        }
    }
}

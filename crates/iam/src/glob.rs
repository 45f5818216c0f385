//! Text with wildcards and policy variables, and the matcher that all patterns share.
//!
//! Patterns are written by users, so they never become regular expressions: the matcher
//! goes back to the last `*` only, and costs at most pattern × text.
//!
//! **Invariant:** what comes out of a variable is plain text. A tag value `*` matches a
//! star and nothing else.

use std::borrow::Cow;

use crate::Context;

/// One step of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Literal(Box<str>),
    /// `*`: any run of characters, also none.
    Any,
    /// `?`: exactly one character.
    One,
    /// The index of a variable, replaced by its value for each request.
    Variable(usize),
}

/// A policy variable: `${key}` or `${key, 'default'}`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Variable {
    key: Box<str>,
    default: Option<Box<str>>,
}

/// Which characters of a text mean something.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Syntax {
    /// `*` and `?` are wildcards.
    pub(crate) wildcards: bool,
    /// `${…}` is a variable: only under version 2012-10-17, and not everywhere.
    pub(crate) variables: bool,
    /// Case is ignored. The text that is matched must be in lower case already.
    pub(crate) fold: bool,
}

/// A text that was read under a [`Syntax`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    tokens: Box<[Token]>,
    variables: Box<[Variable]>,
    fold: bool,
}

impl Template {
    /// Reads a text. There is no bad text: what is not a whole `${…}` is plain.
    pub(crate) fn parse(text: &str, syntax: Syntax) -> Template {
        let mut reader = Reader { syntax, ..Reader::default() };
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            rest = match variable(rest).filter(|_| syntax.variables) {
                Some((inside, after)) => {
                    reader.variable(inside);
                    after
                }
                None => {
                    reader.character(first);
                    rest.get(first.len_utf8()..).unwrap_or_default()
                }
            };
        }
        reader.end_literal();
        Template {
            tokens: reader.tokens.into(),
            variables: reader.variables.into(),
            fold: syntax.fold,
        }
    }

    /// Whether this is one variable and nothing around it.
    pub(crate) fn is_one_variable(&self) -> bool {
        matches!(&*self.tokens, [Token::Variable(_)])
    }

    /// Whether every variable has a value or a default in this request.
    pub(crate) fn is_known(&self, context: &Context<'_>) -> bool {
        self.variables.is_empty() || self.values(context).is_some()
    }

    /// Whether the whole text fits. False if a variable has neither value nor default.
    pub(crate) fn matches(&self, text: &str, context: &Context<'_>) -> bool {
        match self.values(context) {
            Some(values) => run(&self.tokens, &values, text.as_bytes()).0,
            None => false,
        }
    }

    /// The values of the variables, or `None` if one has neither value nor default.
    fn values<'a>(&'a self, context: &'a Context<'_>) -> Option<Vec<Cow<'a, str>>> {
        // Most patterns have no variables, and an empty `Vec` allocates nothing.
        self.variables.iter().map(|variable| self.value(variable, context)).collect()
    }

    fn value<'a>(&self, variable: &'a Variable, context: &'a Context<'_>) -> Option<Cow<'a, str>> {
        let given = context.single(&variable.key);
        // An empty value takes the default too, but is a value if there is no default.
        let text = match (given, &variable.default) {
            (Some(""), Some(default)) => default,
            (Some(text), _) => text,
            (None, Some(default)) => default,
            (None, None) => return None,
        };
        Some(if self.fold { Cow::Owned(text.to_lowercase()) } else { Cow::Borrowed(text) })
    }
}

/// Splits a variable off the front of a text: what is inside the braces, and the rest.
fn variable(text: &str) -> Option<(&str, &str)> {
    let inside = text.strip_prefix("${")?;
    // A default may hold a brace, so with one the end is the quote and the brace together.
    let end = inside.find('}')?;
    match inside.find(", '") {
        Some(quote) if quote < end => {
            let start = quote + ", '".len();
            let length = inside.get(start..)?.find("'}")?;
            let inner = inside.get(..start + length + 1)?;
            Some((inner, inside.get(start + length + 2..)?))
        }
        _ => Some((inside.get(..end)?, inside.get(end + 1..)?)),
    }
}

/// Splits a text at its first five colons that are not inside a variable.
pub(crate) fn split_arn(text: &str, variables: bool) -> Vec<&str> {
    let (mut found, mut start, mut at) = (Vec::with_capacity(6), 0, 0);
    while let Some(first) = text.get(at..).and_then(|rest| rest.chars().next()) {
        let rest = text.get(at..).unwrap_or_default();
        match variable(rest).filter(|_| variables) {
            Some((_, after)) => at = text.len() - after.len(),
            None if first == ':' && found.len() < 5 => {
                found.push(text.get(start..at).unwrap_or_default());
                at += 1;
                start = at;
            }
            None => at += first.len_utf8(),
        }
    }
    found.push(text.get(start..).unwrap_or_default());
    found
}

#[derive(Default)]
struct Reader {
    syntax: Syntax,
    tokens: Vec<Token>,
    variables: Vec<Variable>,
    literal: String,
}

impl Reader {
    fn character(&mut self, character: char) {
        let token = match character {
            '*' if self.syntax.wildcards => Token::Any,
            '?' if self.syntax.wildcards => Token::One,
            _ if self.syntax.fold => return self.literal.extend(character.to_lowercase()),
            _ => return self.literal.push(character),
        };
        self.end_literal();
        // A run of stars means what one star means.
        if token != Token::Any || self.tokens.last() != Some(&Token::Any) {
            self.tokens.push(token);
        }
    }

    fn variable(&mut self, inside: &str) {
        if let "*" | "?" | "$" = inside {
            self.literal.push_str(inside);
            return;
        }
        let (key, default) = match inside.split_once(", '") {
            Some((key, quoted)) => (key, quoted.strip_suffix('\'')),
            None => (inside, None),
        };
        self.end_literal();
        self.tokens.push(Token::Variable(self.variables.len()));
        self.variables.push(Variable {
            key: key.to_ascii_lowercase().into(),
            default: default.map(Into::into),
        });
    }

    fn end_literal(&mut self) {
        if !self.literal.is_empty() {
            let text = std::mem::take(&mut self.literal);
            self.tokens.push(Token::Literal(text.into()));
        }
    }
}

/// Matches the whole text, and counts the steps it took.
///
/// After a mismatch only the last star takes one byte more; the stars before it have
/// found their first place, and a later place can never help. So each byte of the text
/// is the start of at most one try of each stretch between two stars.
fn run(tokens: &[Token], values: &[Cow<'_, str>], text: &[u8]) -> (bool, usize) {
    let (mut token, mut at, mut steps) = (0, 0, 0);
    let mut last_star: Option<(usize, usize)> = None;
    loop {
        steps += 1;
        let end = match tokens.get(token) {
            None if at == text.len() => return (true, steps),
            None => None,
            Some(Token::Any) => {
                token += 1;
                if token == tokens.len() {
                    return (true, steps);
                }
                last_star = Some((token, at));
                continue;
            }
            Some(Token::One) => one_character(text, at),
            Some(Token::Literal(literal)) => literal_at(text, at, literal),
            Some(Token::Variable(index)) => {
                values.get(*index).and_then(|value| literal_at(text, at, value))
            }
        };
        match (end, &mut last_star) {
            (Some(end), _) => {
                token += 1;
                at = end;
            }
            (None, Some((after, start))) if *start < text.len() => {
                *start += 1;
                token = *after;
                at = *start;
            }
            (None, _) => return (false, steps),
        }
    }
}

fn literal_at(text: &[u8], at: usize, literal: &str) -> Option<usize> {
    text.get(at..)?.starts_with(literal.as_bytes()).then_some(at + literal.len())
}

/// The end of the character at `at`, or `None` at the end or inside a character.
fn one_character(text: &[u8], at: usize) -> Option<usize> {
    let continues = |byte: &u8| byte & 0b1100_0000 == 0b1000_0000;
    let rest = text.get(at..)?;
    let first = rest.first()?;
    if continues(first) {
        return None;
    }
    Some(at + 1 + rest.iter().skip(1).take_while(|byte| continues(byte)).count())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GLOB: Syntax = Syntax { wildcards: true, variables: true, fold: false };

    fn check(pattern: &str, text: &str, expected: bool) {
        let template = Template::parse(pattern, GLOB);
        assert_eq!(template.matches(text, &Context::new()), expected, "{pattern} on {text}");
    }

    #[test]
    fn wildcards() {
        check("", "", true);
        check("", "a", false);
        check("*", "", true);
        check("a*c", "abbc", true);
        check("a*c", "abbcd", false);
        check("*ab", "aab", true);
        check("*a*b*", "xxaxxbxx", true);
        check("a?c", "ac", false);
        check("?", "é", true);
        check("??", "é", false);
        check("*?", "é", true);
        check("a**b", "ab", true);
        check("[a-z]{1}", "b", false);
    }

    #[test]
    fn variables_are_plain_text_once_replaced() {
        let mut context = Context::new();
        context.set("aws:PrincipalTag/Team", "*");
        let template = Template::parse("x/${aws:principaltag/team}/y", GLOB);
        assert!(template.matches("x/*/y", &context));
        assert!(!template.matches("x/red/y", &context));
    }

    #[test]
    fn defaults_and_escapes() {
        check("${a:b, 'c}d'}!", "c}d!", true);
        check("${a:b}", "", false);
        check("${*}${?}${$}", "*?$", true);
        check("${open", "${open", true);
        let mut context = Context::new();
        context.set("a:b", "");
        assert!(Template::parse("${a:b, 'c'}", GLOB).matches("c", &context));
        assert!(Template::parse("${a:b}", GLOB).matches("", &context));
        assert!(Template::parse("*${a:b}", GLOB).matches("xyz", &context));
    }

    #[test]
    fn without_variables_braces_are_text() {
        let template = Template::parse("${a:b}*", Syntax { variables: false, ..GLOB });
        assert!(template.matches("${a:b}x", &Context::new()));
    }

    #[test]
    fn arns_are_split_outside_variables() {
        let text = "arn:aws:${a:b, 'c:d'}:r:1:x:y:z";
        assert_eq!(split_arn(text, true), ["arn", "aws", "${a:b, 'c:d'}", "r", "1", "x:y:z"]);
        assert_eq!(split_arn("*", true), ["*"]);
    }

    /// The definition, as slow as it is plain.
    fn slow(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), _) => {
                slow(rest, text) || text.split_first().is_some_and(|(_, more)| slow(pattern, more))
            }
            (Some(('?', rest)), Some((_, more))) => slow(rest, more),
            (Some((a, rest)), Some((b, more))) => a == b && slow(rest, more),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab?*é]{0,8}", text in "[abé]{0,10}") {
            let expected = slow(
                &pattern.chars().collect::<Vec<_>>(),
                &text.chars().collect::<Vec<_>>(),
            );
            prop_assert_eq!(
                Template::parse(&pattern, GLOB).matches(&text, &Context::new()),
                expected
            );
        }

        #[test]
        fn costs_at_most_pattern_times_text(
            pattern in "([ab?*]|\\*a|\\*\\?){0,60}",
            text in "a{0,300}b?",
        ) {
            let template = Template::parse(&pattern, GLOB);
            let (_, steps) = run(&template.tokens, &[], text.as_bytes());
            prop_assert!(steps <= (pattern.len() + 2) * (text.len() + 2));
        }
    }
}

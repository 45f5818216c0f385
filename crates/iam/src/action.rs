//! The `Action` and `NotAction` elements.

use crate::Context;
use crate::glob::{Syntax, Template};

/// Which actions a statement speaks about.
#[derive(Clone, Debug)]
pub(crate) struct Actions {
    not: bool,
    patterns: Box<[Pattern]>,
}

#[derive(Clone, Debug)]
enum Pattern {
    /// `*`
    All,
    /// In lower case: actions ignore case.
    Glob(Template),
    /// Without service, without name, or with white space: no action is like that.
    Nothing,
}

impl Actions {
    pub(crate) fn compile(not: bool, patterns: &[String]) -> Actions {
        Actions { not, patterns: patterns.iter().map(|text| Pattern::compile(text)).collect() }
    }

    /// Whether these hold an action, given in lower case.
    pub(crate) fn matches(&self, action: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(action)) != self.not
    }
}

impl Pattern {
    fn compile(text: &str) -> Pattern {
        match text.split_once(':') {
            None if text == "*" => Pattern::All,
            Some((_, name)) if !name.is_empty() && !text.contains(char::is_whitespace) => {
                let syntax = Syntax { wildcards: true, variables: false, fold: true };
                Pattern::Glob(Template::parse(text, syntax))
            }
            _ => Pattern::Nothing,
        }
    }

    fn matches(&self, action: &str) -> bool {
        match self {
            Pattern::All => true,
            Pattern::Glob(pattern) => pattern.matches(action, &Context::new()),
            Pattern::Nothing => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(patterns: &[&str], not: bool, expected: bool) {
        let patterns: Vec<String> = patterns.iter().map(|&text| text.to_owned()).collect();
        let actions = Actions::compile(not, &patterns);
        assert_eq!(actions.matches("ecr:batchgetimage"), expected, "{patterns:?} not: {not}");
    }

    #[test]
    fn patterns() {
        check(&["*"], false, true);
        check(&["ecr:*"], false, true);
        check(&["ECR:batchGETimage"], false, true);
        check(&["*:*"], false, true);
        check(&["ecr:Batch*Image"], false, true);
        check(&["ecr:BatchGetImage?"], false, false);
        check(&["ecr:"], false, false);
        check(&["ecr: *"], false, false);
        check(&["BatchGetImage"], false, false);
        check(&["s3:*", "ecr:Batch*"], false, true);
        check(&["ecr:${a:b}"], false, false);
    }

    #[test]
    fn not_action_is_none_of_them() {
        check(&["s3:*"], true, true);
        check(&["s3:*", "ecr:*"], true, false);
        check(&["ecr:"], true, true);
    }
}

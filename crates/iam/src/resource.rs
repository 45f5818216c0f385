//! The `Resource` and `NotResource` elements, and patterns of ARNs.

use crate::Context;
use crate::glob::{Syntax, Template, split_arn};

/// Which resources a statement speaks about.
#[derive(Clone, Debug)]
pub(crate) struct Resources {
    not: bool,
    patterns: Box<[ArnPattern]>,
}

impl Resources {
    /// Patterns in a statement: variables stand in the sixth piece only, and pieces that are
    /// missing count as `*`, as in documents that were taken over from elsewhere.
    pub(crate) fn compile(not: bool, patterns: &[String], variables: bool) -> Resources {
        let patterns = patterns.iter().map(|text| ArnPattern::resource(text, variables));
        Resources { not, patterns: patterns.collect() }
    }

    /// Whether these hold a resource. `pieces` is none for an action that has no resource:
    /// nothing but `*` matches that.
    pub(crate) fn matches(&self, pieces: Option<&[&str; 6]>, context: &Context<'_>) -> bool {
        // A variable without value switches a pattern off, and under NotResource the whole
        // statement: otherwise a missing tag would widen what it covers.
        if self.not && self.patterns.iter().any(|pattern| !pattern.is_known(context)) {
            return false;
        }
        self.patterns.iter().any(|pattern| pattern.matches(pieces, context)) != self.not
    }
}

/// A pattern of ARNs, each piece of which is matched for itself.
#[derive(Clone, Debug)]
pub(crate) enum ArnPattern {
    /// `*`
    All,
    Pieces(Box<[Template; 6]>),
    /// One variable, which holds a whole ARN.
    Variable(Template),
    Nothing,
}

impl ArnPattern {
    fn resource(text: &str, variables: bool) -> ArnPattern {
        if text == "*" {
            return ArnPattern::All;
        }
        let head = Syntax { wildcards: true, ..Syntax::default() };
        let mut pieces = text.splitn(6, ':').map(Some).chain(std::iter::repeat(None));
        let mut next = |syntax| Template::parse(pieces.next().flatten().unwrap_or("*"), syntax);
        ArnPattern::Pieces(Box::new([
            next(head),
            next(head),
            next(head),
            next(head),
            next(head),
            next(Syntax { variables, ..head }),
        ]))
    }

    /// A pattern in a condition: variables may stand anywhere.
    pub(crate) fn condition(text: &str, variables: bool) -> ArnPattern {
        let syntax = Syntax { wildcards: true, variables, fold: false };
        if text == "*" {
            return ArnPattern::All;
        }
        let pieces: Vec<Template> =
            split_arn(text, variables).iter().map(|piece| Template::parse(piece, syntax)).collect();
        match <[Template; 6]>::try_from(pieces) {
            Ok(pieces) => ArnPattern::Pieces(Box::new(pieces)),
            Err(pieces) => match pieces.into_iter().next().filter(Template::is_one_variable) {
                Some(variable) if split_arn(text, variables).len() == 1 => {
                    ArnPattern::Variable(variable)
                }
                _ => ArnPattern::Nothing,
            },
        }
    }

    /// Whether this can match an ARN at all.
    pub(crate) fn is_possible(&self) -> bool {
        !matches!(self, ArnPattern::Nothing)
    }

    fn is_known(&self, context: &Context<'_>) -> bool {
        match self {
            ArnPattern::All | ArnPattern::Nothing => true,
            ArnPattern::Pieces(templates) => templates.iter().all(|it| it.is_known(context)),
            ArnPattern::Variable(template) => template.is_known(context),
        }
    }

    fn matches(&self, pieces: Option<&[&str; 6]>, context: &Context<'_>) -> bool {
        match (self, pieces) {
            (ArnPattern::All, _) => true,
            (ArnPattern::Pieces(templates), Some(pieces)) => {
                // The last piece differs most often, so it is looked at first.
                templates.iter().zip(pieces).rev().all(|(it, piece)| it.matches(piece, context))
            }
            _ => false,
        }
    }

    /// Whether a text, a whole ARN, fits.
    pub(crate) fn matches_text(&self, text: &str, context: &Context<'_>) -> bool {
        match self {
            ArnPattern::Variable(template) => template.matches(text, context),
            _ => self.matches(crate::arn::pieces(text).as_ref(), context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: &str = "arn:aws:ecr:us-east-1:123456789012:repository/team/app";

    fn resource(pattern: &str, not: bool, expected: bool) {
        let resources = Resources::compile(not, &[pattern.to_owned()], true);
        let matches = resources.matches(crate::arn::pieces(APP).as_ref(), &Context::new());
        assert_eq!(matches, expected, "{pattern}, not: {not}");
    }

    #[test]
    fn pieces_are_matched_each_for_itself() {
        resource("*", false, true);
        resource("arn:aws:ecr:*:*:repository/*", false, true);
        resource("arn:aws:ecr:us-east-1:123456789012:*", false, true);
        resource("arn:aws:ecr:*:repository/team/app", false, false);
        resource("arn:aws:ecr:us-east-1:123456789012:repository/TEAM/*", false, false);
        resource("arn:aws:ecr:us-east-1:1234567890?2:repository/team/ap?", false, true);
        resource("arn:aws:ecr", false, true);
        resource("arn:aws:s3", false, false);
    }

    #[test]
    fn an_unknown_variable_switches_a_pattern_off() {
        let pattern = "arn:aws:ecr:us-east-1:123456789012:repository/${aws:PrincipalTag/t}/*";
        resource(pattern, false, false);
        resource(pattern, true, false);
        resource("arn:aws:ecr:us-east-1:123456789012:repository/secret/*", true, true);
    }

    #[test]
    fn only_a_star_holds_what_is_no_resource() {
        for (pattern, not, expected) in
            [("*", false, true), ("arn:*:*:*:*:*", false, false), ("arn:*:*:*:*:*", true, true)]
        {
            let resources = Resources::compile(not, &[pattern.to_owned()], true);
            assert_eq!(resources.matches(None, &Context::new()), expected, "{pattern} {not}");
        }
    }

    fn condition(pattern: &str, expected: bool) {
        let mut context = Context::new();
        context.set("a:arn", APP);
        context.set("a:colon", "us-east-1:123456789012");
        context.set("a:account", "123456789012");
        let pattern = ArnPattern::condition(pattern, true);
        assert_eq!(pattern.matches_text(APP, &context), expected, "{pattern:?}");
    }

    #[test]
    fn variables_in_conditions_stay_in_their_piece() {
        condition("${a:arn}", true);
        condition("arn:aws:ecr:us-east-1:${a:account}:repository/*", true);
        condition("arn:aws:ecr:${a:colon}:repository/*", false);
        condition("arn:aws:ecr:*", false);
        condition("${a:none}", false);
        condition("*", true);
    }
}

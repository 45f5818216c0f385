//! The names of condition operators.

/// An operator, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operator {
    pub(crate) test: Test,
    pub(crate) negated: bool,
    /// `ForAllValues:` or `ForAnyValue:`.
    pub(crate) quantifier: Option<Quantifier>,
    /// `…IfExists`: a missing key is a match.
    pub(crate) if_exists: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quantifier {
    All,
    Any,
}

/// What an operator compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Test {
    Text { wildcards: bool, fold: bool },
    Number(Comparison),
    Date(Comparison),
    Bool,
    Binary,
    Address,
    Arn,
    Null,
}

/// How the request's value stands to the policy's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    pub(crate) fn holds(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            Comparison::Equal => ordering.is_eq(),
            Comparison::Less => ordering.is_lt(),
            Comparison::LessOrEqual => ordering.is_le(),
            Comparison::Greater => ordering.is_gt(),
            Comparison::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

impl Operator {
    /// Reads a name, ignoring case. `None` if there is no such operator.
    pub(crate) fn parse(name: &str) -> Option<Operator> {
        let name = name.to_ascii_lowercase();
        let (quantifier, base) = match name.split_once(':') {
            Some(("forallvalues", base)) => (Some(Quantifier::All), base),
            Some(("foranyvalue", base)) => (Some(Quantifier::Any), base),
            Some(_) => return None,
            None => (None, name.as_str()),
        };
        let (base, if_exists) = match base.strip_suffix("ifexists") {
            Some(base) => (base, true),
            None => (base, false),
        };
        let (test, negated) = base_operator(base)?;
        // Null already asks whether the key exists.
        if test == Test::Null && if_exists {
            return None;
        }
        Some(Operator { test, negated, quantifier, if_exists })
    }
}

/// What an operator without prefix and suffix tests, and whether it is negated.
fn base_operator(name: &str) -> Option<(Test, bool)> {
    use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual};
    let text = |wildcards, fold| Test::Text { wildcards, fold };
    Some(match name {
        "stringequals" => (text(false, false), false),
        "stringnotequals" => (text(false, false), true),
        "stringequalsignorecase" => (text(false, true), false),
        "stringnotequalsignorecase" => (text(false, true), true),
        "stringlike" => (text(true, false), false),
        "stringnotlike" => (text(true, false), true),
        "numericequals" => (Test::Number(Equal), false),
        "numericnotequals" => (Test::Number(Equal), true),
        "numericlessthan" => (Test::Number(Less), false),
        "numericlessthanequals" => (Test::Number(LessOrEqual), false),
        "numericgreaterthan" => (Test::Number(Greater), false),
        "numericgreaterthanequals" => (Test::Number(GreaterOrEqual), false),
        "dateequals" => (Test::Date(Equal), false),
        "datenotequals" => (Test::Date(Equal), true),
        "datelessthan" => (Test::Date(Less), false),
        "datelessthanequals" => (Test::Date(LessOrEqual), false),
        "dategreaterthan" => (Test::Date(Greater), false),
        "dategreaterthanequals" => (Test::Date(GreaterOrEqual), false),
        "bool" => (Test::Bool, false),
        "binaryequals" => (Test::Binary, false),
        "ipaddress" => (Test::Address, false),
        "notipaddress" => (Test::Address, true),
        "arnequals" | "arnlike" => (Test::Arn, false),
        "arnnotequals" | "arnnotlike" => (Test::Arn, true),
        "null" => (Test::Null, false),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let operator = Operator::parse("FORANYVALUE:StringNotLikeIfExists").unwrap();
        assert_eq!(operator.test, Test::Text { wildcards: true, fold: false });
        assert!(operator.negated && operator.if_exists);
        assert_eq!(operator.quantifier, Some(Quantifier::Any));
    }

    #[test]
    fn other_names_are_unknown() {
        for name in ["", "String", "NullIfExists", "ForAll:Bool", "Bool ", "BinaryNotEquals"] {
            assert_eq!(Operator::parse(name), None, "{name}");
        }
    }
}

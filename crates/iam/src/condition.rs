//! The `Condition` element.
//!
//! Operators and keys are joined by AND, the values of one key by OR. Under a negated
//! operator several values mean that none of them may fit.

mod operand;
mod operator;

pub(crate) use operand::Operands;
pub(crate) use operator::{Operator, Quantifier};

use crate::{Context, Values};

/// One key under one operator.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    key: Box<str>,
    /// `None` if the operator is unknown: then nothing fits.
    test: Option<(Operator, Operands)>,
}

impl Condition {
    /// Understands one key of a condition. What has no meaning matches nothing: documents
    /// that are saved are checked before, and older ones must not become more permissive.
    pub(crate) fn compile(
        operator: &str,
        key: &str,
        values: &[String],
        variables: bool,
    ) -> Condition {
        let test = Operator::parse(operator).map(|operator| {
            let operands = Operands::compile(operator.test, values, variables);
            (operator, operands)
        });
        Condition { key: key.into(), test }
    }

    /// Whether the condition holds for a request.
    pub(crate) fn holds(&self, context: &Context<'_>) -> bool {
        let Some((operator, operands)) = &self.test else {
            return false;
        };
        let values = context.get(&self.key).filter(|values| match values {
            Values::Single(_) => true,
            Values::Many(values) => !values.is_empty(),
        });
        if let Operands::Null(absent) = operands {
            return absent.contains(&values.is_none());
        }
        let fits = |value: &str| operands.fit(value, operator.negated, context);
        match (values, operator.quantifier) {
            (None, _) if operator.if_exists => true,
            (None, None) => operator.negated,
            (None, Some(quantifier)) => quantifier == Quantifier::All,
            (Some(Values::Single(value)), _) => fits(value),
            // A set needs a quantifier, whether the operator is negated or not.
            (Some(Values::Many(_)), None) => false,
            (Some(Values::Many(values)), Some(Quantifier::All)) => values.iter().all(|it| fits(it)),
            (Some(Values::Many(values)), Some(Quantifier::Any)) => values.iter().any(|it| fits(it)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context<'static> {
        let mut context = Context::new();
        for (key, value) in [
            ("s", "Dev"),
            ("n", "10"),
            ("bad", "x"),
            ("d", "2026-01-15T12:00:00Z"),
            ("b", "true"),
            ("ip", "10.1.2.3"),
            ("mapped", "::ffff:10.1.2.3"),
            ("arn", "arn:aws:iam::123456789012:role/path/ci"),
            ("bytes", "hello"),
            ("empty", ""),
            ("tag", "de*"),
        ] {
            context.set(format!("t:{key}"), value);
        }
        context.set_many("t:keys", ["team", "env"]);
        context.set_many("t:none", [""; 0]);
        context
    }

    fn check(operator: &str, key: &str, values: &[&str], expected: bool) {
        let values: Vec<String> = values.iter().map(|&value| value.to_owned()).collect();
        let condition = Condition::compile(operator, &format!("T:{key}"), &values, true);
        assert_eq!(condition.holds(&context()), expected, "{operator} {key} {values:?}");
    }

    #[test]
    fn strings() {
        check("StringEquals", "s", &["Dev"], true);
        check("StringEquals", "s", &["dev"], false);
        check("StringEquals", "s", &["D*"], false);
        check("StringEquals", "s", &["x", "Dev"], true);
        check("StringNotEquals", "s", &["x", "Dev"], false);
        check("StringNotEquals", "s", &["x", "y"], true);
        check("stringequalsignorecase", "s", &["dEV"], true);
        check("StringNotEqualsIgnoreCase", "s", &["dEV"], false);
        check("StringLike", "s", &["D?v"], true);
        check("StringLike", "s", &["D"], false);
        check("StringNotLike", "s", &["D*"], false);
        check("StringLike", "empty", &["*"], true);
        check("StringEquals", "s", &[], false);
        check("StringNotEquals", "s", &[], true);
    }

    #[test]
    fn a_missing_key() {
        for operator in [
            "StringEquals",
            "StringLike",
            "NumericLessThan",
            "DateGreaterThan",
            "Bool",
            "BinaryEquals",
            "IpAddress",
            "ArnLike",
            "ForAnyValue:StringEquals",
            "ForAnyValue:StringNotEquals",
        ] {
            check(operator, "missing", &["*"], false);
            check(operator, "none", &["*"], false);
            check(&format!("{operator}IfExists"), "missing", &["1"], true);
        }
        for operator in [
            "StringNotEquals",
            "StringNotEqualsIgnoreCase",
            "StringNotLike",
            "NumericNotEquals",
            "DateNotEquals",
            "NotIpAddress",
            "ArnNotEquals",
            "ArnNotLike",
            "ForAllValues:StringEquals",
            "ForAllValues:StringNotEquals",
        ] {
            check(operator, "missing", &["1"], true);
            check(operator, "none", &["1"], true);
            check(&format!("{operator}IfExists"), "missing", &["1"], true);
        }
    }

    #[test]
    fn numbers() {
        check("NumericEquals", "n", &["10.0"], true);
        check("NumericNotEquals", "n", &["10", "11"], false);
        check("NumericLessThan", "n", &["10"], false);
        check("NumericLessThanEquals", "n", &["10"], true);
        check("NumericGreaterThan", "n", &["9.5"], true);
        check("NumericGreaterThanEquals", "n", &["1e1"], true);
        check("NumericLessThan", "n", &["9", "11"], true);
        check("NumericLessThan", "bad", &["10"], false);
        check("NumericNotEquals", "bad", &["10"], false);
        check("NumericGreaterThan", "n", &["-inf"], false);
    }

    #[test]
    fn dates() {
        check("DateEquals", "d", &["2026-01-15T13:00:00+01:00"], true);
        check("DateEquals", "d", &["1768478400"], true);
        check("DateNotEquals", "d", &["2026-01-15T12:00:00Z"], false);
        check("DateGreaterThan", "d", &["2026"], true);
        check("DateLessThan", "d", &["2026"], false);
        check("DateLessThan", "d", &["2027"], true);
        check("DateGreaterThan", "d", &["2026-01"], true);
        check("DateLessThan", "d", &["2026-01-16"], true);
        check("DateLessThanEquals", "d", &["2026-01-15T12:00Z"], true);
        check("DateGreaterThanEquals", "d", &["2026-01-15T12:00:01"], false);
        check("DateLessThan", "bad", &["2026-01-16"], false);
    }

    #[test]
    fn truth_and_bytes() {
        check("Bool", "b", &["TRUE"], true);
        check("Bool", "b", &["false"], false);
        check("Bool", "b", &["${t:b}"], true);
        check("BoolIfExists", "b", &["false"], false);
        check("BinaryEquals", "bytes", &["aGVsbG8="], true);
        check("BinaryEquals", "bytes", &["hello"], false);
    }

    #[test]
    fn addresses() {
        check("IpAddress", "ip", &["10.1.0.0/16"], true);
        check("IpAddress", "ip", &["10.1.2.3"], true);
        check("IpAddress", "ip", &["10.1.9.9/16"], true);
        check("IpAddress", "ip", &["::/0"], false);
        check("NotIpAddress", "ip", &["::/0", "10.0.0.0/8"], false);
        check("NotIpAddress", "ip", &["192.168.0.0/16"], true);
        check("IpAddress", "mapped", &["10.1.0.0/16"], true);
    }

    #[test]
    fn arns() {
        check("ArnEquals", "arn", &["arn:aws:iam::123456789012:role/*"], true);
        check("ArnLike", "arn", &["arn:aws:iam:*:role/*"], false);
        check("ArnNotLike", "arn", &["arn:aws:iam::*:role/*"], false);
        check("ArnNotEquals", "arn", &["arn:aws:iam::*:user/*"], true);
        check("StringLike", "arn", &["arn:aws:*:role/*"], true);
        check("ArnLike", "s", &["arn:*:*:*:*:*"], false);
    }

    #[test]
    fn absence() {
        check("Null", "s", &["true"], false);
        check("Null", "s", &["false"], true);
        check("Null", "missing", &["TRUE"], true);
        check("Null", "none", &["true"], true);
        check("Null", "s", &["true", "false"], true);
        check("NullIfExists", "s", &["false"], false);
    }

    #[test]
    fn sets() {
        check("ForAllValues:StringEquals", "keys", &["team", "env", "cost"], true);
        check("ForAllValues:StringEquals", "keys", &["team"], false);
        check("ForAnyValue:StringLike", "keys", &["te*"], true);
        check("ForAnyValue:StringEquals", "keys", &["cost"], false);
        check("ForAnyValue:StringNotEquals", "keys", &["team"], true);
        check("ForAllValues:StringNotEquals", "keys", &["team"], false);
        check("ForAllValues:StringNotEquals", "keys", &["cost"], true);
        check("forallvalues:stringequals", "s", &["Dev"], true);
        check("StringLike", "keys", &["*"], false);
        check("StringNotLike", "keys", &["x"], false);
    }

    #[test]
    fn variables_in_values() {
        check("StringLike", "s", &["${t:tag}"], false);
        check("StringLike", "tag", &["${t:tag}"], true);
        check("StringEqualsIgnoreCase", "s", &["${t:s}"], true);
        check("StringEquals", "s", &["${t:missing}"], false);
        check("StringNotEquals", "s", &["${t:missing}"], true);
        check("StringEquals", "s", &["${t:missing, 'Dev'}"], true);
        check("StringEquals", "s", &["${t:keys}"], false);
    }

    #[test]
    fn an_unknown_operator_matches_nothing() {
        for operator in ["StringSort", "ForNoValue:StringEquals", "IfExists", "ForAnyValue:", ""] {
            check(operator, "s", &["Dev"], false);
            check(operator, "missing", &["Dev"], false);
        }
    }
}

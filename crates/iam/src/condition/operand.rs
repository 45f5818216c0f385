//! The values of a condition, each kind parsed once.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::Offset;

use super::operator::{Comparison, Test};
use crate::Context;
use crate::glob::{Syntax, Template};
use crate::resource::ArnPattern;

/// The values that a policy gives for one key.
#[derive(Clone, Debug)]
pub(crate) enum Operands {
    Text {
        fold: bool,
        values: Box<[Template]>,
    },
    Number(Comparison, Box<[f64]>),
    Date(Comparison, Box<[Timestamp]>),
    Binary(Box<[Vec<u8>]>),
    Address(Box<[IpNet]>),
    Arn(Box<[ArnPattern]>),
    /// Which answers to "is the key absent?" are a match.
    Null(Box<[bool]>),
}

impl Operands {
    /// Parses values, leaving out what is malformed: that can equal nothing.
    pub(crate) fn compile(test: Test, values: &[String], variables: bool) -> Operands {
        let values = values.iter().map(String::as_str);
        let templates = |wildcards, fold| {
            let syntax = Syntax { wildcards, variables, fold };
            values.clone().map(|text| Template::parse(text, syntax)).collect()
        };
        match test {
            Test::Text { wildcards, fold } => {
                Operands::Text { fold, values: templates(wildcards, fold) }
            }
            Test::Bool => Operands::Text { fold: true, values: templates(false, true) },
            Test::Number(it) => Operands::Number(it, values.filter_map(number).collect()),
            Test::Date(it) => Operands::Date(it, values.filter_map(date).collect()),
            Test::Binary => Operands::Binary(values.filter_map(binary).collect()),
            Test::Address => Operands::Address(values.filter_map(network).collect()),
            Test::Arn => {
                Operands::Arn(values.map(|it| ArnPattern::condition(it, variables)).collect())
            }
            Test::Null => Operands::Null(values.filter_map(truth).collect()),
        }
    }

    /// What is wrong with a value, as the end of a sentence, if anything is.
    pub(crate) fn problem(test: Test, value: &str, variables: bool) -> Option<&'static str> {
        let is_variable = variables && value.contains("${");
        let good = match test {
            Test::Text { .. } => true,
            Test::Bool => is_variable || truth(value).is_some(),
            Test::Number(_) => number(value).is_some(),
            Test::Date(_) => date(value).is_some(),
            Test::Binary => binary(value).is_some(),
            Test::Address => network(value).is_some(),
            Test::Arn => ArnPattern::condition(value, variables).is_possible(),
            Test::Null => truth(value).is_some(),
        };
        let expected = match test {
            Test::Text { .. } => "text",
            Test::Bool | Test::Null => "true or false",
            Test::Number(_) => "a number",
            Test::Date(_) => "an ISO 8601 date or a number of seconds",
            Test::Binary => "base64",
            Test::Address => "an IP address or a CIDR block",
            Test::Arn => "an ARN of six pieces or *",
        };
        (!good).then_some(expected)
    }

    /// Whether one value of the request fits any of these, or none if `negated`.
    pub(crate) fn fit(&self, value: &str, negated: bool, context: &Context<'_>) -> bool {
        let found = match self {
            Operands::Text { fold: false, values } => {
                Some(values.iter().any(|it| it.matches(value, context)))
            }
            Operands::Text { fold: true, values } => {
                let value = value.to_lowercase();
                Some(values.iter().any(|it| it.matches(&value, context)))
            }
            // A value of the request that is no number or date fits no comparison, not even
            // a negated one.
            Operands::Number(comparison, values) => number(value).map(|number| {
                values.iter().any(|it| {
                    number.partial_cmp(it).is_some_and(|ordering| comparison.holds(ordering))
                })
            }),
            Operands::Date(comparison, values) => {
                date(value).map(|date| values.iter().any(|it| comparison.holds(date.cmp(it))))
            }
            Operands::Binary(values) => Some(values.iter().any(|it| it == value.as_bytes())),
            Operands::Address(values) => Some(
                address(value)
                    .is_some_and(|address| values.iter().any(|network| network.contains(&address))),
            ),
            Operands::Arn(values) => Some(values.iter().any(|it| it.matches_text(value, context))),
            Operands::Null(_) => None,
        };
        found.is_some_and(|found| found != negated)
    }
}

fn truth(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

fn number(text: &str) -> Option<f64> {
    // `inf` and `NaN` are numbers to the parser, and to nobody else.
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// An instant in one of the W3C's ISO 8601 forms, or in seconds since 1970. Without a zone
/// it is UTC. Four digits are a year.
fn date(text: &str) -> Option<Timestamp> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) && text.len() != 4 {
        return Timestamp::from_second(text.parse().ok()?).ok();
    }
    if let Ok(instant) = text.parse() {
        return Some(instant);
    }
    let civil: DateTime = match text.len() {
        4 => format!("{text}-01-01").parse::<Date>().ok()?.into(),
        7 => format!("{text}-01").parse::<Date>().ok()?.into(),
        10 => text.parse::<Date>().ok()?.into(),
        _ => text.parse().ok()?,
    };
    Offset::UTC.to_timestamp(civil).ok()
}

fn binary(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// A CIDR block, or an address as the block that holds only it.
fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// An address. One of IPv4 written as IPv6 is one of IPv4, or it would pass by a rule
/// about its IPv4 form.
fn address(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

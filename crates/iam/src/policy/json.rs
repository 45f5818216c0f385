//! JSON that remembers the order of names and refuses one that comes twice.
//!
//! A second `Effect` in a statement would otherwise silently replace the first, and a
//! reader of the document would see another policy than the one that is enforced.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::error::{PolicyError, PolicyProblem};
use super::limits;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Null,
    Bool(bool),
    /// As text, because policies compare numbers as text unless the operator is numeric.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

/// Reads a whole text as one value.
pub(super) fn parse(text: &str) -> Result<Node, PolicyError> {
    let problem = Cell::new(PolicyProblem::Json);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let seed = Seed { depth: 0, problem: &problem };
    seed.deserialize(&mut deserializer).and_then(|node| deserializer.end().map(|()| node)).map_err(
        |error| {
            PolicyError::new(problem.get(), format!("The document is not valid JSON: {error}."))
        },
    )
}

#[derive(Clone, Copy)]
struct Seed<'a> {
    depth: usize,
    problem: &'a Cell<PolicyProblem>,
}

impl Seed<'_> {
    fn inner<E: Error>(self) -> Result<Self, E> {
        if self.depth >= limits::DEPTH {
            return Err(E::custom("it is nested too deep"));
        }
        Ok(Seed { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        // `null` for what JSON cannot write; the parser has refused that already.
        Ok(Node::Number(serde_json::Value::from(value).to_string()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let inner = self.inner()?;
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element_seed(inner)? {
            nodes.push(node);
        }
        Ok(Node::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let inner = self.inner()?;
        let mut members = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            members.push((name, map.next_value_seed(inner)?));
        }
        let mut names = BTreeSet::new();
        if let Some((name, _)) = members.iter().find(|(name, _)| !names.insert(name)) {
            self.problem.set(PolicyProblem::DuplicateKey);
            return Err(A::Error::custom(format!("`{name}` stands twice in one object")));
        }
        Ok(Node::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> Option<PolicyProblem> {
        parse(text).err().map(|error| error.problem)
    }

    #[test]
    fn order_and_numbers_stay() {
        let node = parse(r#"{"b": [1, -2, 1.5], "a": null}"#).unwrap();
        let numbers = ["1", "-2", "1.5"].map(|text| Node::Number(text.to_owned())).to_vec();
        let expected = vec![("b".to_owned(), Node::List(numbers)), ("a".to_owned(), Node::Null)];
        assert_eq!(node, Node::Object(expected));
    }

    #[test]
    fn bad_json_is_refused() {
        assert_eq!(problem(r#"{"a":1,"a":2}"#), Some(PolicyProblem::DuplicateKey));
        assert_eq!(problem(r#"{"a":1,"\u0061":2}"#), Some(PolicyProblem::DuplicateKey));
        assert_eq!(problem(r#"{"a":1}}"#), Some(PolicyProblem::Json));
        assert_eq!(problem(r#"{"a":1,}"#), Some(PolicyProblem::Json));
        assert_eq!(problem(""), Some(PolicyProblem::Json));
        let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(problem(&nested(limits::DEPTH)), None);
        assert_eq!(problem(&nested(limits::DEPTH + 1)), Some(PolicyProblem::Json));
        assert_eq!(problem(&nested(100_000)), Some(PolicyProblem::Json));
    }
}

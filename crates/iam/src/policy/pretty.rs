//! The text form in which ECR gives policies back: what the printer of a widely used Java
//! library makes of a document, which scripts compare with what they have.

use super::json::{self, Node};

/// The order in which elements are printed; others keep their place behind.
const DOCUMENT: [&str; 3] = ["Version", "Id", "Statement"];
const STATEMENT: [&str; 9] = [
    "Sid",
    "Effect",
    "Principal",
    "NotPrincipal",
    "Action",
    "NotAction",
    "Resource",
    "NotResource",
    "Condition",
];

/// Prints a document. A text that is not JSON, which no policy is, comes back unchanged.
pub(super) fn print(text: &str, rename: &dyn Fn(&str) -> Option<String>) -> String {
    let Ok(Node::Object(mut members)) = json::parse(text) else {
        return text.to_owned();
    };
    sort(&mut members, &DOCUMENT);
    for (name, node) in &mut members {
        match node {
            Node::List(nodes) if name == "Statement" => {
                nodes.iter_mut().for_each(|it| statement(it, rename));
            }
            node if name == "Statement" => statement(node, rename),
            _ => {}
        }
    }
    let mut out = String::new();
    value(&mut out, &Node::Object(members), 0);
    out
}

fn sort(members: &mut [(String, Node)], order: &[&str]) {
    members.sort_by_key(|(name, _)| order.iter().position(|it| it == name).unwrap_or(order.len()));
}

fn statement(node: &mut Node, rename: &dyn Fn(&str) -> Option<String>) {
    let Node::Object(members) = node else {
        return;
    };
    sort(members, &STATEMENT);
    let principals = members.iter_mut().filter(|(name, _)| name.ends_with("Principal"));
    for (_, node) in principals {
        let Node::Object(types) = node else {
            continue;
        };
        for (_, node) in types.iter_mut().filter(|(kind, _)| kind == "AWS") {
            match node {
                Node::List(nodes) => nodes.iter_mut().for_each(|it| principal(it, rename)),
                node => principal(node, rename),
            }
        }
    }
}

fn principal(node: &mut Node, rename: &dyn Fn(&str) -> Option<String>) {
    if let Node::Text(name) = node
        && let Some(other) = rename(name)
    {
        *name = other;
    }
}

/// Objects take a line for each member; lists stay on the line they begin on.
fn value(out: &mut String, node: &Node, depth: usize) {
    match node {
        Node::Null => out.push_str("null"),
        Node::Bool(it) => out.push_str(if *it { "true" } else { "false" }),
        Node::Number(it) => out.push_str(it),
        Node::Text(it) => quoted(out, it),
        Node::List(nodes) => {
            out.push('[');
            for (index, node) in nodes.iter().enumerate() {
                out.push_str(if index == 0 { " " } else { ", " });
                value(out, node, depth);
            }
            out.push_str(" ]");
        }
        Node::Object(members) if members.is_empty() => out.push_str("{ }"),
        Node::Object(members) => {
            out.push('{');
            for (index, (name, node)) in members.iter().enumerate() {
                out.push_str(if index == 0 { "\n" } else { ",\n" });
                indent(out, depth + 1);
                quoted(out, name);
                out.push_str(" : ");
                value(out, node, depth + 1);
            }
            out.push('\n');
            indent(out, depth);
            out.push('}');
        }
    }
}

fn indent(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n("  ", depth));
}

fn quoted(out: &mut String, text: &str) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

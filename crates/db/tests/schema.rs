//! `docs/schema.md` is what the migrations say: `BLESS=1 cargo test -p bonded-db --test schema`
//! writes it anew.

#![expect(clippy::unwrap_used, reason = "a test ends when something fails")]

use std::fmt::Write as _;
use std::path::Path;

const MIGRATION: &str = include_str!("../migrations/0001_foundation.sql");

#[test]
#[expect(clippy::disallowed_methods, reason = "whoever runs the test says that it may write")]
fn the_document_is_what_the_migrations_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schema.md");
    let text = document(MIGRATION);
    if std::env::var("BLESS").is_ok() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "BLESS=1 writes it anew");
}

fn document(migration: &str) -> String {
    let mut out = String::from(
        "# Schema\n\nGenerated from `crates/db/migrations` by a test of `bonded-db`; do not edit.\n\n",
    );
    out.push_str("```text\n");
    for line in migration.lines().take_while(|line| line.starts_with("--")) {
        writeln!(out, "{}", line.trim_start_matches("-- ").trim_start_matches("--")).unwrap();
    }
    out.push_str("```\n");
    for statement in migration.split(";\n") {
        if let Some(at) = statement.find("CREATE TABLE ") {
            table(&mut out, &statement[at + "CREATE TABLE ".len()..]);
        } else if let Some(at) = statement.find("CREATE ") {
            let index = statement[at..].split_whitespace().collect::<Vec<_>>().join(" ");
            writeln!(out, "- `{}`", index.trim_start_matches("CREATE ")).unwrap();
        }
    }
    out
}

fn table(out: &mut String, text: &str) {
    let (name, columns) = text.split_once('(').unwrap();
    writeln!(out, "\n## {}\n\n| column | type | |\n|---|---|---|", name.trim()).unwrap();
    for line in columns.lines().map(str::trim).filter(|line| !line.is_empty() && *line != ")") {
        let (definition, comment) = line.split_once("--").unwrap_or((line, ""));
        let definition = definition.trim().trim_end_matches(',');
        let definition = definition.replace("{{blob}}", "BLOB").replace("{{text}}", "TEXT");
        if definition.starts_with("PRIMARY KEY") {
            writeln!(out, "| | {definition} | |").unwrap();
            continue;
        }
        let (column, kind) = definition.split_once(' ').unwrap();
        writeln!(out, "| {column} | {kind} | {} |", comment.trim().replace('|', "\\|")).unwrap();
    }
    out.push('\n');
}

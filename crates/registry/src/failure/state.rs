//! What a deployment holds, in a form that two runs can be compared by.
//!
//! Ids and object names are random, so a dump has in their place what they stand for: a number
//! that follows from all rows that have the id, and from what stands beside it there.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hasher as _;
use std::sync::{Arc, Mutex};

use bonded_db::{Db, Engine, Error, Param, Tx, Value};
use uuid::Uuid;

/// How far apart two rows with the same neighbours may be told by those.
const ROUNDS: usize = 4;
/// Numbers from here on are times: microseconds of the year 2001 and later.
const FIRST_TIME: i64 = 1_000_000_000_000_000;
/// What changes and is none of a deployment's content.
const LEFT_OUT: &str = "lease";
/// The records of what was done: a request that comes once more adds its own.
const RECORDS: [&str; 4] = ["audit_record", "audit_block", "audit_key", "event"];

/// All rows of all tables.
pub(super) struct Rows(Vec<Table>);

struct Table {
    name: String,
    rows: Arc<Vec<Vec<Value>>>,
}

/// What of the rows is compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub(super) records: bool,
    /// Uploads that nobody has completed.
    pub(super) uploads: bool,
    pub(super) times: bool,
    /// Objects that are to go.
    pub(super) removals: bool,
}

impl View {
    pub(super) const ALL: View =
        View { records: true, uploads: true, times: true, removals: false };
}

/// Rows as text, sorted; what is to go is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct State(Vec<String>);

impl State {
    /// Rows of only one of two states, for whoever reads a failure.
    pub(super) fn difference(&self, other: &State) -> String {
        let (mine, theirs): (BTreeSet<_>, BTreeSet<_>) =
            (self.0.iter().collect(), other.0.iter().collect());
        let only = |sign: &str, left: &BTreeSet<&String>, right: &BTreeSet<&String>| {
            left.difference(right).map(|row| format!("\n{sign} {row}")).collect::<String>()
        };
        only("-", &mine, &theirs) + &only("+", &theirs, &mine)
    }
}

impl Rows {
    /// Reads every table, whichever there are, as one snapshot shows them.
    pub(super) async fn read(db: &Db) -> Rows {
        let engine = db.engine();
        let read = move |tx: &mut Tx<'_>| match engine {
            Engine::Sqlite => from_sqlite(tx),
            Engine::Postgres => from_postgres(tx),
        };
        Rows(db.read(read).await.unwrap())
    }

    /// Writes back what is otherwise now.
    pub(super) async fn restore(&self, db: &Db) {
        let now = Rows::read(db).await;
        let changed = self.0.iter().filter(|table| *table.rows != now.table(&table.name));
        let changed: Vec<_> =
            changed.map(|table| (table.name.clone(), Arc::clone(&table.rows))).collect();
        let write = move |tx: &mut Tx<'_>| {
            for (name, rows) in &changed {
                tx.execute(statement(format!("DELETE FROM {name}")), &[])?;
                for row in rows.iter() {
                    let places: Vec<_> = (1..=row.len()).map(|it| format!("${it}")).collect();
                    let places = places.join(", ");
                    let insert = statement(format!("INSERT INTO {name} VALUES ({places})"));
                    tx.execute(insert, &row.iter().map(param).collect::<Vec<_>>())?;
                }
            }
            Ok::<_, Error>(())
        };
        db.write_unsynced(write).await.unwrap();
    }

    /// Whether nothing has changed, but for what is to go.
    pub(super) fn is_as(&self, other: &Rows) -> bool {
        let kept = |table: &&Table| ![LEFT_OUT, "object_removal"].contains(&table.name.as_str());
        let same = |table: &Table| *table.rows == other.table(&table.name);
        self.0.iter().filter(kept).all(same)
    }

    /// Whether nothing is there that time alone removes.
    pub(super) fn has_garbage(&self) -> bool {
        let hidden = self.hidden(View { uploads: false, ..View::ALL });
        !self.table("object_removal").is_empty() || !hidden.is_empty()
    }

    /// The names of objects that a segment has in the store.
    pub(super) fn needed_objects(&self) -> BTreeSet<[u8; 16]> {
        let in_rows = self.names("segment_bytes", 0);
        self.names("segment", 2).difference(&in_rows).copied().collect()
    }

    /// The names of objects that must go.
    pub(super) fn doomed_objects(&self) -> BTreeSet<[u8; 16]> {
        self.names("object_removal", 0)
    }

    fn names(&self, table: &str, column: usize) -> BTreeSet<[u8; 16]> {
        self.table(table).iter().filter_map(|row| id(row.get(column)?)).collect()
    }

    fn table(&self, name: &str) -> &[Vec<Value>] {
        self.0.iter().find(|table| table.name == name).map_or(&[], |table| &table.rows)
    }

    /// Ids that begin rows which are not shown: of uploads, of their segments and their bytes.
    fn hidden(&self, view: View) -> BTreeSet<[u8; 16]> {
        let discarded = |row: &&Vec<Value>| {
            row.iter().any(|value| matches!(value, Value::Text(text) if text == "discarded"))
        };
        let uploads = self.table("upload").iter().filter(|row| !view.uploads || discarded(row));
        let mut hidden: BTreeSet<_> = uploads.filter_map(|row| id(row.first()?)).collect();
        let segments = self.table("segment").iter();
        let of_hidden = segments.filter(|row| is_in(&hidden, row));
        let objects: Vec<_> = of_hidden.filter_map(|row| id(row.get(2)?)).collect();
        hidden.extend(objects);
        hidden
    }

    pub(super) fn state(&self, view: View) -> State {
        let hidden = self.hidden(view);
        let shown: Vec<(&str, &Vec<Value>)> = self
            .0
            .iter()
            .filter(|table| table.name != LEFT_OUT)
            .filter(|table| view.removals || table.name != "object_removal")
            .filter(|table| view.records || !RECORDS.contains(&table.name.as_str()))
            .flat_map(|table| table.rows.iter().map(move |row| (table.name.as_str(), row)))
            .filter(|(table, row)| {
                let of_upload = ["upload", "segment", "segment_bytes"].contains(table);
                !(of_upload && is_in(&hidden, row))
            })
            .collect();
        let mut colours = HashMap::new();
        for _ in 0..ROUNDS {
            colours = recoloured(&shown, &colours, view);
        }
        let mut rows: Vec<_> =
            shown.iter().map(|(table, row)| text(table, row, &colours, view)).collect();
        rows.sort();
        State(rows)
    }
}

/// Whether a row begins with one of these ids.
fn is_in(ids: &BTreeSet<[u8; 16]>, row: &[Value]) -> bool {
    row.first().and_then(id).is_some_and(|id| ids.contains(&id))
}

fn from_sqlite(tx: &mut Tx<'_>) -> Result<Vec<Table>, Error> {
    let names = "SELECT name FROM sqlite_master WHERE type = 'table' \
                 AND name NOT LIKE 'schema_%' AND name NOT LIKE 'sqlite_%' ORDER BY name";
    let names = tx.query(names, &[], |row| row.get::<String>(0))?;
    let mut tables = Vec::with_capacity(names.len());
    for name in names {
        let all = statement(format!("SELECT * FROM {name}"));
        let mut rows = tx.query(all, &[], |row| {
            let values: Vec<Value> = (0..).map_while(|index| row.get(index).ok()).collect();
            assert!(values.len() > 1, "{name} has two columns at least");
            Ok(values)
        })?;
        rows.sort();
        tables.push(Table { name, rows: Arc::new(rows) });
    }
    Ok(tables)
}

/// One statement for all tables: there is a way to the server and back for each.
fn from_postgres(tx: &mut Tx<'_>) -> Result<Vec<Table>, Error> {
    let names = "SELECT CAST(tablename AS TEXT) FROM pg_tables WHERE schemaname = 'public' \
                 AND tablename NOT LIKE 'schema_%' ORDER BY 1";
    let names = tx.query(names, &[], |row| row.get::<String>(0))?;
    let one = |name| format!("SELECT '{name}', CAST(ROW_TO_JSON(t) AS TEXT) FROM {name} t");
    let all = names.iter().map(one).collect::<Vec<_>>().join(" UNION ALL ");
    let mut tables: BTreeMap<_, _> = names.into_iter().map(|name| (name, Vec::new())).collect();
    for (name, row) in
        tx.query(statement(all), &[], |row| Ok((row.get::<String>(0)?, row.get::<String>(1)?)))?
    {
        let row: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&row).unwrap();
        tables.get_mut(&name).unwrap().push(row.into_values().map(value).collect::<Vec<_>>());
    }
    let sorted = tables.into_iter().map(|(name, mut rows)| {
        rows.sort();
        Table { name, rows: Arc::new(rows) }
    });
    Ok(sorted.collect())
}

/// A column as PostgreSQL writes it as JSON: bytes are hexadecimal after a backslash.
fn value(json: serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Number(number) => Value::Int(number.as_i64().unwrap()),
        serde_json::Value::String(text) => match text.strip_prefix("\\x") {
            Some(digits) => Value::Blob(bytes(digits)),
            None => Value::Text(text),
        },
        other => panic!("no column is {other}"),
    }
}

fn bytes(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

/// A statement's text, which is kept: there are a few for each table, and they come again.
fn statement(sql: String) -> &'static str {
    static TEXTS: Mutex<BTreeMap<String, &str>> = Mutex::new(BTreeMap::new());
    let mut texts = TEXTS.lock().unwrap();
    texts.entry(sql).or_insert_with_key(|sql| sql.clone().leak())
}

fn param(value: &Value) -> Param<'_> {
    match value {
        Value::Null => Param::Null,
        Value::Int(number) => Param::Int(*number),
        Value::Text(text) => Param::Text(text),
        Value::Blob(bytes) => Param::Blob(bytes),
    }
}

type Colours = HashMap<[u8; 16], u64>;

/// What each id stands for, a step further than `colours` knows it.
fn recoloured(rows: &[(&str, &Vec<Value>)], colours: &Colours, view: View) -> Colours {
    let mut next = Colours::new();
    for (table, row) in rows {
        let around = hash(&text(table, row, colours, view));
        for (column, value) in row.iter().enumerate() {
            if let Some(id) = id(value) {
                let sum = next.entry(id).or_default();
                *sum = sum.wrapping_add(hash(&(around, column)));
            }
        }
    }
    next
}

fn hash(value: &impl std::hash::Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn id(value: &Value) -> Option<[u8; 16]> {
    match value {
        Value::Blob(bytes) => bytes.as_slice().try_into().ok(),
        _ => None,
    }
}

fn text(table: &str, row: &[Value], colours: &Colours, view: View) -> String {
    let known = |id: &[u8; 16]| colours.get(id).copied().unwrap_or(0);
    let columns = row.iter().map(|value| match value {
        Value::Null => "null".to_owned(),
        Value::Int(time) if *time >= FIRST_TIME && !view.times => "a time".to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Text(text) => without_ids(text, known),
        // A hash of 32 bytes follows from what it was made of; a key is sealed anew each time.
        Value::Blob(bytes) => match bytes.len() {
            16 => format!("#{:x}", known(&id(value).unwrap())),
            32 => format!("{bytes:02x?}"),
            _ => "sealed".to_owned(),
        },
    });
    format!("{table} | {}", columns.collect::<Vec<_>>().join(" | "))
}

/// A text with what its ids stand for.
fn without_ids(text: &str, known: impl Fn(&[u8; 16]) -> u64) -> String {
    const LENGTH: usize = 36;
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        match rest.get(..LENGTH).and_then(|id| Uuid::try_parse(id).ok()) {
            Some(id) => {
                kept.push_str(&format!("#{:x}", known(id.as_bytes())));
                rest = &rest[LENGTH..];
            }
            None => {
                kept.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    kept
}

#[test]
fn runs_are_told_apart_by_what_they_hold_and_not_by_their_ids() {
    let blob = |number: u8| Value::Blob(vec![number; 16]);
    let text = |text: &str| Value::Text(text.to_owned());
    let rows = |ids: [u8; 3], tagged: u8| {
        let image = |id: u8, digest: &str| vec![blob(id), text(digest), Value::Int(1)];
        let table = |name: &str, rows| Table { name: name.to_owned(), rows: Arc::new(rows) };
        Rows(vec![
            table("image", vec![image(ids[0], "one"), image(ids[1], "two")]),
            table("tag", vec![vec![blob(ids[2]), text("latest"), blob(tagged)]]),
        ])
        .state(View::ALL)
    };
    assert_eq!(rows([1, 2, 3], 1), rows([9, 8, 7], 9));
    assert_ne!(rows([1, 2, 3], 1), rows([1, 2, 3], 2), "the tag is another image's");
    let id = Uuid::from_bytes([1; 16]);
    let named = without_ids(&format!("{{\"id\":\"{id}\",\"é\":1}}"), |id| id[0].into());
    assert_eq!(named, "{\"id\":\"#1\",\"é\":1}");
}

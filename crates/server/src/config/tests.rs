//! The sentences of errors, defaults, merging, and what is printed.

use std::path::Path;

use super::*;

fn sources() -> Sources {
    Sources { data: Some("/data".into()), ..Sources::default() }
}

fn parse(text: &str) -> anyhow::Result<Config> {
    Config::parse(&[(Path::new("bonded.toml"), text)], &sources())
}

fn check(text: &str, expected: &str) {
    let error = parse(text).map(|_| ()).expect_err(text);
    assert_eq!(format!("{error:#}"), expected, "{text}");
}

#[test]
fn what_cannot_be_read_is_named_with_its_line() {
    check(
        "unknown_key = 1",
        "bonded.toml line 1: unknown field `unknown_key`, expected one of `data`, \
         `public_name`, `domains`, `database`, `default_account`, `default_region`, `listeners`, \
         `admin`, `names`, `accounts`, `regions`, `keys`, `limits`, `garbage`, `audit`, `images`, \
         `log`, `testing`",
    );
    check(
        "[images]\n\nsparse_indexes = 'perhaps'",
        "bonded.toml line 3: images.sparse_indexes: invalid type: string \"perhaps\", expected a \
         boolean",
    );
    check(
        "[[listeners]]\naddress = '127.0.0.1:1'\n[[listeners]]\naddress = 5",
        "bonded.toml line 4: listeners.address: invalid type: integer `5`, expected a string",
    );
    check(
        "[admin]\nport = 1",
        "bonded.toml line 2: admin: unknown field `port`, expected `listen`",
    );
    check(
        "[limits]\nbody_memory = 1.5",
        "bonded.toml line 2: limits.body_memory: invalid type: floating point `1.5`, expected \
         text such as \"96MiB\" or \"24h\", or a whole number",
    );
    check(
        "[log]\nlevel = ",
        "bonded.toml line 2: string values must be quoted, expected literal string",
    );
}

#[test]
fn values_that_make_no_sense() {
    check(
        "[limits]\nbody_memory = '96 MB'",
        "limits.body_memory: \"96 MB\" is not a size; write for example \"96MiB\"",
    );
    check(
        "[limits]\nmin_free = -1",
        "limits.min_free: -1 is not a size; write for example \"256MiB\"",
    );
    check(
        "[limits]\nbody_memory = '1MiB'",
        "limits.body_memory: \"1MiB\" cannot hold the largest request; write at least \"32MiB\"",
    );
    check(
        "[limits]\nheader_time = 15",
        "limits.header_time: 15 is not a time; write for example \"15s\"",
    );
    check(
        "[limits]\nbody_stall = '0s'",
        "limits.body_stall: \"0s\" is no time at all; write for example \"60s\"",
    );
    check(
        "[limits]\nconnections = 0",
        "limits.connections: 0 is not a number we can keep to; write for example 4096",
    );
    check(
        "[garbage]\ngrace = '5min'",
        "garbage.grace: \"5min\" is too short, because a push must finish within it; write at \
         least \"10min\"",
    );
    check(
        "[audit]\nreads = 'never'",
        "audit.reads: \"never\" is not a way to record; write \"queued\" or \"strict\"",
    );
    check(
        "[log]\nformat = 'xml'",
        "log.format: \"xml\" is not a format; write \"text\" or \"json\"",
    );
    check(
        "[log]\nlevel = 'a=b=c'",
        "log.level: \"a=b=c\" is not a filter; write for example \"info\" or \
         \"info,bonded_db=debug\"",
    );
    check(
        "[log]\notlp_endpoint = '127.0.0.1:4318'",
        "log.otlp_endpoint: \"127.0.0.1:4318\" is not a URL; write for example \
         \"http://127.0.0.1:4318\"",
    );
    check(
        "[testing]\ngarbage_grace = '1s'",
        "testing.allow: this section is for tests alone and can lose images; remove it, or write \
         allow = true",
    );
    check(
        "[keys]\nroot = []",
        "keys.root: the list is empty; write at least one file, or leave it out",
    );
}

#[test]
fn listeners_that_cannot_be() {
    check(
        "[[listeners]]\naddress = 'nowhere'",
        "listeners[0].address: \"nowhere\" is not an IP address with a port; write for example \
         \"127.0.0.1:5000\"",
    );
    check(
        "[[listeners]]\ntls = 'self-signed'",
        "listeners[0].address: missing; write for example \"127.0.0.1:5000\"",
    );
    check("listeners = []", "listeners: the list is empty; write at least one, or leave it out");
    check(
        "[[listeners]]\naddress = '0.0.0.0:5000'",
        "listeners[0]: 0.0.0.0:5000 is not a loopback address and has no TLS; write tls = \
         \"self-signed\", or certificate and key, or trusted_proxies for a proxy that speaks TLS, \
         or insecure_http = true",
    );
    check(
        "[[listeners]]\naddress = '127.0.0.1:1'\n[[listeners]]\naddress = 'localhost:1'",
        "listeners[1].address: listeners[0] has 127.0.0.1:1 already",
    );
    check(
        "[[listeners]]\naddress = '127.0.0.1:1'\ntls = 'yes'",
        "listeners[0].tls: \"yes\" is not a kind of TLS; write \"self-signed\", or leave it out \
         and write certificate and key",
    );
    check(
        "[[listeners]]\naddress = '127.0.0.1:1'\ntls = 'self-signed'\nkey = '/k'",
        "listeners[0].tls: there are certificate or key too; keep one or the other",
    );
    check(
        "[[listeners]]\naddress = '127.0.0.1:1'\ncertificate = '/c'",
        "listeners[0].key: missing; write the file of the certificate's private key",
    );
    check(
        "[[listeners]]\naddress = '127.0.0.1:1'\nkey = '/k'",
        "listeners[0].certificate: missing; write the file of the certificate and its chain",
    );
    check(
        "[[listeners]]\naddress = '127.0.0.1:1'\ntrusted_proxies = ['10.0.0.1', 'proxy']",
        "listeners[0].trusted_proxies[1]: \"proxy\" is not a network; write for example \
         \"10.0.0.0/8\" or \"10.0.0.1\"",
    );
    check("[admin]", "admin.listen: missing; write for example \"127.0.0.1:5001\"");
}

#[test]
fn names_that_cannot_be() {
    check(
        "public_name = 'https://registry.example.com'",
        "public_name: \"https://registry.example.com\" is not a host; write for example \
         \"registry.example.com\", \"registry.example.com:5000\" or \
         \"ACCOUNT.dkr.ecr.REGION.example.com\"",
    );
    check(
        "public_name = 'ACCOUNT-REGION_x.example.com'",
        "public_name: \"ACCOUNT-REGION_x.example.com\" is not a host; write for example \
         \"registry.example.com\", \"registry.example.com:5000\" or \
         \"ACCOUNT.dkr.ecr.REGION.example.com\"",
    );
    check(
        "domains = ['localhost', '*.example.com']",
        "domains[1]: \"*.example.com\" is not a domain; write for example \"example.com\"",
    );
    check(
        "default_account = '12'",
        "default_account: \"12\" is not an account; write twelve digits, for example \
         \"123456789012\"",
    );
    check(
        "default_account = '999999999999'\n[accounts.123456789012]",
        "default_account: \"999999999999\" is not one of accounts; write one of: 123456789012",
    );
    check(
        "[accounts.12]\nname = 'short'",
        "accounts.12: \"12\" is not an account; write twelve digits, for example \"123456789012\"",
    );
    check(
        "[regions.US_EAST]\nstorage = '/a'",
        "regions.US_EAST: \"US_EAST\" is not a region; write up to 32 small letters, digits and \
         hyphens, for example \"us-east-1\"",
    );
    check("[[names]]\naccount = '123456789012'", "names[0]: write either host or listener");
    check(
        "[[names]]\nhost = 'a b'",
        "names[0].host: \"a b\" is not a host; write for example \"registry.example.com\" or \
         \"registry.example.com:5000\"",
    );
    check(
        "[[names]]\nhost = 'a.example.com'\n[[names]]\nhost = 'A.example.com'",
        "names[1]: names[0] is about the same; keep one of them",
    );
    check(
        "[[names]]\nhost = 'a.example.com'\nregion = 'eu-west-1'",
        "names[0].region: \"eu-west-1\" is not one of regions; write one of: us-east-1",
    );
}

#[test]
fn storage_that_cannot_be() {
    check(
        "[regions.a]\n[regions.b]\nstorage = '/b'",
        "regions.a.storage: missing; write a directory or \"s3://BUCKET/PREFIX\"",
    );
    check(
        "[regions.a]\nstorage = '/b'\n[regions.b]\nstorage = '/b'",
        "regions.b.storage: regions.a keeps its objects in the same place; give each region a \
         place of its own",
    );
    check(
        "[regions.a]\nstorage = 'gs://bucket'",
        "regions.a.storage: \"gs://bucket\" is of no kind we know; write a directory or \
         \"s3://BUCKET/PREFIX\"",
    );
    check(
        "[regions.a]\nstorage = '/a'\ns3_endpoint = 'http://127.0.0.1:1'",
        "regions.a.s3_endpoint: only a storage of the form \"s3://BUCKET/PREFIX\" takes it",
    );
    check(
        "[regions.a]\nstorage = 's3://bucket'\ns3_access_key_id = 'id'",
        "regions.a.s3_secret_access_key: missing; it goes with s3_access_key_id, perhaps in a \
         second file of its own",
    );
    check(
        "[regions.a]\nstorage = 's3://bucket'",
        "regions.a.s3_credentials: missing; write the path of a file in AWS's shared credentials \
         format, or s3_access_key_id and s3_secret_access_key",
    );
    check(
        "[regions.a]\nstorage = 's3://bucket'\ns3_credentials = '/no/such/file'",
        "regions.a.s3_credentials: read /no/such/file: No such file or directory (os error 2)",
    );
    check(
        "database = 'mysql://user:secret@host/db'",
        "database: this is neither a file nor a server; write for example \
         \"sqlite:/var/lib/bonded/bonded.db\" or \"postgres://user:password@host:5432/bonded\"",
    );
    check(
        "database = 'sqlite://bonded.db'",
        "database: \"sqlite://bonded.db\" names no file; write for example \
         \"sqlite:/var/lib/bonded/bonded.db\"",
    );
}

#[test]
fn without_a_file_all_has_a_default() {
    let config = Config::parse(&[], &sources()).unwrap();
    let expected = r#"data = "/data"
domains = ["localhost"]
database = "sqlite:/data/bonded.db"
default_account = "123456789012"
default_region = "us-east-1"
names = []

[[listeners]]
address = "127.0.0.1:5000"
insecure_http = false
trusted_proxies = []

[accounts.123456789012]
name = "main"

[regions.us-east-1]
storage = "/data/objects"

[keys]
root = ["/data/keys/root.key"]

[limits]
body_memory = "96MiB"
min_free = "256MiB"
connections = 4096
connections_per_address = 1024
header_time = "15s"
body_stall = "1min"
idle_time = "2min"
drain_time = "30s"
upload_idle = "1d"
uploads_per_principal = 1000
repositories_per_registry = 100000
images_per_repository = 100000

[garbage]
grace = "1d"

[audit]
reads = "queued"
retention = "90d"

[images]
sparse_indexes = false

[log]
level = "info"
format = "text"
access = true
"#;
    assert_eq!(config.to_toml().unwrap(), expected);
}

#[test]
fn without_a_home_the_data_directory_must_be_named() {
    let error = Config::parse(&[], &Sources::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "data: there is no home directory to find it in; give --data DIR, or write data"
    );
    let sources = Sources { data_home: Some("/home/a".into()), ..Sources::default() };
    let config = Config::parse(&[], &sources).unwrap();
    assert_eq!(config.data, Path::new("/home/a/bonded"));
    let file = [(Path::new("f"), "data = \"/var/lib/bonded\"")];
    assert_eq!(Config::parse(&file, &sources).unwrap().data, Path::new("/var/lib/bonded"));
}

/// Everything that has a form of its own.
const FULL: &str = r#"
public_name = "ACCOUNT.dkr.ecr.REGION.Example.com:8443"
domains = ["example.com", "amazonaws.com"]
database = "postgres://bonded:very-secret@db:5432/bonded?sslmode=require"
default_account = "210987654321"
default_region = "eu-central-1"
[[listeners]]
address = "0.0.0.0:5443"
tls = "self-signed"
[[listeners]]
address = "[::]:443"
certificate = "/etc/tls.crt"
key = "/etc/tls.key"
[[listeners]]
address = "10.0.0.1:80"
trusted_proxies = ["10.0.0.0/8", "fd00::1"]
[admin]
listen = "127.0.0.1:5001"
[[names]]
host = "Registry.example.com"
account = "123456789012"
region = "us-east-1"
[[names]]
listener = "10.0.0.1:80"
[accounts.123456789012]
name = "main"
[accounts.210987654321]
[regions.us-east-1]
storage = "s3://bucket/some/prefix/"
s3_endpoint = "http://127.0.0.1:9101"
s3_access_key_id = "AKIAEXAMPLE"
s3_secret_access_key = "very-secret"
[regions.eu-central-1]
storage = "/objects"
[keys]
root = ["/a.key", "/b.key"]
[limits]
body_memory = 67108864
[garbage]
grace = "2d"
[audit]
reads = "strict"
tag_history = "365d"
[log]
format = "json"
otlp_endpoint = "http://127.0.0.1:4318"
[testing]
allow = true
garbage_grace = "1s"
job_interval = "200ms"
"#;

#[test]
fn what_is_printed_means_the_same() {
    let config = parse(FULL).unwrap();
    let printed = config.to_toml().unwrap();
    assert!(!printed.contains("very-secret"), "{printed}");
    assert!(!format!("{config:?}").contains("very-secret"));
    let again = parse(&printed).unwrap();
    assert_eq!(again.to_toml().unwrap(), printed);
}

#[test]
fn everything_is_understood() {
    let config = parse(FULL).unwrap();
    let [first, second, third] = config.listeners.as_slice() else { panic!("{config:?}") };
    assert_eq!(first.tls, Tls::SelfSigned);
    let files = Tls::Files { certificate: "/etc/tls.crt".into(), key: "/etc/tls.key".into() };
    assert_eq!(second.tls, files);
    assert!(third.trusts("10.1.2.3".parse().unwrap()));
    assert!(third.trusts("::ffff:10.1.2.3".parse().unwrap()));
    assert!(third.trusts("fd00::1".parse().unwrap()));
    assert!(!third.trusts("11.1.2.3".parse().unwrap()));
    let [host, listener] = config.names.as_slice() else { panic!("{config:?}") };
    assert_eq!(host.of, Mapped::Host("registry.example.com".to_owned()));
    assert_eq!((host.account.as_str(), host.region.as_str()), ("123456789012", "us-east-1"));
    assert_eq!(
        (listener.account.as_str(), listener.region.as_str()),
        ("210987654321", "eu-central-1")
    );
    let Some(Storage::S3(s3)) = config.regions.get("us-east-1") else { panic!("{config:?}") };
    assert_eq!((s3.bucket.as_str(), s3.prefix.as_str()), ("bucket", "some/prefix"));
    assert_eq!(s3.region, "us-east-1");
    assert_eq!(s3.secret_access_key.expose(), "very-secret");
    assert_eq!(config.limits.body_memory, 64 << 20);
    assert_eq!(config.garbage.grace, Duration::from_secs(1));
    assert_eq!(config.audit.tag_history, Some(Duration::from_secs(365 * 24 * 3_600)));
    assert_eq!(config.testing.unwrap().job_interval, Some(Duration::from_millis(200)));
    let Database::Postgres(url) = config.database else { panic!("no server") };
    assert_eq!(url.expose(), "postgres://bonded:very-secret@db:5432/bonded?sslmode=require");
}

#[test]
fn a_second_file_adds_what_is_secret() {
    let first = "[regions.us-east-1]\nstorage = 's3://bucket'\ns3_region = 'eu-west-1'\n\
        [[listeners]]\naddress = '127.0.0.1:1'\n";
    let second = "[regions.us-east-1]\ns3_access_key_id = 'id'\ns3_secret_access_key = 's'\n";
    let both = [(Path::new("a.toml"), first), (Path::new("b.toml"), second)];
    let config = Config::parse(&both, &sources()).unwrap();
    let Some(Storage::S3(s3)) = config.regions.get("us-east-1") else { panic!("{config:?}") };
    assert_eq!((s3.region.as_str(), s3.access_key_id.as_str()), ("eu-west-1", "id"));
    assert_eq!(config.listeners.len(), 1);

    // A list replaces the one before; errors name the file that is wrong.
    let third = "[[listeners]]\naddress = '127.0.0.1:2'\n";
    let all = [both[0], both[1], (Path::new("c.toml"), third)];
    let config = Config::parse(&all, &sources()).unwrap();
    let addresses: Vec<_> = config.listeners.iter().map(|it| it.address.port()).collect();
    assert_eq!(addresses, [2]);
    let wrong = [both[0], (Path::new("d.toml"), "\n[log]\nformat = 1\n")];
    let error = Config::parse(&wrong, &sources()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "d.toml line 3: log.format: invalid type: integer `1`, expected a string"
    );
}

#[test]
fn the_command_line_moves_the_only_listener() {
    let listen = |text: &str, address: &str| {
        let sources = Sources { listen: Some(address.to_owned()), ..sources() };
        Config::parse(&[(Path::new("t"), text)], &sources)
            .map(|config| config.listeners[0].address.to_string())
            .map_err(|error| error.to_string())
    };
    assert_eq!(listen("", "127.0.0.1:6000").unwrap(), "127.0.0.1:6000");
    let with_tls = "[[listeners]]\naddress = '127.0.0.1:1'\ntls = 'self-signed'";
    assert_eq!(listen(with_tls, "0.0.0.0:6000").unwrap(), "0.0.0.0:6000");
    assert!(listen("", "0.0.0.0:6000").unwrap_err().contains("insecure_http"));
    assert_eq!(
        listen("", "6000").unwrap_err(),
        "--listen: \"6000\" is not an IP address with a port; write for example \"127.0.0.1:5000\""
    );
    let two = "[[listeners]]\naddress = '127.0.0.1:1'\n[[listeners]]\naddress = '127.0.0.1:2'";
    assert_eq!(
        listen(two, "127.0.0.1:3").unwrap_err(),
        "--listen: there are 2 listeners; change their addresses in the configuration"
    );
}

#[test]
fn the_document_names_every_key() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operate/configuration.md");
    let document = std::fs::read_to_string(path).unwrap();
    let config = parse(FULL).unwrap();
    let printed: toml::Table = config.to_toml().unwrap().parse().unwrap();
    let mut keys = Vec::new();
    collect("", &printed, &mut keys);
    assert!(keys.len() > 50, "{keys:?}");
    for key in keys {
        let last = key.rsplit('.').next().unwrap();
        let is_named = document.contains(&format!("`{key}`"))
            || document.contains(&format!("`{last}`"))
            || document.contains(&format!("`[[{key}]]`"))
            || document.contains(&format!("`[{key}]`"))
            || document.contains(&format!("`[{key}."));
        assert!(is_named, "docs/operate/configuration.md does not name {key}");
    }
}

/// All keys of a table and of the tables in it. Accounts and regions have names for keys, and a
/// section needs no line of its own.
fn collect(prefix: &str, table: &toml::Table, keys: &mut Vec<String>) {
    let is_chosen = matches!(prefix, "accounts" | "regions");
    for (key, value) in table {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            toml::Value::Table(table) => collect(&path, table, keys),
            _ if is_chosen => panic!("{path} is no table"),
            _ => keys.push(path.clone()),
        }
        let tables = value.as_array().into_iter().flatten().filter_map(toml::Value::as_table);
        tables.for_each(|table| collect(&path, table, keys));
    }
}

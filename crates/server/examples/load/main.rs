//! Loads a registry through `/v2/` and prints one JSON object with what it saw.
//!
//! It must take far less of the machine than the server that it shares the cores with. So it is
//! one thread that waits for all its connections at once, requests are made before the clock runs
//! or by one copy, and of an answer it reads the status, the length and the location only.
//! Content and digests are made beforehand too: `--wait` prints `ready` then, and begins when a
//! line comes, so that whoever started it can look at the server's clock around the load alone.
//!
//! An answer with an unexpected status ends the run with an error: no figure comes of failures.

mod content;
mod http;
mod report;
mod work;

use std::io::{BufRead as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Parser, Subcommand, ValueEnum};

use http::Target;

/// Loads a registry and prints what it saw as JSON.
#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    server: Server,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
struct Server {
    /// Where the registry listens, without TLS
    #[arg(long)]
    address: SocketAddr,
    /// File with `user:password`, which goes with each request
    #[arg(long)]
    credentials: Option<PathBuf>,
    /// Connections, each with one request at a time
    #[arg(long, default_value_t = 1)]
    clients: usize,
    /// Print `ready` when all is prepared, and begin when a line can be read
    #[arg(long)]
    wait: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Push a small image, which the other commands ask for, and print its digests
    Image(ImageArguments),
    /// Push blobs that are different for each seed
    Push {
        #[command(flatten)]
        blobs: Blobs,
        /// How the bytes go: in the completing PUT, in one PATCH as docker does, or in pieces
        #[arg(long, value_enum, default_value_t = Way::Put)]
        way: Way,
        /// Bytes of a piece
        #[arg(long, default_value_t = 8 << 20)]
        piece: u64,
    },
    /// Pull the blobs that were pushed with the same arguments
    Pull {
        #[command(flatten)]
        blobs: Blobs,
        /// Compare each with its digest, which takes time of the load generator
        #[arg(long)]
        verify: bool,
    },
    /// Ask for one path, or for many of one form
    Get {
        /// `{}` in it becomes a number of seven digits below `--names`
        #[arg(long)]
        path: String,
        #[arg(long, default_value_t = 1)]
        names: u64,
        #[arg(long)]
        head: bool,
        /// End after this many requests …
        #[arg(long, default_value_t = u64::MAX)]
        requests: u64,
        /// … or when this long has passed, whatever comes first
        #[arg(long, default_value_t = 3.0)]
        seconds: f64,
    },
    /// Put tags; `image` has pushed the blobs of their images
    Tags {
        #[command(flatten)]
        image: ImageArguments,
        #[arg(long)]
        count: u64,
        /// The number of the first
        #[arg(long, default_value_t = 0)]
        first: u64,
    },
}

/// A tag or, with the command `tags`, what stands before their numbers.
#[derive(Args)]
struct ImageArguments {
    #[arg(long)]
    repository: String,
    #[arg(long)]
    tag: String,
}

#[derive(Args)]
struct Blobs {
    #[arg(long)]
    repository: String,
    #[arg(long)]
    count: u64,
    /// Bytes of each
    #[arg(long)]
    size: u64,
    #[arg(long)]
    seed: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Way {
    Put,
    Patch,
    Pieces,
}

fn main() -> ExitCode {
    match run(CommandLine::parse()) {
        Ok(line) => {
            // Nobody is left to tell if this fails.
            let _ = writeln!(std::io::stdout(), "{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(line: CommandLine) -> anyhow::Result<serde_json::Value> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let target = target(&line.server)?;
    runtime.block_on(work::command(&line.server, target, line.command))
}

fn target(server: &Server) -> anyhow::Result<Target> {
    let authorization = match &server.credentials {
        None => None,
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("read {}", file.display()))?;
            Some(format!("Basic {}", STANDARD.encode(text.trim())))
        }
    };
    Ok(Target { address: server.address, authorization })
}

/// Tells that all is prepared and waits to be told to begin.
fn wait() -> anyhow::Result<()> {
    let mut output = std::io::stdout();
    writeln!(output, "ready").and_then(|()| output.flush()).context("say that it is ready")?;
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line).context("wait for the start")?;
    anyhow::ensure!(read > 0, "the input ended before the start");
    Ok(())
}

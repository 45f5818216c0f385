//! The program: reads the command line and the environment, and runs one command.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use bonded_server::commands::{ca, config_check, get_login_password, healthcheck, offline, serve};
use bonded_server::config::{Config, Sources};
use bonded_server::log;
use clap::{Args, Parser, Subcommand};

/// Freed memory goes back soon, and threads do not wait for each other to get some.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A container registry that speaks Amazon ECR's API.
#[derive(Parser)]
#[command(name = "bonded", version)]
struct CommandLine {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Args)]
struct Options {
    /// Configuration file; a later one adds to the earlier ones and wins [default: $BONDED_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    config: Vec<PathBuf>,
    /// Data directory [default: bonded in $XDG_DATA_HOME or in ~/.local/share]
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Address of the listener, if there is only one [default: 127.0.0.1:5000]
    #[arg(long, global = true, value_name = "ADDRESS")]
    listen: Option<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server; the command when there is none
    Serve,
    /// Work with the configuration
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Print a password for `docker login --username AWS --password-stdin`
    GetLoginPassword(get_login_password::Arguments),
    /// Print the own CA's certificate, and how to trust it
    Ca,
    /// Ask a running server whether it works
    Healthcheck,
    /// Check every blob against its digest, and rows against objects
    Check(offline::CheckArguments),
    /// Copy the database and every object that it names
    Backup(offline::Directory),
    /// Make a backup the deployment's database and objects
    Restore(offline::Directory),
    /// Seal everything anew under the first root key of the configuration
    RotateRootKey,
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Print what the configuration means, or what is wrong with it
    Check,
}

fn main() -> ExitCode {
    let line = CommandLine::parse();
    match run(line) {
        Ok(code) => code,
        Err(error) => {
            // There is no better place to say it if this fails.
            let _ = writeln!(std::io::stderr(), "bonded: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(line: CommandLine) -> anyhow::Result<ExitCode> {
    let environment = Environment::read();
    let mut config = Config::load(&sources(line.options, &environment))?;
    if let Some(level) = environment.log_level {
        config.log.level = level;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("bonded")
        .build()
        .context("start the runtime")?;
    runtime.block_on(Box::pin(command(line.command.unwrap_or(Command::Serve), &config)))
}

async fn command(command: Command, config: &Config) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve => {
            let logging = log::start(&config.log)?;
            serve::run(config, &logging).await?;
        }
        Command::Config { command: ConfigCommand::Check } => config_check::run(config)?,
        Command::GetLoginPassword(arguments) => {
            get_login_password::run(config, &arguments).await?;
        }
        Command::Ca => ca::run(config)?,
        Command::Healthcheck => healthcheck::run(config).await?,
        Command::Check(arguments) => return offline::check(config, &arguments).await,
        Command::Backup(arguments) => offline::backup(config, &arguments).await?,
        Command::Restore(arguments) => offline::restore(config, &arguments).await?,
        Command::RotateRootKey => offline::rotate_root_key(config).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What the environment may say: where files are, and how much to log.
struct Environment {
    config: Option<PathBuf>,
    data_home: Option<PathBuf>,
    log_level: Option<String>,
}

impl Environment {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    fn read() -> Environment {
        let path = |name| {
            let value = std::env::var_os(name).filter(|value| !value.is_empty());
            value.map(PathBuf::from)
        };
        // The XDG Base Directory Specification: a relative path is to be ignored.
        let data_home = path("XDG_DATA_HOME").filter(|path| path.is_absolute());
        let home = || path("HOME").map(|home| home.join(".local/share"));
        Environment {
            config: path("BONDED_CONFIG"),
            data_home: data_home.or_else(home),
            log_level: std::env::var("RUST_LOG").ok().filter(|level| !level.is_empty()),
        }
    }
}

fn sources(options: Options, environment: &Environment) -> Sources {
    let mut files = options.config;
    if files.is_empty() {
        files.extend(environment.config.clone());
    }
    Sources {
        files,
        data: options.data,
        listen: options.listen,
        data_home: environment.data_home.clone(),
    }
}

//! Fills a stopped deployment with very many tags, images or repositories, for measurements.
//!
//! It goes by the same functions as the server, so that rows, records and events are as the
//! server makes them, only without HTTP, and many tags in one transaction. The deployment must
//! have been started once; images and tags want a repository with an image to be like.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use bonded_account::clock::new_id;
use bonded_account::{Caller, Origin, Request};
use bonded_iam::AccountId;
use bonded_oci::{Reference, RepositoryName, Tag};
use bonded_registry::image::{self, Plane, Put};
use bonded_registry::{Call, Registry, ecr};
use bonded_server::assembly::{self, Assembled};
use bonded_server::config::{Config, Sources};
use bonded_server::credentials;
use bonded_server::names::Names;
use bytes::Bytes;
use clap::{Args, Parser, Subcommand};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};

/// Writes that wait for a commit together.
const AT_ONCE: usize = 64;
/// Tags that are put with one image, below the limit of an image.
const TAGS_PER_IMAGE: u64 = 500;

/// Fills a stopped deployment.
#[derive(Parser)]
struct CommandLine {
    /// Configuration file
    #[arg(long)]
    config: Vec<PathBuf>,
    /// Data directory
    #[arg(long)]
    data: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Tags `t0000000`, `t0000001` …, 500 of each image
    Tags(InRepository),
    /// Images without tags
    Images(InRepository),
    /// Empty repositories `seed/0000000` …
    Repositories(Range),
}

#[derive(Args)]
struct InRepository {
    #[arg(long)]
    repository: RepositoryName,
    /// The image whose layers the new ones have
    #[arg(long, default_value = "v1")]
    like: Tag,
    #[command(flatten)]
    range: Range,
}

#[derive(Args)]
struct Range {
    #[arg(long)]
    count: u64,
    /// The number of the first
    #[arg(long, default_value_t = 0)]
    first: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let line = CommandLine::parse();
    let sources = Sources { files: line.config, data: Some(line.data), ..Sources::default() };
    let config = Config::load(&sources)?;
    let first = config.listeners.first().context("there is no listener")?;
    let names = Arc::new(Names::new(&config, first.address));
    let Assembled { registry, audit_writer } =
        assembly::open_existing(&config, &names, true).await?;
    let key = credentials::read(&config.data.join("credentials"), "default")?.access_key_id;
    let seed = Seed { registry, config, key };
    match line.command {
        Command::Tags(wanted) => seed.images(wanted, TAGS_PER_IMAGE).await?,
        Command::Images(wanted) => seed.images(wanted, 0).await?,
        Command::Repositories(range) => seed.repositories(&range).await?,
    }
    drop(seed);
    audit_writer.await.context("write the last records")
}

struct Seed {
    registry: Arc<Registry>,
    config: Config,
    /// The access key of the account's root.
    key: String,
}

impl Seed {
    fn account(&self) -> anyhow::Result<AccountId> {
        self.config.default_account.parse().context("the default account")
    }

    /// A call as a request of the account's root begins it.
    fn call(&self, operation: &'static str) -> anyhow::Result<Call> {
        let account = self.account()?;
        let caller = Caller {
            account: account.to_string(),
            principal_id: account.to_string(),
            access_key_id: self.key.clone(),
        };
        let origin = Origin {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            secure: false,
            user_agent: Some("seed".to_owned()),
            referer: None,
            tls: None,
        };
        let services = Arc::clone(&self.registry.services);
        let id = new_id(services.clock.now());
        let region = self.config.default_region.clone();
        let request = Arc::new(Request::new(services, id, region, caller, origin));
        Ok(Call::begin(Arc::clone(&self.registry), request, account, operation, false))
    }

    /// Puts images; with tags, `count` is the number of tags.
    async fn images(&self, wanted: InRepository, tags: u64) -> anyhow::Result<()> {
        let like = self.manifest(&wanted).await?;
        let Range { count, first } = wanted.range;
        let images = if tags == 0 { count } else { count.div_ceil(tags) };
        let puts = (0..images).map(|number| {
            let end = (number + 1).saturating_mul(tags).min(count);
            let numbers = (number * tags + first)..(end + first);
            self.put(&wanted.repository, &like, format!("{first}-{number}-{tags}"), numbers)
        });
        stream::iter(puts).buffer_unordered(AT_ONCE).try_collect::<()>().await
    }

    /// The manifest that the new ones are made of.
    async fn manifest(&self, wanted: &InRepository) -> anyhow::Result<Value> {
        let call = self.call("BatchGetImage")?;
        let ask = "ecr:BatchGetImage";
        let permit = call.repository(ask, &self.account()?, &wanted.repository).await?;
        let found = image::pull(&call, &permit, &Reference::Tag(wanted.like.clone())).await?;
        let found = found.with_context(|| format!("there is no tag {}", wanted.like.as_str()))?;
        serde_json::from_slice(&found.bytes).context("read the manifest")
    }

    async fn put(
        &self,
        repository: &RepositoryName,
        like: &Value,
        name: String,
        tags: std::ops::Range<u64>,
    ) -> anyhow::Result<()> {
        let mut manifest = like.clone();
        manifest["annotations"] = json!({ "org.opencontainers.image.title": name });
        let tags = tags.map(|number| format!("t{number:07}").parse().context("a tag"));
        let put = Put {
            plane: Plane::V2,
            bytes: Bytes::from(manifest.to_string()),
            media_type: None,
            tags: tags.collect::<anyhow::Result<_>>()?,
            digest: None,
        };
        let call = self.call("PutImage")?;
        let permit = call.repository("ecr:PutImage", &self.account()?, repository).await?;
        image::put(&call, &permit, put).await?;
        Ok(())
    }

    async fn repositories(&self, range: &Range) -> anyhow::Result<()> {
        ensure!(range.count > 0, "--count must be at least 1");
        let made = (range.first..range.first + range.count).map(|number| async move {
            let call = self.call("CreateRepository")?;
            let body = json!({ "repositoryName": format!("seed/{number:07}") });
            ecr::run(&call, body.to_string().into_bytes()).await?;
            anyhow::Ok(())
        });
        stream::iter(made).buffer_unordered(AT_ONCE).try_collect::<()>().await
    }
}

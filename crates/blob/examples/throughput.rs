//! Measures what a transfer costs in a directory: CPU-ms for each MB, and time.
//!
//! `cargo run --release -p bonded-blob --example throughput -- [DIRECTORY]`
//!
//! A write is hashed, sealed, stored and synced as an upload is; a read is opened as a pull is,
//! from the page cache. No HTTP is in it. The directory should be on the disk that is meant: in
//! memory a sync costs nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bonded_blob::{BlobReader, BlobStore, DirectoryStore, Segment, cobblestone, seal};
use futures::TryStreamExt as _;
use futures::future::try_join_all;
use sha2::{Digest as _, Sha256};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEY: [u8; 32] = [1; 32];
const LARGE: usize = 256 << 20;
const SMALL: usize = 64 << 10;
/// Frames as they come from a connection.
const FRAME: usize = 128 << 10;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let place = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = tempfile::tempdir_in(place).context("make a directory")?;
    let store = Arc::new(DirectoryStore::open(directory.path()).await?);
    let plain: Vec<u8> = (0u32..).flat_map(u32::to_le_bytes).take(LARGE).collect();

    for round in 0..4 {
        let start = Usage::now()?;
        let segment = write(&store, round, &plain).await?;
        start.tell("write 256 MiB, one client", LARGE)?;
        let start = Usage::now()?;
        read(&store, segment.clone()).await?;
        start.tell("read 256 MiB, one client", LARGE)?;
        let start = Usage::now()?;
        try_join_all((0..8).map(|_| tokio::spawn(owned(Arc::clone(&store), segment.clone()))))
            .await?;
        start.tell("read 256 MiB, eight clients", 8 * LARGE)?;
        // The next round writes into the same memory: pages that a virtual machine touches for
        // the first time cost more than everything measured here.
        store.delete(segment.object).await?;
    }
    let start = Usage::now()?;
    let mut small = Vec::new();
    for number in 100..600 {
        small.push(write(&store, number, plain.get(..SMALL).unwrap_or_default()).await?);
    }
    start.tell("write 500 x 64 KiB, one client", 500 * SMALL)?;
    let start = Usage::now()?;
    for segment in small {
        read(&store, segment).await?;
    }
    start.tell("read 500 x 64 KiB, one client", 500 * SMALL)?;
    let before = store.syncs().folders();
    let start = Usage::now()?;
    let piece = plain.get(..SMALL).unwrap_or_default();
    try_join_all((1_000..2_000).map(|number| write(&store, number, piece))).await?;
    start.tell("write 1000 x 64 KiB at once", 1_000 * SMALL)?;
    tell(&format!("syncs of folders for those 1000: {}", store.syncs().folders() - before));
    Ok(())
}

/// Writes one blob of one segment as an upload does.
async fn write(store: &Arc<DirectoryStore>, number: u64, plain: &[u8]) -> anyhow::Result<Segment> {
    let mut random = [9; 16];
    random.iter_mut().rev().zip(number.to_le_bytes()).for_each(|(to, from)| *to = from);
    let object = store.name(random);
    let context = cobblestone::segment_context(object, 0);
    let (mut writer, body) = seal(&KEY, [2; 24], &context);
    let feed = async move {
        let mut hash = Sha256::new();
        for frame in plain.chunks(FRAME) {
            hash.update(frame);
            writer.write(frame).await?;
        }
        std::hint::black_box(hash.finalize());
        writer.finish().await
    };
    let (fed, stored) = tokio::join!(feed, store.put(object, body));
    stored?;
    Ok(Segment { object, offset: 0, size: fed?, bytes: None })
}

async fn read(store: &Arc<DirectoryStore>, segment: Segment) -> anyhow::Result<()> {
    let store = Arc::<DirectoryStore>::clone(store);
    let range = 0..segment.size;
    let mut reader = BlobReader::open(store, &KEY, vec![segment], range).await?;
    while let Some(frame) = reader.try_next().await? {
        std::hint::black_box(frame);
    }
    Ok(())
}

async fn owned(store: Arc<DirectoryStore>, segment: Segment) -> anyhow::Result<()> {
    read(&store, segment).await
}

/// CPU and time when a measurement began.
struct Usage {
    user: Duration,
    system: Duration,
    wall: Instant,
}

impl Usage {
    fn now() -> anyhow::Result<Usage> {
        // The kernel counts both in hundredths of a second.
        let stat = std::fs::read_to_string("/proc/self/stat").context("read the CPU time")?;
        let fields: Vec<&str> =
            stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |field: usize| -> anyhow::Result<Duration> {
            let ticks: u64 = fields.get(field).context("there is no such field")?.parse()?;
            Ok(Duration::from_millis(ticks * 10))
        };
        Ok(Usage { user: ticks(11)?, system: ticks(12)?, wall: Instant::now() })
    }

    fn tell(self, what: &str, bytes: usize) -> anyhow::Result<()> {
        let wall = self.wall.elapsed();
        let now = Usage::now()?;
        let megabytes = f64::from(u32::try_from(bytes / 1_000)?) / 1_000.0;
        let each = |now: Duration, then: Duration| (now - then).as_secs_f64() * 1_000.0 / megabytes;
        let (user, system) = (each(now.user, self.user), each(now.system, self.system));
        let (all, wall) = (user + system, wall.as_secs_f64() * 1_000.0);
        tell(&format!("{what}: {all:.2} CPU-ms/MB ({user:.2} + {system:.2}), {wall:.0} ms"));
        Ok(())
    }
}

#[expect(clippy::print_stdout, reason = "the measurement is the output")]
fn tell(line: &str) {
    println!("{line}");
}

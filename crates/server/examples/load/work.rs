//! The commands: what each client does, one request after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::content::{self, Blob, Image, MANIFEST, blobs, length, noise};
use crate::http::{Answer, Connection, Target};
use crate::report::{Seen, cpu, report};
use crate::{Command, ImageArguments, Server, Way, wait};

/// All that clients share.
struct Plan {
    target: Target,
    noise: Vec<u8>,
    blobs: Vec<Blob>,
    /// Of the images that tags are put for.
    manifests: Vec<Vec<u8>>,
    work: Work,
    /// The number of the next item that nobody has taken.
    next: AtomicU64,
    /// How many there are.
    items: u64,
    time: Duration,
}

enum Work {
    Push { repository: String, way: Way, piece: u64 },
    Pull { repository: String, verify: bool },
    Get { path: String, names: u64, head: bool, prepared: Vec<u8> },
    Tags { repository: String, prefix: String, first: u64 },
}

/// Tags of one image. An image cannot have any number of them.
const TAGS_PER_IMAGE: u64 = 500;

/// Runs a command and says what came of it.
pub(crate) async fn command(
    server: &Server,
    target: Target,
    command: Command,
) -> anyhow::Result<Value> {
    if let Command::Image(arguments) = command {
        return image(&target, &arguments).await;
    }
    let plan = Arc::new(plan(target, command)?);
    let mut connections = Vec::new();
    for _ in 0..server.clients {
        connections.push(Connection::open(&plan.target).await?);
    }
    prepare(&plan, &mut connections).await?;
    if server.wait {
        wait()?;
    }
    let cpu_before = cpu()?;
    let began = Instant::now();
    let clients: Vec<_> = connections
        .into_iter()
        .map(|connection| tokio::spawn(client(Arc::clone(&plan), connection, began)))
        .collect();
    let mut seen = Vec::new();
    for client in clients {
        seen.push(client.await.context("a client")??);
    }
    let time = began.elapsed();
    Ok(report(seen, time, cpu()?.saturating_sub(cpu_before)))
}

fn plan(target: Target, command: Command) -> anyhow::Result<Plan> {
    let noise = noise();
    let mut wanted = Vec::new();
    let mut manifests = Vec::new();
    let mut time = Duration::MAX;
    let (work, items) = match command {
        Command::Image(_) => anyhow::bail!("an image is no load"),
        Command::Push { blobs: arguments, way, piece } => {
            wanted = blobs(&noise, &arguments);
            (Work::Push { repository: arguments.repository, way, piece }, arguments.count)
        }
        Command::Pull { blobs: arguments, verify } => {
            wanted = blobs(&noise, &arguments);
            (Work::Pull { repository: arguments.repository, verify }, arguments.count)
        }
        Command::Get { path, names, head, requests, seconds } => {
            ensure!(names > 0, "--names must be at least 1");
            time = Duration::try_from_secs_f64(seconds).context("--seconds")?;
            let prepared = get_request(&target, &path, head);
            (Work::Get { path, names, head, prepared }, requests)
        }
        Command::Tags { image, count, first } => {
            let made = Image::new(&noise);
            for number in 0..count.div_ceil(TAGS_PER_IMAGE) {
                manifests.push(made.manifest(&format!("{}{first}-{number}", image.tag)));
            }
            (Work::Tags { repository: image.repository, prefix: image.tag, first }, count)
        }
    };
    let next = AtomicU64::new(0);
    Ok(Plan { target, noise, blobs: wanted, manifests, work, next, items, time })
}

/// Puts the images that tags will be put for, by digest.
async fn prepare(plan: &Plan, connections: &mut [Connection]) -> anyhow::Result<()> {
    let Work::Tags { repository, .. } = &plan.work else { return Ok(()) };
    let connection = connections.first_mut().context("--clients must be at least 1")?;
    for manifest in &plan.manifests {
        let digest = content::digest(manifest);
        put_manifest(&plan.target, connection, repository, &digest, manifest).await?;
    }
    Ok(())
}

fn get_request(target: &Target, path: &str, head: bool) -> Vec<u8> {
    target.head(if head { "HEAD" } else { "GET" }, path, &[("Accept", MANIFEST)], None)
}

/// Takes items until there are none, or the time is up.
async fn client(
    plan: Arc<Plan>,
    mut connection: Connection,
    began: Instant,
) -> anyhow::Result<Seen> {
    let mut seen = Seen::default();
    let mut now = began;
    while now.duration_since(began) < plan.time {
        let number = plan.next.fetch_add(1, Ordering::Relaxed);
        if number >= plan.items {
            break;
        }
        seen.bytes += item(&plan, &mut connection, number).await?;
        let after = Instant::now();
        seen.waits.push(after.duration_since(now));
        now = after;
    }
    Ok(seen)
}

/// Does one item and says how many bytes of content it moved.
async fn item(plan: &Plan, connection: &mut Connection, number: u64) -> anyhow::Result<u64> {
    match &plan.work {
        Work::Push { repository, way, piece } => {
            let blob = &plan.blobs[usize::try_from(number)?];
            push(plan, connection, repository, (*way, *piece), blob).await
        }
        Work::Pull { repository, verify } => {
            let blob = &plan.blobs[usize::try_from(number)?];
            pull(plan, connection, repository, blob, *verify).await
        }
        Work::Get { path, names, head, prepared } => {
            if *names > 1 {
                // A stride that has no divisor in common with round numbers visits all names.
                let name = number.wrapping_mul(7_919) % names;
                let path = path.replace("{}", &format!("{name:07}"));
                connection.send(&get_request(&plan.target, &path, *head)).await?;
            } else {
                connection.send(prepared).await?;
            }
            let answer = expect(connection.answer(*head, false).await?, 200)?;
            Ok(answer.length)
        }
        Work::Tags { repository, prefix, first } => {
            let tag = format!("{prefix}{:07}", first + number);
            let manifest = &plan.manifests[usize::try_from(number / TAGS_PER_IMAGE)?];
            put_manifest(&plan.target, connection, repository, &tag, manifest).await
        }
    }
}

/// Fails when an answer has another status.
fn expect(answer: Answer, status: u16) -> anyhow::Result<Answer> {
    ensure!(answer.status == status, "status {} instead of {status}", answer.status);
    Ok(answer)
}

async fn push(
    plan: &Plan,
    connection: &mut Connection,
    repository: &str,
    (way, piece): (Way, u64),
    blob: &Blob,
) -> anyhow::Result<u64> {
    let mut location = begin_upload(&plan.target, connection, repository).await?;
    let octets = ("Content-Type", "application/octet-stream");
    let mut offset = 0;
    while way != Way::Put && offset < blob.size {
        let size = if way == Way::Patch { blob.size } else { piece.min(blob.size - offset) };
        let range = format!("{offset}-{}", offset + size - 1);
        let headers: &[_] = match way {
            Way::Pieces => &[octets, ("Content-Range", &range)],
            Way::Put | Way::Patch => &[octets],
        };
        let head = plan.target.head("PATCH", &location, headers, Some(size));
        send_part(plan, connection, head, blob, offset..offset + size).await?;
        let answer = expect(connection.answer(false, false).await?, 202)?;
        location = answer.location.context("the answer to PATCH has no Location")?;
        offset += size;
    }
    let mark = if location.contains('?') { '&' } else { '?' };
    let path = format!("{location}{mark}digest={}", blob.digest);
    let head = plan.target.head("PUT", &path, &[octets], Some(blob.size - offset));
    send_part(plan, connection, head, blob, offset..blob.size).await?;
    expect(connection.answer(false, false).await?, 201)?;
    Ok(blob.size)
}

async fn begin_upload(
    target: &Target,
    connection: &mut Connection,
    repository: &str,
) -> anyhow::Result<String> {
    let path = format!("/v2/{repository}/blobs/uploads/");
    connection.send(&target.head("POST", &path, &[], Some(0))).await?;
    let answer = expect(connection.answer(false, false).await?, 202)?;
    answer.location.context("the answer to POST has no Location")
}

/// Sends a request with a part of a blob. What is small goes out at once.
async fn send_part(
    plan: &Plan,
    connection: &mut Connection,
    mut head: Vec<u8>,
    blob: &Blob,
    part: std::ops::Range<u64>,
) -> anyhow::Result<()> {
    let mut offset = part.start;
    while offset < part.end {
        let piece = blob.piece(&plan.noise, offset, part.end - offset);
        offset += length(piece);
        if head.is_empty() {
            connection.send(piece).await?;
        } else {
            head.extend_from_slice(piece);
            if head.len() >= 64 << 10 || offset == part.end {
                connection.send(&head).await?;
                head.clear();
            }
        }
    }
    if head.is_empty() { Ok(()) } else { connection.send(&head).await }
}

async fn pull(
    plan: &Plan,
    connection: &mut Connection,
    repository: &str,
    blob: &Blob,
    verify: bool,
) -> anyhow::Result<u64> {
    let path = format!("/v2/{repository}/blobs/{}", blob.digest);
    connection.send(&plan.target.head("GET", &path, &[], None)).await?;
    let answer = expect(connection.answer(false, verify).await?, 200)?;
    ensure!(answer.length == blob.size, "{} bytes instead of {}", answer.length, blob.size);
    if let Some(found) = answer.sha256 {
        ensure!(blob.digest == format!("sha256:{found}"), "{} has other bytes", blob.digest);
    }
    Ok(answer.length)
}

async fn put_manifest(
    target: &Target,
    connection: &mut Connection,
    repository: &str,
    reference: &str,
    manifest: &[u8],
) -> anyhow::Result<u64> {
    let path = format!("/v2/{repository}/manifests/{reference}");
    let size = length(manifest);
    let mut request = target.head("PUT", &path, &[("Content-Type", MANIFEST)], Some(size));
    request.extend_from_slice(manifest);
    connection.send(&request).await?;
    expect(connection.answer(false, false).await?, 201)?;
    Ok(size)
}

/// Pushes the image and says by what it can be asked for.
async fn image(target: &Target, arguments: &ImageArguments) -> anyhow::Result<Value> {
    let image = Image::new(&noise());
    let mut connection = Connection::open(target).await?;
    for bytes in [&image.config, &image.layer] {
        let location = begin_upload(target, &mut connection, &arguments.repository).await?;
        let mark = if location.contains('?') { '&' } else { '?' };
        let path = format!("{location}{mark}digest={}", content::digest(bytes));
        let headers = [("Content-Type", "application/octet-stream")];
        let mut request = target.head("PUT", &path, &headers, Some(length(bytes)));
        request.extend_from_slice(bytes);
        connection.send(&request).await?;
        expect(connection.answer(false, false).await?, 201)?;
    }
    let (repository, tag) = (&arguments.repository, &arguments.tag);
    let manifest = image.manifest(tag);
    put_manifest(target, &mut connection, repository, tag, &manifest).await?;
    Ok(json!({
        "manifest": content::digest(&manifest),
        "layer": content::digest(&image.layer),
        "layer_size": image.layer.len(),
    }))
}

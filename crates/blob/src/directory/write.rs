//! Writing an object: collect a large piece, write it in the pool, collect the next meanwhile.
//!
//! A hop to the pool costs some 20 µs, so a small object takes one and a large one takes one
//! for each half mebibyte.

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Buf, Bytes};
use futures::StreamExt;
use rustix::io::Errno;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::{Folder, blocking};
use crate::sync::Asked;
use crate::{ByteStream, Error, ObjectName};

/// Bytes that are written at once. Two such pieces of a transfer are in memory at most, and
/// what one frame has more.
const PIECE: usize = 512 * 1024;
/// The same while more than [`FEW`] objects are written: memory counts more than hops then.
const SMALL_PIECE: usize = 128 * 1024;
const FEW: usize = 16;

/// How many objects are being written to a store.
#[derive(Clone, Default)]
pub(super) struct Writing(Arc<AtomicUsize>);

/// One of them, until it is dropped.
struct Turn(Writing);

impl Turn {
    fn begin(writing: &Writing) -> Turn {
        writing.0.fetch_add(1, Ordering::Relaxed);
        Turn(writing.clone())
    }

    fn piece(&self) -> usize {
        if self.0.0.load(Ordering::Relaxed) > FEW { SMALL_PIECE } else { PIECE }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Frames that are written at once, well below the kernel's limit of 1,024.
const PIECE_FRAMES: usize = 256;

pub(super) async fn put(
    folder: &Arc<Folder>,
    name: ObjectName,
    mut body: ByteStream,
    writing: &Writing,
) -> Result<u64, Error> {
    let turn = Turn::begin(writing);
    let mut piece = Piece::collect(&mut body, turn.piece()).await?;
    let mut last = piece.last;
    let folder = Arc::clone(folder);
    let mut writing = tokio::task::spawn_blocking(move || {
        Unfinished::create(folder, name).and_then(|file| file.write(piece))
    });
    while !last {
        piece = match Piece::collect(&mut body, turn.piece()).await {
            Ok(piece) => piece,
            Err(error) => {
                discard(writing).await;
                return Err(error);
            }
        };
        last = piece.last;
        let file = written(writing).await?;
        writing = tokio::task::spawn_blocking(move || file.write(piece));
    }
    let mut file = written(writing).await?;
    match file.folder_synced().await {
        Ok(()) => Ok(file.keep()),
        Err(error) => {
            remove(file).await;
            Err(error.into())
        }
    }
}

async fn written(writing: JoinHandle<Result<Unfinished, Error>>) -> Result<Unfinished, Error> {
    writing.await.map_err(|error| Error::Io(io::Error::other(error)))?
}

/// Waits for a write that nobody needs any more, and removes the file.
async fn discard(writing: JoinHandle<Result<Unfinished, Error>>) {
    if let Ok(file) = written(writing).await {
        remove(file).await;
    }
}

async fn remove(file: Unfinished) {
    // The error before this one is told; a file that stays is found by the sweep.
    let _ = blocking(move || {
        file.remove();
        Ok(())
    })
    .await;
}

/// Frames of a body that are written together.
struct Piece {
    frames: Vec<Bytes>,
    last: bool,
}

impl Piece {
    /// About `wanted` bytes, or what is left.
    async fn collect(body: &mut ByteStream, wanted: usize) -> Result<Piece, Error> {
        let mut frames = Vec::new();
        let mut size = 0;
        while size < wanted && frames.len() < PIECE_FRAMES {
            match body.next().await {
                Some(Ok(frame)) if frame.is_empty() => {}
                Some(Ok(frame)) => {
                    size += frame.len();
                    frames.push(frame);
                }
                Some(Err(error)) => return Err(error),
                None => return Ok(Piece { frames, last: true }),
            }
        }
        Ok(Piece { frames, last: false })
    }
}

/// A file that is not an object yet. It is removed when nobody keeps it, so a request that
/// ends early leaves nothing.
struct Unfinished {
    folder: Arc<Folder>,
    name: ObjectName,
    file: OwnedFd,
    size: u64,
    /// The folder's sync, asked for when the file existed.
    folder_sync: Option<Asked>,
    kept: bool,
}

impl Unfinished {
    fn create(folder: Arc<Folder>, name: ObjectName) -> Result<Unfinished, Error> {
        let file = match folder.create_file(name) {
            Ok(file) => file,
            Err(Errno::EXIST) => return Err(Error::Exists(name)),
            Err(error) => return Err(error.into()),
        };
        Ok(Unfinished { folder, name, file, size: 0, folder_sync: None, kept: false })
    }

    /// Writes a piece, and after the last one syncs the file.
    fn write(mut self, piece: Piece) -> Result<Unfinished, Error> {
        match self.try_write(piece) {
            Ok(()) => Ok(self),
            Err(error) => {
                self.remove();
                Err(error.into())
            }
        }
    }

    fn try_write(&mut self, mut piece: Piece) -> Result<(), Errno> {
        // The folder's sync needs the file's name and not its bytes, so it runs while they
        // are written and, in a longer transfer, long before the last of them has come.
        self.folder_sync.get_or_insert_with(|| self.folder.sync.ask());
        self.write_all(&mut piece.frames)?;
        if piece.last {
            self.folder.syncs.file()?;
            rustix::fs::fdatasync(&self.file)?;
        }
        Ok(())
    }

    fn write_all(&mut self, frames: &mut Vec<Bytes>) -> Result<(), Errno> {
        while !frames.is_empty() {
            let slices: Vec<IoSlice<'_>> = frames.iter().map(|it| IoSlice::new(it)).collect();
            let mut count = match rustix::io::pwritev(&self.file, &slices, self.size) {
                Ok(0) => return Err(Errno::IO),
                Ok(count) => count,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error),
            };
            self.size += u64::try_from(count).expect("a size in memory fits u64");
            // Nearly always all of it; a part only when the disk is full or a signal came.
            frames.retain_mut(|frame| {
                let done = count.min(frame.len());
                frame.advance(done);
                count -= done;
                !frame.is_empty()
            });
        }
        Ok(())
    }

    async fn folder_synced(&mut self) -> io::Result<()> {
        match self.folder_sync.take() {
            Some(asked) => asked.done().await,
            None => self.folder.sync.ask().done().await,
        }
    }

    /// The file is an object now; returns its size.
    fn keep(mut self) -> u64 {
        self.kept = true;
        self.size
    }

    fn remove(mut self) {
        self.kept = true;
        // A file that cannot be removed is found by the sweep.
        let _ = self.folder.remove(self.name);
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        // The put was given up. Removing a large file takes a while, and this may be a thread
        // that serves others.
        let (folder, name) = (Arc::clone(&self.folder), self.name);
        let remove = move || {
            let _ = folder.remove(name);
        };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

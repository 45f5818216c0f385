//! Objects as files of one directory.
//!
//! An object is the file `ab/abcd…`, its 32 digits in one of 256 folders. A file is made under
//! its last name, so nothing is renamed; one that a crash left behind is an object that no row
//! names. Only this process' user may read them, and no link is followed below the directory.
//!
//! **Invariant:** [`put`](BlobStore::put) returns after a sync of the file and then one of its
//! folder, which began when the file existed. The folders themselves are synced at the start.

mod read;
mod write;

use std::collections::BinaryHeap;
use std::fs::DirBuilder;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::directory::read::FileBody;
use crate::directory::write::Writing;
use crate::sync::{SharedSync, Syncs};
use crate::{BlobStore, ByteStream, Error, LIST_LIMIT, Listed, ObjectName};

/// How long and how many objects one folder is filled before another one is taken: writers of
/// the same minute meet in one folder and share its syncs.
const FILL_TIME: Duration = Duration::from_secs(60);
const FILL_OBJECTS: u32 = 4_096;

/// What to do when a folder could not be synced. It should not return: see
/// [`DirectoryStore::open`].
pub type OnFatal = Arc<dyn Fn(&io::Error) + Send + Sync>;

/// A [`BlobStore`] in a directory of a local or shared file system.
///
/// It holds a descriptor of each of its 256 folders, so a process that opens several stores
/// needs a higher limit of open files than 1,024. Must be used inside a tokio runtime.
pub struct DirectoryStore {
    root: OwnedFd,
    folders: Vec<Arc<Folder>>,
    filling: Mutex<Filling>,
    writing: Writing,
    syncs: Arc<Syncs>,
}

struct Folder {
    directory: Arc<OwnedFd>,
    sync: SharedSync,
    syncs: Arc<Syncs>,
}

impl DirectoryStore {
    /// Opens a directory, and makes it with its 256 folders if need be.
    ///
    /// When a sync of a folder fails, nobody can say which of the objects written since the
    /// last one are durable, and asking again would be answered with a false yes. So the
    /// process is aborted; what was acknowledged before is on the disk.
    pub async fn open(path: impl AsRef<Path>) -> Result<DirectoryStore, Error> {
        let abort = |error: &io::Error| {
            tracing::error!(%error, "a folder of the object store cannot be synced, stopping");
            std::process::abort();
        };
        DirectoryStore::open_with(path, Arc::new(abort)).await
    }

    /// As [`open`](DirectoryStore::open), with something else to do when a folder's sync
    /// fails. If that returns, the objects that waited for the sync fail.
    pub async fn open_with(
        path: impl AsRef<Path>,
        on_fatal: OnFatal,
    ) -> Result<DirectoryStore, Error> {
        let path = path.as_ref().to_owned();
        blocking(move || DirectoryStore::open_now(&path, &on_fatal)).await
    }

    fn open_now(path: &Path, on_fatal: &OnFatal) -> Result<DirectoryStore, Error> {
        make_directory(path)?;
        let root = rustix::fs::open(path, DIRECTORY, Mode::empty())?;
        let syncs = Arc::new(Syncs::default());
        let mut folders = Vec::with_capacity(256);
        for number in 0..=u8::MAX {
            folders.push(Arc::new(Folder::open(&root, number, &syncs, on_fatal)?));
        }
        rustix::fs::fsync(&root)?;
        Ok(DirectoryStore {
            root,
            folders,
            filling: Mutex::default(),
            writing: Writing::default(),
            syncs,
        })
    }

    /// The counts of syncs, which go on counting.
    pub fn syncs(&self) -> Arc<Syncs> {
        Arc::clone(&self.syncs)
    }

    fn folder(&self, name: ObjectName) -> &Arc<Folder> {
        self.folders.get(usize::from(name.folder())).expect("there is a folder for each byte")
    }
}

#[async_trait]
impl BlobStore for DirectoryStore {
    async fn put(&self, name: ObjectName, body: ByteStream) -> Result<u64, Error> {
        write::put(self.folder(name), name, body, &self.writing).await
    }

    async fn get(&self, name: ObjectName, range: Range<u64>) -> Result<Option<ByteStream>, Error> {
        let folder = self.folder(name);
        let opened = match folder.open_cached(name) {
            Err(Errno::NOENT) => Err(Errno::NOENT),
            Ok(file) => Ok(file),
            Err(_) => {
                let folder = Arc::clone(folder);
                blocking(move || Ok(folder.open_file(name))).await?
            }
        };
        match opened {
            Ok(file) => Ok(Some(Box::pin(FileBody::new(file, range)))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn delete(&self, name: ObjectName) -> Result<(), Error> {
        let folder = Arc::clone(self.folder(name));
        blocking(move || match folder.remove(name) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        })
        .await
    }

    async fn list(&self, after: Option<ObjectName>) -> Result<Vec<Listed>, Error> {
        let first = after.map_or(0, |it| usize::from(it.folder()));
        let folders: Vec<_> = self.folders.iter().skip(first).cloned().collect();
        blocking(move || {
            let mut page = Vec::new();
            for folder in folders {
                folder.list(after, &mut page)?;
                if page.len() >= LIST_LIMIT {
                    break;
                }
            }
            Ok(page)
        })
        .await
    }

    fn name(&self, random: [u8; 16]) -> ObjectName {
        let [first, rest @ ..] = random;
        let mut filling = self.filling.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = filling.next(Instant::now(), first);
        let mut name = [folder; 16];
        let (_, tail) = name.split_at_mut(1);
        tail.copy_from_slice(&rest);
        ObjectName(name)
    }

    fn free_bytes(&self) -> Result<Option<u64>, Error> {
        let file_system = rustix::fs::fstatvfs(&self.root)?;
        Ok(Some(file_system.f_bavail.saturating_mul(file_system.f_frsize)))
    }
}

/// Which folder new objects go to.
#[derive(Default)]
struct Filling {
    folder: u8,
    since: Option<Instant>,
    left: u32,
}

impl Filling {
    /// The folder of the next object; when it is time for another one, `random` is that.
    fn next(&mut self, now: Instant, random: u8) -> u8 {
        let fresh = self.since.is_some_and(|since| now.duration_since(since) < FILL_TIME);
        if !fresh || self.left == 0 {
            *self = Filling { folder: random, since: Some(now), left: FILL_OBJECTS };
        }
        self.left -= 1;
        self.folder
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const READ: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const CREATE: OFlags = OFlags::WRONLY
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

impl Folder {
    fn open(
        root: &OwnedFd,
        number: u8,
        syncs: &Arc<Syncs>,
        on_fatal: &OnFatal,
    ) -> Result<Folder, Error> {
        let path = format!("{number:02x}");
        match rustix::fs::mkdirat(root, &path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let directory =
            rustix::fs::openat(root, &path, DIRECTORY | OFlags::NOFOLLOW, Mode::empty());
        let directory = Arc::new(directory?);
        let sync = folder_sync(Arc::clone(&directory), Arc::clone(syncs), Arc::clone(on_fatal));
        Ok(Folder { directory, sync, syncs: Arc::clone(syncs) })
    }

    fn create_file(&self, name: ObjectName) -> Result<OwnedFd, Errno> {
        rustix::fs::openat(&self.directory, name.to_string(), CREATE, Mode::RUSR | Mode::WUSR)
    }

    fn open_file(&self, name: ObjectName) -> Result<OwnedFd, Errno> {
        rustix::fs::openat(&self.directory, name.to_string(), READ, Mode::empty())
    }

    /// Opens a file only if the kernel needs no disk for it. Any error but "no entry" may
    /// mean no more than that, or that the kernel is older than 5.12.
    fn open_cached(&self, name: ObjectName) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::CACHED | ResolveFlags::NO_SYMLINKS;
        let name = name.to_string();
        rustix::fs::openat2(&self.directory, name, READ, Mode::empty(), resolve)
    }

    fn remove(&self, name: ObjectName) -> Result<(), Errno> {
        rustix::fs::unlinkat(&self.directory, name.to_string(), AtFlags::empty())
    }

    /// Adds objects after `after` in order until the page is full or the folder ends.
    fn list(&self, after: Option<ObjectName>, page: &mut Vec<Listed>) -> Result<(), Error> {
        let mut after = after;
        while page.len() < LIST_LIMIT {
            let names = self.first_names(after, LIST_LIMIT - page.len())?;
            let Some(last) = names.last().copied() else { return Ok(()) };
            after = Some(last);
            for name in names {
                page.extend(self.stat(name)?);
            }
        }
        Ok(())
    }

    /// The first `count` names after `after`. A folder is in no order, so all of it is read.
    fn first_names(
        &self,
        after: Option<ObjectName>,
        count: usize,
    ) -> Result<Vec<ObjectName>, Error> {
        let mut first = BinaryHeap::with_capacity(count + 1);
        for entry in Dir::read_from(&self.directory)? {
            let entry = entry?;
            // Other files are not ours to show, nor to have removed.
            let text = entry.file_name().to_str().ok();
            let Some(name) = text.and_then(|it| it.parse::<ObjectName>().ok()) else { continue };
            if after.is_some_and(|after| name <= after) {
                continue;
            }
            first.push(name);
            if first.len() > count {
                first.pop();
            }
        }
        Ok(first.into_sorted_vec())
    }

    /// An object's size and time; `None` for one that is just being removed, or is no file.
    fn stat(&self, name: ObjectName) -> Result<Option<Listed>, Error> {
        let path = name.to_string();
        match rustix::fs::statat(&self.directory, path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile => Ok(None),
            Ok(stat) => Ok(Some(Listed {
                name,
                size: u64::try_from(stat.st_size).unwrap_or(0),
                modified: modified(&stat),
            })),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn folder_sync(directory: Arc<OwnedFd>, syncs: Arc<Syncs>, on_fatal: OnFatal) -> SharedSync {
    SharedSync::new(move || {
        let synced = syncs.folder().and_then(|()| rustix::fs::fsync(&directory));
        synced.map_err(io::Error::from).inspect_err(|error| on_fatal(error))
    })
}

/// A file's time of change. One before 1970 is a broken clock's and counts as 1970.
fn modified(stat: &Stat) -> SystemTime {
    let seconds = Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or(0));
    let nanos = Duration::from_nanos(stat.st_mtime_nsec);
    SystemTime::UNIX_EPOCH + seconds + nanos
}

/// Makes a directory for the owner alone, with what is missing above it, durably.
fn make_directory(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|it| !it.exists()).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    for made in missing {
        let parent = made.parent().filter(|it| !it.as_os_str().is_empty());
        let parent = rustix::fs::open(parent.unwrap_or(Path::new(".")), DIRECTORY, Mode::empty())?;
        rustix::fs::fsync(parent)?;
    }
    Ok(())
}

/// Runs what may wait for a disk in the pool that is for it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::Io(io::Error::other(error))),
    }
}

#[cfg(test)]
mod tests;

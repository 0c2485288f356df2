//! The thread that writes state: disks may be slow, and who keeps the node's network may not.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use super::form::{FRONT_BYTES, Head, Origin, front};
use super::{FILE_BYTES_MAX, Folder};
use crate::host::cluster::Kind;

/// Pieces on their way.
const QUEUE: usize = 4;

/// What is to be written.
#[derive(Debug)]
pub enum Piece {
    /// A file of this kind from the beginning; one that was not ended is given up.
    Begin(Kind),
    /// Lines, and how many.
    Lines(Vec<u8>, u64),
    /// The file is whole.
    End,
}

/// How the writing goes, for whoever looks.
#[derive(Debug, Default)]
pub struct Board(Mutex<Told>);

#[derive(Debug, Clone, Default)]
struct Told {
    saves: u64,
    failures: u64,
    /// Of each kind: when it was last written, and its bytes.
    saved: std::collections::BTreeMap<Kind, (u64, u64)>,
    /// Kinds that could not be written, since anybody asked.
    failed: Vec<Kind>,
    /// Why, until one could.
    trouble: Option<String>,
    /// When the disk was asked for what it has not answered yet.
    asked: Option<Instant>,
}

impl Board {
    /// Files that were written, and those that could not be.
    pub fn counts(&self) -> (u64, u64) {
        let told = self.0.lock();
        (told.saves, told.failures)
    }

    /// When the oldest of the files was written, in seconds since 1970, once each has been.
    pub fn oldest(&self) -> Option<u64> {
        let told = self.0.lock();
        let oldest = told.saved.values().map(|(time, _)| *time).min();
        oldest.filter(|_| told.saved.len() == Kind::ALL.len())
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.0.lock().saved.values().map(|(_, bytes)| bytes).sum()
    }

    /// Bytes of the file of a kind.
    pub fn bytes_of(&self, kind: Kind) -> u64 {
        self.0
            .lock()
            .saved
            .get(&kind)
            .map_or(0, |(_, bytes)| *bytes)
    }

    /// Why nothing can be written at present.
    pub fn trouble(&self) -> Option<String> {
        self.0.lock().trouble.clone()
    }

    /// Kinds that could not be written since this was last asked.
    pub fn take_failed(&self) -> Vec<Kind> {
        std::mem::take(&mut self.0.lock().failed)
    }

    /// For how long the disk has not answered; none where nothing is asked of it.
    pub fn silence(&self) -> Option<Duration> {
        self.0.lock().asked.map(|asked| asked.elapsed())
    }

    fn ask(&self) {
        self.0.lock().asked = Some(Instant::now());
    }

    fn answered(&self) {
        self.0.lock().asked = None;
    }

    fn saved(&self, kind: Kind, time: u64, bytes: u64) {
        let mut told = self.0.lock();
        told.saves += 1;
        told.saved.insert(kind, (time, bytes));
        if told.trouble.take().is_some() {
            tracing::info!("what is known of the cluster is kept on disk again");
        }
    }

    fn failed(&self, kind: Kind, why: String) {
        let mut told = self.0.lock();
        told.failures += 1;
        told.failed.push(kind);
        if told.trouble.is_none() {
            tracing::warn!("{kind}: what is known of the cluster cannot be kept on disk: {why}");
        }
        told.trouble = Some(why);
    }
}

/// Who writes; what it has taken is written before it ends.
#[derive(Debug)]
pub struct Scribe {
    pieces: Option<SyncSender<Piece>>,
    board: Arc<Board>,
    /// Closed when the thread has ended.
    end: Receiver<()>,
}

impl Scribe {
    /// Starts the thread.
    ///
    /// # Errors
    /// When there is none to be had.
    pub fn start(folder: Folder, origin: Origin) -> io::Result<Self> {
        let board = Arc::new(Board::default());
        let (pieces, taken) = sync_channel(QUEUE);
        let (teller, end) = sync_channel(1);
        let writing = Arc::clone(&board);
        let write = move || {
            run(&folder, &origin, &taken, &writing);
            drop(teller);
        };
        let thread = std::thread::Builder::new().name("l7d-state".to_owned());
        thread.spawn(write)?;
        Ok(Self {
            pieces: Some(pieces),
            board,
            end,
        })
    }

    /// How it goes.
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// Takes a piece, where there is room for it; else it comes back.
    ///
    /// # Errors
    /// The piece, for later.
    pub fn offer(&self, piece: Piece) -> Result<(), Piece> {
        let Some(pieces) = &self.pieces else {
            return Err(piece);
        };
        match pieces.try_send(piece) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(piece) | TrySendError::Disconnected(piece)) => Err(piece),
        }
    }

    /// Waits until everything has been written, for so long at most.
    pub fn finish(&mut self, patience: Duration) {
        drop(self.pieces.take());
        // Nothing is ever sent: it ends with the thread.
        let _ended = self.end.recv_timeout(patience);
    }
}

/// A file that is being written.
struct Draft {
    kind: Kind,
    path: PathBuf,
    file: File,
    /// Locked: at an upgrade two agents write into one folder.
    place: File,
    sum: crc32fast::Hasher,
    bytes: u64,
    objects: u64,
    is_in_place: bool,
}

fn run(folder: &Folder, origin: &Origin, pieces: &Receiver<Piece>, board: &Board) {
    let mut draft: Option<Draft> = None;
    while let Ok(piece) = pieces.recv() {
        let kind = match (&piece, &draft) {
            (Piece::Begin(kind), _) => *kind,
            (_, Some(draft)) => draft.kind,
            // What has failed goes on to be told until its end.
            (_, None) => continue,
        };
        board.ask();
        let done = match piece {
            Piece::Begin(kind) => {
                // Its lock is its own, and would be in the way.
                drop(draft.take());
                Draft::begin(folder, kind).map(Some)
            }
            Piece::Lines(lines, objects) => add(draft.take(), &lines, objects),
            Piece::End => end(draft.take(), folder, origin, board),
        };
        draft = done.unwrap_or_else(|error| {
            board.failed(kind, format!("{}: {error}", folder.path().display()));
            None
        });
        board.answered();
    }
}

fn add(draft: Option<Draft>, lines: &[u8], objects: u64) -> io::Result<Option<Draft>> {
    let Some(mut draft) = draft else {
        return Ok(None);
    };
    draft.bytes += lines.len() as u64;
    if draft.bytes > FILE_BYTES_MAX / 2 {
        let most = FILE_BYTES_MAX / 2;
        return Err(io::Error::other(format!("more than {most} bytes")));
    }
    draft.objects += objects;
    draft.sum.update(lines);
    draft.file.write_all(lines)?;
    Ok(Some(draft))
}

fn end(
    draft: Option<Draft>,
    folder: &Folder,
    origin: &Origin,
    board: &Board,
) -> io::Result<Option<Draft>> {
    let Some(draft) = draft else { return Ok(None) };
    let kind = draft.kind;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let saved = now.unwrap_or_default().as_secs();
    let head = Head {
        origin: origin.clone(),
        kind: kind.name().to_owned(),
        objects: draft.objects,
        saved,
    };
    let bytes = draft.end(folder, &head)?;
    board.saved(kind, saved, bytes);
    Ok(None)
}

impl Draft {
    fn begin(folder: &Folder, kind: Kind) -> io::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder.path())?;
        let place = File::open(folder.path())?;
        place.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::other("another agent writes here"),
            TryLockError::Error(error) => error,
        })?;
        let path = folder.file(kind).with_extension("new");
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)?;
        let mut draft = Self {
            kind,
            path,
            file,
            place,
            sum: crc32fast::Hasher::new(),
            bytes: 0,
            objects: 0,
            is_in_place: false,
        };
        // Its place, until everything is known that stands there.
        draft.file.write_all(&[0; FRONT_BYTES])?;
        Ok(draft)
    }

    /// Brings it to the disk, and puts it in its place.
    fn end(mut self, folder: &Folder, head: &Head) -> io::Result<u64> {
        let head = serde_json::to_vec(head)?;
        self.file.write_all(&head)?;
        self.sum.update(&head);
        let length = u32::try_from(head.len()).map_err(io::Error::other)?;
        self.file.rewind()?;
        let front = front(self.bytes, length, self.sum.clone().finalize());
        self.file.write_all(&front)?;
        self.file.sync_all()?;
        fs::rename(&self.path, folder.file(self.kind))?;
        self.is_in_place = true;
        // The name as well.
        self.place.sync_all()?;
        Ok(self.bytes + u64::from(length) + FRONT_BYTES as u64)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_in_place {
            // Half a file only takes room.
            let _gone = fs::remove_file(&self.path);
        }
        // A program that is just being started may have the folder open until it runs.
        let _unlocked = self.place.unlock();
    }
}

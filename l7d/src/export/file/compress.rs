//! Compressing files that were set aside, in a thread of its own: the export goes on meanwhile.

use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::fd::OwnedFd;
use rustix::fs::AtFlags;

use super::open;
use super::past::{Kind, Shape, compressed, list, remove};

/// A thread that compresses what it is asked to, until this is dropped.
pub(super) struct Compressor {
    /// Nothing where there is no thread.
    asked: Option<SyncSender<(OwnedFd, Shape)>>,
}

impl Compressor {
    pub(super) fn start() -> Self {
        let (asked, asks) = sync_channel(1);
        let thread = std::thread::Builder::new().name("l7d-compress".to_owned());
        let started = thread.spawn(move || run(&asks));
        if let Err(error) = &started {
            tracing::warn!(%error, "former files stay uncompressed");
        }
        Self {
            asked: started.is_ok().then_some(asked),
        }
    }

    /// Asks it to look for files of the past.
    pub(super) fn ask(&self, folder: OwnedFd, shape: Shape) {
        if let Some(asked) = &self.asked {
            // Where it was asked already, it will see what there is by then.
            let _is_asked = asked.try_send((folder, shape));
        }
    }
}

fn run(asks: &Receiver<(OwnedFd, Shape)>) {
    for (folder, shape) in asks {
        if let Err(error) = compress_all(&folder, &shape) {
            tracing::warn!(%error, "former files stay uncompressed");
        }
    }
}

/// Compresses every file of the past, oldest first.
pub(super) fn compress_all(folder: &OwnedFd, shape: &Shape) -> io::Result<()> {
    for (name, _, kind) in list(folder, shape)? {
        if kind == Kind::Plain {
            compress(folder, &name)?;
        }
    }
    Ok(())
}

fn compress(folder: &OwnedFd, name: &OsStr) -> io::Result<()> {
    let (small, partial) = compressed(name);
    remove(folder, &partial);
    let written = write_compressed(folder, name, &partial);
    if let Err(error) = written {
        remove(folder, &partial);
        // Removed meanwhile: there were too many.
        let is_gone = error.kind() == io::ErrorKind::NotFound;
        return if is_gone { Ok(()) } else { Err(error) };
    }
    rustix::fs::renameat(folder, &partial, folder, &small)?;
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::NOENT) => {
            remove(folder, &small);
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

fn write_compressed(folder: &OwnedFd, name: &OsStr, partial: &OsStr) -> io::Result<()> {
    let mut plain = open::read_file(folder, name)?;
    let file = open::make_file(folder, partial)?;
    // The fastest level: a third faster than the usual one, and a tenth larger.
    let mut encoder = GzEncoder::new(file, Compression::fast());
    io::copy(&mut plain, &mut encoder)?;
    encoder.finish()?.flush()
}

//! Reads maps in pieces of many entries: a system call that aya does not make.
#![expect(unsafe_code, reason = "bpf(2) takes pointers to its attributes")]

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};

use aya::maps::{MapData, MapError, MapType};
use aya::util::nr_cpus;

/// `enum bpf_cmd` (`include/uapi/linux/bpf.h`).
const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;

/// The part of `union bpf_attr` for batches.
#[repr(C)]
#[derive(Default)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// A hash table or an array, and room for some of its entries, which is kept from one reading to the next.
#[derive(Debug)]
pub(super) struct Table {
    map: MapData,
    /// Entries of one call, which nothing interrupts on a kernel without preemption.
    at_once: u32,
    /// Bytes of a key.
    key: usize,
    /// Bytes of a value, or of those of all CPUs.
    value: usize,
    keys: Vec<u8>,
    values: Vec<u8>,
}

/// What a call gave.
struct Piece {
    count: usize,
    /// Where the next one begins: a bucket's number in a hash table, an index in an array.
    next: Option<u32>,
}

impl Table {
    /// To be read so many entries at a time.
    pub(super) fn new(map: MapData, at_once: u32) -> Result<Self, MapError> {
        let info = map.info()?;
        let [key, value] = [info.key_size(), info.value_size()].map(size);
        let value = match info.map_type()? {
            // As the kernel lays them out: each at a multiple of eight bytes.
            MapType::PerCpuArray | MapType::PerCpuHash | MapType::LruPerCpuHash => {
                value.next_multiple_of(8) * possible_cpus()?
            }
            _ => value,
        };
        Ok(Self {
            map,
            at_once,
            key,
            value,
            keys: vec![0; key * size(at_once)],
            values: vec![0; value * size(at_once)],
        })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.map.fd().as_fd()
    }

    /// Gives the bytes of each entry's key and value to `look`; those of a per-CPU map's value follow each
    /// other. Entries that come or go meanwhile may be missing or come twice.
    pub(super) fn read(&mut self, mut look: impl FnMut(&[u8], &[u8])) -> io::Result<()> {
        let mut place = None;
        loop {
            let Piece { count, next } = self.call(place)?;
            let keys = self.keys.chunks_exact(self.key);
            let values = self.values.chunks_exact(self.value);
            for (key, value) in keys.zip(values).take(count) {
                look(key, value);
            }
            if next.is_none() {
                return Ok(());
            }
            place = next;
            // Who wants this core does not wait for the whole table.
            std::thread::yield_now();
        }
    }

    /// One call, which begins at a place, or with the first entry.
    fn call(&mut self, place: Option<u32>) -> io::Result<Piece> {
        let mut next = 0_u32;
        let mut attr = BatchAttr {
            in_batch: place.as_ref().map_or(0, |place| address(place)),
            out_batch: address(std::ptr::from_mut(&mut next)),
            keys: address(self.keys.as_mut_ptr()),
            values: address(self.values.as_mut_ptr()),
            count: self.at_once,
            map_fd: number(self.fd()),
            ..BatchAttr::default()
        };
        // SAFETY: the attributes are as the kernel has them, and point to memory that is ours: there is room
        // for `count` keys and values of the sizes that the kernel itself told of this map.
        let done = unsafe { bpf(BPF_MAP_LOOKUP_BATCH, &mut attr) };
        let count = size(attr.count).min(size(self.at_once));
        match done {
            Ok(()) => Ok(Piece {
                count,
                next: Some(next),
            }),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                Ok(Piece { count, next: None })
            }
            Err(error) => Err(error),
        }
    }
}

fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn possible_cpus() -> Result<usize, MapError> {
    nr_cpus().map_err(|(_file, error)| MapError::from(error))
}

/// A pointer as attributes have it.
pub(super) fn address<T>(pointer: *const T) -> u64 {
    pointer.expose_provenance() as u64
}

/// A descriptor as attributes have it.
pub(super) fn number(map: BorrowedFd<'_>) -> u32 {
    u32::try_from(map.as_raw_fd()).unwrap_or(u32::MAX)
}

/// bpf(2).
///
/// # Safety
/// `attr` must be what the kernel takes for `command`, and what it points to must be ours.
pub(super) unsafe fn bpf<T>(command: libc::c_long, attr: &mut T) -> io::Result<()> {
    // SAFETY: the caller's word.
    let done = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attr),
            size_of::<T>(),
        )
    };
    if done < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

//! Reads the table in pieces of many entries, and takes entries out of it: system calls that aya does
//! not make.
#![expect(unsafe_code, reason = "bpf(2) takes pointers to its attributes")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use l7d_ebpf::maps::{Connection, Tuple};

use crate::datapath::decode::{decode_entry, decode_tuple};

/// `enum bpf_cmd` (`include/uapi/linux/bpf.h`).
const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
const BPF_MAP_DELETE_ELEM: libc::c_long = 3;
const BPF_MAP_LOOKUP_AND_DELETE_ELEM: libc::c_long = 21;
const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;

/// Entries of one call, which nothing interrupts on a kernel without preemption: some 0.1 ms.
const BATCH: usize = 256;
const KEY: usize = size_of::<Tuple>();
const VALUE: usize = size_of::<Connection>();

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

/// The part of `union bpf_attr` for one element.
#[repr(C)]
#[derive(Default)]
struct ElementAttr {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Room for what a call returns; kept from one reading to the next.
#[derive(Debug)]
pub(super) struct Pieces {
    keys: Vec<u8>,
    values: Vec<u8>,
}

impl Pieces {
    pub(super) fn new() -> Self {
        Self {
            keys: vec![0; BATCH * KEY],
            values: vec![0; BATCH * VALUE],
        }
    }

    /// Gives each entry to `look`. Entries that come or go meanwhile may be missing or come twice.
    pub(super) fn read(
        &mut self,
        map: BorrowedFd<'_>,
        mut look: impl FnMut(Tuple, Connection),
    ) -> io::Result<()> {
        // For hash tables a place in them is a bucket's number.
        let mut place: Option<u32> = None;
        loop {
            let (count, next, is_last) = self.call(map, place.as_ref())?;
            let keys = self.keys.chunks_exact(KEY);
            let values = self.values.chunks_exact(VALUE);
            for (key, value) in keys.zip(values).take(count) {
                if let (Some(tuple), Some(entry)) = (decode_tuple(key), decode_entry(value)) {
                    look(tuple, entry);
                }
            }
            if is_last {
                return Ok(());
            }
            place = Some(next);
            // Who wants this core does not wait for the whole table.
            std::thread::yield_now();
        }
    }

    /// One call: how many entries it gave, where the next one begins, and whether there is none.
    fn call(&mut self, map: BorrowedFd<'_>, place: Option<&u32>) -> io::Result<(usize, u32, bool)> {
        let mut next = 0_u32;
        let mut attr = BatchAttr {
            in_batch: place.map_or(0, |place| address(std::ptr::from_ref(place))),
            out_batch: address(std::ptr::from_mut(&mut next)),
            keys: address(self.keys.as_mut_ptr()),
            values: address(self.values.as_mut_ptr()),
            count: u32::try_from(BATCH).unwrap_or(1),
            map_fd: number(map),
            ..BatchAttr::default()
        };
        // SAFETY: the attributes are as the kernel has them, and point to memory that is ours and as
        // large as `count` says.
        let done = unsafe { bpf(BPF_MAP_LOOKUP_BATCH, &mut attr) };
        let count = usize::try_from(attr.count).unwrap_or(0).min(BATCH);
        match done {
            Ok(()) => Ok((count, next, false)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok((count, next, true)),
            Err(error) => Err(error),
        }
    }
}

/// An entry that was taken out of the table.
pub(super) struct Taken {
    pub(super) entry: Connection,
    bytes: [u64; VALUE / 8],
}

/// Takes an entry out of the table; `None` where it is no longer there.
pub(super) fn take(map: BorrowedFd<'_>, tuple: &Tuple) -> io::Result<Option<Taken>> {
    let mut bytes = [0_u64; VALUE / 8];
    let mut attr = element(map, tuple, bytes.as_mut_ptr());
    // SAFETY: the attributes are as the kernel has them; the key is a whole key, and the value has room
    // for a whole entry.
    let mut done = unsafe { bpf(BPF_MAP_LOOKUP_AND_DELETE_ELEM, &mut attr) };
    // Before 5.14 it takes two calls, and what comes between them is not counted.
    if done.as_ref().is_err_and(is_unknown) {
        let mut attr = element(map, tuple, bytes.as_mut_ptr());
        // SAFETY: as above.
        done = unsafe { bpf(BPF_MAP_LOOKUP_ELEM, &mut attr) };
        if done.is_ok() {
            let mut attr = element(map, tuple, std::ptr::null_mut());
            // SAFETY: as above; a deletion has no value.
            done = unsafe { bpf(BPF_MAP_DELETE_ELEM, &mut attr) };
        }
    }
    match done {
        Ok(()) => {
            let value: Vec<u8> = bytes.iter().flat_map(|word| word.to_ne_bytes()).collect();
            Ok(decode_entry(&value).map(|entry| Taken { entry, bytes }))
        }
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Puts an entry back that was taken out by mistake, unless another one is there already.
pub(super) fn put_back(map: BorrowedFd<'_>, tuple: &Tuple, taken: &mut Taken) -> io::Result<()> {
    const BPF_NOEXIST: u64 = 1;
    let mut attr = element(map, tuple, taken.bytes.as_mut_ptr());
    attr.flags = BPF_NOEXIST;
    // SAFETY: the attributes are as the kernel has them; key and value are whole.
    match unsafe { bpf(BPF_MAP_UPDATE_ELEM, &mut attr) } {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        done => done,
    }
}

/// `ENOTSUPP` is the kernel's own, and has no name here.
fn is_unknown(error: &io::Error) -> bool {
    const ENOTSUPP: i32 = 524;
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::EOPNOTSUPP | ENOTSUPP)
    )
}

fn element(map: BorrowedFd<'_>, tuple: &Tuple, value: *mut u64) -> ElementAttr {
    ElementAttr {
        map_fd: number(map),
        key: address(std::ptr::from_ref(tuple)),
        value: address(value),
        ..ElementAttr::default()
    }
}

fn address<T>(pointer: *const T) -> u64 {
    pointer.expose_provenance() as u64
}

fn number(map: BorrowedFd<'_>) -> u32 {
    u32::try_from(map.as_fd().as_raw_fd()).unwrap_or(u32::MAX)
}

/// # Safety
/// `attr` must be what the kernel takes for `command`, and what it points to must be ours.
unsafe fn bpf<T>(command: libc::c_long, attr: &mut T) -> io::Result<()> {
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

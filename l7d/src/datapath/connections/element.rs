//! Takes entries out of the table: system calls that aya does not make.
#![expect(unsafe_code, reason = "bpf(2) takes pointers to its attributes")]

use std::io;
use std::os::fd::BorrowedFd;

use l7d_ebpf::maps::{Connection, Tuple};

use crate::datapath::batch::{address, bpf, number};
use crate::datapath::decode::decode_entry;

/// `enum bpf_cmd` (`include/uapi/linux/bpf.h`).
const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
const BPF_MAP_DELETE_ELEM: libc::c_long = 3;
const BPF_MAP_LOOKUP_AND_DELETE_ELEM: libc::c_long = 21;

const VALUE: usize = size_of::<Connection>();

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

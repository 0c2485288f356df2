//! What the kernel programs and user space agree on: records ([`records`]), map entries
//! ([`maps`]), and what the kernel drops ([`drops`]).
//!
//! `no_std`, no dependency in kernel builds. Every type is `#[repr(C)]` without implicit padding,
//! and its size is asserted beside it, because both sides read the other's bytes. A change of any
//! of them changes [`ABI_VERSION`]; pinned maps of another version are never adopted.

#![no_std]

pub mod drops;
pub mod maps;
pub mod records;

/// Version of everything in this crate.
pub const ABI_VERSION: u8 = 6;

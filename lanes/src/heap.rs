//! The C library's heap, told to give large blocks back.
//!
//! A backup allocates and frees blocks of a few hundred kilobytes to megabytes on many threads.
//! Left to itself, glibc learns from the first such block to keep all later ones in heaps of their
//! own for each thread, which return nothing: a process with 60 MiB in use was seen to hold 145.
//!
//! Here because a call into the C library is unsafe code, and this crate is the one that has some.

/// Makes blocks from 512 KiB up go back to the system when they are freed, and threads share two
/// heaps. For programs, at the start of `main`; does nothing where the C library is not glibc.
pub fn return_large_blocks() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const LARGE_BYTES: libc::c_int = 512 << 10;
        const HEAPS: libc::c_int = 2;
        // SAFETY: mallopt only stores a number for later allocations, and takes its own lock.
        // Setting the threshold also stops glibc from moving it.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES);
            libc::mallopt(libc::M_ARENA_MAX, HEAPS);
        }
    }
}

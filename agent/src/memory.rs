//! How freed memory goes back to the system.
//!
//! At its start the agent reads the kernel's types: some 16 MB that are not needed afterwards. glibc would keep them,
//! and learn from blocks that large to keep as much for good.

/// Freed blocks of this size and more go back at once, bytes. Batches of events are smaller.
#[cfg(target_env = "gnu")]
const MAPPED: libc::c_int = 1 << 20;
/// What stays at the end of an arena for the next block, bytes.
#[cfg(target_env = "gnu")]
const KEPT: libc::c_int = 2 << 20;

/// Bounds what the allocator keeps. To be called before there are other threads.
pub fn bound() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: plain numbers, of parameters that glibc documents; no other thread allocates meanwhile.
        #[allow(unsafe_code)]
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED);
            libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
        }
    }
}

/// Gives back what is free now.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: glibc locks its arenas; nothing that is in use moves.
        #[allow(unsafe_code)]
        unsafe {
            libc::malloc_trim(0);
        }
    }
}

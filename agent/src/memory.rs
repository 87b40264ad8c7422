//! How freed memory goes back to the system.
//!
//! At its start the agent reads the kernel's types: some 16 MB that are not needed afterwards. glibc would keep them,
//! and learn from blocks that large to keep as much for good. Nor are the programs of the kernel side once they are loaded.

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

/// Lets go of the memory that holds a part of the agent's own file: whoever reads it again has it from there again.
pub fn release(part: &'static [u8]) {
    const PAGE: usize = 4096;
    let inner = part.get(part.as_ptr().align_offset(PAGE)..).unwrap_or_default();
    let whole = inner.len() / PAGE * PAGE;
    // SAFETY: whole pages of a private mapping that nobody writes to; what was in them is in the file. Where pages are
    // larger, the kernel refuses, and that is no harm.
    #[allow(unsafe_code)]
    unsafe {
        libc::madvise(inner.as_ptr().cast_mut().cast(), whole, libc::MADV_DONTNEED);
    }
}

/// Lets go of the agent's own code: what only the start ran is not needed any more, what is comes back from the file as
/// soon as it runs.
pub fn release_code() {
    #[allow(unsafe_code)]
    unsafe extern "C" {
        // The linker's names for the first byte of the program and the first behind its code.
        static __executable_start: u8;
        static etext: u8;
    }
    // SAFETY: only the addresses of both are taken. Between them are headers, constants and code, mapped from the file and
    // never written to.
    #[allow(unsafe_code)]
    let own = unsafe {
        let (start, end) = (&raw const __executable_start, &raw const etext);
        std::slice::from_raw_parts(start, (end as usize).saturating_sub(start as usize))
    };
    release(own);
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

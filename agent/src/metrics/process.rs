//! The agent's own CPU time and memory, from the kernel's account of this process.

use std::fs;

/// CPU time used since the process started, user and system, in seconds.
pub fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Resident memory in bytes; 0 where `/proc` can't be read.
pub fn resident_bytes() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").ok().and_then(|text| resident_pages(&text));
    pages.unwrap_or_default() * rustix::param::page_size() as u64
}

/// The second field of `/proc/PID/statm`.
fn resident_pages(statm: &str) -> Option<u64> {
    statm.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_cpu_and_memory() {
        let before = cpu_seconds();
        let mut sum = 0u64;
        while cpu_seconds() - before < 0.01 {
            sum = sum.wrapping_add(std::hint::black_box(1));
        }
        assert!(cpu_seconds() > before, "{sum}");
        assert!((1 << 20..1 << 40).contains(&resident_bytes()), "{}", resident_bytes());
    }

    #[test]
    fn statm_is_read_without_trust() {
        assert_eq!(resident_pages("100 42 7 1 0 9 0\n"), Some(42));
        assert_eq!(resident_pages("100"), None);
        assert_eq!(resident_pages("100 many"), None);
    }
}

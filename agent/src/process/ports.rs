//! Listening TCP ports of a process: the sockets it holds, looked up in the table of its network namespace.

use std::{
    collections::{HashMap, HashSet},
    fs,
    io::{self, BufRead, BufReader},
    path::Path,
};

use super::Procfs;

/// State of a listening socket in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// The listening sockets of the network namespaces seen so far: make one for each look at the processes, so that each
/// namespace's table is read once, and drop it.
#[derive(Debug, Default)]
pub struct Listeners {
    /// By network namespace: socket inode to port.
    namespaces: HashMap<u64, HashMap<u64, u16>>,
}

impl Listeners {
    /// The ports that process `pid` listens on, sorted. A listening socket that was inherited counts for each holder.
    ///
    /// # Errors
    /// If the process is gone, or the kernel does not let this one see its descriptors.
    pub fn ports(&mut self, procfs: &Procfs, pid: u32) -> io::Result<Vec<u16>> {
        let sockets = sockets(&procfs.path(pid, "fd"))?;
        if sockets.is_empty() {
            return Ok(Vec::new());
        }
        let namespace = procfs.network_namespace(pid).ok_or(io::ErrorKind::NotFound)?;
        let table = self.namespaces.entry(namespace).or_insert_with(|| table(procfs, pid));
        let mut ports: Vec<u16> = sockets.iter().filter_map(|inode| table.get(inode)).copied().collect();
        ports.sort_unstable();
        ports.dedup();
        Ok(ports)
    }
}

/// Inodes of the sockets among the descriptors in the folder `fd`.
fn sockets(fd: &Path) -> io::Result<HashSet<u64>> {
    let inode = |entry: io::Result<fs::DirEntry>| {
        let link = fs::read_link(entry.ok()?.path()).ok()?;
        link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    Ok(fs::read_dir(fd)?.filter_map(inode).collect())
}

fn table(procfs: &Procfs, pid: u32) -> HashMap<u64, u16> {
    let mut table = HashMap::new();
    for file in ["net/tcp", "net/tcp6"] {
        // IPv6 may be switched off.
        let Ok(file) = fs::File::open(procfs.path(pid, file)) else { continue };
        table.extend(BufReader::new(file).lines().map_while(Result::ok).filter_map(|line| listener(&line)));
    }
    table
}

/// Inode and port of a line `sl local_address rem_address st … inode …`, if it is a listener's.
fn listener(line: &str) -> Option<(u64, u16)> {
    let mut fields = line.split_ascii_whitespace();
    let (_, port) = fields.nth(1)?.rsplit_once(':')?;
    fields.nth(1).filter(|state| *state == LISTEN)?;
    let inode = fields.nth(5)?.parse().ok()?;
    Some((inode, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::fixture::Fixture;

    const HEAD: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

    #[test]
    fn listeners_of_a_process() {
        let fixture = Fixture::new();
        fixture.process(7, &["/bin/x"], "/");
        let v4 = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0 100 0\n   \
                     1: 0100007F:1F91 0100007F:C000 01 00000000:00000000 00:00000000 00000000     0        0 112 1 0 20 4\n   \
                     2: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 999 1 0 100 0\n";
        let v6 = "   0: 00000000000000000000000000000000:0BB8 00000000000000000000000000000000:0000 0A 00000000:00000000 \
                  00:00000000 00000000     0        0 113 1 0 100 0\n";
        fixture.write(7, "net/tcp", format!("{HEAD}{v4}").as_bytes());
        fixture.write(7, "net/tcp6", format!("{HEAD}{v6}garbage\n").as_bytes());
        for (fd, target) in
            [("0", "/dev/null"), ("3", "socket:[113]"), ("4", "socket:[111]"), ("5", "socket:[112]")]
        {
            fixture.link(7, &format!("fd/{fd}"), target);
        }
        let mut listeners = Listeners::default();
        assert_eq!(listeners.ports(&fixture.procfs(), 7).unwrap(), [3000, 8080]);
        assert!(listeners.ports(&fixture.procfs(), 8).is_err());
    }

    #[test]
    fn own_listeners() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let procfs = Procfs::new("/proc").unwrap();
        assert!(Listeners::default().ports(&procfs, std::process::id()).unwrap().contains(&port));
        drop(socket);
        assert!(!Listeners::default().ports(&procfs, std::process::id()).unwrap().contains(&port));
    }
}

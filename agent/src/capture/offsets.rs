//! Where the running kernel keeps the fields that the programs read.

use sockspan_ebpf::Offsets;

use super::btf::{Btf, Error};

/// Resolves every offset from the kernel's BTF.
///
/// # Errors
/// The first field the kernel does not have.
pub fn resolve(btf: &Btf<'_>) -> Result<Offsets, Error> {
    let status = if cfg!(target_arch = "x86_64") { "status" } else { "flags" };
    Ok(Offsets {
        task_tgid: btf.offset("task_struct.tgid")?,
        task_pid: btf.offset("task_struct.pid")?,
        task_signal: btf.offset("task_struct.signal")?,
        signal_live: btf.offset("signal_struct.live")?,
        signal_flags: btf.offset("signal_struct.flags")?,
        task_files: btf.offset("task_struct.files")?,
        task_flags: btf.offset("task_struct.flags")?,
        task_status: btf.offset("task_struct.thread_info")? + btf.offset(&format!("thread_info.{status}"))?,
        files_fdt: btf.offset("files_struct.fdt")?,
        fdtable_fd: btf.offset("fdtable.fd")?,
        fdtable_max_fds: btf.offset("fdtable.max_fds")?,
        file_private_data: btf.offset("file.private_data")?,
        file_inode: btf.offset("file.f_inode")?,
        inode_mode: btf.offset("inode.i_mode")?,
        inode_ino: btf.offset("inode.i_ino")?,
        socket_sk: btf.offset("socket.sk")?,
        socket_inode: btf.offset("socket_alloc.vfs_inode")?,
        sock_family: btf.offset("sock.__sk_common.skc_family")?,
        sock_protocol: btf.offset("sock.sk_protocol")?,
        sock_type: btf.offset("sock.sk_type")?,
        sock_socket: btf.offset("sock.sk_socket")?,
        sock_shutdown: btf.offset("sock.sk_shutdown")?,
        sock_num: btf.offset("sock.__sk_common.skc_num")?,
        sock_dport: btf.offset("sock.__sk_common.skc_dport")?,
        sock_daddr: btf.offset("sock.__sk_common.skc_daddr")?,
        sock_rcv_saddr: btf.offset("sock.__sk_common.skc_rcv_saddr")?,
        // A kernel without IPv6 has neither, nor a socket that would be asked for them.
        sock_v6_daddr: btf.offset("sock.__sk_common.skc_v6_daddr").unwrap_or_default(),
        sock_v6_rcv_saddr: btf.offset("sock.__sk_common.skc_v6_rcv_saddr").unwrap_or_default(),
        sock_net: btf.offset("sock.__sk_common.skc_net")?,
        net_inum: btf.offset("net.ns.inum")?,
        tcp_write_seq: btf.offset("tcp_sock.write_seq")?,
        tcp_copied_seq: btf.offset("tcp_sock.copied_seq")?,
        tcp_snd_una: btf.offset("tcp_sock.snd_una")?,
        tcp_bytes_acked: btf.offset("tcp_sock.bytes_acked")?,
        tcp_rcv_nxt: btf.offset("tcp_sock.rcv_nxt")?,
        tcp_bytes_received: btf.offset("tcp_sock.bytes_received")?,
        tcp_lsndtime: btf.offset("tcp_sock.lsndtime")?,
        // Where it is not looked for, CPython's tasks are not told.
        task_fsbase: btf.offset("task_struct.thread.fsbase").unwrap_or_default(),
    })
}

//! What no model needs, forbidden to the whole process. A list of what is allowed would break with each release of
//! ONNX Runtime or glibc; this one names the ways out.

use super::Held;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Width, SeccompCmpOp as Is, SeccompCondition as Condition,
    SeccompFilter, SeccompRule as Rule, TargetArch, apply_filter_all_threads,
};
use std::collections::BTreeMap;

/// System call numbers, each with the cases in which it is forbidden; none stands for always.
type Forbidden = BTreeMap<i64, Vec<Rule>>;

pub fn forbid() -> Held {
    // Told that there is none of these, glibc falls back to `clone`, whose flags a filter can see, and to `openat`.
    let unknown = [libc::SYS_clone3, libc::SYS_openat2].map(|call| (call, Vec::new())).into();
    let filters = denied()
        .and_then(|denied| Ok([program(denied, libc::EPERM)?, program(unknown, libc::ENOSYS)?]))
        .map_err(|error| error.to_string());
    let applied = filters.and_then(|filters| {
        filters.iter().try_for_each(|filter| apply_filter_all_threads(filter).map_err(|error| error.to_string()))
    });
    applied.map_or_else(|error| Held::Not(format!("the kernel refuses the filter ({error})")), |()| Held::Fully)
}

fn program(mut calls: Forbidden, error: i32) -> Result<BpfProgram, seccompiler::BackendError> {
    if cfg!(target_arch = "x86_64") {
        add_x32(&mut calls);
    }
    let answer = SeccompAction::Errno(error as u32);
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(calls, SeccompAction::Allow, answer, architecture)?.try_into()
}

/// The same calls by the numbers that x32 programs give them: a kernel that has these takes them from any program.
fn add_x32(calls: &mut Forbidden) {
    const X32: i64 = 0x4000_0000;
    let same: Vec<_> = calls.iter().map(|(call, rules)| (call | X32, rules.clone())).collect();
    calls.extend(same);
    calls.extend((512..=547).map(|call| (call | X32, Vec::new())));
}

fn denied() -> Result<Forbidden, seccompiler::BackendError> {
    let always = NETWORK.iter().chain(PROCESSES).chain(KERNEL).chain(WRITING).chain(OF_THE_ARCHITECTURE);
    let mut denied: Forbidden = always.map(|call| (*call, Vec::new())).collect();
    let own = u64::from(std::process::id());
    denied.insert(libc::SYS_clone, vec![argument(0, masked(libc::CLONE_THREAD as u64), 0)?]);
    denied.insert(libc::SYS_kill, vec![argument(0, Is::Ne, own)?]);
    denied.insert(libc::SYS_tgkill, vec![argument(0, Is::Ne, own)?]);
    // Root can raise its limits again.
    denied.insert(libc::SYS_prlimit64, vec![Rule::new(vec![Condition::new(2, Width::Qword, Is::Ne, 0)?])?]);
    denied.insert(libc::SYS_openat, opening_to_write(2)?);
    #[cfg(target_arch = "x86_64")]
    denied.insert(libc::SYS_open, opening_to_write(1)?);
    Ok(denied)
}

/// The flags of an opening that is for more than reading.
fn opening_to_write(index: u8) -> Result<Vec<Rule>, seccompiler::BackendError> {
    let access = masked(libc::O_ACCMODE as u64);
    let flags = [libc::O_CREAT, libc::O_TRUNC].map(|flag| (masked(flag as u64), flag));
    let cases = [(access.clone(), libc::O_WRONLY), (access, libc::O_RDWR)].into_iter().chain(flags);
    cases.map(|(is, value)| argument(index, is, value as u64)).collect()
}

fn masked(mask: u64) -> Is {
    Is::MaskedEq(mask)
}

/// Process ids and flags are 32 bits wide, and the kernel looks at no more.
fn argument(index: u8, is: Is, value: u64) -> Result<Rule, seccompiler::BackendError> {
    Rule::new(vec![Condition::new(index, Width::Dword, is, value)?])
}

const NETWORK: &[i64] = &[
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
];

/// Other programs, and what other processes have.
const PROCESSES: &[i64] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_kcmp,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_msgget,
    libc::SYS_semget,
    libc::SYS_mq_open,
    libc::SYS_setpriority,
    libc::SYS_ioprio_set,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_setparam,
    libc::SYS_sched_setattr,
];

/// The system as a whole, and the parts of the kernel that faults are found in.
const KERNEL: &[i64] = &[
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_userfaultfd,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_memfd_create,
    libc::SYS_memfd_secret,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_quotactl,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_syslog,
    libc::SYS_personality,
    libc::SYS_vhangup,
];

/// Changes of the file system: Landlock knows nothing of modes, owners, times and attributes, and may not be there.
const WRITING: &[i64] = &[
    libc::SYS_truncate,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    FCHMODAT2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    SETXATTRAT,
    REMOVEXATTRAT,
    FILE_SETATTR,
    // Flags of files, and what a terminal is made to believe that was typed.
    libc::SYS_ioctl,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_mkdirat,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_mknodat,
];

/// The same on every architecture; the libc crate names them only on some, or not at all.
const FCHMODAT2: i64 = 452;
const SETXATTRAT: i64 = 463;
const REMOVEXATTRAT: i64 = 466;
const FILE_SETATTR: i64 = 469;

#[cfg(target_arch = "x86_64")]
const OF_THE_ARCHITECTURE: &[i64] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_setrlimit,
    libc::SYS_creat,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_link,
    libc::SYS_symlink,
    libc::SYS_mknod,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
];

/// `renameat` and `setrlimit` of the generic table, which the libc crate does not name.
#[cfg(not(target_arch = "x86_64"))]
const OF_THE_ARCHITECTURE: &[i64] = &[38, 164];

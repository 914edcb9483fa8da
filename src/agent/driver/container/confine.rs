//! What a container may do at most: few capabilities, system calls by name, and no look at the host through /proc and /sys.

use serde_json::{Value, json};

/// Enough to be root over its own files and users, and no more: no raw sockets, no device files, no tracing of others.
const CAPABILITIES: [&str; 9] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// System calls of ordinary programs. What is missing here loads code into the kernel, changes mounts, clocks, namespaces or
/// other people's processes, or reads what the kernel keeps of others.
const CALLS: &str = "
    read write open openat openat2 close close_range creat lseek _llseek pread64 pwrite64 readv writev preadv pwritev
    preadv2 pwritev2 dup dup2 dup3 fcntl fcntl64 ioctl flock fsync fdatasync sync sync_file_range syncfs truncate
    truncate64 ftruncate ftruncate64 fallocate fadvise64 fadvise64_64 readahead sendfile sendfile64 splice tee vmsplice
    copy_file_range stat stat64 lstat lstat64 fstat fstat64 newfstatat fstatat64 statx statfs statfs64 fstatfs fstatfs64
    access faccessat faccessat2 chdir fchdir getcwd chroot rename renameat renameat2 mkdir mkdirat rmdir link linkat unlink
    unlinkat symlink symlinkat readlink readlinkat chmod fchmod fchmodat fchmodat2 chown chown32 fchown fchown32 lchown
    lchown32 fchownat utime utimes utimensat utimensat_time64 futimesat umask mknod mknodat getdents getdents64 readdir
    setxattr lsetxattr fsetxattr getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr removexattr lremovexattr
    fremovexattr name_to_handle_at inotify_init inotify_init1 inotify_add_watch inotify_rm_watch fanotify_mark
    select _newselect pselect6 pselect6_time64 poll ppoll ppoll_time64 epoll_create epoll_create1 epoll_ctl epoll_wait
    epoll_pwait epoll_pwait2 eventfd eventfd2 signalfd signalfd4 timerfd_create timerfd_settime timerfd_settime64
    timerfd_gettime timerfd_gettime64 pipe pipe2 io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents
    io_pgetevents_time64 mmap mmap2 munmap mprotect mremap msync madvise mincore mlock mlock2 mlockall munlock munlockall
    brk remap_file_pages memfd_create memfd_secret membarrier pkey_alloc pkey_free pkey_mprotect mseal map_shadow_stack
    set_mempolicy_home_node process_mrelease cachestat fork vfork execve execveat exit exit_group wait4 waitid waitpid
    getpid getppid gettid getpgid getpgrp setpgid getsid setsid getuid getuid32 geteuid geteuid32 getgid getgid32 getegid
    getegid32 setuid setuid32 setgid setgid32 setreuid setreuid32 setregid setregid32 setresuid setresuid32 getresuid
    getresuid32 setresgid setresgid32 getresgid getresgid32 setfsuid setfsuid32 setfsgid setfsgid32 getgroups getgroups32
    setgroups setgroups32 capget capset prctl arch_prctl modify_ldt set_thread_area get_thread_area set_tid_address
    set_robust_list get_robust_list rseq getpriority setpriority ioprio_get ioprio_set nice sched_yield
    sched_getaffinity sched_setaffinity sched_getparam sched_setparam sched_getscheduler sched_setscheduler
    sched_get_priority_max sched_get_priority_min sched_getattr sched_setattr sched_rr_get_interval
    sched_rr_get_interval_time64 getrlimit ugetrlimit setrlimit prlimit64 getrusage times sysinfo uname getcpu
    getrandom landlock_create_ruleset landlock_add_rule landlock_restrict_self seccomp pidfd_open pidfd_send_signal
    kill tkill tgkill sigaltstack rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigsuspend rt_sigtimedwait
    rt_sigtimedwait_time64 rt_sigqueueinfo rt_tgsigqueueinfo sigreturn sigaction sigprocmask sigpending sigsuspend signal
    pause alarm restart_syscall futex futex_time64 futex_waitv futex_wait futex_wake futex_requeue nanosleep
    clock_nanosleep clock_nanosleep_time64 clock_gettime clock_gettime64 clock_getres clock_getres_time64 gettimeofday
    time getitimer setitimer timer_create timer_settime timer_settime64 timer_gettime timer_gettime64 timer_getoverrun
    timer_delete socketpair bind listen accept accept4 connect getsockname getpeername getsockopt
    setsockopt send sendto sendmsg sendmmsg recv recvfrom recvmsg recvmmsg recvmmsg_time64 shutdown ipc shmget shmat
    shmctl shmdt semget semop semtimedop semtimedop_time64 semctl msgget msgsnd msgrcv msgctl mq_open mq_unlink
    mq_timedsend mq_timedsend_time64 mq_timedreceive mq_timedreceive_time64 mq_notify mq_getsetattr get_mempolicy
    set_mempolicy mbind";

/// Bits of `clone` that make namespaces: CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
const NAMESPACES: u64 = 0x7E02_0000;
/// AF_VSOCK: sockets between machines and their host, which no network namespace bounds.
const VSOCK: u64 = 40;
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// Capabilities of the first process. One that is not root keeps none: only what its programs could gain is bounded.
pub(super) fn capabilities(extra: &[String], root: bool) -> Value {
    let mut all: Vec<String> = CAPABILITIES.map(str::to_owned).to_vec();
    all.extend(
        extra.iter().map(|name| capability(name)).filter(|name| !CAPABILITIES.contains(&name.as_str())),
    );
    let held = if root { all.clone() } else { Vec::new() };
    json!({ "bounding": all, "effective": held, "permitted": held })
}

fn capability(name: &str) -> String {
    let name = name.to_ascii_uppercase();
    if name.starts_with("CAP_") { name } else { format!("CAP_{name}") }
}

pub(super) fn masked_paths() -> Value {
    json!(MASKED)
}

pub(super) fn read_only_paths() -> Value {
    json!(READ_ONLY)
}

/// The profile. `clone3` hides its flags behind a pointer, so it is said not to exist and C libraries take `clone`.
pub(super) fn seccomp() -> Value {
    let names: Vec<&str> = CALLS.split_whitespace().collect();
    let architectures = if cfg!(target_arch = "aarch64") {
        json!(["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"])
    } else {
        json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"])
    };
    let no_namespaces =
        json!([{ "index": 0, "value": NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ" }]);
    let any_but_vsock = json!([{ "index": 0, "value": VSOCK, "valueTwo": 0, "op": "SCMP_CMP_NE" }]);
    // Linux, and its 32-bit, BSD and System V guises: what programs ask for that want to know where they run.
    let personalities = [0_u64, 0x8, 0x2_0000, 0x2_0008, 0xFFFF_FFFF];
    let mut calls = vec![
        json!({ "names": names, "action": "SCMP_ACT_ALLOW" }),
        json!({ "names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": no_namespaces }),
        json!({ "names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": any_but_vsock }),
        json!({ "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS }),
    ];
    calls.extend(personalities.map(|value| {
        let is = json!([{ "index": 0, "value": value, "op": "SCMP_CMP_EQ" }]);
        json!({ "names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": is })
    }));
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": EPERM,
        "architectures": architectures,
        "syscalls": calls,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_reaches_beyond_a_container_is_not_among_the_system_calls() {
        let calls: Vec<&str> = CALLS.split_whitespace().collect();
        let unique: BTreeSet<&str> = calls.iter().copied().collect();
        assert_eq!(unique.len(), calls.len());
        for beyond in [
            "mount",
            "umount2",
            "move_mount",
            "pivot_root",
            "unshare",
            "setns",
            "ptrace",
            "bpf",
            "init_module",
            "finit_module",
            "kexec_load",
            "reboot",
            "swapon",
            "keyctl",
            "add_key",
            "request_key",
            "perf_event_open",
            "userfaultfd",
            "open_by_handle_at",
            "process_vm_readv",
            "process_vm_writev",
            "clock_settime",
            "settimeofday",
            "sethostname",
            "iopl",
            "ioperm",
            "io_uring_setup",
            "syslog",
            "quotactl",
            "acct",
            "clone",
            "clone3",
            "socket",
            "socketcall",
            "personality",
            "pidfd_getfd",
            "fsopen",
            "fsmount",
            "lookup_dcookie",
            "vhangup",
        ] {
            assert!(!unique.contains(beyond), "{beyond}");
        }
    }

    #[test]
    fn only_root_holds_capabilities_and_the_settings_may_add_some() {
        let root = capabilities(&["net_raw".to_owned(), "CAP_KILL".to_owned()], true);
        assert_eq!(root["bounding"].as_array().map(Vec::len), Some(10));
        assert_eq!(root["effective"][9], "CAP_NET_RAW");
        let other = capabilities(&[], false);
        assert_eq!((&other["effective"], &other["permitted"]), (&json!([]), &json!([])));
    }
}

//! Asks for io_uring before the runtime relies on it, and explains a refusal.

use std::fmt;
use std::fs;
use std::io;

use io_uring::{IoUring, Probe, opcode};
use thiserror::Error;

use super::uring;

/// The operations that the ring is used for, with the names that the log shows.
const NEEDED: [(u8, &str); 3] = [
    (opcode::Nop::CODE, "IORING_OP_NOP"),
    (opcode::PollAdd::CODE, "IORING_OP_POLL_ADD"),
    (opcode::AsyncCancel::CODE, "IORING_OP_ASYNC_CANCEL"),
];

/// The switch of the administrator: 0 for all, 1 for the privileged and one group, 2 for nobody.
const DISABLED_SYSCTL: &str = "/proc/sys/kernel/io_uring_disabled";

/// Who or what refuses io_uring to this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalCause {
    /// `kernel.io_uring_disabled` is 2.
    DisabledForAll,
    /// `kernel.io_uring_disabled` is 1, and this process is neither privileged nor in the group that may.
    DisabledForUnprivileged,
    /// A seccomp filter, as the default profiles of Docker and Kubernetes have it.
    Seccomp,
    /// A security module or another policy of the system.
    Policy,
    /// The kernel is built without io_uring.
    NotInKernel,
    /// The kernel is older than Linux 6.1, whose set-up flags the ring needs.
    KernelTooOld,
    /// The kernel does not offer this operation.
    MissingOperation(&'static str),
    /// The limit on locked memory, or memory itself.
    Memory,
    /// The limit on open descriptors.
    Descriptors,
    /// Something else: the errno is all that is known.
    Unknown,
}

/// io_uring was refused: by which errno, why, and what would mend it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub struct IoUringRefusal {
    /// The errno of the system call that was refused.
    pub errno: i32,
    /// Who or what refused.
    pub cause: RefusalCause,
}

impl IoUringRefusal {
    /// What the user can do about it, as one sentence.
    #[must_use]
    pub fn mend(&self) -> &'static str {
        match self.cause {
            RefusalCause::DisabledForAll => "set it to 0 with `sysctl kernel.io_uring_disabled=0`",
            RefusalCause::DisabledForUnprivileged => {
                "set it to 0 with `sysctl kernel.io_uring_disabled=0`, or put this user in the group that \
                 `kernel.io_uring_group` names"
            }
            RefusalCause::Seccomp => {
                "run the container with a seccomp profile that allows io_uring_setup, io_uring_enter and \
                 io_uring_register (Docker: --security-opt seccomp=PROFILE.json; Kubernetes: a Localhost \
                 seccompProfile)"
            }
            RefusalCause::Policy => "look for the denial in the log of the kernel or of its security module",
            RefusalCause::NotInKernel => "use a kernel built with CONFIG_IO_URING",
            RefusalCause::KernelTooOld | RefusalCause::MissingOperation(_) => "use Linux 6.1 or newer",
            RefusalCause::Memory => "raise the limit on locked memory (`ulimit -l`, LimitMEMLOCK=)",
            RefusalCause::Descriptors => "raise the limit on open files (`ulimit -n`, LimitNOFILE=)",
            RefusalCause::Unknown => "the epoll runtime serves in its place",
        }
    }

    /// Names the cause of a refused `io_uring_setup(2)` or of the calls that follow it.
    fn diagnose(error: &io::Error) -> IoUringRefusal {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        let cause = match errno {
            libc::EPERM | libc::EACCES => match fs::read_to_string(DISABLED_SYSCTL).as_deref().map(str::trim)
            {
                Ok("2") => RefusalCause::DisabledForAll,
                Ok("1") => RefusalCause::DisabledForUnprivileged,
                _ if under_seccomp() => RefusalCause::Seccomp,
                _ => RefusalCause::Policy,
            },
            // A filter may answer ENOSYS as well, so that programs take the kernel for an old one.
            libc::ENOSYS if under_seccomp() => RefusalCause::Seccomp,
            libc::ENOSYS => RefusalCause::NotInKernel,
            libc::EINVAL => RefusalCause::KernelTooOld,
            libc::ENOMEM => RefusalCause::Memory,
            libc::EMFILE | libc::ENFILE => RefusalCause::Descriptors,
            _ => RefusalCause::Unknown,
        };
        IoUringRefusal { errno, cause }
    }
}

impl fmt::Display for RefusalCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RefusalCause::DisabledForAll => "the sysctl kernel.io_uring_disabled is 2",
            RefusalCause::DisabledForUnprivileged => {
                "the sysctl kernel.io_uring_disabled is 1 and this process is not privileged"
            }
            RefusalCause::Seccomp => "a seccomp filter blocks it, as container runtimes do by default",
            RefusalCause::Policy => "a policy of this system forbids it",
            RefusalCause::NotInKernel => "this kernel has no io_uring",
            RefusalCause::KernelTooOld => "this kernel is too old",
            RefusalCause::MissingOperation(name) => return write!(f, "this kernel lacks {name}"),
            RefusalCause::Memory => "there is no memory for the ring within the limits",
            RefusalCause::Descriptors => "no descriptor is left for the ring",
            RefusalCause::Unknown => "the kernel gives no reason",
        })
    }
}

impl fmt::Display for IoUringRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let IoUringRefusal { errno, cause } = *self;
        let error = io::Error::from_raw_os_error(errno);
        write!(f, "io_uring is refused ({error}): {cause}; to mend it, {}", self.mend())
    }
}

/// Whether a seccomp filter sits on this thread (mode 2 in its status).
fn under_seccomp() -> bool {
    fs::read_to_string("/proc/thread-self/status")
        .is_ok_and(|status| status.lines().any(|line| line.split_whitespace().eq(["Seccomp:", "2"])))
}

/// Builds a ring as the workers do, asks for its operations and runs one, then gives it back.
pub(super) fn io_uring() -> Result<(), IoUringRefusal> {
    let diagnosed = |error: io::Error| IoUringRefusal::diagnose(&error);
    let mut ring = uring::ring_options().build(8).map_err(diagnosed)?;
    let mut offered = Probe::new();
    ring.submitter().register_probe(&mut offered).map_err(diagnosed)?;
    for (code, name) in NEEDED {
        if !offered.is_supported(code) {
            return Err(IoUringRefusal {
                errno: libc::EOPNOTSUPP,
                cause: RefusalCause::MissingOperation(name),
            });
        }
    }
    complete_one(&mut ring).map_err(diagnosed)
}

/// A filter may grant the set-up and refuse `io_uring_enter(2)`: only an operation that completes proves the ring.
fn complete_one(ring: &mut IoUring) -> io::Result<()> {
    uring::push_nop(ring);
    ring.submit_and_wait(1)?;
    match ring.completion().next() {
        Some(completed) if completed.result() >= 0 => Ok(()),
        Some(failed) => Err(io::Error::from_raw_os_error(-failed.result())),
        None => Err(io::Error::from_raw_os_error(libc::EIO)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_the_errno_and_the_mend() {
        let refusal = IoUringRefusal { errno: libc::EPERM, cause: RefusalCause::Seccomp };
        let said = refusal.to_string();
        assert!(said.contains("os error 1"), "{said}");
        assert!(said.contains("io_uring_setup"), "{said}");
    }

    #[test]
    fn each_errno_has_its_cause() {
        let cause = |errno| IoUringRefusal::diagnose(&io::Error::from_raw_os_error(errno)).cause;
        assert_eq!(cause(libc::EINVAL), RefusalCause::KernelTooOld);
        assert_eq!(cause(libc::ENOMEM), RefusalCause::Memory);
        assert_eq!(cause(libc::EMFILE), RefusalCause::Descriptors);
        assert_eq!(cause(libc::EIO), RefusalCause::Unknown);
    }
}

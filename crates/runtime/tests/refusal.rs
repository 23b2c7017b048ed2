//! Where io_uring is refused, the choice says so and falls back.

use std::thread;

use runtime::{Backend, BackendChoice, RefusalCause, RuntimeError, choose_backend};

/// Refuses io_uring_setup(2) to the calling thread, as a container's seccomp profile does to a process.
#[allow(unsafe_code)]
fn refuse_io_uring_here() {
    let statement = |code: u32, k: u32| libc::sock_filter {
        code: u16::try_from(code).expect("an opcode"),
        jt: 0,
        jf: 0,
        k,
    };
    let setup = u32::try_from(libc::SYS_io_uring_setup).expect("a system call's number");
    let mut program = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        libc::sock_filter { jf: 1, ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, setup) },
        statement(libc::BPF_RET, libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned()),
        statement(libc::BPF_RET, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).expect("a short program"),
        filter: program.as_mut_ptr(),
    };
    // SAFETY: this option takes plain numbers.
    let locked = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(locked, 0);
    // SAFETY: the kernel copies the program, which lives until the end of this function.
    let filtered = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) };
    assert_eq!(filtered, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn a_seccomp_filter_is_recognised() {
    let refused = thread::spawn(|| {
        refuse_io_uring_here();
        let (backend, refusal) = choose_backend(BackendChoice::Auto).expect("auto always finds a backend");
        assert_eq!(backend, Backend::Epoll);
        let refusal = refusal.expect("it says why");
        assert_eq!(refusal.errno, libc::EPERM);
        // Where the administrator has switched io_uring off as well, that is named first.
        if std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled")
            .is_ok_and(|switch| switch.trim() == "0")
        {
            assert_eq!(refusal.cause, RefusalCause::Seccomp);
        }
        let insisted = choose_backend(BackendChoice::IoUring).expect_err("io_uring was asked for by name");
        assert!(matches!(insisted, RuntimeError::IoUringRefused(same) if same == refusal));
        assert_eq!(choose_backend(BackendChoice::Epoll).expect("nothing is asked"), (Backend::Epoll, None));
    });
    refused.join().expect("the filtered thread");
}

#[test]
fn choices_are_written_as_they_are_read() {
    for choice in [BackendChoice::Auto, BackendChoice::IoUring, BackendChoice::Epoll] {
        assert_eq!(choice.to_string().parse(), Ok(choice));
    }
    assert!("uring".parse::<BackendChoice>().is_err());
}

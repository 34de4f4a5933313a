"""What only some systems have: names of the standard library, and places in the file system."""

from __future__ import annotations

MODULES = {"crypt", "fcntl", "grp", "nis", "posix", "pty", "pwd", "resource", "spwd", "syslog", "termios", "tty"}

WINDOWS_MODULES = {"_winapi", "msvcrt", "nt", "winreg", "winsound"}

_OS = """
O_ASYNC O_CLOEXEC O_DIRECT O_DIRECTORY O_DSYNC O_EXLOCK O_NDELAY O_NOATIME O_NOCTTY O_NOFOLLOW O_NONBLOCK O_PATH O_RSYNC
O_SHLOCK O_SYNC O_TMPFILE RTLD_GLOBAL RTLD_LAZY RTLD_LOCAL RTLD_NOW WCONTINUED WEXITED WNOHANG WNOWAIT WSTOPPED
WUNTRACED P_ALL P_PGID P_PID P_PIDFD chflags chown chroot confstr copy_file_range ctermid eventfd fchdir fchmod fchown
fdatasync fork forkpty fpathconf fstatvfs getegid geteuid getgid getgrouplist getgroups getloadavg getpgid getpgrp
getpriority getrandom getresgid getresuid getsid getuid getxattr initgroups killpg lchmod lchown listxattr lockf
login_tty major makedev memfd_create minor mkfifo mknod nice openpty pathconf pidfd_open pipe2 posix_fadvise
posix_fallocate posix_openpt posix_spawn posix_spawnp pread preadv pwrite pwritev readv register_at_fork removexattr
sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getparam sched_getscheduler sched_setaffinity
sched_setscheduler sched_yield sendfile set_blocking setegid seteuid setgid setgroups setpgid setpriority setregid
setresgid setresuid setreuid setsid setuid setxattr splice statvfs sync sysconf tcgetpgrp tcsetpgrp ttyname uname
unshare wait wait3 wait4 waitid writev
"""

_SIGNAL = """
ITIMER_PROF ITIMER_REAL ITIMER_VIRTUAL SIGALRM SIGBUS SIGCHLD SIGCLD SIGCONT SIGHUP SIGIO SIGKILL SIGPIPE SIGPOLL
SIGPROF SIGPWR SIGQUIT SIGRTMAX SIGRTMIN SIGSTKFLT SIGSTOP SIGSYS SIGTRAP SIGTSTP SIGTTIN SIGTTOU SIGURG SIGUSR1 SIGUSR2
SIGVTALRM SIGWINCH SIGXCPU SIGXFSZ SIG_BLOCK SIG_SETMASK SIG_UNBLOCK alarm getitimer pause pidfd_send_signal
pthread_kill pthread_sigmask setitimer siginterrupt sigpending sigtimedwait sigwait sigwaitinfo
"""

NAMES = {"os": frozenset(_OS.split()), "signal": frozenset(_SIGNAL.split())}
"""What Windows lacks. ``os.fchmod`` and ``os.set_blocking`` are there since Python 3.13 and 3.12."""

WINDOWS_NAMES = {
    "os": {"O_BINARY", "O_NOINHERIT", "O_RANDOM", "O_SEQUENTIAL", "O_TEMPORARY", "O_TEXT", "get_handle_inheritable",
           "set_handle_inheritable", "startfile"},
    "signal": {"CTRL_BREAK_EVENT", "CTRL_C_EVENT", "SIGBREAK"},
    "subprocess": {"STARTUPINFO", "CREATE_NEW_PROCESS_GROUP", "CREATE_NO_WINDOW", "DETACHED_PROCESS"},
    "ctypes": {"WinDLL", "windll"},
}  # fmt: skip

OPTIONS = {"pass_fds", "preexec_fn", "start_new_session", "process_group", "startupinfo", "creationflags"}
"""Options of `subprocess.Popen` that one system has."""

PLACES = ("/proc", "/sys/")
"""What the kernel of Linux says in files."""

package demo

import (
	"os/exec"
	"syscall"
)

// killServer has scripts/services kill its server.
const killServer = syscall.SIGUSR1

// shield keeps the signals of a terminal from a process: Ctrl-C is for the demo, which ends everything in order. If the
// demo itself is killed, the process is killed, too.
func shield(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

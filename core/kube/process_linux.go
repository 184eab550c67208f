package kube

import (
	"fmt"
	"os"
	"strings"
)

// thisProcess names this process among all of this machine since it booted:
// boot id, namespace of process ids, process id and start. Empty: not known.
func thisProcess() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	ns, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return ""
	}
	start := started(os.Getpid())
	if start == "" {
		return ""
	}
	return fmt.Sprintf("%s %s %d %s", strings.TrimSpace(string(boot)), ns, os.Getpid(), start)
}

// processEnded tells whether the process that wrote this name is known to have
// ended: it ran on this machine, since its last boot, among the processes that
// can be seen from here, and is not there any more. A process of which nothing
// is known has not ended.
func processEnded(name string) bool {
	var boot, ns, start string
	var pid int
	if n, err := fmt.Sscanf(name, "%s %s %d %s", &boot, &ns, &pid, &start); n != 4 || err != nil {
		return false
	}
	var ourBoot, ourNS, ourStart string
	var ourPID int
	if n, err := fmt.Sscanf(thisProcess(), "%s %s %d %s", &ourBoot, &ourNS, &ourPID, &ourStart); n != 4 || err != nil {
		return false
	}
	return boot == ourBoot && ns == ourNS && started(pid) != start
}

// started is when the process started, in ticks since the boot; empty: there is
// no such process, or only what its parent has not collected yet.
func started(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// The second field is the program's name in parentheses, with anything in it.
	f := strings.Fields(string(stat)[strings.LastIndex(string(stat), ")")+1:])
	if len(f) < 20 || f[0] == "Z" || f[0] == "X" {
		return ""
	}
	return f[19]
}

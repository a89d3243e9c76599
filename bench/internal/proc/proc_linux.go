package proc

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// perTick is how long a clock tick of /proc lasts: the kernel's USER_HZ is 100 on every platform of Go.
const perTick = time.Second / 100

// apart gives the process a group of its own, so that Ctrl-C reaches the driver alone, and has it die with the driver.
func apart(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// CPU is how long processors have worked for the process, in user and kernel mode, to 10 ms.
func (p *Process) CPU() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	if err != nil {
		return 0, fmt.Errorf("read CPU time of %s: %w", p.name, err)
	}
	d, err := cpuOf(string(text))
	if err != nil {
		return 0, fmt.Errorf("read CPU time of %s: %w", p.name, err)
	}
	return d, nil
}

// cpuOf reads utime and stime out of a line of /proc/PID/stat. The name of the program, in brackets, may hold anything.
func cpuOf(stat string) (time.Duration, error) {
	i := strings.LastIndexByte(stat, ')')
	fields := strings.Fields(stat[i+1:])
	const utime, stime = 14 - 3, 15 - 3 // numbered from 1 as in proc(5); the first here is the third
	if i < 0 || len(fields) <= stime {
		return 0, fmt.Errorf("%q is not a line of /proc/PID/stat", stat)
	}
	u, err1 := strconv.ParseInt(fields[utime], 10, 64)
	s, err2 := strconv.ParseInt(fields[stime], 10, 64)
	return time.Duration(u+s) * perTick, errors.Join(err1, err2)
}

// PeakRSS is the most memory the process has had, in bytes.
func (p *Process) PeakRSS() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		return 0, fmt.Errorf("read memory of %s: %w", p.name, err)
	}
	n, err := peakOf(string(text))
	if err != nil {
		return 0, fmt.Errorf("read memory of %s: %w", p.name, err)
	}
	return n, nil
}

// peakOf reads VmHWM out of /proc/PID/status.
func peakOf(status string) (int64, error) {
	for line := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kb << 10, err
		}
	}
	return 0, errors.New("no VmHWM in /proc/PID/status")
}

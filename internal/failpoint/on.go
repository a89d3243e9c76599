//go:build failpoints && unix

package failpoint

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Reach does what the environment asks for at the point.
func Reach(p Point) {
	s, ok := spec()[p]
	if !ok || rand.Float64() >= s.chance {
		return
	}
	note(p, s.action)
	sig := syscall.SIGKILL
	if s.action == "freeze" {
		sig = syscall.SIGSTOP
	}
	_ = syscall.Kill(os.Getpid(), sig)
	if sig == syscall.SIGKILL {
		select {} // the signal may take a moment: nothing after the point may happen
	}
}

type setting struct {
	action string
	chance float64
}

// spec reads the environment once. A malformed one ends the process: a test must not go on without its faults.
var spec = sync.OnceValue(func() map[Point]setting {
	m := map[Point]setting{}
	for part := range strings.SplitSeq(os.Getenv("PYWORKFLOW_FAILPOINTS"), ",") {
		if part == "" {
			continue
		}
		name, rest, _ := strings.Cut(part, "=")
		action, chance, _ := strings.Cut(rest, ":")
		c, err := strconv.ParseFloat(chance, 64)
		if err != nil || (action != "kill" && action != "freeze") {
			panic("PYWORKFLOW_FAILPOINTS: " + part + ": write point=kill:0.01 or point=freeze:0.01")
		}
		m[Point(name)] = setting{action, c}
	}
	return m
})

func note(p Point, action string) {
	name := os.Getenv("PYWORKFLOW_FAILPOINT_LOG")
	if name == "" {
		return
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		panic(err)
	}
	_, _ = fmt.Fprintf(f, "%d %d %s %s\n", time.Now().UnixMilli(), os.Getpid(), p, action)
	_ = f.Close()
}

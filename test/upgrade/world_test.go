package upgrade

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
)

// The releases: each reads what the next one writes.
const (
	now   = "n"   // reads and writes format 1
	next  = "n+1" // reads 2, writes 1
	after = "n+2" // reads and writes 2
)

var tags = map[string]string{now: "", next: "nextformat", after: "nextformat,writenext"}

// world is a server, the three programs, and what they left behind.
type world struct {
	t         *testing.T
	client    *redis.Client
	url       string
	namespace string
	dir       string
	bin       map[string]string
	ids       []string
	lives     int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	server := redistest.Start(t)
	w := &world{t: t, client: server.Client(t), url: server.URL(), namespace: redistest.Namespace(t), dir: t.TempDir(), bin: map[string]string{}}
	for release, tag := range tags {
		w.bin[release] = filepath.Join(w.dir, "program-"+strconv.Itoa(len(w.bin)))
		cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-tags", tag, "-o", w.bin[release], "./program")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", release, err, out)
		}
	}
	return w
}

// anew gives another namespace on the same server, and a journal of its own.
func (w *world) anew(t *testing.T) *world {
	t.Helper()
	return &world{t: t, client: w.client, url: w.url, namespace: redistest.Namespace(t), dir: t.TempDir(), bin: w.bin}
}

func (w *world) env(release string) []string {
	return append(os.Environ(), "PYWORKFLOW_RUNTIME=asynq", "PYWORKFLOW_REDIS_URL="+w.url, "PYWORKFLOW_NAMESPACE="+w.namespace,
		"UPGRADE_RELEASE="+release, "UPGRADE_LOG="+w.journal())
}

func (w *world) journal() string { return filepath.Join(w.dir, "journal") }

// run carries out one command of a release, and gives what it printed, its errors and its exit code.
func (w *world) run(release string, args ...string) (stdout, stderr string, code int) {
	w.t.Helper()
	var out, errs bytes.Buffer
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, w.bin[release], args...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = w.env(release), w.dir, &out, &errs
	if err := cmd.Run(); cmd.ProcessState == nil {
		w.t.Fatalf("%s %s: %v", release, strings.Join(args, " "), err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func (w *world) must(release string, args ...string) string {
	w.t.Helper()
	out, errs, code := w.run(release, args...)
	if code != 0 {
		w.t.Fatalf("%s %s: exit %d: %s", release, strings.Join(args, " "), code, errs)
	}
	return out
}

// process is a worker with a beat, of one release.
type process struct {
	w       *world
	release string
	cmd     *exec.Cmd
	log     string // its file
	ended   chan struct{}
}

func (w *world) start(release string) *process {
	w.t.Helper()
	w.lives++
	p := &process{w: w, release: release, log: filepath.Join(w.dir, fmt.Sprintf("log-%d", w.lives)), ended: make(chan struct{})}
	f, err := os.Create(p.log)
	if err != nil {
		w.t.Fatal(err)
	}
	p.cmd = exec.Command(w.bin[release], "worker", "run", "--beat", "--queues", "default=1", "--poll-interval", "0.5")
	p.cmd.Env, p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = w.env(release), w.dir, f, f
	if err := p.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait()
		_ = f.Close()
	}()
	w.t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		if w.t.Failed() {
			w.t.Logf("log of %s:\n%s", release, p.says())
		}
	})
	return p
}

// stop ends the process as a deployment does.
func (p *process) stop() {
	p.w.t.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		p.w.t.Fatal(err)
	}
	select {
	case <-p.ended:
	case <-time.After(30 * time.Second):
		p.w.t.Fatalf("%s does not stop", p.release)
	}
}

func (p *process) says() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		p.w.t.Fatal(err)
	}
	return string(b)
}

// until waits for something to be so.
func (w *world) until(what string, cond func() bool) {
	w.t.Helper()
	deadline := time.After(45 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			w.t.Fatalf("not within 45 s: %s", what)
		}
	}
}

// create makes the schedules: a tick a second, each started whatever else runs.
func (w *world) create(release string, n int) {
	w.t.Helper()
	var wg sync.WaitGroup
	for i := range n {
		w.ids = append(w.ids, fmt.Sprintf("upgraded_%d", i))
		wg.Go(func() {
			w.must(release, "schedules", "create", "witness", "--force", "--id", fmt.Sprintf("upgraded_%d", i), "--interval", "1s", "--interval-from", "start",
				"--overlap", "allow_all", "--catchup", "all", "--note", "made by n")
		})
	}
	wg.Wait()
}

func (w *world) keys(pattern string) []string {
	w.t.Helper()
	keys, err := w.client.Keys(w.t.Context(), "pyworkflow:?"+w.namespace+"*"+pattern).Result()
	if err != nil {
		w.t.Fatal(err)
	}
	return keys
}

// field reads a field of each schedule's record.
func (w *world) field(name string) map[string]string {
	w.t.Helper()
	found := map[string]string{}
	for _, id := range w.ids {
		for _, key := range w.keys(":s:" + id + "@*") {
			if _, part, _ := strings.Cut(key, "@"); strings.Contains(part, ":") {
				continue // not the record itself
			}
			v, err := w.client.HGet(w.t.Context(), key, name).Result()
			if err != nil {
				w.t.Fatal(err)
			}
			found[id] = v
		}
	}
	return found
}

// formats are those of the schedules' records.
func (w *world) formats() []string {
	var all []string
	for _, head := range w.field("head") {
		v, _, _ := strings.Cut(head, " ")
		all = append(all, v)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// executed counts executions by release.
func (w *world) executed() map[string]int {
	n := map[string]int{}
	for _, line := range w.lines() {
		release, _, _ := strings.Cut(line, " ")
		n[release]++
	}
	return n
}

func (w *world) lines() []string {
	b, err := os.ReadFile(w.journal())
	if err != nil && !os.IsNotExist(err) {
		w.t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
}

// more waits until each release has executed so many more runs.
func (w *world) more(n int, releases ...string) {
	w.t.Helper()
	before := w.executed()
	w.until(fmt.Sprintf("%d more runs executed by each of %v", n, releases), func() bool {
		got := w.executed()
		return !slices.ContainsFunc(releases, func(r string) bool { return got[r] < before[r]+n })
	})
}

// fate is a row of a history as it lies in the store.
type fate struct {
	Tick struct {
		Nominal float64 `json:"nominal"`
	} `json:"tick"`
	Fate  string `json:"fate"`
	RunID string `json:"run_id"`
}

// settle stops the ticks by a release, waits for rest, and checks that each tick started one run, which was executed once and has completed.
func (w *world) settle(release string) {
	w.t.Helper()
	w.must(release, append([]string{"schedules", "pause"}, w.ids...)...)
	w.until("nothing is active or on its way", func() bool { return len(w.keys(":runs:active"))+len(w.keys(":outbox"))+len(w.keys(":active")) == 0 })
	times := map[string]int{}
	for _, line := range w.lines() {
		_, id, _ := strings.Cut(line, " ")
		times[id]++
	}
	ticks := 0
	for _, id := range w.ids {
		var nominal []float64
		for _, key := range w.keys(":s:" + id + "@*:fates") {
			rows, err := w.client.ZRange(w.t.Context(), key, 0, -1).Result()
			if err != nil {
				w.t.Fatal(err)
			}
			for _, row := range rows {
				_, text, _ := strings.Cut(row, " ")
				var f fate
				if err := json.Unmarshal([]byte(text), &f); err != nil {
					w.t.Fatal(err)
				}
				nominal = append(nominal, f.Tick.Nominal)
				if f.Fate != "started" || times[f.RunID] != 1 {
					w.t.Errorf("%s: the tick of %.0f is %s, its run was executed %d times", id, f.Tick.Nominal, f.Fate, times[f.RunID])
				}
				delete(times, f.RunID)
				w.completed(f.RunID)
			}
		}
		for i := 1; i < len(nominal); i++ {
			if d := nominal[i] - nominal[i-1]; d != 1000 {
				w.t.Errorf("%s: ticks at %.0f and %.0f, and none or two between", id, nominal[i-1], nominal[i])
			}
		}
		ticks += len(nominal)
	}
	for id := range times {
		w.t.Errorf("run %s was executed and belongs to no tick", id)
	}
	w.t.Logf("%d ticks, executed by %v", ticks, w.executed())
}

func (w *world) completed(run string) {
	w.t.Helper()
	keys := w.keys(":r:" + run)
	if len(keys) != 1 {
		w.t.Errorf("run %s has %d records", run, len(keys))
		return
	}
	text, err := w.client.HGet(w.t.Context(), keys[0], "mut").Result()
	var mut struct {
		Status string `json:"status"`
	}
	if err == nil {
		err = json.Unmarshal([]byte(text), &mut)
	}
	if err != nil || mut.Status != "completed" {
		w.t.Errorf("run %s is %s, %v", run, mut.Status, err)
	}
}

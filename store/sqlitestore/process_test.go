package sqlitestore_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/sqlitestore"
	"github.com/pyworkflow-go/pyworkflow/store/storetest"
)

// childEnv makes the test binary one of several processes on a folder: "scheduler FOLDER" or "command FOLDER".
const childEnv = "SQLITESTORE_TEST_CHILD"

func TestMain(m *testing.M) {
	if role, dir, ok := strings.Cut(os.Getenv(childEnv), " "); ok {
		if err := child(role, dir); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// child works on the folder until its standard input ends, printing "done" after each commit it was told of. A scheduler keeps the store open and has
// four goroutines start and end runs of one schedule; a command opens the store anew for each change.
func child(role, dir string) error {
	stop := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(stop)
	}()
	stopped := func() bool {
		select {
		case <-stop:
			return true
		default:
			return false
		}
	}
	ctx := context.Background()
	var out sync.Mutex
	done := func() {
		out.Lock()
		defer out.Unlock()
		fmt.Println("done")
	}
	if role == "command" {
		for !stopped() {
			s, err := sqlitestore.Open(ctx, sqlitestore.Config{Dir: dir, MustExist: true})
			if err != nil {
				return err
			}
			if _, _, err := s.ListSchedules(ctx, store.ScheduleFilter{}, store.Page{}); err != nil {
				return err
			}
			if err := startAndEnd(ctx, s); err != nil {
				return err
			}
			if err := s.Close(); err != nil {
				return err
			}
			done()
		}
		return nil
	}
	s, err := sqlitestore.Open(ctx, sqlitestore.Config{Dir: dir})
	if err != nil {
		return err
	}
	if err := errors.Join(s.Commit(ctx, storetest.Create("a", "inc1", s.Estimate()))...); err != nil && !errors.Is(err, store.ErrExists) {
		return err
	}
	errs := make(chan error, 4)
	for range cap(errs) {
		go func() {
			for !stopped() {
				if err := startAndEnd(ctx, s); err != nil {
					errs <- err
					return
				}
				done()
			}
			errs <- nil
		}()
	}
	for range cap(errs) {
		err = errors.Join(err, <-errs)
	}
	return errors.Join(err, s.Close())
}

// startAndEnd starts a run by a decision, deciding again as often as others were faster, and ends it.
func startAndEnd(ctx context.Context, s *sqlitestore.Store) error {
	ref := schedules.Ref{ID: "a", Incarnation: "inc1"}
	for {
		loaded, now, err := s.Load(ctx, ref)
		if err = errors.Join(err, loaded[0].Err); err != nil {
			return err
		}
		c := storetest.Next(loaded[0].State.Schedule, now)
		run := storetest.Start(&c, schedules.Tick{Trigger: schedules.TriggerManual, Nominal: now, Nonce: strconv.FormatInt(c.Expect, 10)})
		if err := s.Commit(ctx, c)[0]; errors.Is(err, store.ErrConflict) {
			continue
		} else if err != nil {
			return err
		}
		return s.CommitRun(ctx, storetest.End(run, schedules.RunCompleted, now))
	}
}

// process is a running child.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
	mu    sync.Mutex
	done  int
	said  []string      // what it printed besides
	ended chan struct{} // its output has ended
}

func startChild(t *testing.T, role, dir string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0]), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), childEnv+"="+role+" "+dir)
	p.cmd.Stderr = os.Stderr
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdin = stdin
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	go func() {
		defer close(p.ended)
		for sc := bufio.NewScanner(stdout); sc.Scan(); {
			p.mu.Lock()
			if sc.Text() == "done" {
				p.done++
			} else {
				p.said = append(p.said, sc.Text())
			}
			p.mu.Unlock()
		}
	}()
	return p
}

func (p *process) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

// reach waits until the child has done n more.
func (p *process) reach(t *testing.T, n int) {
	t.Helper()
	deadline, goal := time.After(60*time.Second), p.count()+n
	for p.count() < goal {
		select {
		case <-p.ended:
			t.Fatalf("a process ended early: %v", p.said)
		case <-deadline:
			t.Fatalf("a process did %d of %d in a minute", p.count(), goal)
		case <-time.After(time.Millisecond):
		}
	}
}

// Processes start, work at once, one is killed in the middle of it, another takes its place: nothing that was answered is lost, nothing is counted twice, the
// file is whole, and nobody ever hears that it is locked.
func TestProcesses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "workflow_data")
	// They race for the creation of folder and file.
	schedulers := []*process{startChild(t, "scheduler", dir), startChild(t, "scheduler", dir), startChild(t, "scheduler", dir)}
	for _, p := range schedulers {
		p.reach(t, 5)
	}
	all := append(schedulers, startChild(t, "command", dir), startChild(t, "command", dir))
	for _, p := range all {
		p.reach(t, 5)
	}
	killed := 0
	for range 3 {
		victim := all[0]
		victim.reach(t, 10)
		if err := victim.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-victim.ended
		_ = victim.cmd.Wait()
		killed += victim.count()
		all = append(all[1:], startChild(t, "scheduler", dir))
		for _, p := range all {
			p.reach(t, 3)
		}
	}
	done := killed
	for _, p := range all {
		_ = p.stdin.Close()
	}
	for _, p := range all {
		<-p.ended
		if err := p.cmd.Wait(); err != nil {
			t.Errorf("a process failed: %v: %v", err, p.said)
		}
		done += p.count()
	}

	s := open(t, sqlitestore.Config{Dir: dir})
	ref, err := s.Resolve(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	loaded, _, err := s.Load(t.Context(), ref)
	if err = errors.Join(err, loaded[0].Err); err != nil {
		t.Fatal(err)
	}
	sc := loaded[0].State.Schedule
	active, err := s.ActiveRuns(t.Context(), ref, 1000)
	if err != nil {
		t.Fatal(err)
	}
	// A killed process may have done one thing per goroutine that it could not tell of.
	if most := int64(done) + 3*4; sc.Successful < int64(done) || sc.Successful > most {
		t.Errorf("%d runs ended, the processes were told of %d", sc.Successful, done)
	}
	if sc.Total != sc.Successful+sc.Active || sc.Active != int64(len(active)) || sc.Revision != 1+sc.Total+sc.Successful {
		t.Errorf("the sums are wrong: revision %d, %d active runs, %+v", sc.Revision, len(active), sc.Tally)
	}
	ended := 0
	for run, err := range store.All(func(p store.Page) ([]schedules.Run, string, error) {
		return s.ListRuns(t.Context(), store.RunFilter{ScheduleID: "a"}, p)
	}) {
		if err != nil {
			t.Fatal(err)
		}
		if run.Status == schedules.RunCompleted {
			ended++
		}
	}
	if int64(ended) != sc.Successful {
		t.Errorf("%d runs have ended, the schedule counts %d", ended, sc.Successful)
	}
	t.Logf("%d runs, %d left active by kills", sc.Total, sc.Active)

	db, err := sql.Open("sqlite", filepath.Join(dir, sqlitestore.FileName))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var verdict string
	if err := db.QueryRow(`PRAGMA integrity_check`).Scan(&verdict); err != nil || verdict != "ok" {
		t.Errorf("integrity check: %q, %v", verdict, err)
	}
}

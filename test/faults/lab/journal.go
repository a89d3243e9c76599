package lab

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/test/faults/check"
)

// journal is a file of check.Lines that this process alone appends to. A line is on the disk when write returns; lines that come while others are being
// synced share the next sync. The nil journal takes everything and keeps nothing.
type journal struct {
	dir string

	mu   sync.Mutex
	file *os.File // opened by the first line
	next *batch   // waits for the sync under way; nil: nothing does
	busy bool     // a sync is under way
}

// batch is what goes into one write and one sync.
type batch struct {
	data []byte
	err  error
	done chan struct{}
}

func newJournal(dir string) (*journal, error) {
	if dir == "" {
		return nil, nil
	}
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		return nil, fmt.Errorf("%s %q is no folder; make it before the workers start", LogDir, dir)
	}
	return &journal{dir: dir}, nil
}

func (j *journal) write(line check.Line) error {
	if j == nil {
		return nil
	}
	raw, err := json.Marshal(line)
	if err != nil {
		return err
	}
	j.mu.Lock()
	if j.next == nil {
		j.next = &batch{done: make(chan struct{})}
	}
	b := j.next
	b.data = append(append(b.data, raw...), '\n')
	if !j.busy {
		j.busy = true
		go j.sync()
	}
	j.mu.Unlock()
	<-b.done
	return b.err
}

// sync writes batches until none waits.
func (j *journal) sync() {
	for {
		j.mu.Lock()
		b := j.next
		j.next = nil
		if b == nil {
			j.busy = false
			j.mu.Unlock()
			return
		}
		j.mu.Unlock()
		b.err = j.flush(b.data)
		close(b.done)
	}
}

// flush is called by one goroutine at a time.
func (j *journal) flush(data []byte) error {
	if j.file == nil {
		name := fmt.Sprintf("%d-%d.jsonl", os.Getpid(), time.Now().UnixNano())
		f, err := os.OpenFile(filepath.Join(j.dir, name), os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		j.file = f
	}
	if _, err := j.file.Write(data); err != nil {
		return err
	}
	return j.file.Sync()
}

// execution is one call of a workflow's function.
type execution struct {
	j    *journal
	line check.Line // what all its lines share
}

func begin(ctx context.Context, j *journal) *execution {
	info := pyworkflow.RunInfo(ctx)
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	return &execution{j: j, line: check.Line{PID: os.Getpid(), Exec: hex.EncodeToString(id[:]), Run: info.RunID, Schedule: info.ScheduleID,
		Nominal: info.Nominal, Workflow: info.Workflow, Attempt: info.Attempt}}
}

// note writes a line. An execution without its log is no witness, so it does not go on: the attempt fails by the panic.
func (x *execution) note(what, step, outcome string) {
	line := x.line
	line.At, line.What, line.Step, line.Outcome = hostClock(), what, step, outcome
	if err := x.j.write(line); err != nil {
		panic(fmt.Sprintf("write log line %s of run %s: %v", what, line.Run, err))
	}
}

// witnessed puts a workflow's function between its start and its end line, with a cancel line as soon as its context is cancelled.
func witnessed[In, Out any](j *journal, fn func(ctx context.Context, x *execution, in In) (Out, error)) func(context.Context, In) (Out, error) {
	return func(ctx context.Context, in In) (out Out, err error) {
		x := begin(ctx, j)
		x.note(check.LineStart, "", "")
		told := make(chan struct{})
		stop := context.AfterFunc(ctx, func() {
			defer close(told)
			x.note(check.LineCancel, "", context.Cause(ctx).Error())
		})
		defer func() {
			if !stop() {
				<-told
			}
			failure := recover()
			outcome := "ok"
			switch {
			case failure != nil:
				outcome = fmt.Sprint("panic: ", failure)
			case err != nil:
				outcome = err.Error()
			}
			x.note(check.LineEnd, "", outcome)
			if failure != nil {
				panic(failure)
			}
		}()
		return fn(ctx, x, in)
	}
}

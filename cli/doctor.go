package cli

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/sqlitestore"
)

const (
	// doctorTimeout bounds all that doctor does.
	doctorTimeout = 30 * time.Second
	// startTimeout bounds each of the two looks of a process that starts; startRecords is how many records of each kind they go through.
	startTimeout = time.Second
	startRecords = 1000
	// settleTime is how long after its start a process looks at who lives: those that are started with it have announced themselves by then.
	settleTime = 15 * time.Second
)

func newDoctor(p *program) *cobra.Command {
	var strict bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Find what endangers schedules and runs, and say what to do",
		Long: `Looks at the store (version, eviction, persistence, replication, clock, latency, rights of the user, records of a newer version of the program; of a folder: whether it
can be written, and the room on its disk) and at the work (live workers and beats, workflows and queues that nobody has, overdue schedules). It changes nothing.

Exit code 1 when something is an error, with --strict when there is a warning, too.`,
		Example: "  pyworkflow doctor\n  pyworkflow --redis-url redis://redis:6379/0 doctor --strict\n  pyworkflow doctor --output json",
		Args:    takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), doctorTimeout)
			defer cancel()
			s, err := p.open(ctx, reads, false)
			if err != nil {
				return err
			}
			defer s.close()
			list, err := s.client.Doctor(ctx, s.doctorOptions(0))
			if err != nil {
				return err
			}
			if err := p.print(client.Page[client.Finding]{Items: list}, func() error { return p.printFindings(s, list) }); err != nil {
				return err
			}
			return verdict(list, strict)
		},
	}
	cmd.Flags().BoolVar(&strict, "strict", false, "let warnings fail, too")
	return cmd
}

// doctorOptions says what to look at; 0 records is the usual bound.
func (s *session) doctorOptions(records int) client.DoctorOptions {
	o := client.DoctorOptions{Records: records}
	if c, ok := s.transport.(client.Carrier); ok {
		o.Carrier = c
	}
	return o
}

func (p *program) printFindings(s *session, list []client.Finding) error {
	t := table{columns: []string{"check", "status", "what", "remedy"}}
	count := map[store.FindingStatus]int{}
	for _, f := range list {
		count[f.Status]++
		t.add(f.Check, string(f.Status), f.Message, string(f.Remedy))
	}
	if err := p.printTable(t); err != nil {
		return err
	}
	p.note("%s: errors %d, warnings %d, ok %d, skipped %d", s.place(), count[store.FindingError], count[store.FindingWarning], count[store.FindingOK], count[store.FindingSkipped])
	return nil
}

// verdict is the exit code: the findings have said all there is to say.
func verdict(list []client.Finding, strict bool) error {
	for _, f := range list {
		if f.Status == store.FindingError || strict && f.Status == store.FindingWarning {
			return &exitError{code: client.CodeFailed}
		}
	}
	return nil
}

// Inspect looks at the place where the database would be.
func (s standIn) Inspect(context.Context, int) ([]store.Finding, error) {
	return sqlitestore.InspectMissing(s.name), nil
}

// warnAtStart logs what doctor would find, without holding anything up: of the store at once, of who lives after settle. It returns when it is done, or ctx ends.
func (s *session) warnAtStart(ctx context.Context, log *slog.Logger, settle time.Duration) {
	o := s.doctorOptions(startRecords)
	s.warn(ctx, log, func(ctx context.Context) ([]client.Finding, error) { return s.client.CheckStore(ctx, o) })
	timer := time.NewTimer(settle)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return
	case <-timer.C:
	}
	s.warn(ctx, log, func(ctx context.Context) ([]client.Finding, error) { return s.client.CheckWork(ctx, o) })
}

func (s *session) warn(ctx context.Context, log *slog.Logger, look func(context.Context) ([]client.Finding, error)) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	list, err := look(ctx)
	if err != nil {
		log.Debug("checks at start were not made", "error", err)
	}
	for _, f := range list {
		level := slog.LevelWarn
		switch f.Status {
		case store.FindingOK, store.FindingSkipped:
			continue
		case store.FindingError:
			level = slog.LevelError
		}
		log.Log(ctx, level, fmt.Sprintf("%s: %s", f.Check, f.Message), "remedy", string(f.Remedy), "store", s.store.Describe())
	}
}

package scale

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
	"github.com/pyworkflow-go/pyworkflow/schedules"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/redisstore"
	"github.com/pyworkflow-go/pyworkflow/worker/asynqtransport"
)

var (
	howMany  = flag.Int("schedules", 500, "how many schedules Redis is filled with")
	howOften = flag.Int("runs", 5000, "how many runs they have had together")
)

// bound is how long a view may take at the server.
const bound = 200 * time.Millisecond

func TestMain(m *testing.M) { goleak.VerifyTestMain(redistest.Main(m)) }

// stage is a client of a filled store.
type stage struct {
	*client.Client
	rdb *redis.Client
	ids []string // of a page's schedules
	run string   // of one that has ended

	others func() time.Duration // how long the processors have worked for other processes; nil: there are none
}

func open(b *testing.B, server *redistest.Server, namespace string) (*redisstore.Store, *redis.Client, *client.Client) {
	b.Helper()
	// Filling may keep a busy machine busier: it is waited for.
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), ReadTimeout: time.Minute, WriteTimeout: time.Minute})
	b.Cleanup(func() { _ = rdb.Close() })
	st, err := redisstore.New(rdb, redisstore.Config{Namespace: namespace})
	if err != nil {
		b.Fatal(err)
	}
	carrier, err := asynqtransport.New(asynqtransport.Config{Client: rdb, Namespace: namespace})
	if err != nil {
		b.Fatal(err)
	}
	c, err := client.New(client.Config{Store: st, Queues: carrier})
	if err != nil {
		b.Fatal(err)
	}
	return st, rdb, c
}

func setUp(b *testing.B, server *redistest.Server) *stage {
	b.Helper()
	st, rdb, c := open(b, server, namespace)
	ctx := b.Context()
	began := time.Now()
	fill(b, st, rdb, *howMany, *howOften)
	for i := range 50 {
		p := store.Process{ID: fmt.Sprintf("host-%d:1:aaaa", i), Host: fmt.Sprintf("host-%d", i), PID: 1, Worker: true, Beat: i < 5, Queues: []string{"default", "slow"}, Capacity: 10}
		for w := range workflows {
			p.Workflows = append(p.Workflows, workflow(w))
		}
		if err := st.AnnounceProcess(ctx, p, time.Hour); err != nil {
			b.Fatal(err)
		}
	}
	b.Logf("filled with %d schedules and %d runs in %s", *howMany, *howOften, time.Since(began).Round(time.Second))
	s := &stage{Client: c, rdb: rdb}
	page, err := c.ListSchedules(ctx, client.ScheduleFilter{}, client.PageRequest{Limit: 50})
	if err != nil {
		b.Fatal(err)
	}
	for _, sc := range page.Items {
		s.ids = append(s.ids, sc.ScheduleID)
	}
	runs, err := c.ListRuns(ctx, client.RunFilter{Status: schedules.RunFailed}, client.PageRequest{Limit: 1})
	if err != nil || len(runs.Items) == 0 {
		b.Fatalf("no run has failed: %v", err)
	}
	s.run = runs.Items[0].RunID
	return s
}

// listed reads one page of schedules, and fails when it is empty but for a filter that none passes, or so few that the page may end before the first.
func listed(f client.ScheduleFilter, none bool) func(context.Context, *stage) error {
	return func(ctx context.Context, s *stage) error {
		got, err := s.ListSchedules(ctx, f, client.PageRequest{Limit: 50})
		if err == nil && len(got.Items) == 0 && !none {
			err = fmt.Errorf("nothing was found by %+v", f)
		}
		return err
	}
}

func ran(f client.RunFilter) func(context.Context, *stage) error {
	return func(ctx context.Context, s *stage) error {
		got, err := s.ListRuns(ctx, f, client.PageRequest{Limit: 50})
		if err == nil && len(got.Items) == 0 {
			err = fmt.Errorf("nothing was found by %+v", f)
		}
		return err
	}
}

// second reads the page after the first.
func second(ctx context.Context, s *stage, f client.ScheduleFilter) error {
	got, err := s.ListSchedules(ctx, f, client.PageRequest{Limit: 50})
	if err == nil {
		_, err = s.ListSchedules(ctx, f, client.PageRequest{Limit: 50, Cursor: string(got.NextCursor)})
	}
	return err
}

var calls = []struct {
	name string
	call func(ctx context.Context, s *stage) error
}{
	{"schedules", listed(client.ScheduleFilter{}, false)},
	{"schedules/two_pages", func(ctx context.Context, s *stage) error { return second(ctx, s, client.ScheduleFilter{}) }},
	{"schedules/workflow", listed(client.ScheduleFilter{Workflow: workflow(7)}, false)},
	{"schedules/paused", listed(client.ScheduleFilter{Status: schedules.StatusPaused}, false)},
	{"schedules/paused_of_workflow", listed(client.ScheduleFilter{Status: schedules.StatusPaused, Workflow: workflow(3)}, false)},
	{"schedules/origin", listed(client.ScheduleFilter{Origin: "example.com/team48"}, true)},
	{"schedules/policy_of_few", listed(client.ScheduleFilter{Overlap: schedules.OverlapAllowAll}, true)},
	{"schedules/policy_of_none", listed(client.ScheduleFilter{Overlap: schedules.OverlapBufferAll}, true)},
	{"schedules/search_many", listed(client.ScheduleFilter{Search: "REPORT"}, false)},
	{"schedules/search_few", listed(client.ScheduleFilter{Search: "49-report-0004"}, true)},
	{"schedules/search_none", listed(client.ScheduleFilter{Search: "nowhere"}, true)},
	{"schedules/search_with_policy", listed(client.ScheduleFilter{Search: "team-4", Overlap: schedules.OverlapAllowAll}, true)},
	{"schedules/next", listed(client.ScheduleFilter{Sort: "next"}, false)},
	{"schedules/next_two_pages", func(ctx context.Context, s *stage) error { return second(ctx, s, client.ScheduleFilter{Sort: "next"}) }},
	{"schedules/next_of_workflow", listed(client.ScheduleFilter{Sort: "next", Workflow: workflow(7)}, false)},
	{"schedules/next_search_none", listed(client.ScheduleFilter{Sort: "next", Search: "nowhere"}, true)},
	{"strips", func(ctx context.Context, s *stage) error {
		got, err := s.Strips(ctx, s.ids, 30)
		if err == nil && len(got) != len(s.ids) {
			err = fmt.Errorf("%d strips", len(got))
		}
		return err
	}},
	{"revisions", func(ctx context.Context, s *stage) error { _, err := s.Revisions(ctx, s.ids); return err }},
	{"schedule", func(ctx context.Context, s *stage) error { _, err := s.GetSchedule(ctx, s.ids[0]); return err }},
	{"timeline", func(ctx context.Context, s *stage) error { _, err := s.Timeline(ctx, s.ids[0], 200); return err }},
	{"history", func(ctx context.Context, s *stage) error {
		_, err := s.ListHistory(ctx, s.ids[0], client.FateFilter{}, client.PageRequest{})
		return err
	}},
	{"runs", ran(client.RunFilter{})},
	{"runs/workflow", ran(client.RunFilter{Workflow: workflow(7)})},
	{"runs/failed", ran(client.RunFilter{Status: schedules.RunFailed})},
	{"runs/failed_of_workflow", ran(client.RunFilter{Status: schedules.RunFailed, Workflow: workflow(7)})},
	{"runs/running", ran(client.RunFilter{Status: schedules.RunRunning})},
	{"runs/completed_of_workflow", ran(client.RunFilter{Status: schedules.RunCompleted, Workflow: workflow(7)})},
	{"runs/completed_since", ran(client.RunFilter{Status: schedules.RunCompleted, Since: time.Now().Add(-24 * time.Hour)})},
	{"runs/schedule", func(ctx context.Context, s *stage) error {
		_, err := s.ListRuns(ctx, client.RunFilter{ScheduleID: s.ids[1]}, client.PageRequest{Limit: 50})
		return err
	}},
	{"run", func(ctx context.Context, s *stage) error { _, err := s.GetRun(ctx, s.run); return err }},
	{"overview", func(ctx context.Context, s *stage) error { _, err := s.Overview(ctx); return err }},
	{"upcoming", func(ctx context.Context, s *stage) error {
		_, err := s.Upcoming(ctx, time.Time{}, time.Minute, 60)
		return err
	}},
	{"processes", func(ctx context.Context, s *stage) error { _, err := s.Processes(ctx); return err }},
	{"queues", func(ctx context.Context, s *stage) error { _, err := s.Queues(ctx); return err }},
	{"workflows", func(ctx context.Context, s *stage) error { _, err := s.Workflows(ctx); return err }},
}

// BenchmarkViews measures each list and view as a page of the dashboard asks for it, then the pages of a dashboard's process.
func BenchmarkViews(b *testing.B) {
	server := redistest.Start(b)
	s := setUp(b, server)
	for _, c := range calls {
		b.Run(c.name, func(b *testing.B) { measure(b, s, c.call) })
	}
	b.Run("pages", func(b *testing.B) { measurePages(b, s, server) })
}

// BenchmarkUpcomingExact counts every tick of as many schedules as are looked at one by one.
func BenchmarkUpcomingExact(b *testing.B) {
	const most = 2000
	st, rdb, c := open(b, redistest.Start(b), "exact")
	now, err := st.Now(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	var changes []schedules.Change
	for i := range most {
		change := newSchedule(i, now)
		s := &change.Schedule
		if s.Spec.Cron = fmt.Sprintf("%d-59/5 * * * *", i%5); i%4 == 0 {
			s.Spec.Cron = "* * * * *"
		}
		s.Status, s.NextNominal, s.NextDue = schedules.StatusActive, now.Add(time.Minute), now.Add(time.Minute)
		changes = append(changes, change)
	}
	for _, err := range st.Commit(b.Context(), changes...) {
		if err != nil {
			b.Fatal(err)
		}
	}
	measure(b, &stage{Client: c, rdb: rdb}, func(ctx context.Context, s *stage) error {
		u, err := s.Upcoming(ctx, time.Time{}, time.Minute, 60)
		if err == nil && !u.Complete {
			err = fmt.Errorf("not every tick was counted")
		}
		return err
	})
}

// measure runs a call until the benchmark is content, tells its median and slowest time and what it costs the processors, Redis' share included, and holds it to
// the bound. Time that a busy machine gave to others does not count.
func measure(b *testing.B, s *stage, call func(context.Context, *stage) error) {
	b.Helper()
	var took []time.Duration
	before := s.cpu(b)
	for b.Loop() {
		began := time.Now()
		if err := call(b.Context(), s); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	cpu := (s.cpu(b) - before) / time.Duration(len(took))
	slices.Sort(took)
	median := took[len(took)/2]
	b.ReportMetric(milliseconds(median), "ms/median")
	b.ReportMetric(milliseconds(took[len(took)-1]), "ms/slowest")
	b.ReportMetric(milliseconds(cpu), "ms/cpu")
	if cpu > bound || median > bound && cpu > median/2 {
		b.Errorf("takes %s, %s of processors: more than %s", median, cpu, bound)
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// cpu is how long the processors have worked for this process and for Redis.
func (s *stage) cpu(b *testing.B) time.Duration {
	b.Helper()
	info, err := s.rdb.InfoMap(b.Context(), "cpu").Result()
	if err != nil {
		b.Fatal(err)
	}
	sum := ownCPU()
	if s.others != nil {
		sum += s.others()
	}
	for _, name := range []string{"used_cpu_user", "used_cpu_sys"} {
		seconds, err := strconv.ParseFloat(info["CPU"][name], 64)
		if err != nil {
			b.Fatalf("%s: %v", name, err)
		}
		sum += time.Duration(seconds * float64(time.Second))
	}
	return sum
}

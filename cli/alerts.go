package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pyworkflow-go/pyworkflow/alert"
	"github.com/pyworkflow-go/pyworkflow/cli/config"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// alertFlags say who is told of what went wrong.
type alertFlags struct {
	urls         []string
	on           []alert.Kind
	format       string
	secretFile   string
	link         string
	blockedAfter time.Duration

	secrets []alert.Secret // of secretFile, once checked
}

// alertURLFlag is the flag whose value is a secret.
const alertURLFlag = "alert-url"

func (f *alertFlags) register(fs *pflag.FlagSet) {
	fs.Var(urlsValue{&f.urls}, alertURLFlag, "webhook to post to when a run fails, a tick is missed, a schedule is overdue or blocked; may be repeated, or several parted by commas (a secret: see docs/alerting.md)")
	config.OneOfVar(fs, &f.format, "alert-format", "", []string{string(alert.JSON), string(alert.Slack)}, "shape of what is posted (default json; slack for hooks.slack.com)")
	fs.Var(kindsValue{&f.on}, "alert-on", "what to post about, parted by commas (default failed,missed,overdue,blocked)")
	fs.StringVar(&f.secretFile, "alert-secret-file", "", "file with the secret that signs what is posted, as Standard Webhooks have it; make one with: echo whsec_$(openssl rand -base64 32)")
	fs.StringVar(&f.link, "alert-link", "", "address of the dashboard, for links in what is posted: https://jobs.example.com")
	config.SecondsVar(fs, &f.blockedAfter, "alert-blocked-after", alert.DefaultBlockedAfter, "how long ticks must be skipped or wait behind one run before that is posted: 900 or 15m")
	config.OptIn(fs, config.Secret, alertURLFlag)
	config.OptIn(fs, config.Path, "alert-secret-file")
	config.OptIn(fs, config.Plain, "alert-format", "alert-on", "alert-link", "alert-blocked-after")
}

// check finds what is wrong with the flags before anything is opened.
func (f *alertFlags) check(cmd *cobra.Command) error {
	for _, u := range f.urls {
		if _, err := alert.ParseURL(u); err != nil {
			return config.Usagef("--%s %q: %v", alertURLFlag, alert.MaskURL(u), err)
		}
	}
	if _, err := alert.ParseLink(f.link); err != nil {
		return config.Usagef("--alert-link %q: %v", alert.MaskURL(f.link), err)
	}
	if f.blockedAfter <= 0 {
		return config.Usagef("--alert-blocked-after %q: must be more than 0", cmd.Flags().Lookup("alert-blocked-after").Value.String())
	}
	if len(f.urls) == 0 {
		for _, name := range []string{"alert-format", "alert-on", "alert-secret-file", "alert-link", "alert-blocked-after"} {
			if cmd.Flags().Changed(name) {
				return config.Usagef("--%s %q: there is nowhere to post to: give an address with --%s", name, cmd.Flags().Lookup(name).Value.String(), alertURLFlag)
			}
		}
		return nil
	}
	if f.secretFile == "" {
		return nil
	}
	text, err := os.ReadFile(f.secretFile)
	if err != nil {
		var path *os.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		return config.Usagef("--alert-secret-file %q: cannot be read: %v", f.secretFile, err)
	}
	if f.secrets, err = alert.ParseSecrets(string(text)); err != nil {
		return config.Usagef("--alert-secret-file %q: %v", f.secretFile, err)
	}
	return nil
}

// newAlerts makes what sends alerts; nil when nobody is to be told.
func (s *session) newAlerts(f alertFlags) (*alert.Sender, error) {
	if len(f.urls) == 0 {
		return nil, nil
	}
	a, err := alert.New(alert.Config{URLs: f.urls, Format: alert.Format(f.format), On: f.on, Secrets: f.secrets, Link: f.link, Namespace: s.p.global.Namespace,
		BlockedAfter: f.blockedAfter, Schedules: laterClient{s}, Log: s.p.log})
	if err != nil {
		return nil, err
	}
	on := f.on
	if len(on) == 0 {
		on = alert.Kinds()
	}
	s.p.note("alerts on %s to %s", strings.Join(names(on), ", "), strings.Join(a.Names(), ", "))
	return a, nil
}

// runAlerts sends alerts until the returned function is called, which waits, within a bound, for what is left.
func runAlerts(ctx context.Context, a *alert.Sender) (stop func()) {
	if a == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // runs that end while the process drains are told of
	var sending sync.WaitGroup
	sending.Go(func() { _ = a.Run(ctx) }) // fails only when it runs already
	return func() {
		cancel()
		sending.Wait()
	}
}

// laterClient is the client of a session, which is made after what observes its engine.
type laterClient struct{ s *session }

// GetSchedule reads a schedule with what is in its way.
func (c laterClient) GetSchedule(ctx context.Context, id string) (client.ScheduleDetail, error) {
	return c.s.client.GetSchedule(ctx, id)
}

// urlsValue is a flag that takes addresses. What is wrong with them is said later, where they are masked.
type urlsValue struct{ to *[]string }

func (v urlsValue) Type() string { return "url" }

func (v urlsValue) String() string {
	if v.to == nil {
		return ""
	}
	return strings.Join(*v.to, ",")
}

func (v urlsValue) Set(text string) error {
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			*v.to = append(*v.to, part)
		}
	}
	return nil
}

// kindsValue is a flag that takes kinds of alerts.
type kindsValue struct{ to *[]alert.Kind }

func (v kindsValue) Type() string { return "kinds" }

func (v kindsValue) String() string {
	if v.to == nil {
		return ""
	}
	return strings.Join(names(*v.to), ",")
}

func (v kindsValue) Set(text string) error {
	var kinds []alert.Kind
	for part := range strings.SplitSeq(text, ",") {
		kind := alert.Kind(strings.TrimSpace(part))
		if !slices.Contains(alert.Kinds(), kind) {
			return fmt.Errorf("%q must be one of %s", schedules.Cut(string(kind), 40), strings.Join(names(alert.Kinds()), ", "))
		}
		if !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	*v.to = kinds
	return nil
}

func names[T ~string](of []T) []string {
	out := make([]string, len(of))
	for i, w := range of {
		out[i] = string(w)
	}
	return out
}

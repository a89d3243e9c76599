package alert

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pyworkflow-go/pyworkflow/client"
)

// Kind is what a message is about.
type Kind string

// The kinds of message.
const (
	Failed  Kind = "failed"  // a run has ended failed, after its retries
	Missed  Kind = "missed"  // ticks were recorded missed
	Overdue Kind = "overdue" // the watchdog found a schedule that was not decided in time
	Blocked Kind = "blocked" // ticks of a schedule have been skipped, or wait, behind one run for long
)

// Kinds are all of them.
func Kinds() []Kind { return []Kind{Failed, Missed, Overdue, Blocked} }

// Format is the shape of what is posted.
type Format string

// The formats.
const (
	JSON  Format = "json"  // Message
	Slack Format = "slack" // {"text": "…"}, for Slack and what takes its messages
)

// Message is what is posted in the format JSON. Fields that do not apply are null. It stands for Count facts of one kind, and describes the newest.
type Message struct {
	ID        string      `json:"id"` // the same for the same fact, whichever process sends it; HeaderID
	Kind      Kind        `json:"kind"`
	At        client.Time `json:"at"`    // when it was committed or found
	Since     client.Time `json:"since"` // At of the first of the facts
	Count     int         `json:"count"` // at least 1
	Namespace string      `json:"namespace"`
	// ScheduleID and Workflow are null in a message about several schedules.
	ScheduleID  client.Text `json:"schedule_id"`
	ScheduleIDs []string    `json:"schedule_ids"` // all it is about, at most 10
	Workflow    client.Text `json:"workflow"`
	RunID       client.Text `json:"run_id"`       // failed: the run; blocked: the run in the way
	NominalTime client.Time `json:"nominal_time"` // failed: of the run; missed: of the tick
	Reason      client.Text `json:"reason"`       // one word: failed: error, panic, timeout, worker_lost, input, record; missed: catchup, window, paused, deleted
	Message     client.Text `json:"message"`      // what is known of the cause: the error, cut at 1,000 characters
	Summary     string      `json:"summary"`      // all of it in a sentence
	Link        client.Text `json:"link"`         // where the dashboard shows it

	about string // what it is folded by, besides its kind
	mark  string // tells the fact from all others of its kind
	rest  bool   // it is about further schedules, which had no message of their own
	say   string // Summary of a single fact, without the cause
}

const (
	maxMessage = 1000
	maxIDs     = 10
)

// finish fills what follows from the rest.
func (m *Message) finish(namespace, link string) {
	sum := sha256.Sum256([]byte(namespace + "\x00" + string(m.Kind) + "\x00" + m.about + "\x00" + m.mark))
	m.ID = "alert_" + hex.EncodeToString(sum[:12])
	m.Namespace = namespace
	m.Message = client.Text(clean(string(m.Message), maxMessage))
	m.Workflow = client.Text(clean(string(m.Workflow), 200))
	if m.ScheduleIDs == nil {
		m.ScheduleIDs = []string{}
	}
	m.Summary = m.headline()
	if m.Message != "" && !m.rest {
		m.Summary += ": " + strings.Join(strings.Fields(string(m.Message)), " ")
	}
	if m.rest {
		m.ScheduleID, m.Workflow, m.RunID, m.NominalTime, m.Reason, m.Message = "", "", "", client.Time{}, "", ""
	}
	switch {
	case link == "":
	case m.rest:
		m.Link = client.Text(link + "/")
	case m.Kind == Failed:
		m.Link = client.Text(link + "/runs/" + url.PathEscape(string(m.RunID)))
	default:
		m.Link = client.Text(link + "/schedules/" + url.PathEscape(string(m.ScheduleID)))
	}
}

// headline is a sentence without the cause.
func (m *Message) headline() string {
	what := "schedule " + string(m.ScheduleID)
	if m.ScheduleID == "" {
		what = fmt.Sprintf("workflow %q", string(m.Workflow))
	}
	span := "since " + stamp(m.Since.Time)
	switch {
	case m.rest:
		noun := map[Kind]string{Failed: "runs failed", Missed: "ticks were missed", Overdue: "schedules were overdue", Blocked: "schedules were blocked"}[m.Kind]
		about := ""
		if len(m.ScheduleIDs) > 0 {
			about = " (" + strings.Join(m.ScheduleIDs, ", ")
			if m.Count > len(m.ScheduleIDs) {
				about += ", …"
			}
			about += ")"
		}
		return fmt.Sprintf("%d more %s %s%s", m.Count, noun, span, about)
	case m.Kind == Failed && m.Count > 1:
		return fmt.Sprintf("%d runs of %s failed %s, the latest is %s", m.Count, what, span, m.RunID)
	case m.Kind == Missed && m.Count > 1:
		return fmt.Sprintf("%d ticks of %s were missed, the latest of %s", m.Count, what, stamp(m.NominalTime.Time))
	case m.Count > 1:
		return fmt.Sprintf("%s (%d times %s)", m.say, m.Count, span)
	default:
		return m.say
	}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.999Z") }

// clean makes text harmless to show: valid, without control and invisible format characters other than line breaks and tabs, cut at a number of characters.
func clean(text string, most int) string {
	if len(text) > 8*most { // a character has four bytes at most
		text = text[:8*most]
	}
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r == '\r' || r == utf8.RuneError:
			return '\uFFFD'
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co):
			return -1
		default:
			return r
		}
	}, strings.ToValidUTF8(strings.ReplaceAll(text, "\r\n", "\n"), "\uFFFD"))
	if utf8.RuneCountInString(text) > most {
		text = string([]rune(text)[:most-1]) + "…"
	}
	return text
}

// body is what is posted.
func (m *Message) body(f Format) ([]byte, error) {
	if f == Slack {
		return json.Marshal(map[string]string{"text": m.slack()})
	}
	return json.Marshal(m)
}

var slackEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// slack writes the message in Slack's own markup. What users have written stands in code, where nothing is a mention or a link.
func (m *Message) slack() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s *%s* in namespace %s: %s", map[Kind]string{Failed: ":x:", Missed: ":warning:", Overdue: ":hourglass:", Blocked: ":construction:"}[m.Kind], m.Kind,
		inCode(m.Namespace), slackEscapes.Replace(quiet(m.headline())))
	if m.Message != "" {
		fmt.Fprintf(&b, "\n```\n%s\n```", slackEscapes.Replace(strings.ReplaceAll(string(m.Message), "```", "'''")))
	}
	var facts []string
	if m.Workflow != "" {
		facts = append(facts, "workflow "+inCode(string(m.Workflow)))
	}
	if !m.NominalTime.IsZero() {
		facts = append(facts, "nominal time "+stamp(m.NominalTime.Time))
	}
	if m.Reason != "" {
		facts = append(facts, "reason "+inCode(string(m.Reason)))
	}
	if m.Link != "" { // it has no < and > and |: the link was parsed, ids are percent-encoded
		facts = append(facts, "<"+slackEscapes.Replace(strings.ReplaceAll(string(m.Link), "|", "%7C"))+"|open in the dashboard>")
	}
	if len(facts) > 0 {
		b.WriteString("\n" + strings.Join(facts, " · "))
	}
	return b.String()
}

// inCode writes a short text as code.
func inCode(text string) string {
	return "`" + slackEscapes.Replace(strings.Join(strings.Fields(strings.ReplaceAll(text, "`", "'")), " ")) + "`"
}

// quiet takes what markup and mentions are made of out of a text that stands outside of code.
func quiet(text string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case '`':
			return '\''
		case '*', '~':
			return -1
		case '@':
			return '＠'
		default:
			return r
		}
	}, text)
}

package alert

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/pyworkflow-go/pyworkflow/client"
)

// The published example of Standard Webhooks.
func TestSignature(t *testing.T) {
	got := sign(secrets(t, testSecret), "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
	two := secrets(t, "# new\nanother-secret-of-24-bytes\n\n"+testSecret+"\n")
	if both := sign(two, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`)); len(two) != 2 || !strings.HasSuffix(both, " "+got) || strings.HasPrefix(both, got) {
		t.Errorf("two secrets sign %q", both)
	}
	if text := fmt.Sprintf("%v %+v %#v %s", two, two[0], two[0], two[1]); strings.Contains(text, "another") || strings.Contains(text, "97") {
		t.Errorf("secrets print as %s", text)
	}
}

func TestParseSecrets(t *testing.T) {
	for text, want := range map[string]string{
		"":                                      "holds no secret",
		"# nothing\n\n":                         "holds no secret",
		"short":                                 "line 1: a secret of 5 bytes is too short",
		"\nwhsec_c2hvcnQ=":                      "line 2: a secret of 5 bytes is too short",
		"whsec_hunter2-s3cret!":                 "line 1: what follows whsec_ is not base64",
		strings.Repeat("0123456789abcdef\n", 6): "holds 6 secrets",
	} {
		_, err := ParseSecrets(text)
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	got := secrets(t, "  0123456789abcdef \r\nwhsec_MDEyMzQ1Njc4OWFiY2RlZg\n")
	if len(got) != 2 || string(got[0].key) != "0123456789abcdef" || string(got[1].key) != "0123456789abcdef" {
		t.Errorf("read %d: %q", len(got), got[0].key)
	}
}

func TestMaskURL(t *testing.T) {
	for text, want := range map[string]string{
		"": "",
		"https://hooks.slack.com/services/T/B/" + hidden: "https://hooks.slack.com/***",
		"https://me:" + hidden + "@h:8443":               "https://h:8443/***",
		"https://" + hidden + "@h/":                      "https://h/***",
		"http://h?token=" + hidden:                       "http://h/***",
		"http://h/":                                      "http://h",
		"http://[::1]:80/" + hidden:                      "http://[::1]:80/***",
		hidden:                                           "***",
		"ftp://h/" + hidden:                              "***",
		"https://h/%zz" + hidden:                         "***",
		"https://a/" + hidden + ", https://b/" + hidden:  "https://a/***,https://b/***",
		"https://h/#" + hidden:                           "***",
	} {
		got := MaskURL(text)
		if got != want || MaskURL(got) != got {
			t.Errorf("%q is shown as %q and that as %q, want %q", text, got, MaskURL(got), want)
		}
	}
}

func TestConfig(t *testing.T) {
	for want, cfg := range map[string]Config{
		"Config.URLs is empty":                         {},
		"url ***: must begin with https:// or http://": {URLs: []string{"ftp://h/" + hidden}},
		"url ***: is no URL":                           {URLs: []string{"https://h/%zz" + hidden}},
		"url ***: has no host":                         {URLs: []string{"https:///" + hidden}},
		"url ***: must have no fragment":               {URLs: []string{"https://h/#" + hidden}},
		`format "xml": must be json or slack`:          {URLs: []string{"https://h"}, Format: "xml"},
		`kind "late": must be failed, missed`:          {URLs: []string{"https://h"}, On: []Kind{"late"}},
		"blocked after -1s: must not be negative":      {URLs: []string{"https://h"}, BlockedAfter: -time.Second},
		"link must have no user and password":          {URLs: []string{"https://h"}, Link: "https://me:" + hidden + "@h"},
		"link must have no query":                      {URLs: []string{"https://h"}, Link: "https://h/?token=" + hidden},
		"link must begin with https:// or http://":     {URLs: []string{"https://h"}, Link: "javascript:alert(1)"},
	} {
		_, err := New(cfg)
		if err == nil || !strings.HasPrefix(err.Error(), "alert: "+want) || strings.Contains(err.Error(), hidden) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	s, err := New(Config{URLs: []string{"https://HOOKS.slack.com/x", "https://h/y"}, Format: JSON})
	if err != nil || s.to[0].format != Slack || s.to[1].format != JSON || fmt.Sprint(s.Names()) != "[https://HOOKS.slack.com/*** https://h/***]" {
		t.Errorf("%v %v", err, s.Names())
	}
}

// What users have written breaks out of nothing.
func TestHostileText(t *testing.T) {
	const evil = "`*<!channel>*` @here <https://evil.example|click> ```\n\x1b[31m\u202e\x00&amp; \xff\r\ntwo"
	m := Message{Kind: Failed, At: client.Time{Time: at}, Since: client.Time{Time: at}, Count: 1, Workflow: evil, RunID: "run_1", Reason: "`<x>`", Message: client.Text(evil + strings.Repeat("é", 5000)),
		say: fmt.Sprintf("run run_1 of workflow %q failed", clean(evil, 200))}
	m.finish("na`<me>", "https://jobs.example.com/a|b")
	body, err := m.body(JSON)
	if err != nil {
		t.Fatal(err)
	}
	var back Message
	if err := json.Unmarshal(body, &back); err != nil || !utf8.Valid(body) || strings.ContainsAny(string(body), "\x00\x1b\n") || strings.Contains(string(body), "\u202e") {
		t.Errorf("%v: %s", err, body)
	}
	if n := utf8.RuneCountInString(string(back.Message)); n != maxMessage || !strings.HasSuffix(string(back.Message), "é…") || !strings.Contains(string(back.Message), "\n") {
		t.Errorf("the message has %d characters: %s", n, back.Message)
	}
	if strings.Contains(back.Summary, "\n") {
		t.Errorf("the summary has several lines: %q", back.Summary)
	}
	body, err = m.body(Slack)
	var slack map[string]string
	if err != nil || json.Unmarshal(body, &slack) != nil || len(slack) != 1 {
		t.Fatalf("%v: %s", err, body)
	}
	text := slack["text"]
	for _, bad := range []string{"<!", "<https://evil", "\x1b", "\u202e"} {
		if strings.Contains(text, bad) {
			t.Errorf("Slack would see %q in\n%s", bad, text)
		}
	}
	if strings.Count(text, "```") != 2 || strings.Count(text, "`")%2 != 0 || strings.Count(text, "<") != 1 || !strings.HasSuffix(text, "<https://jobs.example.com/a%7Cb/runs/run_1|open in the dashboard>") {
		t.Errorf("Slack would see\n%s", text)
	}
	outside, _, _ := strings.Cut(text, "```")
	_, outside, _ = strings.Cut(outside, "in namespace ")
	if strings.ContainsAny(outside, "*@") || !strings.HasPrefix(outside, "`na'&lt;me&gt;`: ") {
		t.Errorf("outside of code stands %q", outside)
	}
}

// A message in Slack's format, whole.
func TestSlack(t *testing.T) {
	m := Message{Kind: Missed, At: client.Time{Time: at}, Since: client.Time{Time: at}, Count: 12, ScheduleID: "nightly", ScheduleIDs: []string{"nightly"}, Workflow: "report",
		NominalTime: client.Time{Time: at}, Reason: "catchup", Message: client.Text(why["catchup"])}
	m.finish("prod", "https://jobs.example.com")
	if got, want := m.slack(), ":warning: *missed* in namespace `prod`: 12 ticks of schedule nightly were missed, the latest of 2026-11-22T09:00:00.25Z\n"+
		"```\nnothing decided it when it was due, and the catchup setting leaves it out\n```\n"+
		"workflow `report` · nominal time 2026-11-22T09:00:00.25Z · reason `catchup` · <https://jobs.example.com/schedules/nightly|open in the dashboard>"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// The documented message has the fields that are posted, in their order.
func TestDocumentedMessage(t *testing.T) {
	text, err := os.ReadFile("../docs/alerting.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(text), "```json\n")
	example, _, _ = strings.Cut(example, "```")
	var m Message
	dec := json.NewDecoder(strings.NewReader(example))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&m); err != nil {
		t.Fatalf("%v: %s", err, example)
	}
	posted, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	ids := fmt.Sprintf("\"schedule_ids\": [\n    %q\n  ]", "nightly")
	if got := strings.Replace(string(posted), ids, `"schedule_ids": ["nightly"]`, 1) + "\n"; got != example {
		t.Errorf("posted\n%s\ndocumented\n%s", got, example)
	}
}

// Whatever a URL is, nothing but its scheme and host is shown.
func FuzzMaskURL(f *testing.F) {
	for _, s := range []string{"https://h/x", "https://u:p@h", "http://h?x#y", "::", "https://h/a,b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		shown := MaskURL(text)
		if MaskURL(shown) != shown {
			t.Errorf("%q is shown as %q, and that as %q", text, shown, MaskURL(shown))
		}
		for part := range strings.SplitSeq(shown, ",") {
			if part == "" || part == masked {
				continue
			}
			u, err := url.Parse(part)
			if err != nil || u.User != nil || u.RawQuery != "" || u.Path != "" && u.Path != "/"+masked {
				t.Errorf("%q is shown as %q", text, shown)
			}
		}
	})
}

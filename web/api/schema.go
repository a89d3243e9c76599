package api

import (
	"encoding/json"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// The client's types write their own JSON and know nothing of huma. For each there is a type here that says what that JSON is.
type (
	textSchema     struct{}
	timeSchema     struct{}
	zonedSchema    struct{}
	durationSchema struct{} // never null
	spanSchema     struct{} // null for none
	specSchema     struct{}
	attrsSchema    struct{}
	codeSchema     struct{}

	statusSchema   struct{}
	runSchema      struct{}
	triggerSchema  struct{}
	fateSchema     struct{}
	overlapSchema  struct{}
	catchupSchema  struct{}
	backfillSchema struct{}
	findingSchema  struct{}
)

const durationPattern = `^([0-9]+d)?([0-9.]+(h|m|s|ms|µs|ns))*$`

func (textSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Nullable: true}
}

func (timeSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "date-time", Nullable: true, Description: "RFC 3339, in UTC"}
}

func (zonedSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "date-time", Description: "RFC 3339, at the offset of its zone"}
}

func (durationSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Pattern: durationPattern, Description: "numbers and units: 30s, 5m, 1d12h"}
}

func (spanSchema) Schema(huma.Registry) *huma.Schema {
	s := durationSchema{}.Schema(nil)
	s.Nullable = true
	return s
}

// The calendar's fields are numbers, texts, or lists of both.
func (specSchema) Schema(huma.Registry) *huma.Schema {
	text := func(about string) *huma.Schema {
		return &huma.Schema{Type: huma.TypeString, Nullable: true, Description: about}
	}
	at := func(about string) *huma.Schema {
		return &huma.Schema{Type: huma.TypeString, Format: "date-time", Nullable: true, Description: about}
	}
	field := &huma.Schema{Description: "A number, a text with lists, ranges and steps (\"1-5\", \"mon-fri\", \"*/2\", \"15,last\"), a list, or null"}
	fields := map[string]*huma.Schema{}
	for _, name := range []string{"second", "minute", "hour", "day_of_month", "month", "day_of_week", "year"} {
		fields[name] = field
	}
	jitter := spanSchema{}.Schema(nil)
	jitter.Description = "up to how much the start of a tick may be delayed: 30s, 5m"
	calendar := &huma.Schema{Type: huma.TypeArray, Nullable: true, Description: "a tick when any of them matches",
		Items: &huma.Schema{Type: huma.TypeObject, Properties: fields, AdditionalProperties: false}}
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: false, Description: "When a schedule ticks: exactly one of cron, interval and calendar", Properties: map[string]*huma.Schema{
		"cron":     text("five fields, six with leading seconds, or a macro such as @daily"),
		"interval": text("whole numbers and units: 30s, 1h30m, 1d12h"),
		"calendar": calendar,
		"interval_from": {Type: huma.TypeString, Nullable: true, Enum: []any{string(schedules.FromCompletion), string(schedules.FromStart), nil},
			Description: "what an interval is counted from"},
		"timezone": text("IANA name; null is UTC"),
		"start_at": at("first possible tick, inclusive"),
		"end_at":   at("no tick at or after it"),
		"jitter":   jitter,
	}}
}

func (attrsSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, Nullable: true, AdditionalProperties: true, Description: "what was logged with the message"}
}

func enum[T ~string](values ...T) *huma.Schema {
	s := &huma.Schema{Type: huma.TypeString}
	for _, v := range values {
		s.Enum = append(s.Enum, string(v))
	}
	return s
}

func (codeSchema) Schema(huma.Registry) *huma.Schema {
	return enum(client.CodeInvalid, client.CodeNotFound, client.CodeConflict, client.CodeSkipped, client.CodeUnavailable, client.CodeFailed, CodeRefused)
}

func (statusSchema) Schema(huma.Registry) *huma.Schema {
	return enum(schedules.StatusActive, schedules.StatusPaused, schedules.StatusFinished, schedules.StatusDeleted)
}

func (runSchema) Schema(huma.Registry) *huma.Schema {
	return enum(schedules.RunPending, schedules.RunRunning, schedules.RunRetrying, schedules.RunCompleted, schedules.RunFailed, schedules.RunCancelled)
}

func (triggerSchema) Schema(huma.Registry) *huma.Schema {
	return enum(schedules.TriggerSchedule, schedules.TriggerCatchup, schedules.TriggerManual, schedules.TriggerBackfill)
}

func (fateSchema) Schema(huma.Registry) *huma.Schema {
	return enum(schedules.FateStarted, schedules.FateBuffered, schedules.FateDropped, schedules.FateSkipped, schedules.FateMissed)
}

func (overlapSchema) Schema(huma.Registry) *huma.Schema {
	return enum(schedules.OverlapSkip, schedules.OverlapBufferOne, schedules.OverlapBufferAll, schedules.OverlapCancelOther, schedules.OverlapAllowAll)
}

func (catchupSchema) Schema(huma.Registry) *huma.Schema {
	return enum(schedules.CatchupOne, schedules.CatchupAll, schedules.CatchupNone)
}

func (backfillSchema) Schema(huma.Registry) *huma.Schema {
	return enum(schedules.BackfillRunning, schedules.BackfillCancelling, schedules.BackfillCancelled, schedules.BackfillCompleted)
}

func (findingSchema) Schema(huma.Registry) *huma.Schema {
	return enum("ok", "warning", "error", "skipped")
}

// Schema is that of the value, or null.
func (o optional[T]) Schema(r huma.Registry) *huma.Schema {
	s := *r.Schema(typeOf[T](), false, "")
	if s.Type != "" {
		s.Nullable = true
	}
	if len(s.Enum) > 0 {
		s.Nullable = false // an enumerated field has no null to take
	}
	return &s
}

// Schema is that of a time.
func (instant) Schema(r huma.Registry) *huma.Schema { return timeSchema{}.Schema(r) }

// newRegistry makes a registry that knows the client's types.
func newRegistry() huma.Registry {
	r := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	finding, _ := typeOf[client.Finding]().FieldByName("Status")
	for _, a := range []struct{ of, is reflect.Type }{
		{typeOf[client.Text](), typeOf[textSchema]()},
		{typeOf[client.Time](), typeOf[timeSchema]()},
		{typeOf[client.Zoned](), typeOf[zonedSchema]()},
		{typeOf[client.Duration](), typeOf[spanSchema]()},
		{typeOf[client.Code](), typeOf[codeSchema]()},
		{typeOf[schedules.Duration](), typeOf[durationSchema]()},
		{typeOf[schedules.Spec](), typeOf[specSchema]()},
		{typeOf[schedules.Status](), typeOf[statusSchema]()},
		{typeOf[schedules.RunStatus](), typeOf[runSchema]()},
		{typeOf[schedules.Trigger](), typeOf[triggerSchema]()},
		{typeOf[schedules.FateKind](), typeOf[fateSchema]()},
		{typeOf[schedules.OverlapPolicy](), typeOf[overlapSchema]()},
		{typeOf[schedules.Catchup](), typeOf[catchupSchema]()},
		{typeOf[schedules.BackfillStatus](), typeOf[backfillSchema]()},
		{typeOf[map[string]any](), typeOf[attrsSchema]()},
		{finding.Type, typeOf[findingSchema]()},
	} {
		r.RegisterTypeAlias(a.of, a.is)
	}
	return r
}

// finish makes the document say what huma cannot know: which objects may be null, and that lists never are.
func finish(doc *huma.OpenAPI) {
	registry := doc.Components.Schemas
	for name, s := range registry.Map() {
		if name == "ErrorModel" || name == "ErrorDetail" { // huma's own, which nothing answers with
			delete(registry.Map(), name)
			continue
		}
		if t := registry.TypeFromRef("#/components/schemas/" + name); t != nil && t.Kind() == reflect.Struct {
			finishStruct(s, t)
		}
	}
}

func finishStruct(s *huma.Schema, t reflect.Type) {
	for _, f := range reflect.VisibleFields(t) {
		p := s.Properties[tagName(f)]
		if p == nil {
			continue
		}
		switch {
		case tagName(f) == "run_status": // empty where there is no run
			empty := *p
			empty.Enum = append([]any{""}, p.Enum...)
			s.Properties[tagName(f)] = &empty
		case p.Type == huma.TypeArray && f.Type.Kind() == reflect.Slice:
			p.Nullable = false
		case f.Type.Kind() == reflect.Pointer && p.Ref != "":
			s.Properties[tagName(f)] = &huma.Schema{AnyOf: []*huma.Schema{{Ref: p.Ref}, {Type: "null"}}}
		case f.Type == typeOf[json.RawMessage]():
			p.Description = "any JSON"
		}
	}
}

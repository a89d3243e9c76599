package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/web/live"
)

const (
	// Prefix is that of every path.
	Prefix = "/api/v1"
	// DefaultMaxBody is Config.MaxBody when it is zero: an input at its usual limit of 1 MiB and what goes with it.
	DefaultMaxBody = 2 << 20
	// answerTimeout bounds an answer, but for the event stream.
	answerTimeout = 30 * time.Second
)

// Config holds the parts of the API.
type Config struct {
	// Client is required: it does all there is to do.
	Client *client.Client
	// Live is required: it feeds the event stream. The caller runs it.
	Live *live.Hub
	// ReadOnly refuses every request that would change something.
	ReadOnly bool
	// MaxBody bounds the body of a request, in bytes; 0: DefaultMaxBody.
	MaxBody int64
	// Doctor says what doctor looks at.
	Doctor client.DoctorOptions
	// Log is told of requests that failed for reasons that are not the caller's; nil: discards.
	Log *slog.Logger
	// Namespace, Runtime and Version are told to those who ask for the version.
	Namespace, Runtime, Version string
}

// server answers requests.
type server struct {
	Config
	mux      *http.ServeMux
	huma     huma.API
	document []byte                  // OpenAPI, as JSON
	bodies   map[string]reflect.Type // by operation, of the request
}

// New gives the handler of all paths below /api. It is safe for concurrent use.
func New(cfg Config) (http.Handler, error) {
	switch {
	case cfg.Client == nil:
		return nil, errors.New("api: Config.Client is nil")
	case cfg.Live == nil:
		return nil, errors.New("api: Config.Live is nil")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.MaxBody == 0 {
		cfg.MaxBody = DefaultMaxBody
	}
	s := &server{Config: cfg, mux: http.NewServeMux(), bodies: map[string]reflect.Type{}}
	format := huma.Format{Marshal: marshal, Unmarshal: readBody}
	s.huma = humago.NewWithPrefix(s.mux, Prefix, huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info:    &huma.Info{Title: "pyworkflow", Version: "v1", Description: description},
			Servers: []*huma.Server{{URL: Prefix}},
			Components: &huma.Components{Schemas: newRegistry(), SecuritySchemes: map[string]*huma.SecurityScheme{
				"token": {Type: "http", Scheme: "bearer", Description: "The token that the dashboard was started with. Without one, none is needed."}}},
			Security: []map[string][]string{{"token": {}}, {}},
			Tags:     tags,
		},
		Formats:       map[string]huma.Format{"application/json": format, "json": format},
		DefaultFormat: "application/json",
		Transformers:  []huma.Transformer{ours},
	})
	for _, add := range []func(){s.addSchedules, s.addScheduleActs, s.addBackfills, s.addRuns, s.addRest, s.addEvents} {
		add()
	}
	finish(s.huma.OpenAPI())
	var err error
	if s.document, err = json.Marshal(s.huma.OpenAPI()); err != nil {
		return nil, fmt.Errorf("api: make the OpenAPI document: %w", err)
	}
	s.mux.HandleFunc("GET "+Prefix+"/openapi.json", s.serveDocument)
	s.mux.HandleFunc("/", s.unknown)
	return s.mux, nil
}

func marshal(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// ours turns what huma itself says of a request, which strict lets come about for no request known, into a Problem.
func ours(_ huma.Context, _ string, v any) (any, error) {
	if e, ok := v.(*huma.ErrorModel); ok {
		p := &Problem{Status: e.Status, Code: client.CodeInvalid, Detail: e.Detail}
		if e.Status >= http.StatusInternalServerError {
			p.Code = client.CodeFailed
		}
		if len(e.Errors) > 0 {
			p.Detail = e.Errors[0].Message
		}
		return p.complete(), nil
	}
	return v, nil
}

func (s *server) serveDocument(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/openapi+json")
	_, _ = w.Write(s.document) // who asked may be gone
}

// unknown answers requests that no operation is for.
func (s *server) unknown(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := s.mux.Handler(other); pattern != "/" && pattern != "" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) > 0 && !slices.Contains(allowed, r.Method) {
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		WriteProblem(w, &Problem{Status: http.StatusMethodNotAllowed, Code: client.CodeInvalid, Detail: fmt.Sprintf("method %s is not for %s; use %s", r.Method, clip(r.URL.Path), words(allowed))})
		return
	}
	WriteProblem(w, &Problem{Status: http.StatusNotFound, Code: client.CodeNotFound, Detail: fmt.Sprintf("there is nothing at %s; GET %s/openapi.json says what there is", clip(r.URL.Path), Prefix)})
}

func clip(text string) string {
	const most = 120
	if len(text) > most {
		text = text[:most] + "..."
	}
	return text
}

// example is what an operation is shown with in the document.
type example struct {
	body   any // of the request
	answer any
}

// add registers an operation.
func add[I, O any](s *server, op huma.Operation, ex example, do func(context.Context, *I) (*O, error)) {
	op.SkipValidateParams, op.SkipValidateBody = true, true // strict does, with sentences of ours
	op.MaxBodyBytes, op.BodyReadTimeout = -1, -1            // strict has read it
	op.Middlewares = append(op.Middlewares, s.strict)
	if f, ok := typeOf[I]().FieldByName("Body"); ok {
		s.bodies[op.OperationID] = f.Type
	}
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	op.Responses["default"] = s.problemResponse()
	huma.Register(s.huma, op, func(ctx context.Context, in *I) (*O, error) {
		if op.OperationID != "events" {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, answerTimeout)
			defer cancel()
		}
		out, err := do(ctx, in)
		if err == nil {
			return out, nil
		}
		p := problemOf(err)
		p.asSent(op, err)
		if p.Status >= http.StatusInternalServerError && ctx.Err() == nil {
			s.Log.Error("request failed", "operation", op.OperationID, "error", err)
		}
		return nil, p
	})
	ex.show(s.huma.OpenAPI(), op.Method, op.Path)
}

// show puts the example into the document.
func (ex example) show(doc *huma.OpenAPI, method, path string) {
	item := doc.Paths[path]
	var op *huma.Operation
	switch method {
	case http.MethodGet:
		op = item.Get
	case http.MethodPost:
		op = item.Post
	case http.MethodPut:
		op = item.Put
	case http.MethodPatch:
		op = item.Patch
	case http.MethodDelete:
		op = item.Delete
	}
	if ex.body != nil && op.RequestBody != nil {
		for _, m := range op.RequestBody.Content {
			m.Example = ex.body
		}
	}
	if ex.answer == nil {
		return
	}
	for status, r := range op.Responses {
		if status == "default" {
			continue
		}
		for _, m := range r.Content {
			m.Example = ex.answer
		}
	}
}

func (s *server) problemResponse() *huma.Response {
	schema := s.huma.OpenAPI().Components.Schemas.Schema(typeOf[Problem](), true, "Problem")
	return &huma.Response{Description: "What is wrong, as problem details (RFC 9457)", Content: map[string]*huma.MediaType{
		problemType: {Schema: schema, Example: (&Problem{Status: http.StatusBadRequest, Code: client.CodeInvalid, Field: "interval", Detail: `interval "30": needs a unit; write 30s, 30m, 30h or 30d`}).complete()}}}
}

// answer is a body alone; tagged comes with the ETag of a schedule.
type (
	answer[T any] struct{ Body T }
	tagged[T any] struct {
		ETag string `header:"ETag" doc:"The version of the schedule, for If-Match. It counts people's changes: counters move without it."`
		Body T
	}
)

func give[T any](v T, err error) (*answer[T], error) {
	if err != nil {
		return nil, err
	}
	return &answer[T]{v}, nil
}

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pyworkflow-go/pyworkflow"
	"github.com/pyworkflow-go/pyworkflow/cli/config"
	"github.com/pyworkflow-go/pyworkflow/cli/modbuild"
	"github.com/pyworkflow-go/pyworkflow/client"
	"github.com/pyworkflow-go/pyworkflow/schedules"
)

// exitError ends the command with a code of its own; with a message only if it has one.
type exitError struct {
	code client.Code
	text string
}

func (e *exitError) Error() string     { return e.text }
func (e *exitError) Code() client.Code { return e.code }

// codeOf extends client.CodeOf by the errors of the command line itself.
func codeOf(err error) client.Code {
	var usage *config.UsageError
	var pkg *modbuild.PackageError
	if errors.As(err, &usage) || errors.As(err, &pkg) {
		return client.CodeInvalid
	}
	return client.CodeOf(err)
}

// report prints an error to standard error and returns the exit code.
func (p *program) report(cmd *cobra.Command, args []string, err error) int {
	if err == nil {
		return 0
	}
	var child *childExit
	if errors.As(err, &child) {
		return child.code
	}
	code := codeOf(err)
	var compile *modbuild.CompileError
	text := withoutPasswords(explain(cmd, err), args)
	switch {
	case text == "":
	case p.wantsJSON(args):
		line, _ := json.Marshal(map[string]any{"error": map[string]string{"code": string(code), "message": text}}) // strings always encode
		fmt.Fprintln(p.stderr, string(line))
	case errors.As(err, &compile):
		fmt.Fprintln(p.stderr, text)
	default:
		fmt.Fprintln(p.stderr, oneLine(text))
	}
	return code.Exit()
}

func oneLine(s string) string {
	return visible(strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), "; "))
}

// wantsJSON reports whether errors are to be JSON. Flags may not have been read when something is wrong with them.
func (p *program) wantsJSON(args []string) bool {
	if p.settings != nil {
		return p.global.Output == "json"
	}
	for i, a := range args {
		if a == "--" {
			break
		}
		if a == "--output=json" || a == "--output" && i+1 < len(args) && args[i+1] == "json" {
			return true
		}
	}
	given, _ := p.env(config.EnvName("output"))
	return given == "json" && !slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "--output") })
}

// explain is the line for an error: it names the flag instead of the field, and what to do.
func explain(cmd *cobra.Command, err error) string {
	var field *schedules.FieldError
	var workflow *client.UnknownWorkflowError
	var missing *client.NotFoundError
	var exists *client.ExistsError
	var flag *pflag.InvalidValueError
	var run *pyworkflow.RunError
	var inFile *fileError
	switch {
	case errors.As(err, &inFile) && errors.As(err, &workflow):
		return inFile.where + ": " + explain(cmd, inFile.err)
	case errors.As(err, &inFile):
		return inFile.Error()
	case errors.As(err, &flag):
		return flagError(flag)
	case errors.As(err, &field):
		return (&schedules.FieldError{Field: flagNames(cmd, field.Field), Value: field.Value,
			Problem: compound.ReplaceAllStringFunc(field.Problem, func(name string) string { return flagNames(cmd, name) })}).Error()
	case errors.As(err, &workflow):
		return workflow.Error() + workflowRemedy(cmd, workflow)
	case errors.As(err, &missing) && !missing.Deleted:
		return missing.Error() + fmt.Sprintf("; \"pyworkflow %ss list\" shows those there are", missing.Kind)
	case errors.As(err, &exists):
		return fmt.Sprintf("--id %q: %v; choose another, or make it what you ask for with --replace", exists.ID, exists)
	case errors.Is(err, schedules.ErrVersion):
		return "--expect-version: " + strings.TrimSuffix(err.Error(), ": "+schedules.ErrVersion.Error())
	case errors.As(err, &run):
		return run.Error()
	case errors.Is(err, errInterrupted), errors.Is(err, context.Canceled):
		return "interrupted"
	}
	return err.Error()
}

func workflowRemedy(cmd *cobra.Command, e *client.UnknownWorkflowError) string {
	var ways []string
	if e.None {
		ways = append(ways, "name the package that has it with --module")
	}
	if cmd.Flags().Lookup("force") != nil {
		ways = append(ways, "--force creates the schedule all the same")
	}
	if len(ways) == 0 {
		return ""
	}
	return "; " + strings.Join(ways, "; ")
}

// compound is a field's name of several words, which is recognized in the middle of a text.
var compound = regexp.MustCompile(`\b[a-z]+(_[a-z]+)+\b`)

// flagNames writes a field's name as the flag that gives it, where the command has one.
func flagNames(cmd *cobra.Command, fields string) string {
	names := strings.Split(fields, ", ")
	for i, n := range names {
		name := strings.ReplaceAll(n, "_", "-")
		if alias, ok := map[string]string{"overlap-policy": "overlap"}[name]; ok {
			name = alias
		}
		if cmd.Flags().Lookup(name) != nil {
			names[i] = "--" + name
		}
	}
	return strings.Join(names, ", ")
}

// flagError says what is wrong with a flag's value.
func flagError(e *pflag.InvalidValueError) string {
	problem := "is not accepted"
	switch kind := e.GetFlag().Value.Type(); {
	case kind == "bool":
		problem = "must be true or false"
	case strings.HasPrefix(kind, "int"), strings.HasPrefix(kind, "uint"):
		problem = "must be a whole number"
	case strings.HasPrefix(kind, "float"):
		problem = "must be a number"
	case e.Unwrap() != nil:
		problem = e.Unwrap().Error()
	}
	return fmt.Sprintf("--%s %q: %s", e.GetFlag().Name, e.GetValue(), problem)
}

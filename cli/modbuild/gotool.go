package modbuild

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"
)

// goTool is the go command as it acts in one module.
type goTool struct {
	path     string
	native   bool   // build for this machine, whatever the environment says
	version  string // go1.26.8
	work     string // the go.work in charge, empty when there is none
	modCache string
	exe      string // .exe on Windows
}

// findGo looks for go in PATH and asks it about itself.
func findGo(ctx context.Context, root string, native bool) (*goTool, error) {
	path, err := exec.LookPath("go")
	if err != nil {
		return nil, &ToolchainError{Problem: "and there is no go in PATH"}
	}
	tool := &goTool{path: path, native: native}
	var out, errs bytes.Buffer
	cmd := tool.command(ctx, root, nil, "env", "-json", "GOVERSION", "GOWORK", "GOMODCACHE", "GOEXE")
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("ask go for its version: %w", context.Cause(ctx))
		}
		lines := strings.Split(strings.TrimSpace(errs.String()), "\n")
		return nil, &ToolchainError{Problem: fmt.Sprintf("but %s fails (%s)", path, lastOf(lines, err.Error()))}
	}
	var env struct{ GOVERSION, GOWORK, GOMODCACHE, GOEXE string }
	if err := json.Unmarshal(out.Bytes(), &env); err != nil {
		return nil, &ToolchainError{Problem: fmt.Sprintf("but %s env answers what is no JSON (%v)", path, err)}
	}
	tool.version, tool.modCache, tool.exe = env.GOVERSION, env.GOMODCACHE, env.GOEXE
	if env.GOWORK != "off" {
		tool.work = env.GOWORK
	}
	return tool, nil
}

func lastOf(lines []string, otherwise string) string {
	if last := lines[len(lines)-1]; last != "" {
		return last
	}
	return otherwise
}

// command prepares the go command in a folder. When ctx ends it is interrupted, and killed if it does not heed that.
func (g *goTool) command(ctx context.Context, dir string, env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, g.path, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PWD="+dir, "GO111MODULE=on") // go takes the folder's name from PWD: symbolic links stay as named
	if g.native {
		cmd.Env = append(cmd.Env, "GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH)
	}
	cmd.Env = append(cmd.Env, env...)
	cmd.Cancel = func() error {
		if runtime.GOOS == "windows" {
			return cmd.Process.Kill() // it knows no interrupt
		}
		return cmd.Process.Signal(os.Interrupt)
	}
	cmd.WaitDelay = 3 * time.Second
	return cmd
}

// run runs go outside any workspace. A failure is a *CompileError with what go wrote.
func (g *goTool) run(ctx context.Context, dir string, env []string, stdout io.Writer, errs *goOutput, args ...string) error {
	cmd := g.command(ctx, dir, append(env, "GOWORK=off"), args...)
	cmd.Stdout, cmd.Stderr = stdout, errs
	err := cmd.Run()
	if ctx.Err() != nil {
		return fmt.Errorf("go %s: %w", args[0], context.Cause(ctx))
	}
	if err == nil {
		return nil
	}
	text := errs.rest()
	if text == "" {
		text = fmt.Sprintf("go %s: %v", args[0], err)
	}
	return &CompileError{Output: text}
}

// packageDir asks where a package of another module lies.
func (g *goTool) packageDir(ctx context.Context, t *target, flags []string, errs *goOutput) (string, error) {
	var out bytes.Buffer
	args := append([]string{"list", "-find", "-f", "{{.Dir}}"}, flags...)
	if err := g.run(ctx, t.root, nil, &out, errs, append(args, "--", t.importPath)...); err != nil {
		var ce *CompileError
		if errors.As(err, &ce) {
			return "", packageErrorf(t.name, "module %s can't provide it: %s", t.module, oneLine(ce.Output))
		}
		return "", err
	}
	return strings.TrimSpace(out.String()), nil
}

// oneLine joins go's lines: "no required module provides package x; to add it:\n\tgo get x".
func oneLine(text string) string {
	return strings.TrimPrefix(strings.Join(strings.Fields(text), " "), "go: ")
}

// goOutput takes what go writes to its standard error: news of downloads is passed on at once, the rest is kept.
type goOutput struct {
	passOn func(line string)
	part   []byte // a line without its end yet
	kept   strings.Builder
}

func (b *builder) goOutput(report *announcement) *goOutput { return &goOutput{passOn: report.passOn} }

func (o *goOutput) Write(p []byte) (int, error) {
	o.part = append(o.part, p...)
	for {
		end := bytes.IndexByte(o.part, '\n')
		if end < 0 {
			return len(p), nil
		}
		o.line(string(o.part[:end]))
		o.part = o.part[end+1:]
	}
}

func (o *goOutput) line(text string) {
	for _, news := range []string{"go: downloading ", "go: finding ", "go: found "} {
		if strings.HasPrefix(text, news) {
			o.passOn(text)
			return
		}
	}
	o.kept.WriteString(text + "\n")
}

func (o *goOutput) rest() string {
	return strings.TrimRight(o.kept.String()+string(o.part), "\n")
}

// failed makes go's complaint readable: paths as seen from the working directory, and none into the cache folder.
func (b *builder) failed(err error) error {
	b.forgetModule()
	var ce *CompileError
	if !errors.As(err, &ce) {
		return err
	}
	if m := mainComplaint.FindStringSubmatch(ce.Output); m != nil && strings.Contains(m[0], filepath.Base(b.home)) {
		return packageErrorf(b.target.name, "Register must be %s: %s", signature, m[1])
	}
	text := b.readable(ce.Output)
	return &CompileError{Output: text}
}

// mainComplaint is the compiler about the generated file's only use of the user's package.
var mainComplaint = regexp.MustCompile(`(?m)^.*[/\\]main\.go:\d+:\d+: (.*workflows\.Register.*)$`)

// position is a file's name at the beginning of one of the compiler's lines.
var position = regexp.MustCompile(`(?m)^[^\s:][^:\n]*\.(go|s|c|h|mod):\d+`)

func (b *builder) readable(text string) string {
	for _, name := range []string{"go.mod", "go.sum"} {
		theirs, ours := filepath.Join(b.target.root, name), filepath.Join(b.home, name)
		text = strings.ReplaceAll(text, ours, theirs)
		if rel, err := filepath.Rel(b.target.root, ours); err == nil {
			text = strings.ReplaceAll(text, rel, theirs)
		}
	}
	if b.target.root == b.opt.Dir {
		return text
	}
	return position.ReplaceAllStringFunc(text, func(at string) string {
		if filepath.IsAbs(at) {
			return at
		}
		at = filepath.Join(b.target.root, at)
		if rel, err := filepath.Rel(b.opt.Dir, at); err == nil && len(rel) < len(at) {
			if filepath.Dir(rel) == "." {
				return "." + string(filepath.Separator) + rel // as the compiler writes it
			}
			return rel
		}
		return at
	})
}

package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// prints are commands whose output is one and the same in every format, and why.
var prints = map[string]string{
	"pyworkflow completion bash": "a script for the shell", "pyworkflow completion zsh": "a script for the shell",
	"pyworkflow completion fish": "a script for the shell", "pyworkflow completion powershell": "a script for the shell",
}

// TestScriptsCoverEveryCommand holds the scripts against the tree: every command is run in each output format, and misused at least once.
func TestScriptsCoverEveryCommand(t *testing.T) {
	t.Parallel()
	root := newRoot(&program{})
	seen := map[string]map[string]bool{}
	for _, args := range scriptCalls(t) {
		cmd, _, err := root.Find(args.words)
		if err != nil {
			continue // a command that is not there, on purpose
		}
		path := cmd.CommandPath()
		if seen[path] == nil {
			seen[path] = map[string]bool{}
		}
		if args.refused {
			seen[path]["misuse"] = true
		}
		seen[path][args.output] = true
	}
	var walk func(c *cobra.Command)
	count := 0
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		if c.HasSubCommands() || c.Name() == "help" {
			return
		}
		count++
		wanted := []string{"table", "json", "plain", "misuse"}
		if prints[c.CommandPath()] != "" {
			wanted = []string{"table"}
		}
		for _, want := range wanted {
			if !seen[c.CommandPath()][want] {
				t.Errorf("%s: no script has it as %s", c.CommandPath(), want)
			}
		}
	}
	walk(root)
	if count < 40 {
		t.Errorf("only %d commands", count)
	}
}

// call is one call of the program in a script.
type call struct {
	words   []string
	output  string // table, json or plain
	refused bool   // it is to fail
}

func scriptCalls(t *testing.T) (out []call) {
	files, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(files) < 8 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		script, _, _ := strings.Cut(string(text), "\n-- ")
		for line := range strings.Lines(script) {
			words := scriptWords(line)
			at := slices.IndexFunc(words, func(w string) bool { return w == "pyworkflow" || w == "app" || w == "./greeter" })
			verb := slices.IndexFunc(words, func(w string) bool { return w == "exec" || w == "exits" || w == "retry" || w == "ttyexec" })
			if verb < 0 || verb > 1 || at < verb {
				continue
			}
			c := call{words: words[at+1:], output: "table", refused: words[verb] == "exits" && words[verb+1] != "0" || words[0] == "!"}
			for i, w := range c.words {
				if w == "--output" && i+1 < len(c.words) {
					c.output = c.words[i+1]
				}
			}
			out = append(out, c)
		}
	}
	return out
}

// scriptWords parts a line of a script into words, as testscript does; variables stay as they are.
func scriptWords(line string) (words []string) {
	word, quoted, any := "", false, false
	for _, r := range strings.TrimSpace(line) + " " {
		switch {
		case r == '\'':
			quoted, any = !quoted, true
		case r == '#' && !quoted && word == "":
			return words
		case (r == ' ' || r == '\t') && !quoted:
			if word != "" || any {
				words = append(words, word)
			}
			word, any = "", false
		default:
			word += string(r)
		}
	}
	return words
}

package redisstore

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
)

// What docs/redis.md tells people of scripts and keys is what there is.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/redis.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(text)
	files, err := fs.Glob(luaFiles, "lua/*.lua")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 15 {
		t.Fatalf("only %d scripts", len(files))
	}
	for _, file := range files {
		name := strings.TrimSuffix(path.Base(file), ".lua")
		if !strings.Contains(doc, "`"+name+"`") {
			t.Errorf("docs/redis.md does not name the script %s", name)
		}
		body, err := luaFiles.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if name == "common" || name == "retention" || name == "each" {
			continue
		}
		keys := "\n-- KEYS[1] "
		if name == "bulk" || strings.Contains(string(body), "\nlocal function item(") {
			keys = "\n-- KEYS "
		}
		for _, part := range []string{"-- " + name + ".lua ", keys, "\n-- ARGV ", "\n-- Returns "} {
			if !strings.Contains(string(body), part) {
				t.Errorf("the head of %s lacks %q", file, strings.TrimSpace(part))
			}
		}
	}
	// Names that scripts build after the prefix of their shard.
	built := regexp.MustCompile(`(?:P \.\. |put\()'([a-z]+[a-z:]*)'`)
	for _, file := range files {
		body, err := luaFiles.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range built.FindAllStringSubmatch(string(body), -1) {
			name := m[1]
			if name == "wake" {
				continue
			}
			if !strings.Contains(doc, "`"+name+"`") && !strings.Contains(doc, "`"+name+"<") && !strings.Contains(doc, "`"+name+"active`") {
				t.Errorf("docs/redis.md does not name the key %s of %s", name, file)
			}
		}
	}
}

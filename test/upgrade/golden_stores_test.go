package upgrade

import (
	"database/sql"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	_ "modernc.org/sqlite" // reads and writes the golden database

	"github.com/pyworkflow-go/pyworkflow/internal/redistest"
	"github.com/pyworkflow-go/pyworkflow/store"
	"github.com/pyworkflow-go/pyworkflow/store/redisstore"
	"github.com/pyworkflow-go/pyworkflow/store/sqlitestore"
)

var update = flag.String("update", "", "write the golden records of this format, of which there are none yet")

// golden lists the files of all formats, after writing one if that is asked for.
func golden(t *testing.T, name, ext string, write func(file string)) []string {
	t.Helper()
	if *update != "" {
		file := filepath.Join("testdata", name+*update+ext)
		if _, err := os.Stat(file); err == nil {
			t.Fatalf("%s is there: the records of a released format never change", file)
		}
		write(file)
	}
	files, err := filepath.Glob(filepath.Join("testdata", name+"*"+ext))
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden records: %v", err)
	}
	return files
}

const goldenNamespace = "golden"

// TestGoldenRedis goes on with the keys that each format's first release wrote.
func TestGoldenRedis(t *testing.T) {
	onRedis := func(client *redis.Client) func(func() time.Time) store.Store {
		return func(clock func() time.Time) store.Store {
			s, err := redisstore.New(client, redisstore.Config{Namespace: goldenNamespace, Clock: clock})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
	}
	files := golden(t, "redis", ".json", func(file string) {
		client := redistest.Start(t).Client(t)
		newMade(t, onRedis(client)).fill()
		save(t, client, file)
	})
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			client := redistest.Start(t).Client(t)
			restore(t, client, file)
			newMade(t, onRedis(client)).goOn()
		})
	}
}

// save writes each key as the command that makes it, its words in order.
func save(t *testing.T, client *redis.Client, file string) {
	t.Helper()
	ctx := t.Context()
	keys, err := client.Keys(ctx, "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(keys)
	var commands [][]string
	for _, key := range keys {
		kind, err := client.Type(ctx, key).Result()
		if err != nil {
			t.Fatal(err)
		}
		switch kind {
		case "string":
			commands = append(commands, []string{"SET", key, client.Get(ctx, key).Val()})
		case "hash":
			all := client.HGetAll(ctx, key).Val()
			words := []string{"HSET", key}
			for _, name := range sorted(all) {
				words = append(words, name, all[name])
			}
			commands = append(commands, words)
		case "list":
			commands = append(commands, append([]string{"RPUSH", key}, client.LRange(ctx, key, 0, -1).Val()...))
		case "zset":
			words := []string{"ZADD", key}
			for _, z := range client.ZRangeWithScores(ctx, key, 0, -1).Val() {
				words = append(words, fmt.Sprintf("%.1f", z.Score), fmt.Sprint(z.Member))
			}
			commands = append(commands, words)
		default:
			t.Fatalf("%s is a %s", key, kind)
		}
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for _, words := range commands {
		if err := e.Encode(words); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

func sorted(m map[string]string) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func restore(t *testing.T, client *redis.Client, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var words []any
		err := json.Unmarshal([]byte(line), &words)
		if err == nil {
			err = client.Do(t.Context(), words...).Err()
		}
		if err != nil {
			t.Fatalf("%s: %v: %s", file, err, line)
		}
	}
}

// TestGoldenSQLite goes on with the database that each format's first release wrote.
func TestGoldenSQLite(t *testing.T) {
	onSQLite := func(t *testing.T, dir string) func(func() time.Time) store.Store {
		return func(clock func() time.Time) store.Store {
			s, err := sqlitestore.Open(t.Context(), sqlitestore.Config{Dir: dir, Namespace: goldenNamespace, Clock: clock})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
	}
	files := golden(t, "sqlite", ".sql", func(file string) {
		dir := t.TempDir()
		newMade(t, onSQLite(t, dir)).fill()
		if err := os.WriteFile(file, []byte(dumpSQL(t, database(t, dir))), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			if _, err := database(t, dir).ExecContext(t.Context(), string(text)); err != nil {
				t.Fatal(err)
			}
			newMade(t, onSQLite(t, dir)).goOn()
		})
	}
}

func database(t *testing.T, dir string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, sqlitestore.FileName))
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// dumpSQL gives the statements that make the database.
func dumpSQL(t *testing.T, db *sql.DB) string {
	t.Helper()
	column := func(query string) []string {
		rows, err := db.QueryContext(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = rows.Close() }()
		var all []string
		for rows.Next() {
			var s string
			if err := rows.Scan(&s); err != nil {
				t.Fatal(err)
			}
			all = append(all, s)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		return all
	}
	var b strings.Builder
	for _, pragma := range []string{"application_id", "user_version"} {
		fmt.Fprintf(&b, "PRAGMA %s = %s;\n", pragma, column("PRAGMA " + pragma)[0])
	}
	// SQLite makes its own tables itself; what is in them is dumped with the rest.
	for _, text := range column(`SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT GLOB 'sqlite_*' ORDER BY type DESC, name`) {
		fmt.Fprintf(&b, "%s;\n", text)
	}
	for _, table := range column(`SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name`) {
		if strings.HasPrefix(table, "sqlite_") {
			fmt.Fprintf(&b, "DELETE FROM %s;\n", table) // the inserts before it have written there
		}
		var parts []string
		for _, c := range column(`SELECT name FROM pragma_table_info('` + table + `')`) {
			parts = append(parts, "quote("+c+")")
		}
		for _, values := range column(`SELECT ` + strings.Join(parts, " || ', ' || ") + ` FROM ` + table) {
			fmt.Fprintf(&b, "INSERT INTO %s VALUES(%s);\n", table, values)
		}
	}
	return b.String()
}

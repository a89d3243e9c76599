package config

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/pyworkflow-go/pyworkflow/internal/redisurl"
)

// Runtime says where runs execute.
type Runtime string

const (
	// Local executes runs in the process that schedules them.
	Local Runtime = "local"
	// Asynq hands runs to workers through asynq's queues on Redis.
	Asynq Runtime = "asynq"
)

// StorageKind says what keeps the records.
type StorageKind string

const (
	// SQLite keeps records in a folder of this machine.
	SQLite StorageKind = "sqlite"
	// Redis keeps records on a Redis server.
	Redis StorageKind = "redis"
)

// Storage is where records live.
type Storage struct {
	Kind StorageKind
	// Path is the embedded database's folder; empty for Redis.
	Path string
	// Redis is the server; nil for SQLite.
	Redis *redisurl.Target
	// ByDefault reports that nobody asked for this kind: no flag, variable or file named a storage, its path, a runtime or a
	// Redis URL.
	ByDefault bool
}

// String returns the folder, or the Redis URL with its password masked.
func (s Storage) String() string {
	if s.Redis != nil {
		return s.Redis.String()
	}
	return s.Path
}

// Defaults of the global flags.
const (
	DefaultRedisURL    = redisurl.Default
	DefaultStoragePath = "./workflow_data"
	DefaultNamespace   = "default"
)

// Global holds the flags every command has. Runtime, Storage and RedisURL are as given, empty when they were not: Choose says
// what that means.
type Global struct {
	Module, Runtime, Storage, StoragePath, RedisURL, Namespace string
	// RedisSecurity holds the files that secure connections to Redis.
	RedisSecurity redisurl.Security
	// Output is table, json or plain.
	Output string
	// LogLevel is debug, info, warn or error; LogFormat is text or json.
	LogLevel, LogFormat string
}

// GlobalFlags registers the global flags, all of them settings, and returns where their values will be.
func GlobalFlags(fs *pflag.FlagSet) *Global {
	g := &Global{Namespace: DefaultNamespace}
	fs.StringVar(&g.Module, "module", "", "Go package with func Register(app *pyworkflow.App) error: ./workflows, or an import path")
	OneOfVar(fs, &g.Runtime, "runtime", "", []string{string(Local), string(Asynq)},
		"where runs execute: in this process, or on workers (default asynq when a Redis URL is given, else local)")
	OneOfVar(fs, &g.Storage, "storage", "", []string{string(SQLite), string(Redis)},
		"where records live (default redis when a Redis URL is given or the runtime is asynq, else sqlite)")
	fs.StringVar(&g.StoragePath, "storage-path", DefaultStoragePath, "folder of the embedded database")
	fs.StringVar(&g.RedisURL, "redis-url", "",
		"redis://, rediss:// (TLS), redis-sentinel:// or redis-cluster:// (default "+DefaultRedisURL+" where Redis is asked for)")
	sec := &g.RedisSecurity
	fs.StringVar(&sec.PasswordFile, redisurl.SettingPasswordFile, "", "file with the password of the Redis URL's user, which then has none in the URL")
	fs.StringVar(&sec.CAFile, redisurl.SettingCA, "", "PEM file of the CA that signed the Redis servers' certificates (default the system's CAs)")
	fs.StringVar(&sec.CertFile, redisurl.SettingCert, "", "PEM file of this program's certificate, for Redis servers that ask for one")
	fs.StringVar(&sec.KeyFile, redisurl.SettingKey, "", "PEM file of that certificate's key")
	fs.StringVar(&sec.ServerName, redisurl.SettingServerName, "", "name that the Redis servers' certificates are for (default the host that is dialed)")
	fs.Var((*namespace)(&g.Namespace), "namespace", "keeps deployments apart on one Redis")
	OneOfVar(fs, &g.Output, "output", "table", []string{"table", "json", "plain"}, "how results are printed")
	OneOfVar(fs, &g.LogLevel, "log-level", "info", []string{"debug", "info", "warn", "error"}, "what is logged")
	OneOfVar(fs, &g.LogFormat, "log-format", "text", []string{"text", "json"}, "how logs are written, to standard error")
	OptIn(fs, Plain, "runtime", "storage", redisurl.SettingServerName, "namespace", "output", "log-level", "log-format")
	OptIn(fs, Module, "module")
	OptIn(fs, Path, "storage-path", redisurl.SettingPasswordFile, redisurl.SettingCA, redisurl.SettingCert, redisurl.SettingKey)
	OptIn(fs, URL, "redis-url")
	return g
}

// Choose says where runs execute and where records live, from settings resolved from GlobalFlags, and records in s what was
// chosen by default and why. A Redis URL that was given must be well formed, whether it is needed or not. Errors are *UsageError.
//
//	runtime  default asynq when a Redis URL is given, else local
//	storage  default redis when a Redis URL is given or the runtime is asynq, else sqlite
func Choose(s *Settings) (Runtime, Storage, error) { return choose(s, false) }

// ChooseForWorker is Choose for a command that takes runs from asynq's queues: the runtime is asynq, and one given as local
// is an error.
func ChooseForWorker(s *Settings) (Runtime, Storage, error) { return choose(s, true) }

func choose(s *Settings, worker bool) (Runtime, Storage, error) {
	fail := func(err error) (Runtime, Storage, error) { return "", Storage{}, err }

	var target *redisurl.Target
	url, urlGiven := s.Lookup("redis-url")
	urlGiven = urlGiven && url.Value != ""
	if urlGiven {
		var err error
		if target, err = redisTarget(s, url); err != nil {
			return fail(err)
		}
	}
	byDefault := s.Value("runtime") == "" && s.Value("storage") == "" && !s.Given("storage-path") && !urlGiven && !worker

	runtime, _ := s.Lookup("runtime")
	switch {
	case worker && runtime.Value == string(Local):
		return fail(Usagef("%s local: a worker takes its runs from asynq's queues; to execute runs in this process use "+
			"\"scheduler run\", else leave out the runtime or make it asynq", runtime.where()))
	case runtime.Value != "":
	case worker:
		s.setDefault("runtime", string(Asynq), "a worker takes its runs from asynq")
	case urlGiven:
		s.setDefault("runtime", string(Asynq), "a Redis URL is given")
	default:
		s.setDefault("runtime", string(Local), "")
	}
	runtime, _ = s.Lookup("runtime")

	storage, _ := s.Lookup("storage")
	switch {
	case storage.Value != "":
	case urlGiven:
		s.setDefault("storage", string(Redis), "a Redis URL is given")
	case runtime.Value == string(Asynq):
		s.setDefault("storage", string(Redis), "the runtime is asynq")
	default:
		s.setDefault("storage", string(SQLite), "")
	}
	storage, _ = s.Lookup("storage")

	if StorageKind(storage.Value) == SQLite {
		if Runtime(runtime.Value) == Asynq {
			return fail(Usagef("the asynq runtime (%s) cannot keep its records in sqlite (%s): workers share them through Redis; "+
				"use --storage redis, or --runtime local", runtime.Source, storage.Source))
		}
		path := s.Value("storage-path")
		if path == "" {
			return fail(Usagef("--storage-path is empty: name a folder such as %s", DefaultStoragePath))
		}
		for _, name := range []string{redisurl.SettingCA, redisurl.SettingCert, redisurl.SettingKey, redisurl.SettingServerName} {
			if setting, _ := s.Lookup(name); setting.Value != "" && !urlGiven {
				return fail(Usagef("%s %q: there is no Redis URL to use it for: name a server with --redis-url rediss://HOST:PORT", setting.where(), setting.Value))
			}
		}
		return Runtime(runtime.Value), Storage{Kind: SQLite, Path: path, ByDefault: byDefault}, nil
	}
	if target == nil {
		s.setDefault("redis-url", DefaultRedisURL, "")
		url, _ = s.Lookup("redis-url")
		var err error
		if target, err = redisTarget(s, url); err != nil {
			return fail(err)
		}
	}
	return Runtime(runtime.Value), Storage{Kind: Redis, Redis: target, ByDefault: byDefault}, nil
}

// redisTarget reads the URL and looks at the files that secure it.
func redisTarget(s *Settings, url Setting) (*redisurl.Target, error) {
	target, err := redisurl.ParseSecure(url.Value, redisurl.Security{
		CAFile: s.Value(redisurl.SettingCA), CertFile: s.Value(redisurl.SettingCert), KeyFile: s.Value(redisurl.SettingKey),
		ServerName: s.Value(redisurl.SettingServerName), PasswordFile: s.Value(redisurl.SettingPasswordFile),
	})
	var wrong *redisurl.SettingError
	if errors.As(err, &wrong) {
		setting, _ := s.Lookup(wrong.Setting)
		return nil, Usagef("%s %q: %s", setting.where(), wrong.Value, FlagsIn(wrong.Problem))
	}
	if err != nil {
		return nil, Usagef("%s: %s", url.where(), FlagsIn(err.Error()))
	}
	return target, nil
}

// FlagsIn writes the settings of Redis' security that a text of internal/redisurl names as flags.
func FlagsIn(text string) string {
	return redisurl.Rename(text, func(setting string) string { return "--" + setting })
}

// where begins an error about a setting: --redis-url, PYWORKFLOW_REDIS_URL, /x/pyworkflow.config.yaml:3: redis_url.
func (s Setting) where() string {
	switch s.Source.Origin {
	case FromEnvironment:
		return s.Source.Name
	case FromFile:
		return fmt.Sprintf("%s:%d: %s", s.Source.Name, s.Source.Line, Key(s.Name))
	default:
		return "--" + s.Name
	}
}

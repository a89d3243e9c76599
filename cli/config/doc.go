// Package config resolves the settings of a pyworkflow process, once, at its start.
//
// A setting is a command-line flag that opted in (OptIn). It takes its value from the first of:
//
//	--poll-interval 10                 the flag
//	PYWORKFLOW_POLL_INTERVAL=10        the environment: the flag in capitals, dashes as underscores
//	poll_interval: 10                  the file pyworkflow.config.yaml: dashes as underscores, or the flag's own spelling
//	the flag's default
//
// Environment and file are put through the flag's own pflag.Value, so a value is judged in one place, wherever it comes
// from, and a wrong one is reported with the place it was found at. Every setting remembers where its value came from.
//
// Choose applies the rules for --runtime and --storage, the Redis URL it takes is read by internal/redisurl.
//
// The package opens no store, starts no logger, prints nothing, and never puts a password into an error.
//
// The file is read with a YAML parser rather than a configuration framework (koanf, viper): those merge their layers into
// one map, and so forget the source and the line, which are what an error and `config show` have to name.
package config

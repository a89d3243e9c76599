package cli

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/pyworkflow-go/pyworkflow/alert"
	"github.com/pyworkflow-go/pyworkflow/internal/redisurl"
)

// Every user of a host may read the arguments of its processes, but only the own user their environment. So an argument with the password of a Redis, or the address
// of a webhook, moves: the process starts itself anew with the argument masked and the true one in the environment.

// veiledVar holds the true text of masked arguments, as JSON: their places and texts.
const veiledVar = "PYWORKFLOW_VEILED_ARGS"

// veil masks arguments that hold a password. It returns the arguments to show and the environment to give along with them; ok is false when
// there is nothing to hide.
func veil(args, env []string) (shown, withSecrets []string, ok bool) {
	secrets := map[string]string{}
	shown = slices.Clone(args)
	for i, arg := range args {
		if i == 0 {
			continue
		}
		if masked := veilArg(args[i-1], arg); masked != arg {
			shown[i], secrets[strconv.Itoa(i)] = masked, arg
		}
	}
	if len(secrets) == 0 {
		return args, env, false
	}
	text, err := json.Marshal(secrets)
	if err != nil { // strings always encode
		return args, env, false
	}
	env = slices.DeleteFunc(slices.Clone(env), func(v string) bool { return strings.HasPrefix(v, veiledVar+"=") })
	return shown, append(env, veiledVar+"="+string(text)), true
}

// veilArg masks the password in an argument: the value of --redis-url, and whatever else is the URL of a Redis; and the value of --alert-url, and whatever else
// is a webhook of Slack.
func veilArg(before, arg string) string {
	name, value, hasValue := strings.Cut(arg, "=")
	switch {
	case name == "--dashboard-token" && hasValue:
		return name + "=***"
	case before == "--dashboard-token":
		return "***"
	case hasValue && name == "--"+alertURLFlag:
		return name + "=" + alert.MaskURL(value)
	case before == "--"+alertURLFlag, strings.HasPrefix(arg, "https://hooks.slack.com/"):
		return alert.MaskURL(arg)
	case strings.HasPrefix(arg, "--") && hasValue && (name == "--redis-url" || strings.HasPrefix(strings.ToLower(value), "redis")):
		return name + "=" + redisurl.Mask(value)
	case before == "--redis-url", strings.HasPrefix(strings.ToLower(arg), "redis") && strings.Contains(arg, "://"):
		return redisurl.Mask(arg)
	default:
		return arg
	}
}

// unveil puts the true arguments back, from the value of veiledVar.
func unveil(args []string, text string) []string {
	var secrets map[string]string
	if json.Unmarshal([]byte(text), &secrets) != nil {
		return args
	}
	args = slices.Clone(args)
	for place, arg := range maps.All(secrets) {
		if i, err := strconv.Atoi(place); err == nil && i > 0 && i < len(args) {
			args[i] = arg
		}
	}
	return args
}

// withoutPasswords masks arguments with passwords where a text repeats them.
func withoutPasswords(text string, args []string) string {
	shown, _, _ := veil(append([]string{""}, args...), nil)
	for i, arg := range args {
		if shown[i+1] != arg {
			text = strings.ReplaceAll(text, arg, shown[i+1])
		}
	}
	return text
}

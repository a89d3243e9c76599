package modbuild

import "os"

// insideVar marks a process that Exec started.
const insideVar = "PYWORKFLOW_INSIDE_MODULE"

// Inside reports whether Exec started this process, which then is the program that --module asks for and must not build it
// again. It takes the mark out of the environment, so that programs this one starts are not taken for it: call it once, first
// thing, before anything else reads the environment.
func Inside() bool {
	_, ok := os.LookupEnv(insideVar)
	if ok {
		_ = os.Unsetenv(insideVar) // the name is well formed, the only way to fail
	}
	return ok
}

package main

import (
	"os"

	"github.com/pyworkflow-go/pyworkflow/bench/internal/driver"
	"github.com/pyworkflow-go/pyworkflow/bench/internal/role"
)

func main() {
	if code, ok := role.Run(os.Args, os.Stderr); ok {
		os.Exit(code)
	}
	os.Exit(driver.Main(os.Args[1:], os.Stdout, os.Stderr))
}

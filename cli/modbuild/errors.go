package modbuild

import "fmt"

// PackageError says that --module names something that can't be built in: no folder, no module, no Register. Its text is one
// line with the remedy. The command line exits 2 on it.
type PackageError struct {
	// Package is the package as it was named.
	Package string
	// Problem says what is wrong and what to do.
	Problem string
}

// Error returns the line.
func (e *PackageError) Error() string { return "--module " + e.Package + ": " + e.Problem }

func packageErrorf(pkg, format string, args ...any) error {
	return &PackageError{Package: pkg, Problem: fmt.Sprintf(format, args...)}
}

// CompileError says that go build failed. Its text is go's own, lines and all, with paths as seen from the working directory.
// The command line prints it as it is and exits 1.
type CompileError struct {
	// Output is what go build wrote, without a line break at the end.
	Output string
}

// Error returns go build's output.
func (e *CompileError) Error() string { return e.Output }

// ToolchainError says that there is no usable Go toolchain. Its text is one line with the remedy. The command line exits 1 on it.
type ToolchainError struct {
	// Problem says what is missing.
	Problem string
}

// Error returns the line.
func (e *ToolchainError) Error() string {
	return "--module needs the Go toolchain, " + e.Problem +
		`: install Go from https://go.dev/dl, or use a binary made by "pyworkflow build"`
}

// Package pyworkflow is what a program imports that defines workflows: App, Define, Step.
package pyworkflow

// App collects the workflows a program defines.
type App struct{}

// NewApp returns an empty App.
func NewApp() *App { return &App{} }

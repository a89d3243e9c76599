// Package pyworkflow is what a program imports that defines workflows: App collects them, Define and DefineFunc make them from ordinary
// functions, Schedule says when they run by themselves, and Step marks the parts of a run whose results are recorded, so that a run
// that is executed again does not do them again.
//
// A program has one function that registers its workflows, and a main that hands it to the command line:
//
//	package workflows
//
//	var DailyReport = pyworkflow.DefineFunc("daily_report", dailyReport,
//		pyworkflow.Schedule(pyworkflow.Cron("0 9 * * *"), pyworkflow.Timezone("Europe/Berlin")))
//
//	func dailyReport(ctx context.Context) (Report, error) {
//		data, err := pyworkflow.Step(ctx, "gather_metrics", gatherMetrics)
//		if err != nil {
//			return Report{}, err
//		}
//		return render(data), nil
//	}
//
//	func Register(app *pyworkflow.App) error { return app.Register(DailyReport) }
//
//	package main
//
//	func main() { os.Exit(cli.Main(workflows.Register)) }
//
// # What is promised
//
// A run is executed at least once. A recorded step is not executed again; a step that was in flight when its worker died may be executed
// once more per crash. Input, results and step results travel as JSON.
//
// # Inside a run
//
// The context of a run is cancelled when somebody asks the run to cancel, when its time limit has passed, when the worker shuts down, or
// when the worker lost touch with the store; context.Cause tells which (ErrCancelled, ErrTimeout, ErrShutdown, ErrLeaseLost). RunInfo,
// LastResult and Logger answer what a run may ask. Code outside a run may call all of them, and Step too, which then just executes.
//
// The package starts nothing, stores nothing and knows neither Redis nor a database: package client starts and watches runs, package worker
// executes them, package beat decides when they are due, and the command line (package cli) composes all of them. What is marked "for
// runtimes" is for those packages.
package pyworkflow

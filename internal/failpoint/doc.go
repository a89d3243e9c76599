// Package failpoint lets a test end or freeze a process at a dangerous place. Without the build tag failpoints, which no released program is built with,
// Reach does nothing and costs nothing.
//
// With the tag, PYWORKFLOW_FAILPOINTS names what is to happen where: "committed=kill:0.01,claimed=freeze:0.005" kills the process (SIGKILL) at one in a hundred
// passages of Committed and stops it (SIGSTOP) at one in two hundred of Claimed. Each time a line "<unix ms> <pid> <point> <action>" is appended to the file that
// PYWORKFLOW_FAILPOINT_LOG names, before it happens.
package failpoint

// Point is a place in the code.
type Point string

// The dangerous places: between two writes that belong together.
const (
	Read       Point = "read"       // a schedule was read and a decision made, nothing is committed
	Committed  Point = "committed"  // a decision is committed, its messages are in the outbox only
	Dispatched Point = "dispatched" // messages are with the transport, still in the outbox
	Claimed    Point = "claimed"    // a run is claimed, its code has not begun
	StepDone   Point = "step-done"  // a step's code has returned, nothing is recorded
	Recorded   Point = "recorded"   // a step is recorded, the code has not gone on
	Ending     Point = "ending"     // a run's code has returned, its end is not recorded
	Ended      Point = "ended"      // a run's end is recorded, its message is not acknowledged
)

// All lists the points.
func All() []Point {
	return []Point{Read, Committed, Dispatched, Claimed, StepDone, Recorded, Ending, Ended}
}

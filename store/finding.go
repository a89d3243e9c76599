package store

import (
	"fmt"
	"strings"
	"time"
)

// FindingStatus says how bad a finding is.
type FindingStatus string

// The statuses.
const (
	FindingOK      FindingStatus = "ok"
	FindingWarning FindingStatus = "warning" // what is promised is in danger, or work waits for somebody
	FindingError   FindingStatus = "error"   // something cannot work as it is
	FindingSkipped FindingStatus = "skipped" // it could not be looked at
)

// Finding is what a look at the store, or at what goes with it, came to in one respect. One check may come to several findings, and always to at least one.
type Finding struct {
	Check   string        // what was looked at, in a word: "eviction", "clock"
	Status  FindingStatus // ok unless there is something to do or to know
	Message string        // one line: what was found
	Remedy  string        // one line: what to do; empty when there is nothing
}

// QueueState is what a transport knows of one of its queues.
type QueueState struct {
	Queue     string
	Waiting   int           // messages that no worker has taken
	Active    int           // messages that workers have
	Scheduled int           // messages that are to be offered later
	Retry     int           // messages that a worker gave back, to be offered again
	Archived  int           // messages put aside for good
	Oldest    time.Duration // how long the oldest waiting message has waited, by this process's clock; zero: none waits
	Paused    bool          // workers are told to take none
	Resume    string        // the command that ends the pause, for where this program cannot
}

// RecordsFinding is the finding of the check "records": newer names the records that a newer version of the program wrote, each with its format; looked says
// how many of each kind were looked at; reads is the newest format this program reads.
func RecordsFinding(newer, looked []string, reads int) Finding {
	const named = 5
	f := Finding{Check: "records", Status: FindingOK, Message: fmt.Sprintf("all can be read (looked at %s)", strings.Join(looked, ", "))}
	if len(newer) == 0 {
		return f
	}
	f.Status = FindingError
	f.Message = fmt.Sprintf("%d records were written by a newer version of the program, and this one, which reads formats up to %d, leaves them alone: %s", len(newer), reads, strings.Join(newer[:min(len(newer), named)], ", "))
	if len(newer) > named {
		f.Message += ", …"
	}
	f.Message += fmt.Sprintf(" (looked at %s)", strings.Join(looked, ", "))
	f.Remedy = "upgrade this program, here and on every host that runs it, to the version that wrote them"
	return f
}

package asynqtransport

// What Tidy does once it has looked, for tests of what changed in between.
var (
	Remove = (*Transport).remove
	Adopt  = (*Transport).adopt
)

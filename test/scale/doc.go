// Package scale measures every list and view of package client, and the pages and lists of a dashboard's process, against a Redis with much in it: 100,000 schedules
// and 1,000,000 runs must not make any of them slower than 200 ms at the server, nor the process larger than 200 MB. As part of the benchmarks it fills little; at full size, which takes some minutes and 2 GB of memory for Redis:
//
//	go test ./test/scale -run '^$' -bench . -benchtime 20x -timeout 60m -args -schedules 100000 -runs 1000000
//
// A call that takes longer fails. It measures no writes: those are the benchmarks of the stores.
package scale

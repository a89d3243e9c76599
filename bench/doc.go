/*
Bench measures pyworkflow beside its peers: how late runs start, what a run costs, and what lies in Redis afterwards, with real processes and a redis-server of its own.

	go run . -load L1                        # one load on all systems, about four minutes
	go run . -load all -rounds 3 -json results.jsonl -table results.md
	go run . -load H -systems pyworkflow,asynq
	go run . -load L1 -systems pyworkflow -profile /tmp/profiles -keep /tmp/bench
	go run . -load guard                     # the regression guard, under a minute
	go run . -load guard -update             # write new limits

Absolute figures of shared machines mean little, so the systems take turns in the same command, and the ratio to asynq in the same round is the figure to look at.

# What runs

The driver starts this program again under other first arguments (package role), each role as a process:

	pyworkflow   redis-server · scheduler run (the beat) · worker run --concurrency 50: the product's own command line, its log level at warn, what it prints on standard
	             output goes to /dev/null. Schedules are created beforehand through package client, with overlap allow_all and catchup all, so that no tick is left out.
	asynq        redis-server · asynq's Scheduler · asynq's Server with TaskCheckInterval 10 ms and concurrency 50. "@every" ticks at whole seconds, all entries in one phase.
	             It keeps no runs, no history and no counters.
	gocron       one process without Redis: it schedules and executes.

The workflow is empty but for noting schedule, nominal time and time.Now(), 24 bytes in memory set aside beforehand; the notes are written to a file when the process ends, and read
by the driver. (The nominal time of a task of asynq is noted by the scheduler and joined by the task's id, and gocron's is the last instant of the grid before the start: what is
later than a period counts as the next tick there. That favours them, and shows as lost and doubled ticks.)

# What is measured

Ticks whose nominal time lies in the window: 45 s (-measure) after a warm-up of 15 s (-warmup). After the window late starts are waited for, 30 s at most (-settle) and no longer than 5 s
without one: a tick that has not started then counts as lost, whatever might have become of it.

	expected, started, lost, doubled   each tick of each schedule in the window; doubled: starts beyond the first, and starts with a nominal time that no schedule has
	lateness                           from the nominal time to the start of the handler in the worker
	CPU                                user and system time of the processes from just before the window's first tick to just before the first one after it, per 1,000 runs
	                                   started in that time, however late; the driver and the network are left out. Of a burst: from 1 s before it to 1 s after the last start
	peak RSS                           VmHWM, the notes included
	commands per fire                  Redis' total_commands_processed, which counts the calls inside of scripts too; scripts: EVALSHA calls; reads: total_reads_processed, about a round trip each
	network bytes per fire             Redis' total_net_input_bytes and total_net_output_bytes: those of its clients, without what nodes of a cluster tell each other
	bytes per schedule                 of used_memory, without the buffers of clients, from before to after registering
	bytes per kept run                 the same over the window, per run
	mallocs per fire                   allocations of beat and worker

# Loads

	L0       10 × 1 s             L2s      as L2, phases spread over the period (every schedule an interval from its own start)
	L1       1,000 × 1 s          L3       50,000 × 5 s: more than can be had, what is lost?
	L2       10,000 × 5 s         H        20,000 due at one instant, once; max is when the last one started. asynq's cron has no seconds: it waits for a whole minute
	M        1,000,000 stored that tick once a year, and 100 × 1 s; M-base: those 100 alone. With the time of the beat's polls, and how soon a beat started anew fires
	local    scheduler run --runtime local, on SQLite
	net      net-L1 and net-H: L1 and H with 1 ms of network each way between all processes and Redis (toxiproxy, a process of its own)
	scale    scale-1, scale-2, scale-4: H with the network and so many beats and workers
	cluster  1,000 × 1 s on one Redis (cluster-base), on a cluster of 3 nodes with one queue (cluster-1) and with six, two on each node (cluster-6); phases spread: cluster-1s,
	         cluster-6s. With what each node does, and the share of the busiest: on one machine a cluster is not faster
	guard    300 × 1 s over 20 s: Redis commands and reads per fire, bytes per schedule and run, allocations per fire against guard.json; exit code 1 when one has grown

-schedules and -stored make a load smaller, to try something out.

It needs Linux (/proc) and redis-server (or REDIS_SERVER). Ctrl-C ends every process it has started; should the driver itself be killed, the kernel ends them.
*/
package main

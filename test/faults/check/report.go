package check

// Add takes another scene's report into this one.
func (r *Report) Add(o Report) {
	r.Ticks += o.Ticks
	r.Runs += o.Runs
	r.Executions += o.Executions
	r.Steps += o.Steps
	r.Triggers += o.Triggers
	r.Backfilled += o.Backfilled
	r.Recovered += o.Recovered
	r.Cancelled += o.Cancelled
	if r.Fates == nil {
		r.Fates = map[string]int{}
	}
	for kind, n := range o.Fates {
		r.Fates[kind] += n
	}
	r.Lost += o.Lost
	r.Doubled += o.Doubled
	r.RedisLost += o.RedisLost
	r.LongestRun = max(r.LongestRun, o.LongestRun)
	r.Resume = append(r.Resume, o.Resume...)
	r.Handover = append(r.Handover, o.Handover...)
	r.Stopped = append(r.Stopped, o.Stopped...)
	r.Back = append(r.Back, o.Back...)
	r.CancelSeen = append(r.CancelSeen, o.CancelSeen...)
	r.Late = append(r.Late, o.Late...)
}

package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pyworkflow-go/pyworkflow/alert"
)

// Alerts is an alert.Sender.
type Alerts interface{ Stats() alert.Stats }

// WatchAlerts shows what becomes of alerts. Call it at most once.
func (m *Metrics) WatchAlerts(a Alerts) { m.registry.MustRegister(alertsCollector{a}) }

// alertsCollector shows alerts as they are when it is asked.
type alertsCollector struct{ alerts Alerts }

var (
	alertsTotal   = describe("alerts_total", "Alerts by what became of them, one for each address: sent, failed (the receiver refuses them, or the last attempt failed), dropped (no room, or the process ended).", "result")
	alertsWaiting = describe("alerts_waiting", "Alerts that wait to be sent.")
)

// Describe lists the metrics.
func (alertsCollector) Describe(to chan<- *prometheus.Desc) {
	to <- alertsTotal
	to <- alertsWaiting
}

// Collect asks the sender.
func (c alertsCollector) Collect(to chan<- prometheus.Metric) {
	s := c.alerts.Stats()
	for result, n := range map[string]int64{"sent": s.Sent, "failed": s.Failed, "dropped": s.Dropped} {
		to <- prometheus.MustNewConstMetric(alertsTotal, prometheus.CounterValue, float64(n), result)
	}
	to <- prometheus.MustNewConstMetric(alertsWaiting, prometheus.GaugeValue, float64(s.Waiting))
}

//go:build !nextformat

package redisstore

import "github.com/pyworkflow-go/pyworkflow/schedules"

const (
	reads  = 1 // the newest format of a record that is read
	writes = 1 // the format new records are written in; at most reads
)

type recordRow struct{ setRow }

func newRecordRow(r setRow, _ int) recordRow { return recordRow{r} }

func (row *recordRow) record(int) schedules.Record { return row.Record }

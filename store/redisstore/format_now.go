//go:build !nextformat

package redisstore

import "github.com/pyworkflow-go/pyworkflow/schedules"

const (
	reads  = 1 // the newest format of a record that is read
	writes = 1 // the format new records are written in; at most reads
)

type recordRow struct {
	schedules.Record
	Spec      specRow `json:"spec"`
	CreatedAt millis  `json:"created_at,omitzero"`
	UpdatedAt millis  `json:"updated_at,omitzero"`
}

func newRecordRow(r schedules.Record, _ int) recordRow { return recordRow{Record: r} }

func (row *recordRow) record(int) schedules.Record { return row.Record }

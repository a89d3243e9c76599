//go:build nextformat

package redisstore

import "github.com/pyworkflow-go/pyworkflow/schedules"

// A trial of the next format, for the tests of upgrading: with the tag nextformat this program reads format 2, with nextformat,writenext it writes it, too.
// In format 2 a schedule's note is called remark, so that nobody can read it who does not know the format.

const reads = 2

type recordRow struct {
	setRow
	Remark string `json:"remark,omitempty"` // the note, from format 2 on
}

func newRecordRow(r setRow, format int) recordRow {
	row := recordRow{setRow: r}
	if format >= 2 {
		row.Note, row.Remark = "", r.Note
	}
	return row
}

func (row *recordRow) record(format int) schedules.Record {
	r := row.Record
	if format >= 2 {
		r.Note = row.Remark
	}
	return r
}

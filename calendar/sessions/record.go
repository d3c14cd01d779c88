package sessions

import (
	"strconv"

	"github.com/perdure/perdure/calendar/internal/jsonvalue"
)

// record is a session as it is stored. All times are Unix milliseconds.
type record struct {
	Created int64           `cbor:"1,keyasint"`
	Updated int64           `cbor:"2,keyasint"` // the last renewal that was written
	Due     int64           `cbor:"3,keyasint"` // its place in the expiry index
	UserID  jsonvalue.Value `cbor:"4,keyasint,omitempty"`
	Data    jsonvalue.Value `cbor:"5,keyasint"`
}

func key(id string) string { return "s" + id }

// appendJSON appends the session as clients see it. An id needs no escaping.
func (r *record) appendJSON(out []byte, id string, updated int64) []byte {
	out = append(out, `{"id":"`+id+`","createdAt":`...)
	out = strconv.AppendInt(out, r.Created, 10)
	out = append(out, `,"updatedAt":`...)
	out = strconv.AppendInt(out, updated, 10)
	if len(r.UserID) > 0 {
		out = append(out, `,"userId":`...)
		out = append(out, r.UserID...)
	}
	out = append(out, `,"data":`...)
	out = append(out, r.Data...)
	return append(out, '}')
}

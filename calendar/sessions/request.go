package sessions

import (
	"net/http"
	"strconv"

	"github.com/perdure/perdure/calendar/internal/jsonvalue"
	"github.com/perdure/perdure/calendar/internal/wire"
)

var emptyData = jsonvalue.Value("{}")

// body is what create and update ask for.
type body struct {
	sessionID jsonvalue.Value // nil if absent
	userID    jsonvalue.Value // nil if absent
	data      jsonvalue.Value // an object
}

// readBody returns the request's body, of which only sessionId is still to be checked.
func readBody(r *http.Request) (*body, error) {
	v, err := wire.ReadJSON(r)
	if err != nil {
		return nil, err
	}
	if v.Kind() != jsonvalue.Object {
		return nil, wire.BadRequest("JSON object required")
	}
	b := &body{data: emptyData}
	for _, m := range v.Members() {
		name, _ := m.Name.Text()
		switch name {
		case "sessionId":
			b.sessionID = m.Value
		case "userId":
			b.userID = m.Value
		case "data":
			switch m.Value.Kind() {
			case jsonvalue.Object:
				b.data = m.Value
			case jsonvalue.Null:
			default:
				return nil, wire.BadRequest("data must be an object")
			}
		}
	}
	return b, nil
}

// newSession returns the id to create a session under: the client's choice or a new one.
func (b *body) newSession() (id string, chosen bool, err error) {
	if k := b.userID.Kind(); k != 0 && k != jsonvalue.String && k != jsonvalue.Null {
		return "", false, wire.BadRequest("userId must be a string or null")
	}
	if k := b.sessionID.Kind(); k == 0 || k == jsonvalue.Null {
		return newID(), false, nil
	}
	id, _ = b.sessionID.Text()
	if !validID(id) {
		return "", false, wire.BadRequest("sessionId must be 1 to 128 characters of A-Z, a-z, 0-9, _ and -")
	}
	return id, true, nil
}

// session returns the id of the session to update. What JavaScript takes for
// false is no id; anything else that is no string is the id of no session.
func (b *body) session() (id string, err error) {
	missing := wire.BadRequest("Session ID required")
	switch b.sessionID.Kind() {
	case jsonvalue.String:
		if id, _ = b.sessionID.Text(); id == "" {
			return "", missing
		}
	case jsonvalue.Number:
		if n, _ := strconv.ParseFloat(string(b.sessionID), 64); n == 0 {
			return "", missing
		}
	case 0, jsonvalue.Null, jsonvalue.False:
		return "", missing
	}
	return id, nil
}

package calmcp

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"

	"github.com/perdure/perdure/calendar/sessions"
	"github.com/perdure/perdure/durable"
)

// Sessions are where a conversation's facts are kept, in objects of class SessionStore:
// each in an object of its own, named by the session's id, which the store uses as well.
//
//  1. A call uses the session that its sessionId names, which must be the caller's, live
//     and known. Unknown, expired and foreign ones are one error. An id that names none
//     leaves nothing behind.
//  2. Without one it uses the MCP session's own id, and where there is none, a new one.
//     Another's session under that id is never used: a new one takes its place.
//  3. What a call records is one commit, after the call has succeeded. A session that
//     can't be recorded costs the result its sessionId, and nothing else.

// madeData is what a session has from the start.
const madeData = `{"createdBy":"calendar-tool"}`

// visit is a call's session.
type visit struct {
	id   string
	user string
}

var errSession = invalid("sessionId", "there is no such session of yours, or it has expired. Leave sessionId out; the result names the session to go on with, for example %q.", "4f1c9a0e5b7d4c2a8e6f0b1d3c5a7e9f")

// enter finds the session of a call.
func (s *Surface) enter(ctx context.Context, c Caller, asked string) (visit, error) {
	v := visit{user: c.User}
	switch {
	case s.opts.Sessions == nil:
		if asked != "" {
			return v, errSession
		}
		return v, nil
	case asked == "" || asked == c.Session:
		v.id = c.Session
		return v, nil
	case !sessions.ValidID(asked):
		return v, errSession
	}
	_, err := durable.Call(ctx, s.opts.Sessions.Named(asked), (*sessions.Store).Find, sessions.Owned{ID: asked, UserID: c.User})
	if errors.Is(err, sessions.ErrNotFound) {
		return v, errSession
	}
	v.id = asked
	return v, err
}

// facts are what calls record.
type facts struct {
	LastCalendarFetch int64  `json:"lastCalendarFetch,omitempty"` // Unix milliseconds
	CalendarCount     *int64 `json:"calendarCount,omitempty"`
}

// leave records a call in its session, and returns the session's id with all that it
// knows; "" if there is no session.
func (s *Surface) leave(ctx context.Context, v visit, set facts) (id string, known facts) {
	if s.opts.Sessions == nil {
		return "", set
	}
	data, err := json.Marshal(set)
	if err != nil {
		s.log.ErrorContext(ctx, "session facts", "err", err)
		return "", set
	}
	if set == (facts{}) {
		data = nil
	}
	if !sessions.ValidID(v.id) {
		v.id = newSessionID()
	}
	got, err := s.record(ctx, v, data)
	if errors.Is(err, sessions.ErrNotFound) { // it is another's
		v.id = newSessionID()
		got, err = s.record(ctx, v, data)
	}
	if err != nil {
		s.log.WarnContext(ctx, "session not recorded", "user", v.user, "err", err)
		return "", set
	}
	if err := json.Unmarshal(got.Data, &known); err != nil { // somebody else wrote it
		known = set
	}
	return v.id, known
}

func (s *Surface) record(ctx context.Context, v visit, data []byte) (sessions.Session, error) {
	return durable.Call(ctx, s.opts.Sessions.Named(v.id), (*sessions.Store).Visit,
		sessions.Visit{Owned: sessions.Owned{ID: v.id, UserID: v.user}, Make: []byte(madeData), Set: data})
}

func newSessionID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

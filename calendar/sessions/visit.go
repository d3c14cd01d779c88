package sessions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/perdure/perdure/calendar/internal/jsonvalue"
)

// ErrNotFound is returned by the methods of [Store] for a session that is not there, has
// expired, or is not that user's: a caller can't tell which, nor can whom he tells.
var ErrNotFound = errors.New("sessions: no such session")

// Session is a session as the methods of [Store] return it. Times are Unix milliseconds.
type Session struct {
	ID      string
	UserID  string
	Created int64
	Updated int64
	Data    []byte // a JSON object
}

// Owned names a session of a user's.
type Owned struct{ ID, UserID string }

// Visit is one use of a session by its user.
type Visit struct {
	Owned

	// Make makes the session with this data (a JSON object) if there is none.
	Make []byte

	// Set is laid over the session's data member by member; nil for nothing.
	Set []byte
}

// ValidID says whether a session can have this id: 1 to 128 characters of A-Z, a-z,
// 0-9, _ and -.
func ValidID(id string) bool { return validID(id) }

// Find returns a session of a user's without renewing it. It writes nothing.
func (s *Store) Find(ctx context.Context, o Owned) (Session, error) {
	now := s.now()
	rec, err := s.owned(ctx, o, now)
	if err != nil {
		return Session{}, err
	}
	if rec == nil {
		return Session{}, ErrNotFound
	}
	return rec.session(o, s.lastUse(o.ID, rec)), nil
}

// Visit renews a session and sets what is to be set in it, or makes it, in one commit. A
// visit that sets nothing costs what a get does. Errors are those of data that is no JSON
// object, of one too large to store, and ErrNotFound.
func (s *Store) Visit(ctx context.Context, v Visit) (Session, error) {
	set, err := object(v.Set)
	if err != nil {
		return Session{}, err
	}
	now := s.now()
	rec, err := s.owned(ctx, v.Owned, now)
	switch {
	case err != nil:
	case rec == nil:
		rec, err = s.make(ctx, v, set, now)
	case len(v.Set) == 0:
		err = s.renew(ctx, v.ID, rec, now)
	default:
		rec.Data = jsonvalue.Merge(rec.Data, set)
		err = s.write(ctx, v.ID, rec, now)
	}
	if err != nil {
		return Session{}, err
	}
	return rec.session(v.Owned, now), nil
}

func (s *Store) make(ctx context.Context, v Visit, set jsonvalue.Value, now int64) (*record, error) {
	if v.Make == nil || !validID(v.ID) {
		return nil, ErrNotFound
	}
	data, err := object(v.Make)
	if err != nil {
		return nil, err
	}
	old, err := s.read(ctx, v.ID)
	if err != nil {
		return nil, err
	}
	user, err := json.Marshal(v.UserID)
	if err != nil {
		return nil, fmt.Errorf("user of session %s: %w", v.ID, err)
	}
	rec := &record{Created: now, Updated: now, Due: s.ttl.Due(now), UserID: user, Data: jsonvalue.Merge(data, set)}
	return rec, s.enter(ctx, v.ID, rec, old, now)
}

// owned returns a session that has not expired, nil if there is none. One of another's is
// ErrNotFound: nothing can be made in its place. So is one of nobody's, whoever asks.
func (s *Store) owned(ctx context.Context, o Owned, now int64) (*record, error) {
	if o.UserID == "" {
		return nil, ErrNotFound
	}
	rec, err := s.live(ctx, o.ID, now)
	if err != nil || rec == nil {
		return nil, err
	}
	if user, isText := rec.UserID.Text(); !isText || user != o.UserID {
		return nil, ErrNotFound
	}
	return rec, nil
}

func (r *record) session(o Owned, updated int64) Session {
	return Session{ID: o.ID, UserID: o.UserID, Created: r.Created, Updated: updated, Data: r.Data}
}

// object reads a JSON object; nil is an empty one.
func object(text []byte) (jsonvalue.Value, error) {
	if len(text) == 0 {
		return emptyData, nil
	}
	v, err := jsonvalue.Parse(text)
	if err == nil && v.Kind() != jsonvalue.Object {
		err = errors.New("a JSON object is needed")
	}
	if err != nil {
		return nil, fmt.Errorf("session data: %w", err)
	}
	return v, nil
}

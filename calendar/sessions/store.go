package sessions

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/perdure/perdure/calendar/internal/expiry"
	"github.com/perdure/perdure/calendar/internal/jsonvalue"
	"github.com/perdure/perdure/calendar/internal/wire"
	"github.com/perdure/perdure/durable"
)

// ClassName is the name of the class.
const ClassName = "SessionStore"

// TTLVar is the variable that holds the lifetime of a session, a Go duration of
// at least a millisecond; [DefaultTTL] if it is empty.
const TTLVar = "SESSION_TTL"

// DefaultTTL is how long a session lives from its last use.
const DefaultTTL = time.Hour

// Class returns the class. With a [TTLVar] that is no lifetime its objects can't
// be made: see [CheckVars].
func Class() durable.Class {
	return durable.NewClass(ClassName, newStore, &durable.ClassOptions{Errors: []error{ErrNotFound}})
}

// CheckVars reports what is wrong with the class's variables, by name, so that a
// server can refuse to start. lookup returns "" for a variable that is not set.
func CheckVars(lookup func(name string) string) error {
	_, err := expiry.LookupTTL(lookup, TTLVar, DefaultTTL)
	return err
}

// Store is an object of the class: an [http.Handler] with an alarm. The runtime
// makes it.
//
// Invariants, besides those of [expiry.Index]:
//
//  1. An event reads and writes the records of the session that it is about, and
//     no list: its cost does not grow with the sessions.
//  2. An error leaves the session as it was: checks come before writes, and the
//     writes of one request are made by one call, all or nothing.
//  3. A lifetime ends where the last renewal, written or remembered, says. A
//     remembered one is less than a step (a 60th of the lifetime) newer than the
//     written one: losing it costs at most that.
type Store struct {
	state *durable.State
	ttl   expiry.TTL
	index *expiry.Index

	// renewed holds the renewals that are remembered and not written.
	renewed map[string]int64
}

// maxRenewed bounds the renewals remembered, at about 100 bytes each. Beyond it
// a renewal is written at once.
const maxRenewed = 1 << 18

func newStore(ctx context.Context, st *durable.State) (*Store, error) {
	ttl, err := expiry.LookupTTL(st.Var, TTLVar, DefaultTTL)
	if err != nil {
		return nil, err
	}
	s := &Store{state: st, ttl: ttl, index: expiry.NewIndex(st), renewed: map[string]int64{}}
	return s, s.index.Revive(ctx, s.now())
}

// ServeHTTP answers the requests that the package comment lists, and any other with 404.
func (s *Store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var handle func(*http.Request) ([]byte, error)
	switch r.Method + " " + wire.Path(r) {
	case "POST /create":
		handle = s.create
	case "GET /get":
		handle = s.get
	case "POST /update":
		handle = s.update
	case "DELETE /delete":
		handle = s.delete
	default:
		wire.NotFound(w)
		return
	}
	answer, err := handle(r)
	if err != nil {
		wire.Fail(w, err, "Failed to "+wire.Path(r)[1:]+" session")
		return
	}
	wire.JSON(w, http.StatusOK, answer)
}

var errNotFound = &wire.Problem{Status: http.StatusNotFound, Text: "Session not found"}

func (s *Store) now() int64 { return s.state.Now().UnixMilli() }

func (s *Store) create(r *http.Request) ([]byte, error) {
	ctx := r.Context()
	b, err := readBody(r)
	if err != nil {
		return nil, err
	}
	id, chosen, err := b.newSession()
	if err != nil {
		return nil, err
	}
	now := s.now()
	rec := &record{Created: now, Updated: now, Due: s.ttl.Due(now), UserID: b.userID, Data: b.data}
	var old *record // what expired under this id and has not been swept yet
	if chosen {
		if old, err = s.read(ctx, id); err != nil {
			return nil, err
		}
		if old != nil && !s.expired(id, old, now) {
			return nil, &wire.Problem{Status: http.StatusConflict, Text: "Session ID already in use"}
		}
	}
	if err := s.enter(ctx, id, rec, old, now); err != nil {
		return nil, err
	}
	out := append([]byte(`{"sessionId":"`+id+`","session":`), rec.appendJSON(nil, id, now)...)
	return append(out, '}'), nil
}

// enter stores a new session; old is what expired under its id, if anything did.
func (s *Store) enter(ctx context.Context, id string, rec, old *record, now int64) error {
	if err := s.file(ctx, id, rec); err != nil {
		return errors.Join(err, s.index.Revive(ctx, now))
	}
	if err := s.index.Arm(ctx, now, rec.Due); err != nil {
		return err
	}
	if old != nil && old.Due != rec.Due {
		if _, err := s.state.Storage().Delete(ctx, expiry.Key(old.Due, id)); err != nil {
			return fmt.Errorf("delete expiry entry of session %s: %w", id, err)
		}
	}
	return nil
}

func (s *Store) get(r *http.Request) ([]byte, error) {
	id := wire.Param(r, "id")
	if id == "" {
		return nil, wire.BadRequest("Session ID required")
	}
	now := s.now()
	rec, err := s.live(r.Context(), id, now)
	if err != nil {
		return nil, err
	}
	if rec == nil {
		return nil, errNotFound
	}
	if err := s.renew(r.Context(), id, rec, now); err != nil {
		return nil, err
	}
	return sessionAnswer(id, rec, now), nil
}

func (s *Store) update(r *http.Request) ([]byte, error) {
	b, err := readBody(r)
	if err != nil {
		return nil, err
	}
	id, err := b.session()
	if err != nil {
		return nil, err
	}
	now := s.now()
	rec, err := s.live(r.Context(), id, now)
	if err != nil {
		return nil, err
	}
	if rec == nil {
		return nil, errNotFound
	}
	rec.Data = jsonvalue.Merge(rec.Data, b.data)
	if err := s.write(r.Context(), id, rec, now); err != nil {
		return nil, err
	}
	return sessionAnswer(id, rec, now), nil
}

func sessionAnswer(id string, rec *record, updated int64) []byte {
	return append(rec.appendJSON([]byte(`{"session":`), id, updated), '}')
}

func (s *Store) delete(r *http.Request) ([]byte, error) {
	ctx := r.Context()
	id := wire.Param(r, "id")
	if id == "" {
		return nil, wire.BadRequest("Session ID required")
	}
	rec, err := s.live(ctx, id, s.now())
	if err != nil {
		return nil, err
	}
	if rec == nil {
		return []byte(`{"success":false}`), nil
	}
	if _, err := s.state.Storage().DeleteMany(ctx, []string{key(id), expiry.Key(rec.Due, id)}); err != nil {
		return nil, fmt.Errorf("delete session %s: %w", id, err)
	}
	delete(s.renewed, id)
	return []byte(`{"success":true}`), nil
}

// Alarm deletes what has expired. The runtime calls it.
func (s *Store) Alarm(ctx context.Context, _ durable.AlarmInfo) error {
	now := s.now()
	return s.index.Sweep(ctx, now, sweeper{s, now})
}

// sweeper looks at sessions whose entries in the index are due.
type sweeper struct {
	*Store
	at int64
}

func (s sweeper) Expire(ctx context.Context, id string) (alive bool, err error) {
	rec, err := s.read(ctx, id)
	if err != nil || rec == nil {
		return false, err
	}
	if !s.expired(id, rec, s.at) {
		return true, nil
	}
	delete(s.renewed, id)
	if _, err := s.state.Storage().Delete(ctx, key(id)); err != nil {
		return false, fmt.Errorf("delete expired session %s: %w", id, err)
	}
	return false, nil
}

func (s sweeper) Refile(ctx context.Context, id string) error {
	rec, err := s.read(ctx, id)
	if err != nil || rec == nil {
		return err
	}
	rec.Updated = s.lastUse(id, rec)
	rec.Due = s.ttl.Due(rec.Updated)
	if err := s.file(ctx, id, rec); err != nil {
		return err
	}
	delete(s.renewed, id)
	return nil
}

// live returns a session that has not expired, nil if there is none.
func (s *Store) live(ctx context.Context, id string, now int64) (*record, error) {
	if !validID(id) {
		return nil, nil
	}
	rec, err := s.read(ctx, id)
	if err != nil || rec == nil || s.expired(id, rec, now) {
		return nil, err
	}
	return rec, nil
}

func (s *Store) lastUse(id string, rec *record) int64 { return max(rec.Updated, s.renewed[id]) }

func (s *Store) expired(id string, rec *record, now int64) bool {
	return s.ttl.Expired(s.lastUse(id, rec), now)
}

// renew lets a session live on from now, in memory if that may be (invariant 3).
func (s *Store) renew(ctx context.Context, id string, rec *record, now int64) error {
	if now-rec.Updated < s.ttl.Step() {
		if _, known := s.renewed[id]; known || len(s.renewed) < maxRenewed {
			s.renewed[id] = now
			return nil
		}
	}
	return s.write(ctx, id, rec, now)
}

// read returns a session's record, nil if there is none.
func (s *Store) read(ctx context.Context, id string) (*record, error) {
	rec := new(record)
	found, err := s.state.Storage().Get(ctx, key(id), rec)
	if err != nil {
		return nil, fmt.Errorf("load session %s: %w", id, err)
	}
	if !found {
		return nil, nil
	}
	return rec, nil
}

// write stores a session that is in the index already, as used now.
func (s *Store) write(ctx context.Context, id string, rec *record, now int64) error {
	rec.Updated = now
	if err := s.state.Storage().Put(ctx, key(id), rec); err != nil {
		return fmt.Errorf("save session %s: %w", id, err)
	}
	delete(s.renewed, id)
	return nil
}

// file stores a session together with its entry in the index.
func (s *Store) file(ctx context.Context, id string, rec *record) error {
	err := s.state.Storage().PutMany(ctx, map[string]any{key(id): rec, expiry.Key(rec.Due, id): true})
	if err != nil {
		return fmt.Errorf("save session %s: %w", id, err)
	}
	return nil
}

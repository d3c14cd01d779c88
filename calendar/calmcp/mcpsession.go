package calmcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/perdure/perdure/durable"
)

// SessionClass is the name of the class of sessions.
const SessionClass = "MCPSession"

func sessionClass(link *Link) durable.Class {
	return durable.NewClass(SessionClass, func(ctx context.Context, st *durable.State) (*mcpSession, error) {
		return newSession(ctx, st, link)
	}, &durable.ClassOptions{Errors: []error{errDropped, errTooManySubscriptions}})
}

// mcpSession is an object of class MCPSession: a session of the older eras, named by its id.
//
//  1. What a client needs to go on with the session after a crash is in storage before
//     the client is told of it: user, initialize, log level, subscriptions, and the events
//     of the standalone stream. The SDK's session is made from that when a request comes
//     and there is none, and closed with the instance.
//  2. A request reaches the SDK only if it is the session's user's. All others get
//     problemNoSession, whatever is wrong.
//  3. The SDK runs inside Await, on goroutines of its own. They touch nothing here: what
//     they have to say to the session comes as a call.
//  4. A request's event lasts until its calls are answered, even if the client has left,
//     so that the instance stays and the answers can be kept.
//  5. In the index of the user (MCPUser) there is a session before it exists, and a
//     subscription before it counts: what breaks off leaves entries too many, which are
//     found out when they are used, and never too few.
type mcpSession struct {
	st       *durable.State
	link     *Link
	instance uint64 // which one this is

	rec    *sessionRecord // nil: there is no session
	subs   map[string]subscription
	log    logRecord
	lost   map[string][]json.RawMessage // calls that an earlier instance did not answer, by stream
	noted  map[string]struct{}          // streams whose calls this one has written down
	live   *live                        // the SDK's side; nil: not in memory
	saving bool                         // streams will be saved
	sse    bool                         // the session is that of an open stream of HTTP+SSE, and nothing is stored

	mu       sync.Mutex       // guards what follows: a request tidies up even if its instance is gone
	used     int64            // last use
	requests int              // under way
	standing int              // open standalone streams
	user     string           // for whom changes are looked for
	gets     map[string]*hold // by stream
}

// sessionRecord is the key "m" of a session. Times are Unix milliseconds.
type sessionRecord struct {
	User       string `cbor:"1,keyasint"`
	Initialize []byte `cbor:"2,keyasint"` // the client's request
	Level      string `cbor:"3,keyasint,omitempty"`
	Created    int64  `cbor:"4,keyasint"`
	Used       int64  `cbor:"5,keyasint"`

	ListWaiting int64 `cbor:"6,keyasint,omitempty"` // as in subscription, of a change of the list
}

// subscription is a key "u URI".
type subscription struct {
	// Waiting is one more than the number of the event that tells of a change and was
	// given to nobody yet: a second one would say the same. 0: none.
	Waiting int64 `cbor:"1,keyasint"`
}

const (
	sessionKey         = "m"
	logKey             = "x"
	subscriptionPrefix = "u"
)

const (
	maxInitialize = 64 << 10
	maxWatchedURI = 1024
)

func newSession(ctx context.Context, st *durable.State, link *Link) (*mcpSession, error) {
	s := &mcpSession{st: st, link: link, instance: rand.Uint64(), log: newLog(), subs: map[string]subscription{}, gets: map[string]*hold{},
		lost: map[string][]json.RawMessage{}, noted: map[string]struct{}{}}
	rec := new(sessionRecord)
	found, err := st.Storage().Get(ctx, sessionKey, rec)
	if err != nil || !found {
		return s, err
	}
	s.rec = rec
	if _, err := st.Storage().Get(ctx, logKey, &s.log); err != nil {
		return nil, err
	}
	for e, err := range st.Storage().List(ctx, durable.ListOptions{Prefix: subscriptionPrefix}) {
		if err != nil {
			return nil, err
		}
		var sub subscription
		if err := e.Decode(&sub); err != nil {
			return nil, err
		}
		s.subs[strings.TrimPrefix(e.Key, subscriptionPrefix)] = sub
	}
	for e, err := range st.Storage().List(ctx, durable.ListOptions{Prefix: callPrefix}) {
		if err != nil {
			return nil, err
		}
		var calls []json.RawMessage
		if err := e.Decode(&calls); err != nil {
			return nil, err
		}
		s.lost[strings.TrimPrefix(e.Key, callPrefix)] = calls
	}
	return s, nil
}

// id is the session's.
func (s *mcpSession) id() string {
	name, _ := s.st.Name()
	return name
}

func (s *mcpSession) now() int64 { return s.st.Now().UnixMilli() }

// ServeHTTP serves requests that a [Handler] has passed on.
func (s *mcpSession) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h, err := s.link.get()
	if err != nil {
		problemClosed.write(w)
		return
	}
	user := userIn(r)
	switch r.URL.Path {
	case pathNew:
		err = s.begin(h, w, r, user)
	case pathSSE:
		err = s.serveSSE(h, w, r, user)
	case pathUnknown:
		err = s.serveUnknown(h, w, r, user)
	case pathMessages:
		err = s.serveMessage(h, w, r, user)
	default:
		err = s.serve(h, w, r, user)
	}
	var p *problem
	switch {
	case err == nil:
	case errors.As(err, &p):
		p.write(w)
	case errors.Is(err, durable.ErrReset), errors.Is(err, context.Canceled):
		// Nobody is there to read an answer, or none can be written.
	default:
		h.log.LogAttrs(r.Context(), slog.LevelError, "a request of a session failed", slog.String("session", s.id()), slog.Any("error", err))
		problemInternal.write(w)
	}
}

// owned says whether there is a session, of this user, that has not expired.
func (s *mcpSession) owned(h *Handler, user string) bool {
	return s.rec != nil && s.rec.User == user && user != "" && s.now() < s.due(h)
}

// due is when the session ends unless it is used.
func (s *mcpSession) due(h *Handler) int64 {
	return max(s.rec.Used, s.lastUse()) + h.opts.SessionTTL.Milliseconds()
}

// lastUse is the last use that this instance knows of.
func (s *mcpSession) lastUse() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.requests > 0 {
		s.used = s.now()
	}
	return s.used
}

// enter begins a request, if there may be one more.
func (s *mcpSession) enter(limit int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.requests >= limit {
		return false
	}
	s.requests++
	return true
}

// stay keeps counting a request of which a part goes on.
func (s *mcpSession) stay() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
}

func (s *mcpSession) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests--
	s.used = s.now()
}

// serve serves a request of Streamable HTTP.
func (s *mcpSession) serve(h *Handler, w http.ResponseWriter, r *http.Request, user string) error {
	ctx := r.Context()
	if !s.owned(h, user) {
		return problemNoSession
	}
	if r.Method == http.MethodDelete {
		if err := s.end(ctx, true); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if !s.enter(h.opts.MaxStreams) {
		return problemBusy(h.opts.MaxStreams)
	}
	defer s.leave() // entered before the gate may open, so that the session does not expire now
	if err := s.use(ctx, h); err != nil {
		return err
	}
	if s.rec == nil { // ended while the gate was open
		return problemNoSession
	}
	if err := s.revive(h); err != nil {
		return err
	}
	switch {
	case r.Method == http.MethodGet:
		return s.get(ctx, w, r)
	case r.Header.Get(wrongHeader) != "":
		return problemTwice
	}
	return s.post(ctx, w, r)
}

// use notes that the session is used: in storage now and then only, so that a crash may
// cost it a 60th of its lifetime.
func (s *mcpSession) use(ctx context.Context, h *Handler) error {
	now := s.lastUse()
	if now-s.rec.Used < h.opts.SessionTTL.Milliseconds()/60 {
		return nil
	}
	s.rec.Used = now
	if err := s.save(ctx); err != nil {
		return err
	}
	return s.enterIndex(ctx, h, now)
}

// enterIndex enters the session in the index of its user, and ends those that it replaces there.
func (s *mcpSession) enterIndex(ctx context.Context, h *Handler, now int64) error {
	user := s.owner()
	ended, err := durable.Call(ctx, s.index(), (*mcpUser).Enter, entry{s.id(), sessionEntry{now, s.sse}, h.opts.MaxSessions})
	if err != nil {
		return err
	}
	for _, id := range ended {
		if err := durable.Exec(ctx, s.st.Namespace(SessionClass).Named(id), (*mcpSession).End, user); err != nil {
			h.log.LogAttrs(ctx, slog.LevelWarn, "a session that another one replaces goes on", slog.String("user", user), slog.Any("error", err))
		}
	}
	return nil
}

func (s *mcpSession) save(ctx context.Context) error {
	if err := s.st.Storage().Put(ctx, sessionKey, s.rec); err != nil {
		return fmt.Errorf("save session: %w", err)
	}
	return nil
}

// index is the object of the session's user.
func (s *mcpSession) index() *durable.Stub { return s.st.Namespace(UserClass).Named(s.owner()) }

// owner is the session's user.
func (s *mcpSession) owner() string {
	if s.rec != nil {
		return s.rec.User
	}
	return s.live.caller.User
}

// begin makes the session: what the client sends is initialize.
func (s *mcpSession) begin(h *Handler, w http.ResponseWriter, r *http.Request, user string) error {
	ctx := r.Context()
	if s.rec != nil || s.live != nil || user == "" {
		return problemNoSession
	}
	if r.ContentLength > maxInitialize {
		return problemTooLarge(maxInitialize)
	}
	body, err := readAll(r)
	if err != nil {
		return err
	}
	l, err := newLive(h, s, user)
	if err != nil {
		return err
	}
	s.live = l // which makes any other request find this one not empty
	answer := newHeldAnswer()
	if err := s.st.Await(ctx, func(context.Context) error { l.mute(answer, r.Header, body); return nil }); err != nil {
		return err
	}
	if !l.connected() {
		s.drop(ctx)
		answer.send(w)
		return nil
	}
	now := s.now()
	if err := s.enterIndex(ctx, h, now); err != nil {
		s.drop(ctx)
		return err
	}
	s.rec = &sessionRecord{User: user, Initialize: body, Created: now, Used: now}
	if err := s.save(ctx); err != nil {
		return err
	}
	if err := s.look(ctx, h); err != nil {
		return err
	}
	answer.send(w)
	return nil
}

// drop closes the SDK's side.
func (s *mcpSession) drop(ctx context.Context) {
	l := s.live
	if l == nil {
		return
	}
	s.live = nil
	_ = s.st.Await(ctx, func(context.Context) error { l.close(); return nil })
}

// end deletes the session; with leave it is taken out of the user's index first.
func (s *mcpSession) end(ctx context.Context, leave bool) error {
	if s.rec == nil {
		return nil
	}
	if leave {
		if err := durable.Exec(ctx, s.index(), (*mcpUser).Leave, s.id()); err != nil {
			return err
		}
	}
	s.rec, s.log, s.subs = nil, newLog(), map[string]subscription{}
	if err := s.st.Storage().DeleteAll(ctx); err != nil {
		return fmt.Errorf("delete session: %w", err)
	}
	s.drop(ctx)
	return nil
}

// End ends the session of a user, with its streams. The caller sees to the index.
func (s *mcpSession) End(ctx context.Context, user string) error {
	if s.sse && s.live != nil && s.live.caller.User == user {
		s.live.stop()
		return nil
	}
	if s.rec == nil || s.rec.User != user {
		return nil
	}
	return s.end(ctx, false)
}

// look sets the alarm to when to look at the session next: when it may have to end, and ten
// times in a lifetime, so that the index learns that an open stream uses it.
func (s *mcpSession) look(ctx context.Context, h *Handler) error {
	next := min(s.due(h), s.now()+max(h.opts.SessionTTL.Milliseconds()/10, 1000))
	if err := s.st.Storage().SetAlarm(ctx, time.UnixMilli(next)); err != nil {
		return fmt.Errorf("set alarm of session: %w", err)
	}
	return nil
}

// Alarm ends the session if it was not used for its lifetime.
func (s *mcpSession) Alarm(ctx context.Context, _ durable.AlarmInfo) error {
	if s.rec == nil {
		return nil
	}
	h, err := s.link.get()
	if err != nil { // nobody knows how long sessions live: another process will
		return s.st.Storage().SetAlarm(ctx, s.st.Now().Add(time.Minute))
	}
	if s.now() >= s.due(h) {
		return s.end(ctx, true)
	}
	if err := s.look(ctx, h); err != nil {
		return err
	}
	if s.now() > s.lastUse() {
		return nil
	}
	return s.use(ctx, h) // a request is under way
}

var errTooManySubscriptions = errors.New("calmcp: too many subscriptions")

// Subscribe notes a subscription.
func (s *mcpSession) Subscribe(ctx context.Context, uri string) error {
	h, err := s.link.get()
	if err != nil {
		return err
	}
	if s.rec == nil && !s.sse {
		return errDropped
	}
	if _, known := s.subs[uri]; known {
		return nil
	}
	if len(s.subs) >= h.opts.MaxSubscriptions {
		return errTooManySubscriptions
	}
	if s.rec != nil {
		if err := s.st.Storage().Put(ctx, subscriptionPrefix+uri, &subscription{}); err != nil {
			return fmt.Errorf("save subscription: %w", err)
		}
	}
	s.subs[uri] = subscription{}
	s.follow()
	return nil
}

// Unsubscribe takes a subscription back.
func (s *mcpSession) Unsubscribe(ctx context.Context, uri string) error {
	if _, known := s.subs[uri]; !known {
		return nil
	}
	delete(s.subs, uri)
	s.follow()
	if s.rec == nil {
		return nil
	}
	if _, err := s.st.Storage().Delete(ctx, subscriptionPrefix+uri); err != nil {
		return fmt.Errorf("delete subscription: %w", err)
	}
	return nil
}

// SetLevel notes the level of log messages that the client wants.
func (s *mcpSession) SetLevel(ctx context.Context, level string) error {
	if s.rec == nil || s.rec.Level == level {
		return nil
	}
	s.rec.Level = level
	return s.save(ctx)
}

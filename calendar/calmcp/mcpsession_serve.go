package calmcp

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perdure/perdure/durable"
)

// hold is an answer that goes on: it can be ended in favour of a newer one for the same
// stream, which a client asks for when it has lost the connection, often before the server
// notices.
type hold struct {
	end      context.CancelFunc
	released chan struct{} // closed when the SDK has let go of the answer
}

// get serves GET: the standalone stream, or one that the client resumes.
func (s *mcpSession) get(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	last := r.Header.Get(lastEventHeader)
	streamID, _, _ := strings.Cut(last, "_")
	var prime []byte
	if last == "" {
		// Without a number the SDK replays all there is. What was given to somebody before is
		// not wanted again, and what was dropped would be an error.
		last = "_" + strconv.FormatInt(max(s.log.Unsent, s.log.First)-1, 10)
		r.Header.Set(lastEventHeader, last)
		if r.Header.Get(versionHeader) >= primed {
			// So that it has a number to come back with, whatever it will have received.
			prime = []byte("event: prime\nid: " + last + "\ndata: \n\n")
		}
	}
	l := s.live
	hang, cancel := context.WithCancel(context.Background()) // nothing of the event's: the SDK keeps it
	defer cancel()
	if streamID == "" && s.log.Offered < s.log.Next {
		x := s.log
		x.Offered = x.Next
		if err := s.saveLog(ctx, x); err != nil {
			return err
		}
	}
	me := &hold{cancel, make(chan struct{})}
	before := s.take(streamID, me)
	defer s.giveUp(streamID, me)
	s.follow()
	err := s.st.Await(ctx, func(ctx context.Context) error {
		stop := context.AfterFunc(ctx, cancel)
		defer stop()
		if before != nil {
			before.end()
			<-before.released
		}
		if hang.Err() != nil {
			close(me.released)
			return nil
		}
		out := newQueue(w, cancel)
		out.first = prime
		l.handler.ServeHTTP(out, r.WithContext(&waiting{Context: hang, begin: out.begin}))
		close(me.released)
		out.close()
		return nil
	})
	if err != nil || streamID != "" || s.rec == nil || s.log.Unsent >= s.log.Offered {
		return err
	}
	x := s.log
	x.Unsent = x.Offered
	return s.saveLog(ctx, x)
}

// waiting is the context of a GET. The SDK asks for its end when the stream is its own and
// all that is left is to wait: then the client, or a proxy, can be told that it has begun.
type waiting struct {
	context.Context
	once  sync.Once
	begin func()
}

func (c *waiting) Done() <-chan struct{} {
	c.once.Do(c.begin)
	return c.Context.Done()
}

// take makes me the holder of a stream, and returns the one before.
func (s *mcpSession) take(stream string, me *hold) (before *hold) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before = s.gets[stream]
	if t := s.live.log.stream(stream); before == nil && t != nil {
		before = &t.post.hold
	}
	s.gets[stream] = me
	if stream == "" {
		s.standing++
	}
	return before
}

func (s *mcpSession) giveUp(stream string, me *hold) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gets[stream] == me {
		delete(s.gets, stream)
	}
	if stream == "" {
		s.shutLocked()
	}
}

// shutLocked says that a standalone stream has ended.
func (s *mcpSession) shutLocked() {
	if s.standing--; s.standing > 0 {
		return
	}
	if h, err := s.link.get(); err == nil {
		h.watches.release(s, s.user)
	}
}

// follow has changes looked for of what an open standalone stream is to tell of. It is called
// within the gate whenever that may have become something else.
func (s *mcpSession) follow() {
	h, err := s.link.get()
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.standing == 0: // it may have ended since
	case len(s.subs) == 0:
		h.watches.release(s, s.user)
	default:
		s.user = s.owner()
		h.watches.hold(s, s.user, slices.Collect(maps.Keys(s.subs)))
	}
}

// listening says whether a standalone stream is open, or about to be.
func (s *mcpSession) listening() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.standing > 0
}

// post is a POST that the SDK works on.
type post struct {
	hold
	calls    []json.RawMessage // in its body: their ids
	answered chan struct{}     // closed when all calls are
	stream   atomic.Pointer[liveStream]
	out      *slow

	// event is that of the event which the calls are part of; nil: none, and they are on
	// their own. It is locked while one event hands them on to the next.
	mu    sync.RWMutex
	event context.Context
}

// Value is for contexts of the calls: the event is a value of theirs.
func (p *post) Value(key any) any {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.event == nil {
		return nil
	}
	return p.event.Value(key)
}

// slow is an answer that may be long in coming. The SDK sends nothing, the header neither,
// before the first message; with this one there are keep-alive comments until then.
type slow struct {
	w     http.ResponseWriter
	every time.Duration // 0: never

	status int // of a refusal

	mu    sync.Mutex
	over  bool        // guarded by mu
	timer *time.Timer // guarded by mu
}

func (a *slow) Header() http.Header { return a.w.Header() }

func (a *slow) WriteHeader(status int) {
	a.status = status
	a.w.WriteHeader(status)
}

func (a *slow) Write(p []byte) (int, error) { return a.w.Write(p) }

// Unwrap is for [http.ResponseController].
func (a *slow) Unwrap() http.ResponseWriter { return a.w }

// arm is called when the SDK has set the header and a handler runs.
func (a *slow) arm() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.every > 0 && !a.over && a.timer == nil {
		a.timer = time.AfterFunc(a.every, a.begin)
	}
}

// begin sends the header and a comment. Then the stream to the client sees to it.
func (a *slow) begin() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over || !isEventStream(a.w.Header()) {
		return
	}
	a.w.Write([]byte(keepAlive)) // an error: the client has left
	http.NewResponseController(a.w).Flush()
}

// end returns when nothing is written any more.
func (a *slow) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over = true
	if a.timer != nil {
		a.timer.Stop()
	}
}

// maxAnswerTime is how long calls whose client has left may go on.
const maxAnswerTime = 14 * time.Minute

// post serves POST: messages of the client.
func (s *mcpSession) post(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	l := s.live
	calls := callsIn(r)
	hang, cancel := context.WithCancel(context.Background())
	defer cancel()
	p := &post{
		hold: hold{cancel, make(chan struct{})}, calls: calls, answered: make(chan struct{}),
		out: &slow{w: w, every: l.h.opts.KeepAlive},
	}
	number := l.enter(p)
	r.Header.Set(postHeader, number)
	locked := false
	err := s.st.Await(ctx, func(ctx context.Context) error {
		p.event = context.WithoutCancel(ctx) // nobody has p yet
		// When the runtime drains, calls are finished: only a client that leaves ends the answer.
		stop := context.AfterFunc(ctx, func() {
			if !l.h.draining() {
				cancel()
			}
		})
		note := time.AfterFunc(noteAfter, func() { l.noteCalls(p) })
		l.handler.ServeHTTP(p.out, r.WithContext(context.WithValue(hang, postKey{}, p)))
		note.Stop() // too late, if it runs: then it finds out itself
		stop()
		p.out.end()
		close(p.released)
		p.mu.Lock() // until it is clear what becomes of calls that are under way
		locked = true
		return nil
	})
	// become says whose part they are from now on.
	become := func(event context.Context) {
		p.event = event
		p.mu.Unlock()
	}
	if err != nil {
		if locked {
			become(nil)
		}
		l.leave(number)
		return err
	}
	t := p.stream.Load()
	if t == nil || p.done() || p.out.status >= 400 {
		become(nil)
		l.leave(number)
		if t != nil && !p.done() {
			l.log.forget(t) // refused after its stream had begun
		}
		return s.saveLater(ctx, l)
	}
	// The client has left, or was sent away to come back later. Another event goes on.
	return s.handOn(ctx, l, p, number, become)
}

// noteAfter is after which time a call is written down, so that a client that comes back
// for the answer after a crash is told that there is none. Faster ones are not worth it.
const noteAfter = time.Second

// noteCalls writes down what is under way.
func (l *live) noteCalls(p *post) {
	t := p.stream.Load()
	if t == nil || p.done() {
		return
	}
	err := durable.Exec(context.Background(), l.self, (*mcpSession).NoteCalls, callNote{l.log.instance, t.id, p.calls})
	if err != nil && !l.h.draining() {
		l.h.log.Warn("a call was not written down", "user", l.caller.User, "error", err)
	}
}

// handOn makes calls whose answer nobody waits for part of a new event, which stays until
// they are answered.
func (s *mcpSession) handOn(ctx context.Context, l *live, p *post, number string, become func(context.Context)) error {
	s.stay()
	var once sync.Once
	alone := func() { once.Do(func() { become(nil) }) }
	stop := context.AfterFunc(l.life, alone) // the event may never run
	err := s.st.WaitUntil(ctx, func(ctx context.Context) error {
		defer stop()
		defer l.leave(number)
		defer s.leave()
		err := s.st.Await(ctx, func(ctx context.Context) error {
			once.Do(func() { become(context.WithoutCancel(ctx)) })
			p.wait(l)
			p.mu.Lock()
			p.event = nil
			p.mu.Unlock()
			return nil
		})
		alone()
		if err != nil {
			return err
		}
		return s.saveStreams(ctx)
	})
	if err != nil { // they go on by themselves
		alone()
		l.leave(number)
		s.leave()
	}
	return err
}

// saveLater writes down streams that are over, when some have come together: the next
// request would wait for the disk. At the end of the runtime it is done at once.
func (s *mcpSession) saveLater(ctx context.Context, l *live) error {
	switch {
	case s.saving || !l.log.any():
		return nil
	case l.h.draining():
		return s.saveStreams(ctx)
	}
	err := s.st.WaitUntil(ctx, func(ctx context.Context) error {
		err := s.st.Await(ctx, func(ctx context.Context) error {
			delay := time.NewTimer(l.h.opts.SaveDelay)
			defer delay.Stop()
			select {
			case <-delay.C:
			case <-ctx.Done():
			case <-l.life.Done():
			}
			return nil
		})
		if err != nil {
			return err
		}
		s.saving = false
		return s.saveStreams(ctx)
	})
	s.saving = err == nil
	return err
}

// wait returns when the calls are answered, or will not be.
func (p *post) wait(l *live) {
	limit := time.NewTimer(maxAnswerTime)
	defer limit.Stop()
	select {
	case <-p.answered:
	case <-l.life.Done():
	case <-limit.C:
	}
}

func (p *post) done() bool {
	select {
	case <-p.answered:
		return true
	default:
		return false
	}
}

// newPost returns a POST of a message to the SDK's handler.
func newPost(header http.Header, body []byte) *http.Request {
	r := &http.Request{
		Method: http.MethodPost, URL: &url.URL{Path: pathMCP}, Header: header.Clone(),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
	if r.Header == nil {
		r.Header = make(http.Header)
	}
	return r
}

func readAll(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, fmt.Errorf("read body: %w", err)
	}
	return body, nil
}

// heldAnswer is an answer in memory.
type heldAnswer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func newHeldAnswer() *heldAnswer { return &heldAnswer{header: http.Header{}} }

func (a *heldAnswer) Header() http.Header { return a.header }

func (a *heldAnswer) WriteHeader(status int) {
	if a.status == 0 && status >= 200 {
		a.status = status
	}
}

func (a *heldAnswer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

// Flush is for the SDK, which wants to.
func (a *heldAnswer) Flush() {}

func (a *heldAnswer) send(w http.ResponseWriter) {
	for k, v := range a.header {
		w.Header()[k] = v
	}
	if a.status != 0 {
		w.WriteHeader(a.status)
	}
	w.Write(a.body.Bytes())
}

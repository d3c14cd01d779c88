package calmcp

import (
	"net/http"
	"strings"
	"sync"
	"time"
)

// writeTime is how long a client may take nothing of a stream before it is cut off. It
// comes back with the last event that it has seen.
const writeTime = 30 * time.Second

// stream is where an answer leaves for its client. To a stream of events it adds a comment
// whenever nothing was sent for some time, without a goroutine of its own.
type stream struct {
	http.ResponseWriter
	control *http.ResponseController
	every   time.Duration // between comments; 0: none
	cut     func()        // ends the request

	mu     sync.Mutex
	events bool // it is a stream of events, and has begun
	over   bool
	last   time.Time // when something was sent
	timer  *time.Timer
}

// keepAlive is a comment in a stream of events.
const keepAlive = ": keep-alive\n\n"

func newStream(w http.ResponseWriter, every time.Duration, cut func()) *stream {
	return &stream{ResponseWriter: w, control: http.NewResponseController(w), every: every, cut: cut}
}

func (s *stream) WriteHeader(code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if code >= 200 && isEventStream(s.Header()) {
		s.Header().Set("X-Accel-Buffering", "no")
		s.events = true
	}
	s.ResponseWriter.WriteHeader(code)
	if s.events && s.every > 0 && s.timer == nil {
		s.last = time.Now()
		s.timer = time.AfterFunc(s.every, s.tick)
	}
}

func isEventStream(h http.Header) bool {
	return strings.HasPrefix(h.Get("Content-Type"), "text/event-stream")
}

func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writeLocked(p)
}

func (s *stream) writeLocked(p []byte) (int, error) {
	if s.events {
		s.last = time.Now()
		s.control.SetWriteDeadline(s.last.Add(writeTime)) // an error: not that kind of connection
	}
	return s.ResponseWriter.Write(p)
}

// FlushError is Flush for [http.ResponseController].
func (s *stream) FlushError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.control.Flush()
}

// tick sends a comment if it is time.
func (s *stream) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	if wait := s.every - time.Since(s.last); wait > 0 {
		s.timer.Reset(wait)
		return
	}
	_, err := s.writeLocked([]byte(keepAlive))
	if err == nil {
		err = s.control.Flush()
	}
	if err != nil {
		s.cut()
		return
	}
	s.timer.Reset(s.every)
}

// close leaves the connection to its server again. Nothing may be written afterwards.
func (s *stream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	if s.timer != nil {
		s.timer.Stop()
	}
	if s.events {
		s.control.SetWriteDeadline(time.Time{})
	}
}

// maxQueued bounds what waits for a client that does not read, which is more than a replay may be.
const maxQueued = 4 << 20

// queue is between the SDK, whose locks are held while it writes, and a stream whose client
// may be slow. It takes everything at once; a client that falls too far behind is cut off.
// A goroutine runs while something waits.
type queue struct {
	w     http.ResponseWriter
	cut   func()
	first []byte // what a stream begins with

	mu      sync.Mutex
	waiting []byte
	sending int  // bytes on their way
	begun   bool // something was flushed
	over    bool
	busy    chan struct{} // closed when the goroutine that runs ends; nil if none does
	err     error
}

func newQueue(w http.ResponseWriter, cut func()) *queue { return &queue{w: w, cut: cut} }

func (q *queue) Header() http.Header { return q.w.Header() }

func (q *queue) WriteHeader(code int) {
	q.w.WriteHeader(code)
	if code == http.StatusOK && len(q.first) > 0 {
		q.Write(q.first)
	}
}

func (q *queue) Write(p []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.err != nil:
		return 0, q.err
	case q.over:
		return 0, http.ErrHandlerTimeout
	case len(q.waiting)+q.sending+len(p) > maxQueued:
		q.err = errSlow
		q.cut()
		return 0, q.err
	}
	q.waiting = append(q.waiting, p...)
	return len(p), nil
}

// FlushError sees to it that what was written is sent, and does not wait for it.
func (q *queue) FlushError() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.begun = true
	if q.err == nil && !q.over && q.busy == nil {
		q.busy = make(chan struct{})
		go q.send(q.busy)
	}
	return q.err
}

// begin sends the header and a comment, if nothing was sent, of a stream of events.
func (q *queue) begin() {
	q.mu.Lock()
	begun := q.begun
	q.mu.Unlock()
	if !begun && isEventStream(q.w.Header()) {
		q.Write([]byte(": ok\n\n"))
		q.FlushError()
	}
}

func (q *queue) send(done chan struct{}) {
	defer close(done)
	for {
		q.mu.Lock()
		p := q.waiting
		q.waiting, q.sending = nil, len(p)
		if len(p) == 0 || q.err != nil {
			q.busy = nil
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		_, err := q.w.Write(p)
		if err == nil {
			err = http.NewResponseController(q.w).Flush()
		}
		if err != nil {
			q.mu.Lock()
			q.err = err
			q.mu.Unlock()
			q.cut()
		}
	}
}

// close takes nothing more and returns when what was taken has been sent or given up.
func (q *queue) close() {
	q.mu.Lock()
	q.over = true
	busy := q.busy
	q.mu.Unlock()
	if busy != nil {
		<-busy
	}
	if len(q.waiting) > 0 && q.err == nil { // nothing else runs
		q.w.Write(q.waiting)
	}
}

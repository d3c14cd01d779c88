package durable

import (
	"context"
	"errors"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"
)

// What a request that came over a server's connection needs besides: clients that
// stall while they send or receive are given up, so that slow ones hold nothing for
// long (promise 3).

// arrival watches over a body that comes from a server's connection: one that
// stalls for Limits.BodyStall is given up, since it holds some of the budget for
// bodies, and one that has not arrived when the runtime begins to drain is too late.
// A nil arrival watches nothing.
type arrival struct {
	conn  *http.ResponseController
	stall time.Duration
	stop  func() bool

	mu    sync.Mutex
	late  bool // the runtime drains
	ended bool
}

// leftoverTime is for what a server reads of a body that we did not: net/http does so
// before it sends the answer, and without a deadline of its own.
const leftoverTime = 2 * time.Second

func newArrival(rt *Runtime, w http.ResponseWriter) *arrival {
	a := &arrival{conn: http.NewResponseController(w), stall: rt.opts.Limits.BodyStall}
	a.stop = context.AfterFunc(rt.drain, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if !a.ended {
			a.late = true
			a.conn.SetReadDeadline(time.Unix(1, 0))
		}
	})
	return a
}

// extend gives the next piece of the body its time.
func (a *arrival) extend() {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.late {
		a.conn.SetReadDeadline(time.Now().Add(a.stall)) // an error: not that kind of connection
	}
}

// end leaves the connection to the server again; err says why the body was not read whole.
func (a *arrival) end(err error) {
	if a == nil {
		return
	}
	a.stop()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
	switch {
	case err == nil:
		a.conn.SetReadDeadline(time.Time{})
	case a.late || errors.Is(err, os.ErrDeadlineExceeded):
		// The deadline is over, and stays so: nothing more is waited for.
	default:
		a.conn.SetReadDeadline(time.Now().Add(leftoverTime))
	}
}

// serverAnswer writes to a server's ResponseWriter. A client that takes nothing for
// Limits.AnswerStall is given up: it would hold some of the budget for answers.
type serverAnswer struct {
	w     http.ResponseWriter
	r     *http.Request
	stall time.Duration
	begun bool
}

func (a *serverAnswer) begin(code int, h http.Header) {
	a.begun = true
	to := a.w.Header()
	for k, v := range h {
		to[k] = v
	}
	a.w.WriteHeader(code)
}

// A piece of an answer has Limits.AnswerStall to leave. What fits into smallAnswer
// never waits for the client: the server buffers it.
const (
	answerPiece = 64 << 10
	smallAnswer = 1 << 10
)

func (a *serverAnswer) write(p []byte) error {
	if len(p) == 0 || a.r.Method == http.MethodHead {
		return nil
	}
	if len(p) <= smallAnswer {
		_, err := a.w.Write(p)
		return err
	}
	for piece := range slices.Chunk(p, answerPiece) {
		if err := a.inTime(func() error { _, err := a.w.Write(piece); return err }); err != nil {
			return err
		}
	}
	return nil
}

func (a *serverAnswer) flush() error {
	err := a.inTime(http.NewResponseController(a.w).Flush)
	if errors.Is(err, http.ErrNotSupported) { // some middleware hides it: the pieces come later, but whole
		return nil
	}
	return err
}

// inTime runs send under a deadline. A server that has one for answers itself keeps
// it: we could not put it back.
func (a *serverAnswer) inTime(send func() error) error {
	srv, _ := a.r.Context().Value(http.ServerContextKey).(*http.Server)
	if srv == nil || srv.WriteTimeout > 0 {
		return send()
	}
	conn := http.NewResponseController(a.w)
	conn.SetWriteDeadline(time.Now().Add(a.stall)) // an error: not that kind of connection
	err := send()
	if err == nil {
		conn.SetWriteDeadline(time.Time{})
	}
	return err
}

func (a *serverAnswer) whole(code int, h http.Header, body []byte) error {
	if h["Content-Length"] == nil && len(body) > 0 { // of an empty body the server knows
		h["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	a.begin(code, h)
	return a.write(body)
}

package durable

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"

	"github.com/perdure/perdure/store"
)

// ServeHTTP passes the request on to the object, as an event that runs on this
// goroutine, and answers when what the object did is durable. The body is read
// whole before the event is queued, so that a slow client holds nothing (promise
// 3 in docs/design.md). Failures of the runtime become a status: 503 with
// Retry-After for an overloaded object and at shutdown, 413 for a body over the
// limit, 507 over the quota, 501 without a handler, 508 for a chain of calls that
// would wait for itself, 504 after the caller's deadline, 500 for everything else. With
// a [Placement] 503 also says that the object moved or its node could not be reached and
// nothing happened, and 502 that the event may have run. Bodies name limits, and give no
// other reason: why a constructor failed, that a time limit was exceeded, or an answer its
// limit, goes to Options.Logger.
func (s *Stub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &struct {
		response
		out serverAnswer
	}{out: serverAnswer{w: w, r: r, stall: s.n.rt.opts.Limits.AnswerStall}}
	out := &x.out
	x.response.out = out
	if r.Body != nil && r.Body != http.NoBody && !s.n.class.opts.StreamBody {
		x.arriving = newArrival(s.n.rt, w)
	}
	ctx := r.Context()
	var err error
	if s.from == nil && ctx.Value(eventKey{}) == nil {
		err = s.serve(ctx, nil, r, &x.response)
	} else {
		err = outside(ctx, s.from, stateCalling, func(ctx context.Context, from *event) error {
			return s.serve(ctx, from, r, &x.response)
		})
	}
	if err == nil {
		return
	}
	if isUntold(err) {
		s.n.rt.log.Error("request failed", "object", s.label(), "error", err)
	}
	if !out.begun {
		writeError(w, err)
	} else if r.Context().Value(http.ServerContextKey) != nil {
		panic(http.ErrAbortHandler) // or the client would take what it has for the whole answer
	}
}

// errorStatus is the one place that turns an error of the runtime into a status.
func errorStatus(err error) (code int, retryAfter string) {
	switch {
	case errors.Is(err, ErrOverloaded), errors.Is(err, ErrShutdown), errors.Is(err, ErrClosed):
		return http.StatusServiceUnavailable, "1"
	case errors.Is(err, ErrNotOwner), errors.Is(err, ErrUnreachable):
		var e *Error
		if errors.As(err, &e) && !e.Retryable {
			return http.StatusBadGateway, "" // it may have run
		}
		return http.StatusServiceUnavailable, "1"
	case errors.Is(err, ErrBodyTooLarge):
		return http.StatusRequestEntityTooLarge, ""
	case errors.Is(err, ErrQuotaExceeded):
		return http.StatusInsufficientStorage, ""
	case errors.Is(err, ErrNoHandler):
		return http.StatusNotImplemented, ""
	case errors.Is(err, ErrDeadlock), errors.Is(err, ErrCallTooDeep):
		return http.StatusLoopDetected, ""
	case errors.Is(err, errBadBody):
		return http.StatusBadRequest, ""
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout, ""
	case errors.Is(err, context.Canceled):
		return http.StatusServiceUnavailable, "" // nobody is there to read it
	}
	return http.StatusInternalServerError, ""
}

// isUntold reports whether err is a failure that its caller sees as a bare status, or as an
// answer that breaks off, and that nothing else has logged.
func isUntold(err error) bool {
	return errors.Is(err, ErrConstructor) || errors.Is(err, ErrTimeLimit) || errors.Is(err, ErrAnswerTooLarge)
}

func writeError(w http.ResponseWriter, err error) {
	code, retry := errorStatus(err)
	text := http.StatusText(code)
	var lim *LimitError
	switch {
	case !errors.As(err, &lim) || errors.Is(err, ErrConstructor):
	case code == http.StatusRequestEntityTooLarge:
		text = fmt.Sprintf("%s: at least %d bytes, limit %d", text, lim.Size, lim.Limit)
	case lim.Err == ErrAnswerTooLarge:
		text = fmt.Sprintf("%s: the answer is over the limit of %d bytes", text, lim.Limit)
	}
	if retry != "" {
		w.Header().Set("Retry-After", retry)
	}
	http.Error(w, text, code)
}

// serve runs the request as an event, called by the event from if that is not nil,
// and delivers its answer to resp.out.
func (s *Stub) serve(ctx context.Context, from *event, r *http.Request, resp *response) error {
	if !s.n.class.serves {
		return fmt.Errorf("%w: class %s is no http.Handler", ErrNoHandler, s.n.class.name)
	}
	rt := s.n.rt
	stream := s.n.class.opts.StreamBody
	req, body, err := rt.newRequest(r, stream, resp.arriving)
	resp.arriving.end(err)
	if err != nil {
		return err
	}
	resp.rt = rt
	defer resp.release()
	ctx = withTraceOf(ctx, r.Header)
	held := len(body)
	passed := false
	err = s.enter(ctx, kindRequest, held, from, func(ev *event, _ *object) error {
		defer rt.bodies.Add(-int64(held)) // not when the answer is delivered: its reader may be slow
		held = 0
		resp.ev = ev
		ev.safe = isSafe(req.Method)
		req := req.WithContext(ev)
		if stream && req.Body != http.NoBody {
			req.Body = &gatedBody{ctx: ev, body: req.Body}
		}
		ev.inst.value.(http.Handler).ServeHTTP(resp, req)
		return resp.failure()
	}, func(p *passage) error {
		err := p.passRequest(&req, body, func() {
			rt.bodies.Add(-int64(held))
			held = 0
		}, resp)
		passed = err == nil // or it may come to run here yet
		return err
	})
	rt.bodies.Add(-int64(held)) // if it was not run
	if err != nil || passed {
		return err
	}
	return resp.finish()
}

// isSafe reports whether requests of the method change nothing by HTTP's definition, WebDAV's included.
func isSafe(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, "PROPFIND", "REPORT", "SEARCH", "QUERY":
		return true
	}
	return false
}

var errBadBody = errors.New("durable: request body cannot be read")

// newRequest makes the request that the object sees: method, URL, headers and
// body of r and nothing else, the same wherever the object lives. It returns the body too,
// which takes its length of the budget for buffers, unless it streams.
func (rt *Runtime) newRequest(r *http.Request, stream bool, arriving *arrival) (req http.Request, body []byte, err error) {
	req = http.Request{
		Method: r.Method, URL: cloneURL(r.URL), Host: r.Host, RequestURI: r.RequestURI, Header: r.Header.Clone(),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody,
	}
	if req.Header == nil {
		req.Header = make(http.Header)
	}
	if req.Host == "" { // requests of a client: as its transport would send them
		req.Host = req.URL.Host
	}
	if req.RequestURI == "" {
		req.RequestURI = req.URL.RequestURI()
	}
	if req.Method == "" {
		req.Method = http.MethodGet
	}
	if r.Body == nil || r.Body == http.NoBody {
		return req, nil, nil
	}
	if stream {
		req.Body, req.ContentLength = r.Body, r.ContentLength
		return req, nil, nil
	}
	limit := rt.opts.Limits.BodyBytes
	if r.ContentLength > int64(limit) {
		return req, nil, overLimit(ErrBodyTooLarge, int(r.ContentLength), limit)
	}
	body, err = rt.readBody(r.Body, r.ContentLength, limit, arriving)
	if err != nil {
		return req, nil, err
	}
	if len(body) > 0 {
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	return req, body, nil
}

// readBody reads a body whole and counts it in the budget for buffers.
func (rt *Runtime) readBody(r io.Reader, length int64, limit int, arriving *arrival) ([]byte, error) {
	if length < 0 {
		length = 512
	}
	buf := make([]byte, 0, min(int(length)+1, 64<<10))
	held := 0
	fail := func(err error) ([]byte, error) {
		rt.bodies.Add(-int64(held))
		return nil, err
	}
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		arriving.extend()
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		held += n
		if rt.bodies.Add(int64(n)) > rt.opts.Limits.BufferBytes/2 && n > 0 {
			return fail(overloaded("too many bytes of bodies and answers are held"))
		}
		if len(buf) > limit {
			return fail(overLimit(ErrBodyTooLarge, len(buf), limit))
		}
		if err == io.EOF {
			return buf, nil
		}
		if err != nil && rt.draining.Load() {
			return fail(notStarted(ErrShutdown))
		}
		if err != nil {
			var tooLarge *http.MaxBytesError
			if errors.As(err, &tooLarge) {
				return fail(&LimitError{Err: ErrBodyTooLarge, Limit: tooLarge.Limit, Size: tooLarge.Limit + 1})
			}
			return fail(fmt.Errorf("%w: %w", errBadBody, err))
		}
	}
}

func cloneURL(u *url.URL) *url.URL {
	if u == nil {
		return new(url.URL)
	}
	c := *u
	c.User = nil
	return &c
}

// An answer is where an event's answer goes.
type answer interface {
	begin(code int, h http.Header)
	write(p []byte) error
	flush() error
	whole(code int, h http.Header, body []byte) error // instead of begin, write and flush
}

// response is what an object's handler writes to. Nothing reaches the answer
// before the event's end or a Flush, and then only once it is safe (promise 5).
type response struct {
	rt  *Runtime
	ev  *event
	out answer

	arriving *arrival // of the request's body, if it comes from a server's connection

	mu      sync.Mutex // handlers sometimes write from several goroutines
	header  http.Header
	code    int
	buf     []byte
	flushed bool
	undrain func() bool
	err     error
}

func (r *response) Header() http.Header {
	if r.header == nil {
		r.header = make(http.Header)
	}
	return r.header
}

func (r *response) WriteHeader(code int) {
	if code < 100 || code > 999 { // as net/http does, and here, where it is the handler's panic
		panic(fmt.Sprintf("durable: invalid status code %d", code))
	}
	if code >= 200 && r.code == 0 {
		r.code = code
	}
}

// usable reports why nothing may be written any more.
func (r *response) usable() error {
	o := r.ev.obj
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case r.ev.state == stateDone:
		return ErrNoEvent
	case r.ev.inst.dead:
		return r.ev.inst.cause
	}
	return nil
}

func (r *response) Write(p []byte) (int, error) {
	if err := r.usable(); err != nil {
		return 0, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.WriteHeader(http.StatusOK)
	if r.code == http.StatusNoContent || r.code == http.StatusNotModified {
		return 0, http.ErrBodyNotAllowed
	}
	lim := &r.rt.opts.Limits
	if n := len(r.buf) + len(p); n > lim.AnswerBytes {
		r.err = overLimit(ErrAnswerTooLarge, n, lim.AnswerBytes)
		return 0, r.err
	}
	if r.rt.answers.Add(int64(len(p))) > lim.BufferBytes/2 {
		r.rt.answers.Add(-int64(len(p)))
		r.err = overloaded("too many bytes of bodies and answers are held")
		return 0, r.err
	}
	r.buf = append(r.buf, p...)
	return len(p), nil
}

func (r *response) WriteString(s string) (int, error) { return r.Write([]byte(s)) }

// Flush sends what was written. It is a commit point and opens the gate, except
// where it is open: inside Await, and while another object answers in this one's place.
func (r *response) Flush() { r.FlushError() }

// FlushError is Flush for [http.ResponseController].
func (r *response) FlushError() error {
	ev := r.ev
	if ev.isOpen() {
		if err := ev.catchUp(); err != nil {
			return err
		}
		return r.emit()
	}
	if err := ev.openGate(stateFlushing); err != nil {
		return err
	}
	err := r.emit()
	if cerr := ev.closeGate(); cerr != nil {
		return cerr
	}
	return err
}

func (r *response) emit() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	if !r.flushed {
		r.flushed = true
		r.WriteHeader(http.StatusOK)
		r.sniff()
		r.out.begin(r.code, r.Header())
		r.ev.streams()
		// Streams end when the runtime drains; other events may finish.
		r.undrain = context.AfterFunc(r.rt.drain, func() {
			r.ev.obj.mu.Lock()
			after := r.ev.endContextLocked(context.Canceled)
			r.ev.obj.mu.Unlock()
			after()
		})
	}
	err := r.out.write(r.buf)
	r.rt.answers.Add(-int64(len(r.buf)))
	r.buf = r.buf[:0]
	if err == nil {
		err = r.out.flush()
	}
	if err != nil {
		r.err = err
	}
	return err
}

func (r *response) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// finish delivers what is left once the event is over and durable.
func (r *response) finish() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.WriteHeader(http.StatusOK)
	if r.flushed {
		return r.out.write(r.buf)
	}
	r.sniff()
	return r.out.whole(r.code, r.header, r.buf)
}

// sniff sets the Content-Type as net/http's server would, so that every way to the object shows the same.
func (r *response) sniff() {
	if len(r.buf) == 0 {
		return
	}
	if _, set := r.Header()["Content-Type"]; !set {
		r.header.Set("Content-Type", http.DetectContentType(r.buf))
	}
}

func (r *response) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rt.answers.Add(-int64(len(r.buf)))
	r.buf = nil
	if r.undrain != nil {
		r.undrain()
	}
}

// gatedBody is a body whose reading opens the event's gate.
type gatedBody struct {
	ctx  context.Context
	body io.ReadCloser
}

func (b *gatedBody) Read(p []byte) (n int, err error) {
	oerr := outside(b.ctx, nil, stateCalling, func(context.Context, *event) error {
		n, err = b.body.Read(p)
		return nil
	})
	if oerr != nil {
		return n, oerr
	}
	return n, err
}

func (b *gatedBody) Close() error { return b.body.Close() }

// storeFailed notes a broken engine and returns what the event's caller gets.
func (rt *Runtime) storeFailed(op string, err error) error {
	if errors.Is(err, store.ErrBroken) {
		rt.breakDown(err)
	}
	return storeError(op, err)
}

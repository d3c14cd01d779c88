package durable

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"
)

// RoundTrip sends the request to the object and returns its answer, so that a
// Stub can be the Transport of an [http.Client]; host and scheme of the URL do not
// matter. The event runs on a goroutine of the runtime; at the end of the request's
// context RoundTrip returns that context's error, though the event may still run. Failures
// of the runtime are errors, not statuses. Used inside an event, reading a streamed body opens the gate.
func (s *Stub) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	if s.from == nil && ctx.Value(eventKey{}) == nil {
		return s.roundTrip(ctx, r, nil)
	}
	var resp *http.Response
	begun := false
	err := outside(ctx, s.from, stateCalling, func(inner context.Context, from *event) error {
		begun = true
		var err error
		resp, err = s.roundTrip(inner, r, from)
		return err
	})
	if err != nil {
		if !begun && r.Body != nil {
			r.Body.Close() // roundTrip has not done so
		}
		if resp != nil {
			resp.Body.Close()
		}
		return nil, err
	}
	if p, ok := resp.Body.(*pipedBody); ok {
		resp.Body = &gatedBody{ctx: ctx, body: p}
	}
	return resp, nil
}

func (s *Stub) roundTrip(ctx context.Context, r *http.Request, from *event) (*http.Response, error) {
	rt := s.n.rt
	if err := rt.admits(from != nil); err != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, err
	}
	rt.enter() // before the goroutine starts, so that Shutdown waits for it
	ctx, cancel := context.WithCancel(ctx)
	a := &clientAnswer{ctx: ctx, req: r, cancel: cancel, got: make(chan result, 1)}
	rt.goFunc(func() {
		defer rt.leave()
		err := error(resetError(ErrPanic, ": its goroutine exited")) // unless serve returns
		defer func() {
			if r.Body != nil {
				r.Body.Close()
			}
			a.end(err)
		}()
		err = s.serve(ctx, from, r, &response{out: a})
	})
	select {
	case res := <-a.got:
		if res.err != nil {
			cancel()
		}
		return res.resp, res.err
	case <-ctx.Done():
		cancel()
		return nil, ctx.Err()
	}
}

// clientAnswer makes an event's answer an http.Response.
type clientAnswer struct {
	ctx    context.Context
	req    *http.Request
	cancel func()
	got    chan result
	pw     *io.PipeWriter
}

type result struct {
	resp *http.Response
	err  error
}

func (a *clientAnswer) response(code int, h http.Header, length int64, body io.ReadCloser) *http.Response {
	if h == nil {
		h = make(http.Header)
	}
	return &http.Response{
		StatusCode: code, Status: strconv.Itoa(code) + " " + http.StatusText(code), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h.Clone(), ContentLength: length, Body: body, Request: a.req,
	}
}

func (a *clientAnswer) begin(code int, h http.Header) {
	pr, pw := io.Pipe()
	a.pw = pw
	// Whoever waits for the other end must not wait for one that has left.
	context.AfterFunc(a.ctx, func() { pr.CloseWithError(a.ctx.Err()) })
	a.got <- result{resp: a.response(code, h, -1, &pipedBody{PipeReader: pr, cancel: a.cancel})}
}

func (a *clientAnswer) write(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	_, err := a.pw.Write(p)
	return err
}

func (a *clientAnswer) flush() error { return nil }

func (a *clientAnswer) whole(code int, h http.Header, body []byte) error {
	length := int64(len(body))
	if a.req.Method == http.MethodHead {
		body = nil
	}
	a.got <- result{resp: a.response(code, h, length, &wholeBody{*bytes.NewReader(bytes.Clone(body)), a.cancel})}
	return nil
}

func (a *clientAnswer) end(err error) {
	switch {
	case a.pw != nil:
		a.pw.CloseWithError(err) // nil means io.EOF
	case err != nil:
		a.got <- result{err: err}
	}
}

// pipedBody is a streamed answer; closing it before its end cancels the event.
type pipedBody struct {
	*io.PipeReader
	cancel func()
}

func (b *pipedBody) Close() error {
	b.cancel()
	return b.PipeReader.Close()
}

type wholeBody struct {
	bytes.Reader
	cancel func()
}

func (b *wholeBody) Close() error {
	b.cancel()
	return nil
}

// gatedTransport is the outside world as an object may see it: each request, and
// each read of an answer's body, is an Await.
type gatedTransport struct{ st *State }

func (t *gatedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	if trace := TraceFromContext(ctx); trace.Parent != "" && r.Header.Get("Traceparent") == "" {
		r = r.Clone(ctx)
		r.Header.Set("Traceparent", trace.Parent)
		if trace.State != "" {
			r.Header.Set("Tracestate", trace.State)
		}
	}
	var resp *http.Response
	sent := false
	err := t.st.Await(ctx, func(context.Context) error {
		sent = true
		var err error
		resp, err = t.st.obj.rt().opts.Transport.RoundTrip(r)
		return err
	})
	if !sent && r.Body != nil {
		r.Body.Close()
	}
	if err != nil {
		if resp != nil {
			resp.Body.Close()
		}
		return nil, err
	}
	resp.Body = &gatedBody{ctx: ctx, body: resp.Body}
	return resp, nil
}

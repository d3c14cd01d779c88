package calmcp

import (
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync"
)

// InProcess returns a transport to a handler in this process whose answers arrive as they
// are written. All its requests are the given user's, whatever they hold.
func InProcess(h *Handler, user string) http.RoundTripper { return &inProcess{h, user} }

type inProcess struct {
	h    *Handler
	user string
}

// RoundTrip implements [http.RoundTripper].
func (t *inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(WithUser(r.Context(), t.user))
	in := r.Clone(ctx)
	in.RequestURI = in.URL.RequestURI()
	in.Host = in.URL.Host
	in.RemoteAddr = "in-process"
	if in.Body == nil {
		in.Body = http.NoBody
	}
	if trace := httptrace.ContextClientTrace(ctx); trace != nil && trace.WroteRequest != nil {
		in.Body = &tracedBody{ReadCloser: in.Body, wrote: trace.WroteRequest}
	}
	pr, pw := io.Pipe()
	context.AfterFunc(ctx, func() { pr.CloseWithError(ctx.Err()) })
	a := &pipedAnswer{header: make(http.Header), pw: pw, begun: make(chan struct{})}
	go func() { // the handler waits for it when it is closed
		defer in.Body.Close()
		defer a.end()
		t.h.MCP().ServeHTTP(a, in)
	}()
	select {
	case <-a.begun:
	case <-ctx.Done():
		cancel()
		return nil, ctx.Err()
	}
	return &http.Response{
		StatusCode: a.status, Status: strconv.Itoa(a.status) + " " + http.StatusText(a.status),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: a.sent, ContentLength: -1,
		Body: &pipedBody{pr, cancel}, Request: r,
	}, nil
}

// pipedAnswer is an answer that its reader gets as it is written.
type pipedAnswer struct {
	header, sent http.Header
	status       int
	pw           *io.PipeWriter
	once         sync.Once
	begun        chan struct{} // closed when status and sent are set
}

func (a *pipedAnswer) Header() http.Header { return a.header }

func (a *pipedAnswer) WriteHeader(status int) {
	if status < 200 {
		return
	}
	a.once.Do(func() {
		a.status, a.sent = status, a.header.Clone()
		close(a.begun)
	})
}

func (a *pipedAnswer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.pw.Write(p)
}

// Flush has nothing to do: nothing is held back.
func (a *pipedAnswer) Flush() { a.WriteHeader(http.StatusOK) }

func (a *pipedAnswer) end() {
	if p := recover(); p != nil { // as a server would: the connection breaks
		a.WriteHeader(http.StatusInternalServerError)
		a.pw.CloseWithError(io.ErrUnexpectedEOF)
		return
	}
	a.WriteHeader(http.StatusOK)
	a.pw.Close()
}

type pipedBody struct {
	*io.PipeReader
	cancel context.CancelFunc
}

// Close ends the request.
func (b *pipedBody) Close() error {
	b.cancel()
	return b.PipeReader.Close()
}

// tracedBody tells a client's trace when the handler has read the body.
type tracedBody struct {
	io.ReadCloser
	once  sync.Once
	wrote func(httptrace.WroteRequestInfo)
}

func (b *tracedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.once.Do(func() { b.wrote(httptrace.WroteRequestInfo{}) })
	}
	return n, err
}

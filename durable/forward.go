package durable

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"sync/atomic"
	"time"
)

// Passing events on to the node that holds their object.

// address enters in env where the event goes, and what goes with each.
func (p *passage) address(ctx context.Context, env *envelope) {
	s := p.stub
	env.Version, env.Namespace, env.Class = wireVersion, s.n.number, s.n.class.name
	env.ID = s.id.b[:]
	if s.named {
		env.Name, env.Named = []byte(s.name), true
	}
	env.Depth = p.depth - 1
	if d, ok := ctx.Deadline(); ok {
		env.Timeout = max(1, int64(time.Until(d)))
	}
	trace := TraceFromContext(ctx)
	env.Parent, env.State = trace.Parent, trace.State
}

// send makes the event's POST and returns the answer to it, whose body the caller closes.
func (p *passage) send(ctx context.Context, env *envelope, body io.Reader, length int64) (*http.Response, error) {
	p.address(ctx, env)
	head, err := toHeader(env)
	if err != nil {
		return nil, fmt.Errorf("durable: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+peerHost+peerPath, body)
	if err != nil {
		return nil, err
	}
	r.ContentLength = length
	r.Header.Set(eventHeader, head)
	if length < 0 {
		r.Header.Set("Expect", "100-continue") // a refusal must come before the body is read
	}
	resp, err := p.place.Peer.RoundTrip(r)
	if err != nil {
		return nil, p.failed(ctx, err)
	}
	if resp.Header.Get(errorHeader) != "" {
		resp.Body.Close()
		return nil, p.failure(resp.Header)
	}
	return resp, nil
}

// peerHost is the host of requests between nodes; the Peer knows where they go.
const peerHost = "perdure"

// failed is what the event's caller gets if the connection to the other node failed.
func (p *passage) failed(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, ErrNotDelivered):
		return err
	case ctx.Err() != nil:
		return &Error{Text: ctx.Err().Error(), is: []error{ctx.Err()}}
	}
	return &Error{Text: fmt.Sprintf("%v: node %s: %v; the event may have run", ErrUnreachable, p.place.Owner, err), is: []error{ErrUnreachable}}
}

// failure is the error that the other node sent.
func (p *passage) failure(h http.Header) error {
	var w wireError
	if err := fromHeader(h, errorHeader, &w); err != nil {
		return p.failed(context.Background(), err)
	}
	return w.unpack(p.stub.id, p.stub.n.class.opts.Errors)
}

// passRequest passes a request on and delivers its answer. body is all of it, or nil if req.Body streams.
func (p *passage) passRequest(req *http.Request, body []byte, sent func(), resp *response) error {
	var from io.Reader = bytes.NewReader(body)
	length := int64(len(body))
	stream := req.Body != http.NoBody && body == nil
	var once *unread
	if stream {
		once = &unread{body: req.Body}
		from, length = once, -1
	} else if length == 0 {
		from = http.NoBody
	}
	head := &requestHead{
		Method: req.Method, URL: partsOf(req.URL), Host: req.Host, RequestURI: req.RequestURI, Header: req.Header, Length: length,
	}
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	hops, back := p.hops()
	defer back()
	answer, err := p.send(ctx, &envelope{Request: head, Hops: hops}, from, length)
	if err != nil {
		if once.wasRead() && isUnsent(err) { // it can't be sent again
			err = &Error{Text: err.Error(), Retryable: true, is: []error{ErrUnreachable}}
		}
		return err
	}
	defer answer.Body.Close()
	sent()
	var h answerHead
	if err := fromHeader(answer.Header, answerHeader, &h); err != nil {
		return p.failed(ctx, err)
	}
	if h.Length >= 0 {
		return p.deliverWhole(ctx, &h, answer, resp)
	}
	// Streams end when this node drains, as those of its own objects do.
	defer context.AfterFunc(p.stub.n.rt.drain, cancel)()
	return p.deliverStream(ctx, &h, answer, resp)
}

func (p *passage) deliverWhole(ctx context.Context, h *answerHead, answer *http.Response, resp *response) error {
	rt := p.stub.n.rt
	lim := &rt.opts.Limits
	if h.Length > int64(lim.AnswerBytes) {
		return overLimit(ErrAnswerTooLarge, int(h.Length), lim.AnswerBytes)
	}
	defer rt.answers.Add(-h.Length)
	if rt.answers.Add(h.Length) > lim.BufferBytes/2 && h.Length > 0 {
		e := overloaded("too many bytes of bodies and answers are held")
		e.Retryable = false // it has run
		return e
	}
	body := make([]byte, h.Length)
	if _, err := io.ReadFull(answer.Body, body); err != nil {
		return p.broken(ctx, answer, err)
	}
	if _, err := answer.Body.Read(make([]byte, 1)); err != io.EOF {
		return p.broken(ctx, answer, fmt.Errorf("the answer does not end where it should: %v", err))
	}
	if answer.Trailer.Get(errorHeader) != "" {
		return p.failure(answer.Trailer)
	}
	return resp.out.whole(h.Code, headerOf(h.Header), body)
}

func (p *passage) deliverStream(ctx context.Context, h *answerHead, answer *http.Response, resp *response) error {
	resp.out.begin(h.Code, headerOf(h.Header))
	if err := resp.out.flush(); err != nil {
		return err
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := answer.Body.Read(buf)
		if n > 0 {
			werr := resp.out.write(buf[:n])
			if werr == nil {
				werr = resp.out.flush()
			}
			if werr != nil {
				return werr
			}
		}
		switch {
		case err == io.EOF && answer.Trailer.Get(errorHeader) == "":
			return nil
		case err != nil:
			return p.broken(ctx, answer, err)
		}
	}
}

// broken is what the caller gets of an answer that has begun and not ended well.
func (p *passage) broken(ctx context.Context, answer *http.Response, err error) error {
	if answer.Trailer.Get(errorHeader) != "" {
		return p.failure(answer.Trailer)
	}
	return p.failed(ctx, err)
}

func headerOf(h map[string][]string) http.Header {
	if h == nil {
		return make(http.Header)
	}
	return h
}

// unread is a streamed body that remembers whether any of it was asked for. Closing
// it closes nothing: a request that was refused is sent again with the same body.
type unread struct {
	body io.Reader
	read atomic.Bool
}

func (u *unread) Read(p []byte) (int, error) {
	u.read.Store(true)
	return u.body.Read(p)
}

func (u *unread) wasRead() bool { return u != nil && u.read.Load() }

// passCall passes a call on: arg is the encoded argument. It returns the encoded result.
func (p *passage) passCall(method string, arg []byte) ([]byte, error) {
	hops, back := p.hops()
	defer back()
	env := &envelope{Method: p.stub.n.class.wireName(method), Hops: hops}
	limit := p.stub.n.rt.opts.Limits.ArgumentBytes
	if peer, ok := p.place.Peer.(CallPeer); ok {
		result, err := p.exchange(peer, env, arg, limit)
		if err != ErrNotThisWay {
			return result, err
		}
	}
	answer, err := p.send(p.ctx, env, bytes.NewReader(arg), int64(len(arg)))
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	result, err := io.ReadAll(io.LimitReader(answer.Body, int64(limit)+1))
	if err != nil {
		return nil, p.broken(p.ctx, answer, err)
	}
	if len(result) > limit {
		return nil, fmt.Errorf("result: %w", overLimit(ErrArgumentTooLarge, len(result), limit))
	}
	return result, nil
}

// errorBytes is what an error may take that comes instead of a result, however small results must be: a
// refusal above all, which the caller's node has to understand.
const errorBytes = 1 << 20

// exchange is passCall by the shorter way.
func (p *passage) exchange(peer CallPeer, env *envelope, arg []byte, limit int) ([]byte, error) {
	p.address(p.ctx, env)
	msg, err := packCall(env, arg)
	if err != nil {
		return nil, fmt.Errorf("durable: %w", err)
	}
	answer, err := peer.Call(p.ctx, msg, 1+max(limit, errorBytes))
	switch {
	case err == ErrNotThisWay:
		return nil, err
	case err != nil:
		return nil, p.failed(p.ctx, err)
	case len(answer) > 1+limit && answer[0] == answerResult:
		return nil, fmt.Errorf("result: %w", overLimit(ErrArgumentTooLarge, len(answer)-1, limit))
	}
	result, failure, err := unpackAnswer(answer)
	switch {
	case err != nil:
		return nil, p.failed(context.Background(), err)
	case failure != nil:
		return nil, failure.unpack(p.stub.id, p.stub.n.class.opts.Errors)
	}
	return result, nil
}

// none stands for an argument or a result that a method does not have.
type none struct{}

// passTyped is passCall with argument and result as they are.
func passTyped[In, Out any](p *passage, method string, in In) (out Out, err error) {
	var arg []byte
	if reflect.TypeFor[In]() != reflect.TypeFor[none]() {
		if arg, err = marshal(in); err != nil {
			return out, fmt.Errorf("argument: %w", err)
		}
	}
	result, err := p.passCall(method, arg)
	if err != nil || reflect.TypeFor[Out]() == reflect.TypeFor[none]() {
		return out, err
	}
	var v Out
	if err := decoder.Unmarshal(result, &v); err != nil {
		return out, fmt.Errorf("result: %w: %w", ErrDecode, err)
	}
	return v, nil
}

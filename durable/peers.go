package durable

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"time"
)

// Peers returns the handler of events that other nodes pass on to this one. It
// trusts them in everything, so whoever serves it must have made sure that no one
// else can reach it. An event of an object that is not held here is refused.
func (rt *Runtime) Peers() http.Handler { return http.HandlerFunc(rt.servePeer) }

func (rt *Runtime) servePeer(w http.ResponseWriter, r *http.Request) {
	var env envelope
	err := fromHeader(r.Header, eventHeader, &env)
	switch {
	case r.URL.Path != peerPath || r.Method != http.MethodPost:
		http.NotFound(w, r)
		return
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header()["Date"] = nil // the answer's own headers are in one of ours
	out := &peerAnswer{w: w}
	var registered []error
	n, err := rt.addressee(&env)
	if err == nil {
		registered = n.class.opts.Errors
		err = rt.serveEvent(n, &env, r, out)
		if !out.begun && rt.ends(err) { // others may have the object soon
			err = &NotOwnerError{ID: ID{n.number, [32]byte(env.ID)}}
		}
	}
	if err == nil {
		return
	}
	head, _ := toHeader(packError(err, registered))
	if out.begun {
		w.Header().Set(http.TrailerPrefix+errorHeader, head)
		return
	}
	code, _ := errorStatus(err)
	w.Header().Set(errorHeader, head)
	w.WriteHeader(code)
}

// PeerCall runs a call that a [CallPeer] of another node passes on to this one, and returns
// the answer. All that is said of [Runtime.Peers] holds for it. It owns msg.
func (rt *Runtime) PeerCall(ctx context.Context, msg []byte) (answer []byte) {
	var env envelope
	arg, err := unpackCall(msg, &env)
	if err != nil {
		return packFailure(packError(err, nil))
	}
	n, err := rt.addressee(&env)
	if err != nil {
		return packFailure(packError(err, nil))
	}
	ctx, cancel := env.context(ctx)
	defer cancel()
	result, err := rt.peerCall(ctx, env.stub(n), &env, arg)
	if rt.ends(err) { // others may have the object soon
		err = &NotOwnerError{ID: ID{n.number, [32]byte(env.ID)}}
	}
	if err != nil {
		return packFailure(packError(err, n.class.opts.Errors))
	}
	answer = make([]byte, 1, 1+len(result))
	answer[0] = answerResult
	return append(answer, result...)
}

func (rt *Runtime) peerCall(ctx context.Context, s *Stub, env *envelope, arg []byte) ([]byte, error) {
	size, lim := int64(len(arg)), &rt.opts.Limits
	if len(arg) > lim.ArgumentBytes {
		return nil, fmt.Errorf("argument: %w", overLimit(ErrArgumentTooLarge, len(arg), lim.ArgumentBytes))
	}
	defer rt.bodies.Add(-size)
	if rt.bodies.Add(size) > lim.BufferBytes/2 && size > 0 {
		return nil, overloaded("too many bytes of bodies and answers are held")
	}
	return s.callHere(ctx, env, arg)
}

// addressee returns the namespace that an event is for.
func (rt *Runtime) addressee(env *envelope) (*namespace, error) {
	n := rt.namespaces[env.Class]
	switch {
	case env.Version > wireVersion:
		return nil, env.tooNew()
	case n == nil || n.number != env.Namespace || len(env.ID) != 32:
		return nil, &Error{Text: fmt.Sprintf("durable: this node does not have class %s as namespace %d", env.Class, env.Namespace), Retryable: true, is: []error{ErrNoHandler}}
	}
	return n, nil
}

func (env *envelope) tooNew() error {
	return &Error{Text: fmt.Sprintf("durable: this node speaks version %d of the protocol between nodes, not %d", wireVersion, env.Version), Retryable: true}
}

func (env *envelope) stub(n *namespace) *Stub {
	return &Stub{n: n, id: ID{ns: n.number, b: [32]byte(env.ID)}, name: string(env.Name), named: env.Named}
}

// context returns the event's context: deadline, trace and chain are the caller's.
func (env *envelope) context(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx = context.WithValue(ctx, originKey{}, &origin{env.Hops, env.Depth})
	cancel := nothing
	if env.Timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(env.Timeout))
	}
	if env.Parent != "" {
		ctx = ContextWithTrace(ctx, Trace{env.Parent, env.State})
	}
	return ctx, cancel
}

// ends reports whether err says that an event did not start since the runtime ends.
func (rt *Runtime) ends(err error) bool {
	if err == ErrClosed {
		return true
	}
	e, ok := err.(*Error)
	return ok && errors.Is(e, ErrShutdown) && e.Retryable && !e.Remote
}

func (rt *Runtime) serveEvent(n *namespace, env *envelope, r *http.Request, out *peerAnswer) error {
	stub := env.stub(n)
	ctx, cancel := env.context(r.Context())
	defer cancel()
	if env.Request == nil {
		return stub.callByRequest(ctx, env, r, out)
	}
	head := env.Request
	req := &http.Request{
		Method: head.Method, URL: head.URL.url(), Host: head.Host, RequestURI: head.RequestURI, Header: headerOf(head.Header),
		Body: r.Body, ContentLength: head.Length,
	}
	if head.Length == 0 {
		req.Body = http.NoBody
	}
	resp := &response{out: out}
	if req.Body != http.NoBody && !n.class.opts.StreamBody && env.Depth == 0 {
		resp.arriving = newArrival(rt, out.w)
	}
	return stub.serve(ctx, nil, req, resp)
}

// peerAnswer sends an answer to the node that passed the request on.
type peerAnswer struct {
	w     http.ResponseWriter
	begun bool
}

func (a *peerAnswer) start(code int, h http.Header, length int64) {
	head, err := toHeader(answerHead{code, h, length})
	if err != nil { // strings and numbers: there is none
		panic(err)
	}
	a.begun = true
	a.w.Header().Set(answerHeader, head)
	a.w.WriteHeader(http.StatusOK)
}

func (a *peerAnswer) begin(code int, h http.Header) { a.start(code, h, -1) }

func (a *peerAnswer) write(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	_, err := a.w.Write(p)
	return err
}

func (a *peerAnswer) flush() error { return http.NewResponseController(a.w).Flush() }

func (a *peerAnswer) whole(code int, h http.Header, body []byte) error {
	a.start(code, h, int64(len(body)))
	return a.write(body)
}

// callByRequest runs a call that came as a request.
func (s *Stub) callByRequest(ctx context.Context, env *envelope, r *http.Request, out *peerAnswer) error {
	rt := s.n.rt
	limit := rt.opts.Limits.ArgumentBytes
	var arriving *arrival
	if env.Depth == 0 { // what running chains wait for is let in while the runtime drains
		arriving = newArrival(rt, out.w)
	}
	arg, err := rt.readBody(r.Body, r.ContentLength, limit, arriving)
	arriving.end(err)
	var over *LimitError
	if errors.As(err, &over) {
		return fmt.Errorf("argument: %w", overLimit(ErrArgumentTooLarge, int(over.Size), limit))
	}
	if err != nil {
		return err
	}
	defer rt.bodies.Add(-int64(len(arg)))
	result, err := s.callHere(ctx, env, arg)
	if err != nil {
		return err
	}
	out.begun = true
	_, err = out.w.Write(result)
	return err
}

// callHere runs a method that another node names and returns the encoded result.
func (s *Stub) callHere(ctx context.Context, env *envelope, arg []byte) ([]byte, error) {
	m, ok := s.n.class.methods[env.Method]
	if !ok {
		return nil, fmt.Errorf("%w: class %s of this node has no method %q", ErrInvalidMethod, s.n.class.name, env.Method)
	}
	limit := s.n.rt.opts.Limits.ArgumentBytes
	in := []reflect.Value{{}, {}}
	if m.in != nil {
		v := reflect.New(m.in)
		if err := decoder.Unmarshal(arg, v.Interface()); err != nil {
			return nil, fmt.Errorf("argument: %w: %w", ErrDecode, err)
		}
		in = append(in, v.Elem())
	}
	var result []byte
	err := s.enter(ctx, kindCall, len(arg), nil, func(ev *event, _ *object) error {
		in[0], in[1] = reflect.ValueOf(ev.inst.value), reflect.ValueOf(context.Context(ev))
		res := m.fn.Call(in)
		if err, _ := res[len(res)-1].Interface().(error); err != nil || len(res) == 1 {
			return err
		}
		var err error
		if result, err = marshal(res[0].Interface()); err != nil {
			return fmt.Errorf("result: %w", err)
		}
		if !isPlain(m.out) {
			if err := unmarshal(result, reflect.New(m.out).Interface(), res[0].Interface()); err != nil {
				return fmt.Errorf("result: %w", err)
			}
		}
		if len(result) > limit {
			return fmt.Errorf("result: %w", overLimit(ErrArgumentTooLarge, len(result), limit))
		}
		return nil
	}, nil)
	if err != nil {
		return nil, err
	}
	return result, nil
}

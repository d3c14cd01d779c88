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
	n := rt.namespaces[env.Class]
	switch {
	case env.Version > wireVersion:
		err = &Error{Text: fmt.Sprintf("durable: this node speaks version %d of the protocol between nodes, not %d", wireVersion, env.Version), Retryable: true}
	case n == nil || n.number != env.Namespace || len(env.ID) != 32:
		err = &Error{Text: fmt.Sprintf("durable: this node does not have class %s as namespace %d", env.Class, env.Namespace), Retryable: true, is: []error{ErrNoHandler}}
	default:
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

// ends reports whether err says that an event did not start since the runtime ends.
func (rt *Runtime) ends(err error) bool {
	if err == ErrClosed {
		return true
	}
	e, ok := err.(*Error)
	return ok && errors.Is(e, ErrShutdown) && e.Retryable && !e.Remote
}

func (rt *Runtime) serveEvent(n *namespace, env *envelope, r *http.Request, out *peerAnswer) error {
	stub := &Stub{n: n, id: ID{ns: n.number, b: [32]byte(env.ID)}, name: string(env.Name), named: env.Named}
	ctx := context.WithValue(r.Context(), originKey{}, &origin{env.Hops, env.Depth})
	if env.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(env.Timeout))
		defer cancel()
	}
	if env.Parent != "" {
		ctx = ContextWithTrace(ctx, Trace{env.Parent, env.State})
	}
	if env.Request == nil {
		return stub.callHere(ctx, env, r, out)
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

// callHere runs a method that another node names.
func (s *Stub) callHere(ctx context.Context, env *envelope, r *http.Request, out *peerAnswer) error {
	rt := s.n.rt
	limit := rt.opts.Limits.ArgumentBytes
	m, ok := s.n.class.methods[env.Method]
	if !ok {
		return fmt.Errorf("%w: class %s of this node has no method %q", ErrInvalidMethod, s.n.class.name, env.Method)
	}
	var arriving *arrival
	if env.Depth == 0 { // what running chains wait for is let in while the runtime drains
		arriving = newArrival(rt, out.w)
	}
	data, err := rt.readBody(r.Body, r.ContentLength, limit, arriving)
	arriving.end(err)
	var over *LimitError
	if errors.As(err, &over) {
		return fmt.Errorf("argument: %w", overLimit(ErrArgumentTooLarge, int(over.Size), limit))
	}
	if err != nil {
		return err
	}
	defer rt.bodies.Add(-int64(len(data)))
	in := []reflect.Value{{}, {}}
	if m.in != nil {
		v := reflect.New(m.in)
		if err := decoder.Unmarshal(data, v.Interface()); err != nil {
			return fmt.Errorf("argument: %w: %w", ErrDecode, err)
		}
		in = append(in, v.Elem())
	}
	var result []byte
	err = s.enter(ctx, kindCall, len(data), nil, func(ev *event, _ *object) error {
		in[0], in[1] = reflect.ValueOf(ev.inst.value), reflect.ValueOf(context.Context(ev))
		res := m.fn.Call(in)
		if err, _ := res[len(res)-1].Interface().(error); err != nil || len(res) == 1 {
			return err
		}
		var err error
		if result, err = marshal(res[0].Interface()); err != nil {
			return fmt.Errorf("result: %w", err)
		}
		if err := unmarshal(result, reflect.New(m.out).Interface(), res[0].Interface()); err != nil {
			return fmt.Errorf("result: %w", err)
		}
		if len(result) > limit {
			return fmt.Errorf("result: %w", overLimit(ErrArgumentTooLarge, len(result), limit))
		}
		return nil
	}, nil)
	if err != nil {
		return err
	}
	out.begun = true
	_, err = out.w.Write(result)
	return err
}

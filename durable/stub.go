package durable

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
)

// A Namespace is the objects of one class. It may be used by any goroutine. The
// methods of a nil one, which is what an unknown name gets, panic.
type Namespace struct {
	n    *namespace
	from *object // the object that it was given to, nil outside
}

func (n *Namespace) known() *namespace {
	if n == nil {
		panic("durable: the Namespace is nil: the runtime has no class and no binding of the name that it was asked for by")
	}
	return n.n
}

// Named returns the stub of the object with that name. Nothing is made or
// touched before it is used. Names are arbitrary; the empty one is a name too.
func (n *Namespace) Named(name string) *Stub {
	ns := n.known()
	return &Stub{n: ns, from: n.from, id: ns.ids.fromName(name), name: name, named: true}
}

// IDFromName returns the id of the object with that name.
func (n *Namespace) IDFromName(name string) ID { return n.known().ids.fromName(name) }

// NewID returns the id of a new object without a name.
func (n *Namespace) NewID() ID { return n.known().ids.random() }

// ParseID reads what [ID.String] returns, in either case. It returns
// [ErrInvalidID] for other text and for ids of other namespaces.
func (n *Namespace) ParseID(text string) (ID, error) { return n.known().ids.parse(text) }

// Get returns the stub of the object with that id. It returns [ErrInvalidID] for an id of another namespace.
func (n *Namespace) Get(id ID) (*Stub, error) {
	ns := n.known()
	if id.ns != ns.number {
		return nil, fmt.Errorf("%w: it belongs to another namespace than %s", ErrInvalidID, ns.class.name)
	}
	return &Stub{n: ns, from: n.from, id: id}, nil
}

// A Stub is the way to one object: an [http.Handler], an [http.RoundTripper], and
// what [Call] takes. It holds no connection, is never broken, and may be used by
// any number of goroutines. Stubs from [State.Namespace] work only with contexts of
// that object's events; there a call is a commit point and opens the gate.
type Stub struct {
	n     *namespace
	from  *object
	id    ID
	name  string
	named bool
	obj   atomic.Pointer[object] // where it was last
}

// ID returns the object's id.
func (s *Stub) ID() ID { return s.id }

// Name returns the name that the stub was made with, if it was.
func (s *Stub) Name() (name string, known bool) { return s.name, s.named }

// do runs fn as an event of the object, on this goroutine, and returns when its
// answer may leave. If ctx is that of an event, that event's gate is open meanwhile.
// If the object lives on another node, there passes the event on to it instead.
func (s *Stub) do(ctx context.Context, kind eventKind, bytes int, here func(ev *event, o *object) error, there func(*passage) error) error {
	if s.from == nil && ctx.Value(eventKey{}) == nil {
		return s.enter(ctx, kind, bytes, nil, here, there)
	}
	return outside(ctx, s.from, stateCalling, func(ctx context.Context, from *event) error {
		return s.enter(ctx, kind, bytes, from, here, there)
	})
}

func (s *Stub) enter(ctx context.Context, kind eventKind, bytes int, from *event, here func(ev *event, o *object) error, there func(*passage) error) error {
	rt := s.n.rt
	var via *origin // from another node
	if rt.opts.Placement != nil && from == nil {
		via = originOf(ctx)
	}
	inChain := from != nil || via.calls()
	if kind != kindInternal {
		if err := rt.admits(inChain); err != nil { // without being counted, or refusals could keep the runtime from draining
			return err
		}
	}
	rt.enter()
	defer rt.leave()
	if kind != kindInternal {
		if err := rt.admits(inChain); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return notStarted(err)
	}
	ev := &event{caller: ctx, parent: from, depth: 1, bytes: bytes, kind: kind}
	if inChain {
		if ev.depth = depthOf(from, via) + 1; ev.depth > rt.opts.Limits.CallDepth {
			return overLimit(ErrCallTooDeep, ev.depth, rt.opts.Limits.CallDepth)
		}
	}
	if rt.opts.Placement != nil {
		return s.route(ev, via, here, there)
	}
	for {
		o := s.object()
		if err := checkChain(o, from, nil); err != nil {
			return err
		}
		ev.obj = o
		err := o.run(ev, func() error { return here(ev, o) })
		if !errors.Is(err, errGone) {
			return err
		}
		s.obj.CompareAndSwap(o, nil) // evicted between the look-up and its use
	}
}

var errGone = errors.New("durable: object is gone from the table")

// object returns the runtime's side of the object.
func (s *Stub) object() *object {
	if o := s.obj.Load(); o != nil {
		return o
	}
	o := s.n.rt.object(s.n, s.id.b, s.name, s.named, nil)
	s.obj.Store(o)
	return o
}

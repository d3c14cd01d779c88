package durable

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// The way of an event to its object's node. Whoever has the event (the node that its
// caller is on) finds the way: a node that gets it from another one runs it or
// refuses it, and passes nothing on. So an event travels once, and one that
// was refused is still where it came from, to be sent to the right node.

// passage is one attempt at passing an event on.
type passage struct {
	stub  *Stub
	ctx   context.Context
	place *Place
	from  *event // the event of this node that waits for it, if one does
	depth int
}

// passOn is how often an event is sent before its caller is told. More than two
// attempts mean that the shard moves again and again, or that its node is down.
const passOn = 64

// backOff is how long the k-th attempt after the second waits; the first goes at once.
func backOff(k int) time.Duration { return min(5*time.Millisecond<<min(k, 10), 500*time.Millisecond) }

// route runs ev here, if the object lives here, or passes it on.
func (s *Stub) route(ev *event, via *origin, here func(ev *event, o *object) error, there func(*passage) error) error {
	rt := s.n.rt
	from := ev.parent
	arrived := via != nil
	began := rt.uptime()
	var last error
	for k := 0; k < passOn; k++ {
		if k > 1 {
			if err := s.pause(ev.caller, backOff(k-2)); err != nil {
				return err
			}
			if rt.uptime()-began > rt.opts.Limits.QueueAge {
				break
			}
		}
		var place *Place
		o := s.waitedFor(from, via)
		ev.returns = o != nil
		if o == nil {
			var err error
			if place, err = rt.locate(ev, s); err != nil {
				if arrived && ev.caller.Err() == nil && !errors.Is(err, ErrOverloaded) {
					err = &NotOwnerError{ID: s.id} // and whoever passed it on looks elsewhere
				}
				return err
			}
			if place.Lease != nil {
				if o = rt.objectAt(s, place); o == nil {
					continue // that tenure is over
				}
			}
		}
		if o != nil {
			if err := checkChain(o, from, via); err != nil {
				return err
			}
			ev.obj, ev.inst, ev.ready = o, nil, nil
			ev.state, ev.handed, ev.sent = stateQueued, false, false
			err := o.run(ev, func() error { return here(ev, o) })
			if !errors.Is(err, errGone) {
				return err
			}
			continue
		}
		refused := &NotOwnerError{ID: s.id, Owner: place.Owner, Epoch: place.Epoch}
		if arrived || there == nil {
			return refused
		}
		err := there(&passage{s, ev.caller, place, from, ev.depth})
		var no *NotOwnerError
		switch missed := errors.As(err, &no) || errors.Is(err, ErrNotDelivered) && isUnsent(err); {
		case !missed: // it ran, may have run, or cannot be sent
			return err
		case ev.caller.Err() != nil:
			return notStarted(ev.caller.Err())
		}
		rt.opts.Placement.Missed(s.key(), place, err)
		last = err
	}
	text := "durable: the object's node could not be reached in time; the event did not run"
	if last != nil {
		text += ": " + last.Error()
	}
	return &Error{Text: text, Retryable: true, is: []error{ErrUnreachable}}
}

// isUnsent reports whether err comes from passing the event on, not from the event.
func isUnsent(err error) bool {
	var e *Error
	return !errors.As(err, &e)
}

// waitedFor returns the object if an event of the chain is inside it already: what
// that waits for must find its way to it even while the object moves.
func (s *Stub) waitedFor(from *event, via *origin) *object {
	for ev := range chain(s.n.rt, from, via) {
		if o := ev.obj; o.ns == s.n && o.id == s.id.b {
			o.mu.Lock()
			gone := o.gone
			o.mu.Unlock()
			if !gone {
				return o
			}
		}
	}
	return nil
}

// locate asks where the event's object lives. Those of the runtime's own do not wait:
// they belong to the node that holds the object.
func (rt *Runtime) locate(ev *event, s *Stub) (*Place, error) {
	p := rt.opts.Placement
	place, err := p.Locate(rt.ended, s.key()) // most are known
	if err == nil || ev.kind == kindAlarm || ev.kind == kindInternal {
		if err != nil {
			err = &Error{Text: err.Error(), Retryable: true, is: []error{ErrNotOwner}}
		}
		return place, err
	}
	if n := rt.astray.Add(1); n > maxAstray {
		rt.astray.Add(-1)
		return nil, overloaded("too many events wait for their objects to be found")
	}
	defer rt.astray.Add(-1)
	place, err = p.Locate(ev.caller, s.key())
	switch {
	case err == nil:
		return place, nil
	case ev.caller.Err() != nil:
		return nil, notStarted(ev.caller.Err())
	case rt.broken() != nil:
		return nil, rt.broken()
	}
	return nil, &Error{Text: err.Error(), Retryable: true, is: []error{ErrUnreachable}}
}

// maxAstray is how many events may wait for a place at one time.
const maxAstray = 16384

func (s *Stub) pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return notStarted(ctx.Err())
	case <-s.n.rt.life.Done():
		return ErrClosed
	}
}

// origin is what an event that came from another node knows of the chain that it ends.
type origin struct {
	links []hop // innermost first
	depth int
}

// hop is a part of a chain that lies on one node.
type hop struct {
	Runtime uint64 // which of all runtimes it is
	Event   uint64 // its innermost event there
	Label   string // its objects, for people
}

type originKey struct{}

func originOf(ctx context.Context) *origin {
	a, _ := ctx.Value(originKey{}).(*origin)
	return a
}

// calls reports whether an event of another node waits for this one.
func (a *origin) calls() bool { return a != nil && a.depth > 0 }

func (a *origin) hops() []hop {
	if a == nil {
		return nil
	}
	return a.links
}

func depthOf(from *event, via *origin) int {
	if from != nil {
		return from.depth
	}
	return via.depth
}

// abroad are the events that wait for an answer from another node, so that a chain
// that comes back from there is known.
type abroad struct {
	runtime uint64 // a random number
	last    atomic.Uint64
	events  sync.Map // uint64 -> *event
}

// leave enters ev and returns its number.
func (a *abroad) leave(ev *event) uint64 {
	n := a.last.Add(1)
	a.events.Store(n, ev)
	return n
}

func (a *abroad) back(n uint64) { a.events.Delete(n) }

func (a *abroad) find(h hop) *event {
	if h.Runtime != a.runtime {
		return nil
	}
	ev, _ := a.events.Load(h.Event)
	e, _ := ev.(*event)
	return e
}

// hops returns the chain as the next node gets to know it.
func (p *passage) hops() (links []hop, back func()) {
	if p.from == nil {
		return nil, nothing
	}
	a := &p.stub.n.rt.abroad
	n := a.leave(p.from)
	label, top := p.from.obj.String(), p.from
	for top.parent != nil {
		top = top.parent
		label = top.obj.String() + " -> " + label
	}
	links = append([]hop{{a.runtime, n, label}}, originOf(top.caller).hops()...)
	return links, func() { a.back(n) }
}

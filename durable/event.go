package durable

import (
	"context"
	"slices"
	"sync"
	"time"
)

// An event is one piece of an object's work: a request, a call, an alarm, a
// background function, or the constructor. It is also the context that the
// object's code gets: it carries the caller's deadline, cancellation and trace,
// none of its values, and ends when the event does or its instance is reset
// (promise 7).
type event struct {
	obj    *object
	caller context.Context
	parent *event // the event that waits for this one, if it is one
	depth  int    // events in the chain, this one included
	bytes  int    // of body or argument, held against Limits.QueueBytes
	kind   eventKind

	// What follows is guarded by obj.mu.

	state  eventState
	opened bool   // it has passed an opening
	wrote  bool   // a batch of its own went to the engine
	safe   bool   // a request that by its method changes nothing; its goroutine's
	stream bool   // it has flushed an answer
	cut    bool   // its context was ended since its object moves to another node
	inst   *State // the instance it runs on; set when it starts. A bound event has it before
	shut   int    // depth of sections that keep the gate shut
	tx     *Txn   // innermost transaction
	gen    uint32 // counts Awaits, so that a context kept from an earlier one is known

	ready        chan struct{} // receives once when the event is handed the token
	handed       bool
	sent         bool   // sent away before it started: the object is not here any more
	returns      bool   // its chain has an event in the object already, which waits for it
	next, prev   *event // in a queue of obj
	rnext, rprev *event // in inst.running

	done    chan struct{} // made by the first Done
	after   []*afterFunc
	watched bool
	unhook  func() bool // stops watching caller
	err     error       // why the context ended
}

type eventKind uint8

const (
	kindRequest eventKind = iota
	kindCall
	kindAlarm
	kindBackground
	kindConstructor
	kindInternal // the runtime's own: bookkeeping of alarms
)

type eventState uint8

const (
	stateQueued   eventState = iota
	stateRunning             // holds the token
	stateBusy                // holds the token, at a commit point that does not open the gate
	stateCalling             // gate open: a stub call
	stateAwaiting            // gate open: inside Await
	stateFlushing            // gate open: inside Flush
	stateDone
)

type eventKey struct{}

// awaitCtx is the context inside an Await: it ends with its event and is known
// to be stale once the Await is over.
type awaitCtx struct {
	*event
	gen uint32
}

func (c *awaitCtx) Value(key any) any {
	if key == (eventKey{}) {
		return c
	}
	return c.event.Value(key)
}

// eventOf returns the event that ctx belongs to, and the Await within it, if any.
func eventOf(ctx context.Context) (ev *event, aw *awaitCtx) {
	switch v := ctx.Value(eventKey{}).(type) {
	case *event:
		return v, nil
	case *awaitCtx:
		return v.event, v
	}
	return nil, nil
}

func (ev *event) Deadline() (time.Time, bool) { return ev.caller.Deadline() }

func (ev *event) Value(key any) any {
	switch key.(type) {
	case eventKey:
		return ev
	case traceKey:
		return ev.caller.Value(key)
	}
	return nil
}

func (ev *event) Err() error {
	ev.obj.mu.Lock()
	err := ev.err
	if err == nil && ev.kind == kindConstructor && ev.inst.dead {
		err = context.Canceled
	}
	ev.obj.mu.Unlock()
	if err == nil {
		// Not under the lock: the caller may be an event of the same object.
		err = ev.caller.Err()
	}
	return err
}

// Done makes its channel when it is first asked for one: most events never are.
func (ev *event) Done() <-chan struct{} {
	o := ev.obj
	o.mu.Lock()
	done, watched := ev.doneLocked(), ev.watched
	o.mu.Unlock()
	if !watched {
		ev.watch()
	}
	return done
}

func (ev *event) doneLocked() <-chan struct{} {
	if ev.done == nil {
		ev.done = make(chan struct{})
		if ev.err != nil {
			close(ev.done)
		}
	}
	return ev.done
}

// AfterFunc spares contexts derived from an event a goroutine each (package context looks for it).
func (ev *event) AfterFunc(f func()) (stop func() bool) {
	o := ev.obj
	a := &afterFunc{f: f}
	o.mu.Lock()
	if ev.err != nil {
		o.mu.Unlock()
		go f()
		return func() bool { return false }
	}
	ev.after = append(ev.after, a)
	o.mu.Unlock()
	ev.watch()
	return func() bool {
		stopped := false
		a.once.Do(func() { stopped = true })
		o.mu.Lock()
		ev.after = slices.DeleteFunc(ev.after, func(b *afterFunc) bool { return a == b })
		o.mu.Unlock()
		return stopped
	}
}

type afterFunc struct {
	once sync.Once
	f    func()
}

// watch makes the context end with what it depends on: the caller's context, or,
// for a constructor's, the instance. It takes no lock while it calls the caller's
// context, which may be an event of the same object.
func (ev *event) watch() {
	o := ev.obj
	o.mu.Lock()
	if ev.watched || ev.err != nil {
		o.mu.Unlock()
		return
	}
	ev.watched = true
	if ev.kind == kindConstructor {
		var after func()
		if ev.inst.dead {
			after = ev.endContextLocked(context.Canceled)
		} else {
			ev.inst.watcher = ev
			after = nothing
		}
		o.mu.Unlock()
		after()
		return
	}
	o.mu.Unlock()
	if ev.caller.Done() == nil {
		return
	}
	unhook := context.AfterFunc(ev.caller, func() {
		why := ev.caller.Err()
		o.mu.Lock()
		after := ev.endContextLocked(why)
		o.mu.Unlock()
		after()
	})
	o.mu.Lock()
	ended := ev.err != nil
	if !ended {
		ev.unhook = unhook
	}
	o.mu.Unlock()
	if ended {
		unhook()
	}
}

// endContextLocked ends the event's context for the given reason. The returned
// function must be called once obj.mu is unlocked: it lets go of the caller and
// runs what was registered with AfterFunc.
func (ev *event) endContextLocked(why error) func() {
	if ev.err != nil {
		return nothing
	}
	ev.err = why
	if ev.done != nil {
		close(ev.done)
	}
	after, unhook := ev.after, ev.unhook
	if after == nil && unhook == nil {
		return nothing
	}
	ev.after, ev.unhook = nil, nil
	return func() {
		if unhook != nil {
			unhook()
		}
		for _, a := range after {
			a.once.Do(a.f)
		}
	}
}

func nothing() {}

// eventList is a queue of events, linked through them.
type eventList struct{ head, tail *event }

func (l *eventList) push(ev *event) {
	ev.prev, ev.next = l.tail, nil
	if l.tail == nil {
		l.head = ev
	} else {
		l.tail.next = ev
	}
	l.tail = ev
}

func (l *eventList) remove(ev *event) {
	if ev.prev == nil {
		l.head = ev.next
	} else {
		ev.prev.next = ev.next
	}
	if ev.next == nil {
		l.tail = ev.prev
	} else {
		ev.next.prev = ev.prev
	}
	ev.prev, ev.next = nil, nil
}

func (l *eventList) pop() *event {
	ev := l.head
	if ev != nil {
		l.remove(ev)
	}
	return ev
}

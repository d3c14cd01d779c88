package durable

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// The input gate of an object is its token: while an event holds it, no other
// runs. It opens only here (promise 2), and each opening is a commit point
// (promise 4) and waits until everything before it is durable (promise 5).

// usableLocked reports why the event may not use storage or open the gate now.
func (ev *event) usableLocked() error {
	switch {
	case ev.state == stateDone || ev.state == stateQueued:
		return ErrNoEvent
	case ev.inst != nil && ev.inst.dead:
		return ev.inst.cause
	case ev.state != stateRunning:
		return ErrGateOpen
	}
	for tx := ev.tx; tx != nil; tx = tx.outer {
		if tx.rolledBack {
			return ErrRolledBack
		}
	}
	return ev.obj.rt().broken()
}

// openGate ends the turn, lets other events in unless the gate is kept shut, and
// returns when all that was committed before is durable. If it returns nil,
// closeGate must follow.
func (ev *event) openGate(to eventState) error {
	o := ev.obj
	o.mu.Lock()
	if err := ev.usableLocked(); err != nil {
		o.mu.Unlock()
		return err
	}
	if ev.tx != nil {
		o.mu.Unlock()
		return ErrInTransaction
	}
	ev.state = stateBusy
	err := o.commitPointLocked(ev)
	if err == nil {
		err = ev.overLocked() // a reset, or the handler's return, while the engine took the batch
	}
	if err != nil {
		o.mu.Unlock()
		return err
	}
	ev.state = to
	ev.opened = true
	if to == stateAwaiting {
		ev.gen++
	}
	if ev.shut == 0 && to != stateBusy {
		o.handOnLocked(ev)
	}
	tail := o.tailLocked()
	o.mu.Unlock()
	if err := tail.wait(); err != nil { // the object was reset
		return err
	}
	return ev.mayLeave()
}

// closeGate takes the token back. Events that return go before those that have
// not started, and are never refused.
func (ev *event) closeGate() error {
	o := ev.obj
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := ev.overLocked(); err != nil {
		return err
	}
	if ev.shut == 0 && o.holder != ev {
		if o.holder == nil && !o.applying {
			o.holder = ev
		} else {
			ev.ready = make(chan struct{}, 1)
			ev.handed = false
			o.resume.push(ev)
			o.mu.Unlock()
			<-ev.ready
			o.mu.Lock()
			if err := ev.overLocked(); err != nil {
				o.handOnLocked(ev)
				return err
			}
		}
	}
	ev.state = stateRunning
	return nil
}

// overLocked reports why an event that comes back from an opening may not go on:
// its instance is gone, or it has ended without waiting for this goroutine of its own.
func (ev *event) overLocked() error {
	switch {
	case ev.inst.dead:
		return ev.inst.cause
	case ev.state == stateDone:
		return ErrNoEvent
	}
	return nil
}

// outside runs fn at an opening of the event that ctx belongs to, or, if ctx is
// that of an Await that is under way, just runs it. It returns fn's error. The
// gate closes after a panic too: the handler may recover from it.
func outside(ctx context.Context, o *object, to eventState, fn func(ctx context.Context, ev *event) error) (err error) {
	ev, aw := eventOf(ctx)
	if ev == nil || (o != nil && ev.obj != o) {
		return ErrNoEvent
	}
	if err := ev.inAwait(aw); err == nil {
		if err := ev.catchUp(); err != nil {
			return err
		}
		return fn(ctx, ev)
	} else if aw != nil {
		return err
	}
	if err := ev.openGate(to); err != nil {
		return err
	}
	inner := ctx
	if to == stateAwaiting {
		ev.obj.mu.Lock()
		inner = &awaitCtx{ev, ev.gen}
		ev.obj.mu.Unlock()
	}
	defer func() {
		if cerr := ev.closeGate(); cerr != nil {
			err = final(cerr) // fn has run
		}
	}()
	return fn(inner, ev)
}

// catchUp returns when all is durable that code at an opening of ev may have
// learned of: other events of the object have run since the opening began, and may
// have told it of what they wrote before that was committed. The turn of one that
// runs now is waited for too (promise 5).
func (ev *event) catchUp() error {
	o := ev.obj
	o.mu.Lock()
	if ev.shut == 0 && (o.applying || (o.holder != nil && o.turn != nil && !o.turn.empty())) {
		// Whoever has the token gives it up at a commit point.
		turn := &event{obj: o, ready: make(chan struct{}, 1)}
		o.resume.push(turn)
		o.mu.Unlock()
		<-turn.ready
		o.mu.Lock()
		o.handOnLocked(turn)
	}
	if err := ev.overLocked(); err != nil {
		o.mu.Unlock()
		return err
	}
	tail := o.tailLocked()
	o.mu.Unlock()
	if err := tail.wait(); err != nil {
		return err
	}
	return ev.mayLeave()
}

// isOpen reports whether the event is at an opening at which an answer may be flushed.
func (ev *event) isOpen() bool {
	ev.obj.mu.Lock()
	defer ev.obj.mu.Unlock()
	return !ev.inst.dead && (ev.state == stateAwaiting || ev.state == stateCalling)
}

// inAwait returns nil if the event is inside an Await, and inside that of aw if that is given.
func (ev *event) inAwait(aw *awaitCtx) error {
	ev.obj.mu.Lock()
	defer ev.obj.mu.Unlock()
	switch {
	case ev.state == stateDone || ev.state == stateQueued:
		return ErrNoEvent
	case ev.inst.dead:
		return ev.inst.cause
	case ev.state != stateAwaiting || (aw != nil && aw.gen != ev.gen):
		return ErrNoEvent
	}
	return nil
}

// checkChain reports a call that would wait for ever: one to an object whose gate
// an event further up the same chain keeps shut.
func checkChain(target *object, from *event, via *origin) error {
	for ev := range chain(target.rt(), from, via) {
		if ev.obj != target {
			continue
		}
		target.mu.Lock()
		shut := ev.shut > 0
		target.mu.Unlock()
		if shut {
			return &Error{Text: fmt.Sprintf("%v: %s", ErrDeadlock, chainText(target, from, via)), is: []error{ErrDeadlock}}
		}
	}
	return nil
}

// chain yields the events of this node that wait for the one that from, or another
// node's event, causes: innermost first.
func chain(rt *Runtime, from *event, via *origin) iter.Seq[*event] {
	return func(yield func(*event) bool) {
		top := from
		for ev := from; ev != nil; ev = ev.parent {
			if !yield(ev) {
				return
			}
			top = ev
		}
		if rt.opts.Placement == nil {
			return
		}
		if top != nil {
			via = originOf(top.caller)
		}
		for _, hop := range via.hops() {
			for ev := rt.abroad.find(hop); ev != nil; ev = ev.parent {
				if !yield(ev) {
					return
				}
			}
		}
	}
}

func chainText(target *object, from *event, via *origin) string {
	links := []string{target.String()}
	for ev := from; ev != nil; ev = ev.parent {
		links = append(links, ev.obj.String())
		if ev.parent == nil {
			via = originOf(ev.caller)
		}
	}
	for _, hop := range via.hops() {
		links = append(links, hop.Label)
	}
	slices.Reverse(links)
	return strings.Join(links, " -> ")
}

package durable

import (
	"context"
	"sync"

	"github.com/perdure/perdure/store"
)

// Objects that come and go with their shards (promise 11).
//
//   - An object is held under one tenure, from its making to its end. Once the tenure
//     is over, no event starts in it and no batch of it goes to the engine.
//   - What an event learned is worth nothing unless the lease still held afterwards:
//     it is asked after the event has run and its commits are durable, and before
//     anything leaves at an opening.
//   - An event that was sent away before it started is nobody's loss: it looks again
//     for where its object lives.

// moves lets Vacate and Drop wait for what is under way in an object.
type moves struct {
	mu      sync.Mutex // taken while an object is locked
	waiting map[*object]chan struct{}
}

// await returns a channel that is closed at the next tell of o.
func (m *moves) await(o *object) <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.waiting[o]
	if c == nil {
		if m.waiting == nil {
			m.waiting = make(map[*object]chan struct{})
		}
		c = make(chan struct{})
		m.waiting[o] = c
	}
	return c
}

func (m *moves) tell(o *object) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.waiting[o]; c != nil {
		close(c)
		delete(m.waiting, o)
	}
}

// endingLocked reports whether the object's tenure is over or being given up.
func (o *object) endingLocked() bool { return o.place != nil && o.place.over.Load() }

// errMoved is what an event gets that was cut off since its object moves to another node.
var errMoved = &Error{
	Text: ErrReset.Error() + ": it moves to another node", Retryable: true, Reset: true, is: []error{ErrNotOwner, ErrReset},
}

// confirm asks whether the object's lease still holds.
func (o *object) confirm() error {
	err := o.place.Lease.Check(o.rt().life)
	if err == nil {
		return nil
	}
	return &Error{Text: "durable: what the event did is void: " + err.Error(), Retryable: true, Reset: true, is: []error{ErrNotOwner, ErrReset}}
}

// mayLeave reports why nothing may leave the event's object; the object is reset then.
func (ev *event) mayLeave() error {
	o := ev.obj
	if o.place == nil {
		return nil
	}
	lost := o.confirm()
	if lost != nil {
		o.reset(ev.inst, lost)
	}
	return lost
}

// fate is cause as it concerns ev: what may have left something behind is not safe to send again.
func (ev *event) fate(cause error) error {
	if ev.wrote || (ev.opened && !ev.safe) {
		return final(cause)
	}
	return cause
}

// final is err without the claim that it is safe to try again.
func final(err error) error {
	e, ok := err.(*Error)
	if !ok || !e.Retryable {
		return err
	}
	c := *e
	c.Retryable = false
	return &c
}

// heldUnder returns the objects in memory that are held under any of places.
func (rt *Runtime) heldUnder(places []*Place) []*object {
	among := make(map[*Place]bool, len(places))
	for _, p := range places {
		among[p] = true
	}
	var all []*object
	for i := range rt.shards {
		sh := &rt.shards[i]
		sh.mu.Lock()
		for _, o := range sh.objects {
			if among[o.place] {
				all = append(all, o)
			}
		}
		sh.mu.Unlock()
	}
	return all
}

// Linger returns when every event that is inside an object of these tenures now has
// ended, background functions and streams included, or when ctx ends. Other events
// start as always: the objects answer while Linger waits.
func (rt *Runtime) Linger(ctx context.Context, places ...*Place) {
	var ends []<-chan struct{}
	for _, o := range rt.heldUnder(places) {
		o.mu.Lock()
		if o.inst != nil {
			for ev := o.inst.running; ev != nil; ev = ev.rnext {
				if ev.kind != kindConstructor {
					ends = append(ends, ev.doneLocked())
				}
			}
		}
		o.mu.Unlock()
	}
	for _, end := range ends {
		select {
		case <-end:
		case <-ctx.Done():
			return
		}
	}
}

// Vacate ends tenures in order, so that other nodes may begin theirs without anybody
// seeing an error. No event starts under them any more: those that wait go back
// to the [Placement], which must not return these places by now. Streams and
// background functions have their contexts cancelled, running events may end until
// ctx does. Then they are cut off: they get an [*Error] that is [ErrReset], and
// Retryable if they have left nothing behind. Vacate returns when all their commits
// are settled, functions of OnStop have run and nothing of the objects is in memory,
// or with ctx's error if something was cut off. The leases must hold until it returns.
func (rt *Runtime) Vacate(ctx context.Context, places ...*Place) error {
	return rt.VacateEach(ctx, func(...*Place) {}, places...)
}

// VacateEach is Vacate that calls left with each of the places once nothing is left of
// it, perhaps from several goroutines at once. Whoever gives up many tenures should let go of
// each of them then: a running event may wait for an object that is held under another one.
func (rt *Runtime) VacateEach(ctx context.Context, left func(...*Place), places ...*Place) error {
	for _, p := range places {
		p.over.Store(true)
	}
	of := make(map[*Place][]*object)
	for _, o := range rt.heldUnder(places) { // what was made before; see Runtime.object
		of[o.place] = append(of[o.place], o)
		o.closeDoor()
	}
	var empty []*Place
	for _, p := range places {
		if of[p] == nil {
			empty = append(empty, p)
		}
	}
	if len(empty) > 0 {
		left(empty...)
	}
	ends := make(chan error, len(of))
	for p, objects := range of {
		rt.goFunc(func() {
			err := rt.vacate(ctx, objects)
			left(p)
			ends <- err
		})
	}
	var cut error
	for range of {
		if err := <-ends; err != nil {
			cut = err
		}
	}
	return cut
}

// vacate takes objects out of memory in order.
func (rt *Runtime) vacate(ctx context.Context, objects []*object) (cut error) {
	var stops []<-chan struct{}
	for _, o := range objects {
		if err := o.awaitEmpty(ctx); err != nil {
			cut = err
		}
		if stopped := rt.retire(o, errMoved); stopped != nil {
			stops = append(stops, stopped)
		}
	}
	for _, o := range objects {
		o.awaitApplied() // of what was cut off
	}
	for _, stopped := range stops {
		select {
		case <-stopped:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return cut
}

// Drop ends tenures that this node has lost. Everything that is held under them is
// reset at once and answered with nothing but an [*Error] that is [ErrNotOwner], and
// Retryable if the event left nothing behind; events that have not started go back to the
// [Placement]. It returns when no batch that was made under them is on its way to the
// engine. Leases must not hold any more when it is called.
func (rt *Runtime) Drop(places ...*Place) {
	for _, p := range places {
		p.over.Store(true)
	}
	objects := rt.heldUnder(places)
	for _, o := range objects {
		rt.retire(o, errLost)
	}
	for _, o := range objects {
		o.awaitApplied()
	}
}

var errLost = &Error{
	Text: ErrReset.Error() + ": this node has lost its lease", Retryable: true, Reset: true, is: []error{ErrNotOwner, ErrReset},
}

// closeDoor sends away what has not started, and tells streams and background functions to end.
func (o *object) closeDoor() {
	o.mu.Lock()
	o.sendAwayLocked()
	var after []func()
	if o.inst != nil {
		for ev := o.inst.running; ev != nil; ev = ev.rnext {
			after = append(after, ev.cutLocked())
		}
	}
	for ev := o.start.head; ev != nil; ev = ev.next {
		after = append(after, ev.cutLocked())
	}
	o.mu.Unlock()
	for _, f := range after {
		f()
	}
}

// cutLocked ends the context of an event that would not end by itself. What it
// returns must be called once the object is unlocked.
func (ev *event) cutLocked() func() {
	if !ev.stream && ev.kind != kindBackground {
		return nothing
	}
	ev.cut = ev.stream
	return ev.endContextLocked(context.Canceled)
}

// streams notes that the event's answer has begun to leave.
func (ev *event) streams() {
	o := ev.obj
	o.mu.Lock()
	ev.stream = true
	after := nothing
	if o.endingLocked() {
		after = ev.cutLocked()
	}
	o.mu.Unlock()
	after()
}

// sendAwayLocked makes events that have not started look for their object anew. Those
// whose chain has an event in the object stay, and background functions, which belong to the instance.
func (o *object) sendAwayLocked() {
	for ev := o.start.head; ev != nil; {
		next := ev.next
		if ev.kind != kindBackground && (!ev.returns || o.gone) {
			o.start.remove(ev)
			ev.sent, ev.handed = true, true
			ev.ready <- struct{}{}
		}
		ev = next
	}
}

// awaitEmpty returns when no event is inside and all commits are settled, or with ctx's error.
func (o *object) awaitEmpty(ctx context.Context) error {
	for {
		o.mu.Lock()
		var left <-chan struct{}
		if o.inside > 0 && !o.gone {
			left = o.rt().moves.await(o)
		}
		tail := o.tailLocked()
		o.mu.Unlock()
		if left == nil {
			return o.settled(ctx, tail)
		}
		select {
		case <-left:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (o *object) settled(ctx context.Context, tail *commit) error {
	if tail == nil || tail.state.Load() != commitPending {
		return nil
	}
	done := make(chan struct{})
	o.rt().goFunc(func() {
		defer close(done)
		tail.wait() // whether it failed is the concern of those who wait for it
	})
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// retire takes the object out of memory, whatever runs in it. It returns a channel
// that is closed once functions of OnStop have run, nil if there is nothing to wait for.
func (rt *Runtime) retire(o *object, cause error) (stopped <-chan struct{}) {
	sh := &rt.shards[o.id[0]%objectShards]
	sh.mu.Lock()
	o.mu.Lock()
	if o.gone {
		o.mu.Unlock()
		sh.mu.Unlock()
		return nil
	}
	o.gone = true
	delete(sh.objects, objectKey{o.ns.number, o.id})
	o.sendAwayLocked()
	after := o.killLocked(cause)
	rt.cacheUsed.Add(-o.clean)
	o.clean, o.cache, o.whole = 0, nil, false
	o.mu.Unlock()
	sh.mu.Unlock()
	rt.alarms.forget(o.key())
	if after == nil {
		return nil
	}
	done := make(chan struct{})
	rt.goFunc(func() {
		defer close(done)
		after()
	})
	return done
}

// awaitApplied returns when the engine is being given nothing more of an object that is gone.
func (o *object) awaitApplied() {
	for {
		o.mu.Lock()
		if !o.applying {
			o.mu.Unlock()
			return
		}
		done := o.rt().moves.await(o)
		o.mu.Unlock()
		<-done
	}
}

// objectAt returns the runtime's side of an object that is held under place, or nil if
// that tenure is over.
func (rt *Runtime) objectAt(s *Stub, place *Place) *object {
	for {
		o := rt.object(s.n, s.id.b, s.name, s.named, place)
		if o == nil || o.place == place {
			return o
		}
		if o.place != nil && o.place.Epoch > place.Epoch {
			return nil
		}
		rt.retire(o, errLost) // of an earlier tenure, whose end nobody has told us yet
		o.awaitApplied()
	}
}

// key names the object in the store.
func (s *Stub) key() store.Object { return store.Object{Namespace: s.n.number, ID: s.id.b} }

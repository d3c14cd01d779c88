package durable

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/perdure/perdure/store"
)

// An object is the runtime's side of one object: its token, its queues, its
// instance and what is known of its storage. It exists while there are events or
// an instance, and costs no goroutine.
//
// Invariants kept here:
//
//   - Promise 1: holder is the one event that runs. It is handed on under mu: to
//     resume before start, each in order of arrival. A reset takes it away from
//     events of the dead instance, but never while a batch of theirs is being
//     handed to the engine (applying), so that the engine sees one batch at a time.
//   - The store's state and what lies over it (data) belong to the object and
//     outlive its instances; the turn belongs to the instance.
type object struct {
	ns    *namespace
	id    [32]byte
	place *Place // the tenure that it is held under; nil without a Placement

	mu       sync.Mutex
	holder   *event
	applying bool
	gone     bool // no longer in the runtime's table: look again
	resume   eventList
	start    eventList
	inst     *State

	name     string // as known from callers
	named    bool
	inside   int // events that wait, run, or wait to be durable
	bytes    int // of those
	lastUsed time.Duration

	data
}

func (o *object) rt() *Runtime { return o.ns.rt }

func (o *object) key() store.Object { return store.Object{Namespace: o.ns.number, ID: o.id} }

// String names the object in errors and logs: its class, and its name if that is known, else its id.
func (o *object) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.labelLocked()
}

func (o *object) labelLocked() string {
	switch {
	case o.named:
		return fmt.Sprintf("%s %q", o.ns.class.name, o.name)
	case o.hdr.Named:
		return fmt.Sprintf("%s %q", o.ns.class.name, o.hdr.Name)
	}
	return fmt.Sprintf("%s %x", o.ns.class.name, o.id)
}

// acquire queues ev and returns when it holds the token. An event whose caller
// leaves before, or that waits too long, is not run.
func (o *object) acquire(ev *event) error {
	lim := &o.rt().opts.Limits
	o.mu.Lock()
	if o.gone || (o.endingLocked() && !ev.returns && ev.kind != kindInternal) {
		o.mu.Unlock()
		return errGone
	}
	if ev.kind != kindInternal { // bookkeeping must not be refused
		switch {
		case o.inside >= lim.QueueEvents:
			o.mu.Unlock()
			return overloaded(fmt.Sprintf("%d events are queued, limit %d", o.inside, lim.QueueEvents))
		case o.bytes+ev.bytes > lim.QueueBytes:
			o.mu.Unlock()
			return overloaded(fmt.Sprintf("%d bytes are queued, limit %d", o.bytes+ev.bytes, lim.QueueBytes))
		}
	}
	o.inside++
	o.bytes += ev.bytes
	if o.holder == nil && !o.applying {
		o.holder = ev
		ev.handed = true
		o.mu.Unlock()
		return nil
	}
	ev.ready = make(chan struct{}, 1)
	o.start.push(ev)
	o.mu.Unlock()
	return o.await(ev, lim.QueueAge)
}

// await waits in the start queue.
func (o *object) await(ev *event, age time.Duration) error {
	timer := time.NewTimer(age)
	defer timer.Stop()
	var err error
	select {
	case <-ev.ready:
		switch {
		case ev.caller.Err() != nil:
			err = notStarted(ev.caller.Err()) // both at once: its caller has left before it started
		case ev.sent:
			err = errGone
		default:
			return nil
		}
	case <-ev.caller.Done():
		err = notStarted(ev.caller.Err())
	case <-timer.C:
		err = overloaded(fmt.Sprintf("the event waited for %v", age))
	}
	o.mu.Lock()
	if ev.handed {
		o.handOnLocked(ev)
	} else {
		o.start.remove(ev)
	}
	o.leaveLocked(ev)
	o.mu.Unlock()
	return err
}

// handOnLocked takes the token from ev, if it has it, and gives it to the next event.
func (o *object) handOnLocked(ev *event) {
	if o.holder == ev {
		o.holder = nil
		o.grantLocked()
	}
}

func (o *object) grantLocked() {
	if o.holder != nil || o.applying {
		return
	}
	ev := o.resume.pop()
	if ev == nil {
		ev = o.start.pop()
	}
	if ev != nil {
		o.holder = ev
		ev.handed = true
		ev.ready <- struct{}{}
	}
}

// leaveLocked ends ev's stay.
func (o *object) leaveLocked(ev *event) {
	o.inside--
	o.bytes -= ev.bytes
	o.lastUsed = o.rt().uptime()
	if o.inside == 0 && o.turn != nil {
		*o.turn = turn{} // is so already
		turns.Put(o.turn)
		o.turn = nil
	}
	if o.inside == 0 && o.endingLocked() {
		o.rt().moves.tell(o)
	}
}

// run queues ev, runs fn as the event's body on this goroutine, and returns when
// the event's answer may leave. The error is what the caller gets.
func (o *object) run(ev *event, fn func() error) error {
	if err := o.acquire(ev); err != nil {
		return err
	}
	defer o.leave(ev)
	tail, err := o.perform(ev, fn)
	err = ev.outcome(err, tail.wait())
	if o.place != nil && ev.inst != nil && err != errGone {
		if lost := o.confirm(); lost != nil { // promise 11: whatever the answer is, an error's text included
			return ev.fate(lost)
		}
	}
	return err
}

// outcome is what the caller gets of an event that ended with err and whose last
// commit ended with werr.
func (ev *event) outcome(err, werr error) error {
	if werr == nil || isReset(err) {
		return err
	}
	var e *Error
	if ev.opened && errors.As(werr, &e) && e.Retryable {
		// What it did up to its last opening may stay: sending it again is not safe.
		c := *e
		c.Retryable = false
		return &c
	}
	return werr
}

func (o *object) leave(ev *event) {
	o.mu.Lock()
	o.leaveLocked(ev)
	o.mu.Unlock()
}

func isReset(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Reset
}

// perform is an event from the moment it holds the token to the moment it gives
// it up for good. It returns the last commit that the answer has to wait for.
//
// What ends the event is deferred, since code that calls [runtime.Goexit] (a
// failing test does) never comes back here.
func (o *object) perform(ev *event, fn func() error) (tail *commit, err error) {
	begun := false
	err = errExited
	defer func() {
		if begun {
			tail, err = o.finish(ev, err)
			return
		}
		o.mu.Lock()
		o.handOnLocked(ev)
		ev.state = stateDone
		o.mu.Unlock()
	}()
	if err := o.begin(ev); err != nil {
		return nil, err
	}
	begun = true
	return nil, o.guard(ev, fn)
}

// guard runs user code and turns a panic into an error.
func (o *object) guard(ev *event, fn func() error) (err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		p := recover()
		if p == nil {
			o.rt().log.Error("event's goroutine exited", "object", o.String())
			return // and nobody gets err
		}
		err = &panicError{value: p}
		o.rt().log.Error("event panicked", "object", o.String(), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	}()
	if o.ns.class.opts.Exclusive && ev.kind != kindConstructor && ev.kind != kindInternal {
		defer o.limitShut(ev.inst)()
	}
	err = fn()
	if err != nil && ev.kind != kindInternal {
		// Here, where no lock is held and a panic is caught: it calls the error's own methods.
		err = remote(err, o.ns.class.opts.Errors)
	}
	returned = true
	return err
}

// panicError is a panic on its way from guard to finish. The panic's text stays in the log.
type panicError struct{ value any }

// errExited stands for a panic where the goroutine exited instead.
var errExited error = &panicError{}

func (*panicError) Error() string { return ErrPanic.Error() }

// begin gives ev, which holds the token, an instance to run on.
func (o *object) begin(ev *event) error {
	o.mu.Lock()
	if err := o.rt().broken(); err != nil {
		o.mu.Unlock()
		return err
	}
	if ev.inst != nil && ev.inst != o.inst { // bound to an instance that is gone
		err := ev.inst.cause
		o.mu.Unlock()
		return err
	}
	if o.gone {
		o.mu.Unlock()
		return errGone
	}
	if o.turn == nil {
		o.turn = turns.Get().(*turn)
	}
	if o.inst == nil {
		if ev.kind == kindInternal {
			o.mu.Unlock()
			if err := o.load(); err != nil {
				return err
			}
			o.mu.Lock()
		} else {
			o.mu.Unlock()
			if err := o.construct(ev); err != nil {
				return err
			}
			if err := ev.caller.Err(); err != nil { // it left while the constructor ran
				return notStarted(err)
			}
			o.mu.Lock()
			if ev.inst.dead { // between the two locks
				err := ev.inst.cause
				o.mu.Unlock()
				return err
			}
		}
	}
	ev.state = stateRunning
	if ev.kind != kindInternal {
		ev.inst = o.inst
		ev.inst.pushLocked(ev)
		if o.ns.class.opts.Exclusive {
			ev.shut++
		}
	}
	o.mu.Unlock()
	return nil
}

// construct makes the instance. The constructor is an event of its own inside
// ev, which lends it the token. It keeps the gate shut.
func (o *object) construct(ev *event) error {
	if err := o.load(); err != nil {
		return err
	}
	st := &State{obj: o}
	cev := &event{obj: o, caller: context.Background(), parent: ev.parent, depth: ev.depth, kind: kindConstructor, inst: st, state: stateRunning, shut: 1}
	o.mu.Lock()
	if err := o.rt().broken(); err != nil { // or Shutdown would miss the instance
		o.mu.Unlock()
		return err
	}
	if o.gone { // dropped while it was loaded
		o.mu.Unlock()
		return errGone
	}
	o.inst, ev.inst = st, st
	*o.turn = turn{}
	st.pushLocked(cev)
	o.mu.Unlock()

	stop := o.limitShut(st)
	returned := false
	defer func() {
		if !returned {
			stop()
			o.reset(st, resetError(ErrConstructor, ": its goroutine exited"))
		}
	}()
	var value any
	err := o.guard(cev, func() error {
		var err error
		value, err = o.ns.class.make(cev, st)
		return err
	})
	returned = true
	stop()

	o.mu.Lock()
	defer o.mu.Unlock()
	if st.dead {
		return st.cause
	}
	if err == nil {
		st.value = value
		if err = o.commitPointLocked(cev); err == nil && st.dead {
			err = st.cause
		}
		cev.state = stateDone
		st.removeLocked(cev)
		return err
	}
	var cause *Error
	if isPanic(err) {
		cause = resetError(ErrConstructor, ": it panicked")
	} else {
		cause = err.(*Error) // guard's
		cause.Text = ErrConstructor.Error() + ": " + cause.Text
		cause.Reset = true
		cause.is = append(cause.is, ErrConstructor)
	}
	// Those that queue now would only try the same again, one after the other.
	for q := o.start.pop(); q != nil; q = o.start.pop() {
		q.inst = st
		q.handed = true
		q.ready <- struct{}{}
	}
	o.resetLocked(cause)
	return cause
}

func isPanic(err error) bool {
	if err == nil {
		return false
	}
	var p *panicError
	return errors.As(err, &p)
}

// limitShut resets the object unless the returned function is called within Limits.ShutTime.
func (o *object) limitShut(inst *State) (stop func()) {
	limit := o.rt().opts.Limits.ShutTime
	t := time.AfterFunc(limit, func() {
		o.reset(inst, resetError(ErrTimeLimit, fmt.Sprintf(": the gate was kept shut for %v", limit)))
	})
	return func() { t.Stop() }
}

// finish ends ev: commits its last turn, hands on the token and ends its context.
func (o *object) finish(ev *event, err error) (*commit, error) {
	o.mu.Lock()
	if ev.kind == kindInternal {
		if cerr := o.commitPointLocked(ev); cerr != nil {
			err = cerr
		}
		ev.state = stateDone
		o.handOnLocked(ev)
		tail := o.tailLocked()
		o.mu.Unlock()
		return tail, err
	}
	inst := ev.inst
	var tail *commit
	switch {
	case inst.dead:
		err = ev.fate(inst.cause)
	case isPanic(err):
		err = resetError(ErrPanic, "")
		o.resetLocked(err)
		tail = o.tailLocked() // of earlier commit points, of the constructor
	case ev.state != stateRunning:
		// A goroutine of the event's own still waits at an opening. The token may be
		// another event's, and so is the turn: there is nothing to commit here.
		err = remote(fmt.Errorf("%w: the event ended while a goroutine of its own waited", ErrGateOpen), nil)
	case ev.tx != nil:
		for tx := ev.tx; tx != nil; tx = tx.outer {
			tx.rollbackLocked()
		}
		err = remote(fmt.Errorf("%w: the event ended in the middle of one", ErrInTransaction), nil)
		fallthrough
	default:
		ev.state = stateDone // before the lock is given up: a stray goroutine must find it so
		if cerr := o.commitPointLocked(ev); cerr != nil {
			err = cerr
		}
		tail = o.tailLocked()
		if ev.cut && err == nil {
			err = ev.fate(errMoved) // or what there is of the stream would pass for the whole
		}
	}
	ev.state = stateDone
	inst.removeLocked(ev)
	o.handOnLocked(ev)
	after := ev.endContextLocked(context.Canceled)
	o.mu.Unlock()
	after()
	return tail, err
}

// reset ends the given instance, if it is still the object's.
func (o *object) reset(inst *State, cause error) {
	o.mu.Lock()
	if o.inst == inst {
		o.resetLocked(cause)
	}
	o.mu.Unlock()
}

// resetLocked ends the object's instance. Its code may go on, but can do nothing
// (see the check in Storage.enter and gate.go); the uncommitted turn is dropped, and
// the next event makes a new instance at once.
func (o *object) resetLocked(cause error) {
	if after := o.killLocked(cause); after != nil {
		o.rt().goFunc(after)
	}
}

// killLocked is resetLocked that returns what is left to be done without the lock, nil if nothing is.
func (o *object) killLocked(cause error) (after func()) {
	inst := o.inst
	if inst == nil {
		return nil
	}
	after = o.stopInstanceLocked(cause)
	// Those of the dead instance that wait for the token will not get it.
	for ev := o.resume.pop(); ev != nil; ev = o.resume.pop() {
		ev.handed = true
		ev.ready <- struct{}{}
	}
	if o.holder != nil && o.holder.inst == inst {
		o.holder = nil
		o.grantLocked()
	}
	return after
}

// stopInstanceLocked makes the instance dead. What it returns tells its events and
// runs its functions of OnStop; nil if there are none.
func (o *object) stopInstanceLocked(cause error) func() {
	inst := o.inst
	inst.dead, inst.cause = true, cause
	o.inst = nil
	if o.turn != nil {
		*o.turn = turn{}
	}
	o.points++
	var after []func()
	for ev := inst.running; ev != nil; ev = ev.rnext {
		after = append(after, ev.endContextLocked(context.Canceled))
	}
	if inst.watcher != nil {
		after = append(after, inst.watcher.endContextLocked(context.Canceled))
	}
	stops := inst.stops
	if len(after)+len(stops) == 0 {
		return nil
	}
	return func() {
		for _, f := range after {
			f()
		}
		for i := len(stops) - 1; i >= 0; i-- {
			o.runStop(stops[i])
		}
	}
}

// runStop runs a function of OnStop, whose panic must not end the process.
func (o *object) runStop(f func()) {
	defer func() {
		if p := recover(); p != nil {
			o.rt().log.Error("OnStop function panicked", "object", o.String(), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}()
	f()
}

// evictLocked drops an idle object; it reports whether it was one.
func (o *object) evictLocked() bool {
	if o.inside > 0 || o.holder != nil || o.applying || o.gone {
		return false
	}
	if tail := o.tailLocked(); tail != nil && tail.state.Load() == commitPending {
		return false // the engine may not show it yet: who comes next must find it here
	}
	if o.inst != nil {
		if after := o.stopInstanceLocked(errEvicted); after != nil {
			o.rt().goFunc(after)
		}
	}
	o.gone = true
	o.dropCacheLocked()
	return true
}

var errEvicted = resetError(ErrReset, ": evicted")

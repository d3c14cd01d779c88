package durable

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// State is an instance's handle on its object: what the constructor gets. Its
// methods that take a context want that of an event of the object; the others
// may be called by any goroutine.
type State struct {
	obj   *object
	value any // what the constructor returned

	// Guarded by obj.mu.
	dead    bool
	cause   error  // why, once dead
	running *event // events that started and have not ended, linked by rnext
	watcher *event // the constructor's, if anyone waits for the end of its context
	stops   []func()
	alarm   *alarmRun // the alarm handler that runs now
}

func (s *State) pushLocked(ev *event) {
	ev.rprev, ev.rnext = nil, s.running
	if s.running != nil {
		s.running.rprev = ev
	}
	s.running = ev
}

func (s *State) removeLocked(ev *event) {
	if ev.rprev != nil {
		ev.rprev.rnext = ev.rnext
	} else if s.running == ev {
		s.running = ev.rnext
	}
	if ev.rnext != nil {
		ev.rnext.rprev = ev.rprev
	}
	ev.rprev, ev.rnext = nil, nil
}

// ID returns the object's id.
func (s *State) ID() ID { return ID{s.obj.ns.number, s.obj.id} }

// Name returns the object's name, if it was ever reached by name and the name is at most 1,024 bytes long.
func (s *State) Name() (name string, known bool) {
	s.obj.mu.Lock()
	defer s.obj.mu.Unlock()
	if s.obj.named {
		return s.obj.name, true
	}
	return s.obj.hdr.Name, s.obj.hdr.Named
}

// Storage returns the object's storage.
func (s *State) Storage() *Storage { return (*Storage)(s) }

// Now returns the time of the runtime's clock.
func (s *State) Now() time.Time { return s.obj.rt().now() }

// Var returns a variable of [Options].Vars, "" if there is none.
func (s *State) Var(name string) string { return s.obj.rt().opts.Vars[name] }

// Namespace returns the objects of a class, by the name of a class or of a
// binding, nil if there is none. Their stubs work with contexts of this object's
// events only; a call through them opens the gate.
func (s *State) Namespace(name string) *Namespace {
	n := s.obj.rt().namespaces[name]
	if n == nil {
		return nil
	}
	return &Namespace{n: n, from: s.obj}
}

// Await runs fn for the outside world: for what takes time and must not hold up
// the object. It is a commit point. Once all writes before it are durable, the gate
// opens and fn runs on this goroutine, while other events of the object may run;
// Await returns when fn has returned and the event has the object for itself again.
//
// Inside fn storage returns [ErrGateOpen]; stub calls, in parallel too, are
// possible with fn's context, and an answer may be written and flushed. These wait
// until what other events have written meanwhile is durable: fn may have learned
// of it. What fn does with the world in other ways can't wait for that. Await
// returns fn's error, or [ErrReset] if the object was reset meanwhile,
// [ErrInTransaction] inside a transaction. fn's context ends with the event's.
func (s *State) Await(ctx context.Context, fn func(ctx context.Context) error) error {
	return outside(ctx, s.obj, stateAwaiting, func(ctx context.Context, _ *event) error { return fn(ctx) })
}

// BlockConcurrencyWhile runs fn with the gate kept shut, stub calls and Await
// included, for at most Limits.ShutTime (30 s). If fn returns an error or the time
// is over, the object is reset and the event's caller gets that error. It nests.
func (s *State) BlockConcurrencyWhile(ctx context.Context, fn func(ctx context.Context) error) (err error) {
	ev, err := s.keepShut(ctx)
	if err != nil {
		return err
	}
	stop := s.obj.limitShut(s)
	cause := remote(errPanicked, nil) // unless fn, and its error's methods, return
	defer func() {
		stop()
		s.obj.mu.Lock()
		defer s.obj.mu.Unlock()
		ev.shut--
		switch {
		case s.dead:
			err = s.cause
		case cause != nil:
			cause := cause.(*Error)
			cause.Reset = true
			cause.is = append(cause.is, ErrReset)
			s.obj.resetLocked(cause)
		}
	}()
	err = fn(ctx)
	cause = remote(err, s.obj.ns.class.opts.Errors)
	return err
}

var errPanicked = fmt.Errorf("%w in BlockConcurrencyWhile", ErrPanic)

func (s *State) keepShut(ctx context.Context) (*event, error) {
	ev, err := s.keepShutLocked(ctx)
	if err == nil {
		s.obj.mu.Unlock()
	}
	return ev, err
}

// keepShutLocked is keepShut that leaves the object locked, so that what begins
// with the section begins in the same moment: a stray goroutine's event may end at any time.
func (s *State) keepShutLocked(ctx context.Context) (*event, error) {
	ev, aw := eventOf(ctx)
	if ev == nil || ev.obj != s.obj {
		return nil, ErrNoEvent
	}
	s.obj.mu.Lock()
	err := ev.usableLocked()
	if err == nil && (aw != nil || ev.inst != s) {
		err = ErrNoEvent
	}
	if err != nil {
		s.obj.mu.Unlock()
		return nil, err
	}
	ev.shut++
	return ev, nil
}

// WaitUntil queues fn as an event of its own, after those that wait already. The
// current event's answer does not wait for it, but the object stays in memory.
// fn is lost if the process dies or the object is reset before it ends; its
// context ends after Limits.BackgroundTime (15 min) and at shutdown. What fn
// returns is logged. WaitUntil returns [ErrOverloaded] if the queue is full.
func (s *State) WaitUntil(ctx context.Context, fn func(ctx context.Context) error) error {
	ev, _ := eventOf(ctx)
	if ev == nil || ev.obj != s.obj {
		return ErrNoEvent
	}
	o, rt := s.obj, s.obj.rt()
	o.mu.Lock()
	err := ev.usableLocked()
	if err == ErrGateOpen {
		err = nil
	}
	if err == nil && o.inside >= rt.opts.Limits.QueueEvents {
		err = overloaded("no room for a background function")
	}
	if err != nil {
		o.mu.Unlock()
		return err
	}
	// Queued here, not by the goroutine below, so that it keeps its place.
	caller, cancel := context.WithTimeout(rt.drain, rt.opts.Limits.BackgroundTime)
	bg := &event{obj: o, caller: caller, depth: 1, kind: kindBackground, inst: s, ready: make(chan struct{}, 1)}
	o.inside++
	o.start.push(bg)
	o.grantLocked()
	rt.enter() // before the event can end, so that Shutdown waits for it
	o.mu.Unlock()
	rt.goFunc(func() {
		defer rt.leave()
		defer cancel()
		if err := o.background(bg, fn); err != nil {
			rt.log.Warn("background function failed", "object", o.String(), "error", err)
		}
	})
	return nil
}

func (o *object) background(bg *event, fn func(ctx context.Context) error) error {
	<-bg.ready
	limit := o.rt().opts.Limits.BackgroundTime
	// Its context ends at the limit by itself. Code that holds the object beyond that is cut off.
	stop := time.AfterFunc(limit, func() {
		o.mu.Lock()
		if o.holder == bg && o.inst == bg.inst {
			o.resetLocked(resetError(ErrTimeLimit, fmt.Sprintf(": a background function ran for %v", limit)))
		}
		o.mu.Unlock()
	})
	defer stop.Stop()
	defer o.leave(bg)
	tail, err := o.perform(bg, func() error { return fn(bg) })
	return bg.outcome(err, tail.wait())
}

// Abort resets the object: what was not committed is lost, the next event gets a
// new instance. All events of this instance fail with reason, the current one
// included, though its code goes on until it returns.
func (s *State) Abort(reason error) {
	cause := resetError(ErrReset, ": aborted")
	if reason != nil {
		cause = remote(reason, s.obj.ns.class.opts.Errors).(*Error)
		cause.Remote = false
		cause.Reset = true
		cause.is = append(cause.is, ErrReset)
	}
	s.obj.reset(s, cause)
}

// OnStop registers fn to run when the instance is evicted, reset or shut down,
// the last registered first. fn can't use storage. If the instance has stopped
// already, fn runs at once.
func (s *State) OnStop(fn func()) {
	s.obj.mu.Lock()
	if !s.dead {
		s.stops = append(s.stops, fn)
		s.obj.mu.Unlock()
		return
	}
	s.obj.mu.Unlock()
	fn()
}

// HTTPClient returns a client for the outside world: a request and each read of
// its answer's body are an Await of their own. Its requests need an event's context.
func (s *State) HTTPClient() *http.Client {
	return &http.Client{Transport: &gatedTransport{s}}
}

package durable

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perdure/perdure/store"
)

// Alarms (promise 8). The record in an object's header is the truth: it stays
// until the batch of the handler's last turn removes it, so that a crash at any
// moment runs the handler again. The clock below only decides when to look.

const (
	alarmRetries = 6               // counted ones, after the first run
	alarmDelay   = 2 * time.Second // before the first retry; doubled each time
	infraShift   = 9               // uncounted failures back off to alarmDelay << infraShift
	alarmPoll    = 10 * time.Second
)

// alarmRun is a handler under way.
type alarmRun struct {
	record     store.Alarm
	superseded bool // the alarm was set or deleted since the handler began
}

// alarmClock starts the handlers of alarms that are due.
type alarmClock struct {
	rt    *Runtime
	wake  chan struct{} // capacity 1
	slots chan struct{} // one for each handler that runs

	foreign int             // due alarms of unknown classes at the last look; run's
	seen    <-chan struct{} // that of the shards at the last look; run's

	mu       sync.Mutex
	moves    int                       // how often the shards have changed
	next     int64                     // Unix ms at which run looks again by itself
	running  map[store.Object]bool     //
	deferred map[store.Object]deferral // after failures that do not count
}

type deferral struct {
	until time.Time
	n     int
	moved bool // the object was not held here: worth nothing once the shards have changed
}

func newAlarmClock(rt *Runtime) *alarmClock {
	return &alarmClock{
		rt: rt, wake: make(chan struct{}, 1), slots: make(chan struct{}, rt.opts.AlarmConcurrency),
		next:    math.MaxInt64,
		running: make(map[store.Object]bool), deferred: make(map[store.Object]deferral),
	}
}

// notice tells the clock of an alarm that has become durable.
func (a *alarmClock) notice(next int64) {
	a.mu.Lock()
	sooner := next < a.next
	a.mu.Unlock()
	if sooner {
		a.poke()
	}
}

func (a *alarmClock) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func (a *alarmClock) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		shards, changed := a.shards()
		if changed != a.seen {
			a.seen = changed
			a.shardsChanged()
		}
		wait := alarmPoll
		if changed == nil || len(shards) > 0 { // no shards would mean all to the engine
			wait = a.look(shards)
		}
		// The wall clock may jump: never sleep long on the monotonic one.
		timer.Reset(min(wait, alarmPoll))
		select {
		case <-timer.C:
		case <-a.wake:
		case <-changed: // shards have come, perhaps with alarms that are late
		case <-a.rt.drain.Done():
			return
		}
	}
}

// shards returns those whose alarms run here, and a channel that is closed when that
// changes: nil and nil if all do for good.
func (a *alarmClock) shards() ([]uint32, <-chan struct{}) {
	if p := a.rt.opts.Placement; p != nil {
		return p.Shards()
	}
	return nil, nil
}

// shardsChanged forgets failures for want of a shard: it may have come back.
func (a *alarmClock) shardsChanged() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.moves++
	for o, def := range a.deferred {
		if def.moved {
			delete(a.deferred, o)
		}
	}
}

// look starts what is due in the given shards and returns how long nothing will be.
func (a *alarmClock) look(shards []uint32) time.Duration {
	rt := a.rt
	now := rt.now()
	a.mu.Lock()
	a.next = math.MaxInt64 // whatever becomes durable from here on makes us look again
	for o, def := range a.deferred {
		if now.Sub(def.until) > time.Hour { // its alarm was taken back
			delete(a.deferred, o)
		}
	}
	limit := len(a.running) + len(a.deferred) + a.foreign + rt.opts.AlarmConcurrency + 1
	a.mu.Unlock()

	due, err := rt.store.Alarms(rt.life, shards, limit)
	if err != nil {
		if !errors.Is(err, store.ErrClosed) && rt.life.Err() == nil {
			rt.log.Error("alarms cannot be read", "error", rt.storeFailed("alarms", err))
		}
		return time.Second
	}
	foreign := 0
	next := now.Add(time.Hour)
	for _, d := range due {
		a.mu.Lock()
		running, def := a.running[d.Object], a.deferred[d.Object]
		a.mu.Unlock()
		at := time.UnixMilli(d.Alarm.Next)
		if def.until.After(at) {
			at = def.until
		}
		switch {
		case running:
			continue
		case at.After(now):
			if at.Before(next) {
				next = at
			}
			continue
		}
		n := a.namespaceOf(d.Object)
		if n == nil { // a class that this program does not have
			foreign++
			continue
		}
		select {
		case a.slots <- struct{}{}:
		default:
			return alarmPoll // the end of one that runs pokes us
		}
		a.mu.Lock()
		a.running[d.Object] = true
		moves := a.moves
		a.mu.Unlock()
		rt.goFunc(func() { a.fire(n, d, moves) })
	}
	if foreign > a.foreign {
		a.foreign = foreign // look again, past them
		return 0
	}
	a.foreign = foreign
	a.mu.Lock()
	a.next = min(a.next, next.UnixMilli())
	a.mu.Unlock()
	return next.Sub(now)
}

func (a *alarmClock) namespaceOf(o store.Object) *namespace {
	for _, n := range a.rt.classes {
		if n.number == o.Namespace {
			return n
		}
	}
	return nil
}

// fire runs one object's alarm, found after so many moves, and notes how that went.
func (a *alarmClock) fire(n *namespace, d store.Due, moves int) {
	infra := error(errExited) // unless runAlarm returns: the handler's goroutine exited
	defer func() { a.settle(d, infra, moves) }()
	infra = a.rt.runAlarm(n, d.Object.ID)
}

// forget drops what is known of an object that leaves this node.
func (a *alarmClock) forget(o store.Object) {
	a.mu.Lock()
	delete(a.deferred, o)
	a.mu.Unlock()
}

func (a *alarmClock) settle(d store.Due, infra error, moves int) {
	moved := errors.Is(infra, ErrNotOwner)
	a.mu.Lock()
	delete(a.running, d.Object)
	switch {
	case infra == nil, moved && moves != a.moves:
		delete(a.deferred, d.Object)
	default:
		def := a.deferred[d.Object]
		def.until = a.rt.now().Add(alarmDelay << min(def.n, infraShift))
		def.n, def.moved = def.n+1, moved
		a.deferred[d.Object] = def
	}
	a.mu.Unlock()
	<-a.slots
	a.poke()
	if infra != nil && a.rt.drain.Err() == nil && !moved { // the node that holds the object now runs it
		a.rt.log.Warn("alarm could not run, it will be tried again", "object", d.Object.String(), "error", infra)
	}
}

// runAlarm runs an object's alarm handler if its alarm is due, and settles what
// became of the alarm. It returns an error if the handler did not get to run.
func (rt *Runtime) runAlarm(n *namespace, id [32]byte) error {
	stub := &Stub{n: n, id: ID{n.number, id}}
	a := newAlarmAttempt(rt)
	// The handler's context ends at the limit by itself; code that goes on is cut off.
	ctx, cancel := context.WithTimeout(rt.life, a.limit)
	defer cancel()
	ended := make(chan error, 1)
	rt.goFunc(func() {
		err := errExited // unless enter returns
		defer func() { ended <- err }()
		err = stub.enter(ctx, kindAlarm, 0, nil, a.handle, nil)
	})
	var err error
	select {
	case err = <-ended:
	case <-a.expired: // whether its code ever returns or not
		err = resetError(ErrTimeLimit, "")
	case <-rt.life.Done():
		return ErrClosed
	}
	run := a.run.Load()
	switch {
	case err == nil:
		return nil
	case run == nil || isInfrastructure(err) || rt.drain.Err() != nil:
		return err
	}
	return rt.countFailure(stub, run, err)
}

// alarmAttempt is one event for an alarm.
type alarmAttempt struct {
	rt      *Runtime
	limit   time.Duration
	run     atomic.Pointer[alarmRun] // once the handler has begun
	expired chan struct{}            // closed when it has run for too long, and its object was reset
	forced  bool                     // the alarm need not be due
}

func newAlarmAttempt(rt *Runtime) *alarmAttempt {
	return &alarmAttempt{rt: rt, limit: rt.opts.Limits.AlarmTime, expired: make(chan struct{})}
}

func (a *alarmAttempt) handle(ev *event, o *object) error {
	o.mu.Lock()
	rec := o.hdr.Alarm
	if rec.Due == 0 || (!a.forced && rec.Next > a.rt.now().UnixMilli()) {
		o.mu.Unlock() // it was moved or taken back since we looked
		return nil
	}
	run := &alarmRun{record: rec}
	inst := ev.inst
	inst.alarm = run
	a.run.Store(run)
	o.mu.Unlock()

	stop := time.AfterFunc(a.limit, func() {
		o.reset(inst, resetError(ErrTimeLimit, fmt.Sprintf(": the alarm handler ran for %v", a.limit)))
		close(a.expired)
	})
	defer stop.Stop()
	err := inst.value.(Alarmer).Alarm(ev, AlarmInfo{Scheduled: time.UnixMilli(rec.Due), RetryCount: rec.Retries})

	o.mu.Lock()
	defer o.mu.Unlock()
	if !inst.dead {
		if err == nil && !run.superseded && !o.turn.alarmSet && !o.turn.deleteAll {
			o.turn.alarm, o.turn.alarmSet = store.Alarm{}, true
		}
		if o.turn.alarmSet || o.turn.deleteAll {
			run.superseded = true
		}
		inst.alarm = nil
	}
	return err
}

// isInfrastructure reports whether an event failed for a reason that its own code has no part in.
func isInfrastructure(err error) bool {
	for _, is := range []error{ErrNotCommitted, ErrStoreBroken, ErrClosed, ErrShutdown, ErrOverloaded, ErrConstructor, ErrQuotaExceeded, ErrNotOwner} {
		if errors.Is(err, is) {
			var e *Error
			return !errors.As(err, &e) || !e.Remote
		}
	}
	return false
}

// countFailure writes down that the handler failed, unless the alarm was set or deleted meanwhile.
func (rt *Runtime) countFailure(stub *Stub, run *alarmRun, cause error) error {
	return stub.enter(context.Background(), kindInternal, 0, nil, func(_ *event, o *object) error {
		o.mu.Lock()
		defer o.mu.Unlock()
		if run.superseded || o.hdr.Alarm != run.record {
			return nil
		}
		next := run.record
		if next.Retries == alarmRetries {
			rt.logLater(slog.LevelError, "alarm dropped: its handler kept failing", "object", o.labelLocked(), "due", time.UnixMilli(next.Due), "error", cause)
			next = store.Alarm{}
		} else {
			delay := alarmDelay << next.Retries
			delay += rand.N(delay / 4)
			next.Retries++
			next.Next = rt.now().Add(delay).UnixMilli()
			rt.logLater(slog.LevelWarn, "alarm handler failed", "object", o.labelLocked(), "retry", next.Retries, "after", delay, "error", cause)
		}
		o.turn.alarm, o.turn.alarmSet = next, true
		return nil
	}, nil)
}

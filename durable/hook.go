package durable

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/perdure/perdure/durable/internal/testhook"
	"github.com/perdure/perdure/store"
)

// What package durabletest needs of a runtime's inside. The assignments are the
// only way there that leaves no trace in the exported API: durabletest imports
// this package, so this one can't call it, and a method would show in the docs.
func init() {
	testhook.RuntimeOf = func(stub any) any { return stub.(*Stub).n.rt }
	testhook.Label = func(stub any) string { return stub.(*Stub).label() }
	testhook.Run = func(ctx context.Context, stub any, fn func(ctx context.Context, st, obj any) error) error {
		return stub.(*Stub).do(ctx, kindCall, 0, func(ev *event, _ *object) error { return fn(ev, ev.inst, ev.inst.value) }, nil)
	}
	testhook.RunAlarm = func(ctx context.Context, stub any) (bool, error) { return stub.(*Stub).alarmNow(ctx) }
	testhook.Evict = func(ctx context.Context, stub any) error {
		if o := stub.(*Stub).present(); o != nil {
			return o.evictNow(ctx)
		}
		return nil
	}
	testhook.EvictAll = func(ctx context.Context, rt any) error {
		var errs []error
		for _, o := range rt.(*Runtime).resident() {
			errs = append(errs, o.evictNow(ctx))
		}
		return errors.Join(errs...)
	}
	testhook.Resident = func(stub any) bool {
		o := stub.(*Stub).present()
		if o == nil {
			return false
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.inst != nil
	}
	testhook.SetShift = func(rt any, shift time.Duration) { rt.(*Runtime).clock.shift.Store(int64(shift)) }
	testhook.Advance = func(ctx context.Context, rt any, shift time.Duration, step bool) error {
		return rt.(*Runtime).advance(ctx, shift, step)
	}
	testhook.Wake = func(rt any) { rt.(*Runtime).alarms.poke() }
	testhook.Kill = func(rt any) error { return rt.(*Runtime).kill() }
}

// present returns the runtime's side of the object if there is one; unlike object it makes none.
func (s *Stub) present() *object {
	sh := &s.n.rt.shards[s.id.b[0]%objectShards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.objects[objectKey{s.n.number, s.id.b}]
}

func (s *Stub) label() string {
	if s.named {
		return fmt.Sprintf("%s %q", s.n.class.name, s.name)
	}
	return fmt.Sprintf("%s %s", s.n.class.name, s.id)
}

// evictNow drops the object as its idle timeout would, once the events before it have run.
func (o *object) evictNow(ctx context.Context) error {
	ev := &event{obj: o, caller: ctx, depth: 1, kind: kindInternal}
	err := o.run(ev, func() error { return nil })
	switch {
	case errors.Is(err, errGone):
		return nil
	case err != nil:
		return fmt.Errorf("evict %s: %w", o, err)
	case !o.rt().evict(o):
		return fmt.Errorf("evict %s: events are inside that wait for something else", o)
	}
	return nil
}

// hold waits for the alarm handlers that run and keeps the clock from starting
// others: it takes every slot there is.
func (a *alarmClock) hold(ctx context.Context) (release func(), err error) {
	taken := 0
	release = func() {
		for range taken {
			<-a.slots
		}
		a.poke()
	}
	for range cap(a.slots) {
		select {
		case a.slots <- struct{}{}:
			taken++
		case <-ctx.Done():
			release()
			return nil, fmt.Errorf("wait for running alarm handlers: %w", ctx.Err())
		}
	}
	return release, nil
}

// alarmNow is runAlarm for an alarm that need not be due, and returns the handler's error.
func (s *Stub) alarmNow(ctx context.Context) (ran bool, err error) {
	rt := s.n.rt
	release, err := rt.alarms.hold(ctx) // or the clock might run the same handler beside us
	if err != nil {
		return false, err
	}
	defer release()

	set := false
	err = s.enter(ctx, kindInternal, 0, nil, func(_ *event, o *object) error { // makes no instance
		o.mu.Lock()
		defer o.mu.Unlock()
		set = o.hdr.Alarm.Due != 0
		return nil
	}, nil)
	if err != nil || !set {
		return false, err
	}
	a := newAlarmAttempt(rt)
	a.forced = true
	err = s.enter(ctx, kindAlarm, 0, nil, a.handle, nil)
	run := a.run.Load()
	if run != nil && err != nil && !isInfrastructure(err) {
		if cerr := rt.countFailure(s, run, err); cerr != nil {
			err = errors.Join(err, cerr)
		}
	}
	return run != nil, err
}

// maxAdvance is how many alarms one advance runs before it takes them for a loop.
const maxAdvance = 100_000

// advance sets the clock and runs what is due then, here and one after the other.
func (rt *Runtime) advance(ctx context.Context, shift time.Duration, step bool) error {
	release, err := rt.alarms.hold(ctx)
	if err != nil {
		return err
	}
	defer release()
	if current := time.Duration(rt.clock.shift.Load()); !step || shift < current {
		rt.clock.shift.Store(int64(shift))
	}
	// Alarms that can't run are left to the alarm clock, which tries them again.
	skip := make(map[store.Object]bool)
	for range maxAdvance {
		d, err := rt.firstAlarm(ctx, skip)
		if err != nil {
			return err
		}
		ahead := time.Until(time.UnixMilli(d.Alarm.Next)) // the shift at which it is due
		if d.Alarm.Next == 0 || ahead > shift {
			rt.clock.shift.Store(int64(shift))
			return nil
		}
		if int64(ahead) > rt.clock.shift.Load() {
			rt.clock.shift.Store(int64(ahead))
		}
		n := rt.alarms.namespaceOf(d.Object)
		if n == nil || rt.runAlarm(n, d.Object.ID) != nil {
			skip[d.Object] = true
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return fmt.Errorf("durable: more than %d alarms came due: does a handler set one for the present again and again?", maxAdvance)
}

// firstAlarm returns the alarm to run next, the zero Due if there is none.
func (rt *Runtime) firstAlarm(ctx context.Context, skip map[store.Object]bool) (store.Due, error) {
	due, err := rt.store.Alarms(ctx, nil, len(skip)+1)
	if err != nil {
		return store.Due{}, rt.storeFailed("alarms", err)
	}
	for _, d := range due {
		if !skip[d.Object] {
			return d, nil
		}
	}
	return store.Due{}, nil
}

// kill is Close without the goodbyes: functions of OnStop do not run. That nothing
// is saved is the store's part: its power must be gone already.
func (rt *Runtime) kill() error {
	closed := ErrClosed
	rt.brokenErr.CompareAndSwap(nil, &closed)
	for _, o := range rt.resident() {
		o.mu.Lock()
		if o.inst != nil {
			o.inst.stops = nil
		}
		o.mu.Unlock()
	}
	return rt.Close()
}

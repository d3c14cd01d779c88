package durabletest

import (
	"time"

	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/durable/internal/testhook"
)

// Now returns the time of the runtime's clock: what State.Now says.
func (r *Runtime) Now() time.Time { return time.Now().Round(0).Add(r.shift) }

// SetTime sets the runtime's clock, forwards or back, to the next whole
// millisecond (the resolution of alarms); it goes on from there. An alarm that is due
// then has run when SetTime returns, once, however long ago it came due, as after a
// machine has slept.
func (r *Runtime) SetTime(now time.Time) {
	r.helper()
	r.move(now, false)
}

// Advance moves the runtime's clock by d as if that time had passed: it stops at
// each alarm that comes due on the way, retries and those that handlers set
// included, and runs its handler. Advance(0) runs what is due now.
//
// Handlers run one after the other, and Advance returns when the last has: it
// waits for ever if one waits for what the test does afterwards. The test fails
// after 100,000 of them.
func (r *Runtime) Advance(d time.Duration) {
	r.helper()
	r.move(r.Now().Add(d), true)
}

func (r *Runtime) move(to time.Time, step bool) {
	r.helper()
	// Alarm times are rounded up; without the same here, one set for an hour from
	// now would now and then not be due when the clock has moved by an hour.
	if whole := to.Truncate(time.Millisecond); whole.Before(to) {
		to = whole.Add(time.Millisecond)
	}
	r.shift = time.Until(to.Round(0))
	if err := testhook.Advance(r.context(), r.Runtime, r.shift, step); err != nil {
		r.fatal("run alarms", err)
	}
}

// RunAlarm runs the object's alarm handler at once, due or not, and reports
// whether an alarm was set. The clock stays where it is.
//
// It is the real thing: success takes the alarm away, and a handler that fails (its
// error is returned) is tried again about 2·2ⁿ s later by the runtime's clock, or
// at once by the next RunAlarm, six times at most before the alarm is dropped. If
// the handler could not run at all, for instance because the constructor failed,
// ran is false and the error says why.
func (r *Runtime) RunAlarm(s *durable.Stub) (ran bool, err error) {
	r.helper()
	r.mine(s)
	return testhook.RunAlarm(r.context(), s)
}

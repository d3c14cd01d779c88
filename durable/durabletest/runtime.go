package durabletest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/durable/internal/testhook"
	"github.com/perdure/perdure/store"
	"github.com/perdure/perdure/store/memstore"
)

// Runtime is a runtime inside a test. The one that is running now is embedded;
// [Runtime.Crash] and [Runtime.Reopen] replace it, and namespaces and stubs of the
// old one then return [durable.ErrClosed]: fetch them anew.
//
// Its own methods are the test's: one goroutine calls them, and not from inside an
// object. The embedded runtime may be used by any goroutine, as always, except
// while it is being replaced. What goes wrong fails the test at once.
type Runtime struct {
	*durable.Runtime

	tb     testing.TB // nil in an Example
	opts   durable.Options
	store  *memstore.Store
	engine *engine
	shift  time.Duration // of the clock; survives Crash and Reopen
}

// maxAlarmConcurrency replaces "no limit": Advance has to take every slot.
const maxAlarmConcurrency = 1 << 10

// New starts a runtime on an empty store in memory and closes it when the test
// ends. Options are those of [durable.Open] and may be nil; without a Logger the
// runtime logs to the test.
//
// An Example has no testing.TB: pass nil, and a failure panics and closing the
// runtime is the caller's.
func New(tb testing.TB, opts *durable.Options) *Runtime {
	r := &Runtime{tb: tb, store: memstore.New(nil)}
	if opts != nil {
		r.opts = *opts
	}
	if r.opts.AlarmConcurrency < 0 {
		r.opts.AlarmConcurrency = maxAlarmConcurrency
	}
	if tb == nil {
		r.open()
		return r
	}
	tb.Helper()
	log := &testLog{tb: tb}
	if r.opts.Logger == nil {
		r.opts.Logger = slog.New(slog.NewTextHandler(log, nil))
	}
	r.open()
	tb.Cleanup(func() {
		r.store.Crash() // a test that has failed may have left a Hold, for which Close would wait
		r.Close()       // nothing can go wrong with it any more
		log.end()
	})
	return r
}

// open starts a runtime on r.store.
func (r *Runtime) open() {
	r.helper()
	e := &engine{Store: r.store}
	rt, err := durable.Open(e, &r.opts)
	if err != nil {
		r.fatal("open", err)
	}
	r.Runtime, r.engine = rt, e
	testhook.SetShift(rt, r.shift)
	e.clockSet.Store(true)
	testhook.Wake(rt)
}

// engine is the store as one runtime has it.
type engine struct {
	*memstore.Store
	clockSet atomic.Bool
	left     *memstore.Store // set by Close: what it closed
}

// Alarms implements store.Store. It shows none until the new runtime's clock is
// set: by the one that it starts with, others might seem due. (An alarm that is read
// just then is looked at once more before it runs.)
func (e *engine) Alarms(ctx context.Context, shards []uint32, limit int) ([]store.Due, error) {
	if !e.clockSet.Load() {
		return nil, nil
	}
	return e.Store.Alarms(ctx, shards, limit)
}

// Close implements store.Store. A closed memstore has forgotten everything.
func (e *engine) Close() error {
	if e.left == nil {
		e.left = e.Store.Image()
	}
	return e.Store.Close()
}

// Store returns the engine below the runtime, a new one after each Crash and
// Reopen: its Hold keeps commits from becoming durable, its FailCommits refuses or
// loses them, or breaks the store. Leave Crash and Close to the runtime.
func (r *Runtime) Store() *memstore.Store { return r.store }

// Crash takes the power away and starts again on what was durable. Writes that
// were on their way are lost, their callers get errors; functions of OnStop do not
// run. Alarms that are due run in the background, as at any start: Advance(0)
// waits for them.
//
// Go can't stop a goroutine: code of the old runtime's objects may still execute,
// but its contexts have ended and it can change nothing.
func (r *Runtime) Crash() {
	r.helper()
	r.store = r.store.Crash()
	if err := testhook.Kill(r.Runtime); err != nil {
		r.fatal("crash", err)
	}
	r.open()
}

// reopenGrace is how long Reopen waits for events, as long as perdure serve does.
const reopenGrace = 20 * time.Second

// Reopen shuts the runtime down as its program would, events and all, and starts
// again on the same data. It fails the test if events are still under way after 20 s.
func (r *Runtime) Reopen() {
	r.helper()
	ctx, cancel := context.WithTimeout(context.Background(), reopenGrace)
	defer cancel()
	if err := r.Shutdown(ctx); err != nil {
		r.fatal("shut down", err)
	}
	r.store = r.engine.left
	r.open()
}

// Objects returns the objects of a class (or binding) that have data, in the order
// of their ids. An object enters with its first write and leaves with DeleteAll.
func (r *Runtime) Objects(class string) []durable.ObjectInfo {
	r.helper()
	ns := r.Namespace(class)
	if ns == nil {
		r.fatal("objects", fmt.Errorf("there is no class %s", class))
	}
	var all []durable.ObjectInfo
	for info, err := range ns.Objects(r.context(), durable.ID{}) {
		if err != nil {
			r.fatal("objects of "+class, err)
		}
		all = append(all, info)
	}
	return all
}

// Evict puts the object to sleep as its idle timeout would: its instance is
// stopped, its data stays. Events that run or wait go first; the test fails if one
// of them waits for something outside the object.
func (r *Runtime) Evict(s *durable.Stub) {
	r.helper()
	r.mine(s)
	if err := testhook.Evict(r.context(), s); err != nil {
		r.fatal("evict", err)
	}
}

// EvictAll puts all objects to sleep.
func (r *Runtime) EvictAll() {
	r.helper()
	if err := testhook.EvictAll(r.context(), r.Runtime); err != nil {
		r.fatal("evict all", err)
	}
}

// Resident reports whether the object has an instance in memory.
func (r *Runtime) Resident(s *durable.Stub) bool {
	r.helper()
	r.mine(s)
	return testhook.Resident(s)
}

// mine fails the test if the stub is of a runtime that Crash or Reopen has ended.
func (r *Runtime) mine(s *durable.Stub) {
	r.helper()
	if testhook.RuntimeOf(s) != any(r.Runtime) {
		r.fatal(testhook.Label(s), errors.New("the stub belongs to another runtime: fetch it anew after Crash and Reopen"))
	}
}

func (r *Runtime) context() context.Context {
	if r.tb == nil {
		return context.Background()
	}
	return r.tb.Context()
}

func (r *Runtime) helper() {
	if r.tb != nil {
		r.tb.Helper()
	}
}

func (r *Runtime) fatal(op string, err error) {
	r.helper()
	if r.tb == nil {
		panic(fmt.Sprintf("durabletest: %s: %v", op, err))
	}
	r.tb.Fatalf("durabletest: %s: %v", op, err)
}
